"""Eligible and ranked, to a RoutingDecision with its reason; or the refusal, with a reason for each region.

``turn`` numbers the decisions of round robin and weighted, so that deciding stays a pure function. A
strategy whose own input is missing falls back to latency, then to health, and says so; it never fails for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..errors import NoEligibleRegionError
from .eligibility import Objection, in_force, may_serve, names_of, policy_bound, split
from .latency import keeps
from .model import Fleet, RegionView, RoutingStrategy
from .ranking import KEYS, TIER, Key, RankInput, by_latency, by_turn, first_by_data, ordered, turn_of
from .request import Needs, Request, needs_of


@dataclass(frozen=True, slots=True)
class Candidate:
    """A region that could serve, and the round trip in ms to expect to it; None when the client's place is unknown."""

    region_id: str
    endpoint: str
    estimate_ms: float | None


@dataclass(frozen=True, slots=True)
class Told:
    """What a decision says when asked: its reason, and every eligible region best first."""

    reasoning: str
    order: tuple[RegionView, ...]


@dataclass(frozen=True, slots=True)
class Telling:
    """How a decision answers questions from what it was made from.

    ``told`` puts all regions in order; ``estimate`` gives the round trip in ms to expect to one, and looks at no other:
    None when the client's place is unknown.
    """

    told: Callable[..., Told]
    estimate: Callable[..., Key | None]


class RoutingDecision:
    """Where a request goes and why. Its reason is worked out when somebody reads it.

    ``region``: the region as the decision saw it. ``revision``: of the intent it was made from.
    """

    __slots__ = ("_say", "_shortlist", "_tell", "_told", "_with", "region", "revision", "strategy", "wanted")

    def __init__(
        self,
        region: RegionView,
        strategy: RoutingStrategy,
        revision: int,
        tell: Telling,
        given: tuple[Any, ...] = (),
        wanted: int = 1,
        say: Callable[[RegionView], str] | None = None,
    ) -> None:
        """``tell`` answers, with ``given``, what is asked of the decision. ``wanted``: how many ``candidates`` to name.
        ``say``: gives the reason from the region alone, where that is enough.
        """
        self.region = region
        self.strategy = strategy
        self.revision = revision
        self.wanted = wanted
        self._tell = tell
        self._say = say
        self._with = given
        self._told: Told | None = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RoutingDecision):
            return NotImplemented
        return self._whole() == other._whole()

    def __hash__(self) -> int:
        return hash((self.selected_region, self.strategy, self.revision))

    def _whole(self) -> tuple[object, ...]:
        return self.region, self.strategy, self.revision, self.reasoning, self.told.order

    def __repr__(self) -> str:
        return (
            f"RoutingDecision(selected_region={self.selected_region!r}, strategy={self.strategy.value!r}, "
            f"reasoning={self.reasoning!r}, estimate={self.estimate!r})"
        )

    @property
    def selected_region(self) -> str:
        """The id of the region."""
        return self.region.region_id

    @property
    def endpoint(self) -> str:
        """Where the region answers."""
        return self.region.endpoint

    def name_candidates(self, shortlist: Iterable[tuple[float, RegionView]]) -> None:
        """Set the ``candidates``, where they are known without ordering all regions; each with its estimate in ms."""
        self._shortlist = tuple(Candidate(region.region_id, region.endpoint, ms) for ms, region in shortlist)

    @property
    def told(self) -> Told:
        """All that the decision can say of itself."""
        if self._told is None:
            self._told = self._tell.told(*self._with)
        return self._told

    @property
    def reasoning(self) -> str:
        """Why this region, in a sentence."""
        return self.told.reasoning if self._say is None else self._say(self.region)

    @property
    def is_plain(self) -> bool:
        """Whether region, strategy and revision alone give the reason, so that an answer may be kept for the next."""
        return self._say is nearest_reasoning

    @property
    def alternatives(self) -> tuple[str, ...]:
        """The ids of the other eligible regions, best first."""
        return tuple(region.region_id for region in self.told.order[1:])

    @property
    def estimate_ms(self) -> float | None:
        """The round trip in ms to expect, None when the client's place is unknown."""
        return self.estimates(self.region)[0]

    def estimates(self, *regions: RegionView) -> list[float | None]:
        """The round trip in ms that this client may expect to each of these regions, as the decision saw them."""
        estimate = self._tell.estimate(*self._with)
        return [None if estimate is None else estimate(region) for region in regions]

    @property
    def estimate(self) -> str:
        """The round trip to expect, for people: ``est. 34 ms``, or nothing when the client's place is unknown."""
        ms = self.estimate_ms
        return "" if ms is None else f"est. {ms:.0f} ms"

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """The best regions, the selected one first, as many as were asked for: a client may race them."""
        known: tuple[Candidate, ...] | None = getattr(self, "_shortlist", None)  # unset: most decisions have none
        if known is not None:
            return known
        best = (self.region,) if self.wanted == 1 else self.told.order[: self.wanted]
        pairs = zip(best, self.estimates(*best), strict=True)
        return tuple(Candidate(region.region_id, region.endpoint, ms) for region, ms in pairs)


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision with all that spoke for and against: the order of the eligible, the objection to each other region.

    ``decision``: None where nobody may serve; ``refusal`` says why then. ``eligible``: best first. ``excluded``: by id.
    ``policy_bound``: there is none because of the law; without it, some region could serve.
    """

    decision: RoutingDecision | None
    strategy: RoutingStrategy
    refusal: str | None
    eligible: tuple[RegionView, ...]
    excluded: Mapping[str, Objection]
    policy_bound: bool = False

    def error(self) -> NoEligibleRegionError:
        """What to raise where there is no decision: with the reason for each region."""
        reasons = {region_id: why.text for region_id, why in self.excluded.items()}
        return NoEligibleRegionError(self.refusal or "", reasons, policy_bound=self.policy_bound)


def explain(fleet: Fleet, request: Request, strategy: RoutingStrategy, given: RankInput, turn: int) -> Explanation:
    """Decide and say why, for every region. Refusals are part of the answer; only a bad request raises."""
    needs = needs_of(fleet, request)
    eligible, excluded = split(fleet, needs)
    if not eligible:
        bound = policy_bound(fleet, needs, excluded)
        return Explanation(None, strategy, _refusal(fleet, excluded, bound), (), excluded, bound)
    first, rest = _by_group(eligible, needs, strategy, turn)
    order, reasoning = _choose(first, request, needs, strategy, given, turn)
    order += ordered(rest, lambda region: -region.health_score)
    told = Told(reasoning + _caveat(order[0]), tuple(order))
    decision = RoutingDecision(order[0], strategy, fleet.revision, _EXPLAINED, (told, given.estimate))
    return Explanation(decision, strategy, None, tuple(order), excluded)


def decide(fleet: Fleet, request: Request, strategy: RoutingStrategy, given: RankInput, turn: int) -> RoutingDecision:
    """The decision alone. Raises NoEligibleRegionError with the reason for each region when none may serve."""
    needs = needs_of(fleet, request)
    holder = _settled_by_holders(fleet, needs, strategy, given, turn)
    if holder is not None:
        say = partial(plain_reasoning, strategy, needs)
        return RoutingDecision(holder, strategy, fleet.revision, _HELD, (fleet, request, strategy, given, turn), 1, say)
    explanation = explain(fleet, request, strategy, given, turn)
    if explanation.decision is None:
        raise explanation.error()
    return explanation.decision


def _told(fleet: Fleet, request: Request, strategy: RoutingStrategy, given: RankInput, turn: int) -> Told:
    """All that a decision can say, when it is asked: the order of the others costs more than the decision."""
    decision = explain(fleet, request, strategy, given, turn).decision
    assert decision is not None  # it was made from the same
    return decision.told


_EXPLAINED = Telling(lambda told, _: told, lambda _, estimate: estimate)
_HELD = Telling(_told, lambda _fleet, _request, _strategy, given, _turn: given.estimate)


def _settled_by_holders(
    fleet: Fleet, needs: Needs, strategy: RoutingStrategy, given: RankInput, turn: int
) -> RegionView | None:
    """The region that holds the data, where it is as good as any; None: it takes the round trips of all to say."""
    if strategy is not RoutingStrategy.DATA_LOCALITY or not given.holders:
        return None
    bound = in_force(fleet, needs)
    eligible = [region for region in fleet.regions.values() if may_serve(region, bound)]
    return first_by_data(_by_group(eligible, needs, strategy, turn)[0], given) if eligible else None


def _by_group(
    eligible: list[RegionView], needs: Needs, strategy: RoutingStrategy, turn: int
) -> tuple[list[RegionView], list[RegionView]]:
    """The regions of the group whose turn it is, and the others: a 90/10 rollout holds in every strategy."""
    groups = [g for g in needs.deployment.groups if g.weight > 0] if needs.deployment is not None else []
    able = [(g, members) for g in groups if (members := [r for r in eligible if r.region_id in g.regions])]
    if len(able) < 2 or strategy is RoutingStrategy.WEIGHTED:
        return eligible, []
    chosen = able[turn_of([g.weight for g, _ in able], turn)][1]
    return chosen, [r for r in eligible if r not in chosen]


def _refusal(fleet: Fleet, excluded: dict[str, Objection], bound: bool) -> str:
    if not fleet.regions:
        return "no region is registered"
    law = " (policy-bound exhaustion)" if bound else ""
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
        if strategy in NEAREST and given.estimate is not None:
            order, kept = keep_current(order, given.current, given.estimate)
            return order, _reasoning(order[0], strategy, needs) + kept
        return order, _reasoning(order[0], strategy, needs)
    return _fallback(eligible, strategy, given)


NEAREST = frozenset({RoutingStrategy.LATENCY_BASED, RoutingStrategy.COMPLIANCE_BASED})
"""Strategies that go by the round trip, and so let a client keep the region it has."""


def keep_current(order: list[RegionView], current: str | None, estimate: Key) -> tuple[list[RegionView], str]:
    """The order with the client's current region in front where the best is not clearly nearer; and what to say."""
    best = order[0]
    mine = next((r for r in order if r.region_id == current and TIER[r.standing] == TIER[best.standing]), None)
    if mine is None or mine is best or not keeps(estimate(mine), estimate(best)):
        return order, ""
    gain = estimate(mine) - estimate(best)
    return [mine, *(r for r in order if r is not mine)], f"; kept, {best.region_id} is only {gain:.1f} ms nearer"


def nearest_reasoning(winner: RegionView) -> str:
    """What a decision by latency says when the client's place is known and it uses no region yet."""
    return f"Selected {winner.region_id} for lowest latency" + _caveat(winner)


def unplaced_reasoning(winner: RegionView) -> str:
    """What a decision by latency says when the client's place is not known."""
    score = f"{winner.health_score:.1f}"
    return f"Selected {winner.region_id} with {score} health score (no user location)" + _caveat(winner)


def plain_reasoning(strategy: RoutingStrategy, needs: Needs, winner: RegionView) -> str:
    """What a decision by any other strategy that ranks regions says, when the client uses no region yet."""
    return _reasoning(winner, strategy, needs) + _caveat(winner)


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
