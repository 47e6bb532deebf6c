"""Declared intent as documents: how regions, services, policies and limits are written down, compared and checked.

A ``World`` is what somebody declares as a whole. Its documents (plain dicts under store keys) are what is stored,
diffed and audited. Decides only whether a world is consistent in itself; storing it is the shell's work.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from ..errors import InvalidInputError, UnknownPolicyError, UnknownRegionError, nearest_hint
from .edges import EDGES, EdgeSpec, check_edges, edge_document
from .model import (
    CloudProvider,
    DataPlacementPolicy,
    DeploymentSpec,
    DeploymentType,
    FailbackMode,
    HealthCheck,
    ProbeKind,
    Region,
    RegionCapabilities,
    RoutingStrategy,
    SafetyLimits,
    Service,
    UpstreamProtocol,
    parse_enum,
)
from .routes import check_hosts, check_routes, route_document, route_from_document
from .validation import check_name

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class World:
    """Everything that one world file declares."""

    regions: tuple[Region, ...] = ()
    services: tuple[Service, ...] = ()
    policies: tuple[DataPlacementPolicy, ...] = ()
    limits: SafetyLimits = field(default_factory=SafetyLimits)
    edges: tuple[EdgeSpec, ...] = ()

    def documents(self) -> dict[str, Document]:
        """Every declared thing under its store key."""
        return {
            **{region_key(r.region_id): region_document(r) for r in self.regions},
            **{service_key(s.name): service_document(s) for s in self.services},
            **{policy_key(p.policy_id): policy_document(p) for p in self.policies},
            **{edge_key(e.edge_id): edge_document(e) for e in self.edges},
            LIMITS_KEY: asdict(self.limits),
        }


class ChangeKind(StrEnum):
    """What a change does to one declared thing."""

    ADD = "add"
    UPDATE = "update"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Change:
    """One declared thing that is not as wanted. ``fields`` lists what differs, for an update."""

    kind: ChangeKind
    key: str
    before: Document | None
    after: Document | None

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the top-level fields that differ, sorted."""
        before, after = self.before or {}, self.after or {}
        return tuple(sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k)))


REGIONS, SERVICES, POLICIES = "regions/", "services/", "policies/"
LIMITS_KEY = "limits"
DECLARED = (REGIONS, SERVICES, POLICIES, EDGES, LIMITS_KEY)
"""What the keys of all that is declared begin with."""

_ADDED: Mapping[str, Document] = {REGIONS: {"protocol": UpstreamProtocol.HTTP1.value}, SERVICES: {"routes": []}}


def region_key(region_id: str) -> str:
    """Where a region's document lives."""
    return REGIONS + region_id


def service_key(name: str) -> str:
    """Where a service's document lives."""
    return SERVICES + name


def policy_key(policy_id: str) -> str:
    """Where a policy's document lives."""
    return POLICIES + policy_id


def edge_key(edge_id: str) -> str:
    """Where an edge's document lives."""
    return EDGES + edge_id


def completed(key: str, document: Document) -> Document:
    """A stored document with the fields that did not exist when it was written, at what they meant then."""
    prefix, slash, _ = key.partition("/")
    return {**_ADDED.get(prefix + slash, {}), **document}


def difference(current: Mapping[str, Document], wanted: Mapping[str, Document]) -> list[Change]:
    """What to change so that ``current`` becomes ``wanted``, sorted by key; empty when they agree."""
    changes = []
    for key in sorted(current.keys() | wanted.keys()):
        before, after = current.get(key), wanted.get(key)
        if before == after:
            continue
        kind = ChangeKind.ADD if before is None else ChangeKind.REMOVE if after is None else ChangeKind.UPDATE
        changes.append(Change(kind, key, before, after))
    return changes


def region_document(region: Region) -> Document:
    """A region as plain data: all that was declared, nothing that was observed but the stated score and load."""
    capabilities = region.capabilities
    return {
        "region_id": region.region_id,
        "name": region.name,
        "provider": str(region.provider),
        "location": region.location,
        "latitude": region.latitude,
        "longitude": region.longitude,
        "country": region.country,
        "endpoint": region.endpoint,
        "capabilities": {
            "compliance": [c.value for c in region.compliance_frameworks],
            "max_capacity": capabilities.max_capacity,
            "features": list(capabilities.features),
            "attestations": {name: a.document() for name, a in sorted(capabilities.attestations.items())},
        },
        "health_score": region.health_score,
        "current_capacity": region.current_capacity,
        "cost_multiplier": region.cost_multiplier,
        "health": None if region.health is None else health_document(region.health),
        "protocol": parse_enum(UpstreamProtocol, region.protocol, "protocol").value,
    }


def region_from_document(document: Mapping[str, Any]) -> Region:
    """The region that ``region_document`` wrote."""
    capabilities = document["capabilities"]
    health = document["health"]
    return Region(
        **{
            **{k: v for k, v in document.items() if k not in ("capabilities", "health", "provider", "protocol")},
            "provider": parse_enum(CloudProvider, document["provider"], "provider"),
            "capabilities": RegionCapabilities(
                compliance=capabilities["compliance"],
                max_capacity=capabilities["max_capacity"],
                features=capabilities["features"],
                attestations=capabilities.get("attestations", {}),
            ),
            "health": None if health is None else health_from_document(health),
            "protocol": parse_enum(UpstreamProtocol, document.get("protocol", UpstreamProtocol.HTTP1), "protocol"),
        }
    )


def health_document(check: HealthCheck) -> Document:
    """A health check as plain data."""
    return {
        **{name: getattr(check, name) for name in check.__dataclass_fields__},
        "kind": check.kind.value,
        "statuses": [list(span) for span in check.statuses],
        "headers": dict(check.headers),
    }


def health_from_document(document: Mapping[str, Any]) -> HealthCheck:
    """The health check that ``health_document`` wrote."""
    spans = tuple((int(low), int(high)) for low, high in document["statuses"])
    kind = parse_enum(ProbeKind, document["kind"], "health.kind")
    return HealthCheck(**{**document, "kind": kind, "statuses": spans, "headers": dict(document["headers"])})


def service_document(service: Service) -> Document:
    """A service as plain data."""
    deployment = service.deployment
    return {
        "name": service.name,
        "hosts": list(service.hosts),
        "strategy": service.strategy.value,
        "policy": service.policy,
        "deployment": None
        if deployment is None
        else {
            "type": deployment.type.value,
            "regions": list(deployment.regions),
            "weights": dict(deployment.weights),
        },
        "priority": service.priority,
        "failback": None if service.failback is None else service.failback.value,
        "routes": [route_document(route) for route in service.routes],
    }


def service_from_document(document: Mapping[str, Any]) -> Service:
    """The service that ``service_document`` wrote."""
    deployment = document["deployment"]
    failback = document["failback"]
    return Service(
        name=document["name"],
        hosts=tuple(document["hosts"]),
        strategy=parse_enum(RoutingStrategy, document["strategy"], "strategy"),
        policy=document["policy"],
        deployment=None
        if deployment is None
        else DeploymentSpec(
            parse_enum(DeploymentType, deployment["type"], "deployment.type"),
            tuple(deployment["regions"]),
            dict(deployment["weights"]),
        ),
        priority=document["priority"],
        failback=None if failback is None else parse_enum(FailbackMode, failback, "failback"),
        routes=tuple(route_from_document(route) for route in document.get("routes", ())),
    )


def policy_document(policy: DataPlacementPolicy) -> Document:
    """A policy as plain data."""
    return {
        "policy_id": policy.policy_id,
        "name": policy.name,
        "compliance_requirements": [c.value for c in policy.compliance_requirements],
        "allowed_regions": None if policy.allowed_regions is None else list(policy.allowed_regions),
        "locality_level": str(policy.locality_level.value),
        "cross_region_transfer": policy.cross_region_transfer,
        "rules": [rule.document() for rule in policy.rules],
    }


def policy_from_document(document: Mapping[str, Any]) -> DataPlacementPolicy:
    """The policy that ``policy_document`` wrote."""
    return DataPlacementPolicy(**document)


def check_service(
    service: Service, regions: Iterable[str], policies: Iterable[str], declared: Collection[str] = ()
) -> None:
    """Refuse a service that names a policy or a region nobody declared.

    ``declared``: the keys of what is declared already, under whatever name.

    Raises UnknownPolicyError, UnknownRegionError, or InvalidInputError for a name that is none, for weights of regions
    it does not run in or for routes that make no sense.
    """
    if service_key(service.name) not in declared:
        check_name(service.name, "services.name")
    check_routes(service.routes, f"services.{service.name}.routes")
    known_policies, known_regions = list(policies), list(regions)
    if service.policy is not None and service.policy not in known_policies:
        where = f"services.{service.name}.policy"
        raise UnknownPolicyError(where, service.policy, nearest_hint(service.policy, known_policies))
    deployment = service.deployment
    if deployment is None:
        return
    for region_id in deployment.regions:
        if region_id not in known_regions:
            raise UnknownRegionError(region_id, known_regions)
    for region_id, weight in deployment.weights.items():
        where = f"services.{service.name}.deployment.weights.{region_id}"
        if region_id not in deployment.regions:
            raise InvalidInputError(where, region_id, nearest_hint(region_id, list(deployment.regions)))
        if not weight >= 0:
            raise InvalidInputError(where, weight, "0 or more")


def check_policy(policy: DataPlacementPolicy, regions: Iterable[str], declared: Collection[str] = ()) -> None:
    """Refuse a policy that allows a region which is neither declared nor in the catalog: a typo narrows the law.

    ``regions``: every id that is known, declared or from the catalog. ``declared``: the keys of what is declared
    already, under whatever id.

    Raises UnknownRegionError, InvalidInputError for an id that is none.
    """
    if policy_key(policy.policy_id) not in declared:
        check_name(policy.policy_id, "policy_id")
    known = list(regions)
    for region_id in policy.allowed_regions or ():
        if region_id not in known:
            raise UnknownRegionError(region_id, known)


def check_world(world: World, catalog: Iterable[str] = (), declared: Collection[str] = ()) -> None:
    """Refuse a world whose parts name what neither the world nor, for policies, the ``catalog`` knows.

    ``declared``: the keys of what is declared already, under whatever name.

    Raises what the part's own check raises.
    """
    regions = [region.region_id for region in world.regions]
    policies = [policy.policy_id for policy in world.policies]
    for policy in world.policies:
        check_policy(policy, [*regions, *catalog], declared)
    for service in world.services:
        check_service(service, regions, policies, declared)
    check_hosts(world.services)
    check_edges(world.edges)
