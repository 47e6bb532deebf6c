"""Outages that happened, replayed on the real manager, router and failure handler, each with its expected story.

A line of a story: the minute since the outage began, what was recorded, of whom, and the phase it came to.
"""

from __future__ import annotations

from mahavishnu.integrations.multi_region.core.events import EventKind
from mahavishnu.integrations.multi_region.core.model import HealthCheck
from mahavishnu.integrations.multi_region.testing.builders import region
from mahavishnu.integrations.multi_region.testing.failing_store import FailingStore
from mahavishnu.integrations.multi_region.testing.stage import Stage
from tests.scenarios.script import MINUTE, Spell, play, square_wave

FIVE = ("us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-northeast-1")
HOME = "us-east-1"


def told(text: str) -> list[str]:
    """A story, written as one text."""
    return [line for line in text.splitlines() if line.strip()]


async def test_a_region_is_lost_for_hours_and_returns() -> None:
    """AWS us-east-1, 2017-02-28: object storage did not answer for 169 minutes."""
    async with Stage.of(region(HOME, current_capacity=40), *FIVE[1:]) as stage:
        story = await play(stage, {HOME: [Spell(0, 169, 1.0)]}, 180)
        assert story == told(
            """
   0 health.changed us-east-1 down
   0 failover.completed us-east-1
 169 health.changed us-east-1 healthy
 169 region.recovered us-east-1
"""
        )
        (event,) = stage.handler.events
        assert (event.to_region, event.load, event.shed) == ("us-west-2", 40, 0.0)
        assert event.duration_ms <= 11_000
        assert stage.serving() == set(FIVE)
        assert stage.view(HOME).load == 40


async def test_a_region_that_answers_two_times_in_five_is_out_until_it_is_well() -> None:
    """AWS us-east-1, 2025-10-20: three of five requests failed for hours."""
    async with Stage.of(*FIVE) as stage:
        story = await play(stage, {HOME: [Spell(0, 120, 0.6)]}, 150)
        assert story == told(
            """
   0 health.changed us-east-1 down
   0 failover.completed us-east-1
 120 health.changed us-east-1 healthy
 120 region.recovered us-east-1
"""
        )


async def test_checks_that_flap_for_hours_move_traffic_ever_more_rarely() -> None:
    """AWS us-east-1, 2025-10-20, from 12:30: checks failed and passed in turn; capacity went out and came back."""
    async with Stage.of(*FIVE) as stage:
        await play(stage, {HOME: square_wave(0, 186, bad=2, good=6)}, 210)
        falls = [e.at for e in stage.events if e.kind is EventKind.FAILOVER_COMPLETED]
        returns = [e.at for e in stage.events if e.kind is EventKind.REGION_RECOVERED]
        assert len(falls) == len(returns)
        out = [round((back - gone) / MINUTE) for gone, back in zip(falls, returns, strict=True)]
        assert out[:6] == [2, 2, 2, 4, 10, 10]
        assert all(minutes == 10 for minutes in out[4:])
        flaps = len(square_wave(0, 186, bad=2, good=6))
        assert (flaps, len(falls)) == (24, 14)
        assert {e.subject for e in stage.events if e.kind is EventKind.HEALTH_CHANGED and e.at >= falls[0]} == {HOME}


async def test_what_is_good_and_bad_every_five_minutes_is_followed_ever_less() -> None:
    """Cloudflare, 2025-11-18: a file was rebuilt every five minutes, now good, now bad; default settings."""
    async with Stage.of(*FIVE, check=HealthCheck()) as stage:
        story = await play(stage, {HOME: square_wave(0, 100, bad=5, good=5)}, 100)
        assert [line for line in story if "failover" in line] == told(
            """
   0 failover.completed us-east-1
  10 failover.completed us-east-1
  20 failover.completed us-east-1
  30 failover.completed us-east-1
  40 failover.completed us-east-1
  50 failover.completed us-east-1
  60 failover.completed us-east-1
  80 failover.completed us-east-1
"""
        )
        assert stage.manager.monitor.states[HOME].relapses == 8
        await stage.pass_time(9 * 600)
        assert stage.manager.monitor.states[HOME].relapses == 0


async def test_when_everything_flaps_together_nothing_moves() -> None:
    """Cloudflare, 2025-11-18, as it was: everywhere at once. There is nowhere to go, and nobody is sent there."""
    async with Stage.of(*FIVE) as stage:
        story = await play(stage, {r: square_wave(0, 30, bad=5, good=5) for r in FIVE}, 40)
        assert story == told(
            """
   0 observer.blind observer
   5 observer.sighted observer
  10 observer.blind observer
  15 observer.sighted observer
  20 observer.blind observer
  25 observer.sighted observer
"""
        )


async def test_all_regions_red_is_held_and_the_one_that_stays_red_is_failed_over() -> None:
    """GCP, 2025-06-12: nine of ten requests failed in every region; after 42 minutes all but one were back."""
    async with Stage.of(*FIVE) as stage:
        script = {r: [Spell(0, 161 if r == HOME else 42, 0.9)] for r in FIVE}
        story = await play(stage, script, 170)
        assert story == told(
            """
   0 observer.blind observer
  42 observer.sighted observer
  42 health.changed us-east-1 down
  42 failover.completed us-east-1
 161 health.changed us-east-1 healthy
 161 region.recovered us-east-1
"""
        )
        assert stage.serving() == set(FIVE)


async def test_a_blip_that_heals_itself_moves_nothing() -> None:
    """GCP, 2022-05-20: one request in twenty was lost for twenty minutes."""
    async with Stage.of(*FIVE) as stage:
        assert await play(stage, {r: [Spell(0, 20, 0.05)] for r in FIVE}, 30) == []


async def test_a_check_that_stays_green_does_not_hide_what_callers_see() -> None:
    """AWS ap-northeast-2, 2018-11-22: names did not resolve inside; from outside all looked well for 84 minutes."""
    async with Stage.of(*FIVE) as stage:
        await stage.pass_time(MINUTE)
        for _ in range(84 * 60):
            await stage.pass_time(1)
            if HOME in stage.serving():
                stage.requests(HOME, passed=2, failed=3)
        assert stage.count(EventKind.FAILOVER_COMPLETED, HOME) >= 1
        out_s = _seconds_out(stage, HOME)
        assert out_s >= 0.9 * 84 * MINUTE
        await stage.pass_time(20 * MINUTE)
        assert HOME in stage.serving()


async def test_the_neighbour_that_took_over_falls_as_well() -> None:
    """AWS me-central-1, 2026-03-01: the nearest region fell a day later; here half an hour later, with its guests."""
    load = {HOME: 40, "us-west-2": 30, "eu-west-1": 20}
    async with Stage.of(*(region(r, current_capacity=load.get(r, 10)) for r in FIVE)) as stage:
        story = await play(stage, {HOME: [Spell(0, 90, 1.0)], "us-west-2": [Spell(30, 90, 1.0)]}, 60)
        assert story == told(
            """
   0 health.changed us-east-1 down
   0 failover.completed us-east-1
  30 health.changed us-west-2 down
  30 failover.completed us-west-2
"""
        )
        first, second = stage.handler.events
        assert (first.to_region, first.load) == ("us-west-2", 40)
        assert second.load == 70
        assert second.shed == 0.0
        assert HOME not in second.shares
        assert all(view.load <= 90 for view in stage.manager.snapshot().regions.values())


async def test_without_a_control_plane_traffic_still_leaves_a_region_that_is_lost() -> None:
    """Cloudflare, 2023-11-02: no change of configuration was possible for hours, and then a region is lost as well."""
    store = FailingStore()
    async with Stage.of(*FIVE, store=store) as stage:
        await stage.pass_time(MINUTE)
        store.lose()
        story = await play(stage, {HOME: [Spell(10, 400, 1.0)]}, 30)
        assert story == []
        assert stage.serving() == set(FIVE) - {HOME}
        assert stage.router.route({}).selected_region != HOME
        store.find()
        await stage.pass_time(MINUTE)
        assert stage.story()[-2:] == [("health.changed", HOME), ("failover.completed", HOME)]


def _seconds_out(stage: Stage, region_id: str) -> float:
    """For how long the region was failed over, until now."""
    total, since = 0.0, None
    for event in stage.events:
        if event.subject != region_id:
            continue
        if event.kind is EventKind.FAILOVER_COMPLETED:
            since = event.at
        elif event.kind is EventKind.REGION_RECOVERED and since is not None:
            total, since = total + event.at - since, None
    return total + (stage.clock.now() - since if since is not None else 0.0)
