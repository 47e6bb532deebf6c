"""What a server with workers outlives: no room for another process for a while, and the end of whoever started it."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

import pytest

from tests.surfaces.cli_stage import eventually
from tests.surfaces.workers.stage import BERLIN, Fleet, kill, lives, serving

pytestmark = pytest.mark.slow


def test_a_process_that_cannot_be_started_for_a_while_is_started_later(tmp_path: Path) -> None:
    with serving(tmp_path, "--store", "memory") as fleet:
        supervisor, (victim, other) = fleet.supervisor.process.pid, fleet.workers
        before = resource.prlimit(supervisor, resource.RLIMIT_NOFILE)
        resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (3, before[1]))
        kill(victim)
        eventually(lambda: said(fleet), lambda text: "cannot be started" in text)
        assert {fleet.ask("POST", "/route", BERLIN).status for _ in range(10)} == {200}
        assert fleet.workers == [other]
        resource.prlimit(supervisor, resource.RLIMIT_NOFILE, before)
        eventually(lambda: fleet.workers, lambda pids: len(pids) == 2)
        eventually(lambda: said(fleet).count(" started "), lambda n: n == 4)
        assert fleet.supervisor.stop() == 0


def test_the_private_directory_goes_although_supervisor_and_controller_are_killed_at_once(tmp_path: Path) -> None:
    with serving(tmp_path, "--store", "memory") as fleet:
        place, controller, workers = fleet.private_place, fleet.controller, fleet.workers
        os.kill(controller, signal.SIGSTOP)  # so that it has no time to do anything
        fleet.supervisor.stop(signal.SIGKILL)
        os.kill(controller, signal.SIGKILL)
        eventually(lambda: [pid for pid in workers if lives(pid)], lambda left: not left)
        assert not place.exists()


def test_a_temporary_directory_with_a_long_path_is_no_hindrance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("a" * 60) / ("b" * 60)
    deep.mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(deep))
    with serving(tmp_path, "--store", "memory") as fleet:
        assert fleet.ask("GET", "/readyz").status == 200
        assert fleet.private_place.stat().st_mode & 0o777 == 0o700
        assert fleet.supervisor.stop() == 0
    assert list(deep.iterdir()) == []


def said(fleet: Fleet) -> str:
    """The log so far."""
    return fleet.supervisor.log.read_text()
