"""Is a region where it says it is? Finds what is allowed and probably not meant: lost signs, wrong towns, no place.

Decides only what looks wrong and by how much; the facts come in as arguments. What is not allowed at all is
``validation``'s.

How far is too far from every known place of the stated country? Measured on the 262 regions of the catalog, and on
the 1,000 largest cities, each taken out of the list in turn. The catalog's loneliest region stands 583 km from the
next known place of its country (Salt Lake City), and none stands nearer to a foreign one. Of the cities

- 12 are farther than 650 km from the next (Perth, Manaus, Irkutsk ...),
- 22 more are farther than 400 km and have a foreign place nearer (Almaty, Marseille ...),
- 2 more are farther than 200 km and within 25 km of a foreign place: twin towns across a border.

So a real place that nobody listed raises a false alarm in 36 cases of 1,000 at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..errors import Warning_
from .geo import distance_km, fibre_floor_ms
from .model import Point, Region

FAR_KM = 650.0
FAR_AND_FOREIGN_NEARER_KM = 400.0
FAR_FROM_HOME_KM, AT_FOREIGN_PLACE_KM = 200.0, 25.0
OFF_CATALOG_KM = 150.0
"""A region this far from its place in the catalog is worth a word; below, routing hardly notices."""


@dataclass(frozen=True, slots=True)
class Landmark:
    """A known place: ``country`` is ISO 3166-1 alpha-2."""

    name: str
    country: str
    point: Point


@dataclass(frozen=True, slots=True)
class MeasuredTo:
    """Another region, where it stands, and the shortest round trip in ms on record to it."""

    region_id: str
    point: Point
    rtt_ms: float


def region_warnings(
    region: Region,
    *,
    landmarks: Mapping[str, Sequence[Landmark]],
    expected: Landmark | None = None,
    measured: Iterable[MeasuredTo] = (),
) -> list[Warning_]:
    """What seems wrong with the region's place, worst evidence first; empty when nothing does.

    ``landmarks``: known places by country; a country without any is not judged. ``expected``: where the catalog has
    the region of this id and provider. ``measured``: round trips on record to other regions, at places one trusts.
    The region's coordinates must be valid (``validation.validate_region``).
    """
    point = Point(region.latitude, region.longitude)
    if point == Point(0.0, 0.0):
        text = "is (0, 0), a spot in the Gulf of Guinea: probably no place was given"
        return [_warning(region, "latitude, longitude", text)]
    found = [
        _faster_than_light(region, point, measured),
        _off_catalog(region, point, expected),
        _other_country(region, expected),
        _outside_country(region, point, landmarks),
    ]
    return [warning for warning in found if warning is not None]


def _faster_than_light(region: Region, point: Point, measured: Iterable[MeasuredTo]) -> Warning_ | None:
    """The measured round trip that the stated place contradicts most, if one does."""

    def excess_ms(to: MeasuredTo) -> float:
        return fibre_floor_ms(distance_km(point, to.point)) - to.rtt_ms

    worst = max(measured, key=excess_ms, default=None)
    if worst is None or excess_ms(worst) <= 0:
        return None
    away = distance_km(point, worst.point)
    floor, off = fibre_floor_ms(away), away - 100 * worst.rtt_ms
    text = (
        f"is {_place(point)}, {away:,.0f} km from {worst.region_id}: light in fibre needs {floor:.1f} ms there and "
        f"back, yet {worst.rtt_ms:.1f} ms was measured; it is off by at least {off:,.0f} km"
    )
    details = {"other": worst.region_id, "distance_km": away, "floor_ms": floor, "measured_ms": worst.rtt_ms}
    return _warning(region, "latitude, longitude", text, details)


def _off_catalog(region: Region, point: Point, expected: Landmark | None) -> Warning_ | None:
    if expected is None:
        return None
    off = distance_km(point, expected.point)
    if off <= OFF_CATALOG_KM:
        return None
    where = f"{expected.name} {_place(expected.point)}"
    text = f"is {_place(point)}, {off:,.0f} km from where the catalog has this region: {where}"
    return _warning(region, "latitude, longitude", text, {"off_km": off, "expected": expected.name})


def _other_country(region: Region, expected: Landmark | None) -> Warning_ | None:
    if expected is None or region.country in (None, expected.country):
        return None
    text = f"is {region.country!r}, but the catalog has this region in {expected.country} ({expected.name})"
    return _warning(region, "country", text, {"expected": expected.country})


def _outside_country(region: Region, point: Point, landmarks: Mapping[str, Sequence[Landmark]]) -> Warning_ | None:
    """Whether the place is implausibly far from every known place of the stated country; see the module's bounds."""
    home = landmarks.get(region.country or "", ())
    if not home:
        return None
    own, own_km = _nearest(point, home)
    if own_km <= FAR_FROM_HOME_KM:
        return None
    abroad, abroad_km = _nearest(point, [m for c, places in landmarks.items() if c != region.country for m in places])
    if not _too_far(own_km, abroad_km):
        return None
    text = f"is {_place(point)}, {own_km:,.0f} km from the nearest known place of {region.country} ({own.name})"
    if abroad_km < own_km:
        text += f" and {abroad_km:,.0f} km from {abroad.name} ({abroad.country})"
    details = {"country": region.country, "nearest": own.name, "distance_km": own_km}
    return _warning(region, "latitude, longitude", text + _lost_sign(point, home), details)


def _too_far(own_km: float, abroad_km: float) -> bool:
    return (
        own_km > FAR_KM
        or (own_km > FAR_AND_FOREIGN_NEARER_KM and abroad_km < own_km)
        or (own_km > FAR_FROM_HOME_KM and abroad_km < AT_FOREIGN_PLACE_KM)
    )


def _lost_sign(point: Point, home: Sequence[Landmark]) -> str:
    """A guess at what happened, when a change of sign or order brings the place near a known place of the country."""
    lat, lon = point.latitude, point.longitude
    guesses = [Point(-lat, lon), Point(lat, -lon), Point(-lat, -lon), *([Point(lon, lat)] if abs(lon) <= 90 else [])]
    best = min(guesses, key=lambda guess: _nearest(guess, home)[1])
    known, km = _nearest(best, home)
    return f"; did you mean {_place(best)}, {km:,.0f} km from {known.name}?" if km <= FAR_FROM_HOME_KM else ""


def _nearest(point: Point, places: Sequence[Landmark]) -> tuple[Landmark, float]:
    """The nearest of the places (the point itself, infinitely far, when there are none)."""
    nobody = (Landmark("", "", point), float("inf"))
    return min(((m, distance_km(point, m.point)) for m in places), key=lambda pair: pair[1], default=nobody)


def _place(point: Point) -> str:
    return f"({point.latitude:g}, {point.longitude:g})"


def _warning(region: Region, field: str, text: str, details: Mapping[str, object] | None = None) -> Warning_:
    return Warning_(field, f"region {region.region_id!r}: {field} {text}", details or {})
