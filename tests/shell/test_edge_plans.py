"""When plans are made anew without a change of state, and what a new plan shares with the one before."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mahavishnu.integrations.multi_region.core.edges import EdgeSpec
from mahavishnu.integrations.multi_region.core.model import Point
from mahavishnu.integrations.multi_region.core.traffic import Standing
from mahavishnu.integrations.multi_region.testing.builders import service
from mahavishnu.integrations.multi_region.testing.stage import LONDON, Stage

US, EU, DE = "us-east-1", "eu-west-1", "eu-central-1"
A, B = "edge-a", "edge-b"


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with Stage.of(US, EU, DE, probed=False, edges=[A, B]) as made:
        yield made


def standings(stage: Stage) -> dict[str, Standing]:
    (kind,) = (kind for kind in stage.plane.plan.edges[A].classes if kind.name == "default")
    return {target.region_id: target.standing for target in kind.targets}


# --- learned round trips --------------------------------------------------------------------------


async def taught(stage: Stage, region_id: str, ms: float, place: Point = LONDON) -> None:
    """Let clients beside an edge find a region so far away, long enough to be believed."""
    for _ in range(40):
        stage.manager.round_trips.observe(place, stage.view(region_id), ms, "GB")
    await stage.pass_time(2.0)
    stage.manager.round_trips.renew()


async def order_after(stage: Stage, seconds: float) -> list[str]:
    await stage.pass_time(seconds)
    return list(standings(stage))


async def test_learned_round_trips_alone_make_a_new_plan_after_a_while(stage: Stage) -> None:
    await stage.manager.put_edge(EdgeSpec(A, LONDON, country="GB"))
    await stage.clock.settle()
    assert list(standings(stage)) == [EU, DE, US]
    generation = stage.plane.plan.generation
    await taught(stage, EU, 60.0)
    assert stage.plane.plan.generation == generation, "not at once"
    assert await order_after(stage, 31.0) == [DE, EU, US]
    generation = stage.plane.plan.generation
    await order_after(stage, 65.0)
    assert stage.plane.plan.generation == generation, "and once"


async def test_a_small_move_of_round_trips_changes_no_plan(stage: Stage) -> None:
    await stage.manager.put_edge(EdgeSpec(A, LONDON, country="GB"))
    await stage.clock.settle()
    book = stage.manager.round_trips
    estimate, generation = book.estimate_ms(LONDON, stage.view(US), "GB"), stage.plane.plan.generation
    await taught(stage, US, estimate + 1.5)
    assert 0.5 < book.estimate_ms(LONDON, stage.view(US), "GB") - estimate < 2.0
    await order_after(stage, 65.0)
    assert stage.plane.plan.generation == generation
    stage.requests(US, failed=5)
    await stage.clock.settle()
    assert stage.plane.plan.generation > generation


# --- what stays the same -------------------------------------------------------------------------


async def test_what_a_change_does_not_touch_is_the_same_object_in_the_next_plan() -> None:
    async with Stage.of(US, EU, DE, probed=False, edges=[A]) as stage:
        await stage.manager.put_service(service("api", US, EU))
        await stage.manager.put_service(service("web", DE))
        await stage.clock.settle()
        before = {one.service: one for one in stage.plane.plan.edges[A].services}
        stage.requests(EU, failed=5)
        await stage.clock.settle()
        after = {one.service: one for one in stage.plane.plan.edges[A].services}
        assert after["web"] is before["web"]
        assert after["api"] != before["api"]
        assert [[t.region_id for t in tier] for tier in after["api"].classes[0].tiers] == [
            [t.region_id for t in tier] for tier in before["api"].classes[0].tiers
        ]
