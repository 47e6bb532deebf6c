"""Watches regions: one schedule each, jittered, in one pool; counts what probes and real traffic say.

What an observation means is decided in ``core/health.py``; what follows from a verdict, by whoever listens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from mahavishnu.integrations.multi_region.core.figures import REGION
from mahavishnu.integrations.multi_region.core.health import HealthState
from mahavishnu.integrations.multi_region.core.model import HealthCheck, Region
from mahavishnu.integrations.multi_region.core.probing import Observation, observer_blind, probed, recused, ticked
from mahavishnu.integrations.multi_region.core.real_traffic import reported, reported_many
from mahavishnu.integrations.multi_region.ports.clock import Clock
from mahavishnu.integrations.multi_region.ports.probe import Probe, ProbeResult

TICK_S = 0.5
"""How often silence, pauses and the table of regions are looked at."""

JITTER = 0.1
"""By how much of the interval a pause between two probes is longer or shorter at most."""

_LOAD = REGION["current_capacity"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class MonitorHooks:
    """Whom the monitor tells: of a region's new state, and of its own blindness beginning or ending."""

    changed: Callable[[str, HealthState, HealthState], None]
    blind: Callable[[bool], None]
    ticked: Callable[[], None]


class HealthMonitor:
    """Probes the regions of a table and keeps a HealthState for each."""

    def __init__(
        self,
        regions: dict[str, Region],
        states: dict[str, HealthState],
        clock: Clock,
        probe: Probe | None,
        default_check: HealthCheck,
        breaker_threshold: int,
        blind_share: Callable[[], float],
        hooks: MonitorHooks,
        dice: Callable[[], float],
    ) -> None:
        self._regions = regions
        self.states = states
        self._clock = clock
        self._probe = probe
        self._default = default_check
        self._threshold = breaker_threshold
        self._blind_share = blind_share
        self._hooks = hooks
        self._dice = dice
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._ticker: asyncio.Task[None] | None = None
        self._began: float | None = None
        self.blind = False

    def start(self) -> None:
        """Begin to watch every region in the table, and the time."""
        if self._ticker is None:
            self._began = self._clock.monotonic() if self._probe is not None else None
            self._ticker = asyncio.create_task(self._tick_forever(), name="health ticks")
        self.follow_table()

    def follow_table(self) -> None:
        """One schedule for each region in the table, none for any other."""
        for region_id in [r for r in self._tasks if r not in self._regions]:
            self._end(self._tasks.pop(region_id))
        for region_id in [r for r in self.states if r not in self._regions]:
            del self.states[region_id]
        if self._probe is None or self._ticker is None:
            return
        for region_id in self._regions:
            if region_id not in self._tasks or self._tasks[region_id].done():
                self._tasks[region_id] = asyncio.create_task(self._watch(region_id), name=f"probe {region_id}")

    def _end(self, task: asyncio.Task[None]) -> None:
        """Cancel a schedule, and remember it until it is over."""
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        task.cancel()

    async def close(self) -> None:
        """Stop watching; wait until every task has ended."""
        tasks = [*self._tasks.values(), *self._ending, *([self._ticker] if self._ticker else [])]
        self._tasks.clear()
        self._ticker = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._probe is not None:
            await self._probe.close()

    def check_of(self, region_id: str) -> HealthCheck:
        """How a region is probed: its own check, or the default."""
        return self._regions[region_id].health or self._default

    async def probe_once(self, region_id: str) -> HealthState:
        """Ask one region once and count the answer."""
        region, check = self._regions[region_id], self.check_of(region_id)
        if self._probe is None:
            return self.states.get(region_id, HealthState())
        result = await self._probe.ask(region.endpoint, check)
        if self._regions.get(region_id) is region:
            self._count(region_id, result, check)
            self._take_load(region, result)  # after the verdict: an odd figure must not hide a failure
        return self.states.get(region_id, HealthState())

    def proven(self, region_id: str) -> bool:
        """Whether as many good results in a row as ``rise`` asks speak for a region; after a restart none do (L3)."""
        state = self.states.get(region_id, HealthState())
        return max(state.passes, state.clean) >= self.check_of(region_id).rise

    def report(self, region_id: str, ok: bool, latency_ms: float | None) -> None:
        """Count one real request."""
        before = self.states.get(region_id, HealthState())
        after = reported(before, ok, self._clock.monotonic(), self.check_of(region_id), self._threshold, latency_ms)
        self._store(region_id, before, after)

    def report_many(self, region_id: str, succeeded: int, failed: int) -> None:
        """Count many real requests at once."""
        before, check = self.states.get(region_id, HealthState()), self.check_of(region_id)
        after = reported_many(before, succeeded, failed, self._clock.monotonic(), check, self._threshold)
        self._store(region_id, before, after)

    def tick(self) -> None:
        """Let time have its effect on every state, and follow changes that were made to the table itself."""
        self.follow_table()
        now = self._clock.monotonic()
        for region_id, before in list(self.states.items()):
            if region_id in self._regions:
                self._store(region_id, before, ticked(before, now, self.check_of(region_id)))
        self._hooks.ticked()

    def _count(self, region_id: str, result: ProbeResult, check: HealthCheck) -> None:
        before = self.states.get(region_id, HealthState())
        distrusted = self._look_at_ourselves(region_id, result) or self._begins()
        seen = Observation(result.ok, result.latency_ms, result.shedding, result.reason, distrusted=distrusted)
        self._store(region_id, before, probed(before, seen, self._clock.monotonic(), check))

    def _look_at_ourselves(self, region_id: str, result: ProbeResult) -> bool:
        """Whether this observer is blind, this result included; tells when that changes (L2)."""
        others = [state for rid, state in self.states.items() if rid != region_id and rid in self._regions]
        here = self.states.get(region_id, HealthState())
        fails = 0 if result.ok or result.shedding else here.fails + 1
        doubt = self._clock.monotonic() if fails and here.doubt_since is None else here.doubt_since
        here = replace(here, probed=True, fails=fails, doubt_since=doubt)
        blind = observer_blind([*others, here], self._blind_share(), self._round_s())
        if blind != self.blind:
            self.blind = blind
            if blind:
                self._withdraw()
            self._hooks.blind(blind)
        return blind

    def _begins(self) -> bool:
        """Whether this is the first round, and some region was not asked yet: who fails may only be the first asked."""
        if self._began is None:
            return False
        if self._clock.monotonic() >= self._began + self._round_s():
            self._began = None
            return False
        return len(self._regions) > 1 and any(not self.states.get(r, HealthState()).probed for r in self._regions)

    def _withdraw(self) -> None:
        """Take back what was said of targets that fail: it led to the blindness. Who is down already stays down."""
        for region_id, state in self.states.items():
            self.states[region_id] = recused(state)

    def _round_s(self) -> float:
        """The longest time in which each region has been asked once."""
        checks = [self.check_of(region_id) for region_id in self._regions]
        return max((1.0 + JITTER) * check.interval_s + check.timeout_s for check in checks)

    def _store(self, region_id: str, before: HealthState, after: HealthState) -> None:
        if after is not before:
            self.states[region_id] = after
            self._hooks.changed(region_id, before, after)

    def _take_load(self, region: Region, result: ProbeResult) -> None:
        """What is no load counts as not reported; more than a region may have, as the most."""
        load = result.load
        if load is None and result.utilization is not None:
            load = result.utilization * region.capabilities.max_capacity
        if load is not None and load >= _LOAD.least:
            region.current_capacity = min(load, _LOAD.most)

    async def _watch(self, region_id: str) -> None:
        """Probe one region for ever: soon first, then at its interval, each pause up to a tenth longer or shorter."""
        await self._clock.sleep(self._dice() * min(1.0, self._default.interval_s))  # spread the first round
        while region_id in self._regions:
            started = self._clock.monotonic()
            pause = self.check_of(region_id).interval_s * (1.0 - JITTER + 2.0 * JITTER * self._dice())
            try:
                await self.probe_once(region_id)
            except Exception:  # one bad turn must not end the watch: silence would be all that is left
                log.exception("probe not counted", region=region_id)
            await self._clock.sleep(max(0.01, started + pause - self._clock.monotonic()))

    async def _tick_forever(self) -> None:
        while True:
            await self._clock.sleep(TICK_S)
            try:
                self.tick()
            except Exception:  # as above
                log.exception("tick not finished")
