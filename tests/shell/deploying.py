"""What the tests of deployments share: a clock that is moved by hand, regions, and a system in memory or in a file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from mahavishnu.integrations.multi_region.core.deployment import State
from mahavishnu.integrations.multi_region.core.events import ChainedEvent, EventKind
from mahavishnu.integrations.multi_region.core.model import CloudProvider, Region, RegionCapabilities, SafetyLimits
from mahavishnu.integrations.multi_region.ports.executor import Executor
from mahavishnu.integrations.multi_region.ports.store import Changes, Loaded, Store
from mahavishnu.integrations.multi_region.shell.manager import RegionManager
from mahavishnu.integrations.multi_region.shell.orchestrator import Deployment, DeploymentOrchestrator

NAMES = ("us-east-1", "us-west-2", "eu-west-1", "ap-south-1")
ROOMY = SafetyLimits(max_removed=1.0)


REAL_S = 0.1
"""Pauses up to this long are between two attempts at the store, and pass by themselves."""


class VirtualClock:
    """Time that only ``advance`` moves; who sleeps wakes when it has come."""

    def __init__(self, at: float = 1_000.0) -> None:
        self.at = at
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        if seconds <= REAL_S:
            return await asyncio.sleep(seconds)
        waiter = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.at + seconds, waiter))
        await waiter

    async def advance(self, seconds: float, step_s: float = 1.0) -> None:
        """Let time pass, in steps so small that every loop gets its turns."""
        until = self.at + seconds
        while self.at < until:
            self.at = min(until, self.at + step_s)
            due = [waiter for when, waiter in self._sleepers if when <= self.at]
            self._sleepers = [(when, waiter) for when, waiter in self._sleepers if when > self.at]
            for waiter in due:
                if not waiter.done():
                    waiter.set_result(None)
            await breathe()


async def breathe(turns: int = 30) -> None:
    """Let every task go as far as it can."""
    for _ in range(turns):
        await asyncio.sleep(0)


def region(region_id: str, *, load: float = 20, capacity: float = 100, score: float | None = 95.0) -> Region:
    place = NAMES.index(region_id) if region_id in NAMES else len(NAMES)
    return Region(
        region_id=region_id,
        name=region_id,
        provider=CloudProvider.AWS,
        latitude=10.0 + 5 * place,
        longitude=-100.0 + 30 * place,
        endpoint=f"https://{region_id}.api.example.com",
        capabilities=RegionCapabilities(max_capacity=capacity),
        health_score=score,
        current_capacity=load,
    )


class Stage:
    """A manager and an orchestrator on a clock of one's own."""

    def __init__(self, manager: RegionManager, orchestrator: DeploymentOrchestrator, clock: VirtualClock) -> None:
        self.manager, self.orchestrator, self.clock = manager, orchestrator, clock

    async def turn(self) -> None:
        """One turn of the loop, and all that follows from it."""
        for _ in range(3):
            await self.orchestrator.rollouts.turn()
            await breathe()

    async def pass_time(self, seconds: float, step_s: float = 1.0) -> None:
        await self.clock.advance(seconds, step_s)
        await self.turn()

    def fell(self, region_id: str) -> None:
        """A region's owner says that it is down."""
        self.manager.regions[region_id].health_score = 0.0

    def rose(self, region_id: str) -> None:
        self.manager.regions[region_id].health_score = 95.0

    def report(self, region_id: str, service: str | None, *, good: int = 0, bad: int = 0, ms: float = 20.0) -> None:
        """Real requests; counted as evidence of the rollout only, so that they do not take the region down."""
        for ok, count in ((True, good), (False, bad)):
            for _ in range(count):
                self.manager.evidence.count(region_id, ok, ms, service)

    async def events(self, kind: EventKind | None = None) -> list[ChainedEvent]:
        return [e for e in await self.manager.journal.tail(0, 10_000) if kind is None or e.event.kind is kind]


@asynccontextmanager
async def staged(
    *regions: Region,
    store: Store | None = None,
    executor: Executor | None = None,
    clock: VirtualClock | None = None,
    **options: Any,
) -> AsyncIterator[Stage]:
    """A stage with these regions; the first three of the examples when none is given."""
    clock = clock or VirtualClock()
    manager = RegionManager(store=store, clock=clock, limits=options.pop("limits", ROOMY), **options)
    await manager.initialize()
    orchestrator = DeploymentOrchestrator(manager, executor=executor)
    await orchestrator.initialize()
    for one in regions or ([region(name) for name in NAMES[:3]] if not manager.regions else ()):
        if one.region_id not in manager.regions:
            await manager.register_region(one)
    try:
        yield Stage(manager, orchestrator, clock)
    finally:
        await orchestrator.close()
        await manager.close()


def states(deployment: Deployment) -> list[str]:
    """The states of its history, without the repeats that steps make."""
    return [line.state.value for line in deployment.history]


SMOOTH = [State.PREPARING, State.BAKING, State.SHIFTING, State.SERVING]


class Witness:
    """A store in front of ``inner`` that notes each commit; ``before`` is awaited ahead of each, and may raise."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.commits: list[dict[str, str | None]] = []
        self.before: Callable[[], Awaitable[None]] | None = None

    async def load(self, prefix: str = "", *, after: str = "", limit: int | None = None) -> Loaded:
        return await self.inner.load(prefix, after=after, limit=limit)

    async def commit(self, values: Mapping[str, str | None], guards: Mapping[str, int] | None = None) -> int:
        if self.before is not None:
            await self.before()
        revision = await self.inner.commit(values, guards)
        self.commits.append(dict(values))
        return revision

    def watch(self, prefix: str = "", *, after: int) -> AsyncIterator[Changes]:
        return self.inner.watch(prefix, after=after)

    async def close(self) -> None:
        await self.inner.close()
