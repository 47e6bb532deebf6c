"""RegionManager: registers regions, watches their health, hands out Fleet snapshots, carries the operator's word.

Every change of intent is one store transaction with its event; it counts only once the store has it.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from mahavishnu.integrations.multi_region.core.edges import EdgeSpec
from mahavishnu.integrations.multi_region.core.events import Event, EventKind
from mahavishnu.integrations.multi_region.core.health import HealthState
from mahavishnu.integrations.multi_region.core.intent import (
    Change,
    World,
)
from mahavishnu.integrations.multi_region.core.model import (
    DataPlacementPolicy,
    Fleet,
    HealthCheck,
    Phase,
    Region,
    RegionHealth,
    RegionView,
    SafetyLimits,
    Service,
)
from mahavishnu.integrations.multi_region.core.overrides import BreakGlass, Drain, Failure, Freeze
from mahavishnu.integrations.multi_region.core.safety import in_service
from mahavishnu.integrations.multi_region.core.validation import check_count, check_load, check_outcome, check_outcomes
from mahavishnu.integrations.multi_region.errors import UnknownRegionError
from mahavishnu.integrations.multi_region.ports.clock import Clock, SystemClock
from mahavishnu.integrations.multi_region.ports.probe import Probe
from mahavishnu.integrations.multi_region.ports.sink import Sink
from mahavishnu.integrations.multi_region.ports.store import MemoryStore, Store
from mahavishnu.integrations.multi_region.settings import Settings, load_settings

from .evidence import Evidence
from .follower import Follower
from .guard import Listener, ServingGuard
from .intentions import Intentions
from .journal import Journal
from .monitor import HealthMonitor, MonitorHooks
from .operations import Operations
from .readings import health_seen, stats
from .recorder import Recorder
from .registry import Registry
from .rtt import RttBook

T = TypeVar("T")

_DICE = random.Random()
"""Our own: whoever seeds or watches the module's is not disturbed."""


class RegionManager:
    """The regions, their health, and what stands over them.

    Built from nothing it keeps everything in memory and probes nobody; ``create_multi_region_system`` gives it real
    probes and a store. Times in seconds; None takes the setting of that name.
    Whatever is written may raise StaleRevisionError, when somebody else was first, and nothing is changed then; and
    StoreError, when the store does not answer: whether it was changed is not known.
    """

    def __init__(
        self,
        *,
        store: Store | None = None,
        probe: Probe | None = None,
        clock: Clock | None = None,
        sinks: Sequence[Sink] = (),
        health_check: HealthCheck | None = None,
        circuit_breaker_threshold: int | None = None,
        limits: SafetyLimits | None = None,
        settings: Settings | None = None,
        dice: Callable[[], float] = _DICE.random,
    ) -> None:
        settings = settings or load_settings()
        self.clock = clock or SystemClock()
        self.store = store or MemoryStore()
        self.journal = Journal(self.store, self.clock, sinks)
        self.recorder = Recorder(self.journal, self.clock)
        self.registry = Registry(limits or settings.safety_limits(), self.clock.now)
        self.guard = ServingGuard(self.registry, self.recorder, self.clock)
        self.health_check = health_check or settings.health_check()
        self.failover_timeout, self.drain_timeout = settings.failover_timeout, settings.drain_timeout
        self.hot_data_threshold = settings.hot_data_threshold
        self.monitor = HealthMonitor(
            regions=self.registry.regions,
            states=self.registry.health,
            clock=self.clock,
            probe=probe,
            default_check=self.health_check,
            breaker_threshold=settings.circuit_breaker_threshold
            if circuit_breaker_threshold is None
            else check_count(circuit_breaker_threshold, "circuit_breaker_threshold"),
            blind_share=lambda: self.registry.limits.blind_share,
            hooks=MonitorHooks(self.guard.changed, self._blindness_changed, self.guard.review),
            dice=dice,
        )
        self.evidence = Evidence()
        self.round_trips = RttBook(self.store.commit, clock=self.clock)
        self._intentions = Intentions(self.registry, self.journal, self.clock, settings.target_rules())
        self._follower = Follower(self.registry, self.store, self.clock, self._table_changed, self.round_trips)
        self._operations = Operations(self.registry, self.journal, self.clock, self._follower.reload)

    # --- life ---------------------------------------------------------------------------------

    async def initialize(self) -> None:
        """Load what the store holds, then watch the store and the regions. Safe to call twice."""
        await self._follower.start()
        self.monitor.start()
        await self.round_trips.start()

    @property
    def initialized(self) -> bool:
        """Whether it follows its store: after ``initialize``, before ``close``."""
        return self._follower.running

    async def close(self) -> None:
        """Stop watching, record what is waiting, let go of probes and store."""
        await self.monitor.close()
        await self.recorder.close()
        await self.round_trips.close()
        await self._follower.close()
        await self.journal.close()
        await self.store.close()

    async def __aenter__(self) -> RegionManager:
        await self.initialize()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # --- what the spec names ------------------------------------------------------------------

    @property
    def regions(self) -> dict[str, Region]:
        """The registered regions by id; mutable, and a change is seen by the next decision."""
        return self.registry.regions

    async def register_region(self, region: Region, *, actor: str = "library") -> list[str]:
        """Add a region; returns warnings about what is allowed but probably not meant.

        Raises InvalidInputError naming the field, DuplicateRegionError; then nothing was changed.
        """
        warnings = await self._intentions.register(region, actor)
        self._table_changed()
        return warnings

    async def update_region(self, region: Region, *, actor: str = "library") -> list[str]:
        """Replace a region's declaration. Raises UnknownRegionError, InvalidInputError."""
        return await self._intentions.update(region, actor)

    async def unregister_region(self, region_id: str, *, actor: str = "library") -> None:
        """Remove a region. Raises UnknownRegionError; RefusedError while a service or deployment uses it."""
        await self._intentions.unregister(region_id, actor)
        self._table_changed()

    def get_region(self, region_id: str) -> Region:
        """The region of that id. Raises UnknownRegionError naming the nearest."""
        region = self.regions.get(region_id)
        if region is None:
            raise UnknownRegionError(region_id, list(self.regions))
        return region

    def list_regions(self, healthy_only: bool = False) -> list[Region]:
        """Registered regions in order; with ``healthy_only`` those whose health and operator welcome traffic."""
        fleet = self.snapshot()
        if not healthy_only:
            return list(self.regions.values())
        return [
            self.regions[view.region_id]
            for view in fleet.regions.values()
            if view.phase is Phase.HEALTHY and in_service(view)
        ]

    async def get_region_health(self, region_id: str) -> RegionHealth:
        """What is known of a region's health. Raises UnknownRegionError."""
        return self.health_of(region_id)

    def health_of(self, region_id: str) -> RegionHealth:
        """What is known of a region's health now, told without awaiting. Raises UnknownRegionError."""
        region = self.get_region(region_id)
        return self.health_seen(region, self.snapshot().regions[region_id], self.monitor.states.get(region_id))

    def health_seen(self, region: Region, view: RegionView, state: HealthState | None) -> RegionHealth:
        """A region's health as it was seen: its declaration, its view in a fleet, its state then (None: none yet).

        For who looks at many regions over several turns of the event loop, and is to see them as they were at once.
        """
        return health_seen(region, view, state, self.clock)

    def get_stats(self) -> dict[str, Any]:
        """Counts of regions by health, load and capacity in all, and what is wrong with the watching itself.

        Whole numbers: ``total_regions``, ``healthy_regions``, ``regions_by_phase``, ``revision``. In the regions' unit:
        ``total_capacity``, ``current_capacity``; of these ``capacity_utilization`` in percent. Lists of ids:
        ``drained_regions``, ``failed_over_regions``. ``held_regions``: why, by id. Of the watching: ``observer_blind``,
        ``automation_frozen`` (why, or None), ``store_lost``.
        """
        return stats(self.registry, self.monitor, self.recorder)

    # --- evidence -----------------------------------------------------------------------------

    def report_outcome(
        self, region_id: str, ok: bool, latency_ms: float | None = None, service: str | None = None
    ) -> None:
        """Tell how a real request to a region went, for a service when known (L4), and how long it took, in ms.

        Raises UnknownRegionError, InvalidInputError; then nothing was counted.
        """
        self.get_region(region_id)
        check_outcome(ok, latency_ms, service)
        self.evidence.count(region_id, ok, latency_ms, service)
        self.monitor.report(region_id, ok, latency_ms)

    def report_outcomes(self, region_id: str, succeeded: int, failed: int, service: str | None = None) -> None:
        """Tell how many real requests to a region went well and how many did not, for a service when known (L4).

        Counts as that many ``report_outcome``, failures spread evenly, at a cost that does not grow with the counts.
        Raises UnknownRegionError, InvalidInputError; then nothing was counted.
        """
        self.get_region(region_id)
        check_outcomes(succeeded, failed, service)
        if succeeded or failed:
            self.evidence.count_many(region_id, succeeded, failed, service)
            self.monitor.report_many(region_id, succeeded, failed)

    def report_load(self, region_id: str, load: float) -> None:
        """Tell a region's load now, in the unit of its limit. Raises UnknownRegionError, InvalidInputError."""
        check_load(load)
        self.get_region(region_id)
        self.registry.observe_load(region_id, load)

    def doubt_since(self, region_id: str) -> float | None:
        """Monotonic time in seconds of the first bad sign in a region's current trouble; None when there is none."""
        return self.monitor.states.get(region_id, HealthState()).doubt_since

    def subscribe(self, listener: Listener) -> None:
        """Be told of each verdict that takes effect; the listener must return at once."""
        self.guard.subscribe(listener)

    def unsubscribe(self, listener: Listener) -> None:
        """Be told no more."""
        self.guard.unsubscribe(listener)

    # --- intent -------------------------------------------------------------------------------

    def snapshot(self) -> Fleet:
        """Everything a decision needs, frozen; the same object until something changes."""
        return self.registry.fleet()

    @property
    def services(self) -> Mapping[str, Service]:
        """The declared services by name."""
        return self.registry.services

    @property
    def policies(self) -> Mapping[str, DataPlacementPolicy]:
        """The registered policies by id."""
        return self.registry.policies

    async def apply(self, world: World, *, dry_run: bool = False, actor: str = "library") -> list[Change]:
        """Make the declared world the intent, all or nothing; returns what changed, or would.

        Raises InvalidInputError and its kin for a world that does not hold together, StaleRevisionError when somebody
        changed the same thing meanwhile, RefusedError when it would empty a service; then nothing was changed.
        """
        changes = await self._intentions.apply(world, dry_run, actor)
        self._table_changed()
        return changes

    async def put_service(self, service: Service, *, actor: str = "library") -> None:
        """Declare or replace one service. Raises InvalidInputError, UnknownPolicyError, UnknownRegionError."""
        await self._intentions.put_service(service, actor)

    async def remove_service(self, name: str, *, actor: str = "library") -> None:
        """Remove one service. Raises UnknownServiceError."""
        await self._intentions.remove_service(name, actor)

    async def put_policy(self, policy: DataPlacementPolicy, *, actor: str = "library") -> None:
        """Register or replace one policy. Raises InvalidInputError naming the field, UnknownRegionError."""
        await self._intentions.put_policy(policy, actor)

    @property
    def edges(self) -> Mapping[str, EdgeSpec]:
        """The declared edges by id."""
        return self.registry.edges

    async def put_edge(self, edge: EdgeSpec, *, actor: str = "library") -> None:
        """Declare or replace one edge. Raises InvalidInputError naming the field."""
        await self._intentions.put_edge(edge, actor)

    async def remove_edge(self, edge_id: str, *, actor: str = "library") -> None:
        """Remove one edge. Raises UnknownEdgeError."""
        await self._intentions.remove_edge(edge_id, actor)

    async def put_placement(self, data_id: str, regions: tuple[str, ...]) -> None:
        """Remember which regions hold a piece of data. Raises UnknownRegionError."""
        for region_id in regions:
            self.get_region(region_id)
        await self._operations.put_placement(data_id, regions)

    def holders(self, data_id: str) -> tuple[str, ...]:
        """The ids of the regions known to hold a piece of data, the primary first; empty when none is."""
        return self.registry.placements.get(data_id, ())

    # --- the operator's word ------------------------------------------------------------------

    async def drain(
        self,
        region_id: str,
        *,
        by: str,
        reason: str,
        override: BreakGlass | None = None,
        finished: bool = True,
        busy_edges: Sequence[str] = (),
    ) -> Drain:
        """Take a region out of service until ``undrain`` (L11); ``finished=False`` leaves it draining.

        ``busy_edges``: those that may still have requests in flight to it, for the record.
        Raises UnknownRegionError; FailoverRefusedError when a safety rule forbids it (L7, L9).
        """
        self.get_region(region_id)
        return await self._operations.drain(region_id, by, reason, override, finished, busy_edges)

    async def undrain(self, region_id: str, *, by: str, reason: str = "") -> None:
        """Lift an operator's drain. Raises UnknownRegionError; RefusedError when there is none."""
        self.get_region(region_id)
        await self._operations.undrain(region_id, by, reason)

    async def freeze(self, *, by: str, reason: str) -> Freeze:
        """Stop automation: verdicts are still reached, nothing is moved until ``unfreeze``."""
        return await self._operations.freeze(by, reason)

    async def unfreeze(self, *, by: str, reason: str = "") -> None:
        """Let automation act again; regions held meanwhile are looked at at once.

        Raises RefusedError when it was not frozen.
        """
        await self._operations.unfreeze(by, reason)
        self.guard.review()

    async def write_documents(self, documents: Mapping[str, Any], events: Sequence[Event]) -> int:
        """Write documents over what is known to stand there, with their events; the store's revision.

        Raises StaleRevisionError when somebody wrote one of them meanwhile; then nothing was changed.
        """
        return await self._operations.write(documents, events)

    async def reread(self, keys: Iterable[str]) -> None:
        """Know at once what the store holds under some keys, after somebody else was first. Raises StoreError."""
        await self._follower.reread(keys)

    async def mark_failed(
        self, region_id: str, failure: Failure, event: Event, override: BreakGlass | None = None
    ) -> int:
        """Record that a region's traffic was moved away; the store's revision. Used by FailureHandler.

        Raises StaleRevisionError when another region left service meanwhile: see ``unless_overtaken``.
        """
        events = [*self._operations.used(override, region_id), event]
        return await self._operations.mark_failed(region_id, failure, events)

    async def unless_overtaken(self, act: Callable[[], Awaitable[T]]) -> T:
        """What ``act`` comes to: it decides on a removal and writes it, and anew when another region left meanwhile."""
        return await self._operations.unless_overtaken(act)

    async def clear_failed(self, region_id: str, event: Event, keep: Failure | None = None) -> int:
        """Record that a region's traffic may return (except for what ``keep`` still names)."""
        return await self._operations.clear_failed(region_id, event, keep)

    def _table_changed(self) -> None:
        """Regions may have come, gone or moved."""
        self.monitor.follow_table()
        self.round_trips.follow(self.snapshot().regions)

    def _blindness_changed(self, blind: bool) -> None:
        kind = EventKind.OBSERVER_BLIND if blind else EventKind.OBSERVER_SIGHTED
        failing = [rid for rid, state in self.monitor.states.items() if state.fails]
        why = (
            "most targets fail at once: the observer is distrusted, regions are kept"
            if blind
            else "most of the targets that are not down answer"
        )
        self.recorder.soon(Event(kind, self.clock.now(), "observer", reason=why, details={"failing": failing}))
