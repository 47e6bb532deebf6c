"""Kill -9 right before and right after every commit of every strategy; a new process comes to the same end.

The commits are counted in a run that nobody disturbs, so that none is forgotten when a strategy gets another step.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import shutil
import signal
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.adapters.stores.sqlite import SqliteStore
from tests.shell.deploying import staged
from tests.shell.kill_scenarios import SCRIPTS, perform, play

pytestmark = pytest.mark.slow
LATER = 50.0
"""Seconds for which nobody runs, more than any deadline in the scripts but those of work in regions."""


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Processes that are made quickly: everything is imported once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.shell.kill_scenarios"])
    return context


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that knows the regions and nothing else."""
    place = tmp_path_factory.mktemp("template") / "store.db"

    async def make() -> None:
        async with staged(store=await SqliteStore.open(place)):
            pass

    asyncio.run(make())
    return place


def killed(processes: ForkServerContext, path: Path, script: str, at: int, after: bool, now: float) -> int | None:
    """The exit code of a process that plays a script, from the time ``now``, and is told when to die."""
    process = processes.Process(target=perform, args=(str(path), script, at, after, now))
    process.start()
    process.join(60)
    return process.exitcode


def end_of(path: Path, script: str, started_at: float) -> dict[str, Any]:
    """What comes of a script that is gone on with, all but the number of commits that this took."""
    end = asyncio.run(play(path, script, started_at=started_at))
    del end["commits"]
    return end


@pytest.mark.parametrize("script", SCRIPTS)
def test_same_end_wherever_the_process_was_killed(
    script: str, template: Path, tmp_path: Path, processes: ForkServerContext
) -> None:
    undisturbed = asyncio.run(play(_copy(template, tmp_path / "undisturbed.db"), script))
    commits = undisturbed.pop("commits")
    assert commits >= 4
    assert undisturbed["chain"]
    for at in range(1, commits + 1):
        for after in (False, True):
            path = _copy(template, tmp_path / f"{at}-{after}.db")
            code = killed(processes, path, script, at, after, now=1_000.0)
            assert code == -signal.SIGKILL, f"commit {at} of {commits} was not reached"
            assert end_of(path, script, 1_000.0 + LATER) == undisturbed, (at, "after" if after else "before")


@pytest.mark.parametrize("script", SCRIPTS)
def test_same_end_when_every_process_lives_for_one_commit(
    script: str, template: Path, tmp_path: Path, processes: ForkServerContext
) -> None:
    undisturbed = asyncio.run(play(_copy(template, tmp_path / "undisturbed.db"), script))
    commits = undisturbed.pop("commits")
    path = _copy(template, tmp_path / "store.db")
    lives = 0
    while killed(processes, path, script, 1, True, now=1_000.0 + LATER * lives) == -signal.SIGKILL:
        lives += 1
        assert lives <= 2 * commits, "it never ends"  # a life may write down what holds it up, and no more
    assert lives >= commits
    assert end_of(path, script, 1_000.0 + LATER * lives) == undisturbed


def _copy(template: Path, place: Path) -> Path:
    shutil.copy(template, place)
    return place
