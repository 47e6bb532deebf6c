"""A plan made after another says the same as one made alone, and holds all of the other that is still so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from hypothesis import given, settings, strategies as st

from mahavishnu.integrations.multi_region.core.edges import EdgeSpec
from mahavishnu.integrations.multi_region.core.model import Fleet, Phase, Point
from mahavishnu.integrations.multi_region.core.steering import plan_traffic
from mahavishnu.integrations.multi_region.core.traffic import TrafficPlan
from mahavishnu.integrations.multi_region.testing.builders import fleet, service
from tests.laws.test_steering import EDGES, worlds
from tests.laws.test_steering_room import EDGE, GIVEN, TWIN, Demand, at, demands, plan_of
from tests.laws.worlds import FIVE

ALL_EDGES = {**EDGES, "fr": EdgeSpec("fr", Point(50.0, 8.6), country="DE")}
"""Two of them have one order of regions for their clients, and so share what they are told."""


def planned(world: Fleet, demand: Demand, previous: TrafficPlan | None = None) -> TrafficPlan:
    return plan_traffic(world, ALL_EDGES, replace(GIVEN, demand=demand), previous)


def parts(plan: TrafficPlan) -> Iterator[tuple[tuple[str, ...], object]]:
    """All that has a name in a plan, by its name."""
    for edge_id, edge in plan.edges.items():
        yield (edge_id,), edge
        for one in edge.services:
            yield (edge_id, one.service), one
            for kind in one.classes:
                yield (edge_id, one.service, kind.name), kind
                for target in kind.targets:
                    yield (edge_id, one.service, kind.name, target.region_id), target


def is_shared_wherever_equal(plan: TrafficPlan, previous: TrafficPlan) -> bool:
    olds = dict(parts(previous))
    return all(part is olds[name] for name, part in parts(plan) if name in olds and part == olds[name])


@settings(max_examples=150, deadline=None)
@given(worlds(), worlds(), st.data())
def test_a_plan_after_another_is_equal_and_shares_all_that_is_equal(one: Fleet, other: Fleet, data: Any) -> None:
    demand, later = data.draw(demands(one)), data.draw(demands(other))
    first = planned(one, demand)
    for world, asked in ((other, later), (one, demand), (one, later)):
        alone, after = planned(world, asked), planned(world, asked, first)
        assert after == alone
        assert repr(after) == repr(alone)
        assert is_shared_wherever_equal(after, first)
        first = after


@settings(max_examples=150, deadline=None)
@given(worlds(), st.data())
def test_a_small_change_leaves_all_else_the_same_objects(world: Fleet, data: Any) -> None:
    demand = data.draw(demands(world))
    first = planned(world, demand)
    for _ in range(3):
        name = data.draw(st.sampled_from(sorted(world.regions)))
        changed = replace(world.regions[name], phase=data.draw(st.sampled_from(Phase)), serves_as=None, held=None)
        world = replace(world, regions=MappingProxyType({**world.regions, name: changed}))
        demand = {key: rate for key, rate in demand.items() if data.draw(st.booleans())}
        after = planned(world, demand, first)
        assert after == planned(world, demand)
        assert is_shared_wherever_equal(after, first)
        first = after


def test_where_nothing_changed_everything_is_the_same_object() -> None:
    world = fleet(*FIVE, services=[service("api"), service("web")])
    demand = {(edge_id, "api"): 150.0 for edge_id in ALL_EDGES}
    first = planned(world, demand)
    after = planned(replace(world, generation=world.generation + 1), demand, first)
    assert after.generation == first.generation + 1
    assert all(after.edges[name] is first.edges[name] for name in ALL_EDGES)


def test_edges_that_share_what_they_are_told_go_on_to() -> None:
    world = fleet(*map(at, "abc"), services=[service("api"), service("web")])
    first = plan_of(world, {}, {}, EDGE, TWIN)
    lost = fleet(at("a", "down"), at("b"), at("c"), services=[service("api"), service("web")])
    edges = {"edge": EDGE, "twin": TWIN}
    after = plan_traffic(lost, edges, GIVEN, first)
    assert after.edges["edge"].services is after.edges["twin"].services
    assert after.edges["edge"].services is not first.edges["edge"].services


def test_a_service_that_came_or_went_leaves_the_others_the_same_objects() -> None:
    three = [service("api"), service("mid"), service("web")]
    first = plan_of(fleet(*map(at, "abc"), services=three), {})
    after = plan_traffic(fleet(*map(at, "abc"), services=three[::2]), {"edge": EDGE}, GIVEN, first)
    olds = {one.service: one for one in first.edges["edge"].services}
    assert [one.service for one in after.edges["edge"].services] == ["api", "web"]
    assert all(one is olds[one.service] for one in after.edges["edge"].services)
