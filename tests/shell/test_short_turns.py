"""Long work takes many short turns of the event loop, and nobody sees it half done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.core.events import Event, EventKind
from mahavishnu.integrations.multi_region.core.intent import World
from mahavishnu.integrations.multi_region.core.model import Region
from mahavishnu.integrations.multi_region.errors import StaleRevisionError
from mahavishnu.integrations.multi_region.ports.clock import SystemClock
from mahavishnu.integrations.multi_region.ports.store import MemoryStore
from mahavishnu.integrations.multi_region.shell.journal import Journal
from mahavishnu.integrations.multi_region.shell.manager import RegionManager
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
