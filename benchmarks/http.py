"""``POST /route`` over HTTP: each way to serve it beside a bare ASGI hello on the same server and settings.

Run it with ``python -m benchmarks.http``. One server process per way, all up at once, one loaded at a time by wrk over
64 connections with 1,000 different bodies. Each measurement of a way stands beside one of the hello made seconds
before, so that a neighbour's load falls on both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.types import ASGIApp, Receive, Scope, Send

from mahavishnu.integrations.multi_region.facts.catalog import all_regions, region_from_catalog
from mahavishnu.integrations.multi_region.shell.failure import FailureHandler
from mahavishnu.integrations.multi_region.shell.manager import RegionManager
from mahavishnu.integrations.multi_region.shell.router import RegionAwareRouter
from mahavishnu.integrations.multi_region.surfaces.http.api import MultiRegionAPI
from mahavishnu.integrations.multi_region.surfaces.http.hot import RawRoute
from mahavishnu.integrations.multi_region.surfaces.http.server import create_app, protocol_for
from mahavishnu.integrations.multi_region.system import MultiRegionSystem

from .common import Table, publish, tool

REGIONS = 100
BODIES = 1_000
CONNECTIONS = 64
BATCHED = 10_000
BATCH_CONNECTIONS = 4
WARM_S = 3.0
HELLO = "hello"
BY_GET = "hello_by_get"
READING = "hello_reading"

WAYS = {
    HELLO: "bare ASGI hello, asked the same, body not read (baseline)",
    BY_GET: "bare ASGI hello, asked with GET and no body",
    READING: "bare ASGI hello that reads its body, then answers the same",
    "declared": "FastAPI's declared route",
    "middleware": "step 1, behind one middleware of the app",
    "registered": "step 1: register_routes",
    "untraced": "step 1, the app's own telemetry switched off",
    "accelerated": "step 2: accelerate",
    "protocol": "step 3: our own server",
    "batch": f"our own server, batches of {BATCHED:,}",
}

_REPORT = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d\\n", summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(99), e.status + e.connect + e.read + e.write + e.timeout))
end
"""

_BODIES = """
local bodies = {}
for line in io.lines("%s") do bodies[#bodies + 1] = line end
local n = 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
request = function() n = n %% #bodies + 1; return wrk.format(nil, nil, nil, bodies[n]) end
"""

_NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}


# --- what is served -------------------------------------------------------------------------------


async def system() -> MultiRegionSystem:
    """A hundred regions of the catalog, in memory, probed by nobody."""
    manager = RegionManager()
    known = sorted({region.region_id: region.provider for region in all_regions()}.items())
    for region_id, provider in known[:: max(1, len(known) // REGIONS)][:REGIONS]:
        region = region_from_catalog(region_id, endpoint=f"https://{region_id}.example.com", provider=provider)
        region.health_score = 95.0
        await manager.register_region(region)
    router = RegionAwareRouter(manager)
    return MultiRegionSystem(manager, router, FailureHandler(manager, router))


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """The least that an ASGI app can do: an answer as long as a decision's."""
    if scope["type"] == "lifespan":
        for _ in range(2):
            await send({"type": (await receive())["type"] + ".complete"})
        return
    headers = [(b"content-length", b"%d" % len(_GREETING)), (b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": _GREETING})


_GREETING = b"h" * 190


async def reading_hello(scope: Scope, receive: Receive, send: Send) -> None:
    """The same after reading the body to its end, as any app must that answers what it was asked."""
    if scope["type"] == "lifespan":
        return await hello(scope, receive, send)
    while (await receive()).get("more_body", False):
        pass
    headers = [(b"content-length", b"%d" % len(_GREETING)), (b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": _GREETING})


class Passing:
    """Middleware that does nothing."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass it on."""
        await self._app(scope, receive, send)


async def app_for(way: str) -> tuple[ASGIApp, dict[str, Any]]:
    """What is served that way, and uvicorn's options beside those that all ways share."""
    if way in (HELLO, BY_GET, READING):
        return (reading_hello if way == READING else hello), {}
    found = await system()
    if way in ("protocol", "batch"):
        own = create_app(found, tokens=None)
        return own, {"http": protocol_for(own)}
    api = MultiRegionAPI(found.region_manager, found.router, found.failure_handler)
    app = FastAPI(telemetry=_NO_TELEMETRY) if way == "untraced" else FastAPI()
    if way == "middleware":
        app.add_middleware(Passing)
    api.register_routes(app)
    if way == "declared":
        app.router.routes[:] = [route for route in app.router.routes if not isinstance(route, RawRoute)]
    return (api.accelerate(app) if way == "accelerated" else app), {}


async def serve(way: str) -> None:
    """Serve one way on a free port, and print the port once it answers."""
    app, options = await app_for(way)
    settings: dict[str, Any] = {"access_log": False, "log_level": "warning", "server_header": False}
    server = uvicorn.Server(uvicorn.Config(app, port=0, **settings, **options))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    await serving


# --- how it is loaded -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Load:
    """One run of wrk: requests per second, latencies in ms, the server's processor time per request in µs."""

    rps: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


@dataclass(frozen=True, slots=True)
class Running:
    """A server under measurement."""

    process: subprocess.Popen[str]
    url: str

    def cpu_s(self) -> float:
        """Processor time used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(way: str) -> Iterator[Running]:
    """A server process, on the first processor if there is another for the load."""
    command = [sys.executable, "-m", "benchmarks.http", "--serve", way]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        if len(os.sched_getaffinity(0)) > 1:
            os.sched_setaffinity(process.pid, {min(os.sched_getaffinity(0))})
        assert process.stdout is not None
        path = "/v1/route/batch" if way == "batch" else "/route"
        yield Running(process, f"http://127.0.0.1:{int(process.stdout.readline())}{path}")
    finally:
        process.terminate()
        process.wait(30)


def load(server: Running, script: Path, seconds: float) -> Load:
    """Load a server. Raises SystemExit when a request fails: figures of errors are no figures."""
    before = server.cpu_s()
    connections = BATCH_CONNECTIONS if script.stem == "batch" else CONNECTIONS
    command = [tool("wrk", "wrk"), "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", str(script)]
    command.append(server.url)
    said = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=_elsewhere).stdout
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+)", said)
    if found is None or found[5] != "0":
        raise SystemExit(f"{server.url} did not answer as it should:\n{said}")
    requests, took_us, p50, p99 = (int(found[n]) for n in range(1, 5))
    return Load(requests / took_us * 1e6, p50 / 1e3, p99 / 1e3, (server.cpu_s() - before) / requests * 1e6)


def _elsewhere() -> None:
    """Run on the processors that the servers leave free."""
    free = os.sched_getaffinity(0)
    if len(free) > 1:
        os.sched_setaffinity(0, free - {min(free)})


def scripts(folder: Path) -> dict[str, Path]:
    """What wrk is told for each way."""
    dice = random.Random(7)
    single = [{"request_context": {"user_location": _place(dice)}, "strategy": "latency_based"} for _ in range(BODIES)]
    columns = [[_place(dice) for _ in range(BATCHED)] for _ in range(10)]
    batch = [{name: [p[name] for p in places] for name in ("latitude", "longitude")} for places in columns]
    found = {}
    for name, bodies in (("single", single), ("batch", batch)):
        listed, found[name] = folder / f"{name}.txt", folder / f"{name}.lua"
        listed.write_text("\n".join(json.dumps(body, separators=(",", ":")) for body in bodies))
        found[name].write_text(_BODIES % listed + _REPORT)
    found["get"] = folder / "get.lua"
    found["get"].write_text(_REPORT)
    return {way: found[{"batch": "batch", BY_GET: "get"}.get(way, "single")] for way in WAYS}


def _place(dice: random.Random) -> dict[str, float]:
    return {"latitude": round(dice.uniform(-60, 80), 4), "longitude": round(dice.uniform(-180, 180), 4)}


# --- what comes out -------------------------------------------------------------------------------


def measure(rounds: int, seconds: float) -> dict[str, tuple[list[Load], list[Load]]]:
    """For each way its loads, and those of the hello beside them."""
    found: dict[str, tuple[list[Load], list[Load]]] = {way: ([], []) for way in WAYS if way != HELLO}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        told = scripts(Path(folder))
        servers = {way: stack.enter_context(running(way)) for way in WAYS}
        _check(servers)
        for way, server in servers.items():
            load(server, told[way], WARM_S)  # every cell is compiled once
        for _ in range(rounds):
            for way, (loads, beside) in found.items():
                beside.append(load(servers[HELLO], told[HELLO], seconds))
                loads.append(load(servers[way], told[way], seconds))
    return found


def _check(servers: dict[str, Running]) -> None:
    """All ways give the same answer."""
    body = b'{"request_context":{"user_location":{"latitude":52.5,"longitude":13.4}}}'
    answers = set()
    for way, server in servers.items():
        if way not in (HELLO, BY_GET, READING, "batch"):
            request = urllib.request.Request(server.url, body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request) as answer:
                answers.add(answer.read())
    assert len(answers) == 1, answers


def _row(way: str, loads: list[Load], beside: list[Load], by_get: float) -> list[str]:
    """``by_get``: the rate of the hello by GET, of that of the baseline."""

    def middle(name: str, of: list[Load] = loads) -> float:
        return float(statistics.median(getattr(one, name) for one in of))

    each = BATCHED if way == "batch" else 1
    return [
        WAYS[way],
        f"{each * middle('rps') / middle('rps', beside):.2f}",
        f"{each * middle('rps') / middle('rps', beside) / by_get:.2f}",
        f"{middle('cpu_us') / each / middle('cpu_us', beside):.2f}",
        f"{each * middle('rps'):,.0f}",
        f"{middle('cpu_us') / each:.1f}" if each == 1 else f"{middle('cpu_us') / each:.2f}",
        f"{middle('p50_ms'):.2f}",
        f"{middle('p99_ms'):.2f}",
    ]


def main(arguments: list[str] | None = None) -> Table | None:
    """Measure, or with ``--serve`` be one of the servers."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.http", description=__doc__)
    options.add_argument("--rounds", type=int, default=5, help="measurements of each way")
    options.add_argument("--seconds", type=float, default=2.0, help="length of each")
    options.add_argument("--serve", choices=WAYS, help=argparse.SUPPRESS)
    given = options.parse_args(arguments or [])
    if given.serve is not None:
        with asyncio.Runner(loop_factory=uvicorn.Config("").get_loop_factory()) as runner:
            runner.run(serve(given.serve))
        return None
    found = measure(given.rounds, given.seconds)
    baseline = [one for _, beside in found.values() for one in beside]
    by_get, posted = (statistics.median(one.rps for one in loads) for loads in found[BY_GET])
    each = {HELLO: (baseline, baseline), **found}
    rows = [_row(way, *loads, by_get / posted) for way, loads in each.items()]
    columns = [
        "way",
        "decisions/s / hello",
        "/ hello by GET",
        "µs of processor / hello",
        "decisions/s",
        "µs",
        "p50 ms",
        "p99 ms",
    ]
    return Table("POST /route over HTTP", columns, rows, NOTES)


NOTES = f"""One server process on one processor, wrk on another; {REGIONS} regions, {CONNECTIONS} connections with
{BODIES:,} bodies ({BATCH_CONNECTIONS} with batches), medians. The latencies are those of a server under all the load it
can take: they are mostly waiting. The hello is asked with the very requests that the other ways get: the server parses
their bodies, the app does not read them. By GET and without a body the server has less to do; the ratios to that hello
stand beside. The hello that reads its body shows what that costs over ASGI: every way but our own server pays it. On a
machine that others use, and where wrk is the one that cannot keep up, the processor time per decision is the better
figure."""


if __name__ == "__main__":
    table = main(sys.argv[1:])
    if table is not None:
        publish("http", table)
