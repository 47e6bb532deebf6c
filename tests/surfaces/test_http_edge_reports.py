"""`POST /v1/edges/{id}/report`: large reports are taken, forged ones raise few alarms and move no traffic."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from mahavishnu.integrations.multi_region.core.edge_reports import EdgeReport, HostSeen, report_document
from mahavishnu.integrations.multi_region.ports.dataplane import MemoryDataPlane, Rejected, Rejection
from mahavishnu.integrations.multi_region.shell.edges.read_back import MOST_TOLD
from mahavishnu.integrations.multi_region.surfaces.http.auth import Role
from mahavishnu.integrations.multi_region.surfaces.http.routes import MAX_BODY, MAX_LONG_BODY
from mahavishnu.integrations.multi_region.surfaces.http.server import create_app
from tests.surfaces.http_served import TOKENS, bearer, in_process, region, running_system

EDGE: dict[str, Any] = {"region": "eu-west-1", "listen": "127.0.0.1:10000"}
REPORT = "/v1/edges/edge-eu/report"


def everything(ejected: bool) -> dict[str, Any]:
    """A report of 1,000 classes of 20 regions, with every detail said."""
    host = {"ejected": ejected, "failing": ejected, "in_flight": 123}
    regions = [{"region": f"north-by-northwest-{n}", **host} for n in range(20)]
    return {"version": "1.40.0", "classes": {f"service-{n}~gdpr@germany": regions for n in range(1000)}}


async def kinds_of_events(client: httpx.AsyncClient) -> list[str]:
    """All that was recorded until a refusal is."""
    async with asyncio.timeout(30):
        while True:
            answer = await client.get("/v1/events", params={"limit": 500})
            found = [event["kind"] for event in answer.json()["events"]]
            if "edge.rejected" in found:
                return found
            await asyncio.sleep(0.01)


async def test_a_large_report_is_taken_and_a_forged_one_is_told_in_few_events() -> None:
    plane = MemoryDataPlane()
    async with (
        running_system(plane=plane) as system,
        in_process(create_app(system, tokens=TOKENS), Role.ADMIN) as client,
    ):
        await client.post("/regions", json=region("eu-west-1"))
        await client.put("/v1/edges/edge-eu", json=EDGE)
        steering = system.steering
        assert steering is not None
        async with asyncio.timeout(30):
            while "edge-eu" not in steering.plan.edges:
                await asyncio.sleep(0.01)
        told, body = steering.plan.edges, everything(ejected=False)
        assert len(json.dumps(body)) > MAX_BODY
        statuses = [(await client.post(REPORT, json=body)).status_code for _ in range(2)]
        statuses.append((await client.post(REPORT, json=everything(ejected=True))).status_code)
        elsewhere = await client.put("/v1/edges/edge-eu", json={**EDGE, "pad": "x" * MAX_BODY})
        too_large = await client.post(REPORT, content=b" " * (MAX_LONG_BODY + 1))
        long_name = await client.post(REPORT, json={"classes": {"c" * 1001: []}})
        assert steering.plan.edges == told
        plane.tell(Rejected("edge-eu", Rejection("api", "the last event", 1)))
        found = await kinds_of_events(client)
    assert statuses == [204, 204, 204]
    assert found.count("edge.astray") == MOST_TOLD + 1
    assert "edge.ejected" not in found
    assert (elsewhere.status_code, too_large.status_code, long_name.status_code) == (413, 413, 422)


@pytest.mark.parametrize("role", [None, Role.VIEWER])
async def test_only_who_may_operate_may_report(role: Role | None) -> None:
    headers = {} if role is None else bearer(role)
    async with (
        running_system(plane=MemoryDataPlane()) as system,
        in_process(create_app(system, tokens=TOKENS)) as client,
    ):
        answer = await client.post(REPORT, json={"classes": {}}, headers=headers)
    assert answer.status_code == (401 if role is None else 403)


def test_a_report_says_only_what_is_not_as_usual() -> None:
    hosts = (HostSeen("eu"), HostSeen("us", ejected=True, in_flight=3))
    found = report_document(EdgeReport("edge", {"api": hosts}, "1.40.0"))
    assert found["classes"] == {"api": [{"region": "eu"}, {"region": "us", "ejected": True, "in_flight": 3}]}
