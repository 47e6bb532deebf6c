"""Runs the blue-green demo: clients, the rollout under their load, and, if wanted, a version that turns out bad."""

from __future__ import annotations

from functools import partial

import aiohttp

from mahavishnu.integrations.multi_region.ports.clock import Clock, SystemClock

from .controller import ControllerFailure, Rollout
from .director import Director, on_stage
from .frame import Frame
from .rollout_report import RolloutNotes, RolloutReport, build_rollout_report
from .rollout_scene import RolloutOptions
from .screen import Screen
from .stage import Stage

LOOK_EVERY_S = 0.1


async def run_rollout(options: RolloutOptions, screen: Screen, clock: Clock | None = None) -> RolloutReport:
    """Play the blue-green demo and report on it; everything it started has ended when this returns or raises.

    Raises UnavailableError when a process does not start or the whole takes far too long.
    """
    async with on_stage(options, screen, partial(Stage, options)) as (stage, session):
        return await RolloutDirector(options, stage, session, screen, clock or SystemClock()).report()


class RolloutDirector(Director):
    """One run of the blue-green demo on a stage that is set up."""

    def __init__(
        self, options: RolloutOptions, stage: Stage, session: aiohttp.ClientSession, screen: Screen, clock: Clock
    ) -> None:
        super().__init__(options, stage, session, screen, clock)
        self._wanted = options
        self._rollout: Rollout | None = None
        self._begun_at = self._broke_at = 0.0
        self._told = 0

    async def report(self) -> RolloutReport:
        """Wait for good health, let the clients run and the rollout go its way, and report."""
        await self.perform()
        return build_rollout_report(await self._rollout_notes())

    async def _plot(self) -> None:
        await self._until(self._wanted.begins_after_s)
        self._begun_at = self._clock.now()
        self._notice(await self._controller.deploy_blue_green(self._wanted.rollout()))
        while not self._over() and self._clock.now() < self._began_at + self._wanted.seconds:
            await self._clock.sleep(LOOK_EVERY_S)
            await self._follow()
            if self._wanted.failing and not self._broke_at and self._rollout is not None and self._rollout.step == 0:
                await self._break_version()

    def _over(self) -> bool:
        return self._rollout is not None and self._rollout.settled

    async def _break_version(self) -> None:
        green = self._wanted.green
        self._broke_at = self._clock.now()
        self._tell(f"THE FAULT: {green}: its new version of web answers 503 to every request, its health is fine")
        await self._stage.break_version(green)

    async def _follow(self) -> None:
        if self._rollout is None:
            return
        try:
            self._notice(await self._controller.rollout(self._rollout.deployment_id))
        except ControllerFailure:
            return  # looked at again in a moment

    def _notice(self, found: Rollout) -> None:
        for line in found.history[self._told :]:
            self._tell(f"rollout {line.state.replace('_', ' ')}: {line.why}", line.at)
        self._rollout, self._told = found, len(found.history)

    def _frame(self) -> Frame:
        frame = super()._frame()
        return Frame(**{name: getattr(frame, name) for name in Frame.__slots__} | {"note": self._note()})

    def _note(self) -> str:
        found = self._rollout
        if found is None:
            return f"soon web moves from {' and '.join(self._wanted.blue)} to {self._wanted.green}"
        return f"web to {self._wanted.green}: {found.state.replace('_', ' ')}, {found.held or found.history[-1].why}"

    async def _rollout_notes(self) -> RolloutNotes:
        ended_at = self._clock.now()
        await self._look()
        await self._follow()
        events, error = await self._audit()
        return RolloutNotes(
            options=self._wanted,
            places=self._stage.places,
            outcomes=self._ledger.outcomes,
            happenings=[h for h in self._happenings if h.at >= self._began_at],
            rollout=self._rollout,
            began_at=self._began_at,
            begun_at=self._begun_at,
            broke_at=self._broke_at,
            ended_at=ended_at,
            audit_events=events,
            audit_error=error,
            lost_reports=self._clients.lost_reports,
            through_edges=self.through_edges,
        )
