"""Batches: the very answers of one request at a time, checked input, fair turns, and an event loop that goes on."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from itertools import combinations
from random import Random
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st

from mahavishnu.integrations.multi_region.core.deployment import DeploymentView, Group, State
from mahavishnu.integrations.multi_region.core.model import (
    ComplianceFramework,
    DeploymentType,
    Fleet,
    Phase,
    Point,
    RoutingStrategy,
    Service,
)
from mahavishnu.integrations.multi_region.core.ranking import turn_of
from mahavishnu.integrations.multi_region.core.residuals import Corrections
from mahavishnu.integrations.multi_region.errors import (
    InvalidInputError,
    NoEligibleRegionError,
    UnknownServiceError,
)
from mahavishnu.integrations.multi_region.facts.network import latency_model
from mahavishnu.integrations.multi_region.shell.router import RegionAwareRouter
from mahavishnu.integrations.multi_region.shell.routing.batch import CHUNK, LISTED, Batch, RouteBatch, turns_of
from mahavishnu.integrations.multi_region.shell.routing.batch_winners import WIDTH
from mahavishnu.integrations.multi_region.shell.routing.table import MAX_ARRAYED, PLAIN, RoutingTable
from mahavishnu.integrations.multi_region.testing.builders import fleet, view
from tests.shell.random_worlds import (
    FRAMEWORKS,
    StagedManager,
    change,
    random_client,
    random_corrections,
    random_fleet,
)

dice = st.integers(0, 2**32).map(Random)
NOTHING = Corrections()
EUROPE = ("eu-west-1", "eu-central-1", "us-east-1", "ap-northeast-1")


def router_of(*regions: Any) -> RegionAwareRouter:
    return StagedManager(fleet(*(regions or EUROPE))).router()


def one_by_one(router: RegionAwareRouter, places: list[tuple[float, float]], asked: dict[str, Any]) -> list[str]:
    beside = {key: asked[key] for key in ("service", "compliance_requirements") if asked.get(key) is not None}
    contexts = [{"user_location": {"latitude": a, "longitude": b}, **beside} for a, b in places]
    return [router.route(context, asked.get("strategy")).selected_region for context in contexts]


async def all_at_once(
    router: RegionAwareRouter, places: list[tuple[float, float]], asked: dict[str, Any]
) -> RouteBatch:
    return await router.route_many([a for a, _ in places], [b for _, b in places], **asked)


def random_question(dice: Random, fleet: Fleet) -> dict[str, Any]:
    return {
        "strategy": dice.choice((None, *RoutingStrategy, RoutingStrategy.LATENCY_BASED)),
        "service": dice.choice((None, *fleet.services)),
        "compliance_requirements": [f for f in FRAMEWORKS if dice.random() < 0.3] if dice.random() < 0.5 else None,
    }


@settings(max_examples=120, deadline=None)
@given(dice)
def test_a_batch_answers_what_single_requests_are_answered(dice: Random) -> None:
    manager = StagedManager(random_fleet(dice))
    if dice.random() < 0.5:
        manager.round_trips.corrections = random_corrections(dice, manager.snapshot(), manager.round_trips.corrections)
    one, many = manager.router(), manager.router()
    for _ in range(4):
        asked = random_question(dice, manager.snapshot())
        places = [random_client(dice, manager.snapshot()) for _ in range(dice.choice((1, 2, 40)))]
        try:
            expected = one_by_one(one, places, asked)
        except NoEligibleRegionError as err:
            with pytest.raises(NoEligibleRegionError) as caught:
                asyncio.run(all_at_once(many, places, asked))
            assert str(caught.value) == str(err)
        else:
            found = asyncio.run(all_at_once(many, places, asked))
            assert found.selected == expected, asked
            assert found.revision == manager.snapshot().revision
            assert many.decisions == one.decisions
        change(dice, manager)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0, 100) | st.sampled_from([0.0, 1.0, 10.0, 90.0]), min_size=1, max_size=6).filter(any),
    st.integers(0, 10**9),
)
@example([0.1] * 10, 0)
def test_turns_are_those_of_single_decisions(weights: list[float], first: int) -> None:
    found = turns_of(weights, np.arange(first, first + 50))
    assert found.tolist() == [turn_of(weights, turn) for turn in range(first, first + 50)]


async def test_single_decisions_go_on_where_a_batch_ended() -> None:
    for strategy in (RoutingStrategy.ROUND_ROBIN, RoutingStrategy.WEIGHTED, RoutingStrategy.LATENCY_BASED):
        for regions in (EUROPE, EUROPE[:1]):
            one, many = router_of(*regions), router_of(*regions)
            places = [(50.0, 8.0)] * 7
            asked = {"strategy": strategy}
            expected = one_by_one(one, places * 2, asked)
            found = (await all_at_once(many, places, asked)).selected
            assert found + one_by_one(many, places, asked) == expected


@settings(max_examples=60, deadline=None)
@given(dice)
def test_turns_of_batches_and_single_decisions_are_one_count_whatever_changes_between(dice: Random) -> None:
    manager = StagedManager(fleet("r0", "r1", "r2"))
    one, many = manager.router(), manager.router()
    for _ in range(12):
        ids = [f"r{i}" for i in range(dice.randint(1, 4))]
        manager.registry.now = fleet(*ids)
        places = [(1.0, 2.0)] * dice.choice((1, 2, 3))
        asked = {"strategy": RoutingStrategy.ROUND_ROBIN}
        expected = one_by_one(one, places, asked)
        single = dice.random() < 0.4
        found = one_by_one(many, places, asked) if single else asyncio.run(all_at_once(many, places, asked)).selected
        assert found == expected


def deployed(service: str, *groups: tuple[str, ...]) -> DeploymentView:
    """An active deployment whose groups share the traffic 30 to 70."""
    made = tuple(
        Group(f"g{at}", regions, weight) for at, (regions, weight) in enumerate(zip(groups, (30, 70), strict=True))
    )
    ids = tuple(name for regions in groups for name in regions)
    return DeploymentView("d", service, DeploymentType.ACTIVE_ACTIVE, ids, State.SERVING, made, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("strategy", RoutingStrategy)
async def test_the_groups_of_a_deployment_get_their_shares(strategy: RoutingStrategy) -> None:
    names = [f"r{i}" for i in range(5)]
    plan = MappingProxyType({"api": deployed("api", tuple(names[:2]), tuple(names[2:]))})
    made = replace(fleet(*names, services=[Service("api")]), deployments=plan)
    one, many = StagedManager(made).router(), StagedManager(made).router()
    places = [(float(i % 50), float(i % 170)) for i in range(60)]
    asked = {"strategy": strategy, "service": "api"}
    expected = one_by_one(one, places, asked)
    found = (await all_at_once(many, places[:25], asked)).selected + (
        await all_at_once(many, places[25:], asked)
    ).selected
    assert found == expected
    assert 15 <= sum(name in names[:2] for name in found) <= 21


async def test_more_contenders_than_the_arrays_hold_are_told_apart() -> None:
    ring = [math.radians(360 * i / (3 * WIDTH)) for i in range(3 * WIDTH)]
    cluster = [view(f"r{a:.3f}", point=Point(math.cos(a) / 20, 8.0 + math.sin(a) / 20)) for a in ring]
    one, many = router_of(*cluster), router_of(*cluster)
    dice = Random(1)
    places = [(dice.uniform(-1.5, 1.5), dice.uniform(6.5, 9.5)) for _ in range(400)]
    found = (await all_at_once(many, places, {})).selected
    assert found == one_by_one(one, places, {})
    assert len(set(found)) > 3


async def test_of_equal_estimates_the_first_wins_as_they_ranked_when_the_batch_began() -> None:
    places = {"a": 10.0, "b": -10.0, "c": 10.0}  # a and c stand at one place, b is as far from the equator
    made = fleet(*(view(name, point=Point(south, 20.0), country="CD") for name, south in places.items()))
    table = RoutingTable(made, latency_model(), NOTHING)
    for better, wins in (("b", "b"), ("c", "c")):
        batch = Batch(table, table.entry(PLAIN), RoutingStrategy.LATENCY_BASED, 0)
        changed = {**made.regions, better: replace(made.regions[better], health_score=99.0)}
        table.follow(replace(made, regions=MappingProxyType(changed)), NOTHING)
        assert table.ids[table.nearest(table.entry(PLAIN).whole, 0.0, 20.0)] == wins
        found, _ = await batch.decide(np.zeros(3), np.full(3, 20.0))
        assert found.selected == ["a"] * 3
        table.follow(made, NOTHING)
        table.entry(PLAIN)


# --- what is asked -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64, np.uint8])
async def test_arrays_of_any_number_type_are_read(kind: Any) -> None:
    found = await router_of().route_many(np.array([52, 35], kind), np.array([13, 139], kind))
    assert found.selected == ["eu-central-1", "ap-northeast-1"]
    assert (str(found.indices.dtype), len(found)) == ("uint16", 2)
    assert [found.region_ids[index] for index in found.indices] == found.selected


@pytest.mark.parametrize(
    "columns", [([52.5, 35], (13, 139.5)), (np.array([52.5, 35], object), [np.float64(13), np.float32(139.5)])]
)
async def test_sequences_may_mix_what_single_requests_may_say(columns: Any) -> None:
    assert (await router_of().route_many(*columns)).selected == ["eu-central-1", "ap-northeast-1"]


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 90.5, -91.0])
@pytest.mark.parametrize("at", [0, LISTED - 1, CHUNK, CHUNK + LISTED + 3])
async def test_the_first_bad_position_is_named(listed: bool, value: float, at: int) -> None:
    latitudes, longitudes = np.zeros(CHUNK + LISTED + 4), np.zeros(CHUNK + LISTED + 4)
    latitudes[at], longitudes[-1] = value, 200.0
    columns = (latitudes.tolist(), longitudes.tolist()) if listed else (latitudes, longitudes)
    router = router_of()
    with pytest.raises(InvalidInputError) as caught:
        await router.route_many(*columns, strategy="round_robin")
    assert caught.value.field == f"latitudes.{at}"
    assert caught.value.allowed == "a number of degrees from -90 to 90"
    assert router.get_routing_stats()["total_decisions"] == 0
    assert router.route({}, "round_robin").selected_region == EUROPE[0]


@pytest.mark.parametrize("value", [True, "1.0", None, 10**400, [1.0], 1j])
async def test_what_is_no_number_is_refused_as_in_single_requests(value: Any) -> None:
    with pytest.raises(InvalidInputError) as caught:
        await router_of().route_many([1.0, 2.0], [3.0, value])
    assert caught.value.field == "longitudes.1"


@pytest.mark.parametrize(
    ("latitudes", "longitudes", "field"),
    [
        ([1.0, 2.0], [1.0], "longitudes"),
        (np.zeros((2, 2)), np.zeros((2, 2)), "latitudes"),
        ("12", "34", "latitudes"),
        (1.0, 2.0, "latitudes"),
        (np.array([True, False]), np.zeros(2), "latitudes.0"),
        (np.array(["1", "2"]), np.zeros(2), "latitudes.0"),
    ],
)
async def test_what_are_no_columns_is_refused(latitudes: Any, longitudes: Any, field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        await router_of().route_many(latitudes, longitudes)
    assert caught.value.field == field


async def test_what_holds_for_all_is_checked_as_in_single_requests() -> None:
    for asked, field in (
        ({"strategy": "latency_basd"}, "strategy"),
        ({"service": ""}, "request_context.service"),
        ({"compliance_requirements": ["gdpt"]}, "request_context.compliance_requirements"),
    ):
        with pytest.raises(InvalidInputError) as caught:
            await router_of().route_many([1.0], [2.0], **asked)
        assert caught.value.field == field
    with pytest.raises(UnknownServiceError):
        await router_of().route_many([1.0], [2.0], service="api")


async def test_an_empty_batch_is_answered_even_when_nobody_may_serve() -> None:
    for router in (router_of(view("eu-west-1", Phase.DOWN)), StagedManager(fleet()).router()):
        found = await router.route_many([], np.array([]))
        assert (found.selected, len(found)) == ([], 0)
        with pytest.raises(NoEligibleRegionError):
            await router.route_many([1.0], [1.0])
        assert router.get_routing_stats()["refused"] == 1


async def test_a_services_own_strategy_holds() -> None:
    made = fleet(*EUROPE, services=[Service("api", strategy=RoutingStrategy.ROUND_ROBIN)])
    found = await StagedManager(made).router().route_many([0.0] * 4, [0.0] * 4, service="api")
    assert (found.selected, found.strategy) == (list(EUROPE), RoutingStrategy.ROUND_ROBIN)


# --- the event loop ------------------------------------------------------------------------------


async def test_other_tasks_run_between_chunks() -> None:
    turns, ended = 0, False

    async def count() -> None:
        nonlocal turns
        while not ended:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    dice = np.random.default_rng(1)
    found = await router_of().route_many(dice.uniform(-90, 90, 5 * CHUNK), dice.uniform(-180, 180, 5 * CHUNK))
    ended = True
    await counting
    assert turns > 2 * 5  # to read each chunk, to decide each chunk, and to compile the cells
    assert len(found) == 5 * CHUNK


async def test_a_batch_is_decided_in_one_state_whatever_happens_meanwhile() -> None:
    dice, manager = Random(5), StagedManager(random_fleet(Random(5)))
    manager.registry.now = fleet(*EUROPE, "r1", "r2")
    latitudes, longitudes = np.linspace(-90, 90, 3 * CHUNK), np.linspace(-180, 180, 3 * CHUNK)
    model, corrections = latency_model(), manager.round_trips.corrections
    tables = [RoutingTable(manager.snapshot(), model, corrections) for _ in range(2)]
    batches = [Batch(table, table.entry(PLAIN), RoutingStrategy.LATENCY_BASED, 0) for table in tables]
    expected, counts = await batches[0].decide(latitudes, longitudes)
    deciding, changes = asyncio.create_task(batches[1].decide(latitudes, longitudes)), 0
    while not deciding.done():
        change(dice, manager)
        tables[1].follow(manager.snapshot(), manager.round_trips.corrections)
        part, changes = tables[1].entry(PLAIN).part(0), changes + 1
        if part is not None:
            tables[1].nearest(part, 50.0, 10.0)
        await asyncio.sleep(0)
    found, counted = await deciding
    assert changes > 10
    assert (found.selected, found.region_ids) == (expected.selected, expected.region_ids)
    assert counted.tolist() == counts.tolist()


async def test_two_batches_at_once_take_different_turns() -> None:
    router = router_of(*EUROPE[:3])
    one, other = await asyncio.gather(
        *(router.route_many(np.zeros(CHUNK + 1), np.zeros(CHUNK + 1), strategy="round_robin") for _ in range(2))
    )
    assert len(one) == len(other) == CHUNK + 1
    counts = router.get_routing_stats()["decisions_by_region"].values()
    assert max(counts) - min(counts) <= 1


async def test_arrays_of_hostile_requirements_do_not_fill_the_memory() -> None:
    router = router_of(view("eu-west-1", compliance=list(ComplianceFramework)))
    names = [[*some] for some in combinations(ComplianceFramework, 2)]
    for requirements in names:
        await router.route_many([1.0], [2.0], compliance_requirements=requirements)
    parts = [entry.whole for entry in router._table._entries.values()]
    assert (len(names), sum(part.arrays is not None for part in parts)) == (21, MAX_ARRAYED)
