"""An operator drains the region that serves: from the request to the API to the first client who is served elsewhere.

Through everything that people run: API, state, plan, translation, stream, Envoy. The store is in memory.
"""

from __future__ import annotations

import asyncio
import statistics
import time

from .common import Table
from .edges_parts import FRAMEWORKS, HOST, Child, Client, both, free_ports, nginx_command, scratch
from .edges_system import CHECK, System, system
from .edges_watch import Watcher

REGIONS = 10
Sizes = tuple[tuple[int, tuple[str, ...]], ...]
"""How many services, and which frameworks every region meets."""
SIZES: Sizes = ((1, ()), (35, FRAMEWORKS))

_STEADY = {**CHECK, "path": "/", "interval": "10s", "timeout": "1s"}


async def _row(services: int, compliance: tuple[str, ...], rounds: int) -> list[str]:
    """So many services, each in all regions."""
    ports = free_ports(REGIONS)
    regions = [
        {
            "id": f"region-{number}",
            "endpoint": f"http://{HOST}:{port}",
            "health": _STEADY,
            "compliance": [str(one) for one in compliance],
        }
        for number, port in enumerate(ports)
    ]
    names = [f"service-{number:04}" for number in range(services)]
    stated = [{"name": name, "hosts": [name], "strategy": "latency_based"} for name in names]
    with scratch() as folder, Child(nginx_command(folder / "n", [f"{HOST}:{p}" for p in ports]), folder / "nginx.log"):
        async with system(folder, regions, stated) as ours:
            client = Client(ours.port, names[-1])
            await client.served(lambda region: region == "region-0", 0.02)
            client.close()
            async with Watcher(ours.port, names[-1]) as watcher:
                await watcher.served("region-0")
                rows = [await _drained(ours, watcher) for _ in range(rounds + 5)][5:]
    first, acknowledged, answered = zip(*rows, strict=True)
    ratio = statistics.median(first) / statistics.median(answered)
    return [f"{services:,}", f"{ratio:.1f}", both(first), both(acknowledged), both(answered)]


async def _drained(ours: System, watcher: Watcher) -> tuple[float, float, float]:
    """One round, in ms: the first request elsewhere, the acknowledgement as seen by the API, the API's answer."""
    before = (await ours.edge())["current"]
    began = time.monotonic()
    await ours.ask("POST", "/v1/regions/region-0/drain", {"reason": "a benchmark"})
    answered = time.monotonic()
    acknowledged = await ours.newer(before)
    first = await watcher.served("region-1")
    await ours.ask("POST", "/v1/regions/region-0/undrain", {"reason": "a benchmark"})
    await watcher.served("region-0")
    await asyncio.sleep(0.1)
    return 1000 * (first - began), 1000 * (acknowledged - began), 1000 * (answered - began)


async def table(sizes: Sizes, rounds: int) -> Table:
    """A row for each size."""
    rows = [await _row(services, compliance, rounds) for services, compliance in sizes]
    columns = (
        "services",
        "first / answer",
        "first request elsewhere p50 / p99 ms",
        "acknowledged p50 / p99 ms",
        "the API's answer p50 / p99 ms",
    )
    return Table("An operator drains a region, through the whole controller", columns, rows)
