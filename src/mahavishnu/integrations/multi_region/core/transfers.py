"""Transfers between regions: whether one may take place, the ledger's entries, and reports over them.

A decision says nothing of when it was asked, so the same question under the same policy and facts has the same id:
that is how a record proves, when it is written, that what permitted the transfer still stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from ..errors import InvalidInputError, nearest_hint
from .eligibility import in_force, lawful_decision
from .events import ChainedEvent, EventKind
from .facts import Fact
from .figures import check_whole
from .model import Fleet
from .policy import Decision
from .request import Needs, Use
from .vocabulary import MECHANISMS

TOTALS = "transfer-totals/"
"""Where the sums of each pair of regions are stored: ``transfer-totals/FROM>TO``."""


def totals_key(source: str, target: str) -> str:
    """Where the sums of one pair live."""
    return f"{TOTALS}{source}>{target}"


@dataclass(frozen=True, slots=True)
class Transfer:
    """What is to be moved. ``size``: in bytes, None when it is not known yet. ``mechanism``: see ``MECHANISMS``."""

    data_id: str
    source: str
    target: str
    purpose: str
    mechanism: str | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class TransferDecision:
    """Whether a transfer may take place, and why. ``id`` is what its record must name.

    ``valid_until``: when a fact that permitted it ends (seconds since the epoch), None when none does. ``cost_usd``: an
    estimate from list prices, None when size or price is not known.
    """

    transfer: Transfer
    decision: Decision
    policies: tuple[str, ...]
    cost_usd: float | None = None

    @property
    def id(self) -> str:
        """The decision's id."""
        return self.decision.id

    @property
    def permitted(self) -> bool:
        """Whether the transfer may take place."""
        return self.decision.allowed

    @property
    def reason(self) -> str:
        """Why, or why not."""
        return self.decision.reason

    @property
    def rules(self) -> tuple[str, ...]:
        """Ids of the rules that decided, each with its policy's id before a slash."""
        return self.decision.rules

    @property
    def valid_until(self) -> float | None:
        """Until when it stands, if it has an end."""
        return self.decision.valid_until

    def document(self) -> dict[str, Any]:
        """The decision as plain data."""
        moved = self.transfer
        return {
            "permitted": self.permitted,
            "data_id": moved.data_id,
            "from_region": moved.source,
            "to_region": moved.target,
            "bytes": moved.size,
            "purpose": moved.purpose,
            "mechanism": moved.mechanism,
            "policies": list(self.policies),
            "estimated_cost_usd": self.cost_usd,
            **{k: v for k, v in self.decision.document().items() if k not in ("allowed", "subject")},
        }


def check_transfer(transfer: Transfer) -> None:
    """Refuse a transfer that says too little or something odd. Raises InvalidInputError."""
    if transfer.source == transfer.target:
        raise InvalidInputError("to_region", transfer.target, f"another region than {transfer.source}")
    if not isinstance(transfer.purpose, str) or not transfer.purpose.strip():
        raise InvalidInputError("purpose", transfer.purpose, "a text that is not empty")
    if transfer.mechanism is not None and transfer.mechanism not in MECHANISMS:
        allowed = nearest_hint(str(transfer.mechanism), list(MECHANISMS))
        raise InvalidInputError("mechanism", transfer.mechanism, allowed)
    if transfer.size is not None:
        check_whole(transfer.size, "bytes", allowed="a whole number of bytes, 0 or more")


def decide_transfer(fleet: Fleet, needs: Needs, transfer: Transfer) -> TransferDecision:
    """Whether the target may lawfully hold a copy, with what the transfer rests on among the facts.

    ``needs``: the data's. Both regions must be in the fleet. Health is not asked: that is for whoever copies.
    """
    facts = {**needs.facts, "transfer.purpose": Fact(transfer.purpose, "the request")}
    if transfer.mechanism is not None:
        facts["transfer.mechanism"] = Fact(transfer.mechanism, "the request")
    asked = replace(needs, use=Use.COPY, facts=MappingProxyType(facts), service=None, deployment=None)
    view = fleet.regions[transfer.target]
    subject = f"copy of {transfer.data_id!r} from {transfer.source} to {transfer.target} for {transfer.purpose!r}"
    mechanism = f" by {transfer.mechanism}" if transfer.mechanism is not None else ""
    found = lawful_decision(view, in_force(fleet, asked), subject + mechanism)
    return TransferDecision(transfer, found, tuple(policy.policy_id for policy in asked.policies))


# --- the ledger -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One transfer that took place, or was refused when it was to be recorded (``recorded`` is false).

    ``seq``: its number in the event log; ``at`` in seconds since the epoch; ``size`` in bytes.
    """

    seq: int
    at: float
    recorded: bool
    data_id: str
    source: str
    target: str
    size: int
    purpose: str
    mechanism: str | None
    decision_id: str
    policies: tuple[str, ...]
    cost_usd: float | None
    actor: str
    reason: str

    @classmethod
    def of(cls, entry: ChainedEvent) -> LedgerEntry | None:
        """The entry that an event is, None when it tells of something else."""
        event = entry.event
        if event.kind not in (EventKind.TRANSFER_RECORDED, EventKind.TRANSFER_REFUSED):
            return None
        told = event.details
        return cls(
            seq=entry.seq,
            at=event.at,
            recorded=event.kind is EventKind.TRANSFER_RECORDED,
            data_id=event.subject,
            source=told["from_region"],
            target=told["to_region"],
            size=told["bytes"],
            purpose=told["purpose"],
            mechanism=told["mechanism"],
            decision_id=told["decision_id"],
            policies=tuple(told["policies"]),
            cost_usd=told["cost_usd"],
            actor=event.actor,
            reason=event.reason,
        )


@dataclass(frozen=True, slots=True)
class PairTotal:
    """All that went from one region to another. ``cost_usd``: of the transfers whose price is known."""

    source: str
    target: str
    count: int = 0
    size: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0

    def plus(self, size: int, cost_usd: float | None) -> PairTotal:
        """The sum with one more transfer."""
        return replace(
            self,
            count=self.count + 1,
            size=self.size + size,
            cost_usd=self.cost_usd + (cost_usd or 0.0),
            unpriced=self.unpriced + (cost_usd is None),
        )

    def document(self) -> dict[str, Any]:
        """The sum as plain data."""
        return {
            "from_region": self.source,
            "to_region": self.target,
            "count": self.count,
            "bytes": self.size,
            "cost_usd": self.cost_usd,
            "unpriced": self.unpriced,
        }

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> PairTotal:
        """The sum that ``document`` wrote."""
        return cls(
            document["from_region"],
            document["to_region"],
            document["count"],
            document["bytes"],
            document["cost_usd"],
            document["unpriced"],
        )


@dataclass(frozen=True, slots=True)
class TransferReport:
    """Transfers of one policy (None: of all) since a moment (seconds since the epoch, None: ever), and their sums.

    ``entries`` are oldest first; those that were refused are among them and not in ``totals``.
    """

    policy: str | None
    since: float | None
    entries: tuple[LedgerEntry, ...]
    totals: tuple[PairTotal, ...]


def report(entries: Iterable[LedgerEntry], policy: str | None, since: float | None) -> TransferReport:
    """The report over ledger entries."""
    kept = tuple(e for e in entries if (policy is None or policy in e.policies) and (since is None or e.at >= since))
    totals: dict[tuple[str, str], PairTotal] = {}
    for entry in kept:
        if entry.recorded:
            pair = entry.source, entry.target
            totals[pair] = totals.get(pair, PairTotal(*pair)).plus(entry.size, entry.cost_usd)
    return TransferReport(policy, since, kept, tuple(totals[pair] for pair in sorted(totals)))
