"""Decisions with their reasons, fallbacks that say so, and refusals that name every region."""

from __future__ import annotations

import pytest

from mahavishnu.integrations.multi_region.core.eligibility import Reason
from mahavishnu.integrations.multi_region.core.model import (
    ComplianceFramework,
    Fleet,
    Phase,
    Point,
    RoutingStrategy,
)
from mahavishnu.integrations.multi_region.core.ranking import RankInput
from mahavishnu.integrations.multi_region.core.request import Request
from mahavishnu.integrations.multi_region.core.routing import decide, explain
from mahavishnu.integrations.multi_region.errors import NoEligibleRegionError
from mahavishnu.integrations.multi_region.testing.builders import fleet, policy, service, view

BERLIN = Point(52.5, 13.4)
GDPR = ComplianceFramework.GDPR


def spec_fleet() -> Fleet:
    return fleet(
        view("us-east-1", health_score=95.0, load=30, cost_multiplier=1.0),
        view("us-west-2", health_score=90.0, load=20, cost_multiplier=0.9),
        view("eu-west-1", health_score=92.0, load=40, cost_multiplier=1.1, compliance=["gdpr"]),
        revision=7,
    )


@pytest.mark.parametrize(
    ("strategy", "location", "selected", "reasoning"),
    [
        ("latency_based", BERLIN, "eu-west-1", "Selected eu-west-1 for lowest latency"),
        ("capacity_based", None, "us-west-2", "Selected us-west-2 with 20.0% utilization"),
        ("cost_based", None, "us-west-2", "Selected us-west-2 with 0.9x cost multiplier"),
        ("health_based", None, "us-east-1", "Selected us-east-1 with 95.0 health score"),
        ("round_robin", None, "us-east-1", "Selected us-east-1 by round robin"),
    ],
)
def test_the_reasoning_is_the_specs(strategy: str, location: Point | None, selected: str, reasoning: str) -> None:
    decision = decide(spec_fleet(), Request(location=location), RoutingStrategy(strategy), RankInput(location), 0)
    assert (decision.selected_region, decision.reasoning) == (selected, reasoning)
    assert decision.endpoint == f"https://{selected}.example.com"
    assert decision.revision == 7


def test_compliance_names_the_law() -> None:
    request = Request(requirements=frozenset({GDPR}))
    decision = decide(spec_fleet(), request, RoutingStrategy.COMPLIANCE_BASED, RankInput(), 0)
    assert decision.reasoning == "Selected eu-west-1 for compliance with gdpr"
    assert decision.alternatives == ()


@pytest.mark.parametrize("strategy", list(RoutingStrategy))
def test_every_strategy_honours_compliance_requirements(strategy: RoutingStrategy) -> None:
    request = Request(location=Point(37.4, -77.5), requirements=frozenset({GDPR}))
    for turn in range(5):
        weights = {"us-east-1": 9.0, "eu-west-1": 1.0}
        given = RankInput(location=request.location, holders=(view("us-east-1"),), weights=weights)
        assert decide(spec_fleet(), request, strategy, given, turn).selected_region == "eu-west-1"


@pytest.mark.parametrize("strategy", list(RoutingStrategy))
def test_alternatives_are_the_other_eligible_each_once(strategy: RoutingStrategy) -> None:
    decision = decide(spec_fleet(), Request(location=BERLIN), strategy, RankInput(BERLIN), 3)
    assert sorted([decision.selected_region, *decision.alternatives]) == ["eu-west-1", "us-east-1", "us-west-2"]


@pytest.mark.parametrize(
    ("strategy", "location", "reasoning"),
    [
        ("latency_based", None, "Selected us-east-1 with 95.0 health score (no user location)"),
        (
            "data_locality",
            BERLIN,
            "Selected eu-west-1 for lowest latency (no region is known to hold the data)",
        ),
        (
            "data_locality",
            None,
            "Selected us-east-1 with 95.0 health score (no region is known to hold the data, no user location)",
        ),
        ("weighted", BERLIN, "Selected eu-west-1 for lowest latency (no deployment with weights)"),
    ],
)
def test_a_strategy_without_its_input_falls_back_and_says_so(
    strategy: str, location: Point | None, reasoning: str
) -> None:
    decision = decide(spec_fleet(), Request(location=location), RoutingStrategy(strategy), RankInput(location), 0)
    assert decision.reasoning == reasoning
    assert decision.strategy == strategy


def test_weights_of_regions_that_may_not_serve_do_not_count() -> None:
    world = fleet("a", "b", view("c", Phase.DOWN))
    given = RankInput(weights={"a": 1.0, "b": 1.0, "c": 98.0})
    chosen = {decide(world, Request(), RoutingStrategy.WEIGHTED, given, turn).selected_region for turn in range(20)}
    assert chosen == {"a", "b"}


def test_weights_of_nought_alone_are_no_weights() -> None:
    decision = decide(fleet("a"), Request(), RoutingStrategy.WEIGHTED, RankInput(weights={"a": 0.0}), 0)
    assert "no deployment with weights" in decision.reasoning


def test_a_region_that_safety_holds_says_so() -> None:
    held = view("a", Phase.DOWN, held="the last one stays", serves_as=Phase.UNKNOWN)
    decision = decide(fleet(held), Request(), RoutingStrategy.HEALTH_BASED, RankInput(), 0)
    assert decision.reasoning.endswith("; kept in service by safety: the last one stays")


# --- refusals ----------------------------------------------------------------------------------


def refusal(world: Fleet, request: Request) -> NoEligibleRegionError:
    with pytest.raises(NoEligibleRegionError) as caught:
        decide(world, request, RoutingStrategy.LATENCY_BASED, RankInput(), 0)
    return caught.value


def test_without_regions_the_refusal_says_so() -> None:
    err = refusal(fleet(), Request())
    assert (str(err), err.policy_bound, err.reasons) == ("no region is registered", False, {})


def test_a_refusal_names_every_region_and_its_reason() -> None:
    err = refusal(fleet(view("a", Phase.DOWN), view("b", load=100)), Request())
    assert err.reasons == {"a": "is down", "b": "is full: 100 of 100"}
    assert not err.policy_bound
    assert err.rule == "no_eligible_region"


def test_where_law_leaves_none_the_refusal_says_policy_bound() -> None:
    err = refusal(fleet("us-east-1"), Request(requirements=frozenset({GDPR})))
    assert err.policy_bound
    assert err.rule == "policy_bound_exhaustion"
    assert "policy-bound exhaustion" in str(err)


def test_a_service_whose_policy_is_gone_is_served_by_nobody() -> None:
    err = refusal(fleet("a", services=[service("api", policy="gone")]), Request(service="api"))
    assert err.policy_bound


def test_an_explanation_orders_the_eligible_and_codes_the_others() -> None:
    world = fleet(
        view("us-east-1", compliance=["gdpr"]),
        view("eu-west-1", compliance=["gdpr"]),
        view("eu-central-1", Phase.DOWN, compliance=["gdpr"]),
        "us-west-2",
        policies=[policy("p", require=["gdpr"])],
    )
    request = Request(location=BERLIN, requirements=frozenset({GDPR}))
    told = explain(world, request, RoutingStrategy.LATENCY_BASED, RankInput(BERLIN), 0)
    assert [r.region_id for r in told.eligible] == ["eu-west-1", "us-east-1"]
    assert {r: why.code for r, why in told.excluded.items()} == {
        "eu-central-1": Reason.UNHEALTHY,
        "us-west-2": Reason.POLICY,
    }
    assert told.decision is not None and told.refusal is None


def test_an_explanation_of_a_refusal_does_not_raise() -> None:
    told = explain(fleet(view("a", Phase.DOWN)), Request(), RoutingStrategy.HEALTH_BASED, RankInput(), 0)
    assert told.decision is None
    assert told.refusal == "no region may serve this request: a is down"


def test_the_same_inputs_give_the_same_decision() -> None:
    told = set()
    for _ in range(2):
        decision = decide(spec_fleet(), Request(location=BERLIN), RoutingStrategy.ROUND_ROBIN, RankInput(BERLIN), 5)
        told.add((decision.selected_region, decision.reasoning, tuple(decision.alternatives), decision.revision))
    assert len(told) == 1


@pytest.mark.parametrize(
    ("world", "bound"),
    [
        (fleet(view("a", Phase.DOWN)), False),
        (fleet("a", services=[service("api", policy="eu")], policies=[policy("eu", allow=["b"])]), True),
        (fleet("a", services=[service("api", "b")]), False),
    ],
    ids=["by circumstance", "by law", "by deployment"],
)
def test_an_explanation_makes_the_error_that_a_decision_raises(world: Fleet, bound: bool) -> None:
    request = Request(service="api" if world.services else None)
    made = explain(world, request, RoutingStrategy.HEALTH_BASED, RankInput(), 0).error()
    with pytest.raises(NoEligibleRegionError) as raised:
        decide(world, request, RoutingStrategy.HEALTH_BASED, RankInput(), 0)
    assert (str(made), made.reasons, made.policy_bound) == (
        str(raised.value),
        raised.value.reasons,
        raised.value.policy_bound,
    )
    assert made.policy_bound is bound
