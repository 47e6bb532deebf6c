"""``POST /route`` without the framework's dispatch: bytes in, bytes out, by the same rules as the declared route.

The raw route, the wrapper and the protocol all answer through ``HotRoute``. Each takes only what it can answer exactly
as the declared route does, and leaves everything else to it: another spelling of the path, a query string, a caller who
is not admitted, a body that is large or whose size is not told.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from starlette.routing import BaseRoute, Match, Route
from starlette.types import Message, Receive, Scope, Send

from mahavishnu.integrations.multi_region.errors import ForbiddenError, MultiRegionError
from mahavishnu.integrations.multi_region.shell.router import RegionAwareRouter

from .auth import Authorizer, Role
from .problems import ProblemError, problem_of
from .route_body import RouteReply, answer_plain, answer_route
from .routes import check_content_type, decoded

PATH = "/route"
JSON = b"application/json"
DIGITS = 4
"""A body goes a short way when its length in bytes has no more digits; larger ones are read bit by bit, or refused."""

LARGEST = 10**DIGITS - 1

_TYPE = (b"content-type", JSON)

Headers = list[tuple[bytes, bytes]]
"""As ASGI has them: names in lower case."""

Reply = tuple[int, Headers, bytes]
"""An answer: its status, its headers with the body's type and length, its body."""

Refusal = (MultiRegionError, ProblemError)
"""What is wrong with a request; anything else that is raised is our own failure."""


class HotRoute:
    """Answers ``POST /route``. ``authorizer``: who may look; None leaves that to the app."""

    def __init__(self, router: RegionAwareRouter, authorizer: Authorizer | None) -> None:
        self._router = router
        asks = authorizer is not None and not authorizer.is_open(Role.VIEWER)
        self._authorizer = authorizer if asks else None

    def takes(self, headers: Headers) -> bytes | None:
        """What the body of a request with these headers is said to be, ``b""`` if it is not said; None: it may not go
        a short way. Of a header that comes twice, the first counts. Some servers go by chunks whatever length is said.
        """
        kind = length = authorization = None
        for name, value in headers:
            if name == b"content-type":
                kind = value if kind is None else kind
            elif name == b"content-length":
                length = value if length is None else length
            elif name == b"authorization":
                authorization = value if authorization is None else authorization
            elif name == b"transfer-encoding":
                return None
        if length is None or len(length) > DIGITS or not length.isdigit():
            return None
        if self._authorizer is not None and not self._admits(self._authorizer, authorization):
            return None
        return b"" if kind is None else kind

    def decide(self, kind: bytes, body: bytes) -> RouteReply:
        """The answer to a good body; ``kind`` is what it is said to be. Raises one of ``Refusal``."""
        if kind != JSON and body:
            check_content_type(kind.decode("latin-1"))
        plain = answer_plain(self._router, body)
        return RouteReply.of(answer_route(self._router, decoded(body))) if plain is None else plain

    def answer(self, kind: bytes, message: Message, path: str) -> Reply | None:
        """The answer to a body that was asked at ``path``; None: the client has hung up, and needs none."""
        if message["type"] != "http.request":
            return None
        try:
            reply = self.decide(kind, message.get("body", b""))
        except Refusal as err:
            return refuse(err, path)
        return 200, [reply.length, _TYPE], reply.body

    @staticmethod
    def _admits(authorizer: Authorizer, authorization: bytes | None) -> bool:
        try:
            authorizer.admit(None if authorization is None else authorization.decode("latin-1"), Role.VIEWER)
        except ForbiddenError:
            return False
        return True


def refuse(error: MultiRegionError | ProblemError, path: str) -> Reply:
    """The answer to a bad request that was asked at ``path``."""
    problem = error.problem if isinstance(error, ProblemError) else problem_of(error)
    response = problem.response(path)
    return response.status_code, response.raw_headers, bytes(response.body)


class RawRoute(Route):
    """The first step: stands before the declared route, and takes from it what can be answered without dispatch."""

    def __init__(self, hot: HotRoute) -> None:
        super().__init__(PATH, self, methods=["POST"], name="route raw", include_in_schema=False)
        self.hot = hot

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """All, or nothing: whatever is not taken is for the routes that follow."""
        match, found = super().matches(scope)
        if match is not Match.FULL or scope["query_string"] or self.hot.takes(scope["headers"]) is None:
            return Match.NONE, {}
        return match, {**found, "route": self}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        kind = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
        reply = self.hot.answer(kind, await whole(await receive(), receive), scope["path"])
        if reply is not None:
            status, headers, body = reply
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})


async def whole(message: Message, receive: Receive) -> Message:
    """A body's first piece and all that follow; the server holds them to the length that was told."""
    if not message.get("more_body", False):
        return message
    pieces = [message.get("body", b"")]
    while message.get("more_body", False):
        message = await receive()
        pieces.append(message.get("body", b""))
    return {"type": message["type"], "body": b"".join(pieces)}


def again(body: Message, receive: Receive) -> Receive:
    """A body that was read, for somebody who has not read it."""
    waiting = [body]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


def raw_route(routes: Iterable[BaseRoute]) -> RawRoute | None:
    """The raw route, if a plain ``POST /route`` reaches it before any other."""
    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": PATH,
        "root_path": "",
        "query_string": b"",
        "headers": [],
    }
    first = next((r for r in routes if isinstance(r, RawRoute) or r.matches(scope)[0] is Match.FULL), None)
    return first if isinstance(first, RawRoute) else None
