"""The router's compiled table: who may serve as bit masks, who is nearest by cell. Exact, and cheap to keep up to date.

A change of health, load or policy rewrites bits; cells are geometry and stay. What the table answers is always what
``core/routing.py`` would answer over all eligible regions: that is tested, and the slow way is what explains.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import asin, cos, dist, radians, sin

import numpy as np

from mahavishnu.integrations.multi_region.core.compiled import Bound, Geometry
from mahavishnu.integrations.multi_region.core.eligibility import in_force, objection
from mahavishnu.integrations.multi_region.core.geo import EARTH_RADIUS_KM, great_circle_km
from mahavishnu.integrations.multi_region.core.latency import (
    CELLS,
    DISTANCE_SLACK_KM,
    LatencyModel,
    cell_centre,
    cell_of,
    cell_rho_km,
    corrected_ms,
)
from mahavishnu.integrations.multi_region.core.model import Fleet, LocalityLevel, RegionView, RoutingStrategy
from mahavishnu.integrations.multi_region.core.ranking import KEYS, TIER, RankInput, turn_of
from mahavishnu.integrations.multi_region.core.request import Needs, Request, needs_of
from mahavishnu.integrations.multi_region.core.residuals import Corrections
from mahavishnu.integrations.multi_region.facts.latency_arrays import Floats, estimates_ms
from mahavishnu.integrations.multi_region.facts.network import zone_of_cell, zone_of_country, zone_of_region

MAX_ENTRIES = 64
"""Different needs kept compiled at once: hostile lists of requirements must not fill the memory."""

MAX_ANSWERS = 50_000
"""Cells whose winners one set of needs remembers."""

SLACK_MS = 1e-6
"""Bounds are widened by this much: far above rounding, far below what anybody could measure."""

HALF_WAY_KM = 20_037.6
"""No two places are farther apart."""

TIERS = max(TIER.values()) + 1


@dataclass(slots=True)
class Contender:
    """A region that can win in a mixed cell, with what its estimate there takes."""

    index: int
    latitude: float
    longitude: float
    vector: tuple[float, float, float]
    zone: int
    correction_ms: float


@dataclass(slots=True)
class Mixed:
    """A cell that several regions can win: who they are, and what is known of its smaller cells."""

    contenders: tuple[Contender, ...]
    smaller: dict[int, int | tuple[Contender, ...]] = field(default_factory=dict)


Answer = int | Mixed
"""The one region that wins anywhere in a cell, or those that can."""

FINER = 8
"""A mixed cell is cut into this many times as many rows and columns; in most of those one region wins everywhere."""

_FINE_COLUMNS = 361 * FINER


@dataclass(slots=True)
class Part:
    """Regions that take traffic together under one set of needs: a deployment's group, or all of them."""

    weight: float
    members: frozenset[str] | None
    masks: list[int] = field(default_factory=lambda: [0] * TIERS)
    best: int = 0
    answers: dict[int, Answer] = field(default_factory=dict)
    winners: dict[RoutingStrategy, int] = field(default_factory=dict)

    def settle(self) -> None:
        """Note which regions of the best tier there are; answers stay while these do."""
        best = next((mask for mask in self.masks if mask), 0)
        if best != self.best:
            self.best = best
            self.answers.clear()


@dataclass(slots=True)
class Compiled:
    """One set of needs over the regions of the table."""

    needs: Needs
    parts: list[Part]
    weights: list[float]
    interdependent: bool

    def part(self, turn: int) -> Part | None:
        """The part whose turn it is among those with an eligible region; None when none has."""
        if len(self.parts) == 1:
            return self.parts[0] if self.parts[0].best else None
        able = [part for part in self.parts if part.best]
        if not able:
            return None
        return able[turn_of([part.weight for part in able], turn)] if len(able) > 1 else able[0]


NeedsKey = tuple[frozenset[str], str | None, str | None]


class RoutingTable:
    """The regions of a fleet, compiled."""

    def __init__(self, fleet: Fleet, model: LatencyModel, corrections: Corrections) -> None:
        self.fleet = fleet
        self.model = model
        self.corrections = corrections
        self.views: list[RegionView] = list(fleet.regions.values())
        self._entries: dict[NeedsKey, Compiled] = {}
        self._place()

    # --- keeping up -------------------------------------------------------------------------------

    def follow(self, fleet: Fleet, corrections: Corrections) -> None:
        """Become the table of another fleet or of newer corrections; only what changed is worked on."""
        old, self.fleet = self.fleet, fleet
        views = list(fleet.regions.values())
        before, self.views = self.views, views
        same = len(views) == len(before)
        changed = [i for i, (a, b) in enumerate(zip(before, views, strict=True)) if a is not b] if same else []
        if not same or any(_moved(before[i], views[i]) for i in changed):
            self.corrections = corrections
            self._entries.clear()
            self._place()
            return
        if any(a is not b for a, b in zip(_rules(fleet), _rules(old), strict=True)):
            self._entries.clear()
        for entry in self._entries.values():
            self._update(entry, range(len(views)) if entry.interdependent else changed)
        if corrections is not self.corrections:
            self.corrections = corrections
            self._forget_cells()

    def entry(self, request: Request) -> Compiled:
        """What the needs of a request without data come to. Raises UnknownServiceError."""
        key = (request.requirements, request.service, request.data_class)
        entry = self._entries.get(key)
        if entry is None:
            if len(self._entries) >= MAX_ENTRIES:
                self._entries.pop(next(iter(self._entries)))
            entry = self._entries[key] = self._compile(needs_of(self.fleet, request))
        return entry

    def _compile(self, needs: Needs) -> Compiled:
        groups = [g for g in needs.deployment.groups if g.weight > 0] if needs.deployment is not None else []
        parts = [Part(g.weight, frozenset(g.regions)) for g in groups] or [Part(1.0, None)]
        leaning = any(policy.locality_level is LocalityLevel.PREFERRED for policy in needs.policies)
        entry = Compiled(needs, parts, [part.weight for part in parts], leaning)
        self._update(entry, range(len(self.views)))
        return entry

    def _update(self, entry: Compiled, indices: Sequence[int] | range) -> None:
        needs = in_force(self.fleet, entry.needs)
        for index in indices:
            view, bit = self.views[index], 1 << index
            tier = TIER[view.standing] if objection(view, needs) is None else None
            for part in entry.parts:
                inside = part.members is None or view.region_id in part.members
                for level in range(TIERS):
                    part.masks[level] = part.masks[level] & ~bit | (bit if inside and level == tier else 0)
        if indices:
            for part in entry.parts:
                part.winners.clear()
                part.settle()

    def _forget_cells(self) -> None:
        self.geometry = Geometry(self._bounds)
        for entry in self._entries.values():
            for part in entry.parts:
                part.answers.clear()

    # --- deciding ---------------------------------------------------------------------------------

    def nearest(self, part: Part, latitude: float, longitude: float, country: str | None) -> int:
        """Index of the region with the lowest estimate among the best tier of a part (which must have one)."""
        key = cell_of(latitude, longitude)
        if country is not None:
            key += CELLS * (1 + (zone_of_country(country, longitude) or 0)) if self._zoned(country, longitude) else 0
        answer = part.answers.get(key)
        if answer is None:
            answer = self.answer(part, key)
        if type(answer) is int:
            return answer
        place = int((latitude + 90.0) * FINER) * _FINE_COLUMNS + int((longitude + 180.0) * FINER)
        finer = answer.smaller.get(place)  # type: ignore[union-attr]  # an isinstance here costs as much as the lookup
        if finer is None:
            finer = self._cut(answer, key, place)  # type: ignore[arg-type]
        if type(finer) is int:
            return finer
        return self._closest(finer, key, latitude, longitude)  # type: ignore[arg-type]

    def answer(self, part: Part, key: int) -> Answer:
        """Compile one cell for a part, and remember it."""
        found = self.geometry.candidates(key, part.best)
        answer: Answer = found[0] if len(found) == 1 else Mixed(tuple(self._contender(i, key) for i in found))
        if len(part.answers) >= MAX_ANSWERS:
            part.answers.clear()
        part.answers[key] = answer
        return answer

    def _cut(self, mixed: Mixed, key: int, place: int) -> int | tuple[Contender, ...]:
        """Who of a cell's contenders can win in one of its smaller cells."""
        row, column = divmod(place, _FINE_COLUMNS)
        south, west = row / FINER - 90.0, column / FINER - 180.0
        north, east = min(90.0, south + 1 / FINER), min(180.0, west + 1 / FINER)
        latitude, longitude = (south + north) / 2, (west + east) / 2
        reach = max(great_circle_km(latitude, longitude, edge, east) for edge in (south, north)) + DISTANCE_SLACK_KM
        zone, estimate = self._zone_of(key), self.model.estimate_ms
        bounds = []
        for c in mixed.contenders:
            km = great_circle_km(latitude, longitude, c.latitude, c.longitude)
            near, far = max(0.0, km - reach), min(HALF_WAY_KM, km + reach)
            low = corrected_ms(near, estimate(near, zone, c.zone), c.correction_ms) - SLACK_MS
            bounds.append((low, corrected_ms(far, estimate(far, zone, c.zone), c.correction_ms) + SLACK_MS, c))
        best = min(high for _, high, _ in bounds)
        left = tuple(c for low, _, c in bounds if low <= best)
        found = mixed.smaller[place] = left[0].index if len(left) == 1 else left
        return found

    def winner(self, part: Part, strategy: RoutingStrategy) -> int:
        """Index of the best region by a strategy that looks at regions alone: cost, capacity, health."""
        index = part.winners.get(strategy)
        if index is None:
            key = KEYS[strategy](RankInput())
            assert key is not None
            index = min(
                _indices(part.best),
                key=lambda i: (key(self.views[i]), -self.views[i].health_score, self.views[i].region_id),
            )
            part.winners[strategy] = index
        return index

    def index_of(self, region_id: str) -> int | None:
        """The index of a region, None when it is not in the table."""
        return self._index.get(region_id)

    def by_turn(self, part: Part, turn: int) -> int:
        """Index of the region whose turn it is."""
        indices = _indices(part.best)
        return indices[turn % len(indices)]

    def _closest(self, contenders: tuple[Contender, ...], key: int, latitude: float, longitude: float) -> int:
        """The contender with the lowest estimate: by chords, or by the exact formula where two are close."""
        zone, estimate, here = self._zone_of(key), self.model.estimate_ms, vector_of(latitude, longitude)
        best, second, chosen = math.inf, math.inf, -1
        for c in contenders:
            km = _DIAMETER_KM * asin(dist(here, c.vector) / 2)
            ms = estimate(km, zone, c.zone) + c.correction_ms
            floor = km / 100.0
            if ms < floor:
                ms = floor
            if ms < best:
                best, second, chosen = ms, best, c.index
            elif ms < second:
                second = ms
        return chosen if second - best > SLACK_MS else self._exactly(contenders, zone, latitude, longitude)

    def _exactly(self, contenders: tuple[Contender, ...], zone: int, latitude: float, longitude: float) -> int:
        estimate = self.model.estimate_ms
        best, best_rank, chosen = math.inf, (0.0, ""), -1
        for c in contenders:
            km = great_circle_km(latitude, longitude, c.latitude, c.longitude)
            ms = corrected_ms(km, estimate(km, zone, c.zone), c.correction_ms)
            view = self.views[c.index]
            rank = (-view.health_score, view.region_id)
            if ms < best or (ms == best and rank < best_rank):
                best, best_rank, chosen = ms, rank, c.index
        return chosen

    def _contender(self, index: int, key: int) -> Contender:
        view = self.views[index]
        return Contender(
            index,
            view.point.latitude,
            view.point.longitude,
            vector_of(view.point.latitude, view.point.longitude),
            self._zones[index],
            self.corrections.correction_ms(key % CELLS, view.region_id),
        )

    # --- geometry ---------------------------------------------------------------------------------

    def _place(self) -> None:
        """Note where the regions are; forget every cell."""
        self._index = {view.region_id: index for index, view in enumerate(self.views)}
        self._zones = [zone_of_region(view.point, view.country) for view in self.views]
        self._zone_array = np.array(self._zones, dtype=np.intp)
        self._latitudes = np.radians([view.point.latitude for view in self.views])
        self._longitudes = np.radians([view.point.longitude for view in self.views])
        self.geometry = Geometry(self._bounds)

    def _bounds(self, key: int) -> list[Bound]:
        cell = key % CELLS
        centre, rho = cell_centre(cell), cell_rho_km(cell)
        km = _distances_km(centre.latitude, centre.longitude, self._latitudes, self._longitudes)
        zone = np.asarray(self._zone_of(key), dtype=np.intp)
        near, far = np.maximum(0.0, km - rho), np.minimum(HALF_WAY_KM, km + rho)
        learned = self.corrections.learned
        added = np.zeros(len(self.views))
        for index, view in enumerate(self.views) if learned else ():
            if view.region_id in learned:
                added[index] = self.corrections.correction_ms(cell, view.region_id)
        low = np.maximum(near / 100.0, estimates_ms(self.model, near, zone, self._zone_array) + added) - SLACK_MS
        high = np.maximum(far / 100.0, estimates_ms(self.model, far, zone, self._zone_array) + added) + SLACK_MS
        order = np.argsort(low, kind="stable")
        return list(zip(low[order].tolist(), high[order].tolist(), order.tolist(), strict=True))

    def _zone_of(self, key: int) -> int:
        """The client's zone that a key stands for: the one it carries, or its cell's."""
        return key // CELLS - 1 if key >= CELLS else zone_of_cell(key)

    def _zoned(self, country: str, longitude: float) -> bool:
        return zone_of_country(country, longitude) is not None


_DIAMETER_KM = 2 * EARTH_RADIUS_KM


def vector_of(latitude: float, longitude: float) -> tuple[float, float, float]:
    """A place in degrees on a sphere of radius 1."""
    south, east = radians(latitude), radians(longitude)
    across = cos(south)
    return across * cos(east), across * sin(east), sin(south)


def _distances_km(latitude: float, longitude: float, latitudes: Floats, longitudes: Floats) -> Floats:
    """``great_circle_km`` from one place (degrees) to many (radians)."""
    south, east = math.radians(latitude), math.radians(longitude)
    across = np.sin((longitudes - east) / 2) ** 2
    chord = np.sin((latitudes - south) / 2) ** 2 + math.cos(south) * np.cos(latitudes) * across
    km: Floats = 2 * EARTH_RADIUS_KM * np.arcsin(np.minimum(1.0, np.sqrt(chord)))
    return km


def _moved(before: RegionView, after: RegionView) -> bool:
    """Whether the geometry of a region is another: it is a different one, or stands elsewhere."""
    return (before.region_id, before.point, before.country) != (after.region_id, after.point, after.country)


def _rules(fleet: Fleet) -> tuple[object, ...]:
    """What needs are made of: the same objects until one of them changes."""
    return fleet.services, fleet.policies, fleet.deployments, fleet.bindings


def _indices(mask: int) -> list[int]:
    """The bits that are set, lowest first."""
    found = []
    while mask:
        low = mask & -mask
        found.append(low.bit_length() - 1)
        mask ^= low
    return found
