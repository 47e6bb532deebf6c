"""Fencing, failback, reasons and the audit, L13 to L19, by their names.

Everything goes through the real manager, router and failure handler, in virtual time; corner cases are tested
beside their code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from mahavishnu.integrations.multi_region.adapters.stores.sqlite import SqliteStore
from mahavishnu.integrations.multi_region.core.eligibility import Reason
from mahavishnu.integrations.multi_region.core.events import EventKind
from mahavishnu.integrations.multi_region.core.intent import (
    region_document,
)
from mahavishnu.integrations.multi_region.core.model import (
    FailbackMode,
    Fleet,
    RoutingStrategy,
    SafetyLimits,
)
from mahavishnu.integrations.multi_region.core.ranking import RankInput
from mahavishnu.integrations.multi_region.core.routing import explain
from mahavishnu.integrations.multi_region.errors import (
    StaleRevisionError,
)
from mahavishnu.integrations.multi_region.testing.builders import policy, region, service, world
from mahavishnu.integrations.multi_region.testing.failing_store import FailingStore
from mahavishnu.integrations.multi_region.testing.stage import Stage
from tests.laws.worlds import (
    EU,
    US,
    USW,
    fleets,
    requests,
)

# --- L13, for one store: a stale writer is refused -------------------------------------------------


async def test_L13_a_controller_that_does_not_know_the_newest_change_can_write_over_nothing() -> None:
    shared, lagging = FailingStore(), FailingStore()
    lagging.inner = shared.inner
    async with Stage.of(US, USW, store=shared, probed=False) as stage:
        stale = Stage.of(store=lagging, probed=False, clock=stage.clock)
        async with stale as other:
            lagging.lose()
            await stage.pass_time(1)
            await stage.manager.update_region(region(US, name="newer"))
            lagging._lost.clear()
            with pytest.raises(StaleRevisionError):
                await other.manager.update_region(region(US, name="older"))
            assert stage.view(US).name == "newer"
            await stage.pass_time(5)
            assert other.view(US).name == "newer"


# --- L17: failback is a choice ---------------------------------------------------------------------


async def test_L17_manual_services_stay_away_and_automatic_ones_return() -> None:
    async with Stage.of(US, USW, EU) as stage:
        await stage.manager.put_service(service("active", US, USW))
        await stage.manager.put_service(service("passive", US, USW, passive=True))
        await stage.manager.put_service(service("by-hand", failback=FailbackMode.MANUAL))
        await stage.manager.put_service(service("at-night", failback=FailbackMode.SCHEDULED))
        await stage.pass_time(60)
        stage.fail(US)
        await stage.pass_time(60)
        assert not any(US in stage.serving(service=s) for s in ("active", "passive", "by-hand", "at-night"))
        stage.recover(US)
        await stage.pass_time(600)
        returned = {s: US in stage.serving(service=s) for s in ("active", "passive", "by-hand", "at-night")}
        assert returned == {"active": True, "passive": False, "by-hand": False, "at-night": False}
        assert US in stage.serving()
        recovered = [e for e in stage.events if e.kind is EventKind.REGION_RECOVERED]
        assert [e.details["waiting"] for e in recovered] == [["at-night", "by-hand", "passive"]]
        await stage.handler.recover_region(US, by="ada", reason="checked")
        assert all(US in stage.serving(service=s) for s in returned)


async def test_L17_what_a_person_moved_away_comes_back_by_a_persons_word_alone() -> None:
    async with Stage.of(US, USW, EU) as stage:
        await stage.pass_time(60)
        await stage.handler.failover_to(US, EU, reason="maintenance")
        stage.fail(US)
        await stage.pass_time(60)
        stage.recover(US)
        await stage.pass_time(3600)
        assert stage.serving() == {USW, EU}
        await stage.handler.recover_region(US, by="ada")
        assert stage.serving() == {US, USW, EU}


async def test_L17_manual_services_stay_away_across_a_restart(tmp_path: Path) -> None:
    place = tmp_path / "world.db"
    async with Stage.of(US, USW, EU, store=await SqliteStore.open(place), probed=False) as stage:
        await stage.manager.put_service(service("by-hand", failback=FailbackMode.MANUAL))
        await stage.handler.handle_region_failure(US, "fire")
    async with Stage.of(store=await SqliteStore.open(place), probed=False) as again:
        assert US not in again.serving(service="by-hand")


# --- L18: explained --------------------------------------------------------------------------------


@given(st.data(), fleets(), st.sampled_from(RoutingStrategy))
def test_L18_every_region_that_is_left_out_has_a_code_and_a_text(
    data: Any, world: Fleet, strategy: RoutingStrategy
) -> None:
    request = data.draw(requests(world))
    told = explain(world, request, strategy, RankInput(location=request.location), 0)
    assert {one.region_id for one in told.eligible} | set(told.excluded) == set(world.regions)
    assert not {one.region_id for one in told.eligible} & set(told.excluded)
    for why in told.excluded.values():
        assert isinstance(why.code, Reason)
        assert why.text
    if told.decision is None:
        assert told.refusal
        assert all(name in told.refusal for name in world.regions)
    else:
        assert told.decision.reasoning
        assert told.decision.revision == world.revision


# --- L19: audited ----------------------------------------------------------------------------------


async def test_L19_every_change_of_intent_and_every_shift_is_an_event_with_before_and_after() -> None:
    async with Stage.of(probed=False) as stage:
        manager, handler = stage.manager, stage.handler
        await manager.register_region(region(US), actor="ada")
        await manager.register_region(region(USW), actor="ada")
        await manager.update_region(region(US, name="renamed"), actor="ada")
        await manager.put_policy(policy("p"), actor="ada")
        await manager.put_policy(policy("p", require=[]), actor="ada")
        await manager.put_service(service("api"), actor="ada")
        await manager.put_service(service("api", priority=5), actor="ada")
        await manager.remove_service("api", actor="ada")
        await manager.drain(US, by="ada", reason="x")
        await manager.undrain(US, by="ada")
        await manager.freeze(by="ada", reason="x")
        await manager.unfreeze(by="ada")
        await handler.failover_to(US, USW, by="ada", reason="x")
        await handler.recover_region(US, by="ada")
        await manager.apply(world(region(USW), limits=SafetyLimits(min_serving=2)), actor="ada")
        told = [(e.kind.value, e.before is not None, e.after is not None) for e in stage.events]
        assert told == [
            ("region.registered", False, True),
            ("region.registered", False, True),
            ("region.updated", True, True),
            ("policy.registered", False, True),
            ("service.declared", False, True),
            ("service.declared", True, True),
            ("service.removed", True, False),
            ("drain.completed", False, True),
            ("drain.lifted", True, False),
            ("automation.frozen", False, True),
            ("automation.unfrozen", True, False),
            ("failover.completed", False, True),
            ("region.recovered", True, False),
            ("limits.changed", False, True),
            ("policy.removed", True, False),
            ("region.removed", True, False),
        ]
        assert {e.actor for e in stage.events} == {"ada"}
        assert await manager.journal.verify() == len(told)


async def test_L19_what_is_told_after_is_what_stands() -> None:
    async with Stage.of(US, USW, probed=False) as stage:
        await stage.manager.update_region(region(US, cost_multiplier=3.0))
        registered, updated = (e for e in stage.events if e.subject == US)
        assert updated.before == registered.after
        assert updated.after == region_document(stage.manager.regions[US])


async def test_L19_a_log_that_somebody_touched_does_not_verify() -> None:
    store = FailingStore()
    async with Stage.of(US, USW, store=store, probed=False) as stage:
        assert await stage.manager.journal.verify() == 2
        loaded = await store.load("events/")
        key, entry = next(iter(loaded.entries.items()))
        await store.commit({key: entry.value.replace("us-east-1", "eu-east-1")})
        with pytest.raises(Exception, match="event 2: does not follow"):
            await stage.manager.journal.verify()
