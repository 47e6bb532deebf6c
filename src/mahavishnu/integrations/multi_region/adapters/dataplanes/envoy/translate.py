"""From a plan to what an edge is told, one service at a time, each made again only when what it is made of changed.

A part that an edge would refuse is left out, or left as it was, and named; the rest goes on without it. What binds a
class to regions (its endpoints) is always made anew: an old one might hold a region that is no longer allowed.

Plans and edges share what is equal as the same objects; such a part costs a glance.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from types import MappingProxyType

from mahavishnu.integrations.multi_region.core.edges import EdgeSpec
from mahavishnu.integrations.multi_region.core.traffic import Area, EdgePlan

from .assembly import routes_of
from .budget import Level, level_for
from .built import Builder, Built
from .constraints import made
from .drafts import Alike, Draft
from .listeners import listener
from .parts import LISTENER_NAME, NOBODY_LEAVES, ROUTES_NAME, Addresses, EdgeOptions, Leaving, Problem
from .resources import CLUSTER, ENDPOINTS, LISTENER, ROUTES, Part, Resource, Snapshot

_LISTENER = "envoy.config.listener.v3.Listener"

KEPT, NAMED, MADE = 1, 4, 40
"""What it costs to look at a part that stays, to give a class its name, and to make a part; 1 is some 3 µs."""

_OVERDRAWN = (
    "checks: there is more to check than an edge may, even every 10 s and without classes of the law and of areas "
    "(see its limit of open files); regions are left out for what requests meet there, and on our word"
)

_Problems = tuple[Problem, ...]
Translated = tuple[Snapshot, _Problems]
"""All resources of an edge, and what of its plan is not among them."""


@dataclass(slots=True)
class _Edge:
    """All that was built for one edge. ``areas``, ``addresses``: the objects that it was built with."""

    level: Level = Level.AS_STATED
    services: dict[str, Built] = field(default_factory=dict)
    told: dict[str, Mapping[str, Resource]] = field(default_factory=dict)
    parts: Mapping[str, Part] = field(default_factory=dict)
    routes: Resource | None = None
    dormant: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    problems: _Problems = ()
    listener: tuple[EdgeSpec, Resource | None, _Problems] | None = None


class Translator:
    """Makes snapshots of plans, and keeps what it made so that the next one costs only what changed."""

    def __init__(self, options: EdgeOptions | None = None) -> None:
        self._options = options or EdgeOptions()
        self._edges: dict[str, _Edge] = {}
        self._builder = Builder(self._options.ca_file)

    def snapshot(
        self, plan: EdgePlan, generation: int, addresses: Addresses, leaving: Leaving = NOBODY_LEAVES
    ) -> Translated:
        """The resources of an edge, at once. ``addresses``: of hosts in endpoints. ``leaving``: where regions were."""
        steps = self.steps(plan, generation, addresses, leaving)
        try:
            while True:
                next(steps)
        except StopIteration as ended:
            found: Translated = ended.value
            return found

    def steps(
        self, plan: EdgePlan, generation: int, addresses: Addresses, leaving: Leaving = NOBODY_LEAVES
    ) -> Generator[int, None, Translated]:
        """The resources of an edge in small steps, each of which yields what it cost, in units of ``KEPT``.

        Whoever stops in the middle loses nothing of what was made so far. One run at a time for each edge.
        """
        edge = self._edges.setdefault(plan.edge.edge_id, _Edge())
        self._builder.trim(built for each in self._edges.values() for built in each.services.values())
        drafts = yield from self._drafted(edge, plan, addresses, leaving)
        level = edge.level
        if len(drafts) != len(edge.services) or any(map(_demands_other, drafts.values(), edge.services.values())):
            level = level_for((draft.demand for draft in drafts.values()), level, self._options.descriptors)
        services = yield from self._built(edge, drafts, level, plan.areas)
        if level is not edge.level or edge.routes is None or not _same_in_order(services, edge.services):
            yield from self._assembled(edge, services)
        edge.services, edge.level = services, level
        edge.listener = self._listener(edge, plan.edge)
        found = {**edge.told, LISTENER: {LISTENER_NAME: edge.listener[1]} if edge.listener[1] is not None else {}}
        edge.told = {url: _if_new(edge.told.get(url), resources) for url, resources in found.items()}
        overdrawn = (Problem("", _OVERDRAWN, carried=True),) if level is Level.NOTHING else ()
        problems = (*edge.problems, *edge.listener[2], *overdrawn)
        return Snapshot(generation, MappingProxyType(edge.told), edge.parts, edge.dormant), problems

    def hosts(self, edge_id: str) -> frozenset[str]:
        """The hosts whose addresses the endpoints of an edge need, by its last whole translation."""
        edge = self._edges.get(edge_id)
        return frozenset() if edge is None else edge.hosts

    def level(self, edge_id: str) -> Level:
        """How much less than stated an edge checks, by its last whole translation."""
        edge = self._edges.get(edge_id)
        return Level.AS_STATED if edge is None else edge.level

    def settling_s(self, edge_id: str) -> float:
        """How long regions that move may take to be found well by an edge where they are now, 0 when none moves."""
        edge = self._edges.get(edge_id)
        return 0.0 if edge is None else max((built.settling_s for built in edge.services.values()), default=0.0)

    def forget(self, edge_id: str) -> None:
        """An edge is gone for good."""
        self._edges.pop(edge_id, None)

    # --- services ---------------------------------------------------------------------------------

    def _drafted(
        self, edge: _Edge, plan: EdgePlan, addresses: Addresses, leaving: Leaving
    ) -> Generator[int, None, dict[str, Draft]]:
        """What is the same for all edges."""
        alike, found = Alike(), dict[str, Draft]()
        for service in plan.services:
            built = edge.services.get(service.service)
            old = None if built is None else built.draft
            if old is None or old.traffic is not service or not old.fits(addresses, leaving):
                before = self._builder.drafts.made
                draft = self._builder.drafts.of(service, old, addresses, leaving, alike)
                yield KEPT if before == self._builder.drafts.made else MADE
            else:
                draft = old
                yield KEPT
            found[service.service] = draft
        return found

    def _built(
        self, edge: _Edge, drafts: Mapping[str, Draft], level: Level, areas: tuple[Area, ...]
    ) -> Generator[int, None, dict[str, Built]]:
        """Each service as this edge is told; of two that claim a host name the first has it."""
        found: dict[str, Built] = {}
        taken: set[str] = set()
        for name, draft in drafts.items():
            old, clash = edge.services.get(name), draft.hosts & taken
            if old is not None and old.is_of(draft, level, areas, clash):
                found[name] = old
            else:
                found[name] = self._builder.build(draft, level, areas, clash, old)
                yield NAMED * len(draft.classes)
            taken.update(draft.hosts)
        return found

    def _assembled(self, edge: _Edge, services: Mapping[str, Built]) -> Iterator[int]:
        """Put together what services were built; types of which nothing changed are the same objects as before."""
        each = services.values()
        if list(services) == list(edge.services):
            fresh = [built for built, old in zip(each, edge.services.values(), strict=True) if built is not old]
            before = [edge.services[built.draft.traffic.service] for built in fresh]
        else:
            fresh, before = list(each), list[Built]()
        edge.told = {
            **edge.told,
            CLUSTER: _told(edge.told.get(CLUSTER), [b.clusters for b in before], [b.clusters for b in fresh]),
            ENDPOINTS: _told(edge.told.get(ENDPOINTS), [b.endpoints for b in before], [b.endpoints for b in fresh]),
        }
        parts = {name: built.site.part for name, built in services.items() if built.site.part is not None}
        if edge.routes is None or not _same_parts(parts, edge.parts):
            edge.parts = MappingProxyType(parts)
            edge.routes = self._builder.one(routes_of(edge.parts))
            edge.told[ROUTES] = {ROUTES_NAME: edge.routes}
        if not before or any(old.draft.dormant != new.draft.dormant for old, new in zip(before, fresh, strict=True)):
            edge.dormant = frozenset(chain.from_iterable(built.draft.dormant for built in each))
        edge.hosts = frozenset(chain.from_iterable(built.draft.known for built in each))
        edge.problems = tuple(chain.from_iterable(built.problems for built in each))
        yield MADE + KEPT * len(services)

    # --- the listener -----------------------------------------------------------------------------

    def _listener(self, edge: _Edge, spec: EdgeSpec) -> tuple[EdgeSpec, Resource | None, _Problems]:
        old = edge.listener
        if old is not None and old[0] == spec:
            return old
        document, problems = listener(spec, self._options)
        found, why = made(_LISTENER, document) if document is not None else (None, None)
        if found is not None:
            return spec, self._builder.one(Resource.of(LISTENER, LISTENER_NAME, found)), problems
        if why is not None:
            problems = (*problems, Problem("listener", why))
        return spec, old[1] if old is not None else None, problems


def _demands_other(draft: Draft, old: Built) -> bool:
    return draft is not old.draft and draft.demand != old.draft.demand


def _told(
    whole: Mapping[str, Resource] | None,
    before: Sequence[Mapping[str, Resource]],
    fresh: Sequence[Mapping[str, Resource]],
) -> Mapping[str, Resource]:
    """All resources of a type. ``before``: what ``fresh`` takes the place of in ``whole``; none when it is all."""
    in_place = (
        whole is not None and before and all(old.keys() == new.keys() for old, new in zip(before, fresh, strict=True))
    )
    found = dict(whole) if whole is not None and in_place else {}
    if before and not in_place:
        gone = set(chain.from_iterable(before))
        found = {name: one for name, one in (whole or {}).items() if name not in gone}
    for part in fresh:
        found.update(part)
    return _if_new(whole, found)


def _if_new(old: Mapping[str, Resource] | None, fresh: Mapping[str, Resource]) -> Mapping[str, Resource]:
    """The fresh one, or the old one when they are equal."""
    return old if old is not None and old == fresh else MappingProxyType(dict(fresh))


def _same_in_order(services: Mapping[str, Built], old: Mapping[str, Built]) -> bool:
    return len(services) == len(old) and all(a is b for a, b in zip(services.values(), old.values(), strict=True))


def _same_parts(parts: Mapping[str, Part], old: Mapping[str, Part]) -> bool:
    same = len(parts) == len(old) and all(a is b for a, b in zip(parts.values(), old.values(), strict=True))
    return same and list(parts) == list(old)
