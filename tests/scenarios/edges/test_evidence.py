"""What edges see counts: a region that fails half of its requests, one that comes and goes, probes that are wrong."""

from __future__ import annotations

import asyncio

import pytest

from mahavishnu.integrations.multi_region.testing.open_loop import shares

from .stage import CHECK, EDGE, HEDGED, NEAREST, SPREAD, Stage, told, world

pytestmark = pytest.mark.slow

PLAIN = SPREAD | {"routes": []}


async def test_a_region_that_fails_half_of_its_requests_is_ejected_though_its_checks_pass() -> None:
    async with Stage() as stage:
        victim, *_ = await stage.regions("fra", "par", "iad")
        controller = await stage.controller(world(stage, PLAIN))
        await stage.serves(by=("fra", "par", "iad"))
        async with stage.load() as load:
            await asyncio.sleep(1)
            load.mark()
            victim.behave("half")
            await controller.happened("edge.ejected")
            await asyncio.sleep(1)
        ejections = await controller.events("edge.ejected")
    told("half of the answers 503", load.summary())
    assert [answer for answer in load.answers if answer.failed] == []
    assert {event["details"]["region"] for event in ejections} == {"fra"}
    assert {event["subject"] for event in ejections} == {"edge-eu"}


async def test_a_region_that_answers_too_late_is_ejected_also_when_there_are_few_requests() -> None:
    hasty = SPREAD | {"routes": [HEDGED | {"attempt_timeout": "300ms"}]}
    async with Stage() as stage:
        victim, *_ = await stage.regions("fra", "par", "iad")
        controller = await stage.controller(world(stage, hasty))
        await stage.serves(by=("fra", "par", "iad"))
        async with stage.load(rate=40.0) as load:
            await asyncio.sleep(1)
            load.mark()
            victim.behave("slow 2")
            await controller.happened("edge.ejected", EDGE)
            ejected = load.now_s
            await asyncio.sleep(1)
        (ejection,) = await controller.events("edge.ejected", EDGE)
        health = await controller.get("/v1/regions/fra")
    told("answers after 2 s, 40 requests/s", load.summary())
    assert [answer for answer in load.answers if answer.failed] == []
    assert ejection["details"]["region"] == "fra"
    assert set(shares(load.since(ejected))) == {"par", "iad"}
    assert health["phase"] == "healthy"


async def test_a_flapping_region_costs_no_request_and_is_failed_over_once() -> None:
    """It answers with errors until that is noticed, and then comes and goes."""
    async with Stage() as stage:
        victim, *_ = await stage.regions("fra", "par", "iad")
        controller = await stage.controller(world(stage, NEAREST, check={**CHECK, "hold_down": "1h"}))
        await stage.serves(by=("fra",))
        async with stage.load() as load:
            await asyncio.sleep(0.5)
            load.mark()
            victim.behave("errors")
            await controller.happened("failover.acknowledged", "fra")
            settled = load.now_s
            for mode in ("well", "errors") * 2:
                victim.behave(mode)
                await asyncio.sleep(0.8)
        failovers = await controller.events("failover.completed", "fra")
    told("flap", load.summary())
    assert [answer for answer in load.answers if answer.failed] == []
    assert len(failovers) == 1
    assert "fra" not in shares(load.since(settled))


@pytest.mark.parametrize("sick", [("fra",), ("fra", "par", "iad")])
async def test_probes_that_are_wrong_never_empty_a_service_that_edges_see_alive(sick: tuple[str, ...]) -> None:
    async with Stage() as stage:
        await stage.regions("fra", "par", "iad")
        nowhere = {"url": "http://127.0.0.1:9/healthz"}
        document = world(stage, SPREAD)
        controller = await stage.controller(document)
        await stage.serves(by=("fra", "par", "iad"))
        async with stage.load() as load:
            await asyncio.sleep(1.5)
            load.mark()
            for region in document["regions"]:
                if region["id"] in sick:
                    region["health"] = {**CHECK, **nowhere}
            await controller.ask("POST", "/v1/apply", document)
            if len(sick) == 1:
                await controller.happened("failover.acknowledged", "fra")
            else:
                await controller.happened("observer.blind")
            noticed = load.now_s
            await asyncio.sleep(1.5)
        serving = set(shares(load.since(noticed)))
    told(f"probes wrong of {sick}", load.summary())
    assert [answer for answer in load.answers if answer.failed] == []
    assert serving == ({"par", "iad"} if len(sick) == 1 else {"fra", "par", "iad"})
