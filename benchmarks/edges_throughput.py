"""What an edge costs per request: our whole configuration beside a plain Envoy, HAProxy, and the region itself.

wrk loads one after the other, in turns, so that a neighbour's work on the machine falls on all of them. Processor time
per request is what the proxy's process used, by ``/proc``.
"""

from __future__ import annotations

import asyncio
import re
import statistics
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from mahavishnu.integrations.multi_region.core.routes import RouteClass

from .common import Table
from .edges_first import rig
from .edges_parts import HOST, Child, Missing, Town, cpu_s, free_ports, nginx_command, program, scratch
from .edges_peers import envoy, haproxy

REGIONS, SERVICES, CONNECTIONS = 3, 20, 32
ROUTES = (RouteClass("/orders", attempt_timeout_s=0.15), RouteClass())

DIRECT, OURS, PLAIN, HAPROXY = "the region itself (nginx)", "Envoy, steered by us", "Envoy, plain", "HAProxy"

_REPORT = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %d\\n", summary.requests, summary.duration, latency:percentile(99),
    e.status + e.connect + e.read + e.write + e.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """One run of wrk. ``cpu_us``: the proxy's processor time per request, in µs."""

    rps: float
    p99_ms: float
    cpu_us: float


@dataclass(slots=True)
class Proxy:
    """What is loaded: its process and its port."""

    pid: int
    port: int
    loads: list[Load] = field(default_factory=list)


async def load(proxy: Proxy, host: str, script: Path, seconds: int) -> Load:
    """Load it. Raises SystemExit when a request fails."""
    command = [program("wrk", "wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-H", f"Host: {host}"]
    command += ["-s", str(script), f"http://{HOST}:{proxy.port}/"]
    before = cpu_s(proxy.pid)
    wrk = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    said = (await wrk.communicate())[0].decode()
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+)", said)
    if found is None or found[4] != "0":
        raise SystemExit(f"port {proxy.port} did not answer as it should:\n{said}")
    requests, took_us, p99_us = (int(found[number]) for number in (1, 2, 3))
    return Load(requests / took_us * 1e6, p99_us / 1e3, (cpu_s(proxy.pid) - before) / requests * 1e6)


async def measure(rounds: int, seconds: int) -> tuple[Mapping[str, Proxy], str]:
    """Each proxy with its loads, and what could not be measured."""
    program("wrk", "wrk")
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(scratch())
        script = folder / "report.lua"
        script.write_text(_REPORT)
        ports = free_ports(REGIONS + 3)
        regions = [f"{HOST}:{port}" for port in ports[3:]]
        nginx = stack.enter_context(Child(nginx_command(folder / "regions", regions), folder / "nginx.log"))
        town = Town(tuple(ports[3:]), SERVICES, f"{HOST}:{ports[0]}", routes=ROUTES, compliance=("gdpr",))
        found = await stack.enter_async_context(rig(town, folder))
        found.plane.publish(town.plan(1))
        await found.envoy.start()
        await found.client.served(bool, 0.01)
        assert found.envoy.pid is not None
        plain = stack.enter_context(envoy(folder, ports[1], regions, threads=1, checked=False, passive=True))
        proxies = {
            DIRECT: Proxy(nginx.pid, ports[3]),
            OURS: Proxy(found.envoy.pid, ports[0]),
            PLAIN: Proxy(plain.pid, ports[1]),
        }
        why = ""
        try:
            other = stack.enter_context(haproxy(folder, ports[2], regions, threads=1, passive=True))
            proxies[HAPROXY] = Proxy(other.pid, ports[2])
        except Missing as err:
            why = f"HAProxy was not measured: {err}."
        await asyncio.sleep(1.0)
        for number in range(rounds + 1):
            for proxy in proxies.values():
                made = await load(proxy, town.last, script, seconds if number else 1)
                if number:
                    proxy.loads.append(made)
        return proxies, why


async def table(rounds: int, seconds: int) -> Table:
    """A row for each proxy."""
    try:
        proxies, why = await measure(rounds, seconds)
    except Missing as err:
        return Table("Requests through one worker", ("not measured",), [(str(err),)])
    plain = proxies[PLAIN]
    columns = ("way", "requests/s / plain", "µs of processor / plain", "requests/s", "µs of processor", "p99 ms")
    return Table("Requests through one worker", columns, [_row(name, one, plain) for name, one in proxies.items()], why)


def _row(name: str, proxy: Proxy, plain: Proxy) -> list[str]:
    def middle(what: str, of: Proxy = proxy) -> float:
        return float(statistics.median(getattr(one, what) for one in of.loads))

    return [
        name,
        f"{middle('rps') / middle('rps', plain):.2f}",
        f"{middle('cpu_us') / middle('cpu_us', plain):.2f}",
        f"{middle('rps'):,.0f}",
        f"{middle('cpu_us'):.0f}",
        f"{middle('p99_ms'):.1f}",
    ]
