"""DataLocalityOptimizer: which policies bind data, where it belongs, what may move, what the law of the day says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Literal

import xxhash

from mahavishnu.integrations.multi_region.core.eligibility import in_force, lawful_decision
from mahavishnu.integrations.multi_region.core.geo import check_number
from mahavishnu.integrations.multi_region.core.lawcheck import Breach, breaches
from mahavishnu.integrations.multi_region.core.model import (
    ComplianceFramework,
    DataPlacementPolicy,
    Fleet,
    RoutingStrategy,
    parse_enum,
)
from mahavishnu.integrations.multi_region.core.placement import (
    STORAGE_USD_PER_GB_DAY,
    Places,
    ReplicationStrategy,
    Targets,
    Temperature,
    break_even,
    copied_bytes,
    places_for,
    plan_targets,
    primary_of,
)
from mahavishnu.integrations.multi_region.core.request import Needs, Request, Use, needs_of
from mahavishnu.integrations.multi_region.core.transfers import (
    LedgerEntry,
    PairTotal,
    Transfer,
    TransferDecision,
    TransferReport,
    check_transfer,
    decide_transfer,
)
from mahavishnu.integrations.multi_region.core.vocabulary import with_facts
from mahavishnu.integrations.multi_region.errors import (
    InvalidInputError,
    NoEligibleRegionError,
    RefusedError,
    UnknownPolicyError,
    nearest_hint,
)
from mahavishnu.integrations.multi_region.facts.law import FactEdits
from mahavishnu.integrations.multi_region.facts.network import region_rtt_ms
from mahavishnu.integrations.multi_region.facts.prices import GB, transfer_usd_per_gb
from mahavishnu.integrations.multi_region.settings import load_settings

from .manager import RegionManager
from .placement import Classification, DataBook, check_data_id
from .router import RegionAwareRouter
from .transfers import Ledger


class OptimalRegion(str):
    """A region's id, with the reason for each region that was left out and the text of the choice."""

    excluded: Mapping[str, str]
    reasoning: str


class ReplicationPlan(list[str]):
    """The regions that shall hold a piece of data, in order of registration; equal to the plain list of their ids.

    ``primary``: where the first copy is. ``fallbacks``: who is next should those be lost, best first. ``excluded``: why
    each other region may hold none. ``bytes``: how much must be copied, None when the size was not told.
    ``estimated_cost_usd``: for that, by list prices; None when size or a price is not known. ``decisions``: the id of
    the lawful decision on each region.
    """

    strategy: ReplicationStrategy
    primary: str
    fallbacks: tuple[str, ...]
    excluded: Mapping[str, str]
    bytes: int | None
    estimated_cost_usd: float | None
    decisions: Mapping[str, str]


class DataLocalityOptimizer:
    """Data placement policies over the regions of a manager.

    ``hot_data_threshold``: accesses a day above which data is hot; None takes the setting of that name.
    """

    def __init__(self, region_manager: RegionManager, *, hot_data_threshold: float | None = None) -> None:
        self.region_manager = region_manager
        if hot_data_threshold is None:
            hot_data_threshold = load_settings().hot_data_threshold
        self._router = RegionAwareRouter(region_manager)
        self._book = DataBook(region_manager, hot_data_threshold)
        self._ledger = Ledger(region_manager)

    # --- policies -----------------------------------------------------------------------------

    @property
    def policies(self) -> Mapping[str, DataPlacementPolicy]:
        """The registered policies by id."""
        return self.region_manager.policies

    async def register_policy(self, policy: DataPlacementPolicy, *, actor: str = "library") -> None:
        """Register or replace a policy; it binds every request that requires all that the policy requires.

        Raises UnknownRegionError, naming the nearest, for a region that is neither registered nor in the catalog;
        InvalidInputError for a fact that nobody keeps, and for rules that no known region can meet. Then the policy
        that stood before still stands.
        """
        await self.region_manager.put_policy(policy, actor=actor)

    async def assign_policy(
        self, data_id: str, policy_id: str | None, *, data_class: str | None = None, actor: str = "library"
    ) -> None:
        """Bind a piece of data to a policy, and say what kind of data it is; None for both takes the binding away.

        Where the data is already is not looked at: ``check`` tells of what is unlawful now. Raises UnknownPolicyError,
        InvalidInputError.
        """
        await self._book.bind(data_id, policy_id, data_class, actor)

    async def find_optimal_region(
        self,
        data_type: str,
        compliance_requirements: Iterable[ComplianceFramework | str] = (),
        user_location: Mapping[str, float] | None = None,
    ) -> OptimalRegion:
        """The region where data of a user at ``user_location`` (degrees) belongs: lawful, in service, nearest.

        ``data_type`` is what rules read as ``data.class``. Raises NoEligibleRegionError with the reason for each region
        when none may hold it.
        """
        context: dict[str, Any] = {
            "compliance_requirements": list(compliance_requirements),
            "data_class": data_type,
        }
        if user_location is not None:
            context["user_location"] = user_location
        found = self._router.explain(context, RoutingStrategy.LATENCY_BASED)
        excluded = {region_id: why.text for region_id, why in found.excluded.items()}
        if found.decision is None:
            self._router.preview(context, RoutingStrategy.LATENCY_BASED)  # raises, with all that it has to say
            raise NoEligibleRegionError(found.refusal or "", excluded, policy_bound=False)
        best = OptimalRegion(found.decision.selected_region)
        best.excluded, best.reasoning = MappingProxyType(excluded), found.decision.reasoning
        return best

    # --- hot and cold -------------------------------------------------------------------------

    def record_access(self, data_id: str, region: str | None = None, n: float = 1) -> None:
        """Count ``n`` accesses to a piece of data, from a region when it is known; writes nothing.

        Raises InvalidInputError, UnknownRegionError.
        """
        self._book.record_access(data_id, region, n)

    def access_rates(self, data_id: str) -> dict[str, float]:
        """Accesses a day from each region that reported any; old ones count less and less (1/e after a day)."""
        return self._book.rates_by_region(data_id)

    async def classify_data(
        self,
        data_id: str,
        access_frequency: float | None = None,
        *,
        mode: Literal["threshold", "cost"] = "threshold",
        egress_usd_per_gb: float | None = None,
        storage_usd_per_gb_day: float = STORAGE_USD_PER_GB_DAY,
        actor: str = "library",
    ) -> Classification:
        """``"hot"`` or ``"cold"``; stored, and read by ``partial`` replication.

        ``access_frequency``: accesses a day; None takes what ``record_access`` was told. Hot data goes cold only below
        80 % of the threshold. ``mode="cost"`` takes as threshold the reads a day from which a copy costs less than
        fetching the data for each read; the prices are per GB of 10^9 bytes, and the size of the data cancels out.
        Without ``egress_usd_per_gb`` it is the mean price from the data's primary region to the others. Raises
        InvalidInputError.
        """
        if mode not in ("threshold", "cost"):
            raise InvalidInputError("mode", mode, nearest_hint(str(mode), ["threshold", "cost"]))
        threshold = None
        if mode == "cost":
            storage = _price(storage_usd_per_gb_day, "storage_usd_per_gb_day")
            threshold = break_even(self._egress(data_id, egress_usd_per_gb), storage)
        return await self._book.classify(data_id, access_frequency, threshold, actor)

    def _egress(self, data_id: str, given: float | None) -> float:
        if given is not None:
            return _price(given, "egress_usd_per_gb")
        fleet = self.region_manager.snapshot()
        source = primary_of(self._places(fleet, data_id), self.region_manager.holders(data_id))
        others = [name for name in fleet.regions if name != source]
        prices = [p for name in others if source and (p := _usd_per_gb(fleet, source, name)) is not None]
        if not prices:
            allowed = f"a price in USD per GB: none is known from {source or 'any region'}"
            raise InvalidInputError("egress_usd_per_gb", None, allowed)
        return sum(prices) / len(prices)

    def temperature_of(self, data_id: str) -> Temperature:
        """Hot or cold by what is known now; what was never classified nor read is cold. Writes nothing."""
        return Temperature.HOT if self._book.is_hot(check_data_id(data_id)) else Temperature.COLD

    # --- where data belongs -------------------------------------------------------------------

    async def record_placement(self, data_id: str, regions: Iterable[str]) -> None:
        """Remember which regions hold a piece of data, the primary first. Raises UnknownRegionError.

        It is what is, not what should be: an unlawful placement is recorded, and ``check`` tells of it.
        """
        await self.region_manager.put_placement(check_data_id(data_id), tuple(regions))

    async def plan_replication(
        self,
        data_id: str,
        replication_strategy: ReplicationStrategy | str = ReplicationStrategy.FULL,
        *,
        size_bytes: int | None = None,
    ) -> ReplicationPlan:
        """Which regions shall hold a piece of data, among those that may lawfully; see ``ReplicationPlan``.

        Without a policy on the data that is every region. Health and drains are not asked. Raises InvalidInputError;
        NoEligibleRegionError with the reason for each region when none may hold it.
        """
        strategy = parse_enum(ReplicationStrategy, replication_strategy, "replication_strategy")
        check_data_id(data_id)
        fleet, held_by = self.region_manager.snapshot(), self.region_manager.holders(data_id)
        places = self._places(fleet, data_id)
        targets = plan_targets(
            places,
            strategy,
            data_id=data_id,
            held_by=held_by,
            hot=self._book.is_hot(data_id),
            hash64=xxhash.xxh3_64_intdigest,
            rtt_ms=region_rtt_ms,
        )
        if targets is None:
            text = "; ".join(f"{name} {why}" for name, why in places.excluded.items())
            message = f"no region may hold {data_id}: {text or 'none may hold its primary copy'}"
            raise NoEligibleRegionError(message, places.excluded, policy_bound=bool(fleet.regions))
        return self._plan(fleet, data_id, strategy, targets, places, held_by or (targets.primary,), size_bytes)

    def _plan(
        self,
        fleet: Fleet,
        data_id: str,
        strategy: ReplicationStrategy,
        targets: Targets,
        places: Places,
        held_by: tuple[str, ...],
        size: int | None,
    ) -> ReplicationPlan:
        if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 0):
            raise InvalidInputError("size_bytes", size, "a whole number of bytes, 0 or more")
        plan = ReplicationPlan(targets.regions)
        plan.strategy, plan.primary, plan.fallbacks = strategy, targets.primary, targets.fallbacks
        plan.excluded = MappingProxyType(dict(places.excluded))
        plan.bytes = copied_bytes(size, targets.regions, held_by)
        source = next((name for name in held_by if name in fleet.regions), targets.primary)
        plan.estimated_cost_usd = _cost(fleet, source, [t for t in targets.regions if t not in held_by], size)
        plan.decisions = MappingProxyType(self._decisions(fleet, data_id))
        return plan

    def _decisions(self, fleet: Fleet, data_id: str) -> dict[str, str]:
        needs = in_force(fleet, replace(self._needs(fleet, data_id), use=Use.COPY))
        subject = f"copy of {data_id!r}"
        return {name: lawful_decision(view, needs, f"{subject} in {name}").id for name, view in fleet.regions.items()}

    def _needs(self, fleet: Fleet, data_id: str) -> Needs:
        return needs_of(fleet, Request(data_id=data_id))

    def _places(self, fleet: Fleet, data_id: str) -> Places:
        return places_for(fleet, self._needs(fleet, data_id))

    # --- what may move ------------------------------------------------------------------------

    async def request_transfer(
        self,
        data_id: str,
        from_region: str,
        to_region: str,
        bytes: int | None,
        purpose: str,
        mechanism: str | None = None,
    ) -> TransferDecision:
        """Whether data may be copied from one region to another; a refusal is an answer, with its rule and reason.

        ``bytes``: how much, None when that is not known yet. ``mechanism``: what a transfer out of a jurisdiction rests
        on (``adequacy``, ``scc``, ``bcr``, ``derogation``, ``other``); rules may ask for it. Writes nothing. Raises
        InvalidInputError, UnknownRegionError.
        """
        transfer = Transfer(check_data_id(data_id), from_region, to_region, purpose, mechanism, bytes)
        for region_id in (from_region, to_region):
            self.region_manager.get_region(region_id)
        check_transfer(transfer)
        fleet = self.region_manager.snapshot()
        decided = decide_transfer(fleet, self._needs(fleet, data_id), transfer)
        return replace(decided, cost_usd=_cost(fleet, from_region, [to_region], bytes))

    async def record_transfer(
        self,
        data_id: str,
        from_region: str,
        to_region: str,
        bytes: int | None,
        purpose: str,
        mechanism: str | None = None,
        *,
        decision_id: str,
        actor: str = "library",
    ) -> LedgerEntry:
        """Enter a transfer that took place into the ledger, under the decision that permitted it.

        The question is decided again: the record counts only while the answer has the id of ``decision_id`` and
        permits. Otherwise RefusedError is raised, and the attempt itself is in the log. Raises what
        ``request_transfer`` raises.
        """
        if bytes is None:
            raise InvalidInputError("bytes", None, "a whole number of bytes, 0 or more")
        decided = await self.request_transfer(data_id, from_region, to_region, bytes, purpose, mechanism)
        if decided.permitted and decided.id == decision_id:
            return await self._ledger.record(decided, bytes, decided.cost_usd, actor)
        why = decided.reason
        if decided.permitted:
            why = "the decision is for another transfer, or policy or facts have changed since: ask again"
        await self._ledger.refuse(decided, bytes, why, actor)
        raise RefusedError("transfer_not_permitted", f"this transfer cannot be recorded: {why}", {to_region: why})

    async def transfer_report(self, policy: str | None = None, since: float | None = None) -> TransferReport:
        """The ledger's entries of one policy (None: of all) since a moment in seconds since the epoch, and their sums.

        Raises UnknownPolicyError only for a policy that is neither registered nor named by any entry.
        """
        found = await self._ledger.report(policy, since)
        if policy is not None and not found.entries and policy not in self.policies:
            raise UnknownPolicyError("policy", policy, nearest_hint(policy, list(self.policies)))
        return found

    def transfer_totals(self) -> list[PairTotal]:
        """What went from each region to each other since the store was made."""
        return self._ledger.totals()

    # --- what if the law changes --------------------------------------------------------------

    async def check(self, facts: Mapping[str, Any] | None = None) -> list[Breach]:
        """Every placement and service region that is unlawful now, or would be with edited facts.

        ``facts``: edits by country, provider and region, see ``docs/data-locality.md``; a breach that they would bring
        about is marked ``new``. Changes nothing. Raises InvalidInputError.
        """
        now = self.region_manager.snapshot()
        then = now
        if facts is not None:
            edits = FactEdits.parse(facts, list(now.regions))
            views = {n: with_facts(v, edits.applied(n, str(v.provider), v.facts)) for n, v in now.regions.items()}
            then = replace(now, regions=MappingProxyType(views))
        return breaches(now, then, self.region_manager.registry.placements)


def _usd_per_gb(fleet: Fleet, source: str, target: str) -> float | None:
    here, there = fleet.regions[source], fleet.regions[target]
    return transfer_usd_per_gb((source, here.provider), (target, there.provider))


def _cost(fleet: Fleet, source: str, targets: list[str], size: int | None) -> float | None:
    """What copying ``size`` bytes to each target costs by list prices; None when size or a price is not known."""
    prices = [_usd_per_gb(fleet, source, target) for target in targets]
    known = [price for price in prices if price is not None]
    return None if size is None or len(known) < len(prices) else sum(known) * size / GB


def _price(value: float, field: str) -> float:
    return check_number(value, field, "a number of USD, 0 or more", lambda v: v >= 0)
