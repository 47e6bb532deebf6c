"""What a plan takes over from the one before it changes nothing of what it says, however little differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mahavishnu.integrations.multi_region.core.edges import EdgeSpec
from mahavishnu.integrations.multi_region.core.geo import distance_km
from mahavishnu.integrations.multi_region.core.model import Fleet, HealthCheck, Point
from mahavishnu.integrations.multi_region.core.steering import SteeringInput, plan_traffic
from mahavishnu.integrations.multi_region.core.traffic import EdgePlan, TrafficPlan
from mahavishnu.integrations.multi_region.testing.builders import fleet, service

EDGE = EdgeSpec("edge", Point(50.1, 8.7), listen="127.0.0.1:10000")
GIVEN = SteeringInput(lambda place, _: lambda region: distance_km(place, region.point), lambda _: HealthCheck())
WORLD = fleet("eu-west-1", services=[service("api", hosts=("api.test",)), service("web", hosts=("web.test",))])

TOO_MUCH = {("edge", "api"): 150.0}
"""More than the one region can take, so that the plan is made to fit."""


def planned(
    world: Fleet = WORLD,
    edge: EdgeSpec = EDGE,
    demand: Mapping[tuple[str, str], float] | None = None,
    previous: TrafficPlan | None = None,
) -> TrafficPlan:
    return plan_traffic(world, {"edge": edge}, replace(GIVEN, demand=demand or {}), previous)


def told(plan: TrafficPlan) -> EdgePlan:
    return plan.edges["edge"]


def test_an_edge_of_which_only_the_declaration_changed_is_told_it() -> None:
    first, moved = planned(), replace(EDGE, listen="127.0.0.1:10001")
    after = planned(edge=moved, previous=first)
    assert told(after).edge == moved
    assert told(after).services is told(first).services


def test_a_service_of_which_only_the_hosts_changed_has_the_new_ones() -> None:
    first = planned(demand=TOO_MUCH)
    world = fleet("eu-west-1", services=[service("api", hosts=("new.test",)), service("web", hosts=("web.test",))])
    before, (api, web) = told(first).services, told(planned(world, demand=TOO_MUCH, previous=first)).services
    assert api.hosts == ("new.test",)
    assert all(now is old for now, old in zip(api.classes, before[0].classes, strict=True))
    assert web is before[1]


def test_a_class_of_which_only_the_overload_changed_is_told_it() -> None:
    first = planned(demand=TOO_MUCH)
    after = planned(demand={("edge", "api"): 200.0}, previous=first)
    before, now = (told(plan).services[0].classes[0] for plan in (first, after))
    assert now.tiers is before.tiers
    assert 0 < before.overload < now.overload
