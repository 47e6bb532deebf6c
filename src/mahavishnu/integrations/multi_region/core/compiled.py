"""The latency order compiled: for each small cell of the earth, the few regions that can win anywhere in it; exact.

A region's estimate is nondecreasing in its distance, and all else (network zones, learned corrections) is the same all
over a cell. So over a cell of radius rho around its centre, a region at distance d from the centre is estimated between
est(d - rho) and est(d + rho). A region whose lower bound exceeds another's upper bound cannot win there; the others are
compared at the exact place. Which regions may serve is a bit mask, so that a change of state rebuilds nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

KEPT = 32
"""Regions kept per cell, nearest first. When a mask leaves none of them certain, all regions are looked at."""

MAX_CELLS = 20_000
"""Cells kept at once; beyond that all are dropped and come back as they are asked for."""

Bound = tuple[float, float, int]
"""Lowest and highest estimate in ms anywhere in a cell, and the region's index."""


@dataclass(frozen=True, slots=True)
class Cell:
    """The bounds of the regions with the lowest ones, by lowest; and the lowest bound of all the others."""

    bounds: tuple[Bound, ...]
    rest: float


class Geometry:
    """Cells of one set of regions under one version of the estimates; a cell is compiled when first asked for.

    ``bounds``: a cell's key to the bounds of every region, sorted. They must hold for the floats that are compared
    later: widen them by more than rounding can move an estimate.
    """

    def __init__(self, bounds: Callable[[int], Sequence[Bound]]) -> None:
        self._all_bounds = bounds
        self._cells: dict[int, Cell] = {}

    def candidates(self, key: int, mask: int) -> tuple[int, ...]:
        """Indices of all regions in ``mask`` that can have the lowest estimate somewhere in the cell; none is missed.

        ``mask`` has bit i set when region i may be chosen, and must not be 0.
        """
        cell = self._cells.get(key) or self._keep(key)
        found, best = _possible(cell.bounds, mask)
        if cell.rest <= best:
            found, best = _possible(self._all_bounds(key), mask)
        return tuple(index for low, index in found if low <= best)

    def _keep(self, key: int) -> Cell:
        if len(self._cells) >= MAX_CELLS:
            self._cells.clear()
        bounds = self._all_bounds(key)
        rest = bounds[KEPT][0] if len(bounds) > KEPT else math.inf
        cell = self._cells[key] = Cell(tuple(bounds[:KEPT]), rest)
        return cell


def _possible(bounds: Sequence[Bound], mask: int) -> tuple[list[tuple[float, int]], float]:
    """Allowed regions that no certain winner rules out so far, and the lowest upper bound among the allowed."""
    best = math.inf
    found = []
    for low, high, index in bounds:
        if low > best:
            break
        if mask >> index & 1:
            found.append((low, index))
            best = min(best, high)
    return found, best
