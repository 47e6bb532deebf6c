"""The demo with edges: its scene, its sums as tables, and whole runs in which real Envoys carry the requests."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from mahavishnu.integrations.multi_region.errors import InvalidInputError
from mahavishnu.integrations.multi_region.surfaces.cli.main import app
from mahavishnu.integrations.multi_region.surfaces.demo.controller import Explained, Happening
from mahavishnu.integrations.multi_region.surfaces.demo.drawing import as_svg, drawn
from mahavishnu.integrations.multi_region.surfaces.demo.edge_notes import EdgeNotes, Mark, phases_of, windows_of
from mahavishnu.integrations.multi_region.surfaces.demo.edge_report import EdgeReport, build_edge_report
from mahavishnu.integrations.multi_region.surfaces.demo.edge_scene import (
    ATTEMPT_S,
    EDGES,
    EdgeOptions,
    ask_of,
    edge_places,
    edge_world,
    host_of,
    nearest_edge,
)
from mahavishnu.integrations.multi_region.surfaces.demo.faults import Fault, Scenario
from mahavishnu.integrations.multi_region.surfaces.demo.islands import why_not
from mahavishnu.integrations.multi_region.surfaces.demo.ledger import Attempt, Outcome, strays
from mahavishnu.integrations.multi_region.surfaces.demo.rollout_scene import RolloutOptions
from mahavishnu.integrations.multi_region.surfaces.demo.scene import (
    CITIES,
    EU_REGIONS,
    EU_SERVICE,
    REGION_IDS,
    WEB,
    Options,
    delay_s,
    places,
    service_of,
)
from mahavishnu.integrations.multi_region.surfaces.world.load import world_from_json

from .demo_stage import Run, command, environment, play, short_folder, side_by_side

VICTIM, OTHER, FAR = "eu-west-1", "eu-central-1", "us-east-1"
PORTS = {edge_id: 10_000 + number for number, edge_id in enumerate(EDGES)}


# --- the scene ------------------------------------------------------------------------------------


@pytest.mark.parametrize("victim", REGION_IDS)
def test_an_edge_stands_beside_whichever_region_fails(victim: str) -> None:
    assert victim in {edge.beside.region_id for edge in edge_places(Options(victim=victim), PORTS)}


@pytest.mark.parametrize(
    ("city", "edge_id"), [("Berlin", "edge-eu"), ("São Paulo", "edge-us"), ("Sydney", "edge-ap"), ("Mumbai", "edge-ap")]
)
def test_clients_use_the_nearest_edge(city: str, edge_id: str) -> None:
    place = next(c for c in CITIES if c.name == city)
    assert nearest_edge(place, edge_places(Options(), PORTS)).edge_id == edge_id


def test_no_honest_answer_takes_as_long_as_an_attempt_may() -> None:
    farthest = max(
        delay_s(edge.point, place.point) for edge in edge_places(Options(), PORTS) for place in places(Options())
    )
    assert 2 * farthest < ATTEMPT_S


@pytest.mark.parametrize("options", [Options(), RolloutOptions()], ids=["failover", "blue-green"])
def test_the_declared_world_has_edges_hosts_and_routes(options: Options) -> None:
    endpoints = {region_id: "http://127.0.0.1:1" for region_id in REGION_IDS}
    declared = world_from_json(edge_world(options, endpoints, edge_places(options, PORTS)))
    assert {edge.edge_id: edge.listen for edge in declared.edges} == {
        edge_id: f"127.0.0.1:{port}" for edge_id, port in PORTS.items()
    }
    for service in declared.services:
        stream, usual = service.routes
        assert service.hosts == (host_of(service.name),)
        assert (stream.prefix, stream.timeout_s, stream.attempt_timeout_s) == ("/stream", 0, None)
        assert (usual.prefix, usual.attempt_timeout_s, usual.retry_keyed) == ("/", ATTEMPT_S, True)


@pytest.mark.parametrize("streams", [False, True])
def test_requests_are_of_every_kind(streams: bool) -> None:
    for city in CITIES:
        asked = [ask_of(city, number, streams) for number in range(40)]
        assert {(ask.method, ask.keyed) for ask in asked} == {("GET", False), ("POST", False), ("POST", True)}
        assert {ask.service for ask in asked} == {WEB, EU_SERVICE}
        assert {ask.stated for ask in asked if ask.service == EU_SERVICE} == {"", "gdpr"}
        assert {ask.stated for ask in asked if ask.service == WEB} == {""}
        assert any(ask.stream for ask in asked) is streams
        assert [ask.service for ask in asked] == [service_of(city, number) for number in range(40)]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"scenario": Scenario.RESIDENCY, "victim": FAR}, "--victim"),
        ({"scenario": Scenario.DRAIN, "fault": Fault.HANG}, "--fault"),
        ({"scenario": Scenario.CONTROLLER_LOSS, "fault": Fault.DROP}, "--fault"),
        ({"seconds": 5.0}, "--seconds"),
    ],
)
def test_what_cannot_be_played_is_refused_by_name(given: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        EdgeOptions(**given)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--scenario", "drain"), "--scenario"),
        (("--scenario", "residency"), "--scenario"),
        (("--fault", "drop"), "--fault"),
        (("--fault", "slow"), "--fault"),
    ],
)
def test_what_needs_edges_is_refused_without_them(arguments: tuple[str, ...], named: str) -> None:
    result = CliRunner().invoke(app, ["demo", "--without-envoy", *arguments])
    assert result.exit_code == 2
    assert named in result.stderr and "do not go through Envoy" in result.stderr


# --- the report -----------------------------------------------------------------------------------

BEGAN, FAULT, MENDED, BACK, ENDED = 100.0, 110.0, 121.0, 122.0, 130.0


def served(region_id: str, at: float, service: str = WEB, **more: Any) -> Outcome:
    return Outcome("Berlin", service, at, 20.0, (Attempt(region_id, at, 10.0, 200, region_id),), **more)


def lost(at: float, status: int | None = None, **more: Any) -> Outcome:
    error = "" if status and not more.pop("cut", False) else "connection lost"
    return Outcome("Berlin", more.pop("service", WEB), at, 20.0, (Attempt("", at, 10.0, status, None, error),), **more)


def steady(region_id: str, begin: float, end: float, service: str = WEB, **more: Any) -> list[Outcome]:
    return [served(region_id, begin + n / 10, service, **more) for n in range(round((end - begin) * 10))]


def both(region_id: str, begin: float, end: float) -> list[Outcome]:
    return [*steady(region_id, begin, end), *steady(region_id, begin, end, EU_SERVICE)]


def happening(at: float, kind: str, subject: str = VICTIM, **details: Any) -> Happening:
    return Happening(int(at * 1000), at, kind, subject, "because", details=details)


MOVED = happening(
    FAULT + 0.5, "failover.completed", first_signal_at=FAULT + 0.2, verdict_at=FAULT + 0.45, planned_at=FAULT + 0.5
)
TOLD = happening(FAULT + 0.55, "failover.acknowledged", acknowledged_at=FAULT + 0.55, lagging=[], duration_ms=350.0)
RETURNED = happening(BACK, "region.recovered")
STORY = [MOVED, TOLD, RETURNED]
OUTAGE = [*both(VICTIM, BEGAN, FAULT), *both(OTHER, FAULT, BACK), *both(VICTIM, BACK, ENDED)]
DRAINED = 112.0


def notes(scenario: Scenario = Scenario.FAILOVER, **changes: Any) -> EdgeNotes:
    given: dict[str, Any] = {
        "options": EdgeOptions(scenario=scenario, fault=changes.pop("fault", Fault.KILL)),
        "places": places(Options()),
        "edges": tuple(EDGES),
        "synced": tuple(EDGES),
        "outcomes": OUTAGE,
        "happenings": STORY,
        "marks": {Mark.FAULT: FAULT, Mark.MENDED: MENDED},
        "began_at": BEGAN,
        "ended_at": ENDED,
        "left_out": Explained("eu-app from Berlin", OTHER, {VICTIM: "is down", FAR: "lacks gdpr"}),
        "audit_events": 12,
        "audit_error": "",
    }
    return EdgeNotes(**{**given, **changes})


def drain_notes(**changes: Any) -> EdgeNotes:
    streams = [replace(served(VICTIM, FAULT - 1), stream=True, total_ms=2000.0)]
    lifted = happening(MENDED, "drain.lifted")
    given: dict[str, Any] = {
        "outcomes": [*OUTAGE, *streams],
        "happenings": [happening(DRAINED, "drain.completed"), lifted],
        "marks": {Mark.FAULT: FAULT, Mark.DRAINED: DRAINED, Mark.MENDED: MENDED},
    }
    return notes(Scenario.DRAIN, **{**given, **changes})


def loss_notes(**changes: Any) -> EdgeNotes:
    marks = {Mark.CONTROLLER_LOST: 106.0, Mark.FAULT: FAULT, Mark.CONTROLLER_BACK: 115.0, Mark.MENDED: MENDED}
    return notes(Scenario.CONTROLLER_LOSS, **{"marks": marks, **changes})


NARROWED, WIDENED = 104.0, 107.0


def residency_notes(**changes: Any) -> EdgeNotes:
    refusals = [
        lost(FAULT + n / 10, 503, service=EU_SERVICE, reason="no healthy region")
        for n in range(round((MENDED - FAULT) * 10))
    ]
    eu = [*steady(VICTIM, BEGAN, NARROWED, EU_SERVICE), *steady(OTHER, NARROWED, FAULT, EU_SERVICE), *refusals]
    given: dict[str, Any] = {
        "outcomes": [*eu, *steady(FAR, BEGAN, ENDED)],
        "marks": {Mark.NARROWED: NARROWED, Mark.WIDENED: WIDENED, Mark.FAULT: FAULT, Mark.MENDED: MENDED},
    }
    return notes(Scenario.RESIDENCY, **{**given, **changes})


def broken(report: EdgeReport) -> list[str]:
    return [promise.text for promise in report.promises if not promise.held]


ALL = {
    "failover": notes,
    "gray": lambda **changes: notes(fault=Fault.ERRORS, **changes),
    "drain": drain_notes,
    "controller-loss": loss_notes,
    "residency": residency_notes,
}


@pytest.mark.parametrize("name", ALL)
def test_a_good_run_keeps_every_promise(name: str) -> None:
    report = build_edge_report(ALL[name]())
    assert (report.ok, broken(report)) == (True, [])


REPEATED, LEFT, TOLD_ALL, STAYED, ASKED, ROOM, WHOLE = (p.text for p in build_edge_report(notes()).promises)
SHARE = build_edge_report(notes(fault=Fault.ERRORS)).promises[1].text
NONE, STREAMS, REST = (p.text for p in build_edge_report(drain_notes()).promises[:3])
TAKEN_OVER = build_edge_report(loss_notes()).promises[2].text
REFUSED, LAW = (p.text for p in build_edge_report(residency_notes()).promises[1:3])
UNTIL_END = [*both(VICTIM, BEGAN, ENDED)]
CUT_STREAM = replace(lost(FAULT - 1, 200, cut=True), stream=True, total_ms=2000.0)


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("failover", {"outcomes": [*OUTAGE, lost(FAULT)]}, [REPEATED]),
        ("failover", {"outcomes": [*OUTAGE, lost(FAULT, 504)]}, [REPEATED]),
        ("failover", {"outcomes": [*OUTAGE, lost(FAULT, method="POST", keyed=True)]}, [REPEATED]),
        ("failover", {"outcomes": [*OUTAGE, lost(FAULT, method="POST")]}, []),
        ("failover", {"outcomes": [*OUTAGE, lost(FAULT, 200, cut=True)]}, []),  # its response had begun
        ("failover", {"outcomes": [*OUTAGE, served(VICTIM, FAULT + 1.1)]}, [LEFT]),
        ("failover", {"outcomes": both(OTHER, BEGAN, ENDED)}, [LEFT]),  # nothing to move is nothing shown
        ("failover", {"happenings": [MOVED, RETURNED]}, [TOLD_ALL]),
        ("failover", {"happenings": [RETURNED]}, [TOLD_ALL]),
        ("failover", {"happenings": [MOVED, replace(TOLD, details={"lagging": ["edge-eu"]})]}, [TOLD_ALL]),
        ("failover", {"outcomes": [*OUTAGE, served(FAR, FAULT, EU_SERVICE)]}, [STAYED]),
        ("failover", {"outcomes": [*OUTAGE, lost(FAULT, 429)]}, [REPEATED]),
        ("failover", {"audit_error": "event 3 was altered"}, [WHOLE]),
        ("gray", {"outcomes": UNTIL_END}, [SHARE]),
        ("drain", {"outcomes": [*drain_notes().outcomes, lost(FAULT, method="POST")]}, [NONE]),
        ("drain", {"outcomes": OUTAGE}, [STREAMS]),  # no stream was in flight
        ("drain", {"happenings": [happening(DRAINED, "drain.completed", busy_edges=["edge-eu"])]}, [REST]),
        ("drain", {"happenings": []}, [REST]),
        ("controller-loss", {"happenings": []}, [TAKEN_OVER]),
        ("controller-loss", {"synced": ("edge-eu",)}, [TAKEN_OVER]),
        ("controller-loss", {"outcomes": UNTIL_END}, [LEFT]),
        ("residency", {"outcomes": [*residency_notes().outcomes, lost(FAULT + 2, service=EU_SERVICE)]}, "lost"),
        ("residency", {"outcomes": [*residency_notes().outcomes, served(FAR, FAULT + 2, EU_SERVICE)]}, "strayed"),
        ("residency", {"outcomes": [*residency_notes().outcomes, served(VICTIM, 105, EU_SERVICE)]}, [LAW]),
        ("residency", {"outcomes": [*residency_notes().outcomes, lost(FAULT + 2)]}, [REPEATED]),
    ],
)
def test_a_promise_that_was_not_kept_is_named(name: str, changes: dict[str, Any], expected: list[str] | str) -> None:
    wanted = {"lost": [REPEATED, REFUSED], "strayed": [REFUSED, STAYED]}
    assert broken(build_edge_report(ALL[name](**changes))) == wanted.get(str(expected), expected)


def test_a_cut_stream_breaks_both_promises_of_a_drain() -> None:
    cut = replace(CUT_STREAM, attempts=(replace(CUT_STREAM.attempts[0], region_id=VICTIM),))
    assert broken(build_edge_report(drain_notes(outcomes=[*OUTAGE, cut]))) == [NONE, STREAMS]


def test_the_phases_are_those_of_the_log() -> None:
    phases = phases_of(notes())
    told = (phases.first_signal_ms, phases.verdict_ms, phases.plan_ms, phases.acknowledged_ms)
    assert told == pytest.approx((200, 450, 500, 550))
    assert (phases.duration_ms, phases.lagging, phases.failovers) == (350.0, (), 1)


def test_shares_before_meanwhile_and_afterwards() -> None:
    assert windows_of(notes()).meanwhile == (FAULT + 1, MENDED)
    regions = {region.region_id: region for region in build_edge_report(notes()).regions}
    victim, other = regions[VICTIM], regions[OTHER]
    assert (victim.share_before, victim.share_after, victim.share_recovered) == (1, 0, 1)
    assert (other.share_before, other.share_after, other.share_recovered) == (0, 1, 0)


def test_sums_tell_failures_apart() -> None:
    late = replace(served(OTHER, FAULT + 0.3), total_ms=700.0)
    odd = [lost(FAULT), lost(FAULT, method="POST"), lost(FAULT, 200, cut=True), late]
    sums = build_edge_report(notes(outcomes=[*OUTAGE, *odd])).requests
    assert (sums.failed_idempotent, sums.failed_others, sums.cut, sums.affected) == (1, 1, 1, 4)
    assert sums.slowest_ms == 700.0
    assert sums.last_affected_ms == pytest.approx(300)
    assert sums.failures == {"GET: connection lost": 2, "POST: connection lost": 1}


def test_what_was_slow_before_the_fault_is_not_the_faults_doing() -> None:
    noise = replace(served(OTHER, BEGAN + 1), total_ms=900.0)
    late = replace(served(OTHER, FAULT + 0.3), total_ms=700.0)
    assert build_edge_report(notes(outcomes=[*OUTAGE, noise, late])).requests.last_affected_ms is None


def test_refusals_by_law_are_no_failures() -> None:
    sums = build_edge_report(residency_notes()).requests
    assert (sums.failed_idempotent, sums.failed_others, sums.refused) == (0, 0, {"no healthy region": 110})


def test_an_attempt_that_went_nowhere_strays_nowhere() -> None:
    assert strays([lost(1.0, 503, service=EU_SERVICE)]) == []


@pytest.mark.parametrize("name", ALL)
def test_the_report_is_drawn_and_written_down(name: str) -> None:
    report = build_edge_report(ALL[name]())
    console = Console(file=StringIO(), width=120, record=True)
    console.print(drawn(report))
    text = console.export_text()
    assert "PASS" in text and "FAIL" not in text and VICTIM in text
    document = json.loads(json.dumps(report.document(), allow_nan=False))
    assert (document["through"], document["edges"]) == ("envoy", list(EDGES))
    assert "http" not in as_svg(report).replace('xmlns="http://www.w3.org/2000/svg"', "")


# --- whole runs -----------------------------------------------------------------------------------

SECONDS, RATE = 10.0, 24
LONGER = {"controller-loss": 14.0, "bad-version": 15.0}
RUNS = {
    "kill": ("--fault", "kill"),
    "drop": ("--fault", "drop"),
    "drain": ("--scenario", "drain"),
    "controller-loss": ("--scenario", "controller-loss"),
    "residency": ("--scenario", "residency"),
    "bad-version": ("--scenario", "blue-green", "--fault", "errors"),
}


def seconds_of(name: str) -> float:
    return LONGER.get(name, SECONDS)


@pytest.fixture(scope="module")
def begun(request: pytest.FixtureRequest) -> Iterator[Mapping[str, Future[Run]]]:
    """Whole runs through real Envoys."""
    timed = {
        name: (*arguments, "--seconds", str(seconds_of(name)), "--rate", str(RATE)) for name, arguments in RUNS.items()
    }
    with side_by_side(request, timed) as runs:
        yield runs


@pytest.fixture
def run(begun: Mapping[str, Future[Run]], request: pytest.FixtureRequest) -> Any:
    """A run's report. Every promise held but what a busy machine may break."""
    found = begun[request.param].result()
    report = found.report
    assert [p for p in report["promises"] if not p["held"] and p["text"] != LEFT] == [], (report, found.said)
    assert found.code == (0 if report["ok"] else 1)
    assert report["requests"]["total"] >= 0.9 * seconds_of(request.param) * RATE
    assert report["audit"]["ok"]
    return report


@pytest.fixture
def networks() -> None:
    """Skips where packets cannot be dropped."""
    missing = why_not()
    if missing is not None:
        pytest.skip(f"PACKETS CANNOT BE DROPPED HERE: {missing}")


def of(name: str) -> pytest.MarkDecorator:
    """The test is about the run of this name."""
    return pytest.mark.parametrize("run", [name], indirect=True)


@pytest.mark.slow
def test_without_an_envoy_clients_help_themselves_and_that_is_said() -> None:
    ended = play(("--seconds", "6", "--rate", "8"), {"MAHAVISHNU_MULTI_REGION__ENVOY": "/nowhere/envoy"})
    said = [line for line in ended.said.splitlines() if "without Envoy" in line]
    assert len(said) == 1 and "clients ask the controller" in said[0]
    assert ended.report["requests"]["failed"] == 0


def devices() -> set[str]:
    """Network devices of the demo's making."""
    return {path.name for path in Path("/sys/class/net").iterdir() if path.name.startswith("mrd")}


@of("kill")
@pytest.mark.slow
def test_a_region_is_killed_and_edges_lose_nothing(run: Any) -> None:
    phases, requests = run["phases"], run["requests"]
    assert (run["through"], requests["failed_idempotent"], run["residency_violations"]) == ("envoy", 0, 0)
    assert {"GET", "POST", "POST with a key"} == set(requests["by_method"])
    steps = [phases[name] for name in ("first_signal_ms", "verdict_ms", "plan_ms", "acknowledged_ms")]
    assert steps == sorted(steps) and phases["lagging"] == []
    victim = next(region for region in run["regions"] if region["region_id"] == VICTIM)
    assert victim["share_before"] > 0 and victim["share_after"] == 0


@of("drop")
@pytest.mark.slow
def test_packets_are_dropped_and_edges_lose_nothing(networks: None, run: Any) -> None:
    assert run["requests"]["failed_idempotent"] == 0
    assert run["phases"]["plan_ms"] is not None
    assert devices() == set()


@of("drain")
@pytest.mark.slow
def test_a_drain_under_streams_fails_nothing_at_all(run: Any) -> None:
    assert run["requests"]["failures"] == {}
    assert run["requests"]["by_method"]["stream"] > 0
    kinds = [event["kind"] for event in run["events"]]
    assert kinds.index("drain.started") < kinds.index("drain.completed") < kinds.index("drain.lifted")


@of("controller-loss")
@pytest.mark.slow
def test_edges_do_without_a_controller_while_a_region_dies(run: Any) -> None:
    assert run["requests"]["failed_idempotent"] == 0
    moments = {moment["what"]: moment["ms"] for moment in run["moments"]}
    assert moments["the controller is killed"] < 0 < moments["the controller is there again"]
    assert run["phases"]["plan_ms"] > 0  # and so by the controller that came back: none was there when it happened


@of("residency")
@pytest.mark.slow
def test_no_request_bound_to_the_eu_leaves_it_even_with_no_region_left(run: Any) -> None:
    requests = run["requests"]
    assert (requests["failed_idempotent"], run["residency_violations"]) == (0, 0)
    assert sum(requests["refused"].values()) > 0
    for region in run["regions"]:
        assert region["share_after"] == 0 or region["region_id"] not in EU_REGIONS


@of("bad-version")
@pytest.mark.slow
def test_a_bad_version_is_rolled_back_by_what_edges_saw(run: Any) -> None:
    assert (run["through"], run["state"], len(run["steps"])) == ("envoy", "rolled_back", 1)
    back = next(line for line in run["history"] if line["state"] == "rolling_back")
    assert "requests to green failed" in back["why"]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_no_envoy_is_left_running_however_the_demo_ends(how: signal.Signals) -> None:
    arguments = command("--seconds", "8", "--rate", "8")
    with (
        short_folder() as folder,
        subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment(folder)) as demo,
    ):
        try:
            assert demo.stdout is not None
            next(line for line in demo.stdout if "THE FAULT" in line)
            started = descendants(demo.pid)
            assert sum("envoy" in name_of(pid) for pid in started) == len(EDGES)
            demo.send_signal(how)
            assert demo.wait(90) != 0
        finally:
            demo.kill()
        wait_for(lambda: not any(map(running, started)))


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until a condition holds; fail loudly when it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "never came true"
        time.sleep(0.05)


def descendants(pid: int) -> list[int]:
    """The process's children, theirs, and so on."""
    own = [int(c) for task in Path(f"/proc/{pid}/task").iterdir() for c in (task / "children").read_text().split()]
    return own + [grandchild for child in own for grandchild in descendants(child)]


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def running(pid: int) -> bool:
    """Whether there is such a process that has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
