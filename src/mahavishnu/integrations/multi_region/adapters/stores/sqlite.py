"""The store in one SQLite file (WAL, synchronous FULL), for one machine; several processes may share the file.

Two threads do the blocking work, one for the connection that writes and one for the connection that reads, so that
neither the event loop nor a reader waits for a commit. Other processes' commits are noticed by polling a counter.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Concatenate, ParamSpec, Self, TypeVar

import apsw

from mahavishnu.integrations.multi_region.errors import InvalidInputError, StoreError
from mahavishnu.integrations.multi_region.ports.store import HISTORY, Bell, Changes, Loaded, check_change, check_range

from . import sqlite_file

_T = TypeVar("_T")
_P = ParamSpec("_P")


class SqliteStore:
    """The store in an SQLite file; open it with ``await SqliteStore.open(path)``, and close it. For one event loop."""

    def __init__(self, writer: _Lane, reader: _Lane, *, history: int, poll_s: float) -> None:
        self._writer = writer
        self._reader = reader
        self._history = history
        self._poll_s = poll_s
        self._bell = Bell()
        self._poller: asyncio.Task[None] | None = None
        self._closed = False

    @classmethod
    async def open(
        cls, path: str | Path, *, history: int = HISTORY, busy_timeout_s: float = 5.0, poll_s: float = 0.05
    ) -> Self:
        """Open the file, making it (mode 0600) and its directory (0700) where they are missing.

        ``history``: how many commits back a watch may start. ``busy_timeout_s``: how long to wait for another process's
        write. ``poll_s``: how often to look for commits of other processes while somebody watches.
        Raises StoreError when the file cannot be opened, is of a newer schema or of another program.
        """
        if history < 1:
            raise InvalidInputError("history", history, "a whole number of commits from 1")
        place = Path(path)
        writer = await _Lane.open(place, sqlite_file.open_writer, busy_timeout_s)
        try:
            reader = await _Lane.open(place, sqlite_file.open_reader, busy_timeout_s)
        except BaseException:
            await writer.close()
            raise
        return cls(writer, reader, history=history, poll_s=poll_s)

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._writer.path

    async def load(self, prefix: str = "", *, after: str = "", limit: int | None = None) -> Loaded:
        check_range(prefix, after, limit)
        return await self._reader.run("be read", sqlite_file.load, prefix, after, limit)

    async def commit(self, values: Mapping[str, str | None], guards: Mapping[str, int] | None = None) -> int:
        """As the port says; a caller that is cancelled leaves the commit to run to its end."""
        check_change(values, guards or {})
        job = self._writer.start("be written", sqlite_file.commit, dict(values), dict(guards or {}), self._history)
        job.add_done_callback(self._settled)
        return await asyncio.shield(job)

    async def watch(self, prefix: str = "", *, after: int) -> AsyncIterator[Changes]:
        check_range(prefix)
        self._start_polling()
        while not self._is_closed():
            news = self._bell.next()
            page = await self._reader.run("be read", sqlite_file.changes, prefix, after)
            for change in page.changes:
                yield change
                if self._is_closed():
                    return
            after = page.upto
            if page.upto == page.revision and not self._is_closed():
                await news.wait()

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._bell.ring()
        if self._poller is not None:
            self._poller.cancel()
        await self._reader.close()
        await self._writer.close()  # last, so that it folds the WAL into the file

    def _is_closed(self) -> bool:  # a call, since it changes while a watch is away
        return self._closed

    def _settled(self, job: asyncio.Future[int]) -> None:
        if not job.cancelled() and job.exception() is None:
            self._bell.ring()

    def _start_polling(self) -> None:
        if self._poller is None and not self._closed:
            self._poller = asyncio.get_running_loop().create_task(self._poll())

    async def _poll(self) -> None:
        """Ring when the file has changed, or cannot be read: then each watch finds out by itself and raises."""
        seen = -1
        while not self._closed:
            version = -1
            with suppress(StoreError):
                version = await self._reader.run("be read", sqlite_file.data_version)
            if version != seen or version == -1:
                self._bell.ring()
            seen = version
            await asyncio.sleep(self._poll_s)


class _Lane:
    """One connection and the one thread that uses it; calls run in the order in which they were started."""

    def __init__(self, path: Path, thread: ThreadPoolExecutor, db: apsw.Connection) -> None:
        self.path = path
        self._thread = thread
        self._db = db
        self._closed = False

    @classmethod
    async def open(cls, path: Path, connect: Callable[[Path, float], apsw.Connection], busy_timeout_s: float) -> Self:
        thread = ThreadPoolExecutor(1, thread_name_prefix=f"store-{connect.__name__}")
        try:
            db = await asyncio.get_running_loop().run_in_executor(thread, connect, path, busy_timeout_s)
        except BaseException:
            thread.shutdown(wait=False)
            raise
        return cls(path, thread, db)

    def start(
        self, doing: str, work: Callable[Concatenate[apsw.Connection, _P], _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> asyncio.Future[_T]:
        """Run ``work(connection, ...)`` in the thread; ``doing`` completes "the file cannot ..." should it fail."""
        if self._closed:
            raise StoreError(f"{self.path} cannot {doing}: the store is closed")

        def job() -> _T:
            with sqlite_file.translated(self.path, doing):
                return work(self._db, *args, **kwargs)

        return asyncio.get_running_loop().run_in_executor(self._thread, job)

    async def run(
        self, doing: str, work: Callable[Concatenate[apsw.Connection, _P], _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """``start`` and wait."""
        return await self.start(doing, work, *args, **kwargs)

    async def close(self) -> None:
        """Let what was started finish, then close the connection."""
        closing = self.start("be closed", apsw.Connection.close)
        self._closed = True
        self._thread.shutdown(wait=False)
        await closing
