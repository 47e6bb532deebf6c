"""Edges: proxies that carry traffic, where they stand, and how they tell where a client is.

Decides nothing; what each edge is told follows from these in ``traffic.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .model import Point

EDGES = "edges/"
"""Where declared edges live in the store."""

DEFAULT_LISTEN = "127.0.0.1:10000"
"""Where an edge listens when nothing else is said."""


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
