"""Edges: proxies that carry traffic, where they stand, and how they tell where a client is; their documents.

Decides only whether a declaration holds together; what each edge is told follows from these in ``traffic.py``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address, ip_network
from typing import Any

from ..errors import InvalidInputError
from .address import parse_address
from .figures import TRUSTED_HOPS
from .geo import check_point
from .model import Point, parse_enum
from .validation import check_country, check_name

EDGES = "edges/"
"""Where declared edges live in the store."""

DEFAULT_LISTEN = "127.0.0.1:10000"
"""Where an edge listens when nothing else is said."""

_CIDR_ALLOWED = "a block of addresses whose last bits are 0, such as 192.0.2.0/24 or 2001:db8::/32"


class ClientPlace(StrEnum):
    """How an edge tells where a client is: where the edge itself stands, by an MMDB, or by lists of addresses."""

    EDGE = "edge"
    GEOIP = "geoip"
    CIDR = "cidr"


@dataclass(frozen=True, slots=True)
class Network:
    """Clients known by their addresses: a label, CIDR blocks, and where they are.

    ``country``: ISO 3166-1 alpha-2; None when only the place is known.
    """

    name: str
    cidrs: tuple[str, ...]
    point: Point
    country: str | None = None


@dataclass(frozen=True, slots=True)
class EdgeSpec:
    """One edge as declared. Where it stands decides the order of regions that it is given.

    ``listen``: HOST:PORT for clients. ``country``: ISO 3166-1 alpha-2 of the edge itself. ``client_place``: how it
    tells where clients are; ``networks`` are for ``cidr``. ``trusted_hops``: proxies in front whose ``X-Forwarded-For``
    entry is believed.
    """

    edge_id: str
    point: Point
    listen: str = DEFAULT_LISTEN
    country: str | None = None
    client_place: ClientPlace = ClientPlace.EDGE
    networks: tuple[Network, ...] = ()
    trusted_hops: int = 0


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


def parse_listen(listen: object, field: str = "listen") -> tuple[str, int]:
    """The address of a machine (IPv6 without brackets) and the port that ADDRESS:PORT names, for an edge to listen on.

    Raises InvalidInputError.
    """
    return parse_address(listen, field, names=False)


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
    check_name(edge.edge_id, "edge_id")
    check_point(edge.point.latitude, edge.point.longitude)
    parse_listen(edge.listen)
    check_country(edge.country, known_countries)
    parse_enum(ClientPlace, edge.client_place, "client_place")
    TRUSTED_HOPS.check(edge.trusted_hops, "trusted_hops")
    _check_networks(edge, known_countries)


def _check_networks(edge: EdgeSpec, known_countries: Collection[str] | None) -> None:
    if edge.networks and edge.client_place is not ClientPlace.CIDR:
        raise InvalidInputError("client_place", edge.client_place.value, "cidr, because networks are given")
    if not edge.networks and edge.client_place is ClientPlace.CIDR:
        raise InvalidInputError("networks", [], "one network or more, because client_place is cidr")
    names: set[str] = set()
    for position, network in enumerate(edge.networks):
        where = f"networks.{position}"
        check_name(network.name, f"{where}.name")
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
