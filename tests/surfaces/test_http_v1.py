"""`/v1`: declaring, acting and looking, on our own server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.core.events import EventKind
from mahavishnu.integrations.multi_region.ports.store import MemoryStore
from mahavishnu.integrations.multi_region.shell.event_log import event_key
from mahavishnu.integrations.multi_region.surfaces.http.auth import Role
from mahavishnu.integrations.multi_region.surfaces.http.server import create_app
from tests.surfaces.http_served import TOKENS, in_process, own_server, region, running_system, world

EU_ONLY = {"name": "EU only", "compliance_requirements": ["gdpr"], "allowed_regions": ["eu-west-1"]}


# --- a world as a whole -----------------------------------------------------------------------


async def test_a_dry_run_shows_the_changes_and_makes_none() -> None:
    async with own_server() as (client, app):
        said = (await client.post("/v1/apply?dry_run=true", json=world("eu-west-1"))).json()
        assert not app.state.system.region_manager.regions
        done = (await client.post("/v1/apply", json=world("eu-west-1"))).json()
        again = (await client.post("/v1/apply", json=world("eu-west-1"))).json()
    assert (said["dry_run"], done["dry_run"]) == (True, False)
    assert said["changes"] == done["changes"]
    added = {change["key"]: change["kind"] for change in done["changes"]}
    assert added["regions/eu-west-1"] == "add"
    assert again["changes"] == []


async def test_a_change_names_the_fields_and_what_stood_there() -> None:
    async with own_server() as (client, _):
        await client.post("/v1/apply", json=world("eu-west-1", "us-east-1"))
        wanted = world("eu-west-1")
        wanted["regions"][0]["cost_multiplier"] = 2
        changes = (await client.post("/v1/apply", json=wanted)).json()["changes"]
    by_key = {change["key"]: change for change in changes}
    assert by_key["regions/eu-west-1"]["fields"] == ["cost_multiplier"]
    assert by_key["regions/eu-west-1"]["after"]["cost_multiplier"] == 2
    assert (by_key["regions/us-east-1"]["kind"], by_key["regions/us-east-1"]["after"]) == ("remove", None)


async def test_every_problem_of_a_world_is_listed_and_nothing_is_changed() -> None:
    bad = world("eu-west-1", services=[{"name": "api", "policy": "none", "strategy": "fastest"}])
    async with own_server() as (client, app):
        answer = await client.post("/v1/apply", json=bad)
        assert not app.state.system.region_manager.regions
    assert answer.status_code == 422
    assert {error["field"] for error in answer.json()["errors"]} == {"services.api.policy", "services.api.strategy"}


async def test_the_world_may_not_be_emptied() -> None:
    async with own_server() as (client, _):
        await client.post("/v1/apply", json=world("eu-west-1"))
        answer = await client.post("/v1/apply", json=world())
    assert (answer.status_code, answer.json()["rule"]) == (409, "min_serving")


# --- one thing at a time ----------------------------------------------------------------------


async def test_a_region_is_put_changed_and_removed() -> None:
    async with own_server() as (client, _):
        made = await client.put("/v1/regions/eu-west-1", json=region("eu-west-1", health_score=None))
        changed = await client.put("/v1/regions/eu-west-1", json=region("eu-west-1", cost_multiplier=3))
        other = await client.put("/v1/regions/eu-west-1", json=region("eu-west-2"))
        gone = await client.delete("/v1/regions/eu-west-1")
        again = await client.delete("/v1/regions/eu-west-1")
    assert (made.status_code, changed.status_code, changed.json()["cost_multiplier"]) == (201, 200, 3)
    assert (other.status_code, other.json()["errors"][0]["field"]) == (422, "region_id")
    assert (gone.status_code, gone.content, again.status_code) == (204, b"", 404)


async def test_what_was_answered_can_be_put_back_without_losing_a_secret() -> None:
    async with own_server() as (client, app):
        await client.post("/regions", json=region("eu-west-1", health={"headers": {"X-Key": "s3cret"}}))
        body = (await client.get("/regions/eu-west-1")).json()
        del body["capacity_utilization"]
        put = await client.put("/v1/regions/eu-west-1", json=body)
        added = await client.put(
            "/v1/regions/eu-west-1", json={**body, "health": {"headers": {"X-New": "(not shown)"}}}
        )
        assert app.state.system.region_manager.regions["eu-west-1"].health.headers == {"X-Key": "s3cret"}
        shown = [await client.get("/v1/events"), put]
    assert put.status_code == 200
    assert (added.status_code, added.json()["errors"][0]["field"]) == (422, "health.headers.X-New")
    assert all("s3cret" not in answer.text for answer in shown)


async def test_a_region_in_use_is_not_removed() -> None:
    async with own_server() as (client, _):
        await client.post("/v1/apply", json=world("eu-west-1", "us-east-1"))
        deployment = {"type": "active-active", "regions": ["eu-west-1", "us-east-1"]}
        await client.put("/v1/services/api", json={"deployment": deployment})
        answer = await client.delete("/v1/regions/eu-west-1")
    assert (answer.status_code, answer.json()["rule"]) == (409, "region_in_use")


async def test_a_service_is_put_read_and_removed() -> None:
    service = {
        "hosts": ["api.example.test"],
        "strategy": "cost_based",
        "deployment": {"type": "active-passive", "regions": ["eu-west-1"], "weights": {"eu-west-1": 2}},
        "priority": 1,
    }
    async with own_server() as (client, _):
        await client.post("/v1/apply", json=world("eu-west-1"))
        put = await client.put("/v1/services/api", json=service)
        one, all_ = await client.get("/v1/services/api"), await client.get("/v1/services")
        misnamed = await client.put("/v1/services/api", json={"name": "web"})
        gone, missing = await client.delete("/v1/services/api"), await client.get("/v1/services/api")
    assert put.status_code == 200
    assert {key: one.json()[key] for key in service} == service
    assert one.json()["failback_mode"] == "manual"
    assert all_.json() == [one.json()]
    assert misnamed.status_code == 422
    assert (gone.status_code, missing.status_code) == (204, 404)


async def test_a_policy_is_put_and_read_and_binds() -> None:
    async with own_server() as (client, _):
        await client.post("/v1/apply", json=world("eu-west-1", "us-east-1"))
        put = await client.put("/v1/policies/eu-only", json=EU_ONLY)
        one, none = await client.get("/v1/policies/eu-only"), await client.get("/v1/policies/eu-onl")
        unknown = await client.put("/v1/policies/x", json={"allowed_regions": ["eu-wst-1"]})
        said = await client.post("/v1/route/explain", json={"request_context": {"compliance_requirements": ["gdpr"]}})
    assert put.json() == one.json()
    assert one.json()["locality_level"] == "strict"
    assert none.status_code == 404
    assert "did you mean 'eu-west-1'" in unknown.json()["detail"]
    assert said.json()["excluded"]["us-east-1"]["code"] == "policy"


# --- explaining -------------------------------------------------------------------------------


async def test_an_explanation_gives_the_order_and_every_objection_and_counts_nothing() -> None:
    async with own_server(None) as (client, app):
        async with in_process(app, Role.ADMIN) as admin:
            await admin.post("/v1/apply", json=world("us-east-1", "eu-west-1", "ap-southeast-2"))
            await admin.post("/v1/regions/ap-southeast-2/drain", json={"reason": "patch"})
        body = {"request_context": {"user_location": {"latitude": 52.5, "longitude": 13.4}}}
        said = (await client.post("/v1/route/explain", json=body)).json()
        counted = (await client.get("/stats")).json()["routing"]["total_decisions"]
    assert said["decision"]["selected_region"] == "eu-west-1"
    assert [r["region_id"] for r in said["eligible"]] == ["eu-west-1", "us-east-1"]
    assert said["excluded"] == {"ap-southeast-2": {"code": "drained", "text": "is drained by its operator"}}
    assert (said["refusal"], counted) == (None, 0)
    first, second = (region["estimate_ms"] for region in said["eligible"])
    assert 0 < first < second
    assert said["decision"]["estimate_ms"] == first


async def test_an_explanation_says_what_each_region_would_cost_as_far_as_the_clients_place_is_known() -> None:
    places: list[dict[str, Any]] = [
        {},
        {"country": "DE"},
        {"user_location": {"latitude": 52.5, "longitude": 13.4}, "country": "DE"},
    ]
    bodies = [{"request_context": place, "strategy": "cost_based"} for place in places]
    async with own_server() as (client, _):
        await client.post("/v1/apply", json=world("us-east-1", "eu-west-1", "ap-southeast-2"))
        for body in bodies:
            said = (await client.post("/v1/route/explain", json=body)).json()
            asked = (await client.post("/route", json={**body, "candidates": 3})).json()["candidates"]
            assert [(r["region_id"], r["estimate_ms"]) for r in said["eligible"]] == [
                (candidate["region_id"], candidate["estimate_ms"]) for candidate in asked
            ]
            assert (said["decision"]["estimate_ms"] is None) == (not body["request_context"])


async def test_a_refusal_is_an_explanation_too() -> None:
    async with own_server() as (client, _):
        said = (await client.post("/v1/route/explain", json={"request_context": {}})).json()
    assert (said["decision"], said["refusal"]) == (None, "no region is registered")


# --- failing over -----------------------------------------------------------------------------


async def test_a_dry_run_of_a_failover_shows_the_plan_and_moves_nothing() -> None:
    async with own_server() as (client, _):
        await client.post("/v1/apply", json=world("eu-west-1", "us-east-1"))
        body = {"from_region": "eu-west-1", "reason": "rehearsal", "dry_run": True}
        said = (await client.post("/v1/failover", json=body)).json()
        view = (await client.get("/v1/regions/eu-west-1")).json()
    assert (said["dry_run"], said["to_region"], said["event_id"]) == (True, "us-east-1", None)
    assert view["failed_over"] is None


async def test_traffic_is_moved_to_the_nearest_and_given_back() -> None:
    async with own_server() as (client, _):
        await client.post("/v1/apply", json=world("eu-west-1", "us-east-1", "ap-southeast-2"))
        moved = (await client.post("/v1/failover", json={"from_region": "eu-west-1", "reason": "works"})).json()
        view = (await client.get("/v1/regions/eu-west-1")).json()
        back = await client.post("/v1/regions/eu-west-1/recover")
        twice = await client.post("/v1/regions/eu-west-1/recover", json={"reason": "again"})
    assert (moved["to_region"], moved["cause"], moved["dry_run"]) == ("us-east-1", "operator", False)
    assert moved["duration_ms"] >= 0
    assert (view["failed_over"]["by"], view["excluded"]["code"]) == ("admin", "failed_over")
    assert (back.status_code, back.json()["waiting"]) == (200, [])
    assert (twice.status_code, twice.json()["rule"]) == (409, "not_failed_over")


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        ({"from_region": "eu-west-1", "to_region": "us-east-1"}, 409, "headroom"),
        ({"from_region": "eu-west-1", "to_region": "eu-west-1"}, 422, "to_region"),
        ({"from_region": "eu-wst-1"}, 422, "region_id"),
        ({"from_region": "eu-west-1", "strategy": "slow"}, 422, "strategy"),
    ],
)
async def test_a_failover_that_may_not_be_is_refused(
    body: dict[str, Any], status: int, why: str, dry_run: bool
) -> None:
    async with own_server() as (client, _):
        await client.post("/regions", json=region("eu-west-1", current_capacity=95))
        await client.post("/regions", json=region("us-east-1"))
        answer = await client.post("/v1/failover", json={**body, "reason": "x", "dry_run": dry_run})
        stats = (await client.get("/stats")).json()["failover"]
    assert answer.status_code == status
    problem = answer.json()
    assert (problem.get("rule") or problem["errors"][0]["field"]) == why
    assert stats["total_failovers"] == 0


async def test_an_override_lifts_the_rule_it_names_and_is_in_the_log() -> None:
    glass = {"rule": "headroom", "reason": "fire", "expires_in_s": 60}
    async with own_server() as (client, _):
        await client.post("/regions", json=region("eu-west-1", current_capacity=95))
        await client.post("/regions", json=region("us-east-1"))
        refused = await client.post("/v1/regions/eu-west-1/drain", json={"reason": "fire"})
        unliftable = {"reason": "fire", "override": {**glass, "rule": "target"}}
        other = await client.post("/v1/regions/eu-west-1/drain", json=unliftable)
        lifted = await client.post("/v1/regions/eu-west-1/drain", json={"reason": "fire", "override": glass})
        events = (await client.get("/v1/events")).json()["events"]
    assert (refused.status_code, refused.json()["rule"]) == (409, "headroom")
    assert (other.status_code, other.json()["errors"][0]["field"]) == (422, "override.rule")
    assert lifted.json()["state"] == "drained"
    (used,) = [event for event in events if event["kind"] == EventKind.OVERRIDE_USED]
    assert (used["actor"], used["reason"], used["details"]["rule"]) == ("admin", "fire", "headroom")


# --- draining and freezing --------------------------------------------------------------------


@pytest.mark.parametrize("graceful", [True, False])
async def test_a_drain_takes_a_region_out_until_it_is_lifted(graceful: bool) -> None:
    async with own_server() as (client, _):
        await client.post("/v1/apply", json=world("eu-west-1", "us-east-1"))
        drained = await client.post("/v1/regions/eu-west-1/drain", json={"reason": "patch", "graceful": graceful})
        view = (await client.get("/v1/regions/eu-west-1")).json()
        lifted = await client.post("/v1/regions/eu-west-1/undrain", json={"reason": "done"})
        twice = await client.post("/v1/regions/eu-west-1/undrain")
        kinds = [event["kind"] for event in (await client.get("/v1/events")).json()["events"]]
    assert (drained.json()["state"], view["drain"]["reason"]) == ("drained", "patch")
    assert lifted.json() == {"region_id": "eu-west-1", "state": "active"}
    assert (twice.status_code, twice.json()["rule"]) == (409, "not_drained")
    assert (EventKind.DRAIN_STARTED in kinds) is graceful
    assert EventKind.DRAIN_LIFTED in kinds


async def test_a_drain_lifted_while_requests_finish_stays_lifted() -> None:
    async with own_server() as (client, _):
        await client.post("/regions", json=region("eu-west-1", current_capacity=5))
        await client.post("/regions", json=region("us-east-1"))
        body = {"reason": "patch", "graceful": True}
        draining = asyncio.create_task(client.post("/v1/regions/eu-west-1/drain", json=body))
        while (await client.get("/v1/regions/eu-west-1")).json()["admin"] != "draining":
            await asyncio.sleep(0.005)
        await client.post("/v1/regions/eu-west-1/undrain")
        await client.post("/v1/observations", json={"loads": [{"region_id": "eu-west-1", "current_capacity": 0}]})
        answer = await draining
        admin = (await client.get("/v1/regions/eu-west-1")).json()["admin"]
    assert (answer.status_code, answer.json()["rule"], admin) == (409, "not_drained", "active")


async def test_automation_is_frozen_and_unfrozen() -> None:
    async with own_server() as (client, _):
        frozen = await client.post("/v1/freeze", json={"reason": "investigating"})
        status = (await client.get("/v1/status")).json()
        lifted = await client.post("/v1/unfreeze")
        twice = await client.post("/v1/unfreeze")
    assert frozen.json()["by"] == "admin"
    assert status["frozen"]["reason"] == "investigating"
    assert (lifted.json(), twice.status_code) == ({"frozen": False}, 409)


@pytest.mark.parametrize("path", ["/v1/freeze", "/v1/regions/eu-west-1/drain", "/v1/failover"])
async def test_what_takes_something_away_needs_a_reason(path: str) -> None:
    async with own_server() as (client, _):
        await client.post("/v1/apply", json=world("eu-west-1", "us-east-1"))
        answer = await client.post(path, json={"from_region": "eu-west-1"} if path == "/v1/failover" else {})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "reason")


@pytest.mark.parametrize("action", ["drain", "undrain", "recover"])
async def test_acting_on_an_unknown_region_is_not_found(action: str) -> None:
    async with own_server() as (client, _):
        answer = await client.post(f"/v1/regions/nowhere/{action}", json={"reason": "x"})
    assert answer.status_code == 404


# --- observations -----------------------------------------------------------------------------


async def test_observations_are_counted() -> None:
    outcomes = [{"region_id": "eu-west-1", "ok": False}] * 5
    async with own_server() as (client, _):
        await client.post("/v1/apply", json=world("eu-west-1", "us-east-1"))
        body = {"outcomes": outcomes, "loads": [{"region_id": "us-east-1", "current_capacity": 42}]}
        counted = await client.post("/v1/observations", json=body)
        health = (await client.get("/regions/eu-west-1/health")).json()
        load = (await client.get("/regions/us-east-1")).json()["current_capacity"]
    assert counted.json() == {"outcomes": 5, "loads": 1, "rtts": 0, "doubted": 0}
    assert (health["circuit_breaker"], load) == ("open", 42)


async def test_round_trips_are_learned_and_those_beyond_belief_are_not() -> None:
    berlin = {"latitude": 52.5, "longitude": 13.4}
    body = {"request_context": {"user_location": berlin, "current_region": "eu-west-1"}, "candidates": 2}
    rtts = [{"region_id": "eu-west-1", "ms": 80, "location": berlin, "country": "DE"}] * 8
    async with own_server() as (client, _):
        await client.post("/v1/apply", json=world("eu-west-1", "eu-central-1"))
        before = (await client.post("/route", json=body)).json()["candidates"]
        counted = await client.post("/v1/observations", json={"rtts": [*rtts, {**rtts[0], "ms": 4000}]})
        refused = await client.post("/v1/observations", json={"rtts": [rtts[0], {**rtts[0], "ms": 0.5}]})
    assert [found["region_id"] for found in before] == ["eu-central-1", "eu-west-1"]
    assert all(3 < found["estimate_ms"] < 60 for found in before)
    assert counted.json() == {"outcomes": 0, "loads": 0, "rtts": 8, "doubted": 1}
    assert refused.json()["errors"][0]["field"] == "rtts.1.ms"


async def test_a_request_may_name_its_address_where_there_is_a_database() -> None:
    async with own_server() as (client, _):
        await client.post("/v1/apply", json=world("eu-west-1"))
        answer = await client.post("/route", json={"request_context": {"ip": "203.0.113.9"}})
    assert answer.status_code == 422
    assert "MAHAVISHNU_MULTI_REGION__GEOIP_DATABASE" in answer.json()["errors"][0]["allowed"]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"loads": [{"region_id": "us-east-1", "current_capacity": -1}]}, "loads.0.current_capacity"),
        ({"loads": [{"region_id": "nowhere", "current_capacity": 1}]}, "loads.0.region_id"),
        ({"outcomes": [{"region_id": "eu-west-1", "ok": "yes"}]}, "outcomes.0.ok"),
        ({"outcomes": [{"region_id": "nowhere", "ok": True}]}, "outcomes.0.region_id"),
        ({"outcomes": [{"region_id": "eu-west-1", "ok": True, "latency_ms": -1}]}, "outcomes.0.latency_ms"),
        ({"rtts": [{"region_id": "nowhere", "ms": 20, "country": "DE"}]}, "rtts.0.region_id"),
        ({"rtts": [{"region_id": "us-east-1", "ms": 1, "country": "DE"}]}, "rtts.0.ms"),
        ({"rtts": [{"region_id": "us-east-1", "ms": 100, "country": "XX"}]}, "rtts.0.country"),
        ({"rtts": [{"region_id": "us-east-1", "ms": 100}]}, "rtts.0.location"),
        ({"rtts": [{"region_id": "us-east-1", "ms": 20_000, "country": "DE"}]}, "rtts.0.ms"),
        (
            {"rtts": [{"region_id": "us-east-1", "ms": 9, "location": {"latitude": 91, "longitude": 0}}]},
            "rtts.0.location.latitude",
        ),
    ],
)
async def test_of_observations_all_are_counted_or_none(wrong: dict[str, Any], field: str) -> None:
    good = {"outcomes": [{"region_id": "eu-west-1", "ok": False}] * 9, "loads": []}
    async with own_server() as (client, _):
        await client.post("/v1/apply", json=world("eu-west-1", "us-east-1"))
        answer = await client.post("/v1/observations", json={**good, **wrong})
        health = (await client.get("/regions/eu-west-1/health")).json()
        load = (await client.get("/regions/us-east-1")).json()["current_capacity"]
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert (health["circuit_breaker"], health["last_checked"], load) == ("closed", None, 0)


# --- looking ----------------------------------------------------------------------------------


async def test_events_are_paged_from_a_number_or_from_the_end() -> None:
    async with own_server() as (client, _):
        for region_id in ("eu-west-1", "us-east-1", "ap-southeast-2"):
            await client.post("/regions", json=region(region_id))
        newest = (await client.get("/v1/events?limit=2")).json()
        first = (await client.get("/v1/events?after=0&limit=2")).json()
        rest = (await client.get(f"/v1/events?after={first['last']}")).json()
        end = (await client.get(f"/v1/events?after={rest['last']}")).json()
    assert [event["seq"] for event in newest["events"]] == [2, 3]
    assert [event["seq"] for event in first["events"]] == [1, 2]
    assert [event["subject"] for event in rest["events"]] == ["ap-southeast-2"]
    assert end == {"events": [], "last": 3}


@pytest.mark.parametrize("query", ["after=-1", "after=1000000000000000", "limit=0", "limit=1001", "after=x"])
async def test_a_page_that_cannot_be_is_refused(query: str) -> None:
    async with own_server() as (client, _):
        answer = await client.get(f"/v1/events?{query}")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "query." + query.partition("=")[0])


async def test_the_log_is_proven_whole_or_the_altered_event_is_named() -> None:
    store = MemoryStore()
    async with running_system(store) as system, in_process(create_app(system, tokens=TOKENS), Role.ADMIN) as client:
        for region_id in ("eu-west-1", "us-east-1"):
            await client.post("/regions", json=region(region_id))
        whole = await client.get("/v1/audit/verify")
        text = (await store.load(event_key(1), limit=1)).entries[event_key(1)].value
        await store.commit({event_key(1): text.replace('"admin"', '"nobody"')})
        broken = await client.get("/v1/audit/verify")
    assert whole.json() == {"events": 2, "valid": True}
    assert (broken.status_code, broken.json()["seq"]) == (409, 2)


async def test_the_status_says_everything_at_a_glance() -> None:
    async with own_server() as (client, _):
        await client.post("/v1/apply", json=world("eu-west-1", "us-east-1"))
        status = (await client.get("/v1/status")).json()
    assert [r["region_id"] for r in status["regions"]] == ["eu-west-1", "us-east-1"]
    assert (status["store"], status["blind"], status["frozen"]) == ({"kind": "memory", "lost": None}, False, None)
    assert (status["regions_by_phase"]["healthy"], status["held"], status["failovers"]["total_failovers"]) == (2, {}, 0)
    assert (status["revision"], status["uptime_s"] >= 0) == (1, True)
