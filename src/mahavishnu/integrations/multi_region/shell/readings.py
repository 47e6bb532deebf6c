"""What people and programs are told of regions' health and of all of them together. Reads, and changes nothing."""

from __future__ import annotations

from typing import Any

from mahavishnu.integrations.multi_region.core.health import HealthState
from mahavishnu.integrations.multi_region.core.model import Phase, Region, RegionHealth, RegionView
from mahavishnu.integrations.multi_region.ports.clock import Clock

from .monitor import HealthMonitor
from .recorder import Recorder
from .registry import Registry


def health_seen(region: Region, view: RegionView, state: HealthState | None, clock: Clock) -> RegionHealth:
    """A region's health by its declaration, its view in a fleet, and its state then (None: none yet)."""
    state = state or HealthState()
    stated = not state.judged and region.health_score is not None
    return RegionHealth(
        region_id=view.region_id,
        status=view.phase,
        health_score=view.health_score,
        error_rate=state.error_rate,
        capacity_utilization=region.capacity_utilization,
        latency_ms=state.latency_ms,
        reason="stated by its owner" if stated else state.reason,
        consecutive_failures=state.fails,
        consecutive_successes=state.passes,
        last_checked=_seen_at(state, clock),
        circuit_breaker=state.breaker.value,
        admin_state=view.admin,
        held=view.held,
    )


def _seen_at(state: HealthState, clock: Clock) -> float | None:
    """When a region last gave evidence, in seconds since the epoch."""
    if state.last_seen is None:
        return None
    return clock.now() - (clock.monotonic() - state.last_seen)


def stats(registry: Registry, monitor: HealthMonitor, recorder: Recorder) -> dict[str, Any]:
    """Counts of regions by health, load and capacity in all, and what is wrong with the watching itself."""
    fleet = registry.fleet()
    views = fleet.regions.values()
    by_phase = {phase.value: sum(v.phase is phase for v in views) for phase in Phase}
    capacity, load = sum(v.max_capacity for v in views), sum(v.load for v in views)
    return {
        "total_regions": len(views),
        "healthy_regions": by_phase[Phase.HEALTHY.value],
        "regions_by_phase": by_phase,
        "total_capacity": capacity,
        "current_capacity": load,
        "capacity_utilization": 100.0 * load / capacity if capacity else 0.0,
        "drained_regions": sorted(registry.drains),
        "failed_over_regions": sorted(registry.failures),
        "held_regions": {region_id: held[0].text for region_id, held in registry.held.items()},
        "observer_blind": monitor.blind,
        "automation_frozen": fleet.frozen,
        "store_lost": recorder.store_lost,
        "revision": registry.revision,
    }
