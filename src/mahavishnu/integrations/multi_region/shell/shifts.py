"""Says when every edge has taken a shift of traffic over, and which lag (L14). Decides nothing, holds nothing up."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from mahavishnu.integrations.multi_region.core.deployment import DeploymentView
from mahavishnu.integrations.multi_region.core.events import Event, EventKind

from .manager import RegionManager
from .steering import Settlement, Steering

PATIENCE_S = 5.0
"""How long an edge may take before it is said to lag."""


@dataclass(frozen=True, slots=True)
class _Shift:
    """A deployment as it was written at a revision of intent, at ``began`` (monotonic seconds)."""

    view: DeploymentView
    revision: int
    began: float


class Shifts:
    """Owns one task for each shift that edges have not all acknowledged. ``steering``: None without edges."""

    def __init__(self, manager: RegionManager, steering: Steering | None) -> None:
        self._manager = manager
        self._steering = steering
        self._clock = manager.clock
        self._under_way: dict[str, tuple[_Shift, asyncio.Task[None]]] = {}

    def follow(self, before: DeploymentView | None, after: DeploymentView, revision: int) -> None:
        """A deployment was written at a revision of intent: where that moves traffic, see it through.

        A shift that is overtaken by the next one is recorded as far as it came, unless it gave nobody traffic.
        """
        moved = before is None or before.weights != after.weights or before.active != after.active
        if self._steering is None or not moved or not self._steering.connected():
            return
        overtaken, task = self._under_way.pop(after.deployment_id, (None, None))
        if overtaken is not None and task is not None and not task.done():
            task.cancel()
            if any(overtaken.view.weights.values()):
                self._record(overtaken, self._steering.settlement(overtaken.revision), overtaken=True)
        shift = _Shift(after, revision, self._clock.monotonic())
        task = asyncio.create_task(self._see_through(self._steering, shift), name="shift at edges")
        self._under_way[after.deployment_id] = shift, task

    async def seen_through(self, deployment_id: str) -> None:
        """Wait until every edge has acknowledged the latest shift of a deployment, or the time for it is up."""
        while (latest := self._under_way.get(deployment_id)) is not None:
            await asyncio.wait({latest[1]})
            if self._under_way.get(deployment_id) is latest:
                del self._under_way[deployment_id]

    async def close(self) -> None:
        """Wait no more."""
        tasks, self._under_way = [task for _, task in self._under_way.values()], {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _see_through(self, steering: Steering, shift: _Shift) -> None:
        self._record(shift, await steering.settled(shift.revision, PATIENCE_S), overtaken=False)

    def _record(self, shift: _Shift, settlement: Settlement, *, overtaken: bool) -> None:
        view, kind = shift.view, EventKind.DEPLOYMENT_ACKNOWLEDGED
        details = {
            "state": view.state.value,
            "step": view.step,
            "weights": view.weights,
            "revision": shift.revision,
            "acknowledged_by": list(settlement.acknowledged_by),
            "lagging": list(settlement.lagging),
            "rejected": list(settlement.rejected),
            "overtaken": overtaken,
            "duration_ms": 1000.0 * (self._clock.monotonic() - shift.began),
        }
        why = f"overtaken by the next shift: {settlement.reason}" if overtaken else settlement.reason
        self._manager.recorder.soon(Event(kind, self._clock.now(), view.deployment_id, reason=why, details=details))
