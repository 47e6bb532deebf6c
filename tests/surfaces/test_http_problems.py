"""Errors as problem+json, and bodies read strictly."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mahavishnu.integrations.multi_region.errors import AuditBrokenError, StaleRevisionError, StoreError
from mahavishnu.integrations.multi_region.ports.store import Loaded, MemoryStore
from mahavishnu.integrations.multi_region.surfaces.http.problems import problem_of, shown
from mahavishnu.integrations.multi_region.surfaces.http.routes import MAX_BODY
from mahavishnu.integrations.multi_region.surfaces.http.server import create_app
from tests.surfaces.http_served import TOKENS, in_process, own_server, region, running_system

JSON = {"Content-Type": "application/json"}


async def test_a_problem_says_what_where_and_what_is_allowed() -> None:
    async with own_server() as (client, _):
        answer = await client.post("/regions", json=region("eu-west-1", capabilities={"compliance": ["gdrp"]}))
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == "urn:mahavishnu:multi-region:problem:invalid-input"
    assert (problem["status"], problem["instance"]) == (422, "/regions")
    (error,) = problem["errors"]
    assert (error["field"], error["value"]) == ("capabilities.compliance.0", "gdrp")
    assert error["allowed"].startswith("did you mean 'gdpr'?")


async def test_all_that_is_wrong_is_said_at_once() -> None:
    body = {"endpoint": 5, "health_score": "95", "latitude": True, "health": {"fall": 0, "statuses": [[200]]}}
    async with own_server() as (client, _):
        problem = (await client.post("/regions", json=body)).json()
    fields = [error["field"] for error in problem["errors"]]
    assert fields == ["region_id", "endpoint", "latitude", "health_score", "health.fall", "health.statuses.0"]
    assert problem["detail"].endswith("(and 5 more)")


@pytest.mark.parametrize(
    ("path", "body", "field", "hint"),
    [
        ("/regions", {"region": "x"}, "region", "region_id"),
        ("/regions", region("eu-west-1", health={"intervall_s": 3}), "health.intervall_s", "interval_s"),
        ("/v1/freeze", {"reson": "x"}, "reson", "reason"),
        ("/v1/observations", {"outcomes": [{"region_id": "a", "okay": True}]}, "outcomes.0.okay", "ok"),
    ],
)
async def test_an_unknown_key_is_refused_and_the_nearest_named(path: str, body: object, field: str, hint: str) -> None:
    async with own_server() as (client, _):
        answer = await client.post(path, json=body)
    assert answer.status_code == 422
    errors = {error["field"]: error["allowed"] for error in answer.json()["errors"]}
    assert hint in errors[field]


async def test_null_is_the_same_as_left_out() -> None:
    body = region("eu-west-1", name=None, country=None, health=None, latitude=None)
    async with own_server() as (client, _):
        made = await client.post("/regions", json=body)
        needed = await client.post("/regions", json={"region_id": None, "endpoint": "https://a.example.test"})
    assert (made.status_code, made.json()["country"]) == (201, "IE")
    assert (needed.status_code, needed.json()["errors"][0]["field"]) == (422, "region_id")


async def test_secrets_are_not_repeated() -> None:
    async with own_server() as (client, _):
        answer = await client.post("/regions", json=region("eu-west-1", health={"headers": {"X-Key": "s3cret\n"}}))
    assert answer.status_code == 422
    assert "s3cret" not in answer.text


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"\xff",
        b'{"request_context": {"user_location": {"latitude": NaN, "longitude": 1}}}',
        b'{"request_context": {"user_location": {"latitude": Infinity, "longitude": 1}}}',
        b'{"request_context": {"user_location": {"latitude": 1e999, "longitude": 1}}}',
        b'{"request_context": {"data_id": "\\ud800"}}',
        b"[" * 100_000,
    ],
)
async def test_what_is_not_json_is_refused(raw: bytes) -> None:
    async with own_server() as (client, _):
        answer = await client.post("/route", content=raw, headers=JSON)
    assert answer.status_code == 400
    assert answer.json()["type"].endswith(":malformed-json")


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/x+json"])
async def test_json_by_any_of_its_names_is_read(kind: str) -> None:
    async with own_server() as (client, _):
        await client.post("/regions", json=region("eu-west-1"))
        answer = await client.post("/route", content=b'{"request_context":{}}', headers={"Content-Type": kind})
    assert answer.status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonx"])
@pytest.mark.parametrize("path", ["/route", "/regions", "/v1/apply"])
async def test_a_body_that_is_not_said_to_be_json_is_refused(kind: str, path: str) -> None:
    async with own_server() as (client, _):
        answer = await client.post(path, content=b"{}", headers={"Content-Type": kind})
    assert answer.status_code == 415


@pytest.mark.parametrize(("path", "status"), [("/route", 400), ("/regions", 422), ("/v1/apply", 400)])
async def test_a_missing_body_is_refused(path: str, status: int) -> None:
    async with own_server() as (client, _):
        answer = await client.post(path, headers=JSON)
    assert answer.status_code == status


async def test_a_body_of_just_the_limit_is_read_and_one_byte_more_is_not() -> None:
    body = b'{"request_context":{}}'
    async with own_server() as (client, _):
        await client.post("/regions", json=region("eu-west-1"))
        fits = await client.post("/route", content=body.ljust(MAX_BODY), headers=JSON)
        larger = await client.post("/route", content=body.ljust(MAX_BODY + 1), headers=JSON)
    assert (fits.status_code, larger.status_code) == (200, 413)


async def test_a_large_body_is_refused_where_its_length_is_not_said() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 100_000

    async with own_server() as (client, _):
        answer = await client.post("/route", content=chunks(), headers=JSON)
    assert answer.status_code == 413


@pytest.mark.parametrize("path", ["/nothing", "/v1", "/regions/", "/regions/a/b/c", "/docs"])
async def test_an_unknown_path_is_a_problem(path: str) -> None:
    async with own_server() as (client, _):
        answer = await client.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"].endswith(":not-found")


@pytest.mark.parametrize(
    ("path", "allowed"), [("/regions", "GET, POST"), ("/v1/regions/x", "DELETE, GET, PUT"), ("/route", "POST")]
)
async def test_an_unknown_method_is_a_problem_and_the_known_ones_are_named(path: str, allowed: str) -> None:
    async with own_server() as (client, _):
        answer = await client.patch(path)
    assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_an_unknown_parameter_is_refused_and_the_nearest_named() -> None:
    async with own_server() as (client, _):
        answer = await client.get("/regions?healthy=true")
        none = await client.get("/stats?x=1")
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["field"]) == (422, "query.healthy")
    assert "healthy_only" in error["allowed"]
    assert none.status_code == 422


async def test_a_lost_store_is_not_the_clients_fault() -> None:
    class Lost(MemoryStore):
        async def load(self, prefix: str = "", *, after: str = "", limit: int | None = None) -> Loaded:
            if prefix == "events/":
                raise StoreError("the disk is gone")
            return await super().load(prefix, after=after, limit=limit)

    async with running_system(Lost()) as system, in_process(create_app(system, tokens=TOKENS)) as client:
        answer = await client.get("/v1/events?after=0")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.json()["detail"] == "the disk is gone"


async def test_a_failure_of_our_own_tells_nothing_of_its_inside() -> None:
    class Broken(MemoryStore):
        async def load(self, prefix: str = "", *, after: str = "", limit: int | None = None) -> Loaded:
            if prefix == "events/":
                raise LookupError("/secret/path")
            return await super().load(prefix, after=after, limit=limit)

    async with running_system(Broken()) as system:
        app = create_app(system, tokens=TOKENS)
        async with in_process(app, failures_pass=False) as client:
            answer = await client.get("/v1/events?after=0")
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (StaleRevisionError("regions/a", 1, 2), 409, "stale-revision"),
        (AuditBrokenError(7, "was altered"), 409, "audit-broken"),
        (StoreError("gone"), 503, "unavailable"),
    ],
)
def test_each_error_says_whose_turn_it_is(error: StaleRevisionError, status: int, kind: str) -> None:
    problem = problem_of(error)
    assert (problem.status, problem.kind) == (status, kind)


@pytest.mark.parametrize(
    ("value", "as_shown"),
    [
        (None, None),
        (True, True),
        (1.5, 1.5),
        (10**20, "a number of more than 18 digits"),
        ({"a": 1}, "an object"),
        ([1], "a list"),
        ("x" * 200, "x" * 120 + "…"),
    ],
)
def test_a_value_is_shown_short(value: object, as_shown: object) -> None:
    assert shown(value) == as_shown
