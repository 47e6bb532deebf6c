"""What each edge is to do with each kind of request: a Fleet and the edges, to a TrafficPlan.

Each service has a class for each statement of requirements that edges understand, the empty one included, at the
edge's own place; and one in each other area where the same regions come in another order, whatever their health. Who
may serve a class is ``rosters.py``'s; whom ``routing.py`` would choose, retold as tiers, is ``tiers.py``'s; where
clients are is ``areas.py``'s; what goes elsewhere for want of room is ``spill.py``'s. What services, edges and areas
have in common is worked out once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from .areas import Areas, Order, areas_of, narrowed, order_of, ranks, rtt_step_ms
from .demand import Demand, without_edges
from .edges import ClientPlace, EdgeSpec
from .model import Fleet, HealthCheck, Point, RoutingStrategy, Service
from .ranking import KEYS, Key, RankInput, by_latency, ordered
from .rosters import Kind, Roster, Rosters, Served
from .routes import RouteClass
from .sharing import Before, OldClasses, are_same
from .spill import Reserves, made_to_fit
from .tiers import Member, Pool, placed, pools_of, whole_weights
from .traffic import EdgePlan, ServiceTraffic, Standing, Target, TrafficClass, TrafficPlan, Whereabouts

DEFAULT_SERVICE = "default"
"""The service that an edge has where none is declared."""

PLACELESS = frozenset(
    {
        RoutingStrategy.CAPACITY_BASED,
        RoutingStrategy.COST_BASED,
        RoutingStrategy.HEALTH_BASED,
        RoutingStrategy.ROUND_ROBIN,
    }
)
"""Strategies to which it is all the same where clients are: one class serves every area."""

Tiers = tuple[tuple[Target, ...], ...]
Far = tuple[tuple[str, int], ...]
"""Regions that are not near an edge: their ids, and the step in ms that the round trip falls in."""


@dataclass(frozen=True, slots=True)
class SteeringInput:
    """What a plan goes by beside the fleet and the edges.

    ``estimate``: from a place and its country (ISO 3166-1 alpha-2) to the round trip in ms to expect to a region.
    ``check``: how edges are to watch a region, by its id. ``countries``: the place that stands for each country.
    ``seen_alive``: regions that edges' own real requests succeeded at just now. ``demand``: requests/s that each class
    has at each edge, wherever they go now. ``carried``: requests/s that edges send, by region: their part of its load.
    """

    estimate: Callable[[Point, str | None], Key]
    check: Callable[[str], HealthCheck]
    countries: Mapping[str, Point] = field(default_factory=lambda: MappingProxyType({}))
    seen_alive: frozenset[str] = frozenset()
    demand: Demand = field(default_factory=lambda: MappingProxyType({}))
    carried: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


def plan_traffic(
    fleet: Fleet, edges: Mapping[str, EdgeSpec], given: SteeringInput, previous: TrafficPlan | None = None
) -> TrafficPlan:
    """What each edge is to do; equal inputs give equal plans.

    ``previous``: a plan made before; it changes nothing of what the new one says. Each edge's plan, service, class and
    target that equals the one of the same name there is that very object.

    A service whose every host another one has is at no edge: nothing could reach it. What edges send now decides
    nothing, only what they are asked for: so no plan undoes the one before.
    """
    others = without_edges(fleet, given.carried)
    before = Before(previous)
    planner = _Planner(others, given, before)
    plans = {edge_id: planner.edge(edges[edge_id]) for edge_id in sorted(edges)}
    fitting = made_to_fit(plans, others, given.demand, planner.reserves)
    told = {edge_id: before.edge(plan, plans[edge_id]) for edge_id, plan in fitting.items()}
    return TrafficPlan(fleet.revision, fleet.generation, MappingProxyType(told), whereabouts(fleet, given.check))


def whereabouts(fleet: Fleet, check: Callable[[str], HealthCheck]) -> Mapping[str, Whereabouts]:
    """Where each region is. ``check``: how edges are to watch a region, by its id."""
    found = {
        name: Whereabouts(region.endpoint, region.protocol, check(name), (region.country, region.facts))
        for name, region in sorted(fleet.regions.items())
    }
    return MappingProxyType(found)


def hosts_of(services: Mapping[str, Service | None]) -> dict[str, tuple[str, ...]]:
    """The hosts of each service, in lower case; of two that claim one, the first by name has it.

    A service without hosts has its own name, and every host that nobody claims if it is the only such service and no
    other claims ``*``. None stands for a service that is deployed and not declared.
    """
    stated = {name: tuple(h.lower() for h in one.hosts) if one is not None else () for name, one in services.items()}
    bare = [name for name, hosts in stated.items() if not hosts]
    free = len(bare) == 1 and not any("*" in hosts for hosts in stated.values())
    owners: dict[str, str] = {}
    for name in sorted(stated):
        for host in stated[name] or (name.lower(), *(("*",) if free else ())):
            owners.setdefault(host, name)
    found: dict[str, list[str]] = {name: [] for name in sorted(stated)}
    for host, owner in owners.items():
        found[owner].append(host)
    return {name: tuple(hosts) for name, hosts in found.items()}


def routes_of(service: Service | None) -> tuple[RouteClass, ...]:
    """The ways of carrying a service's requests, the longest prefix first; the last fits every path."""
    stated = service.routes if service is not None else ()
    routes = sorted(stated, key=lambda route: -len(route.prefix))
    return (*routes, *(() if any(route.prefix == "/" for route in routes) else (RouteClass(),)))


class _Planner:
    """Makes the plans of one fleet's edges, and remembers what they share. ``before``: what they were told."""

    def __init__(self, fleet: Fleet, given: SteeringInput, before: Before) -> None:
        self._fleet = fleet
        self._given = given
        self._before = before
        names = sorted({*fleet.services, *fleet.deployments})
        self._hosts = hosts_of({name: fleet.services.get(name) for name in names}) or {DEFAULT_SERVICE: ("*",)}
        rosters = Rosters(fleet, given.seen_alive)
        self._served = [rosters.of(name) for name, hosts in self._hosts.items() if hosts]
        self._reached = [fleet.regions[region_id] for region_id in sorted(rosters.reach)]
        self._placed = [placed(region) for region in self._reached]
        self._checks = {region_id: given.check(region_id) for region_id in sorted(rosters.reach)}
        self._countries: dict[str, Order] | None = None
        self._services: dict[tuple[tuple[tuple[str, Order], ...], Far, int], tuple[ServiceTraffic, ...]] = {}
        self._by_kind: dict[tuple[Order, Far, Kind], tuple[Tiers, ...]] = {}
        self._apart: dict[tuple[Order, Order, Kind], tuple[bool, ...]] = {}
        self._exhaustions: dict[int, str | None] = {}
        self._tiers: dict[object, Tiers] = {}
        self._ranked: dict[tuple[Order, RoutingStrategy], list[str]] = {}
        self._targets: dict[tuple[str, int, Standing, int], Target] = {}

    @property
    def reserves(self) -> Reserves:
        """The regions of each class that must take nothing now, where there are some."""
        pairs = ((served.name, roster) for served in self._served for roster in served.rosters)
        return {(name, roster.statement): roster.reserve for name, roster in pairs if roster.reserve}

    # --- edges and areas ----------------------------------------------------------------------

    def edge(self, edge: EdgeSpec) -> EdgePlan:
        """All that one edge is told."""
        areas, far, told = self._areas(edge), self._far(edge), self._before.services(edge.edge_id)
        key = (tuple((area.name, order) for area, order in areas), far, id(told))
        if key not in self._services:
            olds = {one.service: one for one in told}
            services = tuple(self._service(served, areas, far, olds.get(served.name)) for served in self._served)
            self._services[key] = told if are_same(services, told) else services
        return EdgePlan(edge, tuple(area for area, _ in areas), self._services[key])

    def _far(self, edge: EdgeSpec) -> Far:
        estimate = self._given.estimate(edge.point, edge.country)
        steps = ((region.region_id, rtt_step_ms(estimate(region))) for region in self._reached)
        return tuple((region_id, step) for region_id, step in steps if step)

    def _areas(self, edge: EdgeSpec) -> Areas:
        own = self._order(edge.point, edge.country)
        networks = {network.name: self._order(network.point, network.country) for network in edge.networks}
        return areas_of(edge, own, self._by_country() if edge.client_place is ClientPlace.GEOIP else {}, networks)

    def _by_country(self) -> dict[str, Order]:
        if self._countries is None:
            places = sorted(self._given.countries.items())
            self._countries = {code: self._order(place, code) for code, place in places}
        return self._countries

    def _order(self, place: Point, country: str | None) -> Order:
        """The order of all regions that may serve some service by law, in whatever health they are."""
        return order_of(self._reached, self._given.estimate(place, country))

    # --- classes ------------------------------------------------------------------------------

    def _service(self, served: Served, areas: Areas, far: Far, old: ServiceTraffic | None) -> ServiceTraffic:
        name, own, olds = served.name, areas[-1][1], OldClasses(old)
        drawn = [(a.name, self._drawn(served, order, far), self._is_apart(served, order, own)) for a, order in areas]
        classes: list[TrafficClass] = []
        for position, roster in enumerate(served.rosters):
            excluded = served.excluded(roster)
            exhausted = self._exhausted(roster, excluded)
            for area, tiers, apart in drawn:
                if not area or apart[position]:
                    was = olds.at(len(classes), roster.statement, area)
                    classes.append(self._kind(name, roster, area, tiers[position], excluded, exhausted, was))
        stated = tuple(roster.statement for roster in served.rosters if roster.statement)
        routes = routes_of(self._fleet.services.get(name))
        made = ServiceTraffic(name, self._hosts[name], routes, stated, tuple(classes))
        return old if old == made else made

    def _exhausted(self, roster: Roster, excluded: Mapping[str, str]) -> str | None:
        if excluded is not roster.unlawful:
            return roster.exhaustion(excluded)
        if id(roster) not in self._exhaustions:
            self._exhaustions[id(roster)] = roster.exhaustion(excluded)
        return self._exhaustions[id(roster)]

    def _kind(
        self,
        name: str,
        roster: Roster,
        area: str,
        tiers: Tiers,
        excluded: Mapping[str, str],
        exhausted: str | None,
        old: TrafficClass | None,
    ) -> TrafficClass:
        """A class; the old one where it is equal: most are, and to compare is quicker than to make."""
        if old is not None:
            tiers = self._before.tiers(tiers, old.tiers)
            if tiers is old.tiers and (exhausted, 0.0) == (old.exhausted, old.overload) and excluded == old.excluded:
                return old
        return TrafficClass(name, roster.statement, area, tiers, excluded, exhausted)

    def _is_apart(self, served: Served, order: Order, own: Order) -> tuple[bool, ...]:
        """For each roster, whether clients with this order are told apart from those at the edge's own place."""
        if served.kind.strategy in PLACELESS:
            return (False,) * len(served.rosters)
        key = (order, own, served.kind)
        if key not in self._apart:
            sides = (roster.sides for roster in served.rosters)
            self._apart[key] = tuple(any(narrowed(order, s) != narrowed(own, s) for s in pair) for pair in sides)
        return self._apart[key]

    def _drawn(self, served: Served, order: Order, far: Far) -> tuple[Tiers, ...]:
        """The tiers of each of a service's rosters, for clients whose regions are in this order."""
        key = (order, far, served.kind)
        if key not in self._by_kind:
            self._by_kind[key] = tuple(self._tiers_of(served, roster, order, far) for roster in served.rosters)
        return self._by_kind[key]

    def _tiers_of(self, served: Served, roster: Roster, order: Order, far: Far) -> Tiers:
        kind = served.kind
        key = (order, far, kind.strategy, kind.groups, kind.warm, kind.weights, roster.shape)
        if key not in self._tiers:
            members = {one.region.region_id: one for one in roster.members}
            ranked = [members[name] for name in self._rank(kind, order) if name in members]
            pools = pools_of(ranked, kind.strategy, served.deployment, dict(kind.weights))
            steps = dict(far)
            self._tiers[key] = tuple(self._tier(pool, steps) for pool in pools)
        return self._tiers[key]

    def _rank(self, kind: Kind, order: Order) -> list[str]:
        """Regions best first, as ``routing.decide`` has them for a client whose regions are in this order.

        Those that are down, of which it knows nothing, stand where they would if they were well.
        """
        key = (order, kind.strategy)
        if key not in self._ranked:
            rank = ranks(order)
            given = RankInput(location=_ANYWHERE, estimate=lambda region: float(rank[region.region_id]))
            own = KEYS[kind.strategy](given) if kind.strategy in KEYS else None
            best = own or by_latency(given)
            assert best is not None  # the location is known
            self._ranked[key] = [region.region_id for region in ordered(self._placed, best)]
        return self._ranked[key]

    def _tier(self, pool: Pool, steps: Mapping[str, int]) -> tuple[Target, ...]:
        weights = whole_weights([share for _, share in pool])
        return tuple(self._target(one, weight, steps) for (one, _), weight in zip(pool, weights, strict=True))

    def _target(self, member: Member, weight: int, steps: Mapping[str, int]) -> Target:
        region = member.region
        name, rtt_ms = region.region_id, steps.get(region.region_id, 0)
        key = (name, weight, member.standing, rtt_ms)
        if key not in self._targets:
            check = self._checks[name]
            made = Target(name, region.endpoint, weight, member.standing, region.protocol, check, rtt_ms)
            self._targets[key] = made
        return self._targets[key]


_ANYWHERE = Point(0.0, 0.0)
"""Stands for any place: an order says how near the regions are, so nothing is measured from it."""
