"""What the endpoints under ``/v1`` answer. Models only."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from mahavishnu.integrations.multi_region.core.eligibility import Reason
from mahavishnu.integrations.multi_region.core.events import EventKind
from mahavishnu.integrations.multi_region.core.hidden import without_secrets
from mahavishnu.integrations.multi_region.core.intent import ChangeKind
from mahavishnu.integrations.multi_region.core.model import (
    AdminState,
    CloudProvider,
    ComplianceFramework,
    DeploymentType,
    FailbackMode,
    LocalityLevel,
    Phase,
    RoutingStrategy,
)
from mahavishnu.integrations.multi_region.core.overrides import Cause

from .edge_bodies import EdgeAnswer
from .schemas import Answer, DecisionAnswer, FailoverStats, RoundTripStats, RoutingStats

Document = Annotated[dict[str, Any], BeforeValidator(without_secrets)]
"""A thing as it is stored; header values are not shown."""


# --- looking ----------------------------------------------------------------------------------


class DrainAnswer(Answer):
    """An operator's drain."""

    region_id: str
    state: AdminState
    by: str
    reason: str
    at: float = Field(description="Seconds since the epoch.")


class FailureAnswer(Answer):
    """Why a region's traffic was moved away and not given back."""

    cause: Cause
    reason: str
    by: str
    at: float = Field(description="Seconds since the epoch.")
    services: list[str] | None = Field(description="Only of these services; null: of all.")
    moved: dict[str, float] = Field(description="Load that each region took over, in requests/s.")


class ObjectionAnswer(Answer):
    """Why a region is left out: a code for programs, a text for people."""

    code: Reason
    text: str


class RegionViewAnswer(Answer):
    """A region as decisions see it."""

    region_id: str
    name: str
    provider: CloudProvider
    latitude: float = Field(description="Degrees north.")
    longitude: float = Field(description="Degrees east.")
    country: str | None
    endpoint: str
    phase: Phase = Field(description="The verdict on its health.")
    standing: Phase = Field(description="What decisions go by: the verdict, or what safety lets it serve as.")
    health_score: float = Field(description="0 to 100; 0 while unknown.")
    reason: str = Field(description="What the verdict rests on.")
    error_rate: float = Field(description="Share of failures lately, 0 to 1.")
    latency_ms: float | None
    last_checked: float | None = Field(description="Last evidence, in seconds since the epoch.")
    circuit_breaker: str
    admin: AdminState = Field(description="The operator's own word.")
    drain: DrainAnswer | None
    held: str | None = Field(description="Why safety keeps it in service although its verdict is down.")
    failed_over: FailureAnswer | None
    load: float = Field(description="In requests/s by default.")
    max_capacity: float = Field(description="In the same unit.")
    utilization: float = Field(description="Load as a share of the limit.")
    cost_multiplier: float
    compliance: list[ComplianceFramework]
    excluded: ObjectionAnswer | None = Field(description="Why even a request that asks nothing would not be sent here.")


class DeploymentAnswer(Answer):
    """Where a service runs."""

    type: DeploymentType
    regions: list[str]
    weights: dict[str, float]


class RouteClassAnswer(Answer):
    """How requests of one kind are carried. Times in seconds."""

    prefix: str = Field(description="Beginning of the path; the first that fits applies.")
    timeout_s: float = Field(description="For the whole request; 0: no limit.")
    attempt_timeout_s: float | None = Field(description="After which another region is asked too; null: never.")
    retry_keyed: bool = Field(description="Whether an Idempotency-Key lets a request be repeated.")
    retries: int = Field(description="Further attempts of a request that may be repeated.")


class ServiceAnswer(Answer):
    """A declared service."""

    name: str
    hosts: list[str]
    strategy: RoutingStrategy
    policy: str | None
    deployment: DeploymentAnswer | None
    priority: int
    failback: FailbackMode | None = Field(description="As declared; null: the default, which is failback_mode.")
    failback_mode: FailbackMode = Field(description="What holds.")
    routes: list[RouteClassAnswer] = Field(description="How edges carry its requests; none: as by default.")


class PolicyAnswer(Answer):
    """A registered policy."""

    policy_id: str
    name: str
    compliance_requirements: list[ComplianceFramework]
    allowed_regions: list[str] | None
    locality_level: LocalityLevel
    cross_region_transfer: bool
    rules: Annotated[list[dict[str, Any]], BeforeValidator(lambda rules: [rule.document() for rule in rules])]


class EligibleAnswer(Answer):
    """A region that may serve the request."""

    region_id: str
    endpoint: str
    standing: Phase
    health_score: float
    utilization: float = Field(description="Load as a share of the limit.")
    cost_multiplier: float
    held: str | None
    estimate_ms: float | None = Field(description="The round trip to expect; null: the client's place is unknown.")


class ExplanationAnswer(Answer):
    """A decision with all that spoke for and against."""

    decision: DecisionAnswer | None
    strategy: RoutingStrategy
    refusal: str | None = Field(description="Why there is no decision.")
    eligible: list[EligibleAnswer] = Field(description="Who may serve, best first.")
    excluded: dict[str, ObjectionAnswer] = Field(description="Why each other region may not.")
    revision: int


class EventAnswer(Answer):
    """One event of the log. Its digest covers the stored form, in which header values stand in full."""

    seq: int
    kind: EventKind
    at: float = Field(description="Seconds since the epoch.")
    subject: str
    actor: str
    reason: str
    before: Document | None
    after: Document | None
    details: dict[str, Any]
    previous: str = Field(description="The digest of the event before.")
    digest: str = Field(description="SHA-256.")


class EventsAnswer(Answer):
    """A page of the log, oldest first."""

    events: list[EventAnswer]
    last: int = Field(description="Number of the last event here: ask for those after it.")


class AuditAnswer(Answer):
    """The event log is whole."""

    events: int
    valid: bool


class FreezeAnswer(Answer):
    """Automation is stopped."""

    by: str
    reason: str
    at: float = Field(description="Seconds since the epoch.")


class StoreAnswer(Answer):
    """Where intent and events are kept."""

    kind: str
    lost: str | None = Field(description="Why it takes no events at the moment.")


class HeldDeploymentAnswer(Answer):
    """A deployment by which its service's traffic goes, and that does not go on."""

    deployment_id: str
    service: str
    held: str = Field(description="Why it does not go on.")
    active: list[str] = Field(description="Regions that are to take its traffic now.")
    waits_for_a_person: bool = Field(description="It leaves a lost region only by a failover or drain by hand.")


class StatusAnswer(Answer):
    """Everything at a glance."""

    version: str
    uptime_s: float
    revision: int
    store: StoreAnswer
    blind: bool = Field(description="Most probes fail at once: they are distrusted.")
    frozen: FreezeAnswer | None
    regions_by_phase: dict[Phase, int]
    held: dict[str, str] = Field(description="Why safety keeps each region in service.")
    held_deployments: list[HeldDeploymentAnswer] = Field(description="Deployments of record that do not go on.")
    regions: list[RegionViewAnswer]
    routing: RoutingStats
    failovers: FailoverStats
    round_trips: RoundTripStats
    traffic: dict[str, float] = Field(
        description="Requests/s that all edges send each region, as they last reported; empty: none did."
    )
    edges: list[EdgeAnswer] = Field(description="As under /v1/edges.")


# --- declaring --------------------------------------------------------------------------------


class ChangeAnswer(Answer):
    """One declared thing that changed, or would."""

    kind: ChangeKind
    key: str
    fields: list[str] = Field(description="What differs.")
    before: Document | None
    after: Document | None


class AppliedAnswer(Answer):
    """What a world changed, or would."""

    dry_run: bool
    changes: list[ChangeAnswer]
    warnings: list[str] = Field(description="What is allowed and probably not meant.")
    revision: int


class HealthzAnswer(Answer):
    """The process is alive."""

    status: str


class ReadyzAnswer(Answer):
    """The server can do its work."""

    status: str
    revision: int
