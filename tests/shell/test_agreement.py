"""Many changes at once, from several controllers: in the end memory everywhere is what the store holds."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings, strategies as st

from mahavishnu.integrations.multi_region.adapters.stores.sqlite import SqliteStore
from mahavishnu.integrations.multi_region.core.events import EventKind
from mahavishnu.integrations.multi_region.core.intent import policy_document, region_document, service_document
from mahavishnu.integrations.multi_region.core.model import SafetyLimits
from mahavishnu.integrations.multi_region.errors import MultiRegionError
from mahavishnu.integrations.multi_region.ports.store import MemoryStore, Store
from mahavishnu.integrations.multi_region.shell.failure import FailureHandler
from mahavishnu.integrations.multi_region.shell.manager import RegionManager
from mahavishnu.integrations.multi_region.testing.builders import policy, region, service, world
from mahavishnu.integrations.multi_region.testing.store_contract import PATIENCE_S

IDS = ("us-east-1", "eu-west-1", "eu-central-1")
ids, names = st.sampled_from(IDS), st.sampled_from(("api", "web"))
figures = st.integers(1, 3)

steps = st.one_of(
    st.tuples(st.just("register"), ids, figures),
    st.tuples(st.just("update"), ids, figures),
    st.tuples(st.just("unregister"), ids),
    st.tuples(st.just("drain"), ids),
    st.tuples(st.just("undrain"), ids),
    st.tuples(st.just("put_service"), names, ids, figures),
    st.tuples(st.just("remove_service"), names),
    st.tuples(st.just("put_policy"), names, ids),
    st.tuples(st.just("apply"), st.lists(ids, min_size=1, unique=True).map(tuple), figures),
    st.tuples(st.just("freeze")),
    st.tuples(st.just("unfreeze")),
    st.tuples(st.just("failover"), ids, ids),
    st.tuples(st.just("recover"), ids),
)
rounds = st.lists(st.lists(st.tuples(st.integers(0, 1), steps), min_size=1, max_size=6), min_size=1, max_size=5)


class Kept:
    """A store that outlives the managers which close it."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def close(self) -> None:
        return


async def take(manager: RegionManager, handler: FailureHandler, step: tuple[Any, ...]) -> Any:
    match step:
        case ("register", name, figure):
            return await manager.register_region(region(name, cost_multiplier=figure))
        case ("update", name, figure):
            return await manager.update_region(region(name, cost_multiplier=figure))
        case ("unregister", name):
            return await manager.unregister_region(name)
        case ("drain", name):
            return await manager.drain(name, by="ada", reason="x")
        case ("undrain", name):
            return await manager.undrain(name, by="ada")
        case ("put_service", name, where, figure):
            return await manager.put_service(service(name, where, priority=figure))
        case ("remove_service", name):
            return await manager.remove_service(name)
        case ("put_policy", name, where):
            return await manager.put_policy(policy(name, allow=[where]))
        case ("apply", where, figure):
            return await manager.apply(world(*where, limits=SafetyLimits(min_serving=figure)))
        case ("freeze",):
            return await manager.freeze(by="ada", reason="x")
        case ("unfreeze",):
            return await manager.unfreeze(by="ada")
        case ("failover", name, target):
            return await handler.failover_to(name, target)
        case ("recover", name):
            return await handler.recover_region(name)
        case _:
            raise AssertionError(step)


def memory_of(manager: RegionManager) -> dict[str, Any]:
    """Everything that a manager believes to be declared, as it would be written."""
    registry = manager.registry
    return {
        "documents": registry.documents,
        "regions": {name: region_document(one) for name, one in registry.regions.items()},
        "services": {name: service_document(one) for name, one in registry.services.items()},
        "policies": {name: policy_document(one) for name, one in registry.policies.items()},
        "drains": {name: one.document() for name, one in registry.drains.items()},
        "failures": {name: one.document() for name, one in registry.failures.items()},
        "freeze": registry.freeze,
        "limits": registry.limits,
        "revisions": {key: registry.revisions[key] for key in registry.documents},
    }


async def stored(store: Store) -> dict[str, Any]:
    """What the store holds but for the log of events."""
    loaded = await store.load()
    return {key: json.loads(entry.value) for key, entry in loaded.entries.items() if not key.startswith("events")}


async def agree(store: Store, *managers: RegionManager) -> None:
    """Wait until the managers have heard of everything, then compare them with the store and with a fresh one."""
    held = await stored(store)
    async with asyncio.timeout(PATIENCE_S):
        while any(manager.registry.documents != held for manager in managers):
            await asyncio.sleep(0.002)
    fresh = RegionManager(store=Kept(store))
    async with fresh:
        expected = memory_of(fresh)
        assert expected["documents"] == held
        for manager in managers:
            assert memory_of(manager) == expected


async def play(store: Store, second: Store, played: list[list[tuple[int, tuple[Any, ...]]]]) -> None:
    managers = [RegionManager(store=Kept(one)) for one in (store, second)]
    handlers = [FailureHandler(manager) for manager in managers]
    for manager in managers:
        await manager.initialize()
    try:
        for together in played:
            results = await asyncio.gather(
                *(take(managers[who], handlers[who], step) for who, step in together), return_exceptions=True
            )
            unexpected = [r for r in results if isinstance(r, BaseException) and not isinstance(r, MultiRegionError)]
            assert not unexpected
        await asyncio.gather(*(manager.recorder.settled() for manager in managers))
        await agree(store, *managers)
        entries = await managers[0].journal.tail(limit=1000)
        assert await managers[0].journal.verify() == len(entries)
        registered = sum(e.event.kind is EventKind.REGION_REGISTERED for e in entries)
        removed = sum(e.event.kind is EventKind.REGION_REMOVED for e in entries)
        assert registered - removed == len(managers[0].regions)
    finally:
        for manager in managers:
            await manager.close()


@settings(max_examples=60)
@given(rounds)
def test_memory_is_what_the_store_holds_whatever_happened_at_once(
    played: list[list[tuple[int, tuple[Any, ...]]]],
) -> None:
    async def run() -> None:
        store = MemoryStore()
        await play(store, store, played)

    asyncio.run(run())


async def test_memory_is_what_the_file_holds_though_two_controllers_change_it_at_once(tmp_path: Path) -> None:
    place = tmp_path / "world.db"
    first, second = [await SqliteStore.open(place, poll_s=0.01) for _ in range(2)]
    opening = [[(0, ("register", name, 1)) for name in IDS]]
    busy = [
        [(who, step) for who in (0, 1) for step in (("drain", IDS[0]), ("update", IDS[1], figure), ("freeze",))]
        + [(0, ("put_service", "api", IDS[2], figure)), (1, ("put_policy", "api", IDS[figure % 3]))]
        + [(1, ("apply", IDS, figure)), (0, ("undrain", IDS[0])), (1, ("failover", IDS[0], IDS[1]))]
        for figure in (1, 2, 3)
    ]
    try:
        await play(first, second, opening + busy)
    finally:
        await first.close()
        await second.close()


async def test_a_region_removed_while_others_act_on_it_is_unknown_to_them() -> None:
    store = MemoryStore()
    begun = [(0, ("apply", ("us-east-1", "eu-west-1"), 1))]
    at_once = [
        (0, ("unregister", "us-east-1")),
        (0, ("drain", "us-east-1")),
        (0, ("failover", "us-east-1", "eu-west-1")),
    ]
    await play(store, store, [begun, at_once])


async def test_a_region_removed_while_it_takes_its_load_back_is_removed() -> None:
    store = MemoryStore()
    begun = [(0, ("register", "us-east-1", 1)), (0, ("register", "eu-west-1", 1))]
    failed = [(0, ("failover", "eu-west-1", "us-east-1"))]
    await play(store, store, [begun, failed, [(0, ("unregister", "eu-west-1")), (0, ("recover", "eu-west-1"))]])
