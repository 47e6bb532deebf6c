"""The deployment strategies as one transition table over weights: what happens next, and what is in the way.

``advance`` looks at a deployment and at what is true now, and returns the deployment after at most one transition. It
is called again until nothing moves. Stop after any transition, read the deployment back, and it goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from .analysis import Finding, Sample, analyse
from .deployment import DeploymentView, Group, OnFailure, Run, RunState, State, Step
from .eligibility import lawful_objection, objection
from .failover import room
from .model import DeploymentType, Fleet
from .request import Needs
from .safety import in_service

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
    WINDOW_OVER = "window over"
    ACTIVE_LOST = "active lost"
    DEMOTED = "demoted"
    PROMOTED = "promoted"
    ROLLBACK = "rollback"
    RESTORED = "restored"


TRANSITIONS: Mapping[tuple[State, Signal], tuple[State, str]] = {
    (State.PREPARING, Signal.PREPARED): (State.BAKING, "every region has the new version"),
    (State.PREPARING, Signal.PREPARE_FAILED): (State.HALTED, "too many regions failed or did not answer"),
    (State.BAKING, Signal.BAKED): (State.SHIFTING, "bake over and every precondition holds"),
    (State.SHIFTING, Signal.STEP_PASSED): (State.SHIFTING, "the step held: the next one"),
    (State.SHIFTING, Signal.LAST_STEP_PASSED): (State.SERVING, "all traffic is where it is meant to be"),
    (State.SERVING, Signal.WINDOW_OVER): (State.COMPLETED, "the rollback window is over"),
    (State.SERVING, Signal.ACTIVE_LOST): (State.DEMOTING, "the active region is lost: it is demoted first"),
    (State.DEMOTING, Signal.DEMOTED): (State.PROMOTING, "the old region takes no traffic any more"),
    (State.PROMOTING, Signal.PROMOTED): (State.SERVING, "a region that stood by is promoted"),
    **{
        (state, Signal.ROLLBACK): (State.ROLLING_BACK, "rolled back")
        for state in (State.PREPARING, State.BAKING, State.SHIFTING, State.SERVING, State.HALTED)
    },
    **{
        (state, Signal.FAILED): (State.HALTED, "the new version fails and is held where it is")
        for state in (State.SHIFTING, State.SERVING)
    },
    (State.ROLLING_BACK, Signal.RESTORED): (State.ROLLED_BACK, "traffic is where it was before"),
}
"""State and signal to the next state and why. A pair that is not here cannot happen."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is true now: the fleet, the needs of the service, and real requests per region since the step began."""

    fleet: Fleet
    needs: Needs
    samples: Mapping[str, Sample] = field(default_factory=dict)


def advance(view: DeploymentView, seen: Seen, now: float) -> DeploymentView:
    """The deployment after the one transition that is due, or with what holds it; the same object when nothing is new.

    ``now`` in seconds since the epoch.
    """
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
            return moved(replace(view, groups=view.previous or view.groups), Signal.RESTORED, now, "")
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


def held(view: DeploymentView, why: str) -> DeploymentView:
    """The deployment with what is in its way."""
    return view if view.held == why else replace(view, held=why)


def can(view: DeploymentView, signal: Signal) -> bool:
    """Whether the table has a row for this signal now."""
    return (view.state, signal) in TRANSITIONS


def rolled_back(view: DeploymentView, now: float, why: str) -> DeploymentView:
    """The deployment with its old groups back in one step; needs nothing from any region."""
    restored = replace(moved(view, Signal.ROLLBACK, now, why), groups=view.previous)
    return replace(restored, term=view.term + 1)


def _prepare(view: DeploymentView, seen: Seen, now: float) -> DeploymentView:
    states = [run.state for run in view.runs.values()]
    bad = [r for r, run in view.runs.items() if run.state in (RunState.FAILED, RunState.UNKNOWN)]
    if len(bad) > view.waves.max_unavailable:
        detail = ", ".join(f"{r} {view.runs[r].state.value} ({view.runs[r].detail})" for r in bad)
        return _failed(view, Signal.PREPARE_FAILED, now, detail)
    if any(state in (RunState.PENDING, RunState.RUNNING) for state in states):
        return view
    return moved(view, Signal.PREPARED, now, "", view.gates.bake_s)


def _failed(view: DeploymentView, signal: Signal, now: float, detail: str) -> DeploymentView:
    if view.on_failure is OnFailure.ROLLBACK and (view.previous or view.state is State.PREPARING):
        return rolled_back(view, now, detail)
    return moved(view, signal, now, detail)


def _bake(view: DeploymentView, seen: Seen, now: float) -> DeploymentView:
    if now < view.due_at:
        return view
    wanted = wanted_groups(view, 0)
    obstacle = shift_obstacle(view, wanted, seen)
    if obstacle is not None:
        return held(view, obstacle)
    shifted = moved(view, Signal.BAKED, now, _share_text(view, 0), view.gates.step_bake_s)
    return replace(shifted, groups=wanted, step=0, term=view.term + 1)


def _shift(view: DeploymentView, seen: Seen, now: float) -> DeploymentView:
    finding, why = _finding(view, seen)
    if finding is Finding.FAIL:
        return _failed(view, Signal.FAILED, now, why)
    if now < view.due_at:
        return view
    if finding is Finding.INCONCLUSIVE:
        return held(view, f"inconclusive: {why}")
    last = view.step + 1 >= len(view.gates.steps)
    if last or view.strategy is not DeploymentType.BLUE_GREEN:
        window = view.gates.rollback_window_s if view.strategy is DeploymentType.BLUE_GREEN else 0.0
        return moved(view, Signal.LAST_STEP_PASSED, now, why, window)
    wanted = wanted_groups(view, view.step + 1)
    obstacle = shift_obstacle(view, wanted, seen)
    if obstacle is not None:
        return held(view, obstacle)
    text = _share_text(view, view.step + 1)
    shifted = moved(view, Signal.STEP_PASSED, now, text, view.gates.step_bake_s)
    return replace(shifted, groups=wanted, step=view.step + 1)


def _serve(view: DeploymentView, seen: Seen, now: float) -> DeploymentView:
    if view.strategy is DeploymentType.BLUE_GREEN:
        finding, why = _finding(view, seen)
        if finding is Finding.FAIL:
            return _failed(view, Signal.FAILED, now, why)
        return moved(view, Signal.WINDOW_OVER, now, "") if now >= view.due_at else view
    if view.strategy is DeploymentType.ACTIVE_PASSIVE:
        lost = [r for r in view.active if _lost(r, seen)]
        if lost:
            return _demote(view, seen, now, f"{lost[0]}: {_why_lost(lost[0], seen)}")
        return replace(view, held=None) if view.held else view
    return view


def _demote(view: DeploymentView, seen: Seen, now: float, why: str) -> DeploymentView:
    """Take the traffic off the active region before anybody else gets it, and only when somebody can."""
    heir, obstacle = _heir(view, seen)
    if heir is None:
        return held(view, f"{why}; nobody can take over: {obstacle}")
    demoted = moved(view, Signal.ACTIVE_LOST, now, why)
    nobody = tuple(replace(group, weight=0.0) for group in view.groups)
    return replace(demoted, groups=nobody, previous=view.groups, wanted=heir, term=view.term + 1)


def promote_instead(view: DeploymentView, region: str, now: float, why: str) -> DeploymentView:
    """Begin to hand an active-passive service over to a region by choice: a failback, or a planned switch."""
    demoted = moved(view, Signal.ACTIVE_LOST, now, why)
    nobody = tuple(replace(group, weight=0.0) for group in view.groups)
    return replace(demoted, groups=nobody, previous=view.groups, wanted=region, term=view.term + 1)


def _promote(view: DeploymentView, seen: Seen, now: float) -> DeploymentView:
    heir = view.wanted
    if heir is None or _obstacle(heir, seen) is not None:
        heir, obstacle = _heir(view, seen)
        if heir is None:
            return held(view, f"nobody can take over: {obstacle}")
    active = replace(view.groups[0], name="active", regions=(heir,), weight=1.0)
    promoted = moved(view, Signal.PROMOTED, now, heir)
    return replace(
        promoted,
        groups=(active,),
        standby=tuple(r for r in view.regions if r != heir),
        wanted=None,
        term=view.term + 1,
    )


def _heir(view: DeploymentView, seen: Seen) -> tuple[str | None, str]:
    """The first of those that stand by, in their order, who may take over now; or why nobody can."""
    load = sum(seen.fleet.regions[r].load for r in view.active if r in seen.fleet.regions)
    reasons = []
    for region in view.standby:
        obstacle = _obstacle(region, seen) or _too_small(region, load, seen)
        if obstacle is None:
            return region, ""
        reasons.append(f"{region} {obstacle}")
    return None, "; ".join(reasons) or "nobody stands by"


def _too_small(region: str, load: float, seen: Seen) -> str | None:
    free = room(seen.fleet.regions[region], seen.fleet.limits.headroom)
    return f"has room for {free:g} of {load:g}" if load > free else None


def _lost(region: str, seen: Seen) -> bool:
    view = seen.fleet.regions.get(region)
    return view is None or not in_service(view) or view.failed_over is not None


def _why_lost(region: str, seen: Seen) -> str:
    view = seen.fleet.regions.get(region)
    if view is None:
        return "is not registered any more"
    why = objection(view, Needs(seen.needs.requirements, seen.needs.policies))
    return why.text if why is not None else "is out of service"


def _obstacle(region: str, seen: Seen) -> str | None:
    view = seen.fleet.regions.get(region)
    if view is None:
        return "is not registered"
    lawful = Needs(seen.needs.requirements, seen.needs.policies)
    why = lawful_objection(view, lawful) or objection(view, lawful)
    return why.text if why is not None else None


def wanted_groups(view: DeploymentView, step: int) -> tuple[Group, ...]:
    """Who takes traffic at a step. Active-active and active-passive have one step: all of it."""
    if view.strategy is not DeploymentType.BLUE_GREEN:
        return tuple(replace(group, weight=1.0) for group in view.groups)
    green = view.gates.steps[step]
    return view.with_groups(blue=100.0 - green, green=green)


def shift_obstacle(view: DeploymentView, wanted: tuple[Group, ...], seen: Seen) -> str | None:
    """Why traffic cannot move to the wanted groups now: somebody is ineligible, unhealthy or too small; None if it can.

    A region that takes more than it does now must be eligible and have room for its part of the service's load.
    """
    now_shares, wanted_shares = view.weights, replace(view, groups=wanted).weights
    load = sum(seen.fleet.regions[r].load for r in view.active if r in seen.fleet.regions)
    for region, share in wanted_shares.items():
        more = share - now_shares.get(region, 0.0)
        if more <= 0:
            continue
        obstacle = _obstacle(region, seen) or (
            _too_small(region, more * load, seen) if region not in view.active else None
        )
        if obstacle is not None:
            return f"{region} {obstacle}"
    return None


def _finding(view: DeploymentView, seen: Seen) -> tuple[Finding, str]:
    if not view.gates.analyse or view.strategy is not DeploymentType.BLUE_GREEN:
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


# --- waves --------------------------------------------------------------------------------------


def runs_to_start(view: DeploymentView, samples: Mapping[str, Sample], now: float) -> tuple[str, ...]:
    """Regions in which the work may begin now: the next of the current wave, as many as may run at once."""
    if view.state is not State.PREPARING or not view.runs:
        return ()
    busy = sum(run.state is RunState.RUNNING for run in view.runs.values())
    for wave in view.waves.groups:
        if all(view.runs[r].state in (RunState.SUCCEEDED, RunState.FAILED, RunState.UNKNOWN) for r in wave):
            if _baked(view, wave, samples, now):
                continue
            return ()
        pending = [r for r in wave if view.runs[r].state is RunState.PENDING]
        return tuple(pending[: max(0, view.waves.max_parallel - busy)])
    return ()


def _baked(view: DeploymentView, wave: tuple[str, ...], samples: Mapping[str, Sample], now: float) -> bool:
    """Whether a finished wave has been watched for long enough, in time and in real requests."""
    ended = max(view.runs[r].at for r in wave)
    requests = sum(samples.get(r, Sample()).total for r in wave)
    return now - ended >= view.waves.bake_s and requests >= view.waves.bake_requests


def with_run(view: DeploymentView, region: str, state: RunState, now: float, detail: str = "") -> DeploymentView:
    """The deployment with one region's work in a new state; a new attempt when it begins to run."""
    before = view.runs[region]
    attempt = before.attempt + (state is RunState.RUNNING)
    return replace(view, runs={**view.runs, region: Run(state, now, attempt, detail)})
