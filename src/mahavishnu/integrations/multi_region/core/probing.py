"""What probes say of a region: each result, silence, and what an observer that is blind itself has seen (L2, L3).

Built on ``health.py``, whose tables say what a signal does to the phase.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from .health import Breaker, HealthState, Signal, moved, smoothed
from .model import HealthCheck, Phase
from .recent_traffic import Traffic

LEAK = 0.5
"""What one pass takes out of the leaky counter; a failure adds 1. One in two failing therefore fills it (L3)."""

SILENCE_FACTOR = 5.0
"""After this many probe intervals without any evidence a region's health is unknown (L2)."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One probe's result. ``distrusted``: the observer is blind, so that a failure decides nothing (L2)."""

    ok: bool
    latency_ms: float | None = None
    shedding: bool = False
    reason: str = ""
    distrusted: bool = False


def probed(state: HealthState, seen: Observation, now: float, check: HealthCheck) -> HealthState:
    """The state after one probe."""
    slow = check.slow_ms is not None and (seen.latency_ms or 0.0) > check.slow_ms
    state = replace(
        _counted(state, seen, slow, now),
        last_seen=now,
        probed=True,
        traffic=state.traffic.aged(now),
        latency_ms=smoothed(state.latency_ms, seen.latency_ms) if seen.ok else state.latency_ms,
        failed_share=0.8 * state.failed_share + 0.2 * (not seen.ok),
    )
    signal = _probe_signal(state, seen, slow, now, check)
    if signal is Signal.FALLEN and state.phase is not Phase.DOWN:
        # An earlier trouble that real requests met, while probes passed still, is not what the verdict rests on.
        state = replace(state, doubt_since=state.failing_since)
    return moved(state, signal, now, check, seen.reason)


def ticked(state: HealthState, now: float, check: HealthCheck) -> HealthState:
    """The state after time has passed with nothing seen: silence becomes unknown, pauses end.

    A region that nobody probes comes back on probation when its hold-down is over: one more failure fells it again.
    """
    if state.phase is Phase.DOWN:
        if not state.probed and now >= state.down_until:
            trial = replace(state, passes=check.rise, traffic=Traffic(), breaker=Breaker.OPEN)
            return moved(trial, Signal.RISEN, now, check, "on probation")
        return state
    silent = state.last_seen is not None and now - state.last_seen > SILENCE_FACTOR * check.interval_s + check.timeout_s
    if silent and state.probed:
        return moved(state, Signal.SILENT, now, check, "")
    return state


def _counted(state: HealthState, seen: Observation, slow: bool, now: float) -> HealthState:
    if seen.ok:
        clean = 0 if slow or seen.shedding or state.traffic.aged(now).strained else state.clean + 1
        leak = max(0.0, state.leak - LEAK)
        passes = state.passes + 1
        quiet = leak == 0.0 and state.calm(now)
        doubt = None if quiet else state.doubt_since
        state = replace(state, fails=0, withdrawn=0, passes=passes, clean=clean, leak=leak)
        return replace(state, doubt_since=doubt, failing_since=None)
    if seen.shedding:
        return replace(state, fails=0, withdrawn=0, passes=0, clean=0)
    doubt = state.doubt_since if state.doubt_since is not None else now
    first = state.failing_since if state.failing_since is not None else now
    state = replace(state, fails=state.fails + 1, passes=0, clean=0, leak=state.leak + 1.0)
    state = replace(state, doubt_since=doubt, failing_since=first)
    return recused(state) if seen.distrusted else state


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
    if slow or state.traffic.aged(now).strained:
        return Signal.STRAINED
    return Signal.CLEAN if state.clean >= check.rise else Signal.PASSED


def _may_return(state: HealthState, now: float, check: HealthCheck) -> bool:
    """Enough passes, the hold-down over, and real traffic not failing still (L3, L4)."""
    return state.passes >= check.rise and now >= state.down_until and not state.traffic.aged(now).failing


def recused(state: HealthState) -> HealthState:
    """The state with the observer's latest failures in a row withdrawn: it was blind when it saw them (L2)."""
    votes = state.fails - state.withdrawn
    if not votes:
        return state
    return replace(state, withdrawn=state.fails, leak=max(0.0, state.leak - votes), failing_since=None)


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
