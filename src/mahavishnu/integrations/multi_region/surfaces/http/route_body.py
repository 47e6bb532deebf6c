"""``POST /route`` from bytes to bytes: the hot path, in one function that needs no web framework.

Whatever answers the endpoint, this decides what is a good body and what the answer looks like.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from mahavishnu.integrations.multi_region.core.model import RegionView, RoutingStrategy
from mahavishnu.integrations.multi_region.core.routing import nearest_reasoning
from mahavishnu.integrations.multi_region.errors import InvalidInputError, nearest_hint
from mahavishnu.integrations.multi_region.shell.router import MAX_CANDIDATES, RegionAwareRouter

from .problems import UnknownKeyError

_KEYS = ("request_context", "strategy", "candidates")
_STRATEGIES: dict[Any, RoutingStrategy] = {strategy.value: strategy for strategy in RoutingStrategy}
_ENCODER = msgspec.json.Encoder()


MAX_KEPT = 4096
"""Answers that are kept; each holds on to its region as it was, so that no other can have the same id."""


# --- the plainest body: a place, and lowest latency ---------------------------------------------


class _Place(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    latitude: Annotated[float, msgspec.Meta(ge=-90, le=90)]
    longitude: Annotated[float, msgspec.Meta(ge=-180, le=180)]


class _Context(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    user_location: _Place


class _Plain(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Nothing that this reads is anything else to ``parse_route_body``; what it does not read may still be good."""

    request_context: _Context
    strategy: Literal["latency_based"] | None = None


_read_plain = msgspec.json.Decoder(_Plain).decode


class RouteReply(msgspec.Struct, frozen=True):
    """A decision as JSON, and the header that says how long it is, as ASGI has it."""

    body: bytes
    length: tuple[bytes, bytes]

    @classmethod
    def of(cls, body: bytes) -> RouteReply:
        """The reply with this body."""
        return cls(body, _length(body))


class _Kept(RouteReply, frozen=True):
    """The answer to every request that goes by latency alone to the same state of the same region."""

    region: RegionView
    revision: int


_kept: dict[int, _Kept] = {}


def answer_plain(router: RegionAwareRouter, raw: bytes) -> RouteReply | None:
    """The decision straight from a body that says no more than a place; None for any other body."""
    try:
        place = _read_plain(raw).request_context.user_location
    except (ValueError, RecursionError):  # it may be wrong, or ask for more: not to be told here
        return None
    found = router.route_place(place.latitude, place.longitude)
    if found is None:
        return None
    return _nearest_answer(*found)


def _nearest_answer(region: RegionView, revision: int) -> _Kept:
    kept = _kept.get(id(region))
    if kept is None or kept.region is not region or kept.revision != revision:
        answer = _answer(region, RoutingStrategy.LATENCY_BASED, nearest_reasoning(region), revision)
        if len(_kept) >= MAX_KEPT:
            _kept.clear()
        body = _ENCODER.encode(answer)
        kept = _kept[id(region)] = _Kept(body, _length(body), region, revision)
    return kept


def _length(body: bytes) -> tuple[bytes, bytes]:
    return b"content-length", b"%d" % len(body)


# --- any body -----------------------------------------------------------------------------------


def answer_route(router: RegionAwareRouter, body: Any) -> bytes:
    """The decision for a decoded body, as JSON. Raises InvalidInputError, NoEligibleRegionError."""
    context, strategy, candidates = parse_route_body(body)
    decision = router.route(context, strategy, 1 if candidates is None else candidates)
    if candidates is None and decision.is_plain and decision.strategy is RoutingStrategy.LATENCY_BASED:
        return _nearest_answer(decision.region, decision.revision).body
    answer = _answer(decision.region, decision.strategy, decision.reasoning, decision.revision)
    if candidates is not None:  # left out otherwise: an estimate takes several times as long as the decision
        answer["candidates"] = decision.candidates
    return _ENCODER.encode(answer)


def _answer(region: RegionView, strategy: RoutingStrategy, reasoning: str, revision: int) -> dict[str, Any]:
    return {
        "selected_region": region.region_id,
        "endpoint": region.endpoint,
        "strategy": strategy,
        "reasoning": reasoning,
        "revision": revision,
    }


def parse_route_body(body: Any) -> tuple[Any, Any, Any]:
    """The request context, the strategy (None: not given) and how many candidates are wanted (None: none are to be
    named), of a decoded body.

    Raises InvalidInputError.
    """
    if not isinstance(body, dict):
        raise InvalidInputError("body", body, "an object with request_context; strategy and candidates if you like")
    if "request_context" not in body:
        _refuse_unknown(body)
        raise InvalidInputError("request_context", None, "an object; {} says nothing of the request")
    strategy, candidates = body.get("strategy"), body.get("candidates")
    if len(body) > 1:
        _refuse_unknown(body)
        if type(strategy) is str:
            strategy = _STRATEGIES.get(strategy, strategy)
        if candidates is not None and type(candidates) is not int:
            raise InvalidInputError("candidates", candidates, f"a whole number from 1 to {MAX_CANDIDATES}")
    return body["request_context"], strategy, candidates


def _refuse_unknown(body: dict[str, Any]) -> None:
    for key in body:
        if key not in _KEYS:
            raise UnknownKeyError(key, body[key], nearest_hint(key, list(_KEYS)))
