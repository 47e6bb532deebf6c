"""What an edge really holds, against what it was told."""

from __future__ import annotations

from mahavishnu.integrations.multi_region.core.edge_reports import (
    EdgeReport,
    Ejection,
    HostSeen,
    astray,
    ejections,
    report_document,
)
from mahavishnu.integrations.multi_region.core.edges import EdgeSpec
from mahavishnu.integrations.multi_region.core.model import HealthCheck, Point, UpstreamProtocol
from mahavishnu.integrations.multi_region.core.routes import RouteClass
from mahavishnu.integrations.multi_region.core.traffic import (
    EdgePlan,
    ServiceTraffic,
    Standing,
    Target,
    TrafficClass,
)


def target(region_id: str, standing: Standing = Standing.SERVING) -> Target:
    return Target(region_id, f"http://{region_id}", 1, standing, UpstreamProtocol.HTTP1, HealthCheck())


def plan(**classes: tuple[Target, ...]) -> EdgePlan:
    kinds = tuple(
        TrafficClass(name.partition("_")[0], tuple(name.split("_")[1:]), "", (targets,))
        for name, targets in classes.items()
    )
    service = ServiceTraffic("api", ("*",), (RouteClass(),), (), kinds)
    return EdgePlan(EdgeSpec("edge", Point(0, 0)), (), (service,))


def report(**classes: tuple[HostSeen, ...]) -> EdgeReport:
    return EdgeReport("edge", {name.replace("_", "~", 1): hosts for name, hosts in classes.items()})


def test_an_edge_that_holds_what_it_was_told_is_not_astray() -> None:
    told = plan(api=(target("eu"), target("us")), api_gdpr=(target("eu"),))
    assert astray(told, report(api=(HostSeen("us"), HostSeen("eu")), api_gdpr=(HostSeen("eu"),))) == {}


def test_a_region_outside_its_class_is_found_whatever_its_health() -> None:
    told = plan(api=(target("eu"), target("us")), api_gdpr=(target("eu"),))
    seen = report(api=(HostSeen("us"),), api_gdpr=(HostSeen("eu"), HostSeen("us", ejected=True, failing=True)))
    assert astray(told, seen) == {"api~gdpr": ("us",)}


def test_a_class_that_nobody_planned_is_astray_with_all_its_regions() -> None:
    assert astray(plan(api=(target("eu"),)), report(old=(HostSeen("b"), HostSeen("a")))) == {"old": ("a", "b")}


def test_a_region_that_drains_still_belongs() -> None:
    assert astray(plan(api=(target("eu", Standing.DRAINING),)), report(api=(HostSeen("eu", in_flight=3),))) == {}


def test_ejections_are_told_once_and_so_is_their_end() -> None:
    calm, out = report(api=(HostSeen("eu"), HostSeen("us"))), report(api=(HostSeen("eu", ejected=True), HostSeen("us")))
    assert list(ejections(None, calm)) == []
    assert list(ejections(calm, out)) == [Ejection("api", "eu", True)]
    assert list(ejections(out, out)) == []
    assert list(ejections(out, calm)) == [Ejection("api", "eu", False)]


def test_a_region_with_several_addresses_is_out_when_all_of_them_are() -> None:
    half = report(api=(HostSeen("eu", ejected=True), HostSeen("eu")))
    whole = report(api=(HostSeen("eu", ejected=True), HostSeen("eu", ejected=True)))
    assert list(ejections(None, half)) == []
    assert list(ejections(half, whole)) == [Ejection("api", "eu", True)]


def test_a_report_as_a_document_holds_every_field() -> None:
    seen = EdgeReport("edge", {"api": (HostSeen("eu", ejected=True, failing=True, in_flight=2),)}, "1.40.0")
    assert report_document(seen) == {
        "version": "1.40.0",
        "classes": {"api": [{"region": "eu", "ejected": True, "failing": True, "in_flight": 2}]},
    }
