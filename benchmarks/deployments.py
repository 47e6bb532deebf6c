"""1,000 deployments at once on SQLite: begun, moved on step by step, killed with SIGKILL half way, and resumed.

Run it with ``python -m benchmarks.deployments [COUNT]``. Each deployment is a blue-green in four steps of its own
service, whose time comes for all of them at the same moment. The baseline writes the very same commits, one after the
other, to a store of its own: what the disk and SQLite cost without any deployment. Ends with 1 when a deployment is not
where an undisturbed run would have brought it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from mahavishnu.integrations.multi_region.adapters.stores.sqlite import SqliteStore
from mahavishnu.integrations.multi_region.core.deployment import DEPLOYMENTS, SETTLED, State
from mahavishnu.integrations.multi_region.core.model import Region, RegionCapabilities
from mahavishnu.integrations.multi_region.ports.clock import SystemClock
from mahavishnu.integrations.multi_region.ports.store import Changes, Loaded
from mahavishnu.integrations.multi_region.shell.manager import RegionManager
from mahavishnu.integrations.multi_region.shell.orchestrator import Deployment, DeploymentOrchestrator

COUNT = 1_000
BAKE_S = 86_400.0
STEPS = (1, 10, 50, 100)
STATES = ["preparing", "baking", *["shifting"] * len(STEPS), "serving"]
"""What each history must read at the end; each entry is one transaction."""

Commit = Mapping[str, str | None]


class LeapClock(SystemClock):
    """The machine's clock, ``ahead`` seconds fast."""

    ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead


class Counted:
    """A store that remembers the commits that went through it, and how many deployments they moved."""

    def __init__(self, inner: SqliteStore) -> None:
        self.inner = inner
        self.commits: list[Commit] = []
        self.transitions = 0

    async def load(self, prefix: str = "", *, after: str = "", limit: int | None = None) -> Loaded:
        return await self.inner.load(prefix, after=after, limit=limit)

    async def commit(self, values: Mapping[str, str | None], guards: Mapping[str, int] | None = None) -> int:
        revision = await self.inner.commit(values, guards)
        self.commits.append(values)
        self.transitions += sum(key.startswith(DEPLOYMENTS) for key in values)
        return revision

    def watch(self, prefix: str = "", *, after: int) -> AsyncIterator[Changes]:
        return self.inner.watch(prefix, after=after)

    async def close(self) -> None:
        await self.inner.close()


async def opened(path: Path, ahead: float = 0.0) -> tuple[Counted, LeapClock, DeploymentOrchestrator]:
    """A manager and an orchestrator on a store file."""
    clock, store = LeapClock(), Counted(await SqliteStore.open(path))
    clock.ahead = ahead
    manager = RegionManager(store=store, clock=clock)
    await manager.initialize()
    return store, clock, DeploymentOrchestrator(manager)


async def closed(orchestrator: DeploymentOrchestrator) -> None:
    await orchestrator.close()
    await orchestrator.region_manager.close()


async def begin(orchestrator: DeploymentOrchestrator, count: int) -> list[Deployment]:
    """Two regions, and as many deployments as asked for, all at once."""
    for name in ("blue", "green"):
        capabilities = RegionCapabilities(max_capacity=1e6)
        region = Region(name, endpoint=f"https://{name}.example.com", health_score=95, capabilities=capabilities)
        await orchestrator.region_manager.register_region(region)
    asked = (
        orchestrator.deploy_blue_green(
            ["blue"], ["green"], BAKE_S, steps=STEPS, step_after=0, analyse=False, service=f"service-{n}"
        )
        for n in range(count)
    )
    return list(await asyncio.gather(*asked))


async def all_settled(orchestrator: DeploymentOrchestrator) -> None:
    await asyncio.gather(*(deployment.settled() for deployment in orchestrator.list_deployments()))


# --- what is measured ---------------------------------------------------------------------------


async def undisturbed(path: Path, count: int) -> list[Commit]:
    """From beginning to end in one process; the commits that it took."""
    store, clock, orchestrator = await opened(path)
    started = time.perf_counter()
    await begin(orchestrator, count)
    show("begun", count, time.perf_counter() - started, store.transitions, len(store.commits))
    done, commits = store.transitions, len(store.commits)
    lag = asyncio.create_task(longest_lag())
    clock.ahead = BAKE_S
    started = time.perf_counter()
    await all_settled(orchestrator)
    took = time.perf_counter() - started
    show("moved to the end", count, took, store.transitions - done, len(store.commits) - commits)
    lag.cancel()
    print(f"{'':18} the event loop was held up for {1000 * (await asyncio.gather(lag))[0]:.0f} ms at most")
    started = time.perf_counter()
    for _ in range(10):
        await orchestrator.rollouts.turn()
    print(f"{'one turn at rest':18} {100 * (time.perf_counter() - started):8.2f} ms, {count} deployments looked at")
    await closed(orchestrator)
    return store.commits


async def longest_lag() -> float:
    """By how much the event loop was late at most, in seconds, until this is cancelled."""
    worst = 0.0
    try:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            worst = max(worst, time.perf_counter() - began - 0.001)
    except asyncio.CancelledError:
        return worst


async def bare(path: Path, commits: list[Commit]) -> None:
    """The same commits without anything around them, each when the one before is on disk."""
    store = await SqliteStore.open(path)
    size = sum(len(text or "") for values in commits for text in values.values())
    started = time.perf_counter()
    for values in commits:
        await store.commit(values)
    took = time.perf_counter() - started
    await store.close()
    show("bare SQLite", 0, took, 0, len(commits))
    print(f"{'':18} {size / 1e6:.1f} MB of text, {size / len(commits):.0f} characters a commit")


def killed_half_way(path: Path, count: int) -> int:
    """A process that is killed when half of the transitions are done; how many deployments had settled by then."""
    command = [sys.executable, "-m", "benchmarks.deployments", "--child", str(path), str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        settled = int(child.stdout.readline())
        os.kill(child.pid, signal.SIGKILL)
    return settled


async def child(path: Path, count: int) -> None:
    """Begin, move on, say when half is done; then wait to be killed."""
    store, clock, orchestrator = await opened(path)
    deployments = await begin(orchestrator, count)
    half = store.transitions + count * (len(STATES) - 2) // 2
    clock.ahead = BAKE_S
    while store.transitions < half:
        await asyncio.sleep(0.001)
    print(sum(deployment.state in SETTLED for deployment in deployments), flush=True)
    await all_settled(orchestrator)


async def resumed(path: Path, count: int) -> bool:
    """Another process goes on; whether each deployment came to its end, each transition made once."""
    started = time.perf_counter()
    store, _, orchestrator = await opened(path, ahead=BAKE_S)
    print(f"{'loaded again':18} {time.perf_counter() - started:8.2f} s")
    started = time.perf_counter()
    await orchestrator.initialize()
    await all_settled(orchestrator)
    show("resumed", count, time.perf_counter() - started, store.transitions, len(store.commits))
    deployments = orchestrator.list_deployments()
    right = [d for d in deployments if d.state is State.SERVING and [s.state.value for s in d.history] == STATES]
    events = await orchestrator.region_manager.journal.verify()
    print(f"{'':18} {len(right)} of {count} as if nothing had happened; chain of {events} events verified")
    await closed(orchestrator)
    return len(right) == count


def show(what: str, count: int, took: float, transitions: int, commits: int) -> None:
    of = f"{count} deployments, {transitions} transitions ({transitions / took:.0f}/s), " if transitions else ""
    print(f"{what:18} {took:8.2f} s  {of}{commits} commits ({1000 * took / max(1, commits):.2f} ms each)")


async def measure(count: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        commits = await undisturbed(place / "undisturbed.db", count)
        await bare(place / "bare.db", commits)
        settled = killed_half_way(place / "killed.db", count)
        print(f"{'killed':18} {settled} of {count} had settled, half of all transitions were made")
        return 0 if await resumed(place / "killed.db", count) else 1


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--child"]:
        asyncio.run(child(Path(arguments[1]), int(arguments[2])))
        return 0
    return asyncio.run(measure(int(arguments[0]) if arguments else COUNT))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
