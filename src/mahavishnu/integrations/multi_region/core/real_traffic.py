"""What counts of real requests say of a region, where nobody tells of each request by itself.

Built on ``health.reported``, which says what one request means.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from .health import TRAFFIC_DOWN, Breaker, HealthState, reported
from .model import HealthCheck

FOLDED = 8
"""Requests of one report that are counted one by one; of more, a sample of this size is."""


def reported_many(
    state: HealthState, succeeded: int, failed: int, now: float, check: HealthCheck, threshold: int
) -> HealthState:
    """The state after many real requests, of which only the counts are known: as if failures came evenly among them.

    Up to ``FOLDED`` of them are counted one by one. Of more, all enter the error rate, and a sample of that size in the
    same proportion is counted one by one after the others: the cost does not grow with the traffic.
    """
    total = succeeded + failed
    if total > FOLDED:
        few = min(max(round(FOLDED * failed / total), min(failed, 1)), FOLDED - min(succeeded, 1))
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
    traffic = state.traffic.aged(now)
    failing = traffic.conclusive and traffic.error_rate >= TRAFFIC_DOWN
    return state.fails > 0 and not failing and state.breaker is not Breaker.OPEN
