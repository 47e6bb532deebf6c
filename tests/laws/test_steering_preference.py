"""What edges are told where a policy prefers regions and lets others serve while none of those can: L6, L7, L8, L16."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, combinations
from types import MappingProxyType
from typing import Any

from hypothesis import assume, given, settings, strategies as st

from mahavishnu.integrations.multi_region.core.model import (
    Fleet,
    LocalityLevel,
    Phase,
    PolicyView,
    RegionView,
    RoutingStrategy,
)
from mahavishnu.integrations.multi_region.core.ranking import RankInput
from mahavishnu.integrations.multi_region.core.request import Request
from mahavishnu.integrations.multi_region.core.routing import decide
from mahavishnu.integrations.multi_region.core.steering import plan_traffic
from mahavishnu.integrations.multi_region.core.traffic import Standing, TrafficClass, TrafficPlan
from mahavishnu.integrations.multi_region.errors import NoEligibleRegionError
from mahavishnu.integrations.multi_region.testing.builders import policy
from tests.laws.test_steering import EDGES, SINGLE, asked, classes, steered, to_place, worlds
from tests.laws.test_steering_losses import told, unlike, well, with_region
from tests.laws.test_steering_room import GIVEN, Demand, demands, flows
from tests.laws.worlds import frameworks, in_shape, lawful, names, runs_there


@st.composite
def preferring(draw: st.DrawFn) -> Fleet:
    """Any fleet whose services all have policies that prefer some regions."""
    world = draw(worlds())
    lists = st.lists(names, min_size=1, max_size=4, unique=True)
    made = [PolicyView.of(policy(name, allow=draw(lists), require=draw(frameworks))) for name in ("p", "q")]
    policies = {one.policy_id: replace(one, locality_level=LocalityLevel.PREFERRED) for one in made}
    services = {n: replace(s, policy=draw(st.sampled_from(["p", "q"]))) for n, s in world.services.items()}
    assume(services)
    return replace(world, policies=MappingProxyType(policies), services=MappingProxyType(services))


def plain(world: Fleet) -> Fleet:
    """The same with no plans of record and room everywhere, so that health alone says who can serve."""
    regions = {n: replace(r, load=0.0, max_capacity=10_000.0) for n, r in world.regions.items()}
    for name, one in regions.items():
        if one.standing is Phase.SATURATED:
            regions[name] = replace(one, phase=Phase.DEGRADED, serves_as=None, held=None)
    return replace(world, regions=MappingProxyType(regions), deployments=MappingProxyType({}))


def unlisted(world: Fleet) -> Fleet:
    """The law at its widest: what a policy prefers binds nobody, what it requires binds as before."""
    policies = {n: replace(p, allowed_regions=None) for n, p in world.policies.items()}
    return replace(world, policies=MappingProxyType(policies))


def has_part(world: Fleet, one: RegionView, request: Request) -> bool:
    record = world.deployments.get(request.service or "")
    return runs_there(world, one, request) if record is None else one.region_id in (*record.active, *record.warm)


def takes_traffic(world: Fleet, one: RegionView, request: Request) -> bool:
    record = world.deployments.get(request.service or "")
    return has_part(world, one, request) and (record is None or one.region_id in record.active)


def sides(world: Fleet, request: Request) -> tuple[set[str], set[str]]:
    """Who is preferred, and who may serve beyond: by the declarations alone."""
    able = [one for one in world.regions.values() if has_part(world, one, request)]
    preferred = {one.region_id for one in able if lawful(world, one, request)}
    return preferred, {one.region_id for one in able if lawful(unlisted(world), one, request)} - preferred


def holds(world: Fleet, request: Request) -> bool:
    """Whether a preferred region can serve."""
    regions = (r for r in world.regions.values() if takes_traffic(world, r, request) and lawful(world, r, request))
    return any(in_shape(one, request) for one in regions)


def mixed(kind: TrafficClass, preferred: set[str]) -> bool:
    """Whether a tier holds some that are preferred and some that are not."""
    return any(len({target.region_id in preferred for target in tier}) > 1 for tier in kind.tiers)


def walked(kind: TrafficClass, without: frozenset[str] = frozenset()) -> set[str]:
    """Who serves at an edge that finds some regions dead and does as it is told with the others."""
    for tier in kind.tiers:
        if alive := {t.region_id for t in tier if t.standing is Standing.SERVING} - without:
            return alive
    return set()


def in_service(kind: TrafficClass) -> frozenset[str]:
    return frozenset(target.region_id for target in kind.targets if target.standing is Standing.SERVING)


def subsets(regions: frozenset[str]) -> Iterator[frozenset[str]]:
    several = chain.from_iterable(combinations(sorted(regions), size) for size in range(len(regions) + 1))
    return map(frozenset, several)


def planned(world: Fleet, demand: Demand) -> TrafficPlan:
    return plan_traffic(world, EDGES, replace(GIVEN, demand=demand))


@settings(max_examples=200, deadline=None)
@given(preferring(), st.frozensets(names), st.data())
def test_L6_a_class_holds_all_that_law_may_ever_allow_and_no_tier_mixes_who_is_preferred_with_who_is_not(
    world: Fleet, alive: frozenset[str], data: Any
) -> None:
    for kind in (*classes(steered(world, alive)), *classes(planned(world, data.draw(demands(world))))):
        preferred, beyond = sides(world, asked(world, kind))
        assert {target.region_id for target in kind.targets} == preferred | beyond
        assert set(kind.excluded) == set(world.regions) - preferred - beyond
    for kind in classes(steered(world, alive)):
        assert not mixed(kind, sides(world, asked(world, kind))[0])


@settings(max_examples=200, deadline=None)
@given(preferring(), st.data())
def test_L6_while_a_preferred_region_can_serve_all_of_them_come_first_and_take_everything(
    world: Fleet, data: Any
) -> None:
    demand = data.draw(demands(world))
    for kind, flow in flows(planned(world, demand), demand):
        request = asked(world, kind)
        preferred, beyond = sides(world, request)
        if holds(world, request):
            assert {target.region_id for target in list(kind.targets)[: len(preferred)]} == preferred
            assert not {name for name, rate in flow.items() if rate} & beyond
            assert not mixed(kind, preferred)


@settings(max_examples=100, deadline=None)
@given(preferring(), st.data())
def test_L8_whatever_is_lost_edges_fall_to_the_preferred_that_are_left_and_else_to_whom_law_then_allows(
    world: Fleet, data: Any
) -> None:
    for kind in classes(planned(world, data.draw(demands(world)))):
        request = asked(world, kind)
        preferred, beyond = sides(world, request)
        if not holds(world, request):
            continue
        for lost in subsets(in_service(kind)):
            left = in_service(kind) - lost
            expected = (left & preferred) or (left & beyond)
            assert walked(kind, lost) <= expected
            assert bool(walked(kind, lost)) is bool(left)


@settings(max_examples=150, deadline=None)
@given(preferring().map(plain), st.data())
def test_L16_the_loss_of_the_last_preferred_region_is_one_word_too(world: Fleet, data: Any) -> None:
    lost = data.draw(st.sampled_from(sorted(world.regions)))
    world = well(world, lost)
    down = with_region(world, lost, phase=Phase.DOWN, health_score=0.0)
    failed = with_region(down, lost, failed_over="an outage")
    demand = data.draw(demands(world))
    before, dead, gone = (told(planned(one, demand)) for one in (world, down, failed))
    assert not list(unlike(world, before, dead, lost, Standing.OUT))
    assert not list(unlike(world, dead, gone, lost, Standing.DRAINING))
    assert repr(told(planned(well(failed, lost), demand))) == repr(before)


@settings(max_examples=100, deadline=None)
@given(preferring().map(plain), st.sampled_from(sorted(SINGLE)), st.data())
def test_L8_after_any_losses_the_plan_says_what_edges_did_by_themselves(
    world: Fleet, strategy: RoutingStrategy, data: Any
) -> None:
    services = {n: replace(s, strategy=strategy) for n, s in world.services.items()}
    world = replace(world, services=MappingProxyType(services))
    lost = data.draw(st.frozensets(st.sampled_from(sorted(world.regions))))
    then = world
    for name in lost:
        then = with_region(then, name, phase=Phase.DOWN, serves_as=None, held=None)
    for before, after in zip(classes(steered(world)), classes(steered(then)), strict=True):
        assert walked(before, lost) == walked(after)


@settings(max_examples=200, deadline=None)
@given(preferring())
def test_edges_are_told_what_the_router_would_decide(world: Fleet) -> None:
    for edge in steered(world).edges.values():
        for kind in edge.classes:
            made, record = world.services.get(kind.service), world.deployments.get(kind.service)
            strategy = made.strategy if made is not None else RoutingStrategy.LATENCY_BASED
            if kind.area or strategy not in SINGLE or (record is not None and len(record.groups) > 1):
                continue
            place = edge.edge.point
            near = RankInput(place, estimate=to_place(place))
            try:
                wanted = decide(world, asked(world, kind, location=place), strategy, near, 0).selected_region
            except NoEligibleRegionError:
                continue
            assert next(t.region_id for t in kind.targets if t.standing is Standing.SERVING) == wanted
