"""FailureHandler: moves traffic off a region that failed or must rest, and gives it back. Plans first, then acts.

A verdict takes a region out of routing at once (``guard.py``); what happens here makes the move lasting, accounts for
the load, and leaves the record.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, NoReturn, TypeVar

import structlog

from mahavishnu.integrations.multi_region.core.events import Event, EventKind
from mahavishnu.integrations.multi_region.core.failover import (
    FailoverEvent,
    FailoverPlan,
    FailoverStrategy,
    RecoveryEvent,
    Refusal,
    plan_by_choice,
    plan_failover,
    waiting_services,
)
from mahavishnu.integrations.multi_region.core.health import HealthState
from mahavishnu.integrations.multi_region.core.model import Phase, parse_enum
from mahavishnu.integrations.multi_region.core.overrides import BreakGlass, Cause, Drain, Failure, lifted_by
from mahavishnu.integrations.multi_region.core.safety import Rule
from mahavishnu.integrations.multi_region.core.validation import check_said, check_text
from mahavishnu.integrations.multi_region.errors import (
    FailoverRefusedError,
    InvalidInputError,
    MultiRegionError,
    RefusedError,
    StaleRevisionError,
    UnavailableError,
)
from mahavishnu.integrations.multi_region.settings import load_settings

from .guard import Verdict
from .locality import DataLocalityOptimizer
from .manager import RegionManager
from .router import RegionAwareRouter

REVIEW_S = 1.0
"""How often it is looked for what could not be done when its verdict came."""

KEPT_EVENTS = 1000
"""Failovers kept in memory for the statistics; the log in the store has them all."""

T = TypeVar("T")

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
            if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
                raise InvalidInputError(name, value, "a number of seconds, 0 or more")
        self.events: deque[FailoverEvent] = deque(maxlen=KEPT_EVENTS)
        self.recoveries: deque[RecoveryEvent] = deque(maxlen=KEPT_EVENTS)
        self._total = self._refused = self._recovered = 0
        self._total_by_region: dict[str, int] = {}
        self._duration_sum_ms = 0.0
        self._verdicts: asyncio.Queue[Verdict] = asyncio.Queue()
        self._unsettled: dict[str, Verdict] = {}
        self._under_way: dict[str, asyncio.Future[FailoverEvent]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._clock = region_manager.clock

    async def initialize(self) -> None:
        """Begin to act on verdicts. Safe to call twice."""
        if not self._tasks:
            self.region_manager.subscribe(self._verdicts.put_nowait)
            self._tasks = [
                asyncio.create_task(self._act_on_verdicts(), name="failover on verdicts"),
                asyncio.create_task(self._review_forever(), name="failover review"),
            ]

    async def close(self) -> None:
        """Stop acting on verdicts. Safe to call twice."""
        if not self._tasks:
            return
        self.region_manager.unsubscribe(self._verdicts.put_nowait)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    # --- what the spec names ------------------------------------------------------------------

    async def handle_region_failure(self, failed_region: str, reason: str) -> FailoverEvent:
        """Move all traffic off a region that failed, to the nearest regions that may take it and have room.

        Asked again for a region that is failed over already, returns what was done. Raises UnknownRegionError;
        FailoverRefusedError with the rule and the reasons (L6, L7, L9), and then nothing was changed.
        """
        self.region_manager.get_region(failed_region)
        check_text(reason, "reason")
        under_way = self._under_way.get(failed_region)
        if under_way is not None:
            return await asyncio.shield(under_way)
        done = self._standing_failover(failed_region)
        if done is not None:
            return done
        frozen = self.region_manager.snapshot().frozen
        if frozen is not None:
            self._refuse(failed_region, Refusal(Rule.FROZEN.value, f"automation is frozen: {frozen}", {}), reason)
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
        return await self.fail_over(from_region, to_region, strategy, reason, by=by, override=override)

    async def fail_over(
        self,
        from_region: str,
        to_region: str | None = None,
        strategy: FailoverStrategy | str = FailoverStrategy.IMMEDIATE,
        reason: str = "",
        *,
        by: str = "operator",
        override: BreakGlass | None = None,
    ) -> FailoverEvent:
        """The same; without ``to_region`` the load goes to the nearest regions that may take it and have room."""
        chosen = parse_enum(FailoverStrategy, strategy, "strategy")
        check_said(by, reason)
        self._check_ends(from_region, to_region)
        return await self._fail_over(from_region, to_region, chosen, reason, Cause.OPERATOR, None, by, override)

    async def recover_region(self, region_id: str, *, by: str = "operator", reason: str = "") -> RecoveryEvent:
        """Give traffic back to a region that was failed over and is healthy again. An operator's drain stands (L11).

        Raises UnknownRegionError; RefusedError when it was not failed over or is not healthy.
        """
        self.region_manager.get_region(region_id)
        check_said(by, reason)
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
        return {
            "total_failovers": self._total,
            "refused_failovers": self._refused,
            "total_recoveries": self._recovered,
            "average_duration_ms": self._duration_sum_ms / self._total if self._total else 0.0,
            "total_duration_ms": self._duration_sum_ms,
            "failovers_by_region": dict(self._total_by_region),
            "failed_over_regions": sorted(self.region_manager.registry.failures),
        }

    def plan(
        self, from_region: str, to_region: str | None = None, *, override: BreakGlass | None = None
    ) -> FailoverPlan | Refusal:
        """What a failover would do now; changes nothing. Raises UnknownRegionError, InvalidInputError."""
        self._check_ends(from_region, to_region)
        lifted = lifted_by(override, self._clock.now())
        return plan_by_choice(self.region_manager.snapshot(), from_region, to_region, lifted)

    def _check_ends(self, from_region: str, to_region: str | None) -> None:
        for region_id in (from_region,) if to_region is None else (from_region, to_region):
            self.region_manager.get_region(region_id)
        if from_region == to_region:
            raise InvalidInputError("to_region", to_region, "another region than from_region")

    async def drain_gracefully(
        self, region_id: str, *, by: str, reason: str, override: BreakGlass | None = None
    ) -> Drain:
        """Take a region out of service; it is drained once requests in flight end or ``drain_timeout`` is over.

        Raises what ``RegionManager.drain`` raises; RefusedError when the drain was lifted meanwhile.
        """
        await self.region_manager.drain(region_id, by=by, reason=reason, override=override, finished=False)
        await self._wait_for_requests_in_flight(region_id)
        if region_id not in self.region_manager.registry.drains:
            raise RefusedError("not_drained", f"the drain of {region_id} was lifted while requests finished")
        return await self.region_manager.drain(region_id, by=by, reason=reason, finished=True)

    # --- acting -------------------------------------------------------------------------------

    async def _fail_over(self, source: str, *order: Any) -> FailoverEvent:
        """Carry out one failover; who asks for the same meanwhile is told of this one."""
        under_way = asyncio.ensure_future(self._carry_out(source, *order))
        self._under_way[source] = under_way
        try:
            return await under_way
        finally:
            if self._under_way.get(source) is under_way:
                del self._under_way[source]

    async def _carry_out(
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
        lifted = lifted_by(override, self._clock.now())

        async def decide_and_record() -> tuple[FailoverPlan, float, int]:
            self._check_ends(source, target)  # it may have been removed meanwhile
            planned = plan_by_choice if cause is Cause.OPERATOR else plan_failover
            plan = planned(self.region_manager.snapshot(), source, target, lifted)
            if isinstance(plan, Refusal):
                self._refuse(source, plan, reason, by)
            at = self._clock.now()
            failure = Failure(self._whose_word(source, cause), reason, by, at, moved=self._moved(plan))
            record = self._record(plan, failure, strategy, override, _ms(first_sign, began))
            return plan, at, await self.region_manager.mark_failed(source, failure, record, override)

        plan, started_at, revision = await self._within_deadline(
            lambda: self.region_manager.unless_overtaken(decide_and_record), f"failover of {source}"
        )
        if strategy is FailoverStrategy.GRACEFUL:
            await self._wait_for_requests_in_flight(source)
        self._move_load(plan)
        event = self._event(plan, strategy, cause, reason, started_at, first_sign, began, revision)
        self.events.append(event)
        self._total += 1
        self._total_by_region[source] = self._total_by_region.get(source, 0) + 1
        self._duration_sum_ms += event.duration_ms
        return event

    def _record(
        self,
        plan: FailoverPlan,
        failure: Failure,
        strategy: FailoverStrategy,
        override: BreakGlass | None,
        detected_ms: float,
    ) -> Event:
        """What the log says of a failover."""
        standing = self.region_manager.registry.failures.get(plan.source)
        return Event(
            EventKind.FAILOVER_COMPLETED,
            failure.at,
            plan.source,
            failure.by,
            failure.reason,
            before=None if standing is None else standing.document(),
            after=failure.document(),
            details={
                "to": plan.target,
                "shares": dict(plan.shares),
                "shed": plan.shed,
                "strategy": strategy.value,
                "cause": failure.cause.value,
                "override": override.rule.value if override else None,
                "detected_ms": detected_ms,
            },
        )

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

    def _refuse(self, source: str, refusal: Refusal, reason: str, by: str = "automation") -> NoReturn:
        self._refused += 1
        details = {"rule": refusal.rule, "reasons": dict(refusal.reasons), "asked_because": reason}
        at = self._clock.now()
        self.region_manager.recorder.soon(
            Event(EventKind.FAILOVER_REFUSED, at, source, by, refusal.text, details=details)
        )
        raise FailoverRefusedError(refusal.rule, refusal.text, refusal.reasons)

    async def _within_deadline(self, act: Callable[[], Awaitable[T]], what: str) -> T:
        try:
            async with asyncio.timeout(self.failover_timeout):
                return await act()
        except TimeoutError as err:
            text = f"{what}: the store did not acknowledge within {self.failover_timeout:g} s; the outcome is unknown"
            raise UnavailableError(text) from err

    def _whose_word(self, source: str, cause: Cause) -> Cause:
        """Whose failover it is: what a person has moved away already, automation does not give back (L11)."""
        standing = self.region_manager.registry.failures.get(source)
        return Cause.OPERATOR if standing is not None and standing.cause is Cause.OPERATOR else cause

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
            if name in regions:
                regions[name].current_capacity += share * plan.load
        if plan.source in regions:
            regions[plan.source].current_capacity = 0

    async def _wait_for_requests_in_flight(self, region_id: str) -> None:
        """Until the region reports no load any more, or the drain's deadline has passed."""
        region = self.region_manager.regions.get(region_id)
        deadline = self._clock.monotonic() + self.drain_timeout
        while region is not None and region.current_capacity > 0 and self._clock.monotonic() < deadline:
            await self._clock.sleep(min(0.05, self.drain_timeout))

    # --- giving back --------------------------------------------------------------------------

    async def _recover(
        self, region_id: str, by: str, reason: str, cause: Cause, waiting: tuple[str, ...] = ()
    ) -> RecoveryEvent:
        failure = self.region_manager.registry.failures[region_id]
        keep = replace(failure, services=waiting, moved={}) if waiting else None
        event = RecoveryEvent(region_id, cause.value, reason, self._clock.now(), waiting)
        record = Event(
            EventKind.REGION_RECOVERED,
            event.at,
            region_id,
            by,
            reason,
            before=failure.document(),
            after=None if keep is None else keep.document(),
            details={"waiting": list(waiting), "cause": cause.value},
        )
        await self.region_manager.clear_failed(region_id, record, keep)
        self._give_load_back(region_id, failure)
        self.recoveries.append(event)
        self._recovered += 1
        return event

    def _give_load_back(self, region_id: str, failure: Failure) -> None:
        regions = self.region_manager.regions
        for name, load in failure.moved.items():
            if name in regions:
                given = min(load, regions[name].current_capacity)
                regions[name].current_capacity -= given
                regions[region_id].current_capacity += given

    def _standing_failover(self, region_id: str) -> FailoverEvent | None:
        if not self._failed_over(region_id):
            return None
        return next((event for event in reversed(self.events) if event.from_region == region_id), None)

    # --- verdicts -----------------------------------------------------------------------------

    async def _act_on_verdicts(self) -> None:
        while True:
            verdict = await self._verdicts.get()
            await self._try_to_act_on(verdict)

    async def _review_forever(self) -> None:
        while True:
            await self._clock.sleep(REVIEW_S)
            await self.review()

    async def review(self) -> None:
        """Do what could not be done when its verdict came: the store was lost, or automation was frozen."""
        if self.region_manager.recorder.store_lost is not None:
            return  # the events that led here come first
        for region_id in list(self._unsettled):
            await self._try_to_act_on(self._unsettled.pop(region_id))
        for region_id, failure in list(self.region_manager.registry.failures.items()):
            state = self.region_manager.monitor.states.get(region_id)
            if state is not None and self._recovered_since(state, failure.at):
                await self._try_to_act_on(Verdict(region_id, Phase.DOWN, Phase.HEALTHY, state.reason, None))

    def _recovered_since(self, state: HealthState, at: float) -> bool:
        """Whether there is evidence of health newer than the failover (``at``, seconds since the epoch).

        Older evidence is only that this controller has not seen what another one saw.
        """
        since = self._clock.now() - (self._clock.monotonic() - state.since)
        return state.judged and state.phase is Phase.HEALTHY and since >= at

    async def _try_to_act_on(self, verdict: Verdict) -> None:
        try:
            await self._act_on(verdict)
        except (UnavailableError, StaleRevisionError) as err:
            self._unsettled[verdict.region_id] = verdict
            log.warning("verdict not acted on yet", region=verdict.region_id, error=str(err))
        except MultiRegionError as err:
            log.warning("verdict not acted on", region=verdict.region_id, error=str(err))
        except Exception:  # whatever it is, the next verdict must be acted on
            log.exception("verdict not acted on", region=verdict.region_id)

    async def _act_on(self, verdict: Verdict) -> None:
        """One turn of the loop: a region that fell is failed over, one that rose gets back what may return."""
        region_id = verdict.region_id
        view = self.region_manager.snapshot().regions.get(region_id)
        if view is None:
            return
        if verdict.after is Phase.DOWN and view.phase is Phase.DOWN and not self._failed_over(region_id):
            if self.region_manager.snapshot().frozen is not None:
                self._unsettled[region_id] = verdict  # looked at again until automation may act
                return
            await self._fail_over(
                region_id, None, FailoverStrategy.IMMEDIATE, verdict.reason, Cause.VERDICT, verdict.doubt_since
            )
        elif verdict.after is Phase.HEALTHY and view.phase is Phase.HEALTHY and view.failed_over is not None:
            await self._fail_back(region_id, verdict.reason)

    def _failed_over(self, region_id: str) -> bool:
        """Whether all of a region's traffic is away; some services may wait to return to one that serves again."""
        failure = self.region_manager.registry.failures.get(region_id)
        return failure is not None and failure.services is None

    async def _fail_back(self, region_id: str, reason: str) -> None:
        """Give back what automation took, except to services whose failback is a person's choice (L17)."""
        failure = self.region_manager.registry.failures[region_id]
        if failure.cause is not Cause.VERDICT or self.region_manager.snapshot().frozen is not None:
            return
        if not self.region_manager.monitor.proven(region_id):
            return  # the review looks again
        waiting = waiting_services(self.region_manager.snapshot(), region_id)
        if failure.services is not None:
            waiting = tuple(name for name in waiting if name in failure.services)
        if waiting != failure.services:
            await self._recover(region_id, "automation", reason, Cause.VERDICT, waiting)


def _ms(since: float | None, until: float) -> float:
    return 0.0 if since is None else round(1000.0 * (until - since), 3)
