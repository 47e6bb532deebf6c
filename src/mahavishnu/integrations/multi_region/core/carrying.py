"""Edges, and how requests are carried, as declared: their documents, and what they must be to be taken.

Decides only whether a declaration holds together; what edges are told is decided from it elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from ipaddress import ip_address, ip_network
from typing import Any

from ..errors import InvalidInputError
from .edges import EDGES, ClientPlace, EdgeSpec, Network
from .geo import check_number, check_point
from .model import Point, Service, parse_enum
from .routes import RouteClass
from .validation import REGION_ID, check_country

MOST_RETRIES = 10
MOST_HOPS = 100
LONGEST_S = 86_400.0
_PREFIX = re.compile(r"/[^\s?#\x00-\x1f\x7f]{0,1999}")
_LISTEN = re.compile(r"(\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<four>[0-9.]+)):(?P<port>[0-9]{1,5})")
_LISTEN_ALLOWED = "an address of this machine and a port, such as 127.0.0.1:10000, 0.0.0.0:443 or [::1]:10000"
_CIDR_ALLOWED = "a block of addresses whose last bits are 0, such as 192.0.2.0/24 or 2001:db8::/32"
_NAME_ALLOWED = "1 to 63 letters, digits, '.', '_', ':' or '-', the first a letter or a digit"


def edge_key(edge_id: str) -> str:
    """Where an edge's document lives."""
    return EDGES + edge_id


def edge_document(edge: EdgeSpec) -> dict[str, Any]:
    """An edge as plain data."""
    return {
        "edge_id": edge.edge_id,
        "latitude": edge.point.latitude,
        "longitude": edge.point.longitude,
        "country": edge.country,
        "listen": edge.listen,
        "client_place": edge.client_place.value,
        "networks": [_network_document(network) for network in edge.networks],
        "trusted_hops": edge.trusted_hops,
    }


def edge_from_document(document: Mapping[str, Any]) -> EdgeSpec:
    """The edge that ``edge_document`` wrote."""
    return EdgeSpec(
        edge_id=document["edge_id"],
        point=Point(document["latitude"], document["longitude"]),
        listen=document["listen"],
        country=document["country"],
        client_place=parse_enum(ClientPlace, document["client_place"], "client_place"),
        networks=tuple(_network_from(given) for given in document["networks"]),
        trusted_hops=document["trusted_hops"],
    )


def _network_document(network: Network) -> dict[str, Any]:
    return {
        "name": network.name,
        "cidrs": list(network.cidrs),
        "latitude": network.point.latitude,
        "longitude": network.point.longitude,
        "country": network.country,
    }


def _network_from(document: Mapping[str, Any]) -> Network:
    point = Point(document["latitude"], document["longitude"])
    return Network(document["name"], tuple(document["cidrs"]), point, document["country"])


def route_document(route: RouteClass) -> dict[str, Any]:
    """How requests of one kind are carried, as plain data."""
    return asdict(route)


def route_from_document(document: Mapping[str, Any]) -> RouteClass:
    """What ``route_document`` wrote."""
    return RouteClass(**document)


# --- edges ------------------------------------------------------------------------------------


def parse_listen(listen: object, field: str = "listen") -> tuple[str, int]:
    """The address (IPv6 without brackets) and the port that HOST:PORT names. Raises InvalidInputError."""
    found = _LISTEN.fullmatch(listen) if isinstance(listen, str) else None
    if found is None or not 1 <= int(found["port"]) <= 65_535:
        raise InvalidInputError(field, listen, _LISTEN_ALLOWED)
    host = found["six"] or found["four"]
    try:
        fits = ip_address(host).version == (6 if found["six"] else 4)
    except ValueError:
        fits = False
    if not fits:
        raise InvalidInputError(field, listen, _LISTEN_ALLOWED)
    return host, int(found["port"])


def parse_cidr(cidr: object, field: str = "cidr") -> str:
    """A block of addresses in its usual spelling; a single address is a block of one. Raises InvalidInputError."""
    if not isinstance(cidr, str) or "%" in cidr:  # a zone names a wire of one machine
        raise InvalidInputError(field, cidr, _CIDR_ALLOWED)
    try:
        return str(ip_network(cidr))
    except ValueError:
        raise InvalidInputError(field, cidr, _cidr_hint(cidr)) from None


def _cidr_hint(cidr: str) -> str:
    try:
        return f"did you mean {str(ip_network(cidr, strict=False))!r}? {_CIDR_ALLOWED}"
    except ValueError:
        return _CIDR_ALLOWED


def check_edge(edge: EdgeSpec, known_countries: Collection[str] | None = None) -> None:
    """Refuse an edge that could not work. Raises InvalidInputError at the first field that is wrong.

    ``known_countries``: upper-case ISO 3166-1 alpha-2 codes; None accepts any two capital letters.
    """
    _check_name(edge.edge_id, "edge_id")
    check_point(edge.point.latitude, edge.point.longitude)
    parse_listen(edge.listen)
    check_country(edge.country, known_countries)
    parse_enum(ClientPlace, edge.client_place, "client_place")
    _check_whole(edge.trusted_hops, "trusted_hops", MOST_HOPS)
    _check_networks(edge, known_countries)


def _check_networks(edge: EdgeSpec, known_countries: Collection[str] | None) -> None:
    if edge.networks and edge.client_place is not ClientPlace.CIDR:
        raise InvalidInputError("client_place", edge.client_place.value, "cidr, because networks are given")
    if not edge.networks and edge.client_place is ClientPlace.CIDR:
        raise InvalidInputError("networks", [], "one network or more, because client_place is cidr")
    names: set[str] = set()
    for position, network in enumerate(edge.networks):
        where = f"networks.{position}"
        _check_name(network.name, f"{where}.name")
        if network.name in names:
            raise InvalidInputError(f"{where}.name", network.name, "a name that no other network of the edge has")
        names.add(network.name)
        check_point(network.point.latitude, network.point.longitude, where)
        check_country(network.country, known_countries, f"{where}.country")
    _check_blocks(edge.networks)


def _check_blocks(networks: Sequence[Network]) -> None:
    """Refuse networks without addresses, what is no block, and a client that would be in two networks."""
    blocks = []
    for position, network in enumerate(networks):
        where = f"networks.{position}.cidrs"
        if not network.cidrs:
            raise InvalidInputError(where, [], f"at least one entry, each {_CIDR_ALLOWED}")
        for place, cidr in enumerate(network.cidrs):
            block = ip_network(parse_cidr(cidr, f"{where}.{place}"))
            span = (block.version, int(block.network_address), -int(block.broadcast_address))
            blocks.append((span, position, place))
    around = ((0, 0, 0), 0, 0)  # blocks lie within each other or apart, so the one before tells
    for span, position, place in sorted(blocks):
        (version, _, last), owner, _ = around
        if version == span[0] and span[1] <= -last and owner != position:
            allowed = f"a block that has no address of network {networks[owner].name} in it"
            raise InvalidInputError(f"networks.{position}.cidrs.{place}", networks[position].cidrs[place], allowed)
        if version != span[0] or span[1] > -last:
            around = (span, position, place)


def check_edges(edges: Iterable[EdgeSpec], known_countries: Collection[str] | None = None) -> None:
    """Refuse edges that could not work, by themselves or beside each other: of one id, or one address to listen on.

    Raises InvalidInputError.
    """
    ids: set[str] = set()
    taken: dict[tuple[str, int], str] = {}
    for edge in edges:
        check_edge(edge, known_countries)
        if edge.edge_id in ids:
            raise InvalidInputError("edges.edge_id", edge.edge_id, "an id that no other edge has")
        ids.add(edge.edge_id)
        place = listening_place(edge.listen)
        if place is not None and place in taken:
            allowed = f"an address that no other edge listens on ({taken[place]} does)"
            raise InvalidInputError(f"edges.{edge.edge_id}.listen", edge.listen, allowed)
        if place is not None:
            taken[place] = edge.edge_id


def listening_place(listen: object) -> tuple[str, int] | None:
    """What only one edge may listen on; None for all addresses of a machine: each edge may stand on its own.

    Raises InvalidInputError.
    """
    host, port = parse_listen(listen)
    address = ip_address(host)
    return None if address.is_unspecified else (str(address), port)


# --- how requests are carried -----------------------------------------------------------------


def check_routes(routes: Iterable[RouteClass], field: str = "routes") -> None:
    """Refuse a way of carrying requests that makes no sense, or that no request would ever reach.

    So the first route that fits a path is always the one with the longest prefix. Raises InvalidInputError.
    """
    earlier: list[str] = []
    for position, route in enumerate(routes):
        where = f"{field}.{position}"
        check_prefix(route.prefix, f"{where}.prefix")
        hiding = next((prefix for prefix in earlier if route.prefix.startswith(prefix)), None)
        if hiding is not None:
            allowed = f"a prefix that {hiding!r}, which comes first, does not take: put the longer one before it"
            raise InvalidInputError(f"{where}.prefix", route.prefix, allowed)
        earlier.append(route.prefix)
        _check_times(route, where)
        _check_whole(route.retries, f"{where}.retries", MOST_RETRIES)
        if not isinstance(route.retry_keyed, bool):
            raise InvalidInputError(f"{where}.retry_keyed", route.retry_keyed, "true or false")


def check_prefix(prefix: object, field: str = "prefix") -> str:
    """The beginning of a path. Raises InvalidInputError."""
    if isinstance(prefix, str) and _PREFIX.fullmatch(prefix):
        return prefix
    raise InvalidInputError(field, prefix, "the beginning of a path: it begins with /, without spaces, ? or #")


def _check_times(route: RouteClass, where: str) -> None:
    allowed = f"a number of seconds from 0 (no limit) to {LONGEST_S:g}"
    check_number(route.timeout_s, f"{where}.timeout_s", allowed, lambda v: 0 <= v <= LONGEST_S)
    attempt = route.attempt_timeout_s
    if attempt is None:
        return
    ends = route.timeout_s or LONGEST_S
    allowed = f"more than 0s and less than {ends:g}s, the time for the whole request"
    check_number(attempt, f"{where}.attempt_timeout_s", allowed, lambda v: 0 < v < ends)


def check_hosts(services: Iterable[Service]) -> None:
    """Refuse a host that two services claim; case does not count. Raises InvalidInputError."""
    taken: dict[str, str] = {}
    for service, host in _claims(services):
        owner = taken.setdefault(host.lower(), service)
        if owner != service:
            allowed = f"a host that no other service claims (service {owner} does)"
            raise InvalidInputError(f"services.{service}.hosts", host, allowed)


def _claims(services: Iterable[Service]) -> Iterator[tuple[str, str]]:
    return ((service.name, host) for service in services for host in service.hosts)


def _check_name(name: object, field: str) -> None:
    if not isinstance(name, str) or not REGION_ID.fullmatch(name):
        raise InvalidInputError(field, name, _NAME_ALLOWED)


def _check_whole(value: object, field: str, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise InvalidInputError(field, value, f"a whole number from 0 to {most}")
