"""Probe results and real traffic to a verdict: phase, score and circuit breaker, by transition tables.

Each observation updates the counters and yields one signal; the table says what the signal does to the phase. Times
are seconds on a monotonic clock, given by the caller. What follows from a verdict is decided elsewhere (``safety.py``,
``failover.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from .model import HealthCheck, Phase

HEALTHY_SCORE, DEGRADED_SCORE = 70.0, 30.0
"""Bands of the health score: from 70 a region is healthy, from 30 degraded, below it is down."""

LEAK = 0.5
"""What one pass takes out of the leaky counter; a failure adds 1. One in two failing therefore fills it (L3)."""

TRAFFIC_HALF_LIFE_S = 5.0
"""Reports of real requests lose half their weight in this time."""

TRAFFIC_VOLUME = 10.0
"""Weight of recent reports below which real traffic proves nothing."""

TRAFFIC_DOWN, TRAFFIC_STRAINED = 0.5, 0.05
"""Share of failed real requests from which a region is down, and degraded."""

MAX_HOLD_DOWN_S = 600.0
"""Longest hold-down, however often a region relapses."""

DECAY_FACTOR, FORGIVEN_AFTER_S = 6.0, 600.0
"""One relapse is forgiven after this many base hold-downs of good health, and not sooner than this many seconds: what
comes and goes every five minutes would be forgiven each time (Cloudflare, 2025-11-18)."""

SILENCE_FACTOR = 5.0
"""After this many probe intervals without any evidence a region's health is unknown (L2)."""


class Signal(StrEnum):
    """What an observation means for a region's phase."""

    PASSED = "passed"
    CLEAN = "clean"
    MISSED = "missed"
    FALLEN = "fallen"
    LEAKED = "leaked"
    TRAFFIC_FAILED = "traffic failed"
    BREAKER_OPENED = "breaker opened"
    STRAINED = "strained"
    SHEDDING = "shedding"
    RISEN = "risen"
    SILENT = "silent"


_DOWNS = {
    Signal.FALLEN: (Phase.DOWN, "too many failed probes in a row"),
    Signal.LEAKED: (Phase.DOWN, "too many failed probes in a short time"),
    Signal.TRAFFIC_FAILED: (Phase.DOWN, "too many real requests failed"),
    Signal.BREAKER_OPENED: (Phase.DOWN, "real requests failed in a row: circuit breaker open"),
}

TRANSITIONS: Mapping[tuple[Phase, Signal], tuple[Phase, str]] = {
    **{(phase, signal): row for phase in Phase if phase is not Phase.DOWN for signal, row in _DOWNS.items()},
    (Phase.UNKNOWN, Signal.PASSED): (Phase.HEALTHY, "first evidence is good"),
    (Phase.UNKNOWN, Signal.CLEAN): (Phase.HEALTHY, "first evidence is good"),
    (Phase.UNKNOWN, Signal.STRAINED): (Phase.DEGRADED, "slow, or some real requests fail"),
    (Phase.UNKNOWN, Signal.SHEDDING): (Phase.SATURATED, "it says that it has no room"),
    (Phase.HEALTHY, Signal.STRAINED): (Phase.DEGRADED, "slow, or some real requests fail"),
    (Phase.HEALTHY, Signal.SHEDDING): (Phase.SATURATED, "it says that it has no room"),
    (Phase.HEALTHY, Signal.SILENT): (Phase.UNKNOWN, "no evidence for too long"),
    (Phase.DEGRADED, Signal.CLEAN): (Phase.HEALTHY, "enough good results in a row"),
    (Phase.DEGRADED, Signal.SHEDDING): (Phase.SATURATED, "it says that it has no room"),
    (Phase.DEGRADED, Signal.SILENT): (Phase.UNKNOWN, "no evidence for too long"),
    (Phase.SATURATED, Signal.CLEAN): (Phase.HEALTHY, "enough good results in a row"),
    (Phase.SATURATED, Signal.SILENT): (Phase.UNKNOWN, "no evidence for too long"),
    (Phase.DOWN, Signal.RISEN): (Phase.HEALTHY, "enough good results in a row, hold-down over"),
}
"""Phase and signal to the next phase and why. A pair that is not here changes nothing: silence fells nobody."""


class Breaker(StrEnum):
    """The circuit breaker of a region: open takes it out, half-open lets trial traffic decide."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerSignal(StrEnum):
    """What moves a circuit breaker."""

    THRESHOLD = "threshold"
    PAUSE_OVER = "pause over"
    TRIAL_FAILED = "trial failed"
    TRIAL_PASSED = "trial passed"


BREAKER_TRANSITIONS: Mapping[tuple[Breaker, BreakerSignal], tuple[Breaker, str]] = {
    (Breaker.CLOSED, BreakerSignal.THRESHOLD): (Breaker.OPEN, "failures in a row reached the threshold"),
    (Breaker.OPEN, BreakerSignal.PAUSE_OVER): (Breaker.HALF_OPEN, "pause over: trial traffic decides"),
    (Breaker.HALF_OPEN, BreakerSignal.TRIAL_FAILED): (Breaker.OPEN, "a trial failed: a longer pause"),
    (Breaker.HALF_OPEN, BreakerSignal.TRIAL_PASSED): (Breaker.CLOSED, "a trial passed"),
}


@dataclass(frozen=True, slots=True)
class Traffic:
    """Recent reports of real requests, each losing weight with age: how many, and how many of them failed."""

    total: float = 0.0
    failed: float = 0.0
    at: float = 0.0

    def aged(self, now: float) -> Traffic:
        """The same reports, at their weight now."""
        factor = 0.5 ** (max(0.0, now - self.at) / TRAFFIC_HALF_LIFE_S)
        return Traffic(self.total * factor, self.failed * factor, now)

    def with_report(self, ok: bool, now: float) -> Traffic:
        """One report more."""
        aged = self.aged(now)
        return Traffic(aged.total + 1.0, aged.failed + (not ok), now)

    def with_reports(self, succeeded: int, failed: int, now: float) -> Traffic:
        """So many reports more."""
        aged = self.aged(now)
        return Traffic(aged.total + succeeded + failed, aged.failed + failed, now)

    @property
    def error_rate(self) -> float:
        """Failed share, 0..1; 0 without reports."""
        return self.failed / self.total if self.total else 0.0

    @property
    def conclusive(self) -> bool:
        """Whether there are enough reports to judge by."""
        return self.total >= TRAFFIC_VOLUME


@dataclass(frozen=True, slots=True)
class HealthState:
    """All that is remembered of one region's evidence.

    ``fails``/``passes``: probe results in a row. ``withdrawn``: how many of ``fails`` count for nothing, since the
    observer was blind. ``clean``: results in a row that were neither failed, slow nor shed.
    ``doubt_since``: when the first failure of the current trouble was seen. ``relapses``: how often it went down
    lately. ``judged``: whether evidence has led to a verdict yet; before that a stated score stands.
    """

    phase: Phase = Phase.UNKNOWN
    reason: str = "no evidence yet"
    since: float = 0.0
    fails: int = 0
    passes: int = 0
    clean: int = 0
    withdrawn: int = 0
    leak: float = 0.0
    relapses: int = 0
    down_until: float = 0.0
    doubt_since: float | None = None
    breaker: Breaker = Breaker.CLOSED
    failed_requests: int = 0
    traffic: Traffic = Traffic()
    latency_ms: float | None = None
    last_seen: float | None = None
    probed: bool = False
    judged: bool = False
    failed_share: float = 0.0

    @property
    def error_rate(self) -> float:
        """Failed share, 0..1: of real requests where there are enough, of recent probes otherwise."""
        return self.traffic.error_rate if self.traffic.conclusive else self.failed_share

    @property
    def score(self) -> float:
        """0..100, inside the band of the phase."""
        good = 100.0 * (1.0 - self.error_rate)
        match self.phase:
            case Phase.HEALTHY:
                return max(HEALTHY_SCORE, good)
            case Phase.DOWN:
                return min(DEGRADED_SCORE - 1.0, good if self.fails == 0 else 0.0)
            case _:
                return min(HEALTHY_SCORE - 1.0, max(DEGRADED_SCORE, good))


@dataclass(frozen=True, slots=True)
class Observation:
    """One probe's result. ``distrusted``: the observer is blind, so that a failure decides nothing (L2)."""

    ok: bool
    latency_ms: float | None = None
    shedding: bool = False
    reason: str = ""
    distrusted: bool = False


def phase_of_score(score: float | None) -> Phase:
    """The phase that a stated score stands for until evidence has spoken; None: unknown."""
    if score is None:
        return Phase.UNKNOWN
    if score >= HEALTHY_SCORE:
        return Phase.HEALTHY
    return Phase.DEGRADED if score >= DEGRADED_SCORE else Phase.DOWN


def probed(state: HealthState, seen: Observation, now: float, check: HealthCheck) -> HealthState:
    """The state after one probe."""
    slow = check.slow_ms is not None and (seen.latency_ms or 0.0) > check.slow_ms
    state = replace(
        _counted(state, seen, slow, now),
        last_seen=now,
        probed=True,
        traffic=state.traffic.aged(now),
        latency_ms=_smoothed(state.latency_ms, seen.latency_ms) if seen.ok else state.latency_ms,
        failed_share=0.8 * state.failed_share + 0.2 * (not seen.ok),
    )
    return _moved(state, _probe_signal(state, seen, slow, now, check), now, check, seen.reason)


def reported(
    state: HealthState, ok: bool, now: float, check: HealthCheck, threshold: int, latency_ms: float | None = None
) -> HealthState:
    """The state after one real request was reported. ``threshold``: failures in a row that open the breaker."""
    in_a_row = 0 if ok else state.failed_requests + 1
    traffic = state.traffic.with_report(ok, now)
    state = replace(
        state,
        traffic=traffic,
        failed_requests=in_a_row,
        latency_ms=_smoothed(state.latency_ms, latency_ms) if ok else state.latency_ms,
        last_seen=now,
        doubt_since=state.doubt_since if ok or state.doubt_since is not None else now,
    )
    if ok and not state.fails and state.leak == 0.0 and _calm(state, now):
        state = replace(state, doubt_since=None)
    state, opened = _breaker_after_request(state, ok, in_a_row >= threshold)
    if opened:
        return _moved(state, Signal.BREAKER_OPENED, now, check, f"{in_a_row} in a row")
    rate = f"{100 * traffic.error_rate:.0f} % of recent requests failed"
    if traffic.conclusive and traffic.error_rate >= TRAFFIC_DOWN:
        return _moved(state, Signal.TRAFFIC_FAILED, now, check, rate)
    if traffic.conclusive and traffic.error_rate >= TRAFFIC_STRAINED:
        return _moved(replace(state, clean=0), Signal.STRAINED, now, check, rate)
    signal = Signal.PASSED if ok else Signal.MISSED
    if ok and not state.probed:
        state = replace(state, clean=state.clean + 1)
        signal = Signal.CLEAN if state.clean >= check.rise else Signal.PASSED
    return _moved(state, signal, now, check, "")


def _smoothed(before: float | None, seen: float | None) -> float | None:
    """Exponentially weighted mean; the first value stands as it is."""
    if seen is None or before is None:
        return before if seen is None else seen
    return 0.7 * before + 0.3 * seen


def ticked(state: HealthState, now: float, check: HealthCheck) -> HealthState:
    """The state after time has passed with nothing seen: silence becomes unknown, pauses end.

    A region that nobody probes comes back on probation when its hold-down is over: one more failure fells it again.
    """
    if state.phase is Phase.DOWN:
        if not state.probed and now >= state.down_until:
            trial = replace(state, passes=check.rise, traffic=Traffic(), breaker=Breaker.OPEN)
            return _moved(trial, Signal.RISEN, now, check, "on probation")
        return state
    silent = state.last_seen is not None and now - state.last_seen > SILENCE_FACTOR * check.interval_s + check.timeout_s
    if silent and state.probed:
        return _moved(state, Signal.SILENT, now, check, "")
    return state


def _counted(state: HealthState, seen: Observation, slow: bool, now: float) -> HealthState:
    if seen.ok:
        clean = 0 if slow or seen.shedding or _traffic_strained(state, now) else state.clean + 1
        leak = max(0.0, state.leak - LEAK)
        passes = state.passes + 1
        quiet = leak == 0.0 and _calm(state, now)
        doubt = None if quiet else state.doubt_since
        return replace(state, fails=0, withdrawn=0, passes=passes, clean=clean, leak=leak, doubt_since=doubt)
    if seen.shedding:
        return replace(state, fails=0, withdrawn=0, passes=0, clean=0)
    doubt = state.doubt_since if state.doubt_since is not None else now
    state = replace(state, fails=state.fails + 1, passes=0, clean=0, leak=state.leak + 1.0, doubt_since=doubt)
    return recused(state) if seen.distrusted else state


def _calm(state: HealthState, now: float) -> bool:
    """Whether real traffic gives no cause for doubt and the region is not down."""
    return state.phase is not Phase.DOWN and not state.failed_requests and not _traffic_strained(state, now)


def _probe_signal(state: HealthState, seen: Observation, slow: bool, now: float, check: HealthCheck) -> Signal:
    if seen.shedding:
        return Signal.SHEDDING
    if not seen.ok:
        if seen.distrusted:
            return Signal.MISSED
        if state.fails - state.withdrawn >= check.fall:
            return Signal.FALLEN
        return Signal.LEAKED if state.leak >= check.leak_limit else Signal.MISSED
    if state.phase is Phase.DOWN:
        return Signal.RISEN if _may_return(state, now, check) else Signal.PASSED
    if slow or _traffic_strained(state, now):
        return Signal.STRAINED
    return Signal.CLEAN if state.clean >= check.rise else Signal.PASSED


def _may_return(state: HealthState, now: float, check: HealthCheck) -> bool:
    """Enough passes, the hold-down over, and real traffic not failing still (L3, L4)."""
    traffic = state.traffic.aged(now)
    failing = traffic.conclusive and traffic.error_rate >= TRAFFIC_DOWN
    return state.passes >= check.rise and now >= state.down_until and not failing


def _traffic_strained(state: HealthState, now: float) -> bool:
    traffic = state.traffic.aged(now)
    return traffic.conclusive and traffic.error_rate >= TRAFFIC_STRAINED


def _moved(state: HealthState, signal: Signal, now: float, check: HealthCheck, detail: str) -> HealthState:
    """Apply the table; entering DOWN starts a hold-down that doubles with each relapse, health pays relapses off."""
    row = TRANSITIONS.get((state.phase, signal))
    if row is None:
        return _forgiven(state, now, check)
    phase, why = row
    state = replace(state, phase=phase, reason=f"{why}: {detail}" if detail else why, since=now, judged=True)
    if phase is Phase.DOWN:
        pause = min(MAX_HOLD_DOWN_S, check.hold_down_s * 2.0**state.relapses)
        return replace(state, relapses=state.relapses + 1, down_until=now + pause, passes=0, clean=0)
    if signal is Signal.RISEN:
        trial = BREAKER_TRANSITIONS.get((state.breaker, BreakerSignal.PAUSE_OVER), (state.breaker, ""))[0]
        # Reports from before the outage say nothing of the region that came back.
        return replace(state, breaker=trial, leak=0.0, failed_requests=0, doubt_since=None, traffic=Traffic(at=now))
    return state


def _forgiven(state: HealthState, now: float, check: HealthCheck) -> HealthState:
    decay = max(FORGIVEN_AFTER_S, check.hold_down_s * DECAY_FACTOR, check.interval_s * DECAY_FACTOR)
    if state.phase is Phase.HEALTHY and state.relapses and now - state.since >= decay:
        return replace(state, relapses=state.relapses - 1, since=now)
    return state


def _breaker_after_request(state: HealthState, ok: bool, at_threshold: bool) -> tuple[HealthState, bool]:
    """The state with its breaker moved by one real request, and whether that opened it."""
    if state.breaker is Breaker.HALF_OPEN:
        signal = BreakerSignal.TRIAL_PASSED if ok else BreakerSignal.TRIAL_FAILED
    elif at_threshold:
        signal = BreakerSignal.THRESHOLD
    else:
        return state, False
    row = BREAKER_TRANSITIONS.get((state.breaker, signal))
    if row is None:
        return state, False
    return replace(state, breaker=row[0]), row[0] is Breaker.OPEN


def recused(state: HealthState) -> HealthState:
    """The state with the observer's latest failures in a row withdrawn: it was blind when it saw them (L2)."""
    votes = state.fails - state.withdrawn
    return replace(state, withdrawn=state.fails, leak=max(0.0, state.leak - votes)) if votes else state


def observer_blind(states: Iterable[HealthState], share: float, at_once_s: float = 0.0) -> bool:
    """Whether the observer, not the regions, is in trouble: most of the targets it trusted fail at once (L2, L10).

    Only one failing target never proves blindness. Targets that were down before do not count; one that fell with
    those that fail now does: its trouble began less than ``at_once_s`` before theirs, and it was only probed first.
    """
    asked = [state for state in states if state.probed]
    doubts = [s.doubt_since for s in asked if s.fails and s.phase is not Phase.DOWN and s.doubt_since is not None]
    if not doubts:
        return False
    began = min(doubts) - at_once_s
    trusted = [s for s in asked if s.phase is not Phase.DOWN or (s.doubt_since is not None and s.doubt_since >= began)]
    failing = sum(1 for state in trusted if state.fails)
    return failing >= 2 and failing > share * len(trusted)
