"""The deployment strategies as one transition table over weights: what happens next, and what is in the way.

``advance`` looks at a deployment and at what is true now, and returns the deployment after at most one transition. It
is called again until nothing moves. Stop after any transition, read the deployment back, and it goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum

from .analysis import Finding, Sample, analyse
from .deployment import DeploymentView, Group, OnFailure, State, Step
from .model import DeploymentType, FailbackMode, Phase
from .obstacles import Seen, group_lost, heir, left_by_choice, load_of, lost, obstacle, shift_obstacle, too_small
from .waves import ENDED, bad_regions, to_undo, undone, waiting_for, without

HISTORY = 100
"""Lines of history kept with a deployment; the event log has them all."""


class Signal(StrEnum):
    """What moves a deployment."""

    PREPARED = "prepared"
    PREPARE_FAILED = "prepare failed"
    BAKED = "baked"
    STEP_PASSED = "step passed"
    LAST_STEP_PASSED = "last step passed"
    FAILED = "failed"
    REPLACED = "replaced"
    WINDOW_OVER = "window over"
    ACTIVE_LOST = "active lost"
    HANDED_OVER = "handed over"
    DEMOTED = "demoted"
    PROMOTED = "promoted"
    ROLLBACK = "rollback"
    RESTORED = "restored"


TRANSITIONS: Mapping[tuple[State, Signal], tuple[State, str]] = {
    (State.PREPARING, Signal.PREPARED): (State.BAKING, "the regions are ready"),
    (State.PREPARING, Signal.PREPARE_FAILED): (State.HALTED, "too many regions failed or did not answer"),
    (State.BAKING, Signal.BAKED): (State.SHIFTING, "bake over and every precondition holds"),
    (State.SHIFTING, Signal.STEP_PASSED): (State.SHIFTING, "the step held: the next one"),
    (State.SHIFTING, Signal.LAST_STEP_PASSED): (State.SERVING, "all traffic is where it is meant to be"),
    (State.SERVING, Signal.WINDOW_OVER): (State.COMPLETED, "the rollback window is over"),
    (State.SERVING, Signal.ACTIVE_LOST): (State.DEMOTING, "the active region is lost: it is demoted first"),
    (State.SERVING, Signal.HANDED_OVER): (State.DEMOTING, "the active region hands over: it is demoted first"),
    (State.DEMOTING, Signal.DEMOTED): (State.PROMOTING, "the old region takes no traffic any more"),
    (State.PROMOTING, Signal.PROMOTED): (State.SERVING, "a region is promoted"),
    **{
        (state, Signal.REPLACED): (State.HALTED, "a newer deployment of the service replaces it")
        for state in (State.PREPARING, State.BAKING, State.SHIFTING)
    },
    **{
        (state, Signal.ROLLBACK): (State.ROLLING_BACK, "rolled back")
        for state in State
        if state not in (State.COMPLETED, State.ROLLING_BACK, State.ROLLED_BACK)
    },
    **{
        (state, Signal.FAILED): (State.HALTED, "the new version fails and is held where it is")
        for state in (State.SHIFTING, State.SERVING)
    },
    (State.ROLLING_BACK, Signal.RESTORED): (State.ROLLED_BACK, "traffic is where it was before"),
}
"""State and signal to the next state and why. A pair that is not here cannot happen."""

UNDER_WAY = frozenset({State.DEMOTING, State.PROMOTING, State.ROLLING_BACK})
"""States that are left even while automation is frozen: stopping there would leave a service without a region."""


def advance(view: DeploymentView, seen: Seen, now: float) -> DeploymentView:
    """The deployment after the one transition that is due, or with what holds it; the same object when nothing is new.

    ``now`` in seconds since the epoch.
    """
    after = _next(view, seen, now)
    moves = (after.state, after.step) != (view.state, view.step)
    if moves and seen.fleet.frozen is not None and view.state not in UNDER_WAY:
        return held(view, f"automation is frozen: {seen.fleet.frozen}")
    return after


def _next(view: DeploymentView, seen: Seen, now: float) -> DeploymentView:
    if seen.replaced_by is not None and can(view, Signal.REPLACED):
        return moved(view, Signal.REPLACED, now, seen.replaced_by)
    match view.state:
        case State.PREPARING:
            return _prepare(view, seen, now)
        case State.BAKING:
            return _bake(view, seen, now)
        case State.SHIFTING:
            return _shift(view, seen, now)
        case State.SERVING:
            return _serve(view, seen, now)
        case State.DEMOTING:
            return moved(view, Signal.DEMOTED, now, "")
        case State.PROMOTING:
            return _promote(view, seen, now)
        case State.ROLLING_BACK:
            left = undone(view)
            return view if left is None else moved(view, Signal.RESTORED, now, left)
        case State.COMPLETED | State.HALTED | State.ROLLED_BACK:
            return view


def moved(view: DeploymentView, signal: Signal, now: float, detail: str, due_in_s: float = 0.0) -> DeploymentView:
    """Apply one row of the table. Raises KeyError for a pair that the table does not have."""
    state, why = TRANSITIONS[view.state, signal]
    line = Step(now, state, f"{why}: {detail}" if detail else why)
    return replace(
        view,
        state=state,
        entered_at=now,
        due_at=now + due_in_s,
        held=None,
        history=(*view.history, line)[-HISTORY:],
    )


def held(view: DeploymentView, why: str | None) -> DeploymentView:
    """The deployment with what is in its way, None: nothing any more."""
    return view if view.held == why else replace(view, held=why)


def can(view: DeploymentView, signal: Signal) -> bool:
    """Whether the table has a row for this signal now."""
    return (view.state, signal) in TRANSITIONS


# --- going back ---------------------------------------------------------------------------------


def rolled_back(view: DeploymentView, now: float, why: str) -> DeploymentView:
    """The deployment with its old groups back in one step, and the work to undo; needs nothing from any region."""
    groups = view.previous if view.strategy is DeploymentType.BLUE_GREEN else ()
    restored = replace(moved(view, Signal.ROLLBACK, now, why), groups=groups, standby=(), wanted=None)
    return replace(restored, term=view.term + 1, undo=to_undo(view, now))


def return_obstacle(view: DeploymentView, seen: Seen) -> str | None:
    """Why traffic cannot go back to where it was before: nobody there could serve. None when somebody can.

    Room is not asked: better shed a part than stay with a version that fails.
    """
    if view.step < 0:
        return None  # nothing has moved yet
    plan = seen.returns_to
    return group_lost(view.blue if plan is None else (*plan.active, *plan.warm), seen)


def _failed(view: DeploymentView, signal: Signal, seen: Seen, now: float, detail: str) -> DeploymentView:
    if view.on_failure is OnFailure.HOLD:
        return moved(view, signal, now, detail)
    nobody = return_obstacle(view, seen)
    if nobody is not None:
        return held(view, f"{detail}; it cannot be rolled back: {nobody}")
    return rolled_back(view, now, detail)


# --- going on -----------------------------------------------------------------------------------


def _prepare(view: DeploymentView, seen: Seen, now: float) -> DeploymentView:
    bad = bad_regions(view, seen)
    ready = without(view, bad)
    if len(bad) > view.waves.max_unavailable or ready is None:
        detail = ", ".join(f"{region} {why}" for region, why in bad.items())
        return _failed(view, Signal.PREPARE_FAILED, seen, now, detail)
    if any(run.state not in ENDED for run in view.runs.values()):
        return held(view, waiting_for(view, seen.samples, now))
    detail = "left out: " + ", ".join(f"{region} {why}" for region, why in bad.items()) if bad else ""
    return moved(ready, Signal.PREPARED, now, detail, view.gates.bake_s)


def _bake(view: DeploymentView, seen: Seen, now: float) -> DeploymentView:
    if now < view.due_at:
        return view
    wanted = wanted_groups(view, 0)
    why = shift_obstacle(view, wanted, seen)
    if why is not None:
        return held(view, why)
    shifted = moved(view, Signal.BAKED, now, _share_text(view, 0), view.gates.step_bake_s)
    return replace(shifted, groups=wanted, step=0, term=view.term + 1)


def _shift(view: DeploymentView, seen: Seen, now: float) -> DeploymentView:
    finding, why = _finding(view, seen)
    if finding is Finding.FAIL:
        return _failed(view, Signal.FAILED, seen, now, why)
    if now < view.due_at:
        return view
    if finding is Finding.INCONCLUSIVE:
        return held(view, f"inconclusive: {why}")
    if view.step + 1 >= len(view.gates.steps) or view.strategy is not DeploymentType.BLUE_GREEN:
        window = view.gates.rollback_window_s if view.strategy is DeploymentType.BLUE_GREEN else 0.0
        return moved(view, Signal.LAST_STEP_PASSED, now, why, window)
    wanted = wanted_groups(view, view.step + 1)
    in_the_way = shift_obstacle(view, wanted, seen)
    if in_the_way is not None:
        return held(view, in_the_way)
    text = _share_text(view, view.step + 1)
    shifted = moved(view, Signal.STEP_PASSED, now, text, view.gates.step_bake_s)
    return replace(shifted, groups=wanted, step=view.step + 1, term=view.term + 1)


def _serve(view: DeploymentView, seen: Seen, now: float) -> DeploymentView:
    if view.strategy is DeploymentType.BLUE_GREEN:
        finding, why = _finding(view, seen)
        if finding is Finding.FAIL:
            return _failed(view, Signal.FAILED, seen, now, why)
        return moved(view, Signal.WINDOW_OVER, now, "") if now >= view.due_at else held(view, None)
    if view.strategy is DeploymentType.ACTIVE_PASSIVE:
        for region in view.active:
            why_lost = lost(region, seen)
            if why_lost is not None and view.waits_for_a_person and not left_by_choice(region, seen):
                return held(view, f"{region} {why_lost}; failover is manual: fail {region} over or drain it to move on")
            if why_lost is not None:
                return _demote(view, seen, now, f"{region} {why_lost}")
        return _return_home(view, seen, now)
    return view


def wanted_groups(view: DeploymentView, step: int) -> tuple[Group, ...]:
    """Who takes traffic at a step. Active-active and active-passive have one step: all of it."""
    if view.strategy is not DeploymentType.BLUE_GREEN:
        return tuple(replace(group, weight=1.0) for group in view.groups)
    green = view.gates.steps[step]
    return view.with_groups(blue=100.0 - green, green=green)


def _finding(view: DeploymentView, seen: Seen) -> tuple[Finding, str]:
    if view.strategy is not DeploymentType.BLUE_GREEN:
        return Finding.PASS, ""
    gone = group_lost(view.green, seen)
    if gone is not None:
        return Finding.FAIL, f"green cannot serve: {gone}"
    if not view.gates.analyse:
        return Finding.PASS, ""
    return analyse(_pooled(view.green, seen), _pooled(view.blue, seen), view.gates)


def _pooled(regions: tuple[str, ...], seen: Seen) -> Sample:
    total = Sample()
    for region in regions:
        total = total.plus(seen.samples.get(region, Sample()))
    return total


def _share_text(view: DeploymentView, step: int) -> str:
    if view.strategy is not DeploymentType.BLUE_GREEN:
        return ""
    return f"{view.gates.steps[step]:g} % to green"


# --- active-passive: demote, then promote -------------------------------------------------------


def hand_over(view: DeploymentView, region: str, now: float, why: str) -> DeploymentView:
    """Begin to hand an active-passive service over to a region by choice: a failback, or a planned switch."""
    return _without_active(view, Signal.HANDED_OVER, region, now, why)


def handover_obstacle(view: DeploymentView, region: str, seen: Seen) -> str | None:
    """Why a region cannot take an active-passive service over from the one that serves; None when it can."""
    why = obstacle(region, seen)
    if why is None and seen.fleet.regions[region].standing is not Phase.HEALTHY:
        why = f"is {seen.fleet.regions[region].standing.value}, not healthy"
    return why or too_small(region, sum(load_of(r, seen) for r in view.active), seen)


def _return_home(view: DeploymentView, seen: Seen, now: float) -> DeploymentView:
    """Hand over to the primary again, where failback is automatic, it may serve, and the hold-down is over."""
    home = view.primary
    if view.failback is not FailbackMode.AUTO or home is None or home not in view.standby:
        return held(view, None)
    if now < view.due_at or handover_obstacle(view, home, seen) is not None:
        return held(view, None)
    return hand_over(view, home, now, f"{home} is back")


def _demote(view: DeploymentView, seen: Seen, now: float, why: str) -> DeploymentView:
    """Take the traffic off the active region before anybody else gets it, and only when somebody can."""
    chosen, in_the_way = heir(view.standby, view.active, seen)
    if chosen is None:
        return held(view, f"{why}; nobody can take over: {in_the_way}")
    return _without_active(view, Signal.ACTIVE_LOST, chosen, now, why)


def _without_active(view: DeploymentView, signal: Signal, chosen: str, now: float, why: str) -> DeploymentView:
    nobody = tuple(replace(group, weight=0.0) for group in view.groups)
    demoted = moved(view, signal, now, why)
    return replace(demoted, groups=nobody, previous=view.groups, wanted=chosen, term=view.term + 1)


def _promote(view: DeploymentView, seen: Seen, now: float) -> DeploymentView:
    """Give the traffic to who was chosen; where that one has failed meanwhile, to the next, at last to the old one."""
    chosen = view.wanted
    before = tuple(region for group in view.groups for region in group.regions)
    if chosen is None or obstacle(chosen, seen) is not None:
        chosen, in_the_way = heir((*view.standby, *before), before, seen)
        if chosen is None:
            return held(view, f"nobody can take over: {in_the_way}")
    others = [r for r in (*view.standby, *before) if r != chosen]
    return replace(
        moved(view, Signal.PROMOTED, now, chosen, view.gates.failback_after_s),
        groups=(Group("active", (chosen,), 1.0),),
        standby=tuple(sorted(others, key=view.regions.index)),
        wanted=None,
        term=view.term + 1,
    )
