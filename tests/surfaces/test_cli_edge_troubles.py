"""What `status` and `doctor` say of edges: gone, lagging, refusing, astray, never read back; and of what runs them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from mahavishnu.integrations.multi_region.ports.dataplane import (
    Astray,
    EdgeEvent,
    EdgeState,
    MemoryDataPlane,
    Rejection,
)
from mahavishnu.integrations.multi_region.surfaces.cli.checks import Level
from mahavishnu.integrations.multi_region.surfaces.cli.edge_checks import edges_of_server
from mahavishnu.integrations.multi_region.surfaces.cli.edge_troubles import READ_BACK_LATE_S, troubles_of, unread
from mahavishnu.integrations.multi_region.surfaces.http.auth import Role
from tests.adapters.envoy.tls_files import make_authority, make_certificate
from tests.surfaces.cli_stage import Home, eventually
from tests.surfaces.http_served import Served, bearer, served, world

XDS = "MAHAVISHNU_MULTI_REGION__XDS"
WELL: dict[str, Any] = {
    "edge_id": "edge-eu",
    "spec": {"listen": "127.0.0.1:10000"},
    "connected": True,
    "acknowledged": 7,
    "current": 7,
    "synced": True,
    "lagging": False,
    "rejections": [],
    "serving": True,
    "astray": {},
    "version": "1.40.0",
    "read_back_age_s": 1.0,
}
GONE = "is not connected here: it follows another controller, goes on with what it has, or does not run"
NO_LISTENER = "it has no listener for clients, and refused the one that it was told"
DEAF = {"resource": "Listener clients", "reason": "bad file", "generation": 7}
REFUSED = {"resource": "api", "reason": "no such cluster", "generation": 7}


# --- judging what a server tells ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({}, []),
        ({"connected": False, "synced": False}, [GONE]),
        (
            {"connected": False, "synced": None, "rejections": None, "astray": None},
            ["is declared, and this controller serves no edges"],
        ),
        ({"spec": None, "connected": False, "synced": False}, []),
        ({"acknowledged": 5, "synced": False, "lagging": True}, ["lags: it has plan 5 of 7"]),
        ({"acknowledged": None, "synced": False, "lagging": True}, ["lags: it has no plan yet"]),
        (
            {"lagging": True, "rejections": [REFUSED]},
            ["does not have api as planned: no such cluster"],
        ),
        (
            {"rejections": [REFUSED, REFUSED]},
            ["does not have api as planned (and 1 more): no such cluster"],
        ),
        ({"lagging": True, "serving": False, "rejections": [DEAF]}, [f"listens to nobody: {NO_LISTENER}: bad file"]),
        (
            {"serving": False, "rejections": [REFUSED, {**REFUSED, "resource": "listener"}]},
            [f"listens to nobody: {NO_LISTENER}: no such cluster"],
        ),
        ({"connected": False, "synced": False, "serving": False}, [GONE]),
        (
            {"astray": {"api~gdpr": ["us-east-1"]}},
            ["holds us-east-1 in api~gdpr, where they do not belong: law may be broken"],
        ),
    ],
)
def test_what_is_wrong_with_an_edge_is_said_once(told: dict[str, Any], said: list[str]) -> None:
    assert [str(trouble) for trouble in troubles_of([{**WELL, **told}])] == [f"edge edge-eu {text}" for text in said]


def test_what_may_break_the_law_comes_first() -> None:
    gone = {**WELL, "edge_id": "a", "connected": False, "synced": False}
    stray = {**WELL, "edge_id": "b", "astray": {"api~gdpr": ["us-east-1"]}}
    assert [(t.edge_id, t.unlawful) for t in troubles_of([gone, stray])] == [("b", True), ("a", False)]


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"read_back_age_s": READ_BACK_LATE_S}, None),
        ({"read_back_age_s": READ_BACK_LATE_S + 1}, "was last read back 61 s ago"),
        ({"read_back_age_s": None}, "has never been read back"),
        ({"read_back_age_s": None, "connected": False}, None),
        ({"read_back_age_s": None, "spec": None}, None),
    ],
)
def test_an_edge_that_nobody_reads_back_is_told_of_while_it_carries_traffic(
    told: dict[str, Any], said: str | None
) -> None:
    found = [trouble.text for trouble in unread([{**WELL, **told}])]
    assert [text.partition(":")[0] for text in found] == ([] if said is None else [said])


def test_doctor_judges_each_edge_and_all_of_them() -> None:
    gone = {**WELL, "connected": False, "synced": False}
    stray = {**WELL, "astray": {"api": ["x"]}}
    deaf = {**WELL, "serving": False, "rejections": [DEAF]}
    levels = {
        name: [(check.name, check.level) for check in edges_of_server(edges)]
        for name, edges in {"well": [WELL], "gone": [gone], "stray": [stray], "deaf": [deaf], "none": []}.items()
    }
    assert levels == {
        "well": [("edge edge-eu", Level.OK)],
        "gone": [("edge edge-eu", Level.WARN), ("edges", Level.WARN)],
        "stray": [("edge edge-eu", Level.FAIL)],
        "deaf": [("edge edge-eu", Level.FAIL)],
        "none": [],
    }


# --- the settings of this machine -----------------------------------------------------------------


@dataclass(frozen=True)
class Files:
    """A server's certificate, its key, and the authority that signs edges' certificates; a key of another."""

    certificate: Path
    key: Path
    authority: Path
    other_key: Path

    def env(self, **changed: Path | str) -> dict[str, str]:
        """The settings that name them."""
        named = {"CERTIFICATE": self.certificate, "KEY": self.key, "CLIENT_CA": self.authority, **changed}
        return {f"{XDS}_{name}": str(path) for name, path in named.items()}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Files that fit together."""
    authority = make_authority(tmp_path)
    certificate, key = make_certificate(tmp_path, "controllers", alt="DNS:controllers.example.test")
    return Files(certificate, key, authority, make_certificate(tmp_path, "other")[1])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A user whose directories are this test's."""
    home = Home(tmp_path / "home")
    for name, value in home.env.items():
        monkeypatch.setenv(name, value)
    return home


def found(home: Home, env: Mapping[str, str], name: str) -> list[tuple[str, str]]:
    """What doctor finds under a name, where no server runs."""
    result = home.cli("doctor", "--json", "--server", "http://127.0.0.1:1", env=env)
    return [(c["level"], c["text"]) for c in json.loads(result.stdout) if c["name"] == name]


@pytest.mark.slow
def test_doctor_finds_envoy_and_says_its_version(home: Home) -> None:
    ((level, text),) = found(home, {}, "envoy")
    assert (level, text[:5]) == ("ok", "1.40.")


@pytest.mark.slow
def test_doctor_fails_for_a_program_that_is_no_envoy(home: Home) -> None:
    ((level, text),) = found(home, {"MAHAVISHNU_MULTI_REGION__ENVOY": "/bin/true"}, "envoy")
    assert (level, "/bin/true" in text) == ("fail", True)


@pytest.mark.slow
def test_doctor_says_nothing_of_serving_edges_where_none_are_served(home: Home) -> None:
    assert found(home, {}, "xds") == []
    assert found(home, {XDS: "127.0.0.1:18000"}, "xds")[0][0] == "ok"


@pytest.mark.slow
def test_doctor_fails_for_edges_served_to_other_machines_without_tls(home: Home) -> None:
    ((level, text),) = found(home, {XDS: "0.0.0.0:18000"}, "xds")
    assert (level, "0.0.0.0:18000 is not loopback" in text) == ("fail", True)


@pytest.mark.slow
def test_doctor_checks_that_the_certificates_can_be_read_and_fit(home: Home, files: Files, tmp_path: Path) -> None:
    listen = {XDS: "0.0.0.0:18000"}
    levels = {
        "fit": found(home, {**listen, **files.env()}, "xds"),
        "key of another": found(home, {**listen, **files.env(KEY=files.other_key)}, "xds"),
        "not there": found(home, {**listen, **files.env(CLIENT_CA=tmp_path / "nowhere.pem")}, "xds"),
        "no key": found(home, {**listen, **files.env(KEY="")}, "xds"),
        "no address": found(home, files.env(), "xds"),
    }
    assert {name: level for name, ((level, _),) in levels.items()} == {
        "fit": "ok",
        "key of another": "fail",
        "not there": "fail",
        "no key": "fail",
        "no address": "warn",
    }
    assert levels["fit"][0][1].endswith("over mutual TLS")
    assert "nowhere.pem" in levels["not there"][0][1]
    assert "XDS_KEY not set" in levels["no key"][0][1]


@pytest.mark.slow
@pytest.mark.parametrize(("listen", "level"), [(None, "fail"), ("127.0.0.1:18000", None)])
def test_doctor_fails_for_edges_here_that_nothing_serves(home: Home, listen: str | None, level: str | None) -> None:
    env = {"MAHAVISHNU_MULTI_REGION__EDGES_HERE": "true", **({} if listen is None else {XDS: listen})}
    assert [found_level for found_level, _ in found(home, env, "edges here")] == ([] if level is None else [level])


@pytest.mark.slow
def test_doctor_fails_for_edges_here_that_are_served_over_tls(home: Home, files: Files) -> None:
    env = {"MAHAVISHNU_MULTI_REGION__EDGES_HERE": "true", XDS: "127.0.0.1:18000", **files.env()}
    assert [level for level, _ in found(home, env, "edges here")] == ["fail"]


# --- against a server -------------------------------------------------------------------------------


class Plane(MemoryDataPlane):
    """Edges that may leave, and refuse, as a test says."""

    def __init__(self) -> None:
        super().__init__()
        self.left: set[str] = set()
        self.refused: tuple[Rejection, ...] = ()
        self.serving = True

    def states(self) -> Mapping[str, EdgeState]:
        """As ever, but for those that left and what they refused."""
        return {
            name: replace(state, connected=name not in self.left, rejections=self.refused, serving=self.serving)
            for name, state in super().states().items()
        }


@dataclass(frozen=True)
class Stage:
    """Commands of an admin to one server, and the edges that it steers."""

    home: Home
    server: Served
    plane: Plane

    def run(self, *args: str) -> str:
        """What a command prints, standard error included, however it ends."""
        token = bearer(Role.ADMIN)["Authorization"].removeprefix("Bearer ")
        env = {"MAHAVISHNU_MULTI_REGION__SERVER": self.server.url, "MAHAVISHNU_MULTI_REGION__TOKEN": token}
        return self.home.cli(*args, env=env).output

    def tell(self, event: EdgeEvent) -> None:
        """Let something happen at an edge."""

        async def happen() -> None:
            self.plane.tell(event)
            await asyncio.sleep(0)

        self.server.call(happen)

    def read_back(self) -> httpx.Response:
        """The edge's agent tells what it holds: all as it should be."""
        body = {"classes": {"api": [{"region": "eu-west-1"}]}}
        url = f"{self.server.url}/v1/edges/edge-eu/report"
        return httpx.post(url, json=body, headers=bearer(Role.OPERATOR))

    def edge(self) -> dict[str, Any]:
        """The edge as the server answers it."""
        answer: dict[str, Any] = httpx.get(f"{self.server.url}/v1/edges/edge-eu").json()
        return answer


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A region, a service, and an edge that takes everything over."""
    plane = Plane()
    with served(plane) as server:
        edges = [{"id": "edge-eu", "region": "eu-west-1"}]
        told = world("eu-west-1", edges=edges, services=[{"name": "api", "hosts": ["api.test"]}])
        httpx.post(f"{server.url}/v1/apply", json=told, headers=bearer(Role.ADMIN)).raise_for_status()
        stage = Stage(Home(tmp_path), server, plane)
        eventually(stage.edge, lambda edge: bool(edge["synced"]))
        yield stage


def lines(text: str) -> list[str]:
    """The lines of `status` that ask for attention."""
    return [line.removeprefix("attention: ") for line in text.splitlines() if line.startswith("attention: ")]


@pytest.mark.slow
def test_status_asks_for_attention_only_while_an_edge_needs_it(stage: Stage) -> None:
    assert lines(stage.run("status")) == []
    stage.plane.left.add("edge-eu")
    assert lines(stage.run("status")) == [f"edge edge-eu {GONE}"]
    stage.plane.left.clear()
    stage.plane.refused = (Rejection("api", "not allowed", 1),)
    assert lines(stage.run("status")) == ["edge edge-eu does not have api as planned: not allowed"]
    stage.plane.refused, stage.plane.serving = (Rejection("Listener clients", "bad file", 1),), False
    said = f"listens to nobody: {NO_LISTENER}: bad file"
    assert lines(stage.run("status")) == [f"edge edge-eu {said}"]
    assert said in stage.run("doctor")
    assert "yes, listens to nobody" in stage.run("edges", "list")
    assert "yes, listens to nobody" in stage.run("edges", "show", "edge-eu")
    stage.plane.refused, stage.plane.serving = (), True
    stage.tell(Astray("edge-eu", "api", ("us-east-1",)))
    assert lines(stage.run("status"))[0].startswith("edge edge-eu holds us-east-1 in api, ")


@pytest.mark.slow
def test_status_names_an_edge_that_does_not_take_plans_over(stage: Stage) -> None:
    stage.plane.holding.add("edge-eu")
    httpx.put(f"{stage.server.url}/v1/services/web", json={"hosts": ["w.test"]}, headers=bearer(Role.ADMIN))
    lagging = eventually(partial(stage.run, "status"), lambda text: "lags" in text)
    assert lines(lagging)[0].startswith("edge edge-eu lags: it has plan ")


@pytest.mark.slow
def test_doctor_warns_until_an_edge_is_read_back(stage: Stage) -> None:
    assert "has never been read back" in stage.run("doctor")
    assert stage.edge()["read_back_age_s"] is None
    assert stage.read_back().status_code == 204
    assert stage.edge()["read_back_age_s"] >= 0
    assert "has never been read back" not in stage.run("doctor")


@pytest.mark.slow
def test_a_server_that_serves_no_edges_says_so_for_those_declared(tmp_path: Path) -> None:
    with served() as server:
        told = world("eu-west-1", edges=[{"id": "edge-eu", "region": "eu-west-1"}])
        httpx.post(f"{server.url}/v1/apply", json=told, headers=bearer(Role.ADMIN)).raise_for_status()
        stage = Stage(Home(tmp_path), server, Plane())
        assert lines(stage.run("status")) == ["edge edge-eu is declared, and this controller serves no edges"]
        assert "1 declared and none connected" not in stage.run("doctor")
