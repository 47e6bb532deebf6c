"""Makes what services declare of where they run their plans of record, and takes that back when it is not declared.

A declaration is taken up once: what a command does to the service afterwards stands until the declaration changes.
Nothing is run in regions for it; it says where the service is, and only steers. Blue-green is no lasting state, so it
is begun by a command alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import structlog

from mahavishnu.integrations.multi_region.core.deployment import (
    DEPLOYMENTS,
    OF_RECORD,
    DeploymentView,
    Group,
    State,
    Step,
    deployment_document,
)
from mahavishnu.integrations.multi_region.core.events import Event, EventKind
from mahavishnu.integrations.multi_region.core.model import DeploymentSpec, DeploymentType, Service
from mahavishnu.integrations.multi_region.core.rollout import rolled_back
from mahavishnu.integrations.multi_region.errors import MultiRegionError, StaleRevisionError

from .manager import RegionManager
from .rollouts import Rollouts

BY = "declaration"
"""Whom the log names."""

_OVER = (State.COMPLETED, State.HALTED, State.ROLLING_BACK, State.ROLLED_BACK)

log = structlog.get_logger(__name__)


class Declared:
    """Compares what is declared with what was taken up, whenever one of them changed."""

    def __init__(self, manager: RegionManager, rollouts: Rollouts) -> None:
        self._manager = manager
        self._rollouts = rollouts
        self._lock = asyncio.Lock()
        self._seen: Mapping[str, Service] | None = None
        self._done: dict[str, Service] = {}

    async def follow(self) -> None:
        """Take up what is new, unless nothing is; what fails now is tried again in the next turn."""
        if self._manager.snapshot().services is not self._seen:
            await self.adopt()

    async def adopt(self) -> None:
        """Take up each declaration that is new or changed, and take back those that are gone."""
        async with self._lock:
            services = self._manager.snapshot().services
            results = [await self._attempt(name, services.get(name)) for name in self._names(services)]
            self._seen = services if all(results) else None

    def _names(self, services: Mapping[str, Service]) -> list[str]:
        """The services to look at: those whose declaration is another than when it was looked at last."""
        adopted = (view.service for view in self._manager.registry.deployments.values() if view.declared)
        names = dict.fromkeys([*services, *(adopted if self._seen is None else self._done)])
        return [name for name in names if name not in services or services[name] is not self._done.get(name)]

    async def _attempt(self, name: str, service: Service | None) -> bool:
        """Whether the service needs no further look until its declaration changes."""
        try:
            await self._settle(name, service)
        except StaleRevisionError as err:
            await self._know(name, err)
            return False
        except MultiRegionError as err:
            log.warning("declared deployment not taken up", service=name, error=str(err))
            return False
        if service is None:
            self._done.pop(name, None)
        else:
            self._done[name] = service
        return True

    async def _know(self, name: str, err: StaleRevisionError) -> None:
        """Another process was first: know what it wrote."""
        log.info("declared deployment taken up by somebody else", service=name, key=err.key)
        numbers = self._manager.registry.deployments.by_service.get(name, {})
        keys = {OF_RECORD + name, DEPLOYMENTS + self._next(name)[0], *(DEPLOYMENTS + i for i in numbers.values())}
        try:
            await self._manager.reread(keys)
        except MultiRegionError as failed:
            log.warning("not read again", service=name, error=str(failed))

    async def _settle(self, name: str, service: Service | None) -> None:
        spec = service.deployment if service is not None else None
        taken_up = self._taken_up(name)
        if service is None or spec is None or spec.type is DeploymentType.BLUE_GREEN:
            if taken_up:
                await self._take_back(name, taken_up)
            return
        newest = taken_up[-1] if taken_up else None
        if newest is None or (newest.strategy, newest.regions) != (spec.type, spec.regions):
            await self._begin(service, spec)
        elif newest.failback is not service.failback_mode:
            mode = service.failback_mode
            await self._rollouts.change(newest.deployment_id, lambda view: replace(view, failback=mode), BY)

    def _taken_up(self, name: str) -> list[DeploymentView]:
        """The deployments that were made from declarations of the service and not taken back, oldest first."""
        table = self._manager.registry.deployments
        views = (table[name] for _, name in sorted(table.by_service.get(name, {}).items()))
        return [view for view in views if view.declared]

    async def _begin(self, service: Service, spec: DeploymentSpec) -> None:
        view = self._proposal(service, spec)
        await self._rollouts.write(None, view, BY)
        await self._rollouts.drive(view.deployment_id)

    def _proposal(self, service: Service, spec: DeploymentSpec) -> DeploymentView:
        deployment_id, number = self._next(service.name)
        now = self._manager.clock.now()
        passive = spec.type is DeploymentType.ACTIVE_PASSIVE
        return DeploymentView(
            deployment_id=deployment_id,
            service=service.name,
            strategy=spec.type,
            regions=spec.regions,
            state=State.PREPARING,
            groups=(Group("active", spec.regions[:1] if passive else spec.regions, 0.0),),
            created_at=now,
            entered_at=now,
            due_at=now,
            standby=spec.regions[1:] if passive else (),
            primary=spec.regions[0] if passive else None,
            failback=service.failback_mode,
            number=number,
            declared=True,
            history=(Step(now, State.PREPARING, "declared"),),
        )

    def _next(self, service: str) -> tuple[str, int]:
        """The id and the number of the service's next deployment: two processes that are to begin it choose alike."""
        table = self._manager.registry.deployments
        newest = table.newest(service)
        number = 1 if newest is None else newest.number + 1
        while f"{service}-{number}" in table:
            number += 1
        return f"{service}-{number}", number

    async def _take_back(self, name: str, taken_up: list[DeploymentView]) -> None:
        """End what was made from declarations, in one transaction; a plan that a command made stays."""
        now = self._manager.clock.now()
        ended = [_ended(view, now) for view in taken_up]
        documents: dict[str, Any] = {DEPLOYMENTS + view.deployment_id: deployment_document(view) for view in ended}
        if self._manager.registry.of_record.get(name) in {view.deployment_id for view in ended}:
            documents[OF_RECORD + name] = None
        events = [
            Event(
                EventKind.DEPLOYMENT_MOVED,
                now,
                after.deployment_id,
                BY,
                "not declared any more",
                {"state": before.state.value, "declared": True},
                {"state": after.state.value, "declared": False},
            )
            for before, after in zip(taken_up, ended, strict=True)
        ]
        await self._manager.write_documents(documents, events)
        for view in ended:
            await self._rollouts.drive(view.deployment_id)


def _ended(view: DeploymentView, now: float) -> DeploymentView:
    gone = replace(view, declared=False)
    return gone if view.state in _OVER else rolled_back(gone, now, "not declared any more")
