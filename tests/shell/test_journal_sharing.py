"""Callers that share a commit, and journals that share a store: as if each call had been made by itself, in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings, strategies as st

from mahavishnu.integrations.multi_region.errors import (
    StaleRevisionError,
    UnavailableError,
)
from mahavishnu.integrations.multi_region.ports.store import MemoryStore
from mahavishnu.integrations.multi_region.shell.journal import Journal, Recorded
from mahavishnu.integrations.multi_region.shell.journal_batch import MAX_KEYS
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


# --- many calls -----------------------------------------------------------------------------------


async def test_calls_that_wait_together_share_a_commit(journal: Journal, store: Turnstile) -> None:
    first = await held_up(journal, store)
    others = [asyncio.create_task(journal.record({f"k{n}": "1"}, [happened(f"k{n}")])) for n in range(10)]
    await turns()
    store.gate.set()
    recorded = await asyncio.gather(first, *others)
    assert store.commits == [["first"], [f"k{n}" for n in range(10)]]
    assert {one.revision for one in recorded[1:]} == {2}
    assert [one.entries[0].seq for one in recorded] == list(range(1, 12))


async def test_only_the_guilty_caller_fails(journal: Journal, store: Turnstile) -> None:
    await journal.record({"taken": "1"}, [])
    first = await held_up(journal, store)
    calls = [
        asyncio.create_task(journal.record({"a": "1"}, [happened("a")], {"a": 0})),
        asyncio.create_task(journal.record({"taken": "2"}, [happened("taken")], {"taken": 0})),
        asyncio.create_task(journal.record({"b": "1"}, [happened("b")], {"b": 0})),
    ]
    await turns()
    store.gate.set()
    results = await asyncio.gather(first, *calls, return_exceptions=True)
    assert [type(result).__name__ for result in results] == ["Recorded", "Recorded", "StaleRevisionError", "Recorded"]
    assert subjects(await journal.tail()) == ["first", "a", "b"]
    assert (await store.load("taken")).entries["taken"].value == "1"
    assert await journal.verify() == 3


async def test_a_guard_is_judged_after_the_calls_before_it(journal: Journal, store: Turnstile) -> None:
    first = await held_up(journal, store)
    creations = [asyncio.create_task(journal.record({"a": str(n)}, [happened(str(n))], {"a": 0})) for n in range(3)]
    other = asyncio.create_task(journal.record({"b": "1"}, [], {"a": 2}))  # holds once the first creation is through
    await turns()
    store.gate.set()
    await first
    results = await asyncio.gather(*creations, other, return_exceptions=True)
    assert isinstance(results[0], Recorded)
    assert [(error.expected, error.actual) for error in results[1:3] if isinstance(error, StaleRevisionError)] == [
        (0, 2),
        (0, 2),
    ]
    assert isinstance(results[3], Recorded)
    assert (await store.load("a")).entries["a"].value == "0"


async def test_two_guards_on_one_key_that_contradict_are_not_mixed_up(journal: Journal, store: Turnstile) -> None:
    first = await held_up(journal, store)
    wrong = asyncio.create_task(journal.record({"y": "1"}, [], {"a": 7}))
    right = asyncio.create_task(journal.record({"x": "1"}, [], {"a": 0}))
    await turns()
    store.gate.set()
    results = await asyncio.gather(first, right, wrong, return_exceptions=True)
    assert [type(result).__name__ for result in results] == ["Recorded", "Recorded", "StaleRevisionError"]


async def test_a_guard_on_what_a_waiting_call_writes_is_judged_after_it(journal: Journal, store: Turnstile) -> None:
    first = await held_up(journal, store)
    writes = asyncio.create_task(journal.record({"a": "1"}, []))
    absent = asyncio.create_task(journal.record({"b": "1"}, [], {"a": 0}))
    await turns()
    store.gate.set()
    results = await asyncio.gather(first, writes, absent, return_exceptions=True)
    assert [type(result).__name__ for result in results] == ["Recorded", "Recorded", "StaleRevisionError"]


async def test_a_shared_commit_is_full_at_its_limit_and_not_beyond(journal: Journal, store: Turnstile) -> None:
    first = await held_up(journal, store)
    calls = [asyncio.create_task(journal.record({f"k{n}": "1"}, [])) for n in range(MAX_KEYS + 1)]
    await turns()
    store.gate.set()
    await asyncio.gather(first, *calls)
    assert [len(keys) for keys in store.commits] == [1, MAX_KEYS, 1]


async def test_a_shared_commit_stays_within_what_a_store_takes_at_once(journal: Journal, store: Turnstile) -> None:
    first = await held_up(journal, store)
    small = [asyncio.create_task(journal.record({f"s{n}": "1"}, [happened("s")], {f"s{n}": 0})) for n in range(100)]
    large = [asyncio.create_task(journal.record({f"l{n}": "x" * 300_000}, [])) for n in range(3)]
    await turns()
    store.gate.set()
    await asyncio.gather(first, *small, *large)
    assert [len(keys) for keys in store.commits] == [1, 33, 33, 33, 2, 1, 1]
    assert await journal.verify() == 101


async def test_a_caller_that_gives_up_in_the_queue_writes_nothing(journal: Journal, store: Turnstile) -> None:
    first = await held_up(journal, store)
    gone = asyncio.create_task(journal.record({"gone": "1"}, [happened("gone")]))
    stays = asyncio.create_task(journal.record({"stays": "1"}, [happened("stays")]))
    await turns()
    gone.cancel()
    store.gate.set()
    results = await asyncio.gather(first, gone, stays, return_exceptions=True)
    assert isinstance(results[1], asyncio.CancelledError)
    assert subjects(await journal.tail()) == ["first", "stays"]


async def test_a_caller_that_gives_up_while_it_is_written_takes_no_other_result_along(
    journal: Journal, store: Turnstile
) -> None:
    first = await held_up(journal, store)
    others = [asyncio.create_task(journal.record({f"k{n}": "1"}, [happened(f"k{n}")])) for n in range(3)]
    await turns()
    first.cancel()
    store.gate.set()
    results = await asyncio.gather(first, *others, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert [one.entries[0].seq for one in results[1:] if isinstance(one, Recorded)] == [2, 3, 4]
    assert subjects(await journal.tail()) == ["first", "k0", "k1", "k2"]


# --- several journals on one store ----------------------------------------------------------------


async def test_journals_that_share_a_store_build_one_chain(store: Turnstile) -> None:
    journals = [Journal(store, HaltedClock()) for _ in range(4)]
    calls = [one.record({f"{n}/{i}": "1"}, [happened(f"{n}/{i}")]) for i in range(10) for n, one in enumerate(journals)]
    await asyncio.gather(*calls)
    assert await journals[0].verify() == 40
    for number in range(4):  # each in its own order
        own = [subject for subject in subjects(await journals[0].tail()) if subject.startswith(f"{number}/")]
        assert own == [f"{number}/{i}" for i in range(10)]


async def test_a_journal_that_never_gets_its_turn_gives_up_with_nothing_written(store: Turnstile) -> None:
    clock = HaltedClock()
    journal = Journal(store, clock)
    store.failures = [StaleRevisionError("events-head", 0, n) for n in range(1, 51)]
    with pytest.raises(UnavailableError, match="50 times: nothing was written"):
        await journal.record({"a": "1"}, [happened("x")])
    assert (await store.load()).entries == {}
    assert clock.slept == sorted(clock.slept) and clock.slept[0] == 0 < clock.slept[-1]
    await journal.record({"a": "1"}, [happened("x")])


# --- any calls ------------------------------------------------------------------------------------

CALLS = st.lists(
    st.tuples(st.sampled_from("abc"), st.booleans(), st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=100
)


@settings(max_examples=60, deadline=None)
@given(calls=CALLS)
def test_calls_made_together_end_as_if_made_one_by_one(calls: list[tuple[str, bool, int, int]]) -> None:
    """Each call: a key, whether it is guarded as absent, how many events, and after how many turns it is made."""

    async def run(together: bool) -> tuple[list[str], dict[str, str], list[str]]:
        store = MemoryStore()
        journal = Journal(store, HaltedClock())

        async def call(place: int) -> Recorded:
            key, guarded, count, _ = calls[place]
            events = [happened(f"{place}.{n}") for n in range(count)]
            return await journal.record({key: str(place)}, events, {key: 0} if guarded else None)

        tasks = []
        for place, (_, _, _, pause) in enumerate(calls):
            tasks.append(asyncio.create_task(call(place)))
            await turns(pause)
            if not together:
                await asyncio.wait(tasks)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        revisions = [result.revision for result in results if isinstance(result, Recorded)]
        assert revisions == sorted(revisions)
        tail = await journal.tail(limit=1000)
        assert await journal.verify() == len(tail)
        entries = (await store.load()).entries
        kept = {key: entry.value for key, entry in entries.items() if not key.startswith("events")}
        await journal.close()
        return [type(result).__name__ for result in results], kept, subjects(tail)

    assert asyncio.run(run(together=True)) == asyncio.run(run(together=False))
