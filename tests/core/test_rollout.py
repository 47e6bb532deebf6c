"""The transition table: what moves a deployment, what holds it, and what never happens in any of its states."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from mahavishnu.integrations.multi_region.core.deployment import (
    SETTLED,
    DeploymentView,
    Gates,
    OnFailure,
    Run,
    RunState,
    State,
    Step,
    Waves,
    deployment_document,
    deployment_from_document,
)
from mahavishnu.integrations.multi_region.core.eligibility import objection
from mahavishnu.integrations.multi_region.core.failover import FailoverPlan, plan_failover
from mahavishnu.integrations.multi_region.core.kinds import FailoverMode
from mahavishnu.integrations.multi_region.core.model import (
    AdminState,
    DeploymentType,
    FailbackMode,
    LocalityLevel,
    Phase,
    PolicyView,
    RegionView,
    Service,
)
from mahavishnu.integrations.multi_region.core.obstacles import Seen
from mahavishnu.integrations.multi_region.core.request import Needs
from mahavishnu.integrations.multi_region.core.rollout import (
    HISTORY,
    TRANSITIONS,
    UNDER_WAY,
    Signal,
    advance,
    can,
    hand_over,
    handover_obstacle,
    moved,
    return_obstacle,
    rolled_back,
)
from mahavishnu.integrations.multi_region.core.waves import with_run, with_undo

from .rollout_tools import active_active, active_passive, blue_green, fleet, region, run, samples, seen, steps

A, B, C = region("a"), region("b"), region("c")
DOWN = {"phase": Phase.DOWN}


def serving(view: DeploymentView, *regions: RegionView) -> DeploymentView:
    return run(view, *(regions or (A, B, C)))


# --- the way of each strategy -------------------------------------------------------------------


def test_active_active_goes_to_serving_in_one_go() -> None:
    path = steps(active_active("a", "b", "c"), A, B, C)
    assert [one.state for one in path] == [State.PREPARING, State.BAKING, State.SHIFTING, State.SERVING]
    assert path[-1].weights == pytest.approx({"a": 1 / 3, "b": 1 / 3, "c": 1 / 3})


def test_a_blue_green_switch_waits_for_its_bake_and_not_a_moment_longer() -> None:
    baking = run(blue_green(bake_s=60), A, B, now=0)
    assert (baking.state, baking.weights, baking.due_at) == (State.BAKING, {"a": 1.0, "b": 0.0}, 60)
    assert run(baking, A, B, now=59.9) is baking
    assert run(baking, A, B, now=60).weights == {"a": 0.0, "b": 1.0}


def test_blue_stays_warm_for_the_rollback_window() -> None:
    switched = run(blue_green(rollback_window_s=600), A, B, now=10)
    assert (switched.state, switched.warm) == (State.SERVING, ("a",))
    assert run(switched, A, B, now=609.9) is switched
    done = run(switched, A, B, now=610)
    assert (done.state, done.warm) == (State.COMPLETED, ())
    assert not can(done, Signal.ROLLBACK)


def test_steps_rise_one_by_one_each_after_its_bake() -> None:
    view = blue_green(steps=(1.0, 10.0, 50.0, 100.0), step_bake_s=30)
    shares = []
    for now in range(0, 150, 30):
        view = run(view, A, B, now=now)
        shares.append(view.weights["b"])
    assert shares == pytest.approx([0.01, 0.1, 0.5, 1.0, 1.0])
    assert view.state is State.SERVING


# --- what holds ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("green", "says"),
    [
        (region("b", **DOWN), "b is down"),
        (region("b", phase=Phase.SATURATED), "b is saturated"),
        (region("b", phase=Phase.DEGRADED), "b is degraded, while a, which serves now, is healthy"),
        (region("b", phase=Phase.UNKNOWN), "b is unknown, while a, which serves now, is healthy"),
        (region("b", admin=AdminState.DRAINED), "b is drained by its operator"),
        (region("b", failed_over="went down"), "b was failed over: went down"),
        (region("b", max_capacity=40.0), "b has room for 16 of 20"),
        (region("b", load=100.0), "b is full: 100 of 100"),
        (None, "b is not registered"),
    ],
)
def test_a_green_that_may_not_take_the_traffic_holds_the_switch_which_goes_on_when_mended(
    green: RegionView | None, says: str
) -> None:
    now = [A, *([green] if green else [])]
    waiting = run(run(blue_green(bake_s=60), *now, now=0), *now, now=100)
    assert (waiting.state, waiting.held) == (State.BAKING, says)
    assert waiting.weights == {"a": 1.0, "b": 0.0}
    mended = run(waiting, A, B, now=101)
    assert (mended.state, mended.held, mended.weights) == (State.SERVING, None, {"a": 0.0, "b": 1.0})


def test_a_green_that_the_law_excludes_holds_the_switch() -> None:
    only_a = PolicyView("eu", "EU", frozenset(), frozenset({"a"}), LocalityLevel.STRICT, False)
    baking = run(blue_green(), A, B, needs=Needs(policies=(only_a,)))
    assert baking.state is State.BAKING
    assert baking.held == "b policy eu does not allow it"


def test_room_is_asked_at_every_step_for_what_the_step_adds() -> None:
    small = region("b", load=0.0, max_capacity=20.0)  # room for 18, and blue carries 20
    view = run(blue_green(steps=(10.0, 50.0, 100.0)), A, small)
    assert (view.step, view.held) == (2, None)
    busy = region("a", load=80.0)
    view = run(blue_green(steps=(10.0, 50.0, 100.0)), busy, small)
    assert (view.weights["b"], view.held) == (0.1, "b has room for 18 of 32")


def test_an_unknown_green_may_replace_an_unknown_blue() -> None:
    """No worse than what serves now: where nobody probes, nothing would ever move otherwise."""
    a, b = region("a", phase=Phase.UNKNOWN), region("b", phase=Phase.UNKNOWN)
    assert run(blue_green(), a, b).weights == {"a": 0.0, "b": 1.0}


def test_a_first_deployment_may_serve_from_unknown_regions_but_not_from_dead_ones() -> None:
    unknown = region("b", phase=Phase.UNKNOWN)
    assert run(active_active("a", "b"), A, unknown).state is State.SERVING
    assert run(active_active("a", "b"), A, region("b", **DOWN)).held == "b is down"


def test_automation_that_is_frozen_moves_nothing_and_says_so() -> None:
    held = run(blue_green(), A, B, frozen="by ops: investigating")
    assert (held.state, held.held) == (State.PREPARING, "automation is frozen: by ops: investigating")
    passive = serving(active_passive("a", "b"))
    stays = run(passive, region("a", **DOWN), B, frozen="by ops: investigating")
    assert (stays.active, stays.held) == (("a",), "automation is frozen: by ops: investigating")


@pytest.mark.parametrize("state", sorted(UNDER_WAY))
def test_a_freeze_leaves_no_service_halfway_without_a_region(state: State) -> None:
    gone = region("a", **DOWN)
    halfway = [*steps(serving(active_passive("a", "b")), gone, B, now=1), rolled_back(at_ten(), 1.0, "by hand")]
    (begun,) = (view for view in halfway if view.state is state)
    ended = run(begun, gone, B, now=2, frozen="by ops: investigating")
    assert ended.state is (State.ROLLED_BACK if state is State.ROLLING_BACK else State.SERVING)
    assert (sum(ended.weights.values()), ended.held) == (1.0, None)


@given(st.data())
def test_a_gated_step_never_advances_without_reports(data: st.DataObject) -> None:
    shares = sorted(data.draw(st.sets(st.integers(1, 99), max_size=4)))
    view = blue_green(steps=(*map(float, shares), 100.0), analyse=True, min_requests=data.draw(st.integers(0, 3)))
    now = 0.0
    reports = samples(a=(data.draw(st.integers(0, 1000)), 0, 10.0))
    for pause in data.draw(st.lists(st.floats(0, 1e6), max_size=8)):
        now += pause
        view = run(view, A, B, now=now, samples=reports)
    assert view.step <= 0
    assert view.state in (State.PREPARING, State.SHIFTING)
    if now > 0:
        assert view.held is not None and view.held.startswith("inconclusive: 0 requests to green")


# --- what fails ---------------------------------------------------------------------------------

TEN = blue_green(steps=(10.0, 100.0), step_bake_s=30, analyse=True, min_requests=50)


def at_ten() -> DeploymentView:
    return run(TEN, A, B, now=0)


def test_a_green_that_fails_at_ten_percent_is_rolled_back_before_the_step_is_over() -> None:
    path = steps(at_ten(), A, B, now=5, samples=samples(a=(450, 0, 20.0), b=(50, 10, 20.0)))
    assert [one.state for one in path[1:]] == [State.ROLLING_BACK, State.ROLLED_BACK]
    assert path[1].weights == {"a": 1.0, "b": 0.0}
    assert "10 of 50 requests to green failed" in path[1].history[-1].why


def test_a_green_that_became_slow_is_rolled_back() -> None:
    after = run(at_ten(), A, B, now=5, samples=samples(a=(450, 0, 100.0), b=(50, 0, 300.0)))
    assert after.state is State.ROLLED_BACK
    assert any("green answers in 300 ms, blue in 100 ms" in line.why for line in after.history)


def test_a_good_step_goes_on_when_its_time_is_up() -> None:
    good = samples(a=(450, 0, 20.0), b=(50, 0, 21.0))
    assert run(at_ten(), A, B, now=29, samples=good).weights["b"] == 0.1
    assert run(at_ten(), A, B, now=30, samples=good).weights["b"] == 1.0


def test_hold_leaves_a_failing_green_where_it_is_for_people_to_decide() -> None:
    view = replace(at_ten(), on_failure=OnFailure.HOLD)
    halted = run(view, A, B, now=5, samples=samples(b=(50, 50, 1.0)))
    assert (halted.state, halted.weights["b"]) == (State.HALTED, 0.1)
    assert can(halted, Signal.ROLLBACK)
    back = run(rolled_back(halted, 6.0, "by hand"), A, B, now=6)
    assert (back.state, back.weights) == (State.ROLLED_BACK, {"a": 1.0, "b": 0.0})


@pytest.mark.parametrize("steps_", [(100.0,), (10.0, 100.0)], ids=["at once", "in steps"])
def test_a_green_that_is_lost_is_rolled_back_with_no_report_needed(steps_: tuple[float, ...]) -> None:
    switched = run(blue_green(steps=steps_, step_bake_s=30, rollback_window_s=60), A, B, now=0)
    after = run(switched, A, region("b", **DOWN), now=10)
    assert (after.state, after.weights) == (State.ROLLED_BACK, {"a": 1.0, "b": 0.0})


def test_one_of_two_green_regions_lost_is_no_reason_to_go_back() -> None:
    view = run(replace(blue_green("a", "b"), regions=("a", "b", "c")), A, B)
    pair = tuple(replace(g, regions=("b", "c")) if g.name == "green" else g for g in view.groups)
    assert run(replace(view, groups=pair), A, region("b", **DOWN), C, now=1).state is State.SERVING


def test_a_failing_green_stays_when_nobody_is_left_to_return_to() -> None:
    stuck = run(at_ten(), region("a", **DOWN), B, now=5, samples=samples(b=(50, 10, 1.0)))
    assert (stuck.state, stuck.weights["b"]) == (State.SHIFTING, 0.1)
    assert stuck.held is not None and "it cannot be rolled back: a is down" in stuck.held
    assert return_obstacle(stuck, seen(stuck, region("a", **DOWN), B)) == "a is down"


def test_a_rollback_looks_at_what_the_plan_before_would_serve_with() -> None:
    before = active_passive("c", "d", deployment_id="web-0")
    before = replace(before, groups=(replace(before.groups[0], weight=1.0),))
    lost = seen(at_ten(), A, B, region("c", **DOWN), region("d", **DOWN), returns_to=before)
    assert return_obstacle(at_ten(), lost) == "c is down; d is down"
    standby = seen(at_ten(), A, B, region("c", **DOWN), region("d"), returns_to=before)
    assert return_obstacle(at_ten(), standby) is None


def test_before_anything_has_moved_a_rollback_asks_nothing_of_a_dead_blue() -> None:
    begun, dead = blue_green(), region("a", **DOWN)
    assert return_obstacle(begun, seen(begun, dead, B)) is None
    moved_on = run(begun, A, B)
    assert return_obstacle(moved_on, seen(moved_on, dead, B)) == "a is down"


def test_a_newer_deployment_of_the_service_stops_one_that_is_still_on_its_way() -> None:
    for view in (blue_green(bake_s=60), run(blue_green(bake_s=60), A, B), at_ten()):
        stopped = run(view, A, B, now=1, replaced_by="web-2")
        assert (stopped.state, stopped.weights) == (State.HALTED, view.weights)
        assert stopped.history[-1].why.endswith("web-2")
    done = serving(active_active("a", "b"))
    assert run(done, A, B, now=1, replaced_by="web-2") is done


# --- active-passive -----------------------------------------------------------------------------


def test_a_lost_primary_is_demoted_before_its_heir_is_promoted() -> None:
    path = steps(serving(active_passive("a", "b", "c")), region("a", **DOWN), B, C, now=7)
    assert [one.state for one in path[1:]] == [State.DEMOTING, State.PROMOTING, State.SERVING]
    assert [one.active for one in path] == [("a",), (), (), ("b",)]
    assert path[-1].roles() == {"a": "standby", "b": "active", "c": "standby"}
    assert path[1].history[-1].why.endswith("a is down")


@pytest.mark.parametrize(
    ("a", "says"),
    [
        ({"phase": Phase.DOWN}, "is down"),
        ({"admin": AdminState.DRAINED}, "is drained by its operator"),
        ({"failed_over": "went down"}, "was failed over: went down"),
    ],
)
def test_what_makes_an_active_region_lost(a: dict[str, Any], says: str) -> None:
    after = run(serving(active_passive("a", "b")), region("a", **a), B, now=1)
    assert after.active == ("b",)
    assert any(line.why.endswith(f"a {says}") for line in after.history)


def test_a_region_that_left_the_fleet_is_lost_and_a_full_one_is_not() -> None:
    assert run(serving(active_passive("a", "b")), B, now=1).active == ("b",)
    assert run(serving(active_passive("a", "b")), region("a", load=100.0), B, now=1).active == ("a",)
    others = region("a", failed_over="went down", failed_services=frozenset({"mail"}))
    assert run(serving(active_passive("a", "b")), others, B, now=1).active == ("a",)


@pytest.mark.parametrize(
    ("b", "c", "heir"),
    [
        ({}, {}, "b"),
        (DOWN, {}, "c"),
        ({"phase": Phase.DEGRADED}, {}, "c"),
        ({"phase": Phase.UNKNOWN}, {"phase": Phase.DEGRADED}, "c"),
        ({"load": 80.0}, {}, "c"),
        ({"load": 80.0}, {"load": 85.0}, "b"),
        ({"load": 85.0}, {"load": 80.0}, "c"),
        ({"admin": AdminState.DRAINED}, {}, "c"),
    ],
)
def test_failover_and_deployment_name_the_same_heir(b: dict[str, Any], c: dict[str, Any], heir: str) -> None:
    view = serving(active_passive("a", "b", "c"))
    regions = [region("a", load=60.0), region("b", **b), region("c", **c)]
    after = run(view, region("a", load=60.0, **DOWN), *regions[1:], now=1)
    plan = plan_failover(fleet(*regions, plan=view), "a")
    assert isinstance(plan, FailoverPlan)
    assert after.active == (plan.target,) == (heir,)


def test_the_heir_is_the_same_when_the_deployment_was_quicker_than_the_failover() -> None:
    view = serving(active_passive("a", "c", "b"))
    gone = region("a", **DOWN)
    for moved_on in steps(view, gone, B, C, now=1):
        plan = plan_failover(fleet(A, B, C, plan=moved_on), "a")
        assert isinstance(plan, FailoverPlan)
        assert plan.target == "c", moved_on.state


@pytest.mark.parametrize(
    ("c", "heir"),
    [({}, "c"), ({"load": 100.0}, "b"), ({"load": 90.0}, "c"), (DOWN, "b"), ({"phase": Phase.DEGRADED}, "c")],
)
def test_whom_the_failover_named_comes_first_while_it_may_take_over(c: dict[str, Any], heir: str) -> None:
    gone = region("a", load=60.0, failed_over="by hand")
    after = run(serving(active_passive("a", "b", "c")), gone, B, region("c", **c), now=1, heirs={"a": "c"})
    assert after.active == (heir,)


def test_a_name_that_stands_by_for_nothing_or_for_another_region_is_no_heir() -> None:
    gone = region("a", failed_over="by hand")
    for heirs in ({"a": "d"}, {"b": "c"}):
        after = run(serving(active_passive("a", "b", "c")), gone, B, C, region("d"), now=1, heirs=heirs)
        assert after.active == ("b",)


def test_a_primary_without_an_heir_stays_and_says_why() -> None:
    gone = region("a", load=50.0, **DOWN)
    after = run(serving(active_passive("a", "b", "c")), gone, region("b", **DOWN), region("c", load=95.0), now=1)
    assert (after.state, after.active) == (State.SERVING, ("a",))
    assert after.held == "a is down; nobody can take over: b is down; c has no room"
    assert run(after, gone, B, region("c", load=95.0), now=2).active == ("b",)


def test_an_heir_that_fails_between_demotion_and_promotion_is_passed_over() -> None:
    gone = region("a", **DOWN)
    demoted = advance(
        serving(active_passive("a", "b", "c")), seen(serving(active_passive("a", "b", "c")), gone, B, C), 1
    )
    assert (demoted.state, demoted.wanted) == (State.DEMOTING, "b")
    assert run(demoted, gone, region("b", **DOWN), C, now=2).active == ("c",)
    nobody = run(demoted, gone, region("b", **DOWN), region("c", **DOWN), now=2)
    assert (nobody.state, nobody.active) == (State.PROMOTING, ())
    assert nobody.held == "nobody can take over: b is down; c is down; a is down"
    assert run(nobody, A, region("b", **DOWN), region("c", **DOWN), now=3).active == ("a",)


def test_who_stands_by_keeps_the_order_in_which_the_regions_were_named() -> None:
    view = serving(active_passive("a", "b", "c"))
    away = run(view, region("a", **DOWN), B, C, now=1)
    assert (away.active, away.standby) == (("b",), ("a", "c"))
    assert run(away, A, region("b", **DOWN), C, now=2).active == ("a",)


def test_an_active_passive_that_is_rolled_back_leaves_nobody_to_take_over() -> None:
    back = rolled_back(serving(active_passive("a", "b")), 1.0, "by hand")
    assert (back.active, back.standby, back.wanted, back.warm) == ((), (), None, ())


def test_failback_is_manual_by_default() -> None:
    away = run(serving(active_passive("a", "b")), region("a", **DOWN), B, now=1)
    assert run(away, A, B, now=1e6).active == ("b",)
    assert handover_obstacle(away, "a", seen(away, A, B)) is None
    home = run(hand_over(away, "a", 2.0, "by hand"), A, B, now=2)
    assert (home.active, home.roles()) == (("a",), {"a": "active", "b": "standby"})


@pytest.mark.parametrize(
    ("a", "says"),
    [
        (region("a", **DOWN), "is down"),
        (region("a", phase=Phase.DEGRADED), "is degraded, not healthy"),
        (region("a", load=80.0), "has room for 10 of 20"),
    ],
)
def test_a_primary_takes_back_only_what_it_can(a: RegionView, says: str) -> None:
    away = run(serving(active_passive("a", "b")), region("a", **DOWN), B, now=1)
    assert handover_obstacle(away, "a", seen(away, a, B)) == says


def test_automatic_failback_waits_for_health_and_for_its_hold_down() -> None:
    view = active_passive("a", "b", failback=FailbackMode.AUTO, gates=Gates(failback_after_s=60))
    away = run(serving(view), region("a", **DOWN), B, now=100)
    assert run(away, region("a", phase=Phase.UNKNOWN), B, now=1000).active == ("b",)
    assert run(away, A, B, now=159).active == ("b",)
    home = run(away, A, B, now=160)
    assert home.active == ("a",)
    assert advance(home, seen(home, A, B), 1000.0) is home, "nobody hands over to itself"


# --- what never happens -------------------------------------------------------------------------

PHASES = st.sampled_from([Phase.HEALTHY, Phase.DOWN, Phase.UNKNOWN, Phase.DEGRADED])
WORLDS = st.fixed_dictionaries({name: st.tuples(PHASES, st.sampled_from([0.0, 20.0, 85.0])) for name in "abc"})


@settings(max_examples=200)
@given(worlds=st.lists(WORLDS, min_size=1, max_size=12), auto=st.booleans())
def test_of_an_active_passive_never_two_serve_and_terms_grow(worlds: list[Any], auto: bool) -> None:
    mode = FailbackMode.AUTO if auto else FailbackMode.MANUAL
    view = serving(active_passive("a", "b", "c", failback=mode, gates=Gates(failback_after_s=1)))
    for now, world in enumerate(worlds, 1):
        regions = [region(name, phase=phase, load=load) for name, (phase, load) in world.items()]
        for before, after in _pairs(steps(view, *regions, now=now)):
            assert len(after.active) <= 1
            if after.active != before.active:
                assert after.term > before.term
                assert not (before.active and after.active), "one must go before the other comes"
            stored = deployment_from_document(deployment_document(after))
            assert sorted((*stored.active, *stored.standby)) == sorted(stored.regions) or not stored.active
            view = after


@settings(max_examples=200)
@given(st.data())
def test_of_a_blue_green_somebody_always_serves_and_terms_grow(data: st.DataObject) -> None:
    view = blue_green(steps=(10.0, 100.0), step_bake_s=1, analyse=data.draw(st.booleans()), rollback_window_s=5)
    view = replace(view, on_failure=data.draw(st.sampled_from(OnFailure)))
    for now in range(12):
        regions = [region(name, phase=data.draw(PHASES)) for name in "ab"]
        bad = data.draw(st.sampled_from([0, 0, 60]))
        reports = samples(a=(60, 0, 10.0), b=(60, bad, 10.0))
        for before, after in _pairs(steps(view, *regions, now=now, samples=reports)):
            assert sum(after.weights.values()) == pytest.approx(1.0)
            if after.weights != before.weights:
                assert after.term > before.term
            view = after


def _pairs(path: list[DeploymentView]) -> list[tuple[DeploymentView, DeploymentView]]:
    return list(pairwise(path))


@pytest.mark.parametrize("state", State)
def test_every_state_but_the_last_ones_can_be_rolled_back(state: State) -> None:
    ends = (State.COMPLETED, State.ROLLING_BACK, State.ROLLED_BACK)
    assert can(replace(blue_green(), state=state), Signal.ROLLBACK) is (state not in ends)


def test_a_pair_that_the_table_does_not_have_cannot_be_applied() -> None:
    for state in State:
        for signal in Signal:
            view = replace(blue_green(), state=state)
            if (state, signal) not in TRANSITIONS:
                with pytest.raises(KeyError):
                    moved(view, signal, 0.0, "")


def test_of_a_long_history_the_newest_lines_are_kept() -> None:
    lines = tuple(Step(float(n), State.PREPARING, str(n)) for n in range(HISTORY))
    after = moved(replace(blue_green(), history=lines), Signal.PREPARED, 1000.0, "")
    assert after.history[:-1] == lines[1:]
    assert (len(after.history), after.history[-1].at) == (HISTORY, 1000.0)


def test_every_state_is_reached_and_every_unsettled_one_is_left() -> None:
    assert {after for after, _ in TRANSITIONS.values()} == set(State) - {State.PREPARING}
    left = {before for before, _ in TRANSITIONS}
    assert set(State) - SETTLED <= left


def test_a_rollback_takes_the_new_version_back_wherever_work_had_begun() -> None:
    waves = Waves(groups=(("a",), ("b",)))
    view = active_active("a", "b", waves=waves)
    runs = {name: Run() for name in "ab"}
    view = with_run(replace(view, runs=runs), "a", RunState.RUNNING, 0.0)
    view = with_run(view, "a", RunState.FAILED, 1.0, "exit code 1")
    back = advance(view, seen(view, A, B), 2.0)
    assert (back.state, set(back.undo)) == (State.ROLLING_BACK, {"a"})
    assert advance(back, seen(back, A, B), 3.0) is back
    dead = with_undo(with_undo(back, "a", RunState.RUNNING, 3.0), "a", RunState.UNKNOWN, 4.0)
    done = advance(dead, seen(dead, A, B), 5.0)
    assert done.state is State.ROLLED_BACK
    assert done.history[-1].why.endswith("still to be mended: a unknown")


def test_only_active_regions_may_serve_a_request_of_the_service() -> None:
    view = run(blue_green(steps=(10.0, 100.0), step_bake_s=30), A, B)
    needs = Needs(service=Service("web"), deployment=view)
    assert objection(A, needs) is None and objection(B, needs) is None
    stranger = objection(C, needs)
    assert stranger is not None and stranger.text == "service web does not run there"
    before = Needs(service=Service("web"), deployment=blue_green())
    waiting = objection(B, before)
    assert waiting is not None and waiting.code.value == "standby"


def test_what_is_seen_need_not_name_a_plan_of_record() -> None:
    plain = Seen(fleet(A, B), Needs())
    assert advance(active_active("a", "b"), plain, 0.0).state is State.BAKING
    assert active_active("a").strategy is DeploymentType.ACTIVE_ACTIVE


# --- failover by hand ---------------------------------------------------------------------------


def by_hand() -> DeploymentView:
    return serving(active_passive("a", "b", failover_strategy=FailoverMode.MANUAL))


def test_a_manual_failover_holds_where_it_is_and_says_what_it_waits_for() -> None:
    waiting = run(by_hand(), region("a", **DOWN), B)
    assert (waiting.state, waiting.active) == (State.SERVING, ("a",))
    assert waiting.held == "a is down; failover is manual: fail a over or drain it to move on"
    assert run(waiting, A, B).held is None, "it is well again"


def test_a_failover_by_automation_is_no_persons_word() -> None:
    assert run(by_hand(), region("a", failed_over="went down"), B).active == ("a",)


@pytest.mark.parametrize(
    ("regions", "ordered"),
    [
        ((region("a", failed_over="by ada"), B), {"a"}),
        ((region("a", admin=AdminState.DRAINED), B), set()),
        ((region("a", phase=Phase.DOWN, admin=AdminState.DRAINING), B), set()),
        ((B,), set()),
    ],
    ids=["failed over by hand", "drained", "down and draining", "removed"],
)
def test_a_persons_word_moves_it(regions: tuple[RegionView, ...], ordered: set[str]) -> None:
    path = steps(by_hand(), *regions, ordered=frozenset(ordered))
    assert [one.state for one in path[1:]] == [State.DEMOTING, State.PROMOTING, State.SERVING]
    assert path[-1].active == ("b",)


@pytest.mark.parametrize("mode", [m for m in FailoverMode if m is not FailoverMode.MANUAL])
def test_every_other_failover_moves_by_itself(mode: FailoverMode) -> None:
    view = serving(active_passive("a", "b", failover_strategy=mode))
    assert run(view, region("a", **DOWN), B).active == ("b",)
