"""Work in regions, wave by wave: which may begin now, what stops a wave, and who is left out of the traffic.

A region that does not answer is unknown. Unknown counts against the budget and never as success, and a region whose
version is not known gets no traffic. Membership is fixed when the deployment begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .analysis import Finding, Sample, analyse
from .deployment import DeploymentView, Group, Run, RunState, State
from .model import Phase
from .obstacles import Seen

ENDED = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.UNKNOWN})
"""States in which the work in a region is over."""


def baking_wave(view: DeploymentView) -> int | None:
    """The wave that is done and being watched before the next may begin; None when there is none such."""
    done = [all(view.runs[r].state in ENDED for r in wave) for wave in view.waves.groups]
    last = next((index for index, ended in enumerate(done) if not ended), len(done)) - 1
    begun = last + 1 < len(done) and any(view.runs[r].attempt for r in view.waves.groups[last + 1])
    return None if last < 0 or begun else last


def runs_to_start(view: DeploymentView, samples: Mapping[str, Sample], now: float) -> tuple[str, ...]:
    """Regions in which the work may begin now: the next of the current wave, as many as may run at once."""
    if view.state is not State.PREPARING:
        return ()
    baking = baking_wave(view)
    if baking is not None and not _baked(view, view.waves.groups[baking], samples, now):
        return ()
    busy = sum(run.state is RunState.RUNNING for run in view.runs.values())
    for wave in view.waves.groups:
        if any(view.runs[r].state not in ENDED for r in wave):
            pending = [r for r in wave if view.runs[r].state is RunState.PENDING]
            return tuple(pending[: max(0, view.waves.max_parallel - busy)])
    return ()


def waiting_for(view: DeploymentView, samples: Mapping[str, Sample], now: float) -> str | None:
    """What the next wave waits for; None when it waits for nothing but the work itself."""
    baking = baking_wave(view)
    if baking is None or baking + 1 == len(view.waves.groups):
        return None
    wave = view.waves.groups[baking]
    requests = _requests(wave, samples)
    if _baked(view, wave, samples, now) or now - _ended_at(view, wave) < view.waves.bake_s:
        return None
    return f"wave {baking + 1} has served {requests} requests, {view.waves.bake_requests} are needed"


def bad_regions(view: DeploymentView, seen: Seen) -> dict[str, str]:
    """Regions that count against the budget, and why: failed, not known, or failing since they have the new version."""
    bad = {
        r: f"{run.state.value} ({run.detail})" if run.detail else run.state.value
        for r, run in view.runs.items()
        if run.state in (RunState.FAILED, RunState.UNKNOWN)
    }
    for region in (r for r, run in view.runs.items() if run.state is RunState.SUCCEEDED):
        finding, why = analyse(seen.samples.get(region, Sample()), Sample(), view.gates)
        failing = why if finding is Finding.FAIL else _down(region, seen)
        if failing is not None:
            bad[region] = failing
    return bad


def _down(region_id: str, seen: Seen) -> str | None:
    """Of a region that is gone or down; one that its operator drains is not bad."""
    region = seen.fleet.regions.get(region_id)
    if region is None:
        return "is not registered any more"
    return "is down since it has the new version" if region.standing is Phase.DOWN else None


def without(view: DeploymentView, left_out: Mapping[str, str]) -> DeploymentView | None:
    """The deployment with some regions left out of its traffic; None when a part of it would be left with nobody."""
    if not left_out:
        return view
    groups = tuple(replace(g, regions=tuple(r for r in g.regions if r not in left_out)) for g in view.groups)
    if not all(group.regions for group in groups):
        return None
    standby = tuple(r for r in view.standby if r not in left_out)
    return replace(view, groups=groups, previous=_kept(view.previous, groups), standby=standby)


def _kept(previous: tuple[Group, ...], groups: tuple[Group, ...]) -> tuple[Group, ...]:
    """What a rollback returns to, in the membership that is left; its shares stay."""
    weights = {group.name: group.weight for group in previous}
    return tuple(replace(group, weight=weights[group.name]) for group in groups if group.name in weights)


def _baked(view: DeploymentView, wave: tuple[str, ...], samples: Mapping[str, Sample], now: float) -> bool:
    """Whether a finished wave has been watched for long enough, in time and in real requests."""
    in_time = now - _ended_at(view, wave) >= view.waves.bake_s
    return in_time and _requests(wave, samples) >= view.waves.bake_requests


def _ended_at(view: DeploymentView, wave: tuple[str, ...]) -> float:
    return max(view.runs[r].at for r in wave)


def _requests(wave: tuple[str, ...], samples: Mapping[str, Sample]) -> int:
    return sum(samples.get(r, Sample()).total for r in wave)


# --- what the work comes to ---------------------------------------------------------------------


def with_run(view: DeploymentView, region: str, state: RunState, now: float, detail: str = "") -> DeploymentView:
    """The deployment with one region's work in a new state; a new attempt when it begins to run."""
    return replace(view, runs=_with(view.runs, region, state, now, detail))


def with_undo(view: DeploymentView, region: str, state: RunState, now: float, detail: str = "") -> DeploymentView:
    """The deployment with one region's work of taking the new version back in a new state."""
    return replace(view, undo=_with(view.undo, region, state, now, detail))


def _with(runs: Mapping[str, Run], region: str, state: RunState, now: float, detail: str) -> dict[str, Run]:
    before = runs[region]
    return {**runs, region: Run(state, now, before.attempt + (state is RunState.RUNNING), detail)}


def to_undo(view: DeploymentView, now: float) -> dict[str, Run]:
    """The work that takes the new version back wherever it was begun, whatever came of it."""
    return {region: Run(RunState.PENDING, now) for region, run in view.runs.items() if run.attempt}


def undone(view: DeploymentView) -> str | None:
    """What came of taking the new version back; None while that is under way."""
    if any(run.state not in ENDED for run in view.undo.values()):
        return None
    left = [f"{r} {run.state.value}" for r, run in view.undo.items() if run.state is not RunState.SUCCEEDED]
    return "still to be mended: " + ", ".join(left) if left else ""
