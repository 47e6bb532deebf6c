"""A controller that has just started tells edges nothing until it has heard of every region, or waited long enough.

Else the first region to answer a probe would take all traffic for a moment, and edges that ran before would follow.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mahavishnu.integrations.multi_region.core.edges import EdgeSpec
from mahavishnu.integrations.multi_region.core.model import Phase
from mahavishnu.integrations.multi_region.ports.dataplane import MemoryDataPlane
from mahavishnu.integrations.multi_region.shell.steering import Steering
from mahavishnu.integrations.multi_region.testing.builders import region
from mahavishnu.integrations.multi_region.testing.stage import LONDON, Stage

NEAR, FAR = "eu-west-1", "us-east-1"
EDGE = "edge-eu"


@asynccontextmanager
async def starting(first_look_s: float) -> AsyncIterator[tuple[Stage, MemoryDataPlane]]:
    """Two regions of which nothing is known yet, and an edge that waits to be told."""
    plane = MemoryDataPlane()
    unknown = [region(name, health_score=None) for name in (NEAR, FAR)]
    async with Stage.of(*unknown, probed=False, handled=False) as stage:
        await stage.manager.put_edge(EdgeSpec(EDGE, LONDON))
        steering = Steering(stage.manager, plane, first_look_s=first_look_s)
        await steering.initialize()
        try:
            yield stage, plane
        finally:
            await steering.close()


def first_choice(plane: MemoryDataPlane) -> str:
    (service,) = plane.plan.edges[EDGE].services
    return service.classes[0].tiers[0][0].region_id


async def test_the_first_plan_waits_until_every_region_has_been_heard_of() -> None:
    async with starting(2.0) as (stage, plane):
        stage.manager.report_outcome(FAR, True, 20.0)
        await stage.clock.settle()
        assert stage.phase(FAR) is Phase.HEALTHY
        assert plane.plan.edges == {}
        stage.manager.report_outcome(NEAR, True, 20.0)
        await stage.clock.settle()
        assert first_choice(plane) == NEAR


async def test_it_waits_no_longer_than_was_said() -> None:
    async with starting(2.0) as (stage, plane):
        stage.manager.report_outcome(FAR, True, 20.0)
        await stage.pass_time(1.9)
        assert plane.plan.edges == {}
        await stage.pass_time(0.2)
        assert first_choice(plane) == FAR


async def test_a_region_that_comes_later_holds_nothing_up() -> None:
    async with starting(2.0) as (stage, plane):
        await stage.pass_time(2.1)
        await stage.manager.register_region(region("eu-central-1"))
        await stage.clock.settle()
        (service,) = plane.plan.edges[EDGE].services
        assert "eu-central-1" in {target.region_id for target in service.classes[0].targets}


async def test_without_a_first_look_edges_are_told_at_once() -> None:
    async with starting(0.0) as (_, plane):
        assert first_choice(plane) == NEAR
