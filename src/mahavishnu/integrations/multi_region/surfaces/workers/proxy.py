"""Passes requests on to the controller, piece by piece as they come: large bodies and event streams flow through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, TypeAlias

import structlog
from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, DummyCookieJar, UnixConnector
from multidict import CIMultiDict
from yarl import URL

from mahavishnu.integrations.multi_region.surfaces.http.routing_app import away

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

CONNECT_TIMEOUT_S = 2.0
KEPT_S = 2.0
"""How long a connection is kept for the next request: less than the controller keeps it, so that none is lost."""

AWAY = "the controller does not answer this moment; routing goes on by what it last said"

_OF_THE_CONNECTION = frozenset({"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"})
_NOT_ASKED = _OF_THE_CONNECTION | {"expect"}
_NOT_ANSWERED = (_OF_THE_CONNECTION | {"date", "server"}) - {"connection"}
_ADDED_BY_CLIENT = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")

log = structlog.get_logger(__name__)


class Proxy:
    """An ASGI app that another server answers for, at a unix socket. Open it before use."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._session: ClientSession | None = None
        self._stopping = asyncio.Event()

    def open(self) -> None:
        """Be ready. Connections are made as they are needed, and kept."""
        self._session = ClientSession(
            connector=UnixConnector(str(self._path), limit=0, keepalive_timeout=KEPT_S),
            timeout=ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
            cookie_jar=DummyCookieJar(),
            skip_auto_headers=_ADDED_BY_CLIENT,
            auto_decompress=False,
        )

    def end_streams(self) -> None:
        """End streams of events, which would never end by themselves: the process is about to stop."""
        self._stopping.set()

    async def close(self) -> None:
        """Let go of the connections."""
        if self._session is not None:
            await self._session.close()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass one request on, and its answer back; 503 while the controller is away."""
        begun = False

        async def tell(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        request = _Request(scope, receive)
        try:
            await self._pass_on(request, tell)
        except (ClientError, OSError, TimeoutError) as err:
            if request.cut_off:
                return
            log.warning("a request was not passed on, or its answer broke off", path=scope["path"], error=str(err))
            if begun:
                return  # the server cuts the connection, since what was sent is not the whole answer
            status, headers, body = away(scope["path"], AWAY)
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    async def _pass_on(self, request: _Request, send: Send) -> None:
        assert self._session is not None
        answering = asyncio.ensure_future(self._answer(self._session, request, send))
        leaving = asyncio.ensure_future(request.hung_up.wait())
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            if not answering.done():
                answering.cancel()
            request.close()
            await asyncio.gather(leaving, answering, return_exceptions=True)
        if not answering.cancelled():
            answering.result()

    async def _answer(self, session: ClientSession, request: _Request, send: Send) -> None:
        asking = session.request(
            request.method, request.url, headers=request.headers, data=request.body(), allow_redirects=False
        )
        async with asking as response:
            request.watch()
            raw = [(k.lower(), v) for k, v in response.raw_headers if k.decode("latin-1").lower() not in _NOT_ANSWERED]
            await send({"type": "http.response.start", "status": response.status, "headers": raw})
            async for chunk in self._chunks(response):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _chunks(self, response: ClientResponse) -> AsyncIterator[bytes]:
        """The body as it comes; a stream of events ends when this process stops."""
        if response.content_type != "text/event-stream":
            async for chunk in response.content.iter_any():
                yield chunk
            return
        stopping = asyncio.ensure_future(self._stopping.wait())
        coming = asyncio.ensure_future(response.content.readany())
        try:
            while True:
                await asyncio.wait({coming, stopping}, return_when=asyncio.FIRST_COMPLETED)
                chunk = coming.result() if coming.done() else b""
                if not chunk:
                    return
                yield chunk
                coming = asyncio.ensure_future(response.content.readany())
        finally:
            coming.cancel()
            stopping.cancel()
            await asyncio.gather(coming, stopping, return_exceptions=True)


class _Request:
    """A request of ours as one to the controller."""

    def __init__(self, scope: Message, receive: Receive) -> None:
        raw = scope.get("raw_path") or scope["path"].encode()
        path, query = "/" + raw.decode("latin-1").removeprefix("/"), scope["query_string"].decode("latin-1")
        self.method = str(scope["method"])
        self.url = URL.build(scheme="http", host="controller", path=path, query_string=query, encoded=True)
        named = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in scope["headers"]]
        self.headers = CIMultiDict((k, v) for k, v in named if k not in _NOT_ASKED)
        self.hung_up = asyncio.Event()
        self._has_body = any(k in ("content-length", "transfer-encoding") for k, _ in named)
        self._receive = receive
        self._watching: asyncio.Task[None] | None = None

    @property
    def cut_off(self) -> bool:
        """Whether the client has gone."""
        return self.hung_up.is_set()

    def body(self) -> AsyncIterator[bytes] | None:
        """The body as it comes, None where there is none."""
        return self._body() if self._has_body else None

    async def _body(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await self._receive()
            if message["type"] != "http.request":
                self.hung_up.set()
                raise ConnectionResetError("the client hung up")
            more = message.get("more_body", False)
            if message.get("body"):
                yield message["body"]

    def watch(self) -> None:
        """Notice when the client hangs up, from the answer on."""
        self._watching = asyncio.ensure_future(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] == "http.request":
            pass
        self.hung_up.set()

    def close(self) -> None:
        """Watch no more."""
        if self._watching is not None:
            self._watching.cancel()
