"""Regions that move to another address under load: nobody notices, unless law has the old address go at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.testing.open_loop import shares

from .places import PythonPlace
from .processes import until
from .stage import HEDGED, HOST_NAME, Controller, Stage, told, world

pytestmark = pytest.mark.slow

ASKS = {"x-compliance-requirements": "gdpr"}
SERVICE = {"name": "api", "hosts": [HOST_NAME], "strategy": "round_robin", "routes": [HEDGED]}
MOVES = 10


async def houses(stage: Stage, *names: str) -> list[PythonPlace]:
    """More addresses for regions to move to; a world that is made before knows nothing of them."""
    return await stage.regions(*names)


def moved(document: dict[str, Any], place: PythonPlace, **other: object) -> dict[str, Any]:
    """The world with its first region at another place."""
    first, *rest = document["regions"]
    return document | {"regions": [first | {"endpoint": place.url} | other, *rest]}


async def apply(controller: Controller, document: dict[str, Any]) -> None:
    """Declare it, and wait until the edge has it."""
    await controller.ask("POST", "/v1/apply", document)
    await controller.synced()


async def is_left(place: PythonPlace, path: str) -> None:
    """Wait until a place gets no more requests."""

    async def quiet() -> bool:
        before = await place.asked(path)
        await asyncio.sleep(0.5)
        return before == await place.asked(path)

    await until(quiet, f"{place.url} is asked no more")


async def test_the_only_lawful_region_moves_again_and_again_and_no_request_fails() -> None:
    async with Stage() as stage:
        home, _ = await stage.regions("fra", "iad")
        document = world(stage, SERVICE)
        other, third = await houses(stage, "other", "third")
        controller = await stage.controller(document)
        await stage.serves("/", ASKS, by=("fra",))
        async with stage.load("/moving", ASKS, rate=120.0) as load:
            await asyncio.sleep(0.5)
            load.mark()
            for turn in range(MOVES):  # there and back, quicker than an old address goes
                await apply(controller, moved(document, (other, home)[turn % 2]))
                await asyncio.sleep(0.3)
            await is_left(other, "/moving")
            await apply(controller, moved(document, third))  # to an address that the edge does not hold still
            await is_left(home, "/moving")
            await apply(controller, moved(document, other))
            await is_left(third, "/moving")
        served = [await place.asked("/moving") for place in (home, other, third)]
    told("a region moves", load.summary())
    assert [answer for answer in load.answers if answer.failed] == []
    assert set(shares(load.answers)) == {"fra"}
    assert all(served)


async def test_until_the_new_address_answers_its_check_the_old_one_serves() -> None:
    async with Stage() as stage:
        home, _ = await stage.regions("fra", "iad")
        document = world(stage, SERVICE)
        (other,) = await houses(stage, "other")
        controller = await stage.controller(document)
        await stage.serves("/", ASKS, by=("fra",))
        async with stage.load("/moving", ASKS, rate=120.0) as load:
            await asyncio.sleep(0.5)
            load.mark()
            other.hang()
            await apply(controller, moved(document, other))
            await asyncio.sleep(0.3)
            other.wake()
            await is_left(home, "/moving")
        assert await other.asked("/moving")
    told("a region moves to where it has yet to come up", load.summary())
    assert [answer for answer in load.answers if answer.failed] == []


async def test_an_address_that_dies_in_the_moment_of_the_move_costs_nothing() -> None:
    async with Stage() as stage:
        home, _ = await stage.regions("fra", "iad")
        document = world(stage, SERVICE)
        (other,) = await houses(stage, "other")
        controller = await stage.controller(document)
        await stage.serves("/", ASKS, by=("fra",))
        async with stage.load("/moving", ASKS, rate=120.0) as load:
            await asyncio.sleep(0.5)
            load.mark()
            await apply(controller, moved(document, other))

            async def arrived() -> bool:
                return bool(await other.asked("/moving"))

            await until(arrived, "the new address is used")
            home.kill()  # it is among those told still
            await asyncio.sleep(2)
    told("the old address dies", load.summary())
    assert [answer for answer in load.answers if answer.failed] == []


async def test_by_law_an_address_is_out_at_once_even_while_its_region_moves() -> None:
    async with Stage() as stage:
        home, par = await stage.regions("fra", "par")
        document = world(stage, SERVICE)
        (other,) = await houses(stage, "other")
        controller = await stage.controller(document)
        await stage.serves("/", ASKS, by=("fra", "par"))
        async with stage.load("/bound", ASKS, rate=120.0) as load:
            await asyncio.sleep(0.5)
            load.mark()
            await apply(controller, moved(document, other, compliance=[]))
            settled = load.now_s
            await asyncio.sleep(0.2)
            before = await home.asked("/bound")
            await asyncio.sleep(1.5)
            after = await home.asked("/bound")
            outside = await other.asked("/bound")
        astray = await controller.events("edge.astray")
        assert await par.asked("/bound")
    told("a region leaves a class and its address", load.summary())
    assert [answer for answer in load.answers if answer.failed] == []
    assert set(shares(load.since(settled))) == {"par"}
    assert (after - before, outside, astray) == (0, 0, [])


async def test_what_law_goes_by_changes_with_the_address_and_the_old_one_is_out_at_once() -> None:
    async with Stage() as stage:
        home, _ = await stage.regions("fra", "par")
        document = world(stage, SERVICE)
        (other,) = await houses(stage, "other")
        controller = await stage.controller(document)
        await stage.serves("/", ASKS, by=("fra", "par"))
        async with stage.load("/bound", ASKS, rate=120.0) as load:
            await asyncio.sleep(0.5)
            load.mark()
            await apply(controller, moved(document, other, country="BE"))
            await asyncio.sleep(0.2)
            before = await home.asked("/bound")
            await asyncio.sleep(1.5)
            after = await home.asked("/bound")
            served = await other.asked("/bound")
    told("a region moves to another country", load.summary())
    assert [answer for answer in load.answers if answer.failed] == []
    assert after == before
    assert served
