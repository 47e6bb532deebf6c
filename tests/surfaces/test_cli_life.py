"""The life of a served system: restarts, kill -9, orderly ends, tokens of a file, a log that somebody altered."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import web

from mahavishnu.integrations.multi_region.surfaces.cli.client import Remote
from mahavishnu.integrations.multi_region.surfaces.http.auth import Role, Tokens
from tests.surfaces.cli_stage import (
    DEADLINE_S,
    PACKAGE,
    Home,
    process_env,
    region_servers,
    running,
    world_text,
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A user whose directories are this test's."""
    return Home(tmp_path)


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A world file whose regions do not answer; nothing here depends on that they do."""
    file = tmp_path / "world.yaml"
    file.write_text(world_text([f"http://127.0.0.1:{port}" for port in (1, 2, 3, 4)]))
    return file


@pytest.mark.slow
def test_law_l11_a_drain_survives_kill_9_and_a_restart(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "world.yaml"
    with region_servers() as urls:
        file.write_text(world_text(urls))
        with running(home, "-f", str(file)) as controller:
            reason = ("--reason", "new racks", "--yes", "--server", controller.url)
            assert home.cli("drain", "eu-west-1", *reason).exit_code == 0
            controller.stop(signal.SIGKILL)
        with running(home, "-f", str(file)) as controller:
            assert "the world is as declared: no change" in controller.said
            regions = {r["region_id"]: r for r in home.answer("status", "--server", controller.url)["regions"]}
            assert (regions["eu-west-1"]["admin"], regions["eu-west-1"]["drain"]["reason"]) == ("drained", "new racks")
            assert home.answer("audit", "verify", "--server", controller.url)["valid"] is True


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_stop_ends_in_good_order_though_somebody_follows_events(
    home: Home, world: Path, number: signal.Signals
) -> None:
    with running(home, "-f", str(world)) as controller:
        command = [sys.executable, "-m", PACKAGE, "events", "--follow", "--server", controller.url]
        follower = subprocess.Popen(command, env=process_env(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            assert follower.stdout is not None
            assert follower.stdout.readline()
            assert controller.stop(number) == 0
        finally:
            follower.kill()
            follower.communicate(timeout=DEADLINE_S)
        assert not list((home.root / "run" / "multi-region").iterdir())
        assert "Traceback" not in controller.log.read_text()


@pytest.mark.slow
def test_with_json_serve_prints_a_line_of_json_for_each_thing_it_says(home: Home, world: Path) -> None:
    with running(home, "-f", str(world), "--json", "--log-format", "json", "--store", "memory") as controller:
        applied, listening = (json.loads(line) for line in controller.said)
        assert len(applied["changes"]) == 8
        assert (listening["event"], listening["url"]) == ("listening", controller.url)
        assert controller.stop() == 0
        assert all(json.loads(line) for line in controller.log.read_text().splitlines())


@pytest.mark.slow
def test_the_tokens_of_a_file_open_what_their_roles_allow(home: Home, world: Path, tmp_path: Path) -> None:
    made = {role: Tokens.issue(f"a-{role.value}", role) for role in Role}
    file = tmp_path / "tokens"
    file.touch(0o600)
    file.write_text("\n".join(line for _, line in made.values()))
    with running(home, "-f", str(world), "--tokens", str(file), "--no-open-reads") as controller:
        at = ("--server", controller.url)
        assert home.cli("status", *at).exit_code == 1
        codes = {
            role: [
                home.cli(*command, *at, "--token", token).exit_code
                for command in (("status",), ("freeze", "--yes"), ("apply", "-f", str(world)))
            ]
            for role, (token, _) in made.items()
        }
        roles = [_role_found_by_doctor(home, controller.url, token) for token, _ in made.values()]
    assert codes == {Role.VIEWER: [0, 1, 1], Role.OPERATOR: [0, 0, 1], Role.ADMIN: [0, 0, 0]}
    assert ["viewer" in roles[0], roles[1:]] == [True, ["accepted, role operator", "accepted, role admin"]]


@pytest.mark.slow
def test_a_log_that_somebody_altered_is_found_out(home: Home, world: Path) -> None:
    with running(home, "-f", str(world)) as controller:
        assert home.cli("freeze", "--reason", "the true reason", "--yes", "--server", controller.url).exit_code == 0
        assert controller.stop() == 0
    file = home.root / "state" / "multi-region" / "multi-region.db"
    offline = ("audit", "verify", "--store", str(file))
    assert home.cli(*offline).exit_code == 0
    with sqlite3.connect(file) as db:
        changed = db.execute(
            "UPDATE entries SET value = replace(value, 'the true reason', 'another reason') WHERE key LIKE 'events/%'"
        )
        assert changed.rowcount > 0
    db.close()
    result = home.cli(*offline)
    assert result.exit_code == 1
    assert "event " in result.stderr
    with running(home) as controller:
        result = home.cli("audit", "verify", "--server", controller.url)
        assert (result.exit_code, "Traceback" in result.output) == (1, False)


async def test_following_goes_on_where_it_was_when_the_line_breaks() -> None:
    asked: list[str] = []

    async def stream(request: web.Request) -> web.StreamResponse:
        """One event after the last that was seen, then the end of the connection."""
        asked.append(request.headers["Last-Event-ID"])
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        seq = int(asked[-1]) + 1
        await response.write(f': hello\n\nid: {seq}\nevent: x\ndata: {{"seq":{seq}}}\n\n'.encode())
        return response

    server = web.Application()
    server.router.add_get("/events", stream)
    runner = web.AppRunner(server)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    breaks: list[str] = []
    seen: list[int] = []
    events = Remote(f"http://127.0.0.1:{runner.addresses[0][1]}", None).events(7, breaks.append)
    async for event in events:
        seen.append(event["seq"])
        if len(seen) == 3:
            break
    await runner.cleanup()
    assert (seen, asked) == ([8, 9, 10], ["7", "8", "9"])
    assert len(breaks) == 2
    assert all("connecting again" in why for why in breaks)


def _role_found_by_doctor(home: Home, url: str, token: str) -> str:
    found = json.loads(home.cli("doctor", "--json", "--server", url, "--token", token).stdout)
    checks = {check["name"]: check for check in found}
    return str(checks["token"]["text"])
