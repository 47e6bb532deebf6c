"""Where the load of a leaving region goes: within law and room, split where needed; the rest is shed and counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from mahavishnu.integrations.multi_region.core.deployment import Group, State
from mahavishnu.integrations.multi_region.core.failover import (
    FailoverPlan,
    Refusal,
    crowded_out,
    heirs_named,
    load_moved,
    loads_after,
    plan_by_choice,
    plan_drain,
    plan_failover,
)
from mahavishnu.integrations.multi_region.core.model import (
    AdminState,
    Fleet,
    Phase,
    RegionView,
    SafetyLimits,
)
from mahavishnu.integrations.multi_region.core.safety import Rule
from mahavishnu.integrations.multi_region.testing.builders import fleet, policy, service, view

from .rollout_tools import active_active, active_passive

Leave = Callable[..., FailoverPlan | Refusal | None]
"""How a person has a region left."""

US, USW, EU, DE, JP = "us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-northeast-1"


def planned(world: Fleet, source: str, target: str | None = None, *lifted: Rule) -> FailoverPlan:
    plan = plan_failover(world, source, target, frozenset(lifted))
    assert isinstance(plan, FailoverPlan), plan
    return plan


def refused(world: Fleet, source: str, target: str | None = None, *lifted: Rule) -> Refusal:
    plan = plan_failover(world, source, target, frozenset(lifted))
    assert isinstance(plan, Refusal), plan
    return plan


# --- without a named target --------------------------------------------------------------------


def test_the_nearest_with_room_takes_it_all() -> None:
    plan = planned(fleet(view(US, load=40), USW, EU, JP, revision=9), US)
    assert (plan.target, plan.shares, plan.shed, plan.load, plan.revision) == (USW, {USW: 1.0}, 0.0, 40, 9)


def test_a_healthy_region_far_away_comes_before_a_degraded_one_nearby() -> None:
    assert planned(fleet(view(US, load=40), view(USW, Phase.DEGRADED), EU), US).target == EU


def test_what_one_cannot_carry_is_split() -> None:
    plan = planned(fleet(view(US, load=60), view(USW, load=60), view(EU, load=0)), US)
    assert plan.shares == {USW: pytest.approx(0.5), EU: pytest.approx(0.5)}
    assert plan.shed == 0.0


def test_what_nobody_has_room_for_is_shed_and_counted() -> None:
    plan = planned(fleet(view(US, load=90), view(USW, load=60), view(EU, load=75)), US)
    assert plan.shares == {USW: pytest.approx(30 / 90), EU: pytest.approx(15 / 90)}
    assert plan.shed == pytest.approx(45 / 90)
    assert plan.stranded == 0.0


def test_a_region_without_load_is_given_over_to_the_nearest() -> None:
    plan = planned(fleet(US, view(USW, load=95), EU), US)
    assert (plan.target, plan.shares, plan.shed) == (USW, {USW: 1.0}, 0.0)


def test_nearest_is_by_round_trip_where_somebody_knows_it() -> None:
    rtts = {USW: 70.0, EU: 60.0, JP: 150.0}
    world = fleet(view(US, load=60), view(USW, load=60), view(EU, load=60), JP)
    plan = plan_failover(world, US, rtt_ms=lambda leaving, region: rtts[region.region_id])
    assert isinstance(plan, FailoverPlan)
    assert plan.shares == {EU: pytest.approx(0.5), USW: pytest.approx(0.5)}
    assert list(plan.shares) == [EU, USW]
    assert plan.rtt_ms == {EU: 60.0, USW: 70.0}


def test_the_way_is_asked_from_the_region_that_leaves() -> None:
    asked = []

    def rtt_ms(leaving: RegionView, region: RegionView) -> float:
        asked.append((leaving.region_id, region.region_id))
        return 7.0

    by_name = plan_failover(fleet(US, EU), US, EU, rtt_ms=rtt_ms)
    assert asked == [(US, EU)]
    assert isinstance(by_name, FailoverPlan)
    assert by_name.rtt_ms == {EU: 7.0}


def test_who_knows_no_round_trips_is_told_what_light_needs() -> None:
    plan = planned(fleet(view(US, load=40), USW, EU), US)
    assert plan.rtt_ms == {USW: pytest.approx(36, abs=2)}


def test_each_region_that_takes_nothing_has_its_reason() -> None:
    world = fleet(view(US, load=10), USW, view(EU, Phase.DOWN), view(DE, admin=AdminState.DRAINED), view(JP, load=100))
    assert planned(world, US).excluded == {
        EU: "is down",
        DE: "is drained by its operator",
        JP: "is full: 100 of 100",
    }


def test_when_nobody_may_take_over_it_is_refused_with_every_reason() -> None:
    told = refused(fleet(view(US, load=10), view(USW, load=100)), US)
    assert (told.rule, told.reasons) == ("no_eligible_region", {USW: "is full: 100 of 100"})


# --- services and law --------------------------------------------------------------------------


def test_load_goes_only_where_the_law_of_its_service_lets_it() -> None:
    world = fleet(
        view(DE, load=40),
        US,
        EU,
        services=[service("api", policy="eu")],
        policies=[policy("eu", allow=[DE, EU])],
    )
    plan = planned(world, DE)
    assert plan.shares == {EU: 1.0}
    assert plan.excluded == {US: "policy eu does not allow it"}


def test_services_that_no_single_region_could_take_go_apart() -> None:
    world = fleet(view(US, load=40), USW, EU, services=[service("api", US, USW), service("web", US, EU)])
    plan = planned(world, US)
    assert plan.shares == {USW: 0.5, EU: 0.5}
    assert plan.by_service == {"api": {USW: 0.5}, "web": {EU: 0.5}}


def test_the_service_that_matters_most_gets_the_room() -> None:
    world = fleet(
        view(US, load=40),
        view(USW, load=70),
        services=[service("batch", US, USW, priority=9), service("api", US, USW, priority=1)],
    )
    plan = planned(world, US)
    assert plan.by_service == {"api": {USW: 0.5}, "batch": {}}
    assert plan.shed == 0.5


def test_among_equals_the_service_with_least_choice_goes_first() -> None:
    world = fleet(
        view(US, load=40),
        view(USW, load=70),
        view(EU, load=0),
        services=[service("any"), service("west", US, USW)],
    )
    plan = planned(world, US)
    assert plan.by_service == {"west": {USW: 0.5}, "any": {EU: 0.5}}
    assert plan.shed == 0.0


def test_a_region_that_is_down_already_leaves_although_one_of_its_services_is_stranded() -> None:
    world = fleet(view(US, Phase.DOWN, load=40), USW, services=[service("api", US), service("web")])
    plan = planned(world, US)
    assert plan.by_service == {"api": {}, "web": {USW: 0.5}}
    assert (plan.shed, plan.stranded) == (0.5, 0.5)


def test_the_last_of_a_service_may_not_leave_while_it_serves() -> None:
    assert refused(fleet(US, USW, services=[service("api", US)]), US).rule == Rule.EMPTY_SERVICE


def test_lifting_one_rule_does_not_lift_another() -> None:
    world = fleet(US, services=[service("api", US)])
    assert refused(world, US).rule == Rule.MIN_SERVING
    assert refused(world, US, None, Rule.MIN_SERVING).rule == Rule.EMPTY_SERVICE
    assert refused(world, US, None, Rule.HEADROOM).rule == Rule.MIN_SERVING


def test_the_last_region_may_leave_when_exactly_that_rule_is_lifted() -> None:
    plan = planned(fleet(view(US, load=40)), US, None, Rule.MIN_SERVING)
    assert (plan.target, plan.shares, plan.shed, plan.stranded) == ("", {}, 1.0, 1.0)


# --- onto a named target -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (view(EU, Phase.DOWN), "is down"),
        (view(EU, Phase.SATURATED), "is saturated"),
        (view(EU, admin=AdminState.DRAINED), "is drained by its operator"),
        (view(EU, failed_over="no answer"), "was failed over: no answer"),
        (view(EU, load=100), "is full: 100 of 100"),
    ],
)
def test_a_target_that_may_not_serve_is_refused(target: object, why: str) -> None:
    told = refused(fleet(view(US, load=10), USW, target), US, EU)  # type: ignore[arg-type]
    assert (told.rule, told.reasons) == (Rule.TARGET, {EU: why})


@pytest.mark.parametrize("lifted", list(Rule))
def test_no_override_makes_an_unlawful_target(lifted: Rule) -> None:
    world = fleet(US, USW, EU, services=[service("api", policy="p")], policies=[policy("p", allow=[US, EU])])
    assert refused(world, US, USW, lifted).rule == Rule.TARGET


def test_a_target_needs_room_for_all_of_it() -> None:
    world = fleet(view(US, load=60), view(EU, load=40), USW)
    told = refused(world, US, EU)
    assert told.rule == Rule.HEADROOM
    assert told.text == (
        "eu-west-1 has room for 50 of the 60 that us-east-1 carries (40 of 100 in use, 10 % kept free)"
    )
    assert planned(world, US, EU, Rule.HEADROOM).shares == {EU: 1.0}


def test_the_limit_itself_is_room() -> None:
    assert planned(fleet(view(US, load=50), view(EU, load=40), USW), US, EU).target == EU


def test_headroom_is_the_fleets_limit() -> None:
    world = fleet(view(US, load=60), view(EU, load=40), limits=SafetyLimits(headroom=0.0))
    assert planned(world, US, EU).shed == 0.0


# --- what may be shed (L7) -----------------------------------------------------------------------


def test_L7_a_person_who_leaves_a_healthy_region_sheds_nothing_without_an_override() -> None:
    crowded = fleet(
        view("a", load=50.0, max_capacity=100.0, phase=Phase.HEALTHY),
        view("b", load=60.0, max_capacity=100.0, phase=Phase.HEALTHY),
    )
    refused = plan_by_choice(crowded, "a")
    assert isinstance(refused, Refusal)
    assert refused.rule == Rule.HEADROOM.value
    lifted = plan_by_choice(crowded, "a", lifted=frozenset({Rule.HEADROOM}))
    forced = plan_by_choice(
        fleet(
            view("a", load=50.0, max_capacity=100.0, phase=Phase.DOWN),
            view("b", load=60.0, max_capacity=100.0, phase=Phase.HEALTHY),
        ),
        "a",
    )
    assert isinstance(lifted, FailoverPlan)
    assert isinstance(forced, FailoverPlan)
    assert forced.shed > 0


EMPTY = frozenset({Rule.EMPTY_SERVICE})


@pytest.mark.parametrize("plan_leave", [plan_by_choice, plan_drain])
def test_L7_what_only_the_leaving_region_could_serve_crowds_nobody_out(plan_leave: Leave) -> None:
    bound = fleet(view("a", load=40.0), "b", services=[service("api", "a"), service("web")])
    plan = plan_leave(bound, "a", lifted=EMPTY)
    assert isinstance(plan, FailoverPlan)
    assert (plan.shed, plan.stranded, crowded_out(plan)) == (0.5, 0.5, 0.0)


@pytest.mark.parametrize("plan_leave", [plan_by_choice, plan_drain])
def test_L7_a_failover_and_a_drain_are_refused_in_the_same_words(plan_leave: Leave) -> None:
    bound = fleet(view("a", load=80.0), view("b", load=70.0), services=[service("api", "a"), service("web")])
    told = plan_leave(bound, "a", lifted=EMPTY)
    assert isinstance(told, Refusal)
    assert (told.rule, told.text) == (Rule.HEADROOM, "the other regions have no room for 25 % of the load of a")
    assert isinstance(plan_leave(bound, "a", lifted=EMPTY | {Rule.HEADROOM}), FailoverPlan)


@pytest.mark.parametrize("plan_leave", [plan_by_choice, plan_drain])
def test_L7_a_heir_without_room_crowds_its_service_out_and_does_not_strand_it(plan_leave: Leave) -> None:
    taken = replace(active_passive("a", "b"), groups=(Group("active", ("a",), 1.0),), state=State.SERVING)
    full = fleet(view("a", load=40.0), view("b", load=95.0), "c", services=[service("api")], deployments={"web": taken})
    told = plan_leave(full, "a")
    assert isinstance(told, Refusal)
    assert told.rule == Rule.HEADROOM
    plan = plan_leave(full, "a", lifted=frozenset({Rule.HEADROOM}))
    assert isinstance(plan, FailoverPlan)
    assert (plan.by_service, plan.stranded, crowded_out(plan)) == ({"web": {}, "api": {"c": 0.5}}, 0.0, 0.5)


def test_L7_automation_gives_a_service_to_no_heir_without_room() -> None:
    taken = replace(active_passive("a", "b"), groups=(Group("active", ("a",), 1.0),), state=State.SERVING)
    alone = fleet(view("a", Phase.DOWN, load=40.0), view("b", load=95.0), deployments={"web": taken})
    told = refused(alone, "a")
    assert (told.rule, told.reasons) == ("no_eligible_region", {"b": "has no room"})
    beside = replace(alone, services={"api": service("api")}, regions={**alone.regions, "c": view("c")})
    plan = planned(beside, "a")
    assert (plan.by_service, plan.shares, plan.shed) == ({"web": {}, "api": {"c": 0.5}}, {"c": 0.5}, 0.5)
    assert heirs_named(beside, plan) == {}


def test_L7_a_region_that_is_down_but_kept_in_service_is_left_at_any_price() -> None:
    kept = fleet(view("a", Phase.DOWN, load=50.0, serves_as=Phase.UNKNOWN), view("b", load=60.0))
    for plan in (plan_by_choice(kept, "a"), plan_drain(kept, "a")):
        assert isinstance(plan, FailoverPlan)
        assert crowded_out(plan) == pytest.approx(0.4)


@pytest.mark.parametrize(
    "gone", [view("a", Phase.DOWN), view("a", admin=AdminState.DRAINED), view("a", failed_over="no answer")]
)
def test_a_drain_asks_nothing_of_others_where_the_region_serves_no_more(gone: RegionView) -> None:
    assert plan_drain(fleet(gone, view("b", load=100.0)), "a") is None


def test_rounding_errors_crowd_nobody_out() -> None:
    plan = planned(fleet(view("a", load=40.0), "b"), "a")
    assert crowded_out(replace(plan, shed=0.3 + 1e-12, stranded=0.3)) == 0.0


# --- the load that goes with it ----------------------------------------------------------------


def test_what_moved_adds_to_what_had_moved_before() -> None:
    plan = planned(fleet(view("a", load=60.0), view("b", load=60.0), "c"), "a")
    assert load_moved(plan, {}) == {"b": pytest.approx(30.0), "c": pytest.approx(30.0)}
    assert load_moved(plan, {"b": 5.0, "d": 7.0}) == {"b": pytest.approx(35.0), "d": 7.0, "c": pytest.approx(30.0)}


def test_loads_after_a_failover_are_those_of_the_targets_and_what_is_shed_at_the_source() -> None:
    plan = planned(fleet(view("a", load=60.0), view("b", load=60.0), "c"), "a")
    after = loads_after(plan, {"a": 60.0, "b": 60.0, "c": 1.0, "d": 9.0})
    assert after == {"b": pytest.approx(90.0), "c": pytest.approx(31.0), "a": 0.0}
    assert loads_after(plan, {"b": 60.0}) == {"b": pytest.approx(90.0)}, "the others were removed meanwhile"
    part = planned(fleet(view("a", load=60.0), view("b", load=45.0)), "a")
    assert loads_after(part, {"a": 60.0, "b": 45.0}) == {"b": pytest.approx(90.0), "a": pytest.approx(15.0)}


def test_the_heirs_of_a_plan_are_named_for_services_that_one_region_serves() -> None:
    taken = replace(active_passive("a", "b", "c"), groups=(Group("active", ("a",), 1.0),), state=State.SERVING)
    shared = replace(active_active("a", "b"), groups=(Group("active", ("a", "b"), 1.0),), state=State.SERVING)
    world = fleet("a", "b", "c", services=[service("api")], deployments={"web": taken, "mail": shared})
    assert heirs_named(world, planned(world, "a")) == {"web": "b"}
    only = fleet("a", "b", "c", deployments={"web": taken})
    for target in ("b", "c"):
        assert heirs_named(only, planned(only, "a", target)) == {"web": target}
