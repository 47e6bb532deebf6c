"""Declared deployments: taken up once, kept while a command stands, replaced and taken back with the declaration."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import pytest

from mahavishnu.integrations.multi_region.core.deployment import State
from mahavishnu.integrations.multi_region.core.model import (
    DeploymentSpec,
    DeploymentType,
    FailbackMode,
    RoutingStrategy,
    Service,
)
from mahavishnu.integrations.multi_region.core.recovery import waiting_services
from mahavishnu.integrations.multi_region.errors import NoEligibleRegionError, UnknownServiceError
from mahavishnu.integrations.multi_region.ports.executor import ScriptedExecutor
from mahavishnu.integrations.multi_region.ports.store import MemoryStore
from mahavishnu.integrations.multi_region.shell.router import RegionAwareRouter
from tests.shell.deploying import NAMES, Stage, region, staged

EAST, WEST, EUROPE = NAMES[:3]


def service(
    *regions: str,
    passive: bool = False,
    weights: Mapping[str, float] | None = None,
    kind: DeploymentType | None = None,
    strategy: RoutingStrategy = RoutingStrategy.WEIGHTED,
    failback: FailbackMode | None = None,
) -> Service:
    chosen = kind or (DeploymentType.ACTIVE_PASSIVE if passive else DeploymentType.ACTIVE_ACTIVE)
    spec = DeploymentSpec(chosen, regions, weights or {})
    return Service("web", deployment=spec, strategy=strategy, failback=failback)


async def declare(stage: Stage, wanted: Service) -> None:
    await stage.manager.put_service(wanted)
    await stage.orchestrator.adopt_declared()


def ids(stage: Stage) -> list[str]:
    return [d.deployment_id for d in stage.orchestrator.list_deployments()]


def of_record(stage: Stage) -> str | None:
    return stage.manager.registry.of_record.get("web")


async def spread(stage: Stage, count: int = 40) -> dict[str, int]:
    router = RegionAwareRouter(stage.manager)
    decisions = [await router.route_request({"service": "web"}) for _ in range(count)]
    return dict(Counter(decision.selected_region for decision in decisions))


async def test_a_declared_active_active_becomes_the_plan_of_record() -> None:
    async with staged() as stage:
        await declare(stage, service(EAST, WEST))
        (found,) = stage.orchestrator.list_deployments()
        assert (found.deployment_id, found.of_record, found.state) == ("web-1", True, State.SERVING)
        assert (found.strategy, found.regions) == (DeploymentType.ACTIVE_ACTIVE, [EAST, WEST])
        assert set(await spread(stage)) == {EAST, WEST}


async def test_of_a_declared_active_passive_the_first_region_serves_alone() -> None:
    async with staged() as stage:
        await declare(stage, service(WEST, EAST, EUROPE, passive=True))
        (found,) = stage.orchestrator.list_deployments()
        assert found.roles == {WEST: "active", EAST: "standby", EUROPE: "standby"}
        assert set(await spread(stage)) == {WEST}
        stage.fell(WEST)
        await stage.turn()
        assert (found.state, found.roles[EAST]) == (State.SERVING, "active")


async def test_the_loop_takes_a_declaration_up_by_itself() -> None:
    async with staged() as stage:
        await stage.manager.put_service(service(EAST, WEST))
        assert ids(stage) == []
        await stage.turn()
        assert of_record(stage) == "web-1"


async def test_a_start_takes_up_what_the_store_holds_and_nothing_twice() -> None:
    store = MemoryStore()
    async with staged(store=store) as stage:
        await stage.manager.put_service(service(EAST, WEST))
        for _ in range(3):
            await stage.orchestrator.initialize()
            await stage.turn()
        assert ids(stage) == ["web-1"]
        revision = (await store.load()).revision
        await stage.orchestrator.adopt_declared()
        assert (await store.load()).revision == revision


async def test_another_declaration_replaces_the_one_before() -> None:
    async with staged() as stage:
        await declare(stage, service(EAST, WEST))
        await declare(stage, service(WEST, EUROPE))
        assert (ids(stage), of_record(stage)) == (["web-1", "web-2"], "web-2")
        await declare(stage, service(EUROPE, WEST, passive=True))
        assert of_record(stage) == "web-3"
        assert set(await spread(stage)) == {EUROPE}


async def test_traffic_stays_until_the_newly_declared_region_can_take_it() -> None:
    async with staged() as stage:
        await declare(stage, service(EAST))
        stage.fell(WEST)
        await declare(stage, service(WEST))
        assert (of_record(stage), "is down" in (stage.orchestrator.get_deployment("web-2").held or "")) == (
            "web-1",
            True,
        )
        assert set(await spread(stage)) == {EAST}
        stage.rose(WEST)
        await stage.turn()
        assert (of_record(stage), set(await spread(stage))) == ("web-2", {WEST})


async def test_a_command_stands_until_the_declaration_changes() -> None:
    async with staged() as stage:
        await declare(stage, service(EAST))
        switched = await stage.orchestrator.deploy_blue_green([EAST], [WEST], 0, service="web")
        await declare(stage, replace(service(EAST), priority=5))  # where it runs is as before
        assert (of_record(stage), ids(stage)) == (switched.deployment_id, ["web-1", "web-2"])
        await declare(stage, service(EUROPE))
        assert of_record(stage) == "web-3"


async def test_what_was_rolled_back_by_a_person_is_not_taken_up_again() -> None:
    async with staged() as stage:
        await declare(stage, service(EAST))
        await stage.orchestrator.rollback("web-1", by="ada")
        await stage.turn()
        assert (ids(stage), of_record(stage)) == (["web-1"], None)


async def test_a_service_that_is_not_declared_any_more_is_unknown_again() -> None:
    async with staged() as stage:
        await declare(stage, service(EAST))
        await declare(stage, service(WEST))
        await stage.manager.remove_service("web")
        await stage.orchestrator.adopt_declared()
        assert of_record(stage) is None
        with pytest.raises(UnknownServiceError):
            await spread(stage, 1)
        await declare(stage, service(EAST))  # and comes back as if it had never been there
        assert (of_record(stage), set(await spread(stage))) == ("web-3", {EAST})


async def test_without_a_declared_deployment_the_service_may_run_anywhere_again() -> None:
    async with staged() as stage:
        await declare(stage, service(EAST))
        await declare(stage, Service("web", strategy=RoutingStrategy.ROUND_ROBIN))
        await stage.turn()
        assert of_record(stage) is None
        assert stage.orchestrator.get_deployment("web-1").state is State.ROLLED_BACK
        assert set(await spread(stage)) == set(NAMES[:3])


async def test_a_plan_that_a_command_made_outlives_the_declaration() -> None:
    async with staged() as stage:
        await declare(stage, service(EAST))
        await stage.orchestrator.deploy_active_active([WEST], service="web")
        await stage.manager.remove_service("web")
        await stage.orchestrator.adopt_declared()
        assert (of_record(stage), set(await spread(stage))) == ("web-2", {WEST})


async def test_declared_weights_hold_among_the_active_regions() -> None:
    async with staged() as stage:
        await declare(stage, service(EAST, WEST, weights={EAST: 3, WEST: 1}))
        assert of_record(stage) == "web-1"
        assert (await spread(stage, 400))[WEST] == pytest.approx(100, abs=3)
        await declare(stage, service(EAST, WEST, weights={EAST: 1, WEST: 3}))  # not another deployment
        assert ids(stage) == ["web-1"]
        assert (await spread(stage, 400))[WEST] == pytest.approx(300, abs=3)


async def test_weights_do_not_bring_a_region_in_that_stands_by() -> None:
    async with staged() as stage:
        await declare(stage, service(EAST, WEST, passive=True, weights={EAST: 1, WEST: 9}))
        assert set(await spread(stage)) == {EAST}


async def test_round_robin_does_not_repeat_itself_for_having_a_plan() -> None:
    async with staged() as stage:
        await declare(stage, service(EAST, WEST, EUROPE, strategy=RoutingStrategy.ROUND_ROBIN))
        router = RegionAwareRouter(stage.manager)
        found = []
        for turn in range(30):
            (stage.fell if turn % 4 == 0 else stage.rose)(EAST)
            found.append((await router.route_request({"service": "web"})).selected_region)
        assert all(one != other for one, other in pairwise(found))


@pytest.mark.parametrize("mode", [FailbackMode.MANUAL, FailbackMode.SCHEDULED])
async def test_a_declared_failback_holds_for_active_active(mode: FailbackMode) -> None:
    async with staged() as stage:
        await declare(stage, service(EAST, WEST))
        assert waiting_services(stage.manager.snapshot(), EAST) == ()
        await declare(stage, service(EAST, WEST, failback=mode))
        assert (ids(stage), waiting_services(stage.manager.snapshot(), EAST)) == (["web-1"], ("web",))


async def test_a_declared_failback_holds_for_active_passive() -> None:
    async with staged() as stage:
        await declare(stage, service(EAST, WEST, passive=True))
        assert stage.orchestrator.get_deployment("web-1").view.failback is FailbackMode.MANUAL
        await declare(stage, service(EAST, WEST, passive=True, failback=FailbackMode.AUTO))
        stage.fell(EAST)
        await stage.turn()
        stage.rose(EAST)
        await stage.pass_time(70)
        assert stage.orchestrator.get_deployment("web-1").roles[EAST] == "active"


async def test_blue_green_is_not_taken_up() -> None:
    async with staged() as stage:
        mixed = service(EAST, WEST, kind=DeploymentType.BLUE_GREEN, strategy=RoutingStrategy.ROUND_ROBIN)
        await declare(stage, mixed)
        assert (ids(stage), set(await spread(stage))) == ([], {EAST, WEST})


async def test_nothing_is_run_in_regions_for_a_declaration() -> None:
    executor = ScriptedExecutor()
    async with staged(executor=executor) as stage:
        await declare(stage, service(EAST, WEST))
        assert (of_record(stage), executor.tasks) == ("web-1", [])


async def test_two_processes_take_a_declaration_up_once() -> None:
    store = MemoryStore()
    async with staged(store=store) as first, staged(store=store) as second:
        await first.manager.put_service(service(EAST, WEST))
        for _ in range(50):
            if "web" in second.manager.services:
                break
            await asyncio.sleep(0.01)
        await asyncio.gather(first.orchestrator.adopt_declared(), second.orchestrator.adopt_declared())
        await asyncio.gather(first.turn(), second.turn())
        assert (ids(first), ids(second)) == (["web-1"], ["web-1"])
        assert (of_record(first), of_record(second)) == ("web-1", "web-1")


async def test_a_region_that_is_lost_leaves_the_others_serving() -> None:
    async with staged(region(EAST), region(WEST)) as stage:
        await declare(stage, service(EAST, WEST))
        stage.fell(EAST)
        await stage.turn()
        assert set(await spread(stage)) == {WEST}
        stage.fell(WEST)
        with pytest.raises(NoEligibleRegionError):
            await spread(stage, 1)
