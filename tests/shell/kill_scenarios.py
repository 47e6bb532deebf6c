"""One deployment of each kind from beginning to end, as a script that can be begun again after its process was killed.

``perform`` plays a script on a store file, and kills its own process at a commit when it is told to.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from mahavishnu.integrations.multi_region.adapters.stores.sqlite import SqliteStore
from mahavishnu.integrations.multi_region.core.deployment import SETTLED, RunState, State, Waves
from mahavishnu.integrations.multi_region.core.events import EventKind
from mahavishnu.integrations.multi_region.ports.executor import Action, ScriptedExecutor, Task, TaskResult
from mahavishnu.integrations.multi_region.ports.store import Changes, Loaded
from mahavishnu.integrations.multi_region.shell.orchestrator import Deployment
from tests.shell.deploying import NAMES, Stage, VirtualClock, staged

EAST, WEST, EUROPE = NAMES[:3]
Script = Callable[[Stage], Awaitable[None]]


class Killer:
    """A store whose process is killed right before, or right after, its n-th commit."""

    def __init__(self, inner: SqliteStore, at: int, after: bool) -> None:
        self.inner, self.at, self.after = inner, at, after
        self.commits = 0

    async def load(self, prefix: str = "", *, after: str = "", limit: int | None = None) -> Loaded:
        return await self.inner.load(prefix, after=after, limit=limit)

    async def commit(self, values: Mapping[str, str | None], guards: Mapping[str, int] | None = None) -> int:
        self.commits += 1
        if self.commits == self.at and not self.after:
            os.kill(os.getpid(), signal.SIGKILL)
        revision = await self.inner.commit(values, guards)
        if self.commits == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        return revision

    def watch(self, prefix: str = "", *, after: int) -> AsyncIterator[Changes]:
        return self.inner.watch(prefix, after=after)

    async def close(self) -> None:
        await self.inner.close()


# --- the scripts --------------------------------------------------------------------------------


async def active_active(stage: Stage) -> None:
    await until(stage, await begun(stage, "web-1", lambda o: o.deploy_active_active(NAMES[:3], service="web")))


async def active_passive_loses_its_primary(stage: Stage) -> None:
    deployment = await begun(stage, "web-1", lambda o: o.deploy_active_passive(EAST, [WEST, EUROPE], service="web"))
    if not reached(deployment, State.SERVING):
        await until(stage, deployment)
    stage.fell(EAST)
    await until(stage, deployment, lambda: deployment.weights[WEST] == 1.0)


async def failback_by_hand(stage: Stage) -> None:
    await active_passive_loses_its_primary_unless_back(stage)
    stage.rose(EAST)
    deployment = stage.orchestrator.get_deployment("web-1")
    if entered(deployment, State.DEMOTING) < 2:
        await until(stage, deployment)
        await deployment.fail_back()
    await until(stage, deployment, lambda: deployment.weights[EAST] == 1.0)


async def active_passive_loses_its_primary_unless_back(stage: Stage) -> None:
    known = stage.manager.registry.deployments.get("web-1")
    if known is None or entered(Deployment(stage.orchestrator, "web-1"), State.DEMOTING) < 2:
        await active_passive_loses_its_primary(stage)


async def blue_green_at_once(stage: Stage) -> None:
    deployment = await begun(
        stage, "web-1", lambda o: o.deploy_blue_green([EAST], [WEST], 5, rollback_window=5, service="web")
    )
    await until(stage, deployment, lambda: deployment.state is State.COMPLETED)


async def blue_green_in_steps(stage: Stage) -> None:
    deployment = await begun(
        stage,
        "web-1",
        lambda o: o.deploy_blue_green(
            [EAST], [WEST], 2, steps=(1, 10, 50, 100), step_after=2, rollback_window=4, service="web"
        ),
    )
    await until(stage, deployment, lambda: deployment.state is State.COMPLETED, serves=(EAST, WEST))


async def blue_green_that_fails(stage: Stage) -> None:
    deployment = await begun(
        stage, "web-1", lambda o: o.deploy_blue_green([EAST], [WEST], 2, steps=(10, 100), step_after=5, service="web")
    )
    await until(stage, deployment, serves=(EAST,), fails=(WEST,))


async def rollback_by_hand(stage: Stage) -> None:
    """An active-passive of its own replaces an active-active, and is taken back."""
    first = await begun(stage, "web-1", lambda o: o.deploy_active_active([EAST, WEST], service="web"))
    await until(stage, first)
    second = await begun(stage, "web-2", lambda o: o.deploy_active_passive(EUROPE, [WEST], service="web"))
    if not reached(second, State.ROLLING_BACK):
        await until(stage, second)
        await second.rollback()
    await until(stage, second, lambda: second.state is State.ROLLED_BACK)


async def waves(stage: Stage) -> None:
    plan = Waves(groups=((EAST,), (WEST, EUROPE)), max_parallel=1, bake_s=3, deadline_s=1e6)
    deployment = await begun(stage, "web-1", lambda o: o.deploy_active_active(NAMES[:3], service="web", waves=plan))
    await until(stage, deployment)


async def waves_that_fail(stage: Stage) -> None:
    """Europe cannot take the version: it is taken back everywhere, and traffic stays with what served before."""
    first = await begun(stage, "web-1", lambda o: o.deploy_active_active([WEST, EUROPE], service="web"))
    await until(stage, first)
    plan = Waves(groups=((WEST,), (EUROPE,)), deadline_s=1e6)
    second = await begun(stage, "web-2", lambda o: o.deploy_active_active([WEST, EUROPE], service="web", waves=plan))
    await until(stage, second)


SCRIPTS: Mapping[str, Script] = {
    script.__name__: script
    for script in (
        active_active,
        active_passive_loses_its_primary,
        failback_by_hand,
        blue_green_at_once,
        blue_green_in_steps,
        blue_green_that_fails,
        rollback_by_hand,
        waves,
        waves_that_fail,
    )
}
WITH_EXECUTOR = {"waves", "waves_that_fail"}


# --- playing them -------------------------------------------------------------------------------


async def begun(stage: Stage, name: str, ask: Callable[[Any], Awaitable[Deployment]]) -> Deployment:
    """The deployment of that id, asked for when it is not there yet."""
    if name not in stage.manager.registry.deployments:
        assert (await ask(stage.orchestrator)).deployment_id == name
    return stage.orchestrator.get_deployment(name)


def reached(deployment: Deployment, state: State) -> bool:
    return entered(deployment, state) > 0


def entered(deployment: Deployment, state: State) -> int:
    """How often it has come to a state."""
    return sum(line.state is state for line in deployment.history)


async def until(
    stage: Stage,
    deployment: Deployment,
    fact: Callable[[], bool] | None = None,
    *,
    serves: tuple[str, ...] = (),
    fails: tuple[str, ...] = (),
) -> None:
    """Let time pass, with requests that go well in some regions and fail in others, until the fact or it is settled."""
    for _ in range(200):
        if fact() if fact is not None else deployment.state in SETTLED:
            return
        for region_id in serves:
            stage.report(region_id, "web", good=60)
        for region_id in fails:
            stage.report(region_id, "web", bad=60)
        await asyncio.sleep(0.001)  # the store's thread is quicker than that
        await stage.clock.advance(1)
        await stage.orchestrator.rollouts.turn()
    raise AssertionError(f"{deployment} does not get there: {deployment.held}")


def europe_fails(task: Task) -> TaskResult:
    bad = task.region_id == EUROPE and task.deployment_id == "web-2" and task.action is Action.DEPLOY
    return TaskResult(RunState.FAILED if bad else RunState.SUCCEEDED, "no quota" if bad else "")


async def play(path: Path, name: str, at: int = 0, after: bool = False, started_at: float = 1_000.0) -> dict[str, Any]:
    """Play a script to its end on a store file; what came of it. Killed at commit number ``at``, 0: never."""
    store = Killer(await SqliteStore.open(path), at, after)
    executor = ScriptedExecutor(europe_fails) if name in WITH_EXECUTOR else None
    async with staged(store=store, executor=executor, clock=VirtualClock(started_at)) as stage:
        await SCRIPTS[name](stage)
        return {
            "commits": store.commits,
            "deployments": {d.deployment_id: outcome(d) for d in stage.orchestrator.list_deployments()},
            "record": dict(stage.manager.registry.of_record),
            "events": await told(stage),
            "chain": await stage.manager.journal.verify() > 0,
        }


def outcome(deployment: Deployment) -> dict[str, Any]:
    """All that must not depend on when its process was killed."""
    return {
        "state": deployment.state.value,
        "groups": deployment.view.groups,
        "weights": deployment.weights,
        "roles": deployment.roles,
        "term": deployment.term,
        "history": [line.state.value for line in deployment.history],
        "runs": {name: run.state.value for name, run in deployment.view.runs.items()},
        "undo": {name: run.state.value for name, run in deployment.view.undo.items()},
    }


async def told(stage: Stage) -> dict[str, list[Any]]:
    """What the event log tells: the steps of each deployment, and the work in each region, each in its order.

    Transitions only: who counts anew after a restart may first write down that it holds. Work goes on in several
    regions at once, so that only the order in each of them must be the same.
    """
    log: dict[str, list[Any]] = {}
    for entry in await stage.events():
        event = entry.event
        if event.kind not in (EventKind.DEPLOYMENT_CREATED, EventKind.DEPLOYMENT_MOVED) or event.after is None:
            continue
        steps = {event.subject: (event.after["state"], event.after["step"], event.after["term"])}
        back = "undo" if event.after["state"].startswith("roll") else "do"
        work = {f"{event.subject} {back} {name}": state for name, state in event.after["runs"].items()}
        for subject, now in {**steps, **work}.items():
            if log.setdefault(subject, [None])[-1] != now:
                log[subject].append(now)
    return log


def perform(path: str, name: str, at: int, after: bool, started_at: float) -> None:
    """The same in a process of its own."""
    asyncio.run(play(Path(path), name, at, after, started_at))
