"""What happened in the demo with edges: sums, phases of the failover, moments, and whether promises held. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mahavishnu.integrations.multi_region.core.events import EventKind

from .controller import Explained, Happening
from .edge_notes import (
    EdgeNotes,
    Mark,
    Phases,
    affected,
    last_served_by,
    phases_of,
    refused,
    windows_of,
)
from .edge_promises import edge_promises
from .faults import Scenario
from .ledger import Outcome, percentile, strays
from .promises import Promise
from .sums import RegionSums, as_document, audit_document, happening_document, region_sums

MARK_TEXT = {
    Mark.CONTROLLER_LOST: "the controller is killed",
    Mark.CONTROLLER_BACK: "the controller is there again",
    Mark.NARROWED: "every edge holds the policy without {victim}",
    Mark.WIDENED: "{victim} is allowed again",
    Mark.DRAINED: "{victim} is drained: no request in flight; its process is ended",
}


@dataclass(frozen=True, slots=True)
class EdgeSums:
    """Requests and what became of them; times in ms from when a request was due.

    ``failed_idempotent``: without a good response that had begun; ``cut``: any whose response broke off;
    ``failed_others``: the rest. ``refused``: how many the law left no region for, by reason; they are no failures.
    ``failures``: what clients saw of both. ``affected``: how many failed, were refused or slow, from the fault to its
    end; ``last_affected_ms``: when the last of them was due, in ms after the fault.
    """

    total: int
    by_service: Mapping[str, int]
    by_method: Mapping[str, int]
    failed_idempotent: int
    failed_others: int
    cut: int
    refused: Mapping[str, int]
    failures: Mapping[str, int]
    typical_ms: float
    p99_ms: float
    slowest_ms: float
    affected: int
    last_affected_ms: float | None


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened, in ms after the fault."""

    ms: float
    what: str


@dataclass(frozen=True, slots=True)
class EdgeReport:
    """The report. ``ok``: every promise held. ``through``: what carried the requests."""

    scenario: str
    fault: str | None
    victim: str
    seconds: float
    rate: float
    through: str
    edges: tuple[str, ...]
    ok: bool
    promises: tuple[Promise, ...]
    requests: EdgeSums
    phases: Phases
    moments: tuple[Moment, ...]
    regions: tuple[RegionSums, ...]
    left_out: Explained | None
    events: tuple[Mapping[str, Any], ...]
    residency_violations: int
    audit: Mapping[str, Any]

    def document(self) -> dict[str, Any]:
        """The report as plain data, numbers rounded to what was measured."""
        return as_document(self)


def build_edge_report(notes: EdgeNotes) -> EdgeReport:
    """The report on what was noted."""
    options, phases = notes.options, phases_of(notes)
    windows = windows_of(notes)
    regions = tuple(
        region_sums(place, notes.outcomes, windows.before, windows.meanwhile, windows.afterwards)
        for place in notes.places
    )
    kept = edge_promises(notes, phases, regions)
    return EdgeReport(
        scenario=options.scenario.value,
        fault=options.fault.value if options.scenario is Scenario.FAILOVER else None,
        victim=options.victim,
        seconds=options.seconds,
        rate=options.rate,
        through="envoy",
        edges=notes.edges,
        ok=all(promise.held for promise in kept),
        promises=kept,
        requests=_sums(notes),
        phases=phases,
        moments=_moments(notes, phases),
        regions=regions,
        left_out=notes.left_out,
        events=tuple(_event(notes, happening) for happening in notes.happenings),
        residency_violations=len(strays(notes.outcomes)),
        audit=audit_document(notes.audit_events, notes.audit_error),
    )


def _sums(notes: EdgeNotes) -> EdgeSums:
    outcomes = notes.outcomes
    lost = [outcome for outcome in outcomes if not outcome.ok]
    failed = [outcome for outcome in lost if not refused(notes, outcome)]
    took = [outcome.total_ms for outcome in outcomes if not outcome.stream]
    felt = affected(notes)
    return EdgeSums(
        total=len(outcomes),
        by_service=_counts(outcome.service for outcome in outcomes),
        by_method=_counts(_kind(outcome) for outcome in outcomes),
        failed_idempotent=sum(outcome.repeatable and not outcome.cut for outcome in failed),
        failed_others=sum(not outcome.repeatable and not outcome.cut for outcome in failed),
        cut=sum(outcome.cut for outcome in failed),
        refused=_counts(outcome.reason for outcome in lost if refused(notes, outcome)),
        failures=_counts(_why(outcome) for outcome in lost),
        typical_ms=percentile(took, 0.5),
        p99_ms=percentile(took, 0.99),
        slowest_ms=max(took, default=0.0),
        affected=len(felt),
        last_affected_ms=notes.ms(felt[-1].at) if felt else None,
    )


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


def _kind(outcome: Outcome) -> str:
    if outcome.stream:
        return "stream"
    return f"{outcome.method} with a key" if outcome.keyed else outcome.method


def _why(outcome: Outcome) -> str:
    last = outcome.attempts[-1]
    return f"{_kind(outcome)}: {last.error or f'status {last.status}'}"


def _moments(notes: EdgeNotes, phases: Phases) -> tuple[Moment, ...]:
    """What was done and what came of it, in order."""
    victim, drain = notes.options.victim, notes.options.scenario is Scenario.DRAIN
    served, felt = last_served_by(notes, victim), affected(notes)
    given = [h.at for h in notes.of_victim() if h.kind == EventKind.REGION_RECOVERED]
    rows = [
        (0.0, f"{victim} is to be drained" if drain else _begin(notes)),
        (phases.first_signal_ms, "the controller's first signal"),
        (phases.verdict_ms, "its verdict: down"),
        (phases.plan_ms, "its plan: the failover is recorded"),
        (phases.acknowledged_ms, "every edge has acknowledged it"),
        (None if served is None else notes.ms(served.at), f"last request due that {victim} served"),
        (notes.ms(felt[-1].at) if felt else None, "last request due that failed or was slow"),
        (notes.ms(notes.mended_at), "the drain ends" if drain else "the fault ends"),
        (notes.ms(given[0]) if given else None, "traffic given back"),
        *((notes.ms(notes.marks[mark]), text.format(victim=victim)) for mark, text in _marked(notes)),
    ]
    return tuple(Moment(ms, what) for ms, what in sorted(_known(rows), key=lambda row: row[0]))


def _begin(notes: EdgeNotes) -> str:
    return "the EU's regions fail" if notes.options.scenario is Scenario.RESIDENCY else f"{notes.options.victim} fails"


def _marked(notes: EdgeNotes) -> list[tuple[Mark, str]]:
    return [(mark, text) for mark, text in MARK_TEXT.items() if mark in notes.marks]


def _known(rows: Sequence[tuple[float | None, str]]) -> list[tuple[float, str]]:
    return [(ms, what) for ms, what in rows if ms is not None]


def _event(notes: EdgeNotes, happening: Happening) -> dict[str, Any]:
    return {"after_fault_ms": notes.ms(happening.at), **happening_document(happening)}
