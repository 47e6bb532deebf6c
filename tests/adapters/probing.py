"""Real servers on loopback for the probes' tests, and what they answer."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from aiohttp import web

from mahavishnu.integrations.multi_region.core.model import HealthCheck

TLS = Path(__file__).parent.parent / "data" / "tls"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Raw = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

PATIENT = HealthCheck(timeout_s=20.0)  # for questions that are answered
HASTY = HealthCheck(timeout_s=0.2)  # for questions that never are


@asynccontextmanager
async def http_server(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A web server whose every path is answered by ``handler``; yields its URL."""
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def raw_server(talk: Raw) -> AsyncIterator[int]:
    """A TCP server that says whatever ``talk`` says; yields its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except ConnectionError:
            pass  # the probe hangs up when it has seen enough
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@contextmanager
def dead_port() -> Iterator[int]:
    """A port that is taken and where nothing listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def says(*, status: int = 200, text: str = "ok", **headers: str) -> Handler:
    """A handler that always gives the same answer; ``_`` in a header's name stands for ``-``."""

    async def handle(request: web.Request) -> web.Response:
        return web.Response(status=status, text=text, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return handle


def answers(to: Sequence[str]) -> Callable[[str, int], Awaitable[Sequence[str]]]:
    """A name service that answers every question alike."""

    async def lookup(host: str, port: int) -> Sequence[str]:
        return to

    return lookup


def tls_server() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "cert.pem", TLS / "key.pem")
    return context


async def hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accepts, listens and never answers."""
    await reader.read()
