"""Edges and routes of a world file: what they become, and what is wrong with them beyond their shape."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from mahavishnu.integrations.multi_region.core.carrying import check_edge, check_routes, listening_place
from mahavishnu.integrations.multi_region.core.edges import DEFAULT_LISTEN, EdgeSpec, Network
from mahavishnu.integrations.multi_region.core.model import Point, Region
from mahavishnu.integrations.multi_region.core.routes import RouteClass
from mahavishnu.integrations.multi_region.errors import InvalidInputError

from .nodes import MISSING, Flaw, Loc
from .schema import EdgeEntry, NetworkEntry, ServiceEntry
from .shape import entries

_NOWHERE = Point(0.0, 0.0)
"""Stands for the place of a region, where only the rest of an edge is looked at."""


def build_edge(entry: EdgeEntry, region: Region | None) -> EdgeSpec:
    """The edge of an entry; ``region``: the one that it stands at, when it names one."""
    if region is not None:
        point = Point(region.latitude, region.longitude)
    elif entry.latitude is not None and entry.longitude is not None:
        point = Point(entry.latitude, entry.longitude)
    else:
        point = _NOWHERE
    return EdgeSpec(
        edge_id=entry.id,
        point=point,
        listen=entry.listen,
        country=entry.country or (region.country if region is not None else None),
        client_place=entry.client_place,
        networks=tuple(_network(network) for network in entry.networks),
        trusted_hops=entry.trusted_hops,
    )


def _network(entry: NetworkEntry) -> Network:
    return Network(entry.name, tuple(entry.cidrs), Point(entry.latitude or 0.0, entry.longitude or 0.0), entry.country)


def edge_flaws(entry: EdgeEntry, position: int) -> Iterator[Flaw]:
    """What is wrong with an edge of the right shape."""
    here: Loc = ("edges", position)
    yield from _place_flaws(entry, here)
    try:
        check_edge(build_edge(entry, None))
    except InvalidInputError as error:
        yield Flaw((*here, *_own_path(error.field)), error.value, error.allowed)


def _place_flaws(entry: EdgeEntry, here: Loc) -> Iterator[Flaw]:
    given = [name for name in ("latitude", "longitude") if getattr(entry, name) is not None]
    if entry.region is not None:
        for name in given:
            allowed = "to be left out, because region says where the edge stands"
            yield Flaw((*here, name), getattr(entry, name), allowed, at_key=True)
    elif not given:
        yield Flaw((*here, "region"), MISSING, "needed here: a declared region, or latitude and longitude")
    elif len(given) == 1:
        other = "longitude" if given == ["latitude"] else "latitude"
        yield Flaw((*here, other), MISSING, f"needed here, in degrees, because {given[0]} is given")


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
        yield Flaw(("services", position, *_own_path(error.field)), error.value, error.allowed)


def _own_path(field: str) -> Loc:
    """``routes.0.timeout_s`` as the file's ``routes``, 0, ``timeout``."""
    return tuple(int(part) if part.isdecimal() else re.sub("_s$", "", part) for part in field.split("."))


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
