"""A failed or leaving region to a FailoverPlan: whose load goes where, within law and room; or the refusal.

Law before optimum (L6), room before shift (L7): a target that may not serve, or has no room, is never in a plan. What
the survivors cannot carry is shed, and the plan says how much.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from .eligibility import Objection, lawful_objection, objection
from .geo import distance_km
from .model import Fleet, RegionView
from .ranking import TIER
from .request import Needs, service_needs
from .safety import Rule, Violation, in_service, removal_violation


class FailoverStrategy(StrEnum):
    """``immediate`` moves at once; ``graceful`` first lets requests in flight finish."""

    IMMEDIATE = "immediate"
    GRACEFUL = "graceful"


@dataclass(frozen=True, slots=True)
class FailoverPlan:
    """What a failover will do.

    ``shares``: target to the share (0..1) of the source's load that it takes, largest first. ``shed``: the share that
    nobody has room for. ``load``: the load that moves, in requests/s. ``excluded``: why each other region is no target.
    ``revision``: of the fleet it was made from.
    """

    source: str
    target: str
    shares: Mapping[str, float]
    shed: float
    load: float
    excluded: Mapping[str, str]
    revision: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no plan: the rule, what it says, and the objection to each region where that explains it."""

    rule: str
    text: str
    reasons: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class FailoverEvent:
    """A failover that was carried out.

    ``duration_ms``: from the first bad sign (or the call, when there was none) to the data plane's acknowledgement.
    ``detected_ms``: from the first bad sign to the start of the failover. Times ``*_at`` in seconds since the epoch.
    ``shares``, ``shed``, ``load``: as planned. ``seq``: its place in the event log.
    """

    event_id: str
    from_region: str
    to_region: str
    strategy: FailoverStrategy
    cause: str
    reason: str
    started_at: float
    completed_at: float
    duration_ms: float
    detected_ms: float
    shares: Mapping[str, float]
    shed: float
    load: float
    excluded: Mapping[str, str]
    revision: int


@dataclass(frozen=True, slots=True)
class RecoveryEvent:
    """A region that may serve again. ``waiting``: services whose failback is manual and that stay away."""

    region_id: str
    cause: str
    reason: str
    at: float
    waiting: tuple[str, ...] = ()


def plan_failover(
    fleet: Fleet, source: str, target: str | None = None, lifted: frozenset[Rule] = frozenset()
) -> FailoverPlan | Refusal:
    """Where the load of ``source`` goes: to ``target`` alone when one is named, else to the nearest with room, split.

    ``lifted``: rules that an operator's override has lifted. ``source`` and ``target`` must be in the fleet.
    """
    violation = removal_violation(fleet, source)
    if violation is not None and violation.rule not in lifted:
        return _refused(violation)
    leaving = fleet.regions[source]
    open_to, excluded = _targets(fleet, leaving)
    if target is not None:
        return _onto_one(fleet, leaving, fleet.regions[target], excluded, lifted)
    if not open_to:
        return Refusal("no_eligible_region", f"no region can take the load of {source}", excluded)
    return _onto_many(fleet, leaving, open_to, excluded)


def _targets(fleet: Fleet, leaving: RegionView) -> tuple[list[RegionView], dict[str, str]]:
    """Regions that may take every service of the leaving one, nearest first; and why each other one may not."""
    needs = served_needs(fleet, leaving)
    able: list[RegionView] = []
    excluded: dict[str, str] = {}
    for region in fleet.regions.values():
        if region.region_id == leaving.region_id:
            continue
        why = target_objection(region, needs)
        if why is None:
            able.append(region)
        else:
            excluded[region.region_id] = why.text
    place = leaving.point
    return sorted(able, key=lambda r: (TIER[r.standing], distance_km(place, r.point), r.region_id)), excluded


def served_needs(fleet: Fleet, region: RegionView) -> list[Needs]:
    """The needs of each service that the region serves; one that asks nothing when there is no service."""
    needs = [service_needs(fleet, service) for service in fleet.services.values()]
    return [n for n in needs if lawful_objection(region, n) is None] or [Needs()]


def target_objection(region: RegionView, needs: list[Needs]) -> Objection | None:
    """Why the region cannot take over all of these needs; None when it can."""
    for need in needs:
        why = objection(region, need)
        if why is not None:
            return why
    return None


def room(region: RegionView, headroom: float) -> float:
    """What the region can take on top of its load, in requests/s, with ``headroom`` (0..1) of its limit kept free."""
    return max(0.0, region.max_capacity * (1.0 - headroom) - region.load)


def _onto_one(
    fleet: Fleet, leaving: RegionView, target: RegionView, excluded: dict[str, str], lifted: frozenset[Rule]
) -> FailoverPlan | Refusal:
    name = target.region_id
    if name in excluded or not in_service(target):
        why = excluded.get(name, "is not in service")
        return Refusal(Rule.TARGET.value, f"{name} cannot take over from {leaving.region_id}: it {why}", {name: why})
    free = room(target, fleet.limits.headroom)
    if leaving.load > free and Rule.HEADROOM not in lifted:
        text = (
            f"{name} has room for {free:g} of the {leaving.load:g} that {leaving.region_id} carries "
            f"({target.load:g} of {target.max_capacity:g} in use, {100 * fleet.limits.headroom:g} % kept free)"
        )
        return Refusal(Rule.HEADROOM.value, text, {name: "has no room"})
    return FailoverPlan(leaving.region_id, name, {name: 1.0}, 0.0, leaving.load, excluded, fleet.revision)


def _onto_many(fleet: Fleet, leaving: RegionView, able: list[RegionView], excluded: dict[str, str]) -> FailoverPlan:
    left, moved = leaving.load, dict[str, float]()
    for region in able:
        part = min(left, room(region, fleet.limits.headroom))
        if part > 0 or (left == 0 and not moved):
            moved[region.region_id] = part
        left -= part
        if left <= 0:
            break
    load = leaving.load
    shares = {name: part / load if load else 1.0 for name, part in moved.items()}
    ranked = dict(sorted(shares.items(), key=lambda item: -item[1]))
    main = next(iter(ranked), able[0].region_id)
    return FailoverPlan(leaving.region_id, main, ranked, left / load if load else 0.0, load, excluded, fleet.revision)


def _refused(violation: Violation) -> Refusal:
    return Refusal(violation.rule.value, violation.text, {})
