"""Demand poured into regions: by weight, never beyond what is free, and all of it accounted for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from mahavishnu.integrations.multi_region.core.room import Ask, Line, Rooms, poured
from mahavishnu.integrations.multi_region.testing.builders import view


@pytest.mark.parametrize(
    ("amount", "weights", "free", "takes"),
    [
        (30, [1, 1], [100, 100], [15, 15]),
        (30, [2, 1], [100, 100], [20, 10]),
        (30, [1, 1], [5, 100], [5, 25]),
        (300, [1, 1], [5, 100], [5, 100]),
        (30, [1, 1, 1], [0, 12, 100], [0, 12, 18]),
        (30, [3, 1], [0, 0], [0, 0]),
    ],
)
def test_pouring(amount: float, weights: list[float], free: list[float], takes: list[float]) -> None:
    assert poured(amount, weights, free) == pytest.approx(takes)


entries = st.lists(st.tuples(st.floats(1, 1e4), st.floats(0, 1e4)), min_size=1, max_size=6)


@given(st.floats(0, 1e5), entries)
def test_nothing_is_lost_and_nobody_gets_more_than_is_free(amount: float, pairs: list[tuple[float, float]]) -> None:
    weights, free = [weight for weight, _ in pairs], [room for _, room in pairs]
    takes = poured(amount, weights, free)
    assert all(0 <= taken <= room for taken, room in zip(takes, free, strict=True))
    assert sum(takes) == pytest.approx(min(amount, sum(free)), abs=1e-6)
    rest = [taken / weight for taken, weight, room in zip(takes, weights, free, strict=True) if taken < room - 1e-6]
    assert not rest or max(rest) - min(rest) <= 1e-6 * max(1.0, amount)


asks = st.lists(
    st.tuples(st.integers(1, 3), st.floats(0.5, 300), st.permutations("abc"), st.integers(1, 3)), max_size=6
)


@given(asks, st.sampled_from([0.0, 0.1, 0.5]))
def test_every_request_is_taken_and_overload_is_what_is_beyond_the_limits(
    drawn: list[tuple[int, float, list[str], int]], headroom: float
) -> None:
    rooms = Rooms({name: view(name, max_capacity=100.0 * place) for place, name in enumerate("abc", 1)})
    made = [
        Ask("edge", str(number), priority, demand, (Line(1.0, tuple(((name, 1.0),) for name in order[:count])),))
        for number, (priority, demand, order, count) in enumerate(drawn)
    ]
    used = dict.fromkeys("abc", 0.0)
    found = rooms.share_out(made, headroom)
    for ask, share in found:
        assert sum(share.takes.values()) == pytest.approx(ask.demand)
        for name, taken in share.takes.items():
            used[name] += taken
    beyond = sum(max(0.0, used[name] - 100.0 * place) for place, name in enumerate("abc", 1))
    assert sum(share.overload for _, share in found) == pytest.approx(beyond, abs=1e-4)
    assert [ask.priority for ask, _ in found] == sorted(ask.priority for ask, _ in found)


def ask(name: str, demand: float, *regions: str, priority: int = 1) -> Ask:
    return Ask("edge", name, priority, demand, (Line(1.0, tuple(((region, 1.0),) for region in regions)),))


def shared(*made: Ask, headroom: float = 0.0, **limits: float) -> dict[str, tuple[Any, float, bool]]:
    """What each ask takes by region, what of it finds no room, and whether it is pressed."""
    rooms = Rooms({name: view(name, max_capacity=limit) for name, limit in limits.items()})
    found = rooms.share_out(made, headroom)
    return {one.class_name: (pytest.approx(share.takes), share.overload, share.pressed) for one, share in found}


def test_what_is_to_be_kept_free_is_used_last() -> None:
    assert shared(ask("x", 95, "a", "b"), headroom=0.1, a=100, b=100)["x"] == ({"a": 90, "b": 5}, 0, True)
    assert shared(ask("x", 190, "a", "b"), headroom=0.1, a=100, b=100)["x"] == ({"a": 100, "b": 90}, 0, True)


def test_who_may_go_elsewhere_makes_room_for_who_may_not() -> None:
    found = shared(ask("free", 100, "a", "b"), ask("bound", 50, "a", priority=2), a=100, b=100)
    assert found == {"free": ({"a": 50, "b": 50}, 0, True), "bound": ({"a": 50}, 0, True)}


def test_of_those_that_could_make_room_the_ones_that_matter_least_do() -> None:
    first, second, bound = (
        ask("1st", 50, "a", "b"),
        ask("2nd", 50, "a", "b", priority=2),
        ask("3rd", 30, "a", priority=3),
    )
    found = shared(first, second, bound, a=100, b=100)
    assert found == {"1st": ({"a": 50}, 0, False), "2nd": ({"a": 20, "b": 30}, 0, True), "3rd": ({"a": 30}, 0, True)}


def test_what_finds_no_room_is_spread_by_limits() -> None:
    assert shared(ask("x", 600, "a", "b"), a=100, b=200)["x"] == ({"a": 200, "b": 400}, 300, True)
    assert shared(ask("x", 10, "a", "b"), a=0, b=0)["x"] == ({"a": 5, "b": 5}, 10, True)
