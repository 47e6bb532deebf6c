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
from mahavishnu.integrations.multi_region.shell.read_back import ReadBack


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
