"""Predicted round-trip time: a curve over distance, plus what the path between two network zones costs beyond it.

The surface of the earth is cut into cells of one degree, and everything about a client but its distance to a region
(its zone, what was learned from measurements) is the same all over its cell. Within a cell an estimate is therefore a
nondecreasing function of the kilometres alone, which is what makes an exact table of winners possible.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from ..errors import InvalidInputError
from .geo import distance_km, fibre_floor_ms
from .model import Point

ROWS, COLUMNS = 181, 361
"""The grid: one row of cells per degree of latitude, one column per degree of longitude.

The last row holds the north pole alone, the last column the places at exactly 180 degrees east.
"""

CELLS = ROWS * COLUMNS
"""How many cells there are; they are numbered from 0."""

DISTANCE_SLACK_KM = 0.002
"""By how much two computed distances may differ beyond the true ones: near the antipode each is good to 0.3 m."""

KEEP_MS = 5.0
KEEP_SHARE = 10
LEAST_GAIN_MS = 1.0
"""A client moves for a gain of ``KEEP_MS``, or of one part in ``KEEP_SHARE`` that is ``LEAST_GAIN_MS`` at least."""


# --- cells ------------------------------------------------------------------------------------


def cell_of(latitude: float, longitude: float) -> int:
    """The cell of a place in degrees: -90..90 and -180..180, checked elsewhere."""
    return int(latitude + 90.0) * COLUMNS + int(longitude + 180.0)


def cell_centre(cell: int) -> Point:
    """The middle of a cell: half a degree in from its edges; the place itself where a cell has no extent."""
    row, column = divmod(cell, COLUMNS)
    return Point(
        90.0 if row == ROWS - 1 else row - 89.5,
        180.0 if column == COLUMNS - 1 else column - 179.5,
    )


def cell_rho_km(cell: int) -> float:
    """No place of the cell is farther from its centre than this, in km: at most 78.7.

    Two distances to one region, computed from the centre and from a place in the cell, differ by no more either:
    rounding is allowed for. The farthest places are corners, since along an edge the distance has no maximum inside.
    """
    row, column = divmod(cell, COLUMNS)
    centre = cell_centre(cell)
    east = centre.longitude + (0.0 if column == COLUMNS - 1 else 0.5)
    south, north = (centre.latitude, centre.latitude) if row == ROWS - 1 else (row - 90.0, row - 89.0)
    return max(distance_km(centre, Point(edge, east)) for edge in (south, north)) + DISTANCE_SLACK_KM


def unit_vector(point: Point) -> tuple[float, float, float]:
    """The place on a sphere of radius 1: of two places, the one whose product with a third is larger is the nearer."""
    south, east = math.radians(point.latitude), math.radians(point.longitude)
    return math.cos(south) * math.cos(east), math.cos(south) * math.sin(east), math.sin(south)


# --- the model --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LatencyModel:
    """Round-trip time in ms by distance in km and by the pair of network zones (positions in ``zones``).

    ``knots_km``, ``base_ms``: the curve over distance, straight between knots and beyond the last. ``extra_ms``: a row
    per client's zone, a column per region's; its whole is added from ``fade_km`` on, in proportion below. ``slopes``
    are derived: ms per km after each knot, such that no rounding makes the curve fall.
    """

    zones: tuple[str, ...]
    knots_km: tuple[float, ...]
    base_ms: tuple[float, ...]
    fade_km: float
    extra_ms: tuple[tuple[float, ...], ...]
    slopes: tuple[float, ...] = field(init=False)

    def __post_init__(self) -> None:
        _check_curve(self.knots_km, self.base_ms, self.fade_km)
        _check_extra(self.extra_ms, len(self.zones))
        object.__setattr__(self, "slopes", _slopes(self.knots_km, self.base_ms))

    def estimate_ms(self, km: float, client_zone: int, region_zone: int) -> float:
        """The predicted round trip over ``km`` (from 0). Never falls as ``km`` grows."""
        knots = self.knots_km
        at = bisect_right(knots, km) - 1
        base = self.base_ms[at] + (km - knots[at]) * self.slopes[at]
        extra = self.extra_ms[client_zone][region_zone]
        return base + extra if km >= self.fade_km else base + extra * (km / self.fade_km)

    def zone_index(self, name: str) -> int:
        """The position of a zone. Raises InvalidInputError when there is none of that name."""
        if name not in self.zones:
            raise InvalidInputError("zone", name, "one of " + ", ".join(self.zones))
        return self.zones.index(name)


def corrected_ms(km: float, predicted_ms: float, correction_ms: float) -> float:
    """The estimate to go by: what is predicted and was learned, but never below light in fibre over ``km``."""
    return max(fibre_floor_ms(km), predicted_ms + correction_ms)


def keeps(current_ms: float, best_ms: float) -> bool:
    """Whether a client stays where it is, at an estimate of ``current_ms``, although another has ``best_ms``.

    It moves when it gains 5 ms or more, or a tenth of ``current_ms`` or more; a gain below 1 ms never moves it.
    """
    gain = current_ms - best_ms
    return not (gain >= KEEP_MS or (gain >= LEAST_GAIN_MS and gain * KEEP_SHARE >= current_ms))


# --- what a model must be ---------------------------------------------------------------------


def _check_curve(knots: Sequence[float], base: Sequence[float], fade_km: float) -> None:
    """The curve starts at 0 km, has a value for each knot, and never falls."""
    if len(knots) < 2 or len(knots) != len(base) or knots[0] != 0.0:
        raise InvalidInputError("knots_km", list(knots), "two knots or more, the first at 0 km, each with a base_ms")
    if any(b <= a for a, b in pairwise(knots)) or not math.isfinite(knots[-1]):
        raise InvalidInputError("knots_km", list(knots), "finite distances in ascending order")
    if base[0] < 0 or any(b < a for a, b in pairwise(base)) or not math.isfinite(base[-1]):
        raise InvalidInputError("base_ms", list(base), "finite times from 0 that do not fall")
    if not 0 < fade_km < math.inf:
        raise InvalidInputError("fade_km", fade_km, "a finite distance above 0")


def _check_extra(extra: Sequence[Sequence[float]], zones: int) -> None:
    """A square of times that are not negative: a negative one could make an estimate fall with distance."""
    if len(extra) != zones or any(len(row) != zones for row in extra):
        raise InvalidInputError("extra_ms", f"{len(extra)} rows", f"{zones} rows of {zones} times, one for each zone")
    for row in extra:
        for value in row:
            if not 0 <= value < math.inf:
                raise InvalidInputError("extra_ms", value, "finite times from 0")


def _slopes(knots: Sequence[float], base: Sequence[float]) -> tuple[float, ...]:
    """ms per km between knots, each rounded down until the piece does not overshoot its end; the last goes on."""
    slopes = []
    for i in range(len(knots) - 1):
        slope = (base[i + 1] - base[i]) / (knots[i + 1] - knots[i])
        while base[i] + (knots[i + 1] - knots[i]) * slope > base[i + 1]:
            slope = math.nextafter(slope, -math.inf)
        slopes.append(slope)
    return (*slopes, slopes[-1])
