"""How long it takes from a change of state to the first request that goes elsewhere, through a real Envoy.

The timed call is the public one, ``plane.publish`` of a plan in which one region is out; a client on one kept
connection asks all the time who serves. What a plan costs to make is measured beside it.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.binary import find_envoy
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.bootstrap import bootstrap_document
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.plane import EnvoyDataPlane
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.process import EnvoyProcess, Start
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.server import AdsServer
from mahavishnu.integrations.multi_region.core.traffic import TrafficPlan
from mahavishnu.integrations.multi_region.ports.dataplane import Acknowledged, EdgeEvent

from .common import Table
from .edges_parts import (
    EDGE,
    HOST,
    Child,
    Client,
    Town,
    both,
    cpu_s,
    free_ports,
    nginx_command,
    p,
    rss_mb,
    scratch,
    until,
    with_last_of,
)

REGIONS = 10
PAUSE_S = 0.05


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
            self.heard[event.generation] = time.perf_counter()

    async def acknowledged(self, generation: int) -> float:
        """Wait for it; when it was (``perf_counter``)."""
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


async def size(services: int, rounds: int, warm: int) -> tuple[list[list[str]], list[str]]:
    """The rows of one size: times, and what it costs to have that many."""
    ports = free_ports(REGIONS + 1)
    town = Town(tuple(ports[1:]), services, f"{HOST}:{ports[0]}")
    with scratch() as folder, Child(nginx_command(folder, [f"{HOST}:{port}" for port in town.ports]), folder / "log"):
        async with rig(town, folder) as found:
            cold = await _start(found, town)
            gc.collect()
            gc.freeze()
            trips = await _round_trips(found.client, max(rounds, 50))
            plans, one, whole = [], Figures(), Figures()
            base, turned = town.plan(0), town.plan(0, down=town.regions[0])
            part = with_last_of(base, turned)
            number = 1
            for figures, other in ((one, part), (whole, turned)):
                for turn in range(warm + rounds):
                    number += 1
                    await _round(found, replace(other if turn % 2 == 0 else base, generation=number), figures, turn < warm)
            for turn in range(5):
                began = time.perf_counter()
                town.plan(number + turn, down=town.regions[turn % 2])
                plans.append(1000 * (time.perf_counter() - began))
            assert found.envoy.pid is not None
            checks = await _idle_cpu(found.envoy.pid)
            gc.unfreeze()
            memory = rss_mb(found.envoy.pid)
    name = f"{sum(1 for _ in base.edges[EDGE].classes):,} ({services:,})"
    times = [_times(name, "one service", one, trips)]
    times += [_times(name, "every service", whole, trips)] if services > 1 else []
    return times, [name, f"{statistics.median(plans):.1f}", f"{cold:.2f}", f"{memory:.0f}", f"{checks:.0f} %"]


async def _start(found: Rig, town: Town) -> float:
    """Publish the first plan to an Envoy that just started; how long until it serves, in s."""
    await found.envoy.start()
    await until(lambda: EDGE in found.plane.states(), "the edge connects")
    began = time.perf_counter()
    found.plane.publish(town.plan(1))
    await found.client.served(lambda region: region == town.regions[0], 0.01)
    took = time.perf_counter() - began
    await found.acknowledged(1)
    await asyncio.sleep(1.0)
    return took


async def _round(found: Rig, plan: TrafficPlan, figures: Figures, warm: bool) -> None:
    """Publish once, and see what comes of it."""
    _, before = await found.client.ask()
    began = time.perf_counter()
    found.plane.publish(plan)
    called = time.perf_counter()
    await found.client.served(lambda region: region != before)
    first = time.perf_counter()
    acknowledged = await found.acknowledged(plan.generation)
    if not warm:
        figures.calls.append(1000 * (called - began))
        figures.first.append(1000 * (first - began))
        figures.acknowledged.append(1000 * (acknowledged - began))
    await asyncio.sleep(PAUSE_S)


async def _round_trips(client: Client, count: int) -> list[float]:
    """One request after the other, in ms each."""
    found = []
    for _ in range(count):
        began = time.perf_counter()
        await client.ask()
        found.append(1000 * (time.perf_counter() - began))
        await asyncio.sleep(0.005)
    return found


async def _idle_cpu(pid: int) -> float:
    """How much of a processor Envoy takes without any client, in percent."""
    before, began = cpu_s(pid), time.perf_counter()
    await asyncio.sleep(1.5)
    return 100 * (cpu_s(pid) - before) / (time.perf_counter() - began)


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


async def tables(sizes: tuple[int, ...], rounds: int, warm: int) -> list[Table]:
    """The tables of this part."""
    times, costs = [], []
    for services in sizes:
        found, cost = await size(services, rounds, warm)
        times += found
        costs.append(cost)
    columns = (
        "clusters of 10 regions (services)",
        "changed",
        "first request elsewhere / round trip",
        "first p50 / p99 ms",
        "acknowledged p50 / p99 ms",
        "of it `publish` itself p50 / p99 ms",
        "round trip p50 / p99 ms",
    )
    head = ("clusters of 10 regions (services)", "a plan for all, ms", "first load, s", "Envoy's memory, MB", "Envoy idle, of a processor")
    return [Table("A region is out → first request elsewhere", columns, times), Table("What the clusters cost", head, costs)]
