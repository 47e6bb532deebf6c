"""What clients notice of a lost region: requests in open loop through our whole system, HAProxy, and Envoy alone.

A fault is a crash (SIGKILL), a hang (SIGSTOP) or, in network namespaces, the loss of every packet. *Active-active*: all
regions serve, and one of three is lost. *Active-passive*: the one that serves alone is.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import Any

from mahavishnu.integrations.multi_region.testing.open_loop import SLOW_MS, Aim, OpenLoop, Summary

from .common import Table
from .edges_parts import DEADLINE_S, HOST, Child, Client, Missing, free_ports, nginx_command, p, scratch
from .edges_peers import envoy, haproxy
from .edges_system import CHECK, System, system

NAME = "api.test"
REGIONS = 3
THREADS = 2
RATES = (1000, 500, 250, 100)
QUEUEING_MS = 25.0
"""A rate whose slowest percent takes longer than this without any fault is more than the machine carries."""

_BEFORE_S, _AFTER_S = 1.0, 3.0
_PATIENCE_S = 8.0


class Fault(StrEnum):
    """How a region is lost."""

    KILL = "kill -9"
    STOP = "SIGSTOP"
    DROP = "packets dropped"


class Way(StrEnum):
    """Who steers."""

    TIMED = "ours, HTTP/1.1, 150 ms an attempt"
    PINGED = "ours, HTTP/2, PING alone"
    BOTH = "ours, HTTP/2, PING and 150 ms an attempt"
    HAPROXY = "HAProxy, tuned"
    CHECKED = "Envoy, health checks only"


OURS = (Way.TIMED, Way.PINGED, Way.BOTH)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured. ``rate``: requests/s."""

    ways: Sequence[Way]
    faults: Sequence[Fault]
    passive: Sequence[bool]
    rate: int
    after_s: float = _AFTER_S


# --- regions that can be lost -------------------------------------------------------------------------


_SERIALS = count()


class Place:
    """A region: one nginx, in a network of its own where we may make one. HTTP/2 is beside its health check."""

    def __init__(self, folder: Path, number: int, *, http2: bool, apart: bool) -> None:
        serial = next(_SERIALS)  # a network that was removed is there for some time yet
        self._name = f"mr{os.getpid() % 100_000}n{serial}" if apart else ""
        block = (os.getpid() * 256 + serial) % 16_384 * 4
        network = f"198.{18 + block // 65_536}.{block // 256 % 256}"
        self._here, there = f"{network}.{block % 256 + 1}", f"{network}.{block % 256 + 2}"
        self.host = there if apart else HOST
        port, beside = free_ports(2)
        self.address = f"{self.host}:{port}"
        health: dict[str, Any] = {**CHECK, "path": "/"}
        if http2:
            health = {**CHECK, "url": f"http://{self.host}:{beside}/"}
        self.declared = {"id": f"region-{number}", "endpoint": f"http://{self.address}", "health": health}
        self.declared |= {"protocol": "http2"} if http2 else {}
        self._listens = [f"{self.address} http2", f"{self.host}:{beside}"] if http2 else [self.address]
        self._folder = folder / f"region-{number}"
        self._child: Child | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """It serves."""
        try:
            command = [*self._apart(), *nginx_command(self._folder, self._listens)]
            with Child(command, self._folder / "log") as self._child:
                yield
        finally:
            if self._name:
                subprocess.run(["ip", "netns", "del", self._name], capture_output=True, check=False)

    def lose(self, fault: Fault) -> None:
        """Lose it."""
        assert self._child is not None
        match fault:
            case Fault.KILL:
                self._child.signal(signal.SIGKILL)
            case Fault.STOP:
                self._child.signal(signal.SIGSTOP)
            case Fault.DROP:
                chains = " ".join(f"chain {w} {{ type filter hook {w} priority 0; policy drop; }};" for w in _BOTH)
                _run("ip", "netns", "exec", self._name, "nft", f"table inet lost {{ {chains} }}")

    def _apart(self) -> list[str]:
        if not self._name:
            return []
        within, inside, outside = ["ip", "netns", "exec", self._name], f"{self._name}i", f"{self._name}o"
        _run("ip", "netns", "add", self._name)
        _run("ip", "link", "add", outside, "type", "veth", "peer", "name", inside, "netns", self._name)
        _run("ip", "addr", "add", f"{self._here}/30", "dev", outside)
        _run("ip", "link", "set", outside, "up")
        _run(*within, "ip", "addr", "add", f"{self.host}/30", "dev", inside)
        _run(*within, "ip", "link", "set", inside, "up")
        return within


_BOTH = ("input", "output")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")


def not_apart() -> str | None:
    """Why regions cannot have networks of their own here, so that no packets can be dropped; None when they can."""
    absent = [tool for tool in ("ip", "nft", "unshare") if shutil.which(tool) is None]
    if absent:
        return f"{', '.join(absent)} missing: apt-get install iproute2 nftables util-linux"
    made = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return "run as root to drop packets" if os.geteuid() or made.returncode else None


# --- one run ------------------------------------------------------------------------------------------


@asynccontextmanager
async def steered(folder: Path, way: Way, places: Sequence[Place], passive: bool) -> AsyncIterator[tuple[int, Any]]:
    """Someone steers; yields the port for clients, and our system where it is ours."""
    if way in OURS:
        async with system(folder, [place.declared for place in places], [_service(way, passive)]) as ours:
            yield ours.port, ours
        return
    (port,) = free_ports(1)
    regions = [place.address for place in places]
    if way is Way.HAPROXY:
        with haproxy(folder, port, regions, threads=THREADS, passive=passive):
            yield port, None
    else:
        with envoy(folder, port, regions, threads=THREADS, checked=True, passive=passive):
            yield port, None


def _service(way: Way, passive: bool) -> Mapping[str, Any]:
    route: dict[str, Any] = {"prefix": "/", "timeout": "5s"}
    route |= {"attempt_timeout": "150ms"} if way is not Way.PINGED else {}
    strategy = "latency_based" if passive else "round_robin"
    return {"name": "api", "hosts": [NAME], "strategy": strategy, "routes": [route]}


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one run. ``slow``: answers slower than ``SLOW_MS``; ``before_ms``: the slowest percent before the fault.

    ``milestones``: in s after the fault, when our controller had a first sign, a verdict, a plan, every edge's word.
    """

    summary: Summary
    slow: int
    before_ms: float
    milestones: Sequence[float]


async def run(way: Way, fault: Fault, passive: bool, given: Plan) -> Outcome:
    """Lose the first region under load."""
    apart = not_apart() is None
    with scratch() as folder, ExitStack() as stack:
        places = [Place(folder, n, http2=way in (Way.PINGED, Way.BOTH), apart=apart) for n in range(REGIONS)]
        for place in places:
            stack.enter_context(place.running())
        async with steered(folder, way, places, passive) as (port, ours):
            await _warm(port)
            aim = Aim(f"http://{HOST}:{port}/", given.rate, headers={"host": NAME}, timeout_s=_PATIENCE_S)
            async with OpenLoop(aim) as load:
                await asyncio.sleep(_BEFORE_S)
                load.mark()
                lost_at = time.time()
                places[0].lose(fault)
                await asyncio.sleep(given.after_s)
            before = [answer.latency_ms for answer in load.answers if 0.3 <= answer.due_s < load.marked_s - 0.2]
            slow = sum(answer.latency_ms > SLOW_MS for answer in load.answers if answer.due_s >= load.marked_s - 0.1)
            return Outcome(load.summary(), slow, p(before, 0.99), await _milestones(ours, lost_at))


async def _warm(port: int) -> None:
    """Wait until clients are served, each time, for half a second."""
    client, well, deadline = Client(port, NAME), 0, time.monotonic() + DEADLINE_S
    while well < 50:
        if time.monotonic() > deadline:
            raise SystemExit(f"no client of port {port} is served")
        well = well + 1 if (await client.ask())[0] == 200 else 0
        await asyncio.sleep(0.01)
    client.close()


async def _milestones(ours: System | None, lost_at: float) -> list[float]:
    """See ``Outcome``; empty when nothing was acknowledged."""
    found = await ours.events("failover.acknowledged") if ours is not None else []
    if not found:
        return []
    details = found[0]["details"]
    names = ("first_signal_at", "verdict_at", "planned_at", "acknowledged_at")
    return [details[name] - lost_at for name in names if details[name] is not None]


# --- what comes out -----------------------------------------------------------------------------------


async def carried(rates: Sequence[int] = RATES, seconds: float = 1.5) -> tuple[int, str]:
    """The highest of some rates that this machine carries through Envoy without queueing, and how that was seen."""
    said = []
    for rate in rates:
        given = Plan((), (), (), rate, after_s=0.0)
        waits = await _calm(given, seconds)
        said.append(f"{rate}/s: slowest percent {p(waits, 0.99):.0f} ms")
        if p(waits, 0.99) <= QUEUEING_MS:
            break
    return rate, "; ".join(said)


async def _calm(given: Plan, seconds: float) -> list[float]:
    """The waits, in ms, of clients of Envoy when nothing happens."""
    with scratch() as folder, ExitStack() as stack:
        places = [Place(folder, number, http2=False, apart=False) for number in range(REGIONS)]
        for place in places:
            stack.enter_context(place.running())
        async with steered(folder, Way.CHECKED, places, False) as (port, _):
            await _warm(port)
            async with OpenLoop(Aim(f"http://{HOST}:{port}/", given.rate, headers={"host": NAME})) as load:
                await asyncio.sleep(0.5 + seconds)
            return [answer.latency_ms for answer in load.answers if answer.due_s >= 0.5]


async def table(given: Plan) -> Table:
    """A row for each way, kind of service and fault."""
    rows = [
        await _row(way, passive, fault, given)
        for passive in given.passive
        for fault in given.faults
        for way in given.ways
    ]
    columns = (
        "regions",
        "fault",
        "way",
        "failed",
        "cut",
        "of requests",
        "slowest ms",
        f"slower than {SLOW_MS:.0f} ms",
        "last affected, ms after",
        "p99 before ms",
        "verdict / acknowledged, s after",
    )
    return Table(f"A region is lost at {given.rate:,} requests/s", columns, rows)


async def _row(way: Way, passive: bool, fault: Fault, given: Plan) -> list[str]:
    head = ["active-passive" if passive else "active-active", fault.value, way.value]
    why = not_apart() if fault is Fault.DROP else None
    if why is not None:
        return [*head, f"not measured: {why}", *[""] * 7]
    try:
        outcome = await run(way, fault, passive, given)
    except Missing as err:
        return [*head, f"not measured: {err}", *[""] * 7]
    found, milestones = outcome.summary, outcome.milestones
    last = "-" if found.last_affected_s is None else f"{1000 * found.last_affected_s:,.0f}"
    told = f"{milestones[1]:.2f} / {milestones[-1]:.2f}" if len(milestones) == 4 else "-"
    return [
        *head,
        f"{found.failed:,}",
        f"{found.cut:,}",
        f"{found.requests:,}",
        f"{found.slowest_ms:,.0f}",
        f"{outcome.slow:,}",
        last,
        f"{outcome.before_ms:.0f}",
        told,
    ]
