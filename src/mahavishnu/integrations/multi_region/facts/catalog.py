"""The catalog of real cloud regions: an id is enough to know name, provider, place, country and price.

Places are the regions' metros, from the providers' public names; prices and grid carbon are figures of 2023-2025.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from types import MappingProxyType
from typing import Any

from mahavishnu.integrations.multi_region.core.model import CloudProvider, Point, Region, parse_enum
from mahavishnu.integrations.multi_region.errors import InvalidInputError, nearest_hint

from .files import read_json


@dataclass(frozen=True, slots=True)
class CatalogRegion:
    """One region of one provider.

    ``latitude``, ``longitude``: degrees, WGS 84, of the metro. ``country``: ISO 3166-1 alpha-2; ``continent``: two
    letters, ``NA`` is North America. ``price_multiplier``: 1.0 is the provider's reference region; None: not known;
    ``price_is_estimate``: derived from a neighbour, not from a price list. ``carbon_gco2_kwh``: of the grid, g/kWh.
    ``eea`` and ``gdpr_adequacy`` follow the country; see ``jurisdictions`` for dates and conditions.
    """

    region_id: str
    provider: CloudProvider
    name: str
    metro: str
    country: str
    continent: str
    latitude: float
    longitude: float
    eea: bool
    gdpr_adequacy: bool
    price_multiplier: float | None
    price_is_estimate: bool
    egress_usd_per_gb: float | None
    carbon_gco2_kwh: float | None

    @property
    def point(self) -> Point:
        """Where the region's metro is."""
        return Point(self.latitude, self.longitude)


@cache
def all_regions() -> tuple[CatalogRegion, ...]:
    """Every region, in the file's order: AWS first."""
    return tuple(_parse(raw) for raw in read_json("cloud_regions.json"))


def find(region_id: str, provider: CloudProvider | str | None = None) -> CatalogRegion | None:
    """The catalog's region of that id, or None.

    Several providers share ids: a plain ``us-east-1`` means the first in the file's order (AWS); ``alibaba:us-east-1``
    or ``provider`` picks another. Raises InvalidInputError when ``provider`` names no provider.
    """
    wanted = None if provider is None else parse_enum(CloudProvider, provider, "provider")
    prefix, plain = _split(region_id)
    if prefix and wanted and prefix is not wanted:
        return None
    return _index().get((prefix or wanted, plain))


def region_from_catalog(
    region_id: str, *, endpoint: str, provider: CloudProvider | str | None = None, **overrides: Any
) -> Region:
    """A Region with everything the catalog knows; it keeps ``region_id`` as given, a provider prefix included.

    ``overrides`` replace any field of Region. An unknown price counts as 1.0. Raises InvalidInputError when the
    catalog has no such region (naming the nearest) or Region has no such field.
    """
    known = find(region_id, provider)
    if known is None:
        raise InvalidInputError("region_id", region_id, "a region of the catalog; " + _hint(region_id, provider))
    names = [f.name for f in fields(Region)]
    for name in overrides:
        if name not in names:
            raise InvalidInputError("overrides", name, nearest_hint(name, names))
    return Region(**{**_region_fields(known), "region_id": region_id, "endpoint": endpoint, **overrides})


def _region_fields(known: CatalogRegion) -> dict[str, Any]:
    return {
        "name": known.name,
        "provider": known.provider,
        "location": known.metro,
        "latitude": known.latitude,
        "longitude": known.longitude,
        "country": known.country,
        "cost_multiplier": 1.0 if known.price_multiplier is None else known.price_multiplier,
    }


def _split(region_id: str) -> tuple[CloudProvider | None, str]:
    """``alibaba:us-east-1`` as (ALIBABA, "us-east-1"); without a provider's name in front, (None, the id)."""
    prefix, colon, rest = region_id.partition(":")
    if colon and prefix in tuple(CloudProvider):
        return CloudProvider(prefix), rest
    return None, region_id


@cache
def _index() -> Mapping[tuple[CloudProvider | None, str], CatalogRegion]:
    """By (provider, id), and by (None, id) for the first of that id."""
    index: dict[tuple[CloudProvider | None, str], CatalogRegion] = {}
    for region in all_regions():
        index[region.provider, region.region_id] = region
        index.setdefault((None, region.region_id), region)
    return MappingProxyType(index)


def _hint(region_id: str, provider: CloudProvider | str | None) -> str:
    """The nearest known ids, of one provider when one was named; a prefix in the question stays in the answer."""
    prefix, plain = _split(region_id)
    asked = prefix or provider
    ids = [r.region_id for r in all_regions() if asked is None or r.provider == asked]
    return nearest_hint(region_id, [f"{prefix}:{i}" for i in ids]) if prefix else nearest_hint(plain, ids)


def _parse(raw: Mapping[str, Any]) -> CatalogRegion:
    return CatalogRegion(
        region_id=raw["id"],
        provider=CloudProvider(raw["provider"]),
        name=raw["name"],
        metro=raw["metro"],
        country=raw["country"],
        continent=raw["continent"],
        latitude=raw["lat"],
        longitude=raw["lon"],
        eea=raw["eea"],
        gdpr_adequacy=raw["gdpr_adequacy"],
        price_multiplier=raw["price_multiplier"],
        price_is_estimate=raw["price_is_estimate"],
        egress_usd_per_gb=raw["egress_usd_per_gb"],
        carbon_gco2_kwh=raw["carbon_gco2_kwh"],
    )
