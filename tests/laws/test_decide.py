"""Law before optimum and room before shift, L6 and L7, by their names.

Everything goes through the real manager, router and failure handler, in virtual time; corner cases are tested
beside their code.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, settings, strategies as st

from mahavishnu.integrations.multi_region.core.failover import FailoverPlan, plan_failover
from mahavishnu.integrations.multi_region.core.heirs import room
from mahavishnu.integrations.multi_region.core.model import (
    Fleet,
    Point,
    RoutingStrategy,
)
from mahavishnu.integrations.multi_region.core.ranking import RankInput
from mahavishnu.integrations.multi_region.core.request import Request
from mahavishnu.integrations.multi_region.core.routing import decide
from mahavishnu.integrations.multi_region.core.safety import LIFTABLE, Rule
from mahavishnu.integrations.multi_region.errors import (
    FailoverRefusedError,
    NoEligibleRegionError,
)
from mahavishnu.integrations.multi_region.shell.manager import RegionManager
from mahavishnu.integrations.multi_region.shell.router import RegionAwareRouter
from mahavishnu.integrations.multi_region.testing.builders import policy, region, service, view
from mahavishnu.integrations.multi_region.testing.stage import Stage
from tests.laws.worlds import (
    DE,
    EU,
    FIVE,
    JP,
    US,
    USW,
    context_of,
    fleets,
    glass,
    in_shape,
    lawful,
    make_it,
    names,
    requests,
    runs_there,
)

# --- L6: law before optimum ------------------------------------------------------------------------


@settings(max_examples=200)
@given(st.data(), fleets(), st.sampled_from(RoutingStrategy), st.integers(0, 20))
def test_L6_no_decision_ever_selects_a_region_to_which_there_is_an_objection(
    data: Any, world: Fleet, strategy: RoutingStrategy, turn: int
) -> None:
    request = data.draw(requests(world))
    weights = data.draw(st.none() | st.dictionaries(names, st.floats(0, 5), max_size=5))
    holders = (view("store", point=Point(0.0, 0.0)),) if data.draw(st.booleans()) else ()
    given_input = RankInput(location=request.location, holders=holders, weights=weights)
    able = {
        one.region_id
        for one in world.regions.values()
        if lawful(world, one, request) and runs_there(world, one, request) and in_shape(one, request)
    }
    try:
        decision = decide(world, request, strategy, given_input, turn)
    except NoEligibleRegionError as refusal:
        assert not able
        assert set(refusal.reasons) == set(world.regions)
    else:
        assert {decision.selected_region, *decision.alternatives} == able


@settings(max_examples=100)
@given(st.data(), fleets(), fleets())
def test_L6_the_router_keeps_the_law_in_every_strategy_also_after_everything_has_changed(
    data: Any, before: Fleet, after: Fleet
) -> None:
    manager = RegionManager()
    router = RegionAwareRouter(manager)
    for revision, declared in ((10, before), (20, after)):
        make_it(manager, declared, revision)
        request = data.draw(requests(declared))
        context = context_of(request)
        able = {
            one.region_id
            for one in declared.regions.values()
            if lawful(declared, one, request) and runs_there(declared, one, request) and in_shape(one, request)
        }
        for strategy in RoutingStrategy:
            try:
                decision = router.route(context, strategy)
            except NoEligibleRegionError as refusal:
                assert not able
                assert set(refusal.reasons) == set(declared.regions)
            else:
                assert {decision.selected_region, *decision.alternatives} == able


@settings(max_examples=200)
@given(st.data(), fleets())
def test_L6_exhaustion_is_bound_by_policy_exactly_when_law_is_what_leaves_none(data: Any, world: Fleet) -> None:
    request = data.draw(requests(world))
    try:
        decide(world, request, RoutingStrategy.HEALTH_BASED, RankInput(), 0)
    except NoEligibleRegionError as refusal:
        kept_away = [
            one.region_id
            for one in world.regions.values()
            if not lawful(world, one, request) and in_shape(one, Request())
        ]
        assert refusal.policy_bound is bool(kept_away)


@settings(max_examples=200)
@given(st.data(), fleets())
def test_L6_no_failover_plan_sends_a_service_where_its_law_forbids_it(data: Any, world: Fleet) -> None:
    source = data.draw(st.sampled_from(sorted(world.regions)))
    target = data.draw(st.none() | st.sampled_from(sorted(world.regions)))
    assume(source != target)
    lifted = data.draw(st.frozensets(st.sampled_from(sorted(LIFTABLE))))
    plan = plan_failover(world, source, target, lifted)
    if not isinstance(plan, FailoverPlan):
        return
    assert set(plan.shares) == {receiver for shares in plan.by_service.values() for receiver in shares}
    for name, shares in plan.by_service.items():
        request = Request(service=name or None)
        for receiver in shares:
            one = world.regions[receiver]
            assert receiver != source
            assert lawful(world, one, request) and runs_there(world, one, request) and in_shape(one, request)


async def test_L6_when_law_leaves_none_the_answer_is_a_refusal_that_says_so() -> None:
    async with Stage.of(region(EU, compliance=["gdpr"]), US, USW) as stage:
        await stage.manager.put_policy(policy("eu-only", allow=[EU, DE], require=["gdpr"]))
        await stage.manager.put_service(service("api", policy="eu-only"))
        await stage.manager.drain(EU, by="ada", reason="x", override=glass(stage, "empty_service"))
        for strategy in RoutingStrategy:
            for context in ({"service": "api"}, {"compliance_requirements": ["gdpr"]}):
                with pytest.raises(NoEligibleRegionError, match="policy-bound exhaustion") as caught:
                    stage.router.route(context, strategy)
                assert caught.value.policy_bound
                assert set(caught.value.reasons) == {EU, US, USW}


async def test_L6_a_service_whose_policy_is_gone_is_served_by_nobody() -> None:
    async with Stage.of(US, EU, probed=False) as stage:
        await stage.manager.put_policy(policy("p", allow=[EU]))
        await stage.manager.put_service(service("api", policy="p"))
        del stage.manager.registry.policies["p"]
        stage.manager.registry.touch_policies()
        refusal = stage.refusal(service="api")
        assert refusal is not None
        assert refusal.policy_bound


async def test_L6_law_holds_in_the_panic_modes_too() -> None:
    async with Stage.of(region(EU, compliance=["gdpr"]), region(DE, compliance=["gdpr"]), US, USW, JP) as stage:
        await stage.manager.put_policy(policy("eu-only", allow=[EU, DE], require=["gdpr"]))
        await stage.pass_time(30)
        stage.fail(*FIVE)
        await stage.pass_time(600)
        assert stage.serving(compliance_requirements=["gdpr"]) == {EU, DE}


# --- L7: room before shift -------------------------------------------------------------------------


@settings(max_examples=200)
@given(st.data(), fleets())
def test_L7_no_plan_goes_beyond_the_room_that_is_kept_free(data: Any, world: Fleet) -> None:
    source = data.draw(st.sampled_from(sorted(world.regions)))
    target = data.draw(st.none() | st.sampled_from(sorted(world.regions)))
    assume(source != target)
    lifted = data.draw(st.frozensets(st.sampled_from(sorted(LIFTABLE))))
    plan = plan_failover(world, source, target, lifted)
    if not isinstance(plan, FailoverPlan):
        return
    assert sum(plan.shares.values()) + plan.shed == pytest.approx(1.0)
    assert 0.0 <= plan.stranded <= plan.shed + 1e-9
    if Rule.HEADROOM in lifted and target is not None:
        return
    for receiver, share in plan.shares.items():
        free = room(world.regions[receiver], world.limits.headroom)
        assert share * plan.load <= free + 1e-6


async def test_L7_what_one_cannot_carry_is_split_and_the_rest_is_shed_and_counted() -> None:
    loads = {US: 90.0, USW: 60.0, EU: 75.0}
    async with Stage.of(*(region(r, current_capacity=load) for r, load in loads.items()), probed=False) as stage:
        event = await stage.handler.handle_region_failure(US, "fire")
        assert event.shares == {USW: pytest.approx(30 / 90), EU: pytest.approx(15 / 90)}
        assert event.shed == pytest.approx(45 / 90)
        left = {US: pytest.approx(45), USW: 90, EU: 90}  # nobody has taken the shed load: it waits where it was
        assert {r: stage.view(r).load for r in FIVE[:3]} == left
        assert stage.events[-1].details["shed"] == pytest.approx(45 / 90)


async def test_L7_services_that_go_to_one_region_share_its_room() -> None:
    async with Stage.of(region(US, current_capacity=40), region(USW, current_capacity=70), probed=False) as stage:
        for name in ("api", "web"):
            await stage.manager.put_service(service(name, US, USW))
        event = await stage.handler.handle_region_failure(US, "fire")
        assert event.shares == {USW: pytest.approx(0.5)}
        assert event.shed == pytest.approx(0.5)
        assert stage.view(USW).load == pytest.approx(90)


async def test_L7_a_move_onto_a_region_without_room_is_refused_unless_lifted_by_name() -> None:
    async with Stage.of(region(US, current_capacity=60), region(EU, current_capacity=40), USW, probed=False) as stage:
        with pytest.raises(FailoverRefusedError) as caught:
            await stage.handler.failover_to(US, EU)
        assert caught.value.rule == "headroom"
        assert stage.serving() == {US, EU, USW}
        await stage.handler.failover_to(US, EU, override=glass(stage, "headroom"))
        assert stage.view(EU).load == 100
