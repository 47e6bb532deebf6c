"""The guard counts what leaves service, and only that: not a region twice, not one that served nobody."""

from __future__ import annotations

from mahavishnu.integrations.multi_region.core.events import EventKind
from mahavishnu.integrations.multi_region.core.model import Phase, SafetyLimits
from mahavishnu.integrations.multi_region.testing.builders import region
from mahavishnu.integrations.multi_region.testing.stage import Stage

from .test_guard import Bench, bench

__all__ = ["bench"]


async def test_a_region_that_flaps_counts_once_against_the_limit(bench: Bench) -> None:
    for _ in range(3):
        bench.judge("a", Phase.DOWN)
        bench.judge("a", Phase.HEALTHY)
    bench.judge("b", Phase.DOWN)
    assert bench.standing("b") is Phase.DOWN
    bench.judge("c", Phase.DOWN)
    assert bench.registry.held["c"][0].text.startswith("75 % of all capacity")


async def test_a_drained_region_that_goes_down_takes_no_part_of_the_limit() -> None:
    limits = SafetyLimits(max_removed=0.5, window_s=600.0, blind_share=1.0)
    async with Stage.of(region("a", max_capacity=500), "b", "c", "d", probed=False, limits=limits) as stage:
        await stage.manager.drain("a", by="ada", reason="new kernel")
        stage.requests("a", failed=5)
        stage.requests("b", failed=5)
        await stage.pass_time(1)
        assert (stage.phase("b"), stage.serving()) == (Phase.DOWN, {"c", "d"})


async def test_nobody_is_told_that_a_drained_region_is_kept_in_service() -> None:
    async with Stage.of("a", "b", "c", probed=False) as stage:
        await stage.manager.drain("a", by="ada", reason="new kernel")
        await stage.manager.freeze(by="ada", reason="night")
        stage.requests("a", failed=5)
        await stage.pass_time(1)
        assert (stage.phase("a"), stage.view("a").held) == (Phase.DOWN, None)
        assert stage.count(EventKind.SAFETY_HELD) == 0
        assert stage.serving() == {"b", "c"}


async def test_a_region_that_is_failed_over_already_is_not_kept_in_service() -> None:
    async with Stage.of("a", "b", "c", probed=False) as stage:
        await stage.handler.fail_over("a", reason="maintenance", by="ada")
        await stage.manager.freeze(by="ada", reason="night")
        stage.requests("a", failed=5)
        await stage.pass_time(1)
        assert stage.view("a").held is None
        assert stage.serving() == {"b", "c"}
