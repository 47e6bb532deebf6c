"""Countries and the 1,000 largest cities, from GeoNames (CC BY 4.0)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from mahavishnu.integrations.multi_region.core.model import Point

from .files import read_rows

WITHDRAWN = frozenset({"AN", "CS"})
"""Codes in the data that ISO 3166-1 has withdrawn (Netherlands Antilles, Serbia and Montenegro)."""


@dataclass(frozen=True, slots=True)
class Country:
    """One country. ``code``: ISO 3166-1 alpha-2, upper case (``XK``, Kosovo, is in common use though not assigned).

    ``continent``: two letters, ``NA`` is North America. ``centroid``: the mean place of its people, not of its land;
    None where nobody lives. ``eu``, ``eea``, ``gdpr_adequacy``: see ``jurisdictions`` for dates and conditions.
    """

    code: str
    name: str
    continent: str
    population: int
    centroid: Point | None
    largest_city: str | None
    largest_city_point: Point | None
    eu: bool
    eea: bool
    gdpr_adequacy: bool


@dataclass(frozen=True, slots=True)
class City:
    """One large city. ``country``: ISO 3166-1 alpha-2; ``timezone``: an IANA name."""

    name: str
    country: str
    point: Point
    population: int
    timezone: str


@cache
def countries() -> Mapping[str, Country]:
    """Every country by its upper-case code; withdrawn codes are left out."""
    rows = (_country(row) for row in read_rows("countries.csv") if row["cc"] not in WITHDRAWN)
    return MappingProxyType({country.code: country for country in rows})


@cache
def cities() -> tuple[City, ...]:
    """The 1,000 largest cities, largest first."""
    return tuple(_city(row) for row in read_rows("cities_1000.csv"))


@cache
def centroids() -> Mapping[str, Point]:
    """Country code (upper case) to the mean place of its people; countries nobody lives in are missing."""
    return MappingProxyType({code: c.centroid for code, c in countries().items() if c.centroid is not None})


def _country(row: Mapping[str, str]) -> Country:
    return Country(
        code=row["cc"],
        name=row["name"],
        continent=row["continent"],
        population=int(row["population"]),
        centroid=_point(row["centroid_lat"], row["centroid_lon"]),
        largest_city=row["largest_city"] or None,
        largest_city_point=_point(row["largest_lat"], row["largest_lon"]),
        eu=row["eu"] == "1",
        eea=row["eea"] == "1",
        gdpr_adequacy=row["gdpr_adequacy"] == "1",
    )


def _city(row: Mapping[str, str]) -> City:
    point = Point(float(row["lat"]), float(row["lon"]))
    return City(row["city"], row["cc"], point, int(row["population"]), row["timezone"])


def _point(latitude: str, longitude: str) -> Point | None:
    return Point(float(latitude), float(longitude)) if latitude and longitude else None
