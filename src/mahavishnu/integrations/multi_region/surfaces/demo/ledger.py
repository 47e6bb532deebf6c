"""What the clients saw, request by request, and the sums over it. No I/O."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from mahavishnu.integrations.multi_region.core.routes import IDEMPOTENT

from .scene import EU_REGIONS, EU_SERVICE


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call of a region, sent ``at`` (s since the epoch). ``status`` and ``by`` are None without an answer."""

    region_id: str
    at: float
    latency_ms: float
    status: int | None
    by: str | None
    error: str = ""

    @property
    def ok(self) -> bool:
        """Whether the region asked for answered well."""
        return self.status == 200 and self.by == self.region_id


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request of a client: ``at`` (s since the epoch) it began, its attempts, and why one was not made, if so.

    Through an edge ``at`` is when it was due, ``total_ms`` counts from then, and there is one attempt: the edge's own
    further ones are not seen. ``keyed``: it had an Idempotency-Key. ``stream``: its answer takes seconds.
    ``stated``: what it asked of the law. ``reason``: the edge's, for a refusal. ``travel_ms``: what distance took.
    """

    city: str
    service: str
    at: float
    total_ms: float
    attempts: tuple[Attempt, ...]
    refused: str = ""
    method: str = "GET"
    keyed: bool = False
    stream: bool = False
    stated: str = ""
    reason: str = ""
    travel_ms: float = 0.0

    @property
    def repeatable(self) -> bool:
        """Whether it could be carried out twice without harm."""
        return self.method in IDEMPOTENT or self.keyed

    @property
    def cut(self) -> bool:
        """Whether a good response had begun and then broke off: nobody can replay that unseen."""
        last = self.attempts[-1] if self.attempts else None
        return last is not None and bool(last.error) and last.status is not None and last.status < 500

    @property
    def ended_at(self) -> float:
        """When the client had its answer, or gave up, in seconds since the epoch."""
        return self.at + self.total_ms / 1000.0

    @property
    def ok(self) -> bool:
        """Whether the client got what it asked for, at the first attempt or the second."""
        return bool(self.attempts) and self.attempts[-1].ok

    @property
    def ok_at_once(self) -> bool:
        """Whether the first attempt was enough."""
        return bool(self.attempts) and self.attempts[0].ok

    @property
    def served_by(self) -> str | None:
        """The region that served it, None when none did."""
        return self.attempts[-1].region_id if self.ok else None


@dataclass(slots=True)
class Ledger:
    """Every outcome so far, in order of completion."""

    outcomes: list[Outcome] = field(default_factory=list)
    total: int = 0
    failed_first: int = 0
    failed: int = 0

    def add(self, outcome: Outcome) -> None:
        """Count one more request."""
        self.outcomes.append(outcome)
        self.total += 1
        self.failed_first += not outcome.ok_at_once
        self.failed += not outcome.ok

    def since(self, at: float) -> list[Outcome]:
        """The outcomes of requests that began at or after ``at`` (s since the epoch); looks back from the newest."""
        found = []
        for outcome in reversed(self.outcomes):
            if outcome.at + outcome.total_ms / 1000.0 < at:
                break
            if outcome.at >= at:
                found.append(outcome)
        return found


def shares(outcomes: Iterable[Outcome]) -> dict[str, float]:
    """Region to its share (0..1) of the requests that were served; empty when none was."""
    counts = Counter(outcome.served_by for outcome in outcomes if outcome.served_by is not None)
    total = sum(counts.values())
    return {region_id: count / total for region_id, count in sorted(counts.items())}


def between(outcomes: Iterable[Outcome], begin: float, end: float) -> list[Outcome]:
    """Outcomes of requests that began from ``begin`` to before ``end`` (s since the epoch)."""
    return [outcome for outcome in outcomes if begin <= outcome.at < end]


def attempts_on(outcomes: Iterable[Outcome], region_id: str) -> list[Attempt]:
    """Every attempt on one region, in order of sending."""
    found = [a for outcome in outcomes for a in outcome.attempts if a.region_id == region_id]
    return sorted(found, key=lambda attempt: attempt.at)


def peak_rate(attempts: Iterable[Attempt]) -> int:
    """The most attempts that were sent within any one second."""
    window: deque[float] = deque()
    most = 0
    for at in sorted(attempt.at for attempt in attempts):
        window.append(at)
        while window[0] <= at - 1.0:
            window.popleft()
        most = max(most, len(window))
    return most


def strays(outcomes: Iterable[Outcome]) -> list[Attempt]:
    """Attempts of the European service that were sent to, or answered by, a region outside the EU.

    An attempt that an edge refused went to no region, and names none.
    """
    return [
        attempt
        for outcome in outcomes
        if outcome.service == EU_SERVICE
        for attempt in outcome.attempts
        if any(region_id and region_id not in EU_REGIONS for region_id in (attempt.region_id, attempt.by))
    ]


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that at least ``share`` (0..1) of the values do not exceed; 0 for none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0
