"""What a new plan has in common with the one before it, taken over as the same objects.

Most changes touch little of a plan. Where what is of one name in both is equal, the new plan holds the very object of
the old one, so that whoever carries plans out can pass over it by identity. Nothing here changes what a plan says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from .traffic import EdgePlan, ServiceTraffic, Target, TrafficClass, TrafficPlan

Tiers = tuple[tuple[Target, ...], ...]


class OldClasses:
    """The classes that a service had at an edge."""

    def __init__(self, service: ServiceTraffic | None) -> None:
        self._classes = service.classes if service is not None else ()
        self._named: dict[tuple[tuple[str, ...], str], TrafficClass] | None = None

    def at(self, place: int, requirements: tuple[str, ...], area: str) -> TrafficClass | None:
        """The one of that name, most likely at that place."""
        if place < len(self._classes):
            old = self._classes[place]
            if old.area == area and old.requirements == requirements:
                return old
        if self._named is None:
            self._named = {(kind.requirements, kind.area): kind for kind in self._classes}
        return self._named.get((requirements, area))


class Before:
    """The plan before, None for none. Made for one new plan; remembers what it compared."""

    def __init__(self, previous: TrafficPlan | None) -> None:
        self._edges: Mapping[str, EdgePlan] = previous.edges if previous is not None else {}
        self._compared: dict[tuple[int, int], tuple[Tiers, Tiers, Tiers]] = {}

    def services(self, edge_id: str) -> tuple[ServiceTraffic, ...]:
        """All that an edge was told of its services."""
        old = self._edges.get(edge_id)
        return old.services if old is not None else ()

    def tiers(self, made: Tiers, old: Tiers) -> Tiers:
        """The old tiers where they are equal, else the new ones with each old target that is still so."""
        if made is old:
            return old
        key = (id(made), id(old))
        if key not in self._compared:
            self._compared[key] = (old if made == old else _mixed(made, old), made, old)  # kept, so that ids stand
        return self._compared[key][0]

    def service(self, made: ServiceTraffic, old: ServiceTraffic | None) -> ServiceTraffic:
        """The old one where it is equal, else the new one with each old class that is still so."""
        if old is None or made is old:
            return made
        olds = OldClasses(old)
        classes = tuple(
            self._kind(kind, olds.at(place, kind.requirements, kind.area)) for place, kind in enumerate(made.classes)
        )
        if are_same(classes, old.classes):
            classes = old.classes
        made = made if are_same(classes, made.classes) else replace(made, classes=classes)
        return old if classes is old.classes and made == old else made

    def edge(self, made: EdgePlan, checked: EdgePlan | None = None) -> EdgePlan:
        """The old one where it is equal, else the new one with each old service that is still so.

        ``checked``: the same edge's plan at a moment when all of its services had been compared.
        """
        old = self._edges.get(made.edge.edge_id)
        if old is None:
            return made
        services = tuple(self._compared_services(made, old, checked))
        if are_same(services, old.services):
            services = old.services
        made = made if are_same(services, made.services) else replace(made, services=services)
        return old if services is old.services and made == old else made

    def _compared_services(self, made: EdgePlan, old: EdgePlan, checked: EdgePlan | None) -> Iterator[ServiceTraffic]:
        olds = {one.service: one for one in old.services}
        for one, known in zip(made.services, (checked or made).services, strict=True):
            yield one if one is known and checked is not None else self.service(one, olds.get(one.service))

    def _kind(self, made: TrafficClass, old: TrafficClass | None) -> TrafficClass:
        if old is None or made is old:
            return made
        tiers = self.tiers(made.tiers, old.tiers)
        made = made if tiers is made.tiers else replace(made, tiers=tiers)
        return old if tiers is old.tiers and made == old else made


def are_same(some: tuple[object, ...], others: tuple[object, ...]) -> bool:
    """Whether two tuples hold the very same objects."""
    return some is others or (len(some) == len(others) and all(a is b for a, b in zip(some, others, strict=True)))


def _mixed(made: Tiers, old: Tiers) -> Tiers:
    """Tiers with old targets in place of equal new ones; the same tiers where there are none."""
    olds = {target.region_id: target for tier in old for target in tier}
    swaps: dict[str, Target] = {}
    for tier in made:
        for target in tier:
            was = olds.get(target.region_id)
            if was is not None and was is not target and was == target:
                swaps[target.region_id] = was
    return tuple(tuple([swaps.get(one.region_id, one) for one in tier]) for tier in made) if swaps else made
