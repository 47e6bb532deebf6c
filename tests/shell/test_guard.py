"""Between a verdict and its effect: who leaves service, who is held, who is let go, and what is said of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mahavishnu.integrations.multi_region.core.health import HealthState
from mahavishnu.integrations.multi_region.core.model import Phase, SafetyLimits
from mahavishnu.integrations.multi_region.ports.store import MemoryStore
from mahavishnu.integrations.multi_region.shell.guard import ServingGuard, Verdict
from mahavishnu.integrations.multi_region.shell.journal import Journal
from mahavishnu.integrations.multi_region.shell.recorder import Recorder
from mahavishnu.integrations.multi_region.shell.registry import Registry
from mahavishnu.integrations.multi_region.testing.builders import region
from mahavishnu.integrations.multi_region.testing.virtual_clock import VirtualClock


class Bench:
    """A guard over four regions of 100 each."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.registry = Registry(SafetyLimits(max_removed=0.5, window_s=60.0))
        self.journal = Journal(MemoryStore(), self.clock)
        self.recorder = Recorder(self.journal, self.clock)
        self.guard = ServingGuard(self.registry, self.recorder, self.clock)
        self.verdicts: list[Verdict] = []
        self.guard.subscribe(self.verdicts.append)
        for region_id in "abcd":
            self.registry.regions[region_id] = region(region_id)

    def judge(self, region_id: str, phase: Phase, **fields: float) -> None:
        """Reach a verdict, as the monitor does."""
        before = self.registry.health.get(region_id, HealthState())
        after = HealthState(phase=phase, judged=True, reason="a test", doubt_since=1.0, **fields)  # type: ignore[arg-type]
        self.registry.health[region_id] = after
        self.guard.changed(region_id, before, after)

    def standing(self, region_id: str) -> Phase:
        return self.registry.fleet().regions[region_id].standing

    async def kinds(self) -> list[tuple[str, str]]:
        await self.recorder.settled()
        return [(entry.event.kind.value, entry.event.subject) for entry in await self.journal.tail()]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.recorder.close()
    await made.journal.close()


async def test_a_verdict_takes_effect_at_once_and_is_told(bench: Bench) -> None:
    bench.judge("a", Phase.DOWN)
    assert bench.standing("a") is Phase.DOWN
    assert bench.verdicts == [Verdict("a", Phase.HEALTHY, Phase.DOWN, "a test", 1.0)]
    assert await bench.kinds() == [("health.changed", "a")]


async def test_what_the_probes_say_is_the_score_that_people_see(bench: Bench) -> None:
    bench.judge("a", Phase.DOWN, fails=2)
    assert bench.registry.regions["a"].health_score == 0.0


async def test_a_score_that_moves_within_its_phase_is_seen_and_not_told(bench: Bench) -> None:
    bench.judge("a", Phase.HEALTHY)
    told = len(bench.verdicts)
    fleet = bench.registry.fleet()
    bench.judge("a", Phase.HEALTHY, failed_share=0.2)
    assert bench.registry.fleet() is not fleet
    assert bench.registry.fleet().regions["a"].health_score == 80.0
    assert len(bench.verdicts) == told


async def test_what_would_break_the_velocity_limit_is_held_as_what_it_was(bench: Bench) -> None:
    for region_id in "abc":
        bench.judge(region_id, Phase.DOWN)
    assert [bench.standing(r) for r in "abcd"] == [Phase.DOWN, Phase.DOWN, Phase.HEALTHY, Phase.HEALTHY]
    view = bench.registry.fleet().regions["c"]
    assert view.phase is Phase.DOWN
    assert view.held == "75 % of all capacity would be out within 60 s; at most 50 % may"
    assert [verdict.region_id for verdict in bench.verdicts] == ["a", "b"]
    assert ("safety.held", "c") in await bench.kinds()


async def test_the_load_that_came_with_a_failure_does_not_change_what_a_held_region_serves_as(bench: Bench) -> None:
    """A probe's answer may carry the load as well, so that the region is looked at anew before the verdict."""
    for region_id in "ab":
        bench.judge(region_id, Phase.DOWN)
    bench.registry.health["c"] = HealthState(phase=Phase.DOWN, judged=True)
    bench.registry.regions["c"].current_capacity = 5
    bench.guard.changed("c", HealthState(), bench.registry.health["c"])
    assert bench.standing("c") is Phase.HEALTHY


async def test_a_held_region_leaves_once_the_window_has_passed(bench: Bench) -> None:
    for region_id in "abc":
        bench.judge(region_id, Phase.DOWN)
    await bench.clock.advance(59)
    bench.guard.review()
    held = bench.standing("c")
    await bench.clock.advance(1)
    bench.guard.review()
    assert (held, bench.standing("c")) == (Phase.HEALTHY, Phase.DOWN)
    kinds = await bench.kinds()
    assert kinds[-2:] == [("safety.held", "c"), ("safety.released", "c")]
    assert [verdict.region_id for verdict in bench.verdicts] == ["a", "b", "c"]


async def test_the_last_region_is_held_as_the_last_choice(bench: Bench) -> None:
    for region_id in "abcd":
        bench.judge(region_id, Phase.DOWN)
        await bench.clock.advance(61)
    bench.guard.review()
    assert [bench.standing(r) for r in "abcd"] == [Phase.DOWN, Phase.DOWN, Phase.DOWN, Phase.UNKNOWN]
    await bench.clock.advance(3600)
    bench.guard.review()
    assert bench.standing("d") is Phase.UNKNOWN


async def test_a_held_region_that_is_well_again_is_let_go_and_stays(bench: Bench) -> None:
    for region_id in "abc":
        bench.judge(region_id, Phase.DOWN)
    bench.judge("c", Phase.HEALTHY)
    await bench.clock.advance(3600)
    bench.guard.review()
    assert bench.registry.fleet().regions["c"].held is None
    assert bench.standing("c") is Phase.HEALTHY
    assert ("safety.released", "c") in await bench.kinds()


async def test_when_another_returns_the_one_held_as_the_last_may_leave(bench: Bench) -> None:
    for region_id in "abcd":
        bench.judge(region_id, Phase.DOWN)
        await bench.clock.advance(61)
    bench.judge("a", Phase.HEALTHY)
    bench.guard.review()
    assert [bench.standing(r) for r in "ad"] == [Phase.HEALTHY, Phase.DOWN]


async def test_a_held_region_that_is_removed_is_forgotten(bench: Bench) -> None:
    for region_id in "abc":
        bench.judge(region_id, Phase.DOWN)
    del bench.registry.regions["c"]
    bench.guard.review()
    assert bench.registry.held == {}


async def test_frozen_automation_holds_everybody(bench: Bench) -> None:
    bench.registry.accept("freeze", {"by": "ada", "reason": "looking", "at": 1.0}, 1)
    bench.judge("a", Phase.DOWN)
    held = bench.standing("a")
    bench.registry.accept("freeze", None, 2)
    bench.guard.review()
    assert (held, bench.standing("a")) == (Phase.HEALTHY, Phase.DOWN)


async def test_who_unsubscribed_is_told_no_more(bench: Bench) -> None:
    bench.guard.unsubscribe(bench.verdicts.append)
    bench.judge("a", Phase.DOWN)
    assert bench.verdicts == []
