"""Where regions stand, and which of these sites has the lowest estimate at a place: by cell, exactly.

Regions at one point of which nothing was learned are one site: their estimates are the same to the last bit, and who of
them is chosen is a matter of health alone. A ``Sites`` never changes what it says; other regions make another one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from math import asin, dist

import numpy as np

from mahavishnu.integrations.multi_region.core.compiled import Bound, Geometry
from mahavishnu.integrations.multi_region.core.geo import EARTH_RADIUS_KM, great_circle_km
from mahavishnu.integrations.multi_region.core.latency import (
    CELLS,
    DISTANCE_SLACK_KM,
    LatencyModel,
    cell_centre,
    cell_rho_km,
    corrected_ms,
    unit_vector,
)
from mahavishnu.integrations.multi_region.core.model import Point, RegionView
from mahavishnu.integrations.multi_region.core.ranking import Rank
from mahavishnu.integrations.multi_region.core.residuals import Corrections
from mahavishnu.integrations.multi_region.facts.latency_arrays import (
    Floats,
    Ints,
    ModelArrays,
    products,
    zone_at,
    zones_of_places,
)

from .contenders import MAX_CORRECTED, Answer, Contender, Kind, Mixed, Site, make_site, unbeaten

SLACK_MS = 1e-6
"""Bounds are widened by this much: far above rounding, far below what anybody could measure."""

HALF_WAY_KM = math.pi * EARTH_RADIUS_KM + DISTANCE_SLACK_KM
"""No two places are farther apart."""

FINER = 8
"""A mixed cell is cut into this many times as many rows and columns; in most of those one site wins everywhere."""

FINE_COLUMNS = 361 * FINER

_DIAMETER_KM = 2 * EARTH_RADIUS_KM


Ranks = Callable[[int], Rank]
"""A site to the rank of the region that stands for it, lowest first: of equal estimates the first rank wins."""


class Sites:
    """The sites of a list of regions under one model and one version of what was learned.

    ``cell_arrays``: a place for what batches compile of the same layout.
    """

    curves: ModelArrays
    layout: list[tuple[float, float, int, float, float]]
    geometry: Geometry
    arrays: tuple[Floats, Ints, Floats, Floats]
    cell_arrays: object

    def __init__(
        self, views: Sequence[RegionView], model: LatencyModel, corrections: Corrections, before: Sites | None = None
    ) -> None:
        """``before``: what is still true of it is taken over."""
        self.model = model
        self.corrections = corrections
        self.curves = ModelArrays(model) if before is None or before.model is not model else before.curves
        self.tie_ms = SLACK_MS + DISTANCE_SLACK_KM * _steepest(model)
        self._rises = DISTANCE_SLACK_KM * _flattest(model) > SLACK_MS
        self.all, self.of_region = self._gather(views, {} if before is None else before.kinds)
        self._most = max(16, MAX_CORRECTED // max(1, len(self.all)))
        self._lay_out(before)

    def _gather(self, views: Sequence[RegionView], known: Mapping[Kind, Site]) -> tuple[list[Site], list[int]]:
        learned, places = self.corrections.learned, dict[Kind, list[int]]()
        for index, view in enumerate(views):
            point, name = view.point, view.region_id
            kind = point.latitude, point.longitude, view.country, name if name in learned else None
            places.setdefault(kind, []).append(index)
        fresh = [(Point(*kind[:2]), kind[2]) for kind in places if kind not in known]
        zones = iter(zones_of_places(fresh))
        self.kinds: dict[Kind, Site] = {}
        of_region = [0] * len(views)
        for site, (kind, members) in enumerate(places.items()):
            before = known.get(kind)
            zone = next(zones) if before is None else before.plain.zone
            self.kinds[kind] = make_site(site, kind, zone, tuple(members), learned.get(kind[3] or ""), before)
            for index in members:
                of_region[index] = site
        return list(self.kinds.values()), of_region

    def _lay_out(self, before: Sites | None) -> None:
        """What does not depend on the members or on what was learned, but for the limits of that."""
        sites = self.all
        layout = [(s.plain.latitude, s.plain.longitude, s.plain.zone, s.low_ms, s.high_ms) for s in sites]
        if before is not None and before.layout == layout:
            self.layout, self.geometry, self.arrays = before.layout, before.geometry, before.arrays
            self.cell_arrays = before.cell_arrays
            return
        self.layout, self.cell_arrays = layout, None
        zones, lows, highs = np.array([kind[2:] for kind in layout], dtype=np.float64).reshape(-1, 3).T
        vectors = np.array([site.plain.vector for site in sites]).reshape(-1, 3)
        self.arrays = (vectors, zones.astype(np.intp), lows, highs)
        unsure = 0
        for index, site in enumerate(sites):
            if site.learned is not None:
                unsure |= 1 << index
        self.geometry = Geometry(self._bounds, unsure)

    # --- a cell -----------------------------------------------------------------------------------

    def answer(self, key: int, mask: int) -> Answer:
        """Who of the sites in ``mask`` can win in a cell."""
        found = self.geometry.candidates(key, mask, self._refine)
        if len(found) == 1:
            return found[0]
        cell = key % CELLS
        left = self._unbeaten(
            cell_centre(cell), cell_rho_km(cell), [self.all[i].contender(cell, self._most) for i in found]
        )
        return left[0].site if len(left) == 1 else Mixed(zone_of_key(key), left)

    def narrowed(self, cell: int, bounds: Iterable[Bound]) -> tuple[Contender, ...]:
        """Who of some sites can win in a cell; ``bounds`` hold for them, sorted, whatever was learned."""
        best = math.inf
        found = []
        for low, high, index in bounds:
            if low > best:
                break
            if self.all[index].learned is not None:
                low, high = self._refine(cell, index)
            found.append((low, index))
            best = min(best, high)
        left = [self.all[i].contender(cell, self._most) for low, i in found if low <= best]
        return self._unbeaten(cell_centre(cell), cell_rho_km(cell), left)

    def _unbeaten(self, centre: Point, reach_km: float, among: Sequence[Contender]) -> tuple[Contender, ...]:
        """A model whose estimates stand still over some distance gives no win to who is nearer there."""
        return unbeaten(centre, reach_km, among) if self._rises else tuple(among)

    def cut(self, mixed: Mixed, place: int) -> int | tuple[Contender, ...]:
        """Who of a cell's contenders can win in one of its smaller cells."""
        row, column = divmod(place, FINE_COLUMNS)
        south, west = row / FINER - 90.0, column / FINER - 180.0
        north, east = min(90.0, south + 1 / FINER), min(180.0, west + 1 / FINER)
        latitude, longitude = (south + north) / 2, (west + east) / 2
        reach = max(great_circle_km(latitude, longitude, edge, east) for edge in (south, north)) + DISTANCE_SLACK_KM
        bounds = [(*self._within(c, mixed.zone, latitude, longitude, reach), c) for c in mixed.contenders]
        best = min(high for _, high, _ in bounds)
        left = self._unbeaten(Point(latitude, longitude), reach, [c for low, _, c in bounds if low <= best])
        found = mixed.smaller[place] = left[0].site if len(left) == 1 else left
        return found

    def _refine(self, key: int, index: int) -> tuple[float, float]:
        cell = key % CELLS
        centre = cell_centre(cell)
        contender = self.all[index].contender(cell, self._most)
        return self._within(contender, zone_of_key(key), centre.latitude, centre.longitude, cell_rho_km(cell))

    def _within(self, c: Contender, zone: int, latitude: float, longitude: float, reach: float) -> tuple[float, float]:
        """The lowest and the highest estimate of a contender within ``reach`` km of a place."""
        km, estimate = great_circle_km(latitude, longitude, c.latitude, c.longitude), self.model.estimate_ms
        near, far = max(0.0, km - reach), min(HALF_WAY_KM, km + reach)
        low = corrected_ms(near, estimate(near, zone, c.zone), c.correction_ms) - SLACK_MS
        return low, corrected_ms(far, estimate(far, zone, c.zone), c.correction_ms) + SLACK_MS

    def _bounds(self, key: int, most: int | None) -> list[Bound]:
        cell = key % CELLS
        rho, (vectors, zones, lows, highs) = cell_rho_km(cell), self.arrays
        here = np.array([unit_vector(cell_centre(cell))])
        km = EARTH_RADIUS_KM * np.arccos(np.minimum(1.0, np.maximum(-1.0, products(here, vectors)[0])))
        zone = np.asarray(zone_of_key(key), dtype=np.intp)
        near, far, estimates = np.maximum(0.0, km - rho), np.minimum(HALF_WAY_KM, km + rho), self.curves.estimates_ms
        low = np.maximum(near / 100.0, estimates(near, zone, zones) + lows) - SLACK_MS
        high = np.maximum(far / 100.0, estimates(far, zone, zones) + highs) + SLACK_MS
        some = np.arange(len(low)) if most is None or most >= len(low) else np.argpartition(low, most)[:most]
        some = some[np.argsort(low[some], kind="stable")]
        return list(zip(low[some].tolist(), high[some].tolist(), some.tolist(), strict=True))

    # --- a place ----------------------------------------------------------------------------------

    def closest(
        self, contenders: Sequence[Contender], zone: int, latitude: float, longitude: float, ranks: Ranks
    ) -> int:
        """The site with the lowest estimate: by chords, or where two are too close to call, by the exact formula."""
        estimate, here = self.model.estimate_ms, unit_vector(Point(latitude, longitude))
        best, second, chosen = math.inf, math.inf, -1
        for c in contenders:
            half = dist(here, c.vector) / 2
            km = _DIAMETER_KM * asin(half if half < 1.0 else 1.0)
            ms = estimate(km, zone, c.zone) + c.correction_ms
            floor = km / 100.0
            if ms < floor:
                ms = floor
            if ms < best:
                best, second, chosen = ms, best, c.site
            elif ms < second:
                second = ms
        if second - best > self.tie_ms:
            return chosen
        return self.exactly(contenders, zone, latitude, longitude, ranks)

    def exactly(
        self, contenders: Iterable[Contender], zone: int, latitude: float, longitude: float, ranks: Ranks
    ) -> int:
        """The nearest site by the very formula of the scalar model; of equals, the one whose region ranks first."""
        estimate = self.model.estimate_ms
        best, best_rank, chosen = math.inf, (0.0, 0.0, ""), -1
        for c in contenders:
            km = great_circle_km(latitude, longitude, c.latitude, c.longitude)
            ms = corrected_ms(km, estimate(km, zone, c.zone), c.correction_ms)
            if ms <= best:
                rank = ranks(c.site)
                if ms < best or rank < best_rank:
                    best, best_rank, chosen = ms, rank, c.site
        return chosen


def zone_of_key(key: int) -> int:
    """The zone of a cell's clients: the one that the key carries, or the cell's own."""
    return key // CELLS - 1 if key >= CELLS else zone_at(key)


def _steepest(model: LatencyModel) -> float:
    """The most that an estimate can change over a km, in ms."""
    curve = max((b - a) / (far - near) for (near, far), (a, b) in _pieces(model))
    return max(0.01, curve + max(map(max, model.extra_ms)) / model.fade_km)


def _flattest(model: LatencyModel) -> float:
    """The least that an estimate changes over a km, in ms."""
    curve = min((b - a) / (far - near) for (near, far), (a, b) in _pieces(model))
    return curve + min(0.0, min(map(min, model.extra_ms))) / model.fade_km


def _pieces(model: LatencyModel) -> Iterable[tuple[tuple[float, float], tuple[float, float]]]:
    return zip(pairwise(model.knots_km), pairwise(model.base_ms), strict=True)
