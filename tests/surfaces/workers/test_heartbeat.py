"""Who hangs, told from when each process was last heard of; and how a process is heard over its line."""

from __future__ import annotations

import asyncio
import math
import socket
from contextlib import suppress
from dataclasses import replace

import pytest

from mahavishnu.integrations.multi_region.surfaces.workers.heartbeat import (
    CONTROLLER_S,
    HELD_UP_S,
    LOOK_EVERY_S,
    NEXT_AFTER_S,
    QUIET_S,
    WORKER_S,
    Pulse,
    Watch,
    judge,
)
from mahavishnu.integrations.multi_region.surfaces.workers.line import LowerEnd, UpperEnd

T = 1_000.0
"""Some moment."""


def worker(name: str, heard_at: float, *, ready: bool = True) -> Pulse:
    return Pulse(name, heard_at, WORKER_S, ready)


def awake(looked_at: float = T - LOOK_EVERY_S) -> Watch:
    """A supervisor that has looked in time for long."""
    return Watch(looked_at, seeing_since=0.0)


@pytest.mark.parametrize(
    ("silent_s", "quiet", "hangs"),
    [
        (0.0, False, False),
        (QUIET_S, False, False),
        (QUIET_S + 0.1, True, False),
        (WORKER_S, True, False),
        (WORKER_S + 0.1, True, True),
        (900.0, True, True),
    ],
)
def test_a_silence_is_first_covered_for_and_then_ended(silent_s: float, quiet: bool, hangs: bool) -> None:
    found = judge(awake(), [worker("a", T - silent_s), worker("b", T)], T)
    assert found.silent_s["a"] == pytest.approx(silent_s)
    assert found.quiet == ({"a"} if quiet else set())
    assert (found.hangs, found.held_up_s) == ("a" if hangs else None, 0.0)


@pytest.mark.parametrize(
    ("allowed_s", "silent_s", "hangs"),
    [
        (CONTROLLER_S, WORKER_S + 0.1, False),
        (CONTROLLER_S, CONTROLLER_S, False),
        (CONTROLLER_S, CONTROLLER_S + 0.1, True),
        (math.inf, 1e9, False),  # before its first word
    ],
)
def test_each_is_judged_by_what_it_is_allowed(allowed_s: float, silent_s: float, hangs: bool) -> None:
    pulses = [Pulse("controller", T - silent_s, allowed_s, ready=True), worker("a", T)]
    found = judge(awake(looked_at=T - 1), pulses, T)
    assert found.hangs == ("controller" if hangs else None)


def test_of_several_the_one_that_is_longest_overdue_is_ended_and_then_nobody_until_it_is_back() -> None:
    still = [worker("a", T - 11), worker("b", T - 13), worker("c", T - 12)]
    first = judge(awake(), still, T)
    assert (first.hangs, first.quiet) == ("b", frozenset({"a", "b", "c"}))
    gone = [still[0], still[2]]
    starting = [*gone, Pulse("b", T + 0.2, 120.0, ready=False)]
    back = [*gone, worker("b", T + 4)]
    watch = first.watch
    for at, pulses, hangs in (
        (T + 0.5, still, None),  # not waited for yet
        (T + 1.0, gone, None),
        (T + 2.0, starting, None),
        (T + 4.5, back, "c"),
        (T + 5.0, back, None),
    ):
        found = judge(replace(watch, looked_at=at - LOOK_EVERY_S), pulses, at)
        assert (at, found.hangs) == (at, hangs)
        watch = found.watch


@pytest.mark.parametrize(("after_s", "hangs"), [(NEXT_AFTER_S - 0.1, None), (NEXT_AFTER_S, "a")])
def test_one_that_does_not_come_back_is_not_waited_for_for_ever(after_s: float, hangs: str | None) -> None:
    """Nor does one that does not even go, whose silence grows the longest."""
    watch = Watch(T + after_s - LOOK_EVERY_S, 0.0, ended="b", ended_at=T)
    assert judge(watch, [worker("a", T - 11), worker("b", T - 500)], T + after_s).hangs == hangs


@pytest.mark.parametrize("held_up_s", [HELD_UP_S + 0.1, 60.0])
def test_a_supervisor_that_was_held_up_holds_nothing_against_others(held_up_s: float) -> None:
    still = [worker("a", T - held_up_s - 20), worker("b", T - held_up_s)]
    found = judge(awake(looked_at=T - held_up_s), still, T)
    assert (found.hangs, found.quiet) == (None, frozenset())
    assert found.held_up_s == pytest.approx(held_up_s)
    watch, at = found.watch, T
    while at < T + WORKER_S:  # and gives them all of their time again
        at += LOOK_EVERY_S
        found = judge(watch, still, at)
        assert (found.hangs, found.held_up_s, bool(found.quiet)) == (None, 0.0, at > T + QUIET_S)
        watch = found.watch
    assert judge(watch, still, at + LOOK_EVERY_S).hangs in {"a", "b"}


def test_a_supervisor_that_is_held_up_again_and_again_judges_nobody() -> None:
    watch, at = awake(), T
    for _ in range(100):
        at += HELD_UP_S + 1
        found = judge(watch, [worker("a", T - 100)], at)
        assert found.hangs is None
        watch = found.watch


def test_nobody_stands_in_for_one_that_has_yet_to_begin() -> None:
    found = judge(awake(), [Pulse("a", T - 60, 120.0, ready=False), worker("b", T)], T)
    assert (found.hangs, found.quiet) == (None, frozenset())
    assert judge(awake(), [Pulse("a", T - 121, 120.0, ready=False)], T).hangs == "a"


async def test_a_line_tells_that_the_process_turns_and_then_that_it_is_ready() -> None:
    upper, theirs = await UpperEnd.open()
    lower = LowerEnd(theirs)
    lower.watch()
    waiting = asyncio.ensure_future(upper.ready())
    first = await _heard(upper, after=0.0)
    assert not waiting.done()
    lower.ready()
    assert await waiting
    await _heard(upper, after=first)  # by itself
    upper.close()
    theirs.close()


async def test_a_process_whose_supervisor_does_not_read_goes_on_and_is_known_to_be_ready_later() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        assert _fill(theirs) > 100
        lower = LowerEnd(theirs)
        lower.ready()
        ours.setblocking(False)
        _, upper = await asyncio.get_running_loop().create_connection(UpperEnd, sock=ours)
        lower.watch()
        assert await upper.ready()
        upper.close()


async def test_a_process_that_ends_before_it_is_ready_is_not() -> None:
    upper, theirs = await UpperEnd.open()
    theirs.close()
    assert not await upper.ready()
    upper.close()


def _fill(sock: socket.socket) -> int:
    """Send until no more can be sent; how many bytes that was."""
    sent = 0
    with suppress(BlockingIOError):
        while True:
            sent += sock.send(b"b")
    return sent


async def _heard(upper: UpperEnd, after: float) -> float:
    async with asyncio.timeout(30):
        while upper.heard_at is None or upper.heard_at <= after:
            await asyncio.sleep(0.01)
    return upper.heard_at
