"""The controller as a process: the system, its HTTP server, and an orderly end on SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn

from mahavishnu.integrations.multi_region.adapters.sinks.logs import LogSink
from mahavishnu.integrations.multi_region.adapters.sinks.metrics import MetricsSink
from mahavishnu.integrations.multi_region.settings import Settings
from mahavishnu.integrations.multi_region.surfaces.http.auth import Tokens
from mahavishnu.integrations.multi_region.surfaces.http.server import Server, create_app, protocol_for
from mahavishnu.integrations.multi_region.system import MultiRegionSystem, create_multi_region_system

Begin = Callable[[MultiRegionSystem], Awaitable[None]]
"""What is done with the system before anybody is let in."""


@dataclass(frozen=True, slots=True)
class Door:
    """Where the server is reached and by whom: a listening socket, the tokens, whether reads need none."""

    sock: socket.socket
    tokens: Tokens
    open_reads: bool


def run(settings: Settings, door: Door, begin: Begin, ready: Callable[[], None]) -> None:
    """Run until told to stop. ``begin`` prepares the system, ``ready`` is called once requests are answered.

    Raises what opening the store, ``begin`` and ``ready`` raise.
    """
    factory = uvicorn.Config("", log_config=None).get_loop_factory()
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_run(settings, door, begin, ready))


async def _run(settings: Settings, door: Door, begin: Begin, ready: Callable[[], None]) -> None:
    metrics = MetricsSink()
    system = await create_multi_region_system(settings, sinks=(LogSink(), metrics))
    try:
        await begin(system)
        app = create_app(system, tokens=door.tokens, open_reads=door.open_reads, metrics=metrics)
        config = uvicorn.Config(
            app,
            http=protocol_for(app),
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=math.ceil(settings.drain_timeout) + 1,
        )
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
        server = _Server(config, ready)
        await server.serve(sockets=[door.sock])
    finally:
        await system.close()


class _Server(Server):
    """Says when it answers, and takes a signal to stop as a wish to be granted."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, and say so."""
        await super().startup(sockets)
        self._ready()

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
