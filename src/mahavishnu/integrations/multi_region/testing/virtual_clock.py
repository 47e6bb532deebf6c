"""A clock whose time a test moves: hours pass in milliseconds, and the same way on every run.

    clock = VirtualClock()
    task = asyncio.create_task(patient(clock))   # does ``await clock.sleep(3600)`` somewhere
    await clock.advance(3600)

Whoever sleeps is woken in order of waking time, each before time goes on, and what follows from it runs to its end.
"""

from __future__ import annotations

import asyncio
import heapq
from itertools import count

TURNS_WITHOUT_QUEUE = 50
"""Turns of an event loop that does not show its queue, after which it is taken to be quiet."""

MOST_TURNS = 100_000
"""Turns after which somebody must be spinning."""


class VirtualClock:
    """A ``Clock`` that stands still until it is advanced. ``start``: seconds since the epoch at the beginning."""

    def __init__(self, start: float = 1_760_000_000.0) -> None:
        self._start = start
        self._elapsed = 0.0
        self._order = count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._start + self._elapsed

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        """Wait until time has been advanced by ``seconds``; 0 or less lets others run first."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._order), woken))
        await woken

    async def advance(self, seconds: float) -> None:
        """Let time pass, waking who sleeps, in order; returns when nothing more happens at the new time."""
        until = self._elapsed + seconds
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= until:
            self._elapsed, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)
                await self.settle()
        self._elapsed = until
        await self.settle()

    async def settle(self) -> None:
        """Let everything run that waits for neither time nor the world outside. Raises RuntimeError if it never ends.

        Threads, sockets and files are the world outside: for them, poll.
        """
        ready = getattr(asyncio.get_running_loop(), "_ready", None)  # asyncio's own queue of what runs next
        for turn in range(MOST_TURNS):
            if (not ready) if ready is not None else turn >= TURNS_WITHOUT_QUEUE:
                return
            await asyncio.sleep(0)
        raise RuntimeError("the event loop never comes to rest at one moment of virtual time")
