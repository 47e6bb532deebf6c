"""Regions, fleets and worlds in a line each: what a test does not name is valid and unremarkable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from mahavishnu.integrations.multi_region.core.intent import World
from mahavishnu.integrations.multi_region.core.model import (
    AdminState,
    CloudProvider,
    ComplianceFramework,
    DataPlacementPolicy,
    DeploymentSpec,
    DeploymentType,
    Fleet,
    Phase,
    Point,
    PolicyView,
    Region,
    RegionCapabilities,
    RegionView,
    SafetyLimits,
    Service,
    parse_enum,
)

PLACES: Mapping[str, tuple[float, float, str]] = MappingProxyType(
    {
        "us-east-1": (37.4, -77.5, "US"),
        "us-west-2": (45.9, -119.3, "US"),
        "eu-west-1": (53.3, -6.2, "IE"),
        "eu-central-1": (50.1, 8.7, "DE"),
        "ap-northeast-1": (35.7, 139.7, "JP"),
        "ap-southeast-2": (-33.9, 151.2, "AU"),
        "sa-east-1": (-23.5, -46.6, "BR"),
    }
)
"""Latitude, longitude and country of the regions that tests name most. Other ids stand on the equator."""

GDPR = ComplianceFramework.GDPR


def place_of(region_id: str) -> tuple[float, float, str | None]:
    """Where a region of that id stands: latitude, longitude, country."""
    known = PLACES.get(region_id)
    return known if known is not None else (0.0, float(sum(region_id.encode()) % 180), None)


def region(region_id: str, *, max_capacity: float = 100, compliance: Iterable[Any] = (), **fields: Any) -> Region:
    """A region that may be registered: healthy by its owner's word, idle, at a place of its own."""
    latitude, longitude, country = place_of(region_id)
    given = {
        "name": region_id,
        "provider": CloudProvider.AWS,
        "location": region_id,
        "latitude": latitude,
        "longitude": longitude,
        "country": country,
        "endpoint": f"https://{region_id}.example.com",
        "capabilities": RegionCapabilities(compliance=tuple(compliance), max_capacity=max_capacity),
        "health_score": 95.0,
    }
    return Region(region_id, **{**given, **fields})


def view(region_id: str, phase: Phase | str = Phase.HEALTHY, **fields: Any) -> RegionView:
    """One region as decisions see it. ``compliance`` takes names too; a score follows from the phase."""
    latitude, longitude, country = place_of(region_id)
    phase = parse_enum(Phase, phase, "phase")
    scores = {Phase.HEALTHY: 95.0, Phase.DEGRADED: 60.0, Phase.SATURATED: 60.0, Phase.UNKNOWN: 30.0, Phase.DOWN: 0.0}
    given = {
        "name": region_id,
        "provider": CloudProvider.AWS,
        "point": Point(latitude, longitude),
        "country": country,
        "endpoint": f"https://{region_id}.example.com",
        "health_score": scores[phase],
        "admin": AdminState.ACTIVE,
        "load": 0.0,
        "max_capacity": 100.0,
        "cost_multiplier": 1.0,
    }
    names = fields.pop("compliance", ())
    frameworks = frozenset(parse_enum(ComplianceFramework, name, "compliance") for name in names)
    return RegionView(region_id, phase=phase, compliance=frameworks, **{**given, **fields})


def fleet(
    *regions: RegionView | str,
    services: Iterable[Service] = (),
    policies: Iterable[DataPlacementPolicy] = (),
    limits: SafetyLimits | None = None,
    **fields: Any,
) -> Fleet:
    """A frozen fleet; a plain id stands for a healthy region of that id."""
    views = [view(one) if isinstance(one, str) else one for one in regions]
    return Fleet(
        revision=fields.pop("revision", 1),
        regions=MappingProxyType({one.region_id: one for one in views}),
        services=MappingProxyType({one.name: one for one in services}),
        policies=MappingProxyType({one.policy_id: PolicyView.of(one) for one in policies}),
        limits=limits if limits is not None else SafetyLimits(),
        **fields,
    )


def policy(policy_id: str, *, allow: Iterable[str] | None = None, require: Iterable[Any] = ()) -> DataPlacementPolicy:
    """A strict policy: it allows these regions (None: any) and requires these frameworks."""
    allowed = None if allow is None else tuple(allow)
    return DataPlacementPolicy(policy_id, tuple(require), allowed, policy_id=policy_id)


def service(name: str, *regions: str, passive: bool = False, **fields: Any) -> Service:
    """A service, deployed in ``regions`` where any are given; ``weights`` go to its deployment."""
    weights = fields.pop("weights", {})
    kind = DeploymentType.ACTIVE_PASSIVE if passive else DeploymentType.ACTIVE_ACTIVE
    deployment = DeploymentSpec(kind, regions, weights) if regions else None
    return Service(name, deployment=deployment, **fields)


def world(
    *regions: Region | str,
    services: Iterable[Service] = (),
    policies: Iterable[DataPlacementPolicy] = (),
    limits: SafetyLimits | None = None,
) -> World:
    """A world to apply; a plain id stands for a region of that id."""
    made = tuple(region(one) if isinstance(one, str) else one for one in regions)
    return World(made, tuple(services), tuple(policies), limits if limits is not None else SafetyLimits())
