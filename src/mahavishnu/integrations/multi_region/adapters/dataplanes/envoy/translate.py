"""From a plan to what an edge is told, one resource at a time, each made again only when what it is made of changed.

A part that an edge would refuse is left out, or left as it was, and named; the rest goes on without it. What binds a
class to regions (its endpoints) is always made anew: an old one might hold a region that is no longer allowed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import blake2b
from types import MappingProxyType

from mahavishnu.integrations.multi_region.core.edges import EdgeSpec
from mahavishnu.integrations.multi_region.core.traffic import EdgePlan, TrafficClass

from .clusters import Shape, build_cluster, shape_of, watch_of
from .constraints import made
from .endpoints import build_endpoints, host_names, varint
from .listeners import listener
from .parts import LISTENER_NAME, ROUTES_NAME, Addresses, EdgeOptions, Problem
from .proto import parse
from .resources import CLUSTER, ENDPOINTS, LISTENER, ROUTES, Resource, Snapshot
from .routes import Site, build_site

_LISTENER = "envoy.config.listener.v3.Listener"
_ROUTES = "envoy.config.route.v3.RouteConfiguration"
_VIRTUAL_HOSTS = b"\x12"  # field 2 of RouteConfiguration

_Problems = tuple[Problem, ...]


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
    """A virtual host as it was built: serialised, empty when there is none. ``refused``: an edge would not take it."""

    site: Site
    taken: frozenset[str]
    body: bytes
    problems: _Problems
    refused: bool = False


@dataclass(slots=True)
class _Edge:
    """All that was built for one edge."""

    classes: dict[str, _Class] = field(default_factory=dict)
    sites: dict[str, _Site] = field(default_factory=dict)
    routes: Resource | None = None
    listener: tuple[EdgeSpec, Resource | None, _Problems] | None = None


class Translator:
    """Makes snapshots of plans, and keeps what it made so that the next one costs only what changed."""

    def __init__(self, options: EdgeOptions | None = None) -> None:
        self._options = options or EdgeOptions()
        self._edges: dict[str, _Edge] = {}
        self._shared: dict[tuple[str, str, str], Resource] = {}
        self._sites_made: dict[tuple[Site, frozenset[str]], _Site] = {}
        self._shapes: dict[tuple[str, Shape], Resource | Problem] = {}

    def snapshot(self, plan: EdgePlan, generation: int, addresses: Addresses) -> tuple[Snapshot, _Problems]:
        """All resources of an edge, and what of the plan is not among them. ``addresses``: of hosts in endpoints."""
        edge = self._edges.setdefault(plan.edge.edge_id, _Edge())
        self._trim()
        edge.classes = {kind.name: self._class(edge.classes.get(kind.name), kind, addresses) for kind in plan.classes}
        sites = self._sites(edge, plan)
        if edge.routes is None or not _same_in_order(sites, edge.sites):
            edge.routes = self._routes(sites)
        edge.sites = sites
        edge.listener = self._listener(edge, plan.edge)
        resources = {
            CLUSTER: {name: built.cluster for name, built in edge.classes.items() if built.cluster is not None},
            ENDPOINTS: {name: built.endpoints for name, built in edge.classes.items() if built.cluster is not None},
            LISTENER: {LISTENER_NAME: edge.listener[1]} if edge.listener[1] is not None else {},
            ROUTES: {ROUTES_NAME: edge.routes},
        }
        frozen = MappingProxyType({url: MappingProxyType(found) for url, found in resources.items()})
        return Snapshot(generation, frozen), tuple(_problems(edge))

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

    def _class(self, old: _Class | None, kind: TrafficClass, addresses: Addresses) -> _Class:
        if old is not None and _is_as_it_was(old, kind, addresses):
            return old
        watch = watch_of(kind)
        endpoints, problems = build_endpoints(kind, addresses, watch.unwatched)
        cluster, why = self._cluster(kind.name, shape_of(kind, watch, self._options.ca_file))
        if cluster is None and old is not None:
            cluster = old.cluster
        known = {host: addresses.get(host, ()) for host in host_names([kind])}
        return _Class(kind, known, cluster, self._one(endpoints), problems + why)

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

    def _sites(self, edge: _Edge, plan: EdgePlan) -> dict[str, _Site]:
        """Virtual hosts; of two services that claim a host name the first has it."""
        found: dict[str, _Site] = {}
        taken: set[str] = set()
        for service in plan.services:
            site = Site.of(service, plan.areas)
            hosts = {host.lower() for host in service.hosts}
            found[service.service] = self._site(edge.sites.get(service.service), site, frozenset(hosts & taken))
            taken |= hosts
        return found

    def _site(self, old: _Site | None, site: Site, taken: frozenset[str]) -> _Site:
        if old is not None and old.site == site and old.taken == taken:
            return old
        if (site, taken) not in self._sites_made:
            self._sites_made[site, taken] = _build_site(site, taken)
        fresh = self._sites_made[site, taken]
        return replace(fresh, body=old.body) if fresh.refused and old is not None and old.taken == taken else fresh

    def _routes(self, sites: Mapping[str, _Site]) -> Resource:
        parts = [_routes_base(), *(site.body for site in sites.values())]
        body = b"".join(parts)
        return self._one(Resource(ROUTES, ROUTES_NAME, body, blake2b(body, digest_size=8).hexdigest()))

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


def _is_as_it_was(old: _Class, kind: TrafficClass, addresses: Addresses) -> bool:
    same = old.kind is kind or old.kind == kind
    return same and all(addresses.get(host, ()) == ips for host, ips in old.addresses.items())


def _same_in_order(sites: Mapping[str, _Site], old: Mapping[str, _Site]) -> bool:
    return len(sites) == len(old) and all(a is b for a, b in zip(sites.values(), old.values(), strict=True))


def _build_site(site: Site, taken: frozenset[str]) -> _Site:
    found, problems = build_site(site, taken)
    if found is None:
        return _Site(site, taken, b"", problems, refused=True)
    body = found.SerializeToString(deterministic=True)
    return _Site(site, taken, _VIRTUAL_HOSTS + varint(len(body)) + body, problems)


@cache
def _routes_base() -> bytes:
    """All of the routes but the virtual hosts. A route's own headers are added last, so that they stay."""
    document = {
        "name": ROUTES_NAME,
        "ignore_port_in_host_matching": True,
        "most_specific_header_mutations_wins": True,
    }
    return bytes(parse(_ROUTES, document).SerializeToString(deterministic=True))


def _problems(edge: _Edge) -> Iterator[Problem]:
    """All that is wrong with what an edge was to be told."""
    for built in edge.classes.values():
        yield from built.problems
    for site in edge.sites.values():
        yield from site.problems
    yield from edge.listener[2] if edge.listener is not None else ()
