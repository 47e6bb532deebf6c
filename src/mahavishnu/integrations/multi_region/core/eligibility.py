"""Who may serve or hold what, and the objection when not. The one function that everybody calls.

Law comes first (L6): a region that policy excludes is excluded whatever its health, so that the reason given is the
one that will not go away by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from .model import AdminState, ComplianceFramework, Fleet, Phase, PolicyView, RegionView
from .request import Needs


class Reason(StrEnum):
    """Why a region is left out (L18)."""

    POLICY = "policy"
    NOT_DEPLOYED = "not_deployed"
    DRAINED = "drained"
    FAILED_OVER = "failed_over"
    UNHEALTHY = "unhealthy"
    NO_ROOM = "no_room"


@dataclass(frozen=True, slots=True)
class Objection:
    """Why not: a code for programs, a text for people."""

    code: Reason
    text: str


def objection(region: RegionView, needs: Needs) -> Objection | None:
    """Why ``region`` may not serve a request with these needs, or None when it may."""
    return lawful_objection(region, needs) or _standing_objection(region, needs)


def lawful_objection(region: RegionView, needs: Needs) -> Objection | None:
    """The objection of law and of the service's deployment alone: it stands however healthy the region is."""
    missing = needs.requirements - region.compliance
    if missing:
        return Objection(Reason.POLICY, "lacks " + names_of(missing))
    for policy in needs.policies:
        if not _allows(policy, region.region_id):
            return Objection(Reason.POLICY, f"policy {policy.policy_id} does not allow it")
    deployment = needs.service.deployment if needs.service is not None else None
    if deployment is not None and region.region_id not in deployment.regions:
        return Objection(Reason.NOT_DEPLOYED, f"service {needs.service.name} does not run there")  # type: ignore[union-attr]
    return None


def _allows(policy: PolicyView, region_id: str) -> bool:
    return policy.allowed_regions is None or region_id in policy.allowed_regions


def _standing_objection(region: RegionView, needs: Needs) -> Objection | None:
    if region.admin is not AdminState.ACTIVE:
        return Objection(Reason.DRAINED, f"is {region.admin.value} by its operator")
    if failed_over_for(region, needs):
        return Objection(Reason.FAILED_OVER, f"was failed over: {region.failed_over}")
    if region.standing is Phase.DOWN:
        return Objection(Reason.UNHEALTHY, "is down")
    if region.standing is Phase.SATURATED:
        return Objection(Reason.NO_ROOM, "is saturated")
    if region.load >= region.max_capacity:
        return Objection(Reason.NO_ROOM, f"is full: {region.load:g} of {region.max_capacity:g}")
    return None


def failed_over_for(region: RegionView, needs: Needs) -> bool:
    """Whether traffic of these needs was moved off the region and not given back."""
    if region.failed_over is None:
        return False
    if region.failed_services is None:
        return True
    return needs.service is not None and needs.service.name in region.failed_services


def split(fleet: Fleet, needs: Needs) -> tuple[list[RegionView], dict[str, Objection]]:
    """The regions that may serve, in order of registration, and the objection to each other one."""
    eligible: list[RegionView] = []
    excluded: dict[str, Objection] = {}
    for region in fleet.regions.values():
        why = objection(region, needs)
        if why is None:
            eligible.append(region)
        else:
            excluded[region.region_id] = why
    return eligible, excluded


def policy_bound(fleet: Fleet, needs: Needs, excluded: dict[str, Objection]) -> bool:
    """Whether law is what leaves none: without it, some region could serve right now."""
    lawless = Needs(service=None)
    return any(
        why.code is Reason.POLICY and objection(fleet.regions[region_id], lawless) is None
        for region_id, why in excluded.items()
    )


def names_of(frameworks: Iterable[ComplianceFramework]) -> str:
    """Frameworks as a sorted, readable list."""
    return ", ".join(sorted(f.value for f in frameworks))
