"""Deployment: what a caller holds of a deployment. Reads are of this moment, and acts go to its orchestrator."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Protocol

from mahavishnu.integrations.multi_region.core.deployment import DeploymentView, State, Step
from mahavishnu.integrations.multi_region.core.model import DeploymentType

from .manager import RegionManager
from .rollouts import Rollouts


class Orchestrator(Protocol):
    """What a deployment needs of the one that began it."""

    region_manager: RegionManager
    rollouts: Rollouts

    async def rollback(self, deployment_id: str, *, by: str, reason: str) -> Deployment:
        """Put traffic back where it was before the deployment."""

    async def fail_back(self, deployment_id: str, *, by: str, reason: str) -> Deployment:
        """Hand an active-passive service back to its primary."""


class Deployment:
    """A live deployment: reads are of this moment; it can be awaited and rolled back."""

    def __init__(self, orchestrator: Orchestrator, deployment_id: str) -> None:
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
