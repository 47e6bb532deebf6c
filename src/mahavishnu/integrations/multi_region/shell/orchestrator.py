"""DeploymentOrchestrator: begins deployments, elects leaders, rolls back; the loop in ``rollouts.py`` does the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

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
from mahavishnu.integrations.multi_region.core.election import ELECTIONS, Leader, elect
from mahavishnu.integrations.multi_region.core.events import Event, EventKind
from mahavishnu.integrations.multi_region.core.model import DeploymentType, FailbackMode, Phase, parse_enum
from mahavishnu.integrations.multi_region.core.proposals import (
    check_gates,
    check_regions,
    check_service,
    check_steps,
    check_strategies,
    check_waves,
)
from mahavishnu.integrations.multi_region.core.rollout import (
    Signal,
    can,
    hand_over,
    handover_obstacle,
    return_obstacle,
    rolled_back,
)
from mahavishnu.integrations.multi_region.core.safety import in_service
from mahavishnu.integrations.multi_region.errors import (
    InvalidInputError,
    MultiRegionError,
    NoEligibleRegionError,
    RefusedError,
    StaleRevisionError,
    UnavailableError,
    nearest_hint,
)
from mahavishnu.integrations.multi_region.ports.executor import Executor

from .manager import RegionManager
from .rollouts import Rollouts

ELECTION_TRIES = 20
"""How often an election that lost the race for its term, or a proposal that lost its name, is tried again."""

log = structlog.get_logger(__name__)


class Deployment:
    """A live deployment: reads are of this moment; it can be awaited and rolled back."""

    def __init__(self, orchestrator: DeploymentOrchestrator, deployment_id: str) -> None:
        self._orchestrator = orchestrator
        self.deployment_id = deployment_id

    def __repr__(self) -> str:
        return f"<Deployment {self.deployment_id}: {self.strategy.value}, {self.state.value}>"

    @property
    def view(self) -> DeploymentView:
        """The deployment as it stands, frozen."""
        return self._orchestrator.region_manager.registry.deployments[self.deployment_id]

    @property
    def service(self) -> str:
        """The service that it steers."""
        return self.view.service

    @property
    def strategy(self) -> DeploymentType:
        """Which of the strategies it follows."""
        return self.view.strategy

    @property
    def regions(self) -> list[str]:
        """Its regions, in the order they were given."""
        return list(self.view.regions)

    @property
    def state(self) -> State:
        """Where it stands."""
        return self.view.state

    @property
    def held(self) -> str | None:
        """Why it does not go on, None when nothing is in the way."""
        return self.view.held

    @property
    def weights(self) -> dict[str, float]:
        """Each region's share of the traffic, 0..1."""
        return self.view.weights

    @property
    def roles(self) -> dict[str, str]:
        """Each region's role: ``active``, ``standby``, ``blue``, ``green``, or ``out``: no part in the traffic."""
        return self.view.roles()

    @property
    def term(self) -> int:
        """Fencing term: it grows with each change of who takes traffic."""
        return self.view.term

    @property
    def history(self) -> tuple[Step, ...]:
        """The transitions so far, oldest first: when (seconds since the epoch), to which state, and why."""
        return self.view.history

    @property
    def of_record(self) -> bool:
        """Whether it is the plan of record of its service."""
        return self._orchestrator.region_manager.registry.of_record.get(self.service) == self.deployment_id

    async def settled(self, timeout_s: float | None = None) -> State:
        """Wait until traffic is where it is meant to be; the state then. Raises TimeoutError after ``timeout_s``."""
        async with asyncio.timeout(timeout_s):
            return (await self._orchestrator.rollouts.settled(self.deployment_id)).state

    async def rollback(self, *, by: str = "library", reason: str = "") -> None:
        """Put traffic back where it was; needs nothing from any region. Raises RefusedError when it cannot."""
        await self._orchestrator.rollback(self.deployment_id, by=by, reason=reason)

    async def fail_back(self, *, by: str = "library", reason: str = "") -> None:
        """Hand an active-passive service back to its primary. Raises RefusedError when that cannot take it."""
        await self._orchestrator.fail_back(self.deployment_id, by=by, reason=reason)


class DeploymentOrchestrator:
    """Deploys services to regions and keeps each deployment going, across restarts.

    ``executor``: puts a version into one region; without it a deployment only steers traffic. ``interval_s``: how often
    every deployment is looked at.
    """

    def __init__(
        self, region_manager: RegionManager, *, executor: Executor | None = None, interval_s: float = 0.25
    ) -> None:
        self.region_manager = region_manager
        self.rollouts = Rollouts(region_manager, executor, interval_s)
        self._executor = executor
        self._clock = region_manager.clock
        self._numbers: dict[str, int] = {}

    async def initialize(self) -> None:
        """Take up every deployment that the store holds, where it was. Safe to call twice."""
        self.rollouts.start()

    async def close(self) -> None:
        """Stop; what is under way goes on after the next ``initialize``."""
        await self.rollouts.close()

    # --- what the spec names ------------------------------------------------------------------

    async def deploy_active_active(
        self,
        regions: Sequence[str],
        replication_strategy: str = "full",
        failover_strategy: str = "automatic",
        *,
        service: str | None = None,
        waves: Waves | None = None,
        on_failure: OnFailure | str = OnFailure.ROLLBACK,
        by: str = "library",
    ) -> Deployment:
        """All ``regions`` serve at once. ``service`` (default: the deployment's id) is what requests name.

        Raises UnknownRegionError, InvalidInputError; then nothing was changed.
        """
        names = check_regions(regions, "regions", self.region_manager.regions)
        view = self._proposal(DeploymentType.ACTIVE_ACTIVE, names, service, replication_strategy, failover_strategy)
        groups = (Group("active", names, 0.0),)
        return await self._begin(replace(view, groups=groups, failback=FailbackMode.AUTO), waves, on_failure, by)

    async def deploy_active_passive(
        self,
        primary: str,
        backups: Sequence[str],
        replication_strategy: str = "full",
        failover_strategy: str = "automatic",
        *,
        service: str | None = None,
        failback: FailbackMode | str = FailbackMode.MANUAL,
        failback_after: float = 60,
        waves: Waves | None = None,
        on_failure: OnFailure | str = OnFailure.ROLLBACK,
        by: str = "library",
    ) -> Deployment:
        """``primary`` serves; ``backups`` stand by and take over in their order. Failback is manual by default (L17).

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
        view = self._proposal(DeploymentType.BLUE_GREEN, (*blue, *green), service, "full", "automatic")
        view = replace(view, groups=groups, previous=groups, gates=wanted)
        return await self._begin(view, waves, on_failure, by)

    async def elect_leader(self, regions: Sequence[str], *, election: str = "default") -> Leader:
        """The leader among ``regions``: by health, then utilisation, then a draw; its ``term`` only ever grows.

        Raises UnknownRegionError, InvalidInputError; NoEligibleRegionError when no candidate is in service.
        """
        names = check_regions(regions, "regions", self.region_manager.regions)
        key = ELECTIONS + election
        for _ in range(ELECTION_TRIES):
            fleet = self.region_manager.snapshot()
            able = [fleet.regions[r] for r in names if in_service(fleet.regions[r]) and _known(fleet.regions[r].phase)]
            if not able:
                reasons = {r: f"is {fleet.regions[r].phase.value}, {fleet.regions[r].admin.value}" for r in names}
                raise NoEligibleRegionError("no candidate can lead", reasons, policy_bound=False)
            before = self.region_manager.registry.documents.get(key)
            leader = elect(able, 1 if before is None else before["term"] + 1)
            document = {"leader": str(leader), "term": leader.term}
            event = Event(
                EventKind.LEADER_ELECTED,
                self._clock.now(),
                election,
                reason=leader.reason,
                before=before,
                after=document,
            )
            try:
                await self.region_manager.write_documents({key: document}, [event])
            except StaleRevisionError:
                await self.region_manager.reread([key])
                continue
            return leader
        raise UnavailableError(f"election {election}: lost {ELECTION_TRIES} races for a term")

    # --- beyond the spec ----------------------------------------------------------------------

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

        Raises RefusedError when it is over, or there is nothing to go back to.
        """
        deployment = self.get_deployment(deployment_id)
        why = reason or f"by {by}"

        def decide(view: DeploymentView) -> DeploymentView:
            self._check_reversible(view)
            return rolled_back(view, self._clock.now(), why)

        await self.rollouts.change(deployment_id, decide, by)
        await self._drive(deployment_id)
        return deployment

    async def fail_back(self, deployment_id: str, *, by: str = "library", reason: str = "") -> Deployment:
        """Hand an active-passive service back to its primary. Raises RefusedError when the primary cannot take it."""
        deployment = self.get_deployment(deployment_id)
        why = reason or f"failback by {by}"

        def decide(view: DeploymentView) -> DeploymentView:
            return hand_over(view, self._check_may_return(view), self._clock.now(), why)

        await self.rollouts.change(deployment_id, decide, by)
        await self._drive(deployment_id)
        return deployment

    def _check_reversible(self, view: DeploymentView) -> None:
        """Refuse a rollback that leads nowhere."""
        name, seen = view.deployment_id, self.rollouts.seen(view)
        if not can(view, Signal.ROLLBACK):
            raise RefusedError("not_reversible", f"{name} is {view.state.value}: it cannot be rolled back")
        if self.rollouts.lost_record(view):
            raise RefusedError("not_of_record", f"another deployment serves {view.service} now, not {name}")
        if seen.replaced_by is not None:
            raise RefusedError("replaced", f"{seen.replaced_by} came after {name}: roll that one back first")
        declared = view.service in self.region_manager.services
        if view.step >= 0 and not (view.blue or seen.returns_to or declared):
            raise RefusedError("nothing_before", f"nothing served {view.service} before {name}")
        nobody = None if declared and seen.returns_to is None else return_obstacle(view, seen)
        if nobody is not None:
            raise RefusedError("no_eligible_region", f"nobody could serve {view.service} after a rollback: {nobody}")

    def _check_may_return(self, view: DeploymentView) -> str:
        """The primary that an active-passive service may be handed back to."""
        if view.strategy is not DeploymentType.ACTIVE_PASSIVE or view.state is not State.SERVING:
            text = f"{view.deployment_id} is {view.strategy.value} and {view.state.value}"
            raise RefusedError("not_active_passive", f"{text}: only an active-passive that serves can fail back")
        if self.rollouts.lost_record(view):
            raise RefusedError("not_of_record", f"another deployment serves {view.service} now")
        home = view.primary
        if home is None or home in view.active:
            raise RefusedError("at_home", f"{home} serves already")
        why = handover_obstacle(view, home, self.rollouts.seen(view))
        if why is not None:
            raise RefusedError("not_ready", f"{home} {why}: it cannot take {view.service} back", {home: why})
        return home

    def _proposal(
        self,
        strategy: DeploymentType,
        regions: tuple[str, ...],
        service: str | None,
        replication_strategy: str,
        failover_strategy: str,
    ) -> DeploymentView:
        check_strategies(replication_strategy, failover_strategy)
        check_service(service)
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
            replication_strategy=replication_strategy,
            failover_strategy=failover_strategy,
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
        view = await self._stored(replace(view, waves=plan, runs=runs, on_failure=failure, history=(begun,)), by)
        self.rollouts.start()
        await self._drive(view.deployment_id)
        return Deployment(self, view.deployment_id)

    async def _stored(self, view: DeploymentView, by: str) -> DeploymentView:
        """The proposal as it was stored: under another id when somebody took its own meanwhile."""
        for _ in range(ELECTION_TRIES):
            try:
                await self.rollouts.write(None, view, by)
                return view
            except StaleRevisionError:
                await self.rollouts.reread(view)
                view = self._renamed(view)
        raise UnavailableError(f"{view.service}: others were first {ELECTION_TRIES} times; nothing was deployed")

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


def _known(phase: Phase) -> bool:
    return phase in (Phase.HEALTHY, Phase.DEGRADED, Phase.UNKNOWN)


def summary(deployments: Iterable[Deployment]) -> list[dict[str, Any]]:
    """Deployments as plain data, for people and programs that list them."""
    return [
        {
            "deployment_id": d.deployment_id,
            "service": d.service,
            "strategy": d.strategy.value,
            "state": d.state.value,
            "held": d.held,
            "weights": d.weights,
            "roles": d.roles,
            "term": d.term,
            "of_record": d.of_record,
        }
        for d in deployments
    ]
