"""The controller's side: sends each worker the newest state whenever it changed, and adds up what workers counted."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import structlog

from mahavishnu.integrations.multi_region.shell.region_source import RegionSource
from mahavishnu.integrations.multi_region.shell.router import RegionAwareRouter

from .frames import frame, next_message
from .report import parse_report
from .state import State, encoded, pieces

LOOK_EVERY_S = 0.01
"""How soon a change is noticed. Looking costs a microsecond, and sees what merely lapses with time as well."""
AFTER_FAILURE_S = 1.0

JOIN_WITHIN_S = 1.0
"""How long after the start the workers of a controller that was killed are waited for: they try again much sooner."""

log = structlog.get_logger(__name__)


class Feed:
    """Serves workers at a unix socket. ``router``: the controller's, which gets their counts.

    ``workers``: how many there should be, and ``join_within_s``: how long after the start that is waited for.
    """

    def __init__(
        self,
        source: RegionSource,
        router: RegionAwareRouter,
        path: Path,
        workers: int = 0,
        join_within_s: float = JOIN_WITHIN_S,
    ) -> None:
        self._source = source
        self._router = router
        self._path = path
        self._workers = workers
        self._join_within_s = join_within_s
        self._links: set[_Link] = set()
        self._joined = asyncio.Event()
        self._joining: asyncio.TimerHandle | None = None
        self._newest = State()
        self._looking: asyncio.Task[None] | None = None
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Take workers from now on."""
        self._path.unlink(missing_ok=True)  # of a controller that was killed
        self._look()
        self._server = await asyncio.start_unix_server(self._serve, self._path)
        self._looking = asyncio.create_task(self._look_forever(), name="state for workers")
        wait_s = self._join_within_s if self._workers else 0.0
        self._joining = asyncio.get_running_loop().call_later(wait_s, self._joined.set)

    async def close(self) -> None:
        """Let go of the workers, which go on with what they have. Does nothing the second time."""
        if self._looking is None or self._server is None or self._joining is None:
            return
        self._joining.cancel()
        self._server.close()
        self._looking.cancel()
        with suppress(asyncio.CancelledError):
            await self._looking
        for link in tuple(self._links):
            link.writer.close()
        self._looking = None
        self._path.unlink(missing_ok=True)

    async def settled(self, timeout_s: float) -> bool:
        """Wait until every worker decides by the state of now, or is gone; whether they all do in time."""
        self._look()
        number = self._newest.number
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._joined.wait()
                await asyncio.gather(*(link.reaches(number) for link in self._links))
        return self._joined.is_set() and all(link.applied >= number for link in self._links)

    # --- what is new ------------------------------------------------------------------------------

    def _look(self) -> None:
        fleet, corrections = self._source.registry.fleet(), self._source.round_trips.corrections
        newest = self._newest
        if newest.number and fleet is newest.fleet and corrections is newest.corrections:
            return
        self._newest = State(newest.number + 1, fleet, corrections)
        for link in self._links:
            link.news.set()

    async def _look_forever(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                self._look()
            except Exception:
                log.exception("the state cannot be read")
                await asyncio.sleep(AFTER_FAILURE_S)

    # --- one worker -------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(writer)
        self._links.add(link)
        if len(self._links) >= self._workers:
            self._joined.set()
        sending = asyncio.create_task(self._send_forever(link), name="state for a worker")
        try:
            while (raw := await next_message(reader)) is not None:
                report = parse_report(raw)
                self._router.count_elsewhere(report.decisions, report.refused)
                link.reached(report.applied)
        except ValueError as err:
            log.error("a worker's report cannot be read", error=str(err))
        finally:
            self._links.discard(link)
            link.reached(link.applied, gone=True)
            sending.cancel()
            writer.close()

    async def _send_forever(self, link: _Link) -> None:
        """Send what changed; while a worker is slow, only the newest state waits for it."""
        sent: State | None = None
        try:
            while True:
                await link.news.wait()
                link.news.clear()
                newest = self._newest
                for piece in pieces(sent, newest):
                    link.writer.write(frame(encoded(piece)))
                    await link.writer.drain()
                    await asyncio.sleep(0)
                sent = newest
        except ConnectionError:
            return  # the worker has gone; whoever reads from it notices
        except Exception:
            log.exception("the state cannot be sent to a worker")
            link.writer.close()  # so that it asks again, and is not left behind


class _Link:
    """A worker's connection."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.applied = 0
        self.news = asyncio.Event()
        self.news.set()
        self._progress = asyncio.Event()
        self._gone = False

    def reached(self, number: int, *, gone: bool = False) -> None:
        """The worker decides by that state; or has gone."""
        self.applied, self._gone = max(self.applied, number), gone
        self._progress.set()

    async def reaches(self, number: int) -> None:
        """Wait until it does, or is gone."""
        while self.applied < number and not self._gone:
            self._progress.clear()
            await self._progress.wait()
