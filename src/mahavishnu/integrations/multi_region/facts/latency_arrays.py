"""The latency model over NumPy arrays, for tables and batches. Everything here agrees with the scalar functions.

Estimates are the same to the last bit; corrections differ from the scalar ones by rounding, far below a microsecond.
Kept apart, so that importing the model does not import NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mahavishnu.integrations.multi_region.core.latency import (
    CELLS,
    COLUMNS,
    ROWS,
    LatencyModel,
    cell_centre,
    unit_vector,
)
from mahavishnu.integrations.multi_region.core.model import Point

from .network import zone_of_cell, zone_of_country, zone_of_region, zoned_cities

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.intp]

_CHUNK = 512
_TIE = 1e-12


class ModelArrays:
    """A latency model's tables as arrays; make them once for each model."""

    def __init__(self, model: LatencyModel) -> None:
        self.knots, self.base, self.slopes = map(np.array, (model.knots_km, model.base_ms, model.slopes))
        self.extra: Floats = np.array(model.extra_ms)
        self.fade_km = model.fade_km

    def estimates_ms(self, km: Floats, client_zones: Ints, region_zones: Ints) -> Floats:
        """``model.estimate_ms`` for arrays that broadcast together."""
        at = np.searchsorted(self.knots, km, side="right") - 1
        extra = self.extra[client_zones, region_zones]
        faded = extra * np.minimum(1.0, km / self.fade_km)
        estimates: Floats = self.base[at] + (km - self.knots[at]) * self.slopes[at] + faded
        return estimates


def estimates_ms(model: LatencyModel, km: Floats, client_zones: Ints, region_zones: Ints) -> Floats:
    """``model.estimate_ms`` for arrays that broadcast together."""
    return ModelArrays(model).estimates_ms(km, client_zones, region_zones)


def cells_of(latitudes: Floats, longitudes: Floats) -> Ints:
    """``cell_of`` for arrays of places in degrees, all in range."""
    rows, columns = (latitudes + 90.0).astype(np.intp), (longitudes + 180.0).astype(np.intp)
    return rows * COLUMNS + columns


@cache
def cell_vectors() -> Floats:
    """The unit vector of every cell's centre: shape (CELLS, 3)."""
    souths = [math.radians(cell_centre(row * COLUMNS).latitude) for row in range(ROWS)]
    easts = [math.radians(cell_centre(column).longitude) for column in range(COLUMNS)]
    across = np.array([math.cos(south) for south in souths])[:, None]
    vectors = np.empty((ROWS, COLUMNS, 3))
    vectors[:, :, 0] = across * np.array([math.cos(east) for east in easts])
    vectors[:, :, 1] = across * np.array([math.sin(east) for east in easts])
    vectors[:, :, 2] = np.array([math.sin(south) for south in souths])[:, None]
    return vectors.reshape(CELLS, 3)


def zones_of_cells(cells: Ints) -> Ints:
    """``zone_of_cell`` for some cells: about 10 µs each, near ties are left to the scalar."""
    cities, sure = _nearest_cities(cell_vectors()[cells])
    countries = zoned_cities()[1]
    zones = [
        zone_of_country(countries[city], cell_centre(cell).longitude) if certain else zone_of_cell(cell)
        for cell, city, certain in zip(cells.tolist(), cities.tolist(), sure.tolist(), strict=True)
    ]
    return np.array(zones, dtype=np.intp)


@cache
def zone_at(cell: int) -> int:
    """``zone_of_cell`` in a tenth of the time."""
    return int(zones_of_cells(np.array([cell]))[0])


def zones_of_places(places: Sequence[tuple[Point, str | None]]) -> list[int]:
    """``zone_of_region`` for some points and countries."""
    zones = [zone_of_country(country, point.longitude) for point, country in places]
    asked = [i for i, zone in enumerate(zones) if zone is None]
    countries = zoned_cities()[1]
    for start in range(0, len(asked), _CHUNK):
        some = asked[start : start + _CHUNK]
        cities, sure = _nearest_cities(np.array([unit_vector(places[i][0]) for i in some]))
        for i, city, certain in zip(some, cities.tolist(), sure.tolist(), strict=True):
            zones[i] = zone_of_country(countries[city], places[i][0].longitude) if certain else None
    return [zone_of_region(*place) if zone is None else zone for zone, place in zip(zones, places, strict=True)]


def _nearest_cities(vectors: Floats) -> tuple[Ints, NDArray[np.bool_]]:
    """The nearest zoned city of each unit vector, and whether no other is as near as makes no difference."""
    nearness = products(vectors, _city_vectors())
    nearest = nearness.argmax(axis=1)
    best = nearness[np.arange(len(vectors)), nearest]
    return nearest, (nearness >= best[:, None] - _TIE).sum(axis=1) == 1


@cache
def _city_vectors() -> Floats:
    return np.array(zoned_cities()[0])


def products(a: Floats, b: Floats) -> Floats:
    """Scalar products of vectors in space: shapes (n, 3) and (m, 3) to (n, m).

    Not ``@``: its threads wait for each other, for milliseconds on a busy machine, to save microseconds.
    """
    found: Floats = a[:, 0, None] * b[:, 0]
    found += a[:, 1, None] * b[:, 1]
    found += a[:, 2, None] * b[:, 2]
    return found
