"""``/v1/data`` through the server's door."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from mahavishnu.integrations.multi_region.surfaces.http.auth import Role
from tests.surfaces.http_served import bearer, own_server, region

PAIR: dict[str, Any] = {"from_region": "eu-west-1", "to_region": "us-east-1", "purpose": "backup"}


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with own_server() as (client, _):
        for region_id in ("us-east-1", "us-west-2", "eu-west-1"):
            stated = {"gdpr": {"report": "R-1", "expires": "2099-12-31"}} if region_id == "eu-west-1" else {}
            body = region(region_id, capabilities={"attestations": stated})
            (await client.post("/regions", json=body)).raise_for_status()
        (await client.put("/v1/policies/eu", json={"template": "eea-only"})).raise_for_status()
        yield client


async def answer(client: httpx.AsyncClient, path: str, status: int = 200, **body: Any) -> Any:
    response = await client.post(f"/v1/data/{path}", json=body)
    assert response.status_code == status, response.text
    return response.json()


async def test_a_region_shows_what_its_owner_states(client: httpx.AsyncClient) -> None:
    shown = (await client.get("/regions/eu-west-1")).json()["capabilities"]["attestations"]
    assert shown == {"gdpr": {"report": "R-1", "expires_at": 4102444800.0, "value": True}}


async def test_a_policy_shows_the_rules_of_its_template(client: httpx.AsyncClient) -> None:
    shown = (await client.get("/v1/policies/eu")).json()["rules"]
    assert shown == [{"id": "in-the-eea", "effect": "allow", "when": {"fact": "region.eea", "is": True}}]


async def test_classes_follow_what_is_told_and_what_was_counted(client: httpx.AsyncClient) -> None:
    found = await answer(client, "classify", data_id="d", access_frequency=50)
    assert (found["temperature"], found["threshold"], found["reason"]) == ("hot", 10, "50 accesses a day, above 10")
    assert (await client.post("/v1/data/access", json={"data_id": "e", "n": 20})).status_code == 204
    assert (await answer(client, "classify", data_id="e"))["temperature"] == "hot"
    free = await answer(client, "classify", data_id="d", mode="cost", egress_usd_per_gb=0, access_frequency=1)
    assert (free["temperature"], free["threshold"]) == ("cold", None)


async def test_what_is_not_given_about_a_place_stays(client: httpx.AsyncClient) -> None:
    await answer(client, "place", data_id="d", regions=["eu-west-1"], policy="eu")
    found = await answer(client, "place", data_id="d", data_class="pan")
    assert (found["regions"], found["policy"], found["data_class"]) == (["eu-west-1"], "eu", "pan")
    found = await answer(client, "place", data_id="d", regions=[], unbind=True)
    assert (found["regions"], found["policy"], found["data_class"]) == ([], None, None)
    assert (await client.get("/v1/data/place", params={"data_id": "d"})).json() == found


async def test_a_plan_for_bound_data_says_who_may_not_hold_it(client: httpx.AsyncClient) -> None:
    await answer(client, "place", data_id="d", policy="eu")
    plan = await answer(client, "replicate", data_id="d")
    assert (plan["regions"], plan["primary"], sorted(plan["excluded"])) == (
        ["eu-west-1"],
        "eu-west-1",
        ["us-east-1", "us-west-2"],
    )
    assert (await answer(client, "replicate", data_id="user_456_data", strategy="sharded"))["regions"] == ["us-west-2"]


async def test_a_transfer_is_decided_then_recorded_then_reported(client: httpx.AsyncClient) -> None:
    decided = await answer(client, "transfers", data_id="d", bytes=10**9, **PAIR)
    assert (decided["permitted"], decided["entry"]) == (True, None)
    done = await answer(client, "transfers", 201, data_id="d", bytes=10**9, decision_id=decided["id"], **PAIR)
    assert done["entry"]["actor"] == "admin"
    report = (await client.get("/v1/data/transfers", params={"since": 1})).json()
    assert report["entries"] == [done["entry"]]
    assert report["totals"][0]["bytes"] == 10**9


async def test_a_transfer_that_law_forbids_is_answered_and_not_recorded(client: httpx.AsyncClient) -> None:
    await answer(client, "place", data_id="d", policy="eu")
    decided = await answer(client, "transfers", data_id="d", bytes=1, **PAIR)
    assert (decided["permitted"], decided["verdict"]) == (False, "deny")
    problem = await answer(client, "transfers", 409, data_id="d", bytes=1, decision_id=decided["id"], **PAIR)
    assert problem["rule"] == "transfer_not_permitted"
    report = (await client.get("/v1/data/transfers", params={"policy": "eu"})).json()
    assert ([e["recorded"] for e in report["entries"]], report["totals"]) == ([False], [])


async def test_what_would_become_unlawful_is_listed(client: httpx.AsyncClient) -> None:
    await answer(client, "place", data_id="d", regions=["eu-west-1"], policy="eu")
    assert await answer(client, "check") == {"lawful": True, "breaches": []}
    found = await answer(client, "check", facts={"countries": {"IE": {"region.eea": False}}})
    assert [(b["kind"], b["name"], b["region_id"], b["new"]) for b in found["breaches"]] == [
        ("placement", "d", "eu-west-1", True)
    ]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("classify", {"data_id": ""}, "data_id"),
        ("classify", {"data_id": "d", "access_frequency": -1}, "access_frequency"),
        ("place", {"data_id": "d", "policy": "nobody"}, "policy_id"),
        ("place", {"data_id": "d", "regions": ["nowhere"]}, "region_id"),
        ("replicate", {"data_id": "d", "strategy": "most"}, "strategy"),
        ("transfers", {"data_id": "d", **PAIR, "mechanism": "hope"}, "mechanism"),
        ("transfers", {"data_id": "d", **PAIR, "decision_id": "x"}, "bytes"),
        ("check", {"facts": {"countries": {"ZZ": {}}}}, "facts.countries"),
    ],
)
async def test_bad_input_is_named(client: httpx.AsyncClient, path: str, body: dict[str, Any], field: str) -> None:
    problem = await answer(client, path, 422, **body)
    assert [item["field"] for item in problem["errors"]] == [field]


@pytest.mark.parametrize("path", ["classify", "access", "place", "transfers"])
async def test_who_may_only_look_changes_nothing(client: httpx.AsyncClient, path: str) -> None:
    response = await client.post(f"/v1/data/{path}", json={"data_id": "d"}, headers=bearer(Role.VIEWER))
    assert response.status_code == 403
