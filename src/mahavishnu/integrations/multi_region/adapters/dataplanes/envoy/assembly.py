"""The routes of an edge as what they are put together from: one serialised virtual host for each service."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from hashlib import blake2b

from .parts import ROUTES_NAME
from .proto import parse
from .resources import ROUTES, Part, Resource
from .wire import varint

_ROUTES = "envoy.config.route.v3.RouteConfiguration"
_VIRTUAL_HOSTS = b"\x12"  # field 2 of RouteConfiguration


def routes_of(parts: Mapping[str, Part]) -> Resource:
    """The routes with these virtual hosts, in this order."""
    body = b"".join((_base(), *(part.body for part in parts.values())))
    return Resource(ROUTES, ROUTES_NAME, body, blake2b(body, digest_size=8).hexdigest())


def part_of(hosts: frozenset[str], virtual_host: bytes) -> Part:
    """A serialised virtual host as a part of the routes. ``hosts``: the names that it answers to."""
    return Part(hosts, _VIRTUAL_HOSTS + varint(len(virtual_host)) + virtual_host)


@cache
def _base() -> bytes:
    """All of the routes but the virtual hosts. A route's own headers are added last, so that they stay."""
    document = {
        "name": ROUTES_NAME,
        "ignore_port_in_host_matching": True,
        "most_specific_header_mutations_wins": True,
    }
    return bytes(parse(_ROUTES, document).SerializeToString(deterministic=True))
