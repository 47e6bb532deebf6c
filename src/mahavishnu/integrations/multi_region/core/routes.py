"""How requests of one kind are carried by proxies: time limits, retries, hedging; their documents.

Decides only whether a declaration makes sense: each route in itself, those of a service in their order, and the hosts
of all services beside each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from ..errors import InvalidInputError
from .figures import ROUTE, check_number

IDEMPOTENT = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE")
"""Methods whose requests edges may repeat: carried out twice they leave what carried out once leaves (RFC 9110, 9.2.2).

TRACE would be one more; edges refuse it.
"""

_PREFIX = re.compile(r"/[^\s?#\x00-\x1f\x7f]{0,1999}")


@dataclass(frozen=True, slots=True)
class RouteClass:
    """How requests of one kind are carried; the first of a service's that fits a path applies.

    ``prefix``: of the path. ``timeout_s``: for the whole request, 0 for none (streams). ``attempt_timeout_s``: after
    this time without an answer a second attempt is hedged to another region; only for a known, safe p99.9 (at least
    three times it), None for the upstream's liveness check alone. ``retry_keyed``: whether a request with an
    ``Idempotency-Key`` counts as idempotent. ``retries``: further attempts of an idempotent request.
    """

    prefix: str = "/"
    timeout_s: float = 15.0
    attempt_timeout_s: float | None = None
    retry_keyed: bool = False
    retries: int = 2


class Hosted(Protocol):
    """What claims hosts: a service."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host names that it answers to."""


def route_document(route: RouteClass) -> dict[str, Any]:
    """How requests of one kind are carried, as plain data."""
    return asdict(route)


def route_from_document(document: Mapping[str, Any]) -> RouteClass:
    """What ``route_document`` wrote."""
    return RouteClass(**document)


def check_routes(routes: Iterable[RouteClass], field: str = "routes") -> None:
    """Refuse a way of carrying requests that makes no sense, or that no request would ever reach.

    So the first route that fits a path is always the one with the longest prefix. Raises InvalidInputError.
    """
    earlier: list[str] = []
    for position, route in enumerate(routes):
        where = f"{field}.{position}"
        check_route(route, f"{where}.")
        hiding = next((prefix for prefix in earlier if route.prefix.startswith(prefix)), None)
        if hiding is not None:
            allowed = f"a prefix that {hiding!r}, which comes first, does not take: put the longer one before it"
            raise InvalidInputError(f"{where}.prefix", route.prefix, allowed)
        earlier.append(route.prefix)


def check_route(route: RouteClass, where: str = "") -> None:
    """Refuse one way of carrying requests; ``where``: put before the names of its fields. Raises InvalidInputError."""
    check_prefix(route.prefix, f"{where}prefix")
    ROUTE["timeout_s"].check(route.timeout_s, f"{where}timeout_s", "0 (no limit), or ")
    if route.attempt_timeout_s is not None:
        _check_attempt(route, f"{where}attempt_timeout_s")
    ROUTE["retries"].check(route.retries, f"{where}retries")
    if not isinstance(route.retry_keyed, bool):
        raise InvalidInputError(f"{where}retry_keyed", route.retry_keyed, "true or false")


def check_prefix(prefix: object, field: str = "prefix") -> str:
    """The beginning of a path. Raises InvalidInputError."""
    if isinstance(prefix, str) and _PREFIX.fullmatch(prefix):
        return prefix
    raise InvalidInputError(field, prefix, "the beginning of a path: it begins with /, without spaces, ? or #")


def _check_attempt(route: RouteClass, field: str) -> None:
    least, most = ROUTE["attempt_timeout_s"].least, ROUTE["attempt_timeout_s"].most
    ends = route.timeout_s or most
    allowed = f"None, or at least {least:g}s and less than {ends:g}s, the time for the whole request"
    check_number(route.attempt_timeout_s, field, allowed, lambda v: least <= v < ends)


def check_hosts(services: Iterable[Hosted]) -> None:
    """Refuse a host that two services claim; case does not count. Raises InvalidInputError."""
    taken: dict[str, str] = {}
    for service, host in _claims(services):
        owner = taken.setdefault(host.lower(), service)
        if owner != service:
            allowed = f"a host that no other service claims (service {owner} does)"
            raise InvalidInputError(f"services.{service}.hosts", host, allowed)


def _claims(services: Iterable[Hosted]) -> Iterator[tuple[str, str]]:
    return ((service.name, host) for service in services for host in service.hosts)
