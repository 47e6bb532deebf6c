"""Verified, and no request lost that need not be: L14 and L15 where edges carry the traffic; L4, L9 and L10 there too.

Everything goes through the real manager, failure handler, orchestrator and steering, in virtual time.
"""

from __future__ import annotations

import asyncio

import pytest

from mahavishnu.integrations.multi_region.core.events import Event, EventKind
from mahavishnu.integrations.multi_region.core.failover import FailoverEvent
from mahavishnu.integrations.multi_region.core.model import Phase, SafetyLimits
from mahavishnu.integrations.multi_region.core.traffic import Standing
from mahavishnu.integrations.multi_region.ports.dataplane import Connected, Load, LoadReport
from mahavishnu.integrations.multi_region.shell.orchestrator import DeploymentOrchestrator
from mahavishnu.integrations.multi_region.testing.builders import region, service
from mahavishnu.integrations.multi_region.testing.stage import Stage

US, USW, EU, DE = "us-east-1", "us-west-2", "eu-west-1", "eu-central-1"
A, B = "edge-a", "edge-b"


def only(stage: Stage, kind: EventKind, subject: str | None = None) -> Event:
    """The one event of a kind."""
    (event,) = (e for e in stage.events if e.kind is kind and subject in (None, e.subject))
    return event


# --- L14: verified -------------------------------------------------------------------------------


async def test_L14_a_failover_runs_from_the_first_failed_signal_to_the_last_edges_acknowledgement() -> None:
    async with Stage.of(US, USW, EU, edges=[A, B]) as stage:
        await stage.pass_time(60)
        stage.plane.holding = {B}
        stage.fail(EU)
        while stage.phase(EU) is not Phase.DOWN:
            await stage.pass_time(0.1)
        verdict = stage.clock.now()
        first = verdict - (stage.clock.monotonic() - (stage.manager.doubt_since(EU) or 0.0))
        assert not stage.handler.events
        await stage.pass_time(1.5)
        stage.plane.acknowledge(B)
        await stage.clock.settle()
        (done,) = stage.handler.events
        assert (done.acknowledged_by, done.lagging) == ((A, B), ())
        assert (done.first_signal_at, done.verdict_at) == pytest.approx((first, verdict), abs=0.2)
        assert done.acknowledged_at == pytest.approx(stage.clock.now(), abs=0.01)
        assert done.duration_ms == pytest.approx(1000 * (stage.clock.now() - done.first_signal_at), abs=1)
        _both_ends_are_told(stage, done)


def _both_ends_are_told(stage: Stage, done: FailoverEvent) -> None:
    written, seen = only(stage, EventKind.FAILOVER_COMPLETED), only(stage, EventKind.FAILOVER_ACKNOWLEDGED)
    for event in (written, seen):
        assert event.details["first_signal_at"] == done.first_signal_at
        assert event.details["verdict_at"] == done.verdict_at
        assert event.details["planned_at"] == done.planned_at
    assert seen.details["acknowledged_at"] == done.acknowledged_at
    assert (seen.details["acknowledged_by"], seen.details["lagging"]) == ([A, B], [])
    assert seen.details["duration_ms"] == done.duration_ms
    assert written.at < seen.at


async def test_L14_an_edge_that_lags_is_named_and_holds_up_neither_the_write_nor_the_next_failover() -> None:
    limits = SafetyLimits(blind_share=1.0, max_removed=1.0)
    async with Stage.of(US, USW, EU, DE, edges=[A, B], limits=limits, probed=False) as stage:
        stage.plane.holding = {B}
        stage.requests(EU, failed=5)
        stage.requests(DE, failed=5)
        await stage.pass_time(0.1)
        assert stage.serving() == {US, USW}
        assert stage.count(EventKind.FAILOVER_COMPLETED) == 2, "written, though no edge but one has acknowledged"
        assert not stage.handler.events
        await stage.pass_time(5)
        assert [(e.from_region, e.acknowledged_at, e.lagging) for e in stage.handler.events] == [
            (EU, None, (B,)),
            (DE, None, (B,)),
        ]
        assert only(stage, EventKind.FAILOVER_ACKNOWLEDGED, DE).reason == "edges lag: edge-b"


async def test_L14_who_asks_for_a_failover_is_told_when_edges_have_taken_it_over() -> None:
    async with Stage.of(US, USW, EU, edges=[A], probed=False) as stage:
        stage.plane.holding = {A}
        asked = [asyncio.create_task(stage.handler.handle_region_failure(EU, "x")) for _ in range(2)]
        await stage.pass_time(1)
        assert not any(task.done() for task in asked)
        stage.plane.acknowledge(A)
        await stage.clock.settle()
        assert asked[0].result() is asked[1].result()
        assert asked[0].result().duration_ms == pytest.approx(1000)


async def test_L14_without_edges_nothing_is_said_of_them() -> None:
    async with Stage.of(US, USW, EU, probed=False) as stage:
        done = await stage.handler.handle_region_failure(EU, "x")
        assert (done.acknowledged_by, done.lagging, done.acknowledged_at) == ((), (), done.completed_at)
        assert stage.count(EventKind.FAILOVER_ACKNOWLEDGED) == 0


async def test_L14_a_shift_is_done_when_every_edge_has_acknowledged_it_and_says_which_lags() -> None:
    async with Stage.of(US, USW, EU, edges=[A, B], probed=False) as stage:
        orchestrator = DeploymentOrchestrator(stage.manager, steering=stage.steering)
        stage.plane.holding = {B}
        deployment = await orchestrator.deploy_active_active([US, EU], service="api")
        waiting = asyncio.create_task(deployment.settled())
        await stage.pass_time(2)
        assert deployment.state.value == "serving"
        assert not waiting.done()
        assert stage.count(EventKind.DEPLOYMENT_ACKNOWLEDGED) == 0
        stage.plane.acknowledge(B)
        await stage.clock.settle()
        assert waiting.done()
        event = only(stage, EventKind.DEPLOYMENT_ACKNOWLEDGED)
        assert (event.details["acknowledged_by"], event.details["lagging"]) == ([A, B], [])
        assert event.details["weights"] == {US: 0.5, EU: 0.5}

        second = await orchestrator.deploy_active_active([US, USW], service="api")
        waiting = asyncio.create_task(second.settled())
        await stage.pass_time(10)
        assert waiting.done(), "an edge that lags for good holds nothing up"
        late = [e for e in stage.events if e.kind is EventKind.DEPLOYMENT_ACKNOWLEDGED and e.details["lagging"]]
        assert [(e.subject, e.details["lagging"], e.reason) for e in late] == [
            (second.deployment_id, [B], "edges lag: edge-b")
        ]
        await orchestrator.close()


async def test_L14_a_shift_that_is_overtaken_is_on_record_as_far_as_it_came() -> None:
    async with Stage.of(US, USW, EU, edges=[A, B], probed=False) as stage:
        orchestrator = DeploymentOrchestrator(stage.manager, steering=stage.steering)
        stage.plane.holding = {B}
        await orchestrator.deploy_blue_green(
            [US], [EU], 1.0, steps=[20, 100], step_after=2.0, analyse=False, service="api"
        )
        await stage.pass_time(4)
        _, first = [e for e in stage.events if e.kind is EventKind.DEPLOYMENT_ACKNOWLEDGED]
        assert first.details["weights"] == {US: 0.8, EU: 0.2}
        assert (first.details["overtaken"], first.details["lagging"]) == (True, [B])
        assert first.reason == "overtaken by the next shift: edges lag: edge-b"
        await orchestrator.close()


# --- L15: no request is lost that need not be ----------------------------------------------------


async def test_L15_a_drain_is_done_when_no_edge_has_a_request_in_flight() -> None:
    async with Stage.of(US, USW, EU, edges=[A, B], probed=False) as stage:
        stage.handler = type(stage.handler)(stage.manager, stage.router, drain_timeout=60.0, steering=stage.steering)
        draining = asyncio.create_task(stage.handler.drain_gracefully(EU, by="ada", reason="new kernel"))
        for flying in (3, 1):
            await stage.pass_time(1)
            stage.carried(A, EU, 2, in_flight=flying)
            stage.carried(B, US, 9)
        await stage.pass_time(1)
        assert not draining.done()
        targets = [t for kind in stage.plane.plan.edges[A].classes for t in kind.targets if t.region_id == EU]
        assert {target.standing for target in targets} == {Standing.DRAINING}
        stage.carried(A, EU, 1)
        await stage.clock.settle()
        assert draining.done()
        assert (await draining).state.value == "drained"
        assert only(stage, EventKind.DRAIN_COMPLETED).details == {}


async def test_L15_a_drain_ends_at_its_deadline_and_says_where_requests_may_be_left() -> None:
    async with Stage.of(US, USW, EU, edges=[A, B], probed=False) as stage:
        draining = asyncio.create_task(stage.handler.drain_gracefully(EU, by="ada", reason="new kernel"))
        await stage.pass_time(1)
        stage.carried(A, EU, in_flight=1)
        stage.carried(B, US, 9)
        await stage.pass_time(0.9)
        assert not draining.done()
        await stage.pass_time(0.2)
        assert draining.done()
        assert only(stage, EventKind.DRAIN_COMPLETED).details == {"busy_edges": [A]}


async def test_L15_a_drain_waits_for_no_edge_that_is_gone_and_names_it() -> None:
    async with Stage.of(US, USW, EU, edges=[A, B], probed=False) as stage:
        draining = asyncio.create_task(stage.handler.drain_gracefully(EU, by="ada", reason="new kernel"))
        await stage.pass_time(0.5)
        stage.carried(A, US, 1)
        stage.plane.tell(Connected(B, False))
        await stage.clock.settle()
        assert draining.done()
        assert only(stage, EventKind.DRAIN_COMPLETED).details == {"busy_edges": [B]}


async def test_L15_a_drain_that_no_edge_hears_of_says_so() -> None:
    async with Stage.of(US, USW, EU, edges=[A, B], probed=False) as stage:
        for gone in (A, B):
            stage.plane.tell(Connected(gone, False))
        draining = asyncio.create_task(stage.handler.drain_gracefully(EU, by="ada", reason="new kernel"))
        await stage.pass_time(0.5)
        assert draining.done()
        assert only(stage, EventKind.DRAIN_COMPLETED).details == {"busy_edges": [A, B]}


# --- L4, L9, L10 with edges ----------------------------------------------------------------------


async def test_L4_what_edges_meet_speaks_louder_than_a_passing_probe() -> None:
    async with Stage.of(US, USW, EU, edges=[A]) as stage:
        await stage.pass_time(60)
        for _ in range(60):
            stage.carried(A, EU, 3, 7)
            await stage.pass_time(1)
        assert stage.phase(EU) is Phase.DOWN
        assert EU not in stage.serving()


async def test_L9_L10_our_own_failed_probes_never_empty_a_service_that_edges_see_alive() -> None:
    limits = SafetyLimits(window_s=10.0, blind_share=1.0, min_serving=0)
    async with Stage.of(region(EU, compliance=["gdpr"]), DE, US, limits=limits) as stage:
        await stage.manager.put_service(service("api", hosts=("api.test",)))
        await stage.steer(A)
        await stage.pass_time(60)
        stage.fail(EU, DE, US)
        for _ in range(120):
            told = [
                Load("api", kind, name, 20, 0, 0, 20) for name, kind in ((EU, "api~gdpr"), (DE, "api"), (US, "api"))
            ]
            stage.plane.tell(LoadReport(A, 1.0, tuple(told)))
            await stage.pass_time(1)
            for kind_told in stage.plane.plan.edges[A].classes:
                if kind_told.name in ("api", "api~gdpr"):
                    assert any(target.standing is Standing.SERVING for target in kind_told.targets), kind_told.name
        assert stage.phase(EU) is Phase.DOWN
