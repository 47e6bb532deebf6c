"""Runs the demo with edges: the load goes through Envoy, and one of five plots is played meanwhile."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import aiohttp

from mahavishnu.integrations.multi_region.errors import UnavailableError
from mahavishnu.integrations.multi_region.ports.clock import Clock, SystemClock

from .controller import ControllerFailure
from .director import HEALTHY_WITHIN_S, Director, on_stage
from .edge_clients import EdgeClients
from .edge_notes import EdgeNotes, Mark
from .edge_report import EdgeReport, build_edge_report
from .edge_scene import POLICY, EdgeOptions, policy
from .edge_stage import EdgeStage
from .faults import BEGIN_TEXT, END_TEXT, GRAY_TEXT, Fault, Scenario
from .rollout_director import RolloutDirector
from .rollout_report import RolloutReport
from .rollout_scene import RolloutOptions
from .scene import CITIES, EU_REGIONS, EU_SERVICE, WEB
from .screen import Screen

SYNCED_WITHIN_S = 10.0
LOOK_S = 0.05
STARTED = "five regions, the controller and three edges (Envoy)"


async def run_with_edges(options: EdgeOptions, screen: Screen, envoy: Path, clock: Clock | None = None) -> EdgeReport:
    """Play the demo and report on it; everything that it started has ended when this returns or raises.

    ``envoy``: the program. Raises UnavailableError when a process does not start or the whole takes far too long.
    """
    build = partial(EdgeStage, options, envoy=envoy, apart=options.scenario is Scenario.CONTROLLER_LOSS)
    async with on_stage(options, screen, build, STARTED) as (stage, session):
        return await EdgeDirector(options, stage, session, screen, clock or SystemClock()).edge_report()


async def run_rollout_with_edges(
    options: RolloutOptions, screen: Screen, envoy: Path, clock: Clock | None = None
) -> RolloutReport:
    """Play the blue-green demo with edges; as ``run_with_edges``."""
    async with on_stage(options, screen, partial(EdgeStage, options, envoy=envoy), STARTED) as (stage, session):
        return await EdgeRolloutDirector(options, stage, session, screen, clock or SystemClock()).report()


class EdgeRolloutDirector(RolloutDirector):
    """The blue-green demo with edges."""

    through_edges = True

    def __init__(
        self, options: RolloutOptions, stage: EdgeStage, session: aiohttp.ClientSession, screen: Screen, clock: Clock
    ) -> None:
        self._edges = stage.edges
        super().__init__(options, stage, session, screen, clock)

    def _make_clients(self) -> EdgeClients:
        return EdgeClients(self._session, self._edges, self._stage.places, self._clock, self._ledger.add)

    async def _all_healthy(self) -> None:
        await super()._all_healthy()
        await all_serve(self._make_clients(), self._clock)


async def all_serve(clients: EdgeClients, clock: Clock) -> None:
    """Wait until every edge serves both services. Raises UnavailableError when one does not in time."""
    deadline = clock.monotonic() + HEALTHY_WITHIN_S
    for city in CITIES:
        for service in (WEB, EU_SERVICE):
            while not await clients.answers(city, service):
                if clock.monotonic() > deadline:
                    raise UnavailableError(f"{service} was not served in {city.name} within {HEALTHY_WITHIN_S:g} s")
                await clock.sleep(LOOK_S)


class EdgeDirector(Director):
    """One run of the demo with edges on a stage that is set up."""

    through_edges = True

    def __init__(
        self, options: EdgeOptions, stage: EdgeStage, session: aiohttp.ClientSession, screen: Screen, clock: Clock
    ) -> None:
        self._wanted = options
        self._set = stage
        self._marks: dict[Mark, float] = {}
        super().__init__(options, stage, session, screen, clock)

    def _make_clients(self) -> EdgeClients:
        streams = self._wanted.scenario is Scenario.DRAIN
        found = (self._session, self._set.edges, self._set.places, self._clock, self._ledger.add)
        return EdgeClients(*found, streams=streams)

    async def edge_report(self) -> EdgeReport:
        """Wait for good health, let the clients run and the plot be played, and report."""
        await self.perform()
        return build_edge_report(await self._edge_notes())

    async def _all_healthy(self) -> None:
        await super()._all_healthy()
        await all_serve(self._make_clients(), self._clock)
        await self._synced()

    async def _synced(self) -> None:
        """Wait until every edge has taken over the newest plan. Raises UnavailableError when one does not in time."""
        deadline = self._clock.monotonic() + SYNCED_WITHIN_S
        wanted = {edge.edge_id for edge in self._set.edges}
        while {edge.edge_id for edge in await self._controller.edges() if edge.synced} < wanted:
            if self._clock.monotonic() > deadline:
                raise UnavailableError(f"the edges had not all taken over the plan within {SYNCED_WITHIN_S:g} s")
            await self._clock.sleep(LOOK_S)

    def _mark(self, mark: Mark, line: str) -> None:
        """Note when something is done, and say so."""
        self._marks[mark] = self._clock.now()
        self._tell(line)

    # --- plots ----------------------------------------------------------------------------------

    async def _plot(self) -> None:
        match self._wanted.scenario:
            case Scenario.DRAIN:
                await self._play_drain()
            case Scenario.CONTROLLER_LOSS:
                await self._play_controller_loss()
            case Scenario.RESIDENCY:
                await self._play_residency()
            case _:
                await self._play_failover()

    async def _play_failover(self) -> None:
        victim, fault = self._options.victim, self._options.fault
        await self._until(self._options.fault_after_s)
        self._mark(Mark.FAULT, f"THE FAULT: {victim}: {GRAY_TEXT if fault is Fault.ERRORS else BEGIN_TEXT[fault]}")
        await self._stage.break_down(victim, fault)
        await self._until(self._options.mended_after_s)
        await self._stage.mend(victim, fault)
        self._mark(Mark.MENDED, f"THE FAULT ENDS: {victim}: {END_TEXT[fault]}")

    async def _play_drain(self) -> None:
        victim = self._options.victim
        await self._until(self._options.fault_after_s)
        self._mark(Mark.FAULT, f"THE DRAIN: an operator takes {victim} out")
        drained = await self._controller.drain(victim, "the demo's maintenance")
        self._mark(Mark.DRAINED, f"{victim} is {drained.state}; now its process is ended")
        await self._stage.break_down(victim, Fault.KILL)
        await self._until(self._options.mended_after_s)
        await self._stage.mend(victim, Fault.KILL)
        await self._controller.undrain(victim, "the demo's maintenance is done")
        self._mark(Mark.MENDED, f"THE DRAIN ENDS: {victim} runs again and is undrained")

    async def _play_controller_loss(self) -> None:
        victim = self._options.victim
        await self._until(self._wanted.after_s(0.2))
        await self._set.kill_controller()
        self._mark(Mark.CONTROLLER_LOST, "THE CONTROLLER is killed (SIGKILL)")
        await self._until(self._options.fault_after_s)
        self._mark(Mark.FAULT, f"THE FAULT: {victim}: {BEGIN_TEXT[Fault.KILL]}")
        await self._stage.break_down(victim, Fault.KILL)
        await self._until(self._wanted.after_s(0.5))
        await self._set.restart_controller()
        self._mark(Mark.CONTROLLER_BACK, "THE CONTROLLER is there again")
        await self._until(self._options.mended_after_s)
        await self._stage.mend(victim, Fault.KILL)
        self._mark(Mark.MENDED, f"THE FAULT ENDS: {victim}: {END_TEXT[Fault.KILL]}")

    async def _play_residency(self) -> None:
        victim = self._options.victim
        await self._until(self._wanted.after_s(0.2))
        await self._controller.put_policy(POLICY, policy(EU_REGIONS - {victim}))
        await self._synced()
        self._mark(Mark.NARROWED, f"THE LAW: {victim} is not allowed for {EU_SERVICE} any more; it is well")
        await self._until(self._wanted.after_s(0.4))
        self._mark(Mark.WIDENED, f"THE LAW: {victim} is allowed for {EU_SERVICE} again")
        await self._controller.put_policy(POLICY, policy(EU_REGIONS))
        await self._synced()
        await self._until(self._wanted.after_s(0.5))
        self._mark(Mark.FAULT, f"THE FAULT: {' and '.join(sorted(EU_REGIONS))} are killed: no region of the EU is left")
        await asyncio.gather(*(self._stage.break_down(region_id, Fault.KILL) for region_id in EU_REGIONS))
        await self._until(self._options.mended_after_s)
        await asyncio.gather(*(self._stage.mend(region_id, Fault.KILL) for region_id in EU_REGIONS))
        self._mark(Mark.MENDED, "THE FAULT ENDS: they are started again on the same ports")

    # --- the end --------------------------------------------------------------------------------

    async def _edge_notes(self) -> EdgeNotes:
        ended_at = self._clock.now()
        await self._look()
        events, error = await self._audit()
        try:
            edges = await self._controller.edges()
        except ControllerFailure:
            edges = []
        return EdgeNotes(
            options=self._wanted,
            places=self._stage.places,
            edges=tuple(edge.edge_id for edge in self._set.edges),
            synced=tuple(edge.edge_id for edge in edges if edge.synced),
            outcomes=self._ledger.outcomes,
            happenings=[h for h in self._happenings if h.at >= self._began_at],
            marks=self._marks,
            began_at=self._began_at,
            ended_at=ended_at,
            left_out=self._left_out,
            audit_events=events,
            audit_error=error,
        )
