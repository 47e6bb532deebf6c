"""What the demo is made of when requests go through edges: where edges stand, who uses which, the world. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mahavishnu.integrations.multi_region.core.geo import distance_km
from mahavishnu.integrations.multi_region.core.model import Point
from mahavishnu.integrations.multi_region.errors import InvalidInputError

from .faults import Fault, Scenario
from .region_server import STREAM
from .scene import EU_REGIONS, EU_SERVICE, City, Options, Place, delay_s, places, service_of, world

EDGES: Mapping[str, tuple[str, ...]] = {
    "edge-eu": ("eu-west-1", "eu-central-1"),
    "edge-us": ("us-east-1", "us-west-2"),
    "edge-ap": ("ap-southeast-1",),
}
"""The edges, and the regions that each may stand beside."""

ATTEMPT_S = 0.5
"""After so long without an answer an edge asks another region too: three times the farthest round trip."""

REQUEST_S = 3.0
"""How long an edge lets a request take."""

DRAIN_S = 10.0
"""How long a drain waits for requests in flight."""

POLICY = "eu-only"


@dataclass(frozen=True, slots=True)
class EdgeOptions(Options):
    """What the person chose, and which scenario is played. Raises InvalidInputError, UnknownRegionError."""

    scenario: Scenario = Scenario.FAILOVER

    def __post_init__(self) -> None:
        Options.__post_init__(self)
        if self.scenario is Scenario.RESIDENCY and self.victim not in EU_REGIONS:
            allowed = f"one of {', '.join(sorted(EU_REGIONS))}, with --scenario residency"
            raise InvalidInputError("--victim", self.victim, allowed)
        if self.scenario is not Scenario.FAILOVER and self.fault is not Fault.KILL:
            raise InvalidInputError("--fault", self.fault.value, f"kill, or left out, with --scenario {self.scenario}")

    def after_s(self, share: float) -> float:
        """A share of the clients' time, in seconds."""
        return self.seconds * share


@dataclass(frozen=True, slots=True)
class EdgePlace:
    """An edge: where it stands and where it listens (on 127.0.0.1)."""

    edge_id: str
    beside: Place
    port: int

    @property
    def point(self) -> Point:
        """Where it stands."""
        return self.beside.point

    @property
    def url(self) -> str:
        """Where clients reach it."""
        return f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True, slots=True)
class Ask:
    """One request that a client makes. ``stated``: what it asks of the law; ``keyed``: with an Idempotency-Key."""

    service: str
    method: str = "GET"
    keyed: bool = False
    stream: bool = False
    stated: str = ""

    @property
    def path(self) -> str:
        """Its path."""
        return STREAM if self.stream else "/"


def edge_places(options: Options, ports: Mapping[str, int]) -> tuple[EdgePlace, ...]:
    """The edges: each stands beside the victim, if it is of its part of the world, or else beside its first region."""
    by_id = {place.region_id: place for place in places(options)}
    return tuple(
        EdgePlace(edge_id, by_id[options.victim if options.victim in homes else homes[0]], ports[edge_id])
        for edge_id, homes in EDGES.items()
    )


def nearest_edge(city: City, edges: tuple[EdgePlace, ...]) -> EdgePlace:
    """The edge that a city's clients use."""
    return min(edges, key=lambda edge: distance_km(city.point, edge.point))


def leg_s(city: City, edge: EdgePlace) -> float:
    """The round trip between a city and an edge, in seconds."""
    return delay_s(city.point, edge.point)


def ask_of(city: City, number: int, streams: bool) -> Ask:
    """A city's request of that number. Of ten two are POST, one of them with a key; with ``streams`` one is long.

    Every second request of the European service says that it needs gdpr; the others are bound by its policy alone.
    """
    service = service_of(city, number)
    stated = "gdpr" if service == EU_SERVICE and number // city.eu_every % 2 == 0 else ""
    if streams and number % 10 in (2, 7):
        return Ask(service, stream=True, stated=stated)
    if number % 10 in (4, 9):
        return Ask(service, "POST", keyed=number % 10 == 9, stated=stated)
    return Ask(service, stated=stated)


def host_of(service: str) -> str:
    """The host name that a service answers to."""
    return f"{service}.demo.test"


def edge_world(options: Options, endpoints: Mapping[str, str], edges: tuple[EdgePlace, ...]) -> dict[str, Any]:
    """The world file's content: as without edges, with hosts and routes for each service, and the edges."""
    declared = world(options, endpoints)
    carried = [
        {"prefix": STREAM, "timeout": 0, "retry_keyed": True},
        {
            "prefix": "/",
            "timeout": f"{REQUEST_S:g}s",
            "attempt_timeout": f"{1000 * ATTEMPT_S:g}ms",
            "retry_keyed": True,
        },
    ]
    services = [{**service, "hosts": [host_of(service["name"])], "routes": carried} for service in declared["services"]]
    standing = [
        {"id": edge.edge_id, "region": edge.beside.region_id, "listen": f"127.0.0.1:{edge.port}"} for edge in edges
    ]
    return {**declared, "services": services, "edges": standing}


def policy(allowed: frozenset[str]) -> dict[str, Any]:
    """The policy of the European service, with the regions that it allows."""
    (declared,) = world(Options(), {})["policies"]
    body = {name: value for name, value in declared.items() if name != "name"}
    return {**body, "allowed_regions": sorted(allowed)}
