"""What was learned comes back from the store in short turns of the event loop; what we wrote ourselves is no news."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

from mahavishnu.integrations.multi_region.core.model import Point, SafetyLimits
from mahavishnu.integrations.multi_region.ports.clock import SystemClock
from mahavishnu.integrations.multi_region.ports.store import MemoryStore
from mahavishnu.integrations.multi_region.shell.follower import Follower
from mahavishnu.integrations.multi_region.shell.registry import Registry
from mahavishnu.integrations.multi_region.shell.rtt import RTT, RttBook
from mahavishnu.integrations.multi_region.testing.builders import view

BERLIN = Point(52.5, 13.4)
MANY = 30


class Bench:
    """A book that writes to a store and follows it."""

    def __init__(self) -> None:
        self.store, self.changes = MemoryStore(), 0
        self.book = RttBook(self.store.commit)
        self.follower = Follower(Registry(SafetyLimits()), self.store, SystemClock(), self.changed, self.book)

    def changed(self) -> None:
        self.changes += 1

    async def settle(self) -> None:
        for _ in range(20 * MANY):
            await asyncio.sleep(0)

    async def learned_in_turns(self) -> list[int]:
        """Of how many regions something is known, in each turn of the loop, until it is of all."""
        seen = [0]
        while seen[-1] < MANY:
            await asyncio.sleep(0)
            seen.append(self.book.stats().regions)
            assert len(seen) < 100_000
        return seen


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.follower.close()


def learn(book: RttBook) -> None:
    for number in range(MANY):
        book.observe(BERLIN, view(f"r-{number}"), 250.0)


async def documents() -> dict[str, str | None]:
    """What another process has learned."""
    store = MemoryStore()
    other = RttBook(store.commit)
    learn(other)
    await other.flush()
    return {key: entry.value for key, entry in (await store.load(RTT)).entries.items()}


def longest_step(seen: list[int]) -> int:
    return max(after - before for before, after in pairwise(seen))


async def test_what_another_learned_is_taken_over_a_document_at_a_time(bench: Bench) -> None:
    await bench.follower.start()
    learned, before = await documents(), bench.changes
    reading = asyncio.create_task(bench.learned_in_turns())
    await bench.store.commit(learned)
    assert longest_step(await reading) == 1
    await bench.settle()
    assert bench.changes == before + 1


async def test_a_store_is_loaded_a_document_at_a_time(bench: Bench) -> None:
    await bench.store.commit(await documents())
    reading = asyncio.create_task(bench.learned_in_turns())
    await bench.follower.start()
    assert longest_step(await reading) <= 2  # two before it looks for the first time


async def test_our_own_documents_come_back_and_change_nothing(bench: Bench) -> None:
    await bench.follower.start()
    learn(bench.book)
    before = bench.changes
    await bench.book.flush()
    await bench.settle()
    assert (len((await bench.store.load(RTT)).entries), bench.changes) == (MANY, before)
    await bench.store.commit({RTT + "r-0": None})
    await bench.settle()
    assert (bench.book.stats().regions, bench.changes) == (MANY - 1, before + 1)
