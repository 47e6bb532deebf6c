"""Changes of declared intent: check, write as one transaction with its events, take over. Refused: unchanged."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import TypeVar

from mahavishnu.integrations.multi_region.core.edges import EDGES, EdgeSpec, check_edges, edge_document
from mahavishnu.integrations.multi_region.core.elder_ids import (
    elder_ids,
    policy_as_declared,
    service_as_declared,
    world_as_declared,
)
from mahavishnu.integrations.multi_region.core.events import Event, EventKind
from mahavishnu.integrations.multi_region.core.facts import Facts
from mahavishnu.integrations.multi_region.core.intent import (
    DECLARED,
    POLICIES,
    REGIONS,
    SERVICES,
    Change,
    ChangeKind,
    Document,
    World,
    check_policy,
    check_service,
    check_world,
    completed,
    difference,
    edge_key,
    policy_document,
    policy_key,
    region_document,
    region_key,
    service_document,
    service_key,
)
from mahavishnu.integrations.multi_region.core.model import DataPlacementPolicy, Fleet, Region, Service
from mahavishnu.integrations.multi_region.core.routes import check_hosts
from mahavishnu.integrations.multi_region.core.safety import Rule, emptied_services
from mahavishnu.integrations.multi_region.core.targets import TargetRules, check_target, target_url
from mahavishnu.integrations.multi_region.core.validation import validate_region
from mahavishnu.integrations.multi_region.core.vocabulary import check_policy_rules
from mahavishnu.integrations.multi_region.errors import (
    DuplicateRegionError,
    RefusedError,
    StaleRevisionError,
    UnknownEdgeError,
    UnknownRegionError,
    UnknownServiceError,
    nearest_hint,
)
from mahavishnu.integrations.multi_region.facts import catalog, places
from mahavishnu.integrations.multi_region.facts.checks import place_warnings
from mahavishnu.integrations.multi_region.facts.law import catalog_facts, facts_of
from mahavishnu.integrations.multi_region.ports.clock import Clock

from .journal import Journal
from .region_views import Arrival
from .registry import Announced, Registry
from .turns import MANY, let_go, turn

ATTEMPTS = 5
"""How often a world is compared anew when others declare something meanwhile."""

T = TypeVar("T")

KINDS: Mapping[tuple[str, ChangeKind], EventKind] = {
    (REGIONS, ChangeKind.ADD): EventKind.REGION_REGISTERED,
    (REGIONS, ChangeKind.UPDATE): EventKind.REGION_UPDATED,
    (REGIONS, ChangeKind.REMOVE): EventKind.REGION_REMOVED,
    (SERVICES, ChangeKind.ADD): EventKind.SERVICE_DECLARED,
    (SERVICES, ChangeKind.UPDATE): EventKind.SERVICE_DECLARED,
    (SERVICES, ChangeKind.REMOVE): EventKind.SERVICE_REMOVED,
    (POLICIES, ChangeKind.ADD): EventKind.POLICY_REGISTERED,
    (POLICIES, ChangeKind.UPDATE): EventKind.POLICY_REGISTERED,
    (POLICIES, ChangeKind.REMOVE): EventKind.POLICY_REMOVED,
    (EDGES, ChangeKind.ADD): EventKind.EDGE_DECLARED,
    (EDGES, ChangeKind.UPDATE): EventKind.EDGE_DECLARED,
    (EDGES, ChangeKind.REMOVE): EventKind.EDGE_REMOVED,
}
"""What each change is called in the log."""


class Intentions:
    """Writes what people declare."""

    def __init__(self, registry: Registry, journal: Journal, clock: Clock, rules: TargetRules) -> None:
        self._registry = registry
        self._journal = journal
        self._clock = clock
        self._rules = rules

    async def register(self, region: Region, actor: str) -> list[str]:
        """Add one region; returns warnings."""
        self._check(region, self._registry.regions)
        key, document = region_key(region.region_id), region_document(region)
        try:
            revision = await self._write([Change(ChangeKind.ADD, key, None, document)], actor)
        except StaleRevisionError as err:  # somebody registered it while this was being written
            raise DuplicateRegionError("region_id", region.region_id, "an id that is not registered yet") from err
        self._registry.adopt(region, document, revision)
        return [str(warning) for warning in place_warnings(region)]

    async def update(self, region: Region, actor: str) -> list[str]:
        """Replace one region's declaration; returns warnings."""
        if region.region_id not in self._registry.regions:
            raise UnknownRegionError(region.region_id, list(self._registry.regions))
        self._check(region, ())
        await self._replace({region_key(region.region_id): region_document(region)}, actor)
        return [str(warning) for warning in place_warnings(region)]

    async def unregister(self, region_id: str, actor: str) -> None:
        """Remove one region, unless something declared still names it."""
        if region_id not in self._registry.regions:
            raise UnknownRegionError(region_id, list(self._registry.regions))
        for service in self._registry.services.values():
            if service.deployment is not None and region_id in service.deployment.regions:
                text = f"service {service.name} runs in {region_id}: change or remove the service first"
                raise RefusedError("region_in_use", text)
        for plan in self._registry.deployments.plans.values():
            if region_id in plan.active:
                text = f"{region_id} serves {plan.service} in deployment {plan.deployment_id}: deploy elsewhere first"
                raise RefusedError("region_in_use", text)
        if region_key(region_id) not in self._registry.documents:  # put into the table by hand: nobody else knows it
            del self._registry.regions[region_id]
            return
        await self._replace({region_key(region_id): None}, actor)

    async def put_service(self, service: Service, actor: str) -> None:
        """Declare or replace one service."""
        service = service_as_declared(service, elder_ids(self._registry.policies))
        check_service(service, self._registry.regions, self._registry.policies, self._registry.documents)
        check_hosts((self._registry.services | {service.name: service}).values())
        await self._replace({service_key(service.name): service_document(service)}, actor)

    async def remove_service(self, name: str, actor: str) -> None:
        """Remove one service."""
        if name not in self._registry.services:
            raise UnknownServiceError("service", name, nearest_hint(name, list(self._registry.services)))
        await self._replace({service_key(name): None}, actor)

    async def put_policy(self, policy: DataPlacementPolicy, actor: str) -> None:
        """Register or replace one policy."""
        policy = policy_as_declared(policy, elder_ids(self._registry.policies))
        check_policy(policy, known_region_ids(self._registry.regions), self._registry.documents)
        views = self._registry.fleet().regions
        self._check_rules(policy, {region_id: view.facts for region_id, view in views.items()})
        await self._replace({policy_key(policy.policy_id): policy_document(policy)}, actor)

    async def put_edge(self, edge: EdgeSpec, actor: str) -> None:
        """Declare or replace one edge."""
        check_edges((self._registry.edges | {edge.edge_id: edge}).values(), places.countries())
        await self._replace({edge_key(edge.edge_id): edge_document(edge)}, actor)

    async def remove_edge(self, edge_id: str, actor: str) -> None:
        """Remove one edge."""
        if edge_id not in self._registry.edges:
            raise UnknownEdgeError("edge_id", edge_id, nearest_hint(edge_id, list(self._registry.edges)))
        await self._replace({edge_key(edge_id): None}, actor)

    async def apply(self, world: World, dry_run: bool, actor: str) -> list[Change]:
        """Make a world the intent, all or nothing; what changed, or would. Other tasks run while it is worked out."""
        wanted = await self._wanted(world)
        if self._registry.regions and not world.regions:
            raise RefusedError("min_serving", "this world has no region, and would leave none in service")
        for _ in range(ATTEMPTS):
            began = self._declared_at()
            changes = await self._compared(wanted)
            made = await self._made(changes)
            await self._refuse_emptied(changes, made)
            values, events = await self._written(changes, actor)
            before = await self._standing(changes)
            if self._declared_at() == began:
                break
        else:
            raise StaleRevisionError("what is declared", began, self._declared_at())
        if changes and not dry_run:
            with self._announced(changes, values, made):
                revision = await self._record(changes, values, events)
            self._take_over(changes, revision, made)
            await let_go(before)
        return changes

    async def _wanted(self, world: World) -> dict[str, Document]:
        """The world's documents, once it is checked. A region is written down as it was when it was checked."""
        documents: dict[str, Document] = {}
        facts: dict[str, Facts] = {}
        for number, region in enumerate(world.regions):
            await turn(number)
            self._check(region, facts)
            facts[region.region_id] = facts_of(region)
            documents[region_key(region.region_id)] = region_document(region)
        world = world_as_declared(world, self._registry.policies)
        check_world(world, known_region_ids(()), self._registry.documents)
        check_edges(world.edges, places.countries())
        documents |= replace(world, regions=()).documents()
        for number, policy in enumerate(world.policies):
            await turn(number, 1)
            self._check_rules(policy, facts)
        return documents

    async def _compared(self, wanted: Mapping[str, Document]) -> list[Change]:
        """What to change of what is declared now."""
        known = {key: document for key, document in self._registry.documents.items() if key.startswith(DECLARED)}
        changes: list[Change] = []
        for number, key in enumerate(sorted(known.keys() | wanted.keys())):
            await turn(number)
            before = {key: completed(key, known[key])} if key in known else {}
            changes += difference(before, {key: wanted[key]} if key in wanted else {})
        return changes

    def _declared_at(self) -> int:
        """The revision of the last change to anything declared."""
        changed = (revision for key, revision in self._registry.revisions.items() if key.startswith(DECLARED))
        return max(changed, default=0)

    def _check_rules(self, policy: DataPlacementPolicy, facts: Mapping[str, Facts]) -> None:
        """Whether a policy's rules can be met by a region of these facts, or one of the catalog."""
        check_policy_rules(policy, {**catalog_facts(), **facts} if policy.rules else {}, self._clock.now())

    def _check(self, region: Region, known_ids: Collection[str]) -> None:
        validate_region(region, known_ids, known_countries=places.countries())
        check_target(region.endpoint, self._rules)
        if region.health is not None and region.health.url is not None:
            check_target(target_url(region.endpoint, region.health), self._rules, "health.url")

    async def _replace(self, wanted: Mapping[str, Document | None], actor: str) -> None:
        known = self._registry.documents
        before = {key: completed(key, known[key]) for key in wanted if key in known}
        after = {key: document for key, document in wanted.items() if document is not None}
        changes = difference(before, after)
        made = await self._made(changes)
        await self._refuse_emptied(changes, made)
        if changes:
            self._take_over(changes, await self._write(changes, actor), made)

    async def _refuse_emptied(self, changes: list[Change], made: Mapping[str, Arrival]) -> None:
        """Refuse what would leave a service, that some region may serve by law now, with none (L9)."""
        if not self._registry.services or not changes:
            return
        before = self._registry.fleet()
        for name in emptied_services(before, await self._after(before, changes, made)):
            raise RefusedError(Rule.EMPTY_SERVICE, f"after this change, no region could serve {name}")

    async def _after(self, fleet: Fleet, changes: list[Change], made: Mapping[str, Arrival]) -> Fleet:
        """The fleet as the changes declare it; regions are looked at as they were made ready."""
        trial = Registry(self._registry.limits, self._clock.now)
        for number, change in enumerate(changes):
            await turn(number)
            if change.after is not None and change.key not in made:
                trial.accept(change.key, change.after, 1)
        tried, gone = trial.fleet(), {change.key for change in changes if change.after is None}
        arrived = {arrival.region.region_id: arrival.view for arrival in made.values()}

        def changed(before: Mapping[str, T], after: Mapping[str, T], prefix: str) -> Mapping[str, T]:
            together = {**before, **after}
            return MappingProxyType({name: one for name, one in together.items() if prefix + name not in gone})

        return replace(
            tried,
            regions=changed(fleet.regions, arrived, REGIONS),
            services=changed(fleet.services, tried.services, SERVICES),
            policies=changed(fleet.policies, tried.policies, POLICIES),
        )

    async def _write(self, changes: list[Change], actor: str) -> int:
        return await self._record(changes, *await self._written(changes, actor))

    async def _made(self, changes: list[Change]) -> dict[str, Arrival]:
        """The regions that the changes declare, by key: made before they count, since all then come in at once."""
        made = {}
        for number, change in enumerate(changes):
            await turn(number)
            if change.after is not None and change.key.startswith(REGIONS):
                made[change.key] = self._registry.prepare(change.after)
        return made

    async def _written(self, changes: list[Change], actor: str) -> tuple[dict[str, str | None], list[Event]]:
        """The changes as they are stored, and the events that tell of them."""
        values: dict[str, str | None] = {}
        events = []
        for number, change in enumerate(changes):
            await turn(number)
            values[change.key] = None if change.after is None else json.dumps(change.after, sort_keys=True)
            events.append(self._event(change, actor))
        return values, events

    async def _record(self, changes: list[Change], values: Mapping[str, str | None], events: list[Event]) -> int:
        known = self._registry.documents
        guards = {c.key: self._registry.revisions.get(c.key, 0) if c.key in known else 0 for c in changes}
        return (await self._journal.record(values, events, guards)).revision

    @contextmanager
    def _announced(
        self, changes: list[Change], values: Mapping[str, str | None], made: Mapping[str, Arrival]
    ) -> Iterator[None]:
        """Whoever follows the store need not make the regions of the changes a second time."""
        ours = {c.key: Announced(values[c.key], c.after, made[c.key]) for c in changes if c.key in made}
        self._registry.announced.append(ours)
        try:
            yield
        finally:
            self._registry.announced[:] = [one for one in self._registry.announced if one is not ours]

    async def _standing(self, changes: list[Change]) -> list[object]:
        """What the changes replace: held until they count, so that to free it does not lengthen that turn."""
        before: list[object] = []
        for number, change in enumerate(changes):
            await turn(number, MANY)
            before += self._registry.standing(change.key)
        return before

    def _take_over(self, changes: list[Change], revision: int, made: Mapping[str, Arrival]) -> None:
        """Let the changes count, all at once; where the store is followed, they may do so already."""
        for change in changes:
            self._registry.accept(change.key, change.after, revision, made.get(change.key))

    def _event(self, change: Change, actor: str) -> Event:
        prefix, _, name = change.key.partition("/")
        kind = KINDS.get((prefix + "/", change.kind), EventKind.LIMITS_CHANGED)
        reason = "changed: " + ", ".join(change.fields) if change.kind is ChangeKind.UPDATE else ""
        return Event(kind, self._clock.now(), name or prefix, actor, reason, change.before, change.after)


def known_region_ids(registered: Iterable[str]) -> list[str]:
    """Every region id that a policy may name: registered ones and the catalog's."""
    return [*registered, *(region.region_id for region in catalog.all_regions())]
