"""Requests that are no idempotent ones: a fault may fail them, and never has one carried out twice.

Those with a key are repeated, and may then be carried out twice, where the service takes them so and nowhere else.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable

import pytest

from .places import PythonPlace
from .stage import SPREAD, Stage, told, world

pytestmark = pytest.mark.slow

ROUTE = {"prefix": "/", "timeout": "4s", "attempt_timeout": "1s"}
OPEN = SPREAD | {"routes": [ROUTE | {"retry_keyed": True}]}
STRICT = SPREAD | {"name": "strict", "hosts": ["strict.test"], "routes": [ROUTE]}
KEY, NUMBER = "idempotency-key", "x-number"


def taken_up(places: Iterable[PythonPlace], path: str) -> Counter[str]:
    """How often each request for a path was taken up, by its number."""
    return Counter(number for place in places for number in place.carried_out(path))


@pytest.mark.parametrize("fault", ["kill", "hang"])
async def test_no_post_is_carried_out_twice_unless_it_has_a_key_and_the_service_agreed(fault: str) -> None:
    async with Stage() as stage:
        places = await stage.regions("fra", "par", "iad")
        victim = places[0]
        begin: dict[str, Callable[[], None]] = {"kill": victim.kill, "hang": victim.hang}
        controller = await stage.controller(world(stage, OPEN, STRICT))
        await stage.serves(by=("fra", "par", "iad"))
        await stage.serves("/", {"host": "strict.test"}, by=("fra", "par", "iad"))
        keyed = stage.load("/keyed", methods=("POST", "GET", "POST"), rate=120.0, numbered=KEY)
        plain = stage.load("/plain", methods=("POST",), rate=80.0, numbered=NUMBER)
        strict = stage.load("/strict", {"host": "strict.test"}, methods=("POST",), rate=80.0, numbered=KEY)
        loads = {"keyed": keyed, "plain": plain, "strict": strict}
        async with keyed, plain, strict:
            await asyncio.sleep(1)
            for load in loads.values():
                load.mark()
            begin[fault]()
            await controller.happened("failover.acknowledged", "fra")
            settled = {name: load.now_s for name, load in loads.items()}
            await asyncio.sleep(1)
        if fault == "hang":
            victim.wake()  # what its sockets still hold it takes up now
            await asyncio.sleep(1)
        done = {name: taken_up(places, f"/{name}") for name in loads}
    for name, load in loads.items():
        told(f"{fault}, {name}; taken up twice: {sum(times > 1 for times in done[name].values())}", load.summary())
        assert [answer for answer in load.since(settled[name]) if answer.failed] == []
    assert [answer for answer in keyed.answers if answer.failed and not answer.cut] == []
    for name in ("plain", "strict"):
        found = loads[name].summary()
        assert set(done[name].values()) == {1}
        assert found.failed == 0
        assert done[name].total() >= found.requests - found.failed_others - found.cut
    if fault == "hang":
        assert plain.summary().failed_others > 0
        assert strict.summary().failed_others > 0


async def test_a_key_counts_only_where_the_service_takes_it() -> None:
    async with Stage() as stage:
        places = await stage.regions("fra", "par")
        await stage.controller(world(stage, OPEN, STRICT))
        await stage.serves(by=("fra", "par"))
        await stage.serves("/", {"host": "strict.test"}, by=("fra", "par"))
        places[0].behave("half")
        keyed = stage.load("/keyed", methods=("POST",), rate=60.0, numbered=KEY)
        strict = stage.load("/strict", {"host": "strict.test"}, methods=("POST",), numbered=KEY)
        async with keyed, strict:
            await asyncio.sleep(0.5)
        done = {name: taken_up(places, f"/{name}") for name in ("keyed", "strict")}
    told("half of one region's answers 503, keyed", keyed.summary())
    told("half of one region's answers 503, strict", strict.summary())
    assert [answer for answer in keyed.answers if answer.failed] == []
    assert max(done["keyed"].values()) == 2
    assert set(done["strict"].values()) == {1}
    assert strict.summary().failed_others > 0
