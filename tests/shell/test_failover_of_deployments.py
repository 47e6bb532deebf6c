"""Failovers of regions that serve active-passive deployments: the load is accounted for, and both name one heir."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mahavishnu.integrations.multi_region.core.events import EventKind
from mahavishnu.integrations.multi_region.core.model import FailbackMode, Service
from mahavishnu.integrations.multi_region.errors import FailoverRefusedError
from mahavishnu.integrations.multi_region.shell.orchestrator import Deployment, DeploymentOrchestrator
from mahavishnu.integrations.multi_region.testing.stage import Stage

EAST, EUROPE, WEST = "us-east-1", "eu-west-1", "us-west-2"


@asynccontextmanager
async def web(*backups: str, mode: str = "automatic", **loads: float) -> AsyncIterator[tuple[Stage, Deployment]]:
    """A service that EAST serves with 40 of 100 in use, its deployment settled; ``loads`` of the others."""
    async with Stage.of(EAST, EUROPE, WEST) as stage:
        orchestrator = DeploymentOrchestrator(stage.manager)
        await stage.pass_time(40)
        deployment = await orchestrator.deploy_active_passive(
            EAST, list(backups), service="web", failover_strategy=mode
        )
        stage.manager.report_load(EAST, 40.0)
        for name, load in loads.items():
            stage.manager.report_load({"europe": EUROPE, "west": WEST}[name], load)
        await stage.pass_time(5)
        yield stage, deployment
        await orchestrator.close()


def load(stage: Stage) -> dict[str, float]:
    """What each region carries, in requests/s."""
    return {name: view.load for name, view in stage.manager.snapshot().regions.items()}


async def test_L7_where_the_only_backup_is_full_the_lost_region_keeps_its_place_and_its_load() -> None:
    async with web(EUROPE, europe=95.0) as (stage, deployment):
        stage.fail(EAST)
        await stage.pass_time(60)
        kinds = {event.kind for event in stage.events}
        assert EventKind.FAILOVER_REFUSED in kinds
        assert EventKind.FAILOVER_COMPLETED not in kinds
        assert deployment.weights == {EAST: 1.0, EUROPE: 0.0}
        assert "eu-west-1 has no room" in (deployment.held or "")
        assert load(stage) == {EAST: 40.0, EUROPE: 95.0, WEST: 0.0}


async def test_L7_a_full_backup_is_not_promoted_when_other_services_of_the_region_move() -> None:
    async with web(EUROPE, europe=95.0) as (stage, deployment):
        await stage.manager.put_service(Service("api"))
        stage.fail(EAST)
        await stage.pass_time(60)
        assert load(stage) == {EAST: 20.0, EUROPE: 95.0, WEST: 20.0}
        assert deployment.weights == {EAST: 1.0, EUROPE: 0.0}
        assert "eu-west-1 has no room" in (deployment.held or "")


async def test_what_the_heir_cannot_carry_is_shed_and_the_heir_is_promoted_all_the_same() -> None:
    async with web(EUROPE, europe=80.0) as (stage, deployment):
        stage.fail(EAST)
        await stage.pass_time(60)
        assert load(stage) == {EAST: 30.0, EUROPE: 90.0, WEST: 0.0}
        assert deployment.weights == {EAST: 0.0, EUROPE: 1.0}


async def test_the_load_of_a_service_that_waits_for_a_person_waits_too() -> None:
    async with web(EUROPE, mode="manual", europe=10.0) as (stage, deployment):
        await stage.manager.put_service(Service("api"))
        stage.manager.report_load(WEST, 10.0)
        stage.fail(EAST)
        await stage.pass_time(60)
        before = load(stage)
        assert before[EAST] == 20.0
        event = await stage.handler.fail_over(EAST, reason="it will not come back", by="ada")
        await stage.pass_time(5)
        assert event.load == 20.0
        assert deployment.weights == {EAST: 0.0, EUROPE: 1.0}
        assert load(stage)[EAST] == 0.0
        assert sum(load(stage).values()) == sum(before.values())


@pytest.mark.parametrize("mode", ["automatic", "manual"])
async def test_a_failover_by_name_ends_with_that_region_as_the_one_that_serves(mode: str) -> None:
    async with web(EUROPE, WEST, mode=mode) as (stage, deployment):
        event = await stage.handler.failover_to(EAST, WEST, reason="works", by="ada")
        await stage.pass_time(5)
        assert event.to_region == WEST
        assert deployment.weights == {EAST: 0.0, EUROPE: 0.0, WEST: 1.0}


async def test_who_is_named_but_lost_at_once_is_passed_over() -> None:
    async with web(EUROPE, WEST, mode="manual") as (stage, deployment):
        stage.manager.regions[EAST].health_score = 0.0
        await stage.handler.failover_to(EAST, WEST, reason="works", by="ada")
        await stage.manager.drain(WEST, by="ada", reason="no, not this one")
        await stage.pass_time(5)
        assert deployment.weights == {EAST: 0.0, EUROPE: 1.0, WEST: 0.0}


async def test_a_region_that_is_given_back_keeps_no_heirs_of_the_failover_that_is_over() -> None:
    async with web(EUROPE) as (stage, _):
        await stage.manager.put_service(Service("api", failback=FailbackMode.MANUAL))
        stage.fail(EAST)
        await stage.pass_time(60)
        assert stage.manager.registry.failures[EAST].heirs == {"web": EUROPE}
        stage.recover(EAST)
        await stage.pass_time(600)
        left = stage.manager.registry.failures[EAST]
        assert (left.services, left.heirs) == (("api",), {})


async def test_what_only_a_person_moves_is_on_record_as_that_and_is_no_refused_failover() -> None:
    async with web(EUROPE, WEST, mode="manual") as (stage, _):
        with pytest.raises(FailoverRefusedError, match="only a person moves web off us-east-1") as caught:
            await stage.handler.handle_region_failure(EAST, "fire")
        await stage.clock.settle()
        assert caught.value.rule == "manual_failover"
        assert stage.events[-1].details["rule"] == "manual_failover"
        assert stage.handler.get_failover_stats()["refused_failovers"] == 0
