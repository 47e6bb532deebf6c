"""The command line against a real server: ``multi-region serve`` in a process, regions that answer over HTTP."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.surfaces.cli_stage import (
    DEADLINE_S,
    PACKAGE,
    REGIONS,
    Controller,
    Home,
    Shell,
    all_healthy,
    eventually,
    process_env,
    region_servers,
    running,
    world_text,
)

pytestmark = pytest.mark.slow
BERLIN = ("--lat", "52.5", "--lon", "13.4")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, Controller, Path]]:
    """One server for this module, its user and its world file; each test leaves it as it found it."""
    home = Home(tmp_path_factory.mktemp("home"))
    world = home.root / "world.yaml"
    with region_servers() as urls:
        world.write_text(world_text(urls))
        with running(home, "-f", str(world)) as controller:
            all_healthy(home, controller.url)
            yield home, controller, world


@pytest.fixture
def shell(stage: tuple[Home, Controller, Path]) -> Shell:
    """Commands to this module's server."""
    return Shell(*stage)


# --- serve --------------------------------------------------------------------------------------


def test_the_first_lines_are_the_worlds_difference_and_then_where_it_listens(shell: Shell) -> None:
    text = "\n".join(shell.controller.said)
    assert all(re.search(rf"add +regions/{region_id}", text) for region_id in REGIONS)
    assert shell.controller.said[-1] == f"listening on {shell.controller.url}"


def test_the_pass_of_a_running_server_is_its_users_alone(shell: Shell) -> None:
    path = shell.home.root / "run" / "multi-region" / f"server-{shell.controller.port}.json"
    assert path.stat().st_mode & 0o777 == 0o600


def test_without_the_pass_nothing_can_be_changed(shell: Shell, tmp_path: Path) -> None:
    stranger = Home(tmp_path)
    url = shell.controller.url
    assert stranger.cli("status", "--server", url).exit_code == 0
    result = stranger.cli("drain", "us-east-1", "--yes", "--server", url)
    assert (result.exit_code, "a token is needed" in result.stderr) == (1, True)
    result = stranger.cli("drain", "us-east-1", "--yes", "--server", url, "--token", "wrong")
    assert (result.exit_code, "not known" in result.stderr) == (1, True)
    assert shell.region("us-east-1")["admin"] == "active"


# --- look ---------------------------------------------------------------------------------------


def test_regions_are_listed_and_shown(shell: Shell) -> None:
    assert {region["region_id"] for region in shell.json("regions", "list", "--healthy")} == set(REGIONS)
    assert all(region_id in shell.run("regions", "list") for region_id in REGIONS)
    shown = shell.json("regions", "show", "eu-west-1")
    assert (shown["region"]["country"], shown["health"]["status"]) == ("IE", "healthy")
    assert re.search(r"^phase +healthy$", shell.run("regions", "show", "eu-west-1"), re.MULTILINE)


def test_a_region_that_is_not_there_is_bad_input_with_the_nearest(shell: Shell) -> None:
    assert "did you mean 'eu-west-1'" in shell.run("regions", "show", "eu-west-9", code=2)


def test_services_and_policies_are_listed_and_shown(shell: Shell) -> None:
    assert {service["name"] for service in shell.json("services", "list")} == {"web", "accounts"}
    assert shell.json("services", "show", "accounts")["policy"] == "gdpr"
    assert "www.example.test" in shell.run("services", "list")
    assert "eu-central-1" in shell.run("policies", "list")
    assert shell.json("policies", "show", "gdpr")["allowed_regions"] == ["eu-west-1", "eu-central-1"]
    assert "gdpr" in shell.run("policies", "show", "gdpr")


def test_status_shows_every_region_in_a_row(shell: Shell) -> None:
    text = shell.run("status")
    assert all(re.search(rf"^{region_id} +healthy +\d+ +\d", text, re.MULTILINE) for region_id in REGIONS)
    assert "4 healthy" in text


# --- route --------------------------------------------------------------------------------------


def test_a_request_goes_to_the_nearest_region(shell: Shell) -> None:
    assert shell.json("route", *BERLIN)["selected_region"] == "eu-central-1"
    text = shell.run("route", *BERLIN)
    assert "Selected eu-central-1 for lowest latency" in text
    assert "round trip  est. " in text
    assert len(shell.json("route", *BERLIN, "--candidates", "1")["candidates"]) == 1
    assert shell.run("route", *BERLIN, "--candidates", "1").count("est. ") == 2
    text = shell.run("route", *BERLIN, "--candidates", "2")
    assert [text.count(column) for column in ("candidate", "est. ", "then")] == [1, 3, 0]
    assert "unknown" in shell.run("route")
    assert "GEOIP_DATABASE" in shell.run("route", "--ip", "203.0.113.9", code=2)
    assert shell.json("route", "--country", "us", "--strategy", "latency_based")["selected_region"].startswith("us-")


def test_explain_gives_the_reason_for_every_region_and_counts_nothing(shell: Shell) -> None:
    before = shell.json("status")["routing"]["total_decisions"]
    text = shell.run("route", *BERLIN, "--service", "accounts", "--require", "gdpr", "--explain")
    assert re.search(r"^eu-central-1 +yes +selected", text, re.MULTILINE)
    assert re.search(r"^us-east-1 +no +lacks gdpr", text, re.MULTILINE)
    assert re.search(r"^eu-west-1 +yes +choice 2 +est\. \d+ ms", text, re.MULTILINE)
    assert "unknown" in shell.run("route", "--explain")
    said = shell.json("route", *BERLIN, "--explain")
    assert said["decision"]["selected_region"] == "eu-central-1"
    assert [region["estimate_ms"] > 0 for region in said["eligible"]] == [True] * len(REGIONS)
    assert shell.json("status")["routing"]["total_decisions"] == before


def test_a_request_that_no_region_may_serve_is_refused_with_the_reasons(shell: Shell) -> None:
    assert "eu-west-1 lacks hipaa" in shell.run("route", "--require", "hipaa", code=1)
    problem = shell.json("route", "--require", "hipaa", code=1)
    assert problem["rule"] == "policy_bound_exhaustion"
    assert problem["reasons"]["us-east-1"] == "lacks hipaa"
    assert shell.json("route", "--require", "hipaa", "--explain", code=1)["decision"] is None
    assert "refused: no region may serve" in shell.run("route", "--require", "hipaa", "--explain", code=1)


@pytest.mark.parametrize("args", [("--lat", "952", "--lon", "0"), ("--strategy", "best"), ("--require", "gdrp")])
def test_a_request_that_makes_no_sense_is_bad_input(shell: Shell, args: tuple[str, ...]) -> None:
    assert "allowed: " in shell.run("route", *args, code=2)


# --- act ----------------------------------------------------------------------------------------


def test_a_failover_shows_its_plan_asks_and_is_given_back(shell: Shell) -> None:
    refused = shell.run("failover", "eu-west-1", input="n\n", code=1)
    assert re.search(r"^eu-central-1 +100 %", refused, re.MULTILINE)
    assert shell.region("eu-west-1")["failed_over"] is None
    agreed = shell.run("failover", "eu-west-1", "eu-central-1", "--reason", "a drill", input="y\n")
    assert "eu-west-1 is failed over to eu-central-1 100 %" in agreed
    failure = shell.region("eu-west-1")["failed_over"]
    assert (failure["cause"], failure["reason"]) == ("operator", "a drill")
    assert "failed over by" in shell.run("status")
    assert "has its traffic back" in shell.run("recover", "eu-west-1", "--yes")
    assert shell.region("eu-west-1")["failed_over"] is None


def test_a_dry_run_plans_and_changes_nothing(shell: Shell) -> None:
    plan = shell.json("failover", "us-east-1", "--dry-run")
    assert (plan["dry_run"], list(plan["shares"])) == (True, [plan["to_region"]])
    assert shell.region("us-east-1")["failed_over"] is None


def test_a_failover_that_law_forbids_is_refused_with_the_reason(shell: Shell) -> None:
    assert "lacks gdpr" in shell.run("failover", "eu-west-1", "us-east-1", "--yes", code=1)
    problem = shell.json("failover", "eu-west-1", "us-east-1", "--yes", code=1)
    assert (problem["rule"], problem["reasons"]) == ("target", {"us-east-1": "lacks gdpr"})


def test_an_override_lifts_one_rule_for_once_and_stands_in_the_log(shell: Shell) -> None:
    shell.run("drain", "eu-west-1", "--yes")
    assert "could serve accounts" in shell.run("drain", "eu-central-1", "--yes", code=1)
    glass = ("--override", "empty_service", "--expires", "10m", "--reason", "the building is on fire")
    shell.run("drain", "eu-central-1", "--yes", *glass)
    used = [event for event in shell.json("events") if event["kind"] == "override.used"]
    assert used[-1]["reason"] == "the building is on fire"
    for region_id in ("eu-west-1", "eu-central-1"):
        shell.run("undrain", region_id, "--yes")


def test_a_drain_is_lifted_by_undrain_alone(shell: Shell) -> None:
    shell.run("drain", "us-west-2", "--reason", "new racks", "--yes")
    region = shell.region("us-west-2")
    assert (region["admin"], region["drain"]["reason"]) == ("drained", "new racks")
    assert "us-west-2" not in [region["region_id"] for region in shell.json("route", *BERLIN)["candidates"]]
    assert "was not failed over" in shell.run("recover", "us-west-2", "--yes", code=1)
    shell.run("undrain", "us-west-2", "--yes")
    assert shell.region("us-west-2")["admin"] == "active"
    assert "is not drained" in shell.run("undrain", "us-west-2", "--yes", code=1)


def test_automation_is_frozen_and_unfrozen(shell: Shell) -> None:
    shell.run("freeze", "--reason", "looking into it", "--yes")
    assert "automation is frozen" in shell.run("status")
    shell.run("unfreeze", "--yes")
    assert shell.json("status")["frozen"] is None


# --- declare ------------------------------------------------------------------------------------


def test_a_dry_run_of_apply_shows_the_difference_and_changes_nothing(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "wider.yaml"
    file.write_text(shell.world.read_text().replace("max_capacity: 1000", "max_capacity: 1200", 1))
    text = shell.run("apply", "-f", str(file), "--dry-run")
    assert re.search(r"update +regions/us-east-1 +capabilities.max_capacity +1000.*1200", text)
    changes = shell.json("apply", "-f", str(file), "--dry-run")
    assert [(change["kind"], change["key"], change["fields"]) for change in changes] == [
        ("update", "regions/us-east-1", ["capabilities"])
    ]
    assert shell.region("us-east-1")["max_capacity"] == 1000


def test_apply_makes_the_file_the_intent_and_a_second_time_changes_nothing(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "smaller.yaml"
    file.write_text(shell.world.read_text().replace("  - {name: web, hosts: [www.example.test]}\n", ""))
    assert re.search(r"remove +services/web", shell.run("apply", "-f", str(file)))
    assert shell.run("apply", "-f", str(file)) == "no change\n"
    assert [change["kind"] for change in shell.json("apply", "-f", str(shell.world))] == ["add"]


def test_a_region_is_added_and_removed(shell: Shell) -> None:
    endpoint = shell.json("regions", "show", "us-east-1")["region"]["endpoint"]
    args = (
        "regions",
        "add",
        "ca-central-1",
        "--endpoint",
        endpoint,
        "--max-capacity",
        "50",
        "--health-path",
        "/healthz",
    )
    assert shell.run(*args) == "ca-central-1 is registered\n"
    assert shell.json("regions", "show", "ca-central-1")["region"]["country"] == "CA"
    assert "region_id: 'ca-central-1' is not allowed" in shell.run(*args, code=2)
    shell.run("regions", "rm", "ca-central-1", "--yes")
    shell.run("regions", "show", "ca-central-1", code=2)


def test_a_service_is_removed(shell: Shell) -> None:
    assert shell.json("services", "rm", "web", "--yes") == {"removed": "web"}
    shell.run("services", "show", "web", code=2)
    shell.run("apply", "-f", str(shell.world))


# --- events -------------------------------------------------------------------------------------


def test_events_are_the_newest_or_those_after_a_number(shell: Shell) -> None:
    newest = shell.json("events", "--limit", "2")
    first = shell.json("events", "--after", "0", "--limit", "2")
    assert [event["seq"] for event in first] == [1, 2]
    assert newest[1]["seq"] == newest[0]["seq"] + 1 > 2
    assert first[0]["kind"] in shell.run("events", "--after", "0", "--limit", "1")


def test_following_shows_what_comes(shell: Shell) -> None:
    command = [sys.executable, "-m", PACKAGE, "events", "--follow", "--limit", "1", "--json"]
    process = subprocess.Popen(
        [*command, "--server", shell.controller.url], env=process_env(shell.home), stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        before = json.loads(process.stdout.readline())
        shell.run("freeze", "--reason", "to be seen", "--yes")
        seen = [json.loads(process.stdout.readline())]
        while seen[-1]["reason"] != "to be seen":
            seen.append(json.loads(process.stdout.readline()))
        assert [event["seq"] for event in seen] == list(range(before["seq"] + 1, before["seq"] + 1 + len(seen)))
    finally:
        process.kill()
        process.communicate(timeout=DEADLINE_S)
    shell.run("unfreeze", "--yes")


def test_the_log_is_proven_whole_by_the_server_and_from_its_file(shell: Shell) -> None:
    assert shell.json("audit", "verify")["valid"] is True
    file = shell.home.root / "state" / "multi-region" / "multi-region.db"
    proven = shell.json("audit", "verify", "--store", str(file))
    assert proven["events"] == shell.json("events", "--limit", "1")[0]["seq"]


# --- doctor -------------------------------------------------------------------------------------


def test_doctor_finds_a_running_system_sound(shell: Shell) -> None:
    eventually(lambda: shell.region("us-east-1")["phase"], lambda phase: phase == "healthy")
    checks = {check["name"]: check for check in shell.json("doctor", "-f", str(shell.world))}
    assert {name: checks[name]["level"] for name in ("server", "token", "store", "clocks", "region eu-west-1")} == {
        "server": "ok",
        "token": "ok",
        "store": "ok",
        "clocks": "ok",
        "region eu-west-1": "ok",
    }
    assert checks["token"]["text"] == "accepted, role admin"


def test_doctor_finds_a_token_that_the_server_does_not_know(shell: Shell) -> None:
    checks = {check["name"]: check for check in shell.json("doctor", "--token", "wrong", code=1)}
    assert (checks["token"]["level"], "does not know" in checks["token"]["text"]) == ("fail", True)


# --- the spec's own requests ----------------------------------------------------------------------

BODY = '{"request_context": {"user_location": {"latitude": 52.5, "longitude": 13.4}}, "strategy": "latency_based"}'


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/regions?healthy_only=true", None),
        ("/regions/us-east-1", "region_id"),
        ("/regions/us-east-1/health", "health_score"),
        ("/stats", "regions"),
    ],
)
def test_the_specs_requests_are_answered(shell: Shell, path: str, key: str | None) -> None:
    answer = _curl(f"http://localhost:{shell.controller.port}{path}")
    assert len(answer) >= 3 if key is None else key in answer


def test_the_specs_request_to_be_routed_is_answered(shell: Shell) -> None:
    answer = _curl(f"http://localhost:{shell.controller.port}/route", BODY)
    assert answer["selected_region"] == "eu-central-1"
    assert answer["reasoning"] == "Selected eu-central-1 for lowest latency"


def _curl(url: str, body: str | None = None) -> Any:
    """The answer as the spec's page asks for it: with curl where it is installed, else with the library."""
    if shutil.which("curl") is None:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(url, None if body is None else body.encode(), headers)
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as response:
            return json.load(response)
    post = [] if body is None else ["-X", "POST", "-H", "Content-Type: application/json", "-d", body]
    command = ["curl", "--silent", "--show-error", "--fail", "--noproxy", "*", *post, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
