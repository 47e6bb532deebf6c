"""A loss is one word about one region, L8 and L16: no other byte of what edges are told changes with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from mahavishnu.integrations.multi_region.core.deployment import DeploymentView
from mahavishnu.integrations.multi_region.core.model import (
    AdminState,
    Fleet,
    Phase,
    RegionView,
    RoutingStrategy,
)
from mahavishnu.integrations.multi_region.core.steering import plan_traffic
from mahavishnu.integrations.multi_region.core.traffic import Standing, Target, TrafficClass, TrafficPlan
from mahavishnu.integrations.multi_region.testing.builders import fleet, service
from tests.laws.test_steering import EDGES, classes, steered, strict, worlds
from tests.laws.test_steering_room import EDGE, GIVEN, at, plan_of, tiers
from tests.laws.worlds import FIVE

Told = dict[tuple[str, str], TrafficClass]


def told(plan: TrafficPlan) -> Told:
    return {(name, kind.name): kind for name, edge in plan.edges.items() for kind in edge.classes}


def with_region(world: Fleet, name: str, **fields: Any) -> Fleet:
    return replace(world, regions=MappingProxyType({**world.regions, name: replace(world.regions[name], **fields)}))


def well(world: Fleet, name: str) -> Fleet:
    fields = {"phase": Phase.HEALTHY, "held": None, "serves_as": None, "health_score": 100.0}
    return with_region(world, name, **fields, admin=AdminState.ACTIVE, failed_over=None, failed_services=None)


def is_exact(record: DeploymentView | None) -> bool:
    """Whether groups share traffic: there the next of a group takes the place of one that is lost."""
    return record is not None and sum(group.weight > 0 for group in record.groups) > 1


def retold(kind: TrafficClass, name: str, standing: Standing) -> TrafficClass:
    """The class with another word about one region and none about whether anybody serves."""

    def word(target: Target) -> Target:
        return replace(target, standing=standing) if target.region_id == name else target

    return replace(kind, tiers=tuple(tuple(map(word, tier)) for tier in kind.tiers), exhausted=None)


def unlike(world: Fleet, before: Told, after: Told, name: str, standing: Standing) -> Iterator[TrafficClass]:
    """Classes that differ in more than that word."""
    assert list(before) == list(after)
    for key, kind in before.items():
        if is_exact(world.deployments.get(kind.service)):
            continue
        if repr(retold(kind, name, standing)) != repr(replace(after[key], exhausted=None)):
            yield kind


@settings(max_examples=200, deadline=None)
@given(worlds(), st.data())
def test_L16_a_loss_the_failover_after_it_and_the_return_are_one_word_each(world: Fleet, data: Any) -> None:
    lost = data.draw(st.sampled_from(sorted(world.regions)))
    world = well(strict(world), lost)
    down = with_region(world, lost, phase=Phase.DOWN, health_score=data.draw(st.sampled_from([0.0, 40.0])))
    failed = with_region(down, lost, failed_over="an outage")
    before, dead, gone = told(steered(world)), told(steered(down)), told(steered(failed))
    assert not list(unlike(world, before, dead, lost, Standing.OUT))
    assert not list(unlike(world, dead, gone, lost, Standing.DRAINING))
    back = told(steered(with_region(failed, lost, phase=Phase.HEALTHY, health_score=100.0)))
    assert not list(unlike(world, gone, back, lost, Standing.DRAINING))
    assert repr(told(steered(well(failed, lost)))) == repr(before)


@settings(max_examples=150, deadline=None)
@given(worlds(), st.data())
def test_L16_where_groups_share_traffic_the_failover_is_one_word_all_the_same(world: Fleet, data: Any) -> None:
    lost = data.draw(st.sampled_from(sorted(world.regions)))
    down = with_region(well(strict(world), lost), lost, phase=Phase.DOWN)
    dead, gone = (steered(one) for one in (down, with_region(down, lost, failed_over="an outage")))
    for before, after in zip(classes(dead), classes(gone), strict=True):
        assert repr(retold(before, lost, Standing.DRAINING)) == repr(replace(after, exhausted=None))


@settings(max_examples=150, deadline=None)
@given(worlds(), st.data())
def test_L16_so_is_a_loss_under_traffic_while_everything_fits_where_it_would_go(world: Fleet, data: Any) -> None:
    lost = data.draw(st.sampled_from(sorted(world.regions)))
    roomy = {n: replace(one, load=0.0, max_capacity=10_000.0) for n, one in world.regions.items()}
    world = well(replace(strict(world), regions=MappingProxyType(roomy)), lost)
    names = sorted(told(steered(world)))
    demand = {key: data.draw(st.floats(1, 400)) for key in data.draw(st.lists(st.sampled_from(names), max_size=6))}

    def planned(now: Fleet) -> Told:
        return told(plan_traffic(now, EDGES, replace(GIVEN, demand=demand)))

    down = with_region(world, lost, phase=Phase.DOWN)
    before, dead = planned(world), planned(down)
    assert not list(unlike(world, before, dead, lost, Standing.OUT))
    gone = planned(with_region(down, lost, failed_over="an outage"))
    assert not list(unlike(world, dead, gone, lost, Standing.DRAINING))


# --- tables ----------------------------------------------------------------------------------------


def by(strategy: RoutingStrategy, demand: float, *regions: RegionView) -> TrafficClass:
    weighted = strategy is RoutingStrategy.WEIGHTED
    made = service("api", *("abc" if weighted else ""), weights={"a": 1, "b": 2, "c": 1}, strategy=strategy)
    plan = plan_of(fleet(*regions, services=[made]), {("edge", "api"): demand}, {}, EDGE)
    return next(kind for kind in plan.edges["edge"].classes if kind.name == "api")


def words(kind: TrafficClass) -> Mapping[str, str]:
    return {target.region_id: target.standing.value for target in kind.targets}


POOLED = [RoutingStrategy.ROUND_ROBIN, RoutingStrategy.CAPACITY_BASED, RoutingStrategy.WEIGHTED]


@pytest.mark.parametrize("strategy", POOLED)
@pytest.mark.parametrize("demand", [0.0, 60.0])
def test_L16_in_a_pool_the_lost_one_keeps_its_weight_and_the_others_theirs(
    strategy: RoutingStrategy, demand: float
) -> None:
    whole = by(strategy, demand, *map(at, "abc"))
    lost = by(strategy, demand, at("a"), at("b", "down"), at("c"))
    assert tiers(lost) == tiers(whole)
    assert len(lost.tiers) == 1
    assert words(lost) == {"a": "serving", "b": "out", "c": "serving"}


@pytest.mark.parametrize("strategy", POOLED)
def test_L7_in_a_pool_what_is_shared_is_shared_among_those_that_serve(strategy: RoutingStrategy) -> None:
    kind = by(strategy, 160.0, at("a", max_capacity=60.0), at("b", "down"), at("c"))
    assert tiers(kind)[0] == {"a": 3750, "c": 6250}
    assert [list(tier) for tier in tiers(kind)[1:]] == [["b"]]
    assert kind.overload == 0


@pytest.mark.parametrize("phase", ["degraded", "unknown", "saturated"])
def test_every_other_phase_still_ranks_behind_the_healthy(phase: str) -> None:
    kind = by(RoutingStrategy.LATENCY_BASED, 0.0, at("a", phase), at("b", "down"), at("c"))
    assert [target.region_id for target in kind.targets] == ["b", "c", "a"]


def test_a_region_that_safety_holds_in_service_ranks_as_what_it_serves_as() -> None:
    held = at("a", "down", serves_as=Phase.UNKNOWN, held="too many at once")
    kind = by(RoutingStrategy.LATENCY_BASED, 0.0, held, at("b", "degraded"), at("c"))
    assert [target.region_id for target in kind.targets] == ["c", "b", "a"]
    assert words(kind)["a"] == "serving"


def test_all_five_down_stand_in_the_order_of_the_well() -> None:
    world = fleet(*FIVE, services=[service("api")])
    dead = world
    for name in FIVE:
        dead = with_region(dead, name, phase=Phase.DOWN)
    for before, after in zip(classes(steered(world)), classes(steered(dead)), strict=True):
        assert [t.region_id for t in before.targets] == [t.region_id for t in after.targets]
        assert after.exhausted is not None
