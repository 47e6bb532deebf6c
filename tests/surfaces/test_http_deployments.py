"""Deployments and elections over HTTP: begun, looked at, taken back, refused; and that requests go by them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from mahavishnu.integrations.multi_region.ports.executor import ScriptedExecutor
from mahavishnu.integrations.multi_region.settings import PREFIX, load_settings
from mahavishnu.integrations.multi_region.surfaces.http.auth import Role
from mahavishnu.integrations.multi_region.surfaces.http.server import create_app
from mahavishnu.integrations.multi_region.system import create_multi_region_system, open_executor
from tests.surfaces.http_served import TOKENS, in_process, own_server, region, running_system, world

EAST, WEST, EUROPE = "us-east-1", "us-west-2", "eu-west-1"
AT = "/v1/deployments"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with own_server() as (client, _):
        for region_id in (EAST, WEST, EUROPE):
            (await client.post("/regions", json=region(region_id))).raise_for_status()
        yield client


async def ask(client: httpx.AsyncClient, path: str, status: int = 200, **body: Any) -> Any:
    answer = await client.post(path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


async def active_active(client: httpx.AsyncClient, *regions: str, service: str = "web") -> Any:
    return await ask(client, f"{AT}/active-active", 201, regions=list(regions), service=service)


async def sent_to(client: httpx.AsyncClient, service: str = "web") -> str:
    answer = await ask(client, "/route", request_context={"service": service})
    return str(answer["selected_region"])


# --- beginning and looking ----------------------------------------------------------------------


async def test_an_active_active_deployment_is_begun_listed_and_shown(client: httpx.AsyncClient) -> None:
    made = await active_active(client, EAST, WEST)
    assert (made["deployment_id"], made["state"], made["settled"]) == ("web-1", "serving", True)
    assert (made["of_record"], made["declared"], made["held"]) == (True, False, None)
    assert (made["weights"], made["roles"]) == ({EAST: 0.5, WEST: 0.5}, {EAST: "active", WEST: "active"})
    assert [line["state"] for line in made["history"]] == ["preparing", "baking", "shifting", "serving"]
    assert "admin" in made["history"][0]["why"]
    assert (await client.get(AT)).json() == [made]
    assert (await client.get(f"{AT}/web-1")).json() == made


async def test_deployments_are_listed_by_service(client: httpx.AsyncClient) -> None:
    await active_active(client, EAST)
    await active_active(client, WEST, service="api")
    found = (await client.get(AT, params={"service": "api"})).json()
    assert [one["deployment_id"] for one in found] == ["api-1"]


async def test_of_active_passive_the_primary_serves(client: httpx.AsyncClient) -> None:
    body = {"primary": WEST, "backups": [EAST, EUROPE], "service": "web", "failback": "auto", "failback_after": 5}
    made = await ask(client, f"{AT}/active-passive", 201, **body)
    assert made["roles"] == {WEST: "active", EAST: "standby", EUROPE: "standby"}
    assert (made["primary"], made["failback"]) == (WEST, "auto")
    assert await sent_to(client) == WEST


async def test_blue_green_says_its_steps_and_what_it_waits_for(client: httpx.AsyncClient) -> None:
    await active_active(client, EAST)
    body = {"blue_regions": [EAST], "green_regions": [WEST], "service": "web", "switch_after": 0, "steps": [10, 100]}
    made = await ask(client, f"{AT}/blue-green", 201, **body, step_after=0, gates={"min_requests": 3})
    assert (made["state"], made["steps"], made["step"], made["of_record"]) == ("shifting", [10, 100], 0, True)
    assert made["weights"] == {EAST: 0.9, WEST: 0.1}
    assert made["supersedes"] == "web-1"
    assert "0 requests to green, 3 are needed" in made["held"]


async def test_a_rollout_goes_on_by_what_is_reported_of_its_service(client: httpx.AsyncClient) -> None:
    await active_active(client, EAST)
    body = {"blue_regions": [EAST], "green_regions": [WEST], "service": "web", "switch_after": 0, "steps": [10, 100]}
    made = await ask(client, f"{AT}/blue-green", 201, **body, step_after=0, gates={"min_requests": 3})
    of_others = [{"region_id": WEST, "ok": True, "service": "api"}] * 3
    of_its_own = [{"region_id": WEST, "ok": True, "service": "web"}] * 3
    await ask(client, "/v1/observations", outcomes=of_others)
    system = app_of(client).state.system
    await system.orchestrator.rollouts.turn()
    assert (await client.get(f"{AT}/{made['deployment_id']}")).json()["step"] == 0
    await ask(client, "/v1/observations", outcomes=of_its_own)
    await system.orchestrator.rollouts.turn()
    assert (await client.get(f"{AT}/{made['deployment_id']}")).json()["step"] == 1


def app_of(client: httpx.AsyncClient) -> FastAPI:
    transport = client._transport
    assert isinstance(transport, httpx.ASGITransport)
    assert isinstance(transport.app, FastAPI)
    return transport.app


# --- taking back --------------------------------------------------------------------------------


async def test_a_rollback_puts_the_plan_before_back(client: httpx.AsyncClient) -> None:
    await active_active(client, EAST)
    await active_active(client, WEST)
    assert await sent_to(client) == WEST
    back = await ask(client, f"{AT}/web-2/rollback", reason="the page is blank", by="ada")
    assert (back["state"], back["of_record"]) == ("rolled_back", False)
    assert "the page is blank" in back["history"][-2]["why"]
    assert await sent_to(client) == EAST
    events = (await client.get("/v1/events", params={"limit": 1000})).json()["events"]
    assert any(e["actor"] == "ada (admin)" and e["subject"] == "web-2" for e in events)


async def test_a_second_rollback_is_refused_with_the_rule(client: httpx.AsyncClient) -> None:
    await active_active(client, EAST)
    await active_active(client, WEST)
    await ask(client, f"{AT}/web-2/rollback")
    refused = await ask(client, f"{AT}/web-2/rollback", 409)
    assert refused["rule"] == "not_reversible"


async def test_failback_hands_the_service_back_to_its_primary(client: httpx.AsyncClient) -> None:
    await ask(client, f"{AT}/active-passive", 201, primary=EAST, backups=[WEST], service="web")
    at_home = await ask(client, f"{AT}/web-1/failback", 409)
    assert at_home["rule"] == "at_home"
    system = app_of(client).state.system
    system.region_manager.regions[EAST].health_score = 0
    await system.orchestrator.rollouts.turn()
    assert await sent_to(client) == WEST
    system.region_manager.regions[EAST].health_score = 95
    back = await ask(client, f"{AT}/web-1/failback", reason="the rack is new")
    assert back["roles"] == {EAST: "active", WEST: "standby"}
    assert await sent_to(client) == EAST


# --- elections ----------------------------------------------------------------------------------


async def test_an_election_names_the_leader_under_a_term_that_grows(client: httpx.AsyncClient) -> None:
    first = await ask(client, "/v1/elections/jobs", regions=[EAST, WEST])
    second = await ask(client, "/v1/elections/jobs", regions=[EAST, WEST])
    assert first["leader"] in (EAST, WEST)
    assert (first["election"], first["term"], second["term"]) == ("jobs", 1, 2)
    assert "health score" in first["reason"]


async def test_without_a_candidate_in_service_nobody_leads(client: httpx.AsyncClient) -> None:
    await ask(client, f"/v1/regions/{EAST}/drain", reason="racks")
    refused = await ask(client, "/v1/elections/jobs", 503, regions=[EAST])
    assert refused["reasons"] == {EAST: "is healthy, drained"}


# --- refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("active-active", {"regions": []}, "regions"),
        ("active-active", {"regions": ["us-eest-1"]}, "region_id"),
        ("active-active", {"regions": [EAST, EAST]}, "regions"),
        ("active-active", {"regions": [EAST], "waves": {}}, "waves"),
        ("active-active", {"regions": [EAST], "region": EAST}, "region"),
        ("active-active", {"regions": [EAST], "on_failure": "shrug"}, "on_failure"),
        ("active-active", {"regions": [EAST], "service": "  "}, "service"),
        ("active-active", {"regions": [EAST], "replication_strategy": "most"}, "replication_strategy"),
        ("active-passive", {"primary": EAST, "backups": [EAST]}, "primary"),
        ("active-passive", {"primary": EAST, "backups": []}, "backups"),
        ("active-passive", {"primary": EAST, "backups": [WEST], "failback_after": -1}, "failback_after"),
        ("blue-green", {"blue_regions": [EAST], "green_regions": [EAST]}, "green_regions"),
        ("blue-green", {"blue_regions": [EAST]}, "green_regions"),
        ("blue-green", {"blue_regions": [EAST], "green_regions": [WEST], "switch_after": -1}, "switch_after"),
        ("blue-green", {"blue_regions": [EAST], "green_regions": [WEST], "steps": [50, 10, 100]}, "steps"),
        ("blue-green", {"blue_regions": [EAST], "green_regions": [WEST], "steps": [1, 50]}, "steps"),
        ("blue-green", {"blue_regions": [EAST], "green_regions": [WEST], "gates": {"max_error_rate": 2}}, "gates"),
    ],
)
async def test_bad_input_names_the_field_and_begins_nothing(
    client: httpx.AsyncClient, path: str, body: dict[str, Any], field: str
) -> None:
    refused = await ask(client, f"{AT}/{path}", 422, **body)
    assert refused["errors"][0]["field"].split(".")[0] == field
    assert (await client.get(AT)).json() == []


@pytest.mark.parametrize("path", ["web-2", "web-2/rollback", "web-2/failback"])
async def test_an_unknown_deployment_is_404_with_the_nearest(client: httpx.AsyncClient, path: str) -> None:
    await active_active(client, EAST)
    act = client.post(f"{AT}/{path}", json={}) if "/" in path else client.get(f"{AT}/{path}")
    answer = await act
    assert answer.status_code == 404
    assert "did you mean 'web-1'" in answer.json()["detail"]


@pytest.mark.parametrize(
    "path", [f"{AT}/active-active", f"{AT}/active-passive", f"{AT}/blue-green", f"{AT}/x/rollback", "/v1/elections/x"]
)
async def test_who_may_only_look_begins_nothing(path: str) -> None:
    async with own_server(Role.VIEWER) as (client, _):
        assert (await client.post(path, json={})).status_code == 403
        assert (await client.get(AT)).json() == []


# --- declared -----------------------------------------------------------------------------------


async def test_what_a_world_declares_is_of_record_when_apply_answers() -> None:
    def declared(*regions: str) -> dict[str, Any]:
        deployment = {"type": "active-passive", "regions": list(regions)}
        return world(EAST, WEST, services=[{"name": "web", "deployment": deployment}])

    async with own_server() as (client, _):
        await ask(client, "/v1/apply", **declared(WEST, EAST))
        (found,) = (await client.get(AT)).json()
        assert (found["deployment_id"], found["of_record"], found["declared"]) == ("web-1", True, True)
        assert await sent_to(client) == WEST
        await ask(client, "/v1/apply", **declared(EAST, WEST))
        assert await sent_to(client) == EAST
        await ask(client, "/v1/apply", **world(EAST, WEST))
        answer = await client.post("/route", json={"request_context": {"service": "web"}})
        assert answer.status_code == 422


async def test_a_dry_run_takes_nothing_up() -> None:
    async with own_server() as (client, _):
        service = {"name": "web", "deployment": {"type": "active-active", "regions": [EAST]}}
        await ask(client, "/v1/apply?dry_run=true", **world(EAST, services=[service]))
        assert (await client.get(AT)).json() == []


async def test_a_service_that_is_put_and_removed_takes_its_deployment_with_it(client: httpx.AsyncClient) -> None:
    body = {"deployment": {"type": "active-active", "regions": [WEST]}}
    (await client.put("/v1/services/web", json=body)).raise_for_status()
    assert await sent_to(client) == WEST
    (await client.delete("/v1/services/web")).raise_for_status()
    (found,) = (await client.get(AT)).json()
    assert (found["of_record"], found["declared"], found["state"]) == (False, False, "rolled_back")


async def test_a_switch_cannot_be_declared(client: httpx.AsyncClient) -> None:
    answer = await client.put("/v1/services/web", json={"deployment": {"type": "blue-green", "regions": [WEST]}})
    assert answer.status_code == 422
    assert "multi-region deploy blue-green" in answer.json()["detail"]


# --- the system ---------------------------------------------------------------------------------


async def test_the_system_unpacks_into_three_and_has_the_rest() -> None:
    async with running_system() as system:
        manager, router, handler = system
        assert (system.region_manager, system.router, system.failure_handler) == (manager, router, handler)
        assert system.orchestrator.region_manager is manager
        assert system.optimizer is handler.data_optimizer


async def test_an_executor_does_the_work_in_regions() -> None:
    executor = ScriptedExecutor()
    async with running_system(executor=executor) as system:
        app = create_app(system, tokens=TOKENS)
        async with in_process(app, Role.ADMIN) as client:
            for region_id in (EAST, WEST):
                (await client.post("/regions", json=region(region_id))).raise_for_status()
            waves = {"groups": [[EAST], [WEST]]}
            body = {"regions": [EAST, WEST], "service": "web", "waves": waves}
            made = await ask(client, f"{AT}/active-active", 201, **body)
            await system.orchestrator.get_deployment(made["deployment_id"]).settled(30)
            found = (await client.get(f"{AT}/{made['deployment_id']}")).json()
    assert {region_id: run["state"] for region_id, run in found["runs"].items()} == {
        EAST: "succeeded",
        WEST: "succeeded",
    }
    assert [task.region_id for task in executor.tasks] == [EAST, WEST]


def test_the_settings_name_the_executor() -> None:
    webhook = {"EXECUTOR_WEBHOOK": "https://deploy.example.test", "EXECUTOR_SECRET": "0123456789abcdef"}
    cases: list[tuple[dict[str, str], str]] = [
        ({}, "NoneType"),
        ({"EXECUTOR_COMMAND": "deploy --now"}, "CommandExecutor"),
        (webhook, "WebhookExecutor"),
    ]
    for given, kind in cases:
        settings = load_settings({PREFIX + name: text for name, text in given.items()})
        assert type(open_executor(settings)).__name__ == kind


async def test_a_command_of_the_settings_is_run_for_a_deployment(tmp_path: Any) -> None:
    said = tmp_path / "said"
    command = f"sh -c 'echo $MULTI_REGION_SERVICE $MULTI_REGION_REGION_ID >> {said}'"
    settings = load_settings({PREFIX + "EXECUTOR_COMMAND": command})
    system = await create_multi_region_system(settings)
    try:
        app = create_app(system, tokens=TOKENS)
        async with in_process(app, Role.ADMIN) as client:
            (await client.post("/regions", json=region(EAST))).raise_for_status()
            made = await active_active(client, EAST)
            await system.orchestrator.get_deployment(made["deployment_id"]).settled(30)
    finally:
        await system.close()
    assert said.read_text() == f"web {EAST}\n"


async def test_how_a_lost_region_is_left_is_asked_for_shown_and_held_to(client: httpx.AsyncClient) -> None:
    body = {"primary": EAST, "backups": [WEST], "service": "web"}
    asked = {"failover_strategy": "manual", "replication_strategy": "partial"}
    made = await ask(client, f"{AT}/active-passive", 201, **body, **asked)
    assert {name: made[name] for name in asked} == asked
    plain = await active_active(client, EAST, service="api")
    assert (plain["failover_strategy"], plain["replication_strategy"]) == ("automatic", "full")


async def test_an_active_active_waits_for_nobody(client: httpx.AsyncClient) -> None:
    problem = await ask(client, f"{AT}/active-active", 422, regions=[EAST], failover_strategy="manual")
    assert problem["errors"][0]["field"] == "failover_strategy"
    assert "serve on without a failover" in problem["detail"]
