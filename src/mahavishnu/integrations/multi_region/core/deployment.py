"""A deployment as a value: which regions serve a service, in what roles and shares, and where its rollout stands.

Holds no timers: what is due is stored as a time (seconds since the epoch), so that whoever reads it after a crash goes
on where it was. What happens next is decided in ``rollout.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any

from .kinds import DeploymentType, FailbackMode, FailoverMode, ReplicationStrategy, parse_enum

DEPLOYMENTS, OF_RECORD = "deployments/", "of_record/"
"""Where deployments live, and which one is the plan of record of each service."""


class State(StrEnum):
    """Where a deployment stands."""

    PREPARING = "preparing"
    BAKING = "baking"
    SHIFTING = "shifting"
    SERVING = "serving"
    COMPLETED = "completed"
    DEMOTING = "demoting"
    PROMOTING = "promoting"
    HALTED = "halted"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"


SETTLED = frozenset({State.SERVING, State.COMPLETED, State.HALTED, State.ROLLED_BACK})
"""States in which traffic is where it is meant to be, until somebody or something changes that."""


class OnFailure(StrEnum):
    """What a rollout does when a step fails."""

    ROLLBACK = "rollback"
    HOLD = "hold"


class RunState(StrEnum):
    """How putting the new version into one region stands. ``UNKNOWN``: no answer; never counted as success."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Group:
    """Regions that take traffic together. ``weight``: the part of the traffic, relative to the other groups."""

    name: str
    regions: tuple[str, ...]
    weight: float


@dataclass(frozen=True, slots=True)
class Run:
    """The work in one region. ``at``: when it entered its state. ``attempt`` counts from 1."""

    state: RunState = RunState.PENDING
    at: float = 0.0
    attempt: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a deployment's history."""

    at: float
    state: State
    why: str


@dataclass(frozen=True, slots=True)
class Gates:
    """What must hold before a rollout goes on.

    ``bake_s``: least time that green is warm before any traffic. ``step_bake_s``: least time at each step.
    ``steps``: green's share of the traffic in percent, rising to 100. ``min_requests``: real requests to green at a
    step below which nothing is concluded. ``max_error_rate``: share (0..1) of failed requests; ``max_error_increase``:
    how far above blue's it may be; ``max_latency_factor``: green's mean latency against blue's.
    ``rollback_window_s``: how long blue stays warm after the last step. ``analyse``: whether steps need evidence.
    ``failback_after_s``: least time with a region that took over before an automatic failback to the primary.
    """

    bake_s: float = 0.0
    step_bake_s: float = 0.0
    steps: tuple[float, ...] = (100.0,)
    min_requests: int = 50
    max_error_rate: float = 0.05
    max_error_increase: float = 0.02
    max_latency_factor: float = 1.5
    rollback_window_s: float = 600.0
    analyse: bool = False
    failback_after_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Waves:
    """In what order regions get the new version.

    ``groups``: regions wave by wave, fixed at the start. ``max_parallel``: regions at work at once. ``bake_s`` and
    ``bake_requests``: time and real requests that must pass between waves. ``max_unavailable``: regions that may fail
    or not answer before the rollout stops. ``deadline_s``: how long one region may take before it is unknown.
    """

    groups: tuple[tuple[str, ...], ...] = ()
    max_parallel: int = 1
    bake_s: float = 0.0
    bake_requests: int = 0
    max_unavailable: int = 0
    deadline_s: float = 300.0


@dataclass(frozen=True, slots=True)
class DeploymentView:
    """One deployment, frozen.

    ``groups``: who takes traffic now. ``previous``: who did before (of blue-green: what a rollback returns to; of
    active-passive: who handed over last). ``standby``: regions that stand by, in the order they take over. ``due_at``:
    when the current state may end. ``held``: why it does not go on, None when nothing is in the way. ``step``: index
    into ``gates.steps``, -1 before the first. ``term`` grows with each change of who takes the service's traffic, over
    all of its deployments, and fences the last one out. ``runs``: the work in regions, empty where no code is run;
    ``undo``: the work that takes it back. ``primary``: the preferred region of active-passive. ``wanted``: who is to be
    promoted. ``supersedes``: the deployment that was of record before this one. ``number``: its place among the
    deployments of its service; the greatest is the one that is wanted. ``declared``: it was made from the service's
    declaration, and not taken back since. ``failover_strategy``: whether it leaves a lost region by itself.
    ``replication_strategy``: for the record, nothing goes by it.
    """

    deployment_id: str
    service: str
    strategy: DeploymentType
    regions: tuple[str, ...]
    state: State
    groups: tuple[Group, ...]
    created_at: float
    entered_at: float
    due_at: float
    previous: tuple[Group, ...] = ()
    standby: tuple[str, ...] = ()
    gates: Gates = Gates()
    waves: Waves = Waves()
    on_failure: OnFailure = OnFailure.ROLLBACK
    step: int = -1
    held: str | None = None
    term: int = 1
    primary: str | None = None
    wanted: str | None = None
    runs: Mapping[str, Run] = field(default_factory=dict)
    history: tuple[Step, ...] = ()
    replication_strategy: ReplicationStrategy = ReplicationStrategy.FULL
    failover_strategy: FailoverMode = FailoverMode.AUTOMATIC
    supersedes: str | None = None
    failback: FailbackMode = FailbackMode.MANUAL
    undo: Mapping[str, Run] = field(default_factory=dict)
    number: int = 1
    declared: bool = False

    @property
    def settled(self) -> bool:
        """Whether traffic is where it is meant to be, until somebody or something changes that."""
        return self.state in SETTLED

    @property
    def blue(self) -> tuple[str, ...]:
        """The regions that served before a blue-green switch."""
        return next((group.regions for group in self.groups if group.name == "blue"), ())

    @property
    def green(self) -> tuple[str, ...]:
        """The regions that a blue-green switch moves to."""
        return next((group.regions for group in self.groups if group.name == "green"), ())

    @property
    def active(self) -> tuple[str, ...]:
        """The regions that take traffic now."""
        return tuple(r for group in self.groups if group.weight > 0 for r in group.regions)

    @property
    def warm(self) -> tuple[str, ...]:
        """The regions that take over when the active ones are lost, in their order."""
        if self.strategy is not DeploymentType.BLUE_GREEN:
            return self.standby
        returns = self.state in (State.SHIFTING, State.SERVING) and self.on_failure is OnFailure.ROLLBACK
        return self.blue if returns else ()

    @property
    def waits_for_a_person(self) -> bool:
        """Whether the traffic leaves a lost region only when a person says so."""
        passive = self.strategy is DeploymentType.ACTIVE_PASSIVE
        return passive and self.failover_strategy is FailoverMode.MANUAL

    @property
    def spares(self) -> tuple[str, ...]:
        """The warm regions that take over without anybody's word: none where failover is manual."""
        return () if self.waits_for_a_person else self.warm

    @property
    def weights(self) -> dict[str, float]:
        """Each region's share of the traffic (0..1), equal within its group; 0 for those that stand by."""
        total = sum(group.weight for group in self.groups) or 1.0
        shares = dict.fromkeys(self.regions, 0.0)
        for group in self.groups:
            for region in group.regions:
                shares[region] = shares.get(region, 0.0) + group.weight / total / len(group.regions)
        return shares

    def roles(self) -> dict[str, str]:
        """Each region's role: its group's name, ``standby``, or ``out`` when it has no part in the traffic."""
        named = dict.fromkeys(self.standby, "standby")
        named |= {region: group.name for group in self.groups for region in group.regions}
        return {region: named.get(region, "out") for region in self.regions}

    def with_groups(self, **weights: float) -> tuple[Group, ...]:
        """The groups with some weights changed, by group name."""
        return tuple(replace(group, weight=weights.get(group.name, group.weight)) for group in self.groups)


def deployment_document(view: DeploymentView) -> dict[str, Any]:
    """A deployment as plain data that JSON can carry."""
    return {
        **{name: getattr(view, name) for name in _AS_THEY_ARE},
        "gates": _plain(view.gates),
        "waves": _plain(view.waves),
        "groups": [_group_document(group) for group in view.groups],
        "previous": [_group_document(group) for group in view.previous],
        "runs": {region: asdict(run) for region, run in view.runs.items()},
        "undo": {region: asdict(run) for region, run in view.undo.items()},
        "history": [{"at": line.at, "state": line.state.value, "why": line.why} for line in view.history],
    }


def deployment_from_document(document: Mapping[str, Any]) -> DeploymentView:
    """The deployment that ``deployment_document`` wrote."""
    waves = document["waves"]
    return DeploymentView(
        **{
            **document,
            "strategy": parse_enum(DeploymentType, document["strategy"], "strategy"),
            "state": State(document["state"]),
            "on_failure": OnFailure(document["on_failure"]),
            "failback": FailbackMode(document["failback"]),
            "replication_strategy": ReplicationStrategy(document["replication_strategy"]),
            "failover_strategy": FailoverMode(document["failover_strategy"]),
            "regions": tuple(document["regions"]),
            "standby": tuple(document["standby"]),
            "groups": _groups(document["groups"]),
            "previous": _groups(document["previous"]),
            "gates": Gates(**{**document["gates"], "steps": tuple(document["gates"]["steps"])}),
            "waves": Waves(**{**waves, "groups": tuple(tuple(g) for g in waves["groups"])}),
            "runs": _runs(document["runs"]),
            "undo": _runs(document["undo"]),
            "history": tuple(Step(s["at"], State(s["state"]), s["why"]) for s in document["history"]),
        }
    )


def _groups(documents: Any) -> tuple[Group, ...]:
    return tuple(Group(d["name"], tuple(d["regions"]), d["weight"]) for d in documents)


@lru_cache(maxsize=1024)
def _plain(terms: Gates | Waves) -> Mapping[str, Any]:
    """What a deployment was begun with, as plain data: the same in every transition, so made once."""
    return asdict(terms)


def _group_document(group: Group) -> dict[str, Any]:
    return {"name": group.name, "regions": group.regions, "weight": group.weight}


def _runs(documents: Mapping[str, Any]) -> dict[str, Run]:
    return {region: Run(**{**run, "state": RunState(run["state"])}) for region, run in documents.items()}


_APART = ("gates", "waves", "groups", "previous", "runs", "undo", "history")
_AS_THEY_ARE = tuple(one.name for one in fields(DeploymentView) if one.name not in _APART)
