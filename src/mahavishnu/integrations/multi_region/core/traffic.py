"""What each edge is to do with each kind of request: the plan that data planes carry out.

A *class* is a service together with what its requests ask of the law and where their clients are; each has its own
tiers of regions, and holds none that may not serve it (L6). How a plan is made is in ``steering.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from urllib.parse import unquote

from .edges import EdgeSpec
from .model import HealthCheck, UpstreamProtocol
from .routes import RouteClass

_ESCAPED = str.maketrans({"%": "%25", "~": "%7E", "@": "%40"})
_AFTER_SERVICE = re.compile("[~@]")


class Standing(StrEnum):
    """What an edge is told of a region: use it, let requests in flight finish, or send nothing."""

    SERVING = "serving"
    DRAINING = "draining"
    OUT = "out"


@dataclass(frozen=True, slots=True)
class Target:
    """One region in one tier. ``weight``: its part of the tier's traffic, 1 or more, relative to the others.

    ``endpoint``: the region's URL. ``check``: how edges watch it for themselves. ``rtt_ms``: an upper bound of the
    round trip from the edge in ms, in steps coarse enough that it seldom changes; 0 for near.
    """

    region_id: str
    endpoint: str
    weight: int
    standing: Standing
    protocol: UpstreamProtocol
    check: HealthCheck
    rtt_ms: int = 0


@dataclass(frozen=True, slots=True)
class TrafficClass:
    """Requests of one service that ask the same of the law, from one area.

    ``requirements``: frameworks that requests state beyond the service's policy, sorted. ``area``: "" for clients at
    the edge's own place. ``tiers``: the first with a region in service takes the traffic; a region stands in one tier.
    ``excluded``: why each other region is in none. ``exhausted``: why the class can serve nobody, None when it can.
    ``overload``: requests/s of its demand beyond the room of all regions that it may use; edges do not shed them.
    """

    service: str
    requirements: tuple[str, ...]
    area: str
    tiers: tuple[tuple[Target, ...], ...]
    excluded: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    exhausted: str | None = None
    overload: float = 0.0

    @property
    def name(self) -> str:
        """``api``, ``api~gdpr``, ``api~gdpr+hipaa``, each with ``@area`` where clients are told apart.

        No two classes share one: ``%``, ``~`` and ``@`` in a service's own name are written as in URLs.
        """
        law = "~" + "+".join(self.requirements) if self.requirements else ""
        return f"{self.service.translate(_ESCAPED)}{law}{'@' + self.area if self.area else ''}"

    @property
    def targets(self) -> Iterator[Target]:
        """Every region of the class, tier by tier."""
        return (target for tier in self.tiers for target in tier)


def service_of(class_name: str) -> str:
    """The service that a class of this name (``TrafficClass.name``) is of."""
    return unquote(_AFTER_SERVICE.split(class_name, maxsplit=1)[0])


@dataclass(frozen=True, slots=True)
class Area:
    """Clients that get one order of regions. ``countries``: ISO codes, by an MMDB; ``network``: a declared network."""

    name: str
    countries: tuple[str, ...] = ()
    network: str | None = None


@dataclass(frozen=True, slots=True)
class ServiceTraffic:
    """One service at one edge. ``routes``: at least one, the last fits every path. ``hosts``: ``*`` for any.

    ``requirements``: the statements of requests that the edge understands, each sorted, none empty; every other one is
    refused. ``classes``: one with area "" for each statement and for none; an area that has no class of its own for a
    statement is served by that one.
    """

    service: str
    hosts: tuple[str, ...]
    routes: tuple[RouteClass, ...]
    requirements: tuple[tuple[str, ...], ...]
    classes: tuple[TrafficClass, ...]


@dataclass(frozen=True, slots=True)
class EdgePlan:
    """All that one edge is told. ``areas``: the last is "", of clients that belong to none, or cannot be placed.

    ``countries`` of "" get there what they would get in an area of their own.
    """

    edge: EdgeSpec
    areas: tuple[Area, ...]
    services: tuple[ServiceTraffic, ...]

    @property
    def classes(self) -> Iterator[TrafficClass]:
        """Every class of every service."""
        return (kind for service in self.services for kind in service.classes)


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a region is, whichever class it is in. ``grounds``: what law goes by; where they are equal, its word is."""

    endpoint: str
    protocol: UpstreamProtocol
    check: HealthCheck
    grounds: object = None


@dataclass(frozen=True, slots=True)
class TrafficPlan:
    """What every edge is told. ``revision``: of the intent; ``generation``: of the fleet that it was made from.

    ``regions``: every region of that fleet, those that are in no class among them.
    """

    revision: int
    generation: int
    edges: Mapping[str, EdgePlan] = field(default_factory=lambda: MappingProxyType({}))
    regions: Mapping[str, Whereabouts] = field(default_factory=lambda: MappingProxyType({}))
