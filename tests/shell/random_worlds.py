"""Random worlds for routing: fleets of every kind and state, what was learned, requests, and what the rules answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from random import Random
from types import MappingProxyType
from typing import Any, cast

from mahavishnu.integrations.multi_region.core.deployment import DeploymentView, Group, State
from mahavishnu.integrations.multi_region.core.latency import CELLS, cell_of
from mahavishnu.integrations.multi_region.core.model import (
    AdminState,
    Binding,
    ComplianceFramework,
    DeploymentSpec,
    DeploymentType,
    Fleet,
    LocalityLevel,
    Phase,
    Point,
    PolicyView,
    RegionView,
    RoutingStrategy,
    Service,
)
from mahavishnu.integrations.multi_region.core.ranking import RankInput
from mahavishnu.integrations.multi_region.core.request import Request, shares_of
from mahavishnu.integrations.multi_region.core.residuals import Corrections, Learned
from mahavishnu.integrations.multi_region.core.routing import RoutingDecision, decide
from mahavishnu.integrations.multi_region.facts.network import region_rtt_ms
from mahavishnu.integrations.multi_region.facts.places import centroids
from mahavishnu.integrations.multi_region.shell.manager import RegionManager
from mahavishnu.integrations.multi_region.shell.router import RegionAwareRouter
from mahavishnu.integrations.multi_region.shell.rtt import RttBook
from mahavishnu.integrations.multi_region.testing.builders import view

PLACES = (
    *((90.0, 0.0), (-90.0, 120.0), (0.0, 180.0), (0.0, -180.0), (12.0, 179.999), (12.0, -179.999), (0.0, 0.0)),
    *((10.0, 20.0), (-10.0, 20.0), (10.0, -20.0), (-10.0, -20.0), (45.0, 60.0), (40.0, -104.0), (60.0, 60.0)),
)
COUNTRIES = (None, None, None, "DE", "US", "CA", "RU", "JO", "BR", "AQ")
FRAMEWORKS = (ComplianceFramework.GDPR, ComplianceFramework.SOC2)
SERVICES = ("api", "web", "batch")
POLICIES = ("eu", "near", "law")
DATA = ("d1", "d2")
Kind = tuple[RoutingStrategy, str | None, frozenset[ComplianceFramework]]


class StagedRegistry:
    """Hands out the fleet that it is given."""

    def __init__(self, fleet: Fleet) -> None:
        self.now = fleet

    def fleet(self) -> Fleet:
        return self.now


class StagedManager:
    """As much of a manager as a router asks of it, around a fleet that a test replaces."""

    def __init__(self, fleet: Fleet) -> None:
        self.registry = StagedRegistry(fleet)
        self.round_trips = RttBook()
        self.placements: dict[str, tuple[str, ...]] = {}

    def snapshot(self) -> Fleet:
        return self.registry.now

    def holders(self, data_id: str) -> tuple[str, ...]:
        return self.placements.get(data_id, ())

    def router(self) -> RegionAwareRouter:
        return RegionAwareRouter(cast(RegionManager, self))


class Reference:
    """What routing must answer: the rules over all regions, with turns counted here."""

    def __init__(self, manager: StagedManager) -> None:
        self._manager = manager
        self._turns: Counter[Kind] = Counter()
        self._last: dict[Kind, str] = {}

    def decide(self, context: Mapping[str, Any], strategy: RoutingStrategy | None) -> RoutingDecision:
        """The decision; raises NoEligibleRegionError."""
        fleet, request = self._manager.snapshot(), Request.parse(context, centroids())
        service = fleet.services.get(request.service or "")
        chosen = strategy or (service.strategy if service is not None else RoutingStrategy.LATENCY_BASED)
        kind, deployed = (chosen, request.service, request.requirements), request.service in fleet.deployments
        given, turn = self._given(fleet, request), self._turns[kind]
        decision = decide(fleet, request, chosen, given, turn)
        plan = fleet.deployments.get(request.service or "")
        again = chosen is RoutingStrategy.ROUND_ROBIN and (plan is None or len(plan.groups) < 2)
        if again and self._last.get(kind) == decision.selected_region:
            turn += 1
            decision = decide(fleet, request, chosen, given, turn)
        if deployed or chosen in (RoutingStrategy.ROUND_ROBIN, RoutingStrategy.WEIGHTED):
            self._turns[kind], self._last[kind] = turn + 1, decision.selected_region
        return decision

    def _given(self, fleet: Fleet, request: Request) -> RankInput:
        book, place = self._manager.round_trips, request.location
        service, plan = fleet.services.get(request.service or ""), fleet.deployments.get(request.service or "")
        holders = self._manager.holders(request.data_id or "")
        return RankInput(
            location=place,
            estimate=None if place is None else lambda region: book.estimate_ms(place, region, request.country),
            current=request.current,
            holders=tuple(fleet.regions[r] for r in holders if r in fleet.regions),
            rtt_ms=region_rtt_ms,
            weights=shares_of(service, plan),
        )


# --- fleets -----------------------------------------------------------------------------------


def random_fleet(dice: Random, most: int = 60) -> Fleet:
    """Up to ``most`` regions of every kind and in every state, and rules about them."""
    count = dice.choice((0, 1, 1, 2, 3, 5, 8, 20, most))
    regions = {f"r{i}": random_region(dice, f"r{i}", dice.random() < 0.7) for i in range(count)}
    made = Fleet(revision=1, regions=MappingProxyType(regions))
    return with_rules(dice, made)


def random_region(dice: Random, region_id: str, well: bool) -> RegionView:
    """A region; coincident, at a pole or at the antimeridian oftener than chance would have it."""
    south, east = random_place(dice)
    made = view(
        region_id,
        point=Point(south, east),
        country=dice.choice(COUNTRIES),
        compliance=[f for f in FRAMEWORKS if dice.random() < 0.6],
        cost_multiplier=dice.choice((0.5, 1.0, 1.0, 2.0)),
        load=dice.choice((0.0, 0.0, 20.0, 40.0)),
        max_capacity=dice.choice((100.0, 100.0, 50.0, 200.0)),
    )
    return made if well else random_state(dice, made)


def random_state(dice: Random, region: RegionView) -> RegionView:
    """The same region in any state."""
    failed = dice.random() < 0.2
    return replace(
        region,
        phase=dice.choice((*Phase, Phase.HEALTHY, Phase.HEALTHY)),
        health_score=dice.choice((0.0, 50.0, 90.0, 90.0, dice.uniform(0, 100))),
        admin=dice.choice((AdminState.ACTIVE, AdminState.ACTIVE, AdminState.ACTIVE, *AdminState)),
        load=dice.choice((0.0, 30.0, 99.0, 100.0)),
        serves_as=dice.choice((None, None, None, Phase.DEGRADED)),
        failed_over="lost" if failed else None,
        failed_services=frozenset(dice.sample(SERVICES, 1)) if failed and dice.random() < 0.5 else None,
    )


def random_place(dice: Random) -> tuple[float, float]:
    """Degrees; the odd ones often."""
    if dice.random() < 0.5:
        return dice.choice(PLACES)
    if dice.random() < 0.3:
        return float(dice.randint(-90, 90)), float(dice.randint(-180, 180))
    return dice.uniform(-90, 90), dice.uniform(-180, 180)


def with_rules(dice: Random, fleet: Fleet) -> Fleet:
    """The fleet with other policies, services, deployments and bindings."""
    ids = list(fleet.regions)

    def some() -> tuple[str, ...]:
        return tuple(dice.sample(ids, dice.randint(0, len(ids))))

    policies = {
        name: PolicyView(
            name,
            name,
            frozenset(f for f in FRAMEWORKS if dice.random() < 0.3),
            frozenset(some()) if dice.random() < 0.6 else None,
            dice.choice(list(LocalityLevel)),
            dice.random() < 0.5,
        )
        for name in dice.sample(POLICIES, dice.randint(0, 3))
    }
    services = {
        name: Service(
            name,
            strategy=dice.choice(list(RoutingStrategy)),
            policy=dice.choice((None, *policies)),
            deployment=dice.choice(
                (None, DeploymentSpec(DeploymentType.ACTIVE_ACTIVE, used := some(), _weights(dice, used)))
            ),
        )
        for name in dice.sample(SERVICES, dice.randint(0, 3))
    }
    deployments = {name: _deployment(dice, name, some()) for name in services if ids and dice.random() < 0.5}
    bindings = {name: Binding(dice.choice((None, *policies))) for name in DATA}
    return replace(
        fleet,
        policies=MappingProxyType(policies),
        services=MappingProxyType(services),
        deployments=MappingProxyType({name: made for name, made in deployments.items() if made.regions}),
        bindings=MappingProxyType(bindings),
    )


def _weights(dice: Random, ids: tuple[str, ...]) -> dict[str, float]:
    return {name: dice.choice((0.0, 1.0, 2.5, 10.0)) for name in ids if dice.random() < 0.8}


def _deployment(dice: Random, service: str, ids: tuple[str, ...]) -> DeploymentView:
    cut, spare = sorted((dice.randint(0, len(ids)), dice.randint(0, len(ids))))
    named = (("blue", ids[:cut]), ("green", ids[cut:spare]))
    groups = tuple(Group(name, regions, dice.choice((0.0, 1.0, 10.0, 90.0))) for name, regions in named if regions)
    return DeploymentView(
        deployment_id=f"{service}-1",
        service=service,
        strategy=dice.choice(list(DeploymentType)),
        regions=ids,
        state=State.SERVING,
        groups=groups,
        created_at=0.0,
        entered_at=0.0,
        due_at=0.0,
        standby=ids[spare:],
        declared=dice.random() < 0.3,
    )


# --- changes ----------------------------------------------------------------------------------


def change(dice: Random, manager: StagedManager) -> None:
    """Something happens: to a region's state or place, to the set of regions, to rules, or to what was learned."""
    fleet = manager.snapshot()
    ids = list(fleet.regions)
    what = dice.choice(("state", "state", "state", "fresh", "gone", "moved", "replaced", "rules", "learned", "order"))
    regions = dict(fleet.regions)
    if what == "fresh" or not ids:
        name = f"n{dice.randint(0, 999)}"
        regions[name] = random_region(dice, name, well=True)
    elif what == "state":
        for name in dice.sample(ids, min(len(ids), dice.choice((1, 1, 2, 5)))):
            regions[name] = random_state(dice, regions[name])
    elif what == "moved":
        name = dice.choice(ids)
        regions[name] = replace(regions[name], point=Point(*random_place(dice)), country=dice.choice(COUNTRIES))
    elif what == "gone":
        del regions[dice.choice(ids)]
    elif what == "replaced":  # as many as before, but another
        del regions[dice.choice(ids)]
        regions["other"] = random_region(dice, "other", well=True)
    elif what == "order":
        regions = {name: regions[name] for name in reversed(ids)}
    elif what == "learned":
        manager.round_trips.corrections = random_corrections(dice, fleet, manager.round_trips.corrections)
    else:
        manager.registry.now = with_rules(dice, fleet)
        return
    manager.registry.now = replace(fleet, regions=MappingProxyType(regions), generation=fleet.generation + 1)


def random_corrections(dice: Random, fleet: Fleet, before: Corrections) -> Corrections:
    """More learned of some regions, and all forgotten of others."""
    some = dice.sample(list(fleet.regions), dice.randint(0, min(8, len(fleet.regions))))
    gone = [name for name in before.learned if dice.random() < 0.2]
    return before.having({name: _learned(dice, fleet.regions[name]) for name in some}, gone)


def _learned(dice: Random, region: RegionView) -> Learned:
    near = cell_of(region.point.latitude, region.point.longitude)
    cells = {dice.choice((near, max(0, near - 362), dice.randrange(CELLS))) for _ in range(dice.randint(1, 6))}
    means = [dice.choice((dice.gauss(0, 20), dice.gauss(-30, 40), dice.uniform(-200, 2000))) for _ in cells]
    return Learned(tuple(cells), tuple(dice.uniform(0, 2) for _ in cells), tuple(means))


# --- requests ---------------------------------------------------------------------------------


def random_client(dice: Random, fleet: Fleet) -> tuple[float, float]:
    """Where a client is: anywhere, at a region, opposite to one, half way between two, on edges of cells."""
    views = list(fleet.regions.values())
    how = dice.choice(("odd", "anywhere", "corner", "at", "opposite", "between"))
    if how == "anywhere" or (how in ("at", "opposite", "between") and not views):
        return dice.uniform(-90, 90), dice.uniform(-180, 180)
    if how == "odd":
        return random_place(dice)
    if how == "corner":
        south, east = dice.randint(-90, 90), dice.randint(-180, 180)
        return max(-90.0, min(90.0, south + dice.choice((0.0, -1e-13, 1e-13)))), float(east)
    one, other = dice.choice(views).point, dice.choice(views).point
    if how == "at":
        return one.latitude, one.longitude
    if how == "opposite":
        return -one.latitude, one.longitude - 180.0 if one.longitude > 0 else one.longitude + 180.0
    return (one.latitude + other.latitude) / 2, (one.longitude + other.longitude) / 2


def random_context(dice: Random, fleet: Fleet) -> dict[str, Any]:
    """A request context: the plain one oftenest."""
    context: dict[str, Any] = {}
    if dice.random() < 0.9:
        south, east = random_client(dice, fleet)
        whole = dice.random() < 0.1
        context["user_location"] = {
            "latitude": round(south) if whole else south,
            "longitude": round(east) if whole else east,
        }
    if dice.random() < 0.4:
        return context
    if dice.random() < 0.4:
        context["country"] = dice.choice(("DE", "us", "CA", "RU", "JO", "BR", "FJ"))
    if dice.random() < 0.4:
        context["compliance_requirements"] = [f.value for f in FRAMEWORKS if dice.random() < 0.5]
    if dice.random() < 0.4 and fleet.services:
        context["service"] = dice.choice(list(fleet.services))
    if dice.random() < 0.4 and fleet.regions:
        context["current_region"] = dice.choice((*fleet.regions, "nowhere"))
    if dice.random() < 0.2:
        context["data_id"] = dice.choice(DATA)
    if dice.random() < 0.1:
        context["data_class"] = "personal"
    return context
