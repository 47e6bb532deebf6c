"""What a routing worker answers by itself: decisions, one or many, and that it lives. All else is for the controller.

The same handlers, tokens and limits as on the controller's own server. A decision that goes no short way (a large body,
a caller who is not admitted, a query string), or that needs what a worker does not know, is passed on as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Literal

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from mahavishnu.integrations.multi_region.errors import UnavailableError
from mahavishnu.integrations.multi_region.shell.router import RegionAwareRouter

from .asgi_shortcut import Accelerated
from .auth import Authorizer, Role, Tokens
from .batch import Batches
from .hot import HotRoute, refuse
from .params import known_parameters_only
from .problems import problem_of_status
from .routes import Doors
from .schemas_v1 import HealthzAnswer

_OWN = frozenset({("POST", "/v1/route/batch"), ("GET", "/healthz")})


class RoutingApp:
    """The ASGI app of a worker. ``tokens``, ``open_reads``: as for ``create_app``. ``otherwise``: gets all the rest."""

    def __init__(
        self, router: RegionAwareRouter, otherwise: ASGIApp, *, tokens: Tokens | None, open_reads: bool = True
    ) -> None:
        authorizer = Authorizer(tokens, open_reads=open_reads)
        self.hot = HotRoute(router, authorizer)
        self._own = _own_app(router, authorizer)
        self._others = Accelerated(otherwise, self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        way = (scope.get("method"), scope["path"])
        await (self._own if way in _OWN else self._others)(scope, receive, send)

    def protocol(self) -> type[asyncio.Protocol] | Literal["auto"]:
        """What ``uvicorn.Config(app, http=...)`` is to be given, as ``protocol_for`` says for an app."""
        if find_spec("httptools") is None:
            return "auto"
        from .protocol import HotProtocol

        return type("HotProtocolOfWorker", (HotProtocol,), {"shortcut": self})


def away(path: str, text: str) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body that say that something this server depends on does not answer."""
    return refuse(UnavailableError(text), path)


def _own_app(router: RegionAwareRouter, authorizer: Authorizer) -> FastAPI:
    app = FastAPI(openapi_url=None, redirect_slashes=False)
    known_parameters_only(app)
    v1, anybody = Doors(authorizer, "v1"), Doors(None, "server")
    Batches(router).add_to(v1)
    anybody.add("GET", "/healthz", _alive, Role.VIEWER, HealthzAnswer)
    for doors in (v1, anybody):
        app.include_router(doors.router)
    app.add_exception_handler(Exception, _failed)
    return app


async def _alive() -> Mapping[str, Any]:
    return {"status": "alive"}


async def _failed(request: Request, err: Exception) -> Response:
    return problem_of_status(500, "Internal Server Error").response(request.scope["path"])
