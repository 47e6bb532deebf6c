"""What it takes to tell many edges at once: incremental streams to clients in another process, which take it all.

``python -m benchmarks.edges_push HOST:PORT COUNT`` is that other process.
"""

from __future__ import annotations

import asyncio
import gc
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import grpc.aio

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.frames import DELTA_REQUEST
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.plane import EnvoyDataPlane
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.proto import message
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.resources import (
    CLUSTER,
    ENDPOINTS,
    LISTENER,
    ROUTES,
    Snapshot,
)
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.server import DISCOVERY, AdsServer
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.translate import Translator
from mahavishnu.integrations.multi_region.core.traffic import TrafficPlan
from mahavishnu.integrations.multi_region.ports.dataplane import Acknowledged, EdgeEvent

from .common import Table
from .edges_parts import FRAMEWORKS, HOST, Child, Town, rss_mb, scratch, until, with_last_of

REGIONS, SERVICES, MANY = 10, 35, 100
_RESPONSE = "envoy.service.discovery.v3.DeltaDiscoveryResponse"
_NAIVE_STREAMS = 10


# --- the other process --------------------------------------------------------------------------------


async def take_all(address: str, count: int) -> None:
    """So many edges, each of which accepts all that it is told, for good."""
    async with grpc.aio.insecure_channel(address, options=(("grpc.max_receive_message_length", -1),)) as channel:
        await asyncio.gather(*(_edge(channel, f"edge-{number}") for number in range(count)))


async def _edge(channel: grpc.aio.Channel, edge_id: str) -> None:
    request, response = message(DELTA_REQUEST), message(_RESPONSE)
    call: Any = channel.stream_stream(
        f"/{DISCOVERY}/DeltaAggregatedResources",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )()
    hello = request(type_url=CLUSTER)
    hello.node.id = edge_id
    await call.write(hello)
    await call.write(request(type_url=LISTENER))
    await call.write(request(type_url=ROUTES, resource_names_subscribe=["services"]))
    async for told in call:
        if told.type_url == CLUSTER:  # ask for the endpoints of what is new before accepting it, as Envoy does
            names = [one.name for one in told.resources]
            await call.write(request(type_url=ENDPOINTS, resource_names_subscribe=names))
        await call.write(request(type_url=told.type_url, response_nonce=told.nonce))


# --- this process -------------------------------------------------------------------------------------


@dataclass(slots=True)
class Pushes:
    """Of one kind, in ms: until every edge has acknowledged, the call itself; processor time of both."""

    all_told: list[float] = field(default_factory=list)
    calls: list[float] = field(default_factory=list)
    used: list[float] = field(default_factory=list)
    call_used: list[float] = field(default_factory=list)


class Counter:
    """Who has acknowledged the newest plan."""

    def __init__(self) -> None:
        self.generation = 0
        self.edges: set[str] = set()
        self.last = 0.0

    def hear(self, event: EdgeEvent) -> None:
        """Count an acknowledgement."""
        if isinstance(event, Acknowledged) and event.generation == self.generation:
            self.edges.add(event.edge_id)
            self.last = time.perf_counter()


async def size(town: Town, count: int, rounds: int) -> list[list[str]]:
    """The rows of so many streams. ``rounds``: even; with many streams two have to do, since each takes seconds."""
    warm, rounds = (2, rounds) if count < MANY else (0, 2)
    plane, counter = EnvoyDataPlane(AdsServer(f"{HOST}:0")), Counter()
    plane.subscribe(counter.hear)
    await plane.start()
    names = [f"edge-{number}" for number in range(count)]
    base, turned = town.plan(0, edges=names), town.plan(0, out=town.regions[0], edges=names)
    part, one, whole = with_last_of(base, turned), Pushes(), Pushes()
    command = [sys.executable, "-m", "benchmarks.edges_push", plane.address, str(count)]
    with scratch() as folder, Child(command, folder / "clients.log"):
        try:
            await _push(plane, counter, base, count, Pushes())
            gc.collect()
            gc.freeze()
            for pushes, other in ((one, part), (whole, turned)):
                for turn in range(warm + rounds):
                    plan = base if turn % 2 else other
                    await _push(plane, counter, plan, count, pushes if turn >= warm else Pushes())
            memory = rss_mb(os.getpid())
        finally:
            gc.unfreeze()
            await plane.close()
    naive = _naive(turned, count)
    return [_row(count, "every cluster", whole, naive, memory), _row(count, "one service", one, naive, memory)]


async def _push(plane: EnvoyDataPlane, counter: Counter, plan: TrafficPlan, count: int, into: Pushes) -> None:
    counter.generation += 1
    counter.edges.clear()
    used, began = time.process_time(), time.perf_counter()
    plane.publish(replace(plan, generation=counter.generation))
    called, used_by_call = time.perf_counter(), time.process_time()
    await until(lambda: len(counter.edges) == count, f"{count} edges acknowledge", 0.01)
    into.used.append(1000 * (time.process_time() - used))
    into.call_used.append(1000 * (used_by_call - used))
    into.all_told.append(1000 * (counter.last - began))
    into.calls.append(1000 * (called - began))
    await asyncio.sleep(0.05)


def _naive(plan: TrafficPlan, count: int) -> float:
    """Processor time in ms when all endpoints are made and serialised for each stream, each time."""
    snapshot, _ = Translator().snapshot(next(iter(plan.edges.values())), 1, {})
    streams = min(count, _NAIVE_STREAMS)
    began = time.process_time()
    for _ in range(streams):
        _serialise(snapshot)
    return 1000 * (time.process_time() - began) / streams * count


def _serialise(snapshot: Snapshot) -> bytes:
    assignment = message("envoy.config.endpoint.v3.ClusterLoadAssignment")
    response = message(_RESPONSE)(type_url=ENDPOINTS, nonce="1")
    for name, resource in snapshot.resources[ENDPOINTS].items():
        found = response.resources.add(name=name, version=resource.version)
        found.resource.Pack(assignment.FromString(resource.body), type_url_prefix="type.googleapis.com/")
    return bytes(response.SerializeToString())


def _row(count: int, changed: str, pushes: Pushes, naive: float, memory: float) -> list[str]:
    used, calls = statistics.median(pushes.used), statistics.median(pushes.calls)
    sent = max(0.0, statistics.median(u - c for u, c in zip(pushes.used, pushes.call_used, strict=True)))
    return [
        f"{count:,}",
        changed,
        f"{sent / naive:.2f}",
        f"{statistics.median(pushes.all_told):,.0f}",
        f"{calls:,.0f}",
        f"{used:,.0f}",
        f"{sent:,.0f}",
        f"{naive:,.0f}",
        f"{memory:.0f}",
    ]


async def table(streams: Sequence[int], rounds: int, services: int = SERVICES) -> Table:
    """Two rows for each number of streams."""
    town = Town(tuple(range(20_000, 20_000 + REGIONS)), services, f"{HOST}:10000", compliance=FRAMEWORKS)
    rows = [row for count in streams for row in await size(town, count, rounds)]
    clusters = sum(1 for _ in next(iter(town.plan(0).edges.values())).classes)
    columns = (
        "streams",
        "changed",
        "to send, of naive",
        "all acknowledged, ms",
        "of it `publish` itself, ms",
        "our processor time, ms",
        "of it to send, ms",
        "naive, ms",
        "our memory, MB",
    )
    return Table(f"A push to many edges, {clusters:,} clusters of {REGIONS} regions", columns, rows)


if __name__ == "__main__":
    asyncio.run(take_all(sys.argv[1], int(sys.argv[2])))
