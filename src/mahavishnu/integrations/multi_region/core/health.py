"""The verdict on a region: phase, score and circuit breaker, by transition tables.

Each observation updates the counters (``probing.py``, ``real_traffic.py``) and yields one signal; the table says what
the signal does to the phase. Times are seconds on a monotonic clock, given by the caller. What follows from a verdict
is decided elsewhere (``safety.py``, ``failover.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from .model import HealthCheck, Phase
from .recent_traffic import Traffic

HEALTHY_SCORE, DEGRADED_SCORE = 70.0, 30.0
"""Bands of the health score: from 70 a region is healthy, from 30 degraded, below it is down."""

MAX_HOLD_DOWN_S = 600.0
"""Longest hold-down, however often a region relapses."""

DECAY_FACTOR, FORGIVEN_AFTER_S = 6.0, 600.0
"""One relapse is forgiven after this many base hold-downs of good health, and not sooner than this many seconds: what
comes and goes every five minutes would be forgiven each time (Cloudflare, 2025-11-18)."""

_NO_TRAFFIC = Traffic()


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
class HealthState:
    """All that is remembered of one region's evidence.

    ``fails``/``passes``: probe results in a row. ``withdrawn``: how many of ``fails`` count for nothing, since the
    observer was blind. ``clean``: results in a row that were neither failed, slow nor shed.
    ``doubt_since``: when the first failure of the current trouble was seen. ``failing_since``: the first one of a probe
    or a request since a probe last passed. ``relapses``: how often it went down
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
    failing_since: float | None = None
    breaker: Breaker = Breaker.CLOSED
    failed_requests: int = 0
    traffic: Traffic = _NO_TRAFFIC
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

    def calm(self, now: float) -> bool:
        """Whether real traffic gives no cause for doubt and the region is not down."""
        return self.phase is not Phase.DOWN and not self.failed_requests and not self.traffic.aged(now).strained


def phase_of_score(score: float | None) -> Phase:
    """The phase that a stated score stands for until evidence has spoken; None: unknown."""
    if score is None:
        return Phase.UNKNOWN
    if score >= HEALTHY_SCORE:
        return Phase.HEALTHY
    return Phase.DEGRADED if score >= DEGRADED_SCORE else Phase.DOWN


def moved(state: HealthState, signal: Signal, now: float, check: HealthCheck, detail: str) -> HealthState:
    """The state after a signal, by the table.

    Entering DOWN starts a hold-down that doubles with each relapse; health pays relapses off. ``detail``: what is said
    beside the table's own reason.
    """
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


def smoothed(before: float | None, seen: float | None) -> float | None:
    """The exponentially weighted mean of what was measured, in its unit; the first value stands as it is."""
    if seen is None or before is None:
        return before if seen is None else seen
    return 0.7 * before + 0.3 * seen
