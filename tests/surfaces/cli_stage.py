"""What the tests of the command line stand on: a user's own directories, regions that answer, a server's process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

from typer.testing import CliRunner, Result

from mahavishnu.integrations.multi_region.surfaces.cli.main import app

PACKAGE = "mahavishnu.integrations.multi_region"
SOURCE = Path(__file__).parents[2] / "src"
DEADLINE_S = 60.0
REGIONS = ("us-east-1", "us-west-2", "eu-west-1", "eu-central-1")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Home:
    """A user's directories, below one that the test made."""

    root: Path

    @property
    def env(self) -> dict[str, str]:
        """The variables that say where they are."""
        return {
            "HOME": str(self.root),
            "XDG_RUNTIME_DIR": str(self.root / "run"),
            "XDG_STATE_HOME": str(self.root / "state"),
        }

    def cli(self, *args: str, input: str | None = None, env: Mapping[str, str] | None = None) -> Result:
        """Run a command in this process, as this user."""
        return CliRunner(env={**self.env, **(env or {})}).invoke(app, args, input=input)

    def answer(self, *args: str) -> Any:
        """What a command prints with ``--json``, once it has succeeded."""
        result = self.cli(*args, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


class _Region(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"well"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing on standard error."""


@contextmanager
def http_server(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """A real HTTP server on this machine; its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def region_servers(count: int = len(REGIONS)) -> Iterator[list[str]]:
    """As many region stand-ins as asked for: real HTTP servers that say they are well."""
    with ExitStack() as stack:
        yield [stack.enter_context(http_server(_Region)) for _ in range(count)]


def world_text(endpoints: Sequence[str], capacity: int = 1000) -> str:
    """A world with the catalog's regions at these endpoints, a policy that binds one service, and no limit by share."""
    health = "health: {path: /healthz, interval: 100ms, timeout: 5s, fall: 3, rise: 2}"
    lines = ["version: 1", "regions:"]
    for region_id, endpoint in zip(REGIONS, endpoints, strict=False):
        law = "[gdpr]" if region_id.startswith("eu-") else "[soc2]"
        lines += [f"  - id: {region_id}", f"    endpoint: {endpoint}", f"    max_capacity: {capacity}"]
        lines += [f"    compliance: {law}", f"    {health}"]
    lines += ["policies:", "  - name: gdpr", "    compliance_requirements: [gdpr]"]
    lines += ["    allowed_regions: [eu-west-1, eu-central-1]"]
    lines += ["services:", "  - {name: web, hosts: [www.example.test]}", "  - {name: accounts, policy: gdpr}"]
    return "\n".join(lines) + "\n"


def bad_world(tmp_path: Path) -> Path:
    """A world file with three problems: on lines 3, 4 and 6."""
    file = tmp_path / "bad.yaml"
    file.write_text(
        "regions:\n"
        "  - id: eu-west-1\n"
        "    endpoint: nowhere\n"
        "    max_capacity: -5\n"
        "services:\n"
        "  - {name: api, policy: gpdr}\n"
    )
    return file


@dataclass
class Controller:
    """``multi-region serve`` in a process of its own."""

    process: subprocess.Popen[str]
    url: str
    said: list[str]
    log: Path
    _watchdog: threading.Timer = field(repr=False)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rpartition(":")[2])

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it with a signal; its exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait for its end; its exit code."""
        code = self.process.wait(DEADLINE_S)
        self._watchdog.cancel()
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code


class Shell:
    """Commands to one server."""

    def __init__(self, home: Home, controller: Controller, world: Path) -> None:
        self.home = home
        self.controller = controller
        self.world = world

    def run(self, *args: str, code: int = 0, input: str | None = None) -> str:
        """What a command prints, standard error included; it must end with ``code``."""
        result = self.home.cli(*args, "--server", self.controller.url, input=input)
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result.output

    def json(self, *args: str, code: int = 0) -> Any:
        """The JSON that a command prints; it must end with ``code``."""
        result = self.home.cli(*args, "--json", "--server", self.controller.url)
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    def region(self, region_id: str) -> dict[str, Any]:
        """A region's line of the status."""
        return next(r for r in self.json("status")["regions"] if r["region_id"] == region_id)


def start(home: Home, *args: str, name: str = "serve") -> Controller:
    """Start ``multi-region serve`` and wait until it answers. Fails when it ends instead."""
    log = home.root / f"{name}.log"
    with log.open("a") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", PACKAGE, "serve", "--listen", "127.0.0.1:0", *args],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=process_env(home),
        )
    watchdog = threading.Timer(2 * DEADLINE_S, process.kill)
    watchdog.daemon = True
    watchdog.start()
    said: list[str] = []
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line.rstrip("\n"))
        url = _ready(said[-1])
        if url is not None:
            return Controller(process, url, said, log, watchdog)
    watchdog.cancel()
    process.stdout.close()
    raise AssertionError(f"ended with {process.wait()}: {said} {log.read_text()}")


@contextmanager
def running(home: Home, *args: str, name: str = "serve") -> Iterator[Controller]:
    """A controller for as long as the block lasts."""
    controller = start(home, *args, name=name)
    try:
        yield controller
    finally:
        if controller.process.poll() is None:
            controller.stop(signal.SIGKILL)


def process_env(home: Home) -> dict[str, str]:
    """The environment of a process of this user: the caller's without settings, with this checkout's source."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MAHAVISHNU_MULTI_REGION__")}
    return {**kept, **home.env, "PYTHONPATH": str(SOURCE)}


def eventually(look: Callable[[], _T], good: Callable[[_T], bool]) -> _T:
    """What ``look`` returns, once it is good; it looks again until then. Fails after a generous deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        found = look()
        if good(found):
            return found
        assert time.monotonic() < deadline, f"still {found!r}"
        time.sleep(0.05)


def all_healthy(home: Home, url: str) -> None:
    """Wait until the controller's own probes call every region healthy."""

    def phases() -> list[str]:
        return [region["phase"] for region in home.answer("status", "--server", url)["regions"]]

    eventually(phases, lambda found: set(found) == {"healthy"})


def _ready(line: str) -> str | None:
    if line.startswith("listening on "):
        return line.removeprefix("listening on ")
    if line.startswith('{"event":"listening"'):
        return str(json.loads(line)["url"])
    return None
