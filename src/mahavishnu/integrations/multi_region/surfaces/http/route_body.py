"""``POST /route`` from bytes to bytes: the hot path, in one function that needs no web framework.

Whatever answers the endpoint, this decides what is a good body and what the answer looks like.
"""

from __future__ import annotations

from typing import Any

import msgspec

from mahavishnu.integrations.multi_region.errors import InvalidInputError, nearest_hint
from mahavishnu.integrations.multi_region.shell.router import RegionAwareRouter

from .problems import UnknownKeyError

_KEYS = ("request_context", "strategy")
_ENCODER = msgspec.json.Encoder()


def answer_route(router: RegionAwareRouter, body: Any) -> bytes:
    """The decision for a decoded body, as JSON. Raises InvalidInputError, NoEligibleRegionError."""
    context, strategy = parse_route_body(body)
    decision = router.route(context, strategy)
    return _ENCODER.encode(
        {
            "selected_region": decision.selected_region,
            "endpoint": decision.endpoint,
            "strategy": decision.strategy,
            "reasoning": decision.reasoning,
            "revision": decision.revision,
            "alternatives": decision.alternatives,
        }
    )


def parse_route_body(body: Any) -> tuple[Any, Any]:
    """The request context and the strategy (None: not given) of a decoded body. Raises InvalidInputError."""
    if not isinstance(body, dict):
        raise InvalidInputError("body", body, "an object with request_context, and strategy if you like")
    if "request_context" not in body:
        _refuse_unknown(body)
        raise InvalidInputError("request_context", None, "an object; {} says nothing of the request")
    if len(body) > 1 + ("strategy" in body):
        _refuse_unknown(body)
    return body["request_context"], body.get("strategy")


def _refuse_unknown(body: dict[str, Any]) -> None:
    for key in body:
        if key not in _KEYS:
            raise UnknownKeyError(key, body[key], nearest_hint(key, list(_KEYS)))
