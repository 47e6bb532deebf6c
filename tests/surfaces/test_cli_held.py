"""A service that nobody but a person moves off a lost region: `status` and `doctor` say so, and how it goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from mahavishnu.integrations.multi_region.surfaces.cli.status import alarms
from mahavishnu.integrations.multi_region.surfaces.http.auth import Role
from tests.surfaces.cli_stage import Home, eventually
from tests.surfaces.http_served import bearer, served, world

EAST, WEST = "us-east-1", "us-west-2"
WAITING = f"{EAST} is down; failover is manual"
QUIET: dict[str, Any] = {
    "store": {"kind": "memory", "lost": None},
    "blind": False,
    "frozen": None,
    "regions": [],
    "held": {},
    "held_deployments": [],
}


@dataclass(frozen=True)
class Stage:
    """Commands to one server, and requests to it."""

    home: Home
    url: str
    token: str

    def run(self, *args: str, code: int = 0) -> str:
        """What a command prints, standard error included; it must end with ``code``."""
        result = self.home.cli(*args, "--server", self.url, "--token", self.token)
        assert result.exit_code == code, result.output
        return result.output

    def post(self, path: str, body: object) -> None:
        """One request that must do."""
        headers = {"Authorization": f"Bearer {self.token}"}
        httpx.post(f"{self.url}{path}", json=body, headers=headers).raise_for_status()

    def status(self) -> Any:
        """What the server says of everything."""
        return json.loads(self.run("status", "--json"))


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with served() as server:
        token = bearer(Role.ADMIN)["Authorization"].removeprefix("Bearer ")
        stage = Stage(Home(tmp_path), server.url, token)
        stage.post("/v1/apply", world(EAST, WEST))
        yield stage


def dies(stage: Stage, region_id: str) -> None:
    """Real requests to a region fail until it is out of service."""
    outcomes = [{"region_id": region_id, "ok": False, "latency_ms": 5}] * 10
    stage.post("/v1/observations", {"outcomes": outcomes})
    eventually(stage.status, lambda found: found["regions"][0]["phase"] == "down")


@pytest.mark.slow
def test_a_service_that_waits_for_a_person_is_told_of_with_the_remedy_which_ends_it(stage: Stage) -> None:
    stage.run("deploy", "active-passive", EAST, WEST, "--service", "web", "--failover", "manual", "--yes")
    assert stage.status()["held_deployments"] == []
    assert "web" not in stage.run("status")
    dies(stage, EAST)
    (held,) = eventually(stage.status, lambda found: bool(found["held_deployments"]))["held_deployments"]
    assert (held["deployment_id"], held["service"], held["waits_for_a_person"]) == ("web-1", "web", True)
    assert held["active"] == [EAST]
    assert f"attention: service web waits for you: {held['held']}" in " ".join(stage.run("status").split())
    checks = json.loads(stage.run("doctor", "--json", code=1))
    (found,) = [check for check in checks if "waits for you" in check["text"]]
    assert (found["level"], found["remedy"]) == ("fail", f"multi-region failover {EAST}")
    stage.run(*found["remedy"].split()[1:], "--reason", "it does not come back", "--yes")
    eventually(stage.status, lambda status: status["held_deployments"] == [])
    assert "waits for you" not in stage.run("status")


def test_a_service_that_waits_for_something_else_is_not_said_to_wait_for_a_person() -> None:
    waits = {"deployment_id": "web-1", "service": "web", "held": WAITING, "active": [EAST], "waits_for_a_person": True}
    other = {**waits, "service": "api", "held": "inconclusive", "waits_for_a_person": False}
    assert list(alarms({**QUIET, "held_deployments": [waits, other]})) == [
        f"service web waits for you: {WAITING}",
        "service api is held: inconclusive",
    ]
    assert list(alarms(QUIET)) == []


def test_how_a_lost_region_is_left_is_shown_with_the_deployment(stage: Stage) -> None:
    stage.run("deploy", "active-passive", EAST, WEST, "--service", "web", "--failover", "manual", "--yes")
    shown = [line.split() for line in stage.run("deployments", "show", "web-1").splitlines()]
    assert ["failover", "manual"] in shown
