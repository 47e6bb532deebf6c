"""One key function per routing strategy; they compose. The smallest key wins.

Every order starts with the tier (healthy before degraded before unknown), so that no strategy prefers a region we know
less good of. Regions that a strategy holds equal are told apart by health, then by how much of their limit is in use,
so that requests without a place do not all go to one of them; and last by id, so that equal inputs give equal answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .geo import distance_km, fibre_floor_ms
from .model import Phase, Point, RegionView, RoutingStrategy

TIER = {Phase.HEALTHY: 0, Phase.DEGRADED: 1, Phase.UNKNOWN: 2, Phase.SATURATED: 3, Phase.DOWN: 4}
"""Which regions are used first. Saturated and down ones only ever get here when safety holds them in service."""

Key = Callable[[RegionView], float]

RoundTrip = Callable[[RegionView, RegionView], float]
"""The round trip in ms to expect from one region to another."""


def least_rtt_ms(a: RegionView, b: RegionView) -> float:
    """The least round trip in ms that fibre allows between two regions: for who knows nothing but their places."""
    return fibre_floor_ms(distance_km(a.point, b.point))


@dataclass(frozen=True, slots=True)
class RankInput:
    """What keys may look at beside the region.

    ``location``: the client's place; ``estimate``: the round trip in ms to expect from there to a region, None to go by
    distance. ``current``: the region that the client uses now. ``holders``: regions that hold the request's data;
    ``rtt_ms``: how far regions are from each other. ``weights``: shares of a deployment's regions.
    """

    location: Point | None = None
    holders: tuple[RegionView, ...] = ()
    weights: Mapping[str, float] | None = None
    estimate: Key | None = None
    current: str | None = None
    rtt_ms: RoundTrip = least_rtt_ms


def by_latency(given: RankInput) -> Key | None:
    """The round trip to expect in ms, or without estimates the distance in km; needs a location."""
    place = given.location
    if place is None:
        return None
    return given.estimate or (lambda region: distance_km(place, region.point))


def by_health(_: RankInput) -> Key | None:
    """Health score, the highest first."""
    return lambda region: -region.health_score


def by_utilization(_: RankInput) -> Key | None:
    """Load as a share of the limit, the lowest first."""
    return lambda region: region.utilization


def by_cost(_: RankInput) -> Key | None:
    """Cost multiplier, the cheapest first."""
    return lambda region: region.cost_multiplier


def by_compliance(given: RankInput) -> Key | None:
    """Among the lawful (eligibility has seen to that) the nearest, or without a location the healthiest."""
    return by_latency(given) or by_health(given)


def by_data(given: RankInput) -> Key | None:
    """Round trip in ms to the nearest region that holds the request's data, 0 for a holder; needs a holder."""
    holders, rtt_ms = given.holders, given.rtt_ms
    if not holders:
        return None
    names = {holder.region_id for holder in holders}
    return lambda region: 0.0 if region.region_id in names else min(rtt_ms(region, holder) for holder in holders)


KEYS: Mapping[RoutingStrategy, Callable[[RankInput], Key | None]] = {
    RoutingStrategy.LATENCY_BASED: by_latency,
    RoutingStrategy.CAPACITY_BASED: by_utilization,
    RoutingStrategy.COMPLIANCE_BASED: by_compliance,
    RoutingStrategy.COST_BASED: by_cost,
    RoutingStrategy.HEALTH_BASED: by_health,
    RoutingStrategy.DATA_LOCALITY: by_data,
}
"""Strategies that order regions by a key. Round robin and weighted take turns instead: see ``routing.py``."""


Rank = tuple[float, float, str]


def rank_of(region: RegionView) -> Rank:
    """Who comes first, the lowest, among regions of equal keys: the healthiest, then the least used, then by id."""
    return -region.health_score, region.utilization, region.region_id


def first_by_data(eligible: list[RegionView], given: RankInput) -> RegionView | None:
    """The first of ``eligible`` by ``by_data`` where the holders themselves settle it: one of them is of the best tier.

    No round trip has to be estimated then. None: it takes all the keys to say.
    """
    if not given.holders:
        return None
    names = {holder.region_id for holder in given.holders}
    return min((r for r in best_tier(eligible) if r.region_id in names), key=rank_of, default=None)


def ordered(regions: list[RegionView], key: Key) -> list[RegionView]:
    """Regions best first: by tier, then by the key, then by their rank."""
    return sorted(regions, key=lambda r: (TIER[r.standing], key(r), rank_of(r)))


GOLDEN = 0.6180339887498949
"""Fraction of the golden ratio: multiples of it spread most evenly over 0..1 (Weyl's equidistribution theorem)."""


def by_turn(regions: list[RegionView], weights: Mapping[str, float] | None, turn: int) -> RegionView:
    """Whose turn it is among the best tier: in order, or with weights so that shares come out over any run of turns.

    Depends on the turn's number alone, so a region that comes back gets its share and no burst to catch up.
    """
    first = best_tier(regions)
    if weights is None:
        return first[turn % len(first)]
    return first[turn_of([weights[region.region_id] for region in first], turn)]


def turn_of(weights: Sequence[float], turn: int) -> int:
    """Which of the weights (their index) the turn belongs to."""
    mark = (turn * GOLDEN % 1.0) * sum(weights)
    for index, weight in enumerate(weights):
        mark -= weight
        if mark < 0:
            return index
    return len(weights) - 1


def best_tier(regions: list[RegionView]) -> list[RegionView]:
    """The regions of the best tier that has any, in the order given."""
    best = min(TIER[region.standing] for region in regions)
    return [region for region in regions if TIER[region.standing] == best]
