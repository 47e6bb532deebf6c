"""A routing worker: ``python -m … LINE OWN SOCKET…``, which are inherited. Started by the supervisor alone."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import structlog
import uvicorn

from mahavishnu.integrations.multi_region.adapters.sinks.logs import configure_logging
from mahavishnu.integrations.multi_region.shell.garbage import ShortCollections
from mahavishnu.integrations.multi_region.shell.router import RegionAwareRouter
from mahavishnu.integrations.multi_region.surfaces.http.routing_app import RoutingApp
from mahavishnu.integrations.multi_region.system import open_geoip

from .follow import Follower
from .line import Boot, LowerEnd
from .proxy import Proxy


def main(line_fd: int, own: int, listening_fds: Sequence[int]) -> None:
    """Run until told to stop. ``own``: which of the sockets is the worker's; the others are those of its neighbours."""
    line = LowerEnd.of_fd(line_fd)
    boot = line.boot()
    configure_logging(boot.settings.log_level.value, boot.settings.log_format.value)
    structlog.contextvars.bind_contextvars(worker=os.getpid())
    sockets = [socket.socket(fileno=fd) for fd in listening_fds]
    try:
        with asyncio.Runner(loop_factory=uvicorn.Config("", log_config=None).get_loop_factory()) as runner:
            runner.run(_run(line, boot, sockets, own))
    finally:
        line.clean_up(boot)


async def _run(line: LowerEnd, boot: Boot, sockets: list[socket.socket], own: int) -> None:
    line.watch()
    follower, proxy = Follower(boot.state_path), Proxy(boot.http_path)
    await follower.start()
    router = RegionAwareRouter(follower.regions, geoip=open_geoip(boot.settings))
    follower.report(router)
    proxy.open()
    app = RoutingApp(router, proxy, tokens=boot.tokens, open_reads=boot.open_reads)
    config = uvicorn.Config(
        app,
        http=app.protocol(),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=math.ceil(boot.settings.drain_timeout) + 1,
    )
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    try:
        await _Server(config, line, proxy, sockets).serve(sockets=[sockets[own]])
    finally:
        await proxy.close()
        await follower.close()


class _Server(uvicorn.Server):
    """Accepts where it is told, and stops on SIGTERM."""

    def __init__(self, config: uvicorn.Config, line: LowerEnd, proxy: Proxy, sockets: list[socket.socket]) -> None:
        super().__init__(config)
        self._line = line
        self._proxy = proxy
        self._sockets = sockets
        self._others: dict[int, asyncio.Server] = {}
        self._changing: set[asyncio.Task[None]] = set()
        self._in_turn = asyncio.Lock()
        self._collections = ShortCollections()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, and say so."""
        await super().startup(sockets)
        self._line.listening = self._listen
        self._collections.begin()
        self._line.ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop: streams end, requests finish."""
        self._proxy.end_streams()
        for task in self._changing:
            task.cancel()
        for sock in self._sockets:
            if sock not in (sockets or ()):
                sock.close()
        await super().shutdown(sockets)
        self._collections.end()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGTERM; none is raised again once the server has stopped."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.handle_exit, signal.SIGTERM, None)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGTERM)

    def _listen(self, numbers: frozenset[int]) -> None:
        """Accept for neighbours that are not there, and for no others."""
        task = asyncio.ensure_future(self._listen_at(numbers))
        self._changing.add(task)
        task.add_done_callback(self._changing.discard)

    async def _listen_at(self, numbers: frozenset[int]) -> None:
        async with self._in_turn:  # beginning to listen takes a moment, in which the next change may be heard of
            await self._change_to(numbers)

    async def _change_to(self, numbers: frozenset[int]) -> None:
        for number in self._others.keys() - numbers:
            server = self._others.pop(number)
            self.servers.remove(server)
            server.close()
        for number in numbers - self._others.keys():
            sock = self._sockets[number].dup()
            loop = asyncio.get_running_loop()
            self._others[number] = server = await loop.create_server(
                self._connection, sock=sock, backlog=self.config.backlog
            )
            self.servers.append(server)

    def _connection(self) -> asyncio.Protocol:
        make = self.config.http_protocol_class
        return make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)  # type: ignore[call-arg]  # as uvicorn calls it


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), [int(fd) for fd in sys.argv[3:]])
