"""What a request says of itself. Parses a ``request_context`` once, at the door; nothing untyped travels inwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from typing import Any, Self

from ..errors import InvalidInputError, UnknownServiceError, nearest_hint
from .deployment import DeploymentView
from .facts import NO_FACTS, Fact, Facts, agreed
from .geo import check_point
from .model import Binding, ComplianceFramework, Fleet, LocalityLevel, Point, PolicyView, Service, parse_enum
from .policy import Refusals

KNOWN_KEYS = (
    "user_location",
    "country",
    "ip",
    "compliance_requirements",
    "data_id",
    "data_class",
    "service",
    "current_region",
)

Locate = Callable[[str], tuple[Point | None, str | None]]
"""A checked IP address to its place and country, as far as known."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request as decisions see it. ``location``: where the client is; ``country``: ISO alpha-2, upper case.

    ``data_class``: what kind of data it carries, in the operator's own word; rules may read it. ``current``: the region
    that the client uses now, and keeps unless another is clearly nearer.
    """

    location: Point | None = None
    country: str | None = None
    requirements: frozenset[ComplianceFramework] = frozenset()
    data_id: str | None = None
    service: str | None = None
    data_class: str | None = None
    current: str | None = None

    @classmethod
    def parse(cls, context: Mapping[str, Any], centroids: Mapping[str, Point], locate: Locate | None = None) -> Self:
        """The request that a context describes. Where the client is: by location, else by country, else by address.

        ``centroids``: country code to the place that stands for it, used when only a country is known.
        ``locate``: None when there is no database of addresses.
        Raises InvalidInputError naming the field, the value and what is allowed.
        """
        if not isinstance(context, Mapping):
            raise InvalidInputError("request_context", context, "an object with the keys " + ", ".join(KNOWN_KEYS))
        for key in context:
            if key not in KNOWN_KEYS:
                raise InvalidInputError(
                    f"request_context.{key}", context[key], nearest_hint(str(key), list(KNOWN_KEYS))
                )
        country = _country(context.get("country"), centroids)
        location = _location(context.get("user_location"))
        found, its_country = _by_address(context.get("ip"), locate)
        if location is None and country is None:
            location, country = found, its_country
        return cls(
            location=location if location is not None else centroids.get(country or ""),
            country=country,
            requirements=parse_requirements(context.get("compliance_requirements")),
            data_id=_text(context.get("data_id"), "data_id"),
            service=_text(context.get("service"), "service"),
            data_class=_text(context.get("data_class"), "data_class"),
            current=_text(context.get("current_region"), "current_region"),
        )


def parse_requirements(value: Any) -> frozenset[ComplianceFramework]:
    """Compliance requirements from a list of frameworks or their names; None means none."""
    if value is None:
        return frozenset()
    if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
        raise InvalidInputError("request_context.compliance_requirements", value, "a list of frameworks")
    return frozenset(parse_enum(ComplianceFramework, v, "request_context.compliance_requirements") for v in value)


def _location(value: Any) -> Point | None:
    if value is None:
        return None
    field = "request_context.user_location"
    if not isinstance(value, Mapping) or set(value) != {"latitude", "longitude"}:
        raise InvalidInputError(field, value, "an object with latitude and longitude, in degrees")
    return check_point(value["latitude"], value["longitude"], field)


def _by_address(value: Any, locate: Locate | None) -> tuple[Point | None, str | None]:
    if value is None:
        return None, None
    field = "request_context.ip"
    try:
        address = ip_address(value if isinstance(value, str) else "")
    except ValueError:
        raise InvalidInputError(field, value, "an IPv4 or IPv6 address") from None
    if locate is None:
        allowed = "user_location or country; to look addresses up, set MAHAVISHNU_MULTI_REGION__GEOIP_DATABASE"
        raise InvalidInputError(field, value, f"{allowed} to a MaxMind DB file")
    return locate(str(address))


def _country(value: Any, centroids: Mapping[str, Point]) -> str | None:
    if value is None:
        return None
    code = value.strip().upper() if isinstance(value, str) else ""
    if code not in centroids:
        raise InvalidInputError("request_context.country", value, "an ISO 3166-1 alpha-2 code, such as DE")
    return code


def _text(value: Any, field: str) -> str | None:
    if value is None or (isinstance(value, str) and value):
        return value
    raise InvalidInputError(f"request_context.{field}", value, "a text that is not empty")


class Use(StrEnum):
    """What a region is wanted for: to serve a request, to hold data's primary copy, or to hold another copy."""

    SERVE = "serve"
    PRIMARY = "primary"
    COPY = "copy"


@dataclass(frozen=True, slots=True)
class Needs:
    """What serving a request takes: every framework, every policy, and a place in the service's deployment.

    ``deployment``: the service's plan of record, None when it has none. ``use``: what the region is wanted for.
    ``facts``: what is known of the data or the transfer. ``beyond_preference``: a policy that only prefers its regions
    does not hold the others back now, since none of its own can serve.
    """

    requirements: frozenset[ComplianceFramework] = frozenset()
    policies: tuple[PolicyView, ...] = ()
    service: Service | None = None
    deployment: DeploymentView | None = None
    use: Use = Use.SERVE
    facts: Facts = field(default_factory=lambda: NO_FACTS, hash=False)
    beyond_preference: bool = False
    _refusals: dict[int, Refusals] = field(init=False, default_factory=dict, repr=False, compare=False)

    def refusals(self, policy: PolicyView) -> Refusals:
        """Why the rules of one of ``policies`` refuse regions."""
        found = self._refusals.get(id(policy))
        if found is None:
            found = self._refusals[id(policy)] = Refusals(policy.rules, self.facts)
        return found

    @property
    def name(self) -> str:
        """The service's name, empty when none is asked for."""
        if self.service is not None:
            return self.service.name
        return self.deployment.service if self.deployment is not None else ""

    @property
    def deployed(self) -> tuple[str, ...] | None:
        """The regions that the service runs in: by its plan of record, else as declared; None: anywhere."""
        if self.deployment is not None:
            return self.deployment.regions
        declared = self.service.deployment if self.service is not None else None
        return None if declared is None else declared.regions


def shares_of(service: Service | None, plan: DeploymentView | None) -> Mapping[str, float]:
    """What each region of a service is to get of its traffic: by its plan of record, else as declared; relative.

    A plan that was made from a declaration with weights goes by those, among the regions that it has active. Without
    a plan and without weights the declared regions share equally; empty where nothing says.
    """
    declared = service.deployment if service is not None else None
    if plan is None:
        if declared is None:
            return {}
        return declared.weights or dict.fromkeys(declared.regions, 1.0)
    if not plan.declared or declared is None or not declared.weights:
        return plan.weights
    return {region_id: declared.weights.get(region_id, 0.0) for region_id in plan.active}


def parts_of(needs: Needs) -> dict[str, float]:
    """What part (0..1) of its traffic the service of these needs gives each region; empty while nobody serves."""
    shares = shares_of(needs.service, needs.deployment)
    total = sum(shares.values())
    return {region_id: share / total for region_id, share in shares.items()} if total > 0 else {}


def needs_of(fleet: Fleet, request: Request) -> Needs:
    """The needs of a request in a fleet.

    A policy binds a request when the request's service names it, when it was assigned to the request's data, or when
    the request requires all that the policy requires (a request under GDPR comes under every GDPR policy). Raises
    UnknownServiceError.
    """
    service, deployment = None, None
    if request.service is not None:
        service = fleet.services.get(request.service)
        deployment = fleet.deployments.get(request.service)
        if service is None and deployment is None:
            allowed = nearest_hint(request.service, [*fleet.services, *fleet.deployments])
            raise UnknownServiceError("request_context.service", request.service, allowed)
    bound = fleet.bindings.get(request.data_id) if request.data_id is not None else None
    named = _named(fleet, service, bound)
    required = request.requirements.union(*(p.requirements for p in named))
    policies = named + tuple(
        p for p in fleet.policies.values() if p.requirements and p.requirements <= required and p not in named
    )
    required = required.union(*(p.requirements for p in policies))
    return Needs(required, policies, service, deployment, facts=_data_facts(request, bound))


def _named(fleet: Fleet, service: Service | None, bound: Binding | None) -> tuple[PolicyView, ...]:
    """The policies that the service and the data's binding name, each once."""
    names = (service.policy if service is not None else None, bound.policy_id if bound is not None else None)
    return tuple(fleet.policies.get(name) or _unknown_policy(name) for name in dict.fromkeys(names) if name is not None)


def _data_facts(request: Request, bound: Binding | None) -> Facts:
    """What kind of data it is, by the request and by the binding; when they contradict each other, unknown."""
    told = None if request.data_class is None else Fact(request.data_class, "the request")
    kept = None if bound is None or bound.data_class is None else Fact(bound.data_class, "the data's binding")
    fact = agreed(told, kept)
    return NO_FACTS if fact is None else {"data.class": fact}


def _unknown_policy(policy_id: str) -> PolicyView:
    """What stands in for a policy that is named and not there: it allows nothing, since nobody knows what it asks."""
    return PolicyView(policy_id, policy_id, frozenset(), frozenset(), LocalityLevel.STRICT, False)
