"""Processes that hang, and are there all the same: they are noticed, covered for, ended and replaced."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from mahavishnu.integrations.multi_region.surfaces.workers.heartbeat import LOOK_EVERY_S, WORKER_S
from tests.surfaces.cli_stage import eventually
from tests.surfaces.workers.stage import BERLIN, Fleet, halted, lives, serving

pytestmark = pytest.mark.slow


def test_a_worker_that_hangs_is_covered_for_and_replaced(tmp_path: Path) -> None:
    with serving(tmp_path, "--store", "memory") as fleet:
        victim, other = fleet.workers
        os.kill(victim, signal.SIGSTOP)
        eventually(lambda: said(fleet), lambda text: "is silent" in text)
        assert {fleet.ask("GET", "/readyz").status for _ in range(20)} == {200}
        eventually(lambda: said(fleet), lambda text: "hangs and is killed" in text)
        eventually(lambda: fleet.workers, lambda pids: len(pids) == 2 and victim not in pids)
        eventually(lambda: said(fleet).count(" started "), lambda count: count == 4)
        with fleet.connections(8) as lines:
            assert {fleet.owner(line) for line in lines} == set(fleet.workers)
        assert other in fleet.workers
        assert "is heard again" not in said(fleet), "another took its place"
        assert fleet.supervisor.stop() == 0


def test_a_worker_that_was_silent_for_a_while_is_said_to_be_heard_again(tmp_path: Path) -> None:
    with serving(tmp_path, "--store", "memory") as fleet:
        before, victim = fleet.children(), fleet.workers[0]
        with halted(victim):
            eventually(lambda: said(fleet), lambda text: "is silent" in text)
            assert "is heard again" not in said(fleet)
        eventually(lambda: said(fleet), lambda text: "is heard again" in text)
        (line,) = [line for line in said(fleet).splitlines() if "is heard again" in line]
        assert str(victim) in line
        assert fleet.children() == before


def test_workers_that_hang_together_are_replaced_one_after_another(tmp_path: Path) -> None:
    with serving(tmp_path, "--store", "memory") as fleet:
        for pid in fleet.workers:
            os.kill(pid, signal.SIGSTOP)
        eventually(lambda: said(fleet).count("hangs and is killed"), lambda count: count == 2)
        assert fleet.ask("POST", "/route", BERLIN).status == 200
        first, _, rest = said(fleet).partition("hangs and is killed")
        between = rest.partition("hangs and is killed")[0]
        assert (first.count(" started "), between.count(" started ")) == (3, 1)


def test_a_controller_that_hangs_is_replaced_while_workers_go_on(tmp_path: Path) -> None:
    with serving(tmp_path) as fleet:
        victim = fleet.controller
        os.kill(victim, signal.SIGSTOP)
        eventually(lambda: said(fleet), lambda text: "controller is silent" in text)
        assert {fleet.ask("POST", "/route", BERLIN).status for _ in range(10)} == {200}
        eventually(lambda: lives(victim), lambda there: not there)
        assert "controller hangs and is killed" in said(fleet)
        eventually(lambda: fleet.ask("GET", "/readyz").status, lambda status: status == 200)


def test_a_supervisor_that_was_stopped_ends_nobody(tmp_path: Path) -> None:
    """Not even workers that have said nothing for longer than they may: it was not there to hear them."""
    with serving(tmp_path, "--store", "memory") as fleet:
        before, workers = fleet.children(), fleet.workers
        with halted(fleet.supervisor.process.pid):
            assert fleet.ask("POST", "/route", BERLIN).status == 200
        with halted(workers[0]), halted(workers[1]):
            time.sleep(LOOK_EVERY_S)  # what they said last is heard before the supervisor stops, not after
            with halted(fleet.supervisor.process.pid):
                time.sleep(WORKER_S + 1)
            eventually(lambda: said(fleet), lambda text: "the supervisor was held up" in text)
        assert fleet.ask("POST", "/route", BERLIN).status == 200
        assert fleet.children() == before
        assert "is killed" not in said(fleet)
        assert fleet.supervisor.stop() == 0


def said(fleet: Fleet) -> str:
    """The log so far."""
    return fleet.supervisor.log.read_text()
