"""What an Envoy is started with: who it is, and whom it asks for everything else.

Controllers come first, in the order in which they are named, so that what an edge is told and what it reports go over
the same one: a controller could not wait for what it does not hear. The agent beside the edge may offer a last source,
a server on a unix socket with what the edge last held, so that an edge can start while every controller is down; once
the agent closes it, the same protocol goes on with the controllers, and nothing has to be restarted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from mahavishnu.integrations.multi_region.core.targets import literal_address
from mahavishnu.integrations.multi_region.errors import InvalidInputError

from .private_file import replace_private
from .wire import TYPE_URL

XDS_CLUSTER = "xds"
NODE_CLUSTER = "multi-region"
MOST_CONNECTIONS = 50_000
"""Of clients, at once, to one edge."""

_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_TLS = "envoy.extensions.transport_sockets.tls.v3."
_RAW = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"


@dataclass(frozen=True, slots=True)
class EdgeTls:
    """How an edge proves itself to controllers and knows them: PEM files on the edge's machine, replaced by rename.

    ``server_name``: the name that controllers' certificates must hold. ``secrets_dir``: where ``write_secrets`` writes
    what Envoy reads at its start.
    """

    certificate: str
    key: str
    ca: str
    server_name: str
    secrets_dir: str


def bootstrap_document(
    edge_id: str,
    controllers: Sequence[tuple[str, int]],
    *,
    admin_socket: str,
    fallback_socket: str | None = None,
    tls: EdgeTls | None = None,
    ejection_log: str | None = None,
) -> dict[str, Any]:
    """The bootstrap of one edge in Envoy's JSON form.

    ``controllers``: IP address or name, and port, of each, the preferred one first. ``admin_socket``,
    ``fallback_socket``: paths of unix sockets; the second is asked while no controller answers. ``ejection_log``: where
    Envoy notes each region that it takes out. Raises InvalidInputError when there is neither a controller nor a second
    source.
    """
    if not edge_id:
        raise InvalidInputError("edge_id", edge_id, "a name")
    if not controllers and fallback_socket is None:
        raise InvalidInputError("controllers", list(controllers), "at least one host and port")
    manager: dict[str, Any] = {"load_stats_config": _grpc()}
    if ejection_log is not None:
        manager["outlier_detection"] = {"event_log_path": ejection_log}
    return {
        "node": {"id": edge_id, "cluster": NODE_CLUSTER},
        "admin": {"address": {"pipe": {"path": admin_socket, "mode": 0o600}}},
        "dynamic_resources": {
            "ads_config": {**_grpc(), "set_node_on_first_message_only": True},
            "cds_config": {"ads": {}, "resource_api_version": "V3"},
            "lds_config": {"ads": {}, "resource_api_version": "V3"},
        },
        "cluster_manager": manager,
        "static_resources": {"clusters": [_xds_cluster(controllers, fallback_socket, tls)]},
        "stats_flush_interval": "1s",
        "overload_manager": {"resource_monitors": [_connection_limit()]},
    }


def secret_documents(tls: EdgeTls) -> Mapping[str, Mapping[str, Any]]:
    """Files to write into ``secrets_dir``, by name: they name the PEM files, and have Envoy watch their folders."""
    certificate = {
        "certificate_chain": {"filename": tls.certificate},
        "private_key": {"filename": tls.key},
        "watched_directory": {"path": _folder(tls.certificate)},
    }
    kind = "IP_ADDRESS" if _is_address(tls.server_name) else "DNS"
    authority = {
        "trusted_ca": {"filename": tls.ca},
        "watched_directory": {"path": _folder(tls.ca)},
        "match_typed_subject_alt_names": [{"san_type": kind, "matcher": {"exact": tls.server_name}}],
    }
    return {
        "certificate.json": _secret("certificate", {"tls_certificate": certificate}),
        "authority.json": _secret("authority", {"validation_context": authority}),
    }


def write_secrets(tls: EdgeTls) -> None:
    """Write what ``secret_documents`` returns into ``secrets_dir``. Raises OSError."""
    folder = Path(tls.secrets_dir)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, document in secret_documents(tls).items():
        replace_private(folder / name, json.dumps(document).encode())


def _connection_limit() -> Mapping[str, Any]:
    """A client that opens connections without end is stopped before the machine runs out of memory."""
    kind = "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
    return {
        "name": "envoy.resource_monitors.global_downstream_max_connections",
        "typed_config": {"@type": TYPE_URL + kind, "max_active_downstream_connections": MOST_CONNECTIONS},
    }


def _grpc() -> dict[str, Any]:
    """A stream to controllers, opened again within a second when it breaks."""
    back_off = {"base_interval": "0.1s", "max_interval": "1s"}
    service = {"envoy_grpc": {"cluster_name": XDS_CLUSTER, "retry_policy": {"retry_back_off": back_off}}}
    return {"api_type": "DELTA_GRPC", "transport_api_version": "V3", "grpc_services": [service]}


def _xds_cluster(controllers: Sequence[tuple[str, int]], fallback: str | None, tls: EdgeTls | None) -> dict[str, Any]:
    endpoints = [_controller(address, priority) for priority, address in enumerate(controllers)]
    if fallback is not None:
        endpoints.append(_fallback(fallback, priority=len(endpoints)))
    found: dict[str, Any] = {
        "name": XDS_CLUSTER,
        "type": "STRICT_DNS" if any(not _is_address(host) for host, _ in controllers) else "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": XDS_CLUSTER, "endpoints": endpoints},
        "typed_extension_protocol_options": {_OPTIONS: _http2()},
        "health_checks": [_check()],
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "circuit_breakers": {"thresholds": [{"max_connections": 100_000, "max_requests": 100_000}]},
    }
    if tls is not None:
        found["transport_socket_matches"] = [_plain()]
        found["transport_socket"] = _mutual_tls(tls)
    return found


def _controller(address: tuple[str, int], priority: int) -> dict[str, Any]:
    return {"priority": priority, "lb_endpoints": [_endpoint(_socket(*address))]}


def _fallback(path: str, priority: int) -> dict[str, Any]:
    """The agent's own server: local, and so without TLS."""
    own = {"metadata": {"filter_metadata": {"envoy.transport_socket_match": {"own": True}}}}
    return {"priority": priority, "lb_endpoints": [{**_endpoint({"pipe": {"path": path}}), **own}]}


def _endpoint(address: Mapping[str, Any]) -> dict[str, Any]:
    return {"endpoint": {"address": address}}


def _socket(host: str, port: int) -> Mapping[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def _check() -> Mapping[str, Any]:
    """Whether a controller answers, not only takes connections: one that hangs would else be asked again and again."""
    return {
        "timeout": "1s",
        "interval": "0.250s",
        "no_traffic_interval": "0.250s",
        "unhealthy_edge_interval": "0.100s",
        "unhealthy_threshold": 2,
        "healthy_threshold": 1,
        "grpc_health_check": {},
    }


def _http2() -> Mapping[str, Any]:
    keepalive = {"interval": "1s", "timeout": "1s"}
    return {
        "@type": TYPE_URL + _OPTIONS,
        "explicit_http_config": {"http2_protocol_options": {"connection_keepalive": keepalive}},
    }


def _plain() -> Mapping[str, Any]:
    socket = {"name": "envoy.transport_sockets.raw_buffer", "typed_config": {"@type": TYPE_URL + _RAW}}
    return {"name": "own", "match": {"own": True}, "transport_socket": socket}


def _mutual_tls(tls: EdgeTls) -> Mapping[str, Any]:
    context = {
        # As a client Envoy offers no more than 1.2 when nothing is said.
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
        "alpn_protocols": ["h2"],
        "tls_certificate_sds_secret_configs": [_watched("certificate", tls)],
        "validation_context_sds_secret_config": _watched("authority", tls),
    }
    upstream = {"@type": TYPE_URL + _TLS + "UpstreamTlsContext", "sni": tls.server_name, "common_tls_context": context}
    return {"name": "envoy.transport_sockets.tls", "typed_config": upstream}


def _watched(name: str, tls: EdgeTls) -> Mapping[str, Any]:
    path = str(PurePath(tls.secrets_dir, f"{name}.json"))
    return {"name": name, "sds_config": {"path_config_source": {"path": path}, "resource_api_version": "V3"}}


def _secret(name: str, content: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"resources": [{"@type": TYPE_URL + _TLS + "Secret", "name": name, **content}]}


def _folder(path: str) -> str:
    return str(PurePath(path).parent)


def _is_address(host: str) -> bool:
    return literal_address(host) is not None
