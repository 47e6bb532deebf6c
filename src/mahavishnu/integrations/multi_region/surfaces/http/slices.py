"""Long answers, written a slice at a time: other tasks run between, so that listing a thousand regions holds nobody up.

What is listed must stand still meanwhile: hand over frozen values, or a copy of the table that holds them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter
from starlette.responses import Response

from .schemas import Answer

SLICE = 50
"""Things written in one turn of the event loop: about 1 ms of them."""

T = TypeVar("T")


async def listed(kind: type[Answer], things: Sequence[T], described: Callable[[T], object]) -> bytes:
    """The things as a JSON array of the model. ``described``: what the model reads of one of them."""
    adapter = _list_of(kind)
    parts = []
    for start in range(0, len(things), SLICE):
        given = [described(thing) for thing in things[start : start + SLICE]]
        parts.append(adapter.dump_json(adapter.validate_python(given, from_attributes=True))[1:-1])
        await asyncio.sleep(0)
    return b"[" + b",".join(parts) + b"]"


def written(body: bytes) -> Response:
    """JSON that is written already, as an answer."""
    return Response(body, media_type="application/json")


def joined(kind: type[Answer], given: Mapping[str, Any], **long: bytes) -> Response:
    """An answer of the model, its ``long`` fields written already, the others ``given``."""
    empty: dict[str, Any] = {name: [] if body.startswith(b"[") else {} for name, body in long.items()}
    rest = kind.model_validate({**given, **empty})
    parts = [
        f'"{name}":'.encode() + long[name] if name in long else rest.model_dump_json(include={name}).encode()[1:-1]
        for name in kind.model_fields
    ]
    return written(b"{" + b",".join(parts) + b"}")


@cache
def _list_of(kind: type[Answer]) -> TypeAdapter[list[Answer]]:
    return TypeAdapter(list[kind])  # type: ignore[valid-type]  # a model given as a value
