"""FailureHandler: traffic is moved once, within the rules, on record, and given back when and to whom it may be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.core.events import EventKind
from mahavishnu.integrations.multi_region.core.failover import FailoverPlan, FailoverStrategy, Refusal
from mahavishnu.integrations.multi_region.core.model import FailbackMode, Phase
from mahavishnu.integrations.multi_region.core.overrides import BreakGlass
from mahavishnu.integrations.multi_region.errors import (
    FailoverRefusedError,
    InvalidInputError,
    RefusedError,
    UnavailableError,
    UnknownRegionError,
)
from mahavishnu.integrations.multi_region.settings import PREFIX, load_settings
from mahavishnu.integrations.multi_region.shell.failure import FailureHandler
from mahavishnu.integrations.multi_region.shell.manager import RegionManager
from mahavishnu.integrations.multi_region.testing.builders import region, service
from mahavishnu.integrations.multi_region.testing.failing_store import FailingStore
from mahavishnu.integrations.multi_region.testing.stage import CHECK, Stage
from mahavishnu.integrations.multi_region.testing.virtual_clock import VirtualClock

US, USW, EU = "us-east-1", "us-west-2", "eu-west-1"


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with Stage.of(region(US, current_capacity=30), USW, EU, probed=False) as made:
        yield made


@pytest.fixture
async def probed() -> AsyncIterator[Stage]:
    async with Stage.of(region(US, current_capacity=30), USW, EU) as made:
        await made.pass_time(30)
        yield made


# --- on request ----------------------------------------------------------------------------------


async def test_the_specs_example(stage: Stage) -> None:
    event = await stage.handler.handle_region_failure(failed_region=US, reason="Health check failed")
    assert (event.from_region, event.to_region, event.reason) == (US, USW, "Health check failed")
    assert event.duration_ms >= 0
    assert stage.serving() == {USW, EU}
    stage.manager.regions[US].health_score = 95.0
    await stage.handler.recover_region(US)
    assert stage.serving() == {US, USW, EU}
    assert stage.tells(US) == ["region.registered", "failover.completed", "region.recovered"]


@pytest.mark.parametrize("strategy", ["immediate", "graceful", FailoverStrategy.IMMEDIATE, "GRACEFUL"])
async def test_a_failover_to_a_named_target(stage: Stage, strategy: Any) -> None:
    moving = asyncio.create_task(stage.handler.failover_to(US, EU, strategy=strategy, reason="Planned maintenance"))
    await stage.pass_time(5)
    event = await moving
    assert (event.to_region, event.cause) == (EU, "operator")
    assert stage.serving() == {USW, EU}
    record = stage.events[-1]
    assert (record.kind, record.subject, record.actor) == ("failover.completed", US, "operator")
    assert record.details["to"] == EU


async def test_graceful_waits_until_the_region_is_idle_or_the_time_is_up(stage: Stage) -> None:
    moving = asyncio.create_task(stage.handler.failover_to(US, EU, strategy="graceful"))
    await stage.pass_time(1)
    assert not moving.done()
    assert stage.serving() == {USW, EU}, "new requests go elsewhere from the start"
    stage.manager.report_load(US, 0)
    await stage.pass_time(0.1)
    assert moving.done()
    busy = asyncio.create_task(stage.handler.failover_to(EU, USW, strategy="graceful"))
    await stage.pass_time(2.1)
    assert busy.done()
    assert 900 <= (await moving).duration_ms <= 1200
    assert 1900 <= (await busy).duration_ms <= 2200


async def test_graceful_waits_for_the_last_request(stage: Stage) -> None:
    moving = asyncio.create_task(stage.handler.failover_to(US, EU, strategy="graceful"))
    stage.manager.report_load(US, 1)
    await stage.pass_time(1)
    assert not moving.done()
    stage.manager.report_load(US, 0)
    await stage.pass_time(0.1)
    assert moving.done()


async def test_the_moved_load_is_counted_where_it_is_and_given_back(stage: Stage) -> None:
    await stage.handler.handle_region_failure(US, "x")
    assert {name: view.load for name, view in stage.manager.snapshot().regions.items()} == {US: 0, USW: 30, EU: 0}
    await stage.handler.recover_region(US)
    assert {name: view.load for name, view in stage.manager.snapshot().regions.items()} == {US: 30, USW: 0, EU: 0}


async def test_a_failover_that_is_repeated_owes_what_both_have_moved(stage: Stage) -> None:
    await stage.handler.failover_to(US, EU)
    stage.manager.report_load(US, 12)
    await stage.handler.failover_to(US, USW)
    assert stage.manager.registry.failures[US].moved == {EU: 30, USW: 12}
    first, second = (event for event in stage.events if event.kind is EventKind.FAILOVER_COMPLETED)
    assert (first.before, second.before) == (None, first.after)
    await stage.handler.recover_region(US)
    assert {name: view.load for name, view in stage.manager.snapshot().regions.items()} == {US: 42, USW: 0, EU: 0}


async def test_who_took_load_and_was_removed_since_gives_nothing_back(stage: Stage) -> None:
    await stage.handler.handle_region_failure(US, "x")
    await stage.manager.unregister_region(USW)
    await stage.handler.recover_region(US)
    assert {name: view.load for name, view in stage.manager.snapshot().regions.items()} == {US: 0, EU: 0}


async def test_a_region_that_failed_is_left_even_where_the_others_have_no_room_for_all(stage: Stage) -> None:
    for name in (USW, EU):
        stage.manager.report_load(name, 80)
    event = await stage.handler.handle_region_failure(US, "x")
    assert event.shed == pytest.approx(1 / 3)
    assert stage.serving() == {USW, EU}


async def test_a_failover_that_every_edge_lags_behind_is_on_record_as_that() -> None:
    async with Stage.of(US, USW, EU, probed=False, edges=["edge-a"]) as stage:
        stage.plane.holding = {"edge-a"}
        moving = asyncio.create_task(stage.handler.failover_to(US, EU))
        await stage.pass_time(6)
        event = await moving
        assert (event.acknowledged_at, event.acknowledged_by, event.lagging) == (None, (), ("edge-a",))
        assert stage.events[-1].kind is EventKind.FAILOVER_ACKNOWLEDGED


async def test_a_closed_handler_waits_for_no_edge() -> None:
    async with Stage.of(US, USW, EU, edges=["edge-a"]) as stage:
        await stage.pass_time(30)
        stage.plane.holding = {"edge-a"}
        stage.fail(US)
        while not stage.count(EventKind.FAILOVER_COMPLETED, US):
            await stage.pass_time(1)
        waiting = [task for task in asyncio.all_tasks() if task.get_name() == f"failover of {US}"]
        await stage.handler.close()
        assert [task.cancelled() for task in waiting] == [True]


async def test_the_end_of_a_failover_is_not_the_end_of_the_one_that_repeats_it() -> None:
    async with Stage.of(US, USW, EU, probed=False, edges=["edge-a"]) as stage:
        stage.plane.holding = {"edge-a"}
        first = asyncio.create_task(stage.handler.failover_to(US, EU))
        await stage.pass_time(2)
        second = asyncio.create_task(stage.handler.failover_to(US, USW))
        await stage.pass_time(3.5)
        assert (first.done(), second.done()) == (True, False)
        asked = asyncio.create_task(stage.handler.handle_region_failure(US, "x"))
        await stage.pass_time(3)
        assert await asked is await second


async def test_asked_again_it_says_what_was_done(stage: Stage) -> None:
    first = await stage.handler.handle_region_failure(US, "x")
    assert await stage.handler.handle_region_failure(US, "y") is first
    assert stage.handler.get_failover_stats()["total_failovers"] == 1


async def test_asked_at_once_it_is_done_once(stage: Stage) -> None:
    events = await asyncio.gather(*(stage.handler.handle_region_failure(US, str(i)) for i in range(5)))
    assert len({event.event_id for event in events}) == 1
    assert stage.count(EventKind.FAILOVER_COMPLETED) == 1
    assert stage.manager.snapshot().regions[USW].load == 30


@pytest.mark.parametrize(
    ("source", "target", "strategy", "error"),
    [
        ("zz", EU, "immediate", UnknownRegionError),
        (US, "zz", "immediate", UnknownRegionError),
        (US, US, "immediate", InvalidInputError),
        (US, EU, "sudden", InvalidInputError),
    ],
)
async def test_what_is_not_allowed_changes_nothing(
    stage: Stage, source: str, target: str, strategy: str, error: type[Exception]
) -> None:
    fleet, events = stage.manager.snapshot(), len(stage.events)
    with pytest.raises(error):
        await stage.handler.failover_to(source, target, strategy=strategy)
    assert stage.manager.snapshot() is fleet
    assert len(stage.events) == events


async def test_a_refusal_has_its_rule_and_reasons_and_is_on_record(stage: Stage) -> None:
    stage.manager.regions[EU].health_score = 0.0
    fleet = stage.manager.snapshot()
    with pytest.raises(FailoverRefusedError, match="eu-west-1 cannot take over from us-east-1: it is down") as caught:
        await stage.handler.failover_to(US, EU, reason="just so")
    await stage.clock.settle()
    assert (caught.value.rule, caught.value.reasons) == ("target", {EU: "is down"})
    assert stage.manager.snapshot() is fleet
    event = stage.events[-1]
    assert (event.kind, event.details["rule"], event.details["asked_because"]) == (
        "failover.refused",
        "target",
        "just so",
    )
    assert stage.handler.get_failover_stats()["refused_failovers"] == 1


async def test_a_drained_region_takes_nothing_over(stage: Stage) -> None:
    await stage.manager.drain(USW, by="ada", reason="x")
    event = await stage.handler.handle_region_failure(US, "x")
    assert (event.to_region, event.excluded) == (EU, {USW: "is drained by its operator"})


async def test_frozen_automation_moves_nothing_and_people_may(stage: Stage) -> None:
    await stage.manager.freeze(by="ada", reason="looking")
    with pytest.raises(FailoverRefusedError) as caught:
        await stage.handler.handle_region_failure(US, "x")
    assert caught.value.rule == "frozen"
    assert (await stage.handler.failover_to(US, EU)).to_region == EU


async def test_an_override_of_a_failover_is_on_record(stage: Stage) -> None:
    stage.manager.report_load(EU, 80)
    with pytest.raises(FailoverRefusedError, match="has room for 10 of the 30"):
        await stage.handler.failover_to(US, EU)
    now = stage.clock.now()
    override = BreakGlass.parse("headroom", "ada", "new racks", now + 60, now)
    event = await stage.handler.failover_to(US, EU, override=override)
    used, done = stage.events[-2:]
    assert (used.kind, used.actor, used.details["rule"]) == ("override.used", "ada", "headroom")
    assert (done.kind, done.details["override"]) == ("failover.completed", "headroom")
    assert event.shares == {EU: 1.0}
    await stage.pass_time(60)
    with pytest.raises(InvalidInputError, match=r"override\.expires_at"):
        await stage.handler.failover_to(EU, USW, override=override)


async def test_a_plan_changes_nothing(stage: Stage) -> None:
    fleet = stage.manager.snapshot()
    assert isinstance(stage.handler.plan(US), FailoverPlan)
    stage.manager.regions[EU].health_score = 0.0
    assert isinstance(stage.handler.plan(US, EU), Refusal)
    stage.manager.regions[EU].health_score = 95.0
    assert stage.manager.snapshot() == fleet or stage.manager.snapshot().regions == fleet.regions
    with pytest.raises(UnknownRegionError):
        stage.handler.plan("zz")


async def test_a_store_that_does_not_answer_in_time_is_said_to_be_unknown(stage: Stage) -> None:
    handler = FailureHandler(stage.manager, stage.router, failover_timeout=0.01)
    store = stage.manager.store

    class Stuck:
        async def commit(self, values: Any, guards: Any = None) -> int:
            await asyncio.Event().wait()
            return 0

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

    stage.manager.journal._store = Stuck()
    with pytest.raises(UnavailableError, match="the outcome is unknown"):
        await handler.handle_region_failure(US, "x")
    assert stage.serving() == {US, USW, EU}
    flusher = stage.manager.journal._flusher
    assert flusher is not None
    flusher.cancel()
    await asyncio.gather(flusher, return_exceptions=True)
    stage.manager.journal._store = store


@pytest.mark.parametrize("field", ["failover_timeout", "drain_timeout"])
@pytest.mark.parametrize("value", [-1.0, float("nan")])
def test_timeouts_are_numbers_of_seconds(field: str, value: float) -> None:
    with pytest.raises(InvalidInputError, match=field):
        FailureHandler(RegionManager(), **{field: value})  # type: ignore[arg-type]


async def test_recovery_needs_a_failover_and_health(stage: Stage) -> None:
    with pytest.raises(RefusedError, match="us-east-1 was not failed over"):
        await stage.handler.recover_region(US)
    await stage.handler.handle_region_failure(US, "x")
    stage.manager.regions[US].health_score = 50.0
    with pytest.raises(RefusedError, match=r"us-east-1 is degraded \(score 50.0\)"):
        await stage.handler.recover_region(US)
    with pytest.raises(UnknownRegionError):
        await stage.handler.recover_region("zz")
    assert stage.serving() == {USW, EU}


async def test_stats_count_what_was_done(stage: Stage) -> None:
    assert stage.handler.get_failover_stats()["average_duration_ms"] == 0.0
    await stage.handler.handle_region_failure(US, "x")
    await stage.handler.recover_region(US)
    await stage.handler.failover_to(US, EU)
    stats = stage.handler.get_failover_stats()
    assert (stats["total_failovers"], stats["total_recoveries"]) == (2, 1)
    assert stats["failovers_by_region"] == {US: 2}
    assert stats["failed_over_regions"] == [US]


# --- on a verdict --------------------------------------------------------------------------------


async def test_a_region_that_falls_is_failed_over_and_its_time_is_counted_from_the_first_sign(probed: Stage) -> None:
    probed.fail(US)
    await probed.pass_time(30)
    (event,) = probed.handler.events
    assert (event.from_region, event.to_region, event.cause) == (US, USW, "verdict")
    assert event.reason == "too many failed probes in a row: no answer"
    assert event.duration_ms == event.detected_ms == CHECK.interval_s * 1000


async def test_a_region_that_is_well_again_gets_its_traffic_back(probed: Stage) -> None:
    probed.fail(US)
    await probed.pass_time(30)
    probed.recover(US)
    await probed.pass_time(60)
    assert probed.tells(US)[2:] == ["health.changed", "failover.completed", "health.changed", "region.recovered"]
    assert probed.serving() == {US, USW, EU}


async def test_what_an_operator_failed_over_stays_away_until_the_operator_says_so(probed: Stage) -> None:
    await probed.handler.failover_to(US, EU, reason="maintenance")
    probed.fail(US)
    await probed.pass_time(30)
    probed.recover(US)
    await probed.pass_time(600)
    assert probed.serving() == {USW, EU}
    await probed.handler.recover_region(US)
    assert probed.serving() == {US, USW, EU}


async def test_a_service_that_waits_does_not_stop_the_next_failover(probed: Stage) -> None:
    await probed.manager.put_service(service("api", failback=FailbackMode.MANUAL))
    for _ in range(2):
        probed.fail(US)
        await probed.pass_time(40)
        probed.recover(US)
        await probed.pass_time(180)
    assert probed.count(EventKind.FAILOVER_COMPLETED, US) == 2
    assert probed.count(EventKind.REGION_RECOVERED, US) == 2
    assert US in probed.serving()
    assert US not in probed.serving(service="api")
    assert US in {one.region_id for one in probed.manager.list_regions(healthy_only=True)}


async def test_a_service_that_no_longer_waits_returns_by_itself(probed: Stage) -> None:
    await probed.manager.put_service(service("api", failback=FailbackMode.MANUAL))
    probed.fail(US)
    await probed.pass_time(40)
    probed.recover(US)
    await probed.pass_time(180)
    await probed.manager.put_service(service("web", failback=FailbackMode.MANUAL))
    await probed.pass_time(10)
    assert US in probed.serving(service="web"), "who never left does not begin to wait"
    await probed.manager.put_service(service("api", failback=FailbackMode.AUTO))
    await probed.pass_time(10)
    assert US in probed.serving(service="api")
    assert probed.manager.registry.failures == {}


async def test_what_could_not_be_given_back_while_frozen_is_given_back_afterwards(probed: Stage) -> None:
    probed.fail(US)
    await probed.pass_time(40)
    await probed.manager.freeze(by="ada", reason="looking")
    probed.recover(US)
    await probed.pass_time(120)
    frozen = probed.serving()
    await probed.manager.unfreeze(by="ada", reason="done")
    await probed.pass_time(5)
    assert (frozen, probed.serving()) == ({USW, EU}, {US, USW, EU})


async def test_a_verdict_that_came_while_the_store_was_lost_is_acted_on_when_it_is_back() -> None:
    store = FailingStore()
    async with Stage.of(US, USW, EU, store=store) as stage:
        await stage.pass_time(30)
        store.lose()
        stage.fail(US)
        await stage.pass_time(60)
        assert stage.serving() == {USW, EU}
        assert stage.handler.get_failover_stats()["total_failovers"] == 0
        store.find()
        await stage.pass_time(10)
        assert stage.count(EventKind.FAILOVER_COMPLETED, US) == 1
        store.lose()
        stage.recover(US)
        await stage.pass_time(120)
        assert stage.serving() == {USW, EU}
        store.find()
        await stage.pass_time(10)
        assert stage.serving() == {US, USW, EU}


async def test_a_restart_gives_nothing_back_before_there_is_evidence() -> None:
    store = FailingStore()
    async with Stage.of(US, USW, EU, store=_Kept(store)) as stage:
        await stage.pass_time(30)
        stage.fail(US)
        await stage.pass_time(30)
    async with Stage.of(store=_Kept(store)) as again:
        for region_id in (US, USW, EU):
            again.recover(region_id)
        again.fail(US)
        await again.pass_time(600)
        assert again.serving() == {USW, EU}
        again.recover(US)
        await again.pass_time(60)
        assert again.serving() == {US, USW, EU}


class _Kept(FailingStore):
    """A store that outlives who closes it."""

    async def close(self) -> None:
        return


async def test_two_controllers_fail_a_region_over_once_although_one_sees_it_later() -> None:
    store, clock = FailingStore(), VirtualClock()
    async with (
        Stage.of(US, USW, EU, store=_Kept(store), clock=clock) as one,
        Stage.of(store=_Kept(store), clock=clock, dice=lambda: 0.9) as other,
    ):
        other.recover(US, USW, EU)
        await clock.advance(30)
        one.fail(US)
        await clock.advance(60)
        assert one.serving() == other.serving() == {USW, EU}
        other.fail(US)
        await clock.advance(60)
        assert one.serving() == other.serving() == {USW, EU}
        assert len(one.handler.events) + len(other.handler.events) == 1
        one.recover(US)
        other.recover(US)
        await clock.advance(120)
        assert one.serving() == other.serving() == {US, USW, EU}
        assert len(one.handler.recoveries) + len(other.handler.recoveries) == 1


async def test_one_bad_verdict_does_not_stop_the_next(probed: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: str) -> float:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(probed.handler, "_failed_over", broken)
    probed.fail(US)
    await probed.pass_time(30)
    monkeypatch.undo()
    probed.recover(US)
    await probed.pass_time(60)
    probed.fail(EU)
    await probed.pass_time(30)
    assert [event.from_region for event in probed.handler.events] == [EU]


async def test_a_closed_handler_acts_no_more_and_can_begin_again(probed: Stage) -> None:
    await probed.handler.close()
    probed.fail(US)
    await probed.pass_time(30)
    assert probed.phase(US) is Phase.DOWN
    assert probed.count(EventKind.FAILOVER_COMPLETED) == 0
    await probed.handler.initialize()
    await probed.handler.initialize()
    probed.recover(US)
    await probed.pass_time(60)
    probed.fail(EU)
    await probed.pass_time(30)
    assert probed.count(EventKind.FAILOVER_COMPLETED) == 1


async def test_a_region_that_is_removed_while_its_requests_finish_hurts_nobody(stage: Stage) -> None:
    moving = asyncio.create_task(stage.handler.failover_to(US, EU, strategy="graceful"))
    await stage.pass_time(0.5)
    await stage.manager.unregister_region(US)
    await stage.pass_time(3)
    assert (await moving).to_region == EU
    assert stage.view(EU).load == 30


async def test_a_handler_takes_its_times_from_its_manager_and_not_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    manager = RegionManager(settings=load_settings({PREFIX + "FAILOVER_TIMEOUT": "9", PREFIX + "DRAIN_TIMEOUT": "7"}))
    monkeypatch.setenv(PREFIX + "FAILOVER_TIMEOUT", "not a number")
    handler = FailureHandler(manager)
    assert (handler.failover_timeout, handler.drain_timeout) == (9.0, 7.0)
    assert FailureHandler(manager, failover_timeout=2.0).failover_timeout == 2.0
