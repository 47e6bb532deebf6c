"""The worker's side: the controller's regions as they were last heard of, and the connection that tells."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import structlog

from mahavishnu.integrations.multi_region.core.model import Fleet, RegionView
from mahavishnu.integrations.multi_region.errors import UnknownRegionError
from mahavishnu.integrations.multi_region.shell.router import RegionAwareRouter
from mahavishnu.integrations.multi_region.shell.rtt import RttBook

from .frames import frame, next_message
from .report import Report, report_bytes
from .state import Assembler, State, decoded

REPORT_EVERY_S = 0.25
RETRY_S = 0.2
"""How often counts are told, and how long to wait before the controller is tried again."""

log = structlog.get_logger(__name__)


class FollowedRegions:
    """A RegionSource: the regions of another process, frozen, replaced as a whole. Learns nothing itself."""

    def __init__(self) -> None:
        self._fleet = State().fleet
        self.round_trips = RttBook()

    @property
    def registry(self) -> FollowedRegions:
        """Itself: there is nothing else to ask."""
        return self

    def become(self, state: State) -> None:
        """Take over a state."""
        self._fleet = state.fleet
        self.round_trips.corrections = state.corrections

    def fleet(self) -> Fleet:
        """The fleet as it was last heard of."""
        return self._fleet

    snapshot = fleet

    def holders(self, data_id: str) -> tuple[str, ...]:
        """Only the controller knows. Raises ElsewhereError, so that the request is passed on to it."""
        raise ElsewhereError(f"which regions hold {data_id} is not known in this process")

    def get_region(self, region_id: str) -> RegionView:
        """A region as it was last heard of. Raises UnknownRegionError."""
        view = self._fleet.regions.get(region_id)
        if view is None:
            raise UnknownRegionError(region_id, list(self._fleet.regions))
        return view


class ElsewhereError(Exception):
    """A decision needs what only the controller knows. No fault of the request, and never an answer to it."""


class Follower:
    """Follows the controller at a unix socket, and again when the connection breaks; what was heard last stays."""

    def __init__(self, path: Path) -> None:
        self.regions = FollowedRegions()
        self._path = path
        self._assembler = Assembler()
        self._applied = 0  # of the states that this controller numbered; the next one numbers anew
        self._first = asyncio.Event()
        self._router: RegionAwareRouter | None = None
        self._told: Mapping[tuple[str, str], int] = {}
        self._told_refused = 0
        self._writer: asyncio.StreamWriter | None = None
        self._following: asyncio.Task[None] | None = None
        self._reporting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Follow from now on; returns with the first state."""
        self._following = asyncio.create_task(self._follow_forever(), name="follow the controller")
        await self._first.wait()

    def report(self, router: RegionAwareRouter) -> None:
        """Tell the controller what the router counts."""
        self._router = router
        self._reporting = asyncio.create_task(self._report_forever(), name="report to the controller")

    async def close(self) -> None:
        """Tell the last counts, and stop."""
        for task in (self._reporting, self._following):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        writer = self._writer
        if writer is not None:
            self._tell()
            with suppress(ConnectionError):
                await writer.drain()
                writer.close()
                await writer.wait_closed()
            self._writer = None

    # --- hearing ----------------------------------------------------------------------------------

    async def _follow_forever(self) -> None:
        while True:
            try:
                reader, self._writer = await asyncio.open_unix_connection(self._path)
            except OSError:
                await asyncio.sleep(RETRY_S)
                continue
            log.info("following the controller")
            try:
                await self._follow(reader)
            except Exception:  # whatever it is, a worker that no longer follows is worse than one that begins anew
                log.exception("the controller's state cannot be read")
            self._writer.close()
            self._writer = None
            log.warning("the controller is away: routing goes on by what it last said")
            await asyncio.sleep(RETRY_S)

    async def _follow(self, reader: asyncio.StreamReader) -> None:
        self._assembler.begin()
        self._applied = 0
        while (raw := await next_message(reader)) is not None:
            if self._assembler.take(decoded(raw)):
                self.regions.become(self._assembler.state)
                self._applied = self._assembler.state.number
                self._first.set()
                self._tell()

    # --- telling ----------------------------------------------------------------------------------

    async def _report_forever(self) -> None:
        while True:
            await asyncio.sleep(REPORT_EVERY_S)
            self._tell(only_news=True)

    def _tell(self, *, only_news: bool = False) -> None:
        """Send the counts since the last time; what cannot be sent is counted in the next."""
        writer, router = self._writer, self._router
        if writer is None or writer.is_closing():
            return
        decisions: list[tuple[str, str, int]] = []
        refused = 0
        if router is not None:
            now, refused = dict(router.decisions), router.refused - self._told_refused
            decisions = [(*made, n - self._told.get(made, 0)) for made, n in now.items() if n != self._told.get(made)]
            self._told, self._told_refused = now, router.refused
        if decisions or refused or not only_news:
            report = Report(os.getpid(), self._applied, decisions, refused)
            writer.write(frame(report_bytes(report)))
