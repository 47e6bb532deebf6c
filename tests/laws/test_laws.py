"""The laws of failover, each by its name: promises to users that hold for the whole system, not for one function.

Everything here goes through the real manager, router and failure handler, on a store in memory and in virtual time;
what must survive a restart goes through a real SQLite file. Figures and corner cases are tested beside their code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings, strategies as st

from mahavishnu.integrations.multi_region.adapters.stores.sqlite import SqliteStore
from mahavishnu.integrations.multi_region.core.eligibility import Reason
from mahavishnu.integrations.multi_region.core.events import EventKind
from mahavishnu.integrations.multi_region.core.failover import FailoverPlan, plan_failover, room
from mahavishnu.integrations.multi_region.core.intent import region_document
from mahavishnu.integrations.multi_region.core.model import (
    AdminState,
    ComplianceFramework,
    FailbackMode,
    Fleet,
    HealthCheck,
    Phase,
    Point,
    RegionView,
    RoutingStrategy,
    SafetyLimits,
)
from mahavishnu.integrations.multi_region.core.overrides import BreakGlass
from mahavishnu.integrations.multi_region.core.ranking import RankInput
from mahavishnu.integrations.multi_region.core.request import Request
from mahavishnu.integrations.multi_region.core.routing import decide, explain
from mahavishnu.integrations.multi_region.core.safety import LIFTABLE, Rule
from mahavishnu.integrations.multi_region.errors import (
    FailoverRefusedError,
    InvalidInputError,
    NoEligibleRegionError,
    StaleRevisionError,
)
from mahavishnu.integrations.multi_region.ports.probe import ProbeResult
from mahavishnu.integrations.multi_region.testing.builders import fleet, policy, region, service, view, world
from mahavishnu.integrations.multi_region.testing.failing_store import FailingStore
from mahavishnu.integrations.multi_region.testing.stage import FAILED, SHEDDING, WELL, Stage

US, USW, EU, DE, JP = FIVE = ("us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-northeast-1")
GDPR = ComplianceFramework.GDPR


def glass(stage: Stage, rule: str, for_s: float = 60.0) -> BreakGlass:
    now = stage.clock.now()
    return BreakGlass.parse(rule, "ada", "by order of the incident lead", now + for_s, now)


# --- L2: the blind recuse themselves ---------------------------------------------------------------


async def test_L2_when_most_targets_fail_at_once_nobody_is_taken_down_by_probes() -> None:
    async with Stage.of(*FIVE) as stage:
        await stage.pass_time(60)
        stage.fail(US, EU, JP)
        await stage.pass_time(600)
        assert stage.serving() == set(FIVE)
        assert {stage.phase(r) for r in FIVE} == {Phase.HEALTHY}
        assert stage.manager.get_stats()["observer_blind"]
        assert stage.count(EventKind.OBSERVER_BLIND) == 1
        assert stage.count(EventKind.FAILOVER_COMPLETED) == 0
        stage.recover(US, EU, JP)
        await stage.pass_time(60)
        assert stage.count(EventKind.OBSERVER_SIGHTED) == 1
        assert stage.serving() == set(FIVE)


async def test_L2_a_blind_observer_still_hears_real_traffic() -> None:
    async with Stage.of(*FIVE) as stage:
        await stage.pass_time(60)
        stage.fail(US, EU, JP)
        await stage.pass_time(60)
        stage.requests(US, failed=5)
        await stage.pass_time(1)
        assert stage.serving() == set(FIVE) - {US}


async def test_L2_one_answer_that_comes_through_does_not_make_votes_of_what_a_blind_observer_saw() -> None:
    async with Stage.of(*FIVE) as stage:
        await stage.pass_time(60)
        for place, region_id in enumerate(FIVE):
            answers = _passing_once_in(10, place)
            stage.answer_with(region_id, lambda answers=answers: next(answers))  # type: ignore[misc]
        await stage.pass_time(3600)
        assert stage.serving() == set(FIVE)
        assert stage.count(EventKind.FAILOVER_COMPLETED) == 0


async def test_L2_a_region_that_is_asked_more_often_does_not_hide_that_the_others_fail_with_it() -> None:
    often = HealthCheck(interval_s=1.0, timeout_s=1.0, fall=2, rise=3)
    async with Stage.of(region(US, health=often), *FIVE[1:]) as stage:
        await stage.pass_time(63)
        stage.fail(*FIVE)
        await stage.pass_time(3600)
        assert stage.serving() == set(FIVE) - {US}
        assert stage.manager.get_stats()["observer_blind"]


def _passing_once_in(times: int, start: int) -> Any:
    while True:
        start += 1
        yield WELL if start % times == 0 else FAILED


async def test_L2_silence_makes_unknown_never_down_and_never_healthy() -> None:
    async with Stage.of(*FIVE) as stage:
        await stage.pass_time(60)

        async def hangs(endpoint: str, check: HealthCheck) -> ProbeResult:
            await stage.clock.sleep(1e9)
            return WELL

        stage.probe.ask = hangs  # type: ignore[method-assign]  # no answer of any kind, ever
        await stage.pass_time(600)
        assert {stage.phase(r) for r in FIVE} == {Phase.UNKNOWN}
        assert stage.serving() == set(FIVE)


async def test_L2_a_region_of_which_nothing_is_known_is_neither_healthy_nor_down() -> None:
    async with Stage.of(region("a", health_score=None), "b", probed=False) as stage:
        assert stage.phase("a") is Phase.UNKNOWN
        await stage.pass_time(3600)
        assert stage.phase("a") is Phase.UNKNOWN
        assert "a" in stage.serving()
        assert stage.router.route({}, "cost_based").selected_region == "b"


# --- L3: quick to doubt, slow to trust -------------------------------------------------------------


async def test_L3_it_falls_sooner_than_it_rises() -> None:
    check = HealthCheck(interval_s=10.0, timeout_s=2.0, fall=2, rise=5, hold_down_s=0.0)
    async with Stage.of(US, USW, EU, check=check) as stage:
        await stage.pass_time(60)
        stage.fail(US)
        fell = await _seconds_until(stage, lambda: stage.phase(US) is Phase.DOWN)
        stage.recover(US)
        rose = await _seconds_until(stage, lambda: stage.phase(US) is Phase.HEALTHY)
        assert fell == pytest.approx(check.fall * check.interval_s, abs=check.interval_s)
        assert rose == pytest.approx(check.rise * check.interval_s, abs=check.interval_s)
        assert rose > fell


async def test_L3_one_in_two_failing_is_caught() -> None:
    async with Stage.of(US, USW, EU) as stage:
        await stage.pass_time(60)
        answers = _alternating()
        stage.answer_with(US, lambda: next(answers))
        await stage.pass_time(150)
        assert stage.count(EventKind.FAILOVER_COMPLETED, US) == 1


async def test_L3_the_hold_down_doubles_with_each_relapse_and_health_pays_it_off() -> None:
    check = HealthCheck(interval_s=2.0, timeout_s=1.0, fall=2, rise=3, hold_down_s=60.0)
    async with Stage.of(US, USW, EU, check=check) as stage:
        outs = []
        for _ in range(4):
            await stage.pass_time(60)
            outs.append(await _time_out(stage))
        assert outs == pytest.approx([60, 120, 240, 480], abs=4)
        await stage.pass_time(3600)
        assert await _time_out(stage) == pytest.approx(60, abs=4)


async def _time_out(stage: Stage) -> float:
    """Let the region fail for a moment; for how many seconds it then stays out."""
    stage.fail(US)
    await _seconds_until(stage, lambda: stage.phase(US) is Phase.DOWN)
    stage.recover(US)
    return await _seconds_until(stage, lambda: stage.phase(US) is Phase.HEALTHY)


async def _seconds_until(stage: Stage, true: Any) -> float:
    began = stage.clock.now()
    while not true():
        await stage.pass_time(0.5)
        assert stage.clock.now() - began < 10_000, "it never came true"
    return stage.clock.now() - began


def _alternating() -> Any:
    while True:
        yield FAILED
        yield WELL


# --- L4: real traffic counts -----------------------------------------------------------------------


async def test_L4_passing_probes_do_not_reinstate_a_region_whose_real_traffic_fails() -> None:
    async with Stage.of(US, USW, EU) as stage:
        await stage.pass_time(60)
        stage.requests(US, failed=30)
        for _ in range(300):
            await stage.pass_time(1)
            stage.requests(US, failed=5)
            assert US not in stage.serving()
        await stage.pass_time(120)
        assert US in stage.serving()


async def test_L4_shedding_reads_as_saturated_and_never_as_spare_room() -> None:
    async with Stage.of(region(US, current_capacity=1), USW, EU) as stage:
        stage.answer(US, SHEDDING)
        await stage.pass_time(600)
        assert stage.phase(US) is Phase.SATURATED
        assert US not in stage.serving()
        assert stage.router.route({}, "capacity_based").selected_region != US
        told = stage.router.explain({}).excluded[US]
        assert told.code is Reason.NO_ROOM


# --- L5: graded ------------------------------------------------------------------------------------


async def test_L5_health_has_five_grades_and_the_operator_three_words() -> None:
    check = HealthCheck(interval_s=10.0, timeout_s=2.0, slow_ms=100.0)
    async with Stage.of(*FIVE, region("sa-east-1", health_score=None), check=check) as stage:
        stage.answer(USW, ProbeResult(True, 500.0))
        stage.answer(EU, SHEDDING)
        stage.answer(DE, FAILED)
        stage.manager.regions["sa-east-1"].health = HealthCheck(interval_s=1e6)
        await stage.pass_time(0.4)
        del stage.probe.answers[stage.manager.regions["sa-east-1"].endpoint]
        await stage.pass_time(60)
        phases = {r: stage.phase(r) for r in (US, USW, EU, DE, "sa-east-1")}
        assert phases == {
            US: Phase.HEALTHY,
            USW: Phase.DEGRADED,
            EU: Phase.SATURATED,
            DE: Phase.DOWN,
            "sa-east-1": Phase.UNKNOWN,
        }
        await stage.manager.drain(US, by="ada", reason="x", finished=False)
        await stage.manager.drain(USW, by="ada", reason="x")
        words = [stage.view(r).admin for r in (US, USW, JP)]
        assert words == [AdminState.DRAINING, AdminState.DRAINED, AdminState.ACTIVE]


# --- L6: law before optimum ------------------------------------------------------------------------

names = st.sampled_from(FIVE)
frameworks = st.frozensets(st.sampled_from(["gdpr", "soc2"]), max_size=2)
phases = st.sampled_from([Phase.HEALTHY] * 5 + [*Phase])
words = st.sampled_from([AdminState.ACTIVE] * 6 + [*AdminState])


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    """Any fleet: every phase, every operator's word, loads up to and over the limit, policies, services."""
    ids = draw(st.lists(names, min_size=2, max_size=5, unique=True))
    lists = st.none() | st.lists(names, min_size=2, max_size=5)
    policies = [policy(f"p{i}", require=draw(frameworks), allow=draw(lists)) for i in range(draw(st.integers(0, 3)))]
    named = st.sampled_from([*[p.policy_id for p in policies] * 3, "gone"])
    services = [
        service(
            f"s{i}",
            *draw(st.just([]) | st.lists(names, min_size=2, max_size=5, unique=True)),
            policy=draw(st.none() | named),
            priority=draw(st.integers(1, 3)),
        )
        for i in range(draw(st.integers(0, 3)))
    ]
    return fleet(*[draw(views(name)) for name in ids], services=services, policies=policies)


@st.composite
def views(draw: st.DrawFn, name: str) -> RegionView:
    phase = draw(phases)
    held = phase is Phase.DOWN and draw(st.booleans())
    return view(
        name,
        phase,
        admin=draw(words),
        load=draw(st.sampled_from([0.0, 10.0, 30.0, 50.0, 89.0, 100.0, 130.0])),
        max_capacity=draw(st.sampled_from([50.0, 100.0, 200.0])),
        compliance=draw(frameworks | st.just(frozenset({"gdpr", "soc2"}))),
        cost_multiplier=draw(st.sampled_from([0.5, 1.0, 2.0])),
        serves_as=Phase.UNKNOWN if held else None,
        held="safety" if held else None,
        failed_over=draw(st.sampled_from([None] * 6 + ["an outage"])),
        failed_services=draw(st.sampled_from([None, frozenset({"s0"})])),
    )


def lawful(world: Fleet, one: RegionView, request: Request) -> bool:
    """What the law says, written anew from the declarations alone: no function of the product is asked."""
    made = world.services.get(request.service or "")
    named = world.policies.get(made.policy) if made is not None and made.policy is not None else None
    if made is not None and made.policy is not None and named is None:
        return False
    required = request.requirements | (named.requirements if named is not None else frozenset())
    bound = [p for p in world.policies.values() if p is named or (p.requirements and p.requirements <= required)]
    listed = all(p.allowed_regions is None or one.region_id in p.allowed_regions for p in bound)
    return listed and all(p.requirements <= one.compliance for p in bound) and required <= one.compliance


def runs_there(world: Fleet, one: RegionView, request: Request) -> bool:
    """Whether the request's service is deployed in the region."""
    made = world.services.get(request.service or "")
    return made is None or made.deployment is None or one.region_id in made.deployment.regions


def in_shape(one: RegionView, request: Request) -> bool:
    """Whether a region could serve if there were no law: also written anew."""
    away = one.failed_over is not None and (one.failed_services is None or request.service in one.failed_services)
    phase = one.serves_as or one.phase
    well = phase not in (Phase.DOWN, Phase.SATURATED)
    return one.admin is AdminState.ACTIVE and not away and well and one.load < one.max_capacity


@st.composite
def requests(draw: st.DrawFn, world: Fleet) -> Request:
    return Request(
        location=draw(st.none() | st.builds(Point, st.floats(-90, 90), st.floats(-180, 180))),
        requirements=frozenset(ComplianceFramework(name) for name in draw(frameworks)),
        service=draw(st.none() | st.sampled_from(sorted(world.services))) if world.services else None,
    )


@settings(max_examples=200)
@given(st.data(), fleets(), st.sampled_from(RoutingStrategy), st.integers(0, 20))
def test_L6_no_decision_ever_selects_a_region_to_which_there_is_an_objection(
    data: Any, world: Fleet, strategy: RoutingStrategy, turn: int
) -> None:
    request = data.draw(requests(world))
    weights = data.draw(st.none() | st.dictionaries(names, st.floats(0, 5), max_size=5))
    holders = (Point(0.0, 0.0),) if data.draw(st.booleans()) else ()
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
        assert {r: stage.view(r).load for r in FIVE[:3]} == {US: 0, USW: 90, EU: 90}
        assert stage.events[-1].details["shed"] == pytest.approx(45 / 90)


async def test_L7_a_move_onto_a_region_without_room_is_refused_unless_lifted_by_name() -> None:
    async with Stage.of(region(US, current_capacity=60), region(EU, current_capacity=40), USW, probed=False) as stage:
        with pytest.raises(FailoverRefusedError) as caught:
            await stage.handler.failover_to(US, EU)
        assert caught.value.rule == "headroom"
        assert stage.serving() == {US, EU, USW}
        await stage.handler.failover_to(US, EU, override=glass(stage, "headroom"))
        assert stage.view(EU).load == 100


# --- L9: blast radius ------------------------------------------------------------------------------


async def test_L9_automation_removes_no_more_than_its_share_within_the_window() -> None:
    limits = SafetyLimits(max_removed=0.5, window_s=300.0, blind_share=1.0)
    async with Stage.of(*FIVE, limits=limits) as stage:
        await stage.pass_time(60)
        for region_id in FIVE[:4]:
            stage.fail(region_id)
            await stage.pass_time(25)
        assert stage.serving() == {EU, DE, JP}
        held = {r: stage.view(r).held for r in (EU, DE)}
        assert all(text is not None and "at most 50 % may" in text for text in held.values())
        assert stage.count(EventKind.SAFETY_HELD) == 2
        await stage.pass_time(300)
        assert stage.serving() < {EU, DE, JP}
        assert stage.count(EventKind.SAFETY_RELEASED) >= 1


async def test_L9_the_last_serving_region_stays_whatever_the_probes_say() -> None:
    async with Stage.of(US, USW, EU, limits=SafetyLimits(window_s=10.0, blind_share=1.0)) as stage:
        await stage.pass_time(60)
        for region_id in (US, USW, EU):
            stage.fail(region_id)
            await stage.pass_time(60)
        await stage.pass_time(3600)
        assert stage.serving() == {EU}
        decision = stage.router.route({})
        assert decision.selected_region == EU
        assert "kept in service by safety" in decision.reasoning
        assert stage.view(EU).phase is Phase.DOWN


async def test_L9_a_service_is_never_emptied_though_other_regions_serve_others() -> None:
    async with Stage.of(*FIVE, limits=SafetyLimits(window_s=10.0, blind_share=1.0)) as stage:
        await stage.manager.put_service(service("api", US, USW))
        await stage.pass_time(60)
        for region_id in (US, USW):
            stage.fail(region_id)
            await stage.pass_time(60)
        await stage.pass_time(3600)
        assert stage.serving(service="api") == {USW}
        assert stage.count(EventKind.SAFETY_HELD, USW) == 1


async def test_L9_a_held_region_is_recorded_and_let_go_when_it_is_well() -> None:
    async with Stage.of(US, USW, limits=SafetyLimits(window_s=10.0, blind_share=1.0)) as stage:
        await stage.pass_time(60)
        for region_id in (US, USW):
            stage.fail(region_id)
            await stage.pass_time(60)
        stage.recover(USW)
        await stage.pass_time(200)
        assert stage.tells(USW)[2:] == ["health.changed", "safety.held", "safety.released", "health.changed"] or (
            stage.tells(USW)[2:] == ["health.changed", "safety.held", "health.changed", "safety.released"]
        )
        assert stage.view(USW).held is None


async def test_L9_beyond_its_limits_automation_freezes_and_so_does_an_operators_word() -> None:
    async with Stage.of(US, USW, EU) as stage:
        await stage.pass_time(60)
        await stage.manager.freeze(by="ada", reason="the checks lie")
        stage.fail(US)
        await stage.pass_time(600)
        assert stage.serving() == {US, USW, EU}
        assert stage.count(EventKind.FAILOVER_COMPLETED) == 0
        await stage.manager.unfreeze(by="ada")
        await stage.pass_time(5)
        assert stage.serving() == {USW, EU}
        assert stage.count(EventKind.FAILOVER_COMPLETED) == 1


# --- L10: fail static ------------------------------------------------------------------------------


async def test_L10_when_all_checks_fail_at_once_the_last_good_state_is_held() -> None:
    async with Stage.of(*FIVE) as stage:
        await stage.pass_time(60)
        before = {r: stage.router.route({}, "round_robin").selected_region for r in FIVE}
        stage.fail(*FIVE)
        await stage.pass_time(7200)
        assert {r: stage.router.route({}, "round_robin").selected_region for r in FIVE} == before
        assert stage.manager.get_stats()["observer_blind"]


async def test_L10_without_the_store_decisions_and_verdicts_go_on_and_are_recorded_later() -> None:
    store = FailingStore()
    async with Stage.of(US, USW, EU, store=store) as stage:
        await stage.pass_time(60)
        store.lose()
        recorded = len(stage.events)
        stage.fail(US)
        await stage.pass_time(60)
        assert stage.serving() == {USW, EU}
        assert stage.router.route({}).selected_region in {USW, EU}
        assert stage.manager.get_stats()["store_lost"] == "the store is lost"
        assert len(stage.events) == recorded
        at = stage.clock.now()
        store.find()
        await stage.pass_time(30)
        later = stage.events[recorded:]
        assert [(e.kind.value, e.subject) for e in later] == [
            ("health.changed", US),
            ("failover.completed", US),
        ]
        assert later[0].at < at, "the event tells when it happened, not when it could be written"
        assert stage.manager.get_stats()["store_lost"] is None
        assert await stage.manager.journal.verify() == len(stage.events)


async def test_L10_an_answer_that_was_lost_on_the_way_breaks_nothing() -> None:
    store = FailingStore(applied_when_lost=True)
    async with Stage.of(US, USW, EU, store=store) as stage:
        await stage.pass_time(60)
        store.lose()
        stage.fail(US)
        await stage.pass_time(60)
        store.find()
        await stage.pass_time(60)
        assert stage.serving() == {USW, EU}
        assert await stage.manager.journal.verify() >= len(stage.events)
        stage.recover(US)
        await stage.pass_time(120)
        assert stage.serving() == {US, USW, EU}


# --- L11: the operator's word stands ---------------------------------------------------------------


async def test_L11_a_drain_survives_failover_recovery_and_restart(tmp_path: Path) -> None:
    place = tmp_path / "world.db"
    async with Stage.of(US, USW, EU, store=await SqliteStore.open(place), probed=False) as stage:
        await stage.manager.drain(US, by="ada", reason="new kernel")
        await stage.handler.handle_region_failure(US, "it is down too")
        await stage.handler.recover_region(US)
        assert stage.serving() == {USW, EU}
        await stage.handler.handle_region_failure(USW, "fire")
        assert stage.serving() == {EU}
    async with Stage.of(store=await SqliteStore.open(place), probed=False) as again:
        assert again.serving() == {EU}
        drain = again.manager.registry.drains[US]
        assert (drain.by, drain.reason) == ("ada", "new kernel")
        assert again.view(USW).failed_over == "fire"
        again.requests(EU, failed=10)
        await again.pass_time(1)
        assert again.serving() == {EU}, "neither a drained nor a failed over region is brought back by need"
        await again.manager.undrain(US, by="ada", reason="done")
        assert US in again.serving()
        assert await again.manager.journal.verify() == await again.manager.journal.verify()


async def test_L11_a_drain_survives_the_probes_and_automatic_failback() -> None:
    async with Stage.of(US, USW, EU) as stage:
        await stage.pass_time(60)
        await stage.manager.drain(US, by="ada", reason="x")
        stage.fail(US)
        await stage.pass_time(60)
        stage.recover(US)
        await stage.pass_time(600)
        assert stage.serving() == {USW, EU}
        assert stage.phase(US) is Phase.HEALTHY


async def test_L11_break_glass_names_one_rule_one_person_a_reason_and_an_end_and_is_audited() -> None:
    async with Stage.of(US, probed=False) as stage:
        override = glass(stage, "min_serving", for_s=60.0)
        await stage.manager.drain(US, by="bob", reason="evacuate", override=override)
        used = [event for event in stage.events if event.kind is EventKind.OVERRIDE_USED]
        assert [(e.subject, e.actor, e.reason, e.details["rule"], e.details["expires_at"]) for e in used] == [
            (US, "ada", "by order of the incident lead", "min_serving", override.expires_at)
        ]
        await stage.manager.undrain(US, by="bob")
        await stage.pass_time(60)
        with pytest.raises(InvalidInputError, match="expires_at"):
            await stage.manager.drain(US, by="bob", reason="again", override=override)
        assert stage.serving() == {US}


@pytest.mark.parametrize("rule", ["target", "policy", "policy_bound_exhaustion", "law", "max_removed"])
async def test_L11_law_cannot_be_lifted(rule: str) -> None:
    async with Stage.of(region(EU, compliance=["gdpr"]), US, USW, probed=False) as stage:
        with pytest.raises(InvalidInputError, match=r"override\.rule"):
            glass(stage, rule)
    async with Stage.of(region(EU, compliance=["gdpr"]), US, USW, probed=False) as stage:
        await stage.manager.put_policy(policy("eu", require=["gdpr"]))
        await stage.manager.put_service(service("api", policy="eu"))
        for liftable in LIFTABLE:
            with pytest.raises(FailoverRefusedError):
                await stage.handler.failover_to(EU, US, override=glass(stage, liftable.value))
        assert stage.serving(service="api") == {EU}


# --- L13, for one store: a stale writer is refused -------------------------------------------------


async def test_L13_a_controller_that_does_not_know_the_newest_change_can_write_over_nothing() -> None:
    shared, lagging = FailingStore(), FailingStore()
    lagging.inner = shared.inner
    async with Stage.of(US, USW, store=shared, probed=False) as stage:
        stale = Stage.of(store=lagging, probed=False, clock=stage.clock)
        async with stale as other:
            lagging.lose()
            await stage.pass_time(1)
            await stage.manager.update_region(region(US, name="newer"))
            lagging._lost.clear()
            with pytest.raises(StaleRevisionError):
                await other.manager.update_region(region(US, name="older"))
            assert stage.view(US).name == "newer"
            await stage.pass_time(5)
            assert other.view(US).name == "newer"


# --- L17: failback is a choice ---------------------------------------------------------------------


async def test_L17_manual_services_stay_away_and_automatic_ones_return() -> None:
    async with Stage.of(US, USW, EU) as stage:
        await stage.manager.put_service(service("active", US, USW))
        await stage.manager.put_service(service("passive", US, USW, passive=True))
        await stage.manager.put_service(service("by-hand", failback=FailbackMode.MANUAL))
        await stage.manager.put_service(service("at-night", failback=FailbackMode.SCHEDULED))
        await stage.pass_time(60)
        stage.fail(US)
        await stage.pass_time(60)
        assert not any(US in stage.serving(service=s) for s in ("active", "passive", "by-hand", "at-night"))
        stage.recover(US)
        await stage.pass_time(600)
        returned = {s: US in stage.serving(service=s) for s in ("active", "passive", "by-hand", "at-night")}
        assert returned == {"active": True, "passive": False, "by-hand": False, "at-night": False}
        assert US in stage.serving()
        recovered = [e for e in stage.events if e.kind is EventKind.REGION_RECOVERED]
        assert [e.details["waiting"] for e in recovered] == [["at-night", "by-hand", "passive"]]
        await stage.handler.recover_region(US, by="ada", reason="checked")
        assert all(US in stage.serving(service=s) for s in returned)


async def test_L17_manual_services_stay_away_across_a_restart(tmp_path: Path) -> None:
    place = tmp_path / "world.db"
    async with Stage.of(US, USW, EU, store=await SqliteStore.open(place), probed=False) as stage:
        await stage.manager.put_service(service("by-hand", failback=FailbackMode.MANUAL))
        await stage.handler.handle_region_failure(US, "fire")
    async with Stage.of(store=await SqliteStore.open(place), probed=False) as again:
        assert US not in again.serving(service="by-hand")


# --- L18: explained --------------------------------------------------------------------------------


@given(st.data(), fleets(), st.sampled_from(RoutingStrategy))
def test_L18_every_region_that_is_left_out_has_a_code_and_a_text(
    data: Any, world: Fleet, strategy: RoutingStrategy
) -> None:
    request = data.draw(requests(world))
    told = explain(world, request, strategy, RankInput(location=request.location), 0)
    assert {one.region_id for one in told.eligible} | set(told.excluded) == set(world.regions)
    assert not {one.region_id for one in told.eligible} & set(told.excluded)
    for why in told.excluded.values():
        assert isinstance(why.code, Reason)
        assert why.text
    if told.decision is None:
        assert told.refusal
        assert all(name in told.refusal for name in world.regions)
    else:
        assert told.decision.reasoning
        assert told.decision.revision == world.revision


# --- L19: audited ----------------------------------------------------------------------------------


async def test_L19_every_change_of_intent_and_every_shift_is_an_event_with_before_and_after() -> None:
    async with Stage.of(probed=False) as stage:
        manager, handler = stage.manager, stage.handler
        await manager.register_region(region(US), actor="ada")
        await manager.register_region(region(USW), actor="ada")
        await manager.update_region(region(US, name="renamed"), actor="ada")
        await manager.put_policy(policy("p"), actor="ada")
        await manager.put_policy(policy("p", require=[]), actor="ada")
        await manager.put_service(service("api"), actor="ada")
        await manager.put_service(service("api", priority=5), actor="ada")
        await manager.remove_service("api", actor="ada")
        await manager.drain(US, by="ada", reason="x")
        await manager.undrain(US, by="ada")
        await manager.freeze(by="ada", reason="x")
        await manager.unfreeze(by="ada")
        await handler.failover_to(US, USW, by="ada", reason="x")
        await handler.recover_region(US, by="ada")
        await manager.apply(world(region(USW), limits=SafetyLimits(min_serving=2)), actor="ada")
        told = [(e.kind.value, e.before is not None, e.after is not None) for e in stage.events]
        assert told == [
            ("region.registered", False, True),
            ("region.registered", False, True),
            ("region.updated", True, True),
            ("policy.registered", False, True),
            ("service.declared", False, True),
            ("service.declared", True, True),
            ("service.removed", True, False),
            ("drain.completed", False, True),
            ("drain.lifted", True, False),
            ("automation.frozen", False, True),
            ("automation.unfrozen", True, False),
            ("failover.completed", False, True),
            ("region.recovered", True, False),
            ("limits.changed", False, True),
            ("policy.removed", True, False),
            ("region.removed", True, False),
        ]
        assert {e.actor for e in stage.events} == {"ada"}
        assert await manager.journal.verify() == len(told)


async def test_L19_what_is_told_after_is_what_stands() -> None:
    async with Stage.of(US, USW, probed=False) as stage:
        await stage.manager.update_region(region(US, cost_multiplier=3.0))
        registered, updated = (e for e in stage.events if e.subject == US)
        assert updated.before == registered.after
        assert updated.after == region_document(stage.manager.regions[US])


async def test_L19_a_log_that_somebody_touched_does_not_verify() -> None:
    store = FailingStore()
    async with Stage.of(US, USW, store=store, probed=False) as stage:
        assert await stage.manager.journal.verify() == 2
        loaded = await store.load("events/")
        key, entry = next(iter(loaded.entries.items()))
        await store.commit({key: entry.value.replace("us-east-1", "eu-east-1")})
        with pytest.raises(Exception, match="event 2: does not follow"):
            await stage.manager.journal.verify()
