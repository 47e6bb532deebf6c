"""Processes of a stage: started, asked when they are ready, and ended by their ids with all that they started.

Each carries a mark in its environment, and so does whatever it starts: an Envoy whose controller was killed is found by
it and ended too.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic

DEADLINE_S = 60.0
MARK = "MULTI_REGION_STAGE"
_LOOK_S = 0.05


async def until(holds: Callable[[], Awaitable[object]], what: str) -> None:
    """Wait until something holds; a failed test when it does not within a deadline that a slow machine meets."""
    deadline = monotonic() + DEADLINE_S
    while not await holds():
        assert monotonic() < deadline, f"not within {DEADLINE_S:g} s: {what}"
        await asyncio.sleep(_LOOK_S)


def free_port() -> int:
    """A port of this machine that was free a moment ago."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def runs(pid: int) -> bool:
    """Whether a process is alive; one that has ended and that nobody has asked about is not."""
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


class Started:
    """One process; what it prints goes to a file, so that nobody has to read along."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], said: Path) -> None:
        self._command, self._env, self._said = command, env, said
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process as it runs now."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Begin, or begin anew."""
        with self._said.open("wb") as out, self._said.with_suffix(".err").open("ab") as err:
            self._process = subprocess.Popen(
                self._command, env=dict(self._env), stdin=subprocess.PIPE, stdout=out, stderr=err
            )

    async def line(self, begins: str) -> str:
        """The rest of the first line on standard output that begins so."""
        found: list[str] = []

        async def said() -> bool:
            assert self._process is not None
            found[:] = [line for line in self._said.read_text().split("\n")[:-1] if line.startswith(begins)]
            assert found or self._process.poll() is None, self._said.with_suffix(".err").read_text()
            return bool(found)

        await until(said, f"{self._command} says {begins!r}")
        return found[0].removeprefix(begins)

    def say(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as a crash does (SIGKILL); nothing when it runs no more."""
        if self._process is not None:
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._process.kill()
            self._process.wait(DEADLINE_S)

    def stop(self) -> None:
        """Ask it to end; end it when it does not."""
        if self._process is None or self._process.poll() is not None:
            self.kill()
            return
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):  # a test may have stopped it in its tracks
            self._process.wait(DEADLINE_S / 2)
        self.kill()


def end_marked(mark: str) -> None:
    """End what processes of a stage started and left."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal() or int(folder.name) == os.getpid():
            continue
        try:
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)
        except OSError:
            continue  # it ended meanwhile, or is somebody else's
