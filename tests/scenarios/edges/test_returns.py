"""Regions come back, and people move traffic off living ones: nothing fails, and traffic returns as the rules say."""

from __future__ import annotations

import asyncio

import pytest

from mahavishnu.integrations.multi_region.testing.open_loop import OpenLoop, shares

from .commands import order
from .processes import until
from .stage import EDGE, HEDGED, NEAREST, SPREAD, Controller, Stage, told, world

pytestmark = pytest.mark.slow

PASSIVE = {
    "name": "passive",
    "hosts": ["passive.test"],
    "deployment": {"type": "active-passive", "regions": ["fra", "par"]},
    "routes": [HEDGED],
}


async def served_by(load: OpenLoop, *regions: str) -> None:
    """Wait until these regions, and no others, have answered the newest requests."""

    async def so() -> bool:
        return set(shares(load.answers[-60:])) == set(regions)

    await until(so, f"{regions} serve")


def check(name: str, *loads: OpenLoop) -> None:
    for load in loads:
        told(name, load.summary())
        assert [answer for answer in load.answers if answer.failed] == []


async def test_a_region_that_is_well_again_is_given_back_what_comes_back_by_itself() -> None:
    async with Stage() as stage:
        fra, *_ = await stage.regions("fra", "par", "iad")
        controller = await stage.controller(world(stage, SPREAD, PASSIVE))
        await stage.serves(by=("fra", "par", "iad"))
        await stage.serves("/", {"host": "passive.test"}, by=("fra",))
        spread, passive = stage.load(rate=120.0), stage.load(headers={"host": "passive.test"}, rate=120.0)
        async with spread, passive:
            await asyncio.sleep(0.5)
            spread.mark()
            passive.mark()
            fra.kill()
            await controller.happened("failover.acknowledged", "fra")
            await served_by(spread, "par", "iad")
            await served_by(passive, "par")
            away = spread.now_s
            await fra.start()
            await controller.happened("region.recovered", "fra")
            recovered = spread.now_s
            await served_by(spread, "fra", "par", "iad")
            await asyncio.sleep(1)
            assert set(shares(passive.answers[-60:])) == {"par"}
            (deployment,) = await controller.get("/v1/deployments")
            await order(stage, controller, "deployments", "failback", deployment["deployment_id"], "--yes")
            await served_by(passive, "fra")
            await asyncio.sleep(0.5)
        recoveries = await controller.events("region.recovered", "fra")
    check("a region comes back, active-active", spread)
    check("a region comes back, active-passive by hand", passive)
    assert away < recovered
    assert [event["details"]["cause"] for event in recoveries] == ["verdict"]


async def test_people_move_traffic_off_a_living_region_and_back() -> None:
    why = ("--yes", "--reason", "new racks")
    lift = ("--override", "min_serving", "--expires", "1h")
    async with Stage() as stage:
        await stage.regions("fra", "par", "iad")
        controller = await stage.controller(world(stage, NEAREST, safety={"min_serving": 3}))
        await stage.serves(by=("fra",))
        async with stage.load() as load:
            await asyncio.sleep(0.5)
            load.mark()
            refused = await order(stage, controller, "failover", "fra", *why, code=1)
            await order(stage, controller, "drain", "fra", *why, code=1)
            assert set(shares(load.answers)) == {"fra"}
            await order(stage, controller, "failover", "fra", *why, *lift)
            await controller.happened("failover.acknowledged", "fra")
            settled = load.now_s
            await served_by(load, "par")
            await asyncio.sleep(2)  # longer than the hold-down: it is well, and stays away all the same
            assert set(shares(load.since(settled))) == {"par"}
            await order(stage, controller, "recover", "fra", *why)
            await served_by(load, "fra")
            drained = await order(stage, controller, "drain", "fra", "--graceful", *why, *lift)
            await served_by(load, "par")
            await order(stage, controller, "undrain", "fra", *why)
            await served_by(load, "fra")
            await asyncio.sleep(0.5)
        await check_record(controller)
    check("moved by people", load)
    assert "min_serving" in str(refused)
    assert drained["state"] == "drained"


async def check_record(controller: Controller) -> None:
    """The log has who did it, what was lifted, and when the last edge had it."""
    (completed,) = await controller.events("failover.completed", "fra")
    (acknowledged,) = await controller.events("failover.acknowledged", "fra")
    lifted = await controller.events("override.used")
    details = acknowledged["details"]
    assert completed["reason"] == "new racks"
    assert (details["acknowledged_by"], details["lagging"]) == ([EDGE], [])
    ends = [details[name] for name in ("verdict_at", "planned_at", "acknowledged_at")]
    assert ends == sorted(ends)
    assert details["duration_ms"] >= 0
    assert len(lifted) == 2
    assert len(await controller.events("drain.lifted", "fra")) == 1
