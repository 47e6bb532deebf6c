"""Advances deployments: asks the core what is next, writes each transition as one transaction with one event.

One turn looks at every deployment that may move. Nothing is in timers: a turn after a crash goes on from the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import structlog

from mahavishnu.integrations.multi_region.core.deployment import (
    DEPLOYMENTS,
    OF_RECORD,
    SETTLED,
    DeploymentView,
    State,
    deployment_document,
)
from mahavishnu.integrations.multi_region.core.eligibility import in_force
from mahavishnu.integrations.multi_region.core.events import Event, EventKind
from mahavishnu.integrations.multi_region.core.model import Fleet
from mahavishnu.integrations.multi_region.core.obstacles import Seen
from mahavishnu.integrations.multi_region.core.overrides import Cause
from mahavishnu.integrations.multi_region.core.record import (
    OfRecord,
    given_back,
    only_remembered,
    takes_record,
    taking_over,
    unmoved,
)
from mahavishnu.integrations.multi_region.core.request import Needs, Request, needs_of, parts_of
from mahavishnu.integrations.multi_region.core.rollout import advance
from mahavishnu.integrations.multi_region.errors import MultiRegionError, StaleRevisionError, UnavailableError
from mahavishnu.integrations.multi_region.ports.executor import Executor

from .guard import Verdict
from .manager import RegionManager
from .region_work import Decide, RegionWork, mark_of
from .shifts import Shifts
from .steering import Steering

MAX_TRANSITIONS = 20
"""Transitions of one deployment in one turn; more would be a loop in the table."""

AT_A_STRETCH = 50
"""Deployments looked at before others get the event loop: a millisecond or two."""

AT_ONCE = 32
"""Deployments written at once in a turn: enough to fill each commit, few enough not to hold up the event loop."""

TRIES = 20
"""How often a change that lost the race to another process is decided again."""

log = structlog.get_logger(__name__)


class _Look(NamedTuple):
    """What a deployment's next step hangs on, where no evidence and no work in regions is waited for."""

    view: DeploymentView
    fleet: Fleet
    due: bool

    def same_as(self, other: _Look | None) -> bool:
        """Whether looking again would find what was found before."""
        if other is None or self.view.gates.analyse or self.view.state in (State.PREPARING, State.ROLLING_BACK):
            return False
        return self.view is other.view and self.fleet is other.fleet and self.due == other.due


class Rollouts:
    """Owns the loop over deployments. Several processes may drive the same ones: a transition happens once.

    ``before_turn``: awaited at the beginning of each turn.
    """

    def __init__(
        self, manager: RegionManager, executor: Executor | None, interval_s: float, steering: Steering | None = None
    ) -> None:
        self._manager = manager
        self._shifts = Shifts(manager, steering)
        self._interval_s = interval_s
        self._work = RegionWork(manager, executor, self.change, self._look)
        self._task: asyncio.Task[None] | None = None
        self._locks: dict[str, asyncio.Lock] = {}
        self._looks: dict[str, _Look] = {}
        self._wake = asyncio.Event()
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self.before_turn: Callable[[], Awaitable[None]] | None = None

    def start(self) -> None:
        """Begin to turn. Safe to call twice."""
        if self._task is None:
            self._manager.subscribe(self._told)
            self._task = asyncio.create_task(self._forever(), name="rollouts")

    async def close(self) -> None:
        """Stop turning; work under way in regions is broken off, to be taken up again. Safe to call twice."""
        if self._task is not None:
            self._manager.unsubscribe(self._told)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self._work.close()
        await self._shifts.close()

    async def turn(self) -> None:
        """Every deployment that may move makes the transitions that are due."""
        if self.before_turn is not None:
            await self.before_turn()
        due = []
        for count, deployment_id in enumerate(list(self._manager.registry.deployments.movable), 1):
            if self._is_due(deployment_id):
                due.append(deployment_id)
            if count % AT_A_STRETCH == 0:
                await asyncio.sleep(0)
        await asyncio.gather(*(self._drive_or_log(deployment_id) for deployment_id in due))

    async def drive(self, deployment_id: str) -> None:
        """Let one deployment make every transition that is due, each its own transaction."""
        async with self._lock(deployment_id):
            for _ in range(MAX_TRANSITIONS):
                view = self._manager.registry.deployments.get(deployment_id)
                if view is None or not self._may_move(view):
                    return
                after = advance(view, self.seen(view), self._manager.clock.now())
                if after is view or not await self._keep(view, after):
                    break
            self._work.follow(self._manager.registry.deployments[deployment_id])

    async def change(self, deployment_id: str, decide: Decide, by: str) -> None:
        """Apply one change, decided anew when somebody else was first. ``decide`` may return what it is given: nothing.

        Raises UnavailableError when others were first again and again, StoreError.
        """
        async with self._lock(deployment_id):
            for _ in range(TRIES):
                view = self._manager.registry.deployments[deployment_id]
                after = decide(view)
                if after is view:
                    return
                try:
                    return await self.write(view, after, by)
                except StaleRevisionError:
                    await self.reread(view)
        raise UnavailableError(f"{deployment_id}: others were first {TRIES} times")

    async def settled(self, deployment_id: str) -> DeploymentView:
        """Wait until a deployment's traffic is where it is meant to be, and edges have acknowledged or lag (L14)."""
        table = self._manager.registry.deployments
        while table[deployment_id].state not in SETTLED:
            await table.changed(deployment_id)
        await self._shifts.seen_through(deployment_id)
        return table[deployment_id]

    async def write(self, before: DeploymentView | None, after: DeploymentView, by: str) -> None:
        """One transition: the deployment, the plan of record where it changes, and the event, in one transaction."""
        record = self.record_of(after)
        takes = takes_record(before, after, record)
        if takes and before is not None:
            after = taking_over(after, self._manager.registry.deployments.get(record.deployment_id or ""))
        documents: dict[str, Any] = {DEPLOYMENTS + after.deployment_id: deployment_document(after)}
        if takes:
            documents[OF_RECORD + after.service] = {"deployment": after.deployment_id}
        elif after.state is State.ROLLING_BACK and record.deployment_id == after.deployment_id:
            documents |= self._restored(after, record)
        revision = await self._manager.write_documents(documents, [self._event(before, after, by)])
        self._shifts.follow(before, after, revision)
        if before is not None and mark_of(before) != mark_of(after):
            self._manager.evidence.forget(mark_of(before))

    async def reread(self, view: DeploymentView) -> None:
        """Know what the store holds of a deployment and of its service, after a lost race."""
        plans = {view.deployment_id, view.supersedes, self._of_record(view)}
        await self._manager.reread([OF_RECORD + view.service, *(DEPLOYMENTS + name for name in plans if name)])

    def seen(self, view: DeploymentView) -> Seen:
        """What is true now, for the core to decide by."""
        registry, fleet = self._manager.registry, self._manager.snapshot()
        failures = registry.failures
        known = view.service in fleet.services or view.service in fleet.deployments
        needs = needs_of(fleet, Request(service=view.service)) if known else Needs()
        newest = registry.deployments.newest(view.service)
        newer = newest is not None and newest.number > view.number and newest.state is not State.ROLLED_BACK
        return Seen(
            fleet,
            in_force(fleet, needs),
            samples=self._manager.evidence.since(mark_of(view), view.service, view.regions),
            serving=parts_of(needs),
            services=registry.deployments.serving,
            replaced_by=newest.deployment_id if newest is not None and newer else None,
            returns_to=registry.deployments.get(view.supersedes or ""),
            ordered=frozenset(name for name, away in failures.items() if away.cause is Cause.OPERATOR),
            heirs={name: away.heirs[view.service] for name, away in failures.items() if view.service in away.heirs},
        )

    def record_of(self, view: DeploymentView) -> OfRecord:
        """Who is of record for the deployment's service now."""
        return OfRecord(self._of_record(view), view.service in self._manager.services)

    # --- one deployment -----------------------------------------------------------------------

    def _is_due(self, deployment_id: str) -> bool:
        """Whether there is something to write for it: asked for every deployment in every turn, and cheap."""
        view = self._manager.registry.deployments.get(deployment_id)
        if view is None or not self._may_move(view):
            return False
        at = _Look(view, self._manager.snapshot(), self._manager.clock.now() >= view.due_at)
        if at.same_as(self._looks.get(deployment_id)):
            return False
        after = advance(view, self.seen(view), self._manager.clock.now())
        if after is not view:
            if not only_remembered(view, after):
                return True
            self._manager.registry.remember(after)
        self._looks[deployment_id] = at._replace(view=after)
        self._work.follow(after)
        return False

    async def _drive_or_log(self, deployment_id: str) -> None:
        try:
            async with self._at_once:
                await self.drive(deployment_id)
        except MultiRegionError as err:
            log.warning("deployment not advanced", deployment=deployment_id, error=str(err))

    async def _keep(self, before: DeploymentView, after: DeploymentView) -> bool:
        """Store a transition; what merely holds is written once and then only remembered. Whether to look again."""
        if only_remembered(before, after):
            self._manager.registry.remember(after)
            return False
        try:
            await self.write(before, after, "automation")
        except StaleRevisionError:
            log.info("deployment changed by somebody else", deployment=after.deployment_id)
            await self.reread(before)
        return not unmoved(before, after)

    def _may_move(self, view: DeploymentView) -> bool:
        """Not at its end, and not replaced while it served: then only the plan of record acts."""
        if view.deployment_id not in self._manager.registry.deployments.movable:
            return False
        return view.state is not State.SERVING or self._of_record(view) == view.deployment_id

    # --- the plan of record -------------------------------------------------------------------

    def _of_record(self, view: DeploymentView) -> str | None:
        """The plan of record of the deployment's service."""
        name = self._manager.registry.of_record.get(view.service)
        return name if name in self._manager.registry.deployments else None

    def _restored(self, after: DeploymentView, record: OfRecord) -> dict[str, Any]:
        """What makes the plan before this one the plan of record again, or leaves the service to its declaration."""
        before = self._manager.registry.deployments.get(after.supersedes or "")
        if before is None:
            return {OF_RECORD + after.service: None} if record.declared else {}
        restored = given_back(before, after)
        return {
            DEPLOYMENTS + restored.deployment_id: deployment_document(restored),
            OF_RECORD + after.service: {"deployment": restored.deployment_id},
        }

    def _event(self, before: DeploymentView | None, after: DeploymentView, by: str) -> Event:
        kind = EventKind.DEPLOYMENT_MOVED
        if before is None:
            kind = EventKind.DEPLOYMENT_CREATED
        elif after.held is not None and after.state is before.state:
            kind = EventKind.DEPLOYMENT_HELD
        why = after.held or (after.history[-1].why if after.history else "")
        return Event(kind, self._manager.clock.now(), after.deployment_id, by, why, _short(before), _short(after))

    # --- the loop -----------------------------------------------------------------------------

    async def _forever(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self.turn()
            except Exception:  # one bad turn must not leave every deployment where it is
                log.exception("turn not finished")
            await _first(self._manager.clock.sleep(self._interval_s), self._wake.wait())

    def _lock(self, deployment_id: str) -> asyncio.Lock:
        return self._locks.setdefault(deployment_id, asyncio.Lock())

    def _told(self, _: Verdict) -> None:
        self._look()

    def _look(self) -> None:
        """Have the next turn at once."""
        self._wake.set()


def _short(view: DeploymentView | None) -> dict[str, Any] | None:
    """What an event says of a deployment."""
    if view is None:
        return None
    runs = {region: run.state.value for region, run in (view.undo or view.runs).items()}
    return {"state": view.state.value, "weights": view.weights, "step": view.step, "term": view.term, "runs": runs}


async def _first(*waits: Awaitable[Any]) -> None:
    """Wait for whichever is first; the others are cancelled."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
