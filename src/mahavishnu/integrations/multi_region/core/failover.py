"""A failed or leaving region to a FailoverPlan: whose load goes where, within law and room; or the refusal.

Law before optimum (L6), room before shift (L7): a target that may not serve, or has no room, is never in a plan. What
the survivors cannot carry is shed, and the plan says how much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType

from .deployment import DeploymentView
from .eligibility import Objection, in_force, is_lawful, may_take_over, takeover_objection
from .model import DeploymentType, FailbackMode, Fleet, Phase, RegionView, Service
from .ranking import TIER, RoundTrip, least_rtt_ms
from .request import Needs, Request, needs_of
from .safety import Rule, Violation, in_service, removal_violation

NEGLIGIBLE = 1e-9
"""Shares below this are rounding errors."""

DEFAULT_PRIORITY = Service("").priority
"""The priority of requests that name no declared service."""


class FailoverStrategy(StrEnum):
    """``immediate`` moves at once; ``graceful`` first lets requests in flight finish."""

    IMMEDIATE = "immediate"
    GRACEFUL = "graceful"


@dataclass(frozen=True, slots=True)
class FailoverPlan:
    """What a failover will do.

    ``shares``: target to the share (0..1) of the source's load that it takes, largest first. ``shed``: the share that
    nobody takes; ``stranded``: the part of it for which no region may serve, the rest found no room. ``load``: the load
    that moves, in requests/s. ``excluded``: why each other region is no target. ``revision``: of the fleet it was made
    from. ``by_service``: the same shares apart for each service ("" stands for requests that name none).
    ``rtt_ms``: the round trip in ms to expect from the source to each target: of equals, the nearest was filled first.
    """

    source: str
    target: str
    shares: Mapping[str, float]
    shed: float
    load: float
    excluded: Mapping[str, str]
    revision: int
    stranded: float = 0.0
    by_service: Mapping[str, Mapping[str, float]] = field(default_factory=lambda: MappingProxyType({}))
    rtt_ms: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no plan: the rule, what it says, and the objection to each region where that explains it."""

    rule: str
    text: str
    reasons: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class FailoverEvent:
    """A failover that was carried out.

    ``duration_ms``: from the first bad sign (or the call, when there was none) to the last acknowledgement: of the
    router and of every connected edge, or to when those that lag were given up.
    ``detected_ms``: from the first bad sign to the start of the failover. Times ``*_at`` in seconds since the epoch:
    of the first bad sign, the verdict, the plan, and the last edge's acknowledgement (None while edges lag).
    ``acknowledged_by``, ``lagging``: the edges that have taken it over, and those that had not in time.
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
    first_signal_at: float = 0.0
    verdict_at: float = 0.0
    planned_at: float = 0.0
    acknowledged_at: float | None = None
    acknowledged_by: tuple[str, ...] = ()
    lagging: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RecoveryEvent:
    """A region that may serve again. ``waiting``: services whose failback is manual and that stay away."""

    region_id: str
    cause: str
    reason: str
    at: float
    waiting: tuple[str, ...] = ()


def plan_failover(
    fleet: Fleet,
    source: str,
    target: str | None = None,
    lifted: frozenset[Rule] = frozenset(),
    rtt_ms: RoundTrip = least_rtt_ms,
) -> FailoverPlan | Refusal:
    """Where the load of ``source`` goes: to ``target`` alone when one is named, else to the nearest with room, split.

    Nobody says how the load divides among the services of a region, so each counts for an equal part of it.
    ``lifted``: rules that an operator's override has lifted. ``rtt_ms``: how far regions are from each other.
    ``source`` and ``target`` must be in the fleet.
    """
    violation = removal_violation(fleet, source, lifted)
    if violation is not None:
        return _refused(violation)
    leaving = fleet.regions[source]
    needs = served_needs(fleet, leaving)
    if target is not None:
        plan = _onto_one(fleet, leaving, fleet.regions[target], needs, lifted)
        return (
            plan
            if isinstance(plan, Refusal)
            else replace(plan, rtt_ms={target: rtt_ms(leaving, fleet.regions[target])})
        )
    away = _Away(leaving, rtt_ms)
    open_to = _open_to(fleet, leaving, needs, away)
    excluded = _excluded(fleet, leaving, needs, open_to)
    if not any(open_to) and not lifted & {Rule.MIN_SERVING, Rule.EMPTY_SERVICE}:
        return Refusal("no_eligible_region", f"no region can take the load of {source}", excluded)
    plan = _onto_many(fleet, leaving, needs, open_to, excluded)
    return replace(plan, rtt_ms={name: away.ms(fleet.regions[name]) for name in plan.shares})


def plan_by_choice(
    fleet: Fleet,
    source: str,
    target: str | None = None,
    lifted: frozenset[Rule] = frozenset(),
    rtt_ms: RoundTrip = least_rtt_ms,
) -> FailoverPlan | Refusal:
    """The same where a person asks for it: load is shed only to leave a region that is down, or by an override (L7)."""
    plan = plan_failover(fleet, source, target, lifted, rtt_ms)
    if isinstance(plan, Refusal) or plan.shed == 0 or Rule.HEADROOM in lifted:
        return plan
    if fleet.regions[source].phase is not Phase.DOWN:
        text = f"the other regions have no room for {100 * plan.shed:.0f} % of the load of {source}"
        return Refusal(Rule.HEADROOM.value, text, plan.excluded)
    return plan


class _Away:
    """The round trip in ms to expect from a region to others; each is worked out once, and only if asked for."""

    def __init__(self, leaving: RegionView, rtt_ms: RoundTrip) -> None:
        self._leaving = leaving
        self._rtt_ms = rtt_ms
        self._known: dict[str, float] = {}

    def ms(self, region: RegionView) -> float:
        """To this region."""
        known = self._known.get(region.region_id)
        if known is None:
            known = self._known[region.region_id] = self._rtt_ms(self._leaving, region)
        return known


def _open_to(fleet: Fleet, leaving: RegionView, needs: list[Needs], away: _Away) -> list[list[RegionView]]:
    """The targets of each need; worked out once for services that differ in name and priority alone."""
    partly = any(region.failed_services is not None for region in fleet.regions.values())
    known: dict[object, list[RegionView]] = {}
    found = []
    for need in needs:
        law = need.requirements, need.policies, need.beyond_preference, need.deployed
        alike = law, id(need.deployment), need.name if partly else ""
        if alike not in known:
            known[alike] = _together(fleet, leaving, need, leaving.load / len(needs), away)
        found.append(known[alike])
    return found


def _targets(fleet: Fleet, leaving: RegionView, need: Needs, away: _Away) -> list[RegionView]:
    """Regions that may take these requests over, the one that stands by for them first, then the nearest."""
    others = [r for r in fleet.regions.values() if r.region_id != leaving.region_id]
    rank = {region_id: index for index, region_id in enumerate(_heirs(need, leaving))}

    def order(region: RegionView) -> tuple[int, int, float, str]:
        heir = rank.get(region.region_id, len(rank))
        return TIER[region.standing], heir, away.ms(region), region.region_id

    return sorted((r for r in others if may_take_over(r, need)), key=order)


def _together(fleet: Fleet, leaving: RegionView, need: Needs, load: float, away: _Away) -> list[RegionView]:
    """The targets of these requests; of active-passive the one heir, since two must never serve at once."""
    targets = _targets(fleet, leaving, need, away)
    plan = need.deployment
    if plan is None or plan.strategy is not DeploymentType.ACTIVE_PASSIVE:
        return targets
    chosen = best_heir(targets, load, fleet.limits.headroom)
    return [] if chosen is None else [chosen]


def _excluded(fleet: Fleet, leaving: RegionView, needs: list[Needs], open_to: list[list[RegionView]]) -> dict[str, str]:
    """Why each region that takes nothing is no target."""
    able = {leaving.region_id, *(region.region_id for regions in open_to for region in regions)}
    others = [region for region in fleet.regions.values() if region.region_id not in able]
    return {r.region_id: why.text for r in others if (why := target_objection(r, needs)) is not None}


def _heirs(need: Needs, leaving: RegionView) -> tuple[str, ...]:
    """Who takes over from the leaving region, in the order that the plan of record has them: both name the same heir.

    A deployment may have moved before its region's failover is planned: then the heir is who serves already.
    """
    plan = need.deployment
    if plan is None:
        return ()
    if leaving.region_id in plan.active:
        return plan.warm
    wanted = () if plan.wanted is None else (plan.wanted,)
    return (*wanted, *plan.active, *plan.warm) if _served_last(plan, leaving.region_id) else ()


def _served_last(plan: DeploymentView, region_id: str) -> bool:
    """Whether a region that stands by now is the one that handed the traffic over last."""
    return any(region_id in group.regions for group in plan.previous if group.weight > 0)


def _serves(need: Needs, region_id: str) -> bool:
    """Whether the region has a part in the service's traffic, as far as its plan of record says."""
    plan = need.deployment
    return plan is None or region_id in plan.active or _served_last(plan, region_id)


def served_needs(fleet: Fleet, region: RegionView) -> list[Needs]:
    """The needs of each service that the region serves; one that asks nothing when there is no service."""
    names = dict.fromkeys([*fleet.services, *fleet.deployments])
    needs = [in_force(fleet, needs_of(fleet, Request(service=name)), region.region_id) for name in names]
    served = [n for n in needs if is_lawful(region, n) and _serves(n, region.region_id)]
    return served or [Needs()]


def declared_at(fleet: Fleet, region_id: str) -> int:
    """How many services run in a region as declared, with no plan of record that says otherwise."""
    declared = [s for name, s in fleet.services.items() if name not in fleet.deployments]
    return sum(s.deployment is None or region_id in s.deployment.regions for s in declared)


def best_heir(able: Sequence[RegionView], load: float, headroom: float) -> RegionView | None:
    """Of those that may take a service over alone, best first: one with room for all, else the one with most room."""
    whole = next((region for region in able if room(region, headroom) >= load), None)
    if whole is not None:
        return whole
    widest = max(able, key=lambda region: room(region, headroom), default=None)
    return widest if widest is not None and room(widest, headroom) > 0 else None


def waiting_services(fleet: Fleet, region_id: str) -> tuple[str, ...]:
    """The services of a region that do not return to it by themselves when it is well again (L17), sorted.

    Where a plan of record hands over between its regions, when it returns is for the plan to say.
    """
    needs = served_needs(fleet, fleet.regions[region_id])
    declared = [(n.service, n.deployment) for n in needs if n.service is not None]
    return tuple(sorted(s.name for s, plan in declared if _failback(s, plan) is not FailbackMode.AUTO))


def _failback(service: Service, plan: DeploymentView | None) -> FailbackMode:
    """How a service returns to a region that failed and is well again."""
    if plan is None:
        return service.failback_mode
    return plan.failback if plan.strategy is DeploymentType.ACTIVE_ACTIVE else FailbackMode.AUTO


def target_objection(region: RegionView, needs: list[Needs]) -> Objection | None:
    """Why the region cannot take over all of these needs; None when it can."""
    for need in needs:
        why = takeover_objection(region, need)
        if why is not None:
            return why
    return None


def room(region: RegionView, headroom: float) -> float:
    """What the region can take on top of its load, in requests/s, with ``headroom`` (0..1) of its limit kept free."""
    return max(0.0, region.max_capacity * (1.0 - headroom) - region.load)


def _onto_one(
    fleet: Fleet, leaving: RegionView, target: RegionView, needs: list[Needs], lifted: frozenset[Rule]
) -> FailoverPlan | Refusal:
    name, source, load = target.region_id, leaving.region_id, leaving.load
    objection = target_objection(target, needs)
    if objection is not None or not in_service(target):
        why = objection.text if objection is not None else "is not in service"
        return Refusal(Rule.TARGET.value, f"{name} cannot take over from {source}: it {why}", {name: why})
    free = room(target, fleet.limits.headroom)
    if load > free and Rule.HEADROOM not in lifted:
        text = (
            f"{name} has room for {free:g} of the {load:g} that {source} carries "
            f"({target.load:g} of {target.max_capacity:g} in use, {100 * fleet.limits.headroom:g} % kept free)"
        )
        return Refusal(Rule.HEADROOM.value, text, {name: "has no room"})
    excluded = _excluded(fleet, leaving, needs, [[target]])
    by_service = {_name_of(need): {name: 1.0 / len(needs)} for need in needs}
    return FailoverPlan(source, name, {name: 1.0}, 0.0, load, excluded, fleet.revision, 0.0, by_service)


def _onto_many(
    fleet: Fleet, leaving: RegionView, needs: list[Needs], open_to: list[list[RegionView]], excluded: dict[str, str]
) -> FailoverPlan:
    """Fill the nearest first; services that matter most choose first, and among equals the one with least choice."""
    free = {r.region_id: room(r, fleet.limits.headroom) for regions in open_to for r in regions}
    part = 1.0 / len(needs)
    by_service: dict[str, dict[str, float]] = {}
    for need, regions in sorted(zip(needs, open_to, strict=True), key=lambda pair: (_priority(pair[0]), len(pair[1]))):
        by_service[_name_of(need)] = _fill(regions, free, part, leaving.load)
    shares: dict[str, float] = {}
    for taken in by_service.values():
        for name, share in taken.items():
            shares[name] = shares.get(name, 0.0) + share
    ranked = dict(sorted(shares.items(), key=lambda item: -item[1]))
    return FailoverPlan(
        source=leaving.region_id,
        target=next(iter(ranked), next((r.region_id for regions in open_to for r in regions), "")),
        shares=ranked,
        shed=_rest(1.0, ranked),
        load=leaving.load,
        excluded=excluded,
        revision=fleet.revision,
        stranded=part * sum(not regions for regions in open_to),
        by_service=by_service,
    )


def _fill(regions: list[RegionView], free: dict[str, float], part: float, load: float) -> dict[str, float]:
    """Which region takes how much of ``part`` of the load; what it takes is no longer ``free``. No load: the first."""
    if not load:
        return {regions[0].region_id: part} if regions else {}
    taken: dict[str, float] = {}
    for region in regions:
        name = region.region_id
        share = min(_rest(part, taken), free[name] / load)
        if share > 0:
            taken[name] = share
            free[name] = max(0.0, free[name] - share * load)
    return taken


def _rest(whole: float, taken: Mapping[str, float]) -> float:
    """What is left of ``whole``; 0 for what is only a rounding error."""
    rest = whole - sum(taken.values())
    return rest if rest > NEGLIGIBLE else 0.0


def _priority(need: Needs) -> int:
    return need.service.priority if need.service is not None else DEFAULT_PRIORITY


def _name_of(need: Needs) -> str:
    if need.service is not None:
        return need.service.name
    return need.deployment.service if need.deployment is not None else ""


def _refused(violation: Violation) -> Refusal:
    return Refusal(violation.rule.value, violation.text, {})
