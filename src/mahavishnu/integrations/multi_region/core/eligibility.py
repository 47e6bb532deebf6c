"""Who may serve or hold what, and the objection when not. The one function that everybody calls.

Law comes first (L6): a region that policy excludes is excluded whatever its health, so that the reason given is the
one that will not go away by itself.

What a policy's list of regions holds back, by its locality level:

- ``strict``: requests and every copy stay in the listed regions.
- ``region``: requests and the primary copy stay there; other copies may leave if ``cross_region_transfer`` is true.
- ``preferred``: the listed regions come first; the others are open only while none of the listed can do it.

Requirements and rules bind at every level, in every region.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Literal

from .facts import ATTESTED, Fact, reading, why_unknown
from .model import AdminState, ComplianceFramework, Fleet, LocalityLevel, Phase, PolicyView, RegionView
from .policy import Decision, Finding, Verdict, decision, examine, verdict
from .request import Needs, Use


class Reason(StrEnum):
    """Why a region is left out (L18)."""

    POLICY = "policy"
    NOT_DEPLOYED = "not_deployed"
    DRAINED = "drained"
    FAILED_OVER = "failed_over"
    UNHEALTHY = "unhealthy"
    NO_ROOM = "no_room"
    STANDBY = "standby"


@dataclass(frozen=True, slots=True)
class Objection:
    """Why not: a code for programs, a text for people."""

    code: Reason
    text: str


def objection(region: RegionView, needs: Needs) -> Objection | None:
    """Why ``region`` may not serve a request with these needs, or None when it may."""
    return takeover_objection(region, needs) or _standby_objection(region, needs)


def takeover_objection(region: RegionView, needs: Needs) -> Objection | None:
    """Why ``region`` may not take these requests over; unlike ``objection`` it lets in a region that stands by."""
    return lawful_objection(region, needs) or standing_objection(region, needs) or _no_part_objection(region, needs)


def part_objection(region: RegionView, needs: Needs) -> Objection | None:
    """Why ``region`` has no part in these requests in whatever shape it is: by law, or by its service's deployment."""
    return lawful_objection(region, needs) or _no_part_objection(region, needs)


def may_serve(region: RegionView, needs: Needs) -> bool:
    """Whether ``objection`` has none: the same answer for less, since no reason is put into words."""
    return may_take_over(region, needs) and _standby_objection(region, needs) is None


def may_take_over(region: RegionView, needs: Needs) -> bool:
    """Whether ``takeover_objection`` has none."""
    return is_lawful(region, needs) and not (standing_objection(region, needs) or _no_part_objection(region, needs))


def is_lawful(region: RegionView, needs: Needs) -> bool:
    """Whether ``lawful_objection`` has none."""
    return _broken(region, needs) is None


def lawful_objection(region: RegionView, needs: Needs) -> Objection | None:
    """The objection of law and of the service's deployment alone: it stands however healthy the region is."""
    broken = _broken(region, needs, _worded_refusal)
    if broken is None:
        return None
    if isinstance(broken, frozenset):
        return Objection(Reason.POLICY, _lack(region, broken))
    if broken is Reason.NOT_DEPLOYED:
        return Objection(broken, f"service {needs.name} does not run there")
    policy, why = broken
    if why is None:
        return Objection(Reason.POLICY, _not_listed(policy))
    return _refused_by_rules(policy.policy_id, why)


@lru_cache(maxsize=1024)
def _refused_by_rules(policy_id: str, why: str) -> Objection:
    """One for all regions that are refused in the same words: there may be a thousand."""
    return Objection(Reason.POLICY, f"policy {policy_id} does not allow it: {why}")


_Refusal = Callable[[PolicyView, RegionView, Needs], str | None]
"""Why a policy's rules refuse a region, None when they allow it."""

_Broken = frozenset[ComplianceFramework] | tuple[PolicyView, str | None] | Literal[Reason.NOT_DEPLOYED]
"""Frameworks that a region lacks; a policy, with the reason that its rules give (None: its list); or its absence."""


def _worded_refusal(policy: PolicyView, region: RegionView, needs: Needs) -> str | None:
    return needs.refusals(policy).of(region.facts, region.as_of)


def _bare_refusal(policy: PolicyView, region: RegionView, needs: Needs) -> str | None:
    """An empty text when the policy's rules refuse the region, None when they allow it: no words, for less."""
    sources = (needs.facts, region.facts) if needs.facts else (region.facts,)
    return None if verdict(policy.rules, reading(sources, region.as_of)) is Verdict.ALLOW else ""


def _broken(region: RegionView, needs: Needs, refusal: _Refusal = _bare_refusal) -> _Broken | None:
    """What of law or deployment stands against the region first."""
    missing = needs.requirements - region.compliance
    if missing:
        return missing
    for policy in needs.policies:
        if _keeps_out(policy, region, needs):
            return policy, None
        if policy.rules and (why := refusal(policy, region, needs)) is not None:
            return policy, why
    deployed = needs.deployed
    return None if deployed is None or region.region_id in deployed else Reason.NOT_DEPLOYED


def _keeps_out(policy: PolicyView, region: RegionView, needs: Needs) -> bool:
    """Whether the policy's list of regions is against the region."""
    allowed = policy.allowed_regions
    return allowed is not None and region.region_id not in allowed and not _may_stray(policy, needs)


def lawful_decision(region: RegionView, needs: Needs, subject: str) -> Decision:
    """What ``lawful_objection`` answers, with its evidence. ``subject``: what was asked, for the record."""
    why = lawful_objection(region, needs)
    read: dict[str, Fact | None] = {
        ATTESTED + framework.value: region.facts.get(ATTESTED + framework.value) for framework in needs.requirements
    }
    fired: list[str] = []
    decided = Verdict.ALLOW if why is None else Verdict.DENY
    for policy in needs.policies:
        if not policy.rules:
            continue
        found = examine(policy.rules, (needs.facts, region.facts), region.as_of)
        read |= found.read
        fired += [f"{policy.policy_id}/{rule}" for rule in found.fired]
        if why is not None and found.verdict is Verdict.UNKNOWN:
            decided = Verdict.UNKNOWN
    reason = _why_lawful(needs) if why is None else f"{region.region_id} {why.text}"
    documents = [policy.document() for policy in needs.policies]
    return decision(subject, Finding(decided, tuple(fired), read, reason), documents, region.as_of)


def _why_lawful(needs: Needs) -> str:
    if not needs.policies and not needs.requirements:
        return "no policy binds it"
    return "allowed by " + ", ".join(
        [f"policy {p.policy_id}" for p in needs.policies] or [names_of(needs.requirements)]
    )


def _lack(region: RegionView, missing: Iterable[ComplianceFramework]) -> str:
    """Which attestations a region lacks, and which of them have expired."""
    expired = [
        why_unknown(name.value + " attestation", fact, region.as_of)
        for name in sorted(missing)
        if (fact := region.facts.get(ATTESTED + name.value)) is not None and fact.at(region.as_of) is None
    ]
    return "; ".join(expired) or "lacks " + names_of(missing)


def _may_stray(policy: PolicyView, needs: Needs) -> bool:
    """Whether the policy lets this use go beyond its listed regions."""
    if policy.locality_level is LocalityLevel.PREFERRED:
        return needs.beyond_preference
    level_lets = policy.locality_level is LocalityLevel.REGION and policy.cross_region_transfer
    return level_lets and needs.use is Use.COPY


def _not_listed(policy: PolicyView) -> str:
    if policy.locality_level is LocalityLevel.PREFERRED:
        return f"policy {policy.policy_id} prefers other regions, and one of them can do it"
    return f"policy {policy.policy_id} does not allow it"


def in_force(fleet: Fleet, needs: Needs, without: str | None = None) -> Needs:
    """The needs as they bind now: while no region that the policies prefer can do it, the preference falls away.

    ``without``: a region that does not count, since it is leaving. For data at rest the law alone is asked, not health.
    """
    if needs.beyond_preference or not has_preference(needs):
        return needs
    judge = may_serve if needs.use is Use.SERVE else is_lawful
    if any(judge(region, needs) for region in fleet.regions.values() if region.region_id != without):
        return needs
    return replace(needs, beyond_preference=True)


def has_preference(needs: Needs) -> bool:
    """Whether a policy prefers some regions, and so opens others only while none of these can do it."""
    return any(_prefers(policy) for policy in needs.policies)


def _prefers(policy: PolicyView) -> bool:
    return policy.locality_level is LocalityLevel.PREFERRED and policy.allowed_regions is not None


def standing_objection(region: RegionView, needs: Needs) -> Objection | None:
    """What speaks against ``region`` now and may pass: the operator's word, a failover, its health, its room."""
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


def _standby_objection(region: RegionView, needs: Needs) -> Objection | None:
    """A region that its service's deployment gives no traffic now."""
    deployment = needs.deployment
    if deployment is None or region.region_id in deployment.active:
        return None
    return Objection(Reason.STANDBY, f"stands by in deployment {deployment.deployment_id}")


def _no_part_objection(region: RegionView, needs: Needs) -> Objection | None:
    """A region that its service's deployment would give no traffic even if the active ones were lost."""
    deployment = needs.deployment
    if deployment is None or region.region_id in (*deployment.active, *deployment.warm):
        return None
    return Objection(Reason.STANDBY, f"has no part in the traffic of deployment {deployment.deployment_id}")


def failed_over_for(region: RegionView, needs: Needs) -> bool:
    """Whether traffic of these needs was moved off the region and not given back."""
    if region.failed_over is None:
        return False
    if region.failed_services is None:
        return True
    return needs.service is not None and needs.service.name in region.failed_services


def split(fleet: Fleet, needs: Needs) -> tuple[list[RegionView], dict[str, Objection]]:
    """The regions that may serve, in order of registration, and the objection to each other one."""
    needs = in_force(fleet, needs)
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


def attested_by(regions: Iterable[RegionView]) -> frozenset[ComplianceFramework]:
    """The frameworks that at least one of the regions meets: what a request may state and still be served."""
    return frozenset(framework for region in regions for framework in region.compliance)


def names_of(frameworks: Iterable[ComplianceFramework]) -> str:
    """Frameworks as a sorted, readable list."""
    return ", ".join(sorted(f.value for f in frameworks))
