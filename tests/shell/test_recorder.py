"""Events that nobody waits for: in order, all of them, however long the store is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from mahavishnu.integrations.multi_region.core.events import Event, EventKind
from mahavishnu.integrations.multi_region.shell import recorder as module
from mahavishnu.integrations.multi_region.shell.journal import Journal
from mahavishnu.integrations.multi_region.shell.recorder import Recorder
from mahavishnu.integrations.multi_region.testing.failing_store import FailingStore
from mahavishnu.integrations.multi_region.testing.virtual_clock import VirtualClock


class Bench:
    def __init__(self) -> None:
        self.clock, self.store = VirtualClock(), FailingStore()
        self.journal = Journal(self.store, self.clock)
        self.recorder = Recorder(self.journal, self.clock)

    def tell(self, *subjects: str) -> None:
        for subject in subjects:
            self.recorder.soon(Event(EventKind.HEALTH_CHANGED, self.clock.now(), subject))

    async def told(self) -> list[str]:
        return [entry.event.subject for entry in await self.journal.tail(limit=20_000)]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    made.store.find()
    await made.recorder.close(timeout_s=0.01)
    await made.journal.close()


async def test_events_are_recorded_in_order_and_soon(bench: Bench) -> None:
    bench.tell("a", "b", "c")
    await bench.recorder.settled()
    bench.tell("d")
    await bench.recorder.settled()
    assert await bench.told() == ["a", "b", "c", "d"]


async def test_events_that_come_together_share_a_commit(bench: Bench) -> None:
    bench.tell(*"abcdefgh")
    await bench.recorder.settled()
    assert bench.store.commits == 1


async def test_while_the_store_is_lost_events_wait_and_it_is_said(bench: Bench) -> None:
    bench.store.lose()
    bench.tell("a")
    await bench.clock.advance(30)
    bench.tell("b")
    await bench.clock.advance(30)
    assert bench.recorder.store_lost == "the store is lost"
    bench.store.find()
    assert await bench.told() == []
    await bench.clock.advance(10)
    assert await bench.told() == ["a", "b"]
    assert bench.recorder.store_lost is None


async def test_events_that_the_store_refused_together_come_back_in_order(bench: Bench) -> None:
    bench.store.lose()
    bench.tell("a", "b", "c")
    await bench.clock.advance(30)
    bench.tell("d")
    bench.store.find()
    await bench.clock.advance(10)
    assert await bench.told() == ["a", "b", "c", "d"]


async def test_an_event_that_no_log_can_hold_keeps_no_other_from_it(bench: Bench) -> None:
    bench.tell("a")
    bench.recorder.soon(Event(EventKind.HEALTH_CHANGED, float("nan"), "broken"))
    bench.tell("b", "c")
    await bench.clock.advance(10)
    assert await bench.told() == ["a", "b", "c"]
    bench.recorder.soon(Event(EventKind.HEALTH_CHANGED, float("nan"), "broken"))
    await bench.clock.advance(10)
    bench.tell("d")
    await bench.clock.advance(10)
    assert await bench.told() == ["a", "b", "c", "d"]
    assert bench.recorder.store_lost is None


async def test_a_backlog_beyond_its_limit_drops_the_oldest(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BACKLOG", 3)
    bench.tell(*"abcde")
    await bench.recorder.settled()
    assert await bench.told() == ["c", "d", "e"]


async def test_close_records_what_waits(bench: Bench) -> None:
    bench.tell("a", "b")
    await bench.recorder.close()
    assert await bench.told() == ["a", "b"]


async def test_close_does_not_wait_for_a_lost_store_for_ever_and_leaves_no_task() -> None:
    bench, before = Bench(), asyncio.all_tasks()
    bench.store.lose()
    bench.tell("a")
    await bench.clock.advance(1)
    await bench.recorder.close(timeout_s=0.01)
    await bench.journal.close()
    assert asyncio.all_tasks() == before


async def test_close_without_events_is_nothing(bench: Bench) -> None:
    await bench.recorder.close()
    assert await bench.told() == []
