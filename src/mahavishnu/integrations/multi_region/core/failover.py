"""A failed or leaving region to a FailoverPlan: how its load is shared out, within law and room; or the refusal.

Room before shift (L7): a target that has no room is never in a plan. What the survivors cannot carry is shed, and the
plan says how much; whether that may be is said here once, for failovers and for drains. Who may take over at all, and
in which order, is said in ``heirs.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType

from .heirs import Away, heir_objection, heirs_of, room, served_needs, stays_put, why_not
from .model import DeploymentType, Fleet, Phase, RegionView, Service
from .ranking import RoundTrip, least_rtt_ms
from .request import Needs
from .safety import Rule, Violation, in_service, removal_violation

NEGLIGIBLE = 1e-9
"""Shares below this are rounding errors."""

DEFAULT_PRIORITY = Service("").priority
"""The priority of requests that name no declared service."""


MANUAL = "manual_failover"
"""The rule of a refusal to automation: nothing here may move without a person's word."""


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
    ``acknowledged_by``, ``lagging``: the edges that have taken it over, and those that had not in time; ``rejected``:
    those of the former that refuse a part by which no requests move.
    ``shares``, ``shed``, ``load``: as planned.
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
    rejected: tuple[str, ...] = ()


# --- the three that ask -------------------------------------------------------------------------


def plan_failover(
    fleet: Fleet,
    source: str,
    target: str | None = None,
    lifted: frozenset[Rule] = frozenset(),
    rtt_ms: RoundTrip = least_rtt_ms,
) -> FailoverPlan | Refusal:
    """Where the load of ``source`` goes: to ``target`` alone when one is named, else to the nearest with room, split.

    As automation plans it: a service whose failover is manual stays where it is. Nobody says how the load divides among
    the services of a region, so each counts for an equal part of it. ``lifted``: rules that an operator's override has
    lifted. ``rtt_ms``: how far regions are from each other. ``source`` and ``target`` must be in the fleet.
    """
    return _plan(fleet, source, target, lifted, rtt_ms, by_choice=False)


def plan_by_choice(
    fleet: Fleet,
    source: str,
    target: str | None = None,
    lifted: frozenset[Rule] = frozenset(),
    rtt_ms: RoundTrip = least_rtt_ms,
) -> FailoverPlan | Refusal:
    """Where the load of ``source`` goes when a person asks; arguments as in ``plan_failover``.

    It moves what waits for a person, and drowns nobody without an override (L7).
    """
    plan = _plan(fleet, source, target, lifted, rtt_ms, by_choice=True)
    return plan if isinstance(plan, Refusal) else _crowding(fleet, plan, lifted) or plan


def plan_drain(
    fleet: Fleet, source: str, lifted: frozenset[Rule] = frozenset(), rtt_ms: RoundTrip = least_rtt_ms
) -> FailoverPlan | Refusal | None:
    """What a drain of ``source`` asks of the others, by the same rules; None: it serves nothing any more."""
    return plan_by_choice(fleet, source, None, lifted, rtt_ms) if in_service(fleet.regions[source]) else None


def crowded_out(plan: FailoverPlan) -> float:
    """The share (0..1) of the load that could be served elsewhere, and finds no room there."""
    share = plan.shed - plan.stranded
    return share if share > NEGLIGIBLE else 0.0


def _crowding(fleet: Fleet, plan: FailoverPlan, lifted: frozenset[Rule]) -> Refusal | None:
    """The objection to shedding by choice (L7): only a region that is down is left at that price, or by an override."""
    share = crowded_out(plan)
    if not share or Rule.HEADROOM in lifted or fleet.regions[plan.source].phase is Phase.DOWN:
        return None
    text = f"the other regions have no room for {100 * share:.0f} % of the load of {plan.source}"
    return Refusal(Rule.HEADROOM.value, text, plan.excluded)


# --- the plan -----------------------------------------------------------------------------------


def _plan(
    fleet: Fleet, source: str, target: str | None, lifted: frozenset[Rule], rtt_ms: RoundTrip, by_choice: bool
) -> FailoverPlan | Refusal:
    violation = removal_violation(fleet, source, lifted)
    if violation is not None:
        return _refused(violation)
    leaving = fleet.regions[source]
    needs, away = served_needs(fleet, leaving), Away(leaving, rtt_ms)
    if target is not None:
        plan = _onto_one(fleet, leaving, fleet.regions[target], needs, lifted)
        return plan if isinstance(plan, Refusal) else _with_ways(fleet, plan, away)
    open_to = heirs_of(fleet, leaving, needs, away, by_choice)
    excluded = why_not(fleet, leaving, needs, open_to, by_choice)
    if not any(open_to) and not lifted & {Rule.MIN_SERVING, Rule.EMPTY_SERVICE}:
        return _nobody(source, needs, excluded, by_choice)
    return _with_ways(fleet, _onto_many(fleet, leaving, needs, open_to, excluded), away)


def _nobody(source: str, needs: list[Needs], excluded: dict[str, str], by_choice: bool) -> Refusal:
    """Why nothing moves: the regions are to blame only where one of them could be asked."""
    if not by_choice and all(stays_put(need) for need in needs):
        names = ", ".join(need.name for need in needs)
        return Refusal(MANUAL, f"only a person moves {names} off {source}: its failover is manual", excluded)
    return Refusal("no_eligible_region", f"no region can take the load of {source}", excluded)


def _with_ways(fleet: Fleet, plan: FailoverPlan, away: Away) -> FailoverPlan:
    return replace(plan, rtt_ms={name: away.ms(fleet.regions[name]) for name in plan.shares})


def _onto_one(
    fleet: Fleet, leaving: RegionView, target: RegionView, needs: list[Needs], lifted: frozenset[Rule]
) -> FailoverPlan | Refusal:
    name, source, load = target.region_id, leaving.region_id, leaving.load
    objection = heir_objection(target, needs)
    if objection is not None or not in_service(target):
        why = objection if objection is not None else "is not in service"
        return Refusal(Rule.TARGET.value, f"{name} cannot take over from {source}: it {why}", {name: why})
    free = room(target, fleet.limits.headroom)
    if load > free and Rule.HEADROOM not in lifted:
        text = (
            f"{name} has room for {free:g} of the {load:g} that {source} carries "
            f"({target.load:g} of {target.max_capacity:g} in use, {100 * fleet.limits.headroom:g} % kept free)"
        )
        return Refusal(Rule.HEADROOM.value, text, {name: "has no room"})
    excluded = why_not(fleet, leaving, needs, [[target]], by_choice=True)
    by_service = {need.name: {name: 1.0 / len(needs)} for need in needs}
    return FailoverPlan(source, name, {name: 1.0}, 0.0, load, excluded, fleet.revision, 0.0, by_service)


def _onto_many(
    fleet: Fleet, leaving: RegionView, needs: list[Needs], open_to: list[list[RegionView]], excluded: dict[str, str]
) -> FailoverPlan:
    """Fill the nearest first; services that matter most choose first, and among equals the one with least choice."""
    free = {r.region_id: room(r, fleet.limits.headroom) for regions in open_to for r in regions}
    part = 1.0 / len(needs)
    by_service: dict[str, dict[str, float]] = {}
    for need, regions in sorted(zip(needs, open_to, strict=True), key=lambda pair: (_priority(pair[0]), len(pair[1]))):
        by_service[need.name] = _fill(regions, free, part, leaving.load)
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


def _refused(violation: Violation) -> Refusal:
    return Refusal(violation.rule.value, violation.text, {})


# --- what follows from it -----------------------------------------------------------------------


def heirs_named(fleet: Fleet, plan: FailoverPlan) -> dict[str, str]:
    """By service the one region that takes it over, for those that one region alone serves (active-passive)."""
    plans = {name: fleet.deployments.get(name) for name in plan.by_service}
    alone = [name for name, one in plans.items() if one and one.strategy is DeploymentType.ACTIVE_PASSIVE]
    return {name: next(iter(plan.by_service[name])) for name in alone if plan.by_service[name]}


def load_moved(plan: FailoverPlan, before: Mapping[str, float]) -> dict[str, float]:
    """What each region has taken over, in requests/s, with this failover and those ``before`` that still stand."""
    taken = {name: share * plan.load for name, share in plan.shares.items()}
    return {name: before.get(name, 0.0) + taken.get(name, 0.0) for name in (*before, *taken)}


def loads_after(plan: FailoverPlan, loads: Mapping[str, float]) -> dict[str, float]:
    """The loads that change by a failover, in requests/s, until somebody reports what they really are.

    What nobody takes stays with the source: it is still asked for, and the next plan must find room for it. A region
    that is not in ``loads`` was removed meanwhile, and has none.
    """
    after = {name: loads[name] + share * plan.load for name, share in plan.shares.items() if name in loads}
    return after | ({plan.source: plan.shed * plan.load} if plan.source in loads else {})
