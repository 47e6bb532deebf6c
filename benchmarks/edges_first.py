"""How long it takes from a change of state to the first request that goes elsewhere, through a real Envoy.

The timed call is the public one, ``plane.publish`` of a plan in which one region is out; a client on one kept
connection asks all the time who serves. What a plan costs to make is measured beside it.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.binary import find_envoy
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.bootstrap import bootstrap_document
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.plane import EnvoyDataPlane
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.process import EnvoyProcess, Start
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.server import AdsServer
from mahavishnu.integrations.multi_region.core.model import HealthCheck
from mahavishnu.integrations.multi_region.core.traffic import TrafficPlan
from mahavishnu.integrations.multi_region.ports.dataplane import Acknowledged, EdgeEvent

from .common import Table
from .edges_parts import (
    EDGE,
    HOST,
    PROBED,
    Child,
    Client,
    Town,
    both,
    cpu_s,
    free_ports,
    nginx_command,
    rss_mb,
    scratch,
    until,
    with_last_of,
)
from .edges_watch import Watcher

REGIONS, MANY = 10, 20
PAUSE_S = 0.03
STEADY = HealthCheck(path="/", interval_s=10.0, timeout_s=1.0)
"""How regions of many services say that they want to be checked."""


@dataclass(slots=True)
class Figures:
    """Of one size, times in ms. ``call``: of ``publish`` itself, within ``first`` and ``acknowledged``."""

    calls: list[float] = field(default_factory=list)
    acknowledged: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Rig:
    """A data plane, an Envoy that listens to it, and a client of it."""

    plane: EnvoyDataPlane
    envoy: EnvoyProcess
    client: Client
    heard: dict[int, float] = field(default_factory=dict)

    def hear(self, event: EdgeEvent) -> None:
        """Note when a plan was acknowledged."""
        if isinstance(event, Acknowledged):
            self.heard[event.generation] = time.monotonic()

    async def acknowledged(self, generation: int) -> float:
        """Wait for it; when it was (``time.monotonic``)."""
        await until(lambda: generation in self.heard, f"plan {generation} is acknowledged", 0.002)
        return self.heard[generation]


@asynccontextmanager
async def rig(town: Town, folder: Path, threads: int = 1) -> AsyncIterator[Rig]:
    """A plane and an Envoy, neither told anything yet."""
    run = folder / "edge"
    run.mkdir(exist_ok=True)
    plane = EnvoyDataPlane(AdsServer(f"{HOST}:0"))
    await plane.start()
    host, _, port = plane.address.rpartition(":")
    document = bootstrap_document(EDGE, [(host, int(port))], admin_socket=str(run / "admin.sock"))
    envoy = EnvoyProcess(Start(find_envoy(), document, run, threads, run / "envoy.log", drain_s=0.0))
    client = Client(int(town.listen.rpartition(":")[2]), town.last)
    found = Rig(plane, envoy, client)
    plane.subscribe(found.hear)
    try:
        yield found
    finally:
        client.close()
        await envoy.stop()
        await plane.close()


async def size(services: int, compliance: tuple[str, ...], rounds: int, warm: int) -> tuple[list[list[str]], list[str]]:
    """The rows of one size: times, and what it costs to have that many."""
    ports = free_ports(REGIONS + 1)
    town = Town(
        tuple(ports[1:]),
        services,
        f"{HOST}:{ports[0]}",
        check=PROBED if services < MANY else STEADY,
        compliance=compliance,
    )
    with scratch() as folder, Child(nginx_command(folder, [f"{HOST}:{port}" for port in town.ports]), folder / "log"):
        async with rig(town, folder) as found:
            cold = await _start(found, town)
            gc.collect()
            gc.freeze()
            trips = await _round_trips(found.client, max(rounds, 50))
            base, turned = town.plan(0), town.plan(0, out=town.regions[0])
            others = (with_last_of(base, turned, own=True), with_last_of(base, turned), turned)
            figures = await _rounds(found, town, base, others if services > 1 else others[:1], (warm, rounds))
            assert found.envoy.pid is not None
            checks = await _idle_cpu(found.envoy.pid)
            gc.unfreeze()
            memory = rss_mb(found.envoy.pid)
    plan_ms = statistics.median(_planned(town, turn) for turn in range(5))
    clusters = [len(tuple(kind.targets)) for kind in base.edges[EDGE].classes]
    name = f"{sum(map(bool, clusters)):,} of {len(clusters):,} ({services:,})"
    changed = ("one cluster", "one service", "every service")
    times = [_times(name, what, one, trips) for what, one in zip(changed, figures, strict=False)]
    return times, [name, f"{plan_ms:.1f}", f"{cold:.2f}", f"{memory:.0f}", f"{checks:.0f} %"]


async def _start(found: Rig, town: Town) -> float:
    """Start Envoy, and publish the first plan; how long until it serves, in s."""
    found.plane.publish(town.plan(1))
    began = time.monotonic()
    await found.envoy.start()
    await found.client.served(lambda region: region == town.regions[0], 0.01)
    took = time.monotonic() - began
    await found.acknowledged(1)
    await asyncio.sleep(1.0)
    return took


async def _rounds(
    found: Rig, town: Town, base: TrafficPlan, others: Sequence[TrafficPlan], counts: tuple[int, int]
) -> list[Figures]:
    """Publish each other plan and the first one in turns; ``counts``: rounds that do not count, rounds that do."""
    all_of_them, number = [], 1
    async with Watcher(int(town.listen.rpartition(":")[2]), town.last) as watcher:
        await watcher.served(town.regions[0])
        for other in others:
            figures = Figures()
            for turn in range(sum(counts) + sum(counts) % 2):  # so that it ends as it began
                number += 1
                plan = replace(base if turn % 2 else other, generation=number)
                by = town.regions[0 if turn % 2 else 1]
                await _round(found, plan, watcher.served(by), figures if turn >= counts[0] else Figures())
            all_of_them.append(figures)
    return all_of_them


async def _round(found: Rig, plan: TrafficPlan, served: Awaitable[float], figures: Figures) -> None:
    """Publish once, and see what comes of it. ``served``: when the first request was that went elsewhere."""
    began = time.monotonic()
    found.plane.publish(plan)
    called = time.monotonic()
    acknowledged = await found.acknowledged(plan.generation)
    figures.calls.append(1000 * (called - began))
    figures.first.append(1000 * (await served - began))
    figures.acknowledged.append(1000 * (acknowledged - began))
    await asyncio.sleep(PAUSE_S)


def _planned(town: Town, turn: int) -> float:
    """How long it takes to make a plan, in ms."""
    changed = replace(town.fleet(town.regions[turn % 2]), generation=turn)
    began = time.monotonic()
    town.plan_of(changed)
    return 1000 * (time.monotonic() - began)


async def _round_trips(client: Client, count: int) -> list[float]:
    """One request after the other, in ms each."""
    found = []
    for _ in range(count):
        began = time.monotonic()
        await client.ask()
        found.append(1000 * (time.monotonic() - began))
        await asyncio.sleep(0.005)
    return found


async def _idle_cpu(pid: int) -> float:
    """How much of a processor Envoy takes without any client, in percent."""
    before, began = cpu_s(pid), time.monotonic()
    await asyncio.sleep(1.5)
    return 100 * (cpu_s(pid) - before) / (time.monotonic() - began)


def _times(name: str, changed: str, figures: Figures, trips: list[float]) -> list[str]:
    ratio = statistics.median(figures.first) / statistics.median(trips)
    return [
        name,
        changed,
        f"{ratio:.1f}",
        both(figures.first),
        both(figures.acknowledged),
        both(figures.calls),
        both(trips),
    ]


async def tables(sizes: Sequence[tuple[int, tuple[str, ...]]], rounds: int, warm: int) -> list[Table]:
    """The tables of this part."""
    times, costs = [], []
    for services, compliance in sizes:
        found, cost = await size(services, compliance, rounds, warm)
        times += found
        costs.append(cost)
    columns = (
        "clusters with 10 regions, of all (services)",
        "changed",
        "first request elsewhere / round trip",
        "first p50 / p99 ms",
        "acknowledged p50 / p99 ms",
        "of it `publish` itself p50 / p99 ms",
        "round trip p50 / p99 ms",
    )
    head = (
        "clusters with 10 regions, of all (services)",
        "a plan for all, ms",
        "started and loaded, s",
        "Envoy's memory, MB",
        "Envoy idle, of a processor",
    )
    return [
        Table("A region is out → first request elsewhere", columns, times),
        Table("What the clusters cost", head, costs),
    ]
