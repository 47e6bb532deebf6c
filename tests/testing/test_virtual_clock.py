"""The clock whose time a test moves: sleepers wake in order, and all that follows has happened when it returns."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, strategies as st

from mahavishnu.integrations.multi_region.testing.virtual_clock import VirtualClock


async def test_time_stands_still_until_it_is_moved() -> None:
    clock = VirtualClock(start=100.0)
    assert (clock.now(), clock.monotonic()) == (100.0, 0.0)
    await clock.advance(2.5)
    assert (clock.now(), clock.monotonic()) == (102.5, 2.5)


@given(st.lists(st.floats(0, 100), max_size=20))
def test_sleepers_wake_in_order_each_at_its_own_time(pauses: list[float]) -> None:
    async def run() -> None:
        clock, woken = VirtualClock(), list[tuple[float, int]]()

        async def nap(place: int, seconds: float) -> None:
            await clock.sleep(seconds)
            woken.append((clock.monotonic(), place))

        tasks = [asyncio.create_task(nap(place, seconds)) for place, seconds in enumerate(pauses)]
        await clock.advance(100)
        await asyncio.gather(*tasks)
        assert [at for at, _ in woken] == sorted(at for at, _ in woken)
        assert {place: at for at, place in woken} == pytest.approx(dict(enumerate(pauses)))

    asyncio.run(run())


async def test_nobody_wakes_too_soon() -> None:
    clock = VirtualClock()
    task = asyncio.create_task(clock.sleep(10))
    await clock.advance(9.999)
    assert not task.done()
    await clock.advance(0.001)
    assert task.done()


async def test_who_sleeps_again_wakes_again_within_the_same_advance() -> None:
    clock, ticks = VirtualClock(), list[float]()

    async def tick() -> None:
        while True:
            await clock.sleep(1)
            ticks.append(clock.monotonic())

    task = asyncio.create_task(tick())
    await clock.advance(5)
    assert ticks == [1, 2, 3, 4, 5]
    task.cancel()


async def test_what_follows_from_a_waking_runs_to_its_end_before_time_goes_on() -> None:
    clock, seen = VirtualClock(), list[float]()
    queue: asyncio.Queue[int] = asyncio.Queue()

    async def pass_on(left: int) -> None:
        if left:
            await asyncio.create_task(pass_on(left - 1))
        else:
            queue.put_nowait(1)

    async def wake() -> None:
        await clock.sleep(1)
        await pass_on(20)

    async def receive() -> None:
        await queue.get()
        seen.append(clock.monotonic())

    tasks = [asyncio.create_task(wake()), asyncio.create_task(receive()), asyncio.create_task(clock.sleep(1.5))]
    await clock.advance(2)
    await asyncio.gather(*tasks)
    assert seen == [1]


async def test_a_sleeper_that_was_cancelled_is_passed_over() -> None:
    clock = VirtualClock()
    task = asyncio.create_task(clock.sleep(1))
    await clock.settle()
    task.cancel()
    await clock.advance(2)
    assert task.cancelled()


async def test_a_sleep_of_nothing_only_lets_others_run() -> None:
    clock = VirtualClock()
    await clock.sleep(0)
    await clock.sleep(-1)
    assert clock.monotonic() == 0


async def test_somebody_who_spins_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mahavishnu.integrations.multi_region.testing.virtual_clock.MOST_TURNS", 100)
    clock = VirtualClock()

    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    task = asyncio.create_task(spin())
    with pytest.raises(RuntimeError, match="never comes to rest"):
        await clock.settle()
    task.cancel()
