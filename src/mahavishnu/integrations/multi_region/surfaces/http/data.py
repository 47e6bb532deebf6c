"""``/v1/data``: hot and cold, where data is and belongs, transfers and their ledger, what the law of the day says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Query, Response
from pydantic import Field

from mahavishnu.integrations.multi_region.core.placement import STORAGE_USD_PER_GB_DAY, Temperature
from mahavishnu.integrations.multi_region.core.transfers import LedgerEntry
from mahavishnu.integrations.multi_region.system import MultiRegionSystem

from .auth import Role
from .data_bodies import AccessBody, CheckBody, ClassifyBody, DataId, PlaceBody, ReplicateBody, TransferBody
from .guarding import Actor
from .routes import WRITES, Doors
from .schemas import Answer


class ClassAnswer(Answer):
    """Whether data is hot or cold."""

    data_id: str
    temperature: Temperature
    rate_per_day: float = Field(description="Accesses a day that it comes from.")
    threshold: float | None = Field(description="Accesses a day above which it is hot; null: no rate reaches it.")
    reason: str


class PlaceAnswer(Answer):
    """Where data is, and what binds it."""

    data_id: str
    regions: list[str] = Field(description="The regions that hold it, the primary first; empty: not known.")
    policy: str | None
    data_class: str | None
    temperature: Temperature
    rates: dict[str, float] = Field(description="Accesses a day by the region that reported them.")


class PlanAnswer(Answer):
    """Which regions shall hold data."""

    data_id: str
    strategy: str
    regions: list[str]
    primary: str
    fallbacks: list[str] = Field(description="Who is next should those be lost, best first.")
    excluded: dict[str, str] = Field(description="Why each other region may hold none.")
    bytes: int | None = Field(description="How much must be copied; null when its size is not known.")
    estimated_cost_usd: float | None = Field(description="For that, by list prices; null when one is not known.")
    decisions: dict[str, str] = Field(description="Id of the lawful decision on each region.")


class LedgerAnswer(Answer):
    """One entry of the ledger."""

    seq: int = Field(description="Its number in the event log.")
    at: float = Field(description="Seconds since the epoch.")
    recorded: bool = Field(description="False: its recording was refused.")
    data_id: str
    from_region: str
    to_region: str
    bytes: int
    purpose: str
    mechanism: str | None
    decision_id: str
    policies: list[str]
    cost_usd: float | None
    actor: str
    reason: str


class TransferAnswer(Answer):
    """A decision on a transfer, and its entry once it is recorded."""

    permitted: bool
    id: str = Field(description="What its record must name.")
    data_id: str
    from_region: str
    to_region: str
    bytes: int | None
    purpose: str
    mechanism: str | None
    policies: list[str] = Field(description="Those that bound it.")
    estimated_cost_usd: float | None
    verdict: str
    rules: list[str] = Field(description="Those that decided, each after its policy's id.")
    facts: dict[str, bool | str | None] = Field(description="What each fact that was read said.")
    policy_digest: str
    facts_digest: str
    valid_until: float | None = Field(description="When the first fact that it rests on ends, in s since the epoch.")
    reason: str
    entry: LedgerAnswer | None = None


class PairAnswer(Answer):
    """All that went from one region to another."""

    from_region: str
    to_region: str
    count: int
    bytes: int
    cost_usd: float
    unpriced: int = Field(description="How many have no known price.")


class ReportAnswer(Answer):
    """The ledger of a policy and a period."""

    policy: str | None
    since: float | None
    totals: list[PairAnswer]
    entries: list[LedgerAnswer]


class BreachAnswer(Answer):
    """A region that holds or serves what it may not."""

    kind: str
    name: str
    region_id: str
    why: str
    new: bool = Field(description="Lawful now, and unlawful by the facts that were asked about.")


class CheckAnswer(Answer):
    """What is unlawful, or would be."""

    lawful: bool
    breaches: list[BreachAnswer]


class Data:
    """The endpoints about data."""

    def __init__(self, system: MultiRegionSystem) -> None:
        self._manager = system.region_manager
        self._optimizer = system.optimizer

    def add_to(self, doors: Doors) -> None:
        """Add them to a router."""
        path = "/v1/data"
        doors.add("POST", f"{path}/classify", self.classify, Role.OPERATOR, ClassAnswer, problems=WRITES)
        doors.add("POST", f"{path}/access", self.access, Role.OPERATOR, None, status=204, response_class=Response)
        doors.add("GET", f"{path}/place", self.placed, Role.VIEWER, PlaceAnswer)
        doors.add("POST", f"{path}/place", self.place, Role.OPERATOR, PlaceAnswer, problems=WRITES)
        doors.add("POST", f"{path}/replicate", self.replicate, Role.VIEWER, PlanAnswer, problems=(503,))
        doors.add("GET", f"{path}/transfers", self.transfers, Role.VIEWER, ReportAnswer, problems=(409, 503))
        created = {201: {"model": TransferAnswer, "description": "The transfer is recorded."}}
        doors.add(
            "POST",
            f"{path}/transfers",
            self.transfer,
            Role.OPERATOR,
            TransferAnswer,
            problems=WRITES,
            responses=created,
        )
        doors.add("POST", f"{path}/check", self.check, Role.VIEWER, CheckAnswer)

    async def classify(self, body: ClassifyBody, actor: Actor) -> Mapping[str, Any]:
        """Say whether data is hot or cold, and remember it."""
        storage = body.storage_usd_per_gb_day
        found = await self._optimizer.classify_data(
            body.data_id,
            body.access_frequency,
            mode=body.mode,
            egress_usd_per_gb=body.egress_usd_per_gb,
            storage_usd_per_gb_day=STORAGE_USD_PER_GB_DAY if storage is None else storage,
            actor=actor,
        )
        return {
            "data_id": body.data_id,
            "temperature": str(found),
            "rate_per_day": found.rate_per_day,
            "threshold": found.threshold if found.threshold < float("inf") else None,
            "reason": found.reason,
        }

    async def access(self, body: AccessBody) -> None:
        """Count accesses to data."""
        self._optimizer.record_access(body.data_id, body.region, body.n)

    async def placed(self, data_id: Annotated[DataId, Query()]) -> Mapping[str, Any]:
        """Where data is, and what binds it."""
        bound = self._manager.snapshot().bindings.get(data_id)
        return {
            "data_id": data_id,
            "regions": list(self._manager.holders(data_id)),
            "policy": None if bound is None else bound.policy_id,
            "data_class": None if bound is None else bound.data_class,
            "temperature": self._optimizer.temperature_of(data_id),
            "rates": self._optimizer.access_rates(data_id),
        }

    async def place(self, body: PlaceBody, actor: Actor) -> Mapping[str, Any]:
        """Say where data is, and which policy binds it."""
        if body.regions is not None:
            await self._optimizer.record_placement(body.data_id, body.regions)
        if body.unbind or body.policy is not None or body.data_class is not None:
            await self._bind(body, actor)
        return await self.placed(body.data_id)

    async def _bind(self, body: PlaceBody, actor: str) -> None:
        """Bind the data anew; what is not given stays, unless everything is taken away first."""
        bound = None if body.unbind else self._manager.snapshot().bindings.get(body.data_id)
        policy = body.policy or (bound.policy_id if bound is not None else None)
        data_class = body.data_class or (bound.data_class if bound is not None else None)
        await self._optimizer.assign_policy(body.data_id, policy, data_class=data_class, actor=actor)

    async def replicate(self, body: ReplicateBody) -> Mapping[str, Any]:
        """Which regions shall hold data, among those that may; changes nothing."""
        plan = await self._optimizer.plan_replication(body.data_id, body.strategy, size_bytes=body.size_bytes)
        return {
            "data_id": body.data_id,
            "strategy": plan.strategy.value,
            "regions": list(plan),
            "primary": plan.primary,
            "fallbacks": plan.fallbacks,
            "excluded": dict(plan.excluded),
            "bytes": plan.bytes,
            "estimated_cost_usd": plan.estimated_cost_usd,
            "decisions": dict(plan.decisions),
        }

    async def transfer(self, body: TransferBody, actor: Actor, response: Response) -> Mapping[str, Any]:
        """Decide on a transfer; with `decision_id`, record one that took place.

        A refusal is an answer here, with `permitted` false; recording what is not permitted is refused with 409, and
        the attempt is in the log.
        """
        asked = (body.data_id, body.from_region, body.to_region, body.bytes, body.purpose, body.mechanism)
        decided = await self._optimizer.request_transfer(*asked)
        if body.decision_id is None:
            return {**decided.document(), "entry": None}
        entry = await self._optimizer.record_transfer(*asked, decision_id=body.decision_id, actor=actor)
        response.status_code = 201
        return {**decided.document(), "entry": ledger_document(entry)}

    async def transfers(
        self,
        policy: Annotated[str | None, Query(max_length=63, description="Only those that it bound.")] = None,
        since: Annotated[
            float | None, Query(ge=0, le=1e12, allow_inf_nan=False, description="Seconds since the epoch.")
        ] = None,
    ) -> Mapping[str, Any]:
        """The ledger of transfers, and what went from where to where."""
        found = await self._optimizer.transfer_report(policy, since)
        return {
            "policy": found.policy,
            "since": found.since,
            "totals": [total.document() for total in found.totals],
            "entries": [ledger_document(entry) for entry in found.entries],
        }

    async def check(self, body: CheckBody) -> Mapping[str, Any]:
        """Every placement and service region that is unlawful now, or would be with other facts; changes nothing."""
        found = await self._optimizer.check(body.facts)
        return {"lawful": not found, "breaches": [asdict(breach) for breach in found]}


def ledger_document(entry: LedgerEntry) -> dict[str, Any]:
    """An entry of the ledger as plain data."""
    told = asdict(entry)
    told |= {"from_region": told.pop("source"), "to_region": told.pop("target"), "bytes": told.pop("size")}
    return {**told, "policies": list(entry.policies)}
