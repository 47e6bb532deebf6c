"""What happened, as data. The audit log, metrics and the dashboard all read these; the hash chain is computed here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ..errors import AuditBrokenError


class EventKind(StrEnum):
    """Every kind of event that enters the log; the prefix says which part of the system speaks."""

    REGION_REGISTERED = "region.registered"
    REGION_UPDATED = "region.updated"
    REGION_REMOVED = "region.removed"
    SERVICE_DECLARED = "service.declared"
    SERVICE_REMOVED = "service.removed"
    POLICY_REGISTERED = "policy.registered"
    POLICY_REMOVED = "policy.removed"
    EDGE_DECLARED = "edge.declared"
    EDGE_REMOVED = "edge.removed"
    EDGE_CONNECTED = "edge.connected"
    EDGE_LOST = "edge.lost"
    EDGE_LEFT = "edge.left"
    EDGE_REJECTED = "edge.rejected"
    EDGE_EJECTED = "edge.ejected"
    EDGE_READMITTED = "edge.readmitted"
    EDGE_ASTRAY = "edge.astray"
    LIMITS_CHANGED = "limits.changed"
    HEALTH_CHANGED = "health.changed"
    OBSERVER_BLIND = "observer.blind"
    OBSERVER_SIGHTED = "observer.sighted"
    SAFETY_HELD = "safety.held"
    SAFETY_RELEASED = "safety.released"
    FAILOVER_COMPLETED = "failover.completed"
    FAILOVER_ACKNOWLEDGED = "failover.acknowledged"
    FAILOVER_REFUSED = "failover.refused"
    REGION_RECOVERED = "region.recovered"
    DRAIN_STARTED = "drain.started"
    DRAIN_COMPLETED = "drain.completed"
    DRAIN_LIFTED = "drain.lifted"
    AUTOMATION_FROZEN = "automation.frozen"
    AUTOMATION_UNFROZEN = "automation.unfrozen"
    OVERRIDE_USED = "override.used"
    DEPLOYMENT_CREATED = "deployment.created"
    DEPLOYMENT_MOVED = "deployment.moved"
    DEPLOYMENT_HELD = "deployment.held"
    DEPLOYMENT_ACKNOWLEDGED = "deployment.acknowledged"
    LEADER_ELECTED = "leader.elected"
    DATA_BOUND = "data.bound"
    DATA_CLASSIFIED = "data.classified"
    TRANSFER_RECORDED = "transfer.recorded"
    TRANSFER_REFUSED = "transfer.refused"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened: when (seconds since the epoch), what, to whom, by whom and why.

    ``before`` and ``after`` hold the values that changed; ``details`` the figures (durations in ms, shares 0..1).
    """

    kind: EventKind
    at: float
    subject: str
    actor: str = "automation"
    reason: str = ""
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChainedEvent:
    """An event in the log: its place, the hash of the one before, and its own hash."""

    seq: int
    event: Event
    previous: str
    digest: str


GENESIS = "0" * 64
"""The hash that the first event follows."""


def canonical(event: Event, seq: int, previous: str) -> str:
    """The one JSON text that is hashed and stored: sorted keys, no spaces, ASCII."""
    return json.dumps(
        {
            "seq": seq,
            "previous": previous,
            "kind": event.kind.value,
            "at": event.at,
            "subject": event.subject,
            "actor": event.actor,
            "reason": event.reason,
            "before": None if event.before is None else dict(event.before),
            "after": None if event.after is None else dict(event.after),
            "details": dict(event.details),
        },
        sort_keys=True,
        separators=(",", ":"),
        allow_nan=False,
    )


def chain(event: Event, seq: int, previous: str) -> tuple[ChainedEvent, str]:
    """The event at its place in the chain, and the text to store. SHA-256 over the canonical text."""
    text = canonical(event, seq, previous)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return ChainedEvent(seq, event, previous, digest), text


def parse_event(text: str) -> ChainedEvent:
    """The chained event that ``canonical`` wrote; the digest is computed from the text as it stands."""
    raw = json.loads(text)
    event = Event(
        kind=EventKind(raw["kind"]),
        at=raw["at"],
        subject=raw["subject"],
        actor=raw["actor"],
        reason=raw["reason"],
        before=raw["before"],
        after=raw["after"],
        details=raw["details"],
    )
    return ChainedEvent(raw["seq"], event, raw["previous"], hashlib.sha256(text.encode()).hexdigest())


def verify_link(text: str, seq: int, previous: str) -> ChainedEvent:
    """The event in ``text``, proven to be number ``seq`` and to follow the event whose hash is ``previous``.

    Raises AuditBrokenError when it is not.
    """
    try:
        entry = parse_event(text)
        rewritten = canonical(entry.event, entry.seq, entry.previous)
    except (ValueError, KeyError, TypeError) as err:
        raise AuditBrokenError(seq, f"cannot be read: {err}") from err
    if rewritten != text:
        raise AuditBrokenError(seq, "is not in the form that was written")
    if entry.seq != seq:
        raise AuditBrokenError(seq, f"carries the number {entry.seq}: an event was removed or added before it")
    if entry.previous != previous:
        raise AuditBrokenError(seq, "does not follow from the event before it: one of the two was altered")
    return entry
