"""Long work in short turns of the event loop, so that routing goes on meanwhile."""

from __future__ import annotations

import asyncio

SLICE = 20
"""Things done in one turn: regions take up to 0.1 ms each to check, to compare or to write down."""

MANY = 20 * SLICE
"""Things done in one turn that take some µs each."""


async def turn(number: int, most: int = SLICE) -> None:
    """Called before each thing with its number, from 0: lets other tasks run before each ``most``-th but the first.

    Few things are done at once, as if nobody had asked. Others may change anything while they run.
    """
    if number and number % most == 0:
        await asyncio.sleep(0)


async def let_go(things: list[object]) -> None:
    """Forget things that nobody else holds any more, in several turns: to free them takes half as long as to make them.

    ``things`` is empty afterwards.
    """
    for number in range(len(things)):
        await turn(number)
        things.pop()
