"""``doctor``: it names what is wrong with the set-up, and how to mend it."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from mahavishnu.integrations.multi_region.surfaces.cli.checks import Level
from mahavishnu.integrations.multi_region.surfaces.cli.client import Remote
from mahavishnu.integrations.multi_region.surfaces.cli.errors import UnreachableError
from mahavishnu.integrations.multi_region.surfaces.cli.remote_checks import unreachable
from tests.surfaces.cli_stage import Home, bad_world, region_servers, world_text


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A user whose directories are this test's."""
    home = Home(tmp_path)
    for name, value in home.env.items():
        monkeypatch.setenv(name, value)
    return home


@pytest.fixture
def nobody() -> str:
    """The URL of a port on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{sock.getsockname()[1]}"


def test_doctor_finds_nothing_wrong_with_a_sound_machine(home: Home, nobody: str) -> None:
    where = nobody.removeprefix("http://")
    _, checks = _doctor(home, "--server", nobody, env={"MAHAVISHNU_MULTI_REGION__LISTEN": where})
    levels = {name: level for name, level, _ in checks}
    assert {levels[name] for name in ("python", "libraries", "sqlite", "settings", "store", "clock", "port")} == {"ok"}


@pytest.mark.parametrize(
    ("url", "level"), [("http://127.0.0.1:8000", Level.WARN), ("http://fleet.example.test", Level.FAIL)]
)
def test_a_server_that_was_named_must_answer_and_the_one_of_the_defaults_need_not_run_yet(
    url: str, level: Level
) -> None:
    assert unreachable(Remote(url, None), UnreachableError("no answer")).level is level


def test_doctor_fails_when_the_server_that_was_named_does_not_answer(home: Home, nobody: str) -> None:
    code, checks = _doctor(home, "--server", nobody)
    assert code == 1
    assert ("server", "fail", f"cannot reach {nobody}: Connection refused") in checks


@pytest.mark.parametrize(
    ("variable", "value", "level"),
    [
        ("MAHAVISHNU_MULTI_REGION__HEALTH_CHECK_INTERVALL", "3", "warn"),
        ("MAHAVISHNU_MULTI_REGION__HEALTH_CHECK_INTERVAL", "often", "fail"),
    ],
)
def test_doctor_names_settings_that_are_wrong(home: Home, variable: str, value: str, level: str) -> None:
    _, checks = _doctor(home, env={variable: value})
    assert any(name == "settings" and found == level and variable in text for name, found, text in checks)


def test_doctor_reads_the_world_file(home: Home, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", bad_world(tmp_path)
    with region_servers() as urls:
        good.write_text(world_text(urls))
    found = {str(file): _doctor(home, "-f", str(file)) for file in (good, bad)}
    assert ("world file", "ok", f"{good}: 4 regions, 2 services, 1 policies") in found[str(good)][1]
    code, checks = found[str(bad)]
    assert code == 1
    assert any(name == "world file" and level == "fail" and f"{bad}:3:" in text for name, level, text in checks)


def test_doctor_finds_a_store_of_another_program(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("These are no pages of a database. " * 100)
    code, checks = _doctor(home, env={"MAHAVISHNU_MULTI_REGION__STORE": str(file)})
    assert code == 1
    assert any(name == "store" and level == "fail" for name, level, _ in checks)


def test_doctor_warns_of_a_store_in_memory_and_of_a_port_in_use(home: Home, nobody: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        settings = {"MAHAVISHNU_MULTI_REGION__STORE": "memory", "MAHAVISHNU_MULTI_REGION__LISTEN": where}
        _, checks = _doctor(home, "--server", nobody, env=settings)
    levels = {name: level for name, level, _ in checks}
    assert (levels["store"], levels["port"]) == ("warn", "fail")


def test_doctor_says_how_to_mend_what_it_finds(home: Home, nobody: str) -> None:
    result = home.cli("doctor", "--server", nobody)
    assert "server: start it, or name another with --server URL" in result.stdout


def _doctor(home: Home, *args: str, env: dict[str, str] | None = None) -> tuple[int, list[tuple[str, str, str]]]:
    result = home.cli("doctor", "--json", *args, env=env)
    return result.exit_code, [(c["name"], c["level"], c["text"]) for c in json.loads(result.stdout)]
