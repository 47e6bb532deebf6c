"""The command line without a server: help, usage, exit codes, errors, questions, world files."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from mahavishnu.integrations.multi_region.errors import ForbiddenError, InvalidInputError, StoreError
from mahavishnu.integrations.multi_region.surfaces.cli.errors import ProblemError, exit_code
from mahavishnu.integrations.multi_region.surfaces.cli.main import Commands, app
from mahavishnu.integrations.multi_region.surfaces.cli.output import plain
from mahavishnu.integrations.multi_region.surfaces.world.load import world_schema
from tests.surfaces.cli_stage import Home, bad_world, http_server, process_env


def _commands(group: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Every command of a group that its help lists, by its words."""
    found: dict[tuple[str, ...], Any] = {}
    for name, command in group.commands.items():
        here = (*path, name)
        if not command.hidden:
            found |= _commands(command, here) if hasattr(command, "commands") else {here: command}
    return found


COMMANDS = _commands(typer.main.get_command(app))
ASKING = [
    path
    for path, command in COMMANDS.items()
    if any(param.name == "server" for param in command.params) and path != ("edge", "run")
]
"""Every command that asks the server; a running edge tells it what it holds, and goes on without it."""

PAGE = Path(__file__).parents[2] / "docs" / "command-line.md"
ACTING = (
    ("drain", "r"),
    ("undrain", "r"),
    ("recover", "r"),
    ("freeze",),
    ("unfreeze",),
    ("regions", "rm", "r"),
    ("edges", "rm", "e"),
    ("rollback", "d"),
    ("deploy", "active-active", "r"),
    ("deploy", "active-passive", "r", "s"),
    ("deploy", "blue-green", "--blue", "r", "--green", "s"),
    ("deployments", "failback", "d"),
)


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


# --- help and start-up ------------------------------------------------------------------------


@pytest.mark.parametrize("command", list(COMMANDS), ids=" ".join)
def test_help_says_what_a_command_does_with_an_example_of_its_own(home: Home, command: tuple[str, ...]) -> None:
    result = home.cli(*command, "--help")
    assert result.exit_code == 0
    assert f"Example: multi-region {' '.join(command)}" in " ".join(result.stdout.split())


@pytest.mark.parametrize("command", ASKING, ids=" ".join)
def test_every_command_that_asks_the_server_takes_json_server_and_token(home: Home, command: tuple[str, ...]) -> None:
    text = home.cli(*command, "--help").stdout
    assert all(option in text for option in ("--json", "--server", "--token"))


def test_the_commands_that_ask_the_server_are_found() -> None:
    assert {("status",), ("regions", "add"), ("route",), ("failover",), ("drain",), ("audit", "verify")} < set(ASKING)


def test_the_page_names_every_command() -> None:
    page = PAGE.read_text()
    assert [path for path in COMMANDS if f"`multi-region {' '.join(path)}`" not in page] == []


def test_help_loads_neither_a_web_framework_nor_a_driver(home: Home) -> None:
    code = (
        "import sys; from typer.testing import CliRunner; "
        "from mahavishnu.integrations.multi_region.surfaces.cli.main import app; "
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0; "
        "print([m for m in ('fastapi', 'starlette', 'uvicorn', 'aiohttp', 'apsw', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], env=process_env(home), capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_the_module_runs_as_the_command_does(home: Home) -> None:
    command = [sys.executable, "-m", "mahavishnu.integrations.multi_region", "--version"]
    done = subprocess.run(command, env=process_env(home), capture_output=True, text=True)
    assert (done.returncode, done.stdout.startswith("multi-region ")) == (0, True), done.stderr


# --- exit codes and errors ----------------------------------------------------------------------


def test_done_is_0(home: Home) -> None:
    result = home.cli("schema")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == world_schema()


def test_an_unknown_option_is_bad_usage(home: Home) -> None:
    result = home.cli("status", "--sever", "http://127.0.0.1:1")
    assert result.exit_code == 2
    assert "--sever" in result.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("status", "--server", "ftp://somewhere"), ("--server", "ftp://somewhere", "http://")),
        (("status", "--token", "two words"), ("--token", "printable ASCII")),
        (("route", "--lat", "1"), ("--lon", "left out")),
        (("failover", "a", "--override", "headroom", "--reason", "x"), ("--expires", "left out")),
        (("failover", "a", "--override", "headroom", "--expires", "1h"), ("--reason", "left out")),
        (("failover", "a", "--expires", "1h"), ("--expires", "1h", "--override")),
        (("drain", "a", "--override", "headroom", "--reason", "x", "--expires", "soon"), ("--expires", "soon", "24h")),
        (("drain", "a", "--json"), ("--yes", "left out")),
        (("serve", "--listen", "nonsense"), ("--listen", "nonsense", "HOST:PORT")),
        (("serve", "--listen", "127.0.0.1:0", "--log-level", "loud"), ("--log-level", "loud", "debug")),
        (("serve", "--listen", "127.0.0.1:0", "--tokens", "/does/not/exist"), ("tokens_file", "/does/not/exist")),
        (("audit", "verify", "--store", "/does/not/exist"), ("--store", "/does/not/exist")),
        (("token", "no blanks allowed"), ("name", "no blanks allowed")),
    ],
)
def test_bad_input_is_2_and_names_the_option_the_value_and_what_is_allowed(
    home: Home, args: tuple[str, ...], said: tuple[str, ...]
) -> None:
    result = home.cli(*args)
    assert result.exit_code == 2, result.output
    assert all(word in result.output for word in said), result.output
    assert "Traceback" not in result.output


def test_a_secret_that_is_not_allowed_is_not_shown(home: Home) -> None:
    assert "two words" not in home.cli("status", "--token", "two words").output


def test_a_bad_setting_is_named_by_its_variable(home: Home) -> None:
    result = home.cli("status", env={"MAHAVISHNU_MULTI_REGION__SERVER": "nowhere"})
    assert result.exit_code == 2
    assert "MAHAVISHNU_MULTI_REGION__SERVER: 'nowhere'" in result.stderr


@pytest.mark.parametrize("command", ASKING, ids=" ".join)
def test_without_a_server_every_command_ends_with_3(home: Home, command: tuple[str, ...], nobody: str) -> None:
    if command == ("doctor",):
        return  # says it in its own way, below
    result = home.cli(*_complete(command, home), "--server", nobody)
    assert result.exit_code == 3, result.output
    assert f"cannot reach {nobody}" in result.stderr
    assert "Traceback" not in result.output


def test_with_json_an_error_is_a_problem_document_on_stdout(home: Home, nobody: str) -> None:
    result = home.cli("status", "--json", "--server", nobody)
    problem = json.loads(result.stdout)
    assert (result.exit_code, problem["title"], nobody in problem["detail"]) == (3, "Not reachable", True)
    assert result.stderr == ""


class _Stranger(BaseHTTPRequestHandler):
    """Some other web server."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<h1>It works!</h1>")

    def log_message(self, *_: object) -> None:
        """Nothing on standard error."""


def test_a_server_of_another_kind_is_not_taken_for_ours(home: Home) -> None:
    with http_server(_Stranger) as url:
        result = home.cli("status", "--server", url)
    assert result.exit_code == 3
    assert "not as a multi-region server does" in result.stderr


@pytest.mark.parametrize(
    ("status", "problem", "code"),
    [
        (409, {"rule": "headroom", "reasons": {}, "errors": []}, 1),
        (409, {"title": "Somebody saved first", "errors": []}, 1),
        (409, {"errors": [{"field": "region_id", "value": "a", "allowed": "another"}]}, 2),
        (401, {"errors": []}, 1),
        (403, {"errors": []}, 1),
        (400, {}, 2),
        (404, {}, 2),
        (422, {}, 2),
        (503, {"rule": "no_eligible_region", "reasons": {"a": "is down"}}, 1),
        (503, {"title": "The store does not answer"}, 3),
        (500, {}, 3),
    ],
)
def test_the_servers_problems_have_their_exit_codes(status: int, problem: dict[str, Any], code: int) -> None:
    assert exit_code(ProblemError(status, problem)) == code


@pytest.mark.parametrize(
    ("err", "code"), [(ForbiddenError("no"), 1), (InvalidInputError("f", 1, "2"), 2), (StoreError("gone"), 3)]
)
def test_our_own_errors_have_their_exit_codes(err: Any, code: int) -> None:
    assert exit_code(err) == code


def test_a_defect_of_the_program_is_told_without_a_traceback() -> None:
    broken = typer.Typer(cls=Commands, pretty_exceptions_enable=False, callback=lambda: None)

    @broken.command()
    def work() -> None:
        raise ZeroDivisionError("by nought")

    result = CliRunner().invoke(broken, ["work"])
    assert result.exit_code == 70
    assert "ZeroDivisionError: by nought" in result.stderr
    assert "Traceback" not in result.output


def test_what_a_terminal_would_obey_is_printed_as_an_escape() -> None:
    assert plain("red\x1b[31m\nnext\u202e") == "red\\x1b[31m\\nnext\\u202e"


# --- asking first -------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ACTING, ids=" ".join)
@pytest.mark.parametrize("reply", ["n\n", ""])
def test_whoever_does_not_agree_changes_nothing(home: Home, command: tuple[str, ...], reply: str, nobody: str) -> None:
    result = home.cli(*command, "--server", nobody, input=reply)  # a server that was asked would make it 3
    assert result.exit_code == 1
    assert "not confirmed; nothing was changed" in result.stderr


# --- world files --------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["apply", "serve"])
def test_a_bad_world_file_is_refused_with_every_problem_in_its_place(home: Home, tmp_path: Path, command: str) -> None:
    file = bad_world(tmp_path)
    result = home.cli(command, "-f", str(file))
    lines = result.stderr.splitlines()
    assert result.exit_code == 2
    assert len(lines) == 3
    for line, number, field, value in zip(
        lines, (3, 4, 6), ("endpoint", "max_capacity", "policy"), ("'nowhere'", "-5", "'gpdr'"), strict=True
    ):
        assert line.startswith(f"{file}:{number}: ")
        assert f"{field}: {value} is not allowed; allowed: " in line


def test_with_json_the_problems_of_a_world_file_are_a_list(home: Home, tmp_path: Path) -> None:
    file = bad_world(tmp_path)
    problem = json.loads(home.cli("apply", "-f", str(file), "--json").stdout)
    assert [(entry["source"], entry["line"]) for entry in problem["errors"]] == [(str(file), n) for n in (3, 4, 6)]


def test_a_world_file_that_is_not_there_is_bad_input(home: Home) -> None:
    result = home.cli("apply", "-f", "/does/not/exist.yaml")
    assert result.exit_code == 2
    assert "/does/not/exist.yaml" in result.stderr


# --- helpers ------------------------------------------------------------------------------------


def _complete(command: tuple[str, ...], home: Home) -> tuple[str, ...]:
    """A command with what it cannot do without."""
    more: dict[tuple[str, ...], Callable[[], tuple[str, ...]]] = {
        ("regions", "show"): lambda: ("r",),
        ("regions", "add"): lambda: ("r", "--endpoint", "http://127.0.0.1:1"),
        ("regions", "rm"): lambda: ("r", "--yes"),
        ("services", "show"): lambda: ("s",),
        ("services", "rm"): lambda: ("s", "--yes"),
        ("edges", "show"): lambda: ("e",),
        ("edges", "add"): lambda: ("e", "--region", "r"),
        ("edges", "rm"): lambda: ("e", "--yes"),
        ("policies", "show"): lambda: ("p",),
        ("failover",): lambda: ("r", "--yes"),
        ("drain",): lambda: ("r", "--yes"),
        ("undrain",): lambda: ("r", "--yes"),
        ("recover",): lambda: ("r", "--yes"),
        ("freeze",): lambda: ("--yes",),
        ("unfreeze",): lambda: ("--yes",),
        ("rollback",): lambda: ("d", "--yes"),
        ("elect",): lambda: ("r",),
        ("deploy", "active-active"): lambda: ("r", "--yes"),
        ("deploy", "active-passive"): lambda: ("r", "s", "--yes"),
        ("deploy", "blue-green"): lambda: ("--blue", "r", "--green", "s", "--yes"),
        ("deployments", "show"): lambda: ("d",),
        ("deployments", "failback"): lambda: ("d", "--yes"),
        ("data", "classify"): lambda: ("d",),
        ("data", "place"): lambda: ("d",),
        ("data", "replicate"): lambda: ("d",),
        ("apply",): lambda: ("-f", str(_empty_world(home))),
    }
    return (*command, *more.get(command, tuple)())


def _empty_world(home: Home) -> Path:
    file = home.root / "empty.yaml"
    file.write_text("regions: []\n")
    return file
