"""Demand poured into regions: by weight, never beyond what is free, and all of it accounted for."""

from __future__ import annotations

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
