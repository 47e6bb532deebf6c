"""Where edges have the regions beyond a policy's preference: behind all that it prefers, and never among them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.core.deployment import DeploymentView, Group, State
from mahavishnu.integrations.multi_region.core.edge_reports import EdgeReport, HostSeen, astray
from mahavishnu.integrations.multi_region.core.edges import ClientPlace, EdgeSpec
from mahavishnu.integrations.multi_region.core.geo import distance_km
from mahavishnu.integrations.multi_region.core.model import (
    AdminState,
    DataPlacementPolicy,
    DeploymentType,
    Fleet,
    HealthCheck,
    LocalityLevel,
    Point,
    RegionView,
    RoutingStrategy,
)
from mahavishnu.integrations.multi_region.core.steering import SteeringInput, plan_traffic
from mahavishnu.integrations.multi_region.core.traffic import EdgePlan, TrafficClass
from mahavishnu.integrations.multi_region.testing.builders import fleet, policy, service, view

GIVEN = SteeringInput(lambda place, country: lambda region: distance_km(place, region.point), lambda _: HealthCheck())
EDGE = EdgeSpec("edge", Point(0.0, 0.0))
PLACES = {name: Point(0.0, east) for east, name in enumerate("abcde", start=1)}
"""Regions that stand ever farther from the edge, in the order of the alphabet; the two farthest are preferred."""

LATENCY, TURNS = RoutingStrategy.LATENCY_BASED, RoutingStrategy.ROUND_ROBIN


def at(name: str, phase: str = "healthy", **fields: Any) -> RegionView:
    return view(name, phase, point=PLACES[name], **fields)


def preferring(*regions: str, **fields: Any) -> DataPlacementPolicy:
    return replace(policy("p", allow=regions, **fields), locality_level=LocalityLevel.PREFERRED)


def planned(world: Fleet, demand: float = 0.0, edge: EdgeSpec = EDGE, given: SteeringInput = GIVEN) -> EdgePlan:
    given = replace(given, demand={("edge", "api"): demand} if demand else {})
    return plan_traffic(world, {"edge": edge}, given).edges["edge"]


def told(world: Fleet, demand: float = 0.0) -> TrafficClass:
    return next(kind for kind in planned(world, demand).classes if kind.name == "api")


def by(strategy: RoutingStrategy, *regions: RegionView, demand: float = 0.0) -> TrafficClass:
    made = service("api", policy="p", strategy=strategy)
    return told(fleet(*regions, policies=[preferring("d", "e")], services=[made]), demand)


def tiers(kind: TrafficClass) -> list[str]:
    return ["".join(target.region_id for target in tier) for tier in kind.tiers]


FULL: dict[str, Any] = {"load": 100.0}


@pytest.mark.parametrize(
    ("strategy", "regions", "expected"),
    [
        (LATENCY, [at(n) for n in "abcde"], "d e a b c"),
        (TURNS, [at(n) for n in "abcde"], "de abc"),
        (LATENCY, [at("a"), at("b"), at("d"), at("e", **FULL)], "d e a b"),
        (TURNS, [at("a"), at("b", **FULL), at("d", "degraded"), at("e")], "e d a b"),
        (LATENCY, [at("a"), at("b"), at("d", "down"), at("e")], "d e a b"),
        (LATENCY, [at("a"), at("b"), at("d", "down"), at("e", "down")], "d e a b"),
        (TURNS, [at("a"), at("b"), at("d", "down"), at("e", admin=AdminState.DRAINED)], "de ab"),
        (LATENCY, [at("a", "down"), at("b", "down"), at("d", "down"), at("e", "down")], "d e a b"),
    ],
)
def test_regions_beyond_a_preference_come_behind_all_of_the_preferred(
    strategy: RoutingStrategy, regions: list[RegionView], expected: str
) -> None:
    kind = by(strategy, *regions)
    assert (tiers(kind), dict(kind.excluded)) == (expected.split(), {})


@pytest.mark.parametrize(
    ("regions", "expected"),
    [
        ([at("a"), at("b", **FULL), at("d", "saturated"), at("e", **FULL)], "a e d b"),
        ([at("a"), at("b", **FULL), at("d", "down"), at("e", **FULL)], "d a e b"),
    ],
)
def test_when_the_preferred_have_no_room_who_has_some_comes_before_them_as_the_router_has_it(
    regions: list[RegionView], expected: str
) -> None:
    assert tiers(by(LATENCY, *regions)) == expected.split()


def test_requirements_bind_beyond_the_preference_and_the_reason_is_theirs() -> None:
    made, prefers = service("api", policy="p"), preferring("d", require=["gdpr"])
    regions = [at("a"), at("b", compliance=["gdpr"]), at("c", compliance=["gdpr"]), at("d", compliance=["gdpr"])]
    kind = told(fleet(*regions, policies=[prefers], services=[made]))
    assert (tiers(kind), dict(kind.excluded)) == (["d", "b", "c"], {"a": "lacks gdpr"})


def test_where_all_that_the_policy_prefers_is_unlawful_the_others_serve() -> None:
    made, prefers = service("api", policy="p"), preferring("d", require=["gdpr"])
    kind = told(fleet(at("a", compliance=["gdpr"]), at("d"), policies=[prefers], services=[made]))
    assert (tiers(kind), kind.exhausted) == (["a"], None)


@pytest.mark.parametrize(("lost", "expected"), [("healthy", "d e a b"), ("down", "d a e b")])
def test_a_preferred_region_that_stands_by_comes_before_all_beyond_the_preference_until_one_must_serve(
    lost: str, expected: str
) -> None:
    made = service("api", policy="p")
    groups = (Group("active", ("a", "d"), 1.0),)
    kind = DeploymentType.ACTIVE_ACTIVE
    plan = DeploymentView("x", "api", kind, tuple("adbe"), State.SERVING, groups, 0.0, 0.0, 0.0, standby=("b", "e"))
    regions = [at("a"), at("b"), at("d", lost), at("e")]
    world = fleet(*regions, policies=[preferring("d", "e")], services=[made], deployments={"api": plan})
    assert tiers(told(world)) == expected.split()


@pytest.mark.parametrize("lost", ["healthy", "down"])
def test_where_all_others_stand_by_the_order_outlives_the_loss(lost: str) -> None:
    made = service("api", policy="p")
    groups, kind = (Group("active", ("d",), 1.0),), DeploymentType.ACTIVE_PASSIVE
    plan = DeploymentView("x", "api", kind, tuple("dabe"), State.SERVING, groups, 0.0, 0.0, 0.0, standby=tuple("abe"))
    regions = [at("a"), at("b"), at("d", lost), at("e")]
    world = fleet(*regions, policies=[preferring("d", "e")], services=[made], deployments={"api": plan})
    assert tiers(told(world)) == ["d", "e", "a", "b"]


@pytest.mark.parametrize("strategy", [LATENCY, TURNS])
def test_what_finds_no_room_among_the_preferred_is_spread_over_them_alone(strategy: RoutingStrategy) -> None:
    kind = by(strategy, *map(at, "abde"), demand=300.0)
    assert (tiers(kind)[0], kind.overload) == ("de", 100)
    assert sorted("".join(tiers(kind)[1:])) == ["a", "b"]


def test_with_room_or_without_who_is_beyond_stays_behind() -> None:
    kind = by(LATENCY, at("a"), at("b", load=50.0), at("d"), at("e", load=90.0), demand=80.0)
    assert tiers(kind) == ["d", "e", "a", "b"]
    assert tiers(by(LATENCY, at("a", load=50.0), at("b"), at("d"), at("e"), demand=80.0)) == ["d", "e", "b", "a"]


def test_once_no_preferred_one_serves_the_others_share_what_comes() -> None:
    kind = by(LATENCY, at("a"), at("b"), at("d", "down"), at("e", "down"), demand=150.0)
    assert (tiers(kind), kind.overload) == (["d", "e", "ab"], 0)


def test_an_edge_that_holds_who_is_beyond_does_as_it_was_told() -> None:
    world = fleet(*map(at, "ade"), policies=[preferring("d", "e")], services=[service("api", policy="p")])
    seen = {"api": tuple(map(HostSeen, "ade"))}
    assert astray(planned(world), EdgeReport("edge", seen)) == {}
    strict = fleet(*map(at, "ade"), policies=[policy("p", allow="de")], services=[service("api", policy="p")])
    assert astray(planned(strict), EdgeReport("edge", seen)) == {"api": ("a",)}


def test_areas_are_told_apart_by_the_order_within_the_preferred_and_within_the_others_alone() -> None:
    edge = replace(EDGE, client_place=ClientPlace.GEOIP)
    countries = {"BR": Point(0.0, 2.9), "JP": Point(0.0, 9.0), "US": Point(0.0, 0.1)}
    given = replace(GIVEN, countries=countries)
    world = fleet(at("a"), at("d"), policies=[preferring("d")], services=[service("api", policy="p")])
    kinds = [kind for kind in planned(world, edge=edge, given=given).classes if not kind.requirements]
    assert [kind.area for kind in kinds] == [""]
    world = fleet(at("a"), at("d"), at("e"), policies=[preferring("d", "e")], services=[service("api", policy="p")])
    kinds = [kind for kind in planned(world, edge=edge, given=given).classes if not kind.requirements]
    assert [(kind.area, tiers(kind)) for kind in kinds] == [("jp", ["e", "d", "a"]), ("", ["d", "e", "a"])]
