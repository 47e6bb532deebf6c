"""What is known right now, in memory: declared regions, services and policies, what stands over them, and health.

Hands out the frozen Fleet, rebuilt only when something changed. Writes nothing and awaits nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from mahavishnu.integrations.multi_region.core.deployment import (
    DEPLOYMENTS,
    OF_RECORD,
    DeploymentView,
    deployment_from_document,
)
from mahavishnu.integrations.multi_region.core.edges import EDGES, EdgeSpec, edge_from_document
from mahavishnu.integrations.multi_region.core.election import ELECTIONS
from mahavishnu.integrations.multi_region.core.intent import (
    LIMITS_KEY,
    POLICIES,
    REGIONS,
    SERVICES,
    Document,
    policy_from_document,
    region_from_document,
    region_key,
    service_from_document,
)
from mahavishnu.integrations.multi_region.core.model import (
    Binding,
    DataPlacementPolicy,
    Fleet,
    PolicyView,
    Region,
    SafetyLimits,
    Service,
)
from mahavishnu.integrations.multi_region.core.overrides import (
    FAILURES,
    FREEZE_KEY,
    OVERRIDES,
    PLACEMENTS,
    SERVING_KEY,
    Drain,
    Failure,
    Freeze,
)
from mahavishnu.integrations.multi_region.core.placement import BINDINGS, CLASSES
from mahavishnu.integrations.multi_region.core.transfers import TOTALS

from .deployment_table import DeploymentTable
from .region_table import RegionTable
from .region_views import Arrival, RegionViews, Standing, keep_observed

INERT = (CLASSES, TOTALS)
"""Keys whose documents no routing decision reads."""


RULES = (SERVICES, POLICIES, DEPLOYMENTS, OF_RECORD, BINDINGS)
"""Keys whose documents say what requests need; all else is about regions."""


class _Rules(NamedTuple):
    """What requests need, frozen: the same objects until one of the documents changes."""

    services: Mapping[str, Service]
    policies: Mapping[str, PolicyView]
    deployments: Mapping[str, DeploymentView]
    bindings: Mapping[str, Binding]


class Announced(NamedTuple):
    """A region that we are about to store: the text that will tell of it, and what is ready for when it does."""

    text: str | None
    document: Document | None
    made: Arrival


def _leave(_name: str, _document: Any) -> None:
    """Kept as the document that it is."""


class Registry:
    """Holds what the store and the monitor say; the one place from which a Fleet is made."""

    def __init__(self, limits: SafetyLimits, now: Callable[[], float] = lambda: 0.0) -> None:
        self.bindings: dict[str, Binding] = {}
        self.regions = RegionTable(self.touch)
        self.services: dict[str, Service] = {}
        self.policies: dict[str, DataPlacementPolicy] = {}
        self.edges: dict[str, EdgeSpec] = {}
        self.placements: dict[str, tuple[str, ...]] = {}
        self.deployments = DeploymentTable()
        self.of_record = self.deployments.records
        self.limits = self._undeclared_limits = limits
        self.freeze: Freeze | None = None
        standing = Standing()
        self.health, self.held = standing.health, standing.held
        self.drains, self.failures = standing.drains, standing.failures
        self._views = RegionViews(self.regions, standing, now)
        self.documents: dict[str, Document] = {}
        self.announced: list[Mapping[str, Announced]] = []
        self.revisions: dict[str, int] = {}
        self.revision = 0
        self._generation = 0
        self._listeners: list[Callable[[], None]] = []
        self._rules: _Rules | None = None
        self._fleet: Fleet | None = None

    def touch(self, region_id: str | None = None) -> None:
        """Something about a region (or, without one, about anything else) changed: forget what was derived."""
        self._generation += 1
        self._fleet = None
        if region_id is not None:
            self._views.changed(region_id)
        for listener in self._listeners:
            listener()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Be called at each change of the fleet, at once, before anything is derived anew; it must only take note."""
        self._listeners.append(listener)

    def off_change(self, listener: Callable[[], None]) -> None:
        """Be called no more."""
        self._listeners.remove(listener)

    def touch_policies(self) -> None:
        """A policy changed."""
        self._rules = None
        self.touch()

    def fleet(self) -> Fleet:
        """Everything a decision needs, frozen; the same object until something changes or a fact expires."""
        if self._views.lapsed():
            self.touch()
        if self._fleet is None:
            rules = self._rules = self._rules or self._freeze_rules()
            self._fleet = Fleet(
                revision=self.revision,
                regions=MappingProxyType(self._views.current()),
                services=rules.services,
                policies=rules.policies,
                deployments=rules.deployments,
                limits=self.limits,
                frozen=None if self.freeze is None else f"by {self.freeze.by}: {self.freeze.reason}",
                generation=self._generation,
                bindings=rules.bindings,
            )
        return self._fleet

    def observe_load(self, region_id: str, load: float) -> None:
        """Set the load of a region that is in the table, as the next fleet will show it."""
        if self._views.load(region_id, load):
            self.touch()

    def prepare(self, document: Document) -> Arrival:
        """Make the region that a document describes ready, with all that takes long, so that ``accept`` is quick."""
        return self._views.prepare(document, self.documents.get(region_key(document["region_id"])))

    def standing(self, key: str) -> tuple[object, ...]:
        """What is kept under a key, and the view made of it: whoever holds it says when it is freed."""
        region_id = key.removeprefix(REGIONS)
        return self.documents.get(key), self.regions.get(region_id), self._views.get(region_id)

    def accept(self, key: str, document: Any, revision: int, made: Arrival | None = None) -> None:
        """Take over what the store holds under a key (None: deleted); older than what is known: ignored.

        ``made``: the region that the document describes, where it was made ready.
        """
        if revision <= self.revisions.get(key, 0):
            return
        previous = self.documents.get(key)
        self.revisions[key] = revision
        if revision > self.revision:
            self.revision = revision
        if document is None:
            self.documents.pop(key, None)
        else:
            self.documents[key] = document
        if made is not None and self._views.settle(made, document, previous):
            self.touch()
            return
        live = self.regions.get(key.removeprefix(REGIONS)) if key.startswith(REGIONS) else None
        self._place(key, document)
        if key.startswith(RULES):
            self._rules = None
        if live is not None and previous is not None and document is not None:
            keep_observed(self.regions[live.region_id], live, previous, document)
        if not key.startswith(INERT):
            self.touch()

    def adopt(self, region: Region, document: Document, revision: int) -> None:
        """Take over a region just stored, as the very object its owner holds."""
        key = REGIONS + region.region_id
        if revision < self.revisions.get(key, 0):
            return  # somebody has changed or removed it meanwhile
        self.documents[key], self.revisions[key] = document, revision
        self.revision = max(self.revision, revision)
        self.regions[region.region_id] = region

    def remember(self, view: DeploymentView) -> None:
        """Keep what holds a deployment up: not worth a transaction, and no decision reads it."""
        self.deployments[view.deployment_id] = view

    def accept_text(self, key: str, text: str | None, revision: int) -> None:
        """Take over what the store holds under a key, as JSON (None: deleted); older than what is known: ignored."""
        if revision > self.revisions.get(key, 0):
            self.accept(key, None if text is None else json.loads(text), revision)

    @property
    def prefixes(self) -> tuple[str, ...]:
        """What the keys of all that is kept here begin with."""
        return (*self._placers(), LIMITS_KEY, FREEZE_KEY, SERVING_KEY, ELECTIONS)

    def forget_revisions(self) -> None:
        """Take over whatever comes next: the store was put back, and counts from an older revision."""
        self.revisions.clear()
        self.revision = 0

    def reached(self, revision: int) -> None:
        """All that the store held at a revision is known."""
        if revision > self.revision:
            self.revision = revision
            self.touch()

    def _place(self, key: str, document: Any) -> None:
        if key == LIMITS_KEY:
            self.limits = SafetyLimits(**document) if document else self._undeclared_limits
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
            EDGES: lambda edge_id, d: _put(self.edges, edge_id, d and edge_from_document(d)),
            OVERRIDES: self._place_drain,
            FAILURES: self._place_failure,
            DEPLOYMENTS: lambda name, d: _put(self.deployments, name, d and deployment_from_document(d)),
            OF_RECORD: lambda name, d: self.deployments.point(name, d and d["deployment"]),
            PLACEMENTS: lambda name, d: _put(self.placements, name, d and tuple(d["regions"])),
            BINDINGS: self._place_binding,
            CLASSES: _leave,
            TOTALS: _leave,
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

    def _freeze_rules(self) -> _Rules:
        return _Rules(
            services=MappingProxyType(dict(self.services)),
            policies=MappingProxyType({pid: PolicyView.of(policy) for pid, policy in self.policies.items()}),
            deployments=MappingProxyType(dict(self.deployments.plans)),
            bindings=MappingProxyType(dict(self.bindings)),
        )

    def _place_binding(self, data_id: str, document: Document | None) -> None:
        _put(self.bindings, data_id, Binding(**document) if document else None)


def _put(table: dict[str, Any], key: str, value: Any) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value
