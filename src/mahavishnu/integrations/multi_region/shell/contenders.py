"""Sites: the places of regions, what was learned of them, and how one contends for a cell."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from mahavishnu.integrations.multi_region.core.latency import unit_vector
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
