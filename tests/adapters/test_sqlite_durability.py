"""What only the SQLite store promises: it survives kill -9, several processes share it, it is there again tomorrow."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from pathlib import Path

import pytest

from mahavishnu.integrations.multi_region.adapters.stores.sqlite import SqliteStore
from mahavishnu.integrations.multi_region.errors import HistoryGoneError
from mahavishnu.integrations.multi_region.ports.clock import SystemClock
from mahavishnu.integrations.multi_region.shell.journal import Journal
from mahavishnu.integrations.multi_region.testing.store_contract import PATIENCE_S, collect
from tests.adapters.sqlite_tools import integrity, locked, opened, running

WRITER = """
import asyncio, sys
from mahavishnu.integrations.multi_region.adapters.stores.sqlite import SqliteStore
from mahavishnu.integrations.multi_region.core.events import Event, EventKind
from mahavishnu.integrations.multi_region.ports.clock import SystemClock
from mahavishnu.integrations.multi_region.shell.journal import Journal

async def write(journal, store, name, times):
    entry = (await store.load(name + "/left")).entries.get(name + "/left")
    number, revision = (int(entry.value), entry.revision) if entry else (0, 0)
    while times:
        number, times = number + 1, times - 1
        event = Event(EventKind.REGION_UPDATED, 0.0, name, after={"number": number})
        values = {name + "/left": str(number), name + "/right": str(number)}
        revision = (await journal.record(values, [event], {name + "/left": revision})).revision
        print(name, number, revision, flush=True)

async def main(path, times, *names):
    store = await SqliteStore.open(path)
    journal = Journal(store, SystemClock())
    await asyncio.gather(*(write(journal, store, name, int(times)) for name in names))
    await journal.close()
    await store.close()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "state" / "store.db"


# --- kill -9 --------------------------------------------------------------------------------------

NAMES = ["w0", "w1", "w2"]


def write_until_killed(place: Path, chance: random.Random) -> dict[str, tuple[int, int]]:
    """Let a process write, kill it at some moment, and return what it was told last: by name, number and revision."""
    acknowledged: dict[str, tuple[int, int]] = {}
    with running(WRITER, place, 10**9, *NAMES) as process:
        assert process.stdout is not None
        wanted = chance.randrange(1, 150)
        for count, line in enumerate(process.stdout):
            if count == wanted:
                time.sleep(chance.random() * 0.004)
                process.send_signal(signal.SIGKILL)
            name, number, revision = line.split() if line.endswith("\n") else ("", "0", "0")
            acknowledged[name] = int(number), int(revision)
    assert process.returncode == -signal.SIGKILL
    return acknowledged


async def check_after_kill(place: Path, acknowledged: dict[str, tuple[int, int]]) -> None:
    async with opened(place) as store:
        loaded = await store.load("w")
        told = await Journal(store, SystemClock()).tail(limit=10**6)
        assert await Journal(store, SystemClock()).verify() == len(told)
    assert loaded.revision >= max(revision for _, revision in acknowledged.values())
    for name in NAMES:
        events = [entry.event.after["number"] for entry in told if entry.event.subject == name and entry.event.after]
        left, right = loaded.entries.get(f"{name}/left"), loaded.entries.get(f"{name}/right")
        assert left == right  # never half a change
        written = int(left.value) if left else 0
        assert events == list(range(1, written + 1))  # nor a change without its event
        assert written >= acknowledged.get(name, (0, 0))[0]  # and nothing acknowledged is lost
    assert integrity(place) == "ok"


@pytest.mark.slow
async def test_kill_9_at_any_moment_loses_nothing_acknowledged_and_leaves_no_half_change(place: Path) -> None:
    chance = random.Random(20_251)
    for _ in range(15):
        acknowledged = await asyncio.to_thread(write_until_killed, place, chance)
        await check_after_kill(place, acknowledged)


# --- several processes ----------------------------------------------------------------------------


async def test_two_processes_share_the_file_and_a_third_watches(place: Path) -> None:
    async with opened(place, poll_s=0.005) as store:
        watching = asyncio.create_task(collect(store.watch("p", after=0), 60))
        with running(WRITER, place, 30, "p0") as one, running(WRITER, place, 30, "p1") as two:
            codes = [await asyncio.to_thread(process.wait, PATIENCE_S) for process in (one, two)]
        assert codes == [0, 0]
        seen = await watching
        assert [changes.revision for changes in seen] == list(range(1, 61))
        for name in ("p0", "p1"):
            numbers = [changes.values[f"{name}/left"] for changes in seen if f"{name}/left" in changes.values]
            assert numbers == [str(number) for number in range(1, 31)]
        assert await Journal(store, SystemClock()).verify() == 60


async def test_processes_that_make_the_file_at_once_agree(place: Path) -> None:
    with running(WRITER, place, 5, "p0") as one, running(WRITER, place, 5, "p1") as two:
        stores = await asyncio.gather(*(SqliteStore.open(place) for _ in range(4)))
        codes = [await asyncio.to_thread(process.wait, PATIENCE_S) for process in (one, two)]
    assert codes == [0, 0]
    assert [(await store.load()).revision for store in stores] == [10] * 4
    for store in stores:
        await store.close()


async def test_while_another_process_writes_reads_go_on_and_a_commit_waits(place: Path) -> None:
    async with opened(place) as store:
        await store.commit({"a": "1"})
        with locked(place):
            commit = asyncio.create_task(store.commit({"a": "2"}))
            for _ in range(3):
                assert (await store.load()).entries["a"].value == "1"
            assert not commit.done()
        assert await commit == 2


async def test_a_caller_that_gives_up_leaves_its_commit_to_finish(place: Path) -> None:
    async with opened(place) as store:
        with locked(place):
            callers = [asyncio.create_task(store.commit({key: "1"})) for key in "ab"]  # one under way, one in the queue
            await asyncio.sleep(0.01)
            for caller in callers:
                caller.cancel()
            results = await asyncio.gather(*callers, return_exceptions=True)
        assert [type(result) for result in results] == [asyncio.CancelledError] * 2
        assert [changes.values for changes in await collect(store.watch(after=0), 2)] == [{"a": "1"}, {"b": "1"}]


async def test_a_commit_of_this_process_wakes_watches_without_any_poll(place: Path) -> None:
    async with opened(place, poll_s=3600) as store:
        waiting = asyncio.create_task(collect(store.watch(after=0), 2))
        for number in range(2):
            await asyncio.sleep(0.05)
            await store.commit({"a": str(number)})
        assert [changes.values["a"] for changes in await waiting] == ["0", "1"]


# --- open again -----------------------------------------------------------------------------------


async def test_what_was_committed_is_there_when_opened_again(place: Path) -> None:
    async with opened(place, history=3) as store:
        for number in range(10):
            await store.commit({"a": str(number), f"b/{number}": "x"})
        before = await store.load()
    async with opened(place) as store:  # with more history asked for than the file still has
        assert await store.load() == before
        with pytest.raises(HistoryGoneError):
            await collect(store.watch(after=6), 1)
        assert [changes.revision for changes in await collect(store.watch(after=7), 3)] == [8, 9, 10]
        assert await store.commit({"a": "new"}) == 11
