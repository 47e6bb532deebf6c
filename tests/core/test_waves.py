"""Work in regions: in what order, what stops it, and who is left out of the traffic."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from mahavishnu.integrations.multi_region.core.deployment import DeploymentView, OnFailure, Run, RunState, State, Waves
from mahavishnu.integrations.multi_region.core.model import AdminState, Phase
from mahavishnu.integrations.multi_region.core.waves import baking_wave, runs_to_start, with_run

from .rollout_tools import active_active, active_passive, blue_green, region, run, samples

REGIONS = [region(name) for name in "abcd"]


def rollout(*groups: str, view: DeploymentView | None = None, **how: Any) -> DeploymentView:
    """Waves of regions with names of one letter: ``rollout("a", "bc")``."""
    waves = Waves(groups=tuple(tuple(group) for group in groups), **how)
    base = view or active_active(*(name for group in groups for name in group))
    return replace(base, waves=waves, runs={name: Run() for group in groups for name in group})


def ran(view: DeploymentView, now: float = 0.0, **ended: RunState) -> DeploymentView:
    """Work that began and came to something."""
    for name, state in ended.items():
        view = with_run(view, name, RunState.RUNNING, now)
        if state is not RunState.RUNNING:
            view = with_run(view, name, state, now, "exit code 1" if state is RunState.FAILED else "")
    return view


GOOD, BAD, LOST, BUSY = RunState.SUCCEEDED, RunState.FAILED, RunState.UNKNOWN, RunState.RUNNING


# --- order --------------------------------------------------------------------------------------


def test_no_more_regions_are_at_work_at_once_than_allowed() -> None:
    view = rollout("abcd", max_parallel=2)
    assert runs_to_start(view, {}, 0.0) == ("a", "b")
    assert runs_to_start(ran(view, a=BUSY, b=BUSY), {}, 0.0) == ()
    assert runs_to_start(ran(view, a=GOOD, b=BUSY), {}, 0.0) == ("c",)


def test_a_wave_begins_when_the_one_before_is_done_and_not_before() -> None:
    view = rollout("a", "bc", max_parallel=9)
    assert runs_to_start(view, {}, 0.0) == ("a",)
    assert runs_to_start(ran(view, a=BUSY), {}, 0.0) == ()
    assert runs_to_start(ran(view, a=GOOD), {}, 0.0) == ("b", "c")


def test_a_wave_is_watched_in_time_and_in_requests() -> None:
    view = ran(rollout("a", "b", bake_s=60, bake_requests=100), now=10.0, a=GOOD)
    enough, few = samples(a=(100, 0, 1.0)), samples(a=(99, 0, 1.0))
    assert runs_to_start(view, enough, 69.9) == ()
    assert runs_to_start(view, few, 70.0) == ()
    assert runs_to_start(view, enough, 70.0) == ("b",)
    assert run(view, *REGIONS, now=80.0, samples=few).held == "wave 1 has served 99 requests, 100 are needed"
    assert run(view, *REGIONS, now=80.0).held == "wave 1 has served 0 requests, 100 are needed"


def test_which_wave_is_being_watched() -> None:
    view = rollout("a", "b")
    assert baking_wave(view) is None
    assert baking_wave(ran(view, a=GOOD)) == 0
    assert baking_wave(ran(view, a=GOOD, b=BUSY)) is None
    assert baking_wave(ran(view, a=GOOD, b=GOOD)) == 1


def test_membership_is_fixed_at_the_start() -> None:
    """A region that joins the fleet is not in it; one that leaves counts as bad."""
    view = ran(rollout("ab"), a=GOOD, b=GOOD)
    assert run(view, *REGIONS).active == ("a", "b")
    assert run(view, REGIONS[0]).state is State.ROLLING_BACK


def test_an_attempt_is_counted_when_it_begins() -> None:
    view = ran(rollout("a"), a=LOST)
    assert view.runs["a"].attempt == 1
    assert with_run(view, "a", RunState.RUNNING, 5.0).runs["a"].attempt == 2


# --- what stops it ------------------------------------------------------------------------------


@pytest.mark.parametrize("came_to", [BAD, LOST])
def test_one_bad_region_stops_the_wave(came_to: RunState) -> None:
    view = ran(rollout("a", "bc"), a=came_to)
    back = run(view, *REGIONS)
    assert back.state is State.ROLLING_BACK and set(back.undo) == {"a"}
    halted = run(replace(view, on_failure=OnFailure.HOLD), *REGIONS)
    assert (halted.state, halted.active) == (State.HALTED, ())
    assert runs_to_start(halted, {}, 1e9) == ()


def test_the_reason_names_the_region_and_what_came_of_it() -> None:
    back = run(ran(rollout("ab"), a=BAD, b=BUSY), *REGIONS)
    assert back.history[-1].why == "rolled back: a failed (exit code 1)"


@pytest.mark.parametrize(("came_to", "says"), [(BAD, "b failed (exit code 1)"), (LOST, "b unknown")])
def test_within_the_budget_a_bad_region_is_left_out_of_the_traffic(came_to: RunState, says: str) -> None:
    view = ran(rollout("abc", max_unavailable=1), a=GOOD, b=came_to, c=GOOD)
    after = run(view, *REGIONS)
    assert (after.state, after.active) == (State.SERVING, ("a", "c"))
    assert after.roles()["b"] == "out"
    assert any(line.why.endswith("left out: " + says) for line in after.history)
    assert run(ran(view, a=LOST), *REGIONS).state is State.ROLLING_BACK


def test_a_heir_whose_version_is_not_known_is_none() -> None:
    view = rollout("abc", view=active_passive("a", "b", "c"), max_unavailable=2)
    assert run(ran(view, a=GOOD, b=LOST, c=GOOD), *REGIONS).standby == ("c",)
    assert run(ran(view, a=LOST, b=GOOD, c=GOOD), *REGIONS).state is State.ROLLING_BACK, "its primary is lost"


def test_a_budget_does_not_leave_a_switch_without_green() -> None:
    view = rollout("b", view=blue_green("a", "b"), max_unavailable=1)
    assert run(ran(view, b=LOST), *REGIONS).weights == {"a": 1.0, "b": 0.0}


@pytest.mark.parametrize(
    ("now", "reports"),
    [(region("a", phase=Phase.DOWN), {}), (None, {}), (REGIONS[0], samples(a=(100, 20, 1.0)))],
    ids=["down", "gone", "its requests fail"],
)
def test_a_region_that_fails_while_it_is_watched_stops_the_next_wave(now: Any, reports: Any) -> None:
    view = ran(rollout("a", "b", bake_s=60), a=GOOD)
    others = [now, *REGIONS[1:]] if now is not None else REGIONS[1:]
    assert run(view, *others, now=10.0, samples=reports).state is State.ROLLING_BACK


def test_a_region_that_its_operator_drains_is_not_bad() -> None:
    view = ran(rollout("a", "b", bake_s=60), a=GOOD)
    drained = region("a", admin=AdminState.DRAINED)
    assert run(view, drained, *REGIONS[1:], now=10.0).state is State.PREPARING


STATES = st.sampled_from(RunState)


@given(states=st.fixed_dictionaries({name: STATES for name in "abcd"}), budget=st.integers(0, 4))
def test_unknown_is_never_success(states: dict[str, RunState], budget: int) -> None:
    view = rollout("ab", "cd", max_unavailable=budget)
    view = replace(view, runs={name: Run(state, 0.0, 1) for name, state in states.items()})
    after = run(view, *REGIONS, now=1.0)
    assert all(states[name] is GOOD for name in after.active)
    bad = sum(state in (BAD, LOST) for state in states.values())
    if bad > budget:
        assert after.active == ()
        assert after.state is State.ROLLING_BACK
