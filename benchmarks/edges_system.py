"""The whole system as people run it, for the benchmarks of edges: ``multi-region serve --envoy`` with a world file."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from .edges_parts import DEADLINE_S, EDGE, HOST, Child, free_ports

CHECK = {"interval": "250ms", "timeout": "200ms", "fall": 2, "rise": 2, "hold_down": "1s"}
_PREFIX = "MAHAVISHNU_MULTI_REGION__"


@dataclass(slots=True)
class System:
    """A controller that answers, and its edge. ``port``: where clients reach the edge. ``folder``: where it runs."""

    child: Child
    port: int
    folder: Path
    url: str
    http: aiohttp.ClientSession

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        """A request to the API. Raises SystemExit when it is refused."""
        async with self.http.request(method, self.url + path, json=body) as answer:
            text = await answer.text()
        if answer.status >= 300:
            raise SystemExit(f"{method} {path}: {answer.status} {text}")
        return json.loads(text) if text else None

    async def edge(self) -> Mapping[str, Any]:
        """The edge as the controller sees it."""
        found: Mapping[str, Any] = await self.ask("GET", f"/v1/edges/{EDGE}")
        return found

    async def newer(self, than: int) -> float:
        """Wait until a plan newer than a generation is acknowledged; when that was seen (``time.monotonic``)."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            seen = await self.edge()
            if seen["current"] > than and seen["synced"]:
                return time.monotonic()
            await asyncio.sleep(0.002)
        raise SystemExit(f"the edge acknowledged no plan after {than}")

    async def events(self, kind: str) -> list[Mapping[str, Any]]:
        """Events of a kind, oldest first."""
        found: list[Mapping[str, Any]] = (await self.ask("GET", "/v1/events?after=0&limit=1000"))["events"]
        return [event for event in found if event["kind"] == kind]


def world(regions: Sequence[Mapping[str, Any]], services: Sequence[Mapping[str, Any]], port: int) -> Mapping[str, Any]:
    """A world file: regions from near to far, services, one edge beside the first region."""
    placed = [
        {"latitude": 50.0, "longitude": 8.0 + number, "max_capacity": 100_000, "health": CHECK, **region}
        for number, region in enumerate(regions)
    ]
    edge = {"id": EDGE, "latitude": 50.0, "longitude": 8.0, "listen": f"{HOST}:{port}"}
    return {"regions": placed, "services": list(services), "edges": [edge]}


@asynccontextmanager
async def system(
    folder: Path, regions: Sequence[Mapping[str, Any]], services: Sequence[Mapping[str, Any]]
) -> AsyncIterator[System]:
    """A controller and its edge, which has taken the first plan over."""
    port, xds = free_ports(2)
    state = folder / "state"
    (folder / "world.yaml").write_text(json.dumps(world(regions, services, port)))
    command = [sys.executable, "-m", "mahavishnu.integrations.multi_region", "serve", "--json", "--store", "memory"]
    command += ["--listen", f"{HOST}:0", "--xds", f"{HOST}:{xds}", "--envoy", "-f", str(folder / "world.yaml")]
    env = {name: value for name, value in os.environ.items() if not name.startswith(_PREFIX)}
    env |= {"XDG_STATE_HOME": str(state), "XDG_RUNTIME_DIR": str(folder / "run"), "TMPDIR": str(folder)}
    log = folder / "serve.log"
    async with AsyncExitStack() as stack:
        stack.callback(_end_edge, state)
        child = stack.enter_context(Child(command, log, env))
        told = await _listening(child, log)
        token = json.loads(Path(told["token_file"]).read_text())["token"]
        http = await stack.enter_async_context(aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}))
        found = System(child, port, folder, told["url"], http)
        await found.newer(-1)
        yield found


async def _listening(child: Child, log: Path) -> dict[str, str]:
    """What the controller says once it answers."""
    begins, deadline = '{"event":"listening",', time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        for line in log.read_text().splitlines():
            if line.startswith(begins):
                found: dict[str, str] = json.loads(line)
                return found
        child.check()
        await asyncio.sleep(0.05)
    raise SystemExit(f"the controller does not answer:\n{log.read_text()}")


def _end_edge(state: Path) -> None:
    """End the Envoy of a controller that could not end it itself."""
    for file in state.glob("**/*.pid"):
        with suppress(OSError, ValueError):
            left = json.loads(file.read_text())
            if left["run_dir"].encode() in Path("/proc", str(left["pid"]), "cmdline").read_bytes():
                os.kill(left["pid"], signal.SIGKILL)
