"""What edges are told keeps the laws: L6, L8, L9, L10, L11, by their names; and says what the router would say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from hypothesis import assume, given, settings, strategies as st

from mahavishnu.integrations.multi_region.core.deployment import DeploymentView, Group, State
from mahavishnu.integrations.multi_region.core.edges import ClientPlace, EdgeSpec
from mahavishnu.integrations.multi_region.core.eligibility import lawful_objection
from mahavishnu.integrations.multi_region.core.geo import distance_km
from mahavishnu.integrations.multi_region.core.model import (
    AdminState,
    ComplianceFramework,
    DeploymentType,
    Fleet,
    HealthCheck,
    LocalityLevel,
    Phase,
    Point,
    RoutingStrategy,
)
from mahavishnu.integrations.multi_region.core.ranking import Key, RankInput
from mahavishnu.integrations.multi_region.core.request import Request, needs_of, shares_of
from mahavishnu.integrations.multi_region.core.routing import decide
from mahavishnu.integrations.multi_region.core.steering import SteeringInput, plan_traffic
from mahavishnu.integrations.multi_region.core.traffic import Standing, TrafficClass, TrafficPlan
from mahavishnu.integrations.multi_region.errors import NoEligibleRegionError
from tests.laws.worlds import FIVE, fleets, lawful, names, runs_there

EDGES = {
    "de": EdgeSpec("de", Point(50.1, 8.7), country="DE"),
    "jp": EdgeSpec("jp", Point(35.7, 139.7), client_place=ClientPlace.GEOIP),
}
COUNTRIES = {"BR": Point(-15.0, -50.0), "DE": Point(51.0, 10.0), "JP": Point(36.5, 138.0), "US": Point(37.0, -85.0)}
SINGLE = {
    RoutingStrategy.LATENCY_BASED,
    RoutingStrategy.COMPLIANCE_BASED,
    RoutingStrategy.COST_BASED,
    RoutingStrategy.HEALTH_BASED,
    RoutingStrategy.DATA_LOCALITY,
}


def to_place(place: Point) -> Key:
    return lambda region: distance_km(place, region.point) / 100.0


def steered(
    world: Fleet, seen_alive: frozenset[str] = frozenset(), edges: Mapping[str, EdgeSpec] = EDGES
) -> TrafficPlan:
    given = SteeringInput(
        lambda place, country: to_place(place),
        lambda region_id: HealthCheck(),
        COUNTRIES,
        seen_alive,
    )
    return plan_traffic(world, edges, given)


def classes(plan: TrafficPlan) -> Iterator[TrafficClass]:
    return (kind for edge in plan.edges.values() for kind in edge.classes)


def asked(world: Fleet, kind: TrafficClass, **fields: Any) -> Request:
    requirements = frozenset(ComplianceFramework(name) for name in kind.requirements)
    known = kind.service in world.services or kind.service in world.deployments
    return Request(service=kind.service if known else None, requirements=requirements, **fields)


@st.composite
def plans_of_record(draw: st.DrawFn, name: str) -> DeploymentView:
    """Any deployment over the five: a few groups with any weights, some regions that stand by."""
    regions = draw(st.permutations(FIVE))
    cut, end = draw(st.integers(1, 3)), draw(st.integers(3, 5))
    weights = draw(st.tuples(st.floats(0, 9), st.floats(0.1, 9)))
    kind = draw(st.sampled_from(DeploymentType))
    groups: tuple[Group, ...] = (
        Group("blue", tuple(regions[:cut]), weights[0]),
        Group("green", tuple(regions[cut:end]), weights[1]),
    )
    groups = groups[1:] if kind is DeploymentType.ACTIVE_PASSIVE else tuple(g for g in groups if g.regions)
    state = draw(st.sampled_from([State.SERVING, State.SHIFTING, State.PREPARING]))
    standby = () if kind is DeploymentType.BLUE_GREEN else tuple(regions[end:])
    return DeploymentView(name + "-1", name, kind, tuple(regions), state, groups, 0.0, 0.0, 0.0, standby=standby)


@st.composite
def worlds(draw: st.DrawFn) -> Fleet:
    """Any fleet, with any strategies, preferences and plans of record."""
    world = draw(fleets())
    services = {n: replace(s, strategy=draw(st.sampled_from(RoutingStrategy))) for n, s in world.services.items()}
    levels = st.sampled_from([LocalityLevel.STRICT, LocalityLevel.PREFERRED])
    policies = {n: replace(p, locality_level=draw(levels)) for n, p in world.policies.items()}
    of_record = [name for name in (*services, "undeclared") if draw(st.booleans())]
    deployments = {name: plan for name in of_record if (plan := draw(plans_of_record(name))).active}
    return replace(
        world,
        services=MappingProxyType(services),
        policies=MappingProxyType(policies),
        deployments=MappingProxyType(deployments),
    )


def strict(world: Fleet) -> Fleet:
    """What only some regions are preferred for is ``test_steering_preference.py``'s."""
    policies = {n: replace(p, locality_level=LocalityLevel.STRICT) for n, p in world.policies.items()}
    return replace(world, policies=MappingProxyType(policies))


seen = st.frozensets(names)


# --- L6: law before optimum ------------------------------------------------------------------------


@settings(max_examples=150)
@given(worlds(), seen)
def test_L6_no_unlawful_region_is_in_any_tier_of_any_class(world: Fleet, alive: frozenset[str]) -> None:
    for kind in classes(steered(world, alive)):
        needs = replace(needs_of(world, asked(world, kind)), beyond_preference=True)
        held = {target.region_id for target in kind.targets}
        allowed = {r.region_id for r in world.regions.values() if lawful_objection(r, needs) is None}
        part = allowed if needs.deployment is None else allowed & {*needs.deployment.active, *needs.deployment.warm}
        assert held == part
        assert set(kind.excluded) == set(world.regions) - part
        assert len(list(kind.targets)) == len(held)


@settings(max_examples=150)
@given(fleets(), seen)
def test_L6_nor_by_the_law_as_it_is_declared(world: Fleet, alive: frozenset[str]) -> None:
    for kind in classes(steered(world, alive)):
        request = asked(world, kind)
        able = {
            one.region_id
            for one in world.regions.values()
            if lawful(world, one, request) and runs_there(world, one, request)
        }
        assert {target.region_id for target in kind.targets} == able
        assert bool(able) or kind.exhausted is not None


@settings(max_examples=100)
@given(fleets(), st.data())
def test_L6_no_health_drain_or_failure_changes_who_is_in_a_class(world: Fleet, data: Any) -> None:
    regions = {
        name: replace(
            one,
            phase=data.draw(st.sampled_from(Phase)),
            admin=data.draw(st.sampled_from(AdminState)),
            failed_over=data.draw(st.none() | st.just("fire")),
            load=data.draw(st.sampled_from([0.0, 500.0])),
        )
        for name, one in world.regions.items()
    }
    before, after = (
        [(kind.name, {target.region_id for target in kind.targets}, dict(kind.excluded)) for kind in classes(plan)]
        for plan in (steered(world), steered(replace(world, regions=MappingProxyType(regions))))
    )
    assert before == after


# --- L8: planned before needed ---------------------------------------------------------------------


def in_line(kind: TrafficClass, without: str) -> list[str]:
    return [t.region_id for t in kind.targets if t.standing is Standing.SERVING and t.region_id != without]


@settings(max_examples=100)
@given(fleets(), st.sampled_from(sorted(SINGLE)), st.data())
def test_L8_whichever_region_is_lost_edges_already_hold_what_they_would_then_be_told(
    world: Fleet, strategy: RoutingStrategy, data: Any
) -> None:
    services = {n: replace(s, strategy=strategy) for n, s in world.services.items()}
    world = replace(world, services=MappingProxyType(services))
    lost = data.draw(st.sampled_from(sorted(world.regions)))
    dead = replace(world.regions[lost], phase=Phase.DOWN, serves_as=None, held=None)
    then = steered(replace(world, regions=MappingProxyType({**world.regions, lost: dead})))
    for before, after in zip(classes(steered(world)), classes(then), strict=True):
        assert in_line(before, lost) == in_line(after, lost)


@settings(max_examples=100)
@given(worlds().map(strict))
def test_L8_the_warm_regions_of_a_deployment_stand_behind_its_active_ones(world: Fleet) -> None:
    for kind in classes(steered(world)):
        record = world.deployments.get(kind.service)
        if record is None:
            continue
        held = [target.region_id for target in kind.targets]
        active = [name for name in held if name in record.active]
        assert set(held[: len(active)]) == set(active)
        warm = [n for n in held[len(active) :] if world.regions[n].standing is Phase.HEALTHY and roomy(world, n)]
        assert warm == [name for name in record.warm if name in warm]


def roomy(world: Fleet, name: str) -> bool:
    return world.regions[name].load < world.regions[name].max_capacity


@settings(max_examples=100)
@given(fleets())
def test_L8_while_another_lawful_region_is_well_there_is_somewhere_to_go(world: Fleet) -> None:
    for kind in classes(steered(world)):
        request = asked(world, kind)
        well = {
            one.region_id
            for one in world.regions.values()
            if lawful(world, one, request)
            and runs_there(world, one, request)
            and one.admin is AdminState.ACTIVE
            and one.failed_over is None
            and one.standing is not Phase.DOWN
        }
        serving = {target.region_id for target in kind.targets if target.standing is Standing.SERVING}
        assert well <= serving


# --- L9, L10: health alone empties nothing ---------------------------------------------------------


@settings(max_examples=150)
@given(worlds(), seen)
def test_L10_no_class_is_emptied_by_our_own_probes_while_edges_see_it_alive(
    world: Fleet, alive: frozenset[str]
) -> None:
    for kind in classes(steered(world, alive)):
        told = {target.region_id: target.standing for target in kind.targets}
        blamed = {name for name, standing in told.items() if standing is Standing.OUT}
        if Standing.SERVING not in told.values():
            assert not blamed & alive
            assert kind.exhausted is not None
        else:
            assert kind.exhausted is None


@settings(max_examples=100)
@given(worlds(), seen)
def test_L9_what_safety_holds_in_service_is_never_told_to_be_out(world: Fleet, alive: frozenset[str]) -> None:
    held = {name for name, one in world.regions.items() if one.serves_as is not None}
    for kind in classes(steered(world, alive)):
        assert not held & {target.region_id for target in kind.targets if target.standing is Standing.OUT}


@settings(max_examples=100)
@given(worlds(), seen)
def test_L7_a_region_without_room_is_not_dropped(world: Fleet, alive: frozenset[str]) -> None:
    for kind in classes(steered(world, alive)):
        for target in kind.targets:
            one = world.regions[target.region_id]
            if target.standing is Standing.OUT:
                assert one.standing is Phase.DOWN


# --- L11: the operator's word stands ---------------------------------------------------------------


@settings(max_examples=150)
@given(worlds())
def test_L11_a_drained_region_is_never_told_to_serve(world: Fleet) -> None:
    for kind in classes(steered(world, frozenset(FIVE))):
        for target in kind.targets:
            one = world.regions[target.region_id]
            away = one.failed_over is not None and (
                one.failed_services is None or (kind.service in one.failed_services and kind.service in world.services)
            )
            expected = one.admin is not AdminState.ACTIVE or away
            assert (target.standing is Standing.DRAINING) is expected


# --- one answer, whoever gives it ------------------------------------------------------------------


@settings(max_examples=200)
@given(worlds())
def test_edges_are_told_what_the_router_would_decide_for_a_client_at_the_edge(world: Fleet) -> None:
    plan = steered(world)
    for edge in plan.edges.values():
        for kind in edge.classes:
            made = world.services.get(kind.service)
            strategy = made.strategy if made is not None else RoutingStrategy.LATENCY_BASED
            record = world.deployments.get(kind.service)
            if kind.area or strategy not in SINGLE or (record is not None and len(record.groups) > 1):
                continue
            place = edge.edge.point
            nearness = RankInput(place, estimate=to_place(place))
            try:
                wanted = decide(world, asked(world, kind, location=place), strategy, nearness, 0).selected_region
            except NoEligibleRegionError:
                continue
            assert next(t.region_id for t in kind.targets if t.standing is Standing.SERVING) == wanted


@settings(max_examples=200)
@given(worlds(), st.integers(0, 1000))
def test_where_the_router_takes_turns_each_of_its_choices_is_in_the_first_tier_that_serves(
    world: Fleet, turn: int
) -> None:
    place = EDGES["de"].point
    for kind in steered(world).edges["de"].classes:
        made = world.services.get(kind.service)
        strategy = made.strategy if made is not None else RoutingStrategy.LATENCY_BASED
        weights = shares_of(made, world.deployments.get(kind.service))
        given_input = RankInput(place, weights=weights, estimate=to_place(place))
        try:
            chosen = decide(world, asked(world, kind, location=place), strategy, given_input, turn).selected_region
        except NoEligibleRegionError:
            continue
        first = next(tier for tier in kind.tiers if any(t.standing is Standing.SERVING for t in tier))
        assert chosen in {target.region_id for target in first if target.standing is Standing.SERVING}


@settings(max_examples=100)
@given(worlds())
def test_weights_agree_with_the_plan_of_record(world: Fleet) -> None:
    services = {n: replace(s, strategy=RoutingStrategy.WEIGHTED) for n, s in world.services.items()}
    world = replace(world, services=MappingProxyType(services))
    assume(any(name in services for name in world.deployments))
    for kind in classes(steered(world)):
        record = world.deployments.get(kind.service)
        if record is None or kind.service not in services:
            continue
        for tier in kind.tiers:
            if len(tier) > 1:
                whole = sum(record.weights[target.region_id] for target in tier)
                for target in tier:
                    share = record.weights[target.region_id] / whole
                    assert abs(target.weight / 10_000 - share) <= 0.0002


@settings(max_examples=50)
@given(worlds(), seen)
def test_equal_worlds_get_equal_plans_to_the_byte(world: Fleet, alive: frozenset[str]) -> None:
    turned = replace(
        world,
        regions=MappingProxyType(dict(list(world.regions.items())[::-1])),
        services=MappingProxyType(dict(list(world.services.items())[::-1])),
    )
    assert repr(steered(world, alive)) == repr(steered(turned, alive))


@settings(max_examples=75)
@given(worlds(), seen)
def test_what_edges_and_services_share_changes_nothing_of_what_each_is_told(
    world: Fleet, alive: frozenset[str]
) -> None:
    together = steered(world, alive)
    for edge_id, edge in EDGES.items():
        assert steered(world, alive, {edge_id: edge}).edges[edge_id] == together.edges[edge_id]
    for name in world.services.keys() | world.deployments.keys():
        alone = replace(
            world,
            services=MappingProxyType({n: s for n, s in world.services.items() if n == name}),
            deployments=MappingProxyType({n: d for n, d in world.deployments.items() if n == name}),
        )
        found = [kind for kind in together.edges["de"].classes if kind.service == name]
        assert list(steered(alone, alive).edges["de"].classes) == found
