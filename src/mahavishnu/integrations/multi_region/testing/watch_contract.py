"""What every store's ``watch`` and ``close`` must keep; a part of ``StoreContract``, which users derive from."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from mahavishnu.integrations.multi_region.errors import HistoryGoneError, StoreError
from mahavishnu.integrations.multi_region.ports.store import Changes, Store

PATIENCE_S = 30.0
"""How long a test waits for what must come; only a failing test waits that long."""


async def collect(watch: AsyncIterator[Changes], count: int) -> list[Changes]:
    """The next ``count`` changes; fails when they do not come."""
    async with asyncio.timeout(PATIENCE_S):
        return [await anext(watch) for _ in range(count)]


class WatchContract(ABC):
    """Facts about ``watch`` and ``close``. ``HISTORY`` commits back, a watch must still start."""

    HISTORY = 64

    @abstractmethod
    async def open_store(self, place: Path, history: int) -> Store:
        """A new, empty store; ``place`` is a directory of its own, ``history`` how many commits it must hold."""

    async def forget_history(self, store: Store) -> None:
        """Bring the store to drop what was committed before this call; here by many commits."""
        for number in range(3 * self.HISTORY):
            await store.commit({"forget": str(number)})

    @pytest_asyncio.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
        """The store under test."""
        store = await self.open_store(tmp_path, self.HISTORY)
        yield store
        await store.close()

    # --- watch ------------------------------------------------------------------------------------

    async def test_a_watch_tells_each_commit_once_in_order(self, store: Store) -> None:
        start = (await store.load()).revision
        watch = store.watch(after=start)
        revisions = [await store.commit(values) for values in ({"a": "1", "b": "1"}, {"a": "2"}, {"a": None, "c": "3"})]
        seen = await collect(watch, 3)
        assert [dict(changes.values) for changes in seen] == [{"a": "1", "b": "1"}, {"a": "2"}, {"a": None, "c": "3"}]
        assert [changes.revision for changes in seen] == revisions

    async def test_a_watch_starts_in_the_past(self, store: Store) -> None:
        revisions = [await store.commit({"a": str(number)}) for number in range(5)]
        seen = await collect(store.watch(after=revisions[1]), 3)
        assert [changes.revision for changes in seen] == revisions[2:]

    async def test_a_watch_wakes_for_a_commit_that_comes_later(self, store: Store) -> None:
        watch = store.watch(after=(await store.load()).revision)
        waiting = asyncio.create_task(collect(watch, 1))
        await asyncio.sleep(0.02)
        assert not waiting.done()
        revision = await store.commit({"a": "1"})
        assert await waiting == [Changes(revision, {"a": "1"})]

    async def test_a_watch_leaves_out_what_is_not_under_its_prefix(self, store: Store) -> None:
        watch = store.watch("a/", after=(await store.load()).revision)
        await store.commit({"a": "no", "a0": "no"})
        await store.commit({"a/1": "yes", "b": "no"})
        await store.commit({"b": None})
        await store.commit({"a/1": None, "b": "no"})
        assert [dict(changes.values) for changes in await collect(watch, 2)] == [{"a/1": "yes"}, {"a/1": None}]

    async def test_a_commit_that_changes_nothing_is_not_told(self, store: Store) -> None:
        watch = store.watch(after=(await store.load()).revision)
        await store.commit({})
        await store.commit({"absent": None})
        await store.commit({"a": "1", "absent": None})
        assert [dict(changes.values) for changes in await collect(watch, 1)] == [{"a": "1"}]

    async def test_two_watches_lose_nothing_while_many_write(self, store: Store) -> None:
        async def write(name: str) -> None:
            for number in range(10):
                await store.commit({name: str(number)})

        start = (await store.load()).revision
        watches = [asyncio.create_task(collect(store.watch(prefix, after=start), 50)) for prefix in ("", "w")]
        await asyncio.gather(*(write(f"w{writer}") for writer in range(5)))
        for seen in await asyncio.gather(*watches):
            revisions = [changes.revision for changes in seen]
            assert revisions == sorted(set(revisions))
            for writer in range(5):
                own = [changes.values[f"w{writer}"] for changes in seen if f"w{writer}" in changes.values]
                assert own == [str(number) for number in range(10)]

    async def test_a_watch_of_forgotten_history_says_so(self, store: Store) -> None:
        old = await store.commit({"a": "1"})
        await store.commit({"a": "2"})
        await self.forget_history(store)
        with pytest.raises(HistoryGoneError):
            await collect(store.watch(after=old), 1)

    async def test_history_goes_back_as_far_as_was_asked_for(self, store: Store) -> None:
        await self.forget_history(store)
        revisions = [await store.commit({"a": str(number)}) for number in range(self.HISTORY)]
        seen = await collect(store.watch("a", after=revisions[0]), self.HISTORY - 1)
        assert [changes.revision for changes in seen] == revisions[1:]

    async def test_a_watch_from_a_revision_that_has_not_been_says_so(self, store: Store) -> None:
        revision = await store.commit({"a": "1"})
        with pytest.raises(HistoryGoneError):
            await collect(store.watch(after=revision + 1000), 1)

    # --- close ------------------------------------------------------------------------------------

    async def test_close_ends_watches(self, store: Store) -> None:
        async def run_out(prefix: str) -> int:
            return len([changes async for changes in store.watch(prefix, after=start)])

        start = (await store.load()).revision
        watches = [asyncio.create_task(run_out(prefix)) for prefix in ("", "a", "b")]
        await asyncio.sleep(0.02)
        await store.commit({"a": "1"})
        await asyncio.sleep(0.02)
        await store.close()
        async with asyncio.timeout(PATIENCE_S):
            counts = await asyncio.gather(*watches)
        assert counts[2] == 0

    async def test_a_closed_store_refuses_and_may_be_closed_again(self, store: Store) -> None:
        await store.close()
        await store.close()
        with pytest.raises(StoreError):
            await store.load()
        with pytest.raises(StoreError):
            await store.commit({"a": "1"})
        with pytest.raises(StopAsyncIteration):
            await anext(store.watch(after=0))
