"""DataLocalityOptimizer on a real manager: policies, facts that end, classes, plans, what-if."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.adapters.stores.sqlite import SqliteStore
from mahavishnu.integrations.multi_region.core.events import EventKind
from mahavishnu.integrations.multi_region.core.facts import Attestation
from mahavishnu.integrations.multi_region.core.model import (
    ComplianceFramework,
    DataPlacementPolicy,
    LocalityLevel,
)
from mahavishnu.integrations.multi_region.core.templates import policy_from_template
from mahavishnu.integrations.multi_region.errors import (
    InvalidInputError,
    NoEligibleRegionError,
    UnknownPolicyError,
    UnknownRegionError,
)
from mahavishnu.integrations.multi_region.settings import PREFIX, load_settings
from mahavishnu.integrations.multi_region.shell.locality import DataLocalityOptimizer
from mahavishnu.integrations.multi_region.shell.manager import RegionManager
from mahavishnu.integrations.multi_region.shell.router import RegionAwareRouter
from mahavishnu.integrations.multi_region.testing.builders import region
from tests.shell.data_tools import SetClock, optimizing

GDPR = ComplianceFramework.GDPR
DAY = 86_400.0
CERTIFIED = {"dpf_certified": Attestation(report="DPF-1")}
IN_EEA = {"id": "in", "effect": "allow", "when": {"fact": "region.eea", "is": True}}
NOT_IN_EEA = {"id": "out", "effect": "deny", "when": {"fact": "region.eea", "is": True}}
TYPO = {"id": "a", "effect": "allow", "when": {"fact": "region.eaa", "is": True}}


# --- policies -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"allowed_regions": ["eu-wset-1"]}, UnknownRegionError, "did you mean 'eu-west-1'"),
        ({"allowed_regions": []}, InvalidInputError, "at least one region"),
        ({"rules": [TYPO]}, InvalidInputError, "did you mean 'region.eea'"),
        ({"rules": [IN_EEA, NOT_IN_EEA]}, InvalidInputError, "in and out exclude each other"),
        ({"allowed_regions": ["us-east-1"], "rules": [IN_EEA]}, InvalidInputError, "none can meet in"),
    ],
)
async def test_a_policy_that_is_refused_leaves_the_old_one(
    changes: dict[str, Any], error: type[Exception], says: str
) -> None:
    async with optimizing() as optimizer:
        old = DataPlacementPolicy("p", [GDPR])
        await optimizer.register_policy(old)
        revision = optimizer.region_manager.snapshot().revision
        with pytest.raises(error) as caught:
            await optimizer.register_policy(DataPlacementPolicy("p", **changes))
        assert says in str(caught.value)
        assert optimizer.policies["p"] == old
        assert optimizer.region_manager.snapshot().revision == revision


async def test_rules_attestations_and_bindings_survive_a_restart(tmp_path: Path) -> None:
    stated = {"eu-west-1": {"gdpr": Attestation("R-1", 2e9), "baa_on_file": Attestation()}}
    async with optimizing(stated, store=await SqliteStore.open(str(tmp_path / "state"))) as optimizer:
        await optimizer.register_policy(policy_from_template("eea-only"))
        await optimizer.assign_policy("d", "eea-only", data_class="pan")
        await optimizer.classify_data("d", 50.0)
        before = optimizer.region_manager.snapshot()
        plan = await optimizer.plan_replication("d", "partial")
    async with optimizing(store=await SqliteStore.open(str(tmp_path / "state"))) as optimizer:
        after = optimizer.region_manager.snapshot()
        assert after.policies == before.policies
        assert after.bindings == before.bindings
        assert after.regions["eu-west-1"].facts == before.regions["eu-west-1"].facts
        again = await optimizer.plan_replication("d", "partial")
        assert (again, again.decisions) == (plan, plan.decisions)


async def test_an_attestation_counts_until_the_moment_it_ends() -> None:
    clock = SetClock()
    stated = {"eu-west-1": {"gdpr": Attestation("R-1", clock.date + 60)}}
    async with optimizing(stated, clock=clock) as optimizer:
        assert await optimizer.find_optimal_region("user_data", [GDPR]) == "eu-west-1"
        fleet = optimizer.region_manager.snapshot()
        clock.date += 59
        assert optimizer.region_manager.snapshot() is fleet
        clock.date += 1
        with pytest.raises(NoEligibleRegionError) as caught:
            await optimizer.find_optimal_region("user_data", [GDPR])
        assert caught.value.policy_bound
        assert caught.value.reasons["eu-west-1"] == "gdpr attestation expired on 2027-01-15"


async def test_a_country_that_the_catalog_contradicts_is_no_country() -> None:
    async with optimizing(regions=("eu-west-1",)) as optimizer:
        await optimizer.region_manager.register_region(region("us-east-1", country="DE"))
        await optimizer.register_policy(policy_from_template("eea-only"))
        await optimizer.assign_policy("d", "eea-only")
        plan = await optimizer.plan_replication("d")
        assert plan == ["eu-west-1"]
        assert "its declaration says DE, the catalog of regions says US" in plan.excluded["us-east-1"]


async def test_a_request_for_bound_data_is_served_only_where_its_policy_allows() -> None:
    async with optimizing() as optimizer:
        await optimizer.register_policy(policy_from_template("eea-only"))
        await optimizer.assign_policy("d", "eea-only")
        router = RegionAwareRouter(optimizer.region_manager)
        newyork = {"user_location": {"latitude": 40.7, "longitude": -74.0}}
        assert router.route({**newyork, "data_id": "d"}).selected_region == "eu-west-1"
        assert router.route({**newyork, "data_id": "free"}).selected_region == "us-east-1"
        await optimizer.assign_policy("d", None)
        assert router.route({**newyork, "data_id": "d"}).selected_region == "us-east-1"


async def test_a_rule_may_ask_what_kind_of_data_it_is() -> None:
    elsewhere = {"not": {"fact": "region.country", "is": "US"}}
    rules: Any = [
        {"id": "rest", "effect": "allow", "when": {"always": True}},
        {"id": "cards", "effect": "deny", "when": {"all": [{"fact": "data.class", "is": "pan"}, elsewhere]}},
    ]
    dublin = {"user_location": {"latitude": 53.3, "longitude": -6.2}}
    async with optimizing() as optimizer:
        await optimizer.register_policy(DataPlacementPolicy("cards", [ComplianceFramework.SOC2], rules=rules))
        for data_id, kind in (("a", "pan"), ("b", "log")):
            await optimizer.assign_policy(data_id, "cards", data_class=kind)
        for region_id in ("us-east-1", "us-west-2", "eu-west-1"):
            optimizer.region_manager.get_region(region_id).capabilities.compliance = [ComplianceFramework.SOC2]
        assert await optimizer.plan_replication("a") == ["us-east-1", "us-west-2"]
        assert await optimizer.plan_replication("b") == ["us-east-1", "us-west-2", "eu-west-1"]
        router = RegionAwareRouter(optimizer.region_manager)
        for kind, chosen in (("log", "eu-west-1"), ("pan", "us-east-1"), ("log", "eu-west-1")):
            context = {**dublin, "compliance_requirements": ["soc2"], "data_class": kind}
            assert router.route(context).selected_region == chosen


async def test_a_binding_to_an_unknown_policy_is_refused_with_the_nearest() -> None:
    async with optimizing() as optimizer:
        await optimizer.register_policy(policy_from_template("eea-only"))
        with pytest.raises(UnknownPolicyError, match="did you mean 'eea-only'"):
            await optimizer.assign_policy("d", "eea-onyl")


# --- hot and cold ---------------------------------------------------------------------------------


async def test_hot_data_stays_hot_near_the_threshold_and_only_changes_are_in_the_log() -> None:
    async with optimizing() as optimizer:
        classes = [str(await optimizer.classify_data("d", rate)) for rate in (9, 10, 11, 9, 8, 7, 9)]
        assert classes == ["cold", "cold", "hot", "hot", "hot", "cold", "cold"]
        log = [entry.event for entry in await optimizer.region_manager.journal.last(100)]
        changed = [e.after["class"] for e in log if e.kind is EventKind.DATA_CLASSIFIED and e.after]
        assert changed == ["cold", "hot", "cold"]


async def test_reported_accesses_make_data_hot_and_silence_makes_it_cold() -> None:
    clock = SetClock()
    async with optimizing(clock=clock) as optimizer:
        assert await optimizer.plan_replication("d", "partial") == ["us-east-1"]
        optimizer.record_access("d", "eu-west-1", n=30)
        optimizer.record_access("d")
        assert optimizer.access_rates("d") == {"eu-west-1": pytest.approx(30)}
        assert await optimizer.plan_replication("d", "partial") == ["us-east-1", "us-west-2", "eu-west-1"]
        assert await optimizer.classify_data("d") == "hot"
        clock.date += 3 * DAY
        assert await optimizer.classify_data("d") == "cold"


async def test_a_rate_goes_on_after_a_restart(tmp_path: Path) -> None:
    clock = SetClock()
    async with optimizing(clock=clock, store=await SqliteStore.open(str(tmp_path / "state"))) as optimizer:
        optimizer.record_access("d", n=40)
        assert await optimizer.classify_data("d") == "hot"
    clock.date += DAY
    async with optimizing(clock=clock, store=await SqliteStore.open(str(tmp_path / "state"))) as optimizer:
        found = await optimizer.classify_data("d")
        assert found == "hot"
        assert found.rate_per_day == pytest.approx(40 / 2.71828, rel=1e-3)


async def test_by_cost_data_is_hot_once_a_copy_is_cheaper_than_fetching() -> None:
    async with optimizing() as optimizer:
        prices: dict[str, Any] = {"egress_usd_per_gb": 0.02, "storage_usd_per_gb_day": 0.0008}
        found = await optimizer.classify_data("d", 0.05, mode="cost", **prices)
        assert found == "hot"
        assert found.threshold == pytest.approx(0.04)
        assert await optimizer.classify_data("e", 0.03, mode="cost", egress_usd_per_gb=0.02) == "cold"
        listed = await optimizer.classify_data("f", 0.03, mode="cost")
        assert listed.threshold == pytest.approx(0.023 / 30 / 0.02)
        assert await optimizer.classify_data("g", 1e9, mode="cost", egress_usd_per_gb=0.0) == "cold"


@pytest.mark.parametrize(
    ("call", "field"),
    [
        ({"access_frequency": -1.0}, "access_frequency"),
        ({"access_frequency": float("nan")}, "access_frequency"),
        ({"mode": "price"}, "mode"),
        ({"mode": "cost", "egress_usd_per_gb": -1.0}, "egress_usd_per_gb"),
        ({"data_id": ""}, "data_id"),
        ({"data_id": "a\nb"}, "data_id"),
    ],
)
async def test_bad_input_to_a_classification_changes_nothing(call: dict[str, Any], field: str) -> None:
    async with optimizing() as optimizer:
        revision = optimizer.region_manager.registry.revision
        with pytest.raises(InvalidInputError) as caught:
            await optimizer.classify_data(**{"data_id": "d", **call})
        assert caught.value.field == field
        assert optimizer.region_manager.registry.revision == revision


async def test_accesses_that_are_none_are_refused() -> None:
    async with optimizing() as optimizer:
        for n in (0, -1, float("inf"), True):
            with pytest.raises(InvalidInputError):
                optimizer.record_access("d", n=n)
        with pytest.raises(UnknownRegionError):
            optimizer.record_access("d", "us-esat-1")
        assert optimizer.access_rates("d") == {}


# --- plans ----------------------------------------------------------------------------------------


async def test_a_plan_says_who_is_left_out_how_much_moves_and_what_it_costs() -> None:
    hipaa = {"hipaa": Attestation()}
    async with optimizing({"us-west-2": hipaa, "us-east-1": hipaa}) as optimizer:
        await optimizer.register_policy(DataPlacementPolicy("phi", [ComplianceFramework.HIPAA]))
        await optimizer.assign_policy("d", "phi")
        await optimizer.record_placement("d", ["us-west-2"])
        plan = await optimizer.plan_replication("d", "full", size_bytes=5_000_000_000)
        assert plan == ["us-east-1", "us-west-2"]
        assert (plan.primary, plan.fallbacks) == ("us-west-2", ("us-east-1",))
        assert plan.excluded == {"eu-west-1": "lacks hipaa"}
        assert plan.bytes == 5_000_000_000
        assert plan.estimated_cost_usd == pytest.approx(0.1)
        assert len({plan.decisions[name] for name in ("us-east-1", "us-west-2", "eu-west-1")}) == 3


async def test_a_price_that_nobody_knows_is_not_made_up() -> None:
    async with optimizing(regions=("us-east-1", "rack")) as optimizer:
        await optimizer.record_placement("d", ["rack"])
        plan = await optimizer.plan_replication("d", size_bytes=10)
        assert (plan.bytes, plan.estimated_cost_usd) == (10, None)
        assert (await optimizer.plan_replication("d")).bytes is None


async def test_copies_of_level_region_may_cross_and_the_primary_may_not() -> None:
    crossing = DataPlacementPolicy("p", (), ["eu-west-1"], LocalityLevel.REGION, cross_region_transfer=True)
    async with optimizing() as optimizer:
        await optimizer.register_policy(crossing)
        await optimizer.assign_policy("d", "p")
        plan = await optimizer.plan_replication("d")
        assert (plan, plan.primary) == (["us-east-1", "us-west-2", "eu-west-1"], "eu-west-1")
        assert await optimizer.plan_replication("d", "sharded") == ["eu-west-1"]


async def test_data_that_no_region_may_hold_is_refused_with_each_reason() -> None:
    async with optimizing() as optimizer:
        await optimizer.register_policy(DataPlacementPolicy("p", [GDPR]))
        await optimizer.assign_policy("d", "p")
        with pytest.raises(NoEligibleRegionError) as caught:
            await optimizer.plan_replication("d")
        assert caught.value.reasons == dict.fromkeys(("us-east-1", "us-west-2", "eu-west-1"), "lacks gdpr")
        with pytest.raises(InvalidInputError, match="did you mean 'sharded'"):
            await optimizer.plan_replication("d", "shraded")


# --- what if --------------------------------------------------------------------------------------


async def test_if_an_adequacy_decision_falls_all_that_rests_on_it_is_listed() -> None:
    async with optimizing({"us-east-1": CERTIFIED}) as optimizer:
        await optimizer.register_policy(policy_from_template("eea-plus-adequate", policy_id="eu"))
        await optimizer.assign_policy("d", "eu")
        await optimizer.record_placement("d", ["eu-west-1", "us-east-1"])
        assert await optimizer.check() == []
        (found,) = await optimizer.check({"countries": {"US": {"adequacy.eu": "no"}}})
        assert (found.kind, found.name, found.region_id, found.new) == ("placement", "d", "us-east-1", True)
        (found,) = await optimizer.check({"regions": {"us-east-1": {"dpf_certified": None}}})
        assert "dpf_certified is not known" in found.why
        assert await optimizer.check() == []


async def test_an_attestation_may_be_taken_away_on_trial() -> None:
    async with optimizing({"eu-west-1": {"gdpr": Attestation()}}) as optimizer:
        await optimizer.register_policy(DataPlacementPolicy("p", [GDPR]))
        await optimizer.assign_policy("d", "p")
        await optimizer.record_placement("d", ["eu-west-1"])
        (found,) = await optimizer.check({"regions": {"eu-west-1": {"attestation.gdpr": None}}})
        assert (found.region_id, found.why, found.new) == ("eu-west-1", "lacks gdpr", True)


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"country": {}}, "did you mean 'countries'"),
        ({"countries": {"UX": {}}}, "one of"),
        ({"countries": {"US": {"adequcy.eu": "no"}}}, "did you mean 'adequacy.eu'"),
        ({"countries": {"US": {"region.eea": "no"}}}, "true or false for region.eea"),
        ({"regions": {"us-esat-1": {}}}, "did you mean 'us-east-1'"),
        ({"providers": {"asw": {}}}, "did you mean 'aws'"),
        ({"providers": []}, "a mapping"),
    ],
)
async def test_edited_facts_that_nobody_knows_are_refused(facts: dict[str, Any], says: str) -> None:
    async with optimizing() as optimizer:
        with pytest.raises(InvalidInputError) as caught:
            await optimizer.check(facts)
        assert says in str(caught.value)


async def test_what_is_hot_is_by_the_managers_threshold_and_not_by_the_environments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    manager = RegionManager(settings=load_settings({PREFIX + "HOT_DATA_THRESHOLD": "3"}))
    monkeypatch.setenv(PREFIX + "HOT_DATA_THRESHOLD", "not a number")
    optimizer = DataLocalityOptimizer(manager)
    assert await optimizer.classify_data("d", access_frequency=4) == "hot"
    assert await optimizer.classify_data("e", access_frequency=3) == "cold"
