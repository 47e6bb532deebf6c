"""Which Envoys run for an edge, on file: so that an agent relieves what an agent before it left running.

An agent that is killed cannot end its Envoy, which goes on carrying traffic. It is known by the folder that it was
started from, whatever its process is by now.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from .admin import Admin
from .private_file import replace_private
from .process import retire


class Succession:
    """The file of one edge. ``run_dir``: the folder of the Envoy that runs from now on."""

    def __init__(self, path: Path, run_dir: Path) -> None:
        self._path = path
        self._run_dir = str(run_dir)
        self._left: list[str] = []

    def begin(self) -> None:
        """Take over from whoever the file names. Raises OSError."""
        self._left = [run_dir for run_dir in _named(self._path) if run_dir != self._run_dir]
        self._write(None)

    async def relieve(self, pid: int | None, drain_s: float) -> None:
        """End those that were left running, now that ``pid`` serves in their place; their requests may finish first."""
        self._write(pid)
        while self._left:
            run_dir = self._left[-1]
            if any(_processes_of(run_dir)):
                async with Admin(f"{run_dir}/admin.sock") as admin:
                    await retire(admin, drain_s)
            _end(run_dir)
            self._left.pop()
            self._write(pid)

    def close(self) -> None:
        """End at once whoever is left still, and forget all of them."""
        for run_dir in self._left:
            _end(run_dir)
        self._left = []
        self._path.unlink(missing_ok=True)

    def _write(self, pid: int | None) -> None:
        """``pid``: None until Envoy serves."""
        document = {"pid": pid, "run_dir": self._run_dir, "before": self._left}
        replace_private(self._path, json.dumps(document).encode())


def _named(path: Path) -> list[str]:
    """The folders that a file names, the newest last; none when it cannot be read."""
    try:
        found = json.loads(path.read_text())
        return [*map(str, found.get("before", ())), str(found["run_dir"])]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return []


def _processes_of(run_dir: str) -> Iterator[int]:
    """The processes that were started from that folder."""
    mark = f"{run_dir}/bootstrap.json".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                if mark in (entry / "cmdline").read_bytes().split(b"\0"):
                    yield int(entry.name)


def _end(run_dir: str) -> None:
    """End what runs from a folder, and clear the folder up; one that nothing was started from is let be."""
    for pid in list(_processes_of(run_dir)):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    if (Path(run_dir) / "bootstrap.json").is_file():
        shutil.rmtree(run_dir, ignore_errors=True)
