"""Edges are declared and removed while others serve, and tell where their clients are, whatever those say of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.testing.open_loop import REGION_HEADER
from tests.adapters.mmdb_writer import write_mmdb

from .commands import order
from .places import HOST
from .processes import free_port, runs, until
from .stage import HOST_NAME, NEAREST, PLACES, Stage, told, world

pytestmark = pytest.mark.slow

SECOND = "edge-us"
HERE, ABROAD, UNKNOWN = "198.51.100.7", "203.0.113.7", "192.0.2.7"
FROM = "x-forwarded-for"
OFFICE = {**PLACES["iad"], "name": "office", "cidrs": ["203.0.113.0/24"]}
BY: Mapping[str, Mapping[str, Any]] = {
    "cidr": {"client_place": "cidr", "networks": [{k: v for k, v in OFFICE.items() if k != "compliance"}]},
    "geoip": {"client_place": "geoip"},
}
FORGED: Mapping[str, Mapping[str, str]] = {
    "a tag": {FROM: HERE, "x-envoy-ip-tags": "<office>"},
    "a country": {FROM: HERE, "x-geo-country": "US"},
    "a country of an unknown address": {FROM: UNKNOWN, "x-geo-country": "US"},
    "an address before the one that the proxy wrote": {FROM: f"{ABROAD}, {HERE}"},
}


async def test_an_edge_is_declared_and_removed_by_command_while_another_serves() -> None:
    async with Stage() as stage:
        await stage.regions("fra", "iad")
        controller = await stage.controller(world(stage, NEAREST))
        await stage.serves(by=("fra",))
        port = free_port()
        async with stage.load(rate=120.0) as load:
            await order(stage, controller, "edges", "add", SECOND, "--region", "iad", "--listen", f"{HOST}:{port}")
            await controller.happened("edge.connected", SECOND)
            await controller.synced(SECOND)
            load.mark()
            first, second = stage.url, f"http://{HOST}:{port}"
            stage.url = second
            await stage.serves(by=("iad",))
            pid = await noted_pid(stage)
            assert runs(pid)
            await order(stage, controller, "edges", "rm", SECOND, "--yes")

            async def is_gone() -> bool:
                return not runs(pid) and (await stage.request())[0] == 0

            await until(is_gone, f"the Envoy of {SECOND} is gone")
            stage.url = first
            await asyncio.sleep(0.3)
        left = [edge["edge_id"] for edge in await controller.get("/v1/edges")]
    told("an edge comes and goes", load.summary())
    assert [answer for answer in load.answers if answer.failed] == []
    assert left == ["edge-eu"]


async def noted_pid(stage: Stage) -> int:
    """The Envoy of the second edge, once the controller has noted that it runs."""

    async def noted() -> bool:
        file = stage.pid_file(SECOND)
        return file.exists() and json.loads(file.read_text())["pid"] is not None

    await until(noted, f"the Envoy of {SECOND} is noted")
    return int(json.loads(stage.pid_file(SECOND).read_text())["pid"])


@pytest.mark.parametrize("by", BY)
async def test_clients_are_placed_by_their_address_and_by_nothing_that_they_say(by: str) -> None:
    async with Stage() as stage:
        *_, iad = await stage.regions("fra", "par", "iad")
        records = {f"{HERE}/32": {"country": {"iso_code": "DE"}}, "203.0.113.0/24": {"country": {"iso_code": "US"}}}
        database = write_mmdb(stage.folder / "places.mmdb", records)
        settings = {"GEOIP_DATABASE": str(database)} if by == "geoip" else {}
        document = world(stage, NEAREST, edge={**BY[by], "trusted_hops": 1})
        controller = await stage.controller(document, settings=settings)
        await stage.serves("/", {FROM: HERE}, by=("fra",))
        await stage.serves("/", {FROM: ABROAD}, by=("iad",))
        await stage.serves("/", {FROM: f"{HERE}, {ABROAD}"}, by=("iad",))
        forged = {what: await served(stage, headers) for what, headers in FORGED.items()}
        bare = await served(stage, {})
        async with stage.load("/abroad", {FROM: ABROAD}, rate=120.0) as load:
            await asyncio.sleep(0.5)
            load.mark()
            iad.kill()
            await controller.happened("failover.acknowledged", "iad")
            await stage.serves("/", {FROM: ABROAD}, by=("par",))  # nearer to America than Frankfurt is
            await asyncio.sleep(0.3)
    told(f"clients by {by}, their region lost", load.summary())
    assert set(forged.values()) == {"fra"}, forged
    assert bare == "fra"
    assert [answer for answer in load.answers if answer.failed] == []
    assert set(load.summary().before) == {"iad"}


async def served(stage: Stage, headers: Mapping[str, Any]) -> str | None:
    """The region that answers such a client."""
    return (await stage.request("/", {"host": HOST_NAME, **headers}))[1].get(REGION_HEADER)
