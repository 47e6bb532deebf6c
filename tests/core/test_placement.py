"""Hot and cold, which regions hold a copy, and shards that stay where they are."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import xxhash
from hypothesis import given, strategies as st

from mahavishnu.integrations.multi_region.core.model import (
    AdminState,
    Binding,
    DataPlacementPolicy,
    LocalityLevel,
    Phase,
)
from mahavishnu.integrations.multi_region.core.placement import (
    ALGORITHM,
    Rate,
    ReplicationStrategy,
    Targets,
    Temperature,
    break_even,
    copied_bytes,
    places_for,
    plan_targets,
    primary_of,
    shard_order,
    temperature,
)
from mahavishnu.integrations.multi_region.core.request import Request, needs_of
from mahavishnu.integrations.multi_region.testing.builders import fleet, policy, view

HOT, COLD = Temperature.HOT, Temperature.COLD
hash64 = xxhash.xxh3_64_intdigest
GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data" / "golden_shards.json").read_text("utf-8"))


# --- hot and cold ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "before", "after"),
    [
        (50.0, None, HOT),
        (10.1, COLD, HOT),
        (10.0, None, COLD),
        (10.0, COLD, COLD),
        (9.9, HOT, HOT),
        (8.0, HOT, HOT),
        (7.9, HOT, COLD),
        (0.0, None, COLD),
    ],
)
def test_data_gets_hot_above_the_threshold_and_cold_well_below_it(
    rate: float, before: Temperature | None, after: Temperature
) -> None:
    assert temperature(rate, 10.0, before) is after


def test_a_steady_rate_is_seen_as_it_is_and_fades_when_it_stops() -> None:
    rate = Rate()
    for hour in range(24 * 14):
        rate = rate.seen(3600.0 * hour, 2.0)
    assert rate.per_day == pytest.approx(48.0, rel=0.03)
    assert rate.seen(rate.at + 86_400.0).per_day == pytest.approx(rate.per_day / math.e)


def test_a_clock_that_goes_back_makes_no_rate_grow() -> None:
    assert Rate(5.0, 1000.0).seen(0.0) == Rate(5.0, 1000.0)


def test_a_copy_pays_from_the_reads_at_which_fetching_costs_as_much() -> None:
    assert break_even(0.02, 0.0008) == pytest.approx(0.04)
    assert break_even(0.0, 0.0008) == math.inf


# --- which regions --------------------------------------------------------------------------------


def targets(strategy: ReplicationStrategy, *, hot: bool = False, held_by: tuple[str, ...] = ()) -> Targets | None:
    world = fleet("a", "b", "c")
    places = places_for(world, needs_of(world, Request(data_id="d")))
    return plan_targets(places, strategy, data_id="d", held_by=held_by, hot=hot, hash64=hash64)


@pytest.mark.parametrize(
    ("strategy", "hot", "held_by", "regions", "primary"),
    [
        (ReplicationStrategy.FULL, False, (), ("a", "b", "c"), "a"),
        (ReplicationStrategy.FULL, False, ("b",), ("a", "b", "c"), "b"),
        (ReplicationStrategy.PARTIAL, True, (), ("a", "b", "c"), "a"),
        (ReplicationStrategy.PARTIAL, False, (), ("a",), "a"),
        (ReplicationStrategy.PARTIAL, False, ("c", "a"), ("c",), "c"),
        (ReplicationStrategy.LOCAL, True, ("gone", "b"), ("b",), "b"),
    ],
)
def test_each_strategy_names_its_regions(
    strategy: ReplicationStrategy, hot: bool, held_by: tuple[str, ...], regions: tuple[str, ...], primary: str
) -> None:
    found = targets(strategy, hot=hot, held_by=held_by)
    assert found is not None
    assert (found.regions, found.primary) == (regions, primary)


@pytest.mark.parametrize("strategy", [ReplicationStrategy.FULL, ReplicationStrategy.LOCAL])
def test_those_nearest_to_the_primary_follow_it(strategy: ReplicationStrategy) -> None:
    world = fleet("a", "b", "c", "d")
    rtts = {"a": 90.0, "b": 30.0, "d": 30.0}
    found = plan_targets(
        places_for(world, needs_of(world, Request(data_id="d"))),
        strategy,
        data_id="d",
        held_by=("c",),
        hot=False,
        hash64=hash64,
        rtt_ms=lambda primary, region: rtts[region.region_id] if primary.region_id == "c" else 0.0,
    )
    assert found is not None
    assert (found.primary, found.fallbacks) == ("c", ("b", "d", "a"))


def test_a_shard_has_one_region_and_the_others_in_order_behind_it() -> None:
    found = targets(ReplicationStrategy.SHARDED)
    assert found is not None
    assert [*found.regions, *found.fallbacks] == shard_order("d", dict.fromkeys("abc", 100.0), hash64)
    assert found.primary == found.regions[0]


def test_health_and_drains_do_not_move_data_at_rest() -> None:
    ill = [view("a", Phase.DOWN), view("b", admin=AdminState.DRAINED), view("c", load=100)]
    world = fleet(*ill)
    assert [r.region_id for r in places_for(world, needs_of(world, Request(data_id="d"))).copies] == ["a", "b", "c"]


def test_data_under_a_policy_goes_only_where_it_may_and_the_others_say_why() -> None:
    world = fleet("a", "b", "c", policies=[policy("p", allow=["b", "c"])], bindings={"d": Binding("p")})
    places = places_for(world, needs_of(world, Request(data_id="d")))
    assert [r.region_id for r in places.copies] == ["b", "c"]
    assert places.excluded == {"a": "policy p does not allow it"}
    assert primary_of(places, ("a", "c")) == "c"


def test_copies_of_level_region_may_leave_and_the_primary_may_not() -> None:
    crossing = DataPlacementPolicy("p", (), ["b"], LocalityLevel.REGION, cross_region_transfer=True)
    world = fleet("a", "b", policies=[crossing], bindings={"d": Binding("p")})
    places = places_for(world, needs_of(world, Request(data_id="d")))
    assert [r.region_id for r in places.copies] == ["a", "b"]
    assert [r.region_id for r in places.primaries] == ["b"]
    assert primary_of(places, ("a",)) == "b"


def test_where_no_region_may_hold_it_there_is_no_plan() -> None:
    world = fleet("a", policies=[policy("p", allow=["z"])], bindings={"d": Binding("p")})
    places = places_for(world, needs_of(world, Request(data_id="d")))
    assert plan_targets(places, ReplicationStrategy.FULL, data_id="d", held_by=(), hot=True, hash64=hash64) is None


def test_only_what_is_not_there_yet_is_copied() -> None:
    assert copied_bytes(10, ("a", "b", "c"), ("a",)) == 20
    assert copied_bytes(None, ("a", "b"), ()) is None


# --- shards ---------------------------------------------------------------------------------------


def test_the_hash_and_the_order_are_frozen() -> None:
    """Another answer here means that data already stored would be looked for elsewhere."""
    assert GOLDEN["algorithm"] == ALGORITHM
    for text, value in GOLDEN["hashes"].items():
        assert hash64(text.encode()) == value
    for vector in GOLDEN["vectors"]:
        for data_id, order in vector["order"].items():
            assert shard_order(data_id, vector["weights"], hash64) == order


weights = st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from([1.0, 50.0, 100.0, 300.0]), min_size=2)


@given(weights, st.text(max_size=20), st.data())
def test_a_region_that_leaves_moves_only_its_own_data(given_weights: dict[str, float], key: str, data: Any) -> None:
    order = shard_order(key, given_weights, hash64)
    gone = data.draw(st.sampled_from(sorted(given_weights)))
    rest = {name: weight for name, weight in given_weights.items() if name != gone}
    assert shard_order(key, rest, hash64) == [name for name in order if name != gone]


@given(weights, st.text(max_size=20), st.data())
def test_more_weight_never_takes_a_region_back_in_the_order(
    given_weights: dict[str, float], key: str, data: Any
) -> None:
    name = data.draw(st.sampled_from(sorted(given_weights)))
    before = shard_order(key, given_weights, hash64).index(name)
    heavier = {**given_weights, name: 2 * given_weights[name]}
    assert shard_order(key, heavier, hash64).index(name) <= before


def test_shares_are_as_the_weights_say() -> None:
    given_weights = {"a": 100.0, "b": 200.0, "c": 100.0, "d": 0.0}
    won = Counter(shard_order(f"key-{i}", given_weights, hash64)[0] for i in range(8000))
    assert won["d"] == 0
    assert won["b"] / 8000 == pytest.approx(0.5, abs=0.02)
    assert won["a"] / 8000 == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("value", [0, 2**64 - 1])
def test_the_hashs_ends_have_a_score(value: int) -> None:
    assert shard_order("k", {"b": 1.0, "a": 1.0}, lambda _: value) == ["a", "b"]
