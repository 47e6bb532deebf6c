"""The world that the benchmarks route in: regions in the world's large cities, and clients in and around them."""

from __future__ import annotations

from random import Random
from typing import Any

from mahavishnu.integrations.multi_region.core.model import ComplianceFramework, Region, RegionCapabilities
from mahavishnu.integrations.multi_region.facts.places import City, cities
from mahavishnu.integrations.multi_region.shell.manager import RegionManager

Context = dict[str, Any]


def managed(count: int) -> RegionManager:
    """A manager of so many regions, one in each of the largest cities, all of them well."""
    manager = RegionManager()
    for number, city in enumerate(cities()[:count]):
        region = region_in(f"region-{number}", city, number)
        manager.regions[region.region_id] = region
    return manager


def region_in(region_id: str, city: City, number: int) -> Region:
    """A region in a city. ``number``: regions differ by it in law, health and price."""
    frameworks = (ComplianceFramework.GDPR,) if number % 3 else ()
    return Region(
        region_id,
        name=region_id,
        latitude=city.point.latitude,
        longitude=city.point.longitude,
        country=city.country,
        endpoint=f"https://{region_id}.example.com",
        capabilities=RegionCapabilities(compliance=frameworks, max_capacity=1000),
        health_score=90.0 + number % 10,
        cost_multiplier=1 + number % 7 / 10,
    )


def clients(count: int, **more: Any) -> list[Context]:
    """Request contexts of clients within some hundred km of large cities."""
    dice, found = Random(7), []
    for city in dice.choices(cities(), k=count):
        latitude = max(-90.0, min(90.0, city.point.latitude + dice.gauss(0, 2)))
        longitude = (city.point.longitude + dice.gauss(0, 2) + 180.0) % 360.0 - 180.0
        found.append({"user_location": {"latitude": latitude, "longitude": longitude}, **more})
    return found
