"""A region that is well again: which services stay away until a person says so (L17), and what load returns to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .deployment import DeploymentView
from .heirs import served_needs
from .model import DeploymentType, FailbackMode, Fleet, Service


@dataclass(frozen=True, slots=True)
class RecoveryEvent:
    """A region that may serve again, ``at`` seconds since the epoch.

    ``waiting``: services whose failback is manual and that stay away.
    """

    region_id: str
    cause: str
    reason: str
    at: float
    waiting: tuple[str, ...] = ()


def waiting_services(fleet: Fleet, region_id: str) -> tuple[str, ...]:
    """The services of a region that do not return to it by themselves when it is well again (L17), sorted.

    Where a plan of record hands over between its regions, when it returns is for the plan to say.
    """
    needs = served_needs(fleet, fleet.regions[region_id])
    declared = [(n.service, n.deployment) for n in needs if n.service is not None]
    return tuple(sorted(s.name for s, plan in declared if _failback(s, plan) is not FailbackMode.AUTO))


def _failback(service: Service, plan: DeploymentView | None) -> FailbackMode:
    """How a service returns to a region that failed and is well again."""
    if plan is None:
        return service.failback_mode
    return plan.failback if plan.strategy is DeploymentType.ACTIVE_ACTIVE else FailbackMode.AUTO


def load_returned(region_id: str, moved: Mapping[str, float], loads: Mapping[str, float]) -> dict[str, float]:
    """The loads that change when a region gets back what was ``moved`` off it, in requests/s, by region id.

    Nobody gives back more than it carries now; a region that is not in ``loads`` gives nothing, and gets nothing.
    """
    if region_id not in loads:
        return {}  # unregistered while it was given back
    given = {name: min(load, loads[name]) for name, load in moved.items() if name in loads}
    after = {name: loads[name] - load for name, load in given.items()}
    return {**after, region_id: after.get(region_id, loads[region_id]) + sum(given.values())}
