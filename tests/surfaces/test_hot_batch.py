"""``POST /v1/route/batch``: many clients in columns, each answered as ``POST /route`` would."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given, settings, strategies as st

from mahavishnu.integrations.multi_region.core.model import RoutingStrategy
from mahavishnu.integrations.multi_region.surfaces.http.auth import Role
from mahavishnu.integrations.multi_region.surfaces.http.batch import MOST
from mahavishnu.integrations.multi_region.surfaces.http.server import create_app
from mahavishnu.integrations.multi_region.system import MultiRegionSystem
from tests.surfaces.hot_stage import an_api
from tests.surfaces.http_served import TOKENS, bearer, in_process

PLACES = {"latitude": [52.5, -33.9, 40, 90, -90, 0.0], "longitude": [13.4, 151.2, -74, 180, -180, -0.0]}


async def _app(**options: Any) -> FastAPI:
    api = await an_api()
    system = MultiRegionSystem(api.region_manager, api.router, api.failure_handler)
    return create_app(system, **{"tokens": TOKENS, **options})


async def _ask(client: httpx.AsyncClient, body: Any) -> httpx.Response:
    return await client.post("/v1/route/batch", json=body)


def _regions(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    said = answer.json()
    return [said["regions"][at] for at in said["index"]]


async def test_each_client_gets_the_region_of_its_place() -> None:
    async with in_process(await _app()) as client:
        answer = await _ask(client, PLACES)
    assert _regions(answer)[:3] == ["eu-central-1", "ap-southeast-2", "us-east-1"]
    assert answer.json()["strategy"] == "latency_based"
    assert answer.json()["revision"] > 0
    assert answer.headers["content-type"] == "application/json"


def test_a_batch_is_answered_and_counted_as_its_requests_one_by_one() -> None:
    with asyncio.Runner() as runner:
        many, one = in_process(runner.run(_app())), in_process(runner.run(_app()))

        @settings(max_examples=40)
        @given(
            places=st.lists(st.tuples(st.floats(-90, 90), st.floats(-180, 180)), max_size=20),
            strategy=st.sampled_from([None, *RoutingStrategy]),
            service=st.sampled_from([None, "api"]),
            law=st.sampled_from([None, [], ["gdpr"]]),
        )
        def alike(places: Any, strategy: str | None, service: str | None, law: list[str] | None) -> None:
            shared = {"service": service, "compliance_requirements": law}
            runner.run(_compare(many, one, places, shared, strategy))

        alike()
        runner.run(many.aclose())
        runner.run(one.aclose())


async def _compare(
    many: httpx.AsyncClient, one: httpx.AsyncClient, places: Any, shared: dict[str, Any], strategy: str | None
) -> None:
    columns = {"latitude": [lat for lat, _ in places], "longitude": [lon for _, lon in places]}
    before = [await _counted(client) for client in (many, one)]
    found = _regions(await _ask(many, {**columns, **shared, "strategy": strategy}))
    for (latitude, longitude), region in zip(places, found, strict=True):
        context = {"user_location": {"latitude": latitude, "longitude": longitude}, **shared}
        answer = await one.post("/route", json={"request_context": context, "strategy": strategy})
        assert answer.json()["selected_region"] == region
    added = [await _counted(client) - old for client, old in zip((many, one), before, strict=True)]
    assert added[0] == added[1]
    assert added[0]["total_decisions"] == len(places)


async def _counted(client: httpx.AsyncClient) -> Counter[str]:
    """Decisions so far: all, refused ones, by region and by strategy."""
    said = (await client.get("/stats")).json()["routing"]
    kinds = {**said["decisions_by_region"], **said["decisions_by_strategy"]}
    return Counter({**kinds, "total_decisions": said["total_decisions"], "refused": said["refused"]})


async def test_nobody_is_nowhere() -> None:
    async with in_process(await _app()) as client:
        assert (await _ask(client, {"latitude": [], "longitude": []})).json()["index"] == []


async def test_the_most_is_answered_and_one_more_is_not() -> None:
    async with in_process(await _app()) as client:
        fits = await _ask(client, {"latitude": [1.5] * MOST, "longitude": [2.5] * MOST})
        over = await _ask(client, {"latitude": [1.5] * (MOST + 1), "longitude": [2.5] * (MOST + 1)})
    assert len(_regions(fits)) == MOST
    assert (over.status_code, over.json()["errors"][0]["field"]) == (422, "latitude")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "body"),
        ({}, "latitude"),
        ({"latitude": [1]}, "longitude"),
        ({"latitude": 1, "longitude": [1]}, "latitude"),
        ({"latitude": [1, 2], "longitude": [1]}, "longitude"),
        ({"latitude": [1, 90.1], "longitude": [1, 1]}, "latitude.1"),
        ({"latitude": [1, 1, 1], "longitude": [1, 1, -181]}, "longitude.2"),
        ({"latitude": [1, True], "longitude": [1, 1]}, "latitude.1"),
        ({"latitude": ["1"], "longitude": [1]}, "latitude.0"),
        ({"latitude": [None], "longitude": [1]}, "latitude.0"),
        ({"latitude": [10**400], "longitude": [1]}, "latitude.0"),
        ({"latitude": [1], "longitude": [1], "lattitude": [1]}, "lattitude"),
        ({"latitude": [1], "longitude": [1], "strategy": "fastest"}, "strategy"),
        ({"latitude": [1], "longitude": [1], "service": "apy"}, "service"),
        ({"latitude": [1], "longitude": [1], "service": 5}, "service"),
        ({"latitude": [1], "longitude": [1], "compliance_requirements": ["gdrp"]}, "compliance_requirements"),
    ],
)
async def test_what_is_wrong_is_named_and_nothing_is_counted(body: Any, field: str) -> None:
    async with in_process(await _app()) as client:
        answer = await _ask(client, body)
        stats = (await client.get("/stats")).json()["routing"]
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == field
    assert stats["total_decisions"] == 0


async def test_a_batch_that_no_region_may_serve_is_refused() -> None:
    async with in_process(await _app()) as client:
        answer = await _ask(client, {**PLACES, "service": "nowhere"})
        stats = (await client.get("/stats")).json()["routing"]
    assert (answer.status_code, answer.headers["x-multi-region-refusal"]) == (503, "policy_bound_exhaustion")
    assert stats["refused"] == len(PLACES["latitude"])


@pytest.mark.parametrize(("raw", "status"), [(b"{", 400), (b"", 400), (b" " * 1_000_001, 413)])
async def test_bodies_are_read_strictly(raw: bytes, status: int) -> None:
    async with in_process(await _app()) as client:
        answer = await client.post("/v1/route/batch", content=raw, headers={"Content-Type": "application/json"})
    assert answer.status_code == status


async def test_it_takes_a_viewer_where_reads_are_not_open() -> None:
    async with in_process(await _app(open_reads=False)) as client:
        assert (await _ask(client, PLACES)).status_code == 401
        answer = await client.post("/v1/route/batch", json=PLACES, headers=bearer(Role.VIEWER))
    assert answer.status_code == 200
