"""What becomes of the services of plans, as far as edges share it: each part is worked out once for all of them.

A *mould* is all of a class but its name. Classes share the tiers that they are made of, mostly, and plans share what
did not change, so both are known again as the objects that they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Set
from dataclasses import dataclass, field, replace

from mahavishnu.integrations.multi_region.core.traffic import ServiceTraffic, Target, TrafficClass

from .budget import Demand, Level, floor_of, is_own
from .checks import settling_s
from .clusters import Shape, Watch, mixture, shape_of, watch_of
from .endpoints import Regions, host_names, ips_of, localities
from .parts import NOBODY_LEAVES, Addresses, Leaving, Problem
from .routes import is_refused

_Tiers = tuple[tuple[Target, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Mould:
    """All of some classes but their names. ``known``: the addresses of the hosts in it. ``hosts``: those checked.

    ``leaving``: where regions of it were a moment ago; they are checked beside what is counted, for seconds only.
    ``problems``: each without the name of the class in front. ``shapes``: by the shortest interval of their checks.
    """

    tiers: _Tiers
    known: Addresses
    regions: Regions
    problems: tuple[Problem, ...]
    watch: Watch
    hosts: int
    region_ids: frozenset[str]
    leaving: Leaving
    shapes: dict[float | None, Shape] = field(default_factory=dict)

    def fits(self, addresses: Addresses, leaving: Leaving) -> bool:
        """Whether it is made with these addresses."""
        same = all(addresses.get(host, ()) == ips for host, ips in self.known.items())
        return same and self.leaving == _within(leaving, self.region_ids)

    def shape(self, kind: TrafficClass, level: Level, ca_file: str) -> Shape:
        """The shape of the cluster of a class of this mould, at an edge that checks so much."""
        floor_s = floor_of(level, kind)
        if floor_s not in self.shapes:
            check = None if floor_s is None else watch_of(kind, floor_s).check
            self.shapes[floor_s] = shape_of(kind, replace(self.watch, check=check), ca_file, self.leaving)
        return self.shapes[floor_s]

    def settling_s(self, shape: Shape) -> float:
        """How long its regions that move may take to be found well where they are now; 0 when none moves."""
        return settling_s(shape.check) if self.leaving and shape.check is not None else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """A service, worked out as far as it is the same for all edges. ``dormant``: classes that no region can serve.

    ``known``: the addresses of the hosts in it. ``leaving``: where regions of it were a moment ago, of all its
    ``regions``. ``stamp``: one object for drafts that are equal but for ``traffic``.
    """

    traffic: ServiceTraffic
    classes: tuple[tuple[TrafficClass, str, Mould], ...]
    dormant: frozenset[str]
    hosts: frozenset[str]
    demand: Demand
    known: Addresses
    regions: frozenset[str]
    leaving: Leaving
    stamp: object = field(default_factory=object)

    def fits(self, addresses: Addresses, leaving: Leaving) -> bool:
        """Whether it is made with these addresses."""
        if not (self.known or leaving or self.leaving):
            return True
        same = all(addresses.get(host, ()) == ips for host, ips in self.known.items())
        return same and self.leaving == _within(leaving, self.regions)


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

    def of(
        self, service: ServiceTraffic, old: Draft | None, addresses: Addresses, leaving: Leaving, alike: Alike
    ) -> Draft:
        """The draft of a service. ``old``: an earlier one under its name, of which much may still be right."""
        found = self._drafts.get(id(service))
        if found is None or not found.fits(addresses, leaving):
            if old is not None and old.fits(addresses, leaving) and alike.services(old.traffic, service):
                found = replace(old, traffic=service)
            else:
                found = self._made(service, addresses, leaving)
            self._drafts[id(service)] = found
        return found

    def _made(self, service: ServiceTraffic, addresses: Addresses, leaving: Leaving) -> Draft:
        self.made += 1
        asleep, classes = [], []
        for kind in service.classes:
            if is_refused(kind):
                asleep.append(kind.name)
            else:
                classes.append((kind, kind.name, self._mould(kind, addresses, leaving)))
        known: dict[str, tuple[str, ...]] = {}
        regions: set[str] = set()
        for mould in {id(mould): mould for _, _, mould in classes}.values():
            known.update(mould.known)
            regions |= mould.region_ids
        hosts = frozenset(host.lower() for host in service.hosts)
        beside = _within(leaving, regions)
        demand = _demand(classes)
        return Draft(service, tuple(classes), frozenset(asleep), hosts, demand, known, frozenset(regions), beside)

    def _mould(self, kind: TrafficClass, addresses: Addresses, leaving: Leaving) -> Mould:
        key = (id(kind.tiers), bool(kind.requirements))
        found = self._moulds.get(key)
        if found is None or not found.fits(addresses, leaving):
            found = self._moulds[key] = _mould(kind, addresses, leaving)
        return found


def _within(leaving: Leaving, region_ids: Set[str]) -> Leaving:
    """Those of some regions."""
    return {name: formers for name, formers in leaving.items() if name in region_ids} if leaving else NOBODY_LEAVES


def _mould(kind: TrafficClass, addresses: Addresses, leaving: Leaving) -> Mould:
    watch, region_ids = watch_of(kind), frozenset(target.region_id for target in kind.targets)
    beside = _within(leaving, region_ids)
    regions, problems = localities(kind.tiers, addresses, watch.unwatched, beside, watch.watches)
    mixed = (found,) if (found := mixture(kind)) is not None else ()
    known = {host: tuple(addresses.get(host, ())) for host in host_names([kind])}
    watched = (target for target in kind.targets if target.region_id not in watch.unwatched)
    hosts = sum(len(ips_of(target, addresses)) for target in watched) if watch.check is not None else 0
    return Mould(kind.tiers, known, regions, (*problems, *mixed), watch, hosts, region_ids, beside)


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
