"""The spec's six endpoints, on an app that is somebody else's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse

from mahavishnu.integrations.multi_region import MultiRegionAPI
from mahavishnu.integrations.multi_region.surfaces.http.auth import Authorizer, Role
from mahavishnu.integrations.multi_region.system import MultiRegionSystem
from tests.surfaces.http_served import TOKENS, bearer, in_process, region, running_system

BERLIN = {"latitude": 52.5, "longitude": 13.4}


@pytest.fixture
async def system() -> AsyncIterator[MultiRegionSystem]:
    async with running_system() as running:
        yield running


@pytest.fixture
async def client(system: MultiRegionSystem) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    MultiRegionAPI(*system).register_routes(app)
    async with in_process(app) as found:
        yield found


async def _register(client: httpx.AsyncClient, *bodies: dict[str, Any]) -> None:
    for body in bodies:
        (await client.post("/regions", json=body)).raise_for_status()


# --- registering ------------------------------------------------------------------------------


async def test_a_region_of_the_catalog_needs_an_id_and_an_endpoint(client: httpx.AsyncClient) -> None:
    answer = await client.post("/regions", json={"region_id": "eu-west-1", "endpoint": "https://eu.example.test"})
    assert answer.status_code == 201
    made = answer.json()
    assert made["provider"] == "aws"
    assert made["country"] == "IE"
    assert made["latitude"] == pytest.approx(53.3, abs=0.2)
    assert made["health_score"] is None
    assert made["warnings"] == []


async def test_a_region_of_ones_own_needs_a_place(client: httpx.AsyncClient) -> None:
    mine = {"region_id": "basement", "endpoint": "https://basement.example.test"}
    refused = await client.post("/regions", json=mine)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "latitude"
    made = await client.post("/regions", json={**mine, "latitude": 1.5, "longitude": 2})
    assert (made.status_code, made.json()["name"]) == (201, "basement")


async def test_half_a_place_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/regions", json=region("eu-west-1", latitude=1.5))
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "longitude")


async def test_every_field_of_a_region_is_kept(client: httpx.AsyncClient, system: MultiRegionSystem) -> None:
    body = {
        "region_id": "us-east-1",
        "name": "US East (N. Virginia)",
        "provider": "aws",
        "location": "Northern Virginia",
        "latitude": 37.4,
        "longitude": -77.5,
        "endpoint": "https://us-east-1.api.example.com",
        "capabilities": {"compliance": ["soc2"], "max_capacity": 200, "features": ["gpu"], "attestations": {}},
        "health_score": 95.0,
        "current_capacity": 30,
        "cost_multiplier": 1.5,
        "country": "US",
        "health": {"path": "/up", "interval_s": 5, "statuses": [[200, 204]], "headers": {"X-Probe": "secret"}},
    }
    await _register(client, body)
    kept = (await client.get("/regions/us-east-1")).json()
    assert {key: kept[key] for key in body if key != "health"} == {k: v for k, v in body.items() if k != "health"}
    assert kept["capacity_utilization"] == 15.0
    assert kept["health"]["statuses"] == [[200, 204]]
    assert kept["health"]["timeout_s"] == system.region_manager.health_check.timeout_s
    assert kept["health"]["headers"] == {"X-Probe": "(not shown)"}
    stored = system.region_manager.regions["us-east-1"].health
    assert stored is not None
    assert stored.headers == {"X-Probe": "secret"}


async def test_a_region_far_from_its_country_is_taken_with_a_warning(client: httpx.AsyncClient) -> None:
    answer = await client.post("/regions", json=region("eu-west-1", latitude=-33.9, longitude=151.2, country="IE"))
    assert answer.status_code == 201
    assert answer.json()["warnings"]


async def test_an_id_is_registered_once(client: httpx.AsyncClient) -> None:
    await _register(client, region("eu-west-1"))
    answer = await client.post("/regions", json=region("eu-west-1"))
    assert answer.status_code == 409
    assert answer.json()["type"].endswith(":duplicate-region")
    assert len((await client.get("/regions")).json()) == 1


async def test_a_tcp_endpoint_is_probed_over_tcp(client: httpx.AsyncClient, system: MultiRegionSystem) -> None:
    await _register(client, region("eu-west-1", endpoint="tcp://eu.example.test:5432"))
    check = system.region_manager.regions["eu-west-1"].health
    assert check is not None
    assert check.kind == "tcp"
    answer = await client.post("/regions", json=region("us-east-1", endpoint="tcp://x:1", health={"kind": "http"}))
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "health.kind")


# --- looking ----------------------------------------------------------------------------------


async def test_regions_are_listed_in_order_and_the_healthy_ones_alone(client: httpx.AsyncClient) -> None:
    await _register(client, region("us-east-1"), region("eu-west-1", health_score=10), region("us-west-2"))
    listed = [r["region_id"] for r in (await client.get("/regions")).json()]
    healthy = [r["region_id"] for r in (await client.get("/regions?healthy_only=true")).json()]
    assert listed == ["us-east-1", "eu-west-1", "us-west-2"]
    assert healthy == ["us-east-1", "us-west-2"]


@pytest.mark.parametrize("path", ["/regions/eu-wst-1", "/regions/eu-wst-1/health"])
async def test_an_unknown_region_is_not_found_and_the_nearest_is_named(client: httpx.AsyncClient, path: str) -> None:
    await _register(client, region("eu-west-1"))
    answer = await client.get(path)
    assert answer.status_code == 404
    assert "did you mean 'eu-west-1'" in answer.json()["detail"]


async def test_a_regions_health_says_what_it_rests_on(client: httpx.AsyncClient) -> None:
    await _register(client, region("eu-west-1"))
    health = (await client.get("/regions/eu-west-1/health")).json()
    assert (health["status"], health["is_healthy"], health["health_score"]) == ("healthy", True, 95.0)
    assert health["reason"] == "stated by its owner"


# --- routing ----------------------------------------------------------------------------------


async def test_a_request_from_berlin_goes_to_ireland(client: httpx.AsyncClient) -> None:
    await _register(client, region("us-east-1"), region("eu-west-1"))
    body = {"request_context": {"user_location": BERLIN}, "strategy": "latency_based"}
    decision = (await client.post("/route", json=body)).json()
    assert "candidates" not in decision
    assert decision["selected_region"] == "eu-west-1"
    assert decision["endpoint"] == "https://eu-west-1.example.test"
    assert decision["reasoning"] == "Selected eu-west-1 for lowest latency"
    assert decision["revision"] == 2


async def test_a_client_that_races_regions_is_told_the_best_of_them(client: httpx.AsyncClient) -> None:
    await _register(client, region("us-east-1"), region("eu-west-1"), region("ap-south-1"))
    body = {"request_context": {"user_location": BERLIN}, "candidates": 2}
    first, second = (await client.post("/route", json=body)).json()["candidates"]
    assert (first["region_id"], second["region_id"]) == ("eu-west-1", "us-east-1")
    assert first["endpoint"] == "https://eu-west-1.example.test"
    assert 0 < first["estimate_ms"] < second["estimate_ms"]


@pytest.mark.parametrize("wrong", [0, 101, 1.0, True, "2", [1]])
async def test_a_number_of_candidates_that_is_none_is_refused(client: httpx.AsyncClient, wrong: object) -> None:
    await _register(client, region("eu-west-1"))
    answer = await client.post("/route", json={"request_context": {"user_location": BERLIN}, "candidates": wrong})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "candidates")


@pytest.mark.parametrize(("strategy", "used"), [(None, "latency_based"), ("Cost-Based", "cost_based")])
async def test_the_strategy_may_be_left_out(client: httpx.AsyncClient, strategy: str | None, used: str) -> None:
    await _register(client, region("eu-west-1"))
    answer = await client.post("/route", json={"request_context": {}, "strategy": strategy})
    assert answer.json()["strategy"] == used


@pytest.mark.parametrize(
    ("compliance", "refusal", "why"),
    [([], "policy_bound_exhaustion", "lacks gdpr"), (["gdpr"], "no_eligible_region", "is down")],
)
async def test_a_request_that_nobody_may_serve_is_refused_with_each_reason(
    client: httpx.AsyncClient, compliance: list[str], refusal: str, why: str
) -> None:
    score = 0 if compliance else 95
    await _register(client, region("eu-west-1", health_score=score, capabilities={"compliance": compliance}))
    answer = await client.post("/route", json={"request_context": {"compliance_requirements": ["gdpr"]}})
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["X-Multi-Region-Refusal"] == refusal
    assert answer.json()["reasons"] == {"eu-west-1": why}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "body"),
        ({}, "request_context"),
        ({"strategy": "latency_based"}, "request_context"),
        ({"request_context": {}, "strateg": 1}, "strateg"),
        ({"request_contxt": {}}, "request_contxt"),
        ({"request_context": []}, "request_context"),
        ({"request_context": "country"}, "request_context"),
        ({"request_context": {"user_locaton": {}}}, "request_context.user_locaton"),
        (
            {"request_context": {"user_location": {"latitude": 91, "longitude": 0}}},
            "request_context.user_location.latitude",
        ),
        ({"request_context": {"compliance_requirements": {}}}, "request_context.compliance_requirements"),
        ({"request_context": {"service": "none"}}, "request_context.service"),
        ({"request_context": {}, "strategy": "fastest"}, "strategy"),
    ],
)
async def test_a_bad_request_names_the_field(client: httpx.AsyncClient, body: Any, field: str) -> None:
    await _register(client, region("eu-west-1"))
    answer = await client.post("/route", json=body)
    assert answer.status_code == 422
    assert [item["field"] for item in answer.json()["errors"]] == [field]


async def test_stats_count_what_was_asked(client: httpx.AsyncClient) -> None:
    await _register(client, region("eu-west-1"))
    await client.post("/route", json={"request_context": {}})
    await client.post("/route", json={"request_context": {"compliance_requirements": ["gdpr"]}})
    stats = (await client.get("/stats")).json()
    assert stats["regions"]["healthy_regions"] == stats["regions"]["total_regions"] == 1
    assert stats["routing"]["decisions_by_region"] == {"eu-west-1": 1}
    assert stats["routing"]["refused"] == 1
    assert stats["failover"]["total_failovers"] == 0


# --- somebody else's app ----------------------------------------------------------------------


async def test_the_apps_own_routes_and_error_handlers_stay_as_they_are(system: MultiRegionSystem) -> None:
    app = FastAPI()

    @app.exception_handler(RequestValidationError)
    async def their_validation(_: Request, __: Exception) -> PlainTextResponse:
        return PlainTextResponse("theirs: invalid", 418)

    @app.exception_handler(HTTPException)
    async def their_status(_: Request, err: HTTPException) -> PlainTextResponse:
        return PlainTextResponse("theirs: status", err.status_code)

    @app.exception_handler(ValueError)
    async def their_error(_: Request, __: Exception) -> PlainTextResponse:
        return PlainTextResponse("theirs: error", 419)

    @app.get("/theirs")
    async def theirs(number: int) -> int:
        if number == 0:
            raise ValueError
        if number == 1:
            raise HTTPException(402)
        return number

    MultiRegionAPI(*system).register_routes(app)
    async with in_process(app) as client:
        texts = [(await client.get(f"/theirs?number={n}")).text for n in ("x", 0, 1, 2)]
        ours = [await client.get("/regions?healthy_only=maybe"), await client.get("/regions/none")]
    assert texts == ["theirs: invalid", "theirs: error", "theirs: status", "2"]
    assert [answer.status_code for answer in ours] == [422, 404]
    assert {answer.headers["content-type"] for answer in ours} == {"application/problem+json"}


async def test_what_the_apps_own_dependency_refuses_is_answered_by_the_app(system: MultiRegionSystem) -> None:
    async def their_authentication(request: Request) -> None:
        if request.query_params.get("key") != "theirs":
            raise HTTPException(401, "theirs")

    app = FastAPI(dependencies=[Depends(their_authentication)])
    MultiRegionAPI(*system).register_routes(app)
    async with in_process(app) as client:
        refused, passed = await client.get("/regions"), await client.get("/regions?key=theirs")
    assert (refused.status_code, refused.json()) == (401, {"detail": "theirs"})
    assert passed.status_code == 200


async def test_no_token_is_asked_for_unless_ours_are_passed(system: MultiRegionSystem) -> None:
    guarded = FastAPI()
    MultiRegionAPI(*system, authorize=Authorizer(TOKENS)).register_routes(guarded)
    async with in_process(guarded) as client:
        assert (await client.get("/regions")).status_code == 401
        assert (await client.get("/regions", headers=bearer(Role.VIEWER))).status_code == 200
        asked = await client.post("/regions", json=region("eu-west-1"), headers=bearer(Role.VIEWER))
        assert asked.status_code == 403
        asked = await client.post("/regions", json=region("eu-west-1"), headers=bearer(Role.OPERATOR))
        assert asked.status_code == 201
    events = await system.region_manager.journal.tail()
    assert [entry.event.actor for entry in events] == ["operator"]
