"""What the benchmarks of edges share: processes of other programs, regions, one client, and plans to publish."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from mahavishnu.integrations.multi_region.core.edges import EdgeSpec
from mahavishnu.integrations.multi_region.core.model import (
    AdminState,
    ComplianceFramework,
    Fleet,
    HealthCheck,
    Point,
    Service,
    UpstreamProtocol,
)
from mahavishnu.integrations.multi_region.core.routes import RouteClass
from mahavishnu.integrations.multi_region.core.steering import SteeringInput, plan_traffic
from mahavishnu.integrations.multi_region.core.traffic import ServiceTraffic, TrafficPlan
from mahavishnu.integrations.multi_region.testing.builders import fleet, view

HOST = "127.0.0.1"
EDGE = "edge"
SERVED_BY = b"x-multi-region-region: "
DEADLINE_S = 120.0

_END_S = 10.0


class Missing(Exception):
    """Something that a measurement needs is not on this machine; the text says what, and how to get it."""


def program(name: str, package: str) -> str:
    """The path of a program. Raises Missing."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")
    if found is None:
        raise Missing(f"{name} is missing: apt-get install {package}")
    return found


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago."""
    with ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in found:
            one.bind((HOST, 0))
        return [int(one.getsockname()[1]) for one in found]


class Child:
    """One process of another program, ended with the block. ``env``: None for ours."""

    def __init__(self, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> None:
        self._log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.signal(signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(_END_S)

    @property
    def pid(self) -> int:
        """The process."""
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self.process.poll() is None:
            os.kill(self.process.pid, number)

    def check(self) -> None:
        """Raises SystemExit, with what it said, when it has ended."""
        if self.process.poll() is not None:
            raise SystemExit(f"{self.process.args!r} ended with {self.process.returncode}:\n{self._log.read_text()}")


def cpu_s(pid: int) -> float:
    """Processor time that a process used so far, in s, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    """Memory that a process has resident, in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for the block; its path is short, since sockets live below it."""
    folder = Path(tempfile.mkdtemp(prefix="mr-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# --- regions ------------------------------------------------------------------------------------------

_NGINX = """daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log crit;
events {{ worker_connections 16384; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 3600s;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  {servers}
}}
"""


def nginx_command(folder: Path, addresses: Sequence[str]) -> list[str]:
    """How to run one nginx that answers at each address (``HOST:PORT``, ``HOST:PORT http2``). Raises Missing."""
    found = program("nginx", "nginx-light")
    folder.mkdir(parents=True, exist_ok=True)
    answer = 'location / { return 200 "hello, world\\n"; }'
    servers = "\n  ".join(f"server {{ listen {address} backlog=4096; {answer} }}" for address in addresses)
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, servers=servers))
    return [found, "-e", str(folder / "error.log"), "-c", str(config)]


async def until(fact: Callable[[], object], what: str, every_s: float = 0.02) -> None:
    """Wait until something is so. Raises SystemExit when it never is."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + DEADLINE_S
    while not fact():
        if loop.time() > deadline:
            raise SystemExit(f"not within {DEADLINE_S:g} s: {what}")
        await asyncio.sleep(every_s)


# --- one client ---------------------------------------------------------------------------------------


class Client:
    """One kept connection; requests go one after the other."""

    def __init__(self, port: int, host: str) -> None:
        self._port = port
        self._request = f"GET / HTTP/1.1\r\nhost: {host}\r\n\r\n".encode()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self) -> tuple[int, str]:
        """Status, and the region that served ("" when none is named); (0, "") when nobody listens or it breaks."""
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection(HOST, self._port)
            reader, writer = self._streams
            writer.write(self._request)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(_length(head))
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            return 0, ""
        return int(head[9:12]), head.partition(SERVED_BY)[2].partition(b"\r\n")[0].decode()

    async def served(self, by: Callable[[str], bool] = bool, pause_s: float = 0.0) -> str:
        """Ask until a region serves that fits; its name. Raises SystemExit when none ever does."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + DEADLINE_S
        while loop.time() < deadline:
            status, region = await self.ask()
            if status == 200 and by(region):
                return region
            if pause_s or not status:
                await asyncio.sleep(pause_s or 0.02)
        raise SystemExit(f"no region that fits served within {DEADLINE_S:g} s; the last: {status} {region!r}")

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


def _length(head: bytes) -> int:
    return int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)


# --- plans --------------------------------------------------------------------------------------------

PROBED = HealthCheck(path="/")
FRAMEWORKS = tuple(ComplianceFramework)


@dataclass(frozen=True, slots=True)
class Town:
    """Regions (their ports) and services (how many) that an edge is told about; a service is asked for by its name.

    ``compliance``: what every region meets. With all ``FRAMEWORKS`` a service has 29 clusters, each with every region:
    its own, one for each framework, one for each two.
    """

    ports: tuple[int, ...]
    services: int
    listen: str
    check: HealthCheck = PROBED
    routes: tuple[RouteClass, ...] = ()
    compliance: tuple[str, ...] = ()

    @property
    def regions(self) -> tuple[str, ...]:
        """Their names; the first is the nearest."""
        return tuple(f"region-{number:02}" for number in range(len(self.ports)))

    @property
    def last(self) -> str:
        """The host of the service that comes last in everything."""
        return f"service-{self.services - 1:04}"

    def fleet(self, out: str | None = None) -> Fleet:
        """The regions, in rising distance from the edge; one of them may be taken out of service."""
        regions = [
            view(
                name,
                admin=AdminState.DRAINING if name == out else AdminState.ACTIVE,
                point=Point(0.0, 0.1 * number),
                country=None,
                endpoint=f"http://{HOST}:{port}",
                protocol=UpstreamProtocol.HTTP1,
                compliance=self.compliance,
            )
            for number, (name, port) in enumerate(zip(self.regions, self.ports, strict=True))
        ]
        names = [f"service-{number:04}" for number in range(self.services)]
        return fleet(*regions, services=[Service(name, (name,), routes=self.routes) for name in names])

    def plan(self, generation: int, out: str | None = None, edges: Sequence[str] = (EDGE,)) -> TrafficPlan:
        """The plan for edges beside the first region."""
        return self.plan_of(replace(self.fleet(out), generation=generation), edges)

    def plan_of(self, fleet: Fleet, edges: Sequence[str] = (EDGE,)) -> TrafficPlan:
        """The same, of a fleet that was made before."""
        specs = {edge: EdgeSpec(edge, Point(0.0, 0.0), self.listen) for edge in edges}
        given = SteeringInput(
            estimate=lambda place, _: lambda region: 1.0 + abs(region.point.longitude - place.longitude),
            check=lambda _: self.check,
        )
        return plan_traffic(fleet, specs, given)


def with_last_of(plan: TrafficPlan, other: TrafficPlan, *, own: bool = False) -> TrafficPlan:
    """A plan with the last service as another has it. ``own``: only its own class, of requests that ask nothing."""
    services: dict[int, tuple[ServiceTraffic, ...]] = {}
    edges = {}
    for name, edge in plan.edges.items():  # edges at one place share their services, here as there
        last, turned = edge.services[-1], other.edges[name].services[-1]
        classes = zip(last.classes, turned.classes, strict=True)
        mixed = replace(last, classes=tuple(was if own and was.requirements else now for was, now in classes))
        shared = services.setdefault(id(edge.services), (*edge.services[:-1], mixed))
        edges[name] = replace(edge, services=shared)
    return replace(plan, edges=edges)


# --- figures ------------------------------------------------------------------------------------------


def p(values: Sequence[float], part: float) -> float:
    """A quantile (0..1) of what was measured; the next higher one that was."""
    inside = sorted(values)
    return inside[min(len(inside) - 1, int(part * len(inside)))]


def both(values: Sequence[float]) -> str:
    """Median and 99th percentile."""
    return f"{statistics.median(values):.1f} / {p(values, 0.99):.1f}"
