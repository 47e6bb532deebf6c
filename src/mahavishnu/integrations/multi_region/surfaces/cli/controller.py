"""The controller as a process: the system, its HTTP server, and an orderly end on SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from mahavishnu.integrations.multi_region.adapters.sinks.logs import LogSink
from mahavishnu.integrations.multi_region.adapters.sinks.metrics import MetricsSink
from mahavishnu.integrations.multi_region.settings import Settings
from mahavishnu.integrations.multi_region.shell.garbage import ShortCollections
from mahavishnu.integrations.multi_region.surfaces.edges.here import edges_here
from mahavishnu.integrations.multi_region.surfaces.http.auth import Tokens
from mahavishnu.integrations.multi_region.surfaces.http.server import Server, create_app, protocol_for
from mahavishnu.integrations.multi_region.system import (
    MultiRegionSystem,
    create_multi_region_system,
    open_plane,
)

FIRST_LOOK_S = 2.0
"""How long edges wait for a controller that has just started to hear of every region: the first round of probes."""

Begin = Callable[[MultiRegionSystem], Awaitable[None]]
"""What is done with the system before anybody is let in."""

Beside = Callable[[MultiRegionSystem, Any], AbstractAsyncContextManager[None]]
"""What else runs while requests are answered, given the system and its app."""


@dataclass(frozen=True, slots=True)
class Door:
    """Where the server is reached and by whom: a listening socket or the path of one, the tokens, whether reads need
    none.
    """

    sock: socket.socket | Path
    tokens: Tokens
    open_reads: bool


def run(settings: Settings, door: Door, begin: Begin, ready: Callable[[], None], beside: Beside | None = None) -> None:
    """Run until told to stop. ``begin`` prepares the system, ``ready`` is called once requests are answered.

    ``beside``: is entered once the app is made, and left when it has stopped.

    Raises what opening the store, ``begin`` and ``ready`` raise.
    """
    factory = uvicorn.Config("", log_config=None).get_loop_factory()
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_run(settings, door, begin, ready, beside))


async def _run(settings: Settings, door: Door, begin: Begin, ready: Callable[[], None], beside: Beside | None) -> None:
    metrics = MetricsSink()
    plane = await open_plane(settings)
    try:
        system = await create_multi_region_system(
            settings, sinks=(LogSink(), metrics), plane=plane, first_look_s=FIRST_LOOK_S
        )
    except BaseException:  # whatever it is: a server for edges that is not stopped complains when it is collected
        if plane is not None:
            await plane.close()
        raise
    try:
        await begin(system)
        app = create_app(system, tokens=door.tokens, open_reads=door.open_reads, metrics=metrics)
        sock, uds = (None, str(door.sock)) if isinstance(door.sock, Path) else ([door.sock], None)
        config = uvicorn.Config(
            app,
            uds=uds,
            http=protocol_for(app),
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=math.ceil(settings.drain_timeout) + 1,
        )
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
        server = _Server(config, ready)
        async with (
            nullcontext() if beside is None else beside(system, app),
            edges_here(settings, system, plane),
        ):
            await server.serve(sockets=sock)
    finally:
        await system.close()


class _Server(Server):
    """Says when it answers, and takes a signal to stop as a wish to be granted."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready
        self._collections = ShortCollections()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, and say so."""
        await super().startup(sockets)
        self._collections.begin()
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop: requests finish."""
        await super().shutdown(sockets)
        self._collections.end()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on the first signal; none is raised again once the server has stopped."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
