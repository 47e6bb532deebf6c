"""RegionManager: what people declare, what is known of it, and memory that equals the store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.adapters.stores.sqlite import SqliteStore
from mahavishnu.integrations.multi_region.core.edges import EdgeSpec
from mahavishnu.integrations.multi_region.core.events import EventKind
from mahavishnu.integrations.multi_region.core.intent import ChangeKind, region_document
from mahavishnu.integrations.multi_region.core.model import Phase, Point, SafetyLimits
from mahavishnu.integrations.multi_region.errors import (
    DuplicateRegionError,
    InvalidInputError,
    RefusedError,
    StoreError,
    UnknownPolicyError,
    UnknownRegionError,
    UnknownServiceError,
)
from mahavishnu.integrations.multi_region.ports.store import Loaded, MemoryStore
from mahavishnu.integrations.multi_region.shell.manager import RegionManager
from mahavishnu.integrations.multi_region.testing.builders import policy, region, service, world
from mahavishnu.integrations.multi_region.testing.failing_store import FailingStore
from mahavishnu.integrations.multi_region.testing.stage import Stage
from mahavishnu.integrations.multi_region.testing.store_contract import PATIENCE_S
from mahavishnu.integrations.multi_region.testing.virtual_clock import VirtualClock


async def until(true: Callable[[], bool]) -> None:
    """Poll, for what depends on files and threads."""
    async with asyncio.timeout(PATIENCE_S):
        while not true():
            await asyncio.sleep(0.005)


# --- declaring regions ---------------------------------------------------------------------------


async def test_a_region_that_is_registered_is_the_owners_own_object() -> None:
    async with Stage.of(probed=False) as stage:
        mine = region("eu-west-1")
        await stage.manager.register_region(mine)
        await stage.clock.settle()
        assert stage.manager.get_region("eu-west-1") is mine
        mine.current_capacity = 9
        assert stage.view("eu-west-1").load == 9


async def test_a_manager_needs_no_start_to_register_and_list() -> None:
    manager = RegionManager()
    await manager.register_region(region("a"))
    assert [r.region_id for r in manager.list_regions()] == ["a"]
    await manager.close()


async def test_a_second_of_the_same_id_is_refused() -> None:
    async with Stage.of("a", probed=False) as stage:
        with pytest.raises(DuplicateRegionError):
            await stage.manager.register_region(region("a"))


async def test_of_many_that_register_one_id_at_once_one_wins() -> None:
    async with Stage.of(probed=False) as stage:
        results = await asyncio.gather(
            *(stage.manager.register_region(region("a", name=str(i))) for i in range(5)), return_exceptions=True
        )
        assert [type(r) for r in results if isinstance(r, Exception)] == [DuplicateRegionError] * 4
        assert stage.tells("a") == ["region.registered"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"latitude": 91.0}, "latitude"),
        ({"endpoint": "ftp://x"}, "endpoint"),
        ({"max_capacity": 0}, "capabilities.max_capacity"),
        ({"health_score": 101.0}, "health_score"),
        ({"endpoint": "http://169.254.169.254/"}, "endpoint"),
    ],
)
async def test_a_region_that_is_not_valid_changes_nothing(fields: dict[str, Any], field: str) -> None:
    async with Stage.of("a", probed=False) as stage:
        fleet, events = stage.manager.snapshot(), len(stage.events)
        with pytest.raises(InvalidInputError) as caught:
            await stage.manager.register_region(region("b", **fields))
        assert caught.value.field == field
        with pytest.raises(InvalidInputError):
            await stage.manager.update_region(region("a", **fields))
        assert stage.manager.snapshot() is fleet
        assert len(stage.events) == events


async def test_a_lost_store_leaves_a_registration_undone() -> None:
    store = FailingStore()
    async with Stage.of("a", store=store, probed=False) as stage:
        store.lose()
        with pytest.raises(StoreError):
            await stage.manager.register_region(region("b"))
        with pytest.raises(StoreError):
            await stage.manager.unregister_region("a")
        assert list(stage.manager.regions) == ["a"]
        store.find()
        await stage.manager.register_region(region("b"))
        assert list(stage.manager.regions) == ["a", "b"]


async def test_an_update_is_told_with_what_changed() -> None:
    async with Stage.of("a", probed=False) as stage:
        await stage.manager.update_region(region("a", cost_multiplier=2.0), actor="ada")
        event = stage.events[-1]
        assert (event.kind, event.actor, event.reason) == ("region.updated", "ada", "changed: cost_multiplier")
        assert event.before is not None and event.after is not None
        assert (event.before["cost_multiplier"], event.after["cost_multiplier"]) == (1.0, 2.0)
        with pytest.raises(UnknownRegionError):
            await stage.manager.update_region(region("b"))


async def test_a_region_that_a_service_runs_in_is_not_removed() -> None:
    async with Stage.of("a", "b", probed=False) as stage:
        await stage.manager.put_service(service("api", "a"))
        with pytest.raises(RefusedError, match="service api runs in a"):
            await stage.manager.unregister_region("a")
        await stage.manager.unregister_region("b")
        await stage.manager.remove_service("api")
        await stage.manager.unregister_region("a")
        assert stage.tells("a") == ["region.registered", "region.removed"]
        with pytest.raises(UnknownRegionError):
            await stage.manager.unregister_region("a")


async def test_a_region_that_was_put_into_the_table_by_hand_can_be_removed() -> None:
    async with Stage.of("a", probed=False) as stage:
        stage.manager.regions["b"] = region("b")
        await stage.manager.unregister_region("b")
        assert list(stage.manager.regions) == ["a"]


async def test_a_region_that_was_put_into_the_table_by_hand_is_watched() -> None:
    async with Stage.of("a") as stage:
        stage.manager.regions["b"] = region("b", health_score=None)
        stage.recover("b")
        await stage.pass_time(5)
        assert stage.phase("b") is Phase.HEALTHY
        del stage.manager.regions["b"]
        await stage.pass_time(5)
        assert "b" not in stage.manager.monitor.states


async def test_a_region_that_is_registered_anew_has_no_past() -> None:
    async with Stage.of("a", "b", probed=False) as stage:
        stage.requests("a", failed=5)
        before = stage.phase("a")
        await stage.manager.unregister_region("a")
        await stage.manager.register_region(region("a"))
        assert (before, stage.phase("a")) == (Phase.DOWN, Phase.HEALTHY)


# --- declaring the rest --------------------------------------------------------------------------


async def test_services_and_policies_name_what_is_there() -> None:
    async with Stage.of("a", probed=False) as stage:
        with pytest.raises(UnknownPolicyError):
            await stage.manager.put_service(service("api", policy="p"))
        with pytest.raises(UnknownRegionError):
            await stage.manager.put_service(service("api", "zz"))
        with pytest.raises(UnknownRegionError):
            await stage.manager.put_policy(policy("p", allow=["zz"]))
        with pytest.raises(UnknownServiceError):
            await stage.manager.remove_service("api")
        assert not stage.manager.services and not stage.manager.policies


@pytest.mark.parametrize("bad", ["web~eu", "", "a b\n", "a/b"])
@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("services.name", lambda m, bad: m.put_service(service(bad))),
        ("services.name", lambda m, bad: m.apply(world("a", services=[service(bad)]))),
        ("policy_id", lambda m, bad: m.put_policy(policy(bad))),
        ("policy_id", lambda m, bad: m.apply(world("a", policies=[policy(bad)]))),
        ("edge_id", lambda m, bad: m.put_edge(EdgeSpec(bad, Point(0, 0)))),
    ],
)
async def test_what_has_a_name_that_is_none_is_not_declared(
    field: str, change: Callable[[RegionManager, str], Awaitable[Any]], bad: str
) -> None:
    async with Stage.of("a", probed=False) as stage:
        events = len(stage.events)
        with pytest.raises(InvalidInputError) as refused:
            await change(stage.manager, bad)
        assert (refused.value.field, refused.value.value) == (field, bad)
        assert len(stage.events) == events
        assert not stage.manager.services and not stage.manager.policies and not stage.manager.edges


EU, US = "eu-west-1", "us-east-1"
NARROWER = world(EU, US, services=[service("api", policy="p")], policies=[policy("p", allow=[US], require=["gdpr"])])
WITHOUT = world(US, services=[service("api", policy="p")], policies=[policy("p", allow=[EU, US], require=["gdpr"])])


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.put_policy(policy("p", allow=[US], require=["gdpr"])),
        lambda m: m.put_policy(policy("p", allow=[EU], require=["hipaa"])),
        lambda m: m.put_service(service("api", US, policy="p")),
        lambda m: m.update_region(region(EU, compliance=[])),
        lambda m: m.unregister_region(EU),
        lambda m: m.apply(NARROWER),
        lambda m: m.apply(WITHOUT),
        lambda m: m.apply(WITHOUT, dry_run=True),
    ],
)
async def test_a_change_that_would_leave_a_service_with_nobody_is_refused(
    change: Callable[[RegionManager], Awaitable[Any]],
) -> None:
    async with Stage.of(region(EU, compliance=["gdpr"]), US, probed=False) as stage:
        await stage.manager.put_policy(policy("p", allow=[EU], require=["gdpr"]))
        await stage.manager.put_service(service("api", policy="p"))
        fleet, events = stage.manager.snapshot(), len(stage.events)
        with pytest.raises(RefusedError, match="no region could serve api") as caught:
            await change(stage.manager)
        assert caught.value.rule == "empty_service"
        assert stage.manager.snapshot() is fleet
        assert len(stage.events) == events


async def test_a_service_that_nobody_could_serve_anyway_stops_no_change() -> None:
    async with Stage.of(US, probed=False) as stage:
        await stage.manager.put_policy(policy("p", allow=[EU]))
        await stage.manager.put_service(service("api", policy="p"))
        await stage.manager.unregister_region(US)
        assert not stage.manager.regions


async def test_a_world_is_applied_as_a_whole_and_once() -> None:
    async with Stage.of(probed=False) as stage:
        wanted = world(
            "eu-west-1",
            "eu-central-1",
            services=[service("api", "eu-west-1", policy="eu")],
            policies=[policy("eu", allow=["eu-west-1"])],
        )
        preview = await stage.manager.apply(wanted, dry_run=True)
        assert not stage.manager.regions and not stage.events
        changes = await stage.manager.apply(wanted, actor="ada")
        assert changes == preview
        assert {change.kind for change in changes} == {ChangeKind.ADD}
        assert {event.actor for event in stage.events} == {"ada"}
        assert await stage.manager.apply(wanted) == []
        assert await stage.manager.journal.verify() == len(changes)
        revisions = {stage.manager.registry.revisions[change.key] for change in changes}
        assert len(revisions) == 1


async def test_a_world_that_does_not_hold_together_changes_nothing() -> None:
    async with Stage.of("a", probed=False) as stage:
        for wrong in (
            world("a", "b", services=[service("api", "c")]),
            world("a", "a"),
            world("a", region("b", latitude=100.0)),
            world(),
        ):
            fleet = stage.manager.snapshot()
            with pytest.raises((InvalidInputError, RefusedError)):
                await stage.manager.apply(wrong)
            assert stage.manager.snapshot() is fleet


async def test_a_world_removes_what_it_does_not_name() -> None:
    async with Stage.of("a", "b", probed=False) as stage:
        await stage.manager.put_service(service("api", "a"))
        changes = await stage.manager.apply(world("b", limits=SafetyLimits(min_serving=2)))
        assert {(c.kind.value, c.key) for c in changes} == {
            ("add", "limits"),
            ("remove", "regions/a"),
            ("remove", "services/api"),
        }
        assert list(stage.manager.regions) == ["b"]
        assert stage.manager.snapshot().limits.min_serving == 2


# --- what is known -------------------------------------------------------------------------------


async def test_health_is_what_the_owner_states_until_the_probes_have_spoken() -> None:
    async with Stage.of(region("a", health_score=40.0)) as stage:
        stage.fail("a")
        stated = await stage.manager.get_region_health("a")
        assert (stated.status, stated.health_score, stated.reason) == (Phase.DEGRADED, 40.0, "stated by its owner")
        assert stated.last_checked is None
        stage.recover("a")
        await stage.pass_time(1)
        seen = await stage.manager.get_region_health("a")
        assert (seen.status, seen.health_score, seen.latency_ms) == (Phase.HEALTHY, 100.0, 20.0)
        assert seen.last_checked == stage.clock.now() - 0.5


async def test_a_stated_score_that_changes_is_seen_by_the_next_decision() -> None:
    async with Stage.of("a", "b", probed=False) as stage:
        stage.manager.regions["a"].health_score = 10.0
        assert stage.serving() == {"b"}
        assert [r.region_id for r in stage.manager.list_regions(healthy_only=True)] == ["b"]
        stage.manager.regions["a"].health_score = None
        assert stage.phase("a") is Phase.UNKNOWN
        assert stage.serving() == {"a", "b"}


async def test_stats_count_regions_load_and_what_is_wrong() -> None:
    async with Stage.of(region("a", current_capacity=30), "b", "c", probed=False) as stage:
        await stage.manager.drain("c", by="ada", reason="x")
        stage.manager.regions["b"].health_score = 40.0
        stats = stage.manager.get_stats()
        assert (stats["total_regions"], stats["healthy_regions"]) == (3, 2)
        assert (stats["total_capacity"], stats["current_capacity"], stats["capacity_utilization"]) == (300, 30, 10.0)
        assert stats["regions_by_phase"]["degraded"] == 1
        assert stats["drained_regions"] == ["c"]
        assert stats["store_lost"] is None


@pytest.mark.parametrize("load", [-1, float("nan"), float("inf"), True, "5"])
async def test_a_load_that_is_none_is_refused(load: Any) -> None:
    async with Stage.of("a", probed=False) as stage:
        with pytest.raises(InvalidInputError, match="current_capacity"):
            stage.manager.report_load("a", load)
        assert stage.view("a").load == 0


async def test_what_is_asked_of_an_unknown_region_names_the_nearest() -> None:
    async with Stage.of("eu-west-1", probed=False) as stage:
        for ask in (
            lambda: stage.manager.get_region("eu-wets-1"),
            lambda: stage.manager.report_outcome("eu-wets-1", True),
            lambda: stage.manager.report_load("eu-wets-1", 1),
        ):
            with pytest.raises(UnknownRegionError, match="did you mean 'eu-west-1'"):
                ask()


# --- several managers, one store -----------------------------------------------------------------


async def test_two_managers_on_one_file_see_each_others_changes(tmp_path: Path) -> None:
    place = tmp_path / "world.db"
    one = RegionManager(store=await SqliteStore.open(place, poll_s=0.01))
    other = RegionManager(store=await SqliteStore.open(place, poll_s=0.01))
    async with one, other:
        await one.register_region(region("a"))
        await until(lambda: "a" in other.regions)
        await other.register_region(region("b"))
        await until(lambda: "b" in one.regions)
        await other.drain("a", by="ada", reason="x")
        await until(lambda: one.snapshot().regions["a"].admin == "drained")
        await one.unregister_region("b")
        await until(lambda: "b" not in other.regions)
        await other.undrain("a", by="ada")
        await until(lambda: one.snapshot().regions["a"].admin == "active")
        assert await one.journal.verify() == await other.journal.verify() == 5


async def test_a_manager_goes_on_following_after_the_store_was_lost() -> None:
    shared = MemoryStore()
    flaky = FailingStore(shared)
    clock = VirtualClock()
    async with Stage.of(store=flaky, probed=False, clock=clock) as stage:
        other = RegionManager(store=shared, clock=clock)
        await other.register_region(region("a"))
        await clock.settle()
        flaky.lose()
        await clock.advance(5)
        await other.register_region(region("b"))
        await clock.advance(5)
        flaky.find()
        await clock.advance(5)
        assert list(stage.manager.regions) == ["a", "b"]
        await other.register_region(region("c"))
        await clock.settle()
        assert list(stage.manager.regions) == ["a", "b", "c"]


async def test_a_manager_that_fell_behind_the_history_loads_again() -> None:
    shared = MemoryStore(history=2)
    flaky = FailingStore(shared)
    clock = VirtualClock()
    async with Stage.of("a", store=flaky, probed=False, clock=clock) as stage:
        other = RegionManager(store=shared, clock=clock)
        await other.initialize()
        flaky.lose()
        await clock.advance(1)
        for name in "bcdef":
            await other.register_region(region(name))
        await other.unregister_region("a")
        flaky.find()
        await clock.advance(5)
        assert sorted(stage.manager.regions) == list("bcdef")
        await other.monitor.close()


async def test_a_store_that_was_put_back_to_an_older_state_is_believed() -> None:
    store = FailingStore()
    async with Stage.of("a", "b", "c", store=store, probed=False) as stage:
        restored = MemoryStore()
        await restored.commit({"regions/a": json.dumps(region_document(region("a", name="restored")))})
        store.lose()
        await stage.pass_time(1)
        store.inner = restored
        store.find()
        await stage.pass_time(5)
        assert [(one.region_id, one.name) for one in stage.manager.list_regions()] == [("a", "restored")]
        await stage.manager.register_region(region("d"))
        assert list(stage.manager.regions) == ["a", "d"]


async def test_what_cannot_be_read_leaves_what_was_known() -> None:
    store = MemoryStore()
    async with Stage.of("a", store=store, probed=False) as stage:
        await store.commit({"regions/a": "{", "regions/b": json.dumps({"region_id": "b"}), "strange/key": "}"})
        await stage.clock.settle()
        assert list(stage.manager.regions) == ["a"]
        await stage.manager.register_region(region("c"))
        assert list(stage.manager.regions) == ["a", "c"]


async def test_a_store_that_cannot_be_understood_stops_the_start() -> None:
    store = MemoryStore()
    await store.commit({"policies/p": "{"})
    manager = RegionManager(store=store)
    with pytest.raises(StoreError, match="policies/p"):
        await manager.initialize()
    await manager.close()


class CountingStore(MemoryStore):
    """Remembers which prefixes were loaded, and does not mind being closed."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []

    async def load(self, prefix: str = "", *, after: str = "", limit: int | None = None) -> Loaded:
        self.loads.append(prefix)
        return await super().load(prefix, after=after, limit=limit)

    async def close(self) -> None:
        return


async def test_a_start_reads_no_events_however_many_there_are() -> None:
    store = CountingStore()
    manager = RegionManager(store=store)
    await manager.initialize()
    assert store.loads
    assert not any("events/".startswith(prefix) for prefix in store.loads)
    await manager.close()


# --- closing -------------------------------------------------------------------------------------


async def test_a_closed_system_leaves_no_task_behind() -> None:
    before = asyncio.all_tasks()
    async with Stage.of("a", "b", "c") as stage:
        await stage.pass_time(30)
        stage.fail("a")
        await stage.pass_time(30)
        await stage.manager.unregister_region("b")
        assert len(asyncio.all_tasks()) > len(before)
    assert asyncio.all_tasks() == before


async def test_initialize_and_close_may_be_called_twice() -> None:
    before = asyncio.all_tasks()
    manager = RegionManager()
    await manager.initialize()
    tasks = asyncio.all_tasks()
    await manager.initialize()
    assert asyncio.all_tasks() == tasks
    await manager.close()
    await manager.close()
    assert asyncio.all_tasks() == before


async def test_close_records_what_was_still_waiting() -> None:
    store = CountingStore()
    manager = RegionManager(store=store)
    await manager.register_region(region("a"))
    for _ in range(5):
        manager.report_outcome("a", ok=False)
    await manager.close()
    kinds = [entry.event.kind for entry in await manager.journal.tail()]
    assert EventKind.HEALTH_CHANGED in kinds
