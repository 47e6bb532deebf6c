"""What recent reports of real requests say of a region: nothing while there are few, else whether it fails.

What follows for the region is decided in ``real_traffic.py`` and ``probing.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

TRAFFIC_HALF_LIFE_S = 5.0
"""Reports of real requests lose half their weight in this time."""

TRAFFIC_VOLUME = 10.0
"""Weight of recent reports below which real traffic proves nothing."""

TRAFFIC_DOWN, TRAFFIC_STRAINED = 0.5, 0.05
"""Share of failed real requests from which a region is down, and degraded."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Recent reports of real requests, each losing weight with age: how many, and how many of them failed."""

    total: float = 0.0
    failed: float = 0.0
    at: float = 0.0

    def aged(self, now: float) -> Traffic:
        """These reports at the weight that they have at ``now``, in monotonic seconds."""
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

    @property
    def failing(self) -> bool:
        """Whether so many of them failed that the region is down."""
        return self.conclusive and self.error_rate >= TRAFFIC_DOWN

    @property
    def strained(self) -> bool:
        """Whether so many of them failed that the region is degraded at least."""
        return self.conclusive and self.error_rate >= TRAFFIC_STRAINED
