"""From a plan to what an edge is told, one resource at a time, each made again only when what it is made of changed.

A part that an edge would refuse is left out, or left as it was, and named; the rest goes on without it. What binds a
class to regions (its endpoints) is always made anew: an old one might hold a region that is no longer allowed.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from types import MappingProxyType

from mahavishnu.integrations.multi_region.core.edges import EdgeSpec
from mahavishnu.integrations.multi_region.core.traffic import EdgePlan, TrafficClass

from .assembly import part_of, routes_of
from .clusters import Shape, build_cluster, mixture, shape_of, watch_of
from .constraints import made
from .endpoints import build_endpoints, host_names
from .listeners import listener
from .parts import LISTENER_NAME, ROUTES_NAME, Addresses, EdgeOptions, Problem
from .resources import CLUSTER, ENDPOINTS, LISTENER, ROUTES, Part, Resource, Snapshot
from .routes import Site, build_site

_LISTENER = "envoy.config.listener.v3.Listener"

KEPT, MADE = 1, 40
"""What it costs to look at a part that stays, and to make one anew; 1 is some 3 µs."""

_Problems = tuple[Problem, ...]
Translated = tuple[Snapshot, _Problems]
"""All resources of an edge, and what of its plan is not among them."""


@dataclass(frozen=True, slots=True)
class _Class:
    """A class as it was built. ``addresses``: of the hosts that it names."""

    kind: TrafficClass
    addresses: Addresses
    cluster: Resource | None
    endpoints: Resource
    problems: _Problems


@dataclass(frozen=True, slots=True)
class _Site:
    """A virtual host as it was built, None when there is none. ``refused``: an edge would not take it."""

    site: Site
    taken: frozenset[str]
    part: Part | None
    problems: _Problems
    refused: bool = False


@dataclass(slots=True)
class _Edge:
    """All that was built for one edge."""

    classes: dict[str, _Class] = field(default_factory=dict)
    sites: dict[str, _Site] = field(default_factory=dict)
    parts: Mapping[str, Part] = field(default_factory=dict)
    routes: Resource | None = None
    listener: tuple[EdgeSpec, Resource | None, _Problems] | None = None
    told: dict[str, Mapping[str, Resource]] = field(default_factory=dict)
    hosts: frozenset[str] = frozenset()


class Translator:
    """Makes snapshots of plans, and keeps what it made so that the next one costs only what changed."""

    def __init__(self, options: EdgeOptions | None = None) -> None:
        self._options = options or EdgeOptions()
        self._edges: dict[str, _Edge] = {}
        self._shared: dict[tuple[str, str, str], Resource] = {}
        self._sites_made: dict[tuple[Site, frozenset[str]], _Site] = {}
        self._shapes: dict[tuple[str, Shape], Resource | Problem] = {}

    def snapshot(self, plan: EdgePlan, generation: int, addresses: Addresses) -> Translated:
        """The resources of an edge, at once. ``addresses``: of hosts in endpoints."""
        steps = self.steps(plan, generation, addresses)
        try:
            while True:
                next(steps)
        except StopIteration as ended:
            found: Translated = ended.value
            return found

    def steps(self, plan: EdgePlan, generation: int, addresses: Addresses) -> Generator[int, None, Translated]:
        """The same in small steps, each of which yields what it cost, in units of ``KEPT``.

        Whoever stops in the middle loses nothing of what was made so far. One run at a time for each edge.
        """
        edge = self._edges.setdefault(plan.edge.edge_id, _Edge())
        self._trim()
        alike = _Alike()
        names = []
        for kind in plan.classes:
            names.append(name := kind.name)
            old = edge.classes.get(name)
            edge.classes[name] = built = self._class(old, kind, addresses, alike)
            yield KEPT if built is old else MADE
        edge.classes = {name: edge.classes[name] for name in names}
        edge.hosts = frozenset(chain.from_iterable(built.addresses for built in edge.classes.values()))
        yield from self._site_steps(edge, plan)
        edge.listener = self._listener(edge, plan.edge)
        return self._assembled(edge, generation), tuple(_problems(edge))

    def _assembled(self, edge: _Edge, generation: int) -> Snapshot:
        """A snapshot of what was built; types of which nothing changed are the same objects as before."""
        assert edge.routes is not None
        assert edge.listener is not None
        told = {name: built for name, built in edge.classes.items() if built.cluster is not None}
        found: dict[str, dict[str, Resource]] = {
            CLUSTER: {name: built.cluster for name, built in told.items() if built.cluster is not None},
            ENDPOINTS: {name: built.endpoints for name, built in told.items()},
            LISTENER: {LISTENER_NAME: edge.listener[1]} if edge.listener[1] is not None else {},
            ROUTES: {ROUTES_NAME: edge.routes},
        }
        edge.told = {
            url: old if (old := edge.told.get(url)) == resources else MappingProxyType(resources)
            for url, resources in found.items()
        }
        return Snapshot(generation, MappingProxyType(edge.told), edge.parts)

    def hosts(self, edge_id: str) -> frozenset[str]:
        """The hosts whose addresses the endpoints of an edge need, by its last whole translation."""
        edge = self._edges.get(edge_id)
        return frozenset() if edge is None else edge.hosts

    def forget(self, edge_id: str) -> None:
        """An edge is gone for good."""
        self._edges.pop(edge_id, None)

    def _trim(self) -> None:
        """Let go of what no edge holds any more, once that is most of what is kept."""
        held = sum(2 * len(edge.classes) + 2 for edge in self._edges.values())
        for kept in (self._shared, self._shapes, self._sites_made):
            if len(kept) > 2 * held + 1000:
                kept.clear()

    def _one(self, resource: Resource) -> Resource:
        """The resource that stands for all equal ones."""
        return self._shared.setdefault((resource.type_url, resource.name, resource.version), resource)

    # --- classes ----------------------------------------------------------------------------------

    def _class(self, old: _Class | None, kind: TrafficClass, addresses: Addresses, alike: _Alike) -> _Class:
        if old is not None and _is_as_it_was(old, kind, addresses, alike):
            return old
        watch = watch_of(kind)
        endpoints, problems = build_endpoints(kind, addresses, watch.unwatched)
        cluster, why = self._cluster(kind.name, shape_of(kind, watch, self._options.ca_file))
        if cluster is None and old is not None:
            cluster = old.cluster
        known = {host: addresses.get(host, ()) for host in host_names([kind])}
        mixed = (found,) if (found := mixture(kind)) is not None else ()
        return _Class(kind, known, cluster, self._one(endpoints), problems + why + mixed)

    def _cluster(self, name: str, shape: Shape) -> tuple[Resource | None, _Problems]:
        """The cluster, without a check when its check is what an edge would refuse."""
        found = self._shape(name, shape)
        if isinstance(found, Resource):
            return found, ()
        unchecked = self._shape(name, replace(shape, check=None))
        return (unchecked if isinstance(unchecked, Resource) else None), (found,)

    def _shape(self, name: str, shape: Shape) -> Resource | Problem:
        if (name, shape) not in self._shapes:
            self._shapes[name, shape] = build_cluster(name, shape)
        return self._shapes[name, shape]

    # --- services ---------------------------------------------------------------------------------

    def _site_steps(self, edge: _Edge, plan: EdgePlan) -> Iterator[int]:
        """Virtual hosts and the routes; of two services that claim a host name the first has it."""
        found: dict[str, _Site] = {}
        taken: set[str] = set()
        for service in plan.services:
            hosts = {host.lower() for host in service.hosts}
            old = edge.sites.get(service.service)
            same = old is not None and old.site.is_of(service, plan.areas)
            site = old.site if old is not None and same else Site.of(service, plan.areas)
            found[service.service] = built = self._site(old, site, frozenset(hosts & taken))
            taken |= hosts
            yield KEPT if built is old else MADE
        if edge.routes is None or not _same_in_order(found, edge.sites):
            edge.parts = MappingProxyType({name: site.part for name, site in found.items() if site.part is not None})
            edge.routes = self._one(routes_of(edge.parts))
            yield MADE + KEPT * len(found)
        edge.sites = found

    def _site(self, old: _Site | None, site: Site, taken: frozenset[str]) -> _Site:
        if old is not None and old.site is site and old.taken == taken:
            return old
        if (site, taken) not in self._sites_made:
            self._sites_made[site, taken] = _build_site(site, taken)
        fresh = self._sites_made[site, taken]
        return replace(fresh, part=old.part) if fresh.refused and old is not None and old.taken == taken else fresh

    # --- the listener -----------------------------------------------------------------------------

    def _listener(self, edge: _Edge, spec: EdgeSpec) -> tuple[EdgeSpec, Resource | None, _Problems]:
        old = edge.listener
        if old is not None and old[0] == spec:
            return old
        document, problems = listener(spec, self._options)
        found, why = made(_LISTENER, document) if document is not None else (None, None)
        if found is not None:
            return spec, self._one(Resource.of(LISTENER, LISTENER_NAME, found)), problems
        if why is not None:
            problems = (*problems, Problem("listener", why))
        return spec, old[1] if old is not None else None, problems


class _Alike:
    """Whether tiers are equal; classes share them, so that each pair is looked at once. For objects that stay alive."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], bool] = {}

    def classes(self, a: TrafficClass, b: TrafficClass) -> bool:
        """Whether two classes are equal in what becomes configuration."""
        if a is b:
            return True
        key = (id(a.tiers), id(b.tiers))
        if key not in self._known:
            self._known[key] = a.tiers == b.tiers
        return self._known[key] and (a.service, a.requirements, a.area) == (b.service, b.requirements, b.area)


def _is_as_it_was(old: _Class, kind: TrafficClass, addresses: Addresses, alike: _Alike) -> bool:
    if not alike.classes(old.kind, kind):
        return False
    return all(addresses.get(host, ()) == ips for host, ips in old.addresses.items())


def _same_in_order(sites: Mapping[str, _Site], old: Mapping[str, _Site]) -> bool:
    return len(sites) == len(old) and all(a is b for a, b in zip(sites.values(), old.values(), strict=True))


def _build_site(site: Site, taken: frozenset[str]) -> _Site:
    found, problems = build_site(site, taken)
    if found is None:
        return _Site(site, taken, None, problems, refused=True)
    part = part_of(frozenset(found.domains), found.SerializeToString(deterministic=True))
    return _Site(site, taken, part, problems)


def _problems(edge: _Edge) -> Iterator[Problem]:
    """All that is wrong with what an edge was to be told."""
    for built in edge.classes.values():
        yield from built.problems
    for site in edge.sites.values():
        yield from site.problems
    yield from edge.listener[2] if edge.listener is not None else ()
