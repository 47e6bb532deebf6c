"""What the tests of the SQLite store share: opening, other processes, and the file seen by somebody else."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from subprocess import PIPE, Popen

import apsw

from mahavishnu.integrations.multi_region.adapters.stores.sqlite import SqliteStore


@asynccontextmanager
async def opened(place: Path, **options: float) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(place, **options)  # type: ignore[arg-type]  # ints among the floats
    try:
        yield store
    finally:
        await store.close()


@contextmanager
def running(program: str, *arguments: object) -> Iterator[Popen[str]]:
    """Another Python that runs ``program``; gone at the end, whatever happens."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with Popen(command, stdout=PIPE, text=True, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def locked(place: Path) -> Iterator[None]:
    """Hold the file's write lock, as a process would that hangs in the middle of a commit."""
    db = apsw.Connection(str(place))
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        db.execute("ROLLBACK")
        db.close()


def tamper(place: Path, sql: str) -> None:
    db = apsw.Connection(str(place))
    db.execute(sql)
    db.close()


def integrity(place: Path) -> object:
    db = apsw.Connection(str(place), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        return db.execute("PRAGMA integrity_check").get
    finally:
        db.close()
