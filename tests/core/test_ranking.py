"""Who comes first among those that may serve, and whose turn it is."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, strategies as st

from mahavishnu.integrations.multi_region.core.model import Phase, Point, RegionView, RoutingStrategy
from mahavishnu.integrations.multi_region.core.ranking import (
    KEYS,
    TIER,
    RankInput,
    best_tier,
    by_turn,
    ordered,
)
from mahavishnu.integrations.multi_region.testing.builders import view

BERLIN, TOKYO = Point(52.5, 13.4), Point(35.7, 139.7)


def order(strategy: RoutingStrategy, regions: list[RegionView], **given: Any) -> list[str]:
    key = KEYS[strategy](RankInput(**given))
    assert key is not None
    return [region.region_id for region in ordered(regions, key)]


EU, US, JP = "eu-central-1", "us-east-1", "ap-northeast-1"


@pytest.mark.parametrize(
    ("strategy", "given", "expected"),
    [
        (RoutingStrategy.LATENCY_BASED, {"location": BERLIN}, [EU, US, JP]),
        (RoutingStrategy.LATENCY_BASED, {"location": TOKYO}, [JP, EU, US]),
        (RoutingStrategy.CAPACITY_BASED, {}, [US, JP, EU]),
        (RoutingStrategy.COST_BASED, {}, [JP, EU, US]),
        (RoutingStrategy.HEALTH_BASED, {}, [US, EU, JP]),
        (RoutingStrategy.COMPLIANCE_BASED, {"location": BERLIN}, [EU, US, JP]),
        (RoutingStrategy.COMPLIANCE_BASED, {}, [US, EU, JP]),
        (RoutingStrategy.DATA_LOCALITY, {"location": BERLIN, "holders": (view("t", point=TOKYO),)}, [JP, EU, US]),
        (RoutingStrategy.DATA_LOCALITY, {"holders": (view("t", point=TOKYO), view("b", point=BERLIN))}, [JP, EU, US]),
    ],
)
def test_each_strategy_has_its_own_first(strategy: RoutingStrategy, given: dict[str, Any], expected: list[str]) -> None:
    regions = [
        view(EU, load=80, cost_multiplier=1.1, health_score=90.0),
        view(US, load=10, cost_multiplier=1.2, health_score=95.0),
        view(JP, load=20, cost_multiplier=0.9, health_score=80.0, point=TOKYO),
    ]
    assert order(strategy, regions, **given) == expected


def test_data_is_fetched_over_the_shortest_round_trip_whatever_the_distance() -> None:
    holder = view("store", point=BERLIN)
    rtts = {EU: 90.0, US: 40.0, JP: 60.0, "store": 1.0}
    given = {"holders": (holder,), "rtt_ms": lambda a, b: rtts[a.region_id] + rtts[b.region_id]}
    regions = [view(EU), view(US), view(JP)]
    assert order(RoutingStrategy.DATA_LOCALITY, regions, **given) == [US, JP, EU]


def test_nothing_is_nearer_to_the_data_than_its_holder() -> None:
    beside, holder = view("beside", point=BERLIN), view("store", point=BERLIN)
    within_ms, across_ms = 3.0, 0.5  # a region may measure more within itself than to the one next door
    given = {"holders": (holder,), "rtt_ms": lambda a, b: within_ms if a is b else across_ms}
    assert order(RoutingStrategy.DATA_LOCALITY, [beside, holder], **given) == ["store", "beside"]


@pytest.mark.parametrize("strategy", [RoutingStrategy.LATENCY_BASED, RoutingStrategy.DATA_LOCALITY])
def test_a_strategy_without_its_input_has_no_order(strategy: RoutingStrategy) -> None:
    assert KEYS[strategy](RankInput()) is None


def test_no_strategy_prefers_a_region_of_a_worse_tier() -> None:
    regions = [view("far"), view("near", Phase.DEGRADED, cost_multiplier=0.1, point=BERLIN, health_score=69.0)]
    for strategy in KEYS:
        assert order(strategy, regions, location=BERLIN, holders=(view("b", point=BERLIN),)) == ["far", "near"]


def test_what_safety_lets_a_region_serve_as_is_its_tier() -> None:
    last = view("a", Phase.DOWN, serves_as=Phase.UNKNOWN, cost_multiplier=0.1)
    assert order(RoutingStrategy.COST_BASED, [last, view("b", Phase.DEGRADED)]) == ["b", "a"]


def test_equal_keys_are_told_apart_by_health_then_by_use_then_by_id() -> None:
    regions = [
        view("c"),
        view("b", health_score=80.0),
        view("a"),
        view("0", load=20),
        view("1", load=30, max_capacity=300),
    ]
    assert order(RoutingStrategy.COST_BASED, regions) == ["a", "c", "1", "0", "b"]


def test_every_phase_has_a_tier_of_its_own() -> None:
    assert set(TIER) == set(Phase)
    assert sorted(TIER.values()) == list(range(len(Phase)))


# --- turns -------------------------------------------------------------------------------------


def test_round_robin_goes_round_in_order() -> None:
    regions = [view(r) for r in "abc"]
    assert [by_turn(regions, None, turn).region_id for turn in range(7)] == list("abcabca")


def test_only_the_best_tier_takes_turns() -> None:
    regions = [view("a"), view("b", Phase.DEGRADED), view("c")]
    assert [r.region_id for r in best_tier(regions)] == ["a", "c"]
    assert {by_turn(regions, None, turn).region_id for turn in range(10)} == {"a", "c"}


@given(st.lists(st.integers(1, 100), min_size=1, max_size=6), st.integers(0, 10_000))
def test_weighted_shares_come_out_over_any_run_of_turns(weights: list[int], start: int) -> None:
    regions = [view(f"r{i}") for i in range(len(weights))]
    given_weights = {f"r{i}": float(weight) for i, weight in enumerate(weights)}
    turns = 500
    seen = Counter(by_turn(regions, given_weights, turn).region_id for turn in range(start, start + turns))
    for name, weight in given_weights.items():
        exact = turns * weight / sum(weights)
        assert abs(seen[name] - exact) <= 6, f"{name} had {seen[name]} of {exact:.1f}"


def test_a_region_that_returns_gets_its_share_and_no_burst() -> None:
    weights = {"a": 1.0, "b": 1.0, "c": 2.0}
    everybody = [view(r) for r in weights]
    without_c = [view("a"), view("b")]
    for turn in range(400):
        by_turn(without_c, weights, turn)
    after = Counter(by_turn(everybody, weights, turn).region_id for turn in range(400, 440))
    assert 18 <= after["c"] <= 22


def test_a_region_of_no_weight_gets_no_turn() -> None:
    regions = [view("a"), view("b")]
    assert {by_turn(regions, {"a": 1.0, "b": 0.0}, turn).region_id for turn in range(200)} == {"a"}
