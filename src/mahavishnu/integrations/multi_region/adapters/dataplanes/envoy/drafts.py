"""What becomes of the services of plans, as far as edges share it: each part is worked out once for all of them.

A *mould* is all of a class but its name. Classes share the tiers that they are made of, mostly, and plans share what
did not change, so both are known again as the objects that they are.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from mahavishnu.integrations.multi_region.core.traffic import ServiceTraffic, Target, TrafficClass

from .budget import Demand, Level, floor_of, is_own
from .clusters import Shape, Watch, mixture, shape_of, watch_of
from .endpoints import Regions, host_names, ips_of, localities
from .parts import Addresses, Problem
from .routes import is_refused

_Tiers = tuple[tuple[Target, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Mould:
    """All of some classes but their names. ``known``: the addresses of the hosts in it. ``hosts``: those checked.

    ``problems``: each without the name of the class in front. ``shapes``: by the shortest interval of their checks.
    """

    tiers: _Tiers
    known: Addresses
    regions: Regions
    problems: tuple[Problem, ...]
    watch: Watch
    hosts: int
    shapes: dict[float | None, Shape] = field(default_factory=dict)

    def shape(self, kind: TrafficClass, level: Level, ca_file: str) -> Shape:
        """The shape of the cluster of a class of this mould, at an edge that checks so much."""
        floor_s = floor_of(level, kind)
        if floor_s not in self.shapes:
            check = None if floor_s is None else watch_of(kind, floor_s).check
            self.shapes[floor_s] = shape_of(kind, replace(self.watch, check=check), ca_file)
        return self.shapes[floor_s]


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """A service, worked out as far as it is the same for all edges. ``dormant``: classes that no region can serve.

    ``known``: the addresses of the hosts in it. ``stamp``: one object for drafts that are equal but for ``traffic``.
    """

    traffic: ServiceTraffic
    classes: tuple[tuple[TrafficClass, str, Mould], ...]
    dormant: frozenset[str]
    hosts: frozenset[str]
    demand: Demand
    known: Addresses
    stamp: object = field(default_factory=object)

    def fits(self, addresses: Addresses) -> bool:
        """Whether it is made with these addresses."""
        return all(addresses.get(host, ()) == ips for host, ips in self.known.items())


class Drafts:
    """Makes drafts, and keeps them until told to let go. ``made``: how many it had to make."""

    def __init__(self) -> None:
        self._moulds: dict[tuple[int, bool], Mould] = {}
        self._drafts: dict[int, Draft] = {}
        self.made = 0

    def __len__(self) -> int:
        return max(len(self._moulds), len(self._drafts))

    def clear(self) -> None:
        """Let go of all; what is still used is made again."""
        self._moulds.clear()
        self._drafts.clear()

    def of(self, service: ServiceTraffic, old: Draft | None, addresses: Addresses, alike: Alike) -> Draft:
        """The draft of a service. ``old``: an earlier one under its name, of which much may still be right."""
        found = self._drafts.get(id(service))
        if found is None or not found.fits(addresses):
            if old is not None and old.fits(addresses) and alike.services(old.traffic, service):
                found = replace(old, traffic=service)
            else:
                found = self._made(service, addresses)
            self._drafts[id(service)] = found
        return found

    def _made(self, service: ServiceTraffic, addresses: Addresses) -> Draft:
        self.made += 1
        asleep, classes = [], []
        for kind in service.classes:
            if is_refused(kind):
                asleep.append(kind.name)
            else:
                classes.append((kind, kind.name, self._mould(kind, addresses)))
        known: dict[str, tuple[str, ...]] = {}
        for mould in {id(mould): mould for _, _, mould in classes}.values():
            known.update(mould.known)
        hosts = frozenset(host.lower() for host in service.hosts)
        return Draft(service, tuple(classes), frozenset(asleep), hosts, _demand(classes), known)

    def _mould(self, kind: TrafficClass, addresses: Addresses) -> Mould:
        key = (id(kind.tiers), bool(kind.requirements))
        found = self._moulds.get(key)
        if found is None or any(addresses.get(host, ()) != ips for host, ips in found.known.items()):
            found = self._moulds[key] = _mould(kind, addresses)
        return found


def _mould(kind: TrafficClass, addresses: Addresses) -> Mould:
    watch = watch_of(kind)
    regions, problems = localities(kind.tiers, addresses, watch.unwatched)
    mixed = (found,) if (found := mixture(kind)) is not None else ()
    known = {host: tuple(addresses.get(host, ())) for host in host_names([kind])}
    watched = (target for target in kind.targets if target.region_id not in watch.unwatched)
    hosts = sum(len(ips_of(target, addresses)) for target in watched) if watch.check is not None else 0
    return Mould(kind.tiers, known, regions, (*problems, *mixed), watch, hosts)


def _demand(classes: list[tuple[TrafficClass, str, Mould]]) -> Demand:
    total: Counter[tuple[bool, float]] = Counter()
    for kind, _, mould in classes:
        if mould.watch.check is not None:
            total[is_own(kind), mould.watch.check.interval_s] += mould.hosts
    return tuple((own, interval_s, hosts) for (own, interval_s), hosts in sorted(total.items()))


class Alike:
    """Whether services are equal in what becomes configuration; each pair of tiers is looked at once.

    For one run, and for objects that stay alive.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], bool] = {}

    def services(self, a: ServiceTraffic, b: ServiceTraffic) -> bool:
        """Whether they are."""
        if (a.service, a.hosts, a.routes, a.requirements) != (b.service, b.hosts, b.routes, b.requirements):
            return False
        return len(a.classes) == len(b.classes) and all(map(self._classes, a.classes, b.classes))

    def _classes(self, a: TrafficClass, b: TrafficClass) -> bool:
        if a is b:
            return True
        key = (id(a.tiers), id(b.tiers))
        if key not in self._known:
            self._known[key] = a.tiers == b.tiers
        same = (a.service, a.requirements, a.area) == (b.service, b.requirements, b.area)
        return self._known[key] and same and is_refused(a) == is_refused(b)
