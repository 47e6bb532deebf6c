"""What the demo with edges promises in each scenario, and whether a run kept it. No I/O."""

from __future__ import annotations

from collections.abc import Sequence

from mahavishnu.integrations.multi_region.core.events import EventKind

from .edge_notes import REFUSED, EdgeNotes, Mark, Phases, last_served_by, refused, windows_of
from .faults import Fault, Scenario
from .ledger import Outcome, between, shares
from .promises import (
    MOVED_WITHIN_MS,
    Promise,
    RegionLoad,
    answered_by_whom_was_asked,
    log_is_whole,
    none_left_the_eu,
    none_repeatable_failed,
    within_capacity,
)
from .scene import EU_SERVICE
from .timeline import SETTLE_S

LEFT = 0.5
"""A region that fails requests while its health is fine must lose at least so much of its share."""


def edge_promises(notes: EdgeNotes, phases: Phases, regions: Sequence[RegionLoad]) -> tuple[Promise, ...]:
    """Every promise of the scenario, with whether it held."""
    own: tuple[Promise, ...]
    match notes.options.scenario:
        case Scenario.DRAIN:
            own = (_none_failed_at_all(notes), _streams_ended(notes), _drained(notes))
        case Scenario.CONTROLLER_LOSS:
            own = (none_repeatable_failed(notes.outcomes), _left_at_once(notes), _taken_over(notes, phases))
        case Scenario.RESIDENCY:
            others = [outcome for outcome in notes.outcomes if not refused(notes, outcome)]
            own = (none_repeatable_failed(others), _refused_while_lost(notes), _left_the_policy(notes))
        case _:
            own = (none_repeatable_failed(notes.outcomes), *_of_a_failover(notes, phases))
    return (
        *own,
        none_left_the_eu(notes.outcomes),
        answered_by_whom_was_asked(notes.outcomes),
        within_capacity(regions),
        log_is_whole(notes.audit_events, notes.audit_error),
    )


def _of_a_failover(notes: EdgeNotes, phases: Phases) -> tuple[Promise, ...]:
    if notes.options.fault in (Fault.ERRORS, Fault.SLOW):
        return (_lost_its_share(notes),)
    return _left_at_once(notes), _acknowledged(phases)


# --- what clients got ---------------------------------------------------------------------------


def _none_failed_at_all(notes: EdgeNotes) -> Promise:
    lost = sum(not outcome.ok for outcome in notes.outcomes)
    streams = sum(outcome.stream for outcome in notes.outcomes)
    detail = f"{lost} of {len(notes.outcomes):,} did, {streams:,} streams and every POST among them"
    return Promise("no request of any kind failed", bool(notes.outcomes) and not lost, detail)


# --- traffic left the region --------------------------------------------------------------------


def _left_at_once(notes: EdgeNotes) -> Promise:
    victim, window = notes.options.victim, windows_of(notes)
    text = f"traffic had left {victim} within {MOVED_WITHIN_MS:,.0f} ms"
    if not shares(between(notes.outcomes, *window.before)).get(victim):
        return Promise(text, False, f"{victim} had no traffic before: nothing could be shown")
    last = last_served_by(notes, victim)
    late_ms = 0.0 if last is None else 1000.0 * (last.at - notes.fault_at)
    detail = "it served none after that" if last is None else f"the last that it served was due after {late_ms:,.0f} ms"
    return Promise(text, late_ms <= MOVED_WITHIN_MS, detail)


def _acknowledged(phases: Phases) -> Promise:
    text = "every edge acknowledged the failover"
    if phases.plan_ms is None:
        return Promise(text, False, "no failover was recorded")
    if phases.acknowledged_ms is None or phases.duration_ms is None:
        return Promise(text, False, f"not by {', '.join(phases.lagging) or 'any'}")
    detail = f"after {phases.acknowledged_ms:,.0f} ms, {phases.duration_ms:,.0f} ms after the first signal"
    return Promise(text, not phases.lagging, detail)


def _lost_its_share(notes: EdgeNotes) -> Promise:
    victim, window = notes.options.victim, windows_of(notes)
    before, after = (shares(between(notes.outcomes, *w)).get(victim, 0.0) for w in (window.before, window.meanwhile))
    text = f"{victim} served at most half of its share, though its health was fine"
    return Promise(
        text, before > 0 and after <= LEFT * before, f"{100 * before:.0f} % before, {100 * after:.0f} % then"
    )


# --- drain --------------------------------------------------------------------------------------


def _streams_ended(notes: EdgeNotes) -> Promise:
    """Those that the victim was serving when the drain was asked for."""
    own = [
        outcome
        for outcome in notes.outcomes
        if outcome.stream
        and outcome.attempts[0].region_id == notes.options.victim
        and outcome.attempts[0].at < notes.fault_at <= outcome.ended_at
    ]
    whole = sum(outcome.ok for outcome in own)
    text = "streams in flight at the drain ran to their end"
    return Promise(text, bool(own) and whole == len(own), f"{whole} of {len(own)} did")


def _drained(notes: EdgeNotes) -> Promise:
    text = f"{notes.options.victim} was drained before it was stopped"
    done = [h for h in notes.of_victim() if h.kind == EventKind.DRAIN_COMPLETED]
    if not done:
        return Promise(text, False, "the drain came to no end")
    busy = done[0].details.get("busy_edges", ())
    last = max((o.attempts[0].at for o in notes.outcomes if _sent_to_victim(notes, o)), default=notes.fault_at)
    detail = (
        f"after {notes.ms(done[0].at) or 0:,.0f} ms; the last new request to it after {notes.ms(last) or 0:,.0f} ms"
    )
    return Promise(text, not busy, f"{detail}; still busy: {', '.join(busy)}" if busy else detail)


def _sent_to_victim(notes: EdgeNotes, outcome: Outcome) -> bool:
    first = outcome.attempts[0]
    return first.region_id == notes.options.victim and notes.fault_at <= first.at < notes.back_at


# --- the controller is lost ---------------------------------------------------------------------


def _taken_over(notes: EdgeNotes, phases: Phases) -> Promise:
    text = "the controller came back and took over"
    missing = [edge_id for edge_id in notes.edges if edge_id not in notes.synced]
    back_ms = notes.ms(notes.marks.get(Mark.CONTROLLER_BACK)) or 0.0
    if phases.plan_ms is None:
        return Promise(text, False, "it recorded no failover")
    detail = f"back after {back_ms:,.0f} ms, failover recorded after {phases.plan_ms:,.0f} ms"
    if missing:
        return Promise(text, False, f"{detail}; not on its plan: {', '.join(missing)}")
    return Promise(text, True, f"{detail}; every edge is on its plan")


# --- residency ----------------------------------------------------------------------------------


def _refused_while_lost(notes: EdgeNotes) -> Promise:
    lost = between(
        notes.outcomes, notes.fault_at + min(SETTLE_S, (notes.mended_at - notes.fault_at) / 2), notes.mended_at
    )
    own = [outcome for outcome in lost if outcome.service == EU_SERVICE]
    told = sum(refused(notes, outcome) for outcome in own)
    reasons = sorted({outcome.reason for outcome in own if outcome.reason})
    text = f"with no EU region left, {EU_SERVICE} was refused with the reason"
    detail = f"{told} of {len(own)} were, with {REFUSED}: {', '.join(reasons) or 'no reason'}"
    return Promise(text, bool(own) and told == len(own), detail)


def _left_the_policy(notes: EdgeNotes) -> Promise:
    victim = notes.options.victim
    text = f"out of the policy, {victim} got no request of {EU_SERVICE}"
    begin, end = notes.marks[Mark.NARROWED], notes.marks[Mark.WIDENED]
    own = [o for o in notes.outcomes if o.service == EU_SERVICE and begin <= o.attempts[0].at < end]
    strays = sum(victim in (o.attempts[0].region_id, o.attempts[0].by) for o in own)
    served = sum(outcome.ok for outcome in own)
    return Promise(text, bool(own) and not strays, f"{strays} of {len(own)}; {served} were served elsewhere in the EU")
