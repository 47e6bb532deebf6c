"""Limits that Envoy's definitions state are found broken before an edge would say so."""

from __future__ import annotations

from typing import Any

import pytest

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.constraints import made, objection
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.proto import message

CLUSTER = "envoy.config.cluster.v3.Cluster"
HOST = "envoy.config.route.v3.VirtualHost"
FINE = {"name": "a", "connect_timeout": "1s"}
CHECK = {
    "timeout": "1s",
    "interval": "1s",
    "unhealthy_threshold": 1,
    "healthy_threshold": 1,
    "http_health_check": {"path": "/"},
}
MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


def route(**more: Any) -> dict[str, Any]:
    return {"name": "a", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, **more}]}


@pytest.mark.parametrize(
    ("kind", "document"),
    [
        (CLUSTER, FINE),
        (CLUSTER, {**FINE, "connect_timeout": "0.001s"}),
        (CLUSTER, {**FINE, "health_checks": [CHECK]}),
        (CLUSTER, {**FINE, "outlier_detection": {"max_ejection_percent": 100}}),
        (HOST, route(route={"cluster": "a"})),
        (HOST, route(direct_response={"status": 200})),
    ],
)
def test_what_keeps_its_limits_is_made(kind: str, document: dict[str, Any]) -> None:
    found, why = made(kind, document)
    assert why is None
    assert found.name == "a"


@pytest.mark.parametrize(
    ("kind", "document", "where"),
    [
        (CLUSTER, {"connect_timeout": "1s"}, "name"),
        (CLUSTER, {**FINE, "connect_timeout": "0s"}, "connect_timeout"),
        (CLUSTER, {**FINE, "connect_timeout": "-1s"}, "connect_timeout"),
        (CLUSTER, {**FINE, "health_checks": [{**CHECK, "timeout": "0s"}]}, "health_checks[0].timeout"),
        (CLUSTER, {**FINE, "health_checks": [{"timeout": "1s"}]}, "health_checks[0]"),
        (
            CLUSTER,
            {**FINE, "health_checks": [{name: of for name, of in CHECK.items() if name != "interval"}]},
            "health_checks[0].interval: must be set",
        ),
        (CLUSTER, {**FINE, "health_checks": [{**CHECK, "http_health_check": {}}]}, "http_health_check.path"),
        (
            CLUSTER,
            {**FINE, "health_checks": [{**CHECK, "http_health_check": {"path": "/\n"}}]},
            "http_health_check.path",
        ),
        (CLUSTER, {**FINE, "common_lb_config": {"healthy_panic_threshold": {"value": 101}}}, "value"),
        (CLUSTER, {**FINE, "lb_policy": 77}, "lb_policy"),
        (CLUSTER, {**FINE, "no_such_field": 1}, "no_such_field"),
        (CLUSTER, {**FINE, "outlier_detection": {"max_ejection_percent": 101}}, "max_ejection_percent"),
        (HOST, {"name": "a"}, "domains"),
        (HOST, {**route(), "domains": ["a\nb"]}, "domains"),
        (HOST, route(), "routes[0]"),
        (HOST, route(route={"cluster": ""}), "route.cluster"),
        (HOST, route(direct_response={"status": 99}), "direct_response.status"),
        (HOST, route(route={"cluster": "a"}, request_headers_to_remove=[""]), "request_headers_to_remove"),
        (HOST, {**route(route={"cluster": "a"}), "routes": [{"route": {"cluster": "a"}}]}, "routes[0].match"),
    ],
)
def test_what_breaks_a_limit_is_named(kind: str, document: dict[str, Any], where: str) -> None:
    found, why = made(kind, document)
    assert found is None
    assert why is not None and where in why


def test_packed_messages_are_looked_into() -> None:
    listener = {"filter_chains": [{"filters": [{"name": "http", "typed_config": {"@type": MANAGER}}]}]}
    _, why = made("envoy.config.listener.v3.Listener", listener)
    assert why is not None and "HttpConnectionManager" in why


def test_packed_messages_in_a_map_are_looked_into_too() -> None:
    http = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    packed = {http: {"@type": f"type.googleapis.com/{http}"}}  # of its protocols one must be chosen
    _, why = made(CLUSTER, {**FINE, "typed_extension_protocol_options": packed})
    assert why is not None and f"typed_extension_protocol_options[{http}]" in why


def test_what_is_packed_without_a_type_is_left_to_who_asks_for_it() -> None:
    filter_made = message("envoy.config.listener.v3.Filter")(name="http")
    filter_made.typed_config.SetInParent()
    assert objection(filter_made) is None


def test_packed_bytes_that_are_no_message_are_named() -> None:
    filter_made = message("envoy.config.listener.v3.Filter")(name="http")
    filter_made.typed_config.type_url = MANAGER
    filter_made.typed_config.value = b"\xff\xff"
    assert "cannot be read" in str(objection(filter_made))
    filter_made.typed_config.type_url = "type.googleapis.com/no.such.Message"
    assert "no.such.Message" in str(objection(filter_made))
