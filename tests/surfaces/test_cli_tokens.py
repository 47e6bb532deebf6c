"""Tokens, the pass that a server leaves for its user, and whom ``serve`` refuses to let in."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mahavishnu.integrations.multi_region.surfaces.cli import session
from mahavishnu.integrations.multi_region.surfaces.cli.client import Remote, connect
from mahavishnu.integrations.multi_region.surfaces.http.auth import Role, Tokens
from tests.surfaces.cli_stage import Home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A user whose directories are this test's."""
    home = Home(tmp_path)
    for name, value in home.env.items():
        monkeypatch.setenv(name, value)
    return home


# --- tokens and passes --------------------------------------------------------------------------


def test_a_made_token_is_known_by_its_line_and_by_nothing_else(home: Home) -> None:
    made = home.answer("token", "alice", "--role", "operator")
    caller = Tokens.parse(made["line"]).find(made["token"])
    assert caller is not None
    assert (caller.name, caller.role) == ("alice", Role.OPERATOR)
    assert made["token"] not in made["line"]


def test_a_token_for_people_stands_alone_on_stdout_with_its_line(home: Home) -> None:
    secret, line = home.cli("token", "alice").stdout.splitlines()
    assert Tokens.parse(line).find(secret) is not None


def test_a_role_that_does_not_exist_is_refused(home: Home) -> None:
    result = home.cli("token", "alice", "--role", "root")
    assert result.exit_code == 2
    assert "viewer" in result.stderr


def test_a_pass_is_readable_by_its_user_alone_and_goes_with_its_server(home: Home) -> None:
    mine = session.Session("http://127.0.0.1:8123", "secret", os.getpid())
    path = session.leave(mine)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    session.take_back(mine)
    assert not path.exists()


def test_a_pass_that_another_server_has_left_since_stays(home: Home) -> None:
    mine, other = (session.Session("http://127.0.0.1:8123", secret, os.getpid()) for secret in ("mine", "other"))
    session.leave(mine)
    path = session.leave(other)
    session.take_back(mine)
    assert path.exists()


@pytest.mark.parametrize(
    ("url", "remote"),
    [
        ("http://127.0.0.1:8123", Remote("http://127.0.0.1:8123", "secret")),
        ("http://localhost:8123", Remote("http://127.0.0.1:8123", "secret")),
        ("http://127.0.0.1:8124", Remote("http://127.0.0.1:8124", None)),
        ("http://[::1]:8123", Remote("http://[::1]:8123", None)),
        ("http://127.0.0.2:8123", Remote("http://127.0.0.2:8123", None)),
        ("http://example.test:8123", Remote("http://example.test:8123", None)),
        ("https://127.0.0.1:8123", Remote("https://127.0.0.1:8123", None)),
    ],
)
def test_a_pass_is_shown_only_to_the_address_that_it_is_for(home: Home, url: str, remote: Remote) -> None:
    session.leave(session.Session("http://127.0.0.1:8123", "secret", os.getpid()))
    assert connect(url, None) == remote


def test_a_token_that_is_given_comes_before_the_pass(home: Home) -> None:
    session.leave(session.Session("http://127.0.0.1:8123", "secret", os.getpid()))
    assert connect("http://127.0.0.1:8123", "given").token == "given"


@pytest.mark.parametrize("text", ["", "no JSON", "{}", "[]", '{"url": 1}'])
def test_a_pass_that_cannot_be_read_is_none(home: Home, text: str) -> None:
    path = session.session_file(8123)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert session.find("http://127.0.0.1:8123") is None


# --- serve refuses ------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]"])
def test_beyond_this_machine_nothing_is_served_without_tokens(home: Home, host: str) -> None:
    result = home.cli("serve", "--listen", f"{host}:0")
    assert result.exit_code == 2
    assert "multi-region token NAME --role operator" in result.stderr
    assert "--tokens FILE" in result.stderr


def test_a_port_in_use_is_named(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        result = home.cli("serve", "--listen", where)
    assert result.exit_code == 2
    assert f"'{where}' is not allowed" in result.stderr
    assert "in use" in result.stderr


def test_a_store_that_is_no_store_ends_with_3(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("These are no pages of a database. " * 100)
    result = home.cli("serve", "--listen", "127.0.0.1:0", "--store", str(file))
    assert result.exit_code == 3
    assert f"{file} cannot be opened" in result.stderr


def test_the_pass_of_a_server_that_was_killed_is_none(home: Home) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    session.leave(session.Session("http://127.0.0.1:8123", "secret", gone.pid))
    assert session.find("http://127.0.0.1:8123") is None
