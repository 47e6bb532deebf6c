"""What is known right now, in memory: declared regions, services and policies, what stands over them, and health.

Hands out the frozen Fleet, rebuilt only when something changed. Writes nothing and awaits nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, MutableMapping
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from mahavishnu.integrations.multi_region.core.carrying import edge_from_document
from mahavishnu.integrations.multi_region.core.deployment import (
    DEPLOYMENTS,
    OF_RECORD,
    DeploymentView,
    deployment_from_document,
)
from mahavishnu.integrations.multi_region.core.edges import EDGES, EdgeSpec
from mahavishnu.integrations.multi_region.core.election import ELECTIONS
from mahavishnu.integrations.multi_region.core.facts import Facts
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
    Binding,
    DataPlacementPolicy,
    Fleet,
    Phase,
    Point,
    PolicyView,
    Region,
    RegionView,
    SafetyLimits,
    Service,
    UpstreamProtocol,
    parse_enum,
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
from mahavishnu.integrations.multi_region.core.safety import Violation
from mahavishnu.integrations.multi_region.core.transfers import TOTALS
from mahavishnu.integrations.multi_region.core.vocabulary import attested
from mahavishnu.integrations.multi_region.errors import InvalidInputError
from mahavishnu.integrations.multi_region.facts.law import facts_of

from .deployment_table import DeploymentTable

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


class _Keeper:
    """Knows which entry of a table a region is; the table keeps it alive, the region does not."""

    def __init__(self, changed: Callable[[str], None], region_id: str) -> None:
        self._changed = changed
        self._region_id = region_id

    def tell(self) -> None:
        """The region changed."""
        self._changed(self._region_id)


class Arrival(NamedTuple):
    """A declared region made ready before it counts: it, its view, who keeps it, and what the two were made from."""

    region: Region
    view: RegionView
    keeper: _Keeper
    basis: tuple[object, ...]


def _leave(_name: str, _document: Any) -> None:
    """Kept as the document that it is."""


class RegionTable(dict[str, Region]):
    """The public ``manager.regions``: a dict whose regions, and whose own changes, are noticed in whatever way made."""

    def __init__(self, changed: Callable[[str], None]) -> None:
        super().__init__()
        self._changed = changed
        self._keepers: dict[str, _Keeper] = {}

    def __setitem__(self, region_id: str, region: Region) -> None:
        """Raises InvalidInputError when the region's own id is another."""
        if region.region_id != region_id:
            raise InvalidInputError("region_id", region_id, f"{region.region_id!r}, the id of the region itself")
        super().__setitem__(region_id, region)
        self._keepers[region_id] = keeper = _Keeper(self._changed, region_id)
        region._watch(keeper.tell)
        self._changed(region_id)

    def settle(self, region: Region, keeper: _Keeper) -> None:
        """Put in a region that its keeper watches already; nobody is told."""
        super().__setitem__(region.region_id, region)
        self._keepers[region.region_id] = keeper

    def __delitem__(self, region_id: str) -> None:
        super().__delitem__(region_id)
        del self._keepers[region_id]
        self._changed(region_id)

    def __ior__(self, other: Any) -> Self:  # type: ignore[override,misc]  # dict's has overloads that say the same
        self.update(other)
        return self

    def pop(self, region_id: str, *default: Any) -> Any:
        region = super().pop(region_id, *default)
        if self._keepers.pop(region_id, None) is not None:
            self._changed(region_id)
        return region

    def popitem(self) -> tuple[str, Region]:
        if not self:
            raise KeyError("the table is empty")
        last = next(reversed(self))
        return last, self.pop(last)

    # A dict's own methods would pass all of the above by; these are built on them.
    clear = MutableMapping.clear
    update = MutableMapping.update
    setdefault = MutableMapping.setdefault


class Registry:
    """Holds what the store and the monitor say; the one place from which a Fleet is made."""

    def __init__(self, limits: SafetyLimits, now: Callable[[], float] = lambda: 0.0) -> None:
        self._now = now
        self._lapse: float | None = None
        self.bindings: dict[str, Binding] = {}
        self.regions = RegionTable(self.touch)
        self.services: dict[str, Service] = {}
        self.policies: dict[str, DataPlacementPolicy] = {}
        self.edges: dict[str, EdgeSpec] = {}
        self.placements: dict[str, tuple[str, ...]] = {}
        self.deployments = DeploymentTable()
        self.of_record = self.deployments.records
        self.limits = self._undeclared_limits = limits
        self.drains: dict[str, Drain] = {}
        self.failures: dict[str, Failure] = {}
        self.freeze: Freeze | None = None
        self.health: dict[str, HealthState] = {}
        self.held: dict[str, tuple[Violation, Phase]] = {}
        self.documents: dict[str, Document] = {}
        self.revisions: dict[str, int] = {}
        self.revision = 0
        self._generation = 0
        self._listeners: list[Callable[[], None]] = []
        self._views: dict[str, RegionView] = {}
        self._ready: dict[str, RegionView] = {}
        self._stale: set[str] = set()
        self._reshaped = False
        self._rules: _Rules | None = None
        self._fleet: Fleet | None = None

    def touch(self, region_id: str | None = None) -> None:
        """Something about a region (or, without one, about anything else) changed: forget what was derived."""
        self._generation += 1
        self._fleet = None
        if region_id is not None:
            self._stale.add(region_id)
            if region_id not in self.regions or region_id not in self._views:
                self._reshaped = True
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
        if self._lapse is not None and self._now() >= self._lapse:
            self._reshaped, self._views, self._ready, self._lapse = True, {}, {}, None
            self.touch()
        if self._fleet is None:
            rules = self._rules = self._rules or self._freeze_rules()
            self._refresh_views()
            self._fleet = Fleet(
                revision=self.revision,
                regions=MappingProxyType(self._views),
                services=rules.services,
                policies=rules.policies,
                deployments=rules.deployments,
                limits=self.limits,
                frozen=None if self.freeze is None else f"by {self.freeze.by}: {self.freeze.reason}",
                generation=self._generation,
                bindings=rules.bindings,
            )
        return self._fleet

    def _refresh_views(self) -> None:
        """Bring the views up to date; fleets handed out keep the ones they have."""
        known = {**self._views, **self._ready} if self._ready else self._views
        stale, regions = self._stale, self.regions
        if self._reshaped:
            self._views = {
                region_id: known[region_id] if region_id in known and region_id not in stale else self._view(region)
                for region_id, region in regions.items()
            }
        elif stale or self._ready:
            self._views = {**known, **{region_id: self._view(regions[region_id]) for region_id in stale}}
        self._stale, self._ready, self._reshaped = set(), {}, False

    def prepare(self, document: Document) -> Arrival:
        """Make the region that a document describes ready, with all that takes long, so that ``accept`` is quick."""
        region = region_from_document(document)
        region_id = region.region_id
        live, previous = self.regions.get(region_id), self.documents.get(REGIONS + region_id)
        basis = self._basis(region_id, previous)
        if live is not None and previous is not None:
            _keep_observed(region, live, previous, document)
        keeper = _Keeper(self.touch, region_id)
        region._watch(keeper.tell)
        return Arrival(region, self._view(region), keeper, basis)

    def _basis(self, region_id: str, previous: Document | None) -> tuple[object, ...]:
        """All that an arrival of a region is made from beside its document."""
        live = self.regions.get(region_id)
        return (
            previous,
            live is None,
            None if live is None else (live.current_capacity, live.health_score),
            self.health.get(region_id),
            self.drains.get(region_id),
            self.failures.get(region_id),
            self.held.get(region_id),
        )

    def standing(self, keys: Collection[str]) -> list[object]:
        """What is kept under some keys, and the views made of it: whoever holds it says when it is freed."""
        kept: list[object] = [self.documents.get(key) for key in keys]
        for key in keys:
            region_id = key.removeprefix(REGIONS)
            kept += self.regions.get(region_id), self._views.get(region_id)
        return kept

    def accept(self, key: str, document: Any, revision: int, made: Arrival | None = None) -> None:
        """Take over what the store holds under a key (None: deleted); older than what is known: ignored.

        ``made``: the region that the document describes, where it was made ready.
        """
        if revision <= self.revisions.get(key, 0):
            return
        previous = self.documents.get(key)
        self.revisions[key] = revision
        self.revision = max(self.revision, revision)
        if document is None:
            self.documents.pop(key, None)
        else:
            self.documents[key] = document
        if made is not None and made.basis == self._basis(made.region.region_id, previous):
            self._place_ready(made)
            return
        live = self.regions.get(key.removeprefix(REGIONS)) if key.startswith(REGIONS) else None
        self._place(key, document)
        if key.startswith(RULES):
            self._rules = None
        if live is not None and previous is not None and document is not None:
            _keep_observed(self.regions[live.region_id], live, previous, document)
        if not key.startswith(INERT):
            self.touch()

    def _place_ready(self, made: Arrival) -> None:
        region_id = made.region.region_id
        self.regions.settle(made.region, made.keeper)
        self._ready[region_id] = made.view
        self._stale.discard(region_id)
        self._reshaped = self._reshaped or region_id not in self._views
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
        """The same for a stored text."""
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

    def _view(self, region: Region) -> RegionView:
        region_id = region.region_id
        facts, as_of = facts_of(region), self._now()
        self._watch_expiry(facts, as_of)
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
            compliance=attested(facts, as_of),
            facts=facts,
            as_of=as_of,
            held=held[0].text if held else None,
            serves_as=held[1] if held else None,
            failed_over=failure.reason if failure else None,
            failed_services=None if services is None else frozenset(services),
            protocol=parse_enum(UpstreamProtocol, region.protocol, "protocol"),
        )

    def _watch_expiry(self, facts: Facts, as_of: float) -> None:
        """Remember when the first fact ends that still counts: what was derived from it ends then too."""
        for fact in facts.values():
            ends = fact.valid_until
            if ends is not None and as_of < ends and (self._lapse is None or ends < self._lapse):
                self._lapse = ends

    def _place_binding(self, data_id: str, document: Document | None) -> None:
        _put(self.bindings, data_id, Binding(**document) if document else None)


def _keep_observed(region: Region, live: Region, previous: Document, document: Document) -> None:
    """A new declaration of a region does not undo what was observed of it, unless it declares that very thing."""
    for field in ("current_capacity", "health_score"):
        if previous[field] == document[field]:
            setattr(region, field, getattr(live, field))


def _put(table: dict[str, Any], key: str, value: Any) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value
