"""The SQLite store's file: who may read it, and an error that names what is wrong with it."""

from __future__ import annotations

import asyncio
import random
import stat
from pathlib import Path

import apsw
import pytest

from mahavishnu.integrations.multi_region.adapters.stores import sqlite_file
from mahavishnu.integrations.multi_region.adapters.stores.sqlite import SqliteStore
from mahavishnu.integrations.multi_region.errors import InvalidInputError, StoreError
from mahavishnu.integrations.multi_region.testing.watch_contract import collect
from tests.adapters.sqlite_tools import integrity, locked, opened, running, tamper

FILLER = """
import asyncio, resource, signal, sys
from mahavishnu.integrations.multi_region.adapters.stores.sqlite import SqliteStore
from mahavishnu.integrations.multi_region.errors import StoreError

async def main(path):
    store = await SqliteStore.open(path)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, resource.RLIM_INFINITY))
    count = 0
    try:
        while True:
            await store.commit({f"k/{count:03d}/left": "x" * 50_000, f"k/{count:03d}/right": "x"})
            count += 1
    except StoreError as err:
        print(count, err, flush=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await store.commit({"after": str(count)})
    await store.close()

asyncio.run(main(sys.argv[1]))
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "state" / "store.db"


async def test_a_lock_held_too_long_is_an_error_that_names_the_file(place: Path) -> None:
    async with opened(place, busy_timeout_s=0.02) as store:
        with locked(place), pytest.raises(StoreError, match=rf"{place} cannot be written: another process holds"):
            await store.commit({"a": "1"})
        assert await store.commit({"a": "1"}) == 1


async def test_file_and_directory_are_the_owners_alone(place: Path) -> None:
    async with opened(place) as store:
        await store.commit({"a": "1"})
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [place.parent, *place.parent.iterdir()]}
    assert modes == {"state": 0o700, "store.db": 0o600, "store.db-wal": 0o600, "store.db-shm": 0o600}


async def test_what_is_acknowledged_is_synced(place: Path) -> None:
    db = await asyncio.to_thread(sqlite_file.open_writer, place, 1.0)
    assert db.execute("PRAGMA journal_mode").get == "wal"
    assert db.execute("PRAGMA synchronous").get == 2  # FULL
    db.close()


async def test_an_sqlite_that_can_damage_the_file_is_refused() -> None:
    with pytest.raises(StoreError, match=r"SQLite 3\.51\.2 .*needed: 3\.51\.3"):
        sqlite_file.require_sqlite("3.51.2")
    sqlite_file.require_sqlite("3.51.3")
    sqlite_file.require_sqlite("4.0")


async def test_a_newer_schema_is_refused(place: Path) -> None:
    async with opened(place):
        pass
    tamper(place, "PRAGMA user_version = 2")
    with pytest.raises(StoreError, match="has schema 2, this program knows 1: upgrade"):
        await SqliteStore.open(place)


async def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    place = tmp_path / "other.db"
    tamper(place, "CREATE TABLE theirs(x)")
    with pytest.raises(StoreError, match="database of another program"):
        await SqliteStore.open(place)
    db = apsw.Connection(str(place))
    assert db.execute("SELECT group_concat(name) FROM sqlite_schema").get == "theirs"
    db.close()


async def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    place = tmp_path / "notes.txt"
    place.write_text("not a database " * 1000)
    with pytest.raises(StoreError, match=rf"{place} cannot be opened: the file is not an SQLite database"):
        await SqliteStore.open(place)
    assert place.read_text() == "not a database " * 1000


async def test_a_place_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=rf"{tmp_path}/file/store.db cannot be made"):
        await SqliteStore.open(tmp_path / "file" / "store.db")


async def test_a_damaged_file_is_an_error_and_never_an_answer(place: Path) -> None:
    async with opened(place) as store:
        await store.commit({f"k/{number:04d}": "x" * 500 for number in range(400)})
    with place.open("r+b") as file:
        file.seek(4096 * 5)
        file.write(random.Random(1).randbytes(place.stat().st_size - 4096 * 5))
    with pytest.raises(StoreError, match="the file is damaged"):
        async with opened(place) as store:
            await store.load()


async def test_a_disk_that_takes_no_more_is_an_error_and_costs_nothing_acknowledged(place: Path) -> None:
    with running(FILLER, place) as process:
        output, _ = await asyncio.to_thread(process.communicate)
    assert process.returncode == 0
    count, _, message = output.strip().partition(" ")
    assert message.startswith(f"{place} cannot be written: ")
    async with opened(place) as store:
        entries = (await store.load()).entries
    assert len(entries) == 2 * int(count) + 1 and int(count) > 0
    assert entries["after"].value == count
    assert integrity(place) == "ok"


async def test_a_watch_reads_a_long_history_to_its_end_though_nobody_commits_any_more(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "PAGE", 2)
    async with opened(place, poll_s=3600.0) as store:
        revisions = [await store.commit({"a": str(number)}) for number in range(11)]
        seen = await collect(store.watch(after=0), len(revisions))
    assert [change.revision for change in seen] == revisions


async def test_history_must_be_at_least_one_commit(place: Path) -> None:
    with pytest.raises(InvalidInputError, match="history: 0"):
        await SqliteStore.open(place, history=0)
    assert not place.exists()
