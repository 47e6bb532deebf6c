"""``/v1/edges``: the proxies that carry traffic: declare and remove them, and see how far each has come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Response

from mahavishnu.integrations.multi_region.errors import RefusedError, UnknownEdgeError, nearest_hint
from mahavishnu.integrations.multi_region.shell.edges.overview import EdgeOverview
from mahavishnu.integrations.multi_region.shell.manager import RegionManager
from mahavishnu.integrations.multi_region.system import MultiRegionSystem

from .auth import Role
from .edge_bodies import EdgeAnswer, EdgeBody, ReportBody
from .guarding import Actor
from .problems import not_found
from .routes import WRITES, Doors, LongRoute

_TOLD = (
    "connected",
    "acknowledged",
    "current",
    "synced",
    "rejections",
    "serving",
    "rates",
    "in_flight",
    "astray",
    "version",
    "read_back_age_s",
)


class Edges:
    """The endpoints about edges."""

    def __init__(self, system: MultiRegionSystem) -> None:
        self._system = system
        self._manager = system.region_manager

    def add_to(self, doors: Doors) -> None:
        """Add them to a router."""
        edge = "/v1/edges/{edge_id}"
        doors.add("GET", "/v1/edges", self.edges, Role.VIEWER, list[EdgeAnswer])
        doors.add("GET", edge, self.edge, Role.VIEWER, EdgeAnswer)
        doors.add("PUT", edge, self.put_edge, Role.ADMIN, EdgeAnswer, problems=WRITES)
        doors.add(
            "DELETE",
            edge,
            self.remove_edge,
            Role.ADMIN,
            None,
            status=204,
            problems=WRITES,
            response_class=Response,
        )

        doors.add(
            "POST",
            edge + "/report",
            self.take_report,
            Role.OPERATOR,
            None,
            status=204,
            problems=(409,),
            response_class=Response,
            route_class_override=LongRoute,
        )

    async def edges(self) -> list[Mapping[str, Any]]:
        """Each edge that is declared or connected."""
        return views_of_edges(self._system)

    async def edge(self, edge_id: str) -> Mapping[str, Any]:
        """One edge."""
        return self._view(edge_id)

    async def put_edge(self, edge_id: str, body: EdgeBody, actor: Actor) -> Mapping[str, Any]:
        """Declare an edge, or replace its declaration; what is left out takes its default again."""
        await self._manager.put_edge(body.edge(edge_id, self._manager.regions), actor=actor)
        return self._view(edge_id)

    async def remove_edge(self, edge_id: str, actor: Actor) -> None:
        """Remove an edge's declaration; it goes on with what it was told last."""
        if edge_id not in self._manager.edges:
            raise unknown_edge(edge_id, list(self._manager.edges))
        await self._manager.remove_edge(edge_id, actor=actor)

    async def take_report(self, edge_id: str, body: ReportBody) -> None:
        """Take what an edge really holds, as its agent read it: what is not as it was told becomes an event."""
        if edge_id not in self._manager.edges:
            raise unknown_edge(edge_id, list(self._manager.edges))
        if self._system.steering is None:
            raise RefusedError("no_edges", "this controller serves no edges: it was started without --xds")
        self._system.steering.take_report(body.report(edge_id))

    def _view(self, edge_id: str) -> Mapping[str, Any]:
        views = {view["edge_id"]: view for view in views_of_edges(self._system)}
        if edge_id not in views:
            raise unknown_edge(edge_id, list(views))
        return views[edge_id]


def unknown_edge(edge_id: str, known: list[str]) -> Exception:
    """The 404 problem for a path that names no edge, with the nearest that there is."""
    return not_found(UnknownEdgeError("edge_id", edge_id, nearest_hint(edge_id[:80], known)))


def views_of_edges(system: MultiRegionSystem) -> list[Mapping[str, Any]]:
    """Every edge that is declared or connected, as it is answered; declared ones first."""
    seen = edges_seen(system)
    ids = dict.fromkeys([*system.region_manager.edges, *seen])
    return [_view_of(system.region_manager, edge_id, seen.get(edge_id)) for edge_id in ids]


def edges_seen(system: MultiRegionSystem) -> Mapping[str, EdgeOverview]:
    """What is known of each edge beside its declaration, by id; empty where the system steers no traffic."""
    return {} if system.steering is None else system.steering.edges()


def traffic_by_region(system: MultiRegionSystem) -> dict[str, float]:
    """Requests/s that each region gets from all connected edges together, as they last reported."""
    rates: dict[str, float] = {}
    for seen in edges_seen(system).values():
        for region_id, rate in seen.rates.items() if seen.connected else ():
            rates[region_id] = rates.get(region_id, 0.0) + rate
    return rates


def _view_of(manager: RegionManager, edge_id: str, seen: EdgeOverview | None) -> Mapping[str, Any]:
    spec = manager.edges.get(edge_id)
    told = dict.fromkeys(_TOLD) if seen is None else {name: getattr(seen, name) for name in _TOLD}
    lagging = None if seen is None else seen.declared and seen.connected and seen.settled != seen.current
    return {"edge_id": edge_id, "spec": spec, **told, "connected": bool(told["connected"]), "lagging": lagging}
