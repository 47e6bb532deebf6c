"""Sites: the places of regions, what was learned of them, and how one contends for a cell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from mahavishnu.integrations.multi_region.core.geo import EARTH_RADIUS_KM
from mahavishnu.integrations.multi_region.core.latency import (
    DISTANCE_SLACK_KM,
    unit_vector,
)
from mahavishnu.integrations.multi_region.core.model import Point
from mahavishnu.integrations.multi_region.core.residuals import Learned

Kind = tuple[float, float, str | None, str | None]
"""What makes a site: place, country, and the region's id if something was learned of it."""


@dataclass(slots=True, eq=False)
class Contender:
    """A site that can win in a cell, with what its estimate there takes."""

    site: int
    latitude: float
    longitude: float
    vector: tuple[float, float, float]
    zone: int
    correction_ms: float


@dataclass(slots=True, eq=False)
class Mixed:
    """A cell that several sites can win: the zone of its clients, who they are, what is known of its smaller cells."""

    zone: int
    contenders: tuple[Contender, ...]
    smaller: dict[int, int | tuple[Contender, ...]] = field(default_factory=dict)


Answer = int | Mixed
"""The one site that wins anywhere in a cell, or those that can."""


@dataclass(slots=True, eq=False)
class Site:
    """Regions (``members``, by index) that share every estimate. ``learned``: of the only one, None for nothing.

    ``low_ms``, ``high_ms``: what was learned lies between them in every cell. ``plain``: the contender uncorrected.
    """

    plain: Contender
    learned: Learned | None
    members: tuple[int, ...]
    low_ms: float
    high_ms: float
    corrected: dict[int, Contender] = field(default_factory=dict)

    def contender(self, cell: int, most: int) -> Contender:
        """The contender in a cell; what was learned costs up to 50 µs the first time. ``most``: how many to keep."""
        if self.learned is None:
            return self.plain
        found = self.corrected.get(cell)
        if found is None:
            if len(self.corrected) >= most:
                self.corrected.clear()
            p, ms = self.plain, self.learned.correction_ms(cell)
            found = self.corrected[cell] = Contender(p.site, p.latitude, p.longitude, p.vector, p.zone, ms)
        return found


MAX_CORRECTED = 100_000
"""Corrected contenders that all sites keep together."""


def make_site(
    index: int, kind: Kind, zone: int, members: tuple[int, ...], learned: Learned | None, before: Site | None
) -> Site:
    """A site; of the one before it, what is still true."""
    if before is not None and before.learned is learned and before.plain.site == index:
        if before.members == members:
            return before
        return Site(before.plain, learned, members, before.low_ms, before.high_ms, before.corrected)
    vector = unit_vector(Point(*kind[:2])) if before is None else before.plain.vector
    return Site(Contender(index, *kind[:2], vector, zone, 0.0), learned, members, *_limits(learned))


def _limits(learned: Learned | None) -> tuple[float, float]:
    """What was learned of a region is within these in every cell: powers of two, so that they seldom change.

    A correction is ``sum(k * mean) / (1 + sum k)`` with each ``k`` at most its weight.
    """
    if learned is None:
        return 0.0, 0.0
    total = sum(learned.weights)
    share = total / (1.0 + total)
    return -_power(-share * min(learned.means_ms, default=0.0)), _power(share * max(learned.means_ms, default=0.0))


def _power(ms: float) -> float:
    """The next power of two clearly above, from 1; 0 for what is not above 0."""
    return 0.0 if ms <= 0 else max(1.0, math.exp2(math.ceil(math.log2(ms * (1 + 1e-9)))))


# --- neighbours: sites of one city have the same bounds everywhere, and yet one is the nearer nearly everywhere ------

_CLEAR = 4 * DISTANCE_SLACK_KM / EARTH_RADIUS_KM
"""Of two sites the products with a place differ by this: then the distances do by 4 m, and their floats by 2 m."""


def unbeaten(centre: Point, reach_km: float, among: Sequence[Contender]) -> tuple[Contender, ...]:
    """Those contenders that no other beats everywhere within ``reach_km`` of a place by being nearer.

    For estimates that rise with every metre; only where all else is the same does the nearer one win by that.
    """
    if len(among) < 2:
        return tuple(among)
    here, reach = unit_vector(centre), reach_km / EARTH_RADIUS_KM
    left: list[Contender] = []
    for c in among:
        if not any(_beats(other, c, here, reach) for other in left):
            left = [other for other in left if not _beats(c, other, here, reach)]
            left.append(c)
    return tuple(left)


def _beats(a: Contender, b: Contender, here: tuple[float, float, float], reach: float) -> bool:
    """Whether ``a`` is clearly nearer than ``b`` to all places within ``reach`` (radians) of ``here``.

    The product of a place with ``a - b`` is what it is at ``here``, give or take the distance times that of a and b.
    """
    if a.zone != b.zone or a.correction_ms != b.correction_ms:
        return False
    lead = sum(x * (to_a - to_b) for x, to_a, to_b in zip(here, a.vector, b.vector, strict=True))
    return lead - reach * math.dist(a.vector, b.vector) > _CLEAR
