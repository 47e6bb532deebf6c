"""``/v1/deployments`` and ``/v1/elections``: begin deployments, look at them, take them back, elect leaders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Body, Path, Query
from pydantic import Field

from mahavishnu.integrations.multi_region.core.deployment import DeploymentView, OnFailure, RunState, State
from mahavishnu.integrations.multi_region.core.kinds import (
    DeploymentType,
    FailbackMode,
    FailoverMode,
    ReplicationStrategy,
)
from mahavishnu.integrations.multi_region.errors import InvalidInputError
from mahavishnu.integrations.multi_region.shell.orchestrator import Deployment
from mahavishnu.integrations.multi_region.surfaces.world import kinds
from mahavishnu.integrations.multi_region.system import MultiRegionSystem

from .action_bodies import WhyBody
from .auth import Role
from .deployment_bodies import ActiveActiveBody, ActivePassiveBody, BlueGreenBody, ElectionBody
from .guarding import Actor
from .problems import not_found
from .routes import WRITES, Doors
from .schemas import Answer

_Why = Annotated[WhyBody | None, Body()]


class StepAnswer(Answer):
    """One line of a deployment's history."""

    at: float = Field(description="Seconds since the epoch.")
    state: State
    why: str


class GroupAnswer(Answer):
    """Regions that take traffic together."""

    name: str
    regions: list[str]
    weight: float = Field(description="Part of the traffic, relative to the other groups.")


class RunAnswer(Answer):
    """The work in one region."""

    state: RunState
    at: float = Field(description="When it entered that state, in seconds since the epoch.")
    attempt: int
    detail: str = Field(description="What was said of it.")


class RolloutAnswer(Answer):
    """A deployment as it stands. Times in seconds since the epoch."""

    deployment_id: str
    service: str = Field(description="What requests name.")
    strategy: DeploymentType
    state: State
    held: str | None = Field(description="Why it does not go on; null when nothing is in the way.")
    settled: bool = Field(description="Traffic is where it is meant to be, until somebody or something changes that.")
    of_record: bool = Field(description="Its service's traffic goes by it now.")
    declared: bool = Field(description="It was made from what the service declares.")
    regions: list[str]
    weights: dict[str, float] = Field(description="Each region's share of the traffic, 0 to 1.")
    roles: dict[str, str] = Field(description="active, standby, blue, green, or out: no part in the traffic.")
    groups: list[GroupAnswer]
    term: int = Field(description="Grows with each change of who takes traffic.")
    created_at: float
    entered_at: float = Field(description="When it entered its state.")
    due_at: float = Field(description="When its state may end at the earliest.")
    steps: list[float] = Field(description="Of blue-green: green's share in percent at each step.")
    step: int = Field(description="Which of them it is at, from 0; -1 before the first.")
    primary: str | None = Field(description="The preferred region of active-passive.")
    failback: FailbackMode
    failover_strategy: FailoverMode = Field(description="How a lost region is left; manual: by a person's word alone.")
    replication_strategy: ReplicationStrategy = Field(description="For the record: nothing goes by it.")
    on_failure: OnFailure
    supersedes: str | None = Field(description="The deployment that was of record before it.")
    runs: dict[str, RunAnswer] = Field(description="The work in regions, where the server has an executor.")
    undo: dict[str, RunAnswer] = Field(description="The work that takes it back.")
    history: list[StepAnswer] = Field(description="Its transitions, oldest first; the event log has them all.")


class LeaderAnswer(Answer):
    """Who leads."""

    election: str
    leader: str
    term: int = Field(description="Only ever grows: whoever shows a lower one leads no more.")
    reason: str


DeploymentId = Annotated[str, Path(description="The deployment's id.")]
ElectionName = Annotated[str, Path(pattern=kinds.ID_PATTERN, description="Which election.")]
OfService = Annotated[str | None, Query(max_length=200, description="Only those of this service.")]


class Deployments:
    """The endpoints; those that act need an operator."""

    def __init__(self, system: MultiRegionSystem) -> None:
        self._orchestrator = system.orchestrator

    def add_to(self, doors: Doors) -> None:
        """Add them to a router."""
        at, one = "/v1/deployments", "/v1/deployments/{deployment_id}"
        doors.add("GET", at, self.listed, Role.VIEWER, list[RolloutAnswer])
        doors.add("GET", one, self.shown, Role.VIEWER, RolloutAnswer)
        for kind, begin in (
            ("active-active", self.active_active),
            ("active-passive", self.active_passive),
            ("blue-green", self.blue_green),
        ):
            doors.add("POST", f"{at}/{kind}", begin, Role.OPERATOR, RolloutAnswer, status=201, problems=WRITES)
        doors.add("POST", f"{one}/rollback", self.roll_back, Role.OPERATOR, RolloutAnswer, problems=WRITES)
        doors.add("POST", f"{one}/failback", self.fail_back, Role.OPERATOR, RolloutAnswer, problems=WRITES)
        doors.add("POST", "/v1/elections/{name}", self.elect, Role.OPERATOR, LeaderAnswer, problems=WRITES)

    async def listed(self, service: OfService = None) -> list[Mapping[str, Any]]:
        """Every deployment, oldest first."""
        found = self._orchestrator.list_deployments()
        return [document_of(one) for one in found if service is None or one.service == service]

    async def shown(self, deployment_id: DeploymentId) -> Mapping[str, Any]:
        """One deployment as it stands."""
        return document_of(self._at(deployment_id))

    async def active_active(self, body: ActiveActiveBody, actor: Actor) -> Mapping[str, Any]:
        """All regions serve at once."""
        more = (body.replication_strategy, body.failover_strategy)
        return document_of(await self._orchestrator.deploy_active_active(body.regions, *more, **body.common(actor)))

    async def active_passive(self, body: ActivePassiveBody, actor: Actor) -> Mapping[str, Any]:
        """One region serves; the others stand by and take over in their order."""
        return document_of(
            await self._orchestrator.deploy_active_passive(
                body.primary,
                body.backups,
                body.replication_strategy,
                body.failover_strategy,
                failback=body.failback,
                failback_after=body.failback_after,
                **body.common(actor),
            )
        )

    async def blue_green(self, body: BlueGreenBody, actor: Actor) -> Mapping[str, Any]:
        """Traffic moves from blue to green, in steps if wanted, each judged by what real requests report.

        Answers at once; the deployment says how far it is and what holds it.
        """
        return document_of(await self._orchestrator.deploy_blue_green(**body.rollout(), **body.common(actor)))

    async def roll_back(self, deployment_id: DeploymentId, actor: Actor, body: _Why = None) -> Mapping[str, Any]:
        """Put traffic back where it was before the deployment; needs nothing from any region."""
        why = body or WhyBody()
        found = self._at(deployment_id)
        await found.rollback(by=why.actor(actor), reason=why.reason or "")
        return document_of(found)

    async def fail_back(self, deployment_id: DeploymentId, actor: Actor, body: _Why = None) -> Mapping[str, Any]:
        """Hand an active-passive service back to its primary."""
        why = body or WhyBody()
        found = self._at(deployment_id)
        await found.fail_back(by=why.actor(actor), reason=why.reason or "")
        return document_of(found)

    async def elect(self, name: ElectionName, body: ElectionBody) -> Mapping[str, Any]:
        """Elect a leader: by health, then utilisation, then a draw; 503 when no candidate is in service."""
        leader = await self._orchestrator.elect_leader(body.regions, election=name)
        return {"election": name, "leader": str(leader), "term": leader.term, "reason": leader.reason}

    def _at(self, deployment_id: str) -> Deployment:
        """The deployment that a path names. Raises a 404 problem naming the nearest."""
        try:
            return self._orchestrator.get_deployment(deployment_id)
        except InvalidInputError as err:
            raise not_found(err) from err


_SAME = (
    "deployment_id",
    "service",
    "strategy",
    "state",
    "held",
    "declared",
    "weights",
    "groups",
    "term",
    "created_at",
    "entered_at",
    "due_at",
    "step",
    "primary",
    "failback",
    "failover_strategy",
    "replication_strategy",
    "on_failure",
    "supersedes",
    "runs",
    "undo",
    "history",
)


def document_of(deployment: Deployment) -> dict[str, Any]:
    """A deployment as it is answered."""
    view: DeploymentView = deployment.view
    steps = view.gates.steps if view.strategy is DeploymentType.BLUE_GREEN else ()
    return {
        **{name: getattr(view, name) for name in _SAME},
        "settled": view.settled,
        "of_record": deployment.of_record,
        "regions": list(view.regions),
        "roles": view.roles(),
        "steps": list(steps),
    }
