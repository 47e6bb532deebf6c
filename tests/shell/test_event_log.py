"""The event log as readers see it: pages, following, and the proof that nobody has touched it (L19)."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path

import apsw
import pytest

from mahavishnu.integrations.multi_region.adapters.stores.sqlite import SqliteStore
from mahavishnu.integrations.multi_region.core.events import ChainedEvent, chain
from mahavishnu.integrations.multi_region.errors import AuditBrokenError, InvalidInputError
from mahavishnu.integrations.multi_region.ports.store import MemoryStore
from mahavishnu.integrations.multi_region.shell.event_log import EventLog
from mahavishnu.integrations.multi_region.shell.journal import Journal
from mahavishnu.integrations.multi_region.testing.store_contract import PATIENCE_S
from tests.shell.journal_tools import HaltedClock, Turnstile, happened, subjects, turns


@pytest.fixture
def store() -> Turnstile:
    return Turnstile(MemoryStore())


@pytest.fixture
async def journal(store: Turnstile) -> AsyncIterator[Journal]:
    journal = Journal(store, HaltedClock())
    yield journal
    store.gate.set()
    await journal.close()


# --- reading --------------------------------------------------------------------------------------


async def test_tail_and_last_give_pages(journal: Journal) -> None:
    assert await journal.tail() == await journal.last(5) == []
    await journal.record({}, [happened(str(n)) for n in range(1, 11)])
    assert subjects(await journal.tail(limit=3)) == ["1", "2", "3"]
    assert subjects(await journal.tail(after=3, limit=3)) == ["4", "5", "6"]
    assert subjects(await journal.tail(after=10)) == []
    assert subjects(await journal.last(2)) == ["9", "10"]
    assert subjects(await journal.last(99)) == [str(n) for n in range(1, 11)]
    with pytest.raises(InvalidInputError):
        await journal.tail(after=-1)


async def test_verify_holds_while_writers_go_on(store: Turnstile) -> None:
    journal, other = Journal(store, HaltedClock()), Journal(store, HaltedClock())
    await journal.record({}, [happened(str(n)) for n in range(450)])

    async def write() -> None:
        for number in range(50):
            await other.record({}, [happened(str(number))])

    writing, counts = asyncio.create_task(write()), []
    while not writing.done():
        counts.append(await journal.verify())
        await asyncio.sleep(0)
    await writing
    assert counts == sorted(counts) and counts[0] < 500
    assert await journal.verify() == 500


async def follow(journal: Journal, after: int, count: int) -> list[ChainedEvent]:
    async with asyncio.timeout(PATIENCE_S), aclosing(journal.follow(after)) as events:
        return [await anext(events) for _ in range(count)]


async def test_follow_catches_up_and_goes_on_live(journal: Journal) -> None:
    await journal.record({}, [happened(str(n)) for n in range(1, 301)])
    following = asyncio.create_task(follow(journal, 50, 260))
    await turns()
    for number in range(301, 311):
        await journal.record({"k": "1"}, [happened(str(number))])
    assert subjects(await following) == [str(n) for n in range(51, 311)]


async def test_follow_may_start_after_an_event_that_is_still_to_come(journal: Journal) -> None:
    following = asyncio.create_task(follow(journal, 2, 1))
    await turns()
    for number in range(1, 4):
        await journal.record({}, [happened(str(number))])
    assert subjects(await following) == ["3"]


async def test_follow_survives_a_store_that_forgets(store: Turnstile) -> None:
    store.inner = MemoryStore(history=2)
    journal = Journal(store, HaltedClock())
    await journal.record({}, [happened("1")])
    seen = []
    async with asyncio.timeout(PATIENCE_S), aclosing(journal.follow()) as events:
        seen.append(await anext(events))
        reached = asyncio.ensure_future(anext(events))
        await turns()
        await journal.record({}, [happened("2")])
        seen.append(await reached)
        for number in range(3, 13):  # the follower is away while the history runs over
            await journal.record({}, [happened(str(number))])
        seen += [await anext(events) for _ in range(10)]
    assert subjects(seen) == [str(n) for n in range(1, 13)]


async def test_follow_ends_with_the_store(journal: Journal, store: Turnstile) -> None:
    await journal.record({}, [happened("1")])

    async def run_out() -> list[str]:
        return [entry.event.subject async for entry in journal.follow()]

    following = asyncio.create_task(run_out())
    await turns()
    await store.close()
    async with asyncio.timeout(PATIENCE_S):
        assert await following == ["1"]


# --- L19: who touches the file is found out -------------------------------------------------------

COUNT = 450  # several pages


def key(seq: int) -> str:
    return f"events/{seq:016d}"


def put(db: apsw.Connection, seq: int, text: str) -> None:
    db.execute("UPDATE entries SET value = ? WHERE key = ?", (text, key(seq)))


def text_of(db: apsw.Connection, seq: int) -> str:
    return str(db.execute("SELECT value FROM entries WHERE key = ?", (key(seq),)).get)


def insert(db: apsw.Connection, name: str, text: str) -> None:
    db.execute("INSERT INTO entries SELECT ?, ?, revision FROM meta", (name, text))


def alter(db: apsw.Connection) -> None:
    put(db, 217, text_of(db, 217).replace('"actor":"automation"', '"actor":"nobody"'))


def alter_and_rehash(db: apsw.Connection) -> None:
    """The whole of the log from number 217 on is written anew, with hashes that follow; the head stays."""
    previous = hashlib.sha256(text_of(db, 216).encode()).hexdigest()
    for seq in range(217, COUNT + 1):
        _, text = chain(happened(f"forged {seq}"), seq, previous)
        put(db, seq, text)
        previous = hashlib.sha256(text.encode()).hexdigest()


def respell(db: apsw.Connection) -> None:
    put(db, 217, json.dumps(json.loads(text_of(db, 217))))


def garble(db: apsw.Connection) -> None:
    put(db, 217, '{"seq": 217, "previous": 1}')


def empty_details(db: apsw.Connection) -> None:
    put(db, 217, text_of(db, 217).replace('"details":{}', '"details":null'))


def remove(db: apsw.Connection) -> None:
    db.execute("DELETE FROM entries WHERE key = ?", (key(217),))


def swap(db: apsw.Connection) -> None:
    first, second = text_of(db, 217), text_of(db, 218)
    put(db, 217, second)
    put(db, 218, first)


def rename(db: apsw.Connection) -> None:
    db.execute("UPDATE entries SET key = key || 'x' WHERE key = ?", (key(217),))


def cut(db: apsw.Connection) -> None:
    db.execute("DELETE FROM entries WHERE key >= ? AND key < 'events0'", (key(217),))


def cut_with_head(db: apsw.Connection) -> None:
    cut(db)
    db.execute("DELETE FROM entries WHERE key = 'events-head'")


def append(db: apsw.Connection) -> None:
    previous = hashlib.sha256(text_of(db, COUNT).encode()).hexdigest()
    insert(db, key(COUNT + 1), chain(happened("forged"), COUNT + 1, previous)[1])


def append_out_of_sight(db: apsw.Connection) -> None:
    insert(db, "events/zzz", "{}")


def slip_in(db: apsw.Connection) -> None:
    insert(db, key(216) + "x", text_of(db, 217))


def spoil_head(db: apsw.Connection) -> None:
    db.execute("UPDATE entries SET value = '[]' WHERE key = 'events-head'")


@pytest.mark.parametrize(
    ("tamper", "seq"),
    [
        (alter, 218),  # what was altered still reads well; the one after it does not follow from it
        (alter_and_rehash, COUNT),
        (respell, 217),
        (garble, 217),
        (empty_details, 217),
        (remove, 217),
        (swap, 217),
        (rename, 217),
        (cut, 217),
        (cut_with_head, 1),
        (append, COUNT + 1),
        (append_out_of_sight, COUNT + 1),
        (slip_in, 217),
        (spoil_head, 0),
    ],
)
async def test_L19_what_was_done_to_the_log_behind_its_back_is_named(
    tmp_path: Path, tamper: Callable[[apsw.Connection], None], seq: int
) -> None:
    place = tmp_path / "store.db"
    store = await SqliteStore.open(place)
    journal = Journal(store, HaltedClock())
    await journal.record({"a": "1"}, [happened(str(n)) for n in range(COUNT)])
    assert await EventLog(store).verify() == COUNT
    await store.close()

    db = apsw.Connection(str(place))
    tamper(db)
    db.close()

    store = await SqliteStore.open(place)
    with pytest.raises(AuditBrokenError, match=rf"^event {seq}: ") as caught:
        await EventLog(store).verify()
    assert caught.value.seq == seq
    await store.close()


async def test_L19_whichever_character_is_changed_is_found(store: Turnstile) -> None:
    log = Journal(store, HaltedClock())
    await log.record({}, [happened("1", share=0.5), happened("2")])
    assert await log.verify() == 2
    for seq in (1, 2):
        text = (await store.load(key(seq))).entries[key(seq)].value
        for place, character in enumerate(text):
            changed = text[:place] + ("x" if character != "x" else "y") + text[place + 1 :]
            await store.commit({key(seq): changed})
            with pytest.raises(AuditBrokenError):
                await log.verify()
        await store.commit({key(seq): text})
    assert await log.verify() == 2


async def test_L19_the_log_is_never_written_over(store: Turnstile) -> None:
    await Journal(store, HaltedClock()).record({}, [happened("1"), happened("2")])
    await store.commit({"events-head": None})
    with pytest.raises(AuditBrokenError, match="event 1: exists"):
        await Journal(store, HaltedClock()).record({"a": "1"}, [happened("forged")])
    assert (await store.load("a")).entries == {}
    assert subjects(await EventLog(store).tail()) == ["1", "2"]


async def test_L19_a_hundred_calls_at_once_make_one_whole_log(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "store.db")
    journal, other = Journal(store, HaltedClock()), Journal(store, HaltedClock())
    calls = [(journal, other)[n % 2].record({f"k{n}": "1"}, [happened(str(n))]) for n in range(100)]
    recorded = await asyncio.gather(*calls)
    assert await EventLog(store).verify() == 100
    tail = await journal.tail(limit=1000)
    assert sorted(subjects(tail), key=int) == [str(n) for n in range(100)]
    revision_of = {one.entries[0].seq: one.revision for one in recorded}
    revisions = [revision_of[entry.seq] for entry in tail]
    assert revisions == sorted(revisions)
    assert [one.entries[0].event.subject for one in recorded] == [str(n) for n in range(100)]
    await journal.close()
    await other.close()
    await store.close()
