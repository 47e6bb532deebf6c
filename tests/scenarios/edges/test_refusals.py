"""An edge refuses one part of a plan among a hundred: the others work, and a failover still goes through."""

from __future__ import annotations

import asyncio

import pytest

from .processes import until
from .stage import CHECK, HEDGED, Stage, told, world

pytestmark = pytest.mark.slow

SERVICES = 100


async def test_one_refused_cluster_among_a_hundred_services_holds_nobody_up() -> None:
    async with Stage() as stage:
        fra, *_ = await stage.regions("fra", "par", "iad")
        policies = [
            {"name": "EU", "id": "eu", "allowed_regions": ["fra", "par"]},
            {"name": "US", "id": "us", "allowed_regions": ["iad"]},
        ]
        services = [
            {"name": f"s{number}", "hosts": [f"s{number}.test"], "policy": "eu", "routes": [HEDGED]}
            for number in range(1, SERVICES)
        ]
        services.append({"name": "api", "hosts": ["api.test"], "policy": "eu", "routes": [HEDGED]})
        document = world(stage, *services, policies=policies)
        controller = await stage.controller(document)
        document["services"].append({"name": "odd", "hosts": ["odd.test"], "policy": "us"})
        document["regions"][2]["endpoint"] = "http://[fe80::1%lo]:80"
        async with stage.load() as load:
            await controller.ask("POST", "/v1/apply", document)
            await controller.happened("edge.rejected")
            edge = await controller.edge()
            print(edge["rejections"])
            await asyncio.sleep(1)
            load.mark()
            fra.kill()
            await controller.happened("failover.completed", "fra")
            await asyncio.sleep(1)
    told("one refused", load.summary())
    assert [answer for answer in load.answers if answer.failed] == []
