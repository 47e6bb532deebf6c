"""Brings the shipped facts to the core's plausibility checks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from mahavishnu.integrations.multi_region.core.model import Region
from mahavishnu.integrations.multi_region.core.plausibility import Landmark, MeasuredTo, region_warnings
from mahavishnu.integrations.multi_region.errors import Warning_

from .backbone import measured_pairs
from .catalog import CatalogRegion, find
from .places import Country, cities, countries


def place_warnings(region: Region) -> list[Warning_]:
    """What seems wrong with the region's place by the shipped facts. The region must be valid.

    The catalog and the measurements speak only for a region that carries a provider's own id and names that provider.
    """
    known = find(region.region_id, region.provider)
    return region_warnings(
        region,
        landmarks=landmarks(),
        expected=None if known is None else Landmark(known.metro, known.country, known.point),
        measured=() if known is None else measured_from(known),
    )


def measured_from(region: CatalogRegion) -> tuple[MeasuredTo, ...]:
    """The shortest round trips on record to the provider's other regions, at the places the catalog gives them."""
    least: dict[str, float] = {}
    for pair in measured_pairs(region.provider):
        if region.region_id in (pair.source, pair.target):
            other = pair.target if pair.source == region.region_id else pair.source
            least[other] = min(pair.least_ms, least.get(other, pair.least_ms))
    places = {other: find(other, region.provider) for other in least}
    return tuple(MeasuredTo(other, at.point, least[other]) for other, at in places.items() if at is not None)


@cache
def landmarks() -> Mapping[str, tuple[Landmark, ...]]:
    """Known places by country: its large cities, its largest one, and the centre of its population."""
    places: dict[str, list[Landmark]] = {code: _own(country) for code, country in countries().items()}
    for city in cities():
        places.setdefault(city.country, []).append(Landmark(city.name, city.country, city.point))
    return MappingProxyType({code: tuple(found) for code, found in places.items()})


def _own(country: Country) -> list[Landmark]:
    centre = (f"the centre of {country.name}'s population", country.centroid)
    largest = (country.largest_city or "", country.largest_city_point)
    return [Landmark(name, country.code, point) for name, point in (largest, centre) if point is not None]
