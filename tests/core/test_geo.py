"""Places: distances that are known, bounds that light sets, and what is no place at all."""

import math

import pytest
from hypothesis import given, strategies as st

from mahavishnu.integrations.multi_region.core.geo import (
    EARTH_RADIUS_KM,
    check_point,
    distance_km,
    fibre_floor_ms,
)
from mahavishnu.integrations.multi_region.core.model import Point
from mahavishnu.integrations.multi_region.errors import InvalidInputError

points = st.builds(Point, st.floats(-90, 90), st.floats(-180, 180))
HALF_WAY_ROUND_KM = math.pi * EARTH_RADIUS_KM


@pytest.mark.parametrize(
    ("a", "b", "km"),
    [
        (Point(0, 0), Point(0, 1), 111.195),
        (Point(0, 179.5), Point(0, -179.5), 111.195),
        (Point(90, 0), Point(-90, 0), HALF_WAY_ROUND_KM),
        (Point(90, 12), Point(90, -140), 0.0),
        (Point(12, 34), Point(-12, -146), HALF_WAY_ROUND_KM),
        (Point(51.5, 0), Point(38.8, -77.1), 5918.2),
    ],
)
def test_distances_that_are_known(a: Point, b: Point, km: float) -> None:
    assert distance_km(a, b) == pytest.approx(km, abs=0.1)


def test_a_metre_is_still_seen() -> None:
    assert distance_km(Point(50, 8), Point(50.000009, 8)) == pytest.approx(0.001, rel=0.01)


@given(points, points, points)
def test_distance_is_a_metric(a: Point, b: Point, c: Point) -> None:
    assert distance_km(a, a) == 0
    assert distance_km(a, b) == pytest.approx(distance_km(b, a), abs=1e-6)
    assert 0 <= distance_km(a, b) <= HALF_WAY_ROUND_KM + 1e-6
    assert distance_km(a, c) <= distance_km(a, b) + distance_km(b, c) + 1e-3


def test_light_needs_a_millisecond_for_a_hundred_km_and_back() -> None:
    assert [fibre_floor_ms(km) for km in (0, 100, 12_000)] == [0, 1, 120]


@given(points)
def test_every_place_in_range_is_accepted_unchanged(point: Point) -> None:
    assert check_point(point.latitude, point.longitude) == point


def test_whole_degrees_become_floats() -> None:
    point = check_point(52, -180)
    assert point == Point(52.0, -180.0)
    assert isinstance(point.latitude, float)
    assert isinstance(point.longitude, float)


NO_NUMBERS = [math.nan, math.inf, -math.inf, True, False, None, "52.5", "", [52.5], 10**400, 1 + 0j]


@pytest.mark.parametrize("bad", [*NO_NUMBERS, 90.0001, -91, 1e308])
def test_a_bad_latitude_is_named(bad: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_point(bad, 13.4, "user_location")
    assert caught.value.field == "user_location.latitude"
    assert caught.value.value is bad
    assert "-90 to 90" in caught.value.allowed


@pytest.mark.parametrize("bad", [*NO_NUMBERS, 180.0001, -181, 360])
def test_a_bad_longitude_is_named(bad: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_point(52.5, bad)
    assert caught.value.field == "longitude"
    assert "-180 to 180" in caught.value.allowed
