"""The laws of detection, L2 to L5, by their names: promises to users that hold for the whole system.

Everything goes through the real manager, router and failure handler, in virtual time; corner cases are tested
beside their code.
"""

from __future__ import annotations

from typing import Any

import pytest

from mahavishnu.integrations.multi_region.core.eligibility import Reason
from mahavishnu.integrations.multi_region.core.events import EventKind
from mahavishnu.integrations.multi_region.core.model import (
    AdminState,
    HealthCheck,
    Phase,
)
from mahavishnu.integrations.multi_region.ports.probe import ProbeResult
from mahavishnu.integrations.multi_region.testing.builders import region
from mahavishnu.integrations.multi_region.testing.stage import FAILED, SHEDDING, WELL, Stage
from tests.laws.worlds import (
    DE,
    EU,
    FIVE,
    JP,
    US,
    USW,
)

# --- L2: the blind recuse themselves ---------------------------------------------------------------


async def test_L2_when_most_targets_fail_at_once_nobody_is_taken_down_by_probes() -> None:
    async with Stage.of(*FIVE) as stage:
        await stage.pass_time(60)
        stage.fail(US, EU, JP)
        await stage.pass_time(600)
        assert stage.serving() == set(FIVE)
        assert {stage.phase(r) for r in FIVE} == {Phase.HEALTHY}
        assert stage.manager.get_stats()["observer_blind"]
        assert stage.count(EventKind.OBSERVER_BLIND) == 1
        assert stage.count(EventKind.FAILOVER_COMPLETED) == 0
        stage.recover(US, EU, JP)
        await stage.pass_time(60)
        assert stage.count(EventKind.OBSERVER_SIGHTED) == 1
        assert stage.serving() == set(FIVE)


async def test_L2_a_blind_observer_still_hears_real_traffic() -> None:
    async with Stage.of(*FIVE) as stage:
        await stage.pass_time(60)
        stage.fail(US, EU, JP)
        await stage.pass_time(60)
        stage.requests(US, failed=5)
        await stage.pass_time(1)
        assert stage.serving() == set(FIVE) - {US}


async def test_L2_one_answer_that_comes_through_does_not_make_votes_of_what_a_blind_observer_saw() -> None:
    async with Stage.of(*FIVE) as stage:
        await stage.pass_time(60)
        for place, region_id in enumerate((US, EU, JP)):
            answers = _passing_once_in(10, 3 * place)
            stage.answer_with(region_id, lambda answers=answers: next(answers))  # type: ignore[misc]
        await stage.pass_time(3600)
        assert stage.serving() == set(FIVE)
        assert stage.count(EventKind.FAILOVER_COMPLETED) == 0


async def test_L2_a_region_that_is_asked_more_often_does_not_hide_that_the_others_fail_with_it() -> None:
    often = HealthCheck(interval_s=1.0, timeout_s=1.0, fall=2, rise=3)
    async with Stage.of(region(US, health=often), *FIVE[1:]) as stage:
        await stage.pass_time(63)
        stage.fail(US, EU, JP)
        await stage.pass_time(3600)
        assert stage.serving() == set(FIVE) - {US}
        assert stage.manager.get_stats()["observer_blind"]


def _passing_once_in(times: int, start: int) -> Any:
    while True:
        start += 1
        yield WELL if start % times == 0 else FAILED


async def test_L2_silence_makes_unknown_never_down_and_never_healthy() -> None:
    async with Stage.of(*FIVE) as stage:
        await stage.pass_time(60)

        async def hangs(endpoint: str, check: HealthCheck) -> ProbeResult:
            await stage.clock.sleep(1e9)
            return WELL

        stage.probe.ask = hangs  # type: ignore[method-assign]  # no answer of any kind, ever
        await stage.pass_time(600)
        assert {stage.phase(r) for r in FIVE} == {Phase.UNKNOWN}
        assert stage.serving() == set(FIVE)


async def test_L2_a_region_of_which_nothing_is_known_is_neither_healthy_nor_down() -> None:
    async with Stage.of(region("a", health_score=None), "b", probed=False) as stage:
        assert stage.phase("a") is Phase.UNKNOWN
        await stage.pass_time(3600)
        assert stage.phase("a") is Phase.UNKNOWN
        assert "a" in stage.serving()
        assert stage.router.route({}, "cost_based").selected_region == "b"


# --- L3: quick to doubt, slow to trust -------------------------------------------------------------


async def test_L3_it_falls_sooner_than_it_rises() -> None:
    check = HealthCheck(interval_s=10.0, timeout_s=2.0, fall=2, rise=5, hold_down_s=0.0)
    async with Stage.of(US, USW, EU, check=check) as stage:
        await stage.pass_time(60)
        stage.fail(US)
        fell = await _seconds_until(stage, lambda: stage.phase(US) is Phase.DOWN)
        stage.recover(US)
        rose = await _seconds_until(stage, lambda: stage.phase(US) is Phase.HEALTHY)
        assert fell == pytest.approx(check.fall * check.interval_s, abs=check.interval_s)
        assert rose == pytest.approx(check.rise * check.interval_s, abs=check.interval_s)
        assert rose > fell


async def test_L3_one_in_two_failing_is_caught() -> None:
    async with Stage.of(US, USW, EU) as stage:
        await stage.pass_time(60)
        answers = _alternating()
        stage.answer_with(US, lambda: next(answers))
        await stage.pass_time(150)
        assert stage.count(EventKind.FAILOVER_COMPLETED, US) == 1


async def test_L3_the_hold_down_doubles_with_each_relapse_and_health_pays_it_off() -> None:
    check = HealthCheck(interval_s=2.0, timeout_s=1.0, fall=2, rise=3, hold_down_s=60.0)
    async with Stage.of(US, USW, EU, check=check) as stage:
        outs = []
        for _ in range(4):
            await stage.pass_time(60)
            outs.append(await _time_out(stage))
        assert outs == pytest.approx([60, 120, 240, 480], abs=4)
        await stage.pass_time(3600)
        assert await _time_out(stage) == pytest.approx(60, abs=4)


async def _time_out(stage: Stage) -> float:
    """Let the region fail for a moment; for how many seconds it then stays out."""
    stage.fail(US)
    await _seconds_until(stage, lambda: stage.phase(US) is Phase.DOWN)
    stage.recover(US)
    return await _seconds_until(stage, lambda: stage.phase(US) is Phase.HEALTHY)


async def _seconds_until(stage: Stage, true: Any) -> float:
    began = stage.clock.now()
    while not true():
        await stage.pass_time(0.5)
        assert stage.clock.now() - began < 10_000, "it never came true"
    return stage.clock.now() - began


def _alternating() -> Any:
    while True:
        yield FAILED
        yield WELL


# --- L4: real traffic counts -----------------------------------------------------------------------


async def test_L4_passing_probes_do_not_reinstate_a_region_whose_real_traffic_fails() -> None:
    async with Stage.of(US, USW, EU) as stage:
        await stage.pass_time(60)
        stage.requests(US, failed=30)
        for _ in range(300):
            await stage.pass_time(1)
            stage.requests(US, failed=5)
            assert US not in stage.serving()
        await stage.pass_time(120)
        assert US in stage.serving()


async def test_L4_shedding_reads_as_saturated_and_never_as_spare_room() -> None:
    async with Stage.of(region(US, current_capacity=1), USW, EU) as stage:
        stage.answer(US, SHEDDING)
        await stage.pass_time(600)
        assert stage.phase(US) is Phase.SATURATED
        assert US not in stage.serving()
        assert stage.router.route({}, "capacity_based").selected_region != US
        told = stage.router.explain({}).excluded[US]
        assert told.code is Reason.NO_ROOM


# --- L5: graded ------------------------------------------------------------------------------------


async def test_L5_health_has_five_grades_and_the_operator_three_words() -> None:
    check = HealthCheck(interval_s=10.0, timeout_s=2.0, slow_ms=100.0)
    async with Stage.of(*FIVE, region("sa-east-1", health_score=None), check=check) as stage:
        stage.answer(USW, ProbeResult(True, 500.0))
        stage.answer(EU, SHEDDING)
        stage.answer(DE, FAILED)
        stage.manager.regions["sa-east-1"].health = HealthCheck(interval_s=1e6)
        await stage.pass_time(0.4)
        del stage.probe.answers[stage.manager.regions["sa-east-1"].endpoint]
        await stage.pass_time(60)
        phases = {r: stage.phase(r) for r in (US, USW, EU, DE, "sa-east-1")}
        assert phases == {
            US: Phase.HEALTHY,
            USW: Phase.DEGRADED,
            EU: Phase.SATURATED,
            DE: Phase.DOWN,
            "sa-east-1": Phase.UNKNOWN,
        }
        await stage.manager.drain(US, by="ada", reason="x", finished=False)
        await stage.manager.drain(USW, by="ada", reason="x")
        words = [stage.view(r).admin for r in (US, USW, JP)]
        assert words == [AdminState.DRAINING, AdminState.DRAINED, AdminState.ACTIVE]
