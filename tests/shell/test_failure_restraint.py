"""FailureHandler: what a freeze, a person's word, a restart and a long life mean for it."""

from __future__ import annotations

from typing import Any

import pytest

from mahavishnu.integrations.multi_region.core.events import EventKind
from mahavishnu.integrations.multi_region.core.model import Phase
from mahavishnu.integrations.multi_region.core.overrides import Cause
from mahavishnu.integrations.multi_region.errors import InvalidInputError, UnknownRegionError
from mahavishnu.integrations.multi_region.ports.store import MemoryStore
from mahavishnu.integrations.multi_region.shell.failure import KEPT_EVENTS, FailureHandler
from mahavishnu.integrations.multi_region.testing.failing_store import FailingStore
from mahavishnu.integrations.multi_region.testing.stage import CHECK, Stage
from mahavishnu.integrations.multi_region.testing.virtual_clock import VirtualClock


class Kept(MemoryStore):
    """A store that outlives those who close it."""

    async def close(self) -> None:
        """Stay open."""


async def test_what_a_lost_store_put_off_waits_for_a_freeze_to_end() -> None:
    store = FailingStore()
    async with Stage.of("a", "b", "c", store=store, probed=False) as stage:
        store.lose()
        stage.requests("a", failed=5)
        await stage.pass_time(3)
        store.find()
        await stage.manager.freeze(by="ada", reason="night")
        await stage.pass_time(10)
        assert stage.phase("a") is Phase.DOWN
        assert stage.manager.registry.failures == {}, "automation moved something while it was frozen"
        await stage.manager.unfreeze(by="ada")
        await stage.pass_time(2)
        assert set(stage.manager.registry.failures) == {"a"}


async def test_a_drained_region_that_goes_down_during_a_freeze_is_not_failed_over() -> None:
    async with Stage.of("a", "b", "c", probed=False) as stage:
        await stage.manager.drain("a", by="ada", reason="new kernel")
        await stage.manager.freeze(by="ada", reason="night")
        stage.requests("a", failed=5)
        await stage.pass_time(10)
        assert stage.count(EventKind.FAILOVER_COMPLETED) == 0


async def test_what_a_person_moved_away_stays_a_persons_to_give_back_when_the_region_then_fails() -> None:
    store, clock = Kept(), VirtualClock()
    async with Stage.of("a", "b", "c", store=store, clock=clock) as stage:
        await stage.pass_time(30)
        await stage.handler.fail_over("a", reason="maintenance", by="ada")
    async with Stage.of("a", "b", "c", store=store, clock=clock) as stage:
        await stage.handler.handle_region_failure("a", "its uplink is gone")
        assert stage.manager.registry.failures["a"].cause is Cause.OPERATOR
        await stage.pass_time(300)
        assert stage.serving() == {"b", "c"}


async def test_after_a_restart_one_good_probe_is_not_enough_to_give_traffic_back() -> None:
    store, clock = Kept(), VirtualClock()
    async with Stage.of("a", "b", "c", store=store, clock=clock) as stage:
        await stage.pass_time(30)
        stage.fail("a")
        await stage.pass_time(30)
        assert set(stage.manager.registry.failures) == {"a"}
    async with Stage.of("a", "b", "c", store=store, clock=clock) as stage:
        await stage.pass_time(CHECK.interval_s + 2)
        assert stage.manager.monitor.states["a"].passes in (1, 2)
        assert stage.serving() == {"b", "c"}
        await stage.pass_time(3 * CHECK.interval_s)
        assert stage.serving() == {"a", "b", "c"}


async def test_the_totals_do_not_end_where_memory_does() -> None:
    async with Stage.of("a", "b", probed=False, handled=False) as stage:
        for _ in range(KEPT_EVENTS + 1):
            await stage.handler.fail_over("a", "b", reason="x")
            await stage.handler.recover_region("a")
        stats = stage.handler.get_failover_stats()
        assert stats["total_recoveries"] == stats["failovers_by_region"]["a"] == KEPT_EVENTS + 1


@pytest.mark.parametrize("nobody", [None, "", "  ", 7, b"ada", "\ud800"])
async def test_no_act_goes_into_the_log_without_a_name(nobody: Any) -> None:
    async with Stage.of("a", "b", probed=False, handled=False) as stage:
        for act in (
            lambda: stage.manager.drain("a", by=nobody, reason="x"),
            lambda: stage.manager.freeze(by=nobody, reason="x"),
            lambda: stage.handler.fail_over("a", reason="x", by=nobody),
        ):
            with pytest.raises(InvalidInputError, match=r"^by: "):
                await act()
        await stage.pass_time(1)
        assert {event.kind for event in stage.events} == {EventKind.REGION_REGISTERED}


async def test_a_failover_to_an_empty_name_is_refused_by_name() -> None:
    async with Stage.of("a", "b", probed=False, handled=False) as stage:
        with pytest.raises(UnknownRegionError, match="one of: a, b"):
            await stage.handler.failover_to("a", "")


@pytest.mark.parametrize("odd", ["1", True, [], float("nan"), -1])
async def test_a_deadline_is_a_number_of_seconds(odd: Any) -> None:
    async with Stage.of("a", handled=False, probed=False) as stage:
        with pytest.raises(InvalidInputError, match=r"^drain_timeout: "):
            FailureHandler(stage.manager, drain_timeout=odd)
