"""What edges really hold is compared with what they were told."""

from __future__ import annotations

from mahavishnu.integrations.multi_region.core.edge_reports import EdgeReport, HostSeen
from mahavishnu.integrations.multi_region.core.edges import EdgeSpec
from mahavishnu.integrations.multi_region.core.model import HealthCheck, Point, UpstreamProtocol
from mahavishnu.integrations.multi_region.core.routes import RouteClass
from mahavishnu.integrations.multi_region.core.traffic import (
    EdgePlan,
    ServiceTraffic,
    Standing,
    Target,
    TrafficClass,
    TrafficPlan,
)
from mahavishnu.integrations.multi_region.ports.dataplane import Astray, EdgeEvent, Ejected
from mahavishnu.integrations.multi_region.shell.edges.read_back import MOST_TOLD, ReadBack


def told(*regions: str) -> TrafficPlan:
    targets = tuple(
        Target(name, f"http://{name}", 1, Standing.SERVING, UpstreamProtocol.HTTP1, HealthCheck()) for name in regions
    )
    service = ServiceTraffic("api", ("*",), (RouteClass(),), (), (TrafficClass("api", (), "", (targets,)),))
    return TrafficPlan(1, 1, {"edge": EdgePlan(EdgeSpec("edge", Point(0, 0)), (), (service,))})


class Desk:
    """A read-back with the events that it told."""

    def __init__(self, plan: TrafficPlan) -> None:
        self.plan = plan
        self.events: list[EdgeEvent] = []
        self.read_back = ReadBack(lambda: self.plan, self.events.append)

    def holds(self, *regions: str, ejected: tuple[str, ...] = (), edge_id: str = "edge") -> None:
        hosts = tuple(HostSeen(name, ejected=name in ejected) for name in regions)
        self.read_back.take(EdgeReport(edge_id, {"api": hosts}))


def test_an_edge_that_does_as_it_was_told_is_no_news() -> None:
    desk = Desk(told("a", "b"))
    for _ in range(3):
        desk.holds("b", "a")
    assert desk.events == []


def test_a_region_that_stays_where_it_does_not_belong_is_told_once_and_so_is_its_end() -> None:
    desk = Desk(told("a"))
    for _ in range(3):
        desk.holds("a", "x")
    assert desk.events == [Astray("edge", "api", ("x",))]
    desk.holds("a")
    desk.holds("a")
    assert desk.events == [Astray("edge", "api", ("x",)), Astray("edge", "api", ())]


def test_a_change_that_is_on_its_way_is_no_alarm() -> None:
    desk = Desk(told("a", "b"))
    desk.holds("a", "b")
    desk.plan = told("a")
    desk.holds("a", "b")
    desk.holds("a")
    assert desk.events == []


def test_an_edge_that_refuses_a_tighter_law_is_an_alarm() -> None:
    desk = Desk(told("a", "b"))
    desk.holds("a", "b")
    desk.plan = told("a")
    desk.holds("a", "b")
    desk.holds("a", "b")
    assert desk.events == [Astray("edge", "api", ("b",))]


def test_two_regions_that_pass_by_one_after_the_other_are_no_alarm() -> None:
    desk = Desk(told("a"))
    desk.holds("a", "x")
    desk.holds("a", "y")
    assert desk.events == []


def test_ejections_are_told_with_edge_class_and_region() -> None:
    desk = Desk(told("a", "b"))
    desk.holds("a", "b")
    desk.holds("a", "b", ejected=("b",))
    desk.holds("a", "b")
    assert [(e.region_id, e.class_name, e.ejected) for e in desk.events if isinstance(e, Ejected)] == [
        ("b", "api", True),
        ("b", "api", False),
    ]


def test_an_edge_that_nobody_planned_for_is_not_looked_at() -> None:
    desk = Desk(told("a"))
    desk.holds("x", edge_id="stranger")
    desk.holds("x", edge_id="stranger")
    assert desk.events == []


def of_classes(count: int) -> TrafficPlan:
    """A plan of so many classes, each at the regions a and b."""
    targets = tuple(
        Target(name, f"http://{name}", 1, Standing.SERVING, UpstreamProtocol.HTTP1, HealthCheck()) for name in "ab"
    )
    classes = tuple(TrafficClass(f"s{n:04}", (), "", (targets,)) for n in range(count))
    service = ServiceTraffic("api", ("*",), (RouteClass(),), (), classes)
    return TrafficPlan(1, 1, {"edge": EdgePlan(EdgeSpec("edge", Point(0, 0)), (), (service,))})


def test_a_report_full_of_strays_is_told_in_few_events() -> None:
    desk = Desk(told("a"))
    forged = EdgeReport("edge", {f"c{n:05}": (HostSeen(f"x{n}"),) for n in range(5000)})
    desk.read_back.take(forged)
    desk.read_back.take(forged)
    assert len(desk.events) == MOST_TOLD + 1
    assert [event.class_name for event in desk.events if isinstance(event, Astray)][:2] == ["*", "c00000"]
    assert [event.classes for event in desk.events if isinstance(event, Astray)] == [4980, *[1] * 20]
    assert all(len(event.regions) <= MOST_TOLD for event in desk.events if isinstance(event, Astray))
    desk.read_back.take(forged)
    assert len(desk.events) == MOST_TOLD + 1
    for _ in range(2):
        desk.holds("a")
    assert [event.regions for event in desk.events[MOST_TOLD + 1 :] if isinstance(event, Astray)] == [()] * 21


def test_a_class_full_of_strays_names_some() -> None:
    desk = Desk(told("a"))
    for _ in range(2):
        desk.holds("a", *(f"x{n:03}" for n in range(500)))
    assert desk.events == [Astray("edge", "api", tuple(f"x{n:03}" for n in range(MOST_TOLD)))]


def test_a_stray_that_was_told_of_stays_told_of_when_more_come() -> None:
    desk = Desk(told("a"))
    for names in (["z"], ["z"], ["z", *(f"c{n:03}" for n in range(50))], ["z", *(f"c{n:03}" for n in range(50))]):
        desk.read_back.take(EdgeReport("edge", {name: (HostSeen("x"),) for name in names}))
    assert [event.class_name for event in desk.events if isinstance(event, Astray)].count("z") == 1
    assert len(desk.events) == MOST_TOLD + 1


def test_a_region_that_is_ejected_from_many_classes_at_once_is_told_of_in_one_event() -> None:
    desk = Desk(of_classes(1000))

    def holds(ejected: int) -> EdgeReport:
        return EdgeReport(
            "edge", {f"s{n:04}": (HostSeen("a", ejected=n < ejected), HostSeen("b")) for n in range(1000)}
        )

    desk.read_back.take(holds(0))
    desk.read_back.take(holds(2))
    desk.read_back.take(holds(1000))
    told_of = [(e.class_name, e.ejected, e.classes) for e in desk.events if isinstance(e, Ejected)]
    assert told_of == [("s0000", True, 1), ("s0001", True, 1), ("*", True, 998)]
    desk.read_back.take(holds(0))
    assert [(e.class_name, e.ejected, e.classes) for e in desk.events[3:] if isinstance(e, Ejected)] == [
        ("*", False, 1000)
    ]


def test_all_that_a_report_says_of_ejections_stays_within_the_limit() -> None:
    desk, half = Desk(of_classes(15)), MOST_TOLD - 5
    for ejected in (False, True):
        hosts = (HostSeen("a", ejected=ejected), HostSeen("b", ejected=ejected))
        desk.read_back.take(EdgeReport("edge", {f"s{n:04}": hosts for n in range(half)}))
    told_of = [(e.region_id, e.classes) for e in desk.events if isinstance(e, Ejected)]
    assert told_of == [*[("a", 1)] * half, ("b", half)]


def test_ejections_of_what_is_not_in_the_plan_are_no_news() -> None:
    desk = Desk(told("a"))
    for ejected in (False, True):
        hosts = tuple(HostSeen(f"x{n}", ejected=ejected) for n in range(100))
        desk.read_back.take(EdgeReport("edge", {"api": hosts, "other": hosts}))
    assert not [event for event in desk.events if isinstance(event, Ejected)]
