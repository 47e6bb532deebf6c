"""What a request says of itself. Parses a ``request_context`` once, at the door; nothing untyped travels inwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from ..errors import InvalidInputError, UnknownServiceError, nearest_hint
from .geo import check_point
from .model import ComplianceFramework, Fleet, Point, PolicyView, Service, parse_enum

KNOWN_KEYS = ("user_location", "country", "compliance_requirements", "data_id", "service")


@dataclass(frozen=True, slots=True)
class Request:
    """A request as decisions see it. ``location``: where the client is; ``country``: ISO alpha-2, upper case."""

    location: Point | None = None
    country: str | None = None
    requirements: frozenset[ComplianceFramework] = frozenset()
    data_id: str | None = None
    service: str | None = None

    @classmethod
    def parse(cls, context: Mapping[str, Any], centroids: Mapping[str, Point]) -> Self:
        """The request that a context describes.

        ``centroids``: country code to the place that stands for it, used when only a country is given.
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
        return cls(
            location=location if location is not None else centroids.get(country or ""),
            country=country,
            requirements=parse_requirements(context.get("compliance_requirements")),
            data_id=_text(context.get("data_id"), "data_id"),
            service=_text(context.get("service"), "service"),
        )


def parse_requirements(value: Any) -> frozenset[ComplianceFramework]:
    """Compliance requirements from a list of frameworks or their names; None means none."""
    if value is None:
        return frozenset()
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise InvalidInputError("request_context.compliance_requirements", value, "a list of frameworks")
    return frozenset(parse_enum(ComplianceFramework, v, "request_context.compliance_requirements") for v in value)


def _location(value: Any) -> Point | None:
    if value is None:
        return None
    field = "request_context.user_location"
    if not isinstance(value, Mapping) or set(value) != {"latitude", "longitude"}:
        raise InvalidInputError(field, value, "an object with latitude and longitude, in degrees")
    return check_point(value["latitude"], value["longitude"], field)


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


@dataclass(frozen=True, slots=True)
class Needs:
    """What serving a request takes: every framework, every policy, and a place in the service's deployment."""

    requirements: frozenset[ComplianceFramework] = frozenset()
    policies: tuple[PolicyView, ...] = ()
    service: Service | None = None


def needs_of(fleet: Fleet, request: Request) -> Needs:
    """The needs of a request in a fleet.

    A policy binds a request when the request's service names it, or when the request requires all that the policy
    requires (a request under GDPR comes under every GDPR policy). Raises UnknownServiceError.
    """
    service = None
    if request.service is not None:
        service = fleet.services.get(request.service)
        if service is None:
            allowed = nearest_hint(request.service, list(fleet.services))
            raise UnknownServiceError("request_context.service", request.service, allowed)
    named = service.policy if service is not None else None
    required = request.requirements
    binding = fleet.policies.get(named) if named is not None else None
    if binding is not None:
        required = required | binding.requirements
    policies = tuple(
        p for p in fleet.policies.values() if p is binding or (p.requirements and p.requirements <= required)
    )
    return Needs(required.union(*(p.requirements for p in policies)), policies, service)


def service_needs(fleet: Fleet, service: Service) -> Needs:
    """The needs that every request of a service has."""
    return needs_of(fleet, Request(service=service.name))
