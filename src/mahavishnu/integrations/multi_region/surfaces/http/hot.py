"""``POST /route`` without the framework's dispatch: bytes in, bytes out, by the same rules as the declared route.

The raw route, the wrapper and the protocol all answer through ``HotRoute``. Each takes only what it can answer exactly
as the declared route does, and leaves everything else to it: another spelling of the path, a query string, a caller who
is not admitted, a body whose size is not told or large.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

from mahavishnu.integrations.multi_region.errors import ForbiddenError, MultiRegionError
from mahavishnu.integrations.multi_region.shell.router import RegionAwareRouter

from .auth import Authorizer, Role
from .problems import ProblemError, problem_of
from .route_body import answer_route
from .routes import check_content_type, decoded

PATH = "/route"
LARGEST = 65_536
"""Bytes of a body that is worth a short way; larger ones go the long way, to be read bit by bit or refused."""

JSON = b"application/json"

Headers = Iterable[tuple[bytes, bytes]]
"""As ASGI has them: names in lower case."""


class Reply(msgspec.Struct, frozen=True, gc=False):  # a tenth of what a frozen dataclass costs to make
    """An answer; ``headers`` include the body's type and length."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    async def send(self, send: Send) -> None:
        """Answer over ASGI."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})


class Head(msgspec.Struct, frozen=True, gc=False):
    """What the headers of a request say that matters here; of a header that comes twice, the first counts."""

    kind: bytes | None
    length: int | None
    authorization: bytes | None

    @classmethod
    def of(cls, headers: Headers) -> Head:
        """The head that these headers make. ``length`` is None when it is not told, or not as a number."""
        kind = length = authorization = None
        for name, value in headers:
            if name == b"content-type":
                kind = value if kind is None else kind
            elif name == b"content-length":
                length = value if length is None else length
            elif name == b"authorization":
                authorization = value if authorization is None else authorization
        return cls(kind, int(length) if length is not None and length.isdigit() else None, authorization)


class HotRoute:
    """Answers ``POST /route``. ``authorizer``: who may look; None leaves that to the app."""

    def __init__(self, router: RegionAwareRouter, authorizer: Authorizer | None) -> None:
        self._router = router
        asks = authorizer is not None and not authorizer.is_open(Role.VIEWER)
        self._authorizer = authorizer if asks else None

    def takes(self, head: Head, largest: int = LARGEST) -> bool:
        """Whether a request with this head may go a short way: a small body of known size, a caller who is admitted."""
        if head.length is None or head.length > largest:
            return False
        return self._authorizer is None or self._admits(self._authorizer, head.authorization)

    def decide(self, kind: bytes | None, body: bytes) -> bytes:
        """The answer to a good body, as JSON. Raises MultiRegionError, ProblemError: see ``refuse``."""
        if kind != JSON and body:
            check_content_type("" if kind is None else kind.decode("latin-1"))
        return answer_route(self._router, decoded(body))

    def refuse(self, error: MultiRegionError | ProblemError, path: str) -> Reply:
        """The answer to a bad one. ``path``: where it was asked."""
        problem = error.problem if isinstance(error, ProblemError) else problem_of(error)
        response = problem.response(path)
        return Reply(response.status_code, response.raw_headers, bytes(response.body))

    def reply(self, kind: bytes | None, body: bytes, path: str) -> Reply:
        """The answer to any body. What fails for other reasons than the request is raised."""
        try:
            text = self.decide(kind, body)
        except (MultiRegionError, ProblemError) as err:
            return self.refuse(err, path)
        return Reply(200, [(b"content-length", b"%d" % len(text)), (b"content-type", JSON)], text)

    @staticmethod
    def _admits(authorizer: Authorizer, authorization: bytes | None) -> bool:
        try:
            authorizer.admit(None if authorization is None else authorization.decode("latin-1"), Role.VIEWER)
        except ForbiddenError:
            return False
        return True


class RawRoute(Route):
    """The first step: stands before the declared route, and takes from it what can be answered without dispatch."""

    def __init__(self, hot: HotRoute) -> None:
        super().__init__(PATH, self, methods=["POST"], name="route raw", include_in_schema=False)
        self.hot = hot

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """All, or nothing: whatever is not taken is for the routes that follow."""
        match, found = super().matches(scope)
        if match is not Match.FULL or scope["query_string"]:
            return Match.NONE, {}
        head = Head.of(scope["headers"])
        if not self.hot.takes(head):
            return Match.NONE, {}
        return match, {**found, "route": self, "multi_region.head": head}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body and answer; whoever has hung up meanwhile needs none."""
        body = await read_body(receive)
        if body is not None:
            await self.hot.reply(scope["multi_region.head"].kind, body, scope["path"]).send(send)


async def read_body(receive: Receive) -> bytes | None:
    """The whole body; None when the client went away. The server holds it to the length that was told."""
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body", False):
        message = await receive()
        body += message.get("body", b"")
    return body if message["type"] == "http.request" else None


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
