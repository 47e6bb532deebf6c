"""``POST /v1/route/batch``: where many clients go, in columns: two arrays of degrees in, one of positions out.

A request for each of them would spend nearly all of its time on HTTP. All are decided in one state of the regions.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from mahavishnu.integrations.multi_region.core.model import ComplianceFramework, RoutingStrategy
from mahavishnu.integrations.multi_region.errors import InvalidInputError, nearest_hint
from mahavishnu.integrations.multi_region.shell.router import RegionAwareRouter
from mahavishnu.integrations.multi_region.shell.routing.batch import Numbers

from .auth import Role
from .documents import inline_schema, json_body
from .problems import UnknownKeyError
from .routes import Doors, StrictRequest, decoded
from .schemas import Answer

MOST = 10_000
"""How many clients one request may ask for: a few milliseconds of work, most of it JSON."""

_COLUMNS = ("latitude", "longitude")
_SHARED = ("strategy", "service", "compliance_requirements")
_KEYS = (*_COLUMNS, *_SHARED)
_ENCODER = msgspec.json.Encoder()


class BatchBody(BaseModel):
    """Many clients; only for the OpenAPI document."""

    model_config = ConfigDict(extra="forbid")

    latitude: list[Annotated[float, Field(ge=-90, le=90)]] = Field(
        max_length=MOST, description="Degrees north of each client."
    )
    longitude: list[Annotated[float, Field(ge=-180, le=180)]] = Field(
        max_length=MOST, description="Degrees east of each client; as many as there are latitudes."
    )
    strategy: RoutingStrategy | None = Field(
        None, description="How to pick among eligible regions. Default: the service's, else latency_based."
    )
    service: str | None = Field(None, min_length=1, description="The declared service that all requests are for.")
    compliance_requirements: list[ComplianceFramework] | None = Field(None, description="What must hold for all.")


class BatchAnswer(Answer):
    """Where each of many clients goes."""

    regions: list[str] = Field(description="The ids of the regions that `index` counts, from 0.")
    index: list[int] = Field(description="For each client, the position of its region in `regions`.")
    strategy: RoutingStrategy
    revision: int = Field(description="Of the intent that was decided by.")


class Batches:
    """Routes many requests at once."""

    def __init__(self, router: RegionAwareRouter) -> None:
        self._router = router

    def add_to(self, doors: Doors) -> None:
        """Add the endpoint."""
        example = {"latitude": [52.5, 40.7], "longitude": [13.4, -74.0]}
        extra = json_body({**inline_schema(BatchBody.model_json_schema()), "example": example})
        doors.add(
            "POST",
            "/v1/route/batch",
            self.route,
            Role.VIEWER,
            BatchAnswer,
            problems=(503,),
            openapi_extra=extra,
        )

    async def route(self, request: StrictRequest) -> Response:
        """Where each of up to 10,000 clients goes, by the same rules as `POST /route`, all in one state of the regions.

        What is not allowed in one of them refuses all; they count as that many decisions.
        """
        latitudes, longitudes, more = _read(await request.body())
        try:
            found = await self._router.route_many(latitudes, longitudes, **more)
        except InvalidInputError as err:
            raise _as_here(err) from err
        answer = {
            "regions": found.region_ids,
            "index": found.indices.tolist(),
            "strategy": found.strategy,
            "revision": found.revision,
        }
        return Response(_ENCODER.encode(answer), media_type="application/json")


class _Columns(msgspec.Struct, forbid_unknown_fields=True):
    """A good body, as far as JSON goes."""

    latitude: list[float]
    longitude: list[float]
    strategy: Any = None
    service: Any = None
    compliance_requirements: Any = None


_COLUMN_DECODER = msgspec.json.Decoder(_Columns)


def _read(raw: bytes) -> tuple[Numbers, Numbers, dict[str, Any]]:
    """The columns and the rest of a body. Raises ProblemError, InvalidInputError."""
    try:
        good = _COLUMN_DECODER.decode(raw)
    except (ValueError, RecursionError):  # what is wrong is found out at leisure
        body = _checked(decoded(raw))
        return body.pop("latitude"), body.pop("longitude"), body
    more = {name: getattr(good, name) for name in _SHARED}
    columns = [_checked_length(name, getattr(good, name)) for name in _COLUMNS]
    latitudes, longitudes = (np.fromiter(column, np.float64, len(column)) for column in columns)
    return latitudes, longitudes, more


def _checked(body: Any) -> dict[str, Any]:
    """The body's parts, its columns lists within the limit. Raises InvalidInputError."""
    if not isinstance(body, dict):
        raise InvalidInputError("body", body, "an object with latitude and longitude")
    for key in body:
        if key not in _KEYS:
            raise UnknownKeyError(key, body[key], nearest_hint(key, list(_KEYS)))
    for name in _COLUMNS:
        column = body.get(name)
        if not isinstance(column, list):
            raise InvalidInputError(name, column, "a list of degrees")
        _checked_length(name, column)
    return dict(body)


def _checked_length(name: str, column: list[Any]) -> list[Any]:
    if len(column) > MOST:
        raise InvalidInputError(name, f"{len(column)} of them", f"at most {MOST}; ask for the others in turn")
    return column


def _as_here(error: InvalidInputError) -> InvalidInputError:
    """The error with the field as the body of this endpoint names it."""
    where = error.field.removeprefix("request_context.")
    for name in _COLUMNS:
        if where.startswith(name + "s"):
            where = name + where.removeprefix(name + "s")
    return InvalidInputError(where, error.value, error.allowed)
