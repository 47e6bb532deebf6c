"""Edges and routes of a world file: what is wrong with them beyond their shape, and what routes become."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mahavishnu.integrations.multi_region.core.edges import DEFAULT_LISTEN, check_edge, listening_place
from mahavishnu.integrations.multi_region.core.routes import RouteClass, check_routes
from mahavishnu.integrations.multi_region.errors import InvalidInputError

from .declared import declared_edge, edge_place_errors
from .nodes import Flaw, Loc, flaw_of
from .schema import EdgeEntry, ServiceEntry
from .shape import entries


def edge_flaws(entry: EdgeEntry, position: int) -> Iterator[Flaw]:
    """What is wrong with an edge of the right shape; whether its region is declared is told elsewhere."""
    here: Loc = ("edges", position)
    said = entry.model_dump()
    yield from (flaw_of(error, here) for error in edge_place_errors(said))
    try:
        check_edge(declared_edge(entry.id, said, None))
    except InvalidInputError as error:
        yield flaw_of(error, here)


def routes(entry: ServiceEntry) -> tuple[RouteClass, ...]:
    """How the service's requests are carried."""
    return tuple(
        RouteClass(route.prefix, route.timeout, route.attempt_timeout, route.retry_keyed, route.retries)
        for route in entry.routes
    )


def route_flaws(entry: ServiceEntry, position: int) -> Iterator[Flaw]:
    """What is wrong with routes of the right shape."""
    try:
        check_routes(routes(entry))
    except InvalidInputError as error:
        yield flaw_of(error, ("services", position))


def claimed_twice(data: Any, line: Callable[[Loc], int]) -> Iterator[Flaw]:
    """Hosts that two services claim, and addresses that two edges listen on, in the data as written."""
    yield from _repeats(_hosts(data), line, "a host that no other service claims")
    yield from _repeats(_places(data), line, "an address that no other edge listens on")


def _repeats(claims: Iterator[tuple[Loc, object, str]], line: Callable[[Loc], int], allowed: str) -> Iterator[Flaw]:
    first: dict[object, Loc] = {}
    for loc, claim, written in claims:
        before = first.setdefault(claim, loc)
        if before[:2] != loc[:2]:
            found = line(before) or line(before[:2])
            yield Flaw(loc, written, f"{allowed} (first on line {found})" if found else allowed)


def _hosts(data: Any) -> Iterator[tuple[Loc, object, str]]:
    for position, service in entries(data, "services").items():
        listed = service.get("hosts")
        for place, host in enumerate(listed if isinstance(listed, list) else ()):
            if isinstance(host, str):
                yield ("services", position, "hosts", place), host.lower(), host


def _places(data: Any) -> Iterator[tuple[Loc, object, str]]:
    for position, edge in entries(data, "edges").items():
        listen = edge.get("listen", DEFAULT_LISTEN)
        try:
            place = listening_place(listen)
        except InvalidInputError:  # its own flaw, found in its shape
            continue
        if place is not None:
            yield ("edges", position, "listen"), place, str(listen)
