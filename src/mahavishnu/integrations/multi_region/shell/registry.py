"""What is known right now, in memory: declared regions, services and policies, what stands over them, and health.

Hands out the frozen Fleet, rebuilt only when something changed. Writes nothing and awaits nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from mahavishnu.integrations.multi_region.core.health import HealthState, phase_of_score
from mahavishnu.integrations.multi_region.core.intent import (
    LIMITS_KEY,
    POLICIES,
    REGIONS,
    SERVICES,
    Document,
    policy_from_document,
    region_from_document,
    service_from_document,
)
from mahavishnu.integrations.multi_region.core.model import (
    AdminState,
    DataPlacementPolicy,
    Fleet,
    Phase,
    Point,
    PolicyView,
    Region,
    RegionView,
    SafetyLimits,
    Service,
)
from mahavishnu.integrations.multi_region.core.overrides import (
    FAILURES,
    FREEZE_KEY,
    OVERRIDES,
    PLACEMENTS,
    Drain,
    Failure,
    Freeze,
)
from mahavishnu.integrations.multi_region.core.safety import Violation


class RegionTable(dict[str, Region]):
    """The public ``manager.regions``: a dict whose regions, and whose own changes, are noticed."""

    def __init__(self, changed: Callable[[str], None]) -> None:
        super().__init__()
        self._changed = changed

    def __setitem__(self, region_id: str, region: Region) -> None:
        super().__setitem__(region_id, region)
        region._watch(lambda: self._changed(region_id))
        self._changed(region_id)

    def __delitem__(self, region_id: str) -> None:
        super().__delitem__(region_id)
        self._changed(region_id)


class Registry:
    """Holds what the store and the monitor say; the one place from which a Fleet is made."""

    def __init__(self, limits: SafetyLimits) -> None:
        self.regions = RegionTable(self.touch)
        self.services: dict[str, Service] = {}
        self.policies: dict[str, DataPlacementPolicy] = {}
        self.placements: dict[str, tuple[str, ...]] = {}
        self.limits = limits
        self.drains: dict[str, Drain] = {}
        self.failures: dict[str, Failure] = {}
        self.freeze: Freeze | None = None
        self.health: dict[str, HealthState] = {}
        self.held: dict[str, tuple[Violation, Phase]] = {}
        self.documents: dict[str, Document] = {}
        self.revisions: dict[str, int] = {}
        self.revision = 0
        self._generation = 0
        self._views: dict[str, RegionView] = {}
        self._policy_views: dict[str, PolicyView] | None = None
        self._fleet: Fleet | None = None

    def touch(self, region_id: str | None = None) -> None:
        """Something about a region (or, without one, about anything else) changed: forget what was derived."""
        self._generation += 1
        self._fleet = None
        if region_id is not None:
            self._views.pop(region_id, None)

    def touch_policies(self) -> None:
        """A policy changed."""
        self._policy_views = None
        self.touch()

    def fleet(self) -> Fleet:
        """Everything a decision needs, frozen; the same object until something changes."""
        if self._fleet is None:
            views = self._views
            for region_id, region in self.regions.items():
                if region_id not in views:
                    views[region_id] = self._view(region)
            self._fleet = Fleet(
                revision=self.revision,
                regions=MappingProxyType({region_id: views[region_id] for region_id in self.regions}),
                services=MappingProxyType(dict(self.services)),
                policies=MappingProxyType(dict(self._frozen_policies())),
                limits=self.limits,
                frozen=None if self.freeze is None else f"by {self.freeze.by}: {self.freeze.reason}",
                generation=self._generation,
            )
        return self._fleet

    def accept(self, key: str, document: Any, revision: int) -> None:
        """Take over what the store holds under a key (None: deleted); older than what is known: ignored."""
        if revision <= self.revisions.get(key, 0):
            return
        previous = self.documents.get(key)
        self.revisions[key] = revision
        self.revision = max(self.revision, revision)
        if document is None:
            self.documents.pop(key, None)
        else:
            self.documents[key] = document
        live = self.regions.get(key.removeprefix(REGIONS))
        self._place(key, document)
        if live is not None and previous is not None and document is not None:
            self._keep_observed(live, previous, document)
        self.touch()

    def _keep_observed(self, live: Region, previous: Document, document: Document) -> None:
        """A new declaration of a region does not undo what was observed of it, unless it declares that very thing."""
        region = self.regions[live.region_id]
        for field in ("current_capacity", "health_score"):
            if previous[field] == document[field]:
                setattr(region, field, getattr(live, field))

    def adopt(self, region: Region, document: Document, revision: int) -> None:
        """Take over a region just stored, as the very object its owner holds."""
        key = REGIONS + region.region_id
        self.documents[key], self.revisions[key] = document, revision
        self.revision = max(self.revision, revision)
        self.regions[region.region_id] = region

    def accept_text(self, key: str, text: str | None, revision: int) -> None:
        """The same for a stored text."""
        self.accept(key, None if text is None else json.loads(text), revision)

    def _place(self, key: str, document: Any) -> None:
        if key == LIMITS_KEY:
            self.limits = SafetyLimits(**document) if document else SafetyLimits()
        elif key == FREEZE_KEY:
            self.freeze = Freeze(**document) if document else None
        for prefix, place in self._placers().items():
            if key.startswith(prefix):
                place(key.removeprefix(prefix), document)

    def _placers(self) -> Mapping[str, Callable[[str, Any], None]]:
        return {
            REGIONS: self._place_region,
            SERVICES: lambda name, d: _put(self.services, name, d and service_from_document(d)),
            POLICIES: self._place_policy,
            OVERRIDES: self._place_drain,
            FAILURES: self._place_failure,
            PLACEMENTS: lambda name, d: _put(self.placements, name, d and tuple(d["regions"])),
        }

    def _place_region(self, region_id: str, document: Document | None) -> None:
        if document is not None:
            self.regions[region_id] = region_from_document(document)
        elif region_id in self.regions:
            del self.regions[region_id]

    def _place_policy(self, policy_id: str, document: Document | None) -> None:
        _put(self.policies, policy_id, policy_from_document(document) if document else None)
        self.touch_policies()

    def _place_drain(self, region_id: str, document: Document | None) -> None:
        _put(self.drains, region_id, Drain.parse(document) if document else None)
        self.touch(region_id)

    def _place_failure(self, region_id: str, document: Document | None) -> None:
        _put(self.failures, region_id, Failure.parse(document) if document else None)
        self.touch(region_id)

    def _frozen_policies(self) -> dict[str, PolicyView]:
        if self._policy_views is None:
            self._policy_views = {pid: PolicyView.of(policy) for pid, policy in self.policies.items()}
        return self._policy_views

    def _view(self, region: Region) -> RegionView:
        region_id = region.region_id
        state = self.health.get(region_id)
        judged = state is not None and state.judged
        drain = self.drains.get(region_id)
        failure = self.failures.get(region_id)
        held = self.held.get(region_id)
        services = failure.services if failure else None
        return RegionView(
            region_id=region_id,
            name=region.name,
            provider=region.provider,
            point=Point(region.latitude, region.longitude),
            country=region.country,
            endpoint=region.endpoint,
            phase=state.phase if state is not None and judged else phase_of_score(region.health_score),
            health_score=state.score if state is not None and judged else region.health_score or 0.0,
            admin=drain.state if drain else AdminState.ACTIVE,
            load=region.current_capacity,
            max_capacity=region.capabilities.max_capacity,
            cost_multiplier=region.cost_multiplier,
            compliance=frozenset(region.compliance_frameworks),
            held=held[0].text if held else None,
            serves_as=held[1] if held else None,
            failed_over=failure.reason if failure else None,
            failed_services=None if services is None else frozenset(services),
        )


def _put(table: dict[str, Any], key: str, value: Any) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value
