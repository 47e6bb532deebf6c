"""The loop over deployments: one transaction and one event for each transition, once, across restarts and processes."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.adapters.stores.sqlite import SqliteStore
from mahavishnu.integrations.multi_region.core.deployment import DEPLOYMENTS, Gates, RunState, State, Waves
from mahavishnu.integrations.multi_region.core.events import EventKind
from mahavishnu.integrations.multi_region.errors import RefusedError, StoreError
from mahavishnu.integrations.multi_region.ports.executor import Action, ScriptedExecutor, Task, TaskResult
from mahavishnu.integrations.multi_region.ports.store import MemoryStore
from mahavishnu.integrations.multi_region.shell.orchestrator import Deployment
from tests.shell.deploying import NAMES, SMOOTH, Stage, VirtualClock, Witness, breathe, region, staged, states

EAST, WEST, EUROPE = NAMES[:3]
GOOD = RunState.SUCCEEDED


async def moves(stage: Stage, deployment: Deployment) -> list[str]:
    """What the event log tells of a deployment: the state after each event."""
    told = [e.event for e in await stage.events() if e.event.subject == deployment.deployment_id]
    return [event.after["state"] for event in told if event.after is not None]


# --- transactions and events --------------------------------------------------------------------


async def test_each_transition_is_one_transaction_with_one_event() -> None:
    store = Witness(MemoryStore())
    async with staged(store=store) as stage:
        store.commits.clear()
        deployment = await stage.orchestrator.deploy_active_passive(EAST, [WEST], service="web")
        stage.fell(EAST)
        await stage.turn()
        for commit in store.commits:
            kinds = [key.partition("/")[0] for key in commit]
            assert kinds.count("deployments") == 1
            assert kinds.count("events") == 1
        stored = [
            json.loads(text or "") for c in store.commits for key, text in c.items() if key.startswith(DEPLOYMENTS)
        ]
        assert [document["state"] for document in stored] == states(deployment)
        assert await moves(stage, deployment) == states(deployment)


async def test_in_no_stored_state_do_two_regions_of_an_active_passive_serve() -> None:
    store = Witness(MemoryStore())
    async with staged(store=store) as stage:
        await stage.orchestrator.deploy_active_passive(EAST, [WEST, EUROPE], service="web")
        for fallen in (EAST, WEST):
            stage.fell(fallen)
            await stage.turn()
        terms = []
        for commit in store.commits:
            for key, text in commit.items():
                if key.startswith(DEPLOYMENTS):
                    document = json.loads(text or "")
                    serving = [r for g in document["groups"] if g["weight"] > 0 for r in g["regions"]]
                    assert len(serving) <= 1
                    terms.append((serving, document["term"]))
        changes = [(a, b) for a, b in pairwise(terms) if a[0] != b[0]]
        assert len(changes) == 5
        assert all(before[1] < after[1] for before, after in changes)


async def test_what_merely_holds_is_written_once_and_its_words_stay_up_to_date() -> None:
    async with staged(region(EAST), region(WEST, load=95)) as stage:
        deployment = await stage.orchestrator.deploy_blue_green([EAST], [WEST], 0, service="web")
        assert deployment.held == f"{WEST} has room for 0 of 20"
        before = (await stage.manager.store.load()).revision
        stage.manager.report_load(WEST, 80)
        await stage.turn()
        assert deployment.held == f"{WEST} has room for 10 of 20"
        assert (await stage.manager.store.load()).revision == before
        stage.manager.report_load(WEST, 5)
        await stage.turn()
        assert (deployment.state, deployment.view.held) == (State.SERVING, None)
        assert len(await stage.events(EventKind.DEPLOYMENT_HELD)) == 1


async def test_a_lost_store_delays_and_loses_nothing() -> None:
    store = Witness(MemoryStore())
    async with staged(store=store) as stage:
        deployment = await stage.orchestrator.deploy_blue_green([EAST], [WEST], 10, service="web")

        async def lost() -> None:
            raise StoreError("the disk is full")

        store.before = lost
        await stage.pass_time(20)
        assert deployment.weights[EAST] == 1.0
        store.before = None
        await stage.turn()
        assert deployment.weights[WEST] == 1.0
        assert states(deployment) == SMOOTH


# --- the loop -----------------------------------------------------------------------------------


async def test_the_loop_drives_deployments_by_itself_on_the_machines_clock() -> None:
    from mahavishnu.integrations.multi_region.shell.manager import RegionManager
    from mahavishnu.integrations.multi_region.shell.orchestrator import DeploymentOrchestrator

    async with RegionManager() as manager:
        for name in (EAST, WEST):
            await manager.register_region(region(name))
        orchestrator = DeploymentOrchestrator(manager, interval_s=0.01)
        deployment = await orchestrator.deploy_blue_green([EAST], [WEST], 0.05)
        assert await deployment.settled(30) is State.SERVING
        await orchestrator.close()


async def test_settled_waits_and_gives_up_when_told() -> None:
    async with staged() as stage:
        deployment = await stage.orchestrator.deploy_blue_green([EAST], [WEST], 60, service="web")
        with pytest.raises(TimeoutError):
            await deployment.settled(0.01)
        waiting = [asyncio.create_task(deployment.settled()) for _ in range(3)]
        await stage.pass_time(61)
        assert await asyncio.gather(*waiting) == [State.SERVING] * 3


async def test_a_turn_that_fails_does_not_end_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged() as stage:
        deployment = await stage.orchestrator.deploy_blue_green([EAST], [WEST], 10, service="web")
        broken = [True]
        seen = stage.orchestrator.rollouts.seen

        def fails_once(view: Any) -> Any:
            if broken and broken.pop():
                raise RuntimeError("a defect")
            return seen(view)

        stage.orchestrator.rollouts.seen = fails_once  # type: ignore[method-assign]  # a defect, once
        await stage.clock.advance(15)
        assert deployment.weights[WEST] == 1.0


async def test_a_frozen_automation_moves_nothing_until_it_is_thawed() -> None:
    async with staged() as stage:
        deployment = await stage.orchestrator.deploy_blue_green([EAST], [WEST], 10, service="web")
        await stage.manager.freeze(by="ops", reason="investigating")
        await stage.pass_time(20)
        assert (deployment.state, deployment.held) == (State.BAKING, "automation is frozen: by ops: investigating")
        await stage.manager.unfreeze(by="ops")
        await stage.turn()
        assert deployment.weights[WEST] == 1.0


# --- evidence -----------------------------------------------------------------------------------


async def canary(stage: Stage, **options: Any) -> Deployment:
    return await stage.orchestrator.deploy_blue_green(
        [EAST], [WEST], 0, steps=(10, 50, 100), step_after=30, service="web", **options
    )


async def test_a_canary_goes_up_step_by_step_on_good_reports() -> None:
    async with staged() as stage:
        deployment = await canary(stage)
        shares = []
        for _ in range(4):
            shares.append(deployment.weights[WEST])
            stage.report(EAST, "web", good=450)
            stage.report(WEST, "web", good=60)
            await stage.pass_time(30)
        assert shares == [0.1, 0.5, 1.0, 1.0]
        assert deployment.state is State.SERVING


async def test_a_green_that_fails_at_ten_percent_is_rolled_back_by_itself() -> None:
    async with staged() as stage:
        deployment = await canary(stage)
        stage.report(EAST, "web", good=450)
        stage.report(WEST, "web", good=40, bad=10)
        await stage.pass_time(1)
        assert (deployment.state, deployment.weights) == (State.ROLLED_BACK, {EAST: 1.0, WEST: 0.0})
        assert "10 of 50 requests to green failed" in deployment.history[-2].why


async def test_reports_of_an_earlier_step_do_not_count_for_the_next() -> None:
    async with staged() as stage:
        deployment = await canary(stage)
        stage.report(WEST, "web", good=1000)
        await stage.pass_time(30)
        assert deployment.weights[WEST] == 0.5
        await stage.pass_time(3600, step_s=600)
        assert deployment.weights[WEST] == 0.5
        assert deployment.held == "inconclusive: 0 requests to green, 50 are needed"


async def test_reports_made_to_the_manager_are_evidence() -> None:
    async with staged() as stage:
        deployment = await canary(stage, gates=Gates(min_requests=5))
        for _ in range(5):
            stage.manager.report_outcome(EAST, True, 20.0, service="web")
            stage.manager.report_outcome(WEST, True, 20.0, service="web")
        await stage.pass_time(30)
        assert deployment.weights[WEST] == 0.5


async def test_hold_waits_for_people_and_a_rollback_is_still_possible() -> None:
    async with staged() as stage:
        deployment = await canary(stage, on_failure="hold")
        stage.report(WEST, "web", bad=50)
        await stage.turn()
        assert (await deployment.settled(), deployment.weights[WEST]) == (State.HALTED, 0.1)
        await stage.pass_time(3600, step_s=600)
        assert deployment.weights[WEST] == 0.1
        await deployment.rollback()
        assert deployment.weights == {EAST: 1.0, WEST: 0.0}


# --- restarts and other processes ---------------------------------------------------------------


async def test_deadlines_are_times_and_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    path, clock = tmp_path / "store.db", VirtualClock()
    async with staged(store=await SqliteStore.open(path), clock=clock) as stage:
        await stage.orchestrator.deploy_blue_green([EAST], [WEST], 60, service="web")
        await stage.pass_time(40)
    clock.at += 10  # nobody runs
    async with staged(store=await SqliteStore.open(path), clock=clock) as stage:
        deployment = stage.orchestrator.get_deployment("web-1")
        await stage.pass_time(9)
        assert deployment.state is State.BAKING
        await stage.pass_time(2)
        assert deployment.weights[WEST] == 1.0
        assert states(deployment) == SMOOTH


async def test_a_step_after_a_restart_waits_for_new_evidence(tmp_path: Path) -> None:
    path, clock = tmp_path / "store.db", VirtualClock()
    async with staged(store=await SqliteStore.open(path), clock=clock) as stage:
        deployment = await canary(stage)
        stage.report(WEST, "web", good=49)
    async with staged(store=await SqliteStore.open(path), clock=clock) as stage:
        deployment = stage.orchestrator.get_deployment("web-1")
        await stage.turn()
        stage.report(WEST, "web", good=49)
        await stage.pass_time(60)
        assert (deployment.weights[WEST], deployment.held) == (0.1, "inconclusive: 49 requests to green, 50 are needed")


async def test_a_hundred_deployments_at_once_are_each_resumed(tmp_path: Path) -> None:
    path, clock = tmp_path / "store.db", VirtualClock()
    names = [f"web-{n}" for n in range(100)]
    async with staged(store=await SqliteStore.open(path), clock=clock) as stage:
        asked = (stage.orchestrator.deploy_blue_green([EAST], [WEST], 60, service=name) for name in names)
        made = await asyncio.gather(*asked)
        assert {d.state for d in made} == {State.BAKING}
    async with staged(store=await SqliteStore.open(path), clock=clock) as stage:
        await stage.pass_time(61, step_s=20)
        found = stage.orchestrator.list_deployments()
        assert sorted(d.service for d in found) == sorted(names)
        assert {d.weights[WEST] for d in found} == {1.0}
        assert all(states(d) == SMOOTH for d in found)
        assert await stage.manager.journal.verify() > 400


async def test_two_processes_that_drive_the_same_deployments_make_each_transition_once(tmp_path: Path) -> None:
    path, clock = tmp_path / "store.db", VirtualClock()
    async with (
        staged(store=await SqliteStore.open(path), clock=clock) as one,
        staged(store=await SqliteStore.open(path), clock=clock) as two,
    ):
        made = [await one.orchestrator.deploy_blue_green([EAST], [WEST], 10, service=f"s{n}") for n in range(5)]
        passive = await one.orchestrator.deploy_active_passive(EAST, [WEST], service="passive")
        await _until(lambda: len(two.manager.registry.deployments) == 6)
        clock.at += 11
        one.fell(EAST)
        two.fell(EAST)
        for _ in range(5):
            await asyncio.gather(one.orchestrator.rollouts.turn(), two.orchestrator.rollouts.turn())
        for stage in (one, two):
            for deployment in [*made, passive]:
                here = stage.orchestrator.get_deployment(deployment.deployment_id)
                await here.settled(10)
                moved_over = ["demoting", "promoting", "serving"] if here.service == "passive" else []
                assert states(here) == [*SMOOTH, *moved_over]
                assert await moves(stage, here) == states(here)
        assert await one.manager.journal.verify() == await two.manager.journal.verify()


async def test_who_does_not_drive_a_deployment_learns_when_it_has_settled(tmp_path: Path) -> None:
    path, clock = tmp_path / "store.db", VirtualClock()
    async with (
        staged(store=await SqliteStore.open(path), clock=clock) as one,
        staged(store=await SqliteStore.open(path), clock=clock) as two,
    ):
        await two.orchestrator.close()
        deployment = await one.orchestrator.deploy_blue_green([EAST], [WEST], 10, service="web")
        await _until(lambda: deployment.deployment_id in two.manager.registry.deployments)
        waiting = asyncio.create_task(two.orchestrator.get_deployment("web-1").settled(30))
        await one.pass_time(11)
        assert await waiting is State.SERVING


async def test_a_rollback_that_comes_second_is_decided_again(tmp_path: Path) -> None:
    """The other process moves the deployment on; the rollback is refused or done, never lost."""
    path, clock = tmp_path / "store.db", VirtualClock()
    async with (
        staged(store=await SqliteStore.open(path, poll_s=30), clock=clock) as slow,
        staged(store=await SqliteStore.open(path), clock=clock) as quick,
    ):
        await slow.orchestrator.deploy_blue_green([EAST], [WEST], 10, service="web")
        await _until(lambda: "web-1" in quick.manager.registry.deployments)
        await slow.orchestrator.rollouts.close()
        await quick.pass_time(11)
        behind = slow.orchestrator.get_deployment("web-1")
        assert behind.state is State.BAKING
        await behind.rollback()
        assert states(behind) == [*SMOOTH, "rolling_back", "rolled_back"]
        with pytest.raises(RefusedError, match="rolled_back"):
            await quick.orchestrator.rollback("web-1")


async def _until(fact: Any) -> None:
    for _ in range(2000):
        if fact():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came true")


# --- work in regions ----------------------------------------------------------------------------


class Crew:
    """An executor whose work ends when it is told to."""

    def __init__(self) -> None:
        self.executor = ScriptedExecutor(lambda task: self._work(task))
        self.under_way: dict[tuple[str, Action], asyncio.Future[TaskResult]] = {}
        self.broken_off: list[tuple[str, Action]] = []

    async def _work(self, task: Task) -> TaskResult:
        key = (task.region_id, task.action)
        self.under_way[key] = asyncio.get_running_loop().create_future()
        try:
            return await self.under_way[key]
        except asyncio.CancelledError:
            self.broken_off.append(key)
            raise
        finally:
            del self.under_way[key]

    def end(
        self, name: str, state: RunState = RunState.SUCCEEDED, action: Action = Action.DEPLOY, why: str = ""
    ) -> None:
        self.under_way[name, action].set_result(TaskResult(state, why))

    @property
    def busy(self) -> list[str]:
        return [f"{action} {name}" for name, action in self.under_way]

    @property
    def asked(self) -> list[str]:
        return [task.operation_id for task in self.executor.tasks]


async def test_regions_get_the_version_wave_by_wave_and_then_the_traffic() -> None:
    crew = Crew()
    async with staged(executor=crew.executor) as stage:
        waves = Waves(groups=((EAST,), (WEST, EUROPE)), max_parallel=2, bake_s=30, bake_requests=10)
        deployment = await stage.orchestrator.deploy_active_active([EAST, WEST, EUROPE], service="web", waves=waves)
        await stage.turn()
        assert crew.busy == [f"deploy {EAST}"]
        stage.report(EAST, "web", good=100)  # the old version's requests are no evidence for the new one
        crew.end(EAST)
        await stage.pass_time(31)
        assert crew.busy == []
        assert deployment.held == "wave 1 has served 0 requests, 10 are needed"
        stage.report(EAST, "web", good=10)
        await stage.turn()
        assert crew.busy == [f"deploy {WEST}", f"deploy {EUROPE}"]
        assert deployment.weights == {EAST: 0.0, WEST: 0.0, EUROPE: 0.0}
        crew.end(WEST)
        crew.end(EUROPE)
        await stage.turn()
        assert deployment.state is State.SERVING
        task = crew.executor.tasks[0]
        assert (task.service, task.facts["endpoint"]) == ("web", f"https://{EAST}.api.example.com")


async def test_a_region_that_fails_stops_the_wave_and_the_version_is_taken_back() -> None:
    crew = Crew()
    async with staged(executor=crew.executor) as stage:
        waves = Waves(groups=((EAST, WEST), (EUROPE,)), max_parallel=2)
        deployment = await stage.orchestrator.deploy_active_active([EAST, WEST, EUROPE], service="web", waves=waves)
        await stage.turn()
        crew.end(EAST, RunState.FAILED, why="exit code 1\nno quota")
        await stage.turn()
        assert crew.broken_off == [(WEST, Action.DEPLOY)]
        assert crew.busy == [f"rollback {EAST}", f"rollback {WEST}"]
        assert deployment.state is State.ROLLING_BACK
        crew.end(EAST, action=Action.ROLLBACK)
        crew.end(WEST, RunState.UNKNOWN, action=Action.ROLLBACK)
        await stage.turn()
        assert await deployment.settled(1) is State.ROLLED_BACK
        assert deployment.history[-1].why == f"traffic is where it was before: still to be mended: {WEST} unknown"
        assert crew.asked[:2] == [f"web-1/{EAST}/deploy/1", f"web-1/{WEST}/deploy/1"]
        assert crew.asked[2:] == [f"web-1/{EAST}/rollback/1", f"web-1/{WEST}/rollback/1"]


async def test_hold_keeps_what_was_done_and_lets_the_rest_of_the_wave_end() -> None:
    crew = Crew()
    async with staged(executor=crew.executor) as stage:
        deployment = await stage.orchestrator.deploy_active_active(
            [EAST, WEST], service="web", waves=Waves(max_parallel=2), on_failure="hold"
        )
        await stage.turn()
        crew.end(EAST, RunState.FAILED)
        await stage.turn()
        assert deployment.state is State.HALTED
        crew.end(WEST)
        await stage.turn()
        assert {name: run.state for name, run in deployment.view.runs.items()} == {
            EAST: RunState.FAILED,
            WEST: RunState.SUCCEEDED,
        }
        await deployment.rollback()
        await stage.turn()
        assert crew.busy == [f"rollback {EAST}", f"rollback {WEST}"]


async def test_traffic_goes_back_before_the_version_is_taken_back() -> None:
    crew = Crew()
    async with staged(executor=crew.executor) as stage:
        deployment = await stage.orchestrator.deploy_blue_green([EAST], [WEST], 0, service="web")
        await stage.turn()
        crew.end(WEST)
        await stage.turn()
        assert deployment.weights[WEST] == 1.0
        await deployment.rollback()
        assert (deployment.state, deployment.weights[EAST]) == (State.ROLLING_BACK, 1.0)
        await stage.turn()
        assert crew.busy == [f"rollback {WEST}"]


async def test_work_that_was_under_way_is_taken_up_again_under_the_same_id_and_deadline(tmp_path: Path) -> None:
    path, clock, first, second = tmp_path / "store.db", VirtualClock(), Crew(), Crew()
    waves = Waves(deadline_s=60)
    async with staged(store=await SqliteStore.open(path), clock=clock, executor=first.executor) as stage:
        await stage.orchestrator.deploy_active_active([EAST, WEST], service="web", waves=waves)
        await _until(lambda: first.busy)
    clock.at += 10
    async with staged(store=await SqliteStore.open(path), clock=clock, executor=second.executor) as stage:
        await stage.turn()
        await _until(lambda: second.busy)
        assert second.asked == first.asked == [f"web-1/{EAST}/deploy/1"]
        second.end(EAST)
        await _until(lambda: second.busy == [f"deploy {WEST}"])
    clock.at += 61
    third = Crew()
    async with staged(store=await SqliteStore.open(path), clock=clock, executor=third.executor) as stage:
        deployment = stage.orchestrator.get_deployment("web-1")
        await stage.turn()
        await _until(lambda: deployment.view.runs[WEST].state is RunState.UNKNOWN)
        assert deployment.view.runs[WEST].detail == "no answer within 60 s"
        assert not any(WEST in one and "deploy" in one for one in third.asked), "its time was over"


async def test_an_executor_that_breaks_or_a_region_that_left_is_unknown() -> None:
    def breaks(task: Task) -> TaskResult:
        raise RuntimeError("no route")

    async with staged(executor=ScriptedExecutor(breaks)) as stage:
        deployment = await stage.orchestrator.deploy_active_active([EAST], service="web", on_failure="hold")
        await stage.turn()
        run = deployment.view.runs[EAST]
        assert (run.state, run.detail) == (RunState.UNKNOWN, "the executor failed: RuntimeError: no route")
        assert deployment.state is State.HALTED


async def test_two_deployments_of_a_service_are_never_at_work_in_a_region_at_once() -> None:
    crew = Crew()
    async with staged(executor=crew.executor) as stage:
        older = await stage.orchestrator.deploy_active_active([EAST], service="web")
        await stage.turn()
        newer = await stage.orchestrator.deploy_active_active([EAST], service="web")
        await stage.turn()
        assert older.state is State.HALTED
        assert crew.asked == [f"web-1/{EAST}/deploy/1"]
        crew.end(EAST)
        await stage.turn()
        assert crew.asked[1:] == [f"web-2/{EAST}/deploy/1"]
        crew.end(EAST)
        await stage.turn()
        assert newer.of_record


async def test_a_long_output_is_kept_with_both_ends() -> None:
    long = "exit code 1\n" + "x" * 16_000 + "the end"
    async with staged(executor=ScriptedExecutor(lambda _: TaskResult(RunState.FAILED, long))) as stage:
        deployment = await stage.orchestrator.deploy_active_active([EAST], service="web", on_failure="hold")
        await stage.turn()
        detail = deployment.view.runs[EAST].detail
        assert detail.startswith("exit code 1\n") and detail.endswith("the end") and len(detail) < 4_100


async def test_a_frozen_automation_begins_no_work() -> None:
    crew = Crew()
    async with staged(executor=crew.executor) as stage:
        await stage.manager.freeze(by="ops", reason="investigating")
        await stage.orchestrator.deploy_active_active([EAST, WEST], service="web")
        await stage.turn()
        assert crew.busy == []
        await stage.manager.unfreeze(by="ops")
        await stage.turn()
        assert crew.busy == [f"deploy {EAST}"]


async def test_closing_breaks_off_what_is_under_way() -> None:
    crew = Crew()
    async with staged(executor=crew.executor) as stage:
        await stage.orchestrator.deploy_active_active([EAST], service="web")
        await stage.turn()
        await stage.orchestrator.close()
        await breathe()
        assert crew.broken_off == [(EAST, Action.DEPLOY)]
