"""Where an edge takes requests, and what happens to each before it is routed: headers removed, clients placed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from mahavishnu.integrations.multi_region.core.edges import ClientPlace, EdgeSpec, parse_cidr, parse_listen
from mahavishnu.integrations.multi_region.core.figures import TRUSTED_HOPS
from mahavishnu.integrations.multi_region.errors import InvalidInputError

from .parts import ASKED, COUNTRY, IP_TAGS, LISTENER_NAME, READING_FILTER, ROUTES_NAME, EdgeOptions, Problem
from .refusals import own_answers
from .routes import ip_tag
from .statements import SCRIPT
from .wire import TYPE_URL

_HTTP = "envoy.extensions.filters.http."
_MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"

FOREIGN = (
    "x-envoy-retry-on",
    "x-envoy-retry-grpc-on",
    "x-envoy-max-retries",
    "x-envoy-retriable-header-names",
    "x-envoy-retriable-status-codes",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-original-dst-host",
    "x-envoy-force-trace",
    IP_TAGS,
    COUNTRY,
    ASKED,
)
"""Request headers by which a client could tell an edge how to carry it, or where it is."""

_GEO = ("x-geo-city", "x-geo-region", "x-geo-asn", "x-geo-anon")


def listener(edge: EdgeSpec, options: EdgeOptions) -> tuple[dict[str, Any] | None, tuple[Problem, ...]]:
    """An edge's listener in JSON form; None when it has no address to listen on."""
    problems: list[Problem] = []
    address = _address(edge, problems)
    filters = [_reading(), *_placing(edge, options, problems), _filter("router", "router.v3.Router", {})]
    if address is None:
        return None, tuple(problems)
    manager = {"@type": TYPE_URL + _MANAGER, **_manager(edge, options, problems), "http_filters": filters}
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return {
        "name": LISTENER_NAME,
        "address": {"socket_address": address},
        "per_connection_buffer_limit_bytes": 1_048_576,  # of a larger body not enough is kept to repeat the request
        "filter_chains": [chain],
    }, tuple(problems)


def _address(edge: EdgeSpec, problems: list[Problem]) -> Mapping[str, Any] | None:
    try:
        host, port = parse_listen(edge.listen)
    except InvalidInputError as err:
        problems.append(Problem("listener", str(err)))
        return None
    return {"address": str(ip_address(host)), "port_value": port}


def _manager(edge: EdgeSpec, options: EdgeOptions, problems: list[Problem]) -> dict[str, Any]:
    hops = _hops(edge, problems)
    return {
        "stat_prefix": LISTENER_NAME,
        "codec_type": "AUTO",
        "rds": {"route_config_name": ROUTES_NAME, "config_source": {"ads": {}, "resource_api_version": "V3"}},
        "use_remote_address": True,
        "xff_num_trusted_hops": hops,
        "server_name": "multi-region",
        "generate_request_id": True,
        "always_set_request_id_in_response": True,
        "normalize_path": True,
        "strip_trailing_host_dot": True,
        "http_protocol_options": {"accept_http_10": True},  # a request without a host is still refused
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "common_http_protocol_options": {"headers_with_underscores_action": "DROP_HEADER", "idle_timeout": "3600s"},
        "http2_protocol_options": {
            "max_concurrent_streams": 1000,
            "initial_stream_window_size": 65_536,
            "initial_connection_window_size": 1_048_576,
        },
        "request_headers_timeout": "10s",
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "early_header_mutation_extensions": [_stripping(edge)],
        "local_reply_config": own_answers(),
        "access_log": [_access_log()] if options.access_log else [],
    }


def _hops(edge: EdgeSpec, problems: list[Problem]) -> int:
    try:
        TRUSTED_HOPS.check(edge.trusted_hops, "trusted_hops")
    except InvalidInputError as err:
        problems.append(Problem("listener", str(err)))
        return 0
    return edge.trusted_hops


def _stripping(edge: EdgeSpec) -> Mapping[str, Any]:
    """Removes what only edges may say, before anything reads it."""
    names = FOREIGN + (_GEO if edge.client_place is ClientPlace.GEOIP else ())
    kind = "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
    config = {"@type": TYPE_URL + kind, "mutations": [{"remove": name} for name in names]}
    return {"name": "envoy.http.early_header_mutation.header_mutation", "typed_config": config}


def _reading() -> Mapping[str, Any]:
    """Reads what a request asks of the law; off but for requests that state anything."""
    config = {"source_codes": {READING_FILTER: {"inline_string": SCRIPT}}}
    return {**_filter("lua", "lua.v3.Lua", config), "name": READING_FILTER, "disabled": True}


def _placing(edge: EdgeSpec, options: EdgeOptions, problems: list[Problem]) -> Iterator[Mapping[str, Any]]:
    """How the edge tells where a client is, and then looks for its route again."""
    if edge.client_place is ClientPlace.CIDR:
        tags = [tag for network in edge.networks if (tag := _tag(network.name, network.cidrs, problems))]
        if tags:
            yield _filter("ip_tagging", "ip_tagging.v3.IPTagging", {"request_type": "BOTH", "ip_tags": tags})
    elif edge.client_place is ClientPlace.GEOIP and options.geoip_database is None:
        problems.append(
            Problem("listener", "client_place: geoip needs the setting geoip_database; clients count as near")
        )
    elif edge.client_place is ClientPlace.GEOIP and options.geoip_database is not None:
        yield _filter("geoip", "geoip.v3.Geoip", _geoip(options.geoip_database))
        yield _filter("set_filter_state", "set_filter_state.v3.Config", _route_again())


def _tag(name: str, cidrs: tuple[str, ...], problems: list[Problem]) -> Mapping[str, Any] | None:
    ranges = []
    for cidr in cidrs:
        try:
            network = ip_network(parse_cidr(cidr, f"networks.{name}"))
        except InvalidInputError as err:
            problems.append(Problem("listener", str(err)))
            continue
        ranges.append({"address_prefix": str(network.network_address), "prefix_len": network.prefixlen})
    return {"ip_tag_name": ip_tag(name), "ip_list": ranges} if name and ranges else None


def _geoip(database: str) -> Mapping[str, Any]:
    provider = {
        "@type": TYPE_URL + "envoy.extensions.geoip_providers.maxmind.v3.MaxMindConfig",
        "city_db_path": database,
        "common_provider_config": {"geo_field_keys": {"country": COUNTRY}},
    }
    return {
        "provider": {"name": "envoy.geoip_providers.maxmind", "typed_config": provider},
    }


def _route_again() -> Mapping[str, Any]:
    """The database's answer comes after a route was found; this looks again, and notes that it did."""
    note = {
        "object_key": "multi_region.placed",
        "factory_key": "envoy.string",
        "format_string": {"text_format_source": {"inline_string": "yes"}},
    }
    return {"on_request_headers": [note], "clear_route_cache": True}


def _access_log() -> Mapping[str, Any]:
    """One JSON object per request on standard output."""
    fields = {
        "time": "%START_TIME%",
        "method": "%REQ(:METHOD)%",
        "path": "%REQ(:PATH)%",
        "host": "%REQ(:AUTHORITY)%",
        "status": "%RESPONSE_CODE%",
        "flags": "%RESPONSE_FLAGS%",
        "class": "%UPSTREAM_CLUSTER%",
        "region": "%UPSTREAM_METADATA(multi-region:region)%",
        "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
        "duration_ms": "%DURATION%",
        "request_id": "%REQ(X-REQUEST-ID)%",
    }
    kind = "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"
    return {
        "name": "envoy.access_loggers.stdout",
        "typed_config": {"@type": TYPE_URL + kind, "log_format": {"json_format": fields}},
    }


def _filter(name: str, kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": f"envoy.filters.http.{name}", "typed_config": {"@type": TYPE_URL + _HTTP + kind, **config}}
