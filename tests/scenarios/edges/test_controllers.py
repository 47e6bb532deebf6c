"""Controllers come and go; edges carry on with what they have, and follow whoever is there."""

from __future__ import annotations

import asyncio
import json

import pytest

from mahavishnu.integrations.multi_region.testing.open_loop import OpenLoop, shares

from .processes import free_port, runs, until
from .stage import EDGE, NEAREST, SPREAD, Stage, told, world

pytestmark = pytest.mark.slow


def nothing_failed(name: str, load: OpenLoop) -> None:
    told(name, load.summary())
    assert [answer for answer in load.answers if answer.failed] == []


async def is_gone(pid: int) -> bool:
    return not runs(pid)


async def test_a_controller_killed_under_load_costs_nothing_and_goes_on_when_it_is_back() -> None:
    async with Stage() as stage:
        fra, *_ = await stage.regions("fra", "par", "iad")
        controller = await stage.controller(world(stage, NEAREST), store=str(stage.folder / "store.db"))
        await stage.serves(by=("fra",))
        async with stage.load(methods=("GET", "POST")) as load:
            await asyncio.sleep(1)
            load.mark()
            left = json.loads(stage.pid_file().read_text())["pid"]
            controller.process.kill()
            await asyncio.sleep(1)
            assert runs(left)
            await controller.start()
            await controller.synced()
            await until(lambda: is_gone(left), "the Envoy that was left is relieved by another")
            await asyncio.sleep(0.5)
        nothing_failed("controller killed and started again", load)
        assert set(shares(load.answers)) == {"fra"}
        async with stage.load() as load:
            await asyncio.sleep(0.5)
            load.mark()
            fra.kill()
            await controller.happened("failover.acknowledged", "fra")
            settled = load.now_s
            await asyncio.sleep(1)
        nothing_failed("the restarted one fails a region over", load)
        assert set(shares(load.since(settled))) == {"par"}


@pytest.mark.parametrize("stores", ["shared", "own"])
async def test_of_two_controllers_one_is_killed_and_the_other_fails_a_region_over(stores: str) -> None:
    async with Stage() as stage:
        fra, *_ = await stage.regions("fra", "par", "iad")
        document = world(stage, NEAREST)
        file = str(stage.folder / "store.db") if stores == "shared" else "memory"
        first = await stage.controller(document, store=file, edges=False)
        second = await stage.controller(None if stores == "shared" else document, store=file, edges=False)
        await stage.edge(first.xds, second.xds, report_to=second)
        await stage.serves(by=("fra",))

        async def listens_to() -> str:
            return "first" if (await first.edge())["connected"] else "second"

        victim, other = (first, second) if await listens_to() == "first" else (second, first)
        async with stage.load() as load:
            await asyncio.sleep(0.5)
            victim.process.kill()
            await other.synced()
            load.mark()
            fra.kill()
            await other.happened("failover.acknowledged", "fra")
            settled = load.now_s
            await asyncio.sleep(1)
        failovers = await other.events("failover.completed", "fra")
    nothing_failed(f"two controllers, {stores} store, one killed, then a region", load)
    assert len(failovers) == 1
    assert set(shares(load.since(settled))) == {"par"}


async def test_an_edge_boots_alone_from_what_it_last_held_and_is_handed_over() -> None:
    async with Stage() as stage:
        await stage.regions("fra", "par", "iad")
        port = free_port()
        controller = await stage.controller(world(stage, SPREAD), edges=False, xds=port)
        edge = await stage.edge(port)
        await controller.synced()
        await stage.serves()
        edge.stop()
        controller.process.kill()
        alone = await stage.edge(port)
        assert '"alone":true' in await alone.line('{"event":"running",')
        await stage.serves(by=("fra", "par", "iad"))
        async with stage.load(methods=("GET", "POST")) as load:
            await asyncio.sleep(1)
            load.mark()
            await controller.start()
            await controller.synced()
            await controller.ask("POST", "/v1/regions/iad/drain", {"reason": "to see who is in charge"})
            await until(lambda: _is_served_by(load, {"fra", "par"}), "the controller's word counts")
        connected = await controller.events("edge.connected", EDGE)
    nothing_failed("alone, then handed over", load)
    assert len(connected) == 1


async def _is_served_by(load: OpenLoop, regions: set[str]) -> bool:
    return {answer.region for answer in load.answers[-50:]} == regions
