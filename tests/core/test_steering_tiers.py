"""Which regions share a tier, in what order tiers come, and with what weights: by strategy, deployment and shape."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given as each, strategies as st

from mahavishnu.integrations.multi_region.core.deployment import DeploymentView, Group, State
from mahavishnu.integrations.multi_region.core.edges import EdgeSpec
from mahavishnu.integrations.multi_region.core.geo import distance_km
from mahavishnu.integrations.multi_region.core.kinds import FailoverMode
from mahavishnu.integrations.multi_region.core.model import (
    AdminState,
    DeploymentType,
    Fleet,
    HealthCheck,
    Phase,
    Point,
    RegionView,
    RoutingStrategy,
)
from mahavishnu.integrations.multi_region.core.steering import SteeringInput, plan_traffic
from mahavishnu.integrations.multi_region.core.tiers import whole_weights
from mahavishnu.integrations.multi_region.core.traffic import Standing, TrafficClass
from mahavishnu.integrations.multi_region.testing.builders import fleet, service, view

GIVEN = SteeringInput(lambda place, country: lambda region: distance_km(place, region.point), lambda _: HealthCheck())
EDGE = EdgeSpec("edge", Point(0.0, 0.0))
PLACES = {name: Point(0.0, east) for east, name in enumerate("abcde", start=1)}
"""Regions that stand ever farther from the edge, in the order of the alphabet."""

Tiers = list[dict[str, int]]


def at(name: str, phase: str = "healthy", **fields: Any) -> RegionView:
    return view(name, phase, point=PLACES[name], **fields)


def told(world: Fleet, seen_alive: frozenset[str] = frozenset()) -> TrafficClass:
    given = SteeringInput(GIVEN.estimate, GIVEN.check, seen_alive=seen_alive)
    return next(kind for kind in plan_traffic(world, {"edge": EDGE}, given).edges["edge"].classes if kind.name == "api")


def tiers(kind: TrafficClass) -> Tiers:
    return [{target.region_id: target.weight for target in tier} for tier in kind.tiers]


def names(kind: TrafficClass) -> list[str]:
    return ["".join(tier) for tier in tiers(kind)]


def by(strategy: RoutingStrategy, *regions: RegionView, **fields: Any) -> TrafficClass:
    return told(fleet(*regions, services=[service("api", strategy=strategy, **fields)]))


def deployed(
    kind: DeploymentType, *groups: Group, standby: str = "", state: State = State.SERVING, **fields: Any
) -> DeploymentView:
    runs = (*(region for group in groups for region in group.regions), *standby)
    return DeploymentView("d", "api", kind, runs, state, groups, 0.0, 0.0, 0.0, standby=tuple(standby), **fields)


def under(plan: DeploymentView, *regions: RegionView, strategy: RoutingStrategy | None = None) -> TrafficClass:
    made = service("api", strategy=strategy or RoutingStrategy.LATENCY_BASED)
    return told(fleet(*regions, services=[made], deployments={"api": plan}))


# --- strategies -------------------------------------------------------------------------------

ALONE = [
    (RoutingStrategy.LATENCY_BASED, "abcd"),
    (RoutingStrategy.COMPLIANCE_BASED, "abcd"),
    (RoutingStrategy.DATA_LOCALITY, "abcd"),
    (RoutingStrategy.COST_BASED, "cbad"),
    (RoutingStrategy.HEALTH_BASED, "bacd"),
    (RoutingStrategy.WEIGHTED, "abcd"),
]


@pytest.mark.parametrize(("strategy", "order"), ALONE)
def test_one_region_per_tier_in_the_order_of_the_strategy(strategy: RoutingStrategy, order: str) -> None:
    kind = by(strategy, at("d", "degraded"), at("c", cost_multiplier=0.5), at("b", health_score=99.0), at("a"))
    assert names(kind) == list(order)


def test_round_robin_has_equal_parts_for_all_that_are_equally_well() -> None:
    kind = by(
        RoutingStrategy.ROUND_ROBIN, at("c"), at("a"), at("b", "degraded"), at("d", "unknown"), at("e", "degraded")
    )
    assert names(kind) == ["ac", "be", "d"]
    assert len(set(tiers(kind)[0].values())) == 1


def test_capacity_goes_by_the_room_that_is_free() -> None:
    kind = by(
        RoutingStrategy.CAPACITY_BASED,
        at("a", load=90.0),
        at("b", load=10.0, max_capacity=100.0),
        at("c", load=100.0, max_capacity=200.0),
        at("d", "degraded", load=0.0),
    )
    assert tiers(kind) == [{"a": 500, "b": 4500, "c": 5000}, {"d": 10_000}]


def test_weighted_goes_by_the_declared_weights_and_falls_to_the_nearest() -> None:
    made = service("api", *"abcd", strategy=RoutingStrategy.WEIGHTED, weights={"a": 0, "c": 1, "d": 3})
    kind = told(fleet(*map(at, "abcd"), services=[made]))
    assert tiers(kind) == [{"c": 2500, "d": 7500}, {"a": 10_000}, {"b": 10_000}]


@each(st.lists(st.floats(0, 1e300), min_size=1, max_size=10))
def test_weights_are_whole_and_never_0(shares: list[float]) -> None:
    weights = whole_weights(sorted(shares))
    assert all(isinstance(weight, int) and weight >= 1 for weight in weights)
    assert weights == sorted(weights)


@pytest.mark.parametrize(
    ("shares", "weights"),
    [([1], [10_000]), ([0, 0], [1, 1]), ([90, 10], [9000, 1000]), ([1, 1, 1], [3333] * 3), ([1, 1e-9], [10_000, 1])],
)
def test_shares_as_whole_numbers(shares: list[float], weights: list[int]) -> None:
    assert whole_weights(shares) == weights


# --- shape ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "order"), [(RoutingStrategy.LATENCY_BASED, "bcdae"), (RoutingStrategy.COST_BASED, "cbdae")]
)
def test_those_without_room_come_after_those_with_it_and_the_dead_stay_where_they_stand(
    strategy: RoutingStrategy, order: str
) -> None:
    regions = [at("a", load=100.0), at("b"), at("d", admin=AdminState.DRAINED), at("e", "saturated")]
    regions.append(at("c", "down", cost_multiplier=0.5, health_score=3.0))
    kind = by(strategy, *regions)
    assert names(kind) == list(order)
    assert {target.region_id: target.standing for target in kind.targets} == {
        "a": Standing.SERVING,
        "b": Standing.SERVING,
        "c": Standing.OUT,
        "d": Standing.DRAINING,
        "e": Standing.SERVING,
    }


def test_when_all_are_saturated_they_keep_their_order() -> None:
    kind = by(RoutingStrategy.LATENCY_BASED, *(at(name, "saturated") for name in "cab"))
    assert names(kind) == ["a", "b", "c"]
    assert {target.standing for target in kind.targets} == {Standing.SERVING}


def test_who_drains_stays_where_it_stands_and_takes_nothing_from_the_others() -> None:
    drained = at("a", admin=AdminState.DRAINING)
    assert names(by(RoutingStrategy.LATENCY_BASED, drained, at("b"), at("c"))) == ["a", "b", "c"]
    kind = by(RoutingStrategy.ROUND_ROBIN, drained, at("b"), at("c"))
    assert names(kind) == ["abc"]
    assert min(target.weight for target in kind.targets) >= 1


def test_who_is_lost_keeps_its_place_even_by_a_score_that_fell() -> None:
    scores = [at("a", health_score=90.0), at("b", health_score=99.0), at("c", health_score=80.0)]
    lost = at("b", "down", health_score=0.0)
    assert names(by(RoutingStrategy.HEALTH_BASED, *scores)) == ["b", "a", "c"]
    assert names(by(RoutingStrategy.HEALTH_BASED, scores[0], lost, scores[2])) == ["b", "a", "c"]


def test_who_is_full_and_lost_stays_behind_those_with_room() -> None:
    full = [at("a", load=100.0), at("b"), at("c")]
    assert names(by(RoutingStrategy.LATENCY_BASED, *full)) == ["b", "c", "a"]
    assert names(by(RoutingStrategy.LATENCY_BASED, at("a", "down", load=100.0), *full[1:])) == ["b", "c", "a"]


@pytest.mark.parametrize(
    ("regions", "seen", "serving", "exhausted"),
    [
        ([at("a", "down"), at("b", "down")], "b", "b", None),
        ([at("a", "down"), at("b", "down")], "", "", "no healthy region"),
        ([at("a", "down"), at("b")], "a", "b", None),
        ([at("a", "down", serves_as=Phase.UNKNOWN, held="x"), at("b", "down")], "b", "a", None),
        ([at("a", "down"), at("b", admin=AdminState.DRAINED)], "ab", "a", None),
        ([at("a", "down", failed_over="x"), at("b", "down")], "a", "", "no healthy region"),
        ([at("a", "down", admin=AdminState.DRAINED), at("b", admin=AdminState.DRAINED)], "ab", "", "no healthy region"),
    ],
)
def test_what_edges_see_alive_stays_when_health_would_leave_nobody(
    regions: list[RegionView], seen: str, serving: str, exhausted: str | None
) -> None:
    kind = told(fleet(*regions, services=[service("api")]), frozenset(seen))
    assert "".join(t.region_id for t in kind.targets if t.standing is Standing.SERVING) == serving
    assert kind.exhausted == exhausted


# --- deployments ------------------------------------------------------------------------------


def test_active_passive_has_the_active_first_and_then_who_takes_over_in_that_order() -> None:
    plan = deployed(DeploymentType.ACTIVE_PASSIVE, Group("active", ("d",), 1.0), standby="cab")
    regions = [at(name) for name in "abcde"]
    assert names(under(plan, *regions)) == ["d", "c", "a", "b"]
    assert dict(under(plan, *regions).excluded) == {"e": "service api does not run there"}
    regions[3] = at("d", "down")
    assert names(under(plan, *regions)) == ["d", "c", "a", "b"]


def test_a_saturated_active_region_does_not_promote_the_passive_one() -> None:
    plan = deployed(DeploymentType.ACTIVE_PASSIVE, Group("active", ("b",), 1.0), standby="a")
    assert names(under(plan, at("a"), at("b", "saturated"))) == ["b", "a"]


def test_active_active_goes_by_the_strategy_and_by_weights_where_it_is_weighted() -> None:
    plan = deployed(DeploymentType.ACTIVE_ACTIVE, Group("a", ("a",), 1.0), Group("b", ("b", "c"), 1.0))
    assert tiers(under(plan, *map(at, "abc"), strategy=RoutingStrategy.WEIGHTED)) == [{"a": 5000, "b": 2500, "c": 2500}]


SHIFT = deployed(
    DeploymentType.BLUE_GREEN, Group("blue", ("a", "b"), 90.0), Group("green", ("c", "d"), 10.0), state=State.SHIFTING
)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (RoutingStrategy.LATENCY_BASED, [{"a": 9000, "c": 1000}, {"b": 9000, "d": 1000}]),
        (RoutingStrategy.HEALTH_BASED, [{"a": 9000, "d": 1000}, {"b": 9000, "c": 1000}]),
        (RoutingStrategy.ROUND_ROBIN, [{"a": 4500, "b": 4500, "c": 500, "d": 500}]),
        (RoutingStrategy.WEIGHTED, [{"a": 4500, "b": 4500, "c": 500, "d": 500}]),
    ],
)
def test_in_a_blue_green_shift_each_group_gets_its_part_in_every_strategy(
    strategy: RoutingStrategy, expected: Tiers
) -> None:
    regions = [at("a"), at("b"), at("c"), at("d", health_score=99.0)]
    assert tiers(under(SHIFT, *regions, strategy=strategy)) == expected


def test_in_a_shift_the_next_of_the_group_takes_the_place_of_one_that_is_out() -> None:
    for gone in (at("a", "down"), at("a", admin=AdminState.DRAINED), at("a", load=100.0)):
        kind = under(SHIFT, gone, at("b"), at("c"), at("d"))
        assert tiers(kind)[0] == {"b": 9000, "c": 1000}
        assert sorted(target.region_id for target in kind.targets) == list("abcd")


def test_in_a_shift_the_group_that_is_left_takes_all() -> None:
    kind = under(SHIFT, at("a", "down"), at("b", "down"), at("c"), at("d"))
    assert names(kind) == ["a", "b", "c", "d"]
    assert [target.region_id for target in kind.targets if target.standing is Standing.SERVING] == ["c", "d"]


def test_before_a_shift_green_has_no_part_and_after_it_blue_stands_by() -> None:
    blue, green = Group("blue", ("a",), 1.0), Group("green", ("b",), 0.0)
    before = deployed(DeploymentType.BLUE_GREEN, blue, green, state=State.BAKING)
    assert names(under(before, at("a"), at("b"))) == ["a"]
    blue, green = Group("blue", ("a",), 0.0), Group("green", ("b",), 1.0)
    after = deployed(DeploymentType.BLUE_GREEN, blue, green, state=State.SERVING)
    assert names(under(after, at("a"), at("b"))) == ["b", "a"]


def test_a_region_in_two_groups_stands_once_with_the_sum_of_its_parts() -> None:
    plan = deployed(DeploymentType.BLUE_GREEN, Group("blue", ("a",), 3.0), Group("green", ("a", "b"), 1.0))
    assert tiers(under(plan, at("a"), at("b"))) == [{"a": 10_000}, {"b": 10_000}]


def test_a_region_of_two_groups_beside_another_has_the_parts_of_both() -> None:
    groups = Group("one", ("a",), 5.0), Group("two", ("a",), 3.0), Group("three", ("b",), 2.0)
    plan = deployed(DeploymentType.ACTIVE_ACTIVE, *groups)
    assert tiers(under(plan, at("a"), at("b"))) == [{"a": 8000, "b": 2000}]


def test_groups_without_any_room_share_as_they_would_with_some() -> None:
    plan = deployed(DeploymentType.BLUE_GREEN, Group("blue", ("a",), 90.0), Group("green", ("b",), 10.0))
    full = at("a", load=100.0), at("b", load=100.0)
    assert tiers(under(plan, *full, strategy=RoutingStrategy.CAPACITY_BASED)) == [{"a": 9000, "b": 1000}]


def test_by_weight_a_region_of_a_group_that_is_lost_stays_where_it_stands() -> None:
    plan = deployed(DeploymentType.ACTIVE_ACTIVE, Group("one", ("a", "c"), 1.0), Group("two", ("b",), 1.0))
    told_of = under(plan, at("a", "down"), at("b"), at("c"), strategy=RoutingStrategy.WEIGHTED)
    assert tiers(told_of) == [{"a": 2500, "b": 5000, "c": 2500}]


def test_deployments_that_differ_in_their_groups_alone_are_told_apart() -> None:
    plans = {
        "api": deployed(DeploymentType.ACTIVE_ACTIVE, Group("blue", ("a", "b"), 2.0), Group("green", ("c",), 1.0)),
        "web": deployed(DeploymentType.ACTIVE_ACTIVE, Group("active", ("a", "b", "c"), 3.0)),
    }
    assert plans["api"].weights == plans["web"].weights
    world = fleet(*map(at, "abc"), services=[service("api"), service("web")], deployments=plans)
    kinds = {kind.name: kind for kind in plan_traffic(world, {"edge": EDGE}, GIVEN).edges["edge"].classes}
    assert names(kinds["api"]) == ["ac", "b"]
    assert names(kinds["web"]) == ["a", "b", "c"]


def test_edges_with_one_order_of_regions_at_other_distances_are_told_apart() -> None:
    edges = {"near": EDGE, "far": EdgeSpec("far", Point(0.0, -20.0))}
    plan = plan_traffic(fleet(at("a"), at("e"), services=[service("api")]), edges, GIVEN)
    near, far = (
        {t.region_id: t.rtt_ms for t in next(iter(plan.edges[name].classes)).targets} for name in ("near", "far")
    )
    assert list(near) == list(far)
    assert near != far


def test_edges_turn_to_no_standby_whose_failover_is_manual() -> None:
    plan = deployed(DeploymentType.ACTIVE_PASSIVE, Group("active", ("a",), 1.0), standby="b")
    by_hand = replace(plan, failover_strategy=FailoverMode.MANUAL)
    assert names(under(plan, at("a"), at("b"))) == ["a", "b"]
    assert names(under(by_hand, at("a"), at("b"))) == ["a"]


def test_services_that_differ_only_in_who_says_when_to_fail_over_do_not_share_their_tiers() -> None:
    plan = deployed(DeploymentType.ACTIVE_PASSIVE, Group("active", ("a",), 1.0), standby="b")
    by_hand = replace(plan, failover_strategy=FailoverMode.MANUAL)
    made = {"api": by_hand, "before": replace(plan, service="before"), "zeal": replace(plan, service="zeal")}
    world = fleet(at("a"), at("b"), services=[service(name) for name in ("before", "api", "zeal")], deployments=made)
    classes = plan_traffic(world, {"edge": EDGE}, GIVEN).edges["edge"].classes
    assert {kind.name: names(kind) for kind in classes if kind.name in made} == {
        "before": ["a", "b"],
        "api": ["a"],
        "zeal": ["a", "b"],
    }
