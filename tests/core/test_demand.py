"""Demand as plans see it: noise is not told, surges at once, falls slowly; and load that does not come from edges."""

from __future__ import annotations

from itertools import accumulate
from math import exp
from random import Random

import pytest
from hypothesis import given, strategies as st

from mahavishnu.integrations.multi_region.core.demand import (
    Smoothed,
    booked,
    foreign_loads,
    seen_alive,
    without_edges,
)
from mahavishnu.integrations.multi_region.testing.builders import fleet, view


def told(*rates: float, period_s: float = 1.0) -> list[float]:
    steps = accumulate(rates, lambda one, rate: one.after(rate, period_s), initial=Smoothed())
    return [one.told for one in steps][1:]


def test_the_first_report_is_believed_at_once() -> None:
    assert told(200.0) == [200.0]


def test_small_changes_are_not_told() -> None:
    assert told(200.0, 205.0, 196.0, 208.0, 192.0) == [200.0] * 5


def test_a_surge_is_told_at_once_and_its_end_slowly() -> None:
    seen = told(100.0, 300.0, 100.0, 100.0, 100.0)
    assert seen[:2] == [100.0, 300.0]
    assert seen[2:] == sorted(seen[2:], reverse=True)
    assert seen[2] == pytest.approx(100 + 200 * exp(-1 / 5), rel=0.01)


def test_what_ends_is_nothing_after_a_while() -> None:
    seen = told(200.0, *[0.0] * 40)
    assert seen[1] > 100
    assert seen[-1] == 0.0


def test_less_than_half_a_request_per_second_is_none() -> None:
    assert told(0.4, 0.3, 0.4) == [0.0] * 3


@pytest.mark.parametrize("rate", [20.0, 200.0, 5000.0])
def test_arrivals_by_chance_seldom_change_what_is_told(rate: float) -> None:
    random = Random(7)
    seen = told(*(random.gauss(rate, rate**0.5) for _ in range(300)))
    assert len(set(seen)) < 20
    assert all(abs(one - rate) < max(0.1 * rate, 4 * rate**0.5) for one in seen)


def test_a_slow_rise_is_followed() -> None:
    seen = told(*(100.0 + step for step in range(200)))
    assert 270 < seen[-1] <= 299


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=20), st.floats(0.01, 60))
def test_what_is_told_is_never_beyond_what_was_seen(rates: list[float], period_s: float) -> None:
    assert all(0 <= one <= 1.01 * max(rates) for one in told(*rates, period_s=period_s))


# --- load from elsewhere ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loads", "carried", "foreign"),
    [
        ({"a": 50.0, "b": 20.0}, {}, {"a": 50.0, "b": 20.0}),
        ({"a": 150.0, "b": 20.0}, {"a": 90.0}, {"a": 60.0, "b": 20.0}),
        ({"a": 0.1 + 0.2}, {"a": 0.3}, {"a": 0.0}),
        ({"a": 95.0, "b": 60.0}, {"a": 100.0}, {"a": 0.0, "b": 60.0}),
        ({"a": 0.0, "b": 100.0}, {"a": 100.0}, {"a": 0.0, "b": 0.0}),
        ({"a": 0.0, "b": 160.0, "c": 50.0}, {"a": 100.0, "c": 50.0}, {"a": 0.0, "b": 60.0, "c": 0.0}),
        ({"a": 0.0, "b": 20.0}, {"a": 100.0}, {"a": 0.0, "b": 0.0}),
        ({"a": 10.0}, {"a": 10.0, "gone": 90.0}, {"a": 0.0}),
    ],
)
def test_load_that_edges_do_not_account_for(
    loads: dict[str, float], carried: dict[str, float], foreign: dict[str, float]
) -> None:
    assert foreign_loads(loads, carried) == foreign


def test_a_fleet_without_edges_traffic_is_the_same_fleet() -> None:
    world = fleet(view("eu-west-1", load=70.0))
    assert without_edges(world, {}) is world
    assert without_edges(world, {"eu-west-1": 60.0}).regions["eu-west-1"].load == 10.0


# --- what edges send, as load ----------------------------------------------------------------------

LIMITS = {"a": 100.0, "b": 100.0}
amounts = st.integers(0, 10**6)


def book(
    loads: dict[str, float], sent: dict[str, float], carried: dict[str, float], declared: dict[str, float] | None = None
) -> tuple[dict[str, float], dict[str, float]]:
    booking = booked(loads, LIMITS, sent, carried, declared or {})
    return dict(booking.told), dict(booking.carried)


@pytest.mark.parametrize(
    ("loads", "sent", "carried", "told", "counted"),
    [
        # nothing is sent: nothing is told
        ({"a": 30.0, "b": 0.0}, {}, {}, {}, {}),
        # what edges send comes on top of what comes from elsewhere
        ({"a": 30.0, "b": 0.0}, {"a": 20.0, "b": 5.0}, {}, {"a": 50.0, "b": 5.0}, {"a": 20.0, "b": 5.0}),
        # it takes the place of what they sent before
        ({"a": 50.0}, {"a": 40.0}, {"a": 20.0}, {"a": 70.0}, {"a": 40.0}),
        # to one percent of the limit it is left as it stands, and still counted as it stands
        ({"a": 50.0}, {"a": 21.0}, {"a": 20.0}, {}, {"a": 20.0}),
        ({"a": 50.0}, {"a": 21.1}, {"a": 20.0}, {"a": 51.1}, {"a": 21.1}),
        # however small, its begin and its end are told
        ({"a": 0.0}, {"a": 0.5}, {}, {"a": 0.5}, {"a": 0.5}),
        ({"a": 0.5}, {}, {"a": 0.5}, {"a": 0.0}, {}),
        # a region that tells its whole load says what of it comes from elsewhere
        ({"a": 80.0}, {"a": 50.0}, {"a": 50.0}, {}, {"a": 50.0}),
        ({"a": 80.0}, {"a": 20.0}, {"a": 50.0}, {"a": 50.0}, {"a": 20.0}),
        # a region that is gone is in nothing
        ({"a": 0.0}, {"a": 7.0, "gone": 5.0}, {"gone": 9.0}, {"a": 7.0}, {"a": 7.0}),
    ],
)
def test_what_becomes_of_loads(
    loads: dict[str, float],
    sent: dict[str, float],
    carried: dict[str, float],
    told: dict[str, float],
    counted: dict[str, float],
) -> None:
    assert book(loads, sent, carried) == (told, counted)


def test_a_load_from_before_may_be_what_edges_send() -> None:
    assert book({"a": 90.0}, {"a": 90.0}, {}, {"a": 90.0}) == ({"a": 90.0}, {"a": 90.0})
    assert book({"a": 90.0}, {"a": 60.0}, {}, {"a": 90.0}) == ({"a": 90.0}, {"a": 60.0})
    assert book({"a": 90.0}, {"a": 95.0}, {}, {"a": 90.0}) == ({"a": 95.0}, {"a": 95.0})
    assert book({"a": 70.0}, {"a": 60.0}, {}, {"a": 90.0}) == ({"a": 130.0}, {"a": 60.0}), "told since"
    assert book({"a": 90.0}, {"a": 40.0}, {"a": 40.0}, {"a": 90.0}) == ({}, {"a": 40.0}), "what they send is known"


@given(st.tuples(amounts, amounts), st.tuples(amounts, amounts), st.tuples(amounts, amounts))
def test_what_comes_from_elsewhere_stays_whatever_edges_send(
    others: tuple[int, int], carried: tuple[int, int], sent: tuple[int, int]
) -> None:
    loads = {name: float(other + own) for name, other, own in zip("ab", others, carried, strict=True)}
    before, now = ({name: float(count) for name, count in zip("ab", of, strict=True)} for of in (carried, sent))
    first = booked(loads, LIMITS, now, before, {})
    wanted = {name: other + now[name] for name, other in zip("ab", others, strict=True)}
    assert first.told.items() <= wanted.items()
    assert booked({**loads, **first.told}, LIMITS, now, first.carried, {}).told == {}, "and is told once"


# --- who is alive ----------------------------------------------------------------------------------


def test_a_region_is_seen_alive_while_more_of_its_requests_end_well_than_fail() -> None:
    assert seen_alive({"a": 2, "b": 1, "c": 5}, {"a": 1, "b": 1, "d": 9}) == {"a", "c"}
    assert seen_alive({"a": 0}, {}) == seen_alive({}, {}) == frozenset()
