"""Eligible and ranked, to a RoutingDecision with its reason; or the refusal, with a reason for each region.

``turn`` numbers the decisions of round robin and weighted, so that deciding stays a pure function. A
strategy whose own input is missing falls back to latency, then to health, and says so; it never fails for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import NoEligibleRegionError
from .eligibility import Objection, names_of, policy_bound, split
from .model import Fleet, RegionView, RoutingStrategy
from .ranking import KEYS, RankInput, by_latency, by_turn, ordered
from .request import Needs, Request, needs_of


@dataclass(frozen=True, slots=True)
class RoutingDecision:
    """Where a request goes and why.

    ``alternatives``: the other eligible regions, best first. ``revision``: of the intent it was made from.
    """

    selected_region: str
    strategy: RoutingStrategy
    reasoning: str
    endpoint: str
    revision: int
    alternatives: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision with all that spoke for and against: the order of the eligible, the objection to each other region."""

    decision: RoutingDecision | None
    strategy: RoutingStrategy
    refusal: str | None
    eligible: tuple[RegionView, ...]
    excluded: Mapping[str, Objection]


def explain(fleet: Fleet, request: Request, strategy: RoutingStrategy, given: RankInput, turn: int) -> Explanation:
    """Decide and say why, for every region. Refusals are part of the answer; only a bad request raises."""
    needs = needs_of(fleet, request)
    eligible, excluded = split(fleet, needs)
    if not eligible:
        return Explanation(None, strategy, _refusal(fleet, needs, excluded), (), excluded)
    order, reasoning = _choose(eligible, request, needs, strategy, given, turn)
    winner = order[0]
    decision = RoutingDecision(
        selected_region=winner.region_id,
        strategy=strategy,
        reasoning=reasoning + _caveat(winner),
        endpoint=winner.endpoint,
        revision=fleet.revision,
        alternatives=tuple(r.region_id for r in order[1:]),
    )
    return Explanation(decision, strategy, None, tuple(order), excluded)


def decide(fleet: Fleet, request: Request, strategy: RoutingStrategy, given: RankInput, turn: int) -> RoutingDecision:
    """The decision alone. Raises NoEligibleRegionError with the reason for each region when none may serve."""
    explanation = explain(fleet, request, strategy, given, turn)
    if explanation.decision is not None:
        return explanation.decision
    needs = needs_of(fleet, request)
    raise NoEligibleRegionError(
        explanation.refusal or "",
        {region_id: why.text for region_id, why in explanation.excluded.items()},
        policy_bound=policy_bound(fleet, needs, dict(explanation.excluded)),
    )


def _refusal(fleet: Fleet, needs: Needs, excluded: dict[str, Objection]) -> str:
    if not fleet.regions:
        return "no region is registered"
    law = " (policy-bound exhaustion)" if policy_bound(fleet, needs, excluded) else ""
    reasons = "; ".join(f"{region_id} {why.text}" for region_id, why in excluded.items())
    return f"no region may serve this request{law}: {reasons}"


def _caveat(winner: RegionView) -> str:
    return f"; kept in service by safety: {winner.held}" if winner.held else ""


def _choose(
    eligible: list[RegionView], request: Request, needs: Needs, strategy: RoutingStrategy, given: RankInput, turn: int
) -> tuple[list[RegionView], str]:
    if strategy is RoutingStrategy.ROUND_ROBIN:
        order = _led_by(by_turn(eligible, None, turn), eligible)
        return order, f"Selected {order[0].region_id} by round robin"
    if strategy is RoutingStrategy.WEIGHTED and given.weights:
        weights = {r.region_id: given.weights.get(r.region_id, 0.0) for r in eligible}
        weighty = [r for r in eligible if weights[r.region_id] > 0]
        if weighty:
            order = _led_by(by_turn(weighty, weights, turn), eligible)
            name = order[0].region_id
            return order, f"Selected {name} by weight {weights[name]:g} of {sum(weights.values()):g}"
    key = KEYS[strategy](given) if strategy in KEYS else None
    if key is not None:
        order = ordered(eligible, key)
        return order, _reasoning(order[0], strategy, needs)
    return _fallback(eligible, strategy, given)


def _led_by(winner: RegionView, eligible: list[RegionView]) -> list[RegionView]:
    """The winner, then the others by health."""
    rest = [region for region in eligible if region is not winner]
    return [winner, *ordered(rest, lambda region: -region.health_score)]


def _fallback(eligible: list[RegionView], strategy: RoutingStrategy, given: RankInput) -> tuple[list[RegionView], str]:
    """Without the strategy's own input: the nearest, or without a location the healthiest."""
    missing = [MISSING[strategy]]
    near = by_latency(given)
    if near is not None:
        order = ordered(eligible, near)
        return order, f"Selected {order[0].region_id} for lowest latency ({missing[0]})"
    if strategy is not RoutingStrategy.LATENCY_BASED:
        missing.append(MISSING[RoutingStrategy.LATENCY_BASED])
    order = ordered(eligible, lambda region: -region.health_score)
    name, score = order[0].region_id, order[0].health_score
    return order, f"Selected {name} with {score:.1f} health score ({', '.join(missing)})"


MISSING = {
    RoutingStrategy.LATENCY_BASED: "no user location",
    RoutingStrategy.DATA_LOCALITY: "no region is known to hold the data",
    RoutingStrategy.WEIGHTED: "no deployment with weights",
}
"""What a strategy lacked when it had to fall back."""


def _reasoning(winner: RegionView, strategy: RoutingStrategy, needs: Needs) -> str:
    name = winner.region_id
    match strategy:
        case RoutingStrategy.CAPACITY_BASED:
            return f"Selected {name} with {100 * winner.utilization:.1f}% utilization"
        case RoutingStrategy.COST_BASED:
            return f"Selected {name} with {winner.cost_multiplier:g}x cost multiplier"
        case RoutingStrategy.HEALTH_BASED:
            return f"Selected {name} with {winner.health_score:.1f} health score"
        case RoutingStrategy.COMPLIANCE_BASED:
            law = names_of(needs.requirements) or "no requirement"
            return f"Selected {name} for compliance with {law}"
        case RoutingStrategy.DATA_LOCALITY:
            return f"Selected {name} for data locality"
        case _:
            return f"Selected {name} for lowest latency"
