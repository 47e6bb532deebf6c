"""Network zones and the shipped latency model: whose zone a client or a region is in, and what a round trip costs.

The curve and the extra time per pair of zones were fitted on round trips between cities, of 2018 and 2020; they are
statistics, not measurements. A zone is a position in ``latency_model().zones``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache, lru_cache
from operator import mul
from types import MappingProxyType
from typing import Any

from mahavishnu.integrations.multi_region.core.geo import distance_km
from mahavishnu.integrations.multi_region.core.latency import LatencyModel, cell_centre, cell_of, unit_vector
from mahavishnu.integrations.multi_region.core.model import CloudProvider, Point, RegionView

from .backbone import measured_rtt_ms
from .catalog import find
from .files import read_json
from .places import cities

_FILE = "zone_extra_ms.json"

NORTH_AMERICA = frozenset({"US", "CA"})
NAW_WEST_OF, NAC_WEST_OF = -104.0, -86.0
RUE_EAST_OF = 60.0
"""Where countries that span several zones are cut, in degrees of longitude, as the file's ``split`` says."""

SAME_PLACE_KM = 250.0
"""A region this close to the catalog's place for its id counts as the one that was measured."""


@cache
def latency_model() -> LatencyModel:
    """The model that ships."""
    raw = _raw()
    return LatencyModel(
        zones=tuple(raw["zones"]),
        knots_km=tuple(map(float, raw["knots_km"])),
        base_ms=tuple(map(float, raw["base_ms"])),
        fade_km=float(raw["fade_km"]),
        extra_ms=tuple(tuple(map(float, row)) for row in raw["extra_ms"]),
    )


# --- zones ------------------------------------------------------------------------------------


def zone_of_country(country: str | None, longitude: float) -> int | None:
    """The zone of a place in a country (ISO 3166-1 alpha-2, upper case); ``longitude`` matters in US, CA and RU.

    None when no country is given or no zone lists it. Across the antimeridian the countries go on: Chukotka is east,
    the outer Aleutians are west.
    """
    if country in NORTH_AMERICA:
        return latency_model().zone_index(_north_american(longitude - 360.0 if longitude > 0 else longitude))
    if country == "RU":
        east = longitude > RUE_EAST_OF or longitude < 0
        return latency_model().zone_index("RUE" if east else "RUW")
    return _zones_by_country().get(country or "")


@cache
def zone_of_cell(cell: int) -> int:
    """The zone of a 1 degree cell: that of the large city nearest to its centre, in a country that a zone lists.

    A country that is cut by longitude is cut at the cell's centre.
    """
    return _zone_by_city(cell_centre(cell))


def zone_of_client(location: Point, country: str | None = None) -> int:
    """The zone of a client: its country's, or its cell's where no country is given or no zone lists it.

    The same for all clients of a cell that give the same country, or none.
    """
    cell = cell_of(location.latitude, location.longitude)
    if country is not None:
        found = zone_of_country(country, cell_centre(cell).longitude)
        if found is not None:
            return found
    return zone_of_cell(cell)


def zone_of_region(location: Point, country: str | None = None) -> int:
    """The zone of a region: its country's, or that of the nearest large city where its country says nothing."""
    found = zone_of_country(country, location.longitude)
    return _zone_by_city(location) if found is None else found


# --- between regions --------------------------------------------------------------------------


def region_rtt_ms(a: RegionView, b: RegionView) -> float:
    """Round trip in ms from region ``a`` to ``b``: measured on their provider's backbone, or else predicted.

    A measurement counts when both are of one provider, have its ids, and stand where the catalog has those.
    """
    alike = a.provider is b.provider and a.provider is not CloudProvider.OTHER  # whose regions no catalog has
    measured = _measured_ms(a, b) if alike else None
    if measured is not None:
        return measured
    zones = zone_of_region(a.point, a.country), zone_of_region(b.point, b.country)
    return latency_model().estimate_ms(distance_km(a.point, b.point), *zones)


def _measured_ms(a: RegionView, b: RegionView) -> float | None:
    """What two regions of one provider measured, None where they did not."""
    first = _name_in_catalog(a.region_id, a.provider, a.point)
    if first is None:
        return None
    second = _name_in_catalog(b.region_id, b.provider, b.point)
    return None if second is None else measured_rtt_ms(a.provider, first, second)


@lru_cache(maxsize=4096)
def _name_in_catalog(region_id: str, provider: CloudProvider, point: Point) -> str | None:
    """The provider's own name of a region, None for one that the catalog does not have at this place."""
    known = find(region_id, provider)
    return known.region_id if known is not None and distance_km(known.point, point) <= SAME_PLACE_KM else None


# --- the tables behind ------------------------------------------------------------------------


@cache
def _raw() -> Mapping[str, Any]:
    return MappingProxyType(read_json(_FILE))


@cache
def _zones_by_country() -> Mapping[str, int]:
    """Zones of the countries that are not cut."""
    model = latency_model()
    listed = _raw()["countries"].items()
    return MappingProxyType({country: model.zone_index(zone) for zone, codes in listed for country in codes})


def _north_american(longitude: float) -> str:
    if longitude < NAW_WEST_OF:
        return "NAW"
    return "NAC" if longitude < NAC_WEST_OF else "NAE"


@lru_cache(maxsize=4096)
def _zone_by_city(point: Point) -> int:
    """The zone of the nearest large city's country, cut at the point's own longitude."""
    x, y, z = unit_vector(point)
    _, found = max((x * a + y * b + z * c, -city) for city, (a, b, c) in _cities_near(*_block_of(point)))
    zone = zone_of_country(zoned_cities()[1][-found], point.longitude)
    assert zone is not None  # only cities of countries with a zone are asked
    return zone


_BLOCK = 10
"""Degrees of latitude and of longitude of the blocks by which cities are looked up."""


def _block_of(point: Point) -> tuple[int, int]:
    """The row and the column of a place's block, from the south pole and the antimeridian."""
    row, column = int(point.latitude + 90.0) // _BLOCK, int(point.longitude + 180.0) // _BLOCK
    return min(row, 180 // _BLOCK - 1), min(column, 360 // _BLOCK - 1)


@cache
def _cities_near(row: int, column: int) -> tuple[tuple[int, tuple[float, float, float]], ...]:
    """The cities that can be the nearest to a place in a block, by their number, with their unit vectors.

    No place of the block is farther from its middle than half its diagonal (on a plane it would be that, here it is
    less), so the nearest city to a place is at most the whole diagonal farther from the middle than the nearest there.
    """
    middle = unit_vector(Point((row + 0.5) * _BLOCK - 90.0, (column + 0.5) * _BLOCK - 180.0))
    vectors = zoned_cities()[0]
    nearness = [sum(map(mul, middle, vector)) for vector in vectors]
    reach = math.acos(min(1.0, max(nearness))) + math.radians(math.hypot(_BLOCK, _BLOCK)) + 1e-6
    least = math.cos(min(math.pi, reach))
    return tuple((city, vectors[city]) for city, near in enumerate(nearness) if near >= least)


@cache
def zoned_cities() -> tuple[tuple[tuple[float, float, float], ...], tuple[str, ...]]:
    """The large cities whose country a zone lists: their unit vectors, and their countries."""
    zoned = [city for city in cities() if zone_of_country(city.country, city.point.longitude) is not None]
    return tuple(unit_vector(city.point) for city in zoned), tuple(city.country for city in zoned)
