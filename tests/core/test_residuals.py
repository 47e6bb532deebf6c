"""What measurements teach: near more than far, fresh more than old, much more than little, and nothing impossible."""

import math

import pytest
from hypothesis import given, strategies as st

from mahavishnu.integrations.multi_region.core.geo import distance_km
from mahavishnu.integrations.multi_region.core.latency import CELLS, cell_centre, cell_of
from mahavishnu.integrations.multi_region.core.residuals import (
    FULL_WEIGHT,
    HALF_LIFE_S,
    HEARD_MS,
    MEMORY,
    REACH_KM,
    Corrections,
    Learned,
    Residual,
    check_rtt,
    first_residual,
    is_outlier,
    lightest,
)
from mahavishnu.integrations.multi_region.errors import InvalidInputError

NOW = 1_800_000_000.0
BERLIN, PRAGUE, LISBON, SYDNEY = (cell_of(*at) for at in ((52.5, 13.4), (50.1, 14.4), (38.7, -9.1), (-33.9, 151.2)))
LEIPZIG, AMMAN, ISTANBUL = (cell_of(*at) for at in ((51.3, 12.4), (31.95, 35.93), (41.0, 29.0)))

residuals = st.builds(
    Residual, st.floats(-500, 5000), st.floats(0.01, MEMORY), st.integers(1, 10**6), st.floats(NOW - 10**7, NOW)
)
shelves = st.dictionaries(st.integers(0, CELLS - 1), residuals, max_size=12)
europe = st.builds(cell_of, st.floats(30, 60), st.floats(-10, 40))
gatherings = st.dictionaries(st.sampled_from([BERLIN, PRAGUE, LEIPZIG, AMMAN]) | europe, residuals, max_size=12)


def well_measured(mean_ms: float, age_s: float = 0.0) -> Residual:
    return Residual(mean_ms, MEMORY, 100, NOW - age_s)


def heard_at(asked: int, cells: dict[int, Residual]) -> dict[int, tuple[float, float]]:
    """Of each cell within reach its weight and what it says, by the documented formula."""
    found = {}
    for cell, residual in cells.items():
        km = distance_km(cell_centre(asked), cell_centre(cell))
        if km <= REACH_KM:
            age = 0.5 ** ((NOW - residual.last_s) / HALF_LIFE_S)
            found[cell] = math.exp(-km / 1000.0) * age * residual.depth / 8.0, residual.mean_ms
    return found


def most_agree_on(heard: dict[int, tuple[float, float]]) -> float:
    """What goes as far from 0 as it can with more than half of the votes behind it."""
    votes = 1.0 + sum(min(k, 1.0) for k, _ in heard.values())

    def behind(ms: float) -> float:
        return sum(min(k, 1.0) for k, said in heard.values() if said * ms > 0 and abs(said) >= abs(ms))

    return max((ms for _, ms in heard.values() if behind(ms) > votes / 2), key=abs, default=0.0)


@given(shelves | gatherings, st.integers(0, CELLS - 1) | st.sampled_from([BERLIN, PRAGUE]))
def test_a_correction_is_the_weighted_sum_that_is_documented(cells: dict[int, Residual], asked: int) -> None:
    heard = heard_at(asked, cells)
    agreed = most_agree_on(heard)
    low, high = min(agreed, 0.0) - HEARD_MS, max(agreed, 0.0) + HEARD_MS
    total = sum(k * (ms if cell == asked else min(max(ms, low), high)) for cell, (k, ms) in heard.items())
    weights = 1.0 + sum(k for k, _ in heard.values())
    assert Learned.of(cells, NOW).correction_ms(asked) == pytest.approx(total / weights, rel=1e-5, abs=1e-5)


@given(gatherings, st.floats(-10_000, 10_000), st.sampled_from([BERLIN, PRAGUE, LISBON, ISTANBUL]))
def test_one_cell_moves_no_other_beyond_what_the_rest_report(
    others: dict[int, Residual], said_ms: float, asked: int
) -> None:
    cells = {cell: residual for cell, residual in others.items() if cell != AMMAN} | {AMMAN: well_measured(said_ms)}
    means = [0.0, *(residual.mean_ms for cell, residual in cells.items() if cell != AMMAN)]
    assert min(means) - HEARD_MS <= Learned.of(cells, NOW).correction_ms(asked) <= max(means) + HEARD_MS


@pytest.mark.parametrize("ms", [-9_000.0, 324.0, 9_900.0])
def test_a_flood_from_amman_hardly_moves_berlin(ms: float) -> None:
    learned = Learned.of({AMMAN: well_measured(ms)}, NOW)
    assert learned.correction_ms(AMMAN) == pytest.approx(ms * 2 / 3)
    assert 3.0 < learned.correction_ms(BERLIN) * math.copysign(1.0, ms) < 5.0
    assert abs(learned.correction_ms(ISTANBUL)) < 16.0


def test_a_neighbour_confirms_what_another_says() -> None:
    alone = Learned.of({PRAGUE: well_measured(300.0)}, NOW).correction_ms(BERLIN)
    both = Learned.of({PRAGUE: well_measured(300.0), LEIPZIG: well_measured(250.0)}, NOW).correction_ms(BERLIN)
    one_denies = Learned.of({PRAGUE: well_measured(300.0), LEIPZIG: well_measured(0.0)}, NOW).correction_ms(BERLIN)
    assert one_denies < alone < HEARD_MS
    assert both > 180.0


def test_what_little_confirms_is_not_confirmed() -> None:
    far = {cell_of(31.95, 35.93): well_measured(400.0), cell_of(32.95, 35.93): well_measured(400.0)}
    assert Learned.of(far, NOW).correction_ms(BERLIN) < 10.0


@given(shelves, st.integers(0, CELLS - 1))
def test_a_correction_is_never_larger_than_what_was_measured(cells: dict[int, Residual], asked: int) -> None:
    means = [0.0, *(residual.mean_ms for residual in cells.values())]
    assert min(means) - 1e-9 <= Learned.of(cells, NOW).correction_ms(asked) <= max(means) + 1e-9


def test_near_counts_more_than_far_and_beyond_reach_nothing() -> None:
    learned = Learned.of({BERLIN: well_measured(40.0)}, NOW)
    own, near, far, beyond = (learned.correction_ms(cell) for cell in (BERLIN, PRAGUE, LISBON, SYDNEY))
    assert 40.0 > own > near > far > 0.0
    assert beyond == 0.0


def test_across_the_antimeridian_is_near() -> None:
    learned = Learned.of({cell_of(-17.5, 179.5): well_measured(40.0)}, NOW)
    assert learned.correction_ms(cell_of(-17.5, -179.5)) > 20.0


def test_over_the_pole_is_near() -> None:
    learned = Learned.of({cell_of(89.5, 0.5): well_measured(40.0)}, NOW)
    assert learned.correction_ms(cell_of(89.5, -179.5)) > 20.0
    assert learned.correction_ms(cell_of(90.0, 77.0)) > 20.0


def test_after_two_weeks_a_residual_weighs_half() -> None:
    residual = well_measured(40.0)
    assert residual.weight(NOW) == FULL_WEIGHT
    assert residual.weight(NOW + HALF_LIFE_S) == pytest.approx(FULL_WEIGHT / 2)
    assert residual.weight(NOW - 3600) == FULL_WEIGHT  # a clock that was put back


def test_one_measurement_says_little_and_sixteen_say_much() -> None:
    residual = first_residual(80.0, NOW)
    assert residual.pull_ms(NOW) == pytest.approx(80.0 / 9)
    for _ in range(40):
        residual = residual.then(80.0, NOW)
    assert residual.pull_ms(NOW) == pytest.approx(80.0 * 2 / 3)
    assert residual.count == 41


@given(st.lists(st.floats(-100, 1000), min_size=1, max_size=16))
def test_the_mean_of_a_few_measurements_is_their_mean(found: list[float]) -> None:
    residual = first_residual(found[0], NOW)
    for value in found[1:]:
        residual = residual.then(value, NOW)
    assert residual.mean_ms == pytest.approx(sum(found) / len(found), abs=1e-6)


def test_many_measurements_follow_a_change() -> None:
    residual = first_residual(10.0, NOW)
    for _ in range(1000):
        residual = residual.then(10.0, NOW)
    for _ in range(60):
        residual = residual.then(50.0, NOW)
    assert residual.mean_ms == pytest.approx(50.0, abs=1.0)


def test_what_is_old_gives_way_to_what_is_new() -> None:
    old = well_measured(10.0, age_s=10 * HALF_LIFE_S)
    assert old.then(50.0, NOW).mean_ms > 45.0


def test_the_lightest_go_first() -> None:
    cells = {3: well_measured(0.0), 1: first_residual(0.0, NOW), 2: first_residual(0.0, NOW), 4: well_measured(0, 1e8)}
    assert lightest(cells, 4, NOW) == []
    assert lightest(cells, 2, NOW) == [4, 1]
    assert lightest(cells, 1, NOW) == [4, 1, 2]


def test_corrections_are_by_region_and_numbered() -> None:
    learned = Learned.of({BERLIN: well_measured(40.0)}, NOW)
    first = Corrections().having({"a": learned, "b": learned})
    second = first.having({"a": Learned()}, gone=["b", "never heard of"])
    assert (first.version, second.version) == (1, 2)
    assert first.correction_ms(BERLIN, "b") == learned.correction_ms(BERLIN)
    assert second.correction_ms(BERLIN, "a") == second.correction_ms(BERLIN, "b") == 0.0


@pytest.mark.parametrize("ms", [0, -1.0, 10_000.1, math.inf, math.nan, True, "12", None])
def test_what_is_no_round_trip_is_refused(ms: object) -> None:
    with pytest.raises(InvalidInputError, match="above 0 and at most 10,000"):
        check_rtt(ms, 10.0)


@pytest.mark.parametrize(("ms", "km"), [(1, 150.0), (0.1, 100.0), (9_999.9, 20_000.0), (59.0, 6000.0)])
def test_what_can_be_true_is_taken(ms: float, km: float) -> None:
    assert check_rtt(ms, km) == float(ms)


@pytest.mark.parametrize(("ms", "km"), [(58.9, 6000.0), (0.4, 150.0), (1.0, 20_000.0)])
def test_faster_than_light_in_fibre_is_refused(ms: float, km: float) -> None:
    with pytest.raises(InvalidInputError, match="light in fibre"):
        check_rtt(ms, km, "rtt_ms")


@pytest.mark.parametrize(
    ("ms", "usual", "doubted"), [(401.0, 100.0, True), (400.0, 100.0, False), (310.0, 9.0, True), (308.0, 9.0, False)]
)
def test_an_outlier_is_four_times_the_usual_and_300_ms_above(ms: float, usual: float, doubted: bool) -> None:
    assert is_outlier(ms, usual) is doubted
