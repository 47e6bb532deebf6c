"""Which regions of a class share a tier, in what order tiers follow each other, and what edges are told of each region.

Decides how to tell edges what ``ranking.py`` and ``routing.py`` would choose; it ranks nothing anew and sees only
regions that may serve (L6). Within the regions that a deployment has active, those with room come first, then those
that are saturated, or full of load that no edge sends (they stay: nobody is drowned, L7); the warm ones follow in the
order in which they take over, so that each loss already has its fallback at the edge (L8).

Regions beyond a policy's preference share no tier with those that it prefers and follow behind all of them, warm ones
included: an edge falls to them by itself when it finds none of the preferred well. Once no preferred one can serve,
as ``eligibility.in_force`` has it, they come before those of the preferred that have no room or stand by.

A region that goes down or drains stays where it stands, with its weight: edges give it nothing and fall to the next by
themselves, so that a loss is one word about one region, and so are the failover after it and the return. Only where
groups of a deployment share traffic exactly does the next of its group take its place.

Proxies count what is left of a tier up to tenfold: one of more than ten regions overflows to the next, which may be one
that stands by, once fewer than a tenth of them are well.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, zip_longest

from .deployment import DeploymentView
from .eligibility import Reason, standing_objection
from .model import Phase, RegionView, RoutingStrategy
from .ranking import TIER
from .request import Needs
from .traffic import Standing

WHOLE = 10_000
"""What the weights of a tier add up to, but for rounding."""

WELL = 100.0
"""The health score that a region is placed by while it is down: its own says nothing of where it stood before."""

_TOLD: Mapping[Reason | None, Standing] = {
    None: Standing.SERVING,
    Reason.NO_ROOM: Standing.SERVING,
    Reason.DRAINED: Standing.DRAINING,
    Reason.FAILED_OVER: Standing.DRAINING,
    Reason.UNHEALTHY: Standing.OUT,
}
"""What edges are told of a region, by what speaks against it now."""


@dataclass(frozen=True, slots=True)
class Member:
    """A region that has part in a class, as it is placed. ``crowded``: it has no room, so it comes after the others.

    ``beyond``: law allows it only while no region that a policy prefers can serve.
    """

    region: RegionView
    standing: Standing
    crowded: bool
    beyond: bool = False


Pool = Sequence[tuple[Member, float]]
"""Regions that share a tier, and the share of each, relative to the others."""


def placed(region: RegionView) -> RegionView:
    """The region as ranks and tiers see it: one that is down stands where it does when it is well."""
    if region.standing is not Phase.DOWN:
        return region
    return replace(region, phase=Phase.HEALTHY, serves_as=None, health_score=WELL)


def members_of(
    regions: Iterable[RegionView], needs: Needs, seen_alive: frozenset[str], beyond: Container[str] = ()
) -> tuple[Member, ...]:
    """The regions as members of a class, in the order given. ``beyond``: those that no policy prefers, by id.

    Where health alone would leave nobody, regions in ``seen_alive`` keep serving (L9, L10); those that an operator or
    a failover took out do not (L11).
    """
    members = tuple(_member(region, needs, region.region_id in beyond) for region in regions)
    if any(one.standing is Standing.SERVING for one in members):
        return members
    return tuple(_trusted(one) if one.region.region_id in seen_alive else one for one in members)


def _member(region: RegionView, needs: Needs, beyond: bool) -> Member:
    why = standing_objection(region, needs)
    crowded = region.standing is Phase.SATURATED or region.load >= region.max_capacity
    return Member(placed(region), _TOLD[None if why is None else why.code], crowded, beyond)


def _trusted(member: Member) -> Member:
    return replace(member, standing=Standing.SERVING) if member.standing is Standing.OUT else member


def pools_of(
    ranked: Sequence[Member],
    strategy: RoutingStrategy,
    deployment: DeploymentView | None,
    weights: Mapping[str, float],
) -> list[Pool]:
    """The tiers of a class, first to last; every member is in one of them.

    ``ranked``: the members as ``ranking.ordered`` has them by the strategy. ``deployment``: the service's plan of
    record. ``weights``: by region, what ``weighted`` goes by.
    """
    sides = [[one for one in ranked if one.beyond is beyond] for beyond in (False, True)]
    stages = [_stages(side, strategy, deployment, weights) for side in sides if side]
    held = preference_holds(ranked, deployment)
    rows = stages if held else zip(*stages, strict=True)
    return _once([pool for row in rows for pools in row for pool in pools])


def preference_holds(members: Iterable[Member], deployment: DeploymentView | None) -> bool:
    """Whether one of the preferred regions can serve now, so that those beyond the preference take nothing (L6)."""
    able = (one.region.region_id for one in members if _is_able(one))
    return any(deployment is None or region_id in deployment.active for region_id in able)


def _is_able(member: Member) -> bool:
    return member.standing is Standing.SERVING and not member.crowded and not member.beyond


def whole_weights(shares: Sequence[float]) -> list[int]:
    """Shares as whole numbers, 1 or more each; equal when there is nothing to go by."""
    total = sum(shares)
    if total <= 0:
        return [1] * len(shares)
    return [max(1, round(WHOLE * share / total)) for share in shares]


def _stages(
    ranked: Sequence[Member],
    strategy: RoutingStrategy,
    deployment: DeploymentView | None,
    weights: Mapping[str, float],
) -> list[list[Pool]]:
    """The pools of those that are active, then of those that stand by; of each first those with room."""
    if deployment is None:
        return _staged(ranked, lambda stage: _by_strategy(stage, strategy, weights))
    active = [one for one in ranked if one.region.region_id in deployment.active]
    by_id = {one.region.region_id: one for one in ranked}
    warm = [by_id[region_id] for region_id in deployment.spares if region_id in by_id]
    return _staged(active, lambda stage: _by_group(stage, strategy, deployment, weights)) + _staged(warm, _each_alone)


def _staged(members: Sequence[Member], tell: Callable[[list[Member]], list[Pool]]) -> list[list[Pool]]:
    """The pools of those with room, then of those without."""
    stages = ([one for one in members if one.crowded is crowded] for crowded in (False, True))
    return [tell(stage) for stage in stages]


def _by_group(
    members: list[Member], strategy: RoutingStrategy, deployment: DeploymentView, weights: Mapping[str, float]
) -> list[Pool]:
    """As ``routing.decide`` has it: where several groups of a deployment take traffic, each gets its part.

    The first choice of each group stands in the first tier with the group's weight, the second choices in the next.
    """
    serving = [one for one in members if one.standing is Standing.SERVING]
    groups = [g for g in deployment.groups if g.weight > 0]
    able = [(g.weight, own) for g in groups if (own := [one for one in serving if one.region.region_id in g.regions])]
    if len(able) < 2 or strategy is RoutingStrategy.WEIGHTED:
        return _by_strategy(members, strategy, weights)
    columns = [[_scaled(pool, part) for pool in _by_strategy(own, strategy, weights)] for part, own in able]
    rows: list[Pool] = [[entry for pool in row for entry in pool] for row in zip_longest(*columns, fillvalue=())]
    return rows + _each_alone([one for one in members if one.standing is not Standing.SERVING])


def _scaled(pool: Pool, weight: float) -> Pool:
    """A pool with its shares made to add up to ``weight``."""
    shares = [share for _, share in pool]
    parts = shares if sum(shares) > 0 else [1.0] * len(shares)
    return [(one, weight * part / sum(parts)) for (one, _), part in zip(pool, parts, strict=True)]


def _by_strategy(members: list[Member], strategy: RoutingStrategy, weights: Mapping[str, float]) -> list[Pool]:
    match strategy:
        case RoutingStrategy.ROUND_ROBIN:
            return _levels([(one, 1.0) for one in members])
        case RoutingStrategy.CAPACITY_BASED:
            return _levels([(one, max(0.0, one.region.max_capacity - one.region.load)) for one in members])
        case RoutingStrategy.WEIGHTED:
            shares = [(one, weights.get(one.region.region_id, 0.0)) for one in members]
            rest = [one for one, share in shares if share <= 0]
            return _levels([(one, share) for one, share in shares if share > 0]) + _each_alone(rest)
        case _:
            return _each_alone(members)


def _levels(entries: Pool) -> list[Pool]:
    """One pool for each of ranking's tiers."""
    levels = groupby(entries, lambda entry: TIER[entry[0].region.standing])
    return [list(level) for _, level in levels]


def _each_alone(members: list[Member]) -> list[Pool]:
    return [[(one, 1.0)] for one in members]


def _once(pools: list[Pool]) -> list[Pool]:
    """Each region in the first of its pools alone, where it may stand twice with the sum of its shares."""
    met: set[str] = set()
    found: list[Pool] = []
    for pool in pools:
        shares: dict[str, tuple[Member, float]] = {}
        for one, share in pool:
            name = one.region.region_id
            if name not in met:
                shares[name] = (one, share + shares[name][1] if name in shares else share)
        met |= shares.keys()
        if shares:
            found.append([shares[name] for name in sorted(shares)])
    return found
