"""DataLocalityOptimizer: which policies bind data, where it belongs, what may move, what the law of the day says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Literal

from mahavishnu.integrations.multi_region.core.figures import check_number
from mahavishnu.integrations.multi_region.core.lawcheck import Breach, breaches
from mahavishnu.integrations.multi_region.core.model import (
    ComplianceFramework,
    DataPlacementPolicy,
    RoutingStrategy,
    parse_enum,
)
from mahavishnu.integrations.multi_region.core.placement import (
    STORAGE_USD_PER_GB_DAY,
    ReplicationStrategy,
    Temperature,
    break_even,
    primary_of,
)
from mahavishnu.integrations.multi_region.core.request import Request, needs_of
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
    UnknownPolicyError,
    nearest_hint,
)
from mahavishnu.integrations.multi_region.facts.law import FactEdits
from mahavishnu.integrations.multi_region.facts.prices import copies_usd, mean_usd_per_gb

from .manager import RegionManager
from .placement import Classification, DataBook, check_data_id
from .replication import ReplicationPlan, places_of, plan_copies
from .router import RegionAwareRouter
from .transfers import Ledger


class OptimalRegion(str):
    """A region's id, with the reason for each region that was left out and the text of the choice."""

    excluded: Mapping[str, str]
    reasoning: str


class DataLocalityOptimizer:
    """Data placement policies over the regions of a manager.

    ``hot_data_threshold``: accesses a day above which data is hot; None takes what the manager was built with.
    """

    def __init__(self, region_manager: RegionManager, *, hot_data_threshold: float | None = None) -> None:
        self.region_manager = region_manager
        threshold = region_manager.hot_data_threshold if hot_data_threshold is None else hot_data_threshold
        self._router = RegionAwareRouter(region_manager)
        self._book = DataBook(region_manager, threshold)
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
        if found.decision is None:
            raise found.error()
        excluded = {region_id: why.text for region_id, why in found.excluded.items()}
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
        """Accesses a day by region, for those that reported any; old ones count less and less (1/e after a day)."""
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
        source = primary_of(places_of(fleet, data_id), self.region_manager.holders(data_id))
        price = mean_usd_per_gb(fleet, source) if source else None
        if price is None:
            allowed = f"a price in USD per GB: none is known from {source or 'any region'}"
            raise InvalidInputError("egress_usd_per_gb", None, allowed)
        return price

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
        hot = self._book.is_hot(check_data_id(data_id))
        held_by = self.region_manager.holders(data_id)
        return plan_copies(self.region_manager.snapshot(), data_id, strategy, held_by, hot, size_bytes)

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
        decided = decide_transfer(fleet, needs_of(fleet, Request(data_id=data_id)), transfer)
        return replace(decided, cost_usd=copies_usd(fleet, from_region, [to_region], bytes))

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
        return await self._ledger.settle(decided, decision_id, bytes, actor)

    async def transfer_report(self, policy: str | None = None, since: float | None = None) -> TransferReport:
        """The ledger's entries of one policy (None: of all) since a moment in seconds since the epoch, and their sums.

        Raises UnknownPolicyError only for a policy that is neither registered nor named by any entry.
        """
        found = await self._ledger.report(policy, since)
        if policy is not None and not found.entries and policy not in self.policies:
            raise UnknownPolicyError("policy", policy, nearest_hint(policy, list(self.policies)))
        return found

    def transfer_totals(self) -> list[PairTotal]:
        """What went from each region to each other since the store was made, in bytes: one entry for each pair."""
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


def _price(value: float, field: str) -> float:
    return check_number(value, field, "a number of USD, 0 or more", lambda v: v >= 0)
