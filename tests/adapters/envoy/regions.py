"""Regions small enough for a test: HTTP/1.1 on loopback; they can be lost or hang, and say what they were asked."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as a region read it; header names in lower case."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]

    def values(self, name: str) -> list[str]:
        """All lines of a header."""
        return [value for key, value in self.headers if key == name]


@dataclass
class TestRegion:
    """One region. ``status``: of its answers. ``healthy``: what it answers checks.

    ``silent``: it reads, and says nothing. ``cut``: it hangs up once it has read a request. ``extra``: header lines of
    its answers. ``asked`` and ``checks``: what it read.
    """

    __test__ = False

    region_id: str
    port: int = 0
    status: int = 200
    healthy: bool = True
    silent: bool = False
    cut: bool = False
    extra: tuple[str, ...] = ()
    tls: ssl.SSLContext | None = None
    asked: list[Asked] = field(default_factory=list)
    checks: list[Asked] = field(default_factory=list)
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        """Its endpoint."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Begin to listen; at the same port as before when it was lost."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def lose(self) -> None:
        """Gone, as a killed process is: nothing listens, and open connections are reset."""
        if self._server is not None:
            self._server.close()
            for writer in self._writers:
                writer.transport.abort()
            await self._server.wait_closed()
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while (asked := await _read(reader)) is not None:
                if self.silent:
                    await asyncio.Event().wait()
                (self.checks if asked.path == "/healthz" else self.asked).append(asked)
                if self.cut and asked.path != "/healthz":
                    writer.transport.abort()
                    return
                writer.write(self._answer(asked))
                await writer.drain()
        except ConnectionError:
            pass  # the edge hung up
        finally:
            self._writers.discard(writer)
            writer.close()

    def _answer(self, asked: Asked) -> bytes:
        status = (200 if self.healthy else 503) if asked.path == "/healthz" else self.status
        body = f"{self.region_id} {asked.method} {asked.path}\n"
        lines = [
            f"HTTP/1.1 {status} -",
            f"content-length: {len(body)}",
            *self.extra,
            "",
            body if asked.method != "HEAD" else "",
        ]
        return "\r\n".join(lines).encode()


async def _read(reader: asyncio.StreamReader) -> Asked | None:
    """The next request and its body, None when the peer has no more."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    method, path, _ = first.split(" ")
    headers = tuple((key.lower(), value.strip()) for key, _, value in (line.partition(":") for line in lines))
    length = next((int(value) for key, value in headers if key == "content-length"), 0)
    await reader.readexactly(length)
    return Asked(method, path, headers)


@asynccontextmanager
async def regions(names: Iterable[str]) -> AsyncIterator[dict[str, TestRegion]]:
    """Regions of these names, listening; all lost at the end."""
    found = {name: TestRegion(name) for name in names}
    try:
        for region in found.values():
            await region.start()
        yield found
    finally:
        for region in found.values():
            await region.lose()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client of an edge got. Header names in lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: str

    def value(self, name: str) -> str | None:
        """A header's only line, None without one."""
        found = [value for key, value in self.headers if key == name]
        assert len(found) <= 1, (name, found)
        return found[0] if found else None


async def ask(
    port: int, path: str = "/", *, method: str = "GET", headers: Iterable[tuple[str, str]] = (), body: bytes = b""
) -> Answer:
    """Send one request over a connection of its own, header lines as they are given."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    own = [("host", "api.test"), ("connection", "close"), ("content-length", str(len(body)))]
    lines = [f"{method} {path} HTTP/1.1", *(f"{key}: {value}" for key, value in (*own, *headers)), "", ""]
    try:
        writer.write("\r\n".join(lines).encode() + body)
        async with asyncio.timeout(30):  # `wait_for` of Python 3.11 loses a cancellation that comes with the answer
            return await _answer(reader, method)
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader, method: str) -> Answer:
    """Read as far as the answer says: an edge keeps a connection open for a while after it refused a request."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").removesuffix("\r\n\r\n")
    first, *rest = head.split("\r\n")
    headers = tuple((key.lower(), value.strip()) for key, _, value in (line.partition(":") for line in rest))
    length = next((int(value) for key, value in headers if key == "content-length"), None)
    body = b"" if method == "HEAD" else await (reader.read() if length is None else reader.readexactly(length))
    return Answer(int(first.split(" ")[1]), headers, body.decode("latin-1"))
