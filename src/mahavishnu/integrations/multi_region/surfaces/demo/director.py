"""Runs the demo from beginning to end: traffic, the fault, its end, and what was noted of it all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import aiohttp

from mahavishnu.integrations.multi_region.core.events import EventKind
from mahavishnu.integrations.multi_region.errors import MultiRegionError, UnavailableError
from mahavishnu.integrations.multi_region.ports.clock import Clock, SystemClock

from .clients import Clients
from .controller import Controller, ControllerFailure, Explained, Happening, Status
from .faults import BEGIN_TEXT, END_TEXT
from .frame import Frame
from .ledger import Ledger, shares
from .report import DemoReport, Notes, build_report
from .scene import BERLIN, EU_SERVICE, Options
from .screen import FRAMES_PER_S, Screen, describe
from .stage import Stage, open_stage

SHARE_WINDOW_S = 2.0
HEALTHY_WITHIN_S = 15.0
MARGIN_S = 60.0
"""How much longer than the clients' time the whole may take before it is given up."""


async def run_demo(options: Options, screen: Screen, clock: Clock | None = None) -> DemoReport:
    """Play the demo and report on it; everything that it started has ended when this returns or raises.

    Raises UnavailableError when a process does not start or the whole takes far too long.
    """
    async with on_stage(options, screen, partial(Stage, options)) as (stage, session):
        return await Director(options, stage, session, screen, clock or SystemClock()).play()


_S = TypeVar("_S", bound=Stage)


@asynccontextmanager
async def on_stage(
    options: Options, screen: Screen, build: Callable[[Path], _S], what: str = "five regions and the controller"
) -> AsyncIterator[tuple[_S, aiohttp.ClientSession]]:
    """Everything running, and a session to speak to it; raises as ``run_demo`` does.

    ``build``: see ``open_stage``. ``what``: is started.
    """
    try:
        async with asyncio.timeout(options.seconds + MARGIN_S):
            with screen:
                screen.say(f"starting {what}")
                async with open_stage(build) as stage, _session() as session:
                    yield stage, session
    except TimeoutError as err:
        raise UnavailableError(f"the demo did not end within {options.seconds + MARGIN_S:g} s") from err


@asynccontextmanager
async def _session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session


class Load(Protocol):
    """Clients that send requests."""

    @property
    def lost_reports(self) -> int:
        """Reports of theirs that the controller did not take."""

    async def run(self, options: Options) -> None:
        """Send requests for as long as the options say, then wait for the last answers."""


class Director:
    """One run of the demo on a stage that is set up. ``through_edges``: whether edges carry the requests."""

    through_edges = False

    def __init__(
        self, options: Options, stage: Stage, session: aiohttp.ClientSession, screen: Screen, clock: Clock
    ) -> None:
        self._options = options
        self._stage = stage
        self._screen = screen
        self._clock = clock
        self._controller = Controller(stage.url, stage.token, session)
        self._ledger = Ledger()
        self._session = session
        self._clients: Load = self._make_clients()
        self._happenings: list[Happening] = []
        self._news: list[str] = []
        self._statuses: list[Status] = []
        self._left_out: Explained | None = None
        self._began_at = self._fault_at = self._mended_at = 0.0

    def _make_clients(self) -> Load:
        """Who sends the requests."""
        return Clients(self._controller, self._session, self._stage.endpoints, self._clock, self._ledger.add)

    async def play(self) -> DemoReport:
        """Wait for good health, let the clients run, break the victim and mend it, and report."""
        await self.perform()
        return build_report(await self._notes())

    async def perform(self) -> None:
        """Wait for good health, let the clients run, and meanwhile the plot."""
        await self._all_healthy()
        self._began_at = self._clock.now()
        watcher = asyncio.create_task(self._watch_forever(), name="watching the controller")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._clients.run(self._options))
                group.create_task(self._plot())
        except* MultiRegionError as failures:
            raise failures.exceptions[0] from None
        finally:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)

    async def _all_healthy(self) -> None:
        deadline = self._clock.monotonic() + HEALTHY_WITHIN_S
        while not await self._look() or any(status.phase != "healthy" for status in self._statuses):
            if self._clock.monotonic() > deadline:
                raise UnavailableError(f"the regions were not all healthy within {HEALTHY_WITHIN_S:g} s")
            await self._clock.sleep(0.05)

    # --- the plot -------------------------------------------------------------------------------

    async def _plot(self) -> None:
        victim, fault = self._options.victim, self._options.fault
        await self._until(self._options.fault_after_s)
        self._fault_at = self._clock.now()
        self._tell(f"THE FAULT: {victim}: {BEGIN_TEXT[fault]}")
        await self._stage.break_down(victim, fault)
        await self._until(self._options.mended_after_s)
        await self._stage.mend(victim, fault)
        self._mended_at = self._clock.now()
        self._tell(f"THE FAULT ENDS: {victim}: {END_TEXT[fault]}")

    async def _until(self, after_s: float) -> None:
        await self._clock.sleep(max(0.0, self._began_at + after_s - self._clock.now()))

    # --- watching -------------------------------------------------------------------------------

    async def _watch_forever(self) -> None:
        while True:
            await self._look()
            self._screen.show(self._frame())
            await self._clock.sleep(1 / FRAMES_PER_S)

    async def _look(self) -> bool:
        """Ask the controller how things are; whether it answered."""
        with contextlib.suppress(ControllerFailure):
            self._statuses = await self._controller.statuses()
            await self._read_events()
            return True
        return False

    async def _read_events(self) -> None:
        last = self._happenings[-1].seq if self._happenings else 0
        for happening in await self._controller.happenings(last):
            self._happenings.append(happening)
            if 0 < self._began_at <= happening.at:
                self._tell(describe(happening), happening.at)
            if happening.kind == EventKind.FAILOVER_COMPLETED and self._left_out is None:
                self._left_out = await self._controller.explain(BERLIN.name, BERLIN.point, EU_SERVICE)

    def _tell(self, line: str, at: float | None = None) -> None:
        elapsed_s = (self._clock.now() if at is None else at) - self._began_at
        self._news.append(f"{elapsed_s:6.2f} s  {line}")
        self._screen.say(self._news[-1])

    def _frame(self) -> Frame:
        now = self._clock.now()
        return Frame(
            victim=self._options.victim,
            elapsed_s=now - self._began_at,
            seconds=self._options.seconds,
            fault_s=self._options.fault_after_s,
            mended_s=self._options.mended_after_s,
            statuses=self._statuses,
            shares=shares(self._ledger.since(now - SHARE_WINDOW_S)),
            requests=self._ledger.total,
            failed_first=self._ledger.failed_first,
            failed=self._ledger.failed,
            news=self._news[-8:],
            through_edges=self.through_edges,
        )

    # --- the end --------------------------------------------------------------------------------

    async def _notes(self) -> Notes:
        ended_at = self._clock.now()
        await self._look()
        events, error = await self._audit()
        return Notes(
            options=self._options,
            places=self._stage.places,
            outcomes=self._ledger.outcomes,
            happenings=[h for h in self._happenings if h.at >= self._began_at],
            began_at=self._began_at,
            fault_at=self._fault_at,
            mended_at=self._mended_at,
            ended_at=ended_at,
            left_out=self._left_out,
            audit_events=events,
            audit_error=error,
            lost_reports=self._clients.lost_reports,
        )

    async def _audit(self) -> tuple[int, str]:
        """How many events the log holds, and why it is not whole; empty when it is."""
        try:
            return await self._controller.verify_log(), ""
        except ControllerFailure as err:
            return 0, str(err)
