"""The operator's word: drains, freezes and their limits, each a transaction with its event."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from mahavishnu.integrations.multi_region.core.events import EventKind
from mahavishnu.integrations.multi_region.core.model import AdminState, Phase, SafetyLimits
from mahavishnu.integrations.multi_region.core.overrides import BreakGlass
from mahavishnu.integrations.multi_region.core.safety import serving
from mahavishnu.integrations.multi_region.errors import (
    FailoverRefusedError,
    InvalidInputError,
    RefusedError,
    UnknownRegionError,
)
from mahavishnu.integrations.multi_region.ports.store import MemoryStore
from mahavishnu.integrations.multi_region.testing.builders import region, service
from mahavishnu.integrations.multi_region.testing.stage import Stage


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with Stage.of("a", "b", "c", probed=False) as made:
        yield made


def glass(stage: Stage, rule: str, for_s: float = 60.0) -> BreakGlass:
    now = stage.clock.now()
    return BreakGlass.parse(rule, "ada", "the fire brigade says so", now + for_s, now)


async def test_a_drain_takes_a_region_out_and_says_who_and_why(stage: Stage) -> None:
    drain = await stage.manager.drain("a", by="ada", reason="new kernel")
    assert (drain.state, drain.by, drain.reason) == (AdminState.DRAINED, "ada", "new kernel")
    assert stage.serving() == {"b", "c"}
    event = stage.events[-1]
    assert (event.kind, event.subject, event.actor, event.reason) == ("drain.completed", "a", "ada", "new kernel")
    assert event.before is None
    assert event.after == drain.document()


async def test_a_drain_in_two_steps_leaves_both_in_the_log(stage: Stage) -> None:
    started = await stage.manager.drain("a", by="ada", reason="new kernel", finished=False)
    finished = await stage.manager.drain("a", by="ada", reason="new kernel")
    assert (started.state, finished.state) == (AdminState.DRAINING, AdminState.DRAINED)
    assert stage.tells("a")[1:] == ["drain.started", "drain.completed"]
    assert stage.events[-1].before == started.document()


async def test_undrain_gives_it_back(stage: Stage) -> None:
    drain = await stage.manager.drain("a", by="ada", reason="x")
    await stage.manager.undrain("a", by="bob", reason="done")
    assert stage.serving() == {"a", "b", "c"}
    assert (stage.events[-1].kind, stage.events[-1].before, stage.events[-1].after) == (
        "drain.lifted",
        drain.document(),
        None,
    )


async def test_what_is_not_there_cannot_be_drained_and_what_is_not_drained_not_undrained(stage: Stage) -> None:
    with pytest.raises(UnknownRegionError):
        await stage.manager.drain("zz", by="ada", reason="x")
    with pytest.raises(RefusedError, match="a is not drained"):
        await stage.manager.undrain("a", by="ada")


async def test_the_last_serving_region_is_not_drained(stage: Stage) -> None:
    await stage.manager.drain("a", by="ada", reason="x")
    await stage.manager.drain("b", by="ada", reason="x")
    with pytest.raises(FailoverRefusedError) as caught:
        await stage.manager.drain("c", by="ada", reason="x")
    assert caught.value.rule == "min_serving"
    assert stage.serving() == {"c"}


async def test_nobody_is_drowned_for_a_drain(stage: Stage) -> None:
    for region_id, load in (("a", 90.0), ("b", 60.0), ("c", 50.0)):
        stage.manager.report_load(region_id, load)
    with pytest.raises(FailoverRefusedError, match="no room for 22 % of the load of a") as caught:
        await stage.manager.drain("a", by="ada", reason="x")
    assert caught.value.rule == "headroom"
    await stage.manager.drain("a", by="ada", reason="x", override=glass(stage, "headroom"))
    assert stage.serving() == {"b", "c"}


async def test_a_region_that_is_out_already_may_be_drained(stage: Stage) -> None:
    for region_id in ("b", "c"):
        await stage.manager.drain(region_id, by="ada", reason="x")
    stage.manager.regions["a"].health_score = 0.0
    await stage.manager.drain("a", by="ada", reason="burnt down")
    assert stage.serving() == set()


async def test_a_region_whose_services_go_different_ways_can_be_drained(stage: Stage) -> None:
    await stage.manager.put_service(service("api", "a", "b"))
    await stage.manager.put_service(service("web", "a", "c"))
    await stage.manager.drain("a", by="ada", reason="x")
    assert (stage.serving(service="api"), stage.serving(service="web")) == ({"b"}, {"c"})


# --- break-glass ---------------------------------------------------------------------------------


async def test_an_override_lifts_the_rule_it_names_and_is_in_the_log(stage: Stage) -> None:
    for region_id in ("a", "b"):
        await stage.manager.drain(region_id, by="ada", reason="x")
    override = glass(stage, "min_serving")
    await stage.manager.drain("c", by="ada", reason="burning", override=override)
    assert stage.serving() == set()
    used, drained = stage.events[-2:]
    assert (used.kind, used.subject, used.actor, used.reason) == (
        EventKind.OVERRIDE_USED,
        "c",
        "ada",
        "the fire brigade says so",
    )
    assert used.details == {"rule": "min_serving", "expires_at": override.expires_at}
    assert drained.kind == EventKind.DRAIN_COMPLETED


async def test_an_override_of_another_rule_does_not_help(stage: Stage) -> None:
    await stage.manager.put_service(service("api", "a"))
    for rule in ("headroom", "min_serving", "frozen"):
        with pytest.raises(FailoverRefusedError) as caught:
            await stage.manager.drain("a", by="ada", reason="x", override=glass(stage, rule))
        assert caught.value.rule == "empty_service"
    await stage.manager.drain("a", by="ada", reason="x", override=glass(stage, "empty_service"))
    assert stage.serving(service="api") == set()


async def test_an_override_that_has_run_out_is_refused_and_nothing_changes(stage: Stage) -> None:
    override = glass(stage, "empty_service", for_s=60.0)
    await stage.manager.put_service(service("api", "a"))
    before = len(stage.events)
    await stage.pass_time(60)
    with pytest.raises(InvalidInputError, match=r"override\.expires_at"):
        await stage.manager.drain("a", by="ada", reason="x", override=override)
    assert len(stage.events) == before
    assert stage.serving() == {"a", "b", "c"}


# --- freezing ------------------------------------------------------------------------------------


async def test_a_freeze_stops_automation_and_not_people(stage: Stage) -> None:
    freeze = await stage.manager.freeze(by="ada", reason="looking into it")
    stage.requests("a", failed=5)
    await stage.pass_time(1)
    assert stage.phase("a") is Phase.DOWN
    assert "a" in stage.serving()
    await stage.manager.drain("a", by="ada", reason="by hand")
    assert "a" not in stage.serving()
    await stage.manager.unfreeze(by="ada", reason="found it")
    frozen, unfrozen = (e for e in stage.events if e.subject == "automation")
    document = {"by": "ada", "reason": "looking into it", "at": freeze.at}
    assert (frozen.before, frozen.after) == (None, document)
    assert (unfrozen.before, unfrozen.after) == (document, None)


async def test_freezing_again_says_what_stood_before(stage: Stage) -> None:
    await stage.manager.freeze(by="ada", reason="one")
    await stage.manager.freeze(by="bob", reason="two")
    before = stage.events[-1].before
    assert before is not None
    assert before["by"] == "ada"
    assert stage.manager.snapshot().frozen == "by bob: two"


async def test_what_is_not_frozen_cannot_be_unfrozen(stage: Stage) -> None:
    with pytest.raises(RefusedError, match="not frozen"):
        await stage.manager.unfreeze(by="ada")


# --- many at once --------------------------------------------------------------------------------


async def test_drains_that_come_together_do_not_all_go_by_the_same_count(stage: Stage) -> None:
    results = await asyncio.gather(
        *(stage.manager.drain(r, by="ada", reason="x") for r in "abc"), return_exceptions=True
    )
    assert len(serving(stage.manager.snapshot())) == 1
    assert [type(result).__name__ for result in results].count("FailoverRefusedError") == 1


async def test_two_controllers_on_one_store_cannot_drain_the_last_two_regions_between_them() -> None:
    store = MemoryStore()
    async with Stage.of("a", "b", store=store, probed=False) as one:
        await one.clock.settle()
        async with Stage.of(store=store, probed=False, clock=one.clock) as other:
            results = await asyncio.gather(
                one.manager.drain("a", by="ada", reason="x"),
                other.manager.drain("b", by="bob", reason="y"),
                return_exceptions=True,
            )
            await one.clock.settle()
            assert [isinstance(result, FailoverRefusedError) for result in results].count(True) == 1
            assert len(serving(one.manager.snapshot())) == len(serving(other.manager.snapshot())) == 1


async def test_a_controller_that_has_not_heard_of_the_other_drain_looks_again_before_its_own() -> None:
    store = MemoryStore()
    async with (
        Stage.of("a", "b", store=store, probed=False) as one,
        Stage.of(store=store, probed=False) as other,
    ):
        await other.manager._follower.close()
        await one.manager.drain("a", by="ada", reason="x")
        assert other.view("a").admin is AdminState.ACTIVE
        with pytest.raises(FailoverRefusedError) as caught:
            await other.manager.drain("b", by="bob", reason="y")
        assert caught.value.rule == "min_serving"
        assert other.view("a").admin is AdminState.DRAINED


async def test_a_drain_and_a_failover_at_once_leave_somebody() -> None:
    async with Stage.of("a", "b", probed=False, limits=SafetyLimits()) as stage:
        await asyncio.gather(
            stage.manager.drain("a", by="ada", reason="x"),
            stage.handler.failover_to("b", "a", reason="y"),
            return_exceptions=True,
        )
        assert len(stage.serving()) == 1


async def test_a_drain_stands_when_the_region_is_declared_anew(stage: Stage) -> None:
    await stage.manager.drain("a", by="ada", reason="x")
    await stage.manager.update_region(region("a", name="renamed"))
    assert stage.serving() == {"b", "c"}
    assert stage.view("a").name == "renamed"


# --- failovers and drains go by one rule ----------------------------------------------------------


@pytest.mark.parametrize("way", ["drain", "failover"])
async def test_L7_what_only_the_leaving_region_could_serve_is_no_matter_of_room(stage: Stage, way: str) -> None:
    await stage.manager.put_service(service("api", "a"))
    await stage.manager.put_service(service("web"))
    stage.manager.report_load("a", 40.0)
    override = glass(stage, "empty_service")
    if way == "drain":
        await stage.manager.drain("a", by="ada", reason="x", override=override)
    else:
        event = await stage.handler.fail_over("a", reason="x", by="ada", override=override)
        assert event.shed == 0.5
    assert stage.serving() == {"b", "c"}
