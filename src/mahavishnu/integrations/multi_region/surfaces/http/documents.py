"""What the OpenAPI document says beside the models: problems, and bodies that are read without FastAPI's help.

Schemas are written out where they stand, so that they hold on whatever app the routes are put.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from .problems import PROBLEM_JSON, REFUSAL_HEADER, TYPES


class ErrorItem(BaseModel):
    """One value that is not allowed."""

    field: str = Field(description="Where it stands: a dotted path into the body, or query., path. and the name.")
    value: Any = Field(description="What was given, cut short; secrets are not shown.")
    allowed: str = Field(description="What would do.")


class ProblemDocument(BaseModel):
    """An error (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(pattern=f"^{TYPES}[a-z0-9-]+$", description="Which kind of problem this is.")
    title: str = Field(description="The kind in words.")
    status: int = Field(ge=400, le=599, description="The HTTP status.")
    detail: str = Field(description="What happened here.")
    instance: str = Field(description="The path that was asked for.")
    errors: list[ErrorItem] = Field(description="Each value that is not allowed; empty where no value is to blame.")
    rule: str | None = Field(None, description="Of a refusal: the rule that forbids it, by its name for an override.")
    reasons: dict[str, str] | None = Field(None, description="Of a refusal: why each region is left out, by its id.")


def inline_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON Schema with its ``$defs`` written out in place; it must not refer to itself."""
    definitions = schema.get("$defs", {})

    def written_out(part: Any) -> Any:
        if isinstance(part, list):
            return [written_out(item) for item in part]
        if not isinstance(part, Mapping):
            return part
        name = str(part.get("$ref", "")).removeprefix("#/$defs/")
        beside = {key: written_out(value) for key, value in part.items() if key not in ("$ref", "$defs", "$schema")}
        return {**written_out(definitions[name]), **beside} if name in definitions else beside

    described: dict[str, Any] = written_out(schema)
    return described


def json_body(schema: Mapping[str, Any]) -> dict[str, Any]:
    """What ``openapi_extra`` says of a body that an endpoint reads by itself."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": dict(schema)}}}}


def components_of(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON Schema and its ``$defs`` as components of an OpenAPI document: itself as ``name``, they under it."""

    def moved(part: Any) -> Any:
        if isinstance(part, list):
            return [moved(item) for item in part]
        if not isinstance(part, Mapping):
            return part
        inner = {key: moved(value) for key, value in part.items() if key not in ("$defs", "$schema")}
        if isinstance(inner.get("$ref"), str):
            inner["$ref"] = inner["$ref"].replace("#/$defs/", f"#/components/schemas/{name}.")
        return inner

    return {name: moved(schema), **{f"{name}.{part}": moved(d) for part, d in schema.get("$defs", {}).items()}}


@cache
def _problem_schema() -> dict[str, Any]:
    return inline_schema(ProblemDocument.model_json_schema())


def complete(document: dict[str, Any], components: Mapping[str, Any]) -> dict[str, Any]:
    """An OpenAPI document of a whole app with more components, and the problem's schema said once and referred to."""
    title, named = _problem_schema()["title"], {"$ref": "#/components/schemas/Problem"}
    document["components"]["schemas"].update(components, Problem=_problem_schema())
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    for answer in (answer for operation in operations for answer in operation["responses"].values()):
        media = answer.get("content", {}).get(PROBLEM_JSON)
        if media is not None and media["schema"].get("title") == title:
            media["schema"] = named
    return document


MEANINGS = {
    400: "The body is not JSON.",
    401: "A token is needed, or the one shown is not known.",
    403: "The token's role does not allow this.",
    404: "There is no such thing.",
    409: "Refused: it is there already, somebody saved first, or a rule forbids it. Nothing was changed.",
    413: "The body is too large.",
    415: "The body is not said to be JSON.",
    422: "A value is not allowed; `errors` names each field, its value and what is allowed. Nothing was changed.",
    503: "Not now: no region may serve the request, or the store does not answer.",
}


def problem_answers(statuses: Iterable[int]) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of an endpoint for these statuses."""
    return {status: _problem_answer(status) for status in sorted(statuses)}


def _problem_answer(status: int) -> dict[str, Any]:
    answer = {"description": MEANINGS[status], "content": {PROBLEM_JSON: {"schema": _problem_schema()}}}
    headers = _HEADERS.get(status)
    return answer if headers is None else {**answer, "headers": headers}


def _header(text: str, **schema: Any) -> dict[str, Any]:
    return {"description": text, "required": False, "schema": {"type": "string", **schema}}


_HEADERS = {
    401: {"WWW-Authenticate": _header("How to authenticate.")},
    503: {
        REFUSAL_HEADER: _header(
            "Of a request that no region may serve: whether law or circumstance leaves none.",
            enum=["policy_bound_exhaustion", "no_eligible_region"],
        ),
        "Retry-After": _header("Seconds to wait, where waiting may help."),
    },
}
