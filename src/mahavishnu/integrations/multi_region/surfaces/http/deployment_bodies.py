"""What clients send to begin deployments and to elect leaders; what values mean together is checked elsewhere."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from mahavishnu.integrations.multi_region.core.deployment import Gates, OnFailure, Waves
from mahavishnu.integrations.multi_region.core.figures import DAY_S
from mahavishnu.integrations.multi_region.core.kinds import FailbackMode, FailoverMode, ReplicationStrategy
from mahavishnu.integrations.multi_region.core.proposals import BY_ITSELF
from mahavishnu.integrations.multi_region.surfaces.world import kinds

from .bodies import Body, SaidBy

_LONGEST_S = 30 * DAY_S
_WAVES, _GATES = Waves(), Gates()
_Regions = Annotated[list[kinds.Id], Field(max_length=1000)]
_Seconds = Annotated[float, Field(ge=0, le=_LONGEST_S)]
_Share = Annotated[float, Field(ge=0, le=1)]
_Count = Annotated[int, Field(ge=0, le=10**9)]
_OnFailure = Annotated[OnFailure, kinds.member(OnFailure)]
_Failback = Annotated[FailbackMode, kinds.member(FailbackMode)]
_Replication = Annotated[ReplicationStrategy, kinds.member(ReplicationStrategy)]
_Failover = Annotated[FailoverMode, kinds.member(FailoverMode)]
_FailoverByItself = Annotated[FailoverMode, kinds.member(FailoverMode, BY_ITSELF)]
_REPLICATION = "For the record, nothing goes by it: data has policies and placements of its own."


class WavesBody(Body):
    """In what order regions get the new version; only where the server has an executor. Times in seconds."""

    groups: Annotated[list[_Regions], Field(max_length=1000)] = Field(
        default_factory=list, description="Regions wave by wave. Default: all in one."
    )
    max_parallel: int = Field(_WAVES.max_parallel, ge=1, le=1000, description="Regions at work at once.")
    bake_s: _Seconds = Field(_WAVES.bake_s, description="Least seconds between two waves.")
    bake_requests: _Count = Field(_WAVES.bake_requests, description="Least real requests between two waves.")
    max_unavailable: _Count = Field(
        _WAVES.max_unavailable, description="Regions that may fail or not answer before the rollout stops."
    )
    deadline_s: float = Field(_WAVES.deadline_s, gt=0, le=_LONGEST_S, description="Most seconds for one region.")

    def waves(self) -> Waves:
        """The waves."""
        return Waves(**{**self.model_dump(), "groups": tuple(tuple(group) for group in self.groups)})


class _DeployBody(SaidBy):
    """What every deployment may say."""

    service: kinds.OptionalId = Field(None, description="What requests name. Default: the deployment's own id.")
    waves: WavesBody | None = Field(None, description="In what order regions get the new version.")
    on_failure: _OnFailure = Field(OnFailure.ROLLBACK, description="What happens when a step fails.")

    def common(self, caller: str) -> dict[str, Any]:
        """The arguments that every kind of deployment takes."""
        return {
            "service": self.service,
            "waves": None if self.waves is None else self.waves.waves(),
            "on_failure": self.on_failure,
            "by": self.actor(caller),
        }


class ActiveActiveBody(_DeployBody):
    """All regions serve at once."""

    regions: _Regions = Field(min_length=1, description="The regions.")
    replication_strategy: _Replication = Field(ReplicationStrategy.FULL, description=_REPLICATION)
    failover_strategy: _FailoverByItself = Field(
        FailoverMode.AUTOMATIC, description="For the record: the other regions serve on by themselves in any case."
    )


class ActivePassiveBody(_DeployBody):
    """One region serves, others stand by."""

    primary: kinds.Id = Field(description="The region that serves.")
    backups: _Regions = Field(min_length=1, description="Who takes over, in this order.")
    replication_strategy: _Replication = Field(ReplicationStrategy.FULL, description=_REPLICATION)
    failover_strategy: _Failover = Field(
        FailoverMode.AUTOMATIC,
        description="manual: a lost region is left only when it is failed over by hand or drained; else by itself.",
    )
    failback: _Failback = Field(FailbackMode.MANUAL, description="How the primary gets the service back.")
    failback_after: _Seconds = Field(60, description="Least seconds after a takeover before it does by itself.")


class GatesBody(Body):
    """What must hold before a step of a blue-green rollout is passed."""

    min_requests: _Count = Field(_GATES.min_requests, description="Requests to green below which nothing is concluded.")
    max_error_rate: _Share = Field(_GATES.max_error_rate, description="Share of requests to green that may fail.")
    max_error_increase: _Share = Field(
        _GATES.max_error_increase, description="How far above blue's that share may be, where blue's is higher."
    )
    max_latency_factor: float = Field(
        _GATES.max_latency_factor, ge=1, le=1000, description="Green's mean latency against blue's, at most."
    )


class BlueGreenBody(_DeployBody):
    """Traffic moves from some regions to others. Times in seconds."""

    blue_regions: _Regions = Field(min_length=1, description="The regions that serve now.")
    green_regions: _Regions = Field(min_length=1, description="The regions that shall serve.")
    switch_after: _Seconds = Field(60, description="Least seconds that green is warm before it gets any traffic.")
    steps: Annotated[list[Annotated[float, Field(gt=0, le=100)]], Field(min_length=1, max_length=100)] = Field(
        default_factory=lambda: [100.0], description="Green's share in percent, rising to 100."
    )
    step_after: _Seconds = Field(30, description="Least seconds at each step.")
    analyse: bool | None = Field(
        None, description="Whether real requests judge each step. Default: if there are several."
    )
    gates: GatesBody | None = Field(None, description="The limits by which they judge.")
    rollback_window: _Seconds = Field(600, description="Seconds that blue stays warm after the last step.")

    def rollout(self) -> dict[str, Any]:
        """The arguments that only this kind takes."""
        return {
            "blue_regions": self.blue_regions,
            "green_regions": self.green_regions,
            "switch_after": self.switch_after,
            "steps": self.steps,
            "step_after": self.step_after,
            "analyse": self.analyse,
            "gates": None if self.gates is None else Gates(**self.gates.model_dump()),
            "rollback_window": self.rollback_window,
        }


class ElectionBody(Body):
    """Who may lead."""

    regions: _Regions = Field(min_length=1, description="The candidates.")
