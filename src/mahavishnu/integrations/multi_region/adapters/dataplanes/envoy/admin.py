"""Asks a running Envoy over its admin socket: whether it is ready, what it holds; and tells it to drain."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Self

from aiohttp import ClientError, ClientSession, ClientTimeout, UnixConnector

from mahavishnu.integrations.multi_region.core.edge_reports import EdgeReport, HostSeen
from mahavishnu.integrations.multi_region.errors import UnavailableError

from .bootstrap import XDS_CLUSTER
from .parts import LISTENER_NAME

ANSWER_S = 5.0


class Admin:
    """One Envoy's admin interface on a unix socket. A call that fails raises UnavailableError."""

    def __init__(self, socket_path: str) -> None:
        self._path = socket_path
        self._http: ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connection."""
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def ready(self) -> bool:
        """Whether Envoy serves: it has its first configuration and its listeners are open."""
        try:
            return (await self._ask("GET", "/ready")).strip() == b"LIVE"
        except UnavailableError:
            return False

    async def clusters(self) -> Mapping[str, Any]:
        """Every host of every cluster with its health, as Envoy's ``admin.v3.Clusters`` in JSON."""
        found: Mapping[str, Any] = json.loads(await self._ask("GET", "/clusters?format=json"))
        return found

    async def config(self) -> Mapping[str, Any]:
        """The configuration in force, endpoints included, as Envoy's ``admin.v3.ConfigDump`` in JSON."""
        found: Mapping[str, Any] = json.loads(await self._ask("GET", "/config_dump?include_eds"))
        return found

    async def clients(self) -> int:
        """How many connections of clients are open."""
        path = f"/stats?format=json&type=Gauges&filter=^http.{LISTENER_NAME}.downstream_cx_active$"
        return sum(int(stat["value"]) for stat in json.loads(await self._ask("GET", path))["stats"])

    async def streams(self) -> int:
        """How many streams to controllers are open."""
        path = f"/stats?format=json&type=Gauges&filter=^cluster.{XDS_CLUSTER}.upstream_rq_active$"
        return sum(int(stat["value"]) for stat in json.loads(await self._ask("GET", path))["stats"])

    async def drain(self) -> None:
        """Begin to close connections as their requests end; new ones are still taken meanwhile."""
        await self._ask("POST", "/drain_listeners?graceful&skip_exit")

    async def _ask(self, method: str, path: str) -> bytes:
        if self._http is None:
            self._http = ClientSession(
                connector=UnixConnector(self._path), timeout=ClientTimeout(total=ANSWER_S), raise_for_status=True
            )
        try:
            async with self._http.request(method, "http://envoy" + path) as answer:
                return await answer.read()
        except (ClientError, OSError, TimeoutError) as err:
            raise UnavailableError(f"Envoy's admin interface does not answer: {err}") from err


def read_report(edge_id: str, clusters: Mapping[str, Any], version: str = "") -> EdgeReport:
    """What ``/clusters`` says, by class and region; the clusters of the bootstrap are left out."""
    dynamic = [c for c in clusters.get("cluster_statuses", ()) if c.get("added_via_api")]
    return EdgeReport(edge_id, {str(c["name"]): tuple(_hosts(c)) for c in dynamic}, version)


def _hosts(cluster: Mapping[str, Any]) -> Iterator[HostSeen]:
    for host in cluster.get("host_statuses", ()):
        health = host.get("health_status", {})
        stats = {stat.get("name"): int(stat.get("value", 0)) for stat in host.get("stats", ())}
        yield HostSeen(
            region_id=str(host.get("locality", {}).get("region", "")),
            ejected=bool(health.get("failed_outlier_check")),
            failing=bool(health.get("failed_active_health_check")),
            in_flight=stats.get("rq_active", 0),
        )
