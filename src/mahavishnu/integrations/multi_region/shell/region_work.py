"""Has an executor put a version into regions, or take it back, and records what came of it.

Work that was under way when a process died is taken up again, under the same operation id and the same deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping

import structlog

from mahavishnu.integrations.multi_region.core.deployment import DeploymentView, Run, RunState, State
from mahavishnu.integrations.multi_region.core.model import RegionView
from mahavishnu.integrations.multi_region.core.waves import ENDED, baking_wave, runs_to_start, with_run, with_undo
from mahavishnu.integrations.multi_region.errors import MultiRegionError
from mahavishnu.integrations.multi_region.ports.executor import Action, Executor, Task, TaskResult

from .manager import RegionManager

Decide = Callable[[DeploymentView], DeploymentView]
Change = Callable[[str, Decide, str], Awaitable[None]]

GRACE_S = 5.0
"""How much longer than its deadline an executor may take to say that it was missed."""

DETAIL_CHARS = 4_000
"""How much of what an executor says is kept with a deployment, for each region."""

BY = "automation"

log = structlog.get_logger(__name__)


class RegionWork:
    """Owns one task for each region at work. ``change`` writes to a deployment, ``look`` asks for the next turn."""

    def __init__(
        self, manager: RegionManager, executor: Executor | None, change: Change, look: Callable[[], None]
    ) -> None:
        self._manager = manager
        self._executor = executor
        self._change = change
        self._look = look
        self._tasks: dict[tuple[str, str, Action], asyncio.Task[None]] = {}

    def follow(self, view: DeploymentView) -> None:
        """Begin the work that is due, and take up again what was under way when a process died."""
        if self._executor is None or view.state not in (State.PREPARING, State.ROLLING_BACK):
            return
        action = Action.DEPLOY if view.state is State.PREPARING else Action.ROLLBACK
        for region in self._due(view, action):
            key = (view.deployment_id, region, action)
            if key not in self._tasks and not self._busy(view, region):
                self._tasks[key] = asyncio.create_task(self._run(*key), name=f"{action} {region}")

    async def close(self) -> None:
        """Break off what is under way, and let go of the executor."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._executor is not None:
            await self._executor.close()

    def _due(self, view: DeploymentView, action: Action) -> list[str]:
        if action is Action.ROLLBACK:
            return [region for region, run in view.undo.items() if run.state not in ENDED]
        orphans = [region for region, run in view.runs.items() if run.state is RunState.RUNNING]
        if self._manager.snapshot().frozen is not None:
            return orphans
        samples = self._manager.evidence.since(mark_of(view), view.service, view.regions)
        return [*orphans, *runs_to_start(view, samples, self._manager.clock.now())]

    def _busy(self, view: DeploymentView, region: str) -> bool:
        """Whether another deployment of the service is still at work in the region: one at a time."""
        others = (name for name, where, _ in self._tasks if where == region and name != view.deployment_id)
        deployments = self._manager.registry.deployments
        return any(name in deployments and deployments[name].service == view.service for name in others)

    # --- one region ---------------------------------------------------------------------------

    async def _run(self, deployment_id: str, region: str, action: Action) -> None:
        try:
            if action is Action.ROLLBACK:
                await self._break_off(deployment_id, region)
            await self._change(deployment_id, lambda view: self._begun(view, region, action), BY)
            view = self._manager.registry.deployments[deployment_id]
            run = _runs(view, action)[region]
            if run.state is RunState.RUNNING and view.state in (State.PREPARING, State.ROLLING_BACK):
                result = await self._execute(view, region, action, run)
                await self._change(deployment_id, lambda view: self._ended(view, region, action, result), BY)
        except MultiRegionError as err:
            log.warning("work in a region not recorded", deployment=deployment_id, region=region, error=str(err))
        finally:
            self._tasks.pop((deployment_id, region, action), None)
            self._look()

    async def _break_off(self, deployment_id: str, region: str) -> None:
        """End the work that is to be taken back, if it is still under way."""
        task = self._tasks.get((deployment_id, region, Action.DEPLOY))
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _begun(self, view: DeploymentView, region: str, action: Action) -> DeploymentView:
        wanted = State.PREPARING if action is Action.DEPLOY else State.ROLLING_BACK
        if view.state is not wanted or _runs(view, action)[region].state is not RunState.PENDING:
            return view
        record = with_run if action is Action.DEPLOY else with_undo
        return record(view, region, RunState.RUNNING, self._manager.clock.now())

    def _ended(self, view: DeploymentView, region: str, action: Action, result: TaskResult) -> DeploymentView:
        """Recorded as long as it matters: a deployment that was halted meanwhile still says how far it came."""
        wanted = (State.PREPARING, State.HALTED) if action is Action.DEPLOY else (State.ROLLING_BACK,)
        if view.state not in wanted or _runs(view, action)[region].state is not RunState.RUNNING:
            return view
        record = with_run if action is Action.DEPLOY else with_undo
        return record(view, region, result.state, self._manager.clock.now(), _clipped(result.detail))

    async def _execute(self, view: DeploymentView, region: str, action: Action, run: Run) -> TaskResult:
        """Whatever the executor does is a result; what it does not say by the deadline is unknown."""
        assert self._executor is not None
        known = self._manager.snapshot().regions.get(region)
        left_s = run.at + view.waves.deadline_s - self._manager.clock.now()
        if known is None:
            return TaskResult(RunState.UNKNOWN, "is not registered any more")
        if left_s <= 0:
            return TaskResult(RunState.UNKNOWN, f"no answer within {view.waves.deadline_s:g} s")
        task = Task(
            operation_id=f"{view.deployment_id}/{region}/{action}/{run.attempt}",
            deployment_id=view.deployment_id,
            service=view.service,
            region_id=region,
            action=action,
            attempt=run.attempt,
            facts=region_facts(known),
        )
        try:
            async with asyncio.timeout(left_s + GRACE_S):
                return await self._executor.run(task, left_s)
        except TimeoutError:
            return TaskResult(RunState.UNKNOWN, f"no answer within {view.waves.deadline_s:g} s")
        except Exception as err:  # an executor of somebody else's: nobody can tell what it has done
            log.exception("executor failed", deployment=view.deployment_id, region=region)
            return TaskResult(RunState.UNKNOWN, f"the executor failed: {type(err).__name__}: {err}")


def mark_of(view: DeploymentView) -> Hashable:
    """What evidence is counted since: the step, or while regions are being changed the wave that was done last."""
    wave = baking_wave(view) if view.state is State.PREPARING and view.runs else None
    return view.deployment_id, view.state, view.step, wave


def region_facts(region: RegionView) -> dict[str, str]:
    """What an executor is told of a region."""
    return {
        "region_id": region.region_id,
        "provider": region.provider.value,
        "country": region.country or "",
        "endpoint": region.endpoint,
        "latitude": f"{region.point.latitude:g}",
        "longitude": f"{region.point.longitude:g}",
    }


def _clipped(text: str) -> str:
    """What is kept of an output in the store, where a deployment is written again with each step: its two ends."""
    return text if len(text) <= DETAIL_CHARS else f"{text[:200]}\n…\n{text[200 - DETAIL_CHARS :]}"


def _runs(view: DeploymentView, action: Action) -> Mapping[str, Run]:
    return view.runs if action is Action.DEPLOY else view.undo
