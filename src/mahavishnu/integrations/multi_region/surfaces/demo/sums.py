"""What every report of the demo has in it: a region's part, a line of what happened, the proof of the log. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .controller import Happening
from .ledger import Outcome, attempts_on, between, peak_rate, shares
from .scene import Place

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Window = tuple[float, float]
"""From when to when, in seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class RegionSums:
    """One region's part: shares (0..1) of the served requests before the fault, after the move, and after recovery.

    ``peak``: most attempts sent to it within one second; ``shed``: answers that said it had no room.
    """

    region_id: str
    capacity: int
    answers: int
    peak: int
    shed: int
    share_before: float
    share_after: float
    share_recovered: float | None


def region_sums(
    place: Place, outcomes: Sequence[Outcome], before: Window, after: Window, recovered: Window | None
) -> RegionSums:
    """One region's part of the outcomes, and its share in each of the windows."""
    own = attempts_on(outcomes, place.region_id)
    return RegionSums(
        region_id=place.region_id,
        capacity=place.capacity,
        answers=sum(attempt.ok for attempt in own),
        peak=peak_rate(own),
        shed=sum(attempt.status == 429 for attempt in own),
        share_before=_share(outcomes, place, before),
        share_after=_share(outcomes, place, after),
        share_recovered=None if recovered is None else _share(outcomes, place, recovered),
    )


def _share(outcomes: Sequence[Outcome], place: Place, window: Window) -> float:
    return shares(between(outcomes, *window)).get(place.region_id, 0.0)


def happening_document(happening: Happening) -> dict[str, Any]:
    """What happened, without its time."""
    return {
        "kind": happening.kind,
        "subject": happening.subject,
        "outcome": happening.outcome,
        "reason": happening.reason,
    }


def audit_document(events: int, error: str) -> dict[str, Any]:
    """Whether the log proved whole: how many events the proof covered, and why it failed (empty: it did not)."""
    return {"ok": not error, "events": events, "error": error}


def as_document(report: DataclassInstance) -> dict[str, Any]:
    """A report as plain data, numbers rounded to what was measured."""
    document = _rounded(asdict(report))
    assert isinstance(document, dict)
    return document


def _rounded(value: Any) -> Any:
    """A value with its floats rounded to three places and its tuples as lists."""
    match value:
        case float():
            return round(value, 3)
        case dict():
            return {key: _rounded(part) for key, part in value.items()}
        case list() | tuple():
            return [_rounded(part) for part in value]
        case _:
            return value
