"""What the demo promises, and whether a run kept it. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .ledger import Outcome, strays
from .scene import EU_SERVICE, Options
from .timeline import Noted, Timeline

MOVED_WITHIN_MS = 1000.0
"""How long after the fault requests may still be sent to the region that failed."""


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise: what, whether it held, and the figures that show it."""

    text: str
    held: bool
    detail: str


class RegionLoad(Protocol):
    """What is asked of a region's sums; see ``report.RegionSums``."""

    @property
    def region_id(self) -> str:
        """Which region."""

    @property
    def capacity(self) -> int:
        """What it can take, in requests/s."""

    @property
    def peak(self) -> int:
        """The most it was sent within one second."""

    @property
    def shed(self) -> int:
        """How many requests it turned away for want of room."""


class Proven(Noted, Protocol):
    """What promises are checked against, beside the timeline; see ``report.Notes``."""

    @property
    def options(self) -> Options:
        """What was asked for."""

    @property
    def audit_events(self) -> int:
        """How many events the log holds."""

    @property
    def audit_error(self) -> str:
        """Why the log is not whole, empty when it is."""


def promises(notes: Proven, times: Timeline, regions: Sequence[RegionLoad]) -> tuple[Promise, ...]:
    """Every promise, with whether it held."""
    return (
        _moved(notes.options.victim, times),
        none_failed(notes.outcomes),
        none_left_the_eu(notes.outcomes),
        answered_by_whom_was_asked(notes.outcomes),
        within_capacity(regions),
        log_is_whole(notes.audit_events, notes.audit_error),
    )


def _moved(victim: str, times: Timeline) -> Promise:
    text = f"traffic had left {victim} within {MOVED_WITHIN_MS:,.0f} ms"
    if not times.sent_before:
        return Promise(text, False, f"{victim} had no traffic before the fault: nothing could be shown")
    if times.failover_ms is None:
        return Promise(text, False, "no failover was recorded")
    detail = f"the last request was sent there after {times.moved_ms:,.0f} ms"
    return Promise(text, times.moved_ms <= MOVED_WITHIN_MS, detail)


def none_failed(outcomes: Sequence[Outcome]) -> Promise:
    """At the first attempt or the second."""
    failed = sum(not outcome.ok for outcome in outcomes)
    retried = sum(outcome.ok and len(outcome.attempts) > 1 for outcome in outcomes)
    detail = f"{failed} of {len(outcomes):,} went without; {retried} needed a second attempt"
    return Promise("every request was answered", bool(outcomes) and not failed, detail)


def none_repeatable_failed(outcomes: Sequence[Outcome]) -> Promise:
    """That none failed which could be sent again, and whose response had not begun."""
    own = [outcome for outcome in outcomes if outcome.repeatable]
    lost = sum(not outcome.ok and not outcome.cut for outcome in own)
    others = sum(not outcome.ok for outcome in outcomes) - lost
    text = "no idempotent request failed whose response had not begun"
    return Promise(text, bool(own) and not lost, f"{lost} of {len(own):,} did; others that failed: {others}")


def none_left_the_eu(outcomes: Sequence[Outcome]) -> Promise:
    """Second attempts count as well."""
    sent = sum(len(outcome.attempts) for outcome in outcomes if outcome.service == EU_SERVICE)
    out = len(strays(outcomes))
    return Promise(f"no request of {EU_SERVICE} left the EU", bool(sent) and not out, f"{out} of {sent:,} attempts did")


def answered_by_whom_was_asked(outcomes: Sequence[Outcome]) -> Promise:
    """Whatever the answer was."""
    answers = [a for outcome in outcomes for a in outcome.attempts if a.by is not None]
    wrong = sum(a.by != a.region_id for a in answers)
    text = "every answer came from the region asked"
    return Promise(text, bool(answers) and not wrong, f"{wrong} of {len(answers):,} did not")


def within_capacity(regions: Sequence[RegionLoad]) -> Promise:
    """None turned a request away, or was sent more within one second than it can take."""
    fullest = max(regions, key=lambda region: region.peak / region.capacity)
    shed = sum(region.shed for region in regions)
    detail = f"at most {fullest.peak} of {fullest.capacity} requests/s ({fullest.region_id})"
    if shed:
        detail += f"; {shed} turned away"
    return Promise("no region was overloaded", not shed and fullest.peak <= fullest.capacity, detail)


def log_is_whole(events: int, error: str) -> Promise:
    """The controller has proved it."""
    text = "the log of events is whole"
    if error:
        return Promise(text, False, error)
    return Promise(text, events > 0, f"the hash chain over {events} events holds")
