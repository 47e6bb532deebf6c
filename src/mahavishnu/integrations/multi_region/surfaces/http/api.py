"""MultiRegionAPI: the spec's six endpoints, on any FastAPI app."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import FastAPI, Query
from starlette.responses import Response

from mahavishnu.integrations.multi_region.core.model import Region, RegionHealth
from mahavishnu.integrations.multi_region.errors import UnknownRegionError
from mahavishnu.integrations.multi_region.shell.failure import FailureHandler
from mahavishnu.integrations.multi_region.shell.manager import RegionManager
from mahavishnu.integrations.multi_region.shell.router import RegionAwareRouter

from .asgi_shortcut import Accelerated, Shortcut, shorten
from .auth import Authorizer, Role
from .bodies import RegionBody, region_of
from .documents import inline_schema, json_body
from .guarding import Actor
from .hot import HotRoute, RawRoute
from .params import Flag
from .problems import not_found
from .route_body import answer_route
from .routes import Doors, StrictRequest
from .schemas import RegionAnswer, RegionHealthAnswer, RegisteredAnswer, RouteAnswer, RouteBody, StatsAnswer
from .slices import listed, written


class MultiRegionAPI:
    """The endpoints over a running system.

    ``authorize``: an ``Authorizer`` whose tokens the endpoints then ask for (reads need a viewer unless reads are
    open, registering an operator); None leaves authentication to the app.
    """

    def __init__(
        self,
        region_manager: RegionManager,
        router: RegionAwareRouter,
        failure_handler: FailureHandler,
        authorize: Authorizer | None = None,
    ) -> None:
        self.region_manager = region_manager
        self.router = router
        self.failure_handler = failure_handler
        self._authorizer = authorize

    def register_routes(self, app: FastAPI) -> None:
        """Add the endpoints to ``app``. Its other routes, error handlers and middleware stay as they are."""
        doors = Doors(self._authorizer, "multi-region")
        doors.add("GET", "/regions", self.list_regions, Role.VIEWER, list[RegionAnswer])
        doors.add("GET", "/regions/{region_id}", self.get_region, Role.VIEWER, RegionAnswer)
        doors.add("POST", "/regions", self.register, Role.OPERATOR, RegisteredAnswer, status=201, problems=(409, 503))
        doors.add("GET", "/regions/{region_id}/health", self.get_health, Role.VIEWER, RegionHealthAnswer)
        extra = json_body({**inline_schema(RouteBody.model_json_schema()), "example": RouteBody.example()})
        doors.add("POST", "/route", self.route, Role.VIEWER, RouteAnswer, problems=(503,), openapi_extra=extra)
        doors.add("GET", "/stats", self.get_stats, Role.VIEWER, StatsAnswer)
        if not app.router.dependencies:  # those may be the app's authentication: only the declared route asks them
            app.router.routes.append(RawRoute(HotRoute(self.router, self._authorizer)))
            shorten(app)
        app.include_router(doors.router)

    def accelerate(self, app: FastAPI, *, past_middleware: bool = False) -> Accelerated:
        """The app with `POST /route` answered before the framework's dispatch: serve this instead of ``app``.

        An app with middleware is left as it is, because the middleware would not see these requests; say
        ``past_middleware=True`` if it need not (authentication, limits, CORS and tracing are middleware, as a rule).
        """
        return Accelerated(app, Shortcut(app, past_middleware=past_middleware))

    async def list_regions(self, healthy_only: Annotated[Flag, Query()] = False) -> Response:
        """The registered regions, in order of registration.

        `healthy_only`: only those that are healthy, and neither drained nor failed over.
        """
        regions = self.region_manager.list_regions(healthy_only=healthy_only)
        return written(await listed(RegionAnswer, regions, lambda region: region))

    async def get_region(self, region_id: str) -> Region:
        """One region."""
        return region_at(self.region_manager, region_id)

    async def register(self, body: RegionBody, actor: Actor) -> Mapping[str, Any]:
        """Register a region. What an id of the catalog says need not be repeated."""
        region = region_of(body, self.region_manager.health_check)
        warnings = await self.region_manager.register_region(region, actor=actor)
        return declared(region, warnings)

    async def get_health(self, region_id: str) -> RegionHealth:
        """What is known of a region's health."""
        region_at(self.region_manager, region_id)
        return await self.region_manager.get_region_health(region_id)

    async def route(self, request: StrictRequest) -> Response:
        """Where a request goes, and why. Only eligible regions are considered, whatever the strategy."""
        return Response(answer_route(self.router, await request.json()), media_type="application/json")

    async def get_stats(self) -> Mapping[str, Any]:
        """Regions, decisions and failovers in numbers."""
        return {
            "regions": self.region_manager.get_stats(),
            "routing": self.router.get_routing_stats(),
            "failover": self.failure_handler.get_failover_stats(),
            "round_trips": self.region_manager.round_trips.stats(),
        }


def region_at(manager: RegionManager, region_id: str) -> Region:
    """The region that a path names. Raises a 404 problem naming the nearest."""
    try:
        return manager.get_region(region_id)
    except UnknownRegionError as err:
        raise not_found(err) from err


def declared(region: Region, warnings: list[str]) -> dict[str, Any]:
    """A region just declared, as it is answered."""
    return {**RegionAnswer.model_validate(region).model_dump(), "warnings": warnings}
