"""Long work takes many short turns of the event loop, and nobody sees it half done."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.core.events import Event, EventKind
from mahavishnu.integrations.multi_region.core.intent import World, region_document
from mahavishnu.integrations.multi_region.core.model import Region
from mahavishnu.integrations.multi_region.errors import StaleRevisionError
from mahavishnu.integrations.multi_region.ports.clock import SystemClock
from mahavishnu.integrations.multi_region.ports.store import Loaded, MemoryStore
from mahavishnu.integrations.multi_region.shell.journal import Journal
from mahavishnu.integrations.multi_region.shell.manager import RegionManager
from mahavishnu.integrations.multi_region.shell.registry import Announced
from mahavishnu.integrations.multi_region.shell.turns import SLICE
from mahavishnu.integrations.multi_region.testing.builders import policy, service

MANY = 10 * SLICE


def world(price: float, count: int = MANY) -> World:
    """So many regions, all of one price."""
    made = (Region(f"r-{n}", endpoint=f"https://r-{n}.example.com", cost_multiplier=price) for n in range(count))
    return World(tuple(made), (service("api"),))


async def turns_of(act: Awaitable[Any], seen: list[Any], look: Any) -> Any:
    """Look in every turn of the loop until the act is over; its result."""
    task = asyncio.ensure_future(act)
    while not task.done():
        seen.append(look())
        await asyncio.sleep(0)
    return task.result()


@pytest.mark.parametrize("followed", [True, False])
async def test_others_run_while_a_world_is_applied_and_see_all_of_it_or_nothing(followed: bool) -> None:
    manager = RegionManager()
    if followed:
        await manager.initialize()
    await manager.apply(world(1.0))
    seen: list[frozenset[float]] = []

    def prices() -> frozenset[float]:
        declared = frozenset(region.cost_multiplier for region in manager.regions.values())
        assert declared == {view.cost_multiplier for view in manager.snapshot().regions.values()}
        return declared

    await turns_of(manager.apply(world(2.0)), seen, prices)
    assert len(seen) > MANY / SLICE
    assert set(seen) <= {frozenset({1.0}), frozenset({2.0})}
    assert prices() == {2.0}
    await manager.close()


async def test_another_controller_takes_a_world_over_all_at_once_too() -> None:
    store = MemoryStore()
    async with RegionManager(store=store) as here, RegionManager(store=store) as there:
        await here.apply(world(1.0))
        while len(there.regions) < MANY:
            await asyncio.sleep(0)
        seen: list[frozenset[float]] = []

        async def arrived() -> None:
            await here.apply(world(2.0))
            while there.regions[f"r-{MANY - 1}"].cost_multiplier != 2.0 or there.regions["r-0"].cost_multiplier != 2.0:
                await asyncio.sleep(0)

        await turns_of(arrived(), seen, lambda: frozenset(r.cost_multiplier for r in there.regions.values()))
        assert set(seen) == {frozenset({1.0}), frozenset({2.0})}


async def test_what_is_observed_while_a_world_is_applied_is_not_lost() -> None:
    async with RegionManager() as manager:
        await manager.apply(world(1.0))
        turn = 0

        def observe() -> None:
            nonlocal turn
            turn += 1
            for region_id in ("r-0", f"r-{MANY - 1}"):
                manager.report_load(region_id, float(turn))

        await turns_of(manager.apply(world(2.0)), [], observe)
        for region_id in ("r-0", f"r-{MANY - 1}"):
            view = manager.snapshot().regions[region_id]
            assert (view.load, view.cost_multiplier) == (float(turn), 2.0)
            assert manager.regions[region_id].current_capacity == float(turn)


async def test_a_region_of_a_world_is_watched_from_when_it_counts() -> None:
    async with RegionManager() as manager:
        await manager.apply(world(1.0))
        gone = manager.regions["r-3"]
        await manager.apply(world(2.0))
        gone.current_capacity = 50.0
        manager.regions["r-4"].current_capacity = 60.0
        views = manager.snapshot().regions
        assert (views["r-3"].load, views["r-4"].load) == (0.0, 60.0)
        await manager.drain("r-5", by="me", reason="test")
        assert manager.snapshot().regions["r-5"].admin.value != "active"


async def test_what_others_declare_while_a_world_is_worked_out_is_taken_into_account() -> None:
    async with RegionManager() as manager:
        await manager.apply(world(1.0))
        applying = asyncio.create_task(manager.apply(world(2.0)))
        await asyncio.sleep(0)
        await manager.put_policy(policy("p"))
        try:
            changes = await applying
        except StaleRevisionError:
            changes = await manager.apply(world(2.0))
        assert "policies/p" in {change.key for change in changes}
        assert manager.policies == {}


async def test_a_world_that_changes_while_it_is_checked_is_applied_as_it_was_checked() -> None:
    async with RegionManager() as manager:
        declared = world(1.0)
        applying = asyncio.create_task(manager.apply(declared))
        await asyncio.sleep(0)
        declared.regions[0].endpoint = "nonsense"
        await applying
        assert manager.regions["r-0"].endpoint == "https://r-0.example.com"


async def test_a_world_with_a_fault_at_its_end_changes_nothing() -> None:
    async with RegionManager() as manager:
        await manager.apply(world(1.0))
        wrong = world(2.0)
        twice = replace(wrong, regions=(*wrong.regions, wrong.regions[0]))
        with pytest.raises(ValueError, match="r-0"):
            await manager.apply(twice)
        assert {region.cost_multiplier for region in manager.regions.values()} == {1.0}


async def test_records_take_effect_in_the_order_in_which_they_were_asked_for_however_long_they_are() -> None:
    journal = Journal(MemoryStore(), SystemClock())
    events = [Event(EventKind.HEALTH_CHANGED, 1.0, f"long-{n}") for n in range(MANY)]
    long = asyncio.create_task(journal.record({}, events))
    short = asyncio.create_task(journal.record({}, [Event(EventKind.HEALTH_CHANGED, 1.0, "short")]))
    first, last = await long, await short
    assert [entry.seq for entry in first.entries] == list(range(1, MANY + 1))
    assert last.entries[0].seq == MANY + 1
    assert await journal.verify() == MANY + 1
    await journal.close()


async def test_of_two_worlds_at_once_one_counts_in_full_and_the_other_does_or_is_refused() -> None:
    async with RegionManager() as manager:
        await manager.apply(world(1.0))
        seen: list[frozenset[float]] = []
        both = asyncio.gather(manager.apply(world(2.0)), manager.apply(world(3.0)), return_exceptions=True)
        await turns_of(both, seen, lambda: frozenset(r.cost_multiplier for r in manager.regions.values()))
        refused = [result for result in both.result() if isinstance(result, BaseException)]
        assert all(isinstance(one, StaleRevisionError) for one in refused)
        assert all(len(prices) == 1 for prices in seen)
        assert {view.cost_multiplier for view in manager.snapshot().regions.values()} in ({2.0}, {3.0})
        assert prices_in(await manager.store.load("regions/")) == prices_of(manager)


async def test_a_verdict_while_a_world_is_applied_holds_for_the_regions_of_that_world() -> None:
    async with RegionManager() as manager:
        await manager.apply(world(1.0))
        turn = 0

        def judge() -> None:
            nonlocal turn
            turn += 1
            if turn < 100:  # in whatever turn the regions were made ready
                manager.report_outcomes(f"r-{turn}", 0, 50)

        await turns_of(manager.apply(world(2.0)), [], judge)
        views = manager.snapshot().regions
        for region_id, state in manager.monitor.states.items():
            assert (views[region_id].phase, views[region_id].cost_multiplier) == (state.phase, 2.0)
            assert views[region_id].health_score == manager.regions[region_id].health_score == state.score


async def test_a_drain_that_is_made_while_a_world_is_applied_stays() -> None:
    async with RegionManager() as manager:
        await manager.apply(world(1.0))
        applying = asyncio.create_task(manager.apply(world(2.0)))
        await asyncio.sleep(0)
        await manager.drain("r-7", by="me", reason="test")
        await applying
        view = manager.snapshot().regions["r-7"]
        assert (view.admin.value, view.cost_multiplier) == ("drained", 2.0)


@pytest.mark.parametrize("turn", range(0, 120, 7))
async def test_a_world_given_up_in_any_turn_counts_in_full_or_not_at_all(turn: int) -> None:
    async with RegionManager() as manager:
        await manager.apply(world(1.0))
        applying = asyncio.create_task(manager.apply(world(2.0)))
        for _ in range(turn):
            await asyncio.sleep(0)
        applying.cancel()
        await asyncio.gather(applying, return_exceptions=True)
        await manager.put_service(service("later"))  # comes after whatever was on its way to the store
        async with asyncio.timeout(10.0):
            while prices_of(manager) != prices_in(await manager.store.load("regions/")):
                assert len(prices_of(manager)) == 1
                await asyncio.sleep(0)
        assert len(prices_of(manager)) == 1
        assert manager.registry.announced == []


async def test_a_region_that_leaves_while_a_world_is_made_ready_does_not_come_back_with_what_was_seen_of_it() -> None:
    async with RegionManager() as manager:
        await manager.apply(world(1.0))
        prepared = manager.registry.prepare(region_document(world(2.0).regions[0]))
        await manager.unregister_region("r-0")
        document = region_document(world(3.0).regions[0])
        manager.registry.accept("regions/r-0", document, manager.registry.revision + 1, prepared)
        assert manager.regions["r-0"].cost_multiplier == 3.0
        assert list(manager.snapshot().regions) == list(manager.regions)


@pytest.mark.parametrize(("price", "taken"), [(2.0, True), (3.0, False)])
async def test_what_we_made_ready_counts_for_the_very_text_that_we_were_to_store(price: float, taken: bool) -> None:
    store = MemoryStore()
    async with RegionManager(store=store) as here, RegionManager(store=store) as there:
        ours = region_document(world(2.0).regions[0])
        text = json.dumps(ours, sort_keys=True)
        here.registry.announced.append({"regions/r-0": Announced(text, ours, here.registry.prepare(ours))})
        await there.apply(world(price))
        async with asyncio.timeout(10.0):
            while len(here.regions) < MANY:
                await asyncio.sleep(0)
        assert prices_of(here) == {price}
        assert (here.registry.documents["regions/r-0"] is ours) is taken


def prices_of(manager: RegionManager) -> set[float]:
    """What regions cost, as the manager knows it."""
    return {region.cost_multiplier for region in manager.regions.values()}


def prices_in(loaded: Loaded) -> set[float]:
    """The same as a store holds it."""
    return {json.loads(entry.value)["cost_multiplier"] for entry in loaded.entries.values()}
