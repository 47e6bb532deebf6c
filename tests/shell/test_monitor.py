"""The watch over regions: one schedule each, kept in step with the table, whatever a probe does."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.core.health import HealthState
from mahavishnu.integrations.multi_region.core.model import HealthCheck, Phase, Region
from mahavishnu.integrations.multi_region.ports.probe import ProbeResult
from mahavishnu.integrations.multi_region.shell.manager import RegionManager
from mahavishnu.integrations.multi_region.shell.monitor import HealthMonitor, MonitorHooks
from mahavishnu.integrations.multi_region.testing.builders import region
from mahavishnu.integrations.multi_region.testing.virtual_clock import VirtualClock

CHECK = HealthCheck(interval_s=10.0, timeout_s=2.0, fall=2, rise=3, hold_down_s=0.0)


class CountingProbe:
    """Counts who was asked and when; answers well unless told otherwise, and may take its time."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.asked: Counter[str] = Counter()
        self.times: list[float] = []
        self.answers: dict[str, ProbeResult | Exception] = {}
        self.takes_s = 0.0
        self.closed = False

    async def ask(self, endpoint: str, check: HealthCheck) -> ProbeResult:
        name = endpoint.removeprefix("https://").removesuffix(".example.com")
        self.asked[name] += 1
        self.times.append(self.clock.monotonic())
        await self.clock.sleep(self.takes_s)
        answer = self.answers.get(name, ProbeResult(True, 5.0))
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        self.closed = True


class Bench:
    """A monitor over a plain table."""

    def __init__(self, *region_ids: str, dice: float = 0.5) -> None:
        self.clock = VirtualClock()
        self.probe = CountingProbe(self.clock)
        self.table: dict[str, Region] = {region_id: region(region_id) for region_id in region_ids}
        self.states: dict[str, HealthState] = {}
        self.blindness: list[bool] = []
        self.changes: list[str] = []
        self.monitor = HealthMonitor(
            regions=self.table,
            states=self.states,
            clock=self.clock,
            probe=self.probe,
            default_check=CHECK,
            breaker_threshold=5,
            blind_share=lambda: 0.5,
            hooks=MonitorHooks(lambda rid, _, __: self.changes.append(rid), self.blindness.append, lambda: None),
            dice=lambda: dice,
        )


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench("a", "b", "c", "d", "e")
    made.monitor.start()
    yield made
    await made.monitor.close()


async def test_each_region_is_asked_at_its_interval(bench: Bench) -> None:
    await bench.clock.advance(100)
    assert bench.probe.asked == dict.fromkeys("abcde", 10)


async def test_a_region_may_have_an_interval_of_its_own(bench: Bench) -> None:
    bench.table["a"].health = HealthCheck(interval_s=2.0)
    await bench.clock.advance(101)
    assert bench.probe.asked["b"] == 11
    assert bench.probe.asked["a"] >= 46


@pytest.mark.parametrize(("dice", "pause"), [(0.0, 9.0), (0.5, 10.0), (1.0, 11.0)])
async def test_pauses_are_up_to_a_tenth_longer_or_shorter(dice: float, pause: float) -> None:
    bench = Bench("a", dice=dice)
    bench.monitor.start()
    await bench.clock.advance(50)
    await bench.monitor.close()
    assert [b - a for a, b in zip(bench.probe.times, bench.probe.times[1:], strict=False)] == pytest.approx(
        [pause] * (len(bench.probe.times) - 1)
    )


async def test_a_probe_that_takes_long_does_not_make_the_interval_longer(bench: Bench) -> None:
    bench.probe.takes_s = 4.0
    await bench.clock.advance(100)
    assert bench.probe.asked["a"] == 10


async def test_one_slow_region_keeps_nobody_else_waiting() -> None:
    bench = Bench("a", "b")
    bench.table["a"].health = HealthCheck(interval_s=10.0, timeout_s=60.0)
    release = asyncio.Event()
    answer = bench.probe.ask

    async def ask(endpoint: str, check: HealthCheck) -> ProbeResult:
        if "a.example" in endpoint:
            await release.wait()
        return await answer(endpoint, check)

    bench.probe.ask = ask  # type: ignore[method-assign]  # the probe hangs on one region
    bench.monitor.start()
    await bench.clock.advance(100)
    assert bench.probe.asked == {"b": 10}
    release.set()
    await bench.monitor.close()


async def test_a_region_that_joins_is_asked_and_one_that_leaves_is_not(bench: Bench) -> None:
    await bench.clock.advance(20)
    bench.table["f"] = region("f")
    del bench.table["a"]
    asked = bench.probe.asked["a"]
    await bench.clock.advance(20)
    assert bench.probe.asked["a"] == asked
    assert bench.probe.asked["f"] >= 2
    assert set(bench.states) == set("bcdef")


async def test_a_region_that_leaves_and_returns_is_asked_again_and_starts_afresh(bench: Bench) -> None:
    bench.probe.answers["a"] = ProbeResult(False, 1.0, "no answer")
    await bench.clock.advance(30)
    before = bench.states["a"].phase
    gone = bench.table.pop("a")
    await bench.clock.advance(30)
    assert "a" not in bench.states
    bench.table["a"] = gone
    del bench.probe.answers["a"]
    await bench.clock.advance(5)
    assert (before, bench.states["a"].phase) == (Phase.DOWN, Phase.HEALTHY)


@pytest.mark.parametrize("error", [KeyError("a"), RuntimeError("driver"), OSError("no route")])
async def test_a_probe_that_raises_neither_ends_nor_spins_the_watch(bench: Bench, error: Exception) -> None:
    bench.probe.answers["a"] = error
    await bench.clock.advance(50)
    assert bench.probe.asked["a"] == 5
    del bench.probe.answers["a"]
    await bench.clock.advance(10)
    assert bench.states["a"].phase is Phase.HEALTHY


async def test_an_answer_that_comes_after_its_region_was_replaced_is_not_counted(bench: Bench) -> None:
    bench.probe.takes_s = 4.0
    await bench.clock.advance(2)
    bench.table["a"] = region("a")
    await bench.clock.advance(3)
    assert "a" not in bench.states
    assert "b" in bench.states


async def test_a_load_that_a_region_reports_is_its_load(bench: Bench) -> None:
    bench.probe.answers["a"] = ProbeResult(True, 5.0, load=42.0)
    bench.probe.answers["b"] = ProbeResult(True, 5.0, utilization=0.25)
    await bench.clock.advance(5)
    assert bench.table["a"].current_capacity == 42.0
    assert bench.table["b"].current_capacity == 25.0


ODD_LOADS = [(2e12, 1e12), (1e300, 1e12), (math.inf, 1e12), (-1.0, 0), (math.nan, 0), ("7", 0)]


@pytest.mark.parametrize("field", ["load", "utilization"])
@pytest.mark.parametrize(("odd", "taken"), ODD_LOADS)
async def test_a_failing_region_is_down_whatever_load_it_reports(field: str, odd: Any, taken: float) -> None:
    bench = Bench("a", "b", "c")
    manager = RegionManager()
    for region_id in bench.table:
        manager.regions[region_id] = bench.table[region_id]  # kept: its figures are checked
    bench.probe.answers["a"] = replace(ProbeResult(False, 5.0, "HTTP 500"), **{field: odd})
    bench.monitor.start()
    await bench.clock.advance(30)
    assert bench.states["a"].phase is Phase.DOWN
    assert bench.table["a"].current_capacity == taken
    if not isinstance(odd, str):
        asked = asyncio.create_task(bench.monitor.probe_once("a"))
        await bench.clock.advance(1)
        assert (await asked).phase is Phase.DOWN
    await bench.monitor.close()


async def test_a_closed_monitor_asks_nobody_and_leaves_nothing_running() -> None:
    bench = Bench("a", "b")
    before = asyncio.all_tasks()
    bench.monitor.start()
    await bench.clock.advance(5)
    del bench.table["b"]
    bench.monitor.follow_table()
    await bench.monitor.close()
    assert asyncio.all_tasks() == before
    assert bench.probe.closed
    asked = sum(bench.probe.asked.values())
    await bench.clock.advance(60)
    assert sum(bench.probe.asked.values()) == asked


async def test_without_a_probe_time_and_reports_still_count() -> None:
    bench = Bench("a")
    bench.monitor._probe = None
    bench.monitor.start()
    for _ in range(5):
        bench.monitor.report("a", ok=False, latency_ms=None)
    before = bench.states["a"].phase
    await bench.clock.advance(1)
    assert (before, bench.states["a"].phase) == (Phase.DOWN, Phase.HEALTHY)
    await bench.monitor.close()


# --- its own blindness ---------------------------------------------------------------------------


def fail(bench: Bench, *names: str) -> None:
    for name in names:
        bench.probe.answers[name] = ProbeResult(False, 1.0, "no route")


async def test_three_of_five_failing_at_once_is_blindness_and_two_are_not(bench: Bench) -> None:
    await bench.clock.advance(20)
    fail(bench, "a", "b")
    await bench.clock.advance(60)
    assert not bench.monitor.blind
    assert [r for r, s in bench.states.items() if s.phase is Phase.DOWN] == ["a", "b"]


async def test_a_failure_that_led_to_blindness_counts_no_more_when_it_is_over() -> None:
    bench = Bench("a", "b", "c", "d", "e")
    fail(bench, "a", "b", "c")
    for name in "deabc":
        await bench.monitor.probe_once(name)
    for name in "bc":
        bench.probe.answers[name] = ProbeResult(True, 5.0)
        await bench.monitor.probe_once(name)
    assert bench.blindness == [True, False]
    assert (await bench.monitor.probe_once("a")).phase is not Phase.DOWN, "the first that counts, of two"
    assert (await bench.monitor.probe_once("a")).phase is Phase.DOWN


async def test_blindness_begins_and_ends_once(bench: Bench) -> None:
    await bench.clock.advance(20)
    fail(bench, "a", "b", "c", "d")
    await bench.clock.advance(120)
    bench.probe.answers.clear()
    await bench.clock.advance(30)
    assert bench.blindness == [True, False]
    assert {s.phase for s in bench.states.values()} == {Phase.HEALTHY}


@pytest.mark.parametrize("ahead", [0.3, 3.0, 9.5])
async def test_a_region_that_was_asked_first_does_not_hide_that_the_others_failed_with_it(ahead: float) -> None:
    """The observer's own line breaks; the region whose turns come soonest falls before most have been asked."""
    bench = Bench("a", "b", "c", "d", "e")
    bench.table["a"].health = HealthCheck(interval_s=ahead, timeout_s=2.0, fall=2, rise=3)
    bench.monitor.start()
    await bench.clock.advance(20)
    fail(bench, "a", "b", "c", "d", "e")
    await bench.clock.advance(120)
    await bench.monitor.close()
    down = [r for r, s in bench.states.items() if s.phase is Phase.DOWN]
    assert bench.monitor.blind
    assert down in ([], ["a"])


async def test_in_the_first_round_who_is_asked_first_is_not_down_for_being_first() -> None:
    bench = Bench("a", "b")
    bench.table["a"].health = HealthCheck(interval_s=1.0, timeout_s=0.5, fall=2)
    bench.table["b"].health = HealthCheck(interval_s=8.0, timeout_s=8.0, fall=2)
    bench.probe.answers = dict.fromkeys("ab", ProbeResult(False, 0.0, "no route"))
    bench.probe.takes_s = 0.4
    waits, answer = asyncio.Event(), bench.probe.ask

    async def ask(endpoint: str, check: HealthCheck) -> ProbeResult:
        if "b.example" in endpoint:
            await waits.wait()
        return await answer(endpoint, check)

    bench.probe.ask = ask  # type: ignore[method-assign]  # the probe hangs on one region
    bench.monitor.start()
    await bench.clock.advance(6)
    before = bench.states["a"].phase
    assert bench.probe.asked["a"] >= 4 and before is not Phase.DOWN
    waits.set()
    await bench.clock.advance(2)
    after = bench.states["a"].phase
    assert bench.monitor.blind and after is not Phase.DOWN
    await bench.monitor.close()


async def test_after_the_first_round_silence_elsewhere_protects_nobody() -> None:
    bench = Bench("a", "b")
    bench.table["a"].health = HealthCheck(interval_s=1.0, timeout_s=0.5, fall=2)
    bench.table["b"].health = HealthCheck(interval_s=8.0, timeout_s=8.0, fall=2)
    bench.probe.answers = {"a": ProbeResult(False, 0.0, "no route")}
    answer = bench.probe.ask

    async def ask(endpoint: str, check: HealthCheck) -> ProbeResult:
        if "b.example" in endpoint:
            await asyncio.Event().wait()
        return await answer(endpoint, check)

    bench.probe.ask = ask  # type: ignore[method-assign]  # the probe hangs on one region
    bench.monitor.start()
    await bench.clock.advance(30)
    assert bench.states["a"].phase is Phase.DOWN
    await bench.monitor.close()
