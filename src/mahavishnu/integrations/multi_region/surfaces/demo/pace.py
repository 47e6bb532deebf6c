"""Requests at a steady rate, whatever becomes of those before (an open loop)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine

from mahavishnu.integrations.multi_region.ports.clock import Clock

from .scene import CITIES, City, Options

Send = Callable[[City, int, float], Coroutine[None, None, None]]
"""Sends one request of a city: which one, and when it was due, in monotonic seconds."""


async def at_a_steady_rate(options: Options, clock: Clock, send: Send) -> None:
    """Let every city send for ``options.seconds``, then wait for the last answers."""
    dice = random.Random(options.seed)
    pause_s = len(CITIES) / options.rate
    began = clock.monotonic()
    async with asyncio.TaskGroup() as group:
        for city in CITIES:
            first = began + dice.random() * pause_s
            group.create_task(_city(group, clock, city, (first, pause_s, began + options.seconds), send))


async def _city(
    group: asyncio.TaskGroup, clock: Clock, city: City, times: tuple[float, float, float], send: Send
) -> None:
    first, pause_s, end = times
    number = 0
    while (due := first + number * pause_s) < end:
        await clock.sleep(max(0.0, due - clock.monotonic()))
        group.create_task(send(city, number, due))
        number += 1
