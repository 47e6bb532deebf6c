"""Reads MaxMind DB files, in the layout that GeoIP2, GeoLite2, DB-IP and IPinfo share for country and location."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import maxminddb

from mahavishnu.integrations.multi_region.core.model import Point
from mahavishnu.integrations.multi_region.errors import SettingsError
from mahavishnu.integrations.multi_region.ports.geoip import Place


class MmdbGeoIp:
    """One open database. A record without a country or a location gives an empty place, never an error."""

    def __init__(self, path: str | Path) -> None:
        """Raises SettingsError when the file cannot be read as a MaxMind DB."""
        try:
            self._reader = maxminddb.open_database(str(path))
        except (OSError, ValueError, maxminddb.InvalidDatabaseError) as err:
            raise SettingsError("geoip_database", str(path), f"a readable MaxMind DB file ({err})") from err

    def locate(self, address: str) -> Place:
        """Where an address probably is."""
        try:
            record = self._reader.get(address)
        except ValueError:  # an IPv6 address in a database of IPv4 addresses
            return Place()
        return place_of(record)

    def close(self) -> None:
        """Let go of the file."""
        self._reader.close()


def place_of(record: Any) -> Place:
    """The place that a record states, as far as it does so properly."""
    if not isinstance(record, dict):
        return Place()
    location = record.get("location")
    country = record.get("country") or record.get("registered_country")
    code = country.get("iso_code") if isinstance(country, dict) else country
    return Place(
        point=_point(location) if isinstance(location, dict) else None,
        country=code.upper() if isinstance(code, str) and len(code) == 2 else None,
    )


def _point(location: dict[str, Any]) -> Point | None:
    latitude, longitude = location.get("latitude"), location.get("longitude")
    if not isinstance(latitude, int | float) or not isinstance(longitude, int | float):
        return None
    fits = math.isfinite(latitude) and math.isfinite(longitude) and abs(latitude) <= 90 and abs(longitude) <= 180
    return Point(float(latitude), float(longitude)) if fits else None
