"""``/v1``, looking: regions as decisions see them, services, policies, explanations, events, status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from fastapi import Query
from starlette.responses import Response

from mahavishnu.integrations.multi_region.core.eligibility import Objection, objection
from mahavishnu.integrations.multi_region.core.events import ChainedEvent
from mahavishnu.integrations.multi_region.core.model import DataPlacementPolicy, RegionView, Service
from mahavishnu.integrations.multi_region.core.request import Needs
from mahavishnu.integrations.multi_region.core.routing import Explanation
from mahavishnu.integrations.multi_region.errors import UnknownPolicyError, UnknownServiceError, nearest_hint
from mahavishnu.integrations.multi_region.shell.manager import RegionManager
from mahavishnu.integrations.multi_region.system import MultiRegionSystem

from .api import region_at
from .auth import Role
from .documents import inline_schema, json_body
from .edges import traffic_by_region, views_of_edges
from .problems import not_found
from .route_body import parse_route_body
from .routes import Doors, StrictRequest
from .schemas import RouteBody
from .schemas_v1 import (
    AuditAnswer,
    EligibleAnswer,
    EventAnswer,
    EventsAnswer,
    ExplanationAnswer,
    PolicyAnswer,
    RegionViewAnswer,
    ServiceAnswer,
    StatusAnswer,
)
from .slices import joined, listed, written

MOST_EVENTS = 1000
LAST_SEQ = 10**15
"""No log has an event of this number."""

After = Annotated[int | None, Query(ge=0, lt=LAST_SEQ, description="Events after this number.")]
Limit = Annotated[int, Query(ge=1, le=MOST_EVENTS, description="How many at most.")]


class Looking:
    """The endpoints that only look."""

    def __init__(self, system: MultiRegionSystem, version: str) -> None:
        self._system = system
        self._manager = system.region_manager
        self._router = system.router
        self._handler = system.failure_handler
        self._version = version
        self._began = self._manager.clock.monotonic()

    def add_to(self, doors: Doors) -> None:
        """Add them to a router."""
        extra = json_body(inline_schema(RouteBody.model_json_schema()))
        doors.add("GET", "/v1/regions", self.regions, Role.VIEWER, list[RegionViewAnswer])
        doors.add("GET", "/v1/regions/{region_id}", self.region, Role.VIEWER, RegionViewAnswer)
        doors.add("GET", "/v1/services", self.services, Role.VIEWER, list[ServiceAnswer])
        doors.add("GET", "/v1/services/{name}", self.service, Role.VIEWER, ServiceAnswer)
        doors.add("GET", "/v1/policies", self.policies, Role.VIEWER, list[PolicyAnswer])
        doors.add("GET", "/v1/policies/{policy_id}", self.policy, Role.VIEWER, PolicyAnswer)
        doors.add("POST", "/v1/route/explain", self.explain, Role.VIEWER, ExplanationAnswer, openapi_extra=extra)
        doors.add("GET", "/v1/events", self.events, Role.VIEWER, EventsAnswer, problems=(409, 503))
        doors.add("GET", "/v1/audit/verify", self.verify, Role.VIEWER, AuditAnswer, problems=(409, 503))
        doors.add("GET", "/v1/status", self.status, Role.VIEWER, StatusAnswer)

    async def regions(self) -> Response:
        """Every region as decisions see it now."""
        return written(await _listed_regions(Seen(self._manager)))

    async def region(self, region_id: str) -> Mapping[str, Any]:
        """One region as decisions see it now."""
        return Seen(self._manager).view_of(region_at(self._manager, region_id).region_id)

    async def services(self) -> list[Service]:
        """The declared services."""
        return list(self._manager.services.values())

    async def service(self, name: str) -> Service:
        """One service."""
        return service_at(self._manager, name)

    async def policies(self) -> list[DataPlacementPolicy]:
        """The registered policies."""
        return list(self._manager.policies.values())

    async def policy(self, policy_id: str) -> DataPlacementPolicy:
        """One policy."""
        found = self._manager.policies.get(policy_id)
        if found is None:
            known = list(self._manager.policies)
            raise not_found(UnknownPolicyError("policy_id", policy_id, nearest_hint(policy_id[:80], known)))
        return found

    async def explain(self, request: StrictRequest) -> Response:
        """Where the request would go, with the reason for every region, and what each that may serve would cost.

        Counts nothing; a refusal is an answer too.
        """
        context, strategy, _ = parse_route_body(await request.json())
        said = self._router.explain(context, strategy)
        given = {
            "decision": said.decision,
            "strategy": said.strategy,
            "refusal": said.refusal,
            "revision": self._manager.registry.revision,
        }
        eligible = await listed(EligibleAnswer, said.eligible, lambda view: _eligible(said, view))
        excluded = msgspec.json.encode({region_id: _objection(why) for region_id, why in said.excluded.items()})
        return joined(ExplanationAnswer, given, eligible=eligible, excluded=excluded)

    async def events(self, after: After = None, limit: Limit = 100) -> Response:
        """Events of the log, oldest first: those after a number, or without one the newest."""
        log = self._manager.journal
        found = await (log.last(limit) if after is None else log.tail(after, limit))
        last = found[-1].seq if found else after or 0
        return joined(EventsAnswer, {"last": last}, events=await listed(EventAnswer, found, event_document))

    async def verify(self) -> Mapping[str, Any]:
        """Prove that no event of the log was altered, removed, moved or added; 409 names the first that was."""
        return {"events": await self._manager.journal.verify(), "valid": True}

    async def status(self) -> Response:
        """Everything at a glance."""
        stats = self._manager.get_stats()
        kind = type(self._manager.store).__name__.removesuffix("Store").lower()
        seen = Seen(self._manager)
        given = {
            "version": self._version,
            "uptime_s": self._manager.clock.monotonic() - self._began,
            "revision": stats["revision"],
            "store": {"kind": kind, "lost": stats["store_lost"]},
            "blind": stats["observer_blind"],
            "frozen": self._manager.registry.freeze,
            "regions_by_phase": stats["regions_by_phase"],
            "held": stats["held_regions"],
            "held_deployments": _held_deployments(self._manager),
            "routing": self._router.get_routing_stats(),
            "failovers": self._handler.get_failover_stats(),
            "round_trips": self._manager.round_trips.stats(),
            "traffic": traffic_by_region(self._system),
            "edges": views_of_edges(self._system),
        }
        return joined(StatusAnswer, given, regions=await _listed_regions(seen))


def _held_deployments(manager: RegionManager) -> list[Mapping[str, Any]]:
    """The deployments of record that do not go on, by service."""
    same = ("deployment_id", "service", "held", "active", "waits_for_a_person")
    plans = manager.registry.deployments.plans
    return [{name: getattr(plans[key], name) for name in same} for key in sorted(plans) if plans[key].held is not None]


def _eligible(said: Explanation, view: RegionView) -> Mapping[str, Any]:
    """A region that may serve, with the round trip that the client would have."""
    assert said.decision is not None  # somebody may serve
    (estimate_ms,) = said.decision.estimates(view)
    return {
        "region_id": view.region_id,
        "endpoint": view.endpoint,
        "standing": view.standing,
        "health_score": view.health_score,
        "utilization": view.utilization,
        "cost_multiplier": view.cost_multiplier,
        "held": view.held,
        "estimate_ms": estimate_ms,
    }


def service_at(manager: RegionManager, name: str) -> Service:
    """The service that a path names. Raises a 404 problem naming the nearest."""
    found = manager.services.get(name)
    if found is None:
        raise not_found(UnknownServiceError("service", name, nearest_hint(name[:80], list(manager.services))))
    return found


def event_document(entry: ChainedEvent) -> dict[str, Any]:
    """An event as it is answered, secrets and all: the model hides those."""
    event = entry.event
    return {
        "seq": entry.seq,
        "kind": event.kind,
        "at": event.at,
        "subject": event.subject,
        "actor": event.actor,
        "reason": event.reason,
        "before": event.before,
        "after": event.after,
        "details": event.details,
        "previous": entry.previous,
        "digest": entry.digest,
    }


async def _listed_regions(seen: Seen) -> bytes:
    return await listed(RegionViewAnswer, list(seen.regions), seen.view_of)


def _objection(why: Objection) -> dict[str, str]:
    return {"code": why.code.value, "text": why.text}


class Seen:
    """The regions as they are at this moment, whatever becomes of them while they are listed."""

    def __init__(self, manager: RegionManager) -> None:
        registry = manager.registry
        self._manager = manager
        self._fleet = manager.snapshot()
        self._states = dict(manager.monitor.states)
        self._drains, self._failures = dict(registry.drains), dict(registry.failures)
        self.regions = dict(manager.regions)

    def view_of(self, region_id: str) -> dict[str, Any]:
        """A region as decisions see it, with what is known of its health and what stands over it."""
        view = self._fleet.regions[region_id]
        health = self._manager.health_seen(self.regions[region_id], view, self._states.get(region_id))
        drain = self._drains.get(region_id)
        same = ("region_id", "name", "provider", "country", "endpoint", "phase", "standing", "health_score", "admin")
        more = ("held", "load", "max_capacity", "utilization", "cost_multiplier")
        known = ("reason", "error_rate", "latency_ms", "last_checked", "circuit_breaker")
        return {
            **{name: getattr(view, name) for name in (*same, *more)},
            **{name: getattr(health, name) for name in known},
            "latitude": view.point.latitude,
            "longitude": view.point.longitude,
            "compliance": sorted(view.compliance),
            "drain": None if drain is None else {"region_id": region_id, **drain.document()},
            "failed_over": self._failures.get(region_id),
            "excluded": objection(view, Needs()),
        }
