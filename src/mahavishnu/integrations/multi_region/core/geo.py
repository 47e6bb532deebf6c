"""Places on earth: which are valid, how far apart they are, and what light needs between them."""

from __future__ import annotations

import math

from .figures import REGION
from .model import Point

EARTH_RADIUS_KM = 6371.0088
"""Mean radius R1 = (2a + b) / 3 of the WGS 84 ellipsoid, as IUGG defines it (Moritz, Geodetic Reference System 1980).

On a sphere of this radius a distance is within 0.6 % of the ellipsoid's.
"""


def distance_km(a: Point, b: Point) -> float:
    """Great-circle distance in km, by the haversine formula (which keeps its precision for near points)."""
    return great_circle_km(a.latitude, a.longitude, b.latitude, b.longitude)


def great_circle_km(latitude_a: float, longitude_a: float, latitude_b: float, longitude_b: float) -> float:
    """Great-circle distance in km between two places in degrees, by the haversine formula."""
    south, north = math.radians(latitude_a), math.radians(latitude_b)
    across = math.radians(longitude_b - longitude_a)
    chord = math.sin((north - south) / 2) ** 2 + math.cos(south) * math.cos(north) * math.sin(across / 2) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(min(1.0, math.sqrt(chord)))


def fibre_floor_ms(km: float) -> float:
    """The least round-trip time in ms that fibre allows over ``km`` of ground.

    Light in glass covers about 200 km per ms, and has to come back: 1 ms for each 100 km. Real routes need 1.1 times
    that at best and about twice that as a rule, so a measurement below it means that a place or a measurement is wrong.
    """
    return km / 100.0


def check_point(latitude: object, longitude: object, field: str = "") -> Point:
    """Degrees as a Point. ``field`` is the dotted path to the place, put before ``latitude`` and ``longitude``.

    Raises InvalidInputError naming the coordinate that is not a finite number in range; text and booleans are none.
    """
    prefix = f"{field}." if field else ""
    return Point(
        REGION["latitude"].check(latitude, f"{prefix}latitude"),
        REGION["longitude"].check(longitude, f"{prefix}longitude"),
    )
