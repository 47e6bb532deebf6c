"""Evidence to a verdict: what each observation does to a region's phase, and how soon it is trusted again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from mahavishnu.integrations.multi_region.core.health import (
    BREAKER_TRANSITIONS,
    DEGRADED_SCORE,
    FORGIVEN_AFTER_S,
    HEALTHY_SCORE,
    MAX_HOLD_DOWN_S,
    TRANSITIONS,
    Breaker,
    HealthState,
    Signal,
    phase_of_score,
)
from mahavishnu.integrations.multi_region.core.model import HealthCheck, Phase
from mahavishnu.integrations.multi_region.core.probing import Observation, observer_blind, probed, recused, ticked
from mahavishnu.integrations.multi_region.core.real_traffic import reported
from mahavishnu.integrations.multi_region.testing.states_page import states_page

CHECK = HealthCheck(interval_s=10.0, timeout_s=2.0, fall=2, rise=3, hold_down_s=30.0, leak_limit=4.0, slow_ms=500.0)
PASS, MISS = Observation(True, 20.0), Observation(False, 2000.0, reason="no answer")
SLOW, SHED = Observation(True, 900.0), Observation(False, 5.0, shedding=True)
BLIND = replace(MISS, distrusted=True)
THRESHOLD = 5


class Watch:
    """One region's state, and the time, a probe interval at a time."""

    def __init__(self, check: HealthCheck = CHECK) -> None:
        self.state, self.now, self.check = HealthState(), 0.0, check

    def see(self, *seen: Observation) -> Watch:
        for one in seen:
            self.now += self.check.interval_s
            self.state = probed(self.state, one, self.now, self.check)
        return self

    def requests(self, ok: bool, times: int = 1, every_s: float = 0.01) -> Watch:
        for _ in range(times):
            self.now += every_s
            self.state = reported(self.state, ok, self.now, self.check, THRESHOLD, 20.0)
        return self

    def wait(self, seconds: float) -> Watch:
        self.now += seconds
        self.state = ticked(self.state, self.now, self.check)
        return self

    @property
    def phase(self) -> Phase:
        return self.state.phase


# --- probes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seen", "phase"),
    [
        ([], Phase.UNKNOWN),
        ([PASS], Phase.HEALTHY),
        ([MISS], Phase.UNKNOWN),
        ([MISS, MISS], Phase.DOWN),
        ([PASS, MISS], Phase.HEALTHY),
        ([PASS, MISS, PASS, MISS], Phase.HEALTHY),
        ([PASS, MISS, MISS], Phase.DOWN),
        ([PASS, SLOW], Phase.DEGRADED),
        ([PASS, SLOW, PASS, PASS], Phase.DEGRADED),
        ([PASS, SLOW, PASS, PASS, PASS], Phase.HEALTHY),
        ([PASS, SHED], Phase.SATURATED),
        ([PASS, SHED, PASS, PASS], Phase.SATURATED),
        ([PASS, SHED, PASS, PASS, PASS], Phase.HEALTHY),
        ([PASS, SHED, SLOW, PASS, PASS], Phase.SATURATED),
        ([SHED], Phase.SATURATED),
        ([SHED] * 20, Phase.SATURATED),
        ([PASS, SHED, MISS, MISS], Phase.DOWN),
        ([SLOW], Phase.DEGRADED),
    ],
)
def test_probes_lead_to_a_phase(seen: list[Observation], phase: Phase) -> None:
    assert Watch().see(*seen).phase is phase


def test_one_in_two_failing_is_caught() -> None:
    watch = Watch().see(PASS)
    phases = [watch.see(seen).phase for seen in [MISS, PASS] * 7]
    assert phases[:12] == [Phase.HEALTHY] * 12
    assert phases[12] is Phase.DOWN
    assert "short time" in watch.state.reason


def test_one_in_four_failing_is_not() -> None:
    assert Watch().see(PASS, *[MISS, PASS, PASS, PASS] * 50).phase is Phase.HEALTHY


def test_a_failure_says_why_and_a_score_stays_in_its_band() -> None:
    watch = Watch().see(PASS, MISS, MISS)
    assert watch.state.reason == "too many failed probes in a row: no answer"
    assert watch.state.score < DEGRADED_SCORE


@given(st.lists(st.sampled_from([PASS, MISS, SLOW, SHED, BLIND]), max_size=40))
def test_the_score_always_lies_in_the_band_of_the_phase(seen: list[Observation]) -> None:
    watch = Watch().see(*seen)
    bands = {Phase.HEALTHY: (HEALTHY_SCORE, 100.0), Phase.DOWN: (0.0, DEGRADED_SCORE - 1)}
    low, high = bands.get(watch.phase, (DEGRADED_SCORE, HEALTHY_SCORE - 1))
    assert low <= watch.state.score <= high


@given(st.lists(st.sampled_from([PASS, BLIND, SHED, SLOW]), max_size=60))
def test_what_a_blind_observer_sees_never_fells_a_region(seen: list[Observation]) -> None:
    assert Watch().see(*seen).phase is not Phase.DOWN


def test_after_an_hour_of_blindness_one_failure_fells_nobody() -> None:
    watch = Watch().see(PASS, *[BLIND] * 360, PASS, MISS)
    assert watch.phase is Phase.HEALTHY


def test_failures_that_a_blind_observer_saw_are_no_votes_afterwards() -> None:
    watch = Watch().see(PASS, *[BLIND] * 10)
    phases = [watch.see(MISS).phase for _ in range(CHECK.fall)]
    assert phases == [Phase.HEALTHY] * (CHECK.fall - 1) + [Phase.DOWN]


def test_failures_that_led_to_blindness_are_taken_back() -> None:
    watch = Watch().see(PASS, MISS, PASS, MISS)
    before = watch.state.leak
    taken_back = recused(watch.state)
    assert (taken_back.withdrawn, taken_back.leak) == (1, before - 1.0)
    assert recused(taken_back) is taken_back
    assert probed(taken_back, PASS, watch.now + 10, CHECK).withdrawn == 0


# --- coming back -------------------------------------------------------------------------------


def test_it_takes_more_to_rise_than_to_fall() -> None:
    watch = Watch().see(PASS, MISS, MISS)
    watch.wait(CHECK.hold_down_s)
    phases = [watch.see(PASS).phase for _ in range(3)]
    assert phases == [Phase.DOWN, Phase.DOWN, Phase.HEALTHY]


def test_passes_within_the_hold_down_are_not_enough() -> None:
    watch = Watch(replace(CHECK, hold_down_s=100.0)).see(PASS, MISS, MISS)
    phases = [watch.see(PASS).phase for _ in range(10)]
    assert phases == [Phase.DOWN] * 9 + [Phase.HEALTHY]


def test_a_failure_on_the_way_up_begins_the_count_anew() -> None:
    watch = Watch(replace(CHECK, hold_down_s=0.0)).see(PASS, MISS, MISS, PASS, PASS, MISS)
    phases = [watch.see(PASS).phase for _ in range(3)]
    assert phases == [Phase.DOWN, Phase.DOWN, Phase.HEALTHY]


def hold_down(watch: Watch) -> float:
    """Fell the region, and say for how long it must stay out."""
    watch.see(MISS, MISS)
    pause = watch.state.down_until - watch.now
    watch.now = watch.state.down_until
    assert watch.see(PASS, PASS, PASS).phase is Phase.HEALTHY
    return pause


def test_the_hold_down_doubles_with_each_relapse_up_to_its_limit() -> None:
    watch = Watch().see(PASS)
    pauses = [hold_down(watch) for _ in range(7)]
    assert pauses == [30.0, 60.0, 120.0, 240.0, 480.0, MAX_HOLD_DOWN_S, MAX_HOLD_DOWN_S]


def test_health_pays_relapses_off_one_by_one() -> None:
    watch = Watch().see(PASS)
    for _ in range(3):
        hold_down(watch)
    assert watch.state.relapses == 3
    watch.see(*[PASS] * (int(FORGIVEN_AFTER_S / CHECK.interval_s) + 1))
    assert watch.state.relapses == 2
    watch.see(*[PASS] * (2 * int(FORGIVEN_AFTER_S / CHECK.interval_s) + 2))
    assert watch.state.relapses == 0
    assert hold_down(watch) == 30.0


def test_five_minutes_of_health_forgive_nothing() -> None:
    """Cloudflare, 2025-11-18: good for five minutes, bad for five."""
    watch = Watch(HealthCheck()).see(PASS)
    relapses = []
    for _ in range(4):
        watch.see(*[MISS] * 10, *[PASS] * 10)
        relapses.append(watch.state.relapses)
    assert relapses == [1, 2, 3, 4]


# --- real traffic ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failed", "of", "phase"),
    [(0, 40, Phase.HEALTHY), (1, 40, Phase.HEALTHY), (4, 40, Phase.DEGRADED), (25, 40, Phase.DOWN)],
)
def test_the_share_of_failed_requests_decides(failed: int, of: int, phase: Phase) -> None:
    watch = Watch().see(PASS)
    for place in range(of):
        watch.requests(ok=((place + 1) * failed) % of >= failed)
    assert watch.phase is phase


def test_few_requests_prove_nothing_but_failures_in_a_row_open_the_breaker() -> None:
    watch = Watch().see(PASS)
    breakers = [watch.requests(False).state.breaker for _ in range(THRESHOLD)]
    assert breakers == [Breaker.CLOSED] * (THRESHOLD - 1) + [Breaker.OPEN]
    assert watch.phase is Phase.DOWN
    assert watch.state.reason == "real requests failed in a row: circuit breaker open: 5 in a row"


def test_a_success_in_between_keeps_the_breaker_closed() -> None:
    watch = Watch().see(PASS)
    for _ in range(3):
        watch.requests(False, THRESHOLD - 1).requests(True)
        watch.wait(60)
    assert watch.state.breaker is Breaker.CLOSED


def test_passing_probes_do_not_reinstate_while_real_requests_fail() -> None:
    watch = Watch().see(PASS).requests(False, THRESHOLD)
    watch.now = watch.state.down_until
    for _ in range(20):
        watch.requests(False, 25, every_s=CHECK.interval_s / 25)
        watch.now -= CHECK.interval_s
        assert watch.see(PASS).phase is Phase.DOWN
    assert watch.see(PASS, PASS).phase is Phase.HEALTHY


def test_a_region_comes_back_half_open_and_the_first_request_decides() -> None:
    watch = Watch().see(PASS).requests(False, THRESHOLD).wait(60).see(PASS, PASS, PASS)
    assert (watch.phase, watch.state.breaker) == (Phase.HEALTHY, Breaker.HALF_OPEN)
    again = replace(watch.state)
    assert watch.requests(True).state.breaker is Breaker.CLOSED
    failed = reported(again, False, watch.now, CHECK, THRESHOLD)
    assert (failed.phase, failed.breaker) == (Phase.DOWN, Breaker.OPEN)
    assert failed.relapses == 2


def test_probes_do_not_call_a_region_well_whose_requests_fail_in_part() -> None:
    watch = Watch().see(PASS)
    for _ in range(10):
        watch.requests(True, 8).requests(False, 2).see(PASS)
        watch.now -= CHECK.interval_s
    assert watch.phase is Phase.DEGRADED


def test_a_region_that_nobody_probes_comes_back_on_probation() -> None:
    watch = Watch().requests(True)
    for _ in range(20):
        watch.requests(False, 3).requests(True)
    assert (watch.phase, watch.state.breaker) == (Phase.DOWN, Breaker.CLOSED)
    phases = [watch.wait(seconds).phase for seconds in (CHECK.hold_down_s - 1, 1)]
    assert phases == [Phase.DOWN, Phase.HEALTHY]
    assert "on probation" in watch.state.reason
    assert watch.requests(False).state.breaker is Breaker.OPEN


def test_a_good_request_on_probation_is_not_held_against_a_region() -> None:
    watch = Watch().requests(True).requests(False, 60).wait(CHECK.hold_down_s).requests(True)
    assert (watch.phase, watch.state.breaker) == (Phase.HEALTHY, Breaker.CLOSED)


# --- doubt: where the duration of a failover begins --------------------------------------------


def test_doubt_begins_with_the_first_failure_and_ends_with_the_trouble() -> None:
    watch = Watch().see(PASS, MISS)
    first = watch.now
    assert watch.see(MISS).state.doubt_since == first
    watch.wait(60).see(PASS, PASS, PASS)
    assert watch.state.doubt_since is None


def test_one_lost_request_does_not_cast_doubt_for_ever() -> None:
    watch = Watch().requests(True, 5).requests(False).requests(True, 40)
    doubts = [watch.state.doubt_since]
    watch.now += 86_400
    began = watch.now
    doubts.append(watch.requests(False, THRESHOLD).state.doubt_since)
    assert doubts == [None, pytest.approx(began + 0.01)]


def test_a_passing_probe_does_not_end_a_doubt_that_real_requests_raised() -> None:
    watch = Watch().see(PASS).requests(False, 3)
    began = watch.state.doubt_since
    assert watch.see(PASS).state.doubt_since == began


def test_an_earlier_trouble_that_requests_met_is_not_the_first_sign_of_what_probes_found() -> None:
    watch = Watch(CHECK).see(PASS).requests(True, 20).requests(False, 4).see(PASS)
    early = watch.state.doubt_since
    watch.see(MISS)
    first = watch.now
    assert (watch.state.doubt_since, watch.phase) == (early, Phase.DEGRADED)
    assert (watch.see(MISS).phase, watch.state.doubt_since) == (Phase.DOWN, first)


def test_requests_that_fail_before_the_next_probe_are_the_first_sign_of_one_trouble() -> None:
    watch = Watch(CHECK).see(PASS).requests(True, 20)
    watch.requests(False)
    first = watch.now
    assert (watch.see(MISS, MISS).phase, watch.state.doubt_since) == (Phase.DOWN, first)


def test_what_a_blind_observer_saw_is_no_first_sign() -> None:
    watch = Watch(CHECK).see(PASS, BLIND, BLIND, MISS)
    first = watch.now
    assert (watch.see(MISS).phase, watch.state.doubt_since) == (Phase.DOWN, first)


def test_probes_that_go_on_failing_move_the_first_sign_no_more() -> None:
    watch = Watch(CHECK).see(PASS, MISS)
    first = watch.now
    assert watch.see(MISS, MISS, MISS).state.doubt_since == first


# --- silence -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seen", [[PASS], [PASS, SLOW], [PASS, SHED]])
def test_silence_makes_unknown_of_what_was_known(seen: list[Observation]) -> None:
    watch = Watch().see(*seen)
    before = watch.phase
    assert watch.wait(5 * CHECK.interval_s).phase is before
    assert watch.wait(5 * CHECK.interval_s).phase is Phase.UNKNOWN


@pytest.mark.parametrize("phase", list(Phase))
def test_silence_never_makes_healthy_and_never_fells(phase: Phase) -> None:
    state = replace(HealthState(), phase=phase, judged=True, probed=True, last_seen=0.0, down_until=1.0)
    assert ticked(state, 10_000.0, CHECK).phase is (Phase.DOWN if phase is Phase.DOWN else Phase.UNKNOWN)


def test_without_any_evidence_nothing_is_judged() -> None:
    assert ticked(HealthState(), 10_000.0, CHECK) == HealthState()


# --- the observer ------------------------------------------------------------------------------


def failing(doubt: float = 100.0, phase: Phase = Phase.HEALTHY) -> HealthState:
    return replace(HealthState(), probed=True, phase=phase, fails=2, doubt_since=doubt)


WELL = replace(HealthState(), probed=True, phase=Phase.HEALTHY, passes=9)
UNSEEN = HealthState()


@pytest.mark.parametrize(
    ("states", "blind"),
    [
        ([], False),
        ([WELL] * 5, False),
        ([failing(), *[WELL] * 4], False),
        ([failing()] * 2 + [WELL] * 3, False),
        ([failing()] * 3 + [WELL] * 2, True),
        ([failing()], False),
        ([failing()] * 2, True),
        ([failing()] * 2 + [WELL] * 2, False),
        ([failing()] * 2 + [WELL] + [UNSEEN] * 5, True),
        ([failing(phase=Phase.DOWN, doubt=1.0)] * 3 + [WELL] * 2, False),
        ([failing(phase=Phase.DOWN, doubt=1.0)] * 2 + [failing()] + [WELL] * 2, False),
        ([failing(phase=Phase.DOWN, doubt=95.0)] + [failing()] * 2 + [WELL] * 2, True),
    ],
)
def test_an_observer_that_loses_most_targets_at_once_is_blind(states: list[HealthState], blind: bool) -> None:
    assert observer_blind(states, 0.5, at_once_s=20.0) is blind


# --- the tables --------------------------------------------------------------------------------


@pytest.mark.parametrize(("score", "phase"), [(None, "unknown"), (95, "healthy"), (70, "healthy"), (69.9, "degraded")])
def test_a_stated_score_stands_for_a_phase(score: float | None, phase: str) -> None:
    assert phase_of_score(score) == phase


def test_every_row_leads_elsewhere_and_says_why() -> None:
    assert all(before is not after and why for (before, _), (after, why) in TRANSITIONS.items())
    assert all(before is not after and why for (before, _), (after, why) in BREAKER_TRANSITIONS.items())


def test_only_rising_leads_out_of_down() -> None:
    assert {signal for (before, signal) in TRANSITIONS if before is Phase.DOWN} == {Signal.RISEN}


def test_the_page_of_states_is_what_the_tables_say() -> None:
    page = Path(__file__).parents[2] / "docs" / "states.md"
    assert page.read_text(encoding="utf-8") == states_page()
