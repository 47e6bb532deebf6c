"""Who wins where among the regions that one part of a table may use, as arrays: what a batch looks up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahavishnu.integrations.multi_region.core.compiled import Bound
from mahavishnu.integrations.multi_region.core.geo import EARTH_RADIUS_KM
from mahavishnu.integrations.multi_region.core.latency import CELLS, COLUMNS, DISTANCE_SLACK_KM
from mahavishnu.integrations.multi_region.facts.latency_arrays import Floats, Ints, ModelArrays, cells_of

from .batch_cells import Bounds, CellArrays, Flags, Indices
from .contenders import Contender
from .sites import FINER, HALF_WAY_KM, SLACK_MS, Ranks, Sites

WIDTH = 16
"""Contenders that a smaller cell can hold here; places in the few that have more are answered one by one."""

UNKNOWN = np.iinfo(np.int32).min
"""A cell that was not compiled yet."""

_FINE_AT_ONCE = 2_048
"""Smaller cells that are compiled in one go: about 2 ms."""

_MIXED_AT_ONCE, _LEARNED_COSTS = 200, 5
"""Mixed cells that are compiled in one go, and how many of them a site takes of which something was learned."""


class Growing:
    """Rows of equal width that are appended to."""

    def __init__(self, width: int, dtype: Any, empty: Any = 0) -> None:
        self._rows = np.full((64, width), empty, dtype=dtype)
        self._empty = empty
        self._n = 0

    def __len__(self) -> int:
        return self._n

    @property
    def rows(self) -> NDArray[Any]:
        """All rows so far; to be written to, not kept."""
        return self._rows[: self._n]

    def add(self, n: int) -> slice:
        """Make room for n rows more; where they are."""
        end = self._n + n
        if end > len(self._rows):
            more = np.full((max(end, 2 * len(self._rows)), self._rows.shape[1]), self._empty, dtype=self._rows.dtype)
            more[: self._n] = self.rows
            self._rows = more
        found, self._n = slice(self._n, end), end
        return found


@dataclass(frozen=True, slots=True)
class Pairs:
    """Contenders, each at a place of its own: site, time beyond the curve, what was learned."""

    sites: Ints
    extra: Floats
    learned: Floats


class Curve:
    """The model's curve, and where sites are."""

    def __init__(self, sites: Sites) -> None:
        curves: ModelArrays = sites.curves
        self._fade_km = curves.fade_km
        end = max(2 * HALF_WAY_KM, 2 * float(curves.knots[-1]))
        self._knots = np.append(curves.knots, end)
        self._base = np.append(curves.base, curves.base[-1] + (end - curves.knots[-1]) * curves.slopes[-1])
        self._vectors = sites.arrays[0]

    def km(self, here: Floats, sites: Ints) -> Floats:
        """Distances from unit vectors to sites, each to its own."""
        nearness = np.einsum("ij,ij->i", here, self._vectors[sites])
        km: Floats = EARTH_RADIUS_KM * np.arccos(np.minimum(1.0, np.maximum(-1.0, nearness)))
        return km

    def ms(self, km: Floats, pairs: Pairs) -> Floats:
        """Estimates over these distances."""
        ms = np.interp(km, self._knots, self._base)
        ms += pairs.extra * np.minimum(1.0, km / self._fade_km) + pairs.learned
        floored: Floats = np.maximum(km / 100.0, ms)
        return floored


class Winners:
    """The winners in each cell among some sites (``allowed``, by site); compiled as asked for.

    ``first``: by cell the one site that wins everywhere, or -2 less the position among the mixed cells, or ``UNKNOWN``.
    Mixed cells are cut into ``FINER`` by ``FINER`` smaller ones, for which the same is kept.
    """

    def __init__(self, sites: Sites, arrays: CellArrays, allowed: Flags) -> None:
        self._sites = sites
        self._arrays = arrays
        self._allowed = allowed
        self._sure = all(site.learned is None for site in sites.all)
        self._curve = Curve(sites)
        self.first = np.full(CELLS, UNKNOWN, dtype=np.int32)
        self._mixed: list[tuple[Contender, ...]] = []
        self._about = Growing(3, np.int32)  # the cell, where its contenders begin, and how many they are
        self._members, self._times = Growing(1, np.int32), Growing(2, np.float64)
        self._smaller = Growing(FINER * FINER, np.int32, UNKNOWN)
        self._fine = Growing(1 + WIDTH, np.uint16)  # how many contenders, and which of their cell's

    # --- cells ------------------------------------------------------------------------------------

    def compile(self, cells: Ints) -> Iterator[None]:
        """Compile the cells that are not yet; pauses whenever it has taken about 2 ms."""
        fresh = np.unique(cells[self.first[cells] == UNKNOWN])
        for start in range(0, len(fresh), self._arrays.at_once):
            yield from self._compile_some(fresh[start : start + self._arrays.at_once])
            yield

    def _compile_some(self, cells: Ints) -> Iterator[None]:
        fresh = cells[self._arrays.zones[cells] < 0]
        if len(fresh):
            self._arrays.compile(fresh)
            yield
        kept, rest = self._arrays.kept_bounds(cells)
        can, best = self._possible(kept)
        short = rest <= best
        if short.any():
            bounds = self._arrays.bounds(cells[short], self._arrays.zones[cells[short]].astype(np.intp))
            yield from self._note(cells[short], bounds, self._possible(bounds)[0])
            yield
        whole = ~short
        yield from self._note(cells[whole], kept.of(whole), can[whole])

    def _possible(self, bounds: Bounds) -> tuple[Flags, Floats]:
        """Which sites are allowed and not ruled out by another, and the lowest upper bound of each cell."""
        allowed = self._allowed[bounds.sites]
        best: Floats = np.where(allowed, bounds.highs, np.inf).min(axis=1)
        can: Flags = allowed & (bounds.lows <= best[:, None])
        return can, best

    def _note(self, cells: Ints, bounds: Bounds, can: Flags) -> Iterator[None]:
        """Note the winners. Who can win a cell that several can is for the scalar, which knows what was learned."""
        alone = can.sum(axis=1) == 1
        self.first[cells[alone]] = bounds.sites[alone, can[alone].argmax(axis=1)]
        work = 0
        for row in np.flatnonzero(~alone).tolist():
            among = np.flatnonzero(can[row])
            among = among[np.argsort(bounds.lows[row, among], kind="stable")]
            columns = (bounds.lows[row, among], bounds.highs[row, among], bounds.sites[row, among])
            self._mix(int(cells[row]), list(zip(*(column.tolist() for column in columns), strict=True)))
            work += 1 if self._sure else len(among) * _LEARNED_COSTS
            if work > _MIXED_AT_ONCE:
                work = 0
                yield

    def _mix(self, cell: int, among: list[Bound]) -> None:
        found = self._sites.narrowed(cell, among)
        if len(found) == 1:
            self.first[cell] = found[0].site
            return
        extra = self._sites.model.extra_ms[self._arrays.zones[cell]]
        at = self._members.add(len(found))
        self._times.add(len(found))
        self._members.rows[at, 0] = [c.site for c in found]
        self._times.rows[at] = [(extra[c.zone], c.correction_ms) for c in found]
        here = self._about.add(1)
        self._about.rows[here] = cell, at.start, len(found)
        self._smaller.add(1)
        self.first[cell] = -2 - len(self._mixed)
        self._mixed.append(found)

    # --- smaller cells ----------------------------------------------------------------------------

    def compile_smaller(self, slots: Indices, places: Ints) -> Iterator[None]:
        """Compile smaller cells (``places``: which of each mixed cell) that are not yet; pauses as ``compile`` does."""
        unknown = self._smaller.rows[slots, places] == UNKNOWN
        fresh = np.unique(slots[unknown] * np.intp(FINER * FINER) + places[unknown])
        for start in range(0, len(fresh), _FINE_AT_ONCE):
            self._cut(*np.divmod(fresh[start : start + _FINE_AT_ONCE], FINER * FINER))
            yield

    def _cut(self, slots: Ints, places: Ints) -> None:
        cells, begins, counts = self._about.rows[slots].T.astype(np.intp)
        latitudes, longitudes, reach = _middles(cells, places)
        offsets = np.cumsum(counts) - counts
        own = np.repeat(np.arange(len(slots)), counts)
        members = np.repeat(begins - offsets, counts) + np.arange(len(own))
        times = self._times.rows[members]
        pairs = Pairs(self._members.rows[members, 0], times[:, 0], times[:, 1])
        km = self._curve.km(unit_vectors(latitudes, longitudes)[own], pairs.sites)
        lows = self._curve.ms(np.maximum(0.0, km - reach[own]), pairs) - SLACK_MS
        highs = self._curve.ms(np.minimum(HALF_WAY_KM, km + reach[own]), pairs) + SLACK_MS
        can = lows <= np.minimum.reduceat(highs, offsets)[own]
        which = (np.arange(len(own)) - offsets[own])[can]
        self._note_smaller(slots, places, np.add.reduceat(can, offsets), own[can], which, pairs.sites[can])

    def _note_smaller(self, slots: Ints, places: Ints, left: Ints, own: Ints, which: Ints, sites: Ints) -> None:
        """``left``: how many can win each smaller cell; ``own``: whose each contender is, ``which`` of its cell's."""
        ranks = np.arange(len(own)) - (np.cumsum(left) - left)[own]
        several = left > 1
        found = sites[ranks == 0].astype(np.int32)
        new = self._fine.add(int(several.sum()))
        found[several] = -2 - np.arange(new.start, new.stop)
        self._fine.rows[new, 0] = left[several]
        fits = several[own] & (ranks < WIDTH)
        self._fine.rows[-2 - found[own[fits]], 1 + ranks[fits]] = which[fits]
        self._smaller.rows[slots, places] = found

    # --- places -----------------------------------------------------------------------------------

    def steps(self, latitudes: Floats, longitudes: Floats, ranks: Ranks, out: Indices) -> Iterator[None]:
        """Put the site that wins at each place into ``out``; pauses whenever it has taken about 2 ms."""
        cells = cells_of(latitudes, longitudes)
        out[:] = self.first[cells]
        if out.min() == UNKNOWN:
            yield from self.compile(cells)
            out[:] = self.first[cells]
        mixed = np.flatnonzero(out < 0)
        if not len(mixed):
            return
        slots, south, east = -2 - out[mixed], latitudes[mixed], longitudes[mixed]
        places = _place_in(south, -90.0) * FINER + _place_in(east, -180.0)
        found = self._smaller.rows[slots, places]
        if found.min() == UNKNOWN:
            yield from self.compile_smaller(slots, places)
            found = self._smaller.rows[slots, places]
        close = np.flatnonzero(found < 0)
        if len(close):
            found[close] = self._settle(-2 - found[close], slots[close], south[close], east[close], ranks)
        out[mixed] = found

    def _settle(self, fine: Ints, slots: Indices, latitudes: Floats, longitudes: Floats, ranks: Ranks) -> Ints:
        """The winning sites where several are left; by the scalar formula where two are too close to call."""
        sites, close = self._compare(fine, slots, unit_vectors(latitudes, longitudes))
        for at in np.flatnonzero(close).tolist():
            slot, place = int(slots[at]), (float(latitudes[at]), float(longitudes[at]))
            zone = int(self._arrays.zones[self._about.rows[slot, 0]])
            sites[at] = self._sites.exactly(self._mixed[slot], zone, *place, ranks)
        return sites

    def _compare(self, fine: Ints, slots: Indices, here: Floats) -> tuple[Ints, Flags]:
        """The site with the lowest estimate at each place, and where that is too close to call."""
        rows, begins = self._fine.rows[fine], self._about.rows[slots, 1]
        counts, members = rows[:, 0], begins[:, None] + rows[:, 1:]
        sites, best = self._estimates(members[:, 0], here)
        second = np.full(len(fine), np.inf)
        for turn in range(1, min(WIDTH, int(counts.max()))):
            some = np.flatnonzero(counts > turn)
            theirs, ms = self._estimates(members[some, turn], here[some])
            lead, wins = best[some], ms < best[some]
            second[some] = np.minimum(second[some], np.maximum(ms, lead))
            best[some] = np.minimum(ms, lead)
            sites[some[wins]] = theirs[wins]
        return sites, (second - best <= self._sites.tie_ms) | (counts > WIDTH)

    def _estimates(self, members: Ints, here: Floats) -> tuple[Ints, Floats]:
        sites, times = self._members.rows[members, 0], self._times.rows[members]
        return sites, self._curve.ms(self._curve.km(here, sites), Pairs(sites, times[:, 0], times[:, 1]))


def unit_vectors(latitudes: Floats, longitudes: Floats) -> Floats:
    """Places in degrees on a sphere of radius 1: shape (n, 3)."""
    south, east = np.radians(latitudes), np.radians(longitudes)
    vectors = np.empty((len(south), 3))
    across = np.cos(south)
    vectors[:, 0], vectors[:, 1], vectors[:, 2] = across * np.cos(east), across * np.sin(east), np.sin(south)
    return vectors


def _place_in(degrees: Floats, edge: float) -> Ints:
    """Which row or column of its cell's smaller ones a place is in."""
    found: Ints = ((degrees - edge) * FINER).astype(np.intp) % FINER
    return found


def _middles(cells: Ints, places: Ints) -> tuple[Floats, Floats, Floats]:
    """Middles of smaller cells in degrees, and how far in km their farthest place is: as ``Sites.cut`` has them."""
    souths = (cells // COLUMNS + (places // FINER) / FINER) - 90.0
    wests = (cells % COLUMNS + (places % FINER) / FINER) - 180.0
    norths, easts = np.minimum(90.0, souths + 1 / FINER), np.minimum(180.0, wests + 1 / FINER)
    latitudes, longitudes = (souths + norths) / 2, (wests + easts) / 2
    reach = [_apart_km(latitudes, edges, easts - longitudes) for edges in (souths, norths)]
    return latitudes, longitudes, np.maximum(*reach) + DISTANCE_SLACK_KM


def _apart_km(latitudes: Floats, others: Floats, across: Floats) -> Floats:
    """Great-circle distances of places by their latitudes and by how far apart their longitudes are, in degrees."""
    south, north = np.radians(latitudes), np.radians(others)
    chord = np.sin((north - south) / 2) ** 2
    chord += np.cos(south) * np.cos(north) * np.sin(np.radians(across) / 2) ** 2
    km: Floats = 2 * EARTH_RADIUS_KM * np.arcsin(np.minimum(1.0, np.sqrt(chord)))
    return km
