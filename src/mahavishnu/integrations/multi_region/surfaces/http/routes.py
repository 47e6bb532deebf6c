"""Routes that answer their errors as problem+json and read bodies strictly, without touching an app's other routes."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec
from fastapi import APIRouter, Depends, params
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from mahavishnu.integrations.multi_region.errors import MultiRegionError

from .auth import Authorizer, Role
from .documents import problem_answers
from .guarding import Guard
from .params import refuse_unknown_parameters
from .problems import Problem, ProblemError, problem_of, problem_of_validation

MAX_BODY = 1_000_000
"""The largest body that is read, in bytes."""

MAX_LONG_BODY = 16_000_000
"""The largest body that lists what an edge holds, in bytes: 1,000 classes of 20 regions in full are some 2 MB."""

WRITES = (409, 503)
"""How a change may fail besides: a rule forbids it or somebody saved first; what is needed for it does not answer."""

_DECODER = msgspec.json.Decoder()


class StrictRequest(Request):
    """A request whose body is JSON of a bounded size, or is refused: 413, 415, 400."""

    most = MAX_BODY

    async def body(self) -> bytes:
        """The body. Raises ProblemError when it is too large, or not said to be JSON."""
        if not hasattr(self, "_body"):
            chunks, size = [], 0
            refuse_larger(_number(self.headers.get("content-length")), self.most)
            async for chunk in self.stream():
                size += len(chunk)
                refuse_larger(size, self.most)
                chunks.append(chunk)
            self._body = b"".join(chunks)
            if self._body:
                check_content_type(self.headers.get("content-type", ""))
        return self._body

    async def json(self) -> Any:
        """The body as data; NaN, numbers beyond a double and lone surrogates are no JSON. Raises ProblemError."""
        return decoded(await self.body())


class LongRequest(StrictRequest):
    """A request whose JSON body is long by its nature: up to ``MAX_LONG_BODY``."""

    most = MAX_LONG_BODY


class ProblemRoute(APIRoute):
    """A route that asks its guard first, then reads the body, and answers our errors and bad input itself."""

    request = StrictRequest

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler, with errors turned into answers; errors that are not ours pass through."""
        inner = super().get_route_handler()
        guards = [d.dependency for d in self.dependencies if isinstance(d.dependency, Guard)]
        parameters = [parameter.alias for parameter in self.dependant.query_params]

        async def handle(request: Request) -> Response:
            try:
                for guard in guards:
                    guard.admit(request)
                refuse_unknown_parameters(request, parameters)
                return await inner(self.request(request.scope, request.receive))
            except MultiRegionError as err:
                problem = problem_of(err)
            except ProblemError as err:
                problem = err.problem
            except RequestValidationError as err:
                problem = problem_of_validation(err)
            except ClientDisconnect:  # in the middle of its body: no failure of ours, and nobody is left to answer
                return Response(status_code=400)
            return problem.response(request.scope["path"])

        return handle


class LongRoute(ProblemRoute):
    """A problem route whose bodies are long by their nature: up to ``MAX_LONG_BODY``."""

    request = LongRequest


class Doors:
    """Adds endpoints to a router, each with its role and with every problem it can answer written down."""

    def __init__(self, authorizer: Authorizer | None, tag: str) -> None:
        self.router = APIRouter(route_class=ProblemRoute, tags=[tag])
        self._authorizer = authorizer

    def add(
        self,
        method: str,
        path: str,
        endpoint: Callable[..., Any],
        role: Role,
        answer: Any,
        *,
        status: int = 200,
        problems: Sequence[int] = (),
        **more: Any,
    ) -> None:
        """One endpoint. ``answer``: the model of what it returns; ``problems``: statuses that only it knows of."""
        guards = self._guards(role)
        known = {422, *problems, *((401, 403) if guards else ())}
        known |= {404} if "{" in path else set()
        known |= {400, 413, 415} if method in ("POST", "PUT") else set()
        self.router.add_api_route(
            path,
            endpoint,
            methods=[method],
            response_model=answer,
            status_code=status,
            dependencies=guards,
            responses={**problem_answers(known), **more.pop("responses", {})},
            **more,
        )

    def _guards(self, role: Role) -> list[params.Depends]:
        if self._authorizer is None or self._authorizer.is_open(role):
            return []
        return [Depends(Guard(self._authorizer, role))]


def refuse_larger(size: int, most: int = MAX_BODY) -> None:
    """Refuse a body of more than ``most`` bytes. Raises ProblemError."""
    if size > most:
        text = f"a body may have {most} bytes"
        raise ProblemError(Problem(413, "too-large", "The body is too large", text, headers={"Connection": "close"}))


def decoded(raw: bytes) -> Any:
    """A body as data; NaN, numbers beyond a double and lone surrogates are no JSON. Raises ProblemError."""
    try:
        return _DECODER.decode(raw)
    except (ValueError, RecursionError) as err:
        raise ProblemError(Problem(400, "malformed-json", "The body is not JSON", str(err))) from err


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isdecimal() else 0


def check_content_type(given: str) -> None:
    """Refuse a body that is not said to be JSON. Raises ProblemError."""
    kind = given.partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        text = f"the body is said to be {given[:100]!r}; send it with Content-Type: application/json"
        raise ProblemError(Problem(415, "unsupported-media-type", "The body must be JSON", text))
