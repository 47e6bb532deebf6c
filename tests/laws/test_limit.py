"""Blast radius, failing static and the operator's word, L9 to L11, by their names.

Everything goes through the real manager, router and failure handler, in virtual time; corner cases are tested
beside their code.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mahavishnu.integrations.multi_region.adapters.stores.sqlite import SqliteStore
from mahavishnu.integrations.multi_region.core.events import EventKind
from mahavishnu.integrations.multi_region.core.model import (
    Phase,
    SafetyLimits,
)
from mahavishnu.integrations.multi_region.core.safety import LIFTABLE
from mahavishnu.integrations.multi_region.errors import (
    FailoverRefusedError,
    InvalidInputError,
)
from mahavishnu.integrations.multi_region.testing.builders import policy, region, service
from mahavishnu.integrations.multi_region.testing.failing_store import FailingStore
from mahavishnu.integrations.multi_region.testing.stage import Stage
from tests.laws.worlds import (
    DE,
    EU,
    FIVE,
    JP,
    US,
    USW,
    glass,
)

# --- L9: blast radius ------------------------------------------------------------------------------


async def test_L9_automation_removes_no_more_than_its_share_within_the_window() -> None:
    limits = SafetyLimits(max_removed=0.5, window_s=300.0, blind_share=1.0)
    async with Stage.of(*FIVE, limits=limits) as stage:
        await stage.pass_time(60)
        for region_id in FIVE[:4]:
            stage.fail(region_id)
            await stage.pass_time(25)
        assert stage.serving() == {EU, DE, JP}
        held = {r: stage.view(r).held for r in (EU, DE)}
        assert all(text is not None and "at most 50 % may" in text for text in held.values())
        assert stage.count(EventKind.SAFETY_HELD) == 2
        await stage.pass_time(300)
        assert stage.serving() < {EU, DE, JP}
        assert stage.count(EventKind.SAFETY_RELEASED) >= 1


async def test_L9_the_last_serving_region_stays_whatever_the_probes_say() -> None:
    async with Stage.of(US, USW, EU, limits=SafetyLimits(window_s=10.0, blind_share=1.0)) as stage:
        await stage.pass_time(60)
        for region_id in (US, USW, EU):
            stage.fail(region_id)
            await stage.pass_time(60)
        await stage.pass_time(3600)
        assert stage.serving() == {EU}
        decision = stage.router.route({})
        assert decision.selected_region == EU
        assert "kept in service by safety" in decision.reasoning
        assert stage.view(EU).phase is Phase.DOWN


async def test_L9_a_service_is_never_emptied_though_other_regions_serve_others() -> None:
    async with Stage.of(*FIVE, limits=SafetyLimits(window_s=10.0, blind_share=1.0)) as stage:
        await stage.manager.put_service(service("api", US, USW))
        await stage.pass_time(60)
        for region_id in (US, USW):
            stage.fail(region_id)
            await stage.pass_time(60)
        await stage.pass_time(3600)
        assert stage.serving(service="api") == {USW}
        assert stage.count(EventKind.SAFETY_HELD, USW) == 1


async def test_L9_a_held_region_is_recorded_and_let_go_when_it_is_well() -> None:
    async with Stage.of(US, USW, limits=SafetyLimits(window_s=10.0, blind_share=1.0)) as stage:
        await stage.pass_time(60)
        for region_id in (US, USW):
            stage.fail(region_id)
            await stage.pass_time(60)
        stage.recover(USW)
        await stage.pass_time(200)
        assert stage.tells(USW)[2:] == ["health.changed", "safety.held", "safety.released", "health.changed"] or (
            stage.tells(USW)[2:] == ["health.changed", "safety.held", "health.changed", "safety.released"]
        )
        assert stage.view(USW).held is None


async def test_L9_removals_that_come_together_do_not_go_by_the_same_count() -> None:
    async with Stage.of(US, USW, EU, probed=False) as stage:
        removals = [stage.manager.drain(r, by="ada", reason="x") for r in (US, USW)]
        removals.append(stage.handler.failover_to(EU, US, reason="x"))  # type: ignore[arg-type]  # any of them
        results = await asyncio.gather(*removals, return_exceptions=True)
        assert sum(isinstance(result, FailoverRefusedError) for result in results) == 1
        assert len(stage.serving()) == 1


async def test_L9_beyond_its_limits_automation_freezes_and_so_does_an_operators_word() -> None:
    async with Stage.of(US, USW, EU) as stage:
        await stage.pass_time(60)
        await stage.manager.freeze(by="ada", reason="the checks lie")
        stage.fail(US)
        await stage.pass_time(600)
        assert stage.serving() == {US, USW, EU}
        assert stage.count(EventKind.FAILOVER_COMPLETED) == 0
        await stage.manager.unfreeze(by="ada")
        await stage.pass_time(5)
        assert stage.serving() == {USW, EU}
        assert stage.count(EventKind.FAILOVER_COMPLETED) == 1


# --- L10: fail static ------------------------------------------------------------------------------


async def test_L10_when_all_checks_fail_at_once_the_last_good_state_is_held() -> None:
    async with Stage.of(*FIVE) as stage:
        await stage.pass_time(60)
        before = {r: stage.router.route({}, "round_robin").selected_region for r in FIVE}
        stage.fail(*FIVE)
        await stage.pass_time(7200)
        assert {r: stage.router.route({}, "round_robin").selected_region for r in FIVE} == before
        assert stage.manager.get_stats()["observer_blind"]


async def test_L10_without_the_store_decisions_and_verdicts_go_on_and_are_recorded_later() -> None:
    store = FailingStore()
    async with Stage.of(US, USW, EU, store=store) as stage:
        await stage.pass_time(60)
        store.lose()
        recorded = len(stage.events)
        stage.fail(US)
        await stage.pass_time(60)
        assert stage.serving() == {USW, EU}
        assert stage.router.route({}).selected_region in {USW, EU}
        assert stage.manager.get_stats()["store_lost"] == "the store is lost"
        assert len(stage.events) == recorded
        at = stage.clock.now()
        store.find()
        await stage.pass_time(30)
        later = stage.events[recorded:]
        assert [(e.kind.value, e.subject) for e in later] == [
            ("health.changed", US),
            ("failover.completed", US),
        ]
        assert later[0].at < at, "the event tells when it happened, not when it could be written"
        assert stage.manager.get_stats()["store_lost"] is None
        assert await stage.manager.journal.verify() == len(stage.events)


async def test_L10_an_answer_that_was_lost_on_the_way_breaks_nothing() -> None:
    store = FailingStore(applied_when_lost=True)
    async with Stage.of(US, USW, EU, store=store) as stage:
        await stage.pass_time(60)
        store.lose()
        stage.fail(US)
        await stage.pass_time(60)
        store.find()
        await stage.pass_time(60)
        assert stage.serving() == {USW, EU}
        assert await stage.manager.journal.verify() >= len(stage.events)
        stage.recover(US)
        await stage.pass_time(120)
        assert stage.serving() == {US, USW, EU}


# --- L11: the operator's word stands ---------------------------------------------------------------


async def test_L11_a_drain_survives_failover_recovery_and_restart(tmp_path: Path) -> None:
    place = tmp_path / "world.db"
    async with Stage.of(US, USW, EU, store=await SqliteStore.open(place), probed=False) as stage:
        await stage.manager.drain(US, by="ada", reason="new kernel")
        await stage.handler.handle_region_failure(US, "it is down too")
        await stage.handler.recover_region(US)
        assert stage.serving() == {USW, EU}
        await stage.handler.handle_region_failure(USW, "fire")
        assert stage.serving() == {EU}
    async with Stage.of(store=await SqliteStore.open(place), probed=False) as again:
        assert again.serving() == {EU}
        drain = again.manager.registry.drains[US]
        assert (drain.by, drain.reason) == ("ada", "new kernel")
        assert again.view(USW).failed_over == "fire"
        again.requests(EU, failed=10)
        await again.pass_time(1)
        assert again.serving() == {EU}, "neither a drained nor a failed over region is brought back by need"
        await again.manager.undrain(US, by="ada", reason="done")
        assert US in again.serving()
        assert await again.manager.journal.verify() == await again.manager.journal.verify()


async def test_L11_a_drain_survives_the_probes_and_automatic_failback() -> None:
    async with Stage.of(US, USW, EU) as stage:
        await stage.pass_time(60)
        await stage.manager.drain(US, by="ada", reason="x")
        stage.fail(US)
        await stage.pass_time(60)
        stage.recover(US)
        await stage.pass_time(600)
        assert stage.serving() == {USW, EU}
        assert stage.phase(US) is Phase.HEALTHY


async def test_L11_break_glass_names_one_rule_one_person_a_reason_and_an_end_and_is_audited() -> None:
    async with Stage.of(US, probed=False) as stage:
        override = glass(stage, "min_serving", for_s=60.0)
        await stage.manager.drain(US, by="bob", reason="evacuate", override=override)
        used = [event for event in stage.events if event.kind is EventKind.OVERRIDE_USED]
        assert [(e.subject, e.actor, e.reason, e.details["rule"], e.details["expires_at"]) for e in used] == [
            (US, "ada", "by order of the incident lead", "min_serving", override.expires_at)
        ]
        await stage.manager.undrain(US, by="bob")
        await stage.pass_time(60)
        with pytest.raises(InvalidInputError, match="expires_at"):
            await stage.manager.drain(US, by="bob", reason="again", override=override)
        assert stage.serving() == {US}


@pytest.mark.parametrize("rule", ["target", "policy", "policy_bound_exhaustion", "law", "max_removed"])
async def test_L11_law_cannot_be_lifted(rule: str) -> None:
    async with Stage.of(region(EU, compliance=["gdpr"]), US, USW, probed=False) as stage:
        with pytest.raises(InvalidInputError, match=r"override\.rule"):
            glass(stage, rule)
    async with Stage.of(region(EU, compliance=["gdpr"]), US, USW, probed=False) as stage:
        await stage.manager.put_policy(policy("eu", require=["gdpr"]))
        await stage.manager.put_service(service("api", policy="eu"))
        for liftable in LIFTABLE:
            with pytest.raises(FailoverRefusedError):
                await stage.handler.failover_to(EU, US, override=glass(stage, liftable.value))
        assert stage.serving(service="api") == {EU}
