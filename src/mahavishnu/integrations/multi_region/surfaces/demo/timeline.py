"""When what happened around the fault, from the log of events and from what clients sent. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from mahavishnu.integrations.multi_region.core.events import EventKind
from mahavishnu.integrations.multi_region.core.model import Phase

from .controller import Happening
from .ledger import Attempt, Outcome

SETTLE_S = 1.0
"""Shares before the fault and after it leave out this much at the start and after the fault."""

Window = tuple[float, float]
"""From when to before when, in seconds since the epoch."""


class Noted(Protocol):
    """What a timeline is made from; see ``report.Notes``."""

    @property
    def outcomes(self) -> Sequence[Outcome]:
        """What clients saw."""

    @property
    def happenings(self) -> Sequence[Happening]:
        """The log of events."""

    @property
    def began_at(self) -> float:
        """When clients began."""

    @property
    def fault_at(self) -> float:
        """When the fault began."""

    @property
    def mended_at(self) -> float:
        """When it ended."""

    @property
    def ended_at(self) -> float:
        """When clients had their last answer."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Times in ms after the fault; None: did not happen.

    ``first_sign_ms``: first evidence that the controller had. ``moved_ms``: when the last request was sent to the
    victim by the router before the victim came back; 0 when none was. ``last_affected_ms``: when the last client
    learnt that its attempt on the victim had failed. ``detected_ms``, ``failover_ms``: verdict and the record of the
    move. ``mended_ms``: end of the fault. ``recovered_ms``: when the controller gave traffic back, for the first time.
    ``failovers``: how often it moved the victim's traffic. Windows in seconds since the epoch.
    """

    first_sign_ms: float | None
    detected_ms: float | None
    failover_ms: float | None
    moved_ms: float
    last_affected_ms: float | None
    mended_ms: float
    recovered_ms: float | None
    failovers: int
    sent_before: int
    window_before: Window
    window_after: Window
    window_recovered: Window | None


def timeline(victim: str, notes: Noted) -> Timeline:
    """The times that matter, for the region that failed."""
    after_fault = [h for h in notes.happenings if h.subject == victim and h.at >= notes.fault_at]
    down = _first(after_fault, lambda h: h.kind == EventKind.HEALTH_CHANGED and h.phase == Phase.DOWN)
    moves = [h for h in after_fault if h.kind == EventKind.FAILOVER_COMPLETED]
    recovered = _first(after_fault, lambda h: h.kind == EventKind.REGION_RECOVERED)
    back_at = notes.mended_at if recovered is None else min(recovered.at, notes.mended_at)
    sent = sorted((o.attempts[0] for o in notes.outcomes if o.attempts), key=lambda attempt: attempt.at)
    to_victim = [attempt for attempt in sent if attempt.region_id == victim]
    astray = [attempt for attempt in to_victim if notes.fault_at <= attempt.at < back_at]

    def ms(at: float | None) -> float | None:
        return None if at is None else 1000.0 * (at - notes.fault_at)

    return Timeline(
        first_sign_ms=ms(moves[0].at - moves[0].detected_ms / 1000.0) if moves else None,
        detected_ms=ms(down.at) if down else None,
        failover_ms=ms(moves[0].at) if moves else None,
        moved_ms=ms(astray[-1].at) or 0.0 if astray else 0.0,
        last_affected_ms=ms(_last_failure(to_victim, notes.fault_at, back_at)),
        mended_ms=1000.0 * (notes.mended_at - notes.fault_at),
        recovered_ms=ms(recovered.at) if recovered else None,
        failovers=len(moves),
        sent_before=sum(attempt.at < notes.fault_at for attempt in to_victim),
        window_before=(notes.began_at + min(SETTLE_S, (notes.fault_at - notes.began_at) / 2), notes.fault_at),
        window_after=(notes.fault_at + SETTLE_S, max(back_at, notes.fault_at + SETTLE_S)),
        window_recovered=_window_recovered(after_fault, notes),
    )


def _window_recovered(after_fault: list[Happening], notes: Noted) -> Window | None:
    """From when the victim had its traffic back for good, after the fault had ended."""
    moves = (EventKind.FAILOVER_COMPLETED, EventKind.REGION_RECOVERED)
    last = _first(reversed(after_fault), lambda h: h.kind in moves)
    if last is None or last.kind != EventKind.REGION_RECOVERED:
        return None
    begin = max(last.at, notes.mended_at)
    return (begin, notes.ended_at) if begin < notes.ended_at else None


def _last_failure(attempts: Iterable[Attempt], begin: float, end: float) -> float | None:
    """When the last of the attempts failed that were under way at ``begin`` or sent before ``end``."""
    failed = [a for a in attempts if not a.ok and a.at < end]
    return max((over for a in failed if (over := a.at + a.latency_ms / 1000.0) >= begin), default=None)


def _first(happenings: Iterable[Happening], fits: Callable[[Happening], bool]) -> Happening | None:
    return next((happening for happening in happenings if fits(happening)), None)
