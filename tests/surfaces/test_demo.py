"""The demo: its sums as tables, a region over a real socket, and whole runs as one would start them."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from mahavishnu.integrations.multi_region.core.model import Point
from mahavishnu.integrations.multi_region.errors import InvalidInputError, UnavailableError, UnknownRegionError
from mahavishnu.integrations.multi_region.surfaces.demo.clients import elsewhere
from mahavishnu.integrations.multi_region.surfaces.demo.controller import (
    ControllerFailure,
    Explained,
    Happening,
    Route,
    Status,
)
from mahavishnu.integrations.multi_region.surfaces.demo.drawing import as_svg
from mahavishnu.integrations.multi_region.surfaces.demo.faults import FLAP_TURN_S, WITHOUT_EDGES, Fault, fails_now
from mahavishnu.integrations.multi_region.surfaces.demo.frame import Frame
from mahavishnu.integrations.multi_region.surfaces.demo.ledger import (
    Attempt,
    Ledger,
    Outcome,
    between,
    peak_rate,
    percentile,
    shares,
    strays,
)
from mahavishnu.integrations.multi_region.surfaces.demo.processes import Child, start
from mahavishnu.integrations.multi_region.surfaces.demo.promises import Promise
from mahavishnu.integrations.multi_region.surfaces.demo.region_server import LATITUDE, LONGITUDE, READY
from mahavishnu.integrations.multi_region.surfaces.demo.report import DemoReport, Notes, build_report
from mahavishnu.integrations.multi_region.surfaces.demo.scene import (
    BERLIN,
    CITIES,
    EU_REGIONS,
    EU_SERVICE,
    REGION_IDS,
    WEB,
    Options,
    delay_s,
    places,
    service_of,
    world,
)
from mahavishnu.integrations.multi_region.surfaces.demo.view import picture
from mahavishnu.integrations.multi_region.surfaces.world.load import world_from_json

from .demo_stage import PACKAGE, Run, command, environment, side_by_side

VICTIM, OTHER, FAR = "eu-west-1", "eu-central-1", "us-east-1"


# --- what is chosen, and the scene ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"seconds": 5.9}, "--seconds"),
        ({"seconds": 60}, "--seconds"),
        ({"rate": 7}, "--rate"),
        ({"rate": 401}, "--rate"),
        ({"rate": float("nan")}, "--rate"),
        ({"seconds": float("nan")}, "--seconds"),
    ],
)
def test_what_is_not_allowed_is_refused_by_name(given: dict[str, float], field: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        Options(**given)  # type: ignore[arg-type]  # the table holds numbers only
    assert refused.value.field == field


def test_a_victim_that_is_no_region_of_the_demo_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownRegionError, match="eu-west-1"):
        Options(victim="eu-west-9")


def test_the_fault_begins_after_a_third_and_ends_before_the_clients_do() -> None:
    options = Options(seconds=30)
    assert (options.fault_after_s, options.mended_after_s) == (10, 21)


def test_the_delay_is_that_of_the_distance() -> None:
    dublin, sydney = (next(c for c in CITIES if c.name == name) for name in ("Dublin", "Sydney"))
    near, far = (delay_s(city.point, places(Options())[2].point) for city in (dublin, sydney))
    assert near < 0.005
    assert 0.24 < far < 0.27  # 17,200 km


def test_every_city_asks_for_both_services() -> None:
    for city in CITIES:
        assert {service_of(city, number) for number in range(8)} == {WEB, EU_SERVICE}


def test_the_declared_world_binds_the_european_service_to_the_eu() -> None:
    declared = world_from_json(world(Options(), {region_id: "http://127.0.0.1:1" for region_id in REGION_IDS}))
    (policy,) = declared.policies
    assert [region.region_id for region in declared.regions] == list(REGION_IDS)
    assert set(policy.allowed_regions or ()) == EU_REGIONS
    assert {service.name: service.policy for service in declared.services} == {WEB: None, EU_SERVICE: policy.policy_id}


@pytest.mark.parametrize(
    ("mode", "since_s", "fails"),
    [
        ("well", 0.0, False),
        ("errors", 100.0, True),
        ("flap", 0.0, True),
        ("flap", FLAP_TURN_S - 0.01, True),
        ("flap", FLAP_TURN_S + 0.01, False),
        ("flap", 2 * FLAP_TURN_S + 0.01, True),
        ("kill", 1.0, False),
    ],
)
def test_when_a_region_fails(mode: str, since_s: float, fails: bool) -> None:
    assert fails_now(mode, since_s) is fails


@pytest.mark.parametrize(
    ("answer", "second"),
    [
        (Route("b", ("a", "c")), "b"),
        (Route("a", ("b", "c")), "b"),
    ],
)
def test_the_second_attempt_goes_elsewhere(answer: Route, second: str) -> None:
    assert elsewhere(answer, "a") == second


def test_without_another_region_there_is_no_second_attempt() -> None:
    with pytest.raises(ControllerFailure):
        elsewhere(Route("a", ()), "a")


# --- sums -----------------------------------------------------------------------------------------


def good(region_id: str, at: float, latency_ms: float = 10.0) -> Attempt:
    return Attempt(region_id, at, latency_ms, 200, region_id)


def bad(region_id: str, at: float, status: int | None = None, latency_ms: float = 10.0) -> Attempt:
    return Attempt(region_id, at, latency_ms, status, None if status is None else region_id, "" if status else "lost")


def outcome(*attempts: Attempt, service: str = WEB, city: str = "Berlin", total_ms: float = 20.0) -> Outcome:
    return Outcome(city, service, attempts[0].at, total_ms, attempts)


@pytest.mark.parametrize(
    ("made", "ok", "at_once", "by"),
    [
        (outcome(good("a", 1)), True, True, "a"),
        (outcome(bad("a", 1), good("b", 2)), True, False, "b"),
        (outcome(bad("a", 1), bad("b", 2, 503)), False, False, None),
        (outcome(Attempt("a", 1, 1, 200, "b")), False, False, None),  # somebody else answered
        (Outcome("Berlin", WEB, 1, 1, (), "no route"), False, False, None),
    ],
)
def test_what_became_of_a_request(made: Outcome, ok: bool, at_once: bool, by: str | None) -> None:
    assert (made.ok, made.ok_at_once, made.served_by) == (ok, at_once, by)


def test_the_ledger_counts_first_attempts_and_ends_apart() -> None:
    ledger = Ledger()
    for made in (outcome(good("a", 1)), outcome(bad("a", 2), good("b", 2)), outcome(bad("a", 3), bad("b", 3))):
        ledger.add(made)
    assert (ledger.total, ledger.failed_first, ledger.failed) == (3, 2, 1)
    assert [o.at for o in ledger.since(2)] == [3, 2]


def test_shares_are_of_what_was_served() -> None:
    served = [outcome(good("a", 1)), outcome(bad("a", 1), good("b", 1)), outcome(bad("a", 1), bad("b", 1))]
    assert shares(served) == {"a": 0.5, "b": 0.5}
    assert shares([]) == {}


def test_a_window_holds_its_begin_and_not_its_end() -> None:
    assert [o.at for o in between([outcome(good("a", at)) for at in (1, 2, 3)], 1, 3)] == [1, 2]


@pytest.mark.parametrize(
    ("times", "most"),
    [([], 0), ([1.0], 1), ([1.0, 1.5, 1.99], 3), ([1.0, 2.0], 1), ([0, 0.5, 1.2, 1.4, 1.49, 9], 4)],
)
def test_the_most_within_one_second(times: list[float], most: int) -> None:
    assert peak_rate(good("a", at) for at in times) == most


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, 0.0), ([7], 0.99, 7), ([3, 1, 2], 0.5, 2), (range(1, 101), 0.99, 99), (range(1, 101), 1.0, 100)],
)
def test_percentiles(values: list[float], share: float, expected: float) -> None:
    assert percentile(values, share) == expected


@pytest.mark.parametrize(
    ("made", "count"),
    [
        (outcome(good(VICTIM, 1), service=EU_SERVICE), 0),
        (outcome(good(FAR, 1), service=WEB), 0),
        (outcome(good(FAR, 1), service=EU_SERVICE), 1),
        (outcome(bad(VICTIM, 1), good(FAR, 1), service=EU_SERVICE), 1),  # the second attempt counts as well
        (outcome(bad(FAR, 1), good(VICTIM, 1), service=EU_SERVICE), 1),  # and so does one that came to nothing
        (outcome(Attempt(VICTIM, 1, 1, 200, FAR), service=EU_SERVICE), 1),
    ],
)
def test_an_attempt_outside_the_eu_is_a_stray(made: Outcome, count: int) -> None:
    assert len(strays([made])) == count


# --- the report -----------------------------------------------------------------------------------

BEGAN, FAULT, MENDED, ENDED = 100.0, 110.0, 121.0, 130.0


def steady(region_id: str, begin: float, end: float, service: str = EU_SERVICE) -> list[Outcome]:
    """One request a tenth of a second, each served at once."""
    return [outcome(good(region_id, begin + n / 10), service=service) for n in range(round((end - begin) * 10))]


def happening(at: float, kind: str, subject: str = VICTIM, phase: str | None = None, detected: float = 0) -> Happening:
    return Happening(int(at * 1000), at, kind, subject, "because", phase, detected)


STORY = [
    happening(FAULT + 0.5, "health.changed", phase="down"),
    happening(FAULT + 0.51, "failover.completed", detected=300.0),
    happening(MENDED + 1, "region.recovered"),
    happening(MENDED + 1.1, "health.changed", FAR, "degraded"),
]


def outage(lost_for_s: float = 0.4) -> list[Outcome]:
    """The victim serves, fails for a while (each request is saved by another region), is avoided, and comes back."""
    lost = [
        outcome(bad(VICTIM, FAULT + n / 10), good(OTHER, FAULT + n / 10), service=EU_SERVICE)
        for n in range(round(lost_for_s * 10))
    ]
    back = MENDED + 1
    rest = steady(OTHER, FAULT + lost_for_s, back)
    return [*steady(VICTIM, BEGAN, FAULT), *lost, *rest, *steady(VICTIM, back, ENDED)]


def notes(**changes: Any) -> Notes:
    given: dict[str, Any] = {
        "options": Options(),
        "places": places(Options()),
        "outcomes": outage(),
        "happenings": STORY,
        "began_at": BEGAN,
        "fault_at": FAULT,
        "mended_at": MENDED,
        "ended_at": ENDED,
        "left_out": Explained("eu-app from Berlin", OTHER, {VICTIM: "is down", FAR: "lacks gdpr"}),
        "audit_events": 12,
        "audit_error": "",
    }
    return Notes(**{**given, **changes})


def broken(report: DemoReport) -> list[str]:
    return [promise.text for promise in report.promises if not promise.held]


def test_a_good_run_keeps_every_promise() -> None:
    report = build_report(notes())
    assert (report.ok, broken(report)) == (True, [])
    assert len(report.promises) == 6


def test_times_are_counted_from_the_fault() -> None:
    times = build_report(notes()).timeline
    assert times.first_sign_ms == pytest.approx(210)
    assert times.detected_ms == pytest.approx(500)
    assert times.failover_ms == pytest.approx(510)
    assert times.moved_ms == pytest.approx(300)
    assert times.last_affected_ms == pytest.approx(310)
    assert times.recovered_ms == pytest.approx(12_000)
    assert (times.failovers, times.sent_before) == (1, 100)


def test_requests_after_recovery_do_not_count_as_sent_astray() -> None:
    only_before_and_after = [*steady(VICTIM, BEGAN, FAULT), *steady(VICTIM, MENDED + 1, ENDED)]
    assert build_report(notes(outcomes=only_before_and_after)).timeline.moved_ms == 0


def test_shares_before_after_and_once_it_is_back() -> None:
    regions = {region.region_id: region for region in build_report(notes()).regions}
    victim, other = regions[VICTIM], regions[OTHER]
    assert (victim.share_before, victim.share_after, victim.share_recovered) == (1, 0, 1)
    assert (other.share_before, other.share_after, other.share_recovered) == (0, 1, 0)


def test_without_recovery_there_are_no_shares_after_it() -> None:
    regions = build_report(notes(happenings=STORY[:2])).regions
    assert {region.share_recovered for region in regions} == {None}


def test_a_region_that_fell_again_has_not_recovered() -> None:
    again = [*STORY, happening(MENDED + 2, "failover.completed")]
    report = build_report(notes(happenings=again))
    assert (report.timeline.failovers, report.regions[2].share_recovered) == (2, None)


def test_sums_of_requests() -> None:
    sums = build_report(notes()).requests
    assert (sums.failed_first_attempts, sums.retried, sums.failed) == (4, 4, 0)
    assert sums.failures_by_error == {"lost": 4}
    assert sums.by_service == {EU_SERVICE: sums.total}


def test_whose_traffic_moved() -> None:
    (journey,) = build_report(notes()).journeys
    assert (journey.city, journey.before, journey.after) == ("Berlin", VICTIM, OTHER)


def crowd(region_id: str, count: int) -> list[Outcome]:
    return [outcome(good(region_id, BEGAN + n / 10_000)) for n in range(count)]


MOVED, SERVED, STAYED, ASKED, ROOM, WHOLE = (promise.text for promise in build_report(notes()).promises)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"outcomes": outage(1.2)}, [MOVED]),
        ({"happenings": []}, [MOVED]),
        ({"outcomes": steady(OTHER, BEGAN, ENDED)}, [MOVED]),  # nothing to move is nothing shown
        ({"outcomes": []}, [MOVED, SERVED, STAYED, ASKED]),
        ({"outcomes": [*outage(), outcome(bad(OTHER, 111), bad(VICTIM, 100), service=EU_SERVICE)]}, [SERVED]),
        ({"outcomes": [*outage(), Outcome("Berlin", WEB, 111, 5, (), "refused")]}, [SERVED]),
        ({"outcomes": [*outage(), outcome(good(FAR, 111), service=EU_SERVICE)]}, [STAYED]),
        ({"outcomes": [*outage(), outcome(Attempt(OTHER, 111, 5, 200, VICTIM), good(OTHER, 111))]}, [ASKED]),
        ({"outcomes": [*outage(), outcome(bad(FAR, 111, 429), good(OTHER, 111))]}, [ROOM]),
        ({"outcomes": [*outage(), *crowd(FAR, Options().capacity + 1)]}, [ROOM]),
        ({"audit_error": "event 3 was altered"}, [WHOLE]),
        ({"audit_events": 0}, [WHOLE]),
    ],
)
def test_a_promise_that_was_not_kept_is_named(changes: dict[str, Any], expected: list[str]) -> None:
    report = build_report(notes(**changes))
    assert (report.ok, broken(report)) == (False, expected)


def test_the_document_is_plain_json_with_the_events_after_the_fault() -> None:
    document = json.loads(json.dumps(build_report(notes()).document(), allow_nan=False))
    assert document["promises"][0] == {"text": MOVED, "held": True, "detail": document["promises"][0]["detail"]}
    assert document["left_out"]["excluded"] == {VICTIM: "is down", FAR: "lacks gdpr"}
    assert [event["after_fault_ms"] for event in document["events"]] == [500, 510, 12_000, 12_100]


def test_the_drawing_shows_the_report_and_fetches_nothing() -> None:
    svg = as_svg(build_report(notes()))
    assert "eu&#45;west&#45;1" in svg or "eu-west-1" in svg
    links = svg.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "http" not in links and "url(http" not in links and "@import" not in links and "@font-face" not in links


def test_a_moment_is_drawn_with_every_region() -> None:
    from io import StringIO

    from rich.console import Console

    statuses = [Status(place.region_id, "healthy", 5, place.capacity) for place in places(Options())]
    frame = Frame(VICTIM, 3.0, 30.0, 10.0, 21.0, statuses, {VICTIM: 0.5}, 1200, 3, 0, ["  1.00 s  all is well"])
    console = Console(file=StringIO(), width=120, record=True)
    console.print(picture(frame))
    text = console.export_text()
    assert all(region_id in text for region_id in REGION_IDS)
    assert "1,200 requests" in text and "50 %" in text and "all is well" in text


# --- one region, over a real socket ---------------------------------------------------------------


async def begin_region(capacity: int = 100) -> tuple[Child, str]:
    where = [f"--region={VICTIM}", "--latitude=53.3", "--longitude=-6.2", f"--capacity={capacity}"]
    child = await start(VICTIM, f"{PACKAGE}.surfaces.demo.region_server", where)
    return child, f"http://127.0.0.1:{await child.said(READY)}"


@pytest.fixture
async def region() -> AsyncIterator[tuple[Child, str]]:
    child, url = await begin_region()
    yield child, url
    await child.end()


async def get(url: str, place: Point | None = None) -> tuple[int, Any, str | None]:
    headers = {} if place is None else {LATITUDE: str(place.latitude), LONGITUDE: str(place.longitude)}
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        return answer.status, await answer.json(), answer.headers.get("endpoint-load-metrics")


async def test_a_region_names_itself_and_reports_its_load(region: tuple[Child, str]) -> None:
    _, url = region
    assert await get(f"{url}/anything") == (200, {"region": VICTIM}, None)
    assert await get(f"{url}/healthz") == (200, {"region": VICTIM}, "TEXT rps_fractional=1")


async def test_a_far_client_waits_for_its_round_trip(region: tuple[Child, str]) -> None:
    _, url = region
    sydney = next(city for city in CITIES if city.name == "Sydney").point
    began = time.monotonic()
    await get(url, sydney)
    assert time.monotonic() - began >= delay_s(sydney, Point(53.3, -6.2))


async def test_beyond_its_capacity_a_region_turns_requests_away() -> None:
    child, url = await begin_region(capacity=3)
    try:
        statuses = [status for status, _, _ in await asyncio.gather(*(get(url, BERLIN.point) for _ in range(8)))]
    finally:
        await child.end()
    assert sorted(set(statuses)) == [200, 429]
    assert statuses.count(200) >= 3


async def test_a_region_fails_and_gets_well_as_it_is_told(region: tuple[Child, str]) -> None:
    child, url = region
    for mode, status in (("errors", 503), ("well", 200), ("flap", 503)):
        child.tell(mode)
        await until(partial(answers, f"{url}/healthz", status))
        await until(partial(answers, url, status))


async def answers(url: str, status: int) -> bool:
    return (await get(url))[0] == status


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    """Wait until an awaited condition holds; fail loudly when it never does."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, "never came true"
        await asyncio.sleep(0.02)


async def test_a_region_ends_when_its_director_is_gone(region: tuple[Child, str]) -> None:
    child, _ = region
    assert child._process.stdin is not None
    child._process.stdin.close()
    assert await asyncio.wait_for(child._process.wait(), 20) == 0


async def test_a_stopped_region_is_ended_all_the_same() -> None:
    child, _ = await begin_region()
    child.send(signal.SIGSTOP)
    await child.end()
    assert not child.running


async def test_a_process_that_ends_too_soon_is_reported_with_what_it_said() -> None:
    child = await start("a region", f"{PACKAGE}.surfaces.demo.region_server", ["--region=x"])
    with pytest.raises(UnavailableError, match="a region ended before it was ready") as failed:
        await child.said(READY)
    await child.end()
    assert "--latitude" in str(failed.value)


# --- whole runs -----------------------------------------------------------------------------------

SECONDS, RATE = 9, 24
TIMED = ("--without-envoy", "--seconds", str(SECONDS), "--rate", str(RATE))


@pytest.fixture(scope="module")
def begun(request: pytest.FixtureRequest) -> Iterator[Mapping[str, Future[Run]]]:
    """Whole runs, one for each fault."""
    with side_by_side(request, {fault: (*TIMED, "--fault", fault) for fault in WITHOUT_EDGES}) as runs:
        yield runs


@pytest.mark.slow
@pytest.mark.parametrize("run", WITHOUT_EDGES)
def test_a_region_fails_and_nobody_is_left_without_an_answer(run: Fault, begun: Mapping[str, Future[Run]]) -> None:
    ended = begun[run].result()
    by_text = {promise["text"]: promise for promise in ended.report["promises"]}
    del by_text[MOVED]  # how fast that was is for benchmarks to judge, on a machine that is not shared
    assert [promise for promise in by_text.values() if not promise["held"]] == [], ended.said
    assert ended.code == (0 if ended.report["ok"] else 1)
    check_story(ended.report, run)


def check_story(report: dict[str, Any], fault: Fault) -> None:
    """The run was what it claims: full traffic, a fault that clients felt, a failover, and the law kept."""
    requests, times = report["requests"], report["timeline"]
    assert requests["total"] >= 0.9 * SECONDS * RATE
    assert set(requests["by_service"]) == {WEB, EU_SERVICE}
    assert (requests["failed"], report["residency_violations"], report["lost_reports"]) == (0, 0, 0)
    assert times["sent_before"] > 0
    assert times["failovers"] >= 1
    assert 0 <= times["detected_ms"] <= times["failover_ms"] < times["mended_ms"]
    kinds = [event["kind"] for event in report["events"]]
    assert kinds.index("health.changed") < kinds.index("failover.completed")
    shares_of_victim = next(region for region in report["regions"] if region["region_id"] == VICTIM)
    assert shares_of_victim["share_before"] > 0
    assert shares_of_victim["share_after"] < shares_of_victim["share_before"]
    assert report["left_out"]["selected"] == OTHER
    assert set(report["left_out"]["excluded"]) == set(REGION_IDS) - {OTHER}
    assert report["audit"]["ok"] and report["audit"]["events"] > len(REGION_IDS)
    assert report["fault"] == fault.value


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_running_however_the_demo_ends(how: signal.Signals, tmp_path: Path) -> None:
    arguments = command("--without-envoy", "--fault", "hang", "--seconds", "8", "--rate", "8")
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment(tmp_path)) as run:
        try:
            assert run.stdout is not None
            next(line for line in run.stdout if "THE FAULT" in line)
            children = children_of(run.pid)
            wait_for(lambda: "T" in map(state, children))
            run.send_signal(how)
            assert run.wait(60) != 0
        finally:
            run.kill()
    assert len(children) == len(REGION_IDS) + 1
    wait_for(lambda: {state(pid) for pid in children} <= {"", "Z"})
    if how is not signal.SIGKILL:
        assert list(tmp_path.iterdir()) == []


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until a condition holds; fail loudly when it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "never came true"
        time.sleep(0.02)


def children_of(pid: int) -> list[int]:
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


def state(pid: int) -> str:
    """The letter of a process's state, empty when there is none of that id."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def test_a_promise_is_plain_data() -> None:
    assert build_report(notes()).promises[0] == Promise(MOVED, True, "the last request was sent there after 300 ms")
