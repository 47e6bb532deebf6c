"""Memory follows the store: no commit is missed between loading and watching, and what was new is said to be."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from mahavishnu.integrations.multi_region.core.intent import REGIONS, SERVICES, region_document
from mahavishnu.integrations.multi_region.core.model import Point, SafetyLimits
from mahavishnu.integrations.multi_region.ports.store import Loaded, MemoryStore
from mahavishnu.integrations.multi_region.shell.follower import Follower
from mahavishnu.integrations.multi_region.shell.registry import Registry
from mahavishnu.integrations.multi_region.shell.rtt import RTT, RttBook
from mahavishnu.integrations.multi_region.testing.builders import region, view
from mahavishnu.integrations.multi_region.testing.virtual_clock import VirtualClock


class Busy(MemoryStore):
    """Somebody registers ``late`` while it is loaded: after its regions were read, before its services are."""

    late: str | None = None

    async def load(self, prefix: str = "", *, after: str = "", limit: int | None = None) -> Loaded:
        if prefix == SERVICES and self.late is not None:
            await self.commit({REGIONS + self.late: json.dumps(region_document(region(self.late)))})
            self.late = None
        return await super().load(prefix, after=after, limit=limit)


class Bench:
    def __init__(self) -> None:
        self.clock, self.store, self.changes = VirtualClock(), Busy(), 0
        self.registry, self.book = Registry(SafetyLimits()), RttBook(clock=self.clock)
        self.follower = Follower(self.registry, self.store, self.clock, self.changed, self.book)

    def changed(self) -> None:
        self.changes += 1

    async def begin(self) -> None:
        await self.follower.start()
        await self.clock.settle()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.follower.close()


async def test_a_commit_between_two_pages_of_the_first_load_is_not_missed(bench: Bench) -> None:
    await bench.store.commit({REGIONS + "a": json.dumps(region_document(region("a")))})
    bench.store.late = "b"
    await bench.begin()
    assert list(bench.registry.regions) == ["a", "b"]


async def test_what_the_first_load_knew_already_is_not_taken_over_again_by_the_watch(bench: Bench) -> None:
    bench.store.late = "a"
    await bench.follower.start()
    await bench.follower.reload()
    known = bench.registry.regions["a"]
    await bench.clock.settle()
    assert bench.registry.regions["a"] is known


async def test_round_trips_are_news_though_the_last_of_them_was_known(bench: Bench) -> None:
    elsewhere = MemoryStore()
    other = RttBook(elsewhere.commit, clock=bench.clock)
    for name in ("eu-west-1", "us-east-1"):
        other.observe(Point(52.5, 13.4), view(name), 150.0)
    await other.flush()
    learned = {key: entry.value for key, entry in (await elsewhere.load(RTT)).entries.items()}
    bench.book.accept(*list(learned.items())[-1])
    await bench.begin()
    before = bench.changes
    await bench.store.commit(learned)
    await bench.clock.settle()
    assert (len(learned), bench.changes) == (2, before + 1)
