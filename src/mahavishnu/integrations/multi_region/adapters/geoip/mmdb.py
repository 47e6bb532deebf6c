"""Reads MaxMind DB files, in the layouts that GeoIP2, GeoLite2, DB-IP and IPinfo have for country and location."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import maxminddb

from mahavishnu.integrations.multi_region.core.model import Point
from mahavishnu.integrations.multi_region.errors import SettingsError
from mahavishnu.integrations.multi_region.ports.geoip import Place
from mahavishnu.integrations.multi_region.settings import PREFIX


class MmdbGeoIp:
    """One open database. A record without a country or a location gives an empty place, never an error."""

    def __init__(self, path: str | Path) -> None:
        """Raises SettingsError when the file cannot be read as a MaxMind DB."""
        try:
            self._reader = maxminddb.open_database(str(path))
        except (OSError, ValueError, maxminddb.InvalidDatabaseError) as err:
            allowed = f"a readable MaxMind DB file ({err})"
            raise SettingsError(f"{PREFIX}GEOIP_DATABASE", str(path), allowed) from err

    def locate(self, address: str) -> Place:
        """Where an address probably is; an empty place for one that the file knows nothing of, or is damaged at."""
        try:
            record = self._reader.get(address)
        except (ValueError, maxminddb.InvalidDatabaseError):  # ValueError: IPv6, in a database of IPv4 addresses
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
    return Place(_point(location if isinstance(location, dict) else record), _country(record))


def _country(record: dict[str, Any]) -> str | None:
    """The country's code: nested as in GeoIP2, or plain as in IPinfo's files."""
    nested = (record.get("country"), record.get("registered_country"))
    codes = [one.get("iso_code") if isinstance(one, dict) else one for one in (*nested, record.get("country_code"))]
    return next((code.upper() for code in codes if isinstance(code, str) and len(code) == 2 and code.isascii()), None)


def _point(location: dict[str, Any]) -> Point | None:
    latitude, longitude = _degrees(location.get("latitude"), 90), _degrees(location.get("longitude"), 180)
    return None if latitude is None or longitude is None else Point(latitude, longitude)


def _degrees(value: Any, limit: float) -> float | None:
    """A number of degrees, which IPinfo's files write as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and abs(number) <= limit else None
