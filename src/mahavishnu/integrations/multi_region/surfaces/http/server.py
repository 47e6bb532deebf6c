"""Our own server: the spec's endpoints, ``/v1``, probes, figures and the event stream, behind tokens."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache, cached_property
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version as distribution_version
from importlib.util import find_spec
from typing import Literal

import uvicorn
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import compile_path

from mahavishnu.integrations.multi_region.adapters.sinks.metrics import MetricsSink
from mahavishnu.integrations.multi_region.surfaces.world.load import world_schema
from mahavishnu.integrations.multi_region.system import MultiRegionSystem

from .api import MultiRegionAPI
from .auth import Authorizer, Tokens
from .batch import Batches
from .data import Data
from .deployments import Deployments
from .documents import complete, components_of
from .edges import Edges
from .params import known_parameters_only
from .problems import problem_of_status
from .routes import Doors
from .sse import Streams
from .telemetry import Telemetry
from .v1_act import Acting
from .v1_declare import Declaring
from .v1_look import Looking

DISTRIBUTION = "mahavishnu-multi-region"


def create_app(
    system: MultiRegionSystem,
    *,
    tokens: Tokens | None,
    open_reads: bool = True,
    metrics: MetricsSink | None = None,
    keep_alive_s: float = 15.0,
) -> FastAPI:
    """Our own server over a running system, which it neither starts nor stops.

    ``tokens``: who may change anything; None: nobody. ``open_reads``: looking needs no token. ``metrics``: the sink
    that the system was given, for the figures of events. ``keep_alive_s``: see ``Streams``.
    """
    streams = Streams(system.region_manager.journal, keep_alive_s=keep_alive_s)
    app = FastAPI(
        title="Multi-Region",
        version=version(),
        summary="Know your regions, watch them, route each request to one that may serve it.",
        docs_url=None,  # the page loads its scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_closing(streams),
    )
    app.state.streams = streams
    known_parameters_only(app)
    authorizer = Authorizer(tokens, open_reads=open_reads)
    _add_routes(app, system, authorizer, metrics, streams)
    _answer_errors(app)
    described = cache(lambda: complete(FastAPI.openapi(app), components_of("World", world_schema())))
    app.openapi = described  # type: ignore[method-assign]  # the way FastAPI asks for
    return app


class Server(uvicorn.Server):
    """uvicorn, which tells the app's event streams to end before it waits for connections to close."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop: streams end, requests finish, then the app is told."""
        streams = getattr(getattr(self.config.app, "state", None), "streams", None)
        if isinstance(streams, Streams):
            streams.close()
        await super().shutdown(sockets)


def protocol_for(app: FastAPI) -> type[asyncio.Protocol] | Literal["auto"]:
    """What ``uvicorn.Config(app, http=...)`` is to be given: answers the hot path by itself, where that can be."""
    if find_spec("httptools") is None:
        return "auto"
    from .protocol import http_protocol

    return http_protocol(app)


def version() -> str:
    """The installed version; ``0`` for a checkout that is not installed."""
    try:
        return distribution_version(DISTRIBUTION)
    except PackageNotFoundError:
        return "0"


def _add_routes(
    app: FastAPI, system: MultiRegionSystem, authorizer: Authorizer, metrics: MetricsSink | None, streams: Streams
) -> None:
    MultiRegionAPI(system.region_manager, system.router, system.failure_handler, authorizer).register_routes(app)
    v1, server, anybody = Doors(authorizer, "v1"), Doors(authorizer, "server"), Doors(None, "server")
    Looking(system, app.version).add_to(v1)
    Declaring(system).add_to(v1)
    Acting(system).add_to(v1)
    Data(system).add_to(v1)
    Batches(system.router).add_to(v1)
    Deployments(system).add_to(v1)
    Edges(system).add_to(v1)
    Telemetry(system, metrics).add_to(server, anybody)
    streams.add_to(server)
    for doors in (v1, server, anybody):
        app.include_router(doors.router)


def _closing(streams: Streams) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(app.openapi)  # takes too long to be made while requests wait
        yield
        streams.close()

    return lifespan


def _answer_errors(app: FastAPI) -> None:
    """Problems for what no route answers: unknown paths and methods, and our own failures."""
    allowed = _AllowedMethods(app)

    async def bare_status(request: Request, err: Exception) -> Response:
        assert isinstance(err, HTTPException)
        path = request.scope["path"]
        headers = {"Allow": allowed.on(path)} if err.status_code == 405 else err.headers
        return problem_of_status(err.status_code, HTTPStatus(err.status_code).phrase, headers).response(path)

    async def failed(request: Request, err: Exception) -> Response:
        return problem_of_status(500, "Internal Server Error").response(request.scope["path"])

    app.add_exception_handler(HTTPException, bare_status)
    app.add_exception_handler(Exception, failed)


class _AllowedMethods:
    """Which methods a path has, over all its routes: the framework names only those of the first."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def on(self, path: str) -> str:
        """The value of ``Allow``; a path that stands there word for word is no name of something."""
        exact = [ways for known, _, ways in self._paths if known == path]
        fitting = exact or [ways for _, pattern, ways in self._paths if pattern.match(path)]
        return ", ".join(sorted(set().union(*fitting)))

    @cached_property
    def _paths(self) -> list[tuple[str, re.Pattern[str], set[str]]]:
        routes = ((route.path, route.methods) for route in iter_route_contexts(self._app.routes))
        return [(path, compile_path(path)[0], ways) for path, ways in routes if path is not None and ways is not None]
