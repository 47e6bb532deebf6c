"""``serve --workers N`` in real processes: the same answers, changes that reach all, and what is lost when one dies."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mahavishnu.integrations.multi_region.surfaces.http.auth import Role, Tokens
from tests.surfaces.cli_stage import DEADLINE_S, eventually
from tests.surfaces.workers.stage import BERLIN, Fleet, ask, halted, kill, lives, serving

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A server with two workers. Whoever changes something puts it back."""
    with serving(tmp_path_factory.mktemp("workers")) as fleet:
        fleet.wait_until_well()
        yield fleet


CONTEXTS = [
    {"user_location": {"latitude": 52.5, "longitude": 13.4}},
    {"user_location": {"latitude": 40, "longitude": -74}, "compliance_requirements": ["gdpr"]},
    {"user_location": {"latitude": -33.9, "longitude": 151.2}, "service": "accounts"},
    {"country": "JP"},
    {},
    {"data_id": "orders", "user_location": {"latitude": 1, "longitude": 1}},
    {"compliance_requirements": ["hipaa"]},
    {"service": "nobody"},
    {"user_location": {"latitude": 99, "longitude": 0}},
]


@pytest.mark.parametrize("context", CONTEXTS, ids=str)
@pytest.mark.parametrize(
    "more", [{}, {"strategy": "cost_based"}, {"candidates": 1}, {"candidates": 3}, {"candidates": 0}], ids=str
)
def test_workers_answer_as_the_controller_does(
    fleet: Fleet, context: dict[str, object], more: dict[str, object]
) -> None:
    body = {"request_context": context, **more}
    of_worker = fleet.ask("POST", "/route", body)
    of_controller = fleet.ask("POST", "/route", iter([json.dumps(body).encode()]))  # in chunks: it is passed on
    assert (of_worker.status, of_worker.json) == (of_controller.status, of_controller.json)
    assert of_worker.headers["content-type"] == of_controller.headers["content-type"]


def test_a_batch_is_answered_as_its_parts_are(fleet: Fleet) -> None:
    places = [(52.5, 13.4), (40.7, -74.0), (37.8, -122.4), (53.3, -6.3)]
    columns = {"latitude": [a for a, _ in places], "longitude": [b for _, b in places]}
    batch = fleet.ask("POST", "/v1/route/batch", columns).json
    singly = [
        fleet.ask("POST", "/route", {"request_context": {"user_location": {"latitude": a, "longitude": b}}}).json
        for a, b in places
    ]
    assert [batch["regions"][n] for n in batch["index"]] == [answer["selected_region"] for answer in singly]
    assert fleet.ask("POST", "/v1/route/batch?x=1", columns).status == 422


def test_a_drain_holds_on_every_worker_once_it_is_answered(fleet: Fleet) -> None:
    with fleet.connections(8) as lines:
        chosen = {ask(line, "POST", "/route", BERLIN).json["selected_region"] for line in lines}
        assert chosen == {"eu-central-1"}
        fleet.cli("drain", "eu-central-1", "--reason", "racks", "--yes")
        after = {ask(line, "POST", "/route", BERLIN).json["selected_region"] for line in lines}
        fleet.cli("undrain", "eu-central-1", "--yes")
        again = {ask(line, "POST", "/route", BERLIN).json["selected_region"] for line in lines}
    assert (after, again) == ({"eu-west-1"}, {"eu-central-1"})


def test_what_was_learned_from_round_trips_reaches_the_workers(fleet: Fleet) -> None:
    def nearest() -> str:
        return str(fleet.ask("POST", "/route", {"request_context": {"user_location": place}}).json["selected_region"])

    place = {"latitude": 48.5, "longitude": 2.5}
    usual = nearest()
    other = next(r for r in ("eu-west-1", "eu-central-1") if r != usual)
    seen = [{"location": place, "region_id": r, "ms": ms} for r, ms in ((usual, 90.0), (other, 12.0))] * 10
    assert fleet.ask("POST", "/v1/observations", {"rtts": seen}, Authorization=_admin(fleet)).status == 200
    assert eventually(nearest, lambda region: region == other) == other
    learned = fleet.ask("GET", "/stats").json["round_trips"]
    assert (learned["observed"], learned["cells"]) == (20, 2)
    assert "multi_region_round_trips_total 20.0" in fleet.ask("GET", "/metrics").body.decode().splitlines()


def test_events_flow_through_a_worker(fleet: Fleet) -> None:
    line = fleet.connect()
    line.request("GET", "/events")
    stream = line.getresponse()
    assert (stream.status, stream.getheader("content-type")) == (200, "text/event-stream; charset=utf-8")
    fleet.cli("freeze", "--reason", "seen through a worker", "--yes")
    fleet.cli("unfreeze", "--yes")
    while b"seen through a worker" not in (text := stream.readline()):
        assert text
    line.close()


def test_what_is_passed_on_keeps_its_path_its_body_and_its_answer(fleet: Fleet) -> None:
    missing = fleet.ask("GET", "/regions/no%2Fwhere%20at%20all")
    assert (missing.status, missing.json["instance"]) == (404, "/regions/no/where%20at%20all")
    assert fleet.ask("GET", "/regions?healthy_only=perhaps").status == 422
    assert fleet.ask("DELETE", "/stats").headers["allow"] == "GET"
    head = fleet.ask("GET", "/openapi.json")
    assert len(head.body) == int(head.headers["content-length"]) > 100_000
    large = fleet.ask("POST", "/route", b" " * 1_000_001)
    assert (large.status, large.json["type"].rpartition(":")[2]) == (413, "too-large")
    assert [name for name in head.headers if name in ("server", "transfer-encoding")] == []


def test_the_same_tokens_count_on_workers(tmp_path: Path) -> None:
    secret, line = Tokens.issue("looker", Role.VIEWER)
    file = tmp_path / "tokens"
    file.touch(0o600)
    file.write_text(line)
    with serving(tmp_path, "--tokens", str(file), "--no-open-reads", "--store", "memory") as fleet:
        for path, body in (("/route", BERLIN), ("/v1/route/batch", {"latitude": [1.0], "longitude": [1.0]})):
            bare = fleet.ask("POST", path, body)
            wrong = fleet.ask("POST", path, body, Authorization="Bearer wrong")
            known = fleet.ask("POST", path, body, Authorization=f"Bearer {secret}")
            assert (bare.status, wrong.status, known.status) == (401, 401, 200)
            assert bare.headers["www-authenticate"] == "Bearer"
        assert fleet.ask("POST", "/regions", {}, Authorization=f"Bearer {secret}").status == 403
        assert fleet.ask("GET", "/healthz").status == 200
        assert fleet.supervisor.stop() == 0


class _Client(threading.Thread):
    """Asks again and again on one connection, or on a new one each time; remembers what failed."""

    def __init__(self, fleet: Fleet, line: http.client.HTTPConnection | None) -> None:
        super().__init__()
        self.fleet = fleet
        self.line = line
        self.answered = 0
        self.failures: list[Exception] = []
        self.enough = threading.Event()

    def run(self) -> None:
        while not self.enough.is_set() and not self.failures:
            try:
                answer = self.fleet.ask("POST", "/route", BERLIN) if self.line is None else self._again(self.line)
                assert answer == 200 if isinstance(answer, int) else answer.status == 200
                self.answered += 1
            except (OSError, http.client.HTTPException, AssertionError) as err:
                self.failures.append(err)
            time.sleep(0.002)

    def _again(self, line: http.client.HTTPConnection) -> int:
        line.auto_open = 0
        return ask(line, "POST", "/route", BERLIN).status


def test_killing_one_worker_loses_no_request_of_another_and_it_is_replaced(tmp_path: Path) -> None:
    with serving(tmp_path, "--store", "memory") as fleet, fleet.connections(6) as lines:
        owners = {line: fleet.owner(line) for line in lines}
        victim = fleet.workers[0]
        clients = [_Client(fleet, line) for line in lines]
        for client in clients:
            client.start()
        eventually(lambda: min(client.answered for client in clients), lambda n: n > 5)
        kill(victim)
        coming = _Client(fleet, None)
        coming.start()
        before = {client: client.answered for client in clients}
        others = [client for client in clients if owners[client.line] != victim]  # type: ignore[index]  # all have one
        eventually(lambda: coming.answered, lambda n: n > 20)
        replaced = eventually(lambda: fleet.workers, lambda pids: len(pids) == 2 and victim not in pids)
        eventually(lambda: fleet.supervisor.log.read_text().count(" started "), lambda n: n == 4)
        eventually(lambda: coming.answered, lambda n, so_far=coming.answered: n > so_far + 20)  # type: ignore[misc]
        eventually(lambda: min(c.answered - before[c] for c in others), lambda n: n > 20)
        for client in (*clients, coming):
            client.enough.set()
            client.join(DEADLINE_S)
        assert [client.failures for client in (*others, coming)] == [[]] * (len(others) + 1)
        assert 0 < len(others) < len(clients)
        with fleet.connections(2) as fresh:
            assert {fleet.owner(line) for line in fresh} == set(replaced)
        assert fleet.supervisor.stop() == 0


def test_connections_of_a_worker_that_cannot_be_replaced_are_taken_by_another(tmp_path: Path) -> None:
    with serving(tmp_path, "--store", "memory") as fleet:
        controller, (victim, other) = fleet.controller, fleet.workers
        with halted(controller):  # without it a new worker has no state, and does not begin
            kill(victim)
            lines = [fleet.connect() for _ in range(20)]
            assert {ask(line, "POST", "/route", BERLIN).status for line in lines} == {200}
            assert {fleet.owner(line) for line in lines} == {other}
            for line in lines:
                line.close()
        eventually(lambda: fleet.supervisor.log.read_text().count(" started "), lambda n: n == 4)
        assert fleet.supervisor.stop() == 0


def test_counts_of_all_workers_are_summed_and_those_of_a_killed_one_kept(tmp_path: Path) -> None:
    nobody = {"request_context": {"compliance_requirements": ["hipaa"]}}
    with serving(tmp_path, "--store", "memory") as fleet:
        with fleet.connections(4) as lines:
            assert {fleet.owner(line) for line in lines} == set(fleet.workers)
            for line in lines * 5:
                assert ask(line, "POST", "/route", BERLIN).status == 200
                assert ask(line, "POST", "/route", nobody).status == 503
        made = 5 * len(lines)
        assert _counted(fleet, made) == (made, made)
        victim = fleet.workers[0]
        kill(victim)
        eventually(lambda: fleet.workers, lambda pids: len(pids) == 2 and victim not in pids)
        assert fleet.ask("POST", "/route", BERLIN).status == 200
        assert _counted(fleet, made + 1) == (made + 1, made)
        figures = fleet.ask("GET", "/metrics").body.decode().splitlines()
        decisions = [line for line in figures if line.startswith("multi_region_decisions_total{")]
        assert sum(float(line.rpartition(" ")[2]) for line in decisions) == made + 1


def test_workers_go_on_while_the_controller_is_away_and_it_comes_back(tmp_path: Path) -> None:
    with serving(tmp_path) as fleet, fleet.connections(2) as lines:
        fleet.wait_until_well()
        fleet.cli("drain", "eu-central-1", "--reason", "racks", "--yes")
        first, workers = fleet.controller, fleet.workers
        kill(first)
        away = fleet.ask("GET", "/stats")
        while away.status != 503:  # it came back in no time: once more
            first = eventually(lambda: fleet.controller, bool)
            kill(first)
            away = fleet.ask("GET", "/stats")
        kind, detail = away.json["type"].rpartition(":")[2], away.json["detail"]
        assert (kind, "the controller" in detail, away.headers["retry-after"]) == ("unavailable", True, "1")
        routed = {ask(line, "POST", "/route", BERLIN).json["selected_region"] for line in lines}
        assert routed == {"eu-west-1"}
        assert fleet.ask("GET", "/healthz").status == 200
        eventually(lambda: fleet.ask("GET", "/stats").status, lambda status: status == 200)
        assert fleet.workers == workers
        fleet.cli("undrain", "eu-central-1", "--yes")
        eventually(
            lambda: {ask(line, "POST", "/route", BERLIN).json["selected_region"] for line in lines},
            lambda chosen: chosen == {"eu-central-1"},
        )
        assert fleet.supervisor.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_stop_ends_all_in_good_order(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path, "--store", "memory") as fleet:
        line = fleet.connect()
        line.request("GET", "/events")
        stream = line.getresponse()
        began = stream.readline()
        processes = fleet.children()
        assert len(processes) == 3
        assert fleet.supervisor.stop(number) == 0
        assert (began + stream.read()).endswith(b"\n\n")  # the stream has ended, and was not cut
        line.close()
        assert [pid for pid in processes if lives(pid)] == []
        assert "Traceback" not in fleet.supervisor.log.read_text()
        _nobody_listens(fleet)


def test_when_the_supervisor_is_killed_all_others_end(tmp_path: Path) -> None:
    with serving(tmp_path, "--store", "memory") as fleet:
        place, controller = fleet.private_place, fleet.controller
        assert place.stat().st_mode & 0o777 == 0o700
        with halted(controller):
            kill(fleet.workers[0])
            processes = eventually(
                lambda: list(fleet.children()), lambda found: len(found) == 3
            )  # one has not begun yet
            fleet.supervisor.stop(signal.SIGKILL)
        eventually(lambda: [pid for pid in processes if lives(pid)], lambda left: not left)
        assert not place.exists()
        _nobody_listens(fleet)


def test_what_is_wrong_at_the_start_is_said_once_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "no.db").mkdir()
    with (
        pytest.raises(AssertionError, match=r"ended with 3: .*no\.db"),
        serving(tmp_path, "--store", str(tmp_path / "no.db")),
    ):
        pass


def _counted(fleet: Fleet, least: int) -> tuple[int, int]:
    """Decisions and refusals that the controller knows of, once there are so many decisions."""
    stats = eventually(
        lambda: fleet.ask("GET", "/stats").json["routing"],
        lambda found: found["total_decisions"] >= least and found["refused"] > 0,
    )
    return stats["total_decisions"], stats["refused"]


def _admin(fleet: Fleet) -> str:
    return "Bearer " + str(json.loads(Path(fleet.first["token_file"]).read_text())["token"])


def _nobody_listens(fleet: Fleet) -> None:
    with socket.socket() as sock:
        assert sock.connect_ex(("127.0.0.1", fleet.supervisor.port)) != 0
