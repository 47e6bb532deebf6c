"""What edges saw of the regions: real traffic as evidence of health, load, and who answers now (L4).

What the evidence means is decided in ``core/``; here it is added up over edges, and forgotten when it grows old.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import structlog

from mahavishnu.integrations.multi_region.core.demand import Seen, booked, seen_alive
from mahavishnu.integrations.multi_region.core.model import ComplianceFramework
from mahavishnu.integrations.multi_region.core.safety import Carried
from mahavishnu.integrations.multi_region.core.traffic import TrafficPlan
from mahavishnu.integrations.multi_region.ports.dataplane import LoadReport
from mahavishnu.integrations.multi_region.shell.guard import nothing_carried
from mahavishnu.integrations.multi_region.shell.manager import RegionManager

from .demand import EdgeDemand

COUNT_EVERY_S = 0.2
"""How often reports are counted at most; those that come between are counted together."""

AT_A_STRETCH = 8
"""Counts before others get the event loop: a millisecond or so."""

PERIODS_KEPT = 3.0
"""After so many of its periods (at least ``LEAST_KEPT_S``) without a new one, a report tells no load any more."""

LEAST_KEPT_S = 3.0

SEEN_S = 5.0
"""How long a report of successes counts as seeing a region alive now."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Report:
    """What one edge told last, and when (monotonic seconds). ``rates``: requests/s that it sent, by region."""

    at: float
    period_s: float
    rates: Mapping[str, float]
    succeeded: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    kinds: Mapping[str, frozenset[Carried]] = field(default_factory=dict)

    def fresh(self, now: float) -> bool:
        """Whether it still tells the load."""
        return now - self.at <= max(PERIODS_KEPT * self.period_s, LEAST_KEPT_S)

    def current(self, now: float) -> bool:
        """Whether it still tells who answers now."""
        return now - self.at <= SEEN_S


class EdgeEvidence:
    """Counts load reports into the manager. ``plan`` hands out what the edges were told; ``seen``: what they told."""

    def __init__(self, manager: RegionManager, plan: Callable[[], TrafficPlan]) -> None:
        self._manager = manager
        self._plan = plan
        self._clock = manager.clock
        self._reports: dict[str, _Report] = {}
        self._outcomes: dict[tuple[str, str], tuple[int, int]] = {}
        self._demand = EdgeDemand()
        self._declared: dict[str, float] = {}
        self._told = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.seen = Seen()

    def start(self) -> None:
        """Begin to count, and let the guard know what edges see. Safe to call twice."""
        if self._task is None:
            self._manager.guard.carried = self.carried
            self._declared = {name: region.current_capacity for name, region in self._manager.regions.items()}
            self._task = asyncio.create_task(self._count_forever(), name="edge evidence")

    async def close(self) -> None:
        """Stop counting. Safe to call twice."""
        if self._task is not None:
            self._manager.guard.carried = nothing_carried
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def reported_at(self, edge_id: str) -> float | None:
        """When an edge told last (monotonic seconds), None for one that has not."""
        report = self._reports.get(edge_id)
        return None if report is None else report.at

    def carried(self, region_id: str) -> frozenset[Carried]:
        """Which kinds of requests edges see the region answer now; empty where more of its requests fail than not."""
        if region_id not in self.seen.alive:
            return frozenset()
        now = self._clock.monotonic()
        kinds = (r.kinds.get(region_id, frozenset()) for r in self._reports.values() if r.current(now))
        return frozenset().union(*kinds)

    def take(self, told: LoadReport) -> None:
        """An edge tells what it saw since it told last."""
        self._reports[told.edge_id] = self._summed(told)
        self._demand.take(told)
        for load in told.loads:
            key = load.region_id, load.service
            succeeded, failed = self._outcomes.get(key, (0, 0))
            self._outcomes[key] = succeeded + load.succeeded, failed + load.failed
        self._look_who_is_alive()
        self._told.set()

    def tick(self) -> None:
        """Let reports grow old."""
        now = self._clock.monotonic()
        self._look_who_is_alive()
        if any(not report.fresh(now) for report in self._reports.values()):
            self._told.set()

    # --- inside -------------------------------------------------------------------------------

    def _summed(self, told: LoadReport) -> _Report:
        succeeded, failed = Counter[str](), Counter[str]()
        kinds: dict[str, frozenset[Carried]] = {}
        asked = self._requirements(told.edge_id)
        for load in told.loads:
            succeeded[load.region_id] += load.succeeded
            failed[load.region_id] += load.failed
            if load.succeeded:
                kind = Carried(load.service, asked.get(load.class_name, frozenset()))
                kinds[load.region_id] = kinds.get(load.region_id, frozenset()) | {kind}
        return _Report(self._clock.monotonic(), told.period_s, told.rates(), succeeded, failed, kinds)

    def _requirements(self, edge_id: str) -> dict[str, frozenset[ComplianceFramework]]:
        """What the requests of each class of an edge ask of the law."""
        edge = self._plan().edges.get(edge_id)
        kinds = () if edge is None else edge.classes
        return {kind.name: frozenset(map(ComplianceFramework, kind.requirements)) for kind in kinds}

    def _look_who_is_alive(self) -> None:
        """Whom edges see alive, from the reports that still tell it."""
        now = self._clock.monotonic()
        succeeded, failed = Counter[str](), Counter[str]()
        for report in self._reports.values():
            if report.current(now):
                succeeded += report.succeeded
                failed += report.failed
        alive = seen_alive(succeeded, failed)
        if alive != self.seen.alive:
            self.seen = replace(self.seen, alive=alive)
            self._manager.registry.touch()  # plans are made by it

    async def _count_forever(self) -> None:
        while True:
            await self._told.wait()
            self._told.clear()
            try:
                await self._count()
            except Exception:  # one bad report must not end the evidence
                log.exception("reports of edges not counted")
            await self._clock.sleep(COUNT_EVERY_S)

    async def _count(self) -> None:
        outcomes, self._outcomes = self._outcomes, {}
        for number, ((region_id, service), (succeeded, failed)) in enumerate(outcomes.items(), 1):
            if region_id in self._manager.regions:
                self._manager.report_outcomes(region_id, succeeded, failed, service or None)
            if number % AT_A_STRETCH == 0:
                await asyncio.sleep(0)
        self._tell()

    def _tell(self) -> None:
        """Who sends what, from the reports that are not too old."""
        now = self._clock.monotonic()
        self._reports = {edge_id: r for edge_id, r in self._reports.items() if r.fresh(now) or r.current(now)}
        fresh = {edge_id: report for edge_id, report in self._reports.items() if report.fresh(now)}
        demand = self._demand.told(fresh)
        changed = demand != self.seen.demand
        self.seen = replace(self.seen, demand=demand, carried=self._tell_loads(fresh))
        if changed:
            self._manager.registry.touch()  # plans are made by it

    def _tell_loads(self, reports: Mapping[str, _Report]) -> Mapping[str, float]:
        """Tell the load of each region; what edges send, as it then counts in these, in requests/s."""
        regions = self._manager.regions
        booking = booked(
            {region_id: region.current_capacity for region_id, region in regions.items()},
            {region_id: region.capabilities.max_capacity for region_id, region in regions.items()},
            sum((Counter(report.rates) for report in reports.values()), Counter[str]()),
            self.seen.carried,
            self._declared,
        )
        for region_id, load in booking.told.items():
            self._manager.report_load(region_id, load)
        return booking.carried
