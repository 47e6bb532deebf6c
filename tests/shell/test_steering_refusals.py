"""Edges that refuse part of a plan: what counts as done without it, and what does not; edges that were started anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from mahavishnu.integrations.multi_region.core.edges import EdgeSpec
from mahavishnu.integrations.multi_region.core.events import EventKind
from mahavishnu.integrations.multi_region.core.failover import FailoverStrategy
from mahavishnu.integrations.multi_region.core.traffic import TrafficPlan
from mahavishnu.integrations.multi_region.ports.dataplane import Connected, MemoryDataPlane, Rejection
from mahavishnu.integrations.multi_region.shell.steering import Settlement, Steering
from mahavishnu.integrations.multi_region.testing.stage import LONDON, Stage

US, EU, DE = "us-east-1", "eu-west-1", "eu-central-1"
A, B = "edge-a", "edge-b"


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with Stage.of(US, EU, DE, probed=False, edges=[A, B]) as made:
        yield made


def refuse(stage: Stage, *, settles: bool = True) -> int:
    """Edge A refuses a part of the newest plan; gives the plan's generation."""
    stage.plane.holding.add(A)
    generation = stage.plane.plan.generation
    stage.plane.refuse(A, Rejection("Cluster api", "no such file", generation), settles=settles)
    return generation


async def drained(stage: Stage) -> int:
    """A change of intent that moves traffic; its revision."""
    await stage.manager.drain(US, by="ada", reason="x", finished=False)
    await stage.clock.settle()
    return stage.manager.snapshot().revision


async def test_what_was_refused_before_holds_nothing_up_and_the_edge_is_named(stage: Stage) -> None:
    stage.plane.holding.add(A)
    await stage.manager.put_edge(EdgeSpec(A, LONDON, trusted_hops=1))
    await stage.clock.settle()
    earlier = refuse(stage)
    revision = await drained(stage)
    waiting = asyncio.create_task(stage.steering.settled(revision, 5.0))
    await stage.clock.settle()
    assert not waiting.done()
    stage.plane.refuse(A, Rejection("Cluster api", "no such file", earlier))
    await stage.clock.settle()
    assert waiting.done()
    assert await waiting == Settlement((A, B), (), (A,))
    assert (await waiting).reason == f"every connected edge has taken it over; with parts refused: {A}"


async def test_what_was_refused_in_the_plan_that_moves_traffic_holds_it_up(stage: Stage) -> None:
    stage.plane.holding.add(A)
    revision = await drained(stage)
    refused = refuse(stage)
    waiting = asyncio.create_task(stage.steering.settled(revision, 5.0))
    await stage.pass_time(4.9)
    assert not waiting.done()
    stage.manager.report_load(EU, 9)  # a later plan of the same intent makes it no better
    await stage.clock.settle()
    stage.plane.refuse(A, Rejection("Cluster api", "no such file", refused))
    await stage.pass_time(0.2)
    assert await waiting == Settlement((B,), (A,))


async def test_what_was_refused_and_has_no_older_version_holds_everything_up(stage: Stage) -> None:
    earlier = refuse(stage, settles=False)
    revision = await drained(stage)
    waiting = asyncio.create_task(stage.steering.settled(revision, 5.0))
    await stage.clock.settle()
    stage.plane.refuse(A, Rejection("Cluster api", "no such file", earlier), settles=False)
    await stage.pass_time(5.1)
    assert await waiting == Settlement((B,), (A,))


async def test_a_failover_past_a_refused_part_is_acknowledged_and_names_the_edge(stage: Stage) -> None:
    stage.plane.holding.add(A)
    await stage.manager.put_edge(EdgeSpec(A, LONDON, trusted_hops=1))
    await stage.clock.settle()
    earlier = refuse(stage)
    done = asyncio.create_task(stage.handler.fail_over(US, None, FailoverStrategy.IMMEDIATE, "test"))
    await stage.clock.settle()
    stage.plane.refuse(A, Rejection("Cluster api", "no such file", earlier))
    await stage.clock.settle()
    assert done.done()
    event = await done
    assert (event.acknowledged_by, event.lagging, event.rejected) == ((A, B), (), (A,))
    assert event.acknowledged_at is not None
    told = next(each for each in stage.events if each.kind is EventKind.FAILOVER_ACKNOWLEDGED)
    assert (told.details["lagging"], told.details["rejected"]) == ([], [A])


async def test_a_drain_past_a_refused_part_ends_when_nothing_is_in_flight(stage: Stage) -> None:
    stage.plane.holding.add(A)
    await stage.manager.put_edge(EdgeSpec(A, LONDON, trusted_hops=1))
    await stage.clock.settle()
    earlier = refuse(stage)
    revision = await drained(stage)
    waiting = asyncio.create_task(stage.steering.emptied(US, revision, 60.0))
    await stage.clock.settle()
    stage.plane.refuse(A, Rejection("Cluster api", "no such file", earlier))
    await stage.pass_time(0.5)
    for edge_id in (A, B):
        stage.carried(edge_id, EU, 10)
    await stage.pass_time(0.5)
    assert await waiting == ()


async def test_an_edge_that_was_started_anew_lags_until_it_has_the_plan_again(stage: Stage) -> None:
    revision = await drained(stage)
    assert stage.steering.lagging(revision) == ()
    waiting = asyncio.create_task(stage.steering.emptied(US, revision, 60.0))
    await stage.pass_time(0.5)
    stage.plane.tell(Connected(A, False))
    stage.plane._states[A] = replace(stage.plane._states[A], acknowledged=None, settled=None)
    stage.plane.tell(Connected(A, True))
    await stage.clock.settle()
    assert stage.steering.lagging(revision) == (A,)
    assert not stage.steering.edges()[A].synced
    stage.carried(A, EU, 10)
    stage.carried(B, EU, 10)
    await stage.pass_time(0.5)
    assert not waiting.done(), "what it reports now says nothing of what it will send"
    stage.plane.acknowledge(A)
    await stage.pass_time(0.5)
    assert not waiting.done()
    stage.carried(A, EU, 10)
    await stage.pass_time(0.5)
    assert await waiting == ()


async def test_edges_are_declared_though_there_is_no_plan_for_them_yet() -> None:
    def none(*_: object) -> TrafficPlan:
        raise ValueError("no plan today")

    plane = MemoryDataPlane()
    async with Stage.of(US, probed=False) as stage:
        await stage.manager.put_edge(EdgeSpec(A, LONDON))
        steering = Steering(stage.manager, plane, none)
        await steering.initialize()
        assert (plane.declared, list(plane.plan.edges)) == (frozenset({A}), [])
        await stage.manager.put_edge(EdgeSpec(B, LONDON, listen="127.0.0.1:10009"))
        await stage.manager.remove_edge(A)
        await stage.clock.settle()
        assert (plane.declared, list(plane.plan.edges)) == (frozenset({B}), [])
        await steering.close()
