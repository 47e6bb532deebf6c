"""The table's cells as arrays, for batches: the same bounds as in ``sites.py``, worked out for many cells at a time.

Nothing here decides what is too close to call: those places are answered one by one, by the scalar formula.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mahavishnu.integrations.multi_region.core.geo import EARTH_RADIUS_KM
from mahavishnu.integrations.multi_region.core.latency import CELLS, COLUMNS, ROWS, cell_rho_km
from mahavishnu.integrations.multi_region.facts.latency_arrays import (
    Floats,
    Ints,
    cell_vectors,
    products,
    zones_of_cells,
)

from .sites import HALF_WAY_KM, SLACK_MS, Sites

Flags: TypeAlias = NDArray[np.bool_]
Singles: TypeAlias = NDArray[np.float32]
Indices: TypeAlias = NDArray[np.int32]

KEPT = 16
"""Sites kept per cell, nearest first; where a mask leaves none of them certain, all are looked at."""

_WORK = 32_768
"""Pairs of a cell and a site that are looked at in one go: about 3 ms."""

_MOST_AT_ONCE = 256


@cache
def _rhos() -> Floats:
    """``cell_rho_km`` of every cell."""
    rhos = np.empty((ROWS, COLUMNS))
    for row in range(ROWS):
        rhos[row, :] = cell_rho_km(row * COLUMNS)
        rhos[row, -1] = cell_rho_km(row * COLUMNS + COLUMNS - 1)
    return rhos.reshape(CELLS)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of n cells and m sites each: indices of the sites and their lowest and highest estimates, shape (n, m)."""

    sites: NDArray[Any]
    lows: NDArray[Any]
    highs: NDArray[Any]

    def of(self, rows: Flags) -> Bounds:
        """Those of some cells."""
        return Bounds(self.sites[rows], self.lows[rows], self.highs[rows])

    def among(self, columns: Ints) -> Bounds:
        """Some of each cell's, by position: shape (n, k)."""
        return Bounds(_taken(self.sites, columns), _taken(self.lows, columns), _taken(self.highs, columns))


class CellArrays:
    """What sites can win in each cell, whoever is allowed; compiled as asked for. Shared by ``Sites`` of one layout."""

    def __init__(self, sites: Sites) -> None:
        self._vectors, self._site_zones, self._least, self._most = sites.arrays
        self._curves = sites.curves
        self.kept = min(KEPT, len(sites.all))
        self.at_once = max(8, min(_MOST_AT_ONCE, _WORK // max(1, len(sites.all))))
        self.zones = np.full(CELLS, -1, dtype=np.int16)
        self._indices = np.zeros((CELLS, self.kept), dtype=np.int32)
        self._lows = np.zeros((CELLS, self.kept), dtype=np.float32)
        self._highs = np.zeros((CELLS, self.kept), dtype=np.float32)
        self._rest = np.zeros(CELLS, dtype=np.float32)

    def compile(self, cells: Ints) -> None:
        """Compile some cells, at most ``at_once``."""
        zones = zones_of_cells(cells)
        bounds = self.bounds(cells, zones)
        if self.kept < bounds.lows.shape[1]:
            parted = np.argpartition(bounds.lows, self.kept, axis=1)
            self._rest[cells] = _down(_taken(bounds.lows, parted[:, [self.kept]])[:, 0])
            bounds = bounds.among(parted[:, : self.kept])
        else:
            self._rest[cells] = np.inf
        sorted_ = bounds.among(np.argsort(bounds.lows, axis=1, kind="stable"))
        self._indices[cells], self._lows[cells], self._highs[cells] = (
            sorted_.sites,
            _down(sorted_.lows),
            _up(sorted_.highs),
        )
        self.zones[cells] = zones

    def bounds(self, cells: Ints, zones: Ints) -> Bounds:
        """The bounds of all sites, not sorted; as ``Sites`` has them for one cell."""
        nearness = np.clip(products(cell_vectors()[cells], self._vectors), -1.0, 1.0)
        km, rho = EARTH_RADIUS_KM * np.arccos(nearness), _rhos()[cells][:, None]
        near, far = np.maximum(0.0, km - rho), np.minimum(HALF_WAY_KM, km + rho)
        estimates, client = self._curves.estimates_ms, zones[:, None]
        lows = np.maximum(near / 100.0, estimates(near, client, self._site_zones) + self._least) - SLACK_MS
        highs = np.maximum(far / 100.0, estimates(far, client, self._site_zones) + self._most) + SLACK_MS
        return Bounds(np.broadcast_to(np.arange(lows.shape[1]), lows.shape), lows, highs)

    def kept_bounds(self, cells: Ints) -> tuple[Bounds, Singles]:
        """The bounds that are kept of some compiled cells, and the lowest bound of all other sites."""
        return Bounds(self._indices[cells], self._lows[cells], self._highs[cells]), self._rest[cells]


def _taken(values: NDArray[Any], columns: Ints) -> NDArray[Any]:
    return np.take_along_axis(values, columns, axis=1)


def _down(values: Floats) -> Singles:
    """As single precision, rounded so that none is greater."""
    return np.nextafter(values.astype(np.float32), np.float32(-np.inf))


def _up(values: Floats) -> Singles:
    return np.nextafter(values.astype(np.float32), np.float32(np.inf))
