"""The store that is lost on command: until then it keeps the store contract, and afterwards it says that it is lost."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mahavishnu.integrations.multi_region.errors import StoreError
from mahavishnu.integrations.multi_region.ports.store import MemoryStore, Store
from mahavishnu.integrations.multi_region.testing.failing_store import FailingStore
from mahavishnu.integrations.multi_region.testing.store_contract import StoreContract


class TestFailingStore(StoreContract):
    async def open_store(self, place: Path, history: int) -> Store:
        return FailingStore(MemoryStore(history=history))


async def test_while_it_is_lost_every_call_fails_and_nothing_is_written() -> None:
    store = FailingStore()
    await store.commit({"a": "1"})
    store.lose()
    with pytest.raises(StoreError):
        await store.commit({"a": "2"})
    with pytest.raises(StoreError):
        await store.load()
    store.find()
    assert (await store.load()).entries["a"].value == "1"


async def test_a_watch_that_waits_hears_of_the_loss() -> None:
    store = FailingStore()
    waiting = asyncio.ensure_future(anext(store.watch(after=0)))
    await asyncio.sleep(0)
    store.lose()
    with pytest.raises(StoreError):
        await waiting


async def test_an_answer_may_be_lost_though_the_work_was_done() -> None:
    store = FailingStore(applied_when_lost=True)
    store.lose()
    with pytest.raises(StoreError):
        await store.commit({"a": "1"})
    store.find()
    assert (await store.load()).entries["a"].value == "1"
