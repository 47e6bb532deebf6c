"""The shape of a world file: its keys, what each may hold, and the JSON Schema that editors use.

A key that is not listed is refused, and so is an empty value. What the parts mean together (references between them,
what the catalog adds) is for ``build.py``.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from mahavishnu.integrations.multi_region.core.edges import DEFAULT_LISTEN, ClientPlace
from mahavishnu.integrations.multi_region.core.model import (
    LocalityLevel,
    RoutingStrategy,
    SafetyLimits,
    UpstreamProtocol,
)
from mahavishnu.integrations.multi_region.core.routes import RouteClass
from mahavishnu.integrations.multi_region.errors import InvalidInputError

from . import kinds, law

PLANNED_KEYS = ("areas", "storage")
"""Top-level keys that the format keeps for later releases; this one refuses them by name."""

_LIMITS = SafetyLimits()
_ROUTE = RouteClass()


class Entry(BaseModel):
    """A mapping in a world file: no other keys than its own, no empty values."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _not_empty(cls, value: Any) -> Any:
        if value is None:
            raise InvalidInputError("value", None, "a value; to take the default, leave the key out")
        return value


class HealthEntry(Entry):
    """How a region is probed. What is left out comes from the controller's settings."""

    kind: kinds.Kind = Field(None, description="What a probe speaks: http (also for https) or tcp.")
    path: kinds.Path = Field(None, description="Path asked for, on the region's endpoint.")
    url: kinds.OptionalUrl = Field(None, description="Another target than the endpoint and path.")
    interval: kinds.IntervalDuration = Field(None, description="Time from one probe to the next, at least 10ms.")
    timeout: kinds.ProbeDuration = Field(None, description="A probe without an answer after this time has failed.")
    fall: kinds.Fall = Field(None, description="Failures in a row that take the region down.")
    rise: kinds.Rise = Field(None, description="Passes in a row that bring the region back.")
    leak_limit: kinds.Leak = Field(None, description="Failures in the leaky counter that take the region down.")
    hold_down: kinds.HoldDownDuration = Field(None, description="Least time a region stays down; grows on relapse.")
    slow: kinds.SlowDuration = Field(None, description="A pass slower than this counts as degraded.")
    statuses: kinds.Statuses = Field(None, description='HTTP codes that pass, such as [200, "300-399"].')
    body_contains: kinds.Body = Field(None, description="Text that the answer's body must hold.")
    headers: kinds.Headers = Field(default_factory=dict, description="Headers sent with each probe.")
    verify_tls: kinds.OptionalFlag = Field(None, description="Whether the server's certificate is checked.")


class RegionEntry(Entry):
    """One region. An id that the catalog knows needs nothing more than an endpoint."""

    id: kinds.Id = Field(description="The region's id; one of the catalog's, or one of your own.")
    endpoint: kinds.Url = Field(description="URL that clients are sent to, such as http://127.0.0.1:9001.")
    provider: kinds.Provider = Field(None, description="Who runs it; picks among providers that share an id.")
    name: kinds.OptionalName = Field(None, description="Name to show. Default: the catalog's, else the id.")
    location: kinds.OptionalName = Field(None, description="City or area, to show. Default: the catalog's.")
    latitude: kinds.Latitude = Field(None, description="Degrees north. Default: the catalog's.")
    longitude: kinds.Longitude = Field(None, description="Degrees east. Default: the catalog's.")
    country: kinds.Country = Field(None, description="ISO 3166-1 alpha-2 code. Default: the catalog's.")
    max_capacity: kinds.Limit = Field(100, description="Most load it can take, in requests/s.")
    compliance: kinds.Frameworks = Field(default_factory=list, description="Frameworks that you attest for it.")
    attestations: law.Attestations = Field(
        default_factory=dict, description="What you attest or state of it, with report and last day."
    )
    features: kinds.Labels = Field(default_factory=list, description="Labels of your own, such as gpu.")
    cost_multiplier: kinds.Factor = Field(
        None, description="Price relative to the provider's reference region. Default: the catalog's, else 1."
    )
    health_score: kinds.Score = Field(None, description="Score 0..100 that counts until probes have spoken.")
    current_capacity: kinds.Amount = Field(0, description="Load now, in the unit of max_capacity.")
    health: HealthEntry = Field(default_factory=HealthEntry, description="How it is probed.")
    protocol: kinds.Protocol = Field(
        UpstreamProtocol.HTTP1, description="What edges speak to it: http1, or http2 without negotiation."
    )


class DeploymentEntry(Entry):
    """Where a service runs."""

    type: kinds.Deployment = Field(description="How the regions share the work.")
    regions: kinds.RegionIds = Field(description="Regions it runs in; the first is the primary of active-passive.")
    weights: kinds.Weights = Field(
        default_factory=dict, description="Relative share of each region; one that is not named gets none."
    )


class RouteEntry(Entry):
    """How requests of one kind are carried."""

    prefix: kinds.Prefix = Field(_ROUTE.prefix, description="Beginning of the path; the first route that fits applies.")
    timeout: kinds.RouteDuration = Field(_ROUTE.timeout_s, description="Time for the whole request; 0 for no limit.")
    attempt_timeout: kinds.AttemptDuration = Field(
        None, description="After this time without an answer another region is asked too. Default: never."
    )
    retry_keyed: kinds.Flag = Field(
        _ROUTE.retry_keyed, description="Whether a request with an Idempotency-Key may be sent again."
    )
    retries: kinds.Retries = Field(_ROUTE.retries, description="Further attempts of a request that may be sent again.")


class ServiceEntry(Entry):
    """One service."""

    name: kinds.Id = Field(description="The service's name.")
    hosts: kinds.Hosts = Field(default_factory=list, description="Host names it answers to.")
    strategy: kinds.Strategy = Field(RoutingStrategy.LATENCY_BASED, description="How a region is picked.")
    policy: kinds.OptionalId = Field(None, description="Id of the policy that binds it. Default: any region may serve.")
    deployment: DeploymentEntry | None = Field(None, description="Where it runs. Default: in every region.")
    priority: kinds.Priority = Field(100, description="Order of shedding: the lowest number is shed last.")
    failback: kinds.Failback = Field(
        None, description="How it returns to a recovered region. Default: manual for active-passive, else auto."
    )
    routes: list[RouteEntry] = Field(default_factory=list, description="How edges carry its requests.")


class PolicyEntry(Entry):
    """Where data and the requests for it may go."""

    name: kinds.Name = Field(description="The policy's name.")
    id: kinds.OptionalId = Field(None, description="What services call it. Default: the name, as in eu-data-policy.")
    compliance_requirements: kinds.Frameworks = Field(
        default_factory=list, description="Frameworks that a region must have attested."
    )
    allowed_regions: kinds.OptionalRegionIds = Field(
        None, description="Only these regions. Default: each that meets the requirements."
    )
    locality_level: kinds.Locality = Field(LocalityLevel.STRICT, description="How far data may stray.")
    cross_region_transfer: kinds.Flag = Field(
        False, description="Whether data may be copied out of the allowed regions."
    )
    template: law.TemplateName = Field(None, description="Rules that come ready, before your own.")
    rules: law.Rules = Field(default_factory=list, description="Conditions over facts that a region must meet.")


class SafetyEntry(Entry):
    """What automation may never exceed."""

    min_serving: kinds.Serving = Field(_LIMITS.min_serving, description="Regions that always stay in service.")
    max_removed: kinds.Share = Field(
        _LIMITS.max_removed, description="Share of all capacity that automation may take out within the window."
    )
    window: kinds.Duration = Field(_LIMITS.window_s, description="Length of that window.")
    headroom: kinds.Share = Field(
        _LIMITS.headroom, description="Share of a region's capacity kept free when load is moved onto it."
    )
    blind_share: kinds.Share = Field(
        _LIMITS.blind_share,
        description="When more than this share of regions fails at once, the observer is distrusted.",
    )


class NetworkEntry(Entry):
    """Clients known by their addresses."""

    name: kinds.Id = Field(description="What the network is called.")
    cidrs: kinds.Cidrs = Field(description="Its blocks of addresses.")
    latitude: kinds.Latitude = Field(description="Degrees north.")
    longitude: kinds.Longitude = Field(description="Degrees east.")
    country: kinds.Country = Field(None, description="ISO 3166-1 alpha-2 code. Default: not known.")


class EdgeEntry(Entry):
    """One edge: a proxy that carries traffic."""

    id: kinds.Id = Field(description="The edge's name.")
    region: kinds.OptionalId = Field(None, description="Stands at the place of this declared region.")
    latitude: kinds.Latitude = Field(None, description="Degrees north, unless region is given.")
    longitude: kinds.Longitude = Field(None, description="Degrees east, unless region is given.")
    country: kinds.Country = Field(None, description="ISO 3166-1 alpha-2 code. Default: the region's.")
    listen: kinds.Listen = Field(DEFAULT_LISTEN, description="Address and port for clients.")
    client_place: kinds.PlaceOfClients = Field(ClientPlace.EDGE, description="How it tells where a client is.")
    networks: list[NetworkEntry] = Field(default_factory=list, description="Clients by address, for cidr.")
    trusted_hops: kinds.Hops = Field(0, description="Proxies in front whose X-Forwarded-For is believed.")


class WorldEntry(Entry):
    """Everything that one world file declares."""

    version: kinds.Version = Field(1, description="Version of this format.")
    regions: list[RegionEntry] = Field(description="The regions; write [] for none.")
    services: list[ServiceEntry] = Field(default_factory=list, description="The services.")
    policies: list[PolicyEntry] = Field(default_factory=list, description="The data placement policies.")
    safety: SafetyEntry = Field(default_factory=SafetyEntry, description="Limits to automation.")
    edges: list[EdgeEntry] = Field(default_factory=list, description="The edges that carry traffic.")


ENTRIES: dict[tuple[str, ...], type[Entry]] = {
    (): WorldEntry,
    ("regions",): RegionEntry,
    ("regions", "health"): HealthEntry,
    ("services",): ServiceEntry,
    ("services", "deployment"): DeploymentEntry,
    ("services", "routes"): RouteEntry,
    ("policies",): PolicyEntry,
    ("safety",): SafetyEntry,
    ("edges",): EdgeEntry,
    ("edges", "networks"): NetworkEntry,
}
"""The model of each mapping, by its path without the positions in lists."""


class _WorldSchema(GenerateJsonSchema):
    """An empty value is refused, so nothing is nullable and no default is null."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        described = super().default_schema(schema)
        if "default" in described and described["default"] is None:
            del described["default"]
        return described


def world_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a world file. It checks shapes; references between parts are checked on loading."""
    schema = WorldEntry.model_json_schema(schema_generator=_WorldSchema)
    rule, here = schema["$defs"]["PolicyEntry"]["properties"]["rules"]["items"], "#/$defs/Condition"
    rule["properties"] = {**rule["properties"], "when": {"$ref": here}}
    schema["$defs"]["Condition"] = law.condition_schema(here)
    return {"$schema": _WorldSchema.schema_dialect, **schema, "title": "World file"}
