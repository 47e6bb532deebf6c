"""Gives traffic back to a region that was failed over, except to services whose failback is a person's choice (L17)."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from mahavishnu.integrations.multi_region.core.events import Event, EventKind
from mahavishnu.integrations.multi_region.core.model import Phase
from mahavishnu.integrations.multi_region.core.overrides import Cause, Failure
from mahavishnu.integrations.multi_region.core.recovery import RecoveryEvent, load_returned, waiting_services
from mahavishnu.integrations.multi_region.errors import RefusedError

from .manager import RegionManager


class GivingBack:
    """Recovers regions and keeps the account of it. ``total``: recoveries so far."""

    def __init__(self, manager: RegionManager, kept: int) -> None:
        self._manager = manager
        self._clock = manager.clock
        self.recoveries: deque[RecoveryEvent] = deque(maxlen=kept)
        self.total = 0

    async def on_request(self, region_id: str, by: str, reason: str) -> RecoveryEvent:
        """By a person's word: everything returns. Raises RefusedError when it was not failed over or is not healthy."""
        view = self._manager.snapshot().regions[region_id]
        if view.failed_over is None:
            raise RefusedError("not_failed_over", f"{region_id} was not failed over")
        if view.phase is not Phase.HEALTHY:
            score = f"{view.health_score:.1f}"
            text = f"{region_id} is {view.phase.value} (score {score}): only a healthy region takes traffic back"
            raise RefusedError("not_healthy", text)
        return await self._recover(region_id, by, reason or "recovered", Cause.OPERATOR)

    async def on_verdict(self, region_id: str, reason: str) -> None:
        """Give back what automation took, except to services whose failback is a person's choice (L17)."""
        failure = self._manager.registry.failures[region_id]
        if failure.cause is not Cause.VERDICT or self._manager.snapshot().frozen is not None:
            return
        if not self._manager.monitor.proven(region_id):
            return  # the review looks again
        waiting = waiting_services(self._manager.snapshot(), region_id)
        if failure.services is not None:
            waiting = tuple(name for name in waiting if name in failure.services)
        if waiting != failure.services:
            await self._recover(region_id, "automation", reason, Cause.VERDICT, waiting)

    async def _recover(
        self, region_id: str, by: str, reason: str, cause: Cause, waiting: tuple[str, ...] = ()
    ) -> RecoveryEvent:
        failure = self._manager.registry.failures[region_id]
        keep = replace(failure, services=waiting, moved={}, heirs={}) if waiting else None
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
        await self._manager.clear_failed(region_id, record, keep)
        self._give_load_back(region_id, failure)
        self.recoveries.append(event)
        self.total += 1
        return event

    def _give_load_back(self, region_id: str, failure: Failure) -> None:
        regions = self._manager.regions
        loads = {name: regions[name].current_capacity for name in (region_id, *failure.moved) if name in regions}
        for name, load in load_returned(region_id, failure.moved, loads).items():
            regions[name].current_capacity = load
