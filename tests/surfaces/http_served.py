"""What the HTTP tests share: a system that probes nobody, regions, tokens, and servers on real sockets."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
import uvicorn
from fastapi import FastAPI

from mahavishnu.integrations.multi_region.adapters.sinks.metrics import MetricsSink
from mahavishnu.integrations.multi_region.core.model import HealthCheck
from mahavishnu.integrations.multi_region.ports.dataplane import DataPlane
from mahavishnu.integrations.multi_region.ports.probe import ProbeResult
from mahavishnu.integrations.multi_region.ports.store import Store
from mahavishnu.integrations.multi_region.surfaces.http.auth import Role, Tokens
from mahavishnu.integrations.multi_region.surfaces.http.server import Server, create_app, protocol_for
from mahavishnu.integrations.multi_region.system import MultiRegionSystem, create_multi_region_system

_T = TypeVar("_T")
_ISSUED = {role: Tokens.issue(role.value, role) for role in Role}
TOKENS = Tokens.parse("\n".join(line for _, line in _ISSUED.values()))
"""One token for each role, named as the role is."""


class NobodyIsAsked:
    """A probe that never comes back: a region's stated health stands."""

    async def ask(self, endpoint: str, check: HealthCheck) -> ProbeResult:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def close(self) -> None:
        return


def bearer(role: Role) -> dict[str, str]:
    """The header that shows the token of a role."""
    return {"Authorization": f"Bearer {_ISSUED[role][0]}"}


@asynccontextmanager
async def running_system(store: Store | None = None, **more: Any) -> AsyncIterator[MultiRegionSystem]:
    """A system of real parts that asks no region anything."""
    system = await create_multi_region_system(store=store, probe=NobodyIsAsked(), **more)
    try:
        yield system
    finally:
        await system.close()


def in_process(app: FastAPI, role: Role | None = None, *, failures_pass: bool = True) -> httpx.AsyncClient:
    """A client that calls the app without a socket, with the token of a role.

    ``failures_pass``: what the app fails with is raised here, and not only answered.
    """
    headers = {} if role is None else bearer(role)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=failures_pass)
    return httpx.AsyncClient(transport=transport, base_url="http://server", headers=headers)


@asynccontextmanager
async def own_server(
    role: Role | None = Role.ADMIN, **options: Any
) -> AsyncIterator[tuple[httpx.AsyncClient, FastAPI]]:
    """Our own server in this process, and a client of it."""
    async with running_system() as system:
        app = create_app(system, **{"tokens": TOKENS, **options})
        app.state.system = system
        async with in_process(app, role) as client:
            yield client, app


def region(region_id: str, **fields: Any) -> dict[str, Any]:
    """A healthy region of the catalog, as a body."""
    return {"region_id": region_id, "endpoint": f"https://{region_id}.example.test", "health_score": 95, **fields}


def world(*region_ids: str, **sections: Any) -> dict[str, Any]:
    """A world with these regions, healthy, and other sections."""
    regions = [{"id": r, "endpoint": f"https://{r}.example.test", "health_score": 95} for r in region_ids]
    return {"regions": regions, **sections}


@dataclass(frozen=True, slots=True)
class Served:
    """A server on a real socket, in a thread with its own event loop."""

    url: str
    loop: asyncio.AbstractEventLoop
    server: Server
    app: FastAPI
    thread: threading.Thread

    def call(self, act: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """Run something in the server's loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(act(), self.loop).result(30)


@contextmanager
def served(plane: DataPlane | None = None, **options: Any) -> Iterator[Served]:
    """Our own server over a fresh system, on a free port of 127.0.0.1, until the end of the block.

    ``plane``: carries plans to edges.
    """
    started = threading.Event()
    found: list[Any] = []

    async def main() -> None:
        sink = MetricsSink()
        async with running_system(sinks=(sink,), plane=plane) as system:
            app = create_app(system, **{"tokens": TOKENS, "metrics": sink, **options})
            app.state.system = system
            how = {"http": protocol_for(app), "log_level": "warning", "lifespan": "on"}
            config = uvicorn.Config(app, host="127.0.0.1", port=0, **how)  # type: ignore[arg-type]
            server = Server(config)
            waiting = asyncio.create_task(_tell_when_started(server))
            found.extend([asyncio.get_running_loop(), server, app, waiting])
            await server.serve()

    async def _tell_when_started(server: Server) -> None:
        while not server.started:
            await asyncio.sleep(0.005)
        started.set()

    thread = threading.Thread(target=asyncio.run, args=(main(),), name="http server")
    thread.start()
    try:
        assert started.wait(30), "the server did not start"
        loop, server, app, _ = found
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Served(f"http://127.0.0.1:{port}", loop, server, app, thread)
    finally:
        if found:
            found[1].should_exit = True
        thread.join(30)
        assert not thread.is_alive(), "the server did not stop"
