"""What happened in the blue-green demo: what each step gave to green, why it came, and whether promises held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .controller import Happening, Rollout, Step
from .ledger import Attempt, Outcome, attempts_on, between, peak_rate, strays
from .promises import (
    MOVED_WITHIN_MS,
    Promise,
    answered_by_whom_was_asked,
    log_is_whole,
    none_failed,
    none_left_the_eu,
    none_repeatable_failed,
    within_capacity,
)
from .report import RequestSums, request_sums
from .rollout_scene import STEPS, RolloutOptions
from .scene import WEB, Place
from .sums import as_document, audit_document, happening_document

SETTLE_S = 0.3
"""A step's share is counted from this much after it began: requests under way were sent by the step before."""

TOLERANCE = 0.1
"""How far from its planned share a step may be; and never less than ``FEW`` requests."""

FEW = 3
SERVES = ("serving", "completed")


@dataclass(frozen=True, slots=True)
class RolloutNotes:
    """All that the director noted. Times in seconds since the epoch; ``broke_at`` is 0 when nothing was broken.

    ``through_edges``: whether edges carried the requests.
    """

    options: RolloutOptions
    places: tuple[Place, ...]
    outcomes: Sequence[Outcome]
    happenings: Sequence[Happening]
    rollout: Rollout | None
    began_at: float
    begun_at: float
    broke_at: float
    ended_at: float
    audit_events: int
    audit_error: str
    lost_reports: int = 0
    through_edges: bool = False


@dataclass(frozen=True, slots=True)
class StepSums:
    """One step: green's planned share in percent, ms after the rollout's begin, and what clients saw of it.

    ``requests``: of the service that moved, within the step; ``to_green``: how many of them were sent to green first.
    """

    percent: float
    after_ms: float
    why: str
    requests: int
    to_green: int

    @property
    def as_planned(self) -> bool:
        """Whether green had its share, as far as so many requests can tell."""
        planned = self.requests * self.percent / 100
        return self.requests > 0 and abs(self.to_green - planned) <= max(FEW, TOLERANCE * self.requests)


@dataclass(frozen=True, slots=True)
class GroupSums:
    """One region's part. ``peak``: most attempts sent to it within one second; ``shed``: answers for want of room."""

    region_id: str
    role: str
    capacity: int
    answers: int
    failed: int
    peak: int
    shed: int


@dataclass(frozen=True, slots=True)
class RolloutReport:
    """The report. ``ok``: every promise held. ``back_ms``: when the last request went to green after the rollback.

    ``through``: what carried the requests, and tried again: ``envoy`` or ``clients``.
    """

    scenario: str
    failing: bool
    blue: tuple[str, ...]
    green: str
    seconds: float
    rate: float
    ok: bool
    promises: tuple[Promise, ...]
    state: str
    requests: RequestSums
    steps: tuple[StepSums, ...]
    history: tuple[Mapping[str, Any], ...]
    back_ms: float | None
    regions: tuple[GroupSums, ...]
    events: tuple[Mapping[str, Any], ...]
    residency_violations: int
    audit: Mapping[str, Any]
    lost_reports: int
    through: str

    def document(self) -> dict[str, Any]:
        """The report as plain data, numbers rounded to what was measured."""
        return as_document(self)


def build_rollout_report(notes: RolloutNotes) -> RolloutReport:
    """The report on what was noted."""
    options, steps = notes.options, _steps(notes)
    regions = tuple(_region(place, notes) for place in notes.places)
    kept = _promises(notes, steps, regions)
    return RolloutReport(
        scenario="blue-green",
        failing=options.failing,
        blue=options.blue,
        green=options.green,
        seconds=options.seconds,
        rate=options.rate,
        ok=all(promise.held for promise in kept),
        promises=kept,
        state=_state(notes),
        requests=request_sums(notes.outcomes),
        steps=steps,
        history=tuple(_line(line, notes) for line in _history(notes)),
        back_ms=_back_ms(notes),
        regions=regions,
        events=tuple(_event(happening, notes) for happening in notes.happenings),
        residency_violations=len(strays(notes.outcomes)),
        audit=audit_document(notes.audit_events, notes.audit_error),
        lost_reports=notes.lost_reports,
        through="envoy" if notes.through_edges else "clients",
    )


# --- what happened ------------------------------------------------------------------------------


def _history(notes: RolloutNotes) -> tuple[Step, ...]:
    return notes.rollout.history if notes.rollout is not None else ()


def _state(notes: RolloutNotes) -> str:
    return notes.rollout.state if notes.rollout is not None else "never begun"


def _steps(notes: RolloutNotes) -> tuple[StepSums, ...]:
    """The steps that were taken; the last one lasts as long as the service stays where it is."""
    taken = [line for line in _history(notes) if line.state == "shifting"]
    back = next((line.at for line in _history(notes) if line.state == "rolling_back"), notes.ended_at)
    ends = [*(line.at for line in taken[1:]), back]
    return tuple(_step(notes, *step) for step in zip(STEPS, taken, ends, strict=False))


def _step(notes: RolloutNotes, percent: float, line: Step, end: float) -> StepSums:
    within = [o for o in between(notes.outcomes, line.at + SETTLE_S, end) if o.service == WEB and o.attempts]
    to_green = sum(outcome.attempts[0].region_id == notes.options.green for outcome in within)
    return StepSums(percent, 1000.0 * (line.at - notes.begun_at), line.why, len(within), to_green)


def _region(place: Place, notes: RolloutNotes) -> GroupSums:
    own = attempts_on(notes.outcomes, place.region_id)
    role = (
        "green" if place.region_id == notes.options.green else "blue" if place.region_id in notes.options.blue else ""
    )
    return GroupSums(
        region_id=place.region_id,
        role=role,
        capacity=place.capacity,
        answers=sum(attempt.ok for attempt in own),
        failed=sum(not attempt.ok for attempt in own),
        peak=peak_rate(own),
        shed=sum(attempt.status == 429 for attempt in own),
    )


def _rolled_back_at(notes: RolloutNotes) -> float | None:
    return next((line.at for line in _history(notes) if line.state == "rolling_back"), None)


def _back_ms(notes: RolloutNotes) -> float | None:
    """When the last request of the service was sent to green, in ms after the rollback; 0: none after it."""
    at = _rolled_back_at(notes)
    if at is None:
        return None
    late = [a.at for o in _of_web(notes) for a in o.attempts[:1] if a.region_id == notes.options.green and a.at >= at]
    return 1000.0 * (max(late) - at) if late else 0.0


def _of_web(notes: RolloutNotes) -> list[Outcome]:
    return [outcome for outcome in notes.outcomes if outcome.service == WEB]


def _line(line: Step, notes: RolloutNotes) -> dict[str, Any]:
    return {"after_ms": 1000.0 * (line.at - notes.begun_at), "state": line.state, "why": line.why}


def _event(happening: Happening, notes: RolloutNotes) -> dict[str, Any]:
    return {"after_ms": 1000.0 * (happening.at - notes.begun_at), **happening_document(happening)}


# --- promises -----------------------------------------------------------------------------------


def _promises(notes: RolloutNotes, steps: Sequence[StepSums], regions: Sequence[GroupSums]) -> tuple[Promise, ...]:
    own = _of_a_failing(notes, steps) if notes.options.failing else _of_a_good(notes, steps)
    return (
        *own,
        none_repeatable_failed(notes.outcomes) if notes.through_edges else none_failed(notes.outcomes),
        none_left_the_eu(notes.outcomes),
        answered_by_whom_was_asked(notes.outcomes),
        within_capacity(regions),
        log_is_whole(notes.audit_events, notes.audit_error),
    )


def _of_a_good(notes: RolloutNotes, steps: Sequence[StepSums]) -> tuple[Promise, ...]:
    wanted = ", ".join(f"{percent:g}" for percent in STEPS)
    taken = len(steps) == len(STEPS) and _state(notes) in SERVES
    told = ", ".join(f"{step.to_green} of {step.requests} at {step.percent:g} %" for step in steps)
    failed = sum(not outcome.ok_at_once for outcome in notes.outcomes)
    return (
        Promise(f"web moved to {notes.options.green}: {wanted} %", taken, f"it is {_state(notes)}"),
        Promise("green had its share at every step", taken and all(step.as_planned for step in steps), told),
        Promise(
            "no request failed, not even at the first attempt",
            bool(notes.outcomes) and not failed,
            f"{failed} of {len(notes.outcomes):,} did",
        ),
    )


def _of_a_failing(notes: RolloutNotes, steps: Sequence[StepSums]) -> tuple[Promise, ...]:
    why = next((line.why for line in _history(notes) if line.state == "rolling_back"), f"it is {_state(notes)}")
    least = f"{STEPS[0]:g} %"
    return (
        Promise("the rollout was rolled back by itself", _state(notes) == "rolled_back", why),
        Promise(f"it never went beyond {least}", len(steps) == 1, f"steps taken: {len(steps)}"),
        _unseen(notes) if notes.through_edges else _confined(notes),
        _back_on_blue(notes),
    )


def _confined(notes: RolloutNotes) -> Promise:
    """Only what green was given failed, and that was felt."""
    failed = [(o.service, a) for o in notes.outcomes for a in o.attempts if not a.ok]
    astray = sum(not _of_green(service, attempt, notes) for service, attempt in failed)
    text = "only requests of web that went to green failed"
    return Promise(text, bool(failed) and not astray, f"{len(failed)} attempts failed, {astray} of them elsewhere")


def _unseen(notes: RolloutNotes) -> Promise:
    """What green failed was asked again elsewhere by the edge, unless it may not be."""
    failed = [outcome for outcome in notes.outcomes if not outcome.ok]
    astray = sum(o.repeatable or not _of_green(o.service, o.attempts[0], notes) for o in failed)
    text = "only requests of web to green that may not be repeated failed"
    return Promise(text, bool(notes.outcomes) and not astray, f"{len(failed)} failed, {astray} of them others")


def _of_green(service: str, attempt: Attempt, notes: RolloutNotes) -> bool:
    return service == WEB and attempt.region_id == notes.options.green


def _back_on_blue(notes: RolloutNotes) -> Promise:
    text = f"web was back on blue within {MOVED_WITHIN_MS:,.0f} ms"
    at, last = _rolled_back_at(notes), _back_ms(notes)
    if at is None or last is None:
        return Promise(text, False, "nothing was rolled back")
    after = [o for o in _of_web(notes) if o.at >= at + MOVED_WITHIN_MS / 1000.0]
    home = sum(outcome.served_by in notes.options.blue for outcome in after)
    detail = f"the last one went to green after {last:,.0f} ms; of {len(after):,} later ones blue served {home:,}"
    return Promise(text, last <= MOVED_WITHIN_MS and bool(after) and home == len(after), detail)
