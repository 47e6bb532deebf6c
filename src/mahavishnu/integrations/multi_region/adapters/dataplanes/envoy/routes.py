"""Which class a request belongs to and how it is carried: one virtual host for each service.

Requests that state requirements come first, strictest first; then those that state something else are refused; then the
rest. Within each, clients of named areas come before those at the edge's own place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from mahavishnu.integrations.multi_region.core.routes import IDEMPOTENT, RouteClass, check_route
from mahavishnu.integrations.multi_region.core.traffic import Area, ServiceTraffic, TrafficClass
from mahavishnu.integrations.multi_region.errors import InvalidInputError

from .constraints import made
from .parts import (
    ASKED,
    COUNTRY,
    ECHO,
    EXHAUSTED,
    IP_TAGS,
    METADATA,
    READING_FILTER,
    REASON,
    REGION,
    UNKNOWN,
    Problem,
    seconds,
)
from .refusals import direct, header
from .statements import PRESENT, matcher, strictest_first
from .wire import TYPE_URL

_METHODS = "GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE"
_NAMELESS = "-"
_STREAM_IDLE_S = 300.0
_COUNTRIES_AT_ONCE = 20  # Envoy takes patterns of at most 100 instructions
_SAFELY = "connect-failure,refused-stream,reset-before-request"
_BOLDLY = "connect-failure,refused-stream,reset,gateway-error"
_DOMAIN = re.compile(r"\*|(?:\*[.-])?[A-Za-z0-9_.:\[\]-]+(?:[.-]\*)?")

_Headers = list[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Site:
    """All of a service that its virtual host is made of.

    ``stem``: what the names of its classes begin with. ``classes``: the statement and the area of each, what its name
    adds to the stem, and whether its requests are refused. ``areas``: those that a client is in by what is known of it.
    """

    service: str
    stem: str
    hosts: tuple[str, ...]
    routes: tuple[RouteClass, ...]
    statements: tuple[tuple[str, ...], ...]
    areas: tuple[Area, ...]
    classes: tuple[tuple[tuple[str, ...], str, str, bool], ...]

    @classmethod
    def of(cls, service: ServiceTraffic, areas: tuple[Area, ...]) -> Site:
        """The site of a service at an edge that tells these areas apart."""
        stem = TrafficClass(service.service, (), "", ()).name
        classes = tuple(
            (kind.requirements, kind.area, kind.name.removeprefix(stem), is_refused(kind)) for kind in service.classes
        )
        named = tuple(area for area in areas if area.name)
        return cls(service.service, stem, service.hosts, service.routes, service.requirements, named, classes)

    def is_of(self, service: ServiceTraffic, areas: tuple[Area, ...]) -> bool:
        """Whether it is the site of that service at an edge with these areas."""
        alike = (self.hosts, self.routes, self.statements) == (service.hosts, service.routes, service.requirements)
        if not alike or self.service != service.service or len(self.classes) != len(service.classes):
            return False
        pairs = zip(self.classes, service.classes, strict=True)
        if any(c[0] != k.requirements or c[1] != k.area or c[3] != is_refused(k) for c, k in pairs):
            return False
        return self.areas == tuple(area for area in areas if area.name)


def is_refused(kind: TrafficClass) -> bool:
    """Whether the edge itself refuses a class: one with regions, none of them healthy, is for the edge to judge."""
    return kind.exhausted is not None and not any(kind.tiers)


def build_site(site: Site, taken: frozenset[str] = frozenset()) -> tuple[Any, tuple[Problem, ...]]:
    """A service's virtual host, and what of it was left out. ``taken``: host names of other services.

    None when nothing is left that an edge would take. Services that differ by names alone are parsed and checked once.
    """
    problems: list[Problem] = []
    domains = list(_domains(site, taken, problems))
    pattern, found = _pattern(replace(site, service=_NAMELESS, stem=_NAMELESS, hosts=()))
    problems += (replace(problem, resource=f"{site.service}{problem.resource}") for problem in found)
    if not domains or not site.service:
        problems.append(Problem(site.service, "it has no host name that an edge can tell it by"))
    if pattern is None or not domains or not site.service:
        return None, tuple(problems)
    host = type(pattern)()
    host.CopyFrom(pattern)
    host.name = site.service
    host.domains[:] = domains
    for route in host.routes:
        if route.HasField("route"):
            route.route.cluster = site.stem + route.route.cluster.removeprefix(_NAMELESS)
    return host, tuple(problems)


@lru_cache(maxsize=1024)
def _pattern(site: Site) -> tuple[Any, tuple[Problem, ...]]:
    """The virtual host of a service without a name; None when an edge would refuse it."""
    problems: list[Problem] = []
    carried = [route for route in site.routes if not _unfit(route, problems)]
    if not any(route.prefix == "/" for route in carried):
        carried.append(RouteClass())
    found, why = made("envoy.config.route.v3.VirtualHost", virtual_host(site, carried))
    if why is not None:
        problems.append(Problem("", why))
    return found, tuple(problems)


def virtual_host(site: Site, carried: list[RouteClass]) -> dict[str, Any]:
    """A service's virtual host in JSON form, for any host."""
    return {
        "name": site.service,
        "domains": ["*"],
        "routes": list(_routes(site, carried)),
        "request_headers_to_remove": [ASKED],
        # What a region says of these is not for clients; what the edge says is added after.
        "response_headers_to_remove": [REASON, "x-envoy-upstream-service-time", "x-envoy-overloaded"],
        "response_headers_to_add": [header(REGION, f"%UPSTREAM_METADATA({METADATA}:region)%")],
    }


def _domains(site: Site, taken: frozenset[str], problems: list[Problem]) -> Iterator[str]:
    for domain in dict.fromkeys(host.lower() for host in site.hosts):
        if not _DOMAIN.fullmatch(domain):
            problems.append(Problem(site.service, f"hosts: {domain!r} is not allowed; allowed: a host name or *"))
        elif domain in taken:
            problems.append(Problem(site.service, f"hosts: {domain!r} belongs to another service"))
        else:
            yield domain


def _unfit(route: RouteClass, problems: list[Problem]) -> bool:
    """Whether nobody could have declared a route so; its requests then go by the next that fits them."""
    try:
        check_route(route)
    except InvalidInputError as err:
        problems.append(Problem(f" {route.prefix}", str(err)))
        return True
    return False


def _routes(site: Site, carried: list[RouteClass]) -> Iterator[dict[str, Any]]:
    trace = {"name": ":method", "string_match": {"exact": "TRACE"}}
    yield {"match": {"prefix": "/", "headers": [trace]}, **direct(ECHO, 405, header("allow", _METHODS))}
    for statement in strictest_first(site.statements):
        yield from _in_areas(site, statement, [matcher(statement)], carried)
    unread = {"match": {"prefix": "/", "headers": [PRESENT]}, **direct(UNKNOWN, 403)}
    yield {**unread, "typed_per_filter_config": {READING_FILTER: _SWITCH_ON}}
    yield from _in_areas(site, (), [], carried)


_SWITCH_ON: Mapping[str, Any] = {
    "@type": TYPE_URL + "envoy.config.route.v3.FilterConfig",
    "config": {"@type": TYPE_URL + "envoy.extensions.filters.http.lua.v3.LuaPerRoute", "name": READING_FILTER},
}


def _in_areas(
    site: Site, statement: tuple[str, ...], stated: _Headers, carried: list[RouteClass]
) -> Iterator[dict[str, Any]]:
    """Routes of requests with one statement. An area without a class of its own is served like the edge's own place."""
    classes = {area: (suffix, exhausted) for asked, area, suffix, exhausted in site.classes if asked == statement}
    for area in (*site.areas, None):
        found = classes.get("" if area is None else area.name)
        if found is None and area is not None:
            continue
        for place in _places(area) if area else [[]]:
            where = [*stated, *place]
            if found is None or found[1]:
                yield {"match": {"prefix": "/", "headers": where}, **direct(EXHAUSTED, 503)}
            else:
                yield from _carried(site.stem + found[0], where, carried)


def _places(area: Area) -> Iterator[_Headers]:
    """The headers by which a client of an area is known, any of them; whoever sends one himself has it removed."""
    if area.network is not None:
        yield [{"name": IP_TAGS, "string_match": {"contains": ip_tag(area.network)}}]
    for first in range(0, len(area.countries), _COUNTRIES_AT_ONCE):
        some = area.countries[first : first + _COUNTRIES_AT_ONCE]
        yield [_regex(COUNTRY, "|".join(re.escape(country) for country in some))]


def ip_tag(network: str) -> str:
    """What a client in a network is tagged with: no tag holds another."""
    return f"<{network}>"


def _carried(cluster: str, where: _Headers, carried: Iterable[RouteClass]) -> Iterator[dict[str, Any]]:
    """Each kind of route twice or thrice: requests that may be repeated, and those that may not."""
    for route in carried:
        yield _route(cluster, route, [*where, _regex(":method", "|".join(IDEMPOTENT))], repeats=True)
        if route.retry_keyed:
            yield _route(cluster, route, [*where, {"name": "idempotency-key", "present_match": True}], repeats=True)
        yield _route(cluster, route, where, repeats=False)


def _route(cluster: str, route: RouteClass, headers: _Headers, *, repeats: bool) -> dict[str, Any]:
    action: dict[str, Any] = {"cluster": cluster, "timeout": seconds(route.timeout_s)}
    if route.timeout_s == 0 or route.timeout_s > _STREAM_IDLE_S:
        action["idle_timeout"] = seconds(route.timeout_s)  # else a stream that is quiet for five minutes is cut
    if route.retries:
        action["retry_policy"] = _retries(route, repeats)
    if route.retries and repeats and route.attempt_timeout_s is not None:
        action["hedge_policy"] = {"hedge_on_per_try_timeout": True}
    return {"match": {"prefix": route.prefix, "headers": headers}, "route": action}


def _retries(route: RouteClass, repeats: bool) -> dict[str, Any]:
    """When a request is tried again: elsewhere each time, in the next tier before the same one."""
    found: dict[str, Any] = {
        "retry_on": _BOLDLY if repeats else _SAFELY,
        "num_retries": route.retries,
        "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.010s"},
        "host_selection_retry_max_attempts": 5,
        "retry_host_predicate": [_plugin("retry_host_predicates.previous_hosts", _PREVIOUS_HOSTS, {})],
        "retry_priority": _plugin(
            "retry_priorities.previous_priorities", _PREVIOUS_PRIORITIES, {"update_frequency": 1}
        ),
    }
    if repeats and route.attempt_timeout_s is not None:
        found["per_try_timeout"] = seconds(route.attempt_timeout_s)
    return found


_PREVIOUS_HOSTS = "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
_PREVIOUS_PRIORITIES = "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig"


def _plugin(name: str, kind: str, config: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"name": f"envoy.{name}", "typed_config": {"@type": TYPE_URL + kind, **config}}


def _regex(name: str, pattern: str) -> Mapping[str, Any]:
    return {"name": name, "string_match": {"safe_regex": {"regex": pattern}}}
