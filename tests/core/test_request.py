"""What a request says of itself, and what serving it takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.core.deployment import Group
from mahavishnu.integrations.multi_region.core.model import ComplianceFramework, Point
from mahavishnu.integrations.multi_region.core.request import Needs, Request, needs_of, parts_of, shares_of
from mahavishnu.integrations.multi_region.errors import InvalidInputError, UnknownServiceError
from mahavishnu.integrations.multi_region.testing.builders import fleet, policy, service

from .rollout_tools import active_active

BERLIN = Point(52.5, 13.4)
CENTROIDS = {"DE": Point(51.0, 10.0), "JP": Point(36.0, 138.0)}
GDPR, SOC2, HIPAA = ComplianceFramework.GDPR, ComplianceFramework.SOC2, ComplianceFramework.HIPAA


def parse(**context: Any) -> Request:
    return Request.parse(context, CENTROIDS)


def test_an_empty_context_asks_nothing() -> None:
    assert parse() == Request()


def test_a_full_context_is_read_once() -> None:
    request = parse(
        user_location={"latitude": 52.5, "longitude": 13.4},
        country="de",
        compliance_requirements=["gdpr", ComplianceFramework.SOC2],
        data_id="user_1",
        service="api",
    )
    assert request == Request(BERLIN, "DE", frozenset({GDPR, SOC2}), "user_1", "api")


def test_a_country_stands_for_its_middle_only_where_no_location_is_given() -> None:
    assert parse(country="DE").location == CENTROIDS["DE"]
    assert parse(country="DE", user_location={"latitude": 52.5, "longitude": 13.4}).location == BERLIN


def test_null_island_is_a_place_and_not_the_lack_of_one() -> None:
    assert parse(country="DE", user_location={"latitude": 0, "longitude": 0}).location == Point(0.0, 0.0)


@pytest.mark.parametrize(
    ("context", "field"),
    [
        ({"user_location": {"latitude": 91, "longitude": 0}}, "request_context.user_location.latitude"),
        ({"user_location": {"latitude": "52", "longitude": 0}}, "request_context.user_location.latitude"),
        ({"user_location": {"latitude": float("nan"), "longitude": 0}}, "request_context.user_location.latitude"),
        ({"user_location": {"latitude": True, "longitude": 0}}, "request_context.user_location.latitude"),
        ({"user_location": {"latitude": 1}}, "request_context.user_location"),
        ({"user_location": {"latitude": 1, "longitude": 2, "lat": 1}}, "request_context.user_location"),
        ({"user_location": [1, 2]}, "request_context.user_location"),
        ({"country": "Germany"}, "request_context.country"),
        ({"country": "XX"}, "request_context.country"),
        ({"country": 49}, "request_context.country"),
        ({"compliance_requirements": "gdpr"}, "request_context.compliance_requirements"),
        ({"compliance_requirements": ["gdrp"]}, "request_context.compliance_requirements"),
        ({"compliance_requirements": [["gdpr"]]}, "request_context.compliance_requirements"),
        ({"compliance_requirements": 5}, "request_context.compliance_requirements"),
        ({"data_id": ""}, "request_context.data_id"),
        ({"service": 3}, "request_context.service"),
        ({"user_locaton": {"latitude": 1, "longitude": 2}}, "request_context.user_locaton"),
    ],
)
def test_what_is_not_allowed_is_refused_by_name(context: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        Request.parse(context, CENTROIDS)
    assert caught.value.field == field
    assert caught.value.allowed


@pytest.mark.parametrize("context", [None, [], "eu", 5])
def test_a_context_that_is_no_object_is_refused(context: Any) -> None:
    with pytest.raises(InvalidInputError, match="request_context"):
        Request.parse(context, CENTROIDS)


def test_an_unknown_key_is_answered_with_the_nearest_known() -> None:
    with pytest.raises(InvalidInputError, match="did you mean 'user_location'"):
        parse(user_locaton={})


# --- needs -------------------------------------------------------------------------------------

EU = policy("eu", allow=["eu-west-1"], require=["gdpr"])
BOTH = policy("both", require=["gdpr", "soc2"])
OPEN = policy("open", allow=["us-east-1"])


def bound(request: Request) -> set[str]:
    world = fleet("eu-west-1", services=[service("api", policy="eu")], policies=[EU, BOTH, OPEN])
    return {view.policy_id for view in needs_of(world, request).policies}


@pytest.mark.parametrize(
    ("requirements", "policies"),
    [
        (set(), set()),
        ({SOC2}, set()),
        ({GDPR}, {"eu"}),
        ({GDPR, HIPAA}, {"eu"}),
        ({GDPR, SOC2}, {"eu", "both"}),
    ],
)
def test_a_request_comes_under_every_policy_whose_requirements_it_has(
    requirements: set[Any], policies: set[str]
) -> None:
    assert bound(Request(requirements=frozenset(requirements))) == policies


def test_a_policy_without_requirements_binds_only_by_name() -> None:
    assert "open" not in bound(Request(requirements=frozenset(ComplianceFramework)))


def test_the_policy_of_the_service_binds_and_brings_its_requirements() -> None:
    world = fleet("eu-west-1", services=[service("api", policy="eu")], policies=[EU, OPEN])
    needs = needs_of(world, Request(service="api"))
    assert [view.policy_id for view in needs.policies] == ["eu"]
    assert needs.requirements == {GDPR}


def test_what_the_service_requires_and_what_the_request_requires_come_together() -> None:
    assert bound(Request(service="api", requirements=frozenset({SOC2}))) == {"eu", "both"}


def test_a_policy_that_is_named_and_not_there_allows_nothing() -> None:
    world = fleet("eu-west-1", services=[service("api", policy="gone")])
    needs = needs_of(world, Request(service="api"))
    assert [view.allowed_regions for view in needs.policies] == [frozenset()]


def test_an_unknown_service_is_refused_with_the_nearest_known() -> None:
    world = fleet("eu-west-1", services=[service("api")])
    with pytest.raises(UnknownServiceError, match="did you mean 'api'"):
        needs_of(world, Request(service="apy"))


# --- shares of a service's traffic ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "shares", "parts"),
    [
        ({}, {"a": 1.0, "b": 1.0}, {"a": 0.5, "b": 0.5}),
        ({"a": 3.0, "b": 1.0}, {"a": 3.0, "b": 1.0}, {"a": 0.75, "b": 0.25}),
    ],
    ids=["without weights all alike", "by the weights"],
)
def test_a_declared_service_shares_its_traffic_before_it_has_a_plan_as_it_does_under_it(
    weights: dict[str, float], shares: dict[str, float], parts: dict[str, float]
) -> None:
    declared = service("api", "a", "b", weights=weights)
    plan = replace(active_active("a", "b", declared=True), groups=(Group("active", ("a", "b"), 1.0),))
    assert shares_of(declared, None) == shares
    assert parts_of(Needs(service=declared)) == parts_of(Needs(service=declared, deployment=plan)) == parts


def test_nobody_has_a_part_where_nothing_says_or_nobody_serves() -> None:
    assert parts_of(Needs()) == parts_of(Needs(service=service("api"))) == {}
    assert parts_of(Needs(deployment=active_active("a", "b"))) == {}
