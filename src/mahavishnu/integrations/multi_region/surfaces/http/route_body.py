"""``POST /route`` from bytes to bytes: the hot path, in one function that needs no web framework.

Whatever answers the endpoint, this decides what is a good body and what the answer looks like.
"""

from __future__ import annotations

from typing import Any

import msgspec

from mahavishnu.integrations.multi_region.core.model import RegionView, RoutingStrategy
from mahavishnu.integrations.multi_region.core.routing import RoutingDecision
from mahavishnu.integrations.multi_region.errors import InvalidInputError, nearest_hint
from mahavishnu.integrations.multi_region.shell.router import MAX_CANDIDATES, RegionAwareRouter

from .problems import UnknownKeyError

_KEYS = ("request_context", "strategy", "candidates")
_STRATEGIES: dict[Any, RoutingStrategy] = {strategy.value: strategy for strategy in RoutingStrategy}
_ENCODER = msgspec.json.Encoder()


MAX_KEPT = 4096
"""Answers that are kept; each holds on to its region as it was, so that no other can have the same id."""


class _Kept(msgspec.Struct, frozen=True):
    """An answer that holds for every plain decision for the same state of the same region."""

    region: RegionView
    strategy: RoutingStrategy
    revision: int
    body: bytes

    def answers(self, decision: RoutingDecision) -> bool:
        """Whether it is this decision's answer too."""
        return (
            self.region is decision.region and self.revision == decision.revision and self.strategy is decision.strategy
        )


_kept: dict[int, _Kept] = {}


def answer_route(router: RegionAwareRouter, body: Any) -> bytes:
    """The decision for a decoded body, as JSON. Raises InvalidInputError, NoEligibleRegionError."""
    context, strategy, candidates = parse_route_body(body)
    decision = router.route(context, strategy, candidates)
    if candidates != 1 or not decision.is_plain:
        return _encoded(decision, candidates)
    kept = _kept.get(id(decision.region))
    if kept is None or not kept.answers(decision):
        if len(_kept) >= MAX_KEPT:
            _kept.clear()
        kept = _Kept(decision.region, decision.strategy, decision.revision, _encoded(decision, candidates))
        _kept[id(decision.region)] = kept
    return kept.body


def _encoded(decision: RoutingDecision, candidates: int) -> bytes:
    region = decision.region
    answer = {
        "selected_region": region.region_id,
        "endpoint": region.endpoint,
        "strategy": decision.strategy,
        "reasoning": decision.reasoning,
        "revision": decision.revision,
    }
    if candidates != 1:  # the order of all regions takes a hundred times as long as the best of them
        answer["candidates"] = decision.candidates
    return _ENCODER.encode(answer)


def parse_route_body(body: Any) -> tuple[Any, Any, Any]:
    """The request context, the strategy (None: not given) and how many candidates are wanted, of a decoded body.

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
    return body["request_context"], strategy, 1 if candidates is None else candidates


def _refuse_unknown(body: dict[str, Any]) -> None:
    for key in body:
        if key not in _KEYS:
            raise UnknownKeyError(key, body[key], nearest_hint(key, list(_KEYS)))
