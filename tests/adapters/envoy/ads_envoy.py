"""A real Envoy that asks servers for everything, and small resources for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.binary import find_envoy
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.proto import parse
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.resources import (
    CLUSTER,
    ENDPOINTS,
    LISTENER,
    ROUTES,
    Resource,
    Snapshot,
)
from tests.adapters.envoy.grpc_client import PATIENCE_S

_ADS = {"ads": {}, "resource_api_version": "V3"}
_TYPE = "type.googleapis.com/"
_HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = "envoy.extensions.filters.http.router.v3.Router"
_HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_TLS = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"


def made(type_url: str, name: str, document: Mapping[str, Any]) -> Resource:
    """A resource from its JSON form."""
    return Resource.of(type_url, name, parse(type_url.removeprefix(_TYPE), document))


def cluster(name: str, *, connect_timeout: str = "1s", checked: bool = False) -> Resource:
    """A cluster with endpoints from the stream; a connect timeout of 0 s passes protobuf and no Envoy.

    ``checked``: its endpoints are asked for /healthz before they are used.
    """
    check = {"interval": "60s", "timeout": "20s", "unhealthy_threshold": 1, "healthy_threshold": 1}
    document = {
        "name": name,
        "type": "EDS",
        "connect_timeout": connect_timeout,
        "eds_cluster_config": {"eds_config": _ADS},
        "health_checks": [{**check, "http_health_check": {"path": "/healthz"}}] if checked else [],
    }
    return made(CLUSTER, name, document)


def endpoints(name: str, **ports: int) -> Resource:
    """Endpoints of a cluster: a port on loopback per region."""
    localities = [
        {
            "locality": {"region": region.replace("_", "-")},
            "load_balancing_weight": 1,
            "lb_endpoints": [{"endpoint": {"address": _address(port)}}],
        }
        for region, port in ports.items()
    ]
    return made(ENDPOINTS, name, {"cluster_name": name, "endpoints": localities})


def listener(name: str, routes: str, *, bound: bool = True) -> Resource:
    """A listener on a free port of loopback, or on none, with routes from the stream."""
    manager = {
        "@type": _TYPE + _HCM,
        "stat_prefix": name,
        "rds": {"route_config_name": routes, "config_source": _ADS},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": _TYPE + _ROUTER}}],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    document: dict[str, Any] = {"name": name, "address": _address(0), "filter_chains": [{"filters": filters}]}
    if not bound:
        document |= {"bind_to_port": False, "address": _address(1 + int(name.strip("l")))}
    return made(LISTENER, name, document)


def routes(name: str, to: str, *, domains: Sequence[str] = ("*",)) -> Resource:
    """Routes that send everything to one cluster; a domain twice passes protobuf and no Envoy."""
    host = {"name": name, "domains": list(domains), "routes": [{"match": {"prefix": "/"}, "route": {"cluster": to}}]}
    return made(ROUTES, name, {"name": name, "virtual_hosts": [host]})


def together(generation: int, *resources: Resource) -> Snapshot:
    """A snapshot of these."""
    found: dict[str, dict[str, Resource]] = {}
    for one in resources:
        found.setdefault(one.type_url, {})[one.name] = one
    return Snapshot(generation, found)


def _address(port: int) -> Mapping[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def bootstrap(servers: Sequence[str], *, delta: bool, tls: Path | None = None, name: str = "e1") -> Mapping[str, Any]:
    """Asks ``servers`` for everything. ``tls``: a folder with ca.pem, and the certificate called ``name`` if any."""
    service = {
        "envoy_grpc": {
            "cluster_name": "xds",
            "retry_policy": {"retry_back_off": {"base_interval": "0.05s", "max_interval": "0.2s"}},
        }
    }
    asking = {"transport_api_version": "V3", "grpc_services": [service]}
    lb_endpoints = [{"endpoint": {"address": _address(int(one.rpartition(":")[2]))}} for one in servers]
    xds: dict[str, Any] = {
        "name": "xds",
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            _HTTP: {"@type": _TYPE + _HTTP, "explicit_http_config": {"http2_protocol_options": {}}}
        },
        "load_assignment": {"cluster_name": "xds", "endpoints": [{"lb_endpoints": lb_endpoints}]},
    }
    if tls is not None:
        xds["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": _tls(tls, name)}
    return {
        "node": {"id": "e1", "cluster": "test"},
        "admin": {"address": _address(0)},
        "dynamic_resources": {
            "ads_config": {"api_type": "DELTA_GRPC" if delta else "GRPC", **asking},
            "cds_config": _ADS,
            "lds_config": _ADS,
        },
        "cluster_manager": {"load_stats_config": {"api_type": "GRPC", **asking}},
        "static_resources": {"clusters": [xds]},
    }


def _tls(folder: Path, name: str) -> Mapping[str, Any]:
    common: dict[str, Any] = {"validation_context": {"trusted_ca": {"filename": str(folder / "ca.pem")}}}
    if (folder / f"{name}.pem").exists():
        pair = {
            "certificate_chain": {"filename": f"{folder}/{name}.pem"},
            "private_key": {"filename": f"{folder}/{name}.key"},
        }
        common["tls_certificates"] = [pair]
    return {"@type": _TYPE + _TLS, "sni": "controller", "common_tls_context": common}


class Envoy:
    """One that runs; asks its admin interface."""

    def __init__(self, pid: int, admin: str, session: aiohttp.ClientSession) -> None:
        self.pid = pid
        self._admin = admin
        self._session = session

    async def stats(self, pattern: str) -> Mapping[str, int]:
        """Counters and gauges whose names match."""
        found = await self._json(f"/stats?format=json&filter={pattern}")
        return {one["name"]: one["value"] for one in found["stats"] if "value" in one}

    async def stat(self, name: str) -> int:
        """One of them, 0 when there is none."""
        return (await self.stats(f"^{name}$")).get(name, 0)

    async def active(self, kind: str) -> Mapping[str, Any]:
        """Configuration that is in force, by name: ``clusters``, ``listeners`` or ``route_configs``."""
        field = {"clusters": "dynamic_active_clusters", "listeners": "dynamic_listeners"}.get(kind, f"dynamic_{kind}")
        found = await self._json(f"/config_dump?resource={field}")
        inner = {"clusters": "cluster", "listeners": "active_state", "route_configs": "route_config"}[kind]
        return {self._name(one, inner): one for one in found.get("configs", []) if inner in one}

    async def active_names(self) -> set[str]:
        """Clusters in force."""
        return set(await self.active("clusters"))

    async def at_least(self, name: str, count: int) -> bool:
        """Whether a counter has got that far."""
        return await self.stat(name) >= count

    async def port_known(self, name: str) -> bool:
        """Whether a listener listens."""
        return await self.port(name) is not None

    async def warming(self) -> int:
        """Clusters that wait for something."""
        return await self.stat("cluster_manager.warming_clusters")

    async def port(self, name: str) -> int | None:
        """Where a listener listens."""
        found = (await self._json("/listeners?format=json")).get("listener_statuses", [])
        ports = {one["name"]: one["local_address"]["socket_address"]["port_value"] for one in found}
        return ports.get(name)

    async def get(self, name: str = "l0") -> tuple[int, str]:
        """Status and body of a request through a listener; status 0 when nothing listens yet."""
        try:
            async with self._session.get(f"http://127.0.0.1:{await self.port(name) or 1}/") as answer:
                return answer.status, await answer.text()
        except aiohttp.ClientConnectorError as err:
            return 0, str(err)

    async def _json(self, path: str) -> Any:
        async with self._session.get(f"http://{self._admin}{path}") as answer:
            return await answer.json(content_type=None)

    @staticmethod
    def _name(one: Mapping[str, Any], inner: str) -> str:
        return str(one["name"] if "name" in one else one[inner]["name"])


@asynccontextmanager
async def envoy(document: Mapping[str, Any], folder: Path) -> AsyncIterator[Envoy]:
    """A process of its own, ended with the block."""
    config, admin = folder / "bootstrap.json", folder / "admin"
    config.write_text(json.dumps(document))
    arguments = ["-c", config, "--admin-address-path", admin, "--disable-hot-restart", "--concurrency", "1"]
    arguments += ["--log-level", "warning", "--log-path", folder / "envoy.log"]
    process = await asyncio.create_subprocess_exec(str(find_envoy().path), *map(str, arguments))
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not (admin.exists() and admin.read_text()):
                assert process.returncode is None, (folder / "envoy.log").read_text()
                await asyncio.sleep(0.02)
        async with aiohttp.ClientSession() as session:
            yield Envoy(process.pid, admin.read_text().strip(), session)
    finally:
        process.kill()
        await process.wait()
