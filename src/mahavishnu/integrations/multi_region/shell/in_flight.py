"""Waits until requests in flight to a region have ended: by what edges report, or without any by the region's load."""

from __future__ import annotations

import structlog

from .manager import RegionManager
from .steering import Steering

LOOK_S = 0.05
"""How often the load of a region is looked at."""

log = structlog.get_logger(__name__)


class InFlight:
    """Waits for ``timeout_s`` at most. ``steering``: None without edges."""

    def __init__(self, manager: RegionManager, steering: Steering | None, timeout_s: float) -> None:
        self._manager = manager
        self._steering = steering
        self._clock = manager.clock
        self._timeout_s = timeout_s

    async def ended(self, region_id: str, revision: int) -> tuple[str, ...]:
        """Wait until a region that left service at a revision of intent has no request any more.

        The edges that may still have one then: those that do when the time is up, and those that are declared and do
        not listen to us, for which nobody waits.
        """
        busy: tuple[str, ...] = ()
        if self._steering is None or not self._steering.connected():
            await self._until_idle(region_id)
        else:
            busy = await self._steering.emptied(region_id, revision, self._timeout_s)
        unheard = () if self._steering is None else self._steering.unheard()
        self._warn(region_id, busy, unheard)
        return tuple(sorted({*busy, *unheard}))

    def _warn(self, region_id: str, busy: tuple[str, ...], unheard: tuple[str, ...]) -> None:
        if busy and self._steering is not None:
            left = self._steering.in_flight(region_id)
            log.warning("requests still in flight", region=region_id, edges=list(busy), last_reported=left)
        if unheard:
            log.warning("edges that do not listen may still use a region", region=region_id, edges=list(unheard))

    async def _until_idle(self, region_id: str) -> None:
        """Until the region reports no load any more, or the time is up."""
        region = self._manager.regions.get(region_id)
        deadline = self._clock.monotonic() + self._timeout_s
        while region is not None and region.current_capacity > 0 and self._clock.monotonic() < deadline:
            await self._clock.sleep(min(LOOK_S, self._timeout_s))
