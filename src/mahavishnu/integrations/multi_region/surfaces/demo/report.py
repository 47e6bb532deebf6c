"""What happened, from what was noted: sums, times after the fault, and whether the demo's promises held. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .controller import Explained, Happening
from .ledger import Outcome, between, percentile, strays
from .promises import Promise, promises
from .scene import Options, Place
from .sums import RegionSums, as_document, audit_document, happening_document, region_sums
from .timeline import Timeline, timeline


@dataclass(frozen=True, slots=True)
class Notes:
    """All that the director noted. Times in seconds since the epoch.

    ``audit_events``: how many events the proof of the log covered; ``audit_error``: why it failed, empty otherwise.
    ``lost_reports``: reports of clients that the controller did not take.
    """

    options: Options
    places: tuple[Place, ...]
    outcomes: Sequence[Outcome]
    happenings: Sequence[Happening]
    began_at: float
    fault_at: float
    mended_at: float
    ended_at: float
    left_out: Explained | None
    audit_events: int
    audit_error: str
    lost_reports: int = 0


@dataclass(frozen=True, slots=True)
class RequestSums:
    """Requests and what became of them. Times in ms, of whole requests, the second attempt included.

    ``failed_idempotent``: those of ``failed`` that could be repeated and whose response had not begun.
    """

    total: int
    by_service: Mapping[str, int]
    failed_first_attempts: int
    retried: int
    failed: int
    failed_idempotent: int
    failures_by_error: Mapping[str, int]
    typical_ms: float
    p99_ms: float
    slowest_ms: float


@dataclass(frozen=True, slots=True)
class Journey:
    """Where one city's requests of one service went, and how long the typical one took (ms), before and after."""

    city: str
    service: str
    before: str | None
    after: str | None
    before_ms: float
    after_ms: float


@dataclass(frozen=True, slots=True)
class DemoReport:
    """The report. ``ok``: every promise held."""

    fault: str
    victim: str
    seconds: float
    rate: float
    ok: bool
    promises: tuple[Promise, ...]
    requests: RequestSums
    timeline: Timeline
    regions: tuple[RegionSums, ...]
    journeys: tuple[Journey, ...]
    left_out: Explained | None
    events: tuple[Mapping[str, Any], ...]
    residency_violations: int
    audit: Mapping[str, Any]
    lost_reports: int

    def document(self) -> dict[str, Any]:
        """The report as plain data, numbers rounded to what was measured."""
        return as_document(self)


def build_report(notes: Notes) -> DemoReport:
    """The report on what was noted."""
    options, times = notes.options, timeline(notes.options.victim, notes)
    windows = times.window_before, times.window_after, times.window_recovered
    regions = tuple(region_sums(place, notes.outcomes, *windows) for place in notes.places)
    kept = promises(notes, times, regions)
    return DemoReport(
        fault=options.fault.value,
        victim=options.victim,
        seconds=options.seconds,
        rate=options.rate,
        ok=all(promise.held for promise in kept),
        promises=kept,
        requests=request_sums(notes.outcomes),
        timeline=times,
        regions=regions,
        journeys=_journeys(notes, times),
        left_out=notes.left_out,
        events=tuple(_event(happening, notes.fault_at) for happening in notes.happenings),
        residency_violations=len(strays(notes.outcomes)),
        audit=audit_document(notes.audit_events, notes.audit_error),
        lost_reports=notes.lost_reports,
    )


def request_sums(outcomes: Sequence[Outcome]) -> RequestSums:
    """What became of all requests."""
    took = [outcome.total_ms for outcome in outcomes]
    return RequestSums(
        total=len(outcomes),
        by_service=dict(sorted(Counter(outcome.service for outcome in outcomes).items())),
        failed_first_attempts=sum(not outcome.ok_at_once for outcome in outcomes),
        retried=sum(len(outcome.attempts) > 1 for outcome in outcomes),
        failed=sum(not outcome.ok for outcome in outcomes),
        failed_idempotent=sum(not o.ok and o.repeatable and not o.cut for o in outcomes),
        failures_by_error=_failures(outcomes),
        typical_ms=percentile(took, 0.5),
        p99_ms=percentile(took, 0.99),
        slowest_ms=max(took, default=0.0),
    )


def _failures(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """How often attempts failed, by what the client saw, the most frequent first."""
    seen = [a.error or f"status {a.status}" for outcome in outcomes for a in outcome.attempts if not a.ok]
    return dict(Counter(seen + [outcome.refused for outcome in outcomes if outcome.refused]).most_common())


def _journeys(notes: Notes, times: Timeline) -> tuple[Journey, ...]:
    routes = dict.fromkeys((outcome.city, outcome.service) for outcome in notes.outcomes)
    before = between(notes.outcomes, *times.window_before)
    after = between(notes.outcomes, *times.window_after)
    return tuple(_journey(city, service, before, after) for city, service in sorted(routes))


def _journey(city: str, service: str, before: list[Outcome], after: list[Outcome]) -> Journey:
    first, then = (
        [outcome for outcome in window if (outcome.city, outcome.service) == (city, service)]
        for window in (before, after)
    )
    return Journey(city, service, _mostly(first), _mostly(then), _typical_ms(first), _typical_ms(then))


def _mostly(outcomes: list[Outcome]) -> str | None:
    """The region that served most of them."""
    counts = Counter(outcome.served_by for outcome in outcomes if outcome.served_by is not None)
    return counts.most_common(1)[0][0] if counts else None


def _typical_ms(outcomes: list[Outcome]) -> float:
    return percentile((outcome.total_ms for outcome in outcomes if outcome.ok), 0.5)


def _event(happening: Happening, fault_at: float) -> dict[str, Any]:
    return {"after_fault_ms": 1000.0 * (happening.at - fault_at), **happening_document(happening)}
