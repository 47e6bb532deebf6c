"""Carries failovers out: plans, writes, accounts for the load, and waits for who must acknowledge. Refused: unchanged.

The write never waits for edges; how long they took is recorded in an event of its own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any, NoReturn

import structlog

from mahavishnu.integrations.multi_region.core.events import Event, EventKind
from mahavishnu.integrations.multi_region.core.failover import (
    MANUAL,
    FailoverEvent,
    FailoverPlan,
    FailoverStrategy,
    Refusal,
    heirs_named,
    load_moved,
    loads_after,
    plan_by_choice,
    plan_failover,
)
from mahavishnu.integrations.multi_region.core.overrides import BreakGlass, Cause, Failure, lifted_by
from mahavishnu.integrations.multi_region.errors import FailoverRefusedError, UnavailableError
from mahavishnu.integrations.multi_region.facts.network import region_rtt_ms

from .in_flight import InFlight
from .manager import RegionManager
from .router import RegionAwareRouter
from .steering import Settlement, Steering

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for. ``target``: None for the nearest with room. ``first_sign``: monotonic seconds, or None."""

    source: str
    target: str | None
    strategy: FailoverStrategy
    reason: str
    cause: Cause
    first_sign: float | None = None
    by: str = "automation"
    override: BreakGlass | None = None


@dataclass(frozen=True, slots=True)
class _Begun:
    """When an order was taken up. ``since``: monotonic seconds of the first bad sign, or of the call without one.

    ``verdict_at``, ``first_signal_at``: seconds since the epoch.
    """

    since: float
    verdict_at: float
    first_signal_at: float
    detected_ms: float


@dataclass(frozen=True, slots=True)
class _Done:
    """What was written: the plan, when it was made (seconds since the epoch), and the revision it became."""

    plan: FailoverPlan
    planned_at: float
    revision: int


class FailingOver:
    """Carries out one failover of a region at a time. ``timeout_s``: for the store, and again for the edges."""

    def __init__(
        self,
        manager: RegionManager,
        router: RegionAwareRouter,
        steering: Steering | None,
        in_flight: InFlight,
        timeout_s: float,
        kept: int,
    ) -> None:
        self._manager = manager
        self._router = router
        self._steering = steering
        self._in_flight = in_flight
        self._timeout_s = timeout_s
        self._clock = manager.clock
        self._under_way: dict[str, asyncio.Future[FailoverEvent]] = {}
        self._waiting: set[asyncio.Task[FailoverEvent]] = set()
        self.events: deque[FailoverEvent] = deque(maxlen=kept)
        self.total = self.refused = 0
        self.by_region: dict[str, int] = {}
        self.duration_sum_ms = 0.0

    async def close(self) -> None:
        """Wait for no acknowledgement any more."""
        waiting = list(self._waiting)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    def under_way(self, source: str) -> asyncio.Future[FailoverEvent] | None:
        """The failover of a region that is being carried out."""
        return self._under_way.get(source)

    async def finish(self, order: Order) -> FailoverEvent:
        """Carry out an order to its last acknowledgement; who asks for the same meanwhile is told of this one."""
        task, _ = self._start(order)
        return await task

    async def begin(self, order: Order) -> None:
        """Carry out an order; returns once it is written and the load counted: acknowledgements come later."""
        task, written = self._start(order)
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)
        either: set[asyncio.Future[Any]] = {task, written}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        else:
            task.add_done_callback(_log_failure)

    def refuse(self, source: str, refusal: Refusal, reason: str, by: str = "automation") -> NoReturn:
        """Say no, on record; what waits for a person by its own terms counts as none. Raises FailoverRefusedError."""
        self.refused += refusal.rule != MANUAL
        details = {"rule": refusal.rule, "reasons": dict(refusal.reasons), "asked_because": reason}
        at = self._clock.now()
        self._manager.recorder.soon(Event(EventKind.FAILOVER_REFUSED, at, source, by, refusal.text, details=details))
        raise FailoverRefusedError(refusal.rule, refusal.text, refusal.reasons)

    # --- one failover -------------------------------------------------------------------------

    def _start(self, order: Order) -> tuple[asyncio.Task[FailoverEvent], asyncio.Future[None]]:
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._carry_out(order, written), name=f"failover of {order.source}")
        self._under_way[order.source] = task

        def ended(_: asyncio.Future[FailoverEvent]) -> None:
            if self._under_way.get(order.source) is task:
                del self._under_way[order.source]

        task.add_done_callback(ended)
        return task, written

    async def _carry_out(self, order: Order, written: asyncio.Future[None]) -> FailoverEvent:
        begun = self._begin(order)
        done = await self._written(order, begun)
        if order.strategy is FailoverStrategy.GRACEFUL:
            await self._in_flight.ended(order.source, done.revision)
        self._move_load(done.plan)
        written.set_result(None)
        event = await self._acknowledged(order, begun, done)
        self._count(event)
        return event

    def _begin(self, order: Order) -> _Begun:
        at, now = self._clock.monotonic(), self._clock.now()
        since = at if order.first_sign is None else order.first_sign
        return _Begun(since, now, now - (at - since), round(1000.0 * (at - since), 3))

    async def _decide_and_record(self, order: Order, begun: _Begun) -> _Done:
        for region_id in (order.source,) if order.target is None else (order.source, order.target):
            self._manager.get_region(region_id)  # it may have been removed meanwhile
        planned = plan_by_choice if order.cause is Cause.OPERATOR else plan_failover
        lifted = lifted_by(order.override, self._clock.now())
        fleet = self._manager.snapshot()
        plan = planned(fleet, order.source, order.target, lifted, region_rtt_ms)
        if isinstance(plan, Refusal):
            self.refuse(order.source, plan, order.reason, order.by)
        at = self._clock.now()
        cause = self._whose_word(order)
        standing = self._manager.registry.failures.get(plan.source)
        moved = load_moved(plan, {} if standing is None else standing.moved)
        failure = Failure(cause, order.reason, order.by, at, moved=moved, heirs=heirs_named(fleet, plan))
        record = self._record(plan, failure, order, begun)
        return _Done(plan, at, await self._manager.mark_failed(order.source, failure, record, order.override))

    async def _written(self, order: Order, begun: _Begun) -> _Done:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._manager.unless_overtaken(lambda: self._decide_and_record(order, begun))
        except TimeoutError as err:
            text = f"the store did not acknowledge within {self._timeout_s:g} s; the outcome is unknown"
            raise UnavailableError(f"failover of {order.source}: {text}") from err

    def _whose_word(self, order: Order) -> Cause:
        """Whose failover it is: what a person has moved away already, automation does not give back (L11)."""
        standing = self._manager.registry.failures.get(order.source)
        return Cause.OPERATOR if standing is not None and standing.cause is Cause.OPERATOR else order.cause

    def _move_load(self, plan: FailoverPlan) -> None:
        """Count the moved load where it is now, until somebody reports what it really is."""
        regions = self._manager.regions
        loads = {name: regions[name].current_capacity for name in (plan.source, *plan.shares) if name in regions}
        for name, load in loads_after(plan, loads).items():
            regions[name].current_capacity = load

    def _record(self, plan: FailoverPlan, failure: Failure, order: Order, begun: _Begun) -> Event:
        """What the log says of a failover, in the transaction that makes it so."""
        standing = self._manager.registry.failures.get(plan.source)
        details: dict[str, Any] = {
            "to": plan.target,
            "shares": dict(plan.shares),
            "shed": plan.shed,
            "strategy": order.strategy.value,
            "cause": failure.cause.value,
            "override": order.override.rule.value if order.override else None,
            "detected_ms": begun.detected_ms,
            "first_signal_at": begun.first_signal_at,
            "verdict_at": begun.verdict_at,
            "planned_at": failure.at,
        }
        before = None if standing is None else standing.document()
        after = failure.document()
        kind = EventKind.FAILOVER_COMPLETED
        return Event(kind, failure.at, plan.source, failure.by, failure.reason, before, after, details)

    # --- acknowledged -------------------------------------------------------------------------

    async def _acknowledged(self, order: Order, begun: _Begun, done: _Done) -> FailoverEvent:
        """What was done, once the router and the edges have the revision, or the time for it is up (L14)."""
        if not self._router.acknowledged(done.revision):
            raise UnavailableError(f"the router has not taken over revision {done.revision}")
        edges = Settlement()
        if self._steering is not None:
            edges = await self._steering.settled(done.revision, self._timeout_s)
        event = self._event(order, begun, done, edges)
        if edges.acknowledged_by or edges.lagging:
            self._manager.recorder.soon(_acknowledgement(event, order.by, edges.reason))
        return event

    def _event(self, order: Order, begun: _Begun, done: _Done, edges: Settlement) -> FailoverEvent:
        plan, ended = done.plan, self._clock.now()
        return FailoverEvent(
            event_id=f"failover-{done.revision}",
            from_region=plan.source,
            to_region=plan.target,
            strategy=order.strategy,
            cause=order.cause.value,
            reason=order.reason,
            started_at=done.planned_at,
            completed_at=ended,
            duration_ms=1000.0 * (self._clock.monotonic() - begun.since),
            detected_ms=begun.detected_ms,
            shares=plan.shares,
            shed=plan.shed,
            load=plan.load,
            excluded=plan.excluded,
            revision=done.revision,
            first_signal_at=begun.first_signal_at,
            verdict_at=begun.verdict_at,
            planned_at=done.planned_at,
            acknowledged_at=None if edges.lagging else ended,
            acknowledged_by=edges.acknowledged_by,
            lagging=edges.lagging,
            rejected=edges.rejected,
        )

    def _count(self, event: FailoverEvent) -> None:
        self.events.append(event)
        self.total += 1
        self.by_region[event.from_region] = self.by_region.get(event.from_region, 0) + 1
        self.duration_sum_ms += event.duration_ms


def _acknowledgement(event: FailoverEvent, by: str, why: str) -> Event:
    """What the log says of the edges, after the failover itself."""
    details = {
        "event_id": event.event_id,
        "revision": event.revision,
        "first_signal_at": event.first_signal_at,
        "verdict_at": event.verdict_at,
        "planned_at": event.planned_at,
        "acknowledged_at": event.acknowledged_at,
        "acknowledged_by": list(event.acknowledged_by),
        "lagging": list(event.lagging),
        "rejected": list(event.rejected),
        "duration_ms": event.duration_ms,
    }
    return Event(EventKind.FAILOVER_ACKNOWLEDGED, event.completed_at, event.from_region, by, why, details=details)


def _log_failure(task: asyncio.Task[FailoverEvent]) -> None:
    """Nobody waits for it any more."""
    error = None if task.cancelled() else task.exception()
    if error is not None:
        log.warning("failover written, but not seen through", error=repr(error))
