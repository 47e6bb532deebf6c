"""Traffic that finds no room in its first tier, spilled over the next: tiers as ``tiers.py`` has them, made to fit.

Decides which regions share the first tier of a class and in what parts, once ``room.py`` has said how much each takes;
and which tier comes next when one of them is lost: one with room for its part, where there is one (L8). A class whose
demand fits keeps the tiers that it has. What finds no room stays within the regions that a policy prefers while one of
them can serve: those beyond the preference are neither filled nor moved forward (L6).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

from .demand import Demand
from .deployment import DeploymentView
from .failover import DEFAULT_PRIORITY
from .model import Fleet, RoutingStrategy
from .room import LEAST, Ask, Line, Pool, Rooms, Share
from .sharing import are_same
from .tiers import whole_weights
from .traffic import EdgePlan, ServiceTraffic, Standing, Target, TrafficClass, service_of

Tier = tuple[Target, ...]
_Swaps = dict[int, TrafficClass]
"""What comes in place of a class at one edge, by the identity of that class."""
Reserves = Mapping[tuple[str, tuple[str, ...]], frozenset[str]]
"""Regions of classes that must take nothing now, by service and statement of requirements; none for most."""
_NONE: frozenset[str] = frozenset()


def made_to_fit(
    plans: Mapping[str, EdgePlan], fleet: Fleet, demand: Demand, reserves: Reserves = MappingProxyType({})
) -> Mapping[str, EdgePlan]:
    """The plans with no region beyond its limit while another of the same class has room.

    ``fleet``: with the load of each region that does not come from edges.
    """
    kinds = {(name, kind.name): kind for name, plan in plans.items() for kind in _asking(name, plan, demand)}
    if not kinds:
        return plans
    rooms = Rooms(fleet.regions)
    asks = [_ask(edge_id, kind, fleet, demand, reserves) for (edge_id, _), kind in kinds.items()]
    shares = rooms.share_out(asks, fleet.limits.headroom)
    free = {region_id: rooms.free(region_id) for region_id in fleet.regions}
    swaps: dict[str, _Swaps] = {}
    for ask, share in shares:
        kind = kinds[ask.edge_id, ask.class_name]
        reserve = _reserve(kind, reserves)
        made = _fitted(kind, share, free, fleet.deployments.get(kind.service), reserve)
        if made is not kind:
            swaps.setdefault(ask.edge_id, {})[id(kind)] = made
    return MappingProxyType({name: _with(plan, swaps.get(name, {})) for name, plan in plans.items()})


def _asking(edge_id: str, plan: EdgePlan, demand: Demand) -> Iterator[TrafficClass]:
    """The classes that have traffic, and somebody to serve it."""
    wanted: dict[str, set[str]] = {}
    for name in (name for at, name in demand if at == edge_id):
        wanted.setdefault(service_of(name), set()).add(name)
    for service in plan.services:
        names = wanted.get(service.service, set())
        for kind in service.classes if names else ():
            if names and (name := kind.name) in names:
                names.remove(name)
                if kind.exhausted is None and demand[edge_id, name] > 0:
                    yield kind


def _reserve(kind: TrafficClass, reserves: Reserves) -> frozenset[str]:
    return reserves.get((kind.service, kind.requirements), _NONE)


def _ask(edge_id: str, kind: TrafficClass, fleet: Fleet, demand: Demand, reserves: Reserves) -> Ask:
    service = fleet.services.get(kind.service)
    priority = service.priority if service is not None else DEFAULT_PRIORITY
    weighted = service is not None and service.strategy is RoutingStrategy.WEIGHTED
    lines = _lines(kind, fleet.deployments.get(kind.service), weighted, _reserve(kind, reserves))
    return Ask(edge_id, kind.name, priority, demand[edge_id, kind.name], lines)


def _lines(
    kind: TrafficClass, record: DeploymentView | None, weighted: bool, reserve: frozenset[str]
) -> tuple[Line, ...]:
    """What a class may fill: all of its regions that serve, but the reserve; of a deployment, those that are active.

    Where several groups take traffic each fills its own regions alone. Regions that stand by take over when no other
    is left, one after the other, and never take what only finds no room: their data may be behind (L12).
    """
    pools = _pools(kind, reserve)
    if record is None:
        return (Line(1.0, pools),)
    active = _among(pools, frozenset(record.active))
    if not active:
        return (Line(1.0, pools[:1]),)
    first = {region_id for region_id, _ in pools[0]}
    groups = [group for group in record.groups if group.weight > 0 and first.intersection(group.regions)]
    if len(groups) < 2 or weighted:
        return (Line(1.0, active),)
    whole = sum(group.weight for group in groups)
    return tuple(Line(group.weight / whole, _among(pools, frozenset(group.regions))) for group in groups)


def _pools(kind: TrafficClass, reserve: frozenset[str]) -> tuple[Pool, ...]:
    """The regions of each tier that serve, with their parts; without the reserve, which fills tiers of its own."""
    return tuple(
        tuple((target.region_id, float(target.weight)) for target in tier if target.standing is Standing.SERVING)
        for tier in kind.tiers
        if _serves(tier) and tier[0].region_id not in reserve
    )


def _among(pools: tuple[Pool, ...], regions: frozenset[str]) -> tuple[Pool, ...]:
    narrowed = (tuple(entry for entry in pool if entry[0] in regions) for pool in pools)
    return tuple(pool for pool in narrowed if pool)


def _fitted(
    kind: TrafficClass,
    share: Share,
    free: Mapping[str, float],
    record: DeploymentView | None,
    reserve: frozenset[str],
) -> TrafficClass:
    """The class with its demand shared as it was given out; the same one where that changes nothing."""
    start = next(place for place, tier in enumerate(kind.tiers) if _serves(tier))
    first, rest = kind.tiers[start], kind.tiers[start + 1 :]
    if share.pressed:
        first, rest = _shared(kind, share), _left(kind.tiers[start:], share)
    need = max(share.takes.values())
    tiers = (*kind.tiers[:start], first, *_sorted_by_room(rest, free, need, record, reserve))
    if tiers == kind.tiers and not share.overload:
        return kind
    return replace(kind, tiers=tiers, overload=round(share.overload, 3))


def _shared(kind: TrafficClass, share: Share) -> Tier:
    """The regions that take part of the demand, each with its part as its weight."""
    takers = [target for target in kind.targets if target.region_id in share.takes]
    weights = whole_weights([share.takes[target.region_id] for target in takers])
    pairs = zip(takers, weights, strict=True)
    return tuple(sorted((replace(one, weight=weight) for one, weight in pairs), key=lambda one: one.region_id))


def _left(tiers: tuple[Tier, ...], share: Share) -> tuple[Tier, ...]:
    narrowed = (tuple(target for target in tier if target.region_id not in share.takes) for tier in tiers)
    return tuple(tier for tier in narrowed if tier)


def _sorted_by_room(
    tiers: tuple[Tier, ...],
    free: Mapping[str, float],
    need: float,
    record: DeploymentView | None,
    reserve: frozenset[str],
) -> list[Tier]:
    """Tiers in the same order, but those with room for ``need`` requests/s before those with less, and full ones last.

    ``free``: the room that is left, in requests/s by region.
    Regions that take traffic now stay before those that stand by, and both before the reserve. A tier that nobody
    serves stands where it would if it were served, so that it need not move when it is.
    """

    def lateness(tier: Tier) -> tuple[bool, bool, int]:
        stands_by = record is not None and not any(target.region_id in record.active for target in tier)
        serving = [target.region_id for target in tier if target.standing is Standing.SERVING]
        room = sum(map(free.__getitem__, serving or (target.region_id for target in tier)))
        return tier[0].region_id in reserve, stands_by, _ROOM if room >= need else _LITTLE if room > LEAST else _FULL

    return sorted(tiers, key=lateness)


_ROOM, _LITTLE, _FULL = range(3)


def _serves(tier: Tier) -> bool:
    return any(target.standing is Standing.SERVING for target in tier)


def _with(plan: EdgePlan, swaps: _Swaps) -> EdgePlan:
    return replace(plan, services=tuple(_service(one, swaps) for one in plan.services)) if swaps else plan


def _service(service: ServiceTraffic, swaps: _Swaps) -> ServiceTraffic:
    classes = tuple(swaps.get(id(kind), kind) for kind in service.classes)
    return service if are_same(classes, service.classes) else replace(service, classes=classes)
