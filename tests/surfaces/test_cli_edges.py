"""``multi-region edges`` and what edges add to other commands, against a real server whose edges exist only in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from mahavishnu.integrations.multi_region.ports.dataplane import Load, LoadReport, MemoryDataPlane
from mahavishnu.integrations.multi_region.surfaces.cli.operate import _say_edges
from mahavishnu.integrations.multi_region.surfaces.http.auth import Role
from tests.surfaces.cli_stage import Home, eventually
from tests.surfaces.http_served import Served, bearer, served, world

pytestmark = pytest.mark.slow
EDGES = [
    {"id": "quick", "region": "eu-west-1", "listen": "0.0.0.0:10000"},
    {"id": "slow", "region": "us-east-1", "listen": "127.0.0.1:10001"},
]
ROUTES = [{"prefix": "/stream/", "timeout": "0s"}, {"timeout": "2s", "attempt_timeout": "500ms", "retry_keyed": True}]


class Stage:
    """Commands of an admin to one server, and the edges that it steers."""

    def __init__(self, home: Home, server: Served, plane: MemoryDataPlane) -> None:
        self.server = server
        self.plane = plane
        self._home = home

    def run(self, *args: str, code: int = 0) -> str:
        """What a command prints, standard error included; it must end with ``code``."""
        token = bearer(Role.ADMIN)["Authorization"].removeprefix("Bearer ")
        env = {"MAHAVISHNU_MULTI_REGION__SERVER": self.server.url, "MAHAVISHNU_MULTI_REGION__TOKEN": token}
        result = self._home.cli(*args, env=env)
        assert result.exit_code == code, result.output
        return result.output

    def tell(self, *events: Any) -> None:
        """Let things happen at edges."""

        async def happen() -> None:
            for event in events:
                self.plane.tell(event)

        self.server.call(happen)


def apply(server: Served, wanted: dict[str, Any]) -> None:
    """Make a world the intent."""
    httpx.post(f"{server.url}/v1/apply", json=wanted, headers=bearer(Role.ADMIN)).raise_for_status()


def edges_of(server: Served) -> Any:
    """What the server says of its edges."""
    return httpx.get(f"{server.url}/v1/edges").json()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Two regions, a service, and two edges of which one takes nothing over."""
    plane = MemoryDataPlane()
    plane.holding.add("slow")
    with served(plane) as server:
        services = [{"name": "api", "hosts": ["api.test"], "routes": ROUTES}]
        apply(server, world("eu-west-1", "us-east-1", edges=EDGES, services=services))
        eventually(partial(edges_of, server), lambda found: all(edge["connected"] for edge in found))
        yield Stage(Home(tmp_path), server, plane)


def test_edges_are_listed_with_how_far_they_have_come(stage: Stage) -> None:
    assert re.search(r"^quick +0\.0\.0\.0:10000 +yes +\d+ ", stage.run("edges"), re.MULTILINE)
    assert re.search(r"^slow +127\.0\.0\.1:10001 +yes +none yet ", stage.run("edges", "list"), re.MULTILINE)
    assert stage.run("edges", "--json") == stage.run("edges", "list", "--json")


def test_requests_are_shown_where_edges_report_them(stage: Stage) -> None:
    assert "requests/s" not in stage.run("status")
    loads = tuple(Load("api", "api", region, n, 0, 1, n) for region, n in (("us-east-1", 10), ("eu-west-1", 30)))
    stage.tell(LoadReport("quick", 2.0, loads))
    assert re.search(r"^quick .* 0 +2 +eu-west-1 15, us-east-1 5$", stage.run("edges"), re.MULTILINE)
    text = stage.run("status")
    assert re.search(r"^region .* requests/s +share ", text, re.MULTILINE)
    assert re.search(r"^eu-west-1 .* 15 +75 % +active", text, re.MULTILINE)
    assert re.search(r"^us-east-1 .* 5 +25 % +active", text, re.MULTILINE)


def test_one_edge_is_shown_with_what_it_does(stage: Stage) -> None:
    stage.tell(LoadReport("quick", 1.0, (Load("api", "api", "eu-west-1", 3, 1, 2, 4),)))
    text = stage.run("edges", "show", "quick")
    assert re.search(r"^country +IE$", text, re.MULTILINE)
    assert re.search(r"^requests/s +eu-west-1 4$", text, re.MULTILINE)
    assert re.search(r"^in flight +eu-west-1 2$", text, re.MULTILINE)
    assert "did you mean 'quick'" in stage.run("edges", "show", "quik", code=2)


def test_an_edge_is_added_changed_and_removed(stage: Stage) -> None:
    said = stage.run("edges", "add", "new", "--region", "eu-west-1", "--listen", "127.0.0.1:9", "--trusted-hops", "1")
    assert "new is declared, and listens on 127.0.0.1:9" in said
    stage.run("edges", "add", "new", "--latitude", "1", "--longitude", "2", "--country", "DE")
    shown = stage.run("edges", "show", "new")
    assert re.search(r"^place +1, 2$", shown, re.MULTILINE)
    assert re.search(r"^listen +127\.0\.0\.1:10000$", shown, re.MULTILINE)
    assert "no other edge listens on" in stage.run(
        "edges", "add", "more", "--region", "eu-west-1", "--listen", "127.0.0.1:10001", code=2
    )
    assert "new is removed" in stage.run("edges", "rm", "new", "--yes")
    stage.run("edges", "rm", "new", "--yes", code=2)


def test_an_option_before_the_command_is_refused_rather_than_forgotten(stage: Stage) -> None:
    assert "--server after list" in stage.run("edges", "--server", "http://127.0.0.1:1", "list", code=2)


def test_how_requests_are_carried_is_shown_with_their_service(stage: Stage) -> None:
    text = stage.run("services", "show", "api")
    assert re.search(r"^path /stream/ +without a limit, repeated up to 2 x$", text, re.MULTILINE)
    assert "within 2 s, another region asked after 0.5 s, repeated up to 2 x, with a key too" in text


def test_a_failover_names_the_edges_that_have_not_taken_it_over(stage: Stage) -> None:
    said = stage.run("failover", "eu-west-1", "--reason", "works", "--yes")
    assert "eu-west-1 is failed over to us-east-1 100 %" in said
    assert "taken over by quick\n" in said
    assert "not acknowledged yet by slow" in said


def test_what_edges_refuse_is_noted_beside_who_has_taken_a_failover_over(capsys: pytest.CaptureFixture[str]) -> None:
    _say_edges({"acknowledged_by": ["edge-eu", "edge-us"], "lagging": [], "rejected": ["edge-us"]})
    said = capsys.readouterr()
    assert said.out == "taken over by edge-eu, edge-us\n"
    assert said.err.startswith("warning: a part is refused by edge-us; no requests move by it")


def test_without_edges_a_failover_says_nothing_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    _say_edges({"acknowledged_by": [], "lagging": [], "rejected": []})
    assert "".join(capsys.readouterr()) == ""
