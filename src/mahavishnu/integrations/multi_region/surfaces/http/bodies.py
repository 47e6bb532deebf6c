"""What clients may send: strict models, with null the same as left out, and what becomes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from mahavishnu.integrations.multi_region.core.hidden import NOT_SHOWN
from mahavishnu.integrations.multi_region.core.model import (
    DataPlacementPolicy,
    DeploymentSpec,
    HealthCheck,
    LocalityLevel,
    Region,
    RegionCapabilities,
    RoutingStrategy,
    Service,
    UpstreamProtocol,
)
from mahavishnu.integrations.multi_region.core.routes import RouteClass
from mahavishnu.integrations.multi_region.errors import InvalidInputError, nearest_hint
from mahavishnu.integrations.multi_region.surfaces.world import kinds, law
from mahavishnu.integrations.multi_region.surfaces.world.declared import declared_check, declared_region, same_named

from .problems import UnknownKeyError

_ROUTE = RouteClass()


class Body(BaseModel):
    """A JSON object: no other keys than its own, nothing converted, null the same as left out."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _own_keys(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            raise InvalidInputError("body", given, "an object with keys of: " + ", ".join(cls.model_fields))
        for key in given:
            if key not in cls.model_fields:
                raise UnknownKeyError(key, given[key], nearest_hint(key[:80], list(cls.model_fields)))
        return {key: value for key, value in given.items() if value is not None}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        described = handler(core)
        own = handler.resolve_ref_schema(described)
        for name, schema in own.get("properties", {}).items():
            if name not in own.get("required", ()):
                own["properties"][name] = _or_null(schema)
        return described

    def given(self) -> dict[str, Any]:
        """The fields that were given, with their values."""
        return {name: getattr(self, name) for name in sorted(self.model_fields_set)}


def _or_null(schema: JsonSchemaValue) -> JsonSchemaValue:
    """The schema of a field that may be left out."""
    about: JsonSchemaValue = {key: schema[key] for key in ("title", "description", "default") if key in schema}
    if about.get("default", 0) is None:
        del about["default"]
    own = {key: value for key, value in schema.items() if key not in ("title", "description", "default")}
    return {**about, **(own if "anyOf" in own else {"anyOf": [own, {"type": "null"}]})}


class SaidBy(Body):
    """A body that may name on whose behalf the caller asks."""

    by: kinds.OptionalName = Field(None, description="Who asked for it, if not the caller; the log names both.")

    def actor(self, caller: str) -> str:
        """Who is named in the log: never only whom the body names."""
        return caller if self.by is None else f"{self.by} ({caller})"


_Status = Annotated[int, Field(ge=100, le=599)]
_Span = Annotated[list[_Status], Field(min_length=2, max_length=2)]


class HealthCheckBody(Body):
    """How a region is probed. What is left out is as the server's settings say. Times in seconds."""

    kind: kinds.Kind = Field(None, description="What a probe speaks: http (also for https) or tcp.")
    path: kinds.Path = Field(None, description="Path asked for, on the region's endpoint.")
    url: kinds.OptionalUrl = Field(None, description="Another target than the endpoint and path.")
    interval_s: kinds.Interval = Field(None, description="Seconds between two probes.")
    timeout_s: kinds.ProbeTimeout = Field(None, description="Seconds after which a probe has failed.")
    fall: kinds.Fall = Field(None, description="Failures in a row that take the region down.")
    rise: kinds.Rise = Field(None, description="Passes in a row that bring the region back.")
    leak_limit: kinds.Leak = Field(None, description="Failures in the leaky counter that take the region down.")
    hold_down_s: kinds.HoldDown = Field(None, description="Least seconds it stays down.")
    slow_ms: kinds.Slow = Field(None, description="Milliseconds beyond which a pass counts as degraded.")
    statuses: list[_Span] | None = Field(
        None, min_length=1, description="HTTP codes that pass, as inclusive ranges [low, high]."
    )
    body_contains: kinds.Body = Field(None, description="Text that a passing answer must hold.")
    headers: kinds.Headers = Field(default_factory=dict, description="Headers sent with each probe.")
    verify_tls: bool | None = Field(None, description="Whether the certificate is checked.")


class CapabilitiesBody(Body):
    """What a region can do."""

    compliance: kinds.Frameworks = Field(default_factory=list, description="Frameworks that you attest for it.")
    max_capacity: kinds.Limit = Field(100, description="The most load it can take, in requests/s.")
    features: kinds.Labels = Field(default_factory=list, description="Labels of your own.")
    attestations: law.Attestations = Field(
        default_factory=dict, description="What you attest or state of it, with report and last day."
    )


class RegionBody(Body):
    """A region. An id that the catalog knows needs nothing more than an endpoint."""

    region_id: kinds.Id = Field(description="One of the catalog's ids, or one of your own.")
    endpoint: kinds.Url = Field(description="Where clients are sent: http, https, or tcp with a port.")
    provider: kinds.Provider = Field(None, description="Who runs it. Default: the catalog's, else other.")
    name: kinds.OptionalName = Field(None, description="Name to show. Default: the catalog's, else the id.")
    location: kinds.OptionalName = Field(None, description="City or area. Default: the catalog's.")
    latitude: kinds.Latitude = Field(None, description="Degrees north. Needed when the catalog lacks the id.")
    longitude: kinds.Longitude = Field(None, description="Degrees east. Needed when the catalog lacks the id.")
    country: kinds.Country = Field(None, description="ISO 3166-1 alpha-2. Default: the catalog's.")
    capabilities: CapabilitiesBody = Field(default_factory=CapabilitiesBody, description="What it can do.")
    health_score: kinds.Score = Field(None, description="0 to 100; counts until probes have spoken.")
    current_capacity: kinds.Amount = Field(0, description="Load now, in the unit of max_capacity.")
    cost_multiplier: kinds.Factor = Field(None, description="Price. Default: the catalog's, else 1.")
    health: HealthCheckBody | None = Field(None, description="How it is probed.")
    protocol: kinds.Protocol = Field(UpstreamProtocol.HTTP1, description="What edges speak to it: http1 or http2.")


def region_of(body: RegionBody, defaults: HealthCheck, standing: Region | None = None) -> Region:
    """The region that a body declares. ``defaults``: what its health check leaves out.

    ``standing``: the region that it replaces, from which header values come that were answered as not shown.
    Raises InvalidInputError when the place is neither given nor in the catalog, or the health check cannot be.
    """
    check = declared_check(_asked(body), body.endpoint, defaults)
    if check is not None:
        check = replace(check, headers=_headers_of(check.headers, standing))
    capabilities = RegionCapabilities(**body.capabilities.model_dump())
    return declared_region(body.region_id, {**same_named(body), "capabilities": capabilities, "health": check})


def _asked(body: RegionBody) -> dict[str, Any] | None:
    """What the region's own check shall be; None when the body says nothing about it."""
    if body.health is None:
        return None
    asked = body.health.given()
    if "statuses" in asked:
        asked["statuses"] = tuple((low, high) for low, high in asked["statuses"])
    return asked


def _headers_of(headers: Mapping[str, str], standing: Region | None) -> dict[str, str]:
    """The headers, with what was answered as not shown put back."""
    before = standing.health.headers if standing is not None and standing.health is not None else {}
    for name, value in headers.items():
        if value == NOT_SHOWN and name not in before:
            raise InvalidInputError(f"health.headers.{name}", NOT_SHOWN, "the header's real value")
    return {name: before[name] if value == NOT_SHOWN else value for name, value in headers.items()}


class DeploymentBody(Body):
    """Where a service runs."""

    type: kinds.Deployment = Field(description="How the regions share the work.")
    regions: kinds.RegionIds = Field(description="The regions; the first is the primary of active-passive.")
    weights: kinds.Weights = Field(default_factory=dict, description="Relative share of each region.")


class RouteClassBody(Body):
    """How requests of one kind are carried. Times in seconds."""

    prefix: kinds.Prefix = Field(_ROUTE.prefix, description="Beginning of the path; the first that fits applies.")
    timeout_s: kinds.Timeout = Field(_ROUTE.timeout_s, description="Seconds for the whole request; 0: no limit.")
    attempt_timeout_s: kinds.AttemptTimeout = Field(
        None, description="Seconds without an answer after which another region is asked too. Default: never."
    )
    retry_keyed: bool = Field(_ROUTE.retry_keyed, description="Whether an Idempotency-Key lets a request be repeated.")
    retries: kinds.Retries = Field(_ROUTE.retries, description="Further attempts of a request that may be repeated.")

    def route(self) -> RouteClass:
        """The route."""
        return RouteClass(**self.model_dump())


class ServiceBody(Body):
    """A service."""

    name: kinds.OptionalId = Field(None, description="The name in the path; may be left out.")
    hosts: kinds.Hosts = Field(default_factory=list, description="Host names it answers to.")
    strategy: kinds.Strategy = Field(RoutingStrategy.LATENCY_BASED, description="How a region is picked.")
    policy: kinds.OptionalId = Field(None, description="Id of the policy that binds it.")
    deployment: DeploymentBody | None = Field(None, description="Where it runs. Default: in every region.")
    priority: kinds.Priority = Field(100, description="Order of shedding: the lowest number is shed last.")
    failback: kinds.Failback = Field(None, description="How it returns to a recovered region.")
    routes: list[RouteClassBody] = Field(default_factory=list, description="How edges carry its requests.")

    def service(self, name: str) -> Service:
        """The service of that name. Raises InvalidInputError when the body names another."""
        refuse_other_name("name", self.name, name)
        placed = self.deployment
        return Service(
            name=name,
            hosts=tuple(self.hosts),
            strategy=self.strategy,
            policy=self.policy,
            deployment=None
            if placed is None
            else DeploymentSpec(placed.type, tuple(placed.regions), dict(placed.weights)),
            priority=self.priority,
            failback=self.failback,
            routes=tuple(route.route() for route in self.routes),
        )


class PolicyBody(Body):
    """Where data and the requests for it may go."""

    policy_id: kinds.OptionalId = Field(None, description="The id in the path; may be left out.")
    name: kinds.OptionalName = Field(None, description="The policy's name. Default: its id.")
    compliance_requirements: kinds.Frameworks = Field(default_factory=list, description="What a region must attest.")
    allowed_regions: kinds.OptionalRegionIds = Field(None, description="Only these. Default: each that attests.")
    locality_level: kinds.Locality = Field(LocalityLevel.STRICT, description="How far data may stray.")
    cross_region_transfer: bool = Field(False, description="Whether data may be copied out of the allowed regions.")
    template: law.TemplateName = Field(None, description="Rules that come ready, before your own.")
    rules: law.Rules = Field(default_factory=list, description="Conditions over facts that a region must meet.")

    def policy(self, policy_id: str) -> DataPlacementPolicy:
        """The policy of that id. Raises InvalidInputError when the body names another."""
        refuse_other_name("policy_id", self.policy_id, policy_id)
        return DataPlacementPolicy(
            name=self.name or policy_id,
            compliance_requirements=self.compliance_requirements,
            allowed_regions=self.allowed_regions,
            locality_level=self.locality_level,
            cross_region_transfer=self.cross_region_transfer,
            policy_id=policy_id,
            rules=law.policy_rules(self.template, self.rules),
        )


def refuse_other_name(field: str, named: str | None, wanted: str) -> None:
    """Raise InvalidInputError when a body names another thing than the path does."""
    if named is not None and named != wanted:
        raise InvalidInputError(field, named, f"{wanted}, as in the path, or left out")
