"""The deployments that are known, with what the loop over them asks often: who may still move, who is the newest."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from mahavishnu.integrations.multi_region.core.deployment import DeploymentView, State
from mahavishnu.integrations.multi_region.core.model import DeploymentType

_AT_REST = frozenset({State.COMPLETED, State.HALTED, State.ROLLED_BACK})


class DeploymentTable(dict[str, DeploymentView]):
    """A dict of deployments by id that keeps its indexes, and wakes who waits for one of them to change.

    ``records``: the id of each service's plan of record, changed by ``point``; ``plans``: those plans; ``serving``: how
    many of them have each region serve.
    """

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[str, str] = {}
        self.plans: dict[str, DeploymentView] = {}
        self.serving: Counter[str] = Counter()
        self.movable: dict[str, None] = {}
        self.by_service: dict[str, dict[int, str]] = {}
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}

    def __setitem__(self, name: str, view: DeploymentView) -> None:
        super().__setitem__(name, view)
        self.by_service.setdefault(view.service, {})[view.number] = name
        if self.records.get(view.service) == name:
            self._plan(view.service)
        if at_rest(view):
            self.movable.pop(name, None)
        else:
            self.movable[name] = None
        for waiter in self._waiting.pop(name, ()):
            if not waiter.done():
                waiter.set_result(None)

    def pop(self, name: str, *default: Any) -> Any:
        view = super().pop(name, *default)
        if isinstance(view, DeploymentView):
            self.movable.pop(name, None)
            self.by_service[view.service].pop(view.number, None)
            self._plan(view.service)
        return view

    def point(self, service: str, name: str | None) -> None:
        """Make a deployment the plan of record of a service; None: it has none."""
        if name is None:
            self.records.pop(service, None)
        else:
            self.records[service] = name
        self._plan(service)

    def _plan(self, service: str) -> None:
        """Keep ``plans`` and ``serving`` equal to what the tables say of a service."""
        before, after = self.plans.get(service), self.get(self.records.get(service, ""))
        if before is not None:
            self.serving.subtract(before.active)
        if after is not None:
            self.serving.update(after.active)
            self.plans[service] = after
        else:
            self.plans.pop(service, None)

    def newest(self, service: str) -> DeploymentView | None:
        """The deployment of a service that was asked for last."""
        numbers = self.by_service.get(service)
        return self[numbers[max(numbers)]] if numbers else None

    async def changed(self, name: str) -> None:
        """Wait until a deployment is written again, by whomever."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(name, []).append(waiter)
        await waiter


def at_rest(view: DeploymentView) -> bool:
    """Whether nothing but a person moves this deployment any more."""
    active_active = view.strategy is DeploymentType.ACTIVE_ACTIVE and view.state is State.SERVING
    return view.state in _AT_REST or active_active
