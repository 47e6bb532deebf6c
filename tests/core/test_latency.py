"""Cells hold what they say, estimates never fall with distance, and a client moves only for a real gain."""

import math
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from mahavishnu.integrations.multi_region.core.geo import distance_km
from mahavishnu.integrations.multi_region.core.latency import (
    CELLS,
    COLUMNS,
    LatencyModel,
    cell_centre,
    cell_of,
    cell_rho_km,
    corrected_ms,
    keeps,
    unit_vector,
)
from mahavishnu.integrations.multi_region.core.model import Point
from mahavishnu.integrations.multi_region.errors import InvalidInputError

latitudes = st.one_of(
    st.floats(-90, 90), st.sampled_from([-90.0, -89.0, -1e-20, 0.0, 89.0, math.nextafter(90, 0), 90.0])
)
longitudes = st.one_of(st.floats(-180, 180), st.sampled_from([-180.0, -1e-20, 0.0, math.nextafter(180, 0), 180.0]))
places = st.builds(Point, latitudes, longitudes)

MODEL = LatencyModel(
    zones=("A", "B"),
    knots_km=(0.0, 100.0, 1000.0, 3000.0),
    base_ms=(1.0, 9.0, 9.0, 49.0),
    fade_km=1000.0,
    extra_ms=((0.0, 30.0), (20.0, 7.0)),
)


def model(**changed: object) -> LatencyModel:
    shape = {name: getattr(MODEL, name) for name in ("zones", "knots_km", "base_ms", "fade_km", "extra_ms")}
    return LatencyModel(**{**shape, **changed})


@given(places)
def test_every_place_has_a_cell_and_lies_within_rho_of_its_centre(place: Point) -> None:
    cell = cell_of(place.latitude, place.longitude)
    assert 0 <= cell < CELLS
    assert distance_km(place, cell_centre(cell)) <= cell_rho_km(cell)


@given(places, places)
def test_no_distance_differs_by_more_than_rho_within_a_cell(place: Point, region: Point) -> None:
    cell = cell_of(place.latitude, place.longitude)
    assert abs(distance_km(place, region) - distance_km(cell_centre(cell), region)) <= cell_rho_km(cell)


@given(places)
def test_no_distance_differs_by_more_than_rho_at_the_antipode(place: Point) -> None:
    opposite = Point(-place.latitude, place.longitude - 180 if place.longitude > 0 else place.longitude + 180)
    cell = cell_of(place.latitude, place.longitude)
    assert abs(distance_km(place, opposite) - distance_km(cell_centre(cell), opposite)) <= cell_rho_km(cell)


@given(places)
def test_a_cells_centre_is_in_the_cell(place: Point) -> None:
    cell = cell_of(place.latitude, place.longitude)
    centre = cell_centre(cell)
    assert cell_of(centre.latitude, centre.longitude) == cell


def test_rho_is_reached_by_a_corner() -> None:
    for latitude in (0.0, -1.0, 41.0, -60.0):
        cell = cell_of(latitude + 0.5, 10.5)
        corners = [Point(latitude + up, 10.0) for up in (0.0, 1.0)]
        farthest = max(distance_km(corner, cell_centre(cell)) for corner in corners)
        assert farthest == pytest.approx(cell_rho_km(cell), abs=0.01)


def test_rho_is_largest_at_the_equator_and_small_where_a_cell_has_no_extent() -> None:
    assert max(cell_rho_km(cell) for cell in range(CELLS)) == pytest.approx(78.62, abs=0.05)
    assert cell_rho_km(cell_of(90.0, 12.0)) < 0.01
    assert cell_rho_km(cell_of(10.5, 180.0)) == pytest.approx(55.6, abs=0.1)


def test_cells_are_numbered_by_row_and_column() -> None:
    assert cell_of(-90.0, -180.0) == 0
    assert cell_of(52.5, 13.4) == 142 * COLUMNS + 193
    assert cell_of(90.0, 180.0) == CELLS - 1
    assert cell_centre(cell_of(52.0, 13.0)) == Point(52.5, 13.5)


@given(places, places, places)
def test_the_larger_product_of_unit_vectors_is_the_nearer_place(a: Point, b: Point, c: Point) -> None:
    x, y, z = unit_vector(a)
    to_b, to_c = (x * u + y * v + z * w for u, v, w in (unit_vector(b), unit_vector(c)))
    if to_b > to_c + 1e-9:
        assert distance_km(a, b) < distance_km(a, c)


@pytest.mark.parametrize(
    ("km", "client", "region", "ms"),
    [
        (0, 0, 0, 1.0),
        (0, 0, 1, 1.0),
        (50, 0, 0, 5.0),
        (100, 0, 0, 9.0),
        (500, 0, 1, 9.0 + 15.0),
        (500, 1, 0, 9.0 + 10.0),
        (1000, 0, 1, 39.0),
        (2000, 1, 1, 29.0 + 7.0),
        (3000, 0, 0, 49.0),
        (4000, 0, 1, 69.0 + 30.0),
    ],
)
def test_an_estimate_is_the_curve_and_the_zones_extra(km: float, client: int, region: int, ms: float) -> None:
    assert MODEL.estimate_ms(km, client, region) == pytest.approx(ms)


steps = st.floats(0.001, 5000)
rises = st.floats(0, 200)


@given(
    st.lists(st.tuples(steps, rises), min_size=1, max_size=8),
    st.floats(0, 300),
    st.floats(1, 3000),
    st.lists(st.floats(0, 25_000), min_size=2, max_size=20),
)
def test_no_estimate_falls_with_distance(
    pieces: list[tuple[float, float]], extra: float, fade: float, distances: list[float]
) -> None:
    knots, base = [0.0], [1.0]
    for step, rise in pieces:
        knots.append(knots[-1] + step)
        base.append(base[-1] + rise)
    curve = LatencyModel(("Z",), tuple(knots), tuple(base), fade, ((extra,),))
    near_knots = [at for knot in knots for at in (math.nextafter(knot, 0), knot, math.nextafter(knot, math.inf))]
    asked = sorted([*distances, *near_knots, fade, math.nextafter(fade, 0)])
    estimates = [curve.estimate_ms(km, 0, 0) for km in asked]
    assert all(near <= far for near, far in pairwise(estimates))


@pytest.mark.parametrize(
    "changed",
    [
        {"knots_km": (0.0,), "base_ms": (1.0,)},
        {"knots_km": (1.0, 100.0, 1000.0, 3000.0)},
        {"knots_km": (0.0, 100.0, 100.0, 3000.0)},
        {"knots_km": (0.0, 100.0, 1000.0)},
        {"base_ms": (1.0, 9.0, 8.0, 49.0)},
        {"base_ms": (-1.0, 9.0, 9.0, 49.0)},
        {"base_ms": (1.0, 9.0, 9.0, math.inf)},
        {"fade_km": 0.0},
        {"extra_ms": ((0.0, 30.0),)},
        {"extra_ms": ((0.0, -1.0), (0.0, 0.0))},
        {"extra_ms": ((0.0, math.nan), (0.0, 0.0))},
    ],
)
def test_a_model_that_could_fall_with_distance_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError):
        model(**changed)


def test_zones_have_names() -> None:
    assert MODEL.zone_index("B") == 1
    with pytest.raises(InvalidInputError, match="A, B"):
        MODEL.zone_index("C")


def test_no_correction_beats_light() -> None:
    assert corrected_ms(5000.0, 60.0, 12.0) == 72.0
    assert corrected_ms(5000.0, 60.0, -40.0) == 50.0


@pytest.mark.parametrize(
    ("current", "best", "stays"),
    [
        (100.0, 95.0, False),  # 5 ms
        (100.0, 95.1, True),
        (30.0, 27.0, False),  # a tenth
        (30.0, 27.1, True),
        (10.0, 9.0, False),  # a tenth, and 1 ms
        (5.0, 4.1, True),  # more than a tenth, but less than 1 ms
        (0.9, 0.1, True),
        (2.0, 1.0, False),
        (40.0, 40.0, True),
        (40.0, 90.0, True),
        (math.inf, 90.0, False),
        (math.inf, math.inf, True),
    ],
)
def test_a_client_moves_for_5_ms_or_a_tenth_and_never_for_less_than_1_ms(
    current: float, best: float, stays: bool
) -> None:
    assert keeps(current, best) is stays


@given(st.floats(0, 10_000), st.floats(0, 10_000))
def test_nobody_moves_back_and_forth(a: float, b: float) -> None:
    assert keeps(a, b) or keeps(b, a)
