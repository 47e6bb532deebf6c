"""What our edge is measured beside: Envoy with a plain configuration or with health checks only, and HAProxy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.binary import find_envoy

from .edges_parts import HOST, Child, program

_TYPE = "type.googleapis.com/envoy.extensions.filters."
_CHECK = {
    "timeout": "0.2s",
    "interval": "0.25s",
    "no_traffic_interval": "0.25s",
    "unhealthy_edge_interval": "0.1s",
    "unhealthy_threshold": 2,
    "healthy_threshold": 1,
    "http_health_check": {"path": "/"},
}


def envoy(
    folder: Path, port: int, regions: Sequence[str], *, threads: int, checked: bool, passive: bool
) -> AbstractContextManager[Child]:
    """An Envoy that no controller steers. ``checked``: with health checks, 250 ms x 2. ``passive``: the first alone."""
    config = folder / "envoy.json"
    config.write_text(json.dumps(_envoy(folder, port, regions, checked, passive)))
    command = [str(find_envoy().path), "-c", str(config), "--disable-hot-restart", "--concurrency", str(threads)]
    return Child([*command, "--log-level", "error"], folder / "envoy.log")


def _envoy(folder: Path, port: int, regions: Sequence[str], checked: bool, passive: bool) -> dict[str, Any]:
    places = [
        {
            "locality": {"region": region},
            "priority": number if passive else 0,
            "load_balancing_weight": 1,
            "lb_endpoints": [{"endpoint": {"address": _address(region)}}],
        }
        for number, region in enumerate(regions)
    ]
    cluster: dict[str, Any] = {
        "name": "regions",
        "type": "STATIC",
        "connect_timeout": "0.25s",
        "load_assignment": {"cluster_name": "regions", "endpoints": places},
        "circuit_breakers": {"thresholds": [{"max_connections": 10_000, "max_requests": 10_000}]},
    }
    if checked:
        cluster |= {"health_checks": [_CHECK], "common_lb_config": {"healthy_panic_threshold": {"value": 0}}}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "regions", "timeout": "5s"}}
    manager = {
        "@type": _TYPE + "network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "clients",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [{"name": "router", "typed_config": {"@type": _TYPE + "http.router.v3.Router"}}],
    }
    listener = {
        "name": "clients",
        "address": _address(f"{HOST}:{port}"),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    admin = {"address": {"pipe": {"path": str(folder / "admin.sock")}}}
    return {"admin": admin, "static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _address(address: str) -> dict[str, Any]:
    host, _, port = address.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}


_HAPROXY = """global
  maxconn 4000
  nbthread {threads}
defaults
  mode http
  timeout connect 250ms
  timeout client 30s
  timeout server 300ms
  timeout check 200ms
  option redispatch 1
  retries 3
  retry-on all-retryable-errors
  http-reuse always
frontend clients
  bind {host}:{port}
  default_backend regions
backend regions
  balance roundrobin
  option httpchk GET /
  default-server check inter 250ms fastinter 100ms fall 2 rise 2
  {servers}
"""


def haproxy(
    folder: Path, port: int, regions: Sequence[str], *, threads: int, passive: bool
) -> AbstractContextManager[Child]:
    """HAProxy, tuned: checks each 250 ms, another region at each retry, 300 ms for an answer. Raises Missing."""
    found = program("haproxy", "haproxy")
    servers = [
        f"server region-{number} {region}{' backup' if passive and number else ''}"
        for number, region in enumerate(regions)
    ]
    config = folder / "haproxy.cfg"
    config.write_text(_HAPROXY.format(threads=threads, host=HOST, port=port, servers="\n  ".join(servers)))
    return Child([found, "-db", "-f", str(config)], folder / "haproxy.log")
