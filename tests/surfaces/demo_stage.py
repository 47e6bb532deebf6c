"""Whole runs of the demo: started as people start it, and two side by side, for they mostly wait."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PACKAGE = "mahavishnu.integrations.multi_region"
DEADLINE_S = 150.0
AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Run:
    """How a run ended. ``report``: the JSON it printed. ``said``: its standard error."""

    code: int
    report: Any
    said: str


def command(*arguments: str) -> list[str]:
    """The demo's command line."""
    return [sys.executable, "-m", PACKAGE, "demo", *arguments]


def environment(folder: Path) -> dict[str, str]:
    """The caller's environment, with a user's directories and temporary files in a folder."""
    return {**os.environ, "HOME": str(folder), "TMPDIR": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder whose name is short, for sockets live below it; whatever is left in it goes with it."""
    folder = Path(tempfile.mkdtemp(prefix="mrd-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def play(arguments: Sequence[str], env: Mapping[str, str] | None = None) -> Run:
    """One run with ``--json``. Fails when it prints no report, or leaves a file behind."""
    with short_folder() as folder:
        given = {**environment(folder), **(env or {})}
        ended = subprocess.run(
            command("--json", *arguments), capture_output=True, text=True, env=given, timeout=DEADLINE_S, check=False
        )
        left = [path.name for path in folder.iterdir()]
    assert ended.stdout, ended.stderr
    assert left == [], ended.stderr
    return Run(ended.returncode, json.loads(ended.stdout), ended.stderr)


@contextmanager
def side_by_side(
    request: pytest.FixtureRequest, runs: Mapping[str, Sequence[str]]
) -> Iterator[Mapping[str, Future[Run]]]:
    """Those of the named runs that the module's tests ask for, as values of their parameter ``run``, in their order."""
    ours = (item for item in request.session.items if isinstance(item, pytest.Function) and item.path == request.path)
    calls = (item.callspec.params for item in ours if hasattr(item, "callspec"))
    wanted = [str(params["run"]) for params in calls if "run" in params]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            yield {name: pool.submit(play, runs[name]) for name in wanted}
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
