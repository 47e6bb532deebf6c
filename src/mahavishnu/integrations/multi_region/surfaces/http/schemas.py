"""What the spec's six endpoints answer. Models only: they are filled from the core's own objects, by attribute."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from mahavishnu.integrations.multi_region.core.hidden import NOT_SHOWN
from mahavishnu.integrations.multi_region.core.model import (
    AdminState,
    CloudProvider,
    ComplianceFramework,
    Phase,
    ProbeKind,
    RoutingStrategy,
    UpstreamProtocol,
)


class Answer(BaseModel):
    """Something that is answered; reads objects by their attributes."""

    model_config = ConfigDict(from_attributes=True)


Names = Annotated[dict[str, str], BeforeValidator(lambda headers: dict.fromkeys(headers, NOT_SHOWN))]
"""Headers by name; their values may be secrets and are never shown."""


class HealthCheckAnswer(Answer):
    """How a region is probed. Times in seconds."""

    kind: ProbeKind = Field(description="What a probe speaks.")
    path: str = Field(description="Path asked for, on the endpoint.")
    url: str | None = Field(description="Another target than the endpoint and path.")
    interval_s: float = Field(description="Seconds from one probe to the next.")
    timeout_s: float = Field(description="Seconds after which a probe without an answer has failed.")
    fall: int = Field(description="Failures in a row that take the region down.")
    rise: int = Field(description="Passes in a row that bring it back.")
    leak_limit: float = Field(description="Failures in the leaky counter that take it down.")
    hold_down_s: float = Field(description="Least seconds that it stays down.")
    slow_ms: float | None = Field(description="Milliseconds beyond which a pass counts as degraded.")
    statuses: list[tuple[int, int]] = Field(description="HTTP codes that pass, as inclusive ranges.")
    body_contains: str | None = Field(description="Text that a passing answer must hold.")
    headers: Names = Field(description="Headers sent with each probe; the values are not shown.")
    verify_tls: bool = Field(description="Whether the certificate is checked.")


class AttestationAnswer(Answer):
    """What the owner of a region states, and what it rests on."""

    report: str = Field(description="A reference to the evidence.")
    expires_at: float | None = Field(description="Seconds since the epoch from which it counts no more.")
    value: bool | str = Field(description="What is stated; frameworks are stated with true.")


class CapabilitiesAnswer(Answer):
    """What a region can do."""

    compliance: list[ComplianceFramework] = Field(description="Frameworks that the operator attests.")
    max_capacity: float = Field(description="The most load it can take, in requests/s by default.")
    features: list[str] = Field(description="Labels.")
    attestations: dict[str, AttestationAnswer] = Field(
        default_factory=dict, description="What the owner attests or states, by framework or fact."
    )


class RegionAnswer(Answer):
    """A region as it is declared, with its load and its health now."""

    region_id: str
    name: str
    provider: CloudProvider
    location: str = Field(description="City or area, to show.")
    latitude: float = Field(description="Degrees north.")
    longitude: float = Field(description="Degrees east.")
    country: str | None = Field(description="ISO 3166-1 alpha-2.")
    endpoint: str = Field(description="Where clients are sent.")
    capabilities: CapabilitiesAnswer
    health_score: float | None = Field(description="0 to 100; null while nothing is stated or known.")
    current_capacity: float = Field(description="Load now, in the unit of max_capacity.")
    capacity_utilization: float = Field(description="Load in percent of max_capacity.")
    cost_multiplier: float = Field(description="Price; 1.0 is the provider's reference region.")
    health: HealthCheckAnswer | None = Field(description="How it is probed; null: as the server's settings say.")
    protocol: UpstreamProtocol = Field(description="What edges speak to it.")


class RegisteredAnswer(RegionAnswer):
    """A region just declared."""

    warnings: list[str] = Field(description="What is allowed and probably not meant.")


class RegionHealthAnswer(Answer):
    """What is known of a region's health."""

    region_id: str
    status: Phase
    is_healthy: bool
    health_score: float = Field(description="0 to 100; 0 while unknown.")
    error_rate: float = Field(description="Share of failures lately, 0 to 1.")
    capacity_utilization: float = Field(description="Load in percent of the limit.")
    latency_ms: float | None = Field(description="Smoothed time to answer, in ms.")
    reason: str
    consecutive_failures: int
    consecutive_successes: int
    last_checked: float | None = Field(description="Last evidence, in seconds since the epoch.")
    circuit_breaker: str
    admin_state: AdminState = Field(description="The operator's own word.")
    held: str | None = Field(description="Why safety keeps it in service although its verdict is down.")


class DecisionAnswer(Answer):
    """Where a request goes and why."""

    selected_region: str
    endpoint: str = Field(description="Where to send the request.")
    strategy: RoutingStrategy
    reasoning: str
    revision: int = Field(description="Of the intent that was decided by.")
    alternatives: list[str] = Field(description="The other eligible regions, best first.")
    estimate_ms: float | None = Field(description="The round trip to expect; null: the client's place is unknown.")


class CandidateAnswer(Answer):
    """A region that could serve a request."""

    region_id: str
    endpoint: str = Field(description="Where to send the request.")
    estimate_ms: float | None = Field(description="The round trip to expect; null: the client's place is unknown.")


class RouteAnswer(Answer):
    """Where a request goes and why."""

    selected_region: str
    endpoint: str = Field(description="Where to send the request.")
    strategy: RoutingStrategy
    reasoning: str
    revision: int = Field(description="Of the intent that was decided by.")
    candidates: list[CandidateAnswer] = Field(
        default_factory=list, description="The best regions, the selected one first; left out unless asked for."
    )


class _Figures(Answer):
    """Figures that may be joined by others."""

    model_config = ConfigDict(extra="allow")


class RegionStats(_Figures):
    """Regions in numbers."""

    total_regions: int
    healthy_regions: int
    regions_by_phase: dict[Phase, int]
    total_capacity: float = Field(description="In requests/s by default.")
    current_capacity: float = Field(description="Load now, in the same unit.")
    capacity_utilization: float = Field(description="In percent.")
    drained_regions: list[str]
    failed_over_regions: list[str]
    held_regions: dict[str, str] = Field(description="Why safety keeps each in service.")
    observer_blind: bool = Field(description="Most probes fail at once: they are distrusted.")
    automation_frozen: str | None = Field(description="Who froze automation and why.")
    store_lost: str | None = Field(description="Why the store does not take events.")
    revision: int


class RoutingStats(_Figures):
    """Decisions in numbers, since the start."""

    total_decisions: int
    decisions_by_region: dict[str, int]
    decisions_by_strategy: dict[str, int]
    refused: int


class FailoverStats(_Figures):
    """Failovers in numbers, since the start."""

    total_failovers: int
    refused_failovers: int
    total_recoveries: int
    average_duration_ms: float
    total_duration_ms: float
    failovers_by_region: dict[str, int]
    failed_over_regions: list[str]


class RoundTripStats(Answer):
    """Measured round trips in numbers."""

    observed: int = Field(description="Learned from, since the start.")
    refused: dict[str, int] = Field(
        description="Not learned from, since the start: impossible ones, and outliers that did not keep coming."
    )
    regions: int = Field(description="To which round trips were learned.")
    cells: int = Field(description="From which they were, of all regions: squares of one degree.")
    unwritten: int = Field(description="Regions of which the store does not have the newest yet.")


class StatsAnswer(Answer):
    """Everything in numbers."""

    regions: RegionStats
    routing: RoutingStats
    failover: FailoverStats
    round_trips: RoundTripStats


class UserLocation(BaseModel):
    """Where the user is, in degrees."""

    model_config = ConfigDict(extra="forbid")

    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)


class RequestContext(BaseModel):
    """What a request says of itself; only for the OpenAPI document, ``core/request.py`` parses it."""

    model_config = ConfigDict(extra="forbid")

    user_location: UserLocation | None = None
    country: str | None = Field(None, pattern="^[A-Za-z]{2}$", description="ISO 3166-1 alpha-2; stands in for a place.")
    ip: str | None = Field(
        None, min_length=2, max_length=100, description="IPv4 or IPv6 address; where the server has a database of them."
    )
    current_region: str | None = Field(
        None, min_length=1, description="The region that the client uses now; kept unless another is clearly nearer."
    )
    compliance_requirements: list[ComplianceFramework] | None = None
    data_id: str | None = Field(None, min_length=1, description="The data that the request is about.")
    data_class: str | None = Field(None, min_length=1, description="What kind of data it carries; rules may read it.")
    service: str | None = Field(None, min_length=1, description="The declared service that it is for.")


class RouteBody(BaseModel):
    """A request to be routed; only for the OpenAPI document, ``route_body.py`` reads it."""

    model_config = ConfigDict(extra="forbid")

    request_context: RequestContext
    strategy: RoutingStrategy | None = Field(
        None, description="How to pick among eligible regions. Default: the service's, else latency_based."
    )
    candidates: int | None = Field(
        None, ge=1, le=100, description="How many regions to name, each with the round trip to expect. Default: none."
    )

    @staticmethod
    def example() -> dict[str, Any]:
        """One that works."""
        location = {"latitude": 52.5, "longitude": 13.4}
        return {"request_context": {"user_location": location}, "strategy": "latency_based"}
