"""Room before shift at edges, L7; and plans that do not chase their own effects, L16: by their names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from mahavishnu.integrations.multi_region.core.deployment import DeploymentView, Group, State
from mahavishnu.integrations.multi_region.core.edges import EdgeSpec
from mahavishnu.integrations.multi_region.core.eligibility import in_force, is_lawful
from mahavishnu.integrations.multi_region.core.geo import distance_km
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
from mahavishnu.integrations.multi_region.core.request import needs_of
from mahavishnu.integrations.multi_region.core.steering import SteeringInput, plan_traffic
from mahavishnu.integrations.multi_region.core.traffic import Standing, Target, TrafficClass, TrafficPlan
from mahavishnu.integrations.multi_region.testing.builders import fleet, service, view
from tests.laws.test_steering import COUNTRIES, EDGES, asked as requested, steered, worlds

EDGE = EdgeSpec("edge", Point(0.0, 0.0))
TWIN = EdgeSpec("twin", Point(0.0, 0.1))
PLACES = {name: Point(0.0, east) for east, name in enumerate("abcde", start=1)}
"""Regions that stand ever farther from both edges, in the order of the alphabet."""

GIVEN = SteeringInput(
    lambda place, country: lambda region: distance_km(place, region.point) / 100.0,
    lambda region_id: HealthCheck(),
    COUNTRIES,
)

Demand = Mapping[tuple[str, str], float]
Loads = dict[str, float]


def at(name: str, phase: str = "healthy", **fields: Any) -> RegionView:
    return view(name, phase, point=PLACES[name], **fields)


def asked(
    world: Fleet, demand: Demand, carried: Mapping[str, float] | None = None, *edges: EdgeSpec
) -> dict[str, TrafficClass]:
    """The classes of the first edge by name."""
    return {kind.name: kind for kind in plan_of(world, demand, carried, *edges).edges["edge"].classes}


def plan_of(world: Fleet, demand: Demand, carried: Mapping[str, float] | None = None, *edges: EdgeSpec) -> TrafficPlan:
    given_input = replace(GIVEN, demand=demand, carried=carried or {})
    return plan_traffic(world, {edge.edge_id: edge for edge in (edges or (EDGE,))}, given_input)


def one(*regions: RegionView, demand: float, strategy: RoutingStrategy = RoutingStrategy.LATENCY_BASED) -> TrafficClass:
    made = service("api", strategy=strategy)
    return asked(fleet(*regions, services=[made]), {("edge", "api"): demand})["api"]


def tiers(kind: TrafficClass) -> list[dict[str, int]]:
    return [{target.region_id: target.weight for target in tier} for tier in kind.tiers]


def first(kind: TrafficClass) -> list[Target]:
    """Who takes the traffic now."""
    for tier in kind.tiers:
        if serving := [target for target in tier if target.standing is Standing.SERVING]:
            return serving
    return []


def sent(kind: TrafficClass, demand: float) -> Loads:
    """Requests/s that an edge which does as it is told sends to each region."""
    whole = sum(target.weight for target in first(kind))
    return {target.region_id: demand * target.weight / whole for target in first(kind)}


def flows(plan: TrafficPlan, demand: Demand) -> Iterator[tuple[TrafficClass, Loads]]:
    for edge_id, edge in plan.edges.items():
        for kind in edge.classes:
            yield kind, sent(kind, demand.get((edge_id, kind.name), 0.0))


def loads_of(plan: TrafficPlan, demand: Demand) -> Loads:
    loads: Loads = {}
    for _, flow in flows(plan, demand):
        for name, rate in flow.items():
            loads[name] = loads.get(name, 0.0) + rate
    return loads


# --- L7: tables ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("demand", "expected", "overload"),
    [
        (0, [{"a": 10_000}, {"b": 10_000}, {"c": 10_000}], 0),
        (90, [{"a": 10_000}, {"b": 10_000}, {"c": 10_000}], 0),
        (120, [{"a": 7500, "b": 2500}, {"c": 10_000}], 0),
        (200, [{"a": 4500, "b": 4500, "c": 1000}], 0),
        (270, [{"a": 3333, "b": 3333, "c": 3333}], 0),
        (290, [{"a": 3448, "b": 3448, "c": 3103}], 0),
        (400, [{"a": 3333, "b": 3333, "c": 3333}], 100),
    ],
)
def test_L7_the_nearest_are_filled_in_turn_headroom_goes_last_and_what_is_left_is_told(
    demand: float, expected: list[dict[str, int]], overload: float
) -> None:
    kind = one(at("a"), at("b"), at("c"), demand=demand)
    assert (tiers(kind), kind.overload) == (expected, overload)


def test_L7_load_that_no_edge_sends_takes_room_and_what_edges_send_takes_none() -> None:
    world = fleet(at("a", load=150.0), at("b", load=0.0), services=[service("api")])
    kind = asked(world, {("edge", "api"): 100.0}, {"a": 90.0})["api"]
    assert tiers(kind) == [{"a": 3000, "b": 7000}]


def test_L7_the_overload_is_spread_by_capacity() -> None:
    kind = one(at("a"), at("b", max_capacity=300.0), demand=480.0)
    assert tiers(kind) == [{"a": 2500, "b": 7500}]
    assert kind.overload == 80


def test_L7_who_matters_more_keeps_its_place_and_who_matters_less_moves_and_overflows() -> None:
    services = [service("bulk", priority=200), service("core", priority=1), service("web", priority=100)]
    demand = {("edge", name): 90.0 for name in ("bulk", "core", "web")}
    kinds = asked(fleet(at("a"), at("b"), services=services), demand)
    assert [tiers(kinds[name])[0] for name in ("core", "web")] == [{"a": 10_000}, {"b": 10_000}]
    assert {name: kinds[name].overload for name in names_in(demand)} == {"bulk": 70, "core": 0, "web": 0}


def names_in(demand: Demand) -> list[str]:
    return [name for _, name in demand]


def test_L7_edges_share_the_room_of_a_region() -> None:
    demand = {("edge", "api"): 80.0, ("twin", "api"): 80.0}
    plan = plan_of(fleet(at("a"), at("b"), services=[service("api")]), demand, {}, EDGE, TWIN)
    (mine,), (other,) = ([k for k in plan.edges[name].classes if not k.requirements] for name in ("edge", "twin"))
    assert tiers(mine) == [{"a": 10_000}, {"b": 10_000}]
    assert tiers(other) == [{"a": 1250, "b": 8750}]


def test_L7_a_saturated_region_takes_what_is_left_when_the_others_are_full_and_no_more_than_its_limit() -> None:
    kind = one(at("a", "saturated"), at("b"), at("c"), demand=240.0)
    assert tiers(kind) == [{"a": 2500, "b": 3750, "c": 3750}]


@pytest.mark.parametrize("strategy", [RoutingStrategy.ROUND_ROBIN, RoutingStrategy.CAPACITY_BASED])
def test_L7_where_regions_take_turns_a_small_one_takes_what_it_can(strategy: RoutingStrategy) -> None:
    regions = [at("a", max_capacity=20.0), at("b"), at("c", load=80.0), at("d", "degraded")]
    kind = one(*regions, demand=150.0, strategy=strategy)
    assert tiers(kind) == [{"a": 1200, "b": 6000, "c": 667, "d": 2133}]


def test_L7_the_last_of_those_that_take_turns_is_not_overlooked() -> None:
    kind = one(at("a"), at("b", max_capacity=20.0), demand=60.0, strategy=RoutingStrategy.ROUND_ROBIN)
    assert tiers(kind) == [{"a": 7000, "b": 3000}]


def test_L7_who_may_go_elsewhere_makes_room_for_who_may_not() -> None:
    services = [service("api", priority=1), service("bound", "a", priority=200)]
    demand = {("edge", "api"): 80.0, ("edge", "bound"): 60.0}
    kinds = asked(fleet(at("a"), at("b"), services=services), demand)
    assert tiers(kinds["api"]) == [{"a": 5000, "b": 5000}]
    assert (tiers(kinds["bound"]), kinds["bound"].overload) == ([{"a": 10_000}], 0)


def test_L7_regions_that_leave_or_are_out_take_nothing() -> None:
    regions = [at("a", admin=AdminState.DRAINING), at("b"), at("c", "down"), at("d"), at("e", failed_over="x")]
    kind = one(*regions, demand=120.0)
    assert tiers(kind) == [{"a": 10_000}, {"b": 7500, "d": 2500}, {"c": 10_000}, {"e": 10_000}]


def test_L7_when_nobody_can_serve_nothing_is_spread() -> None:
    kind = one(at("a", "down"), at("b", "down"), demand=500.0)
    assert (tiers(kind), kind.overload) == ([{"a": 10_000}, {"b": 10_000}], 0)


def deployed(*groups: Group, kind: DeploymentType, standby: str = "") -> DeploymentView:
    runs = (*(region for group in groups for region in group.regions), *standby)
    return DeploymentView("d", "api", kind, runs, State.SERVING, groups, 0.0, 0.0, 0.0, standby=tuple(standby))


def under(plan: DeploymentView, *regions: RegionView, demand: float) -> TrafficClass:
    world = fleet(*regions, services=[service("api")], deployments={"api": plan})
    return asked(world, {("edge", "api"): demand})["api"]


def test_L12_a_region_that_stands_by_never_takes_what_only_finds_no_room() -> None:
    plan = deployed(Group("active", ("a",), 1.0), kind=DeploymentType.ACTIVE_PASSIVE, standby="bc")
    kind = under(plan, at("a"), at("b"), at("c"), demand=150.0)
    assert (tiers(kind), kind.overload) == ([{"a": 10_000}, {"b": 10_000}, {"c": 10_000}], 50)
    lost = under(plan, at("a", "down"), at("b"), at("c"), demand=150.0)
    assert ([t.region_id for t in first(lost)], lost.overload) == (["b"], 50)


def test_L7_in_a_shift_each_group_fills_its_own_regions() -> None:
    blue, green = Group("blue", ("a", "b"), 90.0), Group("green", ("c", "d"), 10.0)
    kind = under(deployed(blue, green, kind=DeploymentType.BLUE_GREEN), *map(at, "abcd"), demand=150.0)
    assert tiers(kind)[0] == {"a": 6000, "b": 3000, "c": 1000}
    assert [t.region_id for t in kind.tiers[1]] == ["d"]


# --- L8: who is next -------------------------------------------------------------------------------


def test_L8_next_comes_one_with_room_for_what_would_be_lost_and_a_full_one_last() -> None:
    regions = [at("a"), at("b", load=60.0), at("c", load=99.9999999), at("d"), at("e", "saturated")]
    assert [t.region_id for t in one(*regions, demand=80.0).targets] == list("adebc")
    assert [t.region_id for t in one(*regions, demand=30.0).targets] == list("abdec")


def test_L8_who_takes_traffic_stays_before_who_stands_by_whatever_room_there_is() -> None:
    plan = deployed(Group("active", ("a", "b"), 1.0), kind=DeploymentType.ACTIVE_ACTIVE, standby="cd")
    kind = under(plan, at("a"), at("b", load=60.0), at("c", load=60.0), at("d"), demand=80.0)
    assert [t.region_id for t in kind.targets] == list("abdc")


# --- L7, L16: properties ---------------------------------------------------------------------------


@st.composite
def demands(draw: st.DrawFn, world: Fleet) -> Demand:
    names = [
        (edge_id, kind.name)
        for edge_id, edge in steered(world).edges.items()
        for kind in edge.classes
        if len(kind.requirements) < 2
    ]
    chosen = draw(st.lists(st.sampled_from(names), max_size=8, unique=True))
    return {key: draw(st.floats(0.5, 400.0)) for key in chosen}


def planned(world: Fleet, demand: Demand, carried: Mapping[str, float] | None = None) -> TrafficPlan:
    return plan_traffic(world, EDGES, replace(GIVEN, demand=demand, carried=carried or {}))


def usable(world: Fleet, kind: TrafficClass) -> set[str]:
    """Regions of a class that may be filled; of a deployment, those that take traffic, while one of them serves."""
    needs = in_force(world, needs_of(world, requested(world, kind)))
    lawful = {name for name, region in world.regions.items() if is_lawful(region, needs)}
    serving = {t.region_id for t in kind.targets if t.standing is Standing.SERVING} & lawful
    record = world.deployments.get(kind.service)
    if record is None:
        return serving
    return serving & set(record.active) or {target.region_id for target in first(kind)}


@settings(max_examples=200, deadline=None)
@given(worlds(), st.data())
def test_L7_no_region_is_given_more_than_its_room_while_another_of_the_class_has_some(world: Fleet, data: Any) -> None:
    demand = data.draw(demands(world))
    plan = planned(world, demand)
    loads = loads_of(plan, demand)
    slack = 0.002 * sum(demand.values()) + 0.001
    free = {n: r.max_capacity - r.load - loads.get(n, 0.0) for n, r in world.regions.items()}
    for kind, flow in flows(plan, demand):
        record = world.deployments.get(kind.service)
        if record is not None and len(record.groups) > 1:
            continue
        for name in flow:
            if free[name] < -slack and flow[name] > slack:
                assert all(free[other] <= slack for other in usable(world, kind)), (kind.name, free)


@settings(max_examples=150, deadline=None)
@given(worlds(), st.data())
def test_L7_nobody_is_overloaded_without_a_word_and_nobody_is_told_so_without_need(world: Fleet, data: Any) -> None:
    demand = data.draw(demands(world))
    plan = planned(world, demand)
    loads = loads_of(plan, demand)
    slack = 0.002 * sum(demand.values()) + 0.001
    told = sum(kind.overload for kind, _ in flows(plan, demand))
    beyond = sum(
        min(loads.get(name, 0.0), max(0.0, loads.get(name, 0.0) + region.load - region.max_capacity))
        for name, region in world.regions.items()
    )
    assert abs(told - beyond) <= slack * len(world.regions)


@settings(max_examples=150, deadline=None)
@given(worlds(), st.data())
def test_L16_a_plan_carried_out_and_reported_back_is_the_plan_that_is_made_again(world: Fleet, data: Any) -> None:
    demand = data.draw(demands(world))
    plan = planned(world, demand)
    for _ in range(3):
        carried = loads_of(plan, demand)
        loaded = {n: replace(r, load=r.load + carried.get(n, 0.0)) for n, r in world.regions.items()}
        again = planned(replace(world, regions=MappingProxyType(loaded)), demand, carried)
        assert repr(again) == repr(plan)
        plan = again


@settings(max_examples=100, deadline=None)
@given(worlds(), st.data())
def test_L16_wherever_traffic_is_now_it_goes_to_the_same_place(world: Fleet, data: Any) -> None:
    """Two controllers, or one before and after a shift, that see equal demand make equal plans."""
    demand = data.draw(demands(world))
    plans = []
    for _ in range(2):
        spread = data.draw(st.dictionaries(st.sampled_from(sorted(world.regions)), st.floats(0.5, 500.0)))
        loaded = {n: replace(r, load=r.load + spread.get(n, 0.0)) for n, r in world.regions.items()}
        plans.append(planned(replace(world, regions=MappingProxyType(loaded)), demand, spread))
    assert repr(plans[0]) == repr(plans[1])


@settings(max_examples=100, deadline=None)
@given(worlds(), st.data())
def test_L6_room_changes_neither_who_is_in_a_class_nor_what_is_said_of_the_others(world: Fleet, data: Any) -> None:
    demand = data.draw(demands(world))
    for before, (after, _) in zip(
        (kind for edge in steered(world).edges.values() for kind in edge.classes),
        flows(planned(world, demand), demand),
        strict=True,
    ):
        assert {t.region_id: t.standing for t in before.targets} == {t.region_id: t.standing for t in after.targets}
        assert len(list(before.targets)) == len(list(after.targets))
        assert (before.name, before.excluded, before.exhausted) == (after.name, after.excluded, after.exhausted)


def test_L16_two_edges_with_one_nearest_region_do_not_swing() -> None:
    demand = {("edge", "api"): 100.0, ("twin", "api"): 100.0}
    regions = {name: at(name) for name in "ab"}
    carried: Loads = {"a": 200.0}
    seen = []
    for _ in range(4):
        loaded = [replace(region, load=carried.get(name, 0.0)) for name, region in regions.items()]
        plan = plan_of(fleet(*loaded, services=[service("api")]), demand, carried, EDGE, TWIN)
        carried = loads_of(plan, demand)
        seen.append(carried)
    assert seen == [{"a": 100.0, "b": 100.0}] * 4


def test_L16_a_region_booked_with_the_load_of_a_lost_one_is_not_taken_for_full() -> None:
    world = fleet(at("a", "down", load=0.0), at("b", load=100.0), at("c", load=0.0), services=[service("api")])
    kind = asked(world, {("edge", "api"): 90.0}, {"a": 90.0, "b": 10.0})["api"]
    assert tiers(kind) == [{"a": 10_000}, {"b": 10_000}, {"c": 10_000}]


def test_equal_demand_in_another_order_makes_an_equal_plan() -> None:
    services = [service(name, priority=1) for name in ("x", "y", "z")]
    world = fleet(*map(at, "abc"), services=services)
    demand = {("edge", name): 77.0 for name in ("x", "y", "z")}
    assert repr(plan_of(world, demand)) == repr(plan_of(world, dict(reversed(demand.items()))))


def test_phases_are_all_told_apart_from_room() -> None:
    """Only down regions take nothing: every other phase that serves may be filled."""
    for phase in Phase:
        kind = one(at("a", phase), demand=50.0)
        assert (kind.exhausted is None) is (phase is not Phase.DOWN)
