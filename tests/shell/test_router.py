"""RegionAwareRouter: the spec's strategies on a manager's snapshot, turns that stay fair, counts that add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.core.eligibility import Reason
from mahavishnu.integrations.multi_region.core.model import ComplianceFramework, RoutingStrategy
from mahavishnu.integrations.multi_region.errors import InvalidInputError, NoEligibleRegionError
from mahavishnu.integrations.multi_region.testing.builders import region, service
from mahavishnu.integrations.multi_region.testing.stage import Stage

BERLIN = {"user_location": {"latitude": 52.5, "longitude": 13.4}}
ROUND_ROBIN, WEIGHTED = RoutingStrategy.ROUND_ROBIN, RoutingStrategy.WEIGHTED


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    regions = [
        region("us-east-1", health_score=95.0, current_capacity=30, cost_multiplier=1.0, compliance=["soc2"]),
        region("us-west-2", health_score=90.0, current_capacity=20, cost_multiplier=0.9),
        region("eu-west-1", health_score=92.0, current_capacity=40, cost_multiplier=1.1, compliance=["gdpr"]),
    ]
    async with Stage.of(*regions, probed=False) as made:
        yield made


@pytest.mark.parametrize(
    ("context", "strategy", "reasoning"),
    [
        (BERLIN, RoutingStrategy.LATENCY_BASED, "Selected eu-west-1 for lowest latency"),
        ({}, RoutingStrategy.CAPACITY_BASED, "Selected us-west-2 with 20.0% utilization"),
        ({}, RoutingStrategy.COST_BASED, "Selected us-west-2 with 0.9x cost multiplier"),
        ({}, RoutingStrategy.HEALTH_BASED, "Selected us-east-1 with 95.0 health score"),
        ({}, "health-based", "Selected us-east-1 with 95.0 health score"),
        (BERLIN, None, "Selected eu-west-1 for lowest latency"),
    ],
)
async def test_the_reasoning_is_the_specs(stage: Stage, context: dict[str, Any], strategy: Any, reasoning: str) -> None:
    decision = await stage.router.route_request(request_context=context, strategy=strategy)
    assert decision.reasoning == reasoning
    assert decision.revision == stage.manager.registry.revision


async def test_compliance_leaves_only_who_complies(stage: Stage) -> None:
    context = {"compliance_requirements": [ComplianceFramework.GDPR]}
    decision = await stage.router.route_request(context, RoutingStrategy.COMPLIANCE_BASED)
    assert decision.selected_region == "eu-west-1"


async def test_every_change_of_a_region_is_seen_by_the_next_decision(stage: Stage) -> None:
    router, regions = stage.router, stage.manager.regions
    regions["us-west-2"].cost_multiplier = 3.0
    assert router.route({}, "cost_based").selected_region == "us-east-1"
    regions["us-east-1"].current_capacity = 90
    assert router.route({}, "capacity_based").selected_region == "us-west-2"
    regions["us-west-2"].capabilities.max_capacity = 20
    assert router.route({}, "capacity_based").selected_region == "eu-west-1"
    regions["eu-west-1"].health_score = 10.0
    assert router.route({}, "health_based").selected_region == "us-east-1"
    regions.pop("us-east-1")
    with pytest.raises(NoEligibleRegionError):
        router.route({}, "health_based")


@pytest.mark.parametrize(
    ("context", "strategy", "field"),
    [
        ({}, "latency_basd", "strategy"),
        ({"user_locaton": {}}, None, "request_context.user_locaton"),
        (None, None, "request_context"),
        ({"country": "XX"}, None, "request_context.country"),
        ({"service": "api"}, None, "request_context.service"),
    ],
)
async def test_what_is_not_allowed_is_refused_and_not_counted(
    stage: Stage, context: Any, strategy: Any, field: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        await stage.router.route_request(context, strategy)
    assert caught.value.field == field
    assert stage.router.get_routing_stats()["total_decisions"] == 0


async def test_a_country_stands_for_a_location(stage: Stage) -> None:
    assert stage.router.route({"country": "de"}).selected_region == "eu-west-1"
    assert stage.router.route({"country": "US"}).selected_region != "eu-west-1"


# --- turns ---------------------------------------------------------------------------------------


async def test_two_round_robin_decisions_running_differ_whatever_is_asked_between(stage: Stage) -> None:
    last = ""
    for turn in range(12):
        selected = stage.router.route({}, ROUND_ROBIN).selected_region
        assert selected != last
        last = selected
        for strategy in list(RoutingStrategy)[: turn % 6]:
            if strategy is not ROUND_ROBIN:
                stage.router.route(BERLIN, strategy)


async def test_two_round_robin_decisions_running_differ_although_the_regions_change(stage: Stage) -> None:
    ids = list(stage.manager.regions)
    last = ""
    for turn in range(40):
        score = stage.manager.regions[ids[turn % 3]].health_score
        stage.manager.regions[ids[turn % 3]].health_score = 0.0 if turn % 2 else 95.0
        selected = stage.router.route({}, ROUND_ROBIN).selected_region
        if len(stage.serving()) > 1:
            assert selected != last, f"turn {turn}"
        last = selected
        stage.manager.regions[ids[turn % 3]].health_score = score


async def test_round_robin_is_even(stage: Stage) -> None:
    seen = Counter(stage.router.route({}, ROUND_ROBIN).selected_region for _ in range(300))
    assert set(seen.values()) == {100}


async def test_requests_of_another_kind_do_not_take_each_others_turns(stage: Stage) -> None:
    """Counted together, every second turn would always be the same region's."""
    stage.manager.regions["us-east-1"].capabilities.compliance = [ComplianceFramework.GDPR]
    lawful: Counter[str] = Counter()
    for _ in range(60):
        context = {"compliance_requirements": ["gdpr"]}
        lawful[stage.router.route(context, ROUND_ROBIN).selected_region] += 1
        stage.router.route({}, ROUND_ROBIN)
    assert lawful == {"us-east-1": 30, "eu-west-1": 30}


async def test_each_service_takes_its_own_turns(stage: Stage) -> None:
    for name in ("api", "web"):
        await stage.manager.put_service(service(name, strategy=ROUND_ROBIN))
    order = [[stage.router.route({"service": name}).selected_region for name in ("api", "web")] for _ in range(6)]
    assert all(api == web for api, web in order)
    assert len({api for api, _ in order[:3]}) == 3


async def test_weighted_shares_come_out_and_a_region_that_returns_makes_no_burst(stage: Stage) -> None:
    weights = {"us-east-1": 70.0, "us-west-2": 20.0, "eu-west-1": 10.0}
    await stage.manager.put_service(service("api", *weights, weights=weights, strategy=WEIGHTED))

    def take(turns: int) -> Counter[str]:
        return Counter(stage.router.route({"service": "api"}).selected_region for _ in range(turns))

    first = take(1000)
    assert all(abs(first[name] - 10 * weight) <= 5 for name, weight in weights.items())
    stage.manager.regions["us-east-1"].health_score = 0.0
    without = take(900)
    assert abs(without["us-west-2"] - 600) <= 5
    assert without["us-east-1"] == 0
    stage.manager.regions["us-east-1"].health_score = 95.0
    assert abs(take(50)["us-east-1"] - 35) <= 3


async def test_a_refused_request_takes_no_turn(stage: Stage) -> None:
    first = stage.router.route({}, ROUND_ROBIN).selected_region
    for one in stage.manager.regions.values():
        one.current_capacity = 100
    with pytest.raises(NoEligibleRegionError):
        stage.router.route({}, ROUND_ROBIN)
    for one in stage.manager.regions.values():
        one.current_capacity = 0
    ids = list(stage.manager.regions)
    assert stage.router.route({}, ROUND_ROBIN).selected_region == ids[(ids.index(first) + 1) % 3]


# --- explaining and counting ---------------------------------------------------------------------


async def test_looking_counts_nothing_and_takes_no_turn(stage: Stage) -> None:
    seen = {stage.router.preview({}, ROUND_ROBIN).selected_region for _ in range(5)}
    seen |= {told.selected_region for _ in range(5) if (told := stage.router.explain({}, ROUND_ROBIN).decision)}
    assert seen == {stage.router.route({}, ROUND_ROBIN).selected_region}
    assert stage.router.get_routing_stats()["total_decisions"] == 1


async def test_an_explanation_has_a_reason_for_everybody(stage: Stage) -> None:
    await stage.manager.drain("us-east-1", by="ada", reason="x")
    stage.manager.regions["us-west-2"].health_score = 0.0
    told = stage.router.explain(BERLIN | {"compliance_requirements": ["gdpr"]})
    assert [view.region_id for view in told.eligible] == ["eu-west-1"]
    assert {name: why.code for name, why in told.excluded.items()} == {
        "us-east-1": Reason.POLICY,
        "us-west-2": Reason.POLICY,
    }
    told = stage.router.explain(BERLIN)
    assert {name: why.code for name, why in told.excluded.items()} == {
        "us-east-1": Reason.DRAINED,
        "us-west-2": Reason.UNHEALTHY,
    }


async def test_stats_add_up(stage: Stage) -> None:
    for _ in range(4):
        stage.router.route(BERLIN)
    for _ in range(3):
        stage.router.route({}, ROUND_ROBIN)
    with pytest.raises(NoEligibleRegionError):
        stage.router.route({"compliance_requirements": ["fedramp"]})
    stats = stage.router.get_routing_stats()
    assert stats["total_decisions"] == 7
    assert sum(stats["decisions_by_region"].values()) == 7
    assert stats["decisions_by_strategy"] == {"latency_based": 4, "round_robin": 3}
    assert (stats["refused"], stats["healthy_regions"]) == (1, 3)
    stats["decisions_by_region"].clear()
    assert stage.router.get_routing_stats()["total_decisions"] == 7


async def test_a_service_brings_its_own_strategy_unless_one_is_named(stage: Stage) -> None:
    await stage.manager.put_service(service("api", strategy=RoutingStrategy.COST_BASED))
    assert stage.router.route({"service": "api"}).strategy == "cost_based"
    assert stage.router.route({"service": "api"}, "health_based").strategy == "health_based"


async def test_data_goes_where_its_holders_are(stage: Stage) -> None:
    await stage.manager.put_placement("user-1", ("us-west-2",))
    assert stage.router.route(BERLIN | {"data_id": "user-1"}, "data_locality").selected_region == "us-west-2"
    await stage.manager.unregister_region("us-west-2")
    fallen_back = stage.router.route(BERLIN | {"data_id": "user-1"}, "data_locality")
    assert fallen_back.selected_region == "eu-west-1"
    assert "no region is known to hold the data" in fallen_back.reasoning


async def test_the_router_acknowledges_what_it_decides_by(stage: Stage) -> None:
    revision = stage.manager.registry.revision
    assert stage.router.acknowledged(revision)
    assert not stage.router.acknowledged(revision + 1)
    await stage.manager.drain("us-east-1", by="ada", reason="x")
    assert stage.router.acknowledged(revision + 1)


async def test_a_region_that_is_kept_leads_the_candidates_although_others_are_nearer() -> None:
    near = [region(f"near-{n}", latitude=52.5, longitude=13.4 + n / 100) for n in range(3)]
    async with Stage.of(*near, region("mine", latitude=52.5, longitude=13.5), probed=False) as stage:
        found = stage.router.route(BERLIN | {"current_region": "mine"}, candidates=2)
        assert [candidate.region_id for candidate in found.candidates] == ["mine", "near-0"]
        assert found.candidates[0].estimate_ms == found.estimate_ms
        found = stage.router.route(BERLIN, candidates=4)
        assert [candidate.region_id for candidate in found.candidates] == ["near-0", "near-1", "near-2", "mine"]


async def test_requests_without_a_place_go_to_the_least_used_of_the_healthiest() -> None:
    regions = [region("a", current_capacity=30), region("b", current_capacity=20), region("c", health_score=90.0)]
    async with Stage.of(*regions, probed=False) as stage:
        for strategy in ("health_based", "latency_based", "compliance_based", "cost_based"):
            assert stage.router.route({}, strategy).selected_region == "b"
        stage.manager.regions["b"].current_capacity = 40
        assert stage.router.route({}, "health_based").selected_region == "a"
