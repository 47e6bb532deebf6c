"""Deployments on the command line, against a real server: begun, followed to their end, taken back, refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.surfaces.cli.client import connect
from mahavishnu.integrations.multi_region.surfaces.cli.progress import _drawn, _Lines
from tests.surfaces.cli_stage import (
    PACKAGE,
    Home,
    Shell,
    all_healthy,
    eventually,
    process_env,
    region_servers,
    running,
    world_text,
)

EAST, WEST, EUROPE, CENTRAL = "us-east-1", "us-west-2", "eu-west-1", "eu-central-1"
QUICK = ("--switch-after", "0s", "--step-after", "0s", "--yes")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A server that watches four real regions."""
    home = Home(tmp_path_factory.mktemp("deployments"))
    world = home.root / "world.yaml"
    with region_servers() as endpoints:
        world.write_text(world_text(endpoints))
        with running(home, "-f", str(world), "--store", "memory") as controller:
            all_healthy(home, controller.url)
            yield Shell(home, controller, world)


def newest(shell: Shell, service: str) -> Any:
    """The newest deployment of a service."""
    return shell.json("deployments", "list", "--service", service)[-1]


@contextmanager
def begun(shell: Shell, *args: str) -> Iterator[subprocess.Popen[str]]:
    """A command in a process of its own, which is gone when the block is left."""
    command = [sys.executable, "-m", PACKAGE, *args, "--server", shell.controller.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=process_env(shell.home)) as process:
        try:
            yield process
        finally:
            process.kill()


def is_at(step: int, found: Any) -> bool:
    return bool(found["strategy"] == "blue-green" and found["step"] == step)


def report(shell: Shell, region: str, service: str, count: int, ok: bool = True) -> None:
    outcomes = [{"region_id": region, "ok": ok, "service": service, "latency_ms": 5}] * count
    with pytest.MonkeyPatch.context() as patch:
        for name, value in shell.home.env.items():
            patch.setenv(name, value)
        connect(shell.controller.url, None).post("/v1/observations", {"outcomes": outcomes})


# --- begin, look --------------------------------------------------------------------------------


def test_active_active_is_begun_and_listed(shell: Shell) -> None:
    said = shell.run("deploy", "active-active", EAST, WEST, "--service", "both", "--yes")
    assert "both-1 (active-active) is serving" in said
    assert f"{EAST} 50 %, {WEST} 50 %" in said
    row = next(line for line in shell.run("deployments", "list").splitlines() if "both-1" in line)
    assert "active-active" in row and "serving" in row and "yes" in row
    decision = shell.json("route", "--service", "both", "--lat", "1", "--lon", "1")
    assert decision["selected_region"] in (EAST, WEST)


def test_active_passive_has_a_primary_and_heirs(shell: Shell) -> None:
    found = shell.json("deploy", "active-passive", WEST, EAST, EUROPE, "--service", "one", "--failback=auto", "--yes")
    assert found["roles"] == {WEST: "active", EAST: "standby", EUROPE: "standby"}
    assert (found["failback"], found["primary"]) == ("auto", WEST)
    assert "standby" in shell.run("deployments", "show", found["deployment_id"])


def test_how_a_lost_region_is_left_is_told_and_shown(shell: Shell) -> None:
    found = shell.json("deploy", "active-passive", WEST, EAST, "--service", "held", "--failover", "manual", "--yes")
    assert (found["failover_strategy"], found["replication_strategy"]) == ("manual", "full")
    refused = shell.run("deploy", "active-passive", WEST, EAST, "--failover", "maybe", "--yes", code=2)
    assert "failover_strategy" in refused


def test_what_is_shown_has_the_history_with_its_reasons(shell: Shell) -> None:
    shell.run("deploy", "active-active", CENTRAL, "--service", "shown", "--yes")
    said = shell.run("deployments", "show", "shown-1")
    for word in ("preparing", "baking", "serving", "all traffic is where it is meant to be"):
        assert word in said


def test_what_a_world_declares_is_listed(shell: Shell, tmp_path: Path) -> None:
    text = shell.world.read_text()
    declared = tmp_path / "declared.yaml"
    declared.write_text(text + f"  - name: mail\n    deployment: {{type: active-passive, regions: [{EAST}, {WEST}]}}\n")
    try:
        shell.run("apply", "-f", str(declared))
        found = newest(shell, "mail")
        assert (found["declared"], found["of_record"], found["roles"][EAST]) == (True, True, "active")
    finally:
        shell.run("apply", "-f", str(shell.world))
    assert newest(shell, "mail")["of_record"] is False


# --- following ----------------------------------------------------------------------------------


def test_a_switch_is_followed_until_it_serves(shell: Shell) -> None:
    shell.run("deploy", "active-active", EAST, "--service", "moved", "--yes")
    said = shell.run("deploy", "blue-green", "--blue", EAST, "--green", WEST, "--service", "moved", "--follow", *QUICK)
    lines = said.splitlines()
    order = [next(i for i, line in enumerate(lines) if line.startswith(f"{state}:")) for state in ("baking", "serving")]
    assert order == sorted(order)
    assert f"moved-2 (blue-green) is serving: all traffic is where it is meant to be; {WEST} 100 %" in lines[-1]


def test_a_rollout_whose_green_fails_is_rolled_back_and_ends_with_1_and_the_reason(shell: Shell) -> None:
    shell.run("deploy", "active-active", EAST, "--service", "bad", "--yes")
    begin = ("deploy", "blue-green", "--blue", EAST, "--green", CENTRAL, "--service", "bad", "--steps", "10,100")
    with begun(shell, *begin, "--min-requests", "4", "--follow", *QUICK) as process:
        eventually(lambda: newest(shell, "bad"), lambda found: found["state"] == "shifting")
        report(shell, CENTRAL, "bad", 2, ok=False)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "held: inconclusive" in said or "shifting: bake over" in said
    assert "bad-2 (blue-green) is rolled back: rolled back: 2 of 2 requests to green failed" in said.splitlines()[-1]
    found = newest(shell, "bad")
    assert (found["state"], found["of_record"]) == ("rolled_back", False)
    report(shell, CENTRAL, "bad", 5)  # so that the region itself is in good standing again


def test_a_rollout_goes_through_its_steps_as_requests_come_in(shell: Shell) -> None:
    shell.run("deploy", "active-active", EAST, "--service", "steps", "--yes")
    begin = ("deploy", "blue-green", "--blue", EAST, "--green", WEST, "--service", "steps", "--steps", "10,50,100")
    with begun(shell, *begin, "--min-requests=3", "--follow", "--json", *QUICK) as process:
        for step in range(3):
            eventually(lambda: newest(shell, "steps"), partial(is_at, step))
            report(shell, WEST, "steps", 3)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    seen = [json.loads(line) for line in said.splitlines()]
    shares = list(dict.fromkeys(one["weights"][WEST] for one in seen))
    assert shares == sorted(shares)
    assert {0.1, 0.5, 1.0} <= set(shares)
    assert (seen[-1]["state"], seen[-1]["settled"]) == ("serving", True)


def test_one_can_join_later_and_follow_a_deployment_that_has_settled(shell: Shell) -> None:
    shell.run("deploy", "active-active", EAST, "--service", "late", "--yes")
    assert "late-1 (active-active) is serving" in shell.run("deployments", "show", "late-1", "--follow")


def test_hold_stops_where_it_is_and_ends_with_1(shell: Shell) -> None:
    shell.run("deploy", "active-active", EAST, "--service", "held", "--yes")
    begin = ("deploy", "blue-green", "--blue", EAST, "--green", WEST, "--service", "held", "--steps", "10,100")
    more = ("--min-requests", "4", "--on-failure", "hold")
    found = shell.json(*begin, *more, *QUICK)
    report(shell, WEST, "held", 2, ok=False)
    said = shell.run("deployments", "show", found["deployment_id"], "--follow", code=1)
    assert "is halted: the new version fails and is held where it is" in said.splitlines()[-1]
    report(shell, WEST, "held", 5)
    assert "rolled back" in shell.run("rollback", found["deployment_id"], "--reason", "enough", "--yes")


# --- taking back, electing ----------------------------------------------------------------------


def test_rollback_puts_the_plan_before_back_and_says_why(shell: Shell) -> None:
    for region in (EAST, WEST):
        shell.run("deploy", "active-active", region, "--service", "undone", "--yes")
    said = shell.run("rollback", "undone-2", "--reason", "the page is blank", "--yes")
    assert "undone-2 (active-active) is rolled back" in said and "the page is blank" in said
    assert newest(shell, "undone")["of_record"] is False
    assert "cannot be rolled back" in shell.run("rollback", "undone-2", "--yes", code=1)


def test_failback_is_refused_where_the_primary_serves(shell: Shell) -> None:
    shell.run("deploy", "active-passive", EAST, WEST, "--service", "home", "--yes")
    assert "serves already" in shell.run("deployments", "failback", "home-1", "--yes", code=1)


def test_a_leader_is_elected_under_a_term_that_grows(shell: Shell) -> None:
    said = shell.run("elect", EAST, WEST, "--election", "jobs")
    assert "leads jobs in term 1" in said
    assert shell.json("elect", EAST, WEST, "--election", "jobs")["term"] == 2


# --- refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("active-active", "us-eest-1"), "did you mean 'us-east-1'"),
        (("active-active", EAST, "--on-failure", "shrug"), "on_failure"),
        (("active-active", EAST, "--max-parallel", "2"), "waves"),
        (("active-passive", EAST, EAST), "each region once"),
        (("active-passive", EAST, WEST, "--failback-after", "soon"), "--failback-after"),
        (("blue-green", "--blue", EAST, "--green", EAST), "regions that are not blue too"),
        (("blue-green", "--blue", EAST, "--green", WEST, "--steps", "50,10,100"), "rise from above 0 to 100"),
        (("blue-green", "--blue", EAST, "--green", WEST, "--steps", "half"), "--steps"),
        (("blue-green", "--blue", EAST, "--green", WEST, "--switch-after", "-1s"), "--switch-after"),
        (("blue-green", "--blue", EAST, "--green", WEST, "--max-errors", "many"), "--max-errors"),
        (("blue-green", "--blue", EAST), "--green"),
    ],
    ids=lambda case: " ".join(case[1:]) if isinstance(case, tuple) else None,
)
def test_bad_input_ends_with_2_and_begins_nothing(shell: Shell, args: tuple[str, ...], said: str) -> None:
    before = len(shell.json("deployments", "list"))
    assert said in shell.run("deploy", *args, "--yes", code=2)
    assert len(shell.json("deployments", "list")) == before


def test_an_unknown_deployment_is_named_with_the_nearest(shell: Shell) -> None:
    shell.run("deploy", "active-active", EAST, "--service", "known", "--yes")
    assert "did you mean 'known-1'" in shell.run("deployments", "show", "known-2", code=2)
    assert "did you mean 'known-1'" in shell.run("rollback", "known-2", "--yes", code=2)


def test_without_an_answer_nothing_is_begun(shell: Shell) -> None:
    before = len(shell.json("deployments", "list"))
    assert "not confirmed" in shell.run("deploy", "active-active", EAST, "--service", "no", input="n\n", code=1)
    assert len(shell.json("deployments", "list")) == before


# --- what is drawn ------------------------------------------------------------------------------

MOVING: dict[str, Any] = {
    "deployment_id": "web-2",
    "service": "web",
    "strategy": "blue-green",
    "state": "shifting",
    "held": "inconclusive: 3 requests to green, 50 are needed",
    "weights": {EAST: 0.9, WEST: 0.1},
    "roles": {EAST: "blue", WEST: "green"},
    "runs": {WEST: {"state": "succeeded", "at": 1.0, "attempt": 1, "detail": ""}},
    "undo": {},
    "history": [{"at": 1.0, "state": "shifting", "why": "10 % to green"}],
}


def test_the_picture_has_a_bar_for_each_region_and_the_reason() -> None:
    from io import StringIO

    from rich.console import Console

    console = Console(file=StringIO(), width=100, record=True)
    console.print(_drawn(MOVING))
    text = console.export_text()
    for word in ("web-2", "shifting", EAST, "90 %", WEST, "10 %", "green", "succeeded", "held: inconclusive"):
        assert word in text


def test_figures_that_grow_are_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    lines = _Lines()
    for count in (3, 7, 12):
        lines.show({**MOVING, "held": f"inconclusive: {count} requests to green, 50 are needed"})
    lines.show({**MOVING, "held": None})
    lines.show({**MOVING, "held": f"{WEST} is down"})
    assert capsys.readouterr().out.splitlines() == [
        "shifting: 10 % to green",
        f"{WEST}: succeeded",
        "held: inconclusive: 3 requests to green, 50 are needed",
        f"held: {WEST} is down",
    ]
