"""What the tests of workers share: a server with workers in real processes, and connections whose owner is known."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.surfaces.cli_stage import (
    DEADLINE_S,
    Controller,
    Home,
    all_healthy,
    eventually,
    region_servers,
    running,
    world_text,
)

BERLIN = {"request_context": {"user_location": {"latitude": 52.5, "longitude": 13.4}}}
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Answer:
    """An answer: its status, headers by name in lower case, and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as data."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Fleet:
    """A server with workers. ``first``: the ids of its processes when it began to listen."""

    home: Home
    supervisor: Controller
    first: dict[str, Any]

    @property
    def workers(self) -> list[int]:
        """The workers that there are now."""
        return [pid for pid, what in self.children().items() if "surfaces.workers.worker" in what]

    @property
    def controller(self) -> int:
        """The controller that there is now."""
        return next(pid for pid, what in self.children().items() if "controller_process" in what)

    @property
    def private_place(self) -> Path:
        """The directory of the sockets at which the controller listens."""
        inodes = {os.readlink(fd) for fd in Path(f"/proc/{self.controller}/fd").glob("*")}
        for fields in map(str.split, Path("/proc/net/unix").read_text().splitlines()):
            if f"socket:[{fields[6]}]" in inodes and fields[-1].endswith("/state"):
                return Path(fields[-1]).parent
        raise AssertionError("the controller listens nowhere")

    def children(self) -> dict[int, str]:
        """The processes that the supervisor has started and that live, with their command lines."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and _parent(entry) == self.supervisor.process.pid:
                found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
        return found

    def connect(self) -> http.client.HTTPConnection:
        """A connection of one's own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.supervisor.port, timeout=DEADLINE_S)
        connection.connect()
        return connection

    @contextmanager
    def connections(self, count: int) -> Iterator[list[http.client.HTTPConnection]]:
        """Connections to every worker: as many as asked for, and more until each worker has one."""
        lines = [self.connect() for _ in range(count)]
        workers = set(self.workers)
        try:
            while not workers <= {self.owner(line) for line in lines}:
                lines.append(self.connect())
            yield lines
        finally:
            for line in lines:
                line.close()

    def owner(self, line: http.client.HTTPConnection) -> int | None:
        """The worker that has accepted a connection; waits until one has."""
        return eventually(lambda: self._owner(line), bool)

    def _owner(self, line: http.client.HTTPConnection) -> int | None:
        inode = _inode_of_peer(line.sock.getsockname()[1], self.supervisor.port)
        for pid in self.workers:
            for fd in Path(f"/proc/{pid}/fd").glob("*"):
                try:
                    if os.readlink(fd) == f"socket:[{inode}]":
                        return pid
                except FileNotFoundError:
                    continue
        return None

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """One request on a connection of its own."""
        line = self.connect()
        try:
            return ask(line, method, path, body, **headers)
        finally:
            line.close()

    def wait_until_well(self) -> None:
        """Wait until probes have found every region well."""
        all_healthy(self.home, self.supervisor.url)

    def cli(self, *args: str) -> str:
        """What a command prints; it must succeed."""
        result = self.home.cli(*args, "--server", self.supervisor.url)
        assert result.exit_code == 0, result.output
        return result.output


def ask(line: http.client.HTTPConnection, method: str, path: str, body: object = None, **headers: str) -> Answer:
    """One request on a connection. A body that is no bytes goes as JSON; an iterator of bytes goes in chunks."""
    if body is None:
        line.request(method, path, headers=headers)
    else:
        raw = body if isinstance(body, bytes | Iterator) else json.dumps(body).encode()
        line.request(method, path, raw, {**JSON, **headers})
    response = line.getresponse()
    return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())


@contextmanager
def serving(root: Path, *args: str) -> Iterator[Fleet]:
    """A server with two workers over four regions that are well; everything ends with the block."""
    file, home = root / "world.yaml", Home(root)
    with region_servers() as urls:
        file.write_text(world_text(urls))
        with running(home, "-f", str(file), "--json", "--workers", "2", *args) as supervisor:
            yield Fleet(home, supervisor, json.loads(supervisor.said[-1]))


def lives(pid: int) -> bool:
    """Whether a process is there and not merely waited for."""
    return _parent(Path(f"/proc/{pid}")) is not None


@contextmanager
def halted(pid: int) -> Iterator[None]:
    """A process does nothing for as long as the block lasts."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def kill(pid: int) -> None:
    """kill -9 of one process."""
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + DEADLINE_S
    while lives(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _parent(entry: Path) -> int | None:
    """The parent of a process, None for one that has ended."""
    try:
        state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state == "Z" else int(parent)


def _inode_of_peer(client_port: int, server_port: int) -> int:
    """The inode of the server's end of a connection on this machine."""
    for text in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = text.split()
        ports = [int(address.rpartition(":")[2], 16) for address in fields[1:3]]
        if ports == [server_port, client_port]:
            return int(fields[9])
    return -1
