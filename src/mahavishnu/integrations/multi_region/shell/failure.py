"""FailureHandler: moves traffic off a region that failed or must rest, and gives it back. Plans first, then acts.

A verdict takes a region out of routing at once (``guard.py``); what happens here makes the move lasting, accounts for
the load, and leaves the record: ``failing_over.py`` moves away, ``giving_back.py`` gives back.
"""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

from mahavishnu.integrations.multi_region.core.failover import (
    FailoverEvent,
    FailoverPlan,
    FailoverStrategy,
    Refusal,
    plan_by_choice,
)
from mahavishnu.integrations.multi_region.core.health import HealthState
from mahavishnu.integrations.multi_region.core.model import Phase, parse_enum
from mahavishnu.integrations.multi_region.core.overrides import BreakGlass, Cause, Drain, lifted_by
from mahavishnu.integrations.multi_region.core.recovery import RecoveryEvent
from mahavishnu.integrations.multi_region.core.safety import Rule
from mahavishnu.integrations.multi_region.core.validation import check_said, check_text
from mahavishnu.integrations.multi_region.errors import (
    InvalidInputError,
    MultiRegionError,
    RefusedError,
    StaleRevisionError,
    UnavailableError,
)
from mahavishnu.integrations.multi_region.facts.network import region_rtt_ms

from .failing_over import FailingOver, Order
from .giving_back import GivingBack
from .guard import Verdict
from .in_flight import InFlight
from .locality import DataLocalityOptimizer
from .manager import RegionManager
from .router import RegionAwareRouter
from .steering import Steering

REVIEW_S = 1.0
"""How often it is looked for what could not be done when its verdict came."""

KEPT_EVENTS = 1000
"""Failovers kept in memory for the statistics; the log in the store has them all."""

log = structlog.get_logger(__name__)


class FailureHandler:
    """Automatic failover on verdicts, and failover, recovery and statistics on request.

    ``failover_timeout`` and ``drain_timeout`` in seconds; None takes what the manager was built with. ``steering``: the
    edges whose acknowledgement a failover, and whose requests in flight a drain waits for, no longer than those.
    """

    def __init__(
        self,
        region_manager: RegionManager,
        router: RegionAwareRouter | None = None,
        data_optimizer: DataLocalityOptimizer | None = None,
        failover_timeout: float | None = None,
        drain_timeout: float | None = None,
        *,
        steering: Steering | None = None,
    ) -> None:
        self.region_manager = region_manager
        self.router = router or RegionAwareRouter(region_manager)
        self.data_optimizer = data_optimizer or DataLocalityOptimizer(region_manager)
        self.failover_timeout = region_manager.failover_timeout if failover_timeout is None else failover_timeout
        self.drain_timeout = region_manager.drain_timeout if drain_timeout is None else drain_timeout
        for name, value in (("failover_timeout", self.failover_timeout), ("drain_timeout", self.drain_timeout)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
                raise InvalidInputError(name, value, "a number of seconds, 0 or more")
        self._in_flight = InFlight(region_manager, steering, self.drain_timeout)
        self._away = FailingOver(
            region_manager, self.router, steering, self._in_flight, self.failover_timeout, KEPT_EVENTS
        )
        self._back = GivingBack(region_manager, KEPT_EVENTS)
        self.events, self.recoveries = self._away.events, self._back.recoveries
        self._verdicts: asyncio.Queue[Verdict] = asyncio.Queue()
        self._unsettled: dict[str, Verdict] = {}
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
        await self._away.close()

    # --- what the spec names ------------------------------------------------------------------

    async def handle_region_failure(self, failed_region: str, reason: str) -> FailoverEvent:
        """Move all traffic off a region that failed, to the nearest regions that may take it and have room.

        Asked again for a region that is failed over already, returns what was done. Raises UnknownRegionError;
        FailoverRefusedError with the rule and the reasons (L6, L7, L9), and then nothing was changed.
        """
        self.region_manager.get_region(failed_region)
        check_text(reason, "reason")
        under_way = self._away.under_way(failed_region)
        if under_way is not None:
            return await asyncio.shield(under_way)
        done = self._standing_failover(failed_region)
        if done is not None:
            return done
        frozen = self.region_manager.snapshot().frozen
        if frozen is not None:
            self._away.refuse(failed_region, Refusal(Rule.FROZEN.value, f"automation is frozen: {frozen}", {}), reason)
        return await self._away.finish(
            self._order(failed_region, reason, self.region_manager.doubt_since(failed_region))
        )

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
        """Move all traffic off a region: to ``to_region``, or by default to the nearest that may take it and have room.

        ``graceful`` waits for requests in flight. ``by`` and ``reason`` go into the log; ``override`` lifts one safety
        rule. Raises UnknownRegionError, InvalidInputError; FailoverRefusedError with the rule and the reasons (L6, L7,
        L9), and then nothing was changed.
        """
        chosen = parse_enum(FailoverStrategy, strategy, "strategy")
        check_said(by, reason)
        self._check_ends(from_region, to_region)
        order = Order(from_region, to_region, chosen, reason, Cause.OPERATOR, by=by, override=override)
        return await self._away.finish(order)

    async def recover_region(self, region_id: str, *, by: str = "operator", reason: str = "") -> RecoveryEvent:
        """Give traffic back to a region that was failed over and is healthy again. An operator's drain stands (L11).

        Raises UnknownRegionError; RefusedError when it was not failed over or is not healthy.
        """
        self.region_manager.get_region(region_id)
        check_said(by, reason)
        return await self._back.on_request(region_id, by, reason)

    def get_failover_stats(self) -> dict[str, Any]:
        """What this process did so far: ``total_failovers``, ``refused_failovers``, ``total_recoveries``,
        ``average_duration_ms``, ``total_duration_ms``, ``failovers_by_region``; and ``failed_over_regions`` now."""
        return {
            "total_failovers": self._away.total,
            "refused_failovers": self._away.refused,
            "total_recoveries": self._back.total,
            "average_duration_ms": self._away.duration_sum_ms / self._away.total if self._away.total else 0.0,
            "total_duration_ms": self._away.duration_sum_ms,
            "failovers_by_region": dict(self._away.by_region),
            "failed_over_regions": sorted(self.region_manager.registry.failures),
        }

    def plan(
        self, from_region: str, to_region: str | None = None, *, override: BreakGlass | None = None
    ) -> FailoverPlan | Refusal:
        """What ``fail_over`` would do now, or why not; changes nothing.

        Raises UnknownRegionError, InvalidInputError.
        """
        self._check_ends(from_region, to_region)
        lifted = lifted_by(override, self._clock.now())
        return plan_by_choice(self.region_manager.snapshot(), from_region, to_region, lifted, region_rtt_ms)

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
        busy = await self._in_flight.ended(region_id, self.region_manager.snapshot().revision)
        if region_id not in self.region_manager.registry.drains:
            raise RefusedError("not_drained", f"the drain of {region_id} was lifted while requests finished")
        return await self.region_manager.drain(region_id, by=by, reason=reason, finished=True, busy_edges=busy)

    # --- inside -------------------------------------------------------------------------------

    def _order(self, failed_region: str, reason: str, first_sign: float | None) -> Order:
        """What automation asks for after a verdict."""
        return Order(failed_region, None, FailoverStrategy.IMMEDIATE, reason, Cause.VERDICT, first_sign)

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
            await self._away.begin(self._order(region_id, verdict.reason, verdict.doubt_since))
        elif verdict.after is Phase.HEALTHY and view.phase is Phase.HEALTHY and view.failed_over is not None:
            await self._back.on_verdict(region_id, verdict.reason)

    def _failed_over(self, region_id: str) -> bool:
        """Whether all of a region's traffic is away; some services may wait to return to one that serves again."""
        failure = self.region_manager.registry.failures.get(region_id)
        return failure is not None and failure.services is None
