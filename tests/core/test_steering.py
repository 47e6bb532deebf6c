"""What edges are told: services, hosts, routes, statements, areas; and that equal inputs give equal plans."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.core.deployment import DeploymentView, Group, State
from mahavishnu.integrations.multi_region.core.edges import ClientPlace, EdgeSpec, Network
from mahavishnu.integrations.multi_region.core.geo import distance_km
from mahavishnu.integrations.multi_region.core.model import (
    AdminState,
    ComplianceFramework,
    DeploymentType,
    Fleet,
    HealthCheck,
    LocalityLevel,
    Phase,
    Point,
    RoutingStrategy,
    Service,
    UpstreamProtocol,
)
from mahavishnu.integrations.multi_region.core.ranking import Key
from mahavishnu.integrations.multi_region.core.rosters import NO_HEALTHY, statements_of
from mahavishnu.integrations.multi_region.core.routes import RouteClass
from mahavishnu.integrations.multi_region.core.steering import SteeringInput, hosts_of, plan_traffic, routes_of
from mahavishnu.integrations.multi_region.core.traffic import (
    Area,
    EdgePlan,
    ServiceTraffic,
    Standing,
    Target,
    TrafficClass,
)
from mahavishnu.integrations.multi_region.testing.builders import fleet, policy, service, view

US, EU, DE, JP = "us-east-1", "eu-west-1", "eu-central-1", "ap-northeast-1"
FRANKFURT, TOKYO, DUBLIN = Point(50.1, 8.7), Point(35.7, 139.7), Point(53.3, -6.2)
EDGE = EdgeSpec("edge-eu", FRANKFURT)
CENTROIDS = {
    "AT": Point(47.6, 14.1),
    "DE": Point(51.1, 10.4),
    "IE": Point(53.2, -7.8),
    "JP": Point(36.5, 138.0),
    "KR": Point(36.6, 127.8),
    "US": Point(37.0, -85.0),
}


def by_distance(place: Point, country: str | None) -> Key:
    return lambda region: distance_km(place, region.point)


GIVEN = SteeringInput(by_distance, lambda region_id: HealthCheck(path=f"/{region_id}"), CENTROIDS)


def planned(world: Fleet, edge: EdgeSpec = EDGE, given: SteeringInput = GIVEN) -> EdgePlan:
    return plan_traffic(world, {edge.edge_id: edge}, given).edges[edge.edge_id]


def traffic(world: Fleet, name: str = "api", edge: EdgeSpec = EDGE) -> ServiceTraffic:
    return next(one for one in planned(world, edge).services if one.service == name)


def named(world: Fleet, name: str = "api", edge: EdgeSpec = EDGE, given: SteeringInput = GIVEN) -> TrafficClass:
    return next(one for one in planned(world, edge, given).classes if one.name == name)


def order(kind: TrafficClass) -> list[str]:
    return [target.region_id for target in kind.targets]


# --- the plan ---------------------------------------------------------------------------------


def test_a_plan_carries_the_revision_and_the_generation_of_its_fleet() -> None:
    plan = plan_traffic(fleet(US, revision=7, generation=41), {}, GIVEN)
    assert (plan.revision, plan.generation, dict(plan.edges)) == (7, 41, {})


def test_a_target_is_all_that_an_edge_needs_to_reach_and_watch_a_region() -> None:
    kind = named(fleet(view(DE, protocol=UpstreamProtocol.HTTP2), services=[service("api")]))
    (tier,) = kind.tiers
    assert tier == (
        Target(
            DE,
            "https://eu-central-1.example.com",
            tier[0].weight,
            Standing.SERVING,
            UpstreamProtocol.HTTP2,
            HealthCheck(path="/eu-central-1"),
        ),
    )


def test_where_the_edge_stands_decides_the_order() -> None:
    world = fleet(US, EU, DE, JP, services=[service("api")])
    assert order(named(world)) == [DE, EU, US, JP]
    assert order(named(world, edge=EdgeSpec("edge-jp", TOKYO))) == [JP, DE, EU, US]


def test_equal_inputs_give_equal_plans_in_whatever_order_things_were_declared() -> None:
    regions = [view(US, compliance=["soc2", "gdpr"]), view(EU, compliance=["gdpr"]), view(DE)]
    services = [service("api", US, EU, weights={US: 1, EU: 2}, strategy=RoutingStrategy.WEIGHTED), service("web")]
    edges = {"b": EdgeSpec("b", TOKYO, client_place=ClientPlace.GEOIP), "a": EDGE}
    there = plan_traffic(fleet(*regions, services=services), edges, GIVEN)
    back = plan_traffic(
        fleet(*regions[::-1], services=services[::-1]),
        dict(reversed(edges.items())),
        replace(GIVEN, countries=dict(reversed(CENTROIDS.items()))),
    )
    assert repr(there) == repr(back)


def test_a_plan_says_where_each_region_is_and_what_law_goes_by() -> None:
    world = fleet(view(DE), view(US), services=[service("api", EU)])
    plan = plan_traffic(world, {"a": EDGE}, GIVEN)
    assert set(plan.regions) == {DE, US}, "also those that are in no class"
    assert plan.regions[DE].endpoint == world.regions[DE].endpoint
    abroad = replace(world.regions[DE], country="US")
    moved = plan_traffic(fleet(abroad, view(US), services=[service("api", EU)]), {"a": EDGE}, GIVEN)
    assert moved.regions[DE].grounds != plan.regions[DE].grounds
    assert moved.regions[US] == plan.regions[US]


def test_edges_of_one_order_share_what_they_are_told() -> None:
    world = fleet(US, EU, DE, services=[service("api")])
    plan = plan_traffic(world, {"a": EDGE, "b": EdgeSpec("b", Point(50.2, 8.8))}, GIVEN)
    assert plan.edges["a"].services is plan.edges["b"].services


# --- services, hosts, routes ------------------------------------------------------------------


def test_without_declared_services_an_edge_serves_everything_as_one() -> None:
    (only,) = planned(fleet(US, EU)).services
    assert (only.service, only.hosts) == ("default", ("*",))
    assert order(only.classes[0]) == [EU, US]


def test_a_service_that_is_deployed_and_not_declared_is_carried_too() -> None:
    state, groups = State.SERVING, (Group("active", (EU,), 1.0),)
    plan = DeploymentView("d", "api", DeploymentType.ACTIVE_ACTIVE, (EU, DE), state, groups, 0.0, 0.0, 0.0)
    world = fleet(US, EU, DE, deployments={"api": plan})
    kind = named(world)
    assert order(kind) == [EU]
    assert dict(kind.excluded) == {
        DE: "has no part in the traffic of deployment d",
        US: "service api does not run there",
    }
    assert traffic(world).hosts == ("api", "*")


@pytest.mark.parametrize(
    ("services", "hosts"),
    [
        ([service("api", hosts=("A.example", "b.example", "a.example"))], {"api": ("a.example", "b.example")}),
        ([service("api")], {"api": ("api", "*")}),
        ([service("api"), service("web", hosts=("w",))], {"api": ("api", "*"), "web": ("w",)}),
        ([service("api"), service("web", hosts=("*",))], {"api": ("api",), "web": ("*",)}),
        ([service("api"), service("web")], {"api": ("api",), "web": ("web",)}),
        ([service("b", hosts=("x", "y")), service("a", hosts=("X",))], {"a": ("x",), "b": ("y",)}),
        ([service("b", hosts=("x",)), service("a", hosts=("x",))], {"a": ("x",), "b": ()}),
        ([service("API")], {"API": ("api", "*")}),
    ],
)
def test_who_has_which_host(services: list[Service], hosts: dict[str, tuple[str, ...]]) -> None:
    assert hosts_of({one.name: one for one in services}) == hosts


def test_a_service_that_lost_all_of_its_hosts_is_at_no_edge() -> None:
    world = fleet(US, services=[service("b", hosts=("x",)), service("a", hosts=("x",))])
    assert [one.service for one in planned(world).services] == ["a"]


@pytest.mark.parametrize(
    ("prefixes", "expected"),
    [((), ["/"]), (("/a", "/a/b"), ["/a/b", "/a", "/"]), (("/", "/long"), ["/long", "/"]), (("/x",), ["/x", "/"])],
)
def test_the_longest_prefix_comes_first_and_the_last_fits_all(prefixes: tuple[str, ...], expected: list[str]) -> None:
    made = service("api", routes=tuple(RouteClass(prefix, timeout_s=3) for prefix in prefixes))
    assert [route.prefix for route in routes_of(made)] == expected


def test_a_stated_route_for_all_paths_is_kept() -> None:
    assert routes_of(service("api", routes=(RouteClass("/", timeout_s=3),))) == (RouteClass("/", timeout_s=3),)


# --- statements -------------------------------------------------------------------------------

ALL = sorted(framework.value for framework in ComplianceFramework)


@pytest.mark.parametrize(("attested", "several"), [(0, 0), (1, 0), (2, 1), (3, 4), (4, 11), (5, 10), (7, 21)])
def test_every_framework_may_be_stated_and_combinations_of_attested_ones(attested: int, several: int) -> None:
    frameworks = frozenset(list(ComplianceFramework)[:attested])
    statements = statements_of(frameworks)
    assert [one[0].value for one in statements[: len(ALL)]] == ALL
    assert len(statements) == len(set(statements)) == len(ALL) + several
    assert all(list(one) == sorted(one) and frameworks.issuperset(one) for one in statements[len(ALL) :])


def test_a_service_has_a_class_for_each_statement_and_one_for_none() -> None:
    world = fleet(view(EU, compliance=["gdpr", "soc2"]), view(US, compliance=["hipaa"]), services=[service("api", EU)])
    told = traffic(world)
    assert told.requirements == (*((name,) for name in ALL), ("gdpr", "soc2"))
    assert [kind.requirements for kind in told.classes] == [(), *told.requirements]


def test_health_changes_nothing_of_what_may_be_stated() -> None:
    preferred = replace(policy("p", allow=[US]), locality_level=LocalityLevel.PREFERRED)
    for phase in Phase:
        regions = [view(EU, compliance=["gdpr", "soc2"]), view(US, phase)]
        assert ("gdpr", "soc2") in traffic(
            fleet(*regions, policies=[preferred], services=[service("api", policy="p")])
        ).requirements


def test_a_class_holds_who_meets_the_policy_and_the_statement_and_says_why_not_of_the_others() -> None:
    world = fleet(
        view(US, compliance=["soc2"]),
        view(EU, compliance=["gdpr"]),
        view(DE, compliance=["gdpr", "soc2"]),
        view(JP, compliance=["gdpr", "soc2"]),
        policies=[policy("p", allow=[US, EU, DE])],
        services=[service("api", US, EU, DE, JP, policy="p"), service("web", US)],
    )
    assert order(named(world, "api~gdpr+soc2")) == [DE]
    assert dict(named(world, "api~gdpr+soc2").excluded) == {
        US: "lacks gdpr",
        EU: "lacks soc2",
        JP: "policy p does not allow it",
    }
    assert dict(named(world, "web").excluded) == {name: "service web does not run there" for name in (JP, DE, EU)}


def test_a_class_that_nobody_satisfies_is_there_and_says_that_law_is_why() -> None:
    world = fleet(view(US), services=[service("api")])
    kind = named(world, "api~gdpr")
    assert (kind.tiers, kind.exhausted) == ((), "policy-bound exhaustion: us-east-1 lacks gdpr")
    assert named(world).exhausted is None


def test_a_class_without_law_in_its_way_says_what_is() -> None:
    away = named(fleet(US, services=[service("api", EU)]))
    assert away.exhausted == "no region may serve this request: us-east-1 service api does not run there"
    assert named(fleet(services=[service("api")])).exhausted == "no region is registered"


def test_a_policy_that_is_named_and_gone_leaves_nobody() -> None:
    kind = named(fleet(US, services=[service("api", policy="gone")]))
    assert kind.exhausted == "policy-bound exhaustion: us-east-1 policy gone does not allow it"


def test_names_of_classes_never_collide() -> None:
    world = fleet(
        view(US), view(EU, compliance=["gdpr"]), services=[service("api"), service("api~gdpr"), service("a%7Eb@c")]
    )
    names = [kind.name for kind in planned(world).classes]
    assert len(names) == len(set(names))
    assert {"api~gdpr", "api%7Egdpr", "a%257Eb%40c"} <= set(names)


def test_services_of_one_kind_share_tiers_and_keep_their_own_words() -> None:
    plan = planned(fleet(US, EU, services=[service("a", US), service("b", US)]))
    first, second = (next(kind for kind in plan.classes if kind.name == name) for name in "ab")
    assert first.tiers is second.tiers
    assert (first.excluded[EU], second.excluded[EU]) == (
        "service a does not run there",
        "service b does not run there",
    )


# --- areas ------------------------------------------------------------------------------------

GEO = EdgeSpec("edge-geo", FRANKFURT, client_place=ClientPlace.GEOIP)


def test_by_default_clients_are_where_the_edge_is() -> None:
    assert planned(fleet(US, EU, services=[service("api")])).areas == (Area(""),)


def test_countries_of_one_order_make_one_area_called_by_the_first() -> None:
    plan = planned(fleet(US, EU, DE, JP, services=[service("api")]), GEO)
    assert plan.areas == (
        Area("ie", ("IE",)),
        Area("jp", ("JP", "KR")),
        Area("us", ("US",)),
        Area("", ("AT", "DE")),
    )
    assert {kind.name: order(kind) for kind in plan.classes if not kind.requirements} == {
        "api": [DE, EU, US, JP],
        "api@ie": [EU, DE, US, JP],
        "api@jp": [JP, DE, EU, US],
        "api@us": [US, EU, DE, JP],
    }


@pytest.mark.parametrize("changes", [{"phase": Phase.DOWN}, {"admin": AdminState.DRAINED}, {"load": 100.0}])
def test_neither_health_nor_drains_nor_load_change_areas(changes: dict[str, Any]) -> None:
    regions = [view(name) for name in (US, EU, DE, JP)]
    before = planned(fleet(*regions, services=[service("api")]), GEO).areas
    for position in range(len(regions)):
        after = [replace(one, **changes) if at == position else one for at, one in enumerate(regions)]
        assert planned(fleet(*after, services=[service("api")]), GEO).areas == before


def test_a_region_that_may_serve_nobody_tells_no_areas_apart() -> None:
    world = fleet(EU, DE, JP, policies=[policy("p", allow=[EU, DE])], services=[service("api", policy="p")])
    assert [area.name for area in planned(world, GEO).areas] == ["ie", ""]


def test_equally_near_regions_go_by_health_in_every_country_of_an_area() -> None:
    twin = view("twin", point=view(DE).point, health_score=99.0)
    world = fleet(DE, twin, services=[service("api")])
    assert [area.name for area in planned(world, GEO).areas] == [""]
    assert order(named(world, "api", GEO)) == ["twin", DE]


def test_each_network_is_an_area_with_its_own_order() -> None:
    networks = Network("office", ("192.0.2.0/24",), TOKYO, "JP"), Network("lab", ("198.51.100.0/24",), DUBLIN)
    edge = EdgeSpec("e", FRANKFURT, client_place=ClientPlace.CIDR, networks=networks)
    world = fleet(EU, DE, JP, services=[service("api")])
    assert planned(world, edge).areas == (Area("lab", network="lab"), Area("office", network="office"), Area(""))
    assert order(named(world, "api@office", edge)) == [JP, DE, EU]
    assert order(named(world, "api@lab", edge)) == [EU, DE, JP]


def test_a_class_is_told_apart_by_area_only_where_its_own_regions_come_in_another_order() -> None:
    gdpr = [view(name, compliance=["gdpr"]) for name in (EU, DE)]
    hipaa = view(JP, compliance=["hipaa"])
    services = [service("api"), service("web", strategy=RoutingStrategy.COST_BASED)]
    names = {kind.name for kind in planned(fleet(*gdpr, hipaa, services=services), GEO).classes}
    assert {name for name in names if "@" in name} == {"api@ie", "api@jp", "api~gdpr@ie"}


def test_whether_an_area_has_a_class_of_its_own_does_not_depend_on_health() -> None:
    regions = [view(name, compliance=["gdpr"]) for name in (US, EU, DE, JP)]
    names = [kind.name for kind in planned(fleet(*regions, services=[service("api")]), GEO).classes]
    for position in range(len(regions)):
        for changes in ({"phase": Phase.DOWN}, {"admin": AdminState.DRAINED}, {"load": 100.0}):
            after: list[Any] = [replace(one, **changes) if at == position else one for at, one in enumerate(regions)]
            plan = planned(fleet(*after, services=[service("api")]), GEO)
            assert [kind.name for kind in plan.classes] == names


@pytest.mark.parametrize(
    ("ms", "step"), [(0, 0), (50, 0), (50.1, 100), (100, 100), (101, 200), (390, 400), (801, 1600)]
)
def test_a_far_region_is_told_with_the_step_that_its_round_trip_falls_in(ms: float, step: int) -> None:
    given = replace(GIVEN, estimate=lambda place, country: lambda region: ms)
    (target,) = named(fleet(US, services=[service("api")]), given=given).targets
    assert target.rtt_ms == step


def test_the_round_trip_is_from_the_edge_in_every_area() -> None:
    world = fleet(DE, JP, services=[service("api")])
    for name in ("api", "api@jp"):
        steps = {target.region_id: target.rtt_ms for target in named(world, name, GEO).targets}
        assert steps[DE] < steps[JP]


def test_a_country_is_told_to_the_estimate() -> None:
    def estimate(place: Point, country: str | None) -> Key:
        return lambda region: float(region.country != country)

    world = fleet(US, DE, JP, services=[service("api")])
    given = replace(GIVEN, estimate=estimate)
    edge = EdgeSpec("e", TOKYO, country="US", client_place=ClientPlace.GEOIP)
    assert order(named(world, "api", edge, given))[0] == US
    assert order(named(world, "api@jp", edge, given))[0] == JP


# --- standing ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "standing"),
    [
        ({}, Standing.SERVING),
        ({"phase": Phase.UNKNOWN}, Standing.SERVING),
        ({"phase": Phase.DEGRADED}, Standing.SERVING),
        ({"phase": Phase.SATURATED}, Standing.SERVING),
        ({"load": 500.0}, Standing.SERVING),
        ({"phase": Phase.DOWN}, Standing.OUT),
        ({"phase": Phase.DOWN, "serves_as": Phase.UNKNOWN, "held": "safety"}, Standing.SERVING),
        ({"admin": AdminState.DRAINING}, Standing.DRAINING),
        ({"admin": AdminState.DRAINED}, Standing.DRAINING),
        ({"admin": AdminState.DRAINED, "phase": Phase.DOWN}, Standing.DRAINING),
        ({"failed_over": "fire"}, Standing.DRAINING),
        ({"failed_over": "fire", "phase": Phase.DOWN}, Standing.DRAINING),
        ({"failed_over": "fire", "failed_services": frozenset({"api"})}, Standing.DRAINING),
        ({"failed_over": "fire", "failed_services": frozenset({"web"})}, Standing.SERVING),
    ],
)
def test_what_an_edge_is_told_of_a_region(changes: dict[str, Any], standing: Standing) -> None:
    world = fleet(replace(view(DE), **changes), EU, services=[service("api")])
    assert {target.region_id: target.standing for target in named(world).targets}[DE] is standing


def test_when_all_are_down_the_class_says_so() -> None:
    kind = named(fleet(view(DE, "down"), view(EU, "down"), services=[service("api")]))
    assert kind.exhausted == NO_HEALTHY
    assert {target.standing for target in kind.targets} == {Standing.OUT}
