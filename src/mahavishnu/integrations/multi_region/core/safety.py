"""Rules that every removal must pass before it takes effect; blast-radius limits (L7, L9).

An objection names its rule, so that an operator's override can name the same one. Law is not among these rules:
no override lifts it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from .eligibility import in_force, is_lawful, may_take_over
from .model import AdminState, ComplianceFramework, Fleet, Phase, RegionView
from .request import Request, needs_of


class Rule(StrEnum):
    """The safety rules, by the name an override uses."""

    FROZEN = "frozen"
    MIN_SERVING = "min_serving"
    EMPTY_SERVICE = "empty_service"
    MAX_REMOVED = "max_removed"
    HEADROOM = "headroom"
    TARGET = "target"
    EDGES_SEE_ALIVE = "edges_see_alive"


LIFTABLE = frozenset({Rule.FROZEN, Rule.MIN_SERVING, Rule.EMPTY_SERVICE, Rule.HEADROOM})
"""Rules that a break-glass override may lift. The target's eligibility and law are not among them (L6)."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that a change would break, and how."""

    rule: Rule
    text: str


@dataclass(frozen=True, slots=True)
class Carried:
    """Requests of one kind that edges carry: their service, and what they ask of the law beyond its policy."""

    service: str
    requirements: frozenset[ComplianceFramework] = frozenset()

    @property
    def name(self) -> str:
        """The service, with what is asked."""
        asked = " + ".join(sorted(framework.value for framework in self.requirements))
        return f"{self.service} ({asked})" if asked else self.service


@dataclass(frozen=True, slots=True)
class Removal:
    """A region that automation took out: when (monotonic seconds) and how much capacity went with it."""

    region_id: str
    at: float
    capacity: float


def serving(fleet: Fleet) -> list[RegionView]:
    """Regions that are in service now for some traffic at least."""
    return [r for r in fleet.regions.values() if in_service(r)]


def in_service(region: RegionView) -> bool:
    """Active, not failed over as a whole, and not down."""
    failed = region.failed_over is not None and region.failed_services is None
    return region.admin is AdminState.ACTIVE and not failed and region.standing is not Phase.DOWN


def removal_violation(fleet: Fleet, region_id: str, lifted: frozenset[Rule] = frozenset()) -> Violation | None:
    """Which rule forbids anybody to take this region out of service now: the last ones stay (L9).

    ``lifted``: rules that an operator's override has lifted; the others still hold.
    """
    left = [r for r in serving(fleet) if r.region_id != region_id]
    if len(left) < fleet.limits.min_serving and Rule.MIN_SERVING not in lifted:
        return Violation(
            Rule.MIN_SERVING,
            f"without {region_id}, {len(left)} regions would serve; at least {fleet.limits.min_serving} must",
        )
    if Rule.EMPTY_SERVICE in lifted:
        return None
    for service in dict.fromkeys([*fleet.services, *fleet.deployments]):
        if _would_be_empty(fleet, Request(service=service), region_id):
            return Violation(Rule.EMPTY_SERVICE, f"without {region_id}, no region could serve {service}")
    return None


def sight_violation(fleet: Fleet, region_id: str, carried: Iterable[Carried]) -> Violation | None:
    """Why failed probes alone may not take this region out: edges see it answer, and no other could (L9, L10).

    ``carried``: the requests that edges see it answer now. Each kind counts by itself, so that a few requests whose law
    leaves them one region are not refused while others still have many.
    """
    known = {*fleet.services, *fleet.deployments}
    for kind in sorted(carried, key=lambda kind: kind.name):
        service = kind.service if kind.service in known else None  # where none is declared, edges have one of their own
        if _would_be_empty(fleet, Request(service=service, requirements=kind.requirements), region_id):
            text = f"edges see {region_id} answer {kind.name}, and without it no region could: our probes may be wrong"
            return Violation(Rule.EDGES_SEE_ALIVE, text)
    return None


def _would_be_empty(fleet: Fleet, request: Request, region_id: str) -> bool:
    """Whether such requests are served by this region and would then have no other."""
    needs = in_force(fleet, needs_of(fleet, request), region_id)
    here = fleet.regions[region_id]
    stands_by = needs.deployment is not None and region_id not in needs.deployment.active
    if stands_by or not is_lawful(here, needs) or not in_service(here):
        return False
    return not any(may_take_over(r, needs) for r in fleet.regions.values() if r.region_id != region_id)


def emptied_services(before: Fleet, after: Fleet) -> list[str]:
    """Services of both fleets that some region may serve by law before, and none after; sorted."""
    shared = before.services.keys() & after.services.keys()
    return sorted(name for name in shared if _servable(before, name) and not _servable(after, name))


def _servable(fleet: Fleet, service: str) -> bool:
    needs = in_force(fleet, needs_of(fleet, Request(service=service)))
    return any(is_lawful(region, needs) for region in fleet.regions.values())


def automatic_violation(fleet: Fleet, region_id: str, removals: Sequence[Removal], now: float) -> Violation | None:
    """Which rule forbids automation to take this region out: those for everybody, and the velocity limit.

    One region may always go; it is the second within the window that must fit under ``max_removed``, or a single
    large region could never fail over.
    """
    if fleet.frozen is not None:
        return Violation(Rule.FROZEN, f"automation is frozen: {fleet.frozen}")
    common = removal_violation(fleet, region_id)
    if common is not None:
        return common
    recent = [r for r in still_out(removals, now, fleet.limits.window_s) if r.region_id != region_id]
    if not recent:
        return None
    total = sum(r.max_capacity for r in fleet.regions.values() if r.admin is AdminState.ACTIVE)
    gone = sum(r.capacity for r in recent) + fleet.regions[region_id].max_capacity
    if total and gone > fleet.limits.max_removed * total:
        return Violation(
            Rule.MAX_REMOVED,
            f"{100 * gone / total:.0f} % of all capacity would be out within {fleet.limits.window_s:g} s; "
            f"at most {100 * fleet.limits.max_removed:.0f} % may",
        )
    return None


def serves_as(violation: Violation, before: Phase) -> Phase:
    """How a region that safety holds in service is ranked.

    Where the checks themselves are in doubt it stays what it was; where it is only the last one left, it comes last.
    """
    if violation.rule in (Rule.MIN_SERVING, Rule.EMPTY_SERVICE):
        return Phase.UNKNOWN
    return before if before is not Phase.DOWN else Phase.UNKNOWN


def still_out(removals: Iterable[Removal], now: float, window_s: float) -> tuple[Removal, ...]:
    """The removals that still count against the window."""
    return tuple(r for r in removals if now - r.at < window_s)
