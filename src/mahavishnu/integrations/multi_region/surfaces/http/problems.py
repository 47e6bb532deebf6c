"""Every error as problem+json (RFC 9457): what kind, whose turn it is, and which field, value and what is allowed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from mahavishnu.integrations.multi_region.core.hidden import NOT_SHOWN
from mahavishnu.integrations.multi_region.errors import (
    AuditBrokenError,
    DuplicateRegionError,
    ForbiddenError,
    InvalidInputError,
    MultiRegionError,
    NoEligibleRegionError,
    RefusedError,
    StaleRevisionError,
    UnavailableError,
    WorldFileError,
)

from .auth import NotAuthenticatedError

PROBLEM_JSON = "application/problem+json"
TYPES = "urn:mahavishnu:multi-region:problem:"
REFUSAL_HEADER = "X-Multi-Region-Refusal"
_LONGEST = 120
_LARGEST = 10**18


class UnknownKeyError(InvalidInputError):
    """An object has a key that it may not have; ``field`` is the key."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One error as a client sees it. ``kind`` ends the type; ``more`` holds what only some kinds have."""

    status: int
    kind: str
    title: str
    detail: str
    errors: Sequence[Mapping[str, Any]] = ()
    more: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self, path: str) -> Response:
        """The answer to a request for ``path``."""
        body = {
            "type": TYPES + self.kind,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": quote(path),
            "errors": [dict(item) for item in self.errors],
            **self.more,
        }
        text = json.dumps(body, allow_nan=False)
        return Response(text, self.status, headers=dict(self.headers), media_type=PROBLEM_JSON)


class ProblemError(HTTPException):
    """Carries a Problem out of an endpoint; an HTTPException, so that FastAPI passes it on while it reads a body."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.status, problem.detail, dict(problem.headers))


_KINDS: tuple[tuple[type[MultiRegionError], int, str, str], ...] = (
    (NotAuthenticatedError, 401, "not-authenticated", "A token is needed"),
    (ForbiddenError, 403, "forbidden", "This is not allowed"),
    (DuplicateRegionError, 409, "duplicate-region", "The region is registered already"),
    (InvalidInputError, 422, "invalid-input", "A value is not allowed"),
    (WorldFileError, 422, "invalid-world", "The world is not as it must be"),
    (NoEligibleRegionError, 503, "no-eligible-region", "No region may serve the request"),
    (RefusedError, 409, "refused", "A rule forbids this"),
    (StaleRevisionError, 409, "stale-revision", "Somebody saved first"),
    (AuditBrokenError, 409, "audit-broken", "The event log was altered"),
    (UnavailableError, 503, "unavailable", "Something this server depends on does not answer"),
)
"""What each kind of error is to a client; the first that fits counts."""


def problem_of(error: MultiRegionError) -> Problem:
    """The problem that an error of ours is."""
    fitting = (row for row in _KINDS if isinstance(error, row[0]))
    _, status, kind, title = next(fitting, (None, 500, "internal", "This server failed"))
    return Problem(status, kind, title, str(error), _items(error), _more(error), _headers(error))


def not_found(error: InvalidInputError) -> ProblemError:
    """The problem that an unknown name in a path is, ready to be raised: there is nothing at that address."""
    return ProblemError(Problem(404, "not-found", "There is no such thing", str(error), _items(error)))


def problem_of_validation(error: RequestValidationError) -> Problem:
    """The problem that a body or a parameter of the wrong shape is."""
    items = [_item(detail) for detail in error.errors()]
    return Problem(422, "invalid-input", "A value is not allowed", _sentence(items), items)


def problem_of_status(status: int, title: str, headers: Mapping[str, str] | None = None) -> Problem:
    """The problem that a bare status is: no such path, no such method."""
    return Problem(status, title.lower().replace(" ", "-"), title, title, headers=headers or {})


def error_item(where: str, value: object, allowed: str) -> dict[str, Any]:
    """One entry of ``errors``: the field's dotted path, the value given, what is allowed."""
    secret = "headers." in where
    return {"field": where, "value": NOT_SHOWN if secret else shown(value), "allowed": allowed}


def shown(value: object) -> object:
    """A value short enough to be repeated, and fit for JSON."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return value if abs(value) < _LARGEST else "a number of more than 18 digits"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple | set | frozenset):
        return "a list"
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def _items(error: MultiRegionError) -> list[dict[str, Any]]:
    if isinstance(error, InvalidInputError):
        return [error_item(error.field, error.value, error.allowed)]
    if isinstance(error, WorldFileError):
        return [error_item(p.field, p.value, p.allowed) for p in error.problems]
    return []


def _more(error: MultiRegionError) -> dict[str, Any]:
    if isinstance(error, RefusedError):
        return {"rule": error.rule, "reasons": error.reasons}
    if isinstance(error, AuditBrokenError):
        return {"seq": error.seq}
    return {}


def _headers(error: MultiRegionError) -> dict[str, str]:
    if isinstance(error, NotAuthenticatedError):
        return {"WWW-Authenticate": 'Bearer error="invalid_token"' if error.shown else "Bearer"}
    if isinstance(error, NoEligibleRegionError):
        return {REFUSAL_HEADER: error.rule}
    return {"Retry-After": "1"} if isinstance(error, UnavailableError) else {}


def _item(detail: Mapping[str, Any]) -> dict[str, Any]:
    """One of pydantic's complaints in the words of this package."""
    where, *path = detail["loc"]
    names = [str(part) for part in path if part != "[key]"]
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, UnknownKeyError):
        names.append(cause.field)
    dotted = ".".join(names if where == "body" and names else [str(where), *names])
    if isinstance(cause, InvalidInputError):
        return error_item(dotted, cause.value, cause.allowed)
    if detail["type"] == "missing":
        return error_item(dotted, None, "a value: it may not be left out")
    return error_item(dotted, detail.get("input"), str(detail["msg"]).removeprefix("Input should be "))


def _sentence(items: Iterable[Mapping[str, Any]]) -> str:
    first, *others = items
    more = f" (and {len(others)} more)" if others else ""
    return f"{first['field']}: {first['value']!r} is not allowed; allowed: {first['allowed']}{more}"
