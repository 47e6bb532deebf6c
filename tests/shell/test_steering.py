"""Steering: every change is planned once and published, a bad plan stops nothing, and it is known who lags."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.core.edges import ClientPlace, EdgeSpec
from mahavishnu.integrations.multi_region.core.facts import Attestation
from mahavishnu.integrations.multi_region.core.model import Fleet, RegionCapabilities
from mahavishnu.integrations.multi_region.core.steering import SteeringInput, plan_traffic
from mahavishnu.integrations.multi_region.core.traffic import Standing, TrafficPlan
from mahavishnu.integrations.multi_region.ports.dataplane import (
    Astray,
    Connected,
    Ejected,
    Load,
    LoadReport,
    MemoryDataPlane,
    Rejected,
    Rejection,
)
from mahavishnu.integrations.multi_region.shell.steering import Settlement, Steering
from mahavishnu.integrations.multi_region.system import create_multi_region_system
from mahavishnu.integrations.multi_region.testing.builders import policy, region, service
from mahavishnu.integrations.multi_region.testing.stage import LONDON, Stage

US, EU, DE = "us-east-1", "eu-west-1", "eu-central-1"
A, B = "edge-a", "edge-b"


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with Stage.of(US, EU, DE, probed=False, edges=[A, B]) as made:
        yield made


def standings(stage: Stage, edge_id: str = A, name: str = "default") -> dict[str, Standing]:
    (kind,) = (kind for kind in stage.plane.plan.edges[edge_id].classes if kind.name == name)
    return {target.region_id: target.standing for target in kind.targets}


class Counting:
    """A planner that counts, and fails or waits when it is told to."""

    def __init__(self) -> None:
        self.generations: list[int] = []
        self.threads: set[int] = set()
        self.failing = False
        self.gate: threading.Event | None = None

    def __call__(
        self, fleet: Fleet, edges: Mapping[str, EdgeSpec], given: SteeringInput, previous: TrafficPlan | None
    ) -> TrafficPlan:
        self.generations.append(fleet.generation)
        self.threads.add(threading.get_ident())
        if self.gate is not None:
            assert self.gate.wait(30)
        if self.failing:
            raise ValueError("no plan today")
        return plan_traffic(fleet, edges, given, previous)


# --- planning ------------------------------------------------------------------------------------


async def test_a_verdict_reaches_the_edges_within_the_same_turn_of_the_loop(stage: Stage) -> None:
    assert standings(stage) == dict.fromkeys((US, EU, DE), Standing.SERVING)
    stage.requests(EU, failed=5)
    assert standings(stage)[EU] is Standing.SERVING
    await stage.clock.settle()
    assert standings(stage)[EU] is not Standing.SERVING
    assert standings(stage, B) == standings(stage)
    assert stage.plane.plan.generation == stage.manager.snapshot().generation


async def test_many_changes_at_once_are_one_plan() -> None:
    planner = Counting()
    async with Stage.of(US, EU, probed=False) as stage:
        await stage.manager.put_edge(EdgeSpec(A, LONDON))
        steering = Steering(stage.manager, stage.plane, planner)
        await steering.initialize()
        before = len(planner.generations)
        for load in range(50):
            stage.manager.report_load(US, load + 1)
        await stage.clock.settle()
        assert len(planner.generations) == before + 1
        assert steering.plan.generation == stage.manager.snapshot().generation
        await steering.close()
        stage.manager.report_load(US, 3)
        await stage.clock.settle()
        assert len(planner.generations) == before + 1, "closed, it follows no more"


async def test_declared_edges_are_planned_for_and_removed_ones_are_not(stage: Stage) -> None:
    await stage.manager.put_edge(EdgeSpec("edge-c", LONDON, listen="127.0.0.1:10003"))
    await stage.manager.remove_edge(A)
    await stage.clock.settle()
    assert set(stage.plane.plan.edges) == {B, "edge-c"}


async def test_a_plan_that_cannot_be_made_or_published_leaves_the_last_one_and_stops_nothing() -> None:
    planner = Counting()

    class Refusing(MemoryDataPlane):
        refusing = False

        def publish(self, plan: TrafficPlan) -> None:
            if self.refusing:
                raise OSError("no way through")
            super().publish(plan)

    plane = Refusing()
    async with Stage.of(US, EU, probed=False) as stage:
        await stage.manager.put_edge(EdgeSpec(A, LONDON))
        steering = Steering(stage.manager, plane, planner)
        await steering.initialize()
        good = plane.plan
        planner.failing = True
        stage.manager.report_load(US, 7)
        await stage.clock.settle()
        assert plane.plan is good
        assert steering.plan is good
        planner.failing, plane.refusing = False, True
        stage.manager.report_load(US, 8)
        await stage.clock.settle()
        assert plane.plan is good
        plane.refusing = False
        stage.manager.report_load(US, 9)
        await stage.clock.settle()
        assert plane.plan.generation == stage.manager.snapshot().generation
        await steering.close()


async def _until(true: Callable[[], bool]) -> None:
    """Wait for a thread, which virtual time does not know of."""
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.001)


async def test_large_plans_are_made_in_a_thread_and_the_newest_wins() -> None:
    planner = Counting()
    async with Stage.of(US, EU, probed=False) as stage:
        await stage.manager.put_edge(EdgeSpec(A, LONDON, client_place=ClientPlace.GEOIP))
        planner.gate = threading.Event()
        steering = Steering(stage.manager, stage.plane, planner)
        await steering.initialize()
        await _until(lambda: bool(planner.generations))
        for load in (5, 6, 7):
            stage.manager.report_load(US, load)
            await asyncio.sleep(0)
        assert stage.plane.plan.generation == -1, "the loop goes on while the plan is made"
        planner.gate.set()
        newest = stage.manager.snapshot().generation
        await _until(lambda: stage.plane.plan.generation >= newest)
        assert threading.get_ident() not in planner.threads
        assert len(planner.generations) == 2, "what came meanwhile is planned once"
        await steering.close()


async def test_an_attestation_that_ends_reaches_the_edges_though_nothing_else_happens() -> None:
    async with Stage.of(EU, probed=False) as stage:
        ends = stage.clock.now() + 100
        proof = {"gdpr": Attestation("report 7", ends)}
        await stage.add(region(DE, capabilities=RegionCapabilities(max_capacity=100, attestations=proof)))
        await stage.manager.put_policy(policy("eu", require=["gdpr"]))
        await stage.manager.put_service(service("api", policy="eu", hosts=("api.test",)))
        await stage.steer(A)
        assert standings(stage, name="api") == {DE: Standing.SERVING}
        await stage.pass_time(101)
        assert standings(stage, name="api") == {}


# --- acknowledgements ----------------------------------------------------------------------------


async def test_settled_once_every_connected_edge_has_acknowledged_that_revision_or_a_later_one(stage: Stage) -> None:
    stage.plane.holding = {B}
    await stage.manager.drain(US, by="ada", reason="x")
    revision = stage.manager.snapshot().revision
    waiting = asyncio.create_task(stage.steering.settled(revision, 5.0))
    await stage.pass_time(1)
    assert not waiting.done()
    assert stage.steering.lagging(revision) == (B,)
    stage.manager.report_load(EU, 9)  # a later plan of the same revision
    await stage.pass_time(1)
    stage.plane.acknowledge(B)
    await stage.clock.settle()
    assert await waiting == Settlement((A, B))


async def test_an_edge_that_lags_is_named_at_the_deadline(stage: Stage) -> None:
    stage.plane.holding = {A}
    await stage.manager.drain(US, by="ada", reason="x")
    waiting = asyncio.create_task(stage.steering.settled(stage.manager.snapshot().revision, 5.0))
    await stage.pass_time(4.9)
    assert not waiting.done()
    await stage.pass_time(0.2)
    assert await waiting == Settlement((B,), (A,))


async def test_nobody_waits_for_an_edge_that_is_not_connected(stage: Stage) -> None:
    stage.plane.holding = {A}
    await stage.manager.drain(US, by="ada", reason="x")
    waiting = asyncio.create_task(stage.steering.settled(stage.manager.snapshot().revision, 5.0))
    await stage.pass_time(1)
    stage.plane.tell(Connected(A, False))
    await stage.clock.settle()
    assert waiting.done()
    assert await waiting == Settlement((B,))
    seen = stage.steering.edges()[A]
    assert (seen.declared, seen.connected, seen.synced) == (True, False, False)


async def test_an_edge_that_left_in_step_with_the_plan_is_not_in_step_any_more(stage: Stage) -> None:
    stage.plane.tell(Connected(A, False))
    gone, there = stage.steering.edges()[A], stage.steering.edges()[B]
    assert gone.acknowledged == there.acknowledged == there.current
    assert (gone.synced, there.synced) == (False, True)


async def test_nobody_waits_for_an_edge_that_listens_and_is_not_declared_any_more(stage: Stage) -> None:
    stage.plane.holding = {B}
    await stage.manager.remove_edge(B)
    await stage.manager.drain(US, by="ada", reason="x")
    await stage.clock.settle()
    assert stage.plane.states()[B].connected
    assert stage.steering.connected() == (A,)
    assert stage.steering.settlement(stage.manager.snapshot().revision) == Settlement((A,))


async def test_what_is_said_of_each_edge(stage: Stage) -> None:
    stage.plane.holding = {B}
    stage.plane.tell(LoadReport(A, 2.0, (Load("x", "x", EU, 60, 0, 3, 100),)))
    await stage.pass_time(1)
    first, second = stage.steering.edges()[A], stage.steering.edges()[B]
    assert (first.synced, first.acknowledged) == (True, first.current)
    assert (dict(first.rates), dict(first.in_flight)) == ({EU: 50.0}, {EU: 3})
    assert second.connected
    assert not second.synced
    assert stage.steering.in_flight(EU) == 3


# --- in flight -----------------------------------------------------------------------------------


async def test_emptied_takes_a_report_that_is_newer_than_the_acknowledgement_of_every_edge(stage: Stage) -> None:
    stage.plane.holding = {B}
    await stage.manager.drain(EU, by="ada", reason="x", finished=False)
    waiting = asyncio.create_task(stage.steering.emptied(EU, stage.manager.snapshot().revision, 60.0))
    await stage.pass_time(1)
    stage.carried(A, US, 10)
    stage.carried(B, US, 10)
    await stage.pass_time(1)
    assert not waiting.done(), "B does not know of the drain yet"
    stage.plane.acknowledge(B)
    await stage.pass_time(0.5)
    assert not waiting.done(), "its last report is older than that"
    stage.carried(B, EU, in_flight=2)
    await stage.pass_time(0.5)
    assert not waiting.done()
    stage.carried(B, EU, succeeded=2)
    await stage.pass_time(0.5)
    assert await waiting == ()


async def test_edges_that_may_still_have_requests_are_named_at_the_deadline(stage: Stage) -> None:
    await stage.manager.drain(EU, by="ada", reason="x", finished=False)
    waiting = asyncio.create_task(stage.steering.emptied(EU, stage.manager.snapshot().revision, 3.0))
    await stage.pass_time(1)
    stage.carried(A, EU, in_flight=1)
    await stage.pass_time(2.1)
    assert await waiting == (A, B)


# --- events --------------------------------------------------------------------------------------


async def test_what_happens_at_edges_is_on_record_once(stage: Stage) -> None:
    told: list[Any] = [
        Rejected(A, Rejection("cluster api", "bad", 7)),
        Ejected(A, EU, "api", True, "5 errors in a row"),
        Astray(A, "api~gdpr", (US,)),
    ]
    for event in [*told, *told]:
        stage.plane.tell(event)
    stage.plane.tell(Ejected(A, EU, "api", False, "its time out is over"))
    stage.plane.tell(Connected(A, False))
    stage.plane.tell(Connected(A, True))
    await stage.clock.settle()
    assert stage.tells(A)[1:] == [
        "edge.connected",
        "edge.rejected",
        "edge.ejected",
        "edge.astray",
        "edge.readmitted",
        "edge.lost",
        "edge.connected",
    ]
    astray = next(event for event in stage.events if event.kind == "edge.astray")
    assert astray.details == {"traffic_class": "api~gdpr", "regions": [US]}
    assert dict(stage.steering.edges()[A].astray) == {"api~gdpr": (US,)}
    stage.plane.tell(Astray(A, "api~gdpr", ()))
    assert dict(stage.steering.edges()[A].astray) == {}


async def test_an_edge_that_ends_as_it_should_is_no_alarm(stage: Stage) -> None:
    stage.plane.tell(Connected("edge-not-declared", True))
    stage.plane.tell(Connected("edge-not-declared", False))
    stage.steering.let_go()
    stage.plane.tell(Connected(A, False))
    await stage.clock.settle()
    assert stage.tells("edge-not-declared") == ["edge.connected", "edge.left"]
    assert stage.tells(A)[-1] == "edge.left"


async def test_an_edge_that_reconnects_and_refuses_again_is_an_alarm_again(stage: Stage) -> None:
    for event in (
        Rejected(A, Rejection("cluster api", "bad", 7)),
        Connected(A, False),
        Connected(A, True),
        Rejected(A, Rejection("cluster api", "bad", 9)),
    ):
        stage.plane.tell(event)
    await stage.clock.settle()
    assert stage.tells(A).count("edge.rejected") == 2


async def test_an_edge_that_reconnects_and_ejects_again_is_on_record_again(stage: Stage) -> None:
    ejected = Ejected(A, EU, "api", True, "5 errors in a row")
    for event in (ejected, ejected, Connected(A, False), Connected(A, True), ejected):
        stage.plane.tell(event)
    await stage.clock.settle()
    assert stage.tells(A).count("edge.ejected") == 2


# --- the system ----------------------------------------------------------------------------------


async def test_a_system_with_a_plane_steers_and_one_without_does_not() -> None:
    plane = MemoryDataPlane()
    system = await create_multi_region_system(plane=plane)
    try:
        assert system.steering is not None
        await system.region_manager.register_region(region(EU))
        await system.region_manager.put_edge(EdgeSpec(A, LONDON))
        revision = system.region_manager.snapshot().revision
        await asyncio.sleep(0)
        assert (await system.steering.settled(revision, 5.0)).lagging == ()
        assert set(plane.plan.edges) == {A}
    finally:
        await system.close()
    plain = await create_multi_region_system()
    assert plain.steering is None
    await plain.close()
