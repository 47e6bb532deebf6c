"""Says when every edge has taken a shift of traffic over, and which lag (L14). Decides nothing, holds nothing up."""

from __future__ import annotations

import asyncio

from mahavishnu.integrations.multi_region.core.deployment import DeploymentView
from mahavishnu.integrations.multi_region.core.events import Event, EventKind

from .manager import RegionManager
from .steering import Steering

PATIENCE_S = 5.0
"""How long an edge may take before it is said to lag."""


class Shifts:
    """Owns one task for each shift that edges have not all acknowledged. ``steering``: None without edges."""

    def __init__(self, manager: RegionManager, steering: Steering | None) -> None:
        self._manager = manager
        self._steering = steering
        self._clock = manager.clock
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def follow(self, before: DeploymentView | None, after: DeploymentView, revision: int) -> None:
        """A deployment was written at a revision of intent: where that moves traffic, see it through."""
        moved = before is None or before.weights != after.weights or before.active != after.active
        if self._steering is None or not moved or not self._steering.connected():
            return
        overtaken = self._tasks.pop(after.deployment_id, None)
        if overtaken is not None:
            overtaken.cancel()
        task = asyncio.create_task(self._see_through(self._steering, after, revision), name="shift at edges")
        self._tasks[after.deployment_id] = task

    async def seen_through(self, deployment_id: str) -> None:
        """Wait until every edge has acknowledged the latest shift of a deployment, or the time for it is up."""
        while (task := self._tasks.get(deployment_id)) is not None:
            await asyncio.wait({task})
            if self._tasks.get(deployment_id) is task:
                del self._tasks[deployment_id]

    async def close(self) -> None:
        """Wait no more."""
        tasks, self._tasks = list(self._tasks.values()), {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _see_through(self, steering: Steering, view: DeploymentView, revision: int) -> None:
        began = self._clock.monotonic()
        settlement = await steering.settled(revision, PATIENCE_S)
        details = {
            "state": view.state.value,
            "step": view.step,
            "weights": view.weights,
            "revision": revision,
            "acknowledged_by": list(settlement.acknowledged_by),
            "lagging": list(settlement.lagging),
            "duration_ms": 1000.0 * (self._clock.monotonic() - began),
        }
        kind, at = EventKind.DEPLOYMENT_ACKNOWLEDGED, self._clock.now()
        event = Event(kind, at, view.deployment_id, reason=settlement.reason, details=details)
        self._manager.recorder.soon(event)
