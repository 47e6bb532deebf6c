"""DeploymentOrchestrator: begins deployments, elects leaders, rolls back; the loop in ``rollouts.py`` does the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import structlog

from mahavishnu.integrations.multi_region.core.deployment import (
    DeploymentView,
    Gates,
    Group,
    OnFailure,
    Run,
    RunState,
    State,
    Step,
    Waves,
)
from mahavishnu.integrations.multi_region.core.election import Leader
from mahavishnu.integrations.multi_region.core.kinds import (
    DeploymentType,
    FailbackMode,
    FailoverMode,
    ReplicationStrategy,
    parse_enum,
)
from mahavishnu.integrations.multi_region.core.proposals import (
    check_gates,
    check_regions,
    check_service,
    check_steps,
    check_waves,
    parse_strategies,
)
from mahavishnu.integrations.multi_region.core.record import Denial, failback_denial, rollback_denial
from mahavishnu.integrations.multi_region.core.rollout import hand_over, rolled_back
from mahavishnu.integrations.multi_region.errors import (
    InvalidInputError,
    MultiRegionError,
    RefusedError,
    StaleRevisionError,
    UnavailableError,
    nearest_hint,
)
from mahavishnu.integrations.multi_region.ports.executor import Executor

from .declared import Declared
from .elections import hold_election
from .live import Deployment, summary
from .manager import RegionManager
from .rollouts import Rollouts
from .steering import Steering

__all__ = ["Deployment", "DeploymentOrchestrator", "summary"]

NAMING_TRIES = 20
"""How often a proposal that lost its name to another process is given a new one."""

log = structlog.get_logger(__name__)


class DeploymentOrchestrator:
    """Deploys services to regions and keeps each deployment going, across restarts.

    ``executor``: puts a version into one region; without it a deployment only steers traffic. ``interval_s``: how often
    every deployment is looked at. ``steering``: the edges that are to acknowledge each shift of traffic.
    """

    def __init__(
        self,
        region_manager: RegionManager,
        *,
        executor: Executor | None = None,
        interval_s: float = 0.25,
        steering: Steering | None = None,
    ) -> None:
        self.region_manager = region_manager
        self.rollouts = Rollouts(region_manager, executor, interval_s, steering)
        self._declared = Declared(region_manager, self.rollouts)
        self.rollouts.before_turn = self._declared.follow
        self._executor = executor
        self._clock = region_manager.clock
        self._numbers: dict[str, int] = {}

    async def initialize(self) -> None:
        """Take up every deployment that the store holds, where it was, and what is declared. Safe to call twice."""
        await self.adopt_declared()
        self.rollouts.start()

    async def close(self) -> None:
        """Stop; what is under way goes on after the next ``initialize``."""
        await self.rollouts.close()

    # --- what the spec names ------------------------------------------------------------------

    async def deploy_active_active(
        self,
        regions: Sequence[str],
        replication_strategy: ReplicationStrategy | str = ReplicationStrategy.FULL,
        failover_strategy: FailoverMode | str = FailoverMode.AUTOMATIC,
        *,
        service: str | None = None,
        waves: Waves | None = None,
        on_failure: OnFailure | str = OnFailure.ROLLBACK,
        by: str = "library",
    ) -> Deployment:
        """All ``regions`` serve at once. ``service`` (default: the deployment's id) is what requests name.

        ``replication_strategy`` is for the record: data is placed by DataLocalityOptimizer. Raises UnknownRegionError,
        InvalidInputError; then nothing was changed.
        """
        names = check_regions(regions, "regions", self.region_manager.regions)
        view = self._proposal(DeploymentType.ACTIVE_ACTIVE, names, service, replication_strategy, failover_strategy)
        groups = (Group("active", names, 0.0),)
        return await self._begin(replace(view, groups=groups, failback=FailbackMode.AUTO), waves, on_failure, by)

    async def deploy_active_passive(
        self,
        primary: str,
        backups: Sequence[str],
        replication_strategy: ReplicationStrategy | str = ReplicationStrategy.FULL,
        failover_strategy: FailoverMode | str = FailoverMode.AUTOMATIC,
        *,
        service: str | None = None,
        failback: FailbackMode | str = FailbackMode.MANUAL,
        failback_after: float = 60,
        waves: Waves | None = None,
        on_failure: OnFailure | str = OnFailure.ROLLBACK,
        by: str = "library",
    ) -> Deployment:
        """``primary`` serves; ``backups`` stand by and take over in their order. Failback is manual by default (L17).

        ``failover_strategy="manual"`` leaves a lost primary only when a person fails it over or drains it.
        ``failback="auto"`` hands back to a primary that is healthy again, ``failback_after`` seconds after the takeover
        at the earliest. Raises UnknownRegionError, InvalidInputError; then nothing was changed.
        """
        heirs = check_regions(backups, "backups", self.region_manager.regions)
        names = check_regions([primary, *heirs], "primary", self.region_manager.regions)
        gates = Gates(failback_after_s=failback_after)
        check_gates(gates)
        view = self._proposal(DeploymentType.ACTIVE_PASSIVE, names, service, replication_strategy, failover_strategy)
        mode = parse_enum(FailbackMode, failback, "failback")
        groups = (Group("active", (primary,), 0.0),)
        view = replace(view, groups=groups, standby=heirs, primary=primary, failback=mode, gates=gates)
        return await self._begin(view, waves, on_failure, by)

    async def deploy_blue_green(
        self,
        blue_regions: Sequence[str],
        green_regions: Sequence[str],
        switch_after: float = 60,
        *,
        steps: Sequence[float] = (100,),
        step_after: float = 30,
        analyse: bool | None = None,
        gates: Gates | None = None,
        rollback_window: float = 600,
        service: str | None = None,
        waves: Waves | None = None,
        on_failure: OnFailure | str = OnFailure.ROLLBACK,
        by: str = "library",
    ) -> Deployment:
        """Traffic moves from blue to green once green has been warm for ``switch_after`` seconds and may take it.

        ``steps``: green's share in percent, rising to 100; with more than one, each waits ``step_after`` seconds and is
        judged by what real requests report (``analyse`` forces or forbids that; ``gates`` has the limits). Blue stays
        warm for ``rollback_window`` seconds. Raises UnknownRegionError, InvalidInputError; then nothing was changed.
        """
        blue = check_regions(blue_regions, "blue_regions", self.region_manager.regions)
        green = check_regions(green_regions, "green_regions", self.region_manager.regions)
        both = sorted(set(blue) & set(green))
        if both:
            raise InvalidInputError("green_regions", both[0], "regions that are not blue too")
        shares = check_steps(steps)
        wanted = replace(
            gates or Gates(),
            bake_s=switch_after,
            step_bake_s=step_after if len(shares) > 1 else 0.0,
            steps=shares,
            analyse=len(shares) > 1 if analyse is None else analyse,
            rollback_window_s=rollback_window,
        )
        check_gates(wanted)
        groups = (Group("blue", blue, 100.0), Group("green", green, 0.0))
        view = self._proposal(DeploymentType.BLUE_GREEN, (*blue, *green), service)
        view = replace(view, groups=groups, previous=groups, gates=wanted)
        return await self._begin(view, waves, on_failure, by)

    async def elect_leader(self, regions: Sequence[str], *, election: str = "default") -> Leader:
        """The leader among ``regions``: by health, then utilisation, then a draw; its ``term`` only ever grows.

        Raises UnknownRegionError, InvalidInputError; NoEligibleRegionError when no candidate is in service.
        """
        names = check_regions(regions, "regions", self.region_manager.regions)
        return await hold_election(self.region_manager, names, election)

    # --- beyond the spec ----------------------------------------------------------------------

    async def adopt_declared(self) -> None:
        """Make what services declare their plans of record at once, instead of in the next turn.

        A declaration is taken up once; after that the service's newer deployments stand until it changes.
        """
        await self._declared.adopt()

    def list_deployments(self) -> list[Deployment]:
        """Every deployment, oldest first."""
        views = sorted(self.region_manager.registry.deployments.values(), key=lambda v: (v.created_at, v.deployment_id))
        return [Deployment(self, view.deployment_id) for view in views]

    def get_deployment(self, deployment_id: str) -> Deployment:
        """One deployment. Raises InvalidInputError naming the nearest."""
        known = self.region_manager.registry.deployments
        if deployment_id not in known:
            raise InvalidInputError("deployment_id", deployment_id, nearest_hint(deployment_id, list(known)))
        return Deployment(self, deployment_id)

    async def rollback(self, deployment_id: str, *, by: str = "library", reason: str = "") -> Deployment:
        """Put traffic back where it was before the deployment; needs nothing from any region.

        Raises InvalidInputError for an unknown id; RefusedError when it is over, or there is nothing to go back to.
        """
        deployment = self.get_deployment(deployment_id)
        why = reason or f"by {by}"

        def decide(view: DeploymentView) -> DeploymentView:
            _raise_if(rollback_denial(view, self.rollouts.seen(view), self.rollouts.record_of(view)))
            return rolled_back(view, self._clock.now(), why)

        await self.rollouts.change(deployment_id, decide, by)
        await self._drive(deployment_id)
        return deployment

    async def fail_back(self, deployment_id: str, *, by: str = "library", reason: str = "") -> Deployment:
        """Hand an active-passive service back to its primary.

        Raises InvalidInputError for an unknown id; RefusedError when the primary cannot take it.
        """
        deployment = self.get_deployment(deployment_id)
        why = reason or f"failback by {by}"

        def decide(view: DeploymentView) -> DeploymentView:
            _raise_if(failback_denial(view, self.rollouts.seen(view), self.rollouts.record_of(view)))
            assert view.primary is not None  # it has one, or it was denied
            return hand_over(view, view.primary, self._clock.now(), why)

        await self.rollouts.change(deployment_id, decide, by)
        await self._drive(deployment_id)
        return deployment

    def _proposal(
        self,
        strategy: DeploymentType,
        regions: tuple[str, ...],
        service: str | None,
        replication_strategy: ReplicationStrategy | str = ReplicationStrategy.FULL,
        failover_strategy: FailoverMode | str = FailoverMode.AUTOMATIC,
    ) -> DeploymentView:
        replication, failover = parse_strategies(strategy, replication_strategy, failover_strategy)
        known = self.region_manager.registry
        check_service(service, {*known.services, *known.deployments.by_service})
        deployment_id, number = self._new_id(strategy, service)
        now = self._clock.now()
        return DeploymentView(
            deployment_id=deployment_id,
            service=service or deployment_id,
            strategy=strategy,
            regions=regions,
            state=State.PREPARING,
            groups=(),
            created_at=now,
            entered_at=now,
            due_at=now,
            replication_strategy=replication,
            failover_strategy=failover,
            number=number,
        )

    def _new_id(self, strategy: DeploymentType, service: str | None) -> tuple[str, int]:
        """An id that is free, and the place among the deployments of the service."""
        table = self.region_manager.registry.deployments
        stem = service or strategy.value
        number = self._numbers.get(stem, 0) + 1
        if service is not None:
            newest = table.newest(service)
            number = max(number, 1 if newest is None else newest.number + 1)
        while f"{stem}-{number}" in table:
            number += 1
        self._numbers[stem] = number
        return f"{stem}-{number}", number if service is not None else 1

    async def _begin(
        self, view: DeploymentView, waves: Waves | None, on_failure: OnFailure | str, by: str
    ) -> Deployment:
        """Store the proposal, then let it make every transition that is due at once."""
        plan = check_waves(waves, view.green or view.regions, self._executor is not None)
        failure = parse_enum(OnFailure, on_failure, "on_failure")
        runs = {region: Run(RunState.PENDING, view.created_at) for wave in plan.groups for region in wave}
        begun = Step(view.created_at, State.PREPARING, f"begun by {by}")
        await self._declared.follow()  # what was declared before this was asked for is the older one
        if view.deployment_id in self.region_manager.registry.deployments:
            view = self._renamed(view)
        view = await self._stored(replace(view, waves=plan, runs=runs, on_failure=failure, history=(begun,)), by)
        self.rollouts.start()
        await self._drive(view.deployment_id)
        return Deployment(self, view.deployment_id)

    async def _stored(self, view: DeploymentView, by: str) -> DeploymentView:
        """The proposal as it was stored: under another id when somebody took its own meanwhile."""
        for _ in range(NAMING_TRIES):
            try:
                await self.rollouts.write(None, view, by)
                return view
            except StaleRevisionError:
                await self.rollouts.reread(view)
                view = self._renamed(view)
        raise UnavailableError(f"{view.service}: others were first {NAMING_TRIES} times; nothing was deployed")

    def _renamed(self, view: DeploymentView) -> DeploymentView:
        own = view.service == view.deployment_id
        name, number = self._new_id(view.strategy, None if own else view.service)
        return replace(view, deployment_id=name, service=name if own else view.service, number=number)

    async def _drive(self, deployment_id: str) -> None:
        """Go on at once with what is stored already; what fails now, the loop tries again."""
        try:
            await self.rollouts.drive(deployment_id)
        except MultiRegionError as err:
            log.warning("deployment not advanced", deployment=deployment_id, error=str(err))


def _raise_if(denied: Denial | None) -> None:
    if denied is not None:
        raise RefusedError(denied.rule, denied.text, denied.reasons)
