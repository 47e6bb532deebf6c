"""What is noted of a run with edges, and the times that follow from it. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mahavishnu.integrations.multi_region.core.events import EventKind

from .controller import Explained, Happening
from .edge_scene import EdgeOptions
from .faults import Scenario
from .ledger import Outcome
from .scene import EU_SERVICE, Place
from .timeline import SETTLE_S, Window

REFUSED = 503
"""How an edge answers when no region may serve, or none that may answers."""

SLOW_MS = 150.0
"""A request that took so much longer than its way may count as slow."""


class Mark(StrEnum):
    """What the director did. ``fault``: also when a drain was asked for; ``mended``: also when it was lifted."""

    FAULT = "fault"
    MENDED = "mended"
    DRAINED = "drained"
    CONTROLLER_LOST = "controller lost"
    CONTROLLER_BACK = "controller back"
    NARROWED = "policy narrowed at every edge"
    WIDENED = "policy widened"


@dataclass(frozen=True, slots=True)
class EdgeNotes:
    """All that the director noted. Times in seconds since the epoch.

    ``edges``: those of the demo; ``synced``: those that had the newest plan at the end. ``audit_events``,
    ``audit_error``: how many events the proof of the log covered, why it failed.
    """

    options: EdgeOptions
    places: tuple[Place, ...]
    edges: tuple[str, ...]
    synced: tuple[str, ...]
    outcomes: Sequence[Outcome]
    happenings: Sequence[Happening]
    marks: Mapping[Mark, float]
    began_at: float
    ended_at: float
    left_out: Explained | None
    audit_events: int
    audit_error: str

    @property
    def fault_at(self) -> float:
        """When it began."""
        return self.marks[Mark.FAULT]

    @property
    def mended_at(self) -> float:
        """When it ended."""
        return self.marks[Mark.MENDED]

    @property
    def back_at(self) -> float:
        """From when on the victim may have traffic again."""
        given = [h.at for h in self.of_victim() if h.kind in GIVEN_BACK]
        return min([self.mended_at, *given])

    def of_victim(self) -> list[Happening]:
        """What was recorded of the victim since it began."""
        return [h for h in self.happenings if h.subject == self.options.victim and h.at >= self.fault_at]

    def ms(self, at: float | None) -> float | None:
        """A time as ms after it began."""
        return None if at is None else 1000.0 * (at - self.fault_at)


GIVEN_BACK = (EventKind.REGION_RECOVERED, EventKind.DRAIN_LIFTED)


@dataclass(frozen=True, slots=True)
class Phases:
    """The phases of the victim's failover in ms after the fault; None: did not happen.

    ``first_signal_ms``: first evidence; ``acknowledged_ms``: the last edge had taken it over. ``duration_ms``: from the
    one to the other. ``lagging``: edges that had not taken it over in time. ``failovers``: how many there were.
    """

    first_signal_ms: float | None = None
    verdict_ms: float | None = None
    plan_ms: float | None = None
    acknowledged_ms: float | None = None
    duration_ms: float | None = None
    lagging: tuple[str, ...] = ()
    failovers: int = 0


def phases_of(notes: EdgeNotes) -> Phases:
    """The phases of the first failover, as the log of events has them."""
    moves = [h for h in notes.of_victim() if h.kind == EventKind.FAILOVER_COMPLETED]
    told = [h for h in notes.of_victim() if h.kind == EventKind.FAILOVER_ACKNOWLEDGED]
    if not moves:
        return Phases()
    move = moves[0].details
    last = told[0].details if told else {}
    return Phases(
        first_signal_ms=notes.ms(move.get("first_signal_at")),
        verdict_ms=notes.ms(move.get("verdict_at")),
        plan_ms=notes.ms(move.get("planned_at")),
        acknowledged_ms=notes.ms(last.get("acknowledged_at")),
        duration_ms=last.get("duration_ms"),
        lagging=tuple(last.get("lagging", ())),
        failovers=len(moves),
    )


@dataclass(frozen=True, slots=True)
class Windows:
    """From when to before when requests show the shares before, meanwhile and afterwards; None: nothing to show."""

    before: Window
    meanwhile: Window
    afterwards: Window | None


def windows_of(notes: EdgeNotes) -> Windows:
    """The windows of a run. Requests on their way at a change are left out."""
    first = min(notes.marks.values())
    settled = max(notes.marks.get(Mark.DRAINED, 0.0), notes.fault_at + SETTLE_S)
    given = [h.at for h in notes.of_victim() if h.kind in GIVEN_BACK and h.at >= notes.mended_at - SETTLE_S]
    again = given[0] + SETTLE_S if given else None
    return Windows(
        before=(notes.began_at + min(SETTLE_S, (first - notes.began_at) / 2), first),
        meanwhile=(min(settled, notes.back_at), notes.back_at),
        afterwards=(again, notes.ended_at) if again is not None and again < notes.ended_at else None,
    )


def refused(notes: EdgeNotes, outcome: Outcome) -> bool:
    """Whether a request bound to the EU was refused, with the reason, once no region there was left."""
    if notes.options.scenario is not Scenario.RESIDENCY or outcome.service != EU_SERVICE:
        return False
    told = bool(outcome.reason) and outcome.attempts[0].status == REFUSED
    return told and outcome.ended_at >= notes.fault_at


def affected(notes: EdgeNotes) -> list[Outcome]:
    """The requests under way when the fault began, or due while it lasted, that failed or were slow, by due time.

    Slow: longer than its way by more than ``SLOW_MS``, and by more than any request before the fault.
    """
    before = (o.total_ms - o.travel_ms for o in notes.outcomes if o.ok and o.ended_at < notes.fault_at)
    limit_ms = max([SLOW_MS, *before])
    during = [o for o in notes.outcomes if o.ended_at >= notes.fault_at and o.at < notes.mended_at]
    found = [o for o in during if not o.ok or o.total_ms - o.travel_ms > limit_ms]
    return sorted(found, key=lambda outcome: outcome.at)


def last_served_by(notes: EdgeNotes, region_id: str) -> Outcome | None:
    """The last request that the region served of those due between the fault and when it may have traffic again."""
    found = [o for o in notes.outcomes if o.served_by == region_id and notes.fault_at <= o.at < notes.back_at]
    return max(found, key=lambda outcome: outcome.at, default=None)
