"""Worlds for the laws: any fleet at all, and what the law says of it, written anew from the declarations alone."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from mahavishnu.integrations.multi_region.core.health import HealthState
from mahavishnu.integrations.multi_region.core.intent import (
    policy_document,
    policy_key,
    region_document,
    region_key,
    service_document,
    service_key,
)
from mahavishnu.integrations.multi_region.core.model import (
    AdminState,
    ComplianceFramework,
    Fleet,
    Phase,
    Point,
    RegionView,
)
from mahavishnu.integrations.multi_region.core.overrides import FAILURES, OVERRIDES, BreakGlass, Cause, Drain, Failure
from mahavishnu.integrations.multi_region.core.request import Request
from mahavishnu.integrations.multi_region.core.safety import Rule, Violation
from mahavishnu.integrations.multi_region.shell.manager import RegionManager
from mahavishnu.integrations.multi_region.testing.builders import fleet, policy, region, service, view
from mahavishnu.integrations.multi_region.testing.stage import Stage

US, USW, EU, DE, JP = FIVE = ("us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-northeast-1")
GDPR = ComplianceFramework.GDPR


def glass(stage: Stage, rule: str, for_s: float = 60.0) -> BreakGlass:
    now = stage.clock.now()
    return BreakGlass.parse(rule, "ada", "by order of the incident lead", now + for_s, now)


names = st.sampled_from(FIVE)
frameworks = st.frozensets(st.sampled_from(["gdpr", "soc2"]), max_size=2)
phases = st.sampled_from([Phase.HEALTHY] * 5 + [*Phase])
words = st.sampled_from([AdminState.ACTIVE] * 6 + [*AdminState])


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    """Any fleet: every phase, every operator's word, loads up to and over the limit, policies, services."""
    ids = draw(st.lists(names, min_size=2, max_size=5, unique=True))
    lists = st.none() | st.lists(names, min_size=2, max_size=5)
    policies = [policy(f"p{i}", require=draw(frameworks), allow=draw(lists)) for i in range(draw(st.integers(0, 3)))]
    named = st.sampled_from([*[p.policy_id for p in policies] * 3, "gone"])
    services = [
        service(
            f"s{i}",
            *draw(st.just([]) | st.lists(names, min_size=2, max_size=5, unique=True)),
            policy=draw(st.none() | named),
            priority=draw(st.integers(1, 3)),
        )
        for i in range(draw(st.integers(0, 3)))
    ]
    return fleet(*[draw(views(name)) for name in ids], services=services, policies=policies)


@st.composite
def views(draw: st.DrawFn, name: str) -> RegionView:
    phase = draw(phases)
    held = phase is Phase.DOWN and draw(st.booleans())
    return view(
        name,
        phase,
        admin=draw(words),
        load=draw(st.sampled_from([0.0, 10.0, 30.0, 50.0, 89.0, 100.0, 130.0])),
        max_capacity=draw(st.sampled_from([50.0, 100.0, 200.0])),
        compliance=draw(frameworks | st.just(frozenset({"gdpr", "soc2"}))),
        cost_multiplier=draw(st.sampled_from([0.5, 1.0, 2.0])),
        serves_as=Phase.UNKNOWN if held else None,
        held="safety" if held else None,
        failed_over=draw(st.sampled_from([None] * 6 + ["an outage"])),
        failed_services=draw(st.sampled_from([None, frozenset({"s0"})])),
    )


def lawful(world: Fleet, one: RegionView, request: Request) -> bool:
    """What the law says, written anew from the declarations alone: no function of the product is asked."""
    made = world.services.get(request.service or "")
    named = world.policies.get(made.policy) if made is not None and made.policy is not None else None
    if made is not None and made.policy is not None and named is None:
        return False
    required = request.requirements | (named.requirements if named is not None else frozenset())
    bound = [p for p in world.policies.values() if p is named or (p.requirements and p.requirements <= required)]
    listed = all(p.allowed_regions is None or one.region_id in p.allowed_regions for p in bound)
    return listed and all(p.requirements <= one.compliance for p in bound) and required <= one.compliance


def runs_there(world: Fleet, one: RegionView, request: Request) -> bool:
    """Whether the request's service is deployed in the region."""
    made = world.services.get(request.service or "")
    return made is None or made.deployment is None or one.region_id in made.deployment.regions


def in_shape(one: RegionView, request: Request) -> bool:
    """Whether a region could serve if there were no law: also written anew."""
    away = one.failed_over is not None and (one.failed_services is None or request.service in one.failed_services)
    phase = one.serves_as or one.phase
    well = phase not in (Phase.DOWN, Phase.SATURATED)
    return one.admin is AdminState.ACTIVE and not away and well and one.load < one.max_capacity


@st.composite
def requests(draw: st.DrawFn, world: Fleet) -> Request:
    return Request(
        location=draw(st.none() | st.builds(Point, st.floats(-90, 90), st.floats(-180, 180))),
        requirements=frozenset(ComplianceFramework(name) for name in draw(frameworks)),
        service=draw(st.none() | st.sampled_from(sorted(world.services))) if world.services else None,
    )


def make_it(manager: RegionManager, world: Fleet, revision: int) -> None:
    """Let a manager hold exactly this world, as if the store and the probes had told it so."""
    registry = manager.registry
    for key in list(registry.documents):
        registry.accept(key, None, revision)
    documents: dict[str, Any] = {}
    for one in world.regions.values():
        made = region(one.region_id, max_capacity=one.max_capacity, compliance=sorted(one.compliance))
        made.current_capacity, made.cost_multiplier = one.load, one.cost_multiplier
        documents[region_key(one.region_id)] = region_document(made)
        if one.admin is not AdminState.ACTIVE:
            documents[OVERRIDES + one.region_id] = Drain(one.admin, "ada", "x", 1.0).document()
        if one.failed_over is not None:
            services = None if one.failed_services is None else tuple(one.failed_services)
            failure = Failure(Cause.OPERATOR, one.failed_over, "ada", 1.0, services)
            documents[FAILURES + one.region_id] = failure.document()
    for held in world.policies.values():
        allowed = None if held.allowed_regions is None else sorted(held.allowed_regions)
        made_policy = policy(held.policy_id, allow=allowed, require=sorted(held.requirements))
        documents[policy_key(held.policy_id)] = policy_document(made_policy)
    documents |= {service_key(one.name): service_document(one) for one in world.services.values()}
    for key, document in documents.items():
        registry.accept(key, document, revision + 1)
    registry.health.clear()
    registry.held.clear()
    for one in world.regions.values():
        registry.health[one.region_id] = HealthState(phase=one.phase, judged=True)
        if one.serves_as is not None:
            registry.held[one.region_id] = (Violation(Rule.MIN_SERVING, "safety"), one.serves_as)
        registry.touch(one.region_id)


def context_of(request: Request) -> dict[str, Any]:
    context: dict[str, Any] = {"compliance_requirements": sorted(request.requirements)}
    if request.location is not None:
        place = {"latitude": request.location.latitude, "longitude": request.location.longitude}
        context["user_location"] = place
    if request.service is not None:
        context["service"] = request.service
    return context
