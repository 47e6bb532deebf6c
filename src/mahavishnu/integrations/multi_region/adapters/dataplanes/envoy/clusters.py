"""How edges talk to the regions of a class, and how they notice that one is gone: a cluster for each class.

All clusters of one *shape* are alike but for their names, so that a shape is parsed and checked once. A cluster holds
no figure that a failover changes: a changed cluster starts over with fresh connections and checks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from mahavishnu.integrations.multi_region.core.model import UpstreamProtocol
from mahavishnu.integrations.multi_region.core.traffic import Target, TrafficClass

from .checks import EdgeCheck, Question, document as check_document, question, together
from .constraints import made
from .endpoints import encryption
from .parts import NOBODY_LEAVES, Leaving, Problem, seconds
from .resources import CLUSTER, Resource
from .wire import TYPE_URL

OWN_PACE_S = 0.25
"""How often a service's own class is checked; it finds a lost region for all of them."""

POLICY_PACE_S = 1.0
"""How often a class with requirements is: there are many, and outlier detection is as quick."""

_CONNECT_S, _PING_S, _PONG_S = 0.2, 0.1, 0.15
_NEAR_MS = 50
_HANDSHAKES, _HANDSHAKES_TLS, _JITTER = 1.5, 2.5, 1.5
"""Round trips that a connection may take, without and with encryption, and that an answer to a PING may."""

_MOST_STEPS = 6
_IDLE_HTTP1_S = 4.0
_MOST_AT_ONCE = 10_000
_PROTOCOL_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


@dataclass(frozen=True, slots=True)
class Shape:
    """All of a cluster but its name.

    ``http2``: whether every region speaks it. ``transports``: the encryptions that its endpoints name.
    ``distance``: how many times its limits of time are those of near regions.
    """

    http2: bool
    transports: tuple[str, ...]
    check: EdgeCheck | None
    distance: int
    ca_file: str


@dataclass(frozen=True, slots=True)
class Watch:
    """How an edge watches the regions of a class itself; ``unwatched`` are those whose check is of another kind."""

    check: EdgeCheck | None
    unwatched: frozenset[str]

    def watches(self, target: Target) -> bool:
        """Whether a region that is as the target says is asked what the others are."""
        return self.check is not None and question(target) == self.check.question


def watch_of(kind: TrafficClass, floor_s: float = 0.0) -> Watch:
    """The question that most regions of the class are asked; Envoy asks one per cluster, so others go unasked.

    ``floor_s``: the shortest interval that the edge's budget allows, 0 for any.
    """
    asked = {target.region_id: question(target) for target in kind.targets}
    counts = Counter(found for found in asked.values() if found is not None)
    if not counts:
        return Watch(None, frozenset(asked))
    most: Question = min(counts, key=lambda found: (-counts[found], repr(found)))
    pace = (POLICY_PACE_S, POLICY_PACE_S) if kind.requirements else (OWN_PACE_S, 0.0)
    checks = [target.check for target in kind.targets if asked[target.region_id] == most]
    unwatched = frozenset(region for region, found in asked.items() if found != most)
    return Watch(together(most, checks, pace, _distance(kind), floor_s), unwatched)


def shape_of(kind: TrafficClass, watch: Watch, ca_file: str, leaving: Leaving = NOBODY_LEAVES) -> Shape:
    """The shape that a class's cluster has. ``leaving``: where its regions were a moment ago."""
    targets = list(kind.targets)
    formers = (former.target for formers in leaving.values() for former in formers)
    transports = sorted({found for target in (*targets, *formers) if (found := encryption(target))})
    http2 = bool(targets) and all(target.protocol is UpstreamProtocol.HTTP2 for target in targets)
    return Shape(http2, tuple(transports), watch.check, _distance(kind), ca_file)


def mixture(kind: TrafficClass) -> Problem | None:
    """What is to be said of a class whose regions do not all speak one protocol: it is spoken to in HTTP/1.1.

    Without the name of the class.
    """
    spoken = {target.region_id: target.protocol for target in kind.targets}
    newer = sorted(region for region, protocol in spoken.items() if protocol is UpstreamProtocol.HTTP2)
    if len(newer) in (0, len(spoken)):
        return None
    others = ", ".join(sorted(spoken.keys() - set(newer)))
    why = f"protocol: HTTP/1.1 is spoken to all of its regions, as {others} speak no other; {', '.join(newer)} must too"
    return Problem("", why, carried=True)


def empty_cluster(name: str) -> Resource | Problem:
    """The cluster of a class that no region can serve."""
    return build_cluster(name, Shape(http2=False, transports=(), check=None, distance=1, ca_file=""))


def build_cluster(name: str, shape: Shape) -> Resource | Problem:
    """The cluster of a class, or why there can be none."""
    template, why = _template(shape)
    if why is not None or not name:
        return Problem(name, why or "a cluster needs a name")
    found = type(template)()
    found.CopyFrom(template)
    found.name = found.eds_cluster_config.service_name = name
    return Resource.of(CLUSTER, name, found)


def _distance(kind: TrafficClass) -> int:
    """1 for regions within 50 ms, doubled until the farthest is covered."""
    farthest, steps = max((target.rtt_ms for target in kind.targets), default=0), 0
    while farthest > _NEAR_MS * 2**steps and steps < _MOST_STEPS:
        steps += 1
    return int(2**steps)


@lru_cache(maxsize=1024)
def _template(shape: Shape) -> tuple[Any, str | None]:
    """A cluster of that shape, named ``-``, and what is wrong with it."""
    return made("envoy.config.cluster.v3.Cluster", cluster_document(shape))


def cluster_document(shape: Shape, name: str = "-") -> dict[str, Any]:
    """The cluster in JSON form."""
    found: dict[str, Any] = {
        "name": name,
        "type": "EDS",
        "eds_cluster_config": {"service_name": name, "eds_config": {"ads": {}, "resource_api_version": "V3"}},
        "connect_timeout": seconds(_connect_s(shape)),
        "common_lb_config": {
            # Without a healthy region the answer is a refusal, never a try at dead ones.
            "healthy_panic_threshold": {"value": 0},
            "locality_weighted_lb_config": {},
            "update_merge_window": "0s",
        },
        # Else a region that is no longer in the class gets traffic for as long as its own check passes.
        "ignore_health_on_host_removal": True,
        "outlier_detection": _outliers(),
        "circuit_breakers": {"thresholds": [_limits()]},
        "typed_extension_protocol_options": {_PROTOCOL_OPTIONS: _protocol(shape)},
        "lrs_server": {"self": {}},
    }
    if shape.check is not None:
        found["health_checks"] = [check_document(shape.check, shape.http2)]
    if shape.transports:
        found["transport_socket_matches"] = [_transport(kind, shape) for kind in shape.transports]
    return found


def _connect_s(shape: Shape) -> float:
    """How long connecting may take: a request that waits for a connection to a lost region is tried elsewhere then."""
    trips = _HANDSHAKES_TLS if shape.transports else _HANDSHAKES
    return max(_CONNECT_S, trips * _farthest_s(shape))


def _pong_s(shape: Shape) -> float:
    """How long the answer to a PING may take; three round trips of a near region, whose jitter counts for more."""
    return max(_PONG_S, _JITTER * _farthest_s(shape) + 0.05)


def _farthest_s(shape: Shape) -> float:
    """The longest round trip that the class's regions may take."""
    return _NEAR_MS * shape.distance / 1000.0


def _outliers() -> Mapping[str, Any]:
    """When a region is left out for what requests met there.

    At most 99 %: of up to a hundred addresses one always stays. An answered check does not bring a region back early,
    since checks pass in regions that fail half of their requests.
    """
    return {
        "split_external_local_origin_errors": True,
        "successful_active_health_check_uneject_host": False,
        "max_ejection_percent": 99,
        "interval": "1s",
        "base_ejection_time": "5s",
        "max_ejection_time": "60s",
        "enforcing_consecutive_5xx": 0,
        "consecutive_gateway_failure": 3,
        "enforcing_consecutive_gateway_failure": 100,
        "consecutive_local_origin_failure": 3,
        "enforcing_consecutive_local_origin_failure": 100,
        "enforcing_success_rate": 0,
        "enforcing_local_origin_success_rate": 0,
        "failure_percentage_threshold": 30,
        "failure_percentage_minimum_hosts": 2,
        "failure_percentage_request_volume": 10,
        "enforcing_failure_percentage": 100,
        "enforcing_failure_percentage_local_origin": 100,
    }


def _limits() -> Mapping[str, Any]:
    """Room for every request, and to try each again at once: when a region falls silent, all that are in flight there
    fail in the same moment. What bounds retries is their number per request.
    """
    return {
        "max_connections": _MOST_AT_ONCE,
        "max_pending_requests": _MOST_AT_ONCE,
        "max_requests": _MOST_AT_ONCE,
        "retry_budget": {"budget_percent": {"value": 20.0}, "min_retry_concurrency": _MOST_AT_ONCE},
    }


def _protocol(shape: Shape) -> Mapping[str, Any]:
    if not shape.http2:
        # Shorter than the 5 s after which many servers hang up: a request must not meet a closing connection.
        return {
            "@type": TYPE_URL + _PROTOCOL_OPTIONS,
            "common_http_protocol_options": {"idle_timeout": seconds(_IDLE_HTTP1_S)},
            "explicit_http_config": {"http_protocol_options": {}},
        }
    # Only the answer needs longer when it comes from afar.
    keepalive = {"interval": seconds(_PING_S), "timeout": seconds(_pong_s(shape))}
    return {
        "@type": TYPE_URL + _PROTOCOL_OPTIONS,
        "explicit_http_config": {"http2_protocol_options": {"connection_keepalive": keepalive}},
    }


def _transport(kind: str, shape: Shape) -> Mapping[str, Any]:
    """TLS towards endpoints that name this kind: the server's name is the endpoint's own, and is verified."""
    context: dict[str, Any] = {
        "alpn_protocols": ["h2" if shape.http2 else "http/1.1"],
        "tls_params": {"tls_maximum_protocol_version": "TLSv1_3"},
    }
    verified = kind == "verified"
    if verified:
        context["validation_context"] = {"trusted_ca": {"filename": shape.ca_file}}
    return {
        "name": kind,
        "match": {"transport": kind},
        "transport_socket": {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": TYPE_URL + "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "common_tls_context": context,
                "auto_host_sni": True,
                "auto_sni_san_validation": verified,
            },
        },
    }
