"""Query parameters: how they are read, and that those nobody asked for are refused."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Request
from pydantic import BeforeValidator, WithJsonSchema

from mahavishnu.integrations.multi_region.errors import InvalidInputError, nearest_hint


def _flag(value: Any) -> Any:
    words = {"true": True, "false": False, True: True, False: False}
    if isinstance(value, str | bool) and value in words:
        return words[value]
    raise InvalidInputError("flag", value, "true or false")


Flag = Annotated[bool, BeforeValidator(_flag), WithJsonSchema({"type": "boolean"})]
"""``true`` or ``false``, in this spelling."""


def known_parameters_only(app: FastAPI) -> None:
    """On this app, refuse query parameters that our routes do not have; on somebody else's they may mean something."""
    app.state.multi_region_known_parameters_only = True


def refuse_unknown_parameters(request: Request, known: list[str]) -> None:
    """Refuse a parameter that would be ignored without a word, where the app wants that. Raises InvalidInputError."""
    if not request.scope["query_string"]:
        return
    if not getattr(request.app.state, "multi_region_known_parameters_only", False):
        return
    for name, value in request.query_params.items():
        if name not in known:
            raise InvalidInputError(f"query.{name}"[:80], value, nearest_hint(name[:80], known))
