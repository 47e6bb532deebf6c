"""Our own server as a machine sees it: alive, ready, figures, limits; over real sockets where that matters."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from mahavishnu.integrations.multi_region.errors import StoreError
from mahavishnu.integrations.multi_region.ports.store import Loaded, MemoryStore
from mahavishnu.integrations.multi_region.surfaces.http.auth import Role
from mahavishnu.integrations.multi_region.surfaces.http.routes import MAX_BODY
from mahavishnu.integrations.multi_region.surfaces.http.server import create_app
from tests.surfaces.http_served import (
    TOKENS,
    Served,
    bearer,
    in_process,
    own_server,
    region,
    running_system,
    served,
    world,
)


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served() as running:
        yield running


def test_curl_as_the_page_does(server: Served) -> None:
    headers = bearer(Role.OPERATOR)
    assert httpx.post(f"{server.url}/regions", json=region("us-east-1"), headers=headers).status_code == 201
    assert httpx.get(f"{server.url}/regions?healthy_only=true").json()[0]["region_id"] == "us-east-1"
    assert httpx.get(f"{server.url}/regions/us-east-1").json()["region_id"] == "us-east-1"
    assert httpx.get(f"{server.url}/regions/us-east-1/health").json()["status"] == "healthy"
    body = {"request_context": {"user_location": {"latitude": 52.5, "longitude": 13.4}}, "strategy": "latency_based"}
    assert httpx.post(f"{server.url}/route", json=body).json()["selected_region"] == "us-east-1"
    assert httpx.get(f"{server.url}/stats").json()["regions"]["total_regions"] == 1


def test_figures_are_in_prometheus_form() -> None:
    with served() as server:
        admin = bearer(Role.ADMIN)
        httpx.post(f"{server.url}/v1/apply", json=world("eu-west-1", "us-east-1"), headers=admin).raise_for_status()
        httpx.post(f"{server.url}/route", json={"request_context": {}, "strategy": "cost_based"})
        httpx.post(f"{server.url}/route", json={"request_context": {"compliance_requirements": ["gdpr"]}})
        httpx.post(f"{server.url}/v1/failover", json={"from_region": "eu-west-1", "reason": "x"}, headers=admin)
        httpx.post(f"{server.url}/v1/failover", json={"from_region": "us-east-1", "reason": "x"}, headers=admin)
        answer = httpx.get(f"{server.url}/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert samples["multi_region_decisions_total", "us-east-1", "cost_based"] == 1
    assert samples["multi_region_refused_total", "route"] == 1
    assert samples["multi_region_refused_total", "failover"] == 1
    assert samples["multi_region_regions", "healthy"] == 2
    assert samples["multi_region_region_serving", "eu-west-1"] == 0
    assert samples["multi_region_region_serving", "us-east-1"] == 1
    assert samples["multi_region_failovers_total",] == 1
    assert samples["multi_region_failover_duration_seconds_count",] == 1
    assert samples["multi_region_events_total", "region.registered"] == 2


def test_a_large_body_is_refused_before_it_has_arrived(server: Served) -> None:
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as conn:
        conn.sendall(
            b"POST /route HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            + f"Content-Length: {MAX_BODY + 1}\r\n\r\n".encode()
            + b"{"
        )
        answer = conn.makefile("rb").read()  # until the server hangs up
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"application/problem+json" in answer


def test_a_body_in_chunks_is_refused_when_it_grows_too_large(server: Served) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(MAX_BODY // 1000 + 2):
            yield b" " * 1000

    headers = {"Content-Type": "application/json"}
    with httpx.Client() as client:
        try:
            answer = client.post(f"{server.url}/route", content=chunks(), headers=headers)
        except httpx.WriteError:
            return  # the server hung up while we were sending, which says the same
    assert answer.status_code == 413


def test_the_server_answers_after_it_has_refused(server: Served) -> None:
    with httpx.Client(base_url=server.url) as client:
        client.post("/route", content=b" " * (MAX_BODY + 1), headers={"Content-Type": "application/json"})
        assert client.get("/healthz").json() == {"status": "alive"}


async def test_ready_means_that_the_store_answers() -> None:
    class Sometimes(MemoryStore):
        lost = False

        async def load(self, prefix: str = "", *, after: str = "", limit: int | None = None) -> Loaded:
            if self.lost:
                raise StoreError("the disk is gone")
            return await super().load(prefix, after=after, limit=limit)

    store = Sometimes()
    async with running_system(store) as system, in_process(create_app(system, tokens=TOKENS)) as client:
        before = await client.get("/readyz")
        store.lost = True
        during = await client.get("/readyz")
        alive = await client.get("/healthz")
        store.lost = False
        after = await client.get("/readyz")
    assert (before.status_code, during.status_code, after.status_code) == (200, 503, 200)
    assert during.json()["detail"] == "the disk is gone"
    assert alive.status_code == 200


async def test_a_system_that_was_closed_is_not_ready() -> None:
    async with running_system() as system:
        app = create_app(system, tokens=TOKENS)
        await system.close()
        async with in_process(app) as client:
            assert (await client.get("/readyz")).status_code == 503


async def test_the_document_names_every_problem_and_asks_for_tokens_only_where_one_is_needed() -> None:
    async with own_server(None) as (client, _):
        document = (await client.get("/openapi.json")).json()
    assert "security" not in document["paths"]["/regions"]["get"]
    assert document["paths"]["/regions"]["post"]["security"] == [{"token": []}]
    answers = document["paths"]["/v1/failover"]["post"]["responses"]
    assert set(answers) == {"200", "400", "401", "403", "409", "413", "415", "422", "503"}
    problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
    assert answers["409"]["content"] == {"application/problem+json": problem}
