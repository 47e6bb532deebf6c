"""What the server says of itself to machines: alive, ready, and its figures for Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from mahavishnu.integrations.multi_region.adapters.sinks.metrics import (
    EdgeFigures,
    MetricsSink,
    MetricsSnapshot,
    RegionFigures,
    RoundTripFigures,
    exposition,
)
from mahavishnu.integrations.multi_region.core.model import RegionView
from mahavishnu.integrations.multi_region.core.safety import in_service
from mahavishnu.integrations.multi_region.errors import UnavailableError
from mahavishnu.integrations.multi_region.shell.edges.overview import EdgeOverview
from mahavishnu.integrations.multi_region.system import MultiRegionSystem

from .auth import Role
from .edges import edges_seen
from .routes import Doors
from .schemas_v1 import HealthzAnswer, ReadyzAnswer

STORE_DEADLINE_S = 2.0


class Telemetry:
    """``/healthz``, ``/readyz`` and ``/metrics``. ``sink``: the one that the system was given, for events by kind."""

    def __init__(self, system: MultiRegionSystem, sink: MetricsSink | None) -> None:
        self._system = system
        self._manager = system.region_manager
        self._router = system.router
        self._handler = system.failure_handler
        self._sink = sink

    def add_to(self, doors: Doors, open_doors: Doors) -> None:
        """Add them; who asks whether the server lives needs no token."""
        open_doors.add("GET", "/healthz", self.alive, Role.VIEWER, HealthzAnswer)
        open_doors.add("GET", "/readyz", self.ready, Role.VIEWER, ReadyzAnswer, problems=(503,))
        figures = {"description": "Figures for Prometheus.", "content": {"text/plain": {"schema": {"type": "string"}}}}
        doors.add(
            "GET", "/metrics", self.metrics, Role.VIEWER, None, responses={200: figures}, response_class=_PlainText
        )

    async def alive(self) -> Mapping[str, Any]:
        """The process is alive; says nothing of what it depends on."""
        return {"status": "alive"}

    async def ready(self) -> Mapping[str, Any]:
        """Whether the server has read its store and can reach it now."""
        if not self._manager.initialized:
            raise UnavailableError("the regions were not read from the store, or are not followed any more")
        try:
            async with asyncio.timeout(STORE_DEADLINE_S):
                await self._manager.store.load(limit=1)
        except TimeoutError as err:
            raise UnavailableError(f"the store did not answer within {STORE_DEADLINE_S:g} s") from err
        return {"status": "ready", "revision": self._manager.registry.revision}

    async def metrics(self) -> Response:
        """Figures in Prometheus' text form."""
        return Response(await exposition(self.snapshot()), media_type=CONTENT_TYPE_LATEST)

    def snapshot(self) -> MetricsSnapshot:
        """The figures as they are now."""
        failovers = self._handler.get_failover_stats()
        return MetricsSnapshot(
            regions=tuple(_figures(view) for view in self._manager.snapshot().regions.values()),
            decisions=dict(self._router.decisions),
            refused={"route": self._router.get_routing_stats()["refused"], "failover": failovers["refused_failovers"]},
            events={} if self._sink is None else dict(self._sink.events),
            failovers=failovers["total_failovers"],
            failover_seconds=failovers["total_duration_ms"] / 1000.0,
            edges=self._edges(),
            round_trips=self._round_trips(),
        )

    def _round_trips(self) -> RoundTripFigures:
        now = self._manager.round_trips.stats()
        return RoundTripFigures(now.observed, now.refused, now.regions, now.cells, now.unwritten)

    def _edges(self) -> tuple[EdgeFigures, ...]:
        seen = edges_seen(self._system)
        ids = dict.fromkeys([*self._manager.edges, *seen])
        return tuple(_edge_figures(edge_id, seen.get(edge_id)) for edge_id in ids)


class _PlainText(Response):
    """Text, for the OpenAPI document."""

    media_type = "text/plain"


def _edge_figures(edge_id: str, seen: EdgeOverview | None) -> EdgeFigures:
    if seen is None:
        return EdgeFigures(edge_id)
    astray = sum(len(regions) for regions in seen.astray.values())
    rates = dict(seen.rates) if seen.connected else {}  # of one that is gone, they are of long ago
    serving = seen.serving if seen.connected else None
    return EdgeFigures(edge_id, seen.connected, seen.synced, len(seen.rejections), astray, rates, serving)


def _figures(view: RegionView) -> RegionFigures:
    return RegionFigures(
        region_id=view.region_id,
        phase=view.phase,
        health_score=view.health_score,
        load=view.load,
        max_capacity=view.max_capacity,
        serving=in_service(view),
    )
