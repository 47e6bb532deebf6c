"""The journal: values and their events in one commit, shared by those who wait together; each answers for its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest

from mahavishnu.integrations.multi_region.core.events import ChainedEvent, Event, EventKind
from mahavishnu.integrations.multi_region.errors import (
    InvalidInputError,
    StaleRevisionError,
    StoreError,
    UnavailableError,
)
from mahavishnu.integrations.multi_region.ports.sink import MemorySink
from mahavishnu.integrations.multi_region.ports.store import MemoryStore
from mahavishnu.integrations.multi_region.shell.journal import Journal, Recorded
from tests.shell.journal_tools import HaltedClock, Turnstile, happened, held_up, subjects, turns


@pytest.fixture
def store() -> Turnstile:
    return Turnstile(MemoryStore())


@pytest.fixture
async def journal(store: Turnstile) -> AsyncIterator[Journal]:
    journal = Journal(store, HaltedClock())
    yield journal
    store.gate.set()
    await journal.close()


# --- one call -------------------------------------------------------------------------------------


async def test_values_and_events_are_one_change(journal: Journal, store: Turnstile) -> None:
    watch = store.watch(after=0)
    recorded = await journal.record({"a": "1", "b": "2"}, [happened("x"), happened("y")])
    changes = await anext(watch)
    assert changes.revision == recorded.revision
    assert set(changes.values) == {"a", "b", "events-head", f"events/{1:016d}", f"events/{2:016d}"}
    assert subjects(recorded.entries) == ["x", "y"]
    assert [entry.seq for entry in recorded.entries] == [1, 2]
    assert recorded.entries[1].previous == recorded.entries[0].digest


async def test_values_need_no_events_and_events_no_values(journal: Journal, store: Turnstile) -> None:
    assert (await journal.record({"a": "1"}, [])).entries == ()
    assert subjects((await journal.record({}, [happened("x")])).entries) == ["x"]
    revision = (await store.load()).revision
    assert await journal.record({}, [], {"a": 1}) == Recorded(revision, ())
    assert await journal.verify() == 1


async def test_a_stale_guard_writes_neither_value_nor_event(journal: Journal, store: Turnstile) -> None:
    recorded = await journal.record({"a": "1"}, [happened("x")])
    with pytest.raises(StaleRevisionError) as caught:
        await journal.record({"a": "2", "b": "2"}, [happened("y")], {"a": recorded.revision + 1})
    assert (caught.value.key, caught.value.actual) == ("a", recorded.revision)
    assert subjects(await journal.tail()) == ["x"]
    assert (await store.load("b")).entries == {}
    await journal.record({"a": "2"}, [happened("z")], {"a": recorded.revision})
    assert await journal.verify() == 2


@pytest.mark.parametrize(
    "event",
    [
        happened("x", figure=float("nan")),
        happened("x", thing=object()),
        Event(EventKind.REGION_UPDATED, 1.0, "x", details={10: "a", 9: "b"}),  # type: ignore[dict-item]  # text sorts otherwise
        Event("unheard.of", 1.0, "x"),  # type: ignore[arg-type]  # a kind that cannot be read back
    ],
)
async def test_an_event_that_the_log_could_not_give_back_is_refused(
    journal: Journal, store: Turnstile, event: Event
) -> None:
    with pytest.raises(InvalidInputError, match=r"events\[1\]"):
        await journal.record({"a": "1"}, [happened("good"), event])
    assert (await store.load()).entries == {}


@pytest.mark.parametrize("key", ["events-head", f"events/{1:016d}", "events/x", ""])
async def test_the_logs_own_keys_cannot_be_written_past_it(journal: Journal, store: Turnstile, key: str) -> None:
    for values, guards in (({key: "x"}, {}), ({}, {key: 0})):
        with pytest.raises(InvalidInputError):
            await journal.record(values, [happened("x")], guards)
    assert (await store.load()).entries == {}


async def test_what_was_recorded_does_not_change_with_the_callers_objects(journal: Journal, store: Turnstile) -> None:
    details = {"list": [1]}
    first = await held_up(journal, store)
    waiting = asyncio.create_task(journal.record({}, [Event(EventKind.REGION_UPDATED, 1.0, "x", details=details)]))
    await turns()
    details["list"].append(2)
    store.gate.set()
    await first
    recorded = await waiting
    assert recorded.entries[0].event.details == {"list": [1]}
    assert (await journal.last(1))[0] == recorded.entries[0]


# --- the store fails, the journal closes ---------------------------------------------------------


async def test_a_lost_store_is_told_to_all_who_wait_and_the_journal_goes_on(journal: Journal, store: Turnstile) -> None:
    first = await held_up(journal, store)
    others = [asyncio.create_task(journal.record({f"k{n}": "1"}, [happened(f"k{n}")])) for n in range(3)]
    await turns()
    store.failures = [StoreError("disk"), StoreError("disk")]
    store.gate.set()
    results = await asyncio.gather(first, *others, return_exceptions=True)
    assert [type(result) for result in results] == [StoreError] * 4
    await journal.record({"a": "1"}, [happened("after")])
    assert await journal.verify() == 1


async def test_a_write_that_was_done_though_the_store_failed_does_not_break_the_chain(store: Turnstile) -> None:
    class Forgetful(Turnstile):
        async def commit(self, values: Mapping[str, str | None], guards: Mapping[str, int] | None = None) -> int:
            await super().commit(values, guards)
            raise StoreError("the answer was lost")

    ours, theirs = Journal(Forgetful(store.inner), HaltedClock()), Journal(store, HaltedClock())
    await theirs.record({}, [happened("one")])
    with pytest.raises(StoreError):
        await ours.record({}, [happened("two")])
    with pytest.raises(StoreError):
        await ours.record({}, [happened("three")])
    await theirs.record({}, [happened("four")])
    assert subjects(await theirs.tail()) == ["one", "two", "three", "four"]
    assert await theirs.verify() == 4


async def test_close_waits_for_what_was_asked_and_takes_no_more(journal: Journal, store: Turnstile) -> None:
    first = await held_up(journal, store)
    second = asyncio.create_task(journal.record({}, [happened("second")]))
    await turns()
    closing = asyncio.create_task(journal.close())
    await turns()
    assert not closing.done()
    with pytest.raises(UnavailableError):
        await journal.record({}, [happened("late")])
    store.gate.set()
    await closing
    assert first.done() and second.done()
    assert subjects(await journal.tail()) == ["first", "second"]


async def test_a_call_that_was_still_being_checked_when_the_journal_closed_is_refused(
    journal: Journal, store: Turnstile
) -> None:
    calls = [asyncio.create_task(journal.record({"a": "1"}, [happened("x")] * 50)) for _ in range(2)]
    await asyncio.sleep(0)
    await journal.close()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [UnavailableError, UnavailableError]
    assert (await store.load()).entries == {}


async def test_calls_take_effect_in_order_however_many_events_they_bring(journal: Journal) -> None:
    many = asyncio.create_task(journal.record({"a": "many"}, [happened("many")] * 50))
    one = asyncio.create_task(journal.record({"a": "one"}, [happened("one")]))
    await asyncio.gather(many, one)
    assert subjects(await journal.tail()) == ["many"] * 50 + ["one"]


# --- sinks ----------------------------------------------------------------------------------------


async def test_sinks_hear_each_event_in_order_and_a_broken_one_hurts_nobody(store: Turnstile) -> None:
    class Broken:
        def take(self, entry: ChainedEvent) -> None:
            raise RuntimeError(f"cannot take {entry.seq}")

    before, after = MemorySink(), MemorySink()
    journal = Journal(store, HaltedClock(), [before, Broken(), after])
    await asyncio.gather(*(journal.record({f"k{n}": "1"}, [happened(str(n))]) for n in range(5)))
    assert before.entries == after.entries == await journal.tail()
    assert [entry.seq for entry in before.entries] == list(range(1, 6))


async def test_sinks_hear_nothing_of_what_was_not_written(store: Turnstile) -> None:
    sink = MemorySink()
    journal = Journal(store, HaltedClock(), [sink])
    store.failures = [StoreError("disk")]
    with pytest.raises(StoreError):
        await journal.record({}, [happened("x")])
    with pytest.raises(StaleRevisionError):
        await journal.record({}, [happened("y")], {"a": 9})
    assert sink.entries == []
