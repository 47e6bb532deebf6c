"""FailureHandler: moves traffic off a region that failed or must rest, and gives it back. Plans first, then acts.

A verdict takes a region out of routing at once (``guard.py``); what happens here makes the move lasting, accounts for
the load, and leaves the record.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import structlog

from mahavishnu.integrations.multi_region.core.events import Event, EventKind
from mahavishnu.integrations.multi_region.core.failover import (
    FailoverEvent,
    FailoverPlan,
    FailoverStrategy,
    RecoveryEvent,
    Refusal,
    plan_failover,
)
from mahavishnu.integrations.multi_region.core.model import FailbackMode, Phase, parse_enum
from mahavishnu.integrations.multi_region.core.overrides import BreakGlass, Cause, Failure
from mahavishnu.integrations.multi_region.core.safety import Rule
from mahavishnu.integrations.multi_region.errors import (
    FailoverRefusedError,
    InvalidInputError,
    MultiRegionError,
    RefusedError,
    UnavailableError,
)
from mahavishnu.integrations.multi_region.settings import load_settings

from .guard import Verdict
from .locality import DataLocalityOptimizer
from .manager import RegionManager
from .router import RegionAwareRouter

KEPT_EVENTS = 1000
"""Failovers kept in memory for the statistics; the log in the store has them all."""

log = structlog.get_logger(__name__)


class FailureHandler:
    """Automatic failover on verdicts, and failover, recovery and statistics on request.

    ``failover_timeout`` and ``drain_timeout`` in seconds; None takes the setting of that name.
    """

    def __init__(
        self,
        region_manager: RegionManager,
        router: RegionAwareRouter | None = None,
        data_optimizer: DataLocalityOptimizer | None = None,
        failover_timeout: float | None = None,
        drain_timeout: float | None = None,
    ) -> None:
        settings = load_settings()
        self.region_manager = region_manager
        self.router = router or RegionAwareRouter(region_manager)
        self.data_optimizer = data_optimizer or DataLocalityOptimizer(region_manager)
        self.failover_timeout = settings.failover_timeout if failover_timeout is None else failover_timeout
        self.drain_timeout = settings.drain_timeout if drain_timeout is None else drain_timeout
        for name, value in (("failover_timeout", self.failover_timeout), ("drain_timeout", self.drain_timeout)):
            if not value >= 0:
                raise InvalidInputError(name, value, "a number of seconds, 0 or more")
        self.events: deque[FailoverEvent] = deque(maxlen=KEPT_EVENTS)
        self.recoveries: deque[RecoveryEvent] = deque(maxlen=KEPT_EVENTS)
        self._total = self._refused = 0
        self._duration_sum_ms = 0.0
        self._verdicts: asyncio.Queue[Verdict] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._clock = region_manager.clock

    async def initialize(self) -> None:
        """Begin to act on verdicts. Safe to call twice."""
        if self._task is None:
            self.region_manager.subscribe(self._verdicts.put_nowait)
            self._task = asyncio.create_task(self._act_on_verdicts(), name="failover on verdicts")

    async def close(self) -> None:
        """Stop acting on verdicts."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    # --- what the spec names ------------------------------------------------------------------

    async def handle_region_failure(self, failed_region: str, reason: str) -> FailoverEvent:
        """Move all traffic off a region that failed, to the nearest regions that may take it and have room.

        Asked again for a region that is failed over already, returns what was done. Raises UnknownRegionError;
        FailoverRefusedError with the rule and the reasons (L6, L7, L9), and then nothing was changed.
        """
        self.region_manager.get_region(failed_region)
        done = self._standing_failover(failed_region)
        if done is not None:
            return done
        frozen = self.region_manager.snapshot().frozen
        if frozen is not None:
            raise FailoverRefusedError(Rule.FROZEN.value, f"automation is frozen: {frozen}")
        first_sign = self.region_manager.doubt_since(failed_region)
        return await self._fail_over(failed_region, None, FailoverStrategy.IMMEDIATE, reason, Cause.VERDICT, first_sign)

    async def failover_to(
        self,
        from_region: str,
        to_region: str,
        strategy: FailoverStrategy | str = FailoverStrategy.IMMEDIATE,
        reason: str = "",
        *,
        by: str = "operator",
        override: BreakGlass | None = None,
    ) -> FailoverEvent:
        """Move all traffic from one region to another; ``graceful`` waits for requests in flight.

        Raises UnknownRegionError, InvalidInputError; FailoverRefusedError when the target may not serve, has no room,
        or a service would be left with none (L6, L7, L9), and then nothing was changed.
        """
        chosen = parse_enum(FailoverStrategy, strategy, "strategy")
        for region_id in (from_region, to_region):
            self.region_manager.get_region(region_id)
        if from_region == to_region:
            raise InvalidInputError("to_region", to_region, "another region than from_region")
        return await self._fail_over(from_region, to_region, chosen, reason, Cause.OPERATOR, None, by, override)

    async def recover_region(self, region_id: str, *, by: str = "operator", reason: str = "") -> RecoveryEvent:
        """Give traffic back to a region that was failed over and is healthy again. An operator's drain stands (L11).

        Raises UnknownRegionError; RefusedError when it was not failed over or is not healthy.
        """
        self.region_manager.get_region(region_id)
        view = self.region_manager.snapshot().regions[region_id]
        if view.failed_over is None:
            raise RefusedError("not_failed_over", f"{region_id} was not failed over")
        if view.phase is not Phase.HEALTHY:
            score = f"{view.health_score:.1f}"
            text = f"{region_id} is {view.phase.value} (score {score}): only a healthy region takes traffic back"
            raise RefusedError("not_healthy", text)
        return await self._recover(region_id, by, reason or "recovered", Cause.OPERATOR)

    def get_failover_stats(self) -> dict[str, Any]:
        """Failovers so far, refused ones, recoveries, and durations in ms."""
        by_region: dict[str, int] = {}
        for event in self.events:
            by_region[event.from_region] = by_region.get(event.from_region, 0) + 1
        return {
            "total_failovers": self._total,
            "refused_failovers": self._refused,
            "total_recoveries": len(self.recoveries),
            "average_duration_ms": self._duration_sum_ms / self._total if self._total else 0.0,
            "total_duration_ms": self._duration_sum_ms,
            "failovers_by_region": by_region,
            "failed_over_regions": sorted(self.region_manager.registry.failures),
        }

    def plan(self, from_region: str, to_region: str | None = None) -> FailoverPlan | Refusal:
        """What a failover would do now; changes nothing. Raises UnknownRegionError."""
        for region_id in filter(None, (from_region, to_region)):
            self.region_manager.get_region(region_id)
        return plan_failover(self.region_manager.snapshot(), from_region, to_region)

    # --- acting -------------------------------------------------------------------------------

    async def _fail_over(
        self,
        source: str,
        target: str | None,
        strategy: FailoverStrategy,
        reason: str,
        cause: Cause,
        first_sign: float | None,
        by: str = "automation",
        override: BreakGlass | None = None,
    ) -> FailoverEvent:
        began = self._clock.monotonic()
        lifted = frozenset[Rule]() if override is None else frozenset({override.rule})
        plan = plan_failover(self.region_manager.snapshot(), source, target, lifted)
        if isinstance(plan, Refusal):
            await self._refuse(source, plan, reason, by)
        assert isinstance(plan, FailoverPlan)
        started_at = self._clock.now()
        failure = Failure(cause, reason, by, started_at, moved=self._moved(plan))
        record = Event(
            EventKind.FAILOVER_COMPLETED,
            started_at,
            source,
            by,
            reason,
            after=failure.document(),
            details={
                "to": plan.target,
                "shares": dict(plan.shares),
                "shed": plan.shed,
                "strategy": strategy.value,
                "cause": cause.value,
                "override": override.rule.value if override else None,
                "detected_ms": _ms(first_sign, began),
            },
        )
        revision = await self._within_deadline(
            lambda: self.region_manager.mark_failed(source, failure, record), f"failover of {source}"
        )
        if strategy is FailoverStrategy.GRACEFUL:
            await self._wait_for_requests_in_flight(source)
        self._move_load(plan)
        event = self._event(plan, strategy, cause, reason, started_at, first_sign, began, revision)
        self.events.append(event)
        self._total += 1
        self._duration_sum_ms += event.duration_ms
        return event

    def _event(
        self,
        plan: FailoverPlan,
        strategy: FailoverStrategy,
        cause: Cause,
        reason: str,
        started_at: float,
        first_sign: float | None,
        began: float,
        revision: int,
    ) -> FailoverEvent:
        """What was done, once the router has acknowledged the revision (L14)."""
        if not self.router.acknowledged(revision):
            raise UnavailableError(f"the router has not taken over revision {revision}")
        ended = self._clock.monotonic()
        return FailoverEvent(
            event_id=f"failover-{revision}",
            from_region=plan.source,
            to_region=plan.target,
            strategy=strategy,
            cause=cause.value,
            reason=reason,
            started_at=started_at,
            completed_at=self._clock.now(),
            duration_ms=1000.0 * (ended - (began if first_sign is None else first_sign)),
            detected_ms=_ms(first_sign, began),
            shares=plan.shares,
            shed=plan.shed,
            load=plan.load,
            excluded=plan.excluded,
            revision=revision,
        )

    async def _refuse(self, source: str, refusal: Refusal, reason: str, by: str) -> None:
        self._refused += 1
        details = {"rule": refusal.rule, "reasons": dict(refusal.reasons), "asked_because": reason}
        at = self._clock.now()
        self.region_manager.recorder.soon(
            Event(EventKind.FAILOVER_REFUSED, at, source, by, refusal.text, details=details)
        )
        raise FailoverRefusedError(refusal.rule, refusal.text, refusal.reasons)

    async def _within_deadline(self, act: Callable[[], Awaitable[int]], what: str) -> int:
        try:
            async with asyncio.timeout(self.failover_timeout):
                return await act()
        except TimeoutError as err:
            text = f"{what}: the store did not acknowledge within {self.failover_timeout:g} s; the outcome is unknown"
            raise UnavailableError(text) from err

    def _moved(self, plan: FailoverPlan) -> dict[str, float]:
        before = self.region_manager.registry.failures.get(plan.source)
        moved = dict(before.moved) if before is not None else {}
        for name, share in plan.shares.items():
            moved[name] = moved.get(name, 0.0) + share * plan.load
        return moved

    def _move_load(self, plan: FailoverPlan) -> None:
        """Count the moved load where it is now, until somebody reports what it really is."""
        regions = self.region_manager.regions
        for name, share in plan.shares.items():
            regions[name].current_capacity += share * plan.load
        regions[plan.source].current_capacity = 0

    async def _wait_for_requests_in_flight(self, region_id: str) -> None:
        """Until the region reports no load any more, or the drain's deadline has passed."""
        region = self.region_manager.regions[region_id]
        deadline = self._clock.monotonic() + self.drain_timeout
        while region.current_capacity > 0 and self._clock.monotonic() < deadline:
            await self._clock.sleep(min(0.05, self.drain_timeout))

    # --- giving back --------------------------------------------------------------------------

    async def _recover(
        self, region_id: str, by: str, reason: str, cause: Cause, waiting: tuple[str, ...] = ()
    ) -> RecoveryEvent:
        failure = self.region_manager.registry.failures[region_id]
        event = RecoveryEvent(region_id, cause.value, reason, self._clock.now(), waiting)
        record = Event(
            EventKind.REGION_RECOVERED,
            event.at,
            region_id,
            by,
            reason,
            before=failure.document(),
            details={"waiting": list(waiting), "cause": cause.value},
        )
        keep = replace(failure, services=waiting, moved={}) if waiting else None
        await self.region_manager.clear_failed(region_id, record, keep)
        self._give_load_back(region_id, failure)
        self.recoveries.append(event)
        return event

    def _give_load_back(self, region_id: str, failure: Failure) -> None:
        regions = self.region_manager.regions
        for name, load in failure.moved.items():
            if name in regions:
                given = min(load, regions[name].current_capacity)
                regions[name].current_capacity -= given
                regions[region_id].current_capacity += given

    def _standing_failover(self, region_id: str) -> FailoverEvent | None:
        if region_id not in self.region_manager.registry.failures:
            return None
        return next((event for event in reversed(self.events) if event.from_region == region_id), None)

    # --- verdicts -----------------------------------------------------------------------------

    async def _act_on_verdicts(self) -> None:
        while True:
            verdict = await self._verdicts.get()
            try:
                await self._act_on(verdict)
            except MultiRegionError as err:
                log.warning("verdict not acted on", region=verdict.region_id, error=str(err))

    async def _act_on(self, verdict: Verdict) -> None:
        """One turn of the loop: a region that fell is failed over, one that rose gets back what may return."""
        region_id = verdict.region_id
        view = self.region_manager.snapshot().regions.get(region_id)
        if view is None:
            return
        failed = region_id in self.region_manager.registry.failures
        if verdict.after is Phase.DOWN and view.phase is Phase.DOWN and not failed:
            await self._fail_over(
                region_id, None, FailoverStrategy.IMMEDIATE, verdict.reason, Cause.VERDICT, verdict.doubt_since
            )
        elif verdict.after is Phase.HEALTHY and view.phase is Phase.HEALTHY and failed:
            await self._fail_back(region_id, verdict.reason)

    async def _fail_back(self, region_id: str, reason: str) -> None:
        """Give back what automation took, except to services whose failback is a person's choice (L17)."""
        failure = self.region_manager.registry.failures[region_id]
        if failure.cause is not Cause.VERDICT or self.region_manager.snapshot().frozen is not None:
            return
        waiting = tuple(
            sorted(s.name for s in self.region_manager.services.values() if s.failback_mode is not FailbackMode.AUTO)
        )
        if failure.services is None or set(waiting) != set(failure.services):
            await self._recover(region_id, "automation", reason, Cause.VERDICT, waiting)


def _ms(since: float | None, until: float) -> float:
    return 0.0 if since is None else round(1000.0 * (until - since), 3)
