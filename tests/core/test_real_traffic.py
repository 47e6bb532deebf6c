"""Counts of real requests mean what the requests themselves would have meant, at a cost that does not grow."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce

import pytest
from hypothesis import assume, given, strategies as st

from mahavishnu.integrations.multi_region.core.health import Breaker, HealthState
from mahavishnu.integrations.multi_region.core.model import HealthCheck, Phase
from mahavishnu.integrations.multi_region.core.probing import Observation, probed
from mahavishnu.integrations.multi_region.core.real_traffic import (
    FOLDED,
    by_probes_alone,
    evenly,
    reported,
    reported_many,
)
from mahavishnu.integrations.multi_region.core.recent_traffic import Traffic

CHECK = HealthCheck(interval_s=10.0)
NOW = 100.0
few = st.integers(0, FOLDED)
many = st.integers(0, 3000)


def one_by_one(state: HealthState, succeeded: int, failed: int, threshold: int = 5) -> HealthState:
    outcomes = evenly(succeeded, failed)
    return reduce(lambda after, ok: reported(after, ok, NOW, CHECK, threshold), outcomes, state)


@st.composite
def states(draw: st.DrawFn) -> HealthState:
    """Whatever probes and requests may have led to."""
    state = HealthState()
    for step in range(draw(st.integers(0, 12))):
        at, ok = 10.0 * step / 2, draw(st.booleans())
        by_probe = draw(st.booleans())
        state = probed(state, Observation(ok), at, CHECK) if by_probe else reported(state, ok, at, CHECK, 5)
    return state


@given(states(), few, few, st.integers(1, 12))
def test_few_are_counted_exactly_as_one_by_one(state: HealthState, succeeded: int, failed: int, threshold: int) -> None:
    assume(succeeded + failed <= FOLDED)
    batch = reported_many(state, succeeded, failed, NOW, CHECK, threshold)
    assert batch == one_by_one(state, succeeded, failed, threshold)


@given(states(), many, many)
def test_of_many_every_one_enters_the_error_rate(state: HealthState, succeeded: int, failed: int) -> None:
    traffic = replace(state.traffic.aged(NOW))
    after = reported_many(state, succeeded, failed, NOW, CHECK, 5).traffic.aged(NOW)
    assert after.total == pytest.approx(traffic.total + succeeded + failed)
    assert after.failed == pytest.approx(traffic.failed + failed)


@given(many, many)
def test_many_lead_to_the_verdict_that_they_would_one_by_one(succeeded: int, failed: int) -> None:
    total = succeeded + failed
    assume(total)
    share = failed / total
    assume(not 0.02 < share < 0.2 and not 0.35 < share < 0.65)  # near a threshold the order decides
    batch = reported_many(HealthState(), succeeded, failed, NOW, CHECK, 5)
    assert batch.phase is one_by_one(HealthState(), succeeded, failed).phase


@given(many, many)
def test_failures_are_spread_evenly(succeeded: int, failed: int) -> None:
    outcomes = list(evenly(succeeded, failed))
    assert (outcomes.count(True), outcomes.count(False)) == (succeeded, failed)
    for start in range(0, len(outcomes), max(1, len(outcomes) // 10)):
        seen = outcomes[:start].count(False)
        assert abs(seen - failed * start / len(outcomes)) <= 1


def test_one_failure_among_ten_thousand_fells_nobody_and_leaves_no_doubt() -> None:
    state = one_by_one(HealthState(), FOLDED, 0)
    after = reported_many(state, 9_999, 1, NOW, CHECK, 5)
    assert (after.phase, after.doubt_since, after.failed_requests) == (Phase.HEALTHY, None, 0)


def test_all_failing_opens_the_breaker_however_high_its_threshold() -> None:
    after = reported_many(HealthState(), 0, 500, NOW, CHECK, 400)
    assert (after.phase, after.breaker) == (Phase.DOWN, Breaker.OPEN)


@pytest.mark.parametrize(
    ("succeeded", "failed", "threshold", "breaker"),
    [
        (99, 1, 1, Breaker.OPEN),
        (99, 1, 2, Breaker.CLOSED),
        (1, 99, 5, Breaker.OPEN),
        (1, 99, 60, Breaker.CLOSED),
    ],
)
def test_the_breaker_moves_as_if_each_had_been_counted(
    succeeded: int, failed: int, threshold: int, breaker: Breaker
) -> None:
    batch = reported_many(HealthState(), succeeded, failed, NOW, CHECK, threshold)
    assert batch.breaker is one_by_one(HealthState(), succeeded, failed, threshold).breaker is breaker


@pytest.mark.parametrize(
    ("state", "alone"),
    [
        (HealthState(fails=2), True),
        (HealthState(fails=0), False),
        (HealthState(fails=2, breaker=Breaker.OPEN), False),
        (HealthState(fails=2, traffic=Traffic(20.0, 15.0, NOW)), False),
        (HealthState(fails=2, traffic=Traffic(20.0, 1.0, NOW)), True),
        (HealthState(fails=2, traffic=Traffic(4.0, 4.0, NOW)), True),
    ],
)
def test_probes_speak_alone_while_real_requests_give_no_reason(state: HealthState, alone: bool) -> None:
    assert by_probes_alone(state, NOW) is alone
