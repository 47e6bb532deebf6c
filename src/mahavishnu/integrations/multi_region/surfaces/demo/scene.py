"""What the demo is made of: regions, cities, services, the world that is declared to the controller. No I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mahavishnu.integrations.multi_region.core.geo import distance_km, fibre_floor_ms
from mahavishnu.integrations.multi_region.core.model import Point
from mahavishnu.integrations.multi_region.errors import InvalidInputError, UnknownRegionError
from mahavishnu.integrations.multi_region.facts.catalog import region_from_catalog

from .faults import Fault

STRETCH = 1.5
"""How much longer than light in straight fibre a round trip takes here."""

REGION_IDS = ("us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-southeast-1")
EU_REGIONS = frozenset({"eu-west-1", "eu-central-1"})
"""The only regions that the policy of ``EU_SERVICE`` allows."""

WEB, EU_SERVICE = "web", "eu-app"

HOLD_DOWN_S = 3.0
"""How long a region that went down stays out at least."""


@dataclass(frozen=True, slots=True)
class City:
    """Where clients are. ``eu_every``: one in so many of its requests is for the European service."""

    name: str
    point: Point
    eu_every: int = 4


CITIES = (
    City("Berlin", Point(52.52, 13.41), eu_every=2),
    City("Dublin", Point(53.35, -6.26), eu_every=2),
    City("New York", Point(40.71, -74.01)),
    City("San Francisco", Point(37.77, -122.42)),
    City("São Paulo", Point(-23.55, -46.63)),
    City("Singapore", Point(1.35, 103.82)),
    City("Sydney", Point(-33.87, 151.21)),
    City("Mumbai", Point(19.08, 72.88)),
)
BERLIN = CITIES[0]


@dataclass(frozen=True, slots=True)
class Options:
    """What the person at the keyboard chose.

    ``seconds``: how long clients send requests, 6 to 59. ``rate``: requests/s of all clients together, 8 to 400.
    ``seed``: of the order in which clients begin. Raises InvalidInputError, UnknownRegionError.
    """

    fault: Fault = Fault.KILL
    seconds: float = 30.0
    victim: str = "eu-west-1"
    rate: float = 80.0
    seed: int = 1

    def __post_init__(self) -> None:
        if not 6 <= self.seconds < 60:
            raise InvalidInputError("--seconds", self.seconds, "a number of seconds from 6 to below 60")
        if not len(CITIES) <= self.rate <= 400:
            raise InvalidInputError(
                "--rate", self.rate, f"requests/s of all clients together, from {len(CITIES)} to 400"
            )
        if self.victim not in REGION_IDS:
            raise UnknownRegionError(self.victim, list(REGION_IDS))

    @property
    def fault_after_s(self) -> float:
        """When the fault begins, in seconds after the first request."""
        return self.seconds / 3

    @property
    def mended_after_s(self) -> float:
        """When the fault ends, in seconds after the first request."""
        return self.seconds * 0.7

    @property
    def probes(self) -> dict[str, Any]:
        """How the regions are probed."""
        return {"interval": "250ms", "timeout": "200ms", "fall": 2, "rise": 3}

    @property
    def services(self) -> list[dict[str, Any]]:
        """The services as the world file declares them."""
        return [
            {"name": WEB, "strategy": "latency_based", "priority": 10, "failback": "auto"},
            {"name": EU_SERVICE, "strategy": "latency_based", "policy": "eu-only", "priority": 1, "failback": "auto"},
        ]

    @property
    def capacity(self) -> int:
        """What each region can take, in requests/s: three quarters of all the clients' requests."""
        return max(20, math.ceil(0.75 * self.rate))


@dataclass(frozen=True, slots=True)
class Place:
    """One region of the demo: where it is and what it can take, in requests/s."""

    region_id: str
    name: str
    point: Point
    capacity: int


def places(options: Options) -> tuple[Place, ...]:
    """The regions, as the catalog knows them."""
    return tuple(_place(region_id, options.capacity) for region_id in REGION_IDS)


def _place(region_id: str, capacity: int) -> Place:
    region = region_from_catalog(region_id, endpoint="")
    return Place(region_id, region.name, Point(region.latitude, region.longitude), capacity)


def delay_s(client: Point, region: Point) -> float:
    """The round trip between a client and a region, in seconds."""
    return fibre_floor_ms(distance_km(client, region)) * STRETCH / 1000.0


def service_of(city: City, number: int) -> str:
    """The service that a city's request of that number is for."""
    return EU_SERVICE if number % city.eu_every == 0 else WEB


def world(options: Options, endpoints: Mapping[str, str]) -> dict[str, Any]:
    """The world file's content: ``endpoints`` is region id to URL."""
    return {
        "version": 1,
        "regions": [_region(region_id, url, options) for region_id, url in endpoints.items()],
        "policies": [
            {
                "name": "eu-only",
                "compliance_requirements": ["gdpr"],
                "allowed_regions": sorted(EU_REGIONS),
                "locality_level": "strict",
                "cross_region_transfer": False,
            }
        ],
        "services": options.services,
    }


def _region(region_id: str, url: str, options: Options) -> dict[str, Any]:
    return {
        "id": region_id,
        "endpoint": url,
        "max_capacity": options.capacity,
        "compliance": ["gdpr"] if region_id in EU_REGIONS else ["soc2"],
        "health": {"path": "/healthz", "hold_down": f"{HOLD_DOWN_S:g}s", **options.probes},
    }
