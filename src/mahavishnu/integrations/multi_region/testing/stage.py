"""A running system in memory whose time, regions and store a test moves: the real manager, router and failure handler.

async with Stage.of("eu-west-1", "eu-central-1") as stage:
    stage.fail("eu-west-1")
    await stage.pass_time(60)
    assert stage.tells("eu-west-1") == ["region.registered", "health.changed", "failover.completed"]
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from mahavishnu.integrations.multi_region.core.edges import EdgeSpec
from mahavishnu.integrations.multi_region.core.events import Event, EventKind
from mahavishnu.integrations.multi_region.core.model import HealthCheck, Phase, Point, Region, RegionView, SafetyLimits
from mahavishnu.integrations.multi_region.errors import NoEligibleRegionError
from mahavishnu.integrations.multi_region.ports.dataplane import Load, LoadReport, MemoryDataPlane
from mahavishnu.integrations.multi_region.ports.probe import ProbeResult, ScriptedProbe
from mahavishnu.integrations.multi_region.ports.sink import MemorySink
from mahavishnu.integrations.multi_region.ports.store import Store
from mahavishnu.integrations.multi_region.shell.failure import FailureHandler
from mahavishnu.integrations.multi_region.shell.manager import RegionManager
from mahavishnu.integrations.multi_region.shell.router import RegionAwareRouter
from mahavishnu.integrations.multi_region.shell.steering import Steering

from .builders import region as built
from .virtual_clock import VirtualClock

CHECK = HealthCheck(interval_s=10.0, timeout_s=2.0, fall=2, rise=3, hold_down_s=30.0)
"""How the regions of a stage are probed unless a test says otherwise."""

LONDON = Point(51.5, -0.1)

WELL = ProbeResult(True, 20.0)
FAILED = ProbeResult(False, 2000.0, "no answer")
SHEDDING = ProbeResult(False, 5.0, "no room", shedding=True)


class Stage:
    """Regions that do as they are told, and everything that watches them. Build it with ``Stage.of``."""

    def __init__(self, manager: RegionManager, clock: VirtualClock, probe: ScriptedProbe, sink: MemorySink) -> None:
        self.manager = manager
        self.clock = clock
        self.probe = probe
        self.sink = sink
        self.router = RegionAwareRouter(manager)
        self.plane = MemoryDataPlane()
        self.steering = Steering(manager, self.plane)
        self.handler = FailureHandler(
            manager, self.router, failover_timeout=5.0, drain_timeout=2.0, steering=self.steering
        )

    @classmethod
    @asynccontextmanager
    async def of(
        cls,
        *regions: Region | str,
        store: Store | None = None,
        check: HealthCheck = CHECK,
        limits: SafetyLimits | None = None,
        clock: VirtualClock | None = None,
        probed: bool = True,
        handled: bool = True,
        dice: Callable[[], float] = lambda: 0.5,
        edges: Iterable[str] = (),
    ) -> AsyncIterator[Stage]:
        """A stage with these regions, registered and well. ``probed=False``: real traffic is the only evidence.

        ``handled=False``: nobody acts on verdicts. ``dice``: the jitter of the probes, 0..1. ``edges``: ids of edges
        that carry traffic, in memory and in London; without any, nothing is steered.
        """
        clock, probe, sink = clock or VirtualClock(), ScriptedProbe(), MemorySink()
        manager = RegionManager(
            store=store,
            probe=probe if probed else None,
            clock=clock,
            sinks=[sink],
            health_check=check,
            limits=limits or SafetyLimits(),
            circuit_breaker_threshold=5,
            dice=dice,
        )
        stage = cls(manager, clock, probe, sink)
        await manager.initialize()
        if handled:
            await stage.handler.initialize()
        for one in regions:
            await stage.add(built(one) if isinstance(one, str) else one)
        await stage.steer(*edges)
        try:
            yield stage
        finally:
            await stage.handler.close()
            await stage.steering.close()
            await manager.close()

    async def add(self, region: Region) -> None:
        """Register one region more, well; one that the store knew already is only made well."""
        self.recover(region.region_id, endpoint=region.endpoint)
        if region.region_id not in self.manager.regions:
            await self.manager.register_region(region)

    async def steer(self, *edge_ids: str) -> None:
        """Declare edges that carry traffic; each takes over at once what it is told (see ``plane``)."""
        for number, edge_id in enumerate(edge_ids, len(self.manager.edges)):
            await self.manager.put_edge(EdgeSpec(edge_id, LONDON, listen=f"127.0.0.1:{10_000 + number}"))
            await self.steering.initialize()
        await self.clock.settle()

    # --- what befalls the regions -------------------------------------------------------------

    def answer(self, region_id: str, result: ProbeResult, endpoint: str | None = None) -> None:
        """From now on probes of the region see this."""
        self.answer_with(region_id, lambda: result, endpoint)

    def answer_with(self, region_id: str, script: Callable[[], ProbeResult], endpoint: str | None = None) -> None:
        """From now on probes of the region see what ``script`` says at that moment."""
        self.probe.answers[endpoint or self.manager.regions[region_id].endpoint] = script

    def fail(self, *region_ids: str) -> None:
        """From now on probes of these regions fail."""
        for region_id in region_ids:
            self.answer(region_id, FAILED)

    def recover(self, *region_ids: str, endpoint: str | None = None) -> None:
        """From now on probes of these regions pass."""
        for region_id in region_ids:
            self.answer(region_id, WELL, endpoint)

    def requests(self, region_id: str, *, passed: int = 0, failed: int = 0) -> None:
        """Report real requests, the failed ones last."""
        for ok, times in ((True, passed), (False, failed)):
            for _ in range(times):
                self.manager.report_outcome(region_id, ok, 20.0)

    def carried(
        self,
        edge_id: str,
        region_id: str,
        succeeded: int = 0,
        failed: int = 0,
        *,
        in_flight: int = 0,
        service: str = "default",
        class_name: str | None = None,
    ) -> None:
        """An edge reports what it saw of one region in the last second."""
        done = succeeded + failed
        load = Load(service, class_name or service, region_id, succeeded, failed, in_flight, done + in_flight)
        self.plane.tell(LoadReport(edge_id, 1.0, (load,)))

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, and everything happen that falls into it."""
        await self.clock.advance(seconds)

    # --- what can be seen ---------------------------------------------------------------------

    def view(self, region_id: str) -> RegionView:
        """The region as decisions see it now."""
        return self.manager.snapshot().regions[region_id]

    def phase(self, region_id: str) -> Phase:
        """The verdict on a region now."""
        return self.view(region_id).phase

    def serving(self, **context: Any) -> set[str]:
        """The regions that requests of this context may go to now."""
        return {view.region_id for view in self.router.explain(context).eligible}

    def refusal(self, **context: Any) -> NoEligibleRegionError | None:
        """How the router refuses such a request now, None when it does not."""
        try:
            self.router.preview(context)
        except NoEligibleRegionError as err:
            return err
        return None

    @property
    def events(self) -> list[Event]:
        """Everything that was recorded so far, in order."""
        return [entry.event for entry in self.sink.entries]

    def story(self, *, without: Iterable[EventKind] = (EventKind.REGION_REGISTERED,)) -> list[tuple[str, str]]:
        """Kind and subject of every event, in order, but for those kinds that set the scene."""
        left_out = set(without)
        return [(event.kind.value, event.subject) for event in self.events if event.kind not in left_out]

    def tells(self, subject: str) -> list[str]:
        """The kinds of events that happened to one region, in order."""
        return [event.kind.value for event in self.events if event.subject == subject]

    def count(self, kind: EventKind, subject: str | None = None) -> int:
        """How many events of a kind there were, of one subject or in all."""
        return sum(event.kind is kind and subject in (None, event.subject) for event in self.events)
