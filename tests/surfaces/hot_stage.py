"""What the tests of the hot path share: apps over the same regions, and servers that speak through its protocol."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from mahavishnu.integrations.multi_region.shell.failure import FailureHandler
from mahavishnu.integrations.multi_region.shell.manager import RegionManager
from mahavishnu.integrations.multi_region.shell.router import RegionAwareRouter
from mahavishnu.integrations.multi_region.surfaces.http.api import MultiRegionAPI
from mahavishnu.integrations.multi_region.surfaces.http.auth import Authorizer
from mahavishnu.integrations.multi_region.surfaces.http.protocol import http_protocol
from mahavishnu.integrations.multi_region.testing.builders import GDPR, policy, region, service, world

DEADLINE_S = 30.0
BODY = b'{"request_context":{"user_location":{"latitude":52.5,"longitude":13.4}}}'
"""A request from Berlin."""


async def an_api(authorizer: Authorizer | None = None) -> MultiRegionAPI:
    """The endpoints over four regions, a service and a policy. Nobody is probed."""
    manager = RegionManager()
    router = RegionAwareRouter(manager)
    declared = world(
        region("us-east-1", cost_multiplier=0.5),
        region("eu-west-1", compliance=[GDPR]),
        region("eu-central-1", compliance=[GDPR], current_capacity=40),
        region("ap-southeast-2", health_score=99),
        services=[service("api", "us-east-1", "eu-west-1"), service("nowhere", "us-east-1", policy="eu-only")],
        policies=[policy("eu-only", allow=["eu-west-1"])],
    )
    await manager.apply(declared)
    return MultiRegionAPI(manager, router, FailureHandler(manager, router), authorizer)


async def nothing() -> None:
    """A dependency of an app's every route."""


class Seen:
    """An app, and the paths of the requests that came as far as it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.paths: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            self.paths.append(scope["path"])
        await self.app(scope, receive, send)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it came over the wire; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as data."""
        return json.loads(self.body)

    @property
    def region(self) -> str:
        """The region of a decision."""
        assert self.status == 200, self.body
        return str(self.json["selected_region"])


@dataclass(frozen=True, slots=True)
class Wire:
    """A server whose protocol takes the short way, in a thread of its own."""

    port: int
    seen: Seen
    api: MultiRegionAPI
    server: uvicorn.Server
    loop: asyncio.AbstractEventLoop

    @contextmanager
    def connected(self, receive_buffer: int | None = None) -> Iterator[Line]:
        """A connection."""
        with socket.socket() as sock:
            if receive_buffer is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            sock.settimeout(DEADLINE_S)
            sock.connect(("127.0.0.1", self.port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with sock.makefile("rb") as file:
                yield Line(sock, file)

    def ask(self, *raw: bytes) -> Reply:
        """The answer to one request on a connection of its own."""
        with self.connected() as line:
            line.send(*raw)
            return line.reply()


@dataclass(frozen=True, slots=True)
class Line:
    """A connection to a server, byte by byte."""

    sock: socket.socket
    file: BinaryIO

    def send(self, *raw: bytes) -> None:
        """Send pieces, one packet each."""
        for piece in raw:
            self.sock.sendall(piece)

    def reply(self) -> Reply:
        """The next answer. Interim ones are answers too."""
        status = int(self._line().split()[1])
        headers = {}
        while text := self._line():
            name, _, value = text.partition(":")
            headers[name.lower()] = value.strip()
        return Reply(status, headers, b"" if status == 100 else self.file.read(int(headers["content-length"])))

    def closed(self) -> bool:
        """Wait for the server to close; whether it said nothing more before it did."""
        return self.file.read() == b""

    def _line(self) -> str:
        raw = self.file.readline()
        assert raw.endswith(b"\r\n"), f"the server hung up after {raw!r}"
        return raw[:-2].decode("latin-1")


def post(body: bytes = BODY, *headers: bytes, path: bytes = b"/route", version: bytes = b"1.1") -> bytes:
    """A request as bytes; ``headers`` beside the plain ones."""
    plain = [b"Host: server", b"Content-Type: application/json", b"Content-Length: %d" % len(body)]
    lines = [b"POST %b HTTP/%b" % (path, version), *plain, *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@contextmanager
def wire(
    make: Callable[[MultiRegionAPI], ASGIApp] | None = None, authorizer: Authorizer | None = None, **config: Any
) -> Iterator[Wire]:
    """A server over a fresh app until the end of the block. ``make``: another app than a plain one with our routes."""
    started, found = threading.Event(), list[Any]()

    async def main() -> None:
        api = await an_api(authorizer)
        app = _plain(api) if make is None else make(api)
        seen = Seen(app)
        options = {
            "http": http_protocol(app) if isinstance(app, FastAPI) else "auto",
            "access_log": False,
            "log_level": "critical",
            **config,
        }
        server = uvicorn.Server(uvicorn.Config(seen, host="127.0.0.1", port=0, lifespan="on", **options))
        telling = asyncio.create_task(_tell(server, started))
        found.extend([seen, api, server, asyncio.get_running_loop(), telling])
        await server.serve()

    thread = threading.Thread(target=_run, args=(main,), name="http server")
    thread.start()
    try:
        assert started.wait(DEADLINE_S), "the server did not start"
        seen, api, server, loop, _ = found
        yield Wire(server.servers[0].sockets[0].getsockname()[1], seen, api, server, loop)
    finally:
        if found:
            found[2].should_exit = True
        thread.join(DEADLINE_S)
        assert not thread.is_alive(), "the server did not stop"


def _plain(api: MultiRegionAPI) -> FastAPI:
    app = FastAPI()
    api.register_routes(app)
    return app


def _run(main: Callable[[], Any]) -> None:
    with asyncio.Runner(loop_factory=uvicorn.Config("").get_loop_factory()) as runner:
        runner.run(main())


async def _tell(server: uvicorn.Server, started: threading.Event) -> None:
    while not server.started:
        await asyncio.sleep(0.005)
    started.set()
