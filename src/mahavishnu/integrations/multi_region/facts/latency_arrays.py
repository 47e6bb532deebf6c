"""The latency model over NumPy arrays, for tables and batches. Everything here agrees with the scalar functions.

Estimates are the same to the last bit; corrections differ from the scalar ones by rounding, far below a microsecond.
Kept apart, so that importing the model does not import NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mahavishnu.integrations.multi_region.core.geo import EARTH_RADIUS_KM
from mahavishnu.integrations.multi_region.core.latency import (
    CELLS,
    COLUMNS,
    LatencyModel,
    cell_centre,
    unit_vector,
)
from mahavishnu.integrations.multi_region.core.residuals import LEAST_NEARNESS, LENGTH_KM, SHRINK, Learned

from .network import zone_of_cell, zone_of_country, zoned_cities

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.intp]

_CHUNK = 2048
_TIE = 1e-12


def estimates_ms(model: LatencyModel, km: Floats, client_zones: Ints, region_zones: Ints) -> Floats:
    """``model.estimate_ms`` for arrays that broadcast together."""
    knots, base, slopes = (np.asarray(values) for values in (model.knots_km, model.base_ms, model.slopes))
    at = np.searchsorted(knots, km, side="right") - 1
    extra = np.asarray(model.extra_ms)[client_zones, region_zones]
    estimates: Floats = base[at] + (km - knots[at]) * slopes[at] + extra * np.minimum(1.0, km / model.fade_km)
    return estimates


def cells_of(latitudes: Floats, longitudes: Floats) -> Ints:
    """``cell_of`` for arrays of places in degrees, all in range."""
    rows, columns = (latitudes + 90.0).astype(np.intp), (longitudes + 180.0).astype(np.intp)
    return rows * COLUMNS + columns


@cache
def cell_vectors() -> Floats:
    """The unit vector of every cell's centre: shape (CELLS, 3). Takes about 0.1 s the first time."""
    return np.array([unit_vector(cell_centre(cell)) for cell in range(CELLS)])


@cache
def cell_zones() -> Ints:
    """``zone_of_cell`` for every cell: shape (CELLS,). Takes about a second the first time: not for an event loop."""
    zones = np.empty(CELLS, dtype=np.intp)
    for start in range(0, CELLS, _CHUNK):
        zones[start : start + _CHUNK] = _zones_of(np.arange(start, min(start + _CHUNK, CELLS)))
    return zones


@dataclass(frozen=True, slots=True, eq=False)
class LearnedArrays:
    """One region's ``Learned`` as arrays over its n cells: ``vectors`` (n, 3), ``weights`` (n,), ``means_ms`` (n,)."""

    vectors: Floats
    weights: Floats
    means_ms: Floats

    @classmethod
    def of(cls, learned: Learned) -> Self:
        """The same as arrays; make them once for each ``Learned``, it costs more than asking."""
        vectors = np.array(learned.vectors, dtype=np.float64).reshape(-1, 3)
        return cls(vectors, np.array(learned.weights), np.array(learned.means_ms))

    def corrections_ms(self, cells: Ints) -> Floats:
        """``Learned.correction_ms`` for each of the cells."""
        nearness = cell_vectors()[cells] @ self.vectors.T
        kernel = np.exp(np.arccos(np.clip(nearness, -1.0, 1.0)) * (-EARTH_RADIUS_KM / LENGTH_KM))
        k = np.where(nearness >= LEAST_NEARNESS, kernel, 0.0) * self.weights
        corrections: Floats = (k @ self.means_ms) / (SHRINK + k.sum(axis=1))
        return corrections


def _zones_of(cells: Ints) -> Ints:
    """By the nearest city's country and the centre's longitude, column by column; near ties are left to the scalar."""
    vectors, countries = zoned_cities()
    nearness = cell_vectors()[cells] @ np.asarray(vectors).T
    nearest = nearness.argmax(axis=1)
    best = nearness[np.arange(len(cells)), nearest]
    close = (nearness >= best[:, None] - _TIE).sum(axis=1) > 1
    zones = [
        zone_of_cell(cell) if tied else zone_of_country(countries[city], cell_centre(cell).longitude)
        for cell, city, tied in zip(cells.tolist(), nearest.tolist(), close.tolist(), strict=True)
    ]
    return np.array(zones, dtype=np.intp)
