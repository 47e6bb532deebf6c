"""Declared intent as documents: they read back as written, differ where they should, and hold together."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from mahavishnu.integrations.multi_region.core.edges import (
    ClientPlace,
    EdgeSpec,
    Network,
    edge_document,
    edge_from_document,
)
from mahavishnu.integrations.multi_region.core.intent import (
    ChangeKind,
    World,
    check_policy,
    check_service,
    check_world,
    completed,
    difference,
    health_document,
    health_from_document,
    policy_document,
    policy_from_document,
    region_document,
    region_from_document,
    service_document,
    service_from_document,
)
from mahavishnu.integrations.multi_region.core.model import (
    CloudProvider,
    ComplianceFramework,
    DataPlacementPolicy,
    DeploymentSpec,
    DeploymentType,
    FailbackMode,
    HealthCheck,
    LocalityLevel,
    Point,
    ProbeKind,
    Region,
    RegionCapabilities,
    RoutingStrategy,
    SafetyLimits,
    Service,
    UpstreamProtocol,
)
from mahavishnu.integrations.multi_region.core.routes import RouteClass, route_document, route_from_document
from mahavishnu.integrations.multi_region.core.validation import NAME_ALLOWED
from mahavishnu.integrations.multi_region.errors import InvalidInputError, UnknownPolicyError, UnknownRegionError
from mahavishnu.integrations.multi_region.testing.builders import policy, region, service, world

amounts = st.floats(0, 1e6, allow_nan=False) | st.integers(0, 10**6)
frameworks = st.lists(st.sampled_from(ComplianceFramework), max_size=3, unique=True)
checks = st.builds(
    HealthCheck,
    kind=st.sampled_from(ProbeKind),
    path=st.text(max_size=5).map("/".__add__),
    url=st.none() | st.text(max_size=5),
    interval_s=amounts,
    slow_ms=st.none() | amounts,
    statuses=st.lists(st.tuples(st.integers(100, 300), st.integers(301, 599)), max_size=2).map(tuple),
    body_contains=st.none() | st.text(max_size=5),
    headers=st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
    verify_tls=st.booleans(),
)
regions = st.builds(
    Region,
    region_id=st.text(min_size=1, max_size=8),
    name=st.text(max_size=5),
    provider=st.sampled_from(CloudProvider),
    latitude=st.floats(-90, 90),
    longitude=st.floats(-180, 180),
    endpoint=st.text(max_size=5),
    capabilities=st.builds(
        RegionCapabilities,
        compliance=frameworks,
        max_capacity=amounts,
        features=st.lists(st.text(max_size=3), max_size=2),
    ),
    health_score=st.none() | st.floats(0, 100),
    current_capacity=amounts,
    cost_multiplier=amounts,
    country=st.none() | st.sampled_from(["DE", "US"]),
    health=st.none() | checks,
    protocol=st.sampled_from(UpstreamProtocol),
)
routes = st.builds(
    RouteClass,
    prefix=st.text(max_size=4).map("/".__add__),
    timeout_s=amounts,
    attempt_timeout_s=st.none() | amounts,
    retry_keyed=st.booleans(),
    retries=st.integers(0, 9),
)
services = st.builds(
    Service,
    name=st.text(min_size=1, max_size=5),
    hosts=st.lists(st.text(max_size=4), max_size=2).map(tuple),
    strategy=st.sampled_from(RoutingStrategy),
    policy=st.none() | st.text(max_size=4),
    deployment=st.none()
    | st.builds(
        DeploymentSpec,
        type=st.sampled_from(DeploymentType),
        regions=st.lists(st.text(max_size=3), max_size=3).map(tuple),
        weights=st.dictionaries(st.text(max_size=3), amounts, max_size=2),
    ),
    priority=st.integers(0, 200),
    failback=st.none() | st.sampled_from(FailbackMode),
    routes=st.lists(routes, max_size=2).map(tuple),
)
points = st.builds(Point, st.floats(-90, 90), st.floats(-180, 180))
edges = st.builds(
    EdgeSpec,
    edge_id=st.text(min_size=1, max_size=5),
    point=points,
    listen=st.text(max_size=5),
    country=st.none() | st.sampled_from(["DE", "US"]),
    client_place=st.sampled_from(ClientPlace),
    networks=st.lists(
        st.builds(
            Network,
            name=st.text(max_size=3),
            cidrs=st.lists(st.text(max_size=5), max_size=2).map(tuple),
            point=points,
            country=st.none() | st.sampled_from(["DE", "US"]),
        ),
        max_size=2,
    ).map(tuple),
    trusted_hops=st.integers(0, 3),
)
policies = st.builds(
    DataPlacementPolicy,
    name=st.text(min_size=1, max_size=5),
    compliance_requirements=frameworks,
    allowed_regions=st.none() | st.lists(st.text(max_size=4), max_size=3),
    locality_level=st.sampled_from(LocalityLevel),
    cross_region_transfer=st.booleans(),
    policy_id=st.text(min_size=1, max_size=5),
)


def stored(document: dict[str, Any]) -> dict[str, Any]:
    """What comes back from a store."""
    read: dict[str, Any] = json.loads(json.dumps(document))
    return read


@given(checks)
def test_a_health_check_reads_back_as_written(check: HealthCheck) -> None:
    assert health_from_document(stored(health_document(check))) == check


@given(regions)
def test_a_region_reads_back_as_written(made: Region) -> None:
    read = region_from_document(stored(region_document(made)))
    assert read == made
    assert region_document(read) == region_document(made)


@given(services)
def test_a_service_reads_back_as_written(made: Service) -> None:
    assert service_from_document(stored(service_document(made))) == made


@given(policies)
def test_a_policy_reads_back_as_written(made: DataPlacementPolicy) -> None:
    assert policy_from_document(stored(policy_document(made))) == made


@given(edges)
def test_an_edge_reads_back_as_written(made: EdgeSpec) -> None:
    assert edge_from_document(stored(edge_document(made))) == made


@given(routes)
def test_a_route_reads_back_as_written(made: RouteClass) -> None:
    assert route_from_document(stored(route_document(made))) == made


# --- documents of before ------------------------------------------------------------------------


@given(regions, services)
def test_documents_from_before_edges_existed_still_load_and_do_not_differ(made: Region, given: Service) -> None:
    wanted = World((replace(made, protocol=UpstreamProtocol.HTTP1),), (replace(given, routes=()),)).documents()
    old = stored(wanted)
    (key,) = (key for key in old if key.startswith("regions/"))
    (name,) = (key for key in old if key.startswith("services/"))
    del old[key]["protocol"], old[name]["routes"]
    assert region_from_document(old[key]).protocol is UpstreamProtocol.HTTP1
    assert service_from_document(old[name]).routes == ()
    assert difference({k: completed(k, document) for k, document in old.items()}, wanted) == []


def test_what_was_written_since_is_left_as_it_is() -> None:
    made = region_document(region("a", protocol=UpstreamProtocol.HTTP2))
    assert completed("regions/a", made) == made
    assert completed("limits", {"min_serving": 1}) == {"min_serving": 1}


# --- differences -------------------------------------------------------------------------------


def test_what_agrees_does_not_differ() -> None:
    made = world("a", "b", services=[service("api", "a")], policies=[policy("p")])
    assert difference(made.documents(), stored(made.documents())) == []


def test_what_was_added_changed_and_removed_is_named_in_order() -> None:
    before = world("a", region("b", max_capacity=1), services=[service("old", "a")]).documents()
    after = world("a", region("b", max_capacity=2), "c", limits=SafetyLimits(min_serving=2)).documents()
    assert [(change.kind, change.key) for change in difference(before, after)] == [
        (ChangeKind.UPDATE, "limits"),
        (ChangeKind.UPDATE, "regions/b"),
        (ChangeKind.ADD, "regions/c"),
        (ChangeKind.REMOVE, "services/old"),
    ]


def test_edges_are_part_of_what_differs() -> None:
    one, moved = EdgeSpec("e", Point(1, 2)), EdgeSpec("e", Point(3, 2), "0.0.0.0:80")
    changes = difference(World(edges=(one,)).documents(), World(edges=(moved, EdgeSpec("f", Point(0, 0)))).documents())
    assert [(change.kind, change.key, change.fields) for change in changes if change.key != "edges/f"] == [
        (ChangeKind.UPDATE, "edges/e", ("latitude", "listen"))
    ]
    assert [change.kind for change in changes if change.key == "edges/f"] == [ChangeKind.ADD]


def test_an_update_names_the_fields_that_differ() -> None:
    before = world(region("a", max_capacity=1, country="DE")).documents()
    after = world(region("a", max_capacity=2, country="FR")).documents()
    assert difference(before, after)[0].fields == ("capabilities", "country")


documents = st.dictionaries(st.sampled_from("abcd"), st.dictionaries(st.sampled_from("xy"), st.integers(0, 2)))


@given(documents, documents)
def test_carrying_out_the_changes_makes_the_wanted_of_the_current(before: Any, after: Any) -> None:
    result = dict(before)
    for change in difference(before, after):
        assert result.pop(change.key, None) == change.before
        if change.after is not None:
            result[change.key] = change.after
    assert result == after


# --- holding together --------------------------------------------------------------------------


@pytest.mark.parametrize("bad", ["", "a b\n", "web~eu", "a@b", "a/b", "é", "-a", "a" * 64])
@pytest.mark.parametrize(
    ("field", "check"),
    [
        ("services.name", lambda bad: check_service(service(bad), [], [])),
        ("services.name", lambda bad: check_world(world("a", services=[service(bad)]))),
        ("policy_id", lambda bad: check_policy(policy(bad), [])),
        ("policy_id", lambda bad: check_world(world("a", policies=[policy(bad)]))),
        ("edge_id", lambda bad: check_world(World(edges=(EdgeSpec(bad, Point(0, 0)),)))),
    ],
)
def test_names_that_nothing_is_declared_under(field: str, check: Callable[[str], None], bad: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        check(bad)
    assert (refused.value.field, refused.value.value, refused.value.allowed) == (field, bad, NAME_ALLOWED)


def test_a_service_names_policies_and_regions_that_are_there() -> None:
    with pytest.raises(UnknownPolicyError, match="did you mean 'eu-only'"):
        check_service(service("api", policy="eu-onyl"), ["a"], ["eu-only"])
    with pytest.raises(UnknownRegionError, match="did you mean 'eu-west-1'"):
        check_service(service("api", "eu-wets-1"), ["eu-west-1"], [])


@pytest.mark.parametrize("weights", [{"b": 1.0}, {"a": -1.0}, {"a": float("nan")}])
def test_weights_are_for_the_services_own_regions_and_not_negative(weights: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError, match=r"services\.api\.deployment\.weights"):
        check_service(service("api", "a", weights=weights), ["a", "b"], [])


def test_a_policy_names_regions_that_somebody_knows() -> None:
    with pytest.raises(UnknownRegionError):
        check_policy(policy("p", allow=["eu-wets-1"]), ["eu-west-1"])
    check_policy(policy("p", allow=["eu-west-1"]), ["eu-west-1"])
    check_policy(policy("p"), [])


def test_a_world_is_checked_as_a_whole() -> None:
    eu = policy("eu", allow=["eu-west-1", "eu-central-1"])
    check_world(
        world("eu-west-1", services=[service("api", "eu-west-1", policy="eu")], policies=[eu]), ["eu-central-1"]
    )
    with pytest.raises(UnknownRegionError):
        check_world(world("eu-west-1", policies=[eu]))
    with pytest.raises(UnknownPolicyError):
        check_world(world("eu-west-1", services=[service("api", policy="eu")]))
    with pytest.raises(InvalidInputError, match=r"services\.web\.hosts.*service api does"):
        check_world(world("a", services=[service("api", hosts=("x.test",)), service("web", hosts=("X.test",))]))
    with pytest.raises(InvalidInputError, match=r"services\.api\.routes\.0\.prefix"):
        check_world(world("a", services=[service("api", routes=(RouteClass("api"),))]))
    with pytest.raises(InvalidInputError, match=r"edges\.f\.listen"):
        check_world(World(edges=(EdgeSpec("e", Point(0, 0)), EdgeSpec("f", Point(1, 1)))))
