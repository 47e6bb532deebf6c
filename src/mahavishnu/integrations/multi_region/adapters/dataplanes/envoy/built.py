"""Services as edges are told of them: drafts with their names put in. Equal parts are the same objects everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sized
from dataclasses import dataclass, replace

from mahavishnu.integrations.multi_region.core.traffic import Area

from .assembly import part_of
from .budget import Level
from .clusters import Shape, build_cluster
from .drafts import Draft, Drafts
from .endpoints import assignment
from .parts import Problem
from .resources import Part, Resource
from .routes import Site, build_site

_Problems = tuple[Problem, ...]
_ROOM = 1_000


@dataclass(frozen=True, slots=True, eq=False)
class BuiltSite:
    """A virtual host as it was built, no part when there is none. ``refused``: an edge would not take it."""

    site: Site
    part: Part | None
    problems: _Problems
    refused: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """A service as edges are told of it. ``clash``: host names that another service has.

    ``lacking``: endpoints of classes whose clusters an edge would refuse. ``settling_s``: how long regions that move
    may take to be found well where they are now.
    """

    draft: Draft
    level: Level
    areas: tuple[Area, ...]
    clash: frozenset[str]
    clusters: Mapping[str, Resource]
    endpoints: Mapping[str, Resource]
    lacking: Mapping[str, Resource]
    site: BuiltSite
    problems: _Problems
    settling_s: float = 0.0

    def is_of(self, draft: Draft, level: Level, areas: tuple[Area, ...], clash: frozenset[str]) -> bool:
        """Whether it is what would be built of these."""
        same = (self.draft is draft or self.draft.stamp is draft.stamp) and self.level is level and self.clash == clash
        return same and (self.areas is areas or self.areas == areas)


class Builder:
    """Builds services, and keeps what it built for other edges and later plans."""

    def __init__(self, ca_file: str) -> None:
        self.drafts = Drafts()
        self._ca_file = ca_file
        self._built: dict[tuple[int, Level, tuple[Area, ...], frozenset[str]], Built] = {}
        self._sites: dict[tuple[Site, frozenset[str]], BuiltSite] = {}
        self._clusters: dict[Shape, dict[str, Resource | Problem]] = {}
        self._resources: dict[tuple[str, str, str], Resource] = {}
        self._limit = _ROOM

    def one(self, resource: Resource) -> Resource:
        """The resource that stands for all equal ones."""
        return self._resources.setdefault((resource.type_url, resource.name, resource.version), resource)

    def trim(self, held: Iterable[Built]) -> None:
        """Let go of what no edge holds any more, once that is most of what is kept. ``held``: by edges."""
        kept: tuple[Sized, ...] = (self._built, self._sites, self._resources, self.drafts)
        if max(len(each) for each in kept) <= self._limit:
            return
        services = {id(built): built for built in held}.values()
        self._limit = _ROOM + sum(4 * len(built.clusters) + 4 for built in services)
        self.drafts.clear()
        for each in (self._built, self._sites, self._resources, self._clusters):
            each.clear()

    def build(
        self, draft: Draft, level: Level, areas: tuple[Area, ...], clash: frozenset[str], old: Built | None
    ) -> Built:
        """A service at edges with these areas. ``old``: what this edge has, for parts that it would refuse now."""
        key = (id(draft.stamp), level, areas, clash)
        found = self._built.get(key)
        if found is None:
            found = self._built[key] = self._fresh(draft, level, areas, clash, old)
        return found if old is None else _with_old(found, old)

    def _fresh(
        self, draft: Draft, level: Level, areas: tuple[Area, ...], clash: frozenset[str], old: Built | None
    ) -> Built:
        clusters: dict[str, Resource] = {}
        endpoints: dict[str, Resource] = {}
        problems: list[Problem] = []
        settling_s = 0.0
        for kind, name, mould in draft.classes:
            shape = mould.shape(kind, level, self._ca_file)
            settling_s = max(settling_s, mould.settling_s(shape))
            cluster, why = self._cluster(name, shape)
            if cluster is not None:
                clusters[name] = cluster
            endpoints[name] = self.one(assignment(name, mould.regions))
            problems += why
            problems += (replace(one, resource=name + one.resource) for one in mould.problems)
        site = self._site(draft, areas, clash, None if old is None else old.site.site)
        told = {name: endpoints[name] for name in clusters} if len(clusters) < len(endpoints) else endpoints
        lacking = {} if told is endpoints else {n: one for n, one in endpoints.items() if n not in clusters}
        said = (*problems, *site.problems)
        return Built(draft, level, areas, clash, clusters, told, lacking, site, said, settling_s)

    def _cluster(self, name: str, shape: Shape) -> tuple[Resource | None, tuple[Problem, ...]]:
        """The cluster, without a check when its check is what an edge would refuse."""
        found = self._shaped(name, shape)
        if isinstance(found, Resource):
            return found, ()
        unchecked = self._shaped(name, replace(shape, check=None))
        return (unchecked if isinstance(unchecked, Resource) else None), (found,)

    def _shaped(self, name: str, shape: Shape) -> Resource | Problem:
        known = self._clusters.setdefault(shape, {})
        if name not in known:
            known[name] = build_cluster(name, shape)
        return known[name]

    def _site(self, draft: Draft, areas: tuple[Area, ...], clash: frozenset[str], old: Site | None) -> BuiltSite:
        same = old is not None and old.is_of(draft.traffic, areas)
        site = old if old is not None and same else Site.of(draft.traffic, areas)
        key = (site, clash)
        if key not in self._sites:
            self._sites[key] = _build_site(site, clash)
        return self._sites[key]


def _with_old(fresh: Built, old: Built) -> Built:
    """What was built, with what the edge has where it would refuse the new: a virtual host, a cluster of any shape."""
    lacking = {name: old.clusters[name] for name in fresh.lacking if name in old.clusters}
    stays = fresh.site.refused and old.clash == fresh.clash
    if not lacking and not stays:
        return fresh
    endpoints = {name: fresh.lacking[name] for name in lacking}
    return replace(
        fresh,
        clusters={**fresh.clusters, **lacking},
        endpoints={**fresh.endpoints, **endpoints},
        site=replace(fresh.site, part=old.site.part) if stays else fresh.site,
    )


def _build_site(site: Site, clash: frozenset[str]) -> BuiltSite:
    found, problems = build_site(site, clash)
    if found is None:
        return BuiltSite(site, None, problems, refused=True)
    part = part_of(frozenset(found.domains), found.SerializeToString(deterministic=True))
    return BuiltSite(site, part, problems)
