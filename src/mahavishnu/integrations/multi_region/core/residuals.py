"""What measurements teach: by how much round trips differ from the prediction, spread to the neighbourhood and ageing.

For each region, measurements are kept per 1 degree cell as a running mean of the residual (measured less predicted).
The correction for a cell is ``sum(k * r) / (1 + sum k)`` over the region's residuals ``r``, with ``k`` falling with the
distance between the two cells' centres, with age, and with how little was measured. It is the same all over a cell.

A cell's own residual counts as it is. Those of other cells are heard with doubt, as in Huber's robust mean: what goes
more than ``HEARD_MS`` beyond what most of them say (``agreed_ms``) is cut off there. So no cell alone, whatever is
reported from it and however often, moves another by more than that beyond what others report.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
from operator import itemgetter, mul
from types import MappingProxyType
from typing import Any, Self, TypeAlias

from ..errors import InvalidInputError
from .figures import check_number
from .geo import EARTH_RADIUS_KM, fibre_floor_ms
from .latency import cell_centre, unit_vector

LENGTH_KM = 1000.0
REACH_KM = 3000.0
"""The kernel is exp(-km / ``LENGTH_KM``), and 0 beyond ``REACH_KM``: many reports from one continent must not outweigh
silence on another."""

HALF_LIFE_S = 14 * 86_400.0
"""After two weeks a residual counts half."""

SHRINK = 1.0
"""The weight of the prediction itself, in the unit of a residual's weight."""

MEMORY = 16.0
FULL_WEIGHT = 2.0
"""A cell's mean runs over about ``MEMORY`` measurements; so many, made just now, weigh ``FULL_WEIGHT``."""

HEARD_MS = 40.0
"""What a cell says to others goes this far beyond what is agreed on and no farther, up or down.

On the providers' backbones half of all residuals are within 30 ms and nine in ten within 90, and neighbours agree.
"""

LONGEST_MS = 10_000.0
PLACE_SLACK_KM = 100.0
"""By how much a client's and a region's stated places may be off together before a measurement counts as impossible."""

OUTLIER_TIMES, OUTLIER_MS = 4.0, 300.0
"""A measurement is doubted when it is that many times what is usual, and that many ms above it."""


# --- one cell ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Residual:
    """What was measured from one cell to one region.

    ``mean_ms``: running mean of measured less predicted. ``depth``: how many measurements the mean rests on, at most
    ``MEMORY``, as of ``last_s`` (seconds since the epoch; it fades from there). ``count``: how many there ever were.
    """

    mean_ms: float
    depth: float
    count: int
    last_s: float

    def then(self, residual_ms: float, now_s: float) -> Self:
        """With one more measurement: it moves the mean the more, the fewer or older the others are."""
        depth = min(self.depth * fading(now_s - self.last_s) + 1.0, MEMORY)
        mean = self.mean_ms + (residual_ms - self.mean_ms) / depth
        return type(self)(mean, depth, self.count + 1, max(self.last_s, now_s))

    def weight(self, now_s: float) -> float:
        """How much it counts now, 0..``FULL_WEIGHT``."""
        return fading(now_s - self.last_s) * self.depth * (FULL_WEIGHT / MEMORY)

    def pull_ms(self, now_s: float) -> float:
        """The correction that it would give its own cell if it were alone."""
        weight = self.weight(now_s)
        return weight * self.mean_ms / (SHRINK + weight)


def first_residual(residual_ms: float, now_s: float) -> Residual:
    """What one measurement says."""
    return Residual(residual_ms, 1.0, 1, now_s)


def fading(age_s: float) -> float:
    """What is left of a weight after ``age_s``; a time in the future counts as now."""
    return math.exp2(-max(age_s, 0.0) / HALF_LIFE_S)


def lightest(cells: Mapping[int, Residual], keep: int, now_s: float) -> list[int]:
    """The cells to give up so that ``keep`` are left: those that count least now, of equals the lower number."""
    if len(cells) <= keep:
        return []
    return sorted(cells, key=lambda cell: (cells[cell].weight(now_s), cell))[: len(cells) - keep]


# --- all cells of a region --------------------------------------------------------------------

Vector: TypeAlias = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Learned:
    """One region's residuals, frozen at one moment: ``weights`` and ``means_ms`` for each of ``cells``.

    ``ascending`` is derived: of each cell its number, its centre as a unit vector, its weight and its mean, by mean.
    """

    cells: tuple[int, ...] = ()
    weights: tuple[float, ...] = ()
    means_ms: tuple[float, ...] = ()
    ascending: tuple[tuple[int, Vector, float, float], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        rows = zip(self.cells, map(_vector_of, self.cells), self.weights, self.means_ms, strict=True)
        object.__setattr__(self, "ascending", tuple(sorted(rows, key=itemgetter(3))))

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy in another process derives what is derived: that is quicker than to send it."""
        return type(self), (self.cells, self.weights, self.means_ms)

    @classmethod
    def of(cls, cells: Mapping[int, Residual], now_s: float) -> Self:
        """As things stand at ``now_s``."""
        found = cells.values()
        return cls(tuple(cells), tuple(r.weight(now_s) for r in found), tuple(r.mean_ms for r in found))

    @property
    def lowest_ms(self) -> float:
        """No correction is below this, in ms: at most 0."""
        return min(0.0, self.ascending[0][3]) if self.ascending else 0.0

    def correction_ms(self, cell: int) -> float:
        """What to add to a prediction for clients of ``cell``. 0 where nothing was measured within reach."""
        x, y, z = _vector_of(cell)
        means, ks, own = list[float](), list[float](), -1
        for other, (a, b, c), weight, mean in self.ascending:
            nearness = x * a + y * b + z * c
            if nearness >= LEAST_NEARNESS:
                if other == cell:
                    own = len(ks)
                means.append(mean)
                ks.append(weight * kernel(nearness))
        total: float = sum(map(mul, believed_ms(means, ks, own), ks))
        return total / (SHRINK + sum(ks))


def believed_ms(means_ms: Sequence[float], ks: Sequence[float], own: int) -> Sequence[float]:
    """What one cell believes of residuals, in ascending order, with their weights there. ``own``: which is its own."""
    if not means_ms or max(-means_ms[0], means_ms[-1]) <= HEARD_MS:
        return means_ms
    agreed = agreed_ms(means_ms, ks)
    low, high = min(agreed, 0.0) - HEARD_MS, max(agreed, 0.0) + HEARD_MS
    heard = [low if mean < low else high if mean > high else mean for mean in means_ms]
    if own >= 0:
        heard[own] = means_ms[own]
    return heard


def agreed_ms(means_ms: Sequence[float], ks: Sequence[float]) -> float:
    """How far from 0 most of some residuals go, in ms; they are given in ascending order, with their weights.

    Each votes with its weight, but no more than the prediction does, which votes for 0. What is agreed on has more
    than half of all votes for it or for going farther: never one alone.
    """
    votes = [min(k, SHRINK) for k in ks]
    half = (SHRINK + sum(votes)) / 2
    return max(0.0, _agreed(reversed(means_ms), reversed(votes), half)) or min(0.0, _agreed(means_ms, votes, half))


def _agreed(farthest_first: Iterable[float], votes: Iterable[float], half: float) -> float:
    """Where the votes pass one half; 0 when they do not."""
    for mean, counted in zip(farthest_first, accumulate(votes), strict=True):
        if counted > half:
            return mean
    return 0.0


LEAST_NEARNESS = math.cos(REACH_KM / EARTH_RADIUS_KM)
"""The product of two unit vectors ``REACH_KM`` apart."""


def kernel(nearness: float) -> float:
    """exp(-km / ``LENGTH_KM``) for two places, from the product of their unit vectors."""
    return math.exp(math.acos(min(nearness, 1.0)) * (-EARTH_RADIUS_KM / LENGTH_KM))


@lru_cache(maxsize=16_384)
def _vector_of(cell: int) -> Vector:
    return unit_vector(cell_centre(cell))


# --- all regions ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Corrections:
    """What was learned of every region, frozen. ``version`` grows when corrections change enough to matter."""

    version: int = 0
    learned: Mapping[str, Learned] = field(default_factory=lambda: MappingProxyType({}))

    def correction_ms(self, cell: int, region_id: str) -> float:
        """What to add to the prediction from ``cell`` to the region; 0 for a region nothing is known of."""
        found = self.learned.get(region_id)
        return 0.0 if found is None else found.correction_ms(cell)

    def having(self, changed: Mapping[str, Learned], gone: Iterable[str] = ()) -> Self:
        """The next version: with what changed, without what is gone."""
        learned = {**self.learned, **changed}
        for region_id in gone:
            learned.pop(region_id, None)
        return type(self)(self.version + 1, MappingProxyType(learned))


# --- what is believed -------------------------------------------------------------------------


def check_rtt(ms: object, km: float, field_name: str = "ms") -> float:
    """A measured round trip over ``km`` as a float, if it can be true.

    Raises InvalidInputError when it is not a finite number of ms from above 0 to 10,000, or faster than light in fibre
    would be if both places were off by ``PLACE_SLACK_KM`` together.
    """
    allowed = f"a round trip in ms above 0 and at most {LONGEST_MS:,.0f} (beyond that it is a timeout, not a distance)"
    value = check_number(ms, field_name, allowed, lambda v: 0 < v <= LONGEST_MS)
    least = fibre_floor_ms(km - PLACE_SLACK_KM)
    if value < least:
        why = f"at least {least:.1f} ms: light in fibre cannot cover {km:,.0f} km and come back sooner"
        raise InvalidInputError(field_name, ms, f"{why}, so the location or the measurement is wrong")
    return value


def is_outlier(ms: float, usual_ms: float) -> bool:
    """Whether a round trip says more about a stalled client than about the path, ``usual_ms`` being expected."""
    return ms > usual_ms * OUTLIER_TIMES and ms > usual_ms + OUTLIER_MS
