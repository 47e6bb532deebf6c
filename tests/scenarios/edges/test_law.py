"""Requests that ask something of the law reach no other region than those that may serve them, whatever happens."""

from __future__ import annotations

import asyncio

import pytest

from mahavishnu.integrations.multi_region.testing.open_loop import REASON_HEADER, OpenLoop, shares

from .places import PythonPlace
from .processes import until
from .stage import CHECK, HEDGED, HOST_NAME, Stage, told, world

pytestmark = pytest.mark.slow

EU_ONLY = {"name": "EU", "id": "eu", "compliance_requirements": ["gdpr"]}
ASKS = "x-compliance-requirements"
BOUND = {"name": "api", "hosts": [HOST_NAME], "strategy": "round_robin", "policy": "eu", "routes": [HEDGED]}
FREE = {"name": "free", "hosts": ["free.test"], "strategy": "round_robin", "routes": [HEDGED]}


@pytest.mark.parametrize("bound_by", ["policy", "request"])
async def test_with_every_lawful_region_dead_the_answer_is_503_and_never_another_region(bound_by: str) -> None:
    path = "/bound"
    async with Stage() as stage:
        *europe, iad = await stage.regions("fra", "par", "iad")
        service = BOUND if bound_by == "policy" else {**FREE, "name": "api", "hosts": [HOST_NAME]}
        asks = {} if bound_by == "policy" else {ASKS: "gdpr"}
        controller = await stage.controller(world(stage, service, FREE, policies=[EU_ONLY]))
        await stage.serves(path, asks, by=("fra", "par"))
        async with stage.load(path, asks) as load:
            await asyncio.sleep(0.5)
            load.mark()
            for place in europe:
                place.kill()
            await until(lambda: refused(load), "requests are refused and sent to nobody")
            dead = load.now_s
            await asyncio.sleep(2)
            free = await stage.request("/free", {"host": "free.test"})
        asked = await iad.asked(path)
        edge = await controller.edge()
    told(f"every lawful region dead, bound by {bound_by}", load.summary())
    assert asked == 0
    assert set(shares(load.answers)) == {"fra", "par"}
    assert {answer.region for answer in load.answers} <= {"fra", "par", None}
    assert {(answer.status, bool(answer.reason), answer.region) for answer in load.since(dead)} == {(503, True, None)}
    assert free[0] == 200
    assert edge["astray"] == {}


async def refused(load: OpenLoop) -> bool:
    """Whether the newest requests were refused with a reason, and sent to nobody."""
    return {(a.status, bool(a.reason), a.region) for a in load.answers[-50:]} == {(503, True, None)}


async def settled_count(place: PythonPlace, path: str, load: OpenLoop) -> int:
    """How often a region was asked for a path, once fifty more clients were answered and it was not asked again."""
    seen, answered = -1, 0

    async def so() -> bool:
        nonlocal seen, answered
        if len(load.answers) < answered + 50:
            return False
        before, seen, answered = seen, await place.asked(path), len(load.answers)
        return seen == before

    await until(so, f"nobody is asked for {path} that should not be")
    return seen


async def test_a_region_that_loses_its_attestation_while_healthy_gets_no_further_request() -> None:
    path = "/bound"
    async with Stage() as stage:
        fra, *_ = await stage.regions("fra", "par", "iad")
        document = world(stage, BOUND, FREE, policies=[EU_ONLY])
        controller = await stage.controller(document)
        await stage.serves(path, by=("fra", "par"))
        async with stage.load(path) as load:
            await asyncio.sleep(0.5)
            load.mark()
            document["regions"][0]["compliance"] = []
            await controller.ask("POST", "/v1/apply", document)
            await controller.synced()
            settled = load.now_s
            before = await settled_count(fra, path, load)
            await asyncio.sleep(3)  # what the edge holds is read back each second, and judged by two readings
            after = await fra.asked(path)
        astray = await controller.events("edge.astray")
        free = {
            (await stage.request("/free", {"host": "free.test"}))[1].get("x-multi-region-region") for _ in range(30)
        }
        edge = await controller.edge()
    told("a region leaves a class while healthy", load.summary())
    assert [answer for answer in load.answers if answer.failed] == []
    assert set(shares(load.since(settled))) == {"par"}
    assert (after - before, astray, edge["astray"]) == (0, [], {})
    assert free == {"fra", "par", "iad"}


async def test_what_is_not_understood_is_refused() -> None:
    async with Stage() as stage:
        *_, iad = await stage.regions("fra", "par", "iad")
        await stage.controller(world(stage, FREE | {"name": "api", "hosts": [HOST_NAME]}))
        answers = [
            await stage.request("/odd", {ASKS: asked}) for asked in ("none", "GDPR", "", "gdpr,none", "gdpr hipaa")
        ]
        assert await iad.asked("/odd") == 0
    assert [status for status, _ in answers] == [403] * 5
    assert {headers.get(REASON_HEADER) for _, headers in answers} == {"unknown requirement"}


async def test_the_only_lawful_region_serves_on_when_only_our_probes_of_it_fail() -> None:
    async with Stage() as stage:
        await stage.regions("fra", "par", "iad")
        policy = {"name": "DE", "id": "eu", "allowed_regions": ["fra"]}
        document = world(stage, BOUND, policies=[policy])
        controller = await stage.controller(document)
        await stage.serves(by=("fra",))
        async with stage.load() as load:
            await asyncio.sleep(2)
            load.mark()
            document["regions"][0]["health"] = {**CHECK, "url": "http://127.0.0.1:9/healthz"}
            await controller.ask("POST", "/v1/apply", document)

            async def is_down() -> bool:
                return bool((await controller.get("/v1/regions/fra"))["phase"] == "down")

            await until(is_down, "our probes find fra down")
            await asyncio.sleep(2)
    told("only our probes of the only lawful region fail", load.summary())
    assert [answer for answer in load.answers if answer.failed] == []
    assert set(shares(load.answers)) == {"fra"}
