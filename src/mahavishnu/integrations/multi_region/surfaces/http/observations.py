"""``POST /v1/observations``: what callers have seen, read, checked and counted a few at a time.

A report may be long, and routing goes on meanwhile. All of it is checked before any of it is counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError

from mahavishnu.integrations.multi_region.errors import InvalidInputError, nearest_hint
from mahavishnu.integrations.multi_region.shell.routing.measurements import Measured
from mahavishnu.integrations.multi_region.shell.turns import turn
from mahavishnu.integrations.multi_region.system import MultiRegionSystem

from .action_bodies import MOST_OBSERVED, LoadBody, ObservationsBody, OutcomeBody, RttBody
from .auth import Role
from .bodies import Body
from .documents import inline_schema, json_body
from .routes import Doors, StrictRequest
from .schemas_act import CountedAnswer

AT_ONCE = 100
"""Things read, checked or counted in one turn of the event loop: 10 µs each."""

T = TypeVar("T", bound=Body)

_KINDS: Mapping[str, type[Body]] = {"outcomes": OutcomeBody, "loads": LoadBody, "rtts": RttBody}


class Observing:
    """The endpoint; it needs an operator."""

    def __init__(self, system: MultiRegionSystem) -> None:
        self._manager = system.region_manager
        self._measurements = system.router.measurements

    def add_to(self, doors: Doors) -> None:
        """Add it to a router."""
        extra = json_body(inline_schema(ObservationsBody.model_json_schema()))
        doors.add(
            "POST",
            "/v1/observations",
            self.observe,
            Role.OPERATOR,
            CountedAnswer,
            problems=(409, 503),
            openapi_extra=extra,
        )

    async def observe(self, request: StrictRequest) -> Mapping[str, Any]:
        """Count how real requests went, how much regions carry, how long round trips take: all of it, or none.

        What is told of a region that is removed while the report is counted is left out.
        """
        body = await read(await request.json())
        for name in _KINDS:
            await self._refuse_unknown(name, getattr(body, name))
        measured = []
        for position, rtt in enumerate(body.rtts):
            await turn(position, AT_ONCE)
            measured.append(self._measured(position, rtt))
        outcomes, loads = await self._count_outcomes(body.outcomes), await self._count_loads(body.loads)
        learned, doubted = await self._measurements.learn_all(measured)
        return {"outcomes": outcomes, "loads": loads, "rtts": learned, "doubted": doubted}

    async def _count_outcomes(self, outcomes: Sequence[OutcomeBody]) -> int:
        counted = 0
        for position, told in enumerate(outcomes):
            await turn(position, AT_ONCE)
            if told.region_id in self._manager.regions:
                self._manager.report_outcome(told.region_id, told.ok, told.latency_ms, told.service)
                counted += 1
        return counted

    async def _count_loads(self, loads: Sequence[LoadBody]) -> int:
        counted = 0
        for position, told in enumerate(loads):
            await turn(position, AT_ONCE)
            if told.region_id in self._manager.regions:
                self._manager.report_load(told.region_id, told.current_capacity)
                counted += 1
        return counted

    def _measured(self, position: int, body: RttBody) -> Measured:
        """A measurement that can be true. Raises InvalidInputError with the field as the body names it."""
        location = None if body.location is None else {name: getattr(body.location, name) for name in _DEGREES}
        try:
            found = self._measurements.read(location, body.region_id, body.ms, body.country)
            self._measurements.check(found)
        except InvalidInputError as err:
            raise InvalidInputError(f"rtts.{position}.{err.field}", err.value, err.allowed) from err
        return found

    async def _refuse_unknown(self, where: str, observed: Sequence[OutcomeBody | LoadBody | RttBody]) -> None:
        known = self._manager.regions
        for position, item in enumerate(observed):
            await turn(position, 10 * AT_ONCE)
            if item.region_id not in known:
                allowed = nearest_hint(item.region_id, list(known))
                raise InvalidInputError(f"{where}.{position}.region_id", item.region_id, allowed)


_DEGREES = ("latitude", "longitude")


# --- reading ----------------------------------------------------------------------------------


async def read(given: Any) -> ObservationsBody:
    """The body, checked as the model says, a few items at a time.

    Raises InvalidInputError for a list that is too long; RequestValidationError with what is wrong, of a list what is
    wrong with the first items that are.
    """
    keys = _KINDS if isinstance(given, Mapping) else ()
    lists = {name: given[name] for name in keys if isinstance(given.get(name), list)}
    for name, items in lists.items():
        if len(items) > MOST_OBSERVED[name]:
            allowed = f"at most {MOST_OBSERVED[name]}; send the others in another request"
            raise InvalidInputError(name, f"{len(items)} of them", allowed)
    try:
        body = ObservationsBody.model_validate({**given, **{name: [] for name in lists}} if keys else given)
    except ValidationError as err:
        raise _as_body(err) from err
    return body.model_copy(update={name: await _read_list(name, items) for name, items in lists.items()})


async def _read_list(name: str, items: Sequence[Any]) -> list[Body]:
    found: list[Body] = []
    for start in range(0, len(items), AT_ONCE):
        await turn(start, AT_ONCE)
        try:
            found += _list_of(_KINDS[name]).validate_python(items[start : start + AT_ONCE])
        except ValidationError as err:
            raise _as_body(err, name, start) from err
    return found


def _as_body(error: ValidationError, name: str = "", start: int = 0) -> RequestValidationError:
    """The error as FastAPI would raise it. ``start``: where in the list ``name`` what was read begins."""
    details = error.errors(include_url=False)
    if name:
        details = [{**found, "loc": (name, start + int(found["loc"][0]), *found["loc"][1:])} for found in details]
    return RequestValidationError([{**found, "loc": ("body", *found["loc"])} for found in details])


@cache
def _list_of(kind: type[T]) -> TypeAdapter[list[T]]:
    return TypeAdapter(list[kind])  # type: ignore[valid-type]  # a model given as a value
