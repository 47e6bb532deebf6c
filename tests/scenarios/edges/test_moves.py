"""Traffic that people move: drains and blue-green switches cost no request, and say when they are done."""

from __future__ import annotations

import asyncio

import pytest

from mahavishnu.integrations.multi_region.testing.open_loop import Aim, OpenLoop, shares

from .processes import until
from .stage import HOST_NAME, NEAREST, SPREAD, Controller, Stage, told, world

pytestmark = pytest.mark.slow

STREAM_S = 2


async def test_a_drain_lets_slow_bodies_finish_and_is_done_only_then() -> None:
    slow = SPREAD | {"routes": [{"prefix": "/stream/", "timeout": "0s"}]}
    async with Stage() as stage:
        fra, *_ = await stage.regions("fra", "par", "iad")
        controller = await stage.controller(world(stage, slow), settings={"DRAIN_TIMEOUT": "60"})
        await stage.serves(by=("fra", "par", "iad"))
        streams = OpenLoop(Aim(f"{stage.url}/stream/{STREAM_S}", 30.0, headers={"host": HOST_NAME}, timeout_s=60.0))
        async with stage.load(methods=("GET", "POST")) as load, streams:
            await asyncio.sleep(1)
            load.mark()
            began = streams.now_s
            drained = await controller.ask("POST", "/v1/regions/fra/drain", {"reason": "maintenance", "graceful": True})
            done, done_in_load = streams.now_s, load.now_s
            asked = await fra.asked()
            fra.kill()
            await asyncio.sleep(1)
        events = await controller.events("drain.completed", "fra")
    told("drain, short requests", load.summary())
    told("drain, streamed bodies", streams.summary())
    assert [answer for answer in (*load.answers, *streams.answers) if answer.failed] == []
    last = max(answer.ended_s for answer in streams.answers if answer.region == "fra")
    assert began < last < done
    assert set(shares(load.since(done_in_load))) == {"par", "iad"}
    assert asked > 0
    assert drained["state"] == "drained"
    assert len(events) == 1


async def test_blue_green_moves_in_steps_without_a_failure() -> None:
    async with Stage() as stage:
        await stage.regions("fra", "par")
        controller = await stage.controller(world(stage, NEAREST))
        await stage.serves(by=("fra",))
        plan = {
            "service": "api",
            "blue_regions": ["fra"],
            "green_regions": ["par"],
            "switch_after": 0,
            "steps": [10, 50, 100],
            "step_after": 1,
            "analyse": False,
            "rollback_window": 60,
        }
        async with stage.load(methods=("GET", "POST")) as load:
            await asyncio.sleep(0.5)
            load.mark()
            begun = await controller.ask("POST", "/v1/deployments/blue-green", plan)
            await until(lambda: _serving(controller, begun["deployment_id"]), "green has all traffic")
            await controller.happened("deployment.acknowledged")
            await controller.synced()
            settled = load.now_s
            await asyncio.sleep(1)
        seen = await controller.events("deployment.acknowledged")
    told("blue-green", load.summary())
    assert [answer for answer in load.answers if answer.failed] == []
    assert set(shares(load.since(settled))) == {"par"}
    assert {"fra", "par"} <= set(load.summary().after)
    assert seen


async def _serving(controller: Controller, deployment_id: str) -> bool:
    state = (await controller.get(f"/v1/deployments/{deployment_id}"))["state"]
    assert state not in ("halted", "rolling_back", "rolled_back"), state
    return bool(state == "serving")
