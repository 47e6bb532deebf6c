"""DeploymentOrchestrator: what can be asked for, what is refused, who leads, and that requests are steered."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.adapters.stores.sqlite import SqliteStore
from mahavishnu.integrations.multi_region.core.deployment import State, Waves
from mahavishnu.integrations.multi_region.core.election import Leader, elect
from mahavishnu.integrations.multi_region.core.events import EventKind
from mahavishnu.integrations.multi_region.core.model import DeploymentSpec, DeploymentType, RoutingStrategy, Service
from mahavishnu.integrations.multi_region.errors import (
    InvalidInputError,
    NoEligibleRegionError,
    RefusedError,
    UnknownRegionError,
)
from mahavishnu.integrations.multi_region.ports.executor import ScriptedExecutor
from mahavishnu.integrations.multi_region.shell.failure import FailureHandler
from mahavishnu.integrations.multi_region.shell.orchestrator import DeploymentOrchestrator, summary
from mahavishnu.integrations.multi_region.shell.router import RegionAwareRouter
from tests.shell.deploying import NAMES, SMOOTH, VirtualClock, region, staged, states

EAST, WEST, EUROPE = NAMES[:3]


# --- what is refused ----------------------------------------------------------------------------

Ask = Callable[[DeploymentOrchestrator], Awaitable[Any]]
BAD: dict[str, tuple[Ask, str]] = {
    "unknown region": (lambda o: o.deploy_active_active([EAST, "us-eest-1"]), "did you mean 'us-east-1'"),
    "no region": (lambda o: o.deploy_active_active([]), "regions: \\[\\] is not allowed"),
    "a text for a list": (lambda o: o.deploy_active_active(EAST), "a list with at least one region id"),
    "a region twice": (lambda o: o.deploy_active_active([EAST, EAST]), "each region once"),
    "unknown primary": (lambda o: o.deploy_active_passive("nowhere", [WEST]), "nowhere"),
    "unknown backup": (lambda o: o.deploy_active_passive(EAST, ["nowhere"]), "nowhere"),
    "no backup": (lambda o: o.deploy_active_passive(EAST, []), "backups"),
    "primary among backups": (lambda o: o.deploy_active_passive(EAST, [WEST, EAST]), "each region once"),
    "unknown failback": (lambda o: o.deploy_active_passive(EAST, [WEST], failback="soon"), "failback"),
    "negative failback": (lambda o: o.deploy_active_passive(EAST, [WEST], failback_after=-1), "failback_after"),
    "unknown blue": (lambda o: o.deploy_blue_green(["nowhere"], [WEST]), "nowhere"),
    "no green": (lambda o: o.deploy_blue_green([EAST], []), "green_regions"),
    "blue equal to green": (lambda o: o.deploy_blue_green([EAST], [EAST]), "regions that are not blue too"),
    "blue meets green": (lambda o: o.deploy_blue_green([EAST, WEST], [WEST]), "regions that are not blue too"),
    "negative switch_after": (lambda o: o.deploy_blue_green([EAST], [WEST], -1), "switch_after: -1"),
    "switch_after nan": (lambda o: o.deploy_blue_green([EAST], [WEST], math.nan), "switch_after: nan"),
    "switch_after inf": (lambda o: o.deploy_blue_green([EAST], [WEST], math.inf), "switch_after: inf"),
    "negative step_after": (
        lambda o: o.deploy_blue_green([EAST], [WEST], steps=(1, 100), step_after=-1),
        "step_after",
    ),
    "negative window": (lambda o: o.deploy_blue_green([EAST], [WEST], rollback_window=-1), "rollback_window"),
    "steps below 100": (lambda o: o.deploy_blue_green([EAST], [WEST], steps=(1, 50)), "rise from above 0 to 100"),
    "steps falling": (lambda o: o.deploy_blue_green([EAST], [WEST], steps=(50, 10, 100)), "rise from above 0"),
    "steps no list": (lambda o: o.deploy_blue_green([EAST], [WEST], steps=100), "rise from above 0"),  # type: ignore[arg-type]  # what a caller may get wrong
    "unknown replication": (lambda o: o.deploy_active_active([EAST], "everywhere"), "replication_strategy"),
    "unknown failover": (lambda o: o.deploy_active_active([EAST], "full", "maybe"), "failover_strategy"),
    "nothing to wait with": (lambda o: o.deploy_active_active([EAST], "full", "manual"), "failover_strategy"),
    "unknown on_failure": (lambda o: o.deploy_active_active([EAST], on_failure="shrug"), "on_failure"),
    "empty service": (lambda o: o.deploy_active_active([EAST], service=""), "service"),
    "waves for nobody": (lambda o: o.deploy_active_active([EAST], waves=Waves()), "an orchestrator with an executor"),
    "election of nobody": (lambda o: o.elect_leader([]), "regions"),
    "election of strangers": (lambda o: o.elect_leader([EAST, "nowhere"]), "nowhere"),
}


@pytest.mark.parametrize("case", BAD, ids=str)
async def test_bad_input_is_refused_and_changes_nothing(case: str) -> None:
    ask, says = BAD[case]
    async with staged() as stage:
        before = (await stage.manager.store.load()).revision
        with pytest.raises((InvalidInputError, UnknownRegionError), match=says):
            await ask(stage.orchestrator)
        assert (await stage.manager.store.load()).revision == before
        assert stage.orchestrator.list_deployments() == []


async def test_bad_waves_are_refused_and_change_nothing() -> None:
    async with staged(executor=ScriptedExecutor()) as stage:
        before = (await stage.manager.store.load()).revision
        with pytest.raises(InvalidInputError, match=r"waves\.groups"):
            await stage.orchestrator.deploy_active_active([EAST, WEST], waves=Waves(groups=((EAST,),)))
        assert (await stage.manager.store.load()).revision == before


async def test_an_unknown_deployment_is_named_with_the_nearest() -> None:
    async with staged() as stage:
        await stage.orchestrator.deploy_active_active([EAST])
        with pytest.raises(InvalidInputError, match="did you mean 'active-active-1'"):
            stage.orchestrator.get_deployment("active-activ-1")


# --- what can be read ---------------------------------------------------------------------------


async def test_a_deployment_can_be_read_awaited_listed_and_rolled_back() -> None:
    async with staged() as stage:
        first = await stage.orchestrator.deploy_active_active([EAST, WEST], service="web")
        second = await stage.orchestrator.deploy_blue_green([EAST, WEST], [EUROPE], 0, service="web")
        assert await second.settled(1) is State.SERVING
        assert second.strategy is DeploymentType.BLUE_GREEN
        assert second.regions == [EAST, WEST, EUROPE]
        assert second.weights == {EAST: 0.0, WEST: 0.0, EUROPE: 1.0}
        assert second.roles == {EAST: "blue", WEST: "blue", EUROPE: "green"}
        assert states(second) == SMOOTH
        assert (first.of_record, second.of_record) == (False, True)
        assert [d.deployment_id for d in stage.orchestrator.list_deployments()] == ["web-1", "web-2"]
        assert [row["weights"] for row in summary([second])] == [second.weights]
        await second.rollback(by="ops", reason="the page is blank")
        assert await second.settled(1) is State.ROLLED_BACK
        assert (first.of_record, second.of_record) == (True, False)
        assert "the page is blank" in second.history[-2].why


async def test_without_a_service_each_deployment_is_its_own() -> None:
    async with staged() as stage:
        one = await stage.orchestrator.deploy_active_active([EAST])
        two = await stage.orchestrator.deploy_active_active([WEST])
        assert (one.service, two.service) == ("active-active-1", "active-active-2")
        assert one.of_record and two.of_record


# --- requests are steered -----------------------------------------------------------------------


async def routed(router: RegionAwareRouter, strategy: RoutingStrategy, count: int = 1000) -> Counter[str]:
    context = {"service": "web", "user_location": {"latitude": 10.0, "longitude": -100.0}}
    return Counter([(await router.route_request(context, strategy)).selected_region for _ in range(count)])


@pytest.mark.parametrize("strategy", RoutingStrategy)
async def test_a_90_10_split_holds_in_every_strategy(strategy: RoutingStrategy) -> None:
    async with staged() as stage:
        router = RegionAwareRouter(stage.manager)
        deployment = await stage.orchestrator.deploy_blue_green([EAST], [WEST], 0, steps=(10, 100), service="web")
        assert deployment.weights == {EAST: 0.9, WEST: 0.1}
        counts = await routed(router, strategy)
        assert set(counts) == {EAST, WEST}
        assert abs(counts[WEST] - 100) <= 2


@pytest.mark.parametrize("strategy", RoutingStrategy)
async def test_only_active_regions_get_traffic_in_every_strategy(strategy: RoutingStrategy) -> None:
    async with staged() as stage:
        router = RegionAwareRouter(stage.manager)
        await stage.orchestrator.deploy_active_passive(WEST, [EUROPE], service="web")
        assert set(await routed(router, strategy, 100)) == {WEST}
        stage.fell(WEST)
        await stage.turn()
        assert set(await routed(router, strategy, 100)) == {EUROPE}


async def test_a_group_of_several_regions_gets_its_share_as_a_group() -> None:
    async with staged() as stage:
        router = RegionAwareRouter(stage.manager)
        await stage.orchestrator.deploy_blue_green([EAST, EUROPE], [WEST], 0, steps=(10, 100), service="web")
        for strategy in (RoutingStrategy.ROUND_ROBIN, RoutingStrategy.WEIGHTED):
            counts = await routed(router, strategy)
            assert abs(counts[WEST] - 100) <= 2
            assert abs(counts[EAST] - 450) <= 20 and abs(counts[EUROPE] - 450) <= 20


@pytest.mark.parametrize("asked", ["at once", "later"])
async def test_a_declared_service_is_served_as_declared_until_a_deployment_shifts_and_after_its_rollback(
    asked: str,
) -> None:
    async with staged() as stage:
        router = RegionAwareRouter(stage.manager)
        spec = DeploymentSpec(DeploymentType.ACTIVE_ACTIVE, (EUROPE,))
        await stage.manager.put_service(Service("web", deployment=spec))
        if asked == "later":
            await stage.turn()
        deployment = await stage.orchestrator.deploy_blue_green([EAST], [WEST], 60, service="web")
        assert set(await routed(router, RoutingStrategy.ROUND_ROBIN, 20)) == {EUROPE}
        await stage.pass_time(61)
        assert set(await routed(router, RoutingStrategy.ROUND_ROBIN, 20)) == {WEST}
        await deployment.rollback()
        assert set(await routed(router, RoutingStrategy.ROUND_ROBIN, 20)) == {EUROPE}
        assert not deployment.of_record


async def test_before_its_first_shift_a_service_of_its_own_is_refused_with_the_reason() -> None:
    async with staged(region(EAST), region(WEST, score=0.0)) as stage:
        deployment = await stage.orchestrator.deploy_active_active([EAST, WEST], service="web")
        assert deployment.held == f"{WEST} is down"
        with pytest.raises(NoEligibleRegionError, match=r"stands by|no part"):
            await RegionAwareRouter(stage.manager).route_request({"service": "web"})


async def test_a_region_that_serves_a_deployment_cannot_be_unregistered() -> None:
    async with staged() as stage:
        await stage.orchestrator.deploy_active_passive(EAST, [WEST], service="web")
        with pytest.raises(RefusedError, match=f"{EAST} serves web in deployment web-1"):
            await stage.manager.unregister_region(EAST)
        await stage.manager.unregister_region(EUROPE)
        assert set(stage.manager.regions) == {EAST, WEST}


# --- going back ---------------------------------------------------------------------------------


async def test_a_rollback_needs_nothing_from_a_dead_green() -> None:
    async with staged(executor=None) as stage:
        switched = await stage.orchestrator.deploy_blue_green([EAST], [WEST], 0, service="web", on_failure="hold")
        stage.fell(WEST)
        await switched.rollback()
        assert (switched.state, switched.weights) == (State.ROLLED_BACK, {EAST: 1.0, WEST: 0.0})


async def test_a_rollback_to_a_dead_blue_is_refused_and_leaves_green_serving() -> None:
    async with staged() as stage:
        switched = await stage.orchestrator.deploy_blue_green([EAST], [WEST], 0, service="web")
        stage.fell(EAST)
        with pytest.raises(RefusedError, match=f"nobody could serve web after a rollback: {EAST} is down"):
            await switched.rollback()
        assert (switched.state, switched.weights[WEST]) == (State.SERVING, 1.0)


async def test_a_rollback_of_one_that_superseded_another_restores_it_under_a_greater_term() -> None:
    async with staged() as stage:
        first = await stage.orchestrator.deploy_active_passive(EAST, [WEST], service="web")
        stage.fell(EAST)
        await stage.turn()
        stage.rose(EAST)
        second = await stage.orchestrator.deploy_active_active([EAST, EUROPE], service="web")
        assert second.of_record and second.term > first.term
        term = second.term
        await second.rollback()
        assert first.of_record and first.term > term
        assert (first.weights, second.weights) == ({EAST: 0.0, WEST: 1.0}, {EAST: 0.0, EUROPE: 0.0})
        stage.fell(WEST)
        await stage.turn()
        assert first.weights == {EAST: 1.0, WEST: 0.0}, "it is alive again"


async def test_what_it_superseded_is_who_served_when_it_took_over_not_when_it_was_asked_for() -> None:
    async with staged() as stage:
        one = await stage.orchestrator.deploy_active_active([EAST], service="web")
        slow = await stage.orchestrator.deploy_blue_green([EAST], [WEST], 60, service="web")
        await stage.pass_time(61)
        quick = await stage.orchestrator.deploy_active_active([EUROPE], service="web")
        assert quick.of_record
        await quick.rollback()
        assert slow.of_record and not one.of_record
        await slow.rollback()
        assert one.of_record


async def test_a_newer_deployment_stops_one_that_still_bakes_and_settles_it() -> None:
    async with staged() as stage:
        older = await stage.orchestrator.deploy_blue_green([EAST], [WEST], 60, service="web")
        newer = await stage.orchestrator.deploy_blue_green([EAST], [EUROPE], 60, service="web")
        await stage.turn()
        assert older.state is State.HALTED
        assert older.history[-1].why.endswith(newer.deployment_id)
        await stage.pass_time(120)
        assert newer.of_record and newer.weights[EUROPE] == 1.0
        with pytest.raises(RefusedError, match="roll that one back first"):
            await older.rollback()


async def test_a_deployment_that_serves_no_longer_cannot_be_rolled_back() -> None:
    async with staged() as stage:
        older = await stage.orchestrator.deploy_active_active([EAST], service="web")
        await stage.orchestrator.deploy_active_active([WEST], service="web")
        with pytest.raises(RefusedError, match="another deployment serves web now"):
            await older.rollback()


async def test_a_first_deployment_has_nothing_to_go_back_to_once_it_serves() -> None:
    async with staged() as stage:
        deployment = await stage.orchestrator.deploy_active_active([EAST], service="web")
        with pytest.raises(RefusedError, match="nothing served web before"):
            await deployment.rollback()
        passive = await stage.orchestrator.deploy_active_passive(EAST, [WEST], service="mail")
        stage.fell(EAST)
        await stage.turn()
        with pytest.raises(RefusedError, match="nothing served mail before"):
            await passive.rollback()
        assert passive.weights == {EAST: 0.0, WEST: 1.0}


async def test_a_rollback_after_the_window_is_refused() -> None:
    async with staged() as stage:
        switched = await stage.orchestrator.deploy_blue_green([EAST], [WEST], 0, rollback_window=60, service="web")
        await stage.pass_time(61)
        assert switched.state is State.COMPLETED
        with pytest.raises(RefusedError, match="completed"):
            await switched.rollback()


# --- failback, and the failure handler ----------------------------------------------------------


async def test_failback_by_hand_waits_for_a_primary_that_can_take_it() -> None:
    async with staged() as stage:
        deployment = await stage.orchestrator.deploy_active_passive(EAST, [WEST], service="web")
        with pytest.raises(RefusedError, match=f"{EAST} serves already"):
            await deployment.fail_back()
        stage.fell(EAST)
        await stage.turn()
        with pytest.raises(RefusedError, match=f"{EAST} is down"):
            await deployment.fail_back()
        stage.rose(EAST)
        await stage.pass_time(3600, step_s=600)
        assert deployment.weights[WEST] == 1.0, "failback is a person's choice"
        await deployment.fail_back(by="ops")
        assert deployment.weights == {EAST: 1.0, WEST: 0.0}


async def test_automatic_failback_after_its_hold_down() -> None:
    async with staged() as stage:
        deployment = await stage.orchestrator.deploy_active_passive(
            EAST, [WEST], service="web", failback="auto", failback_after=30
        )
        stage.fell(EAST)
        await stage.turn()
        stage.rose(EAST)
        await stage.pass_time(29)
        assert deployment.weights[WEST] == 1.0
        await stage.pass_time(2)
        assert deployment.weights[EAST] == 1.0


async def test_failure_handler_and_deployment_move_to_the_same_region_once() -> None:
    async with staged() as stage:
        router = RegionAwareRouter(stage.manager)
        handler = FailureHandler(stage.manager, router)
        await handler.initialize()
        deployment = await stage.orchestrator.deploy_active_passive(EAST, [EUROPE, WEST], service="web")
        for _ in range(10):
            stage.manager.report_outcome(EAST, False)
        await stage.pass_time(3)
        await handler.close()
        (event,) = handler.events
        assert event.to_region == EUROPE
        assert deployment.roles == {EAST: "standby", EUROPE: "active", WEST: "standby"}
        assert (await router.route_request({"service": "web"})).selected_region == EUROPE


# --- elections ----------------------------------------------------------------------------------


async def test_the_leader_carries_a_term_that_only_grows() -> None:
    async with staged() as stage:
        leaders = [await stage.orchestrator.elect_leader(list(NAMES[:3])) for _ in range(3)]
        assert [leader.term for leader in leaders] == [1, 2, 3]
        views = stage.manager.snapshot().regions.values()
        assert leaders == [elect(views, term) for term in (1, 2, 3)]
        other = await stage.orchestrator.elect_leader([EAST], election="batch")
        assert (other, other.term) == (EAST, 1)
        assert len(await stage.events(EventKind.LEADER_ELECTED)) == 4


async def test_the_dead_and_the_drained_do_not_lead() -> None:
    async with staged() as stage:
        stage.fell(EAST)
        await stage.manager.drain(WEST, by="ops", reason="rest")
        assert await stage.orchestrator.elect_leader([EAST, WEST, EUROPE]) == EUROPE
        with pytest.raises(NoEligibleRegionError) as refused:
            await stage.orchestrator.elect_leader([EAST, WEST])
        assert set(refused.value.reasons) == {EAST, WEST}


async def test_terms_go_on_after_a_restart(tmp_path: Path) -> None:
    for term in (1, 2):
        async with staged(store=await SqliteStore.open(tmp_path / "store.db")) as stage:
            leader = await stage.orchestrator.elect_leader([EAST, WEST])
            assert leader.term == term


async def test_elections_at_once_in_two_processes_get_distinct_terms(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with (
        staged(store=await SqliteStore.open(path)) as one,
        staged(store=await SqliteStore.open(path)) as two,
    ):
        held = [stage.orchestrator.elect_leader([EAST, WEST]) for stage in (one, two) for _ in range(5)]
        leaders: list[Leader] = await asyncio.gather(*held)
        assert sorted(leader.term for leader in leaders) == list(range(1, 11))
        assert await one.manager.journal.verify() > 0


# --- ids ----------------------------------------------------------------------------------------


async def test_two_processes_that_deploy_at_once_each_get_an_id(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    clock = VirtualClock()
    async with (
        staged(store=await SqliteStore.open(path), clock=clock) as one,
        staged(store=await SqliteStore.open(path), clock=clock) as two,
    ):
        asked = [stage.orchestrator.deploy_blue_green([EAST], [WEST], 60) for stage in (one, two) for _ in range(3)]
        made = await asyncio.gather(*asked)
        assert sorted(d.deployment_id for d in made) == [f"blue-green-{n}" for n in range(1, 7)]
        web = [stage.orchestrator.deploy_active_active([EAST], service="web") for stage in (one, two)]
        assert sorted(d.deployment_id for d in await asyncio.gather(*web)) == ["web-1", "web-2"]
        stored = await one.manager.store.load("of_record/web")
        assert len(stored.entries) == 1


# --- failover by hand ---------------------------------------------------------------------------


async def test_a_manual_failover_waits_for_a_person_although_automation_fails_the_region_over() -> None:
    async with staged() as stage:
        handler = FailureHandler(stage.manager, RegionAwareRouter(stage.manager))
        await handler.initialize()
        await stage.manager.put_service(Service("api"))
        deployment = await stage.orchestrator.deploy_active_passive(
            EAST, [WEST], service="web", failover_strategy="manual"
        )
        for _ in range(10):
            stage.manager.report_outcome(EAST, False)
        await stage.pass_time(3)
        assert stage.manager.snapshot().regions[EAST].failed_over is not None
        assert deployment.weights == {EAST: 1.0, WEST: 0.0}
        assert f"fail {EAST} over or drain it to move on" in (deployment.held or "")
        await handler.fail_over(EAST, reason="it will not come back", by="ada")
        await stage.turn()
        await handler.close()
        assert (deployment.weights, deployment.held) == ({EAST: 0.0, WEST: 1.0}, None)


async def test_a_drain_moves_a_service_whose_failover_is_manual() -> None:
    async with staged() as stage:
        deployment = await stage.orchestrator.deploy_active_passive(
            EAST, [WEST], service="web", failover_strategy="manual"
        )
        await stage.manager.drain(EAST, by="ada", reason="works")
        await stage.turn()
        assert deployment.weights == {EAST: 0.0, WEST: 1.0}
