"""Is green as good as blue? Three answers from what real requests report; too little data is never a pass."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .deployment import Gates

LATENCY_SLACK_MS = 20.0
"""Green may always be this much slower than blue: ratios of a few milliseconds say nothing."""


class Finding(StrEnum):
    """What an analysis found."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Sample:
    """Real requests to some regions since a point in time: how many, how many failed, and latency of the timed ones."""

    total: int = 0
    failed: int = 0
    timed: int = 0
    latency_sum_ms: float = 0.0

    def plus(self, other: Sample) -> Sample:
        """Both together."""
        return Sample(
            self.total + other.total,
            self.failed + other.failed,
            self.timed + other.timed,
            self.latency_sum_ms + other.latency_sum_ms,
        )

    def minus(self, before: Sample) -> Sample:
        """What came after ``before``."""
        return Sample(
            self.total - before.total,
            self.failed - before.failed,
            self.timed - before.timed,
            self.latency_sum_ms - before.latency_sum_ms,
        )

    @property
    def error_rate(self) -> float:
        """Failed share, 0..1."""
        return self.failed / self.total if self.total else 0.0

    @property
    def latency_ms(self) -> float | None:
        """Mean latency of the requests that were timed."""
        return self.latency_sum_ms / self.timed if self.timed else None


def analyse(green: Sample, blue: Sample, gates: Gates) -> tuple[Finding, str]:
    """Compare green with blue and with the fixed limit; the finding and why.

    A failure is called as soon as so many of the requests failed that no further ones could make the step pass. Where
    both fail alike nothing is concluded: the cause is elsewhere, and green has not shown that it works.
    """
    allowed = max(gates.max_error_rate, blue.error_rate + gates.max_error_increase if blue.total else 0.0)
    seen = f"{green.failed} of {green.total} requests to green failed ({100 * green.error_rate:.1f} %)"
    if green.failed > allowed * max(green.total, gates.min_requests):
        return Finding.FAIL, f"{seen}, at most {100 * allowed:.1f} % may"
    if green.total < max(1, gates.min_requests):
        return Finding.INCONCLUSIVE, f"{green.total} requests to green, {max(1, gates.min_requests)} are needed"
    if green.error_rate > gates.max_error_rate:
        return Finding.INCONCLUSIVE, f"{seen}, and {100 * blue.error_rate:.1f} % of those to blue"
    slow = _too_slow(green, blue, gates)
    return (Finding.FAIL, slow) if slow else (Finding.PASS, seen)


def _too_slow(green: Sample, blue: Sample, gates: Gates) -> str | None:
    ours, theirs = green.latency_ms, blue.latency_ms
    if ours is None or theirs is None or blue.timed < gates.min_requests:
        return None
    limit = theirs * gates.max_latency_factor + LATENCY_SLACK_MS
    return (
        f"green answers in {ours:.0f} ms, blue in {theirs:.0f} ms; at most {limit:.0f} ms may" if ours > limit else None
    )
