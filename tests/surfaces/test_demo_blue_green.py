"""The blue-green demo: its sums as tables, and whole runs, one good and one whose new version is bad."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from io import StringIO
from typing import Any

import aiohttp
import pytest
from rich.console import Console
from typer.testing import CliRunner

from mahavishnu.integrations.multi_region.core.model import DeploymentType
from mahavishnu.integrations.multi_region.surfaces.cli.main import app
from mahavishnu.integrations.multi_region.surfaces.demo.controller import Rollout, Step
from mahavishnu.integrations.multi_region.surfaces.demo.drawing import as_svg
from mahavishnu.integrations.multi_region.surfaces.demo.faults import BAD_VERSION
from mahavishnu.integrations.multi_region.surfaces.demo.ledger import Attempt, Outcome
from mahavishnu.integrations.multi_region.surfaces.demo.processes import start
from mahavishnu.integrations.multi_region.surfaces.demo.region_server import READY, SERVICE
from mahavishnu.integrations.multi_region.surfaces.demo.rollout_report import (
    RolloutNotes,
    RolloutReport,
    build_rollout_report,
)
from mahavishnu.integrations.multi_region.surfaces.demo.rollout_scene import STEPS, RolloutOptions
from mahavishnu.integrations.multi_region.surfaces.demo.rollout_view import final_of_rollout
from mahavishnu.integrations.multi_region.surfaces.demo.scene import EU_SERVICE, REGION_IDS, WEB, places, world
from mahavishnu.integrations.multi_region.surfaces.world.load import world_from_json

from .demo_stage import PACKAGE, Run, side_by_side

BLUE, GREEN, OTHER = "us-east-1", "eu-west-1", "eu-central-1"


# --- the scene ----------------------------------------------------------------------------------


def test_web_is_declared_on_blue_and_has_room_on_green() -> None:
    options = RolloutOptions()
    declared = world_from_json(world(options, {region_id: "http://127.0.0.1:1" for region_id in REGION_IDS}))
    web = next(service for service in declared.services if service.name == WEB)
    assert web.deployment is not None
    assert (web.deployment.type, web.deployment.regions) == (DeploymentType.ACTIVE_ACTIVE, options.blue)
    assert options.green not in options.blue
    assert options.capacity > options.rate


@pytest.mark.parametrize("green", REGION_IDS)
def test_green_is_never_blue(green: str) -> None:
    options = RolloutOptions(victim=green)
    assert options.blue and green not in options.blue


@pytest.mark.parametrize(("seconds", "rate"), [(6, 8), (30, 80), (59, 400)])
def test_the_rollout_can_end_before_the_clients_do(seconds: float, rate: float) -> None:
    options = RolloutOptions(seconds=seconds, rate=rate)
    asked = options.rollout()
    least = options.begins_after_s + asked["switch_after"] + len(STEPS) * asked["step_after"]
    assert least < 0.7 * seconds
    assert asked["gates"]["min_requests"] >= 4


@pytest.mark.parametrize("fault", ["kill", "hang", "flap"])
def test_a_fault_that_is_not_of_a_version_is_refused_by_name(fault: str) -> None:
    result = CliRunner().invoke(app, ["demo", "--scenario", "blue-green", "--fault", fault])
    assert result.exit_code == 2
    assert "--fault" in result.stderr and "errors, or left out" in result.stderr


async def test_a_bad_version_fails_its_service_alone() -> None:
    where = [f"--region={GREEN}", "--latitude=53.3", "--longitude=-6.2", "--capacity=100"]
    child = await start(GREEN, f"{PACKAGE}.surfaces.demo.region_server", where)
    try:
        url = f"http://127.0.0.1:{await child.said(READY)}"
        child.tell(BAD_VERSION)
        found: dict[str, int] = {}
        async with aiohttp.ClientSession() as session:
            while found.get(WEB) != 503:  # until it has read what it was told
                for service, path in ((WEB, "/"), (EU_SERVICE, "/"), ("probe", "/healthz")):
                    async with session.get(url + path, headers={SERVICE: service}) as answer:
                        found[service] = answer.status
    finally:
        await child.end()
    assert found == {WEB: 503, EU_SERVICE: 200, "probe": 200}


# --- the report ---------------------------------------------------------------------------------

BEGAN, BEGUN = 100.0, 102.0
AT = {10: 103.0, 50: 106.0, 100: 109.0}
SERVING, ENDED = 112.0, 120.0
PREPARED = (Step(BEGUN, "preparing", "begun by demo"), Step(BEGUN, "baking", "the regions are ready"))
SHIFTS = tuple(Step(at, "shifting", f"{percent} % to green") for percent, at in AT.items())
DONE = (*PREPARED, *SHIFTS, Step(SERVING, "serving", "all traffic is where it is meant to be"))
BACK = 103.5
UNDONE = (
    *PREPARED,
    SHIFTS[0],
    Step(BACK, "rolling_back", "rolled back: 3 of 3 requests to green failed"),
    Step(BACK, "rolled_back", "traffic is where it was before"),
)


def request(at: float, *attempts: Attempt, service: str = WEB) -> Outcome:
    return Outcome("Berlin", service, at, 20.0, attempts)


def good(region_id: str, at: float) -> Attempt:
    return Attempt(region_id, at, 10.0, 200, region_id)


def bad(region_id: str, at: float) -> Attempt:
    return Attempt(region_id, at, 10.0, 503, region_id)


def share_at(at: float) -> float:
    return next((percent / 100 for percent, begin in reversed(AT.items()) if at >= begin), 0.0)


def traffic(green_until: float = ENDED, service: str = WEB) -> list[Outcome]:
    """Twenty requests a second, each served; green has the share of the step while it has any."""
    made, due = [], 0.0
    for n in range(round((ENDED - BEGAN) * 20)):
        at = BEGAN + n / 20
        due += share_at(at) if at < green_until else 0.0
        to_green = due >= 1.0
        due -= to_green
        made.append(request(at, good(GREEN if to_green else BLUE, at), service=service))
    return made


def european() -> list[Outcome]:
    return [request(BEGAN + n, good(OTHER, BEGAN + n), service=EU_SERVICE) for n in range(5)]


def notes(**changes: Any) -> RolloutNotes:
    failing = changes.pop("failing", False)
    history, state = (UNDONE, "rolled_back") if failing else (DONE, "serving")
    given: dict[str, Any] = {
        "options": RolloutOptions(failing=failing),
        "places": places(RolloutOptions()),
        "outcomes": [*european(), *(failed_run() if failing else traffic())],
        "happenings": [],
        "rollout": Rollout("web-2", state, True, 0 if failing else 2, None, history),
        "began_at": BEGAN,
        "begun_at": BEGUN,
        "broke_at": 0.0,
        "ended_at": ENDED,
        "audit_events": 12,
        "audit_error": "",
    }
    return RolloutNotes(**{**given, **changes})


def failed_run() -> list[Outcome]:
    lost = [request(at, bad(GREEN, at), good(BLUE, at)) for at in (103.1, 103.2, 103.4)]
    return [*traffic(green_until=0.0), *lost]


def broken(report: RolloutReport) -> list[str]:
    return [promise.text for promise in report.promises if not promise.held]


GOOD = build_rollout_report(notes())
FAILED = build_rollout_report(notes(failing=True))
MOVED, SHARED, NONE_AT_ALL, SERVED, STAYED, ASKED, ROOM, WHOLE = (promise.text for promise in GOOD.promises)
UNDID, SMALL, CONFINED, HOME = (promise.text for promise in FAILED.promises[:4])


def test_good_runs_keep_every_promise() -> None:
    assert (GOOD.ok, broken(GOOD)) == (True, [])
    assert (FAILED.ok, broken(FAILED)) == (True, [])


def test_each_step_has_its_share_time_and_reason() -> None:
    assert [step.percent for step in GOOD.steps] == [10, 50, 100]
    assert [step.after_ms for step in GOOD.steps] == pytest.approx([1_000, 4_000, 7_000])
    assert [step.why for step in GOOD.steps] == [line.why for line in SHIFTS]
    for step in GOOD.steps:
        assert step.to_green / step.requests == pytest.approx(step.percent / 100, abs=0.05)


def test_a_rollback_is_told_with_what_it_cost() -> None:
    assert (FAILED.state, len(FAILED.steps), FAILED.back_ms) == ("rolled_back", 1, 0.0)
    assert (FAILED.requests.failed_first_attempts, FAILED.requests.retried, FAILED.requests.failed) == (3, 3, 0)
    green = next(region for region in FAILED.regions if region.role == "green")
    assert (green.region_id, green.failed) == (GREEN, 3)


def rollout(history: tuple[Step, ...], state: str) -> Rollout:
    return Rollout("web-2", state, True, 0, None, history)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"rollout": None}, [MOVED, SHARED]),
        ({"rollout": rollout(DONE[:4], "shifting")}, [MOVED, SHARED]),
        ({"rollout": rollout(UNDONE, "rolled_back")}, [MOVED, SHARED]),
        ({"outcomes": [*european(), *traffic(green_until=0.0)]}, [SHARED]),
        ({"outcomes": [*european(), *traffic(), request(110, bad(GREEN, 110), good(BLUE, 110))]}, [NONE_AT_ALL]),
        ({"outcomes": [*european(), *traffic(), request(110, bad(GREEN, 110))]}, [NONE_AT_ALL, SERVED]),
        ({"outcomes": [*traffic(), request(110, good(BLUE, 110), service=EU_SERVICE)]}, [STAYED]),
        ({"audit_error": "event 3 was altered"}, [WHOLE]),
    ],
)
def test_a_promise_of_a_good_run_that_was_not_kept_is_named(changes: dict[str, Any], expected: list[str]) -> None:
    report = build_rollout_report(notes(**changes))
    assert (report.ok, broken(report)) == (False, expected)


LATE = BACK + 1.2


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"rollout": rollout(DONE, "serving")}, [UNDID, SMALL, HOME]),
        ({"rollout": rollout((*UNDONE[:3], SHIFTS[1], *UNDONE[3:]), "rolled_back")}, [SMALL]),
        ({"outcomes": [*european(), *traffic(green_until=0.0)]}, [CONFINED]),  # nobody felt it: nothing was shown
        ({"outcomes": [*european(), *failed_run(), request(110, bad(BLUE, 110), good(OTHER, 110))]}, [CONFINED, HOME]),
        ({"outcomes": [*european(), *failed_run(), request(LATE, good(GREEN, LATE))]}, [HOME]),
        ({"outcomes": [*european(), *failed_run(), request(103.3, bad(GREEN, 103.3))]}, [SERVED]),
    ],
)
def test_a_promise_of_a_failing_run_that_was_not_kept_is_named(changes: dict[str, Any], expected: list[str]) -> None:
    report = build_rollout_report(notes(failing=True, **changes))
    assert (report.ok, broken(report)) == (False, expected)


@pytest.mark.parametrize("report", [GOOD, FAILED], ids=["good", "failing"])
def test_the_report_is_drawn_and_written_down(report: RolloutReport) -> None:
    console = Console(file=StringIO(), width=120, record=True)
    console.print(final_of_rollout(report))
    text = console.export_text()
    for word in ("step by step", GREEN, BLUE, "10 %", "PASS", "1,000 ms"):
        assert word in text
    assert "FAIL" not in text
    document = json.loads(json.dumps(report.document(), allow_nan=False))
    assert document["scenario"] == "blue-green"
    assert document["steps"][0]["percent"] == 10
    assert "http" not in as_svg(report).replace('xmlns="http://www.w3.org/2000/svg"', "")


# --- whole runs ---------------------------------------------------------------------------------

SECONDS, RATE = 15, 32


TIMED = ("--without-envoy", "--scenario", "blue-green", "--seconds", str(SECONDS), "--rate", str(RATE))
RUNS = {"good": TIMED, "bad": (*TIMED, "--fault", "errors")}


@pytest.fixture(scope="module")
def begun(request: pytest.FixtureRequest) -> Iterator[Mapping[str, Future[Run]]]:
    """Whole runs, one with a good version and one with a bad one."""
    with side_by_side(request, RUNS) as runs:
        yield runs


def kept(report: Any) -> dict[str, bool]:
    return {promise["text"]: promise["held"] for promise in report["promises"]}


@pytest.mark.slow
@pytest.mark.parametrize("run", ["good"])
def test_web_moves_under_load_and_no_request_fails(run: str, begun: Mapping[str, Future[Run]]) -> None:
    ended = begun[run].result()
    report, said = ended.report, ended.said
    assert (ended.code, report["ok"], set(kept(report).values())) == (0, True, {True}), (report["promises"], said)
    assert (report["state"], [step["percent"] for step in report["steps"]]) == ("serving", [10, 50, 100])
    requests = report["requests"]
    assert requests["total"] >= 0.9 * SECONDS * RATE
    assert (requests["failed_first_attempts"], requests["failed"], report["lost_reports"]) == (0, 0, 0)
    assert set(requests["by_service"]) == {WEB, EU_SERVICE}
    assert "requests to green failed (0.0 %)" in report["history"][-1]["why"]
    assert {"deployment.created", "deployment.moved"} <= {event["kind"] for event in report["events"]}


@pytest.mark.slow
@pytest.mark.parametrize("run", ["bad"])
def test_a_bad_version_is_rolled_back_by_itself_and_costs_nobody_an_answer(
    run: str, begun: Mapping[str, Future[Run]]
) -> None:
    ended = begun[run].result()
    report, said = ended.report, ended.said
    promises = kept(report)
    del promises[HOME]  # how fast that was is for benchmarks to judge, on a machine that is not shared
    assert set(promises.values()) == {True}, (report["promises"], said)
    assert (report["state"], len(report["steps"])) == ("rolled_back", 1)
    requests = report["requests"]
    assert requests["failed"] == 0
    assert 0 < requests["failed_first_attempts"] < 0.1 * requests["total"]
    back = next(line for line in report["history"] if line["state"] == "rolling_back")
    assert "requests to green failed" in back["why"]
    green = next(region for region in report["regions"] if region["role"] == "green")
    assert green["failed"] == requests["failed_first_attempts"]
