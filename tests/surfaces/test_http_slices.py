"""Long answers take several turns of the event loop, and say what one turn would have said."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.adapters.sinks.metrics import (
    PIECE,
    MetricsSnapshot,
    RegionFigures,
    exposition,
)
from mahavishnu.integrations.multi_region.core.model import Phase, Region
from mahavishnu.integrations.multi_region.surfaces.http.slices import SLICE
from tests.surfaces.http_served import own_server

MANY = 4 * SLICE + 3


def fill(app: Any, count: int = MANY) -> None:
    table = app.state.system.region_manager.regions
    for number in range(count):
        table[f"r-{number}"] = Region(f"r-{number}", endpoint=f"https://r-{number}.example.com", health_score=90.0)


@pytest.mark.parametrize("count", [0, 1, SLICE, SLICE + 1, MANY])
async def test_every_region_is_listed_once_in_order(count: int) -> None:
    async with own_server() as (client, app):
        fill(app, count)
        wanted = [f"r-{number}" for number in range(count)]
        for path in ("/regions", "/v1/regions"):
            answer = await client.get(path)
            assert answer.headers["content-type"] == "application/json"
            assert [region["region_id"] for region in answer.json()] == wanted
        status = (await client.get("/v1/status")).json()
        assert [region["region_id"] for region in status["regions"]] == wanted
        assert status["routing"]["total_decisions"] == 0


@pytest.mark.parametrize("path", ["/v1/regions", "/v1/status"])
async def test_a_listing_is_of_one_moment(path: str) -> None:
    async with own_server() as (client, app):
        fill(app)
        table = app.state.system.region_manager.regions
        asking = asyncio.ensure_future(client.get(path))
        for _ in range(200):
            await asyncio.sleep(0)
            if asking.done():
                break
            for number in (0, MANY - 1):
                table[f"r-{number}"].current_capacity += 1.0
        del table["r-7"]
        answer = (await asking).json()
        regions = answer if isinstance(answer, list) else answer["regions"]
        loads = {region["region_id"]: region["load"] for region in regions}
        assert loads["r-0"] == loads[f"r-{MANY - 1}"]
        assert len(loads) == MANY


async def test_an_explanation_names_every_region_on_one_side_or_the_other() -> None:
    async with own_server() as (client, app):
        fill(app)
        regions = app.state.system.region_manager.regions
        for number in range(0, MANY, 2):
            regions[f"r-{number}"].health_score = 0.0
        said = (await client.post("/v1/route/explain", json={"request_context": {}})).json()
    assert {region["region_id"] for region in said["eligible"]} == {f"r-{n}" for n in range(1, MANY, 2)}
    assert set(said["excluded"]) == {f"r-{n}" for n in range(0, MANY, 2)}
    assert said["excluded"]["r-0"] == {"code": "unhealthy", "text": "is down"}
    assert said["decision"]["selected_region"] == said["eligible"][0]["region_id"]


@pytest.mark.parametrize("count", [0, 1, PIECE, PIECE + 1, 3 * PIECE])
async def test_figures_in_pieces_read_as_in_one(count: int) -> None:
    regions = tuple(RegionFigures(f"r-{n}", Phase.HEALTHY, 90.0, float(n), 100.0, True) for n in range(count))
    decisions = {(f"r-{n}", "latency_based"): n for n in range(count)}
    now = MetricsSnapshot(regions, decisions, {"route": 1}, {"drain.started": 2}, 3, 0.5)
    assert await exposition(now) == await exposition(now, sys.maxsize)
