"""One key function per routing strategy; they compose. The smallest key wins.

Every order starts with the tier (healthy before degraded before unknown), so that no strategy prefers a region we know
less good of, and ends with the region's id, so that equal inputs give equal answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .geo import distance_km
from .model import Phase, Point, RegionView, RoutingStrategy

TIER = {Phase.HEALTHY: 0, Phase.DEGRADED: 1, Phase.UNKNOWN: 2, Phase.SATURATED: 3, Phase.DOWN: 4}
"""Which regions are used first. Saturated and down ones only ever get here when safety holds them in service."""

Key = Callable[[RegionView], float]


@dataclass(frozen=True, slots=True)
class RankInput:
    """What keys may look at beside the region.

    ``location``: the client's place; ``estimate``: the round trip in ms to expect from there to a region, None to go by
    distance. ``current``: the region that the client uses now. ``holders``: places that hold the request's data.
    ``weights``: shares of a deployment's regions.
    """

    location: Point | None = None
    holders: tuple[Point, ...] = ()
    weights: Mapping[str, float] | None = None
    estimate: Key | None = None
    current: str | None = None


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
    """Distance in km to the nearest region that holds the request's data; needs a holder."""
    holders = given.holders
    return None if not holders else lambda region: min(distance_km(h, region.point) for h in holders)


KEYS: Mapping[RoutingStrategy, Callable[[RankInput], Key | None]] = {
    RoutingStrategy.LATENCY_BASED: by_latency,
    RoutingStrategy.CAPACITY_BASED: by_utilization,
    RoutingStrategy.COMPLIANCE_BASED: by_compliance,
    RoutingStrategy.COST_BASED: by_cost,
    RoutingStrategy.HEALTH_BASED: by_health,
    RoutingStrategy.DATA_LOCALITY: by_data,
}
"""Strategies that order regions by a key. Round robin and weighted take turns instead: see ``routing.py``."""


def ordered(regions: list[RegionView], key: Key) -> list[RegionView]:
    """Regions best first: by tier, then by the key, then by health score and id."""
    return sorted(regions, key=lambda r: (TIER[r.standing], key(r), -r.health_score, r.region_id))


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
