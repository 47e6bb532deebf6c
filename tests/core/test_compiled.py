"""No cell misses a place that can win somewhere in it: dense samples, edges, corners, poles, the antimeridian."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given, settings, strategies as st

from mahavishnu.integrations.multi_region.core.compiled import KEPT, MAX_CELLS, Bound, Geometry
from mahavishnu.integrations.multi_region.core.geo import distance_km
from mahavishnu.integrations.multi_region.core.latency import (
    CELLS,
    COLUMNS,
    ROWS,
    LatencyModel,
    cell_centre,
    cell_of,
    cell_rho_km,
    corrected_ms,
)
from mahavishnu.integrations.multi_region.core.model import Point

SLACK_MS = 1e-9
dice = st.integers(0, 2**32).map(Random)


class World:
    """Places under a random curve, with a flat piece as a rule, and something learned of some of them."""

    def __init__(self, dice: Random) -> None:
        knots = [0.0, *sorted(dice.sample(range(50, 19_000, 50), 4))]
        rises = [dice.choice((0.0, dice.uniform(0, 60))) for _ in knots]
        base = [sum(rises[: at + 1]) for at in range(len(knots))]
        extra = tuple(tuple(dice.choice((0.0, dice.uniform(0, 80))) for _ in range(3)) for _ in range(3))
        self.model = LatencyModel(
            ("a", "b", "c"), tuple(map(float, knots)), tuple(base), dice.choice((1.0, 800.0)), extra
        )
        count = dice.choice((1, 2, 5, KEPT, KEPT + 1, 80))
        self.places = [Point(*_place(dice)) for _ in range(count)]
        self.places += dice.sample(self.places, count // 3)
        self.zones = [dice.randrange(3) for _ in self.places]
        self.learned = [dice.choice((0.0, 0.0, 0.0, dice.gauss(0, 30))) for _ in self.places]
        self.client_zone = dice.randrange(3)

    def estimate(self, point: Point, index: int) -> float:
        km = distance_km(point, self.places[index])
        return corrected_ms(km, self.model.estimate_ms(km, self.client_zone, self.zones[index]), self.learned[index])

    def within(self, cell: int, index: int, low: float, high: float) -> tuple[float, float]:
        km, rho = distance_km(cell_centre(cell), self.places[index]), cell_rho_km(cell)
        near, far = max(0.0, km - rho), km + rho
        estimate, zones = self.model.estimate_ms, (self.client_zone, self.zones[index])
        return (
            corrected_ms(near, estimate(near, *zones), low) - SLACK_MS,
            corrected_ms(far, estimate(far, *zones), high) + SLACK_MS,
        )

    def bounds(self, cell: int, most: int | None) -> Sequence[Bound]:
        """Of places of which something was learned, only that it is within 200 ms."""
        widths = [(-200.0, 200.0) if ms else (0.0, 0.0) for ms in self.learned]
        return sorted((*self.within(cell, index, *width), index) for index, width in enumerate(widths))[:most]

    def refine(self, cell: int, index: int) -> tuple[float, float]:
        return self.within(cell, index, self.learned[index], self.learned[index])

    @property
    def unsure(self) -> int:
        return sum(1 << index for index, ms in enumerate(self.learned) if ms)


def _place(dice: Random) -> tuple[float, float]:
    if dice.random() < 0.3:
        return dice.choice(((90.0, 0.0), (-90.0, 0.0), (0.0, 180.0), (0.0, -180.0), (45.0, 0.0), (0.0, 0.0)))
    return dice.uniform(-90, 90), dice.uniform(-180, 180)


def points_of(dice: Random, cell: int) -> list[Point]:
    """Corners, edges and inner places of a cell; all of them are its own."""
    row, column = divmod(cell, COLUMNS)
    south, west = row - 90.0, column - 180.0
    inner = math.nextafter(1.0, 0.0)
    steps = (0.0, 1e-9, 0.25, 0.5, 0.75, 1 - 1e-9, inner, dice.random(), dice.random())
    asked = [(min(90.0, south + a), min(180.0, west + b)) for a in steps for b in steps]
    return [Point(*place) for place in asked if cell_of(*place) == cell]


def some_cells(dice: Random) -> list[int]:
    """The rows of the poles, the columns of the antimeridian and the prime meridian, and any other."""
    rows, columns = (0, ROWS - 2, ROWS - 1, 90, dice.randrange(ROWS)), (0, 180, COLUMNS - 1, dice.randrange(COLUMNS))
    return [dice.choice(rows) * COLUMNS + dice.choice(columns) for _ in range(3)]


@settings(max_examples=120, deadline=None)
@given(dice, st.booleans())
def test_no_cell_misses_a_winner(dice: Random, refined: bool) -> None:
    world = World(dice)
    geometry = Geometry(world.bounds, world.unsure)
    for cell in some_cells(dice):
        for _ in range(3):
            allowed = [i for i in range(len(world.places)) if dice.random() < 0.5] or [0]
            mask = sum(1 << index for index in allowed)
            found = geometry.candidates(cell, mask, world.refine if refined else None)
            assert set(found) <= set(allowed)
            for point in points_of(dice, cell):
                estimates = {index: world.estimate(point, index) for index in allowed}
                best = min(estimates.values())
                assert {index for index, ms in estimates.items() if ms == best} <= set(found), point


def test_what_cannot_win_is_left_out() -> None:
    near, far = (1.0, 2.0, 0), (3.0, 4.0, 1)
    geometry = Geometry(lambda *_: [near, far])
    assert geometry.candidates(7, 0b11) == (0,)
    assert geometry.candidates(7, 0b10) == (1,)


def test_a_tie_of_bounds_leaves_both() -> None:
    assert Geometry(lambda *_: [(1.0, 3.0, 0), (3.0, 4.0, 1)]).candidates(7, 0b11) == (0, 1)


def test_narrower_bounds_leave_fewer() -> None:
    wide = [(0.0, 100.0, 0), (1.0, 2.0, 1)]
    assert Geometry(lambda *_: wide, 0b01).candidates(7, 0b11) == (0, 1)
    assert Geometry(lambda *_: wide, 0b01).candidates(7, 0b11, lambda key, index: (50.0, 51.0)) == (1,)


def test_places_beyond_those_kept_are_looked_at_when_they_can_win() -> None:
    many = [(float(i), float(i) + 0.5, i) for i in range(KEPT + 5)]
    geometry = Geometry(lambda *_: many)
    assert geometry.candidates(7, 1 << (KEPT + 3)) == (KEPT + 3,)
    assert geometry.candidates(7, 1 << (KEPT + 3) | 1 << 2) == (2,)


def test_bounds_are_worked_out_once_for_a_cell() -> None:
    asked: list[int] = []

    def bounds(key: int, _most: int | None) -> list[Bound]:
        asked.append(key)
        return [(1.0, 2.0, 0)]

    geometry = Geometry(bounds)
    for key in (5, 5, 6, 5):
        geometry.candidates(key, 1)
    assert asked == [5, 6]


def test_cells_do_not_fill_the_memory() -> None:
    geometry = Geometry(lambda *_: [(1.0, 2.0, 0)])
    for key in range(MAX_CELLS + 10):
        geometry.candidates(key, 1)
    assert len(geometry) == 10
    assert geometry.candidates(3, 1) == (0,)


@pytest.mark.parametrize("place", [(90.0, 180.0), (90.0, -180.0), (-90.0, -180.0), (-90.0, 180.0), (0.0, 0.0)])
def test_the_last_places_have_cells(place: tuple[float, float]) -> None:
    assert 0 <= cell_of(*place) < CELLS
    assert distance_km(Point(*place), cell_centre(cell_of(*place))) <= cell_rho_km(cell_of(*place))
