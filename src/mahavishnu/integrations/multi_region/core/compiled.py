"""The latency order compiled: for each small cell of the earth, the few places that can win anywhere in it; exact.

An estimate is nondecreasing in the distance, and all else (network zones, learned corrections) is the same all over a
cell. So over a cell of radius rho around its centre, a place at distance d from the centre is estimated between
est(d - rho) and est(d + rho). A place whose lower bound exceeds another's upper bound cannot win there; the others are
compared at the exact point. Which places may be chosen is a bit mask, so that a change of state rebuilds nothing, and
what was learned need only be known within limits until a place gets that far.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

KEPT = 32
"""Places kept per cell, nearest first. When a mask leaves none of them certain, all places are looked at."""

MAX_CELLS = 20_000
"""Cells kept at once, about 1 kB each; beyond that all are dropped and come back as they are asked for."""

Bound = tuple[float, float, int]
"""Lowest and highest estimate in ms anywhere in a cell, and the place's index."""

Bounds = Callable[[int, int | None], Sequence[Bound]]
"""A cell's key to the bounds of its places, sorted: so many of the lowest, None for all."""

Refine = Callable[[int, int], tuple[float, float]]
"""A cell's key and a place's index to its lowest and highest estimate there, as narrow as can be known."""


@dataclass(frozen=True, slots=True)
class Cell:
    """The bounds of the places with the lowest ones, sorted; and the lowest bound of all the others."""

    lows: array[float]
    highs: array[float]
    indices: array[int]
    rest: float

    @classmethod
    def of(cls, bounds: Sequence[Bound]) -> Cell:
        """What is kept of sorted bounds: of all places, or of one more than ``KEPT``."""
        rest = bounds[KEPT][0] if len(bounds) > KEPT else math.inf
        lows, highs, indices = zip(*bounds[:KEPT], strict=True)
        return cls(array("d", lows), array("d", highs), array("I", indices), rest)


class Geometry:
    """Cells of one set of places; a cell is compiled when first asked for.

    ``bounds`` must hold for the floats that are compared later: widen them by more than rounding can move an estimate.
    ``unsure``: has bit i set where the bounds of place i
    are wide, and asking to refine them may narrow them; it can never widen them.
    """

    def __init__(self, bounds: Bounds, unsure: int = 0) -> None:
        self._bounds = bounds
        self._unsure = unsure
        self._cells: dict[int, Cell] = {}

    def __len__(self) -> int:
        """How many cells are kept."""
        return len(self._cells)

    def candidates(self, key: int, mask: int, refine: Refine | None = None) -> tuple[int, ...]:
        """Indices of all places in ``mask`` that can have the lowest estimate somewhere in the cell; none is missed.

        ``mask`` has bit i set when place i may be chosen, and must not be 0.
        """
        cell = self._cells.get(key) or self._keep(key)
        found, best = self._possible(key, zip(cell.lows, cell.highs, cell.indices, strict=True), mask, refine)
        if cell.rest <= best:
            found, best = self._possible(key, self._bounds(key, None), mask, refine)
        return tuple(index for low, index in found if low <= best)

    def by_bound(self, key: int, mask: int) -> Iterator[tuple[float, int]]:
        """All places in ``mask`` with the lowest estimate that they may have in the cell, the lowest first."""
        cell = self._cells.get(key) or self._keep(key)
        yield from ((low, index) for low, index in zip(cell.lows, cell.indices, strict=True) if mask >> index & 1)
        if cell.rest < math.inf:
            told = frozenset(cell.indices)
            others = self._bounds(key, None)
            yield from ((low, index) for low, _, index in others if mask >> index & 1 and index not in told)

    def _possible(
        self, key: int, bounds: Iterable[Bound], mask: int, refine: Refine | None
    ) -> tuple[list[tuple[float, int]], float]:
        """Allowed places that no certain winner rules out so far, and the lowest upper bound among the allowed."""
        unsure = self._unsure if refine is not None else 0
        best = math.inf
        found = []
        for low, high, index in bounds:
            if low > best:
                break
            if mask >> index & 1:
                if unsure >> index & 1 and refine is not None:
                    low, high = refine(key, index)
                found.append((low, index))
                if high < best:
                    best = high
        return found, best

    def _keep(self, key: int) -> Cell:
        if len(self._cells) >= MAX_CELLS:
            self._cells.clear()
        cell = self._cells[key] = Cell.of(self._bounds(key, KEPT + 1))
        return cell
