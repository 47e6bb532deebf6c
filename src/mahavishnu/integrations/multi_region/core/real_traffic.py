"""What real requests say of a region: each that is reported, and counts of them where nobody tells of each.

Built on ``health.py``, whose tables say what a signal does to the phase and to the circuit breaker.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from .health import BREAKER_TRANSITIONS, Breaker, BreakerSignal, HealthState, Signal, moved, smoothed
from .model import HealthCheck

FOLDED = 8
"""Requests of one report that are counted one by one; of more, a sample of this size is."""


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
        latency_ms=smoothed(state.latency_ms, latency_ms) if ok else state.latency_ms,
        last_seen=now,
        doubt_since=state.doubt_since if ok or state.doubt_since is not None else now,
        failing_since=state.failing_since if ok or state.failing_since is not None else now,
    )
    if ok and not state.fails and state.leak == 0.0 and state.calm(now):
        state = replace(state, doubt_since=None)
    state, opened = _breaker_after_request(state, ok, in_a_row >= threshold)
    if opened:
        return moved(state, Signal.BREAKER_OPENED, now, check, f"{in_a_row} in a row")
    rate = f"{100 * traffic.error_rate:.0f} % of recent requests failed"
    if traffic.failing:
        return moved(state, Signal.TRAFFIC_FAILED, now, check, rate)
    if traffic.strained:
        return moved(replace(state, clean=0), Signal.STRAINED, now, check, rate)
    signal = Signal.PASSED if ok else Signal.MISSED
    if ok and not state.probed:
        state = replace(state, clean=state.clean + 1)
        signal = Signal.CLEAN if state.clean >= check.rise else Signal.PASSED
    return moved(state, signal, now, check, "")


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


def reported_many(
    state: HealthState, succeeded: int, failed: int, now: float, check: HealthCheck, threshold: int
) -> HealthState:
    """The state after many real requests, of which only the counts are known: as if failures came evenly among them.

    Up to ``FOLDED`` of them are counted one by one. Of more, all enter the error rate, and a sample of that size in the
    same proportion, with one failure at least if there was one, is counted one by one after the others: the cost does
    not grow with the traffic.
    """
    total = succeeded + failed
    if total > FOLDED:
        few = max(round(FOLDED * failed / total), min(failed, 1))
        rest = failed - few
        traffic = state.traffic.with_reports(succeeded - (FOLDED - few), rest, now)
        state = replace(state, traffic=traffic, failed_requests=0 if succeeded else state.failed_requests + rest)
        succeeded, failed = FOLDED - few, few
    for ok in evenly(succeeded, failed):
        state = reported(state, ok, now, check, threshold)
    return state


def evenly(succeeded: int, failed: int) -> Iterator[bool]:
    """So many outcomes, true for those that succeeded; each failure stands in the middle of its part of the whole."""
    total = succeeded + failed
    for place in range(total):
        before, after = 2 * place * failed + total, 2 * (place + 1) * failed + total
        yield before // (2 * total) == after // (2 * total)


def by_probes_alone(state: HealthState, now: float) -> bool:
    """Whether only the observer's own probes speak against a region: real requests give no reason to take it out."""
    return state.fails > 0 and not state.traffic.aged(now).failing and state.breaker is not Breaker.OPEN
