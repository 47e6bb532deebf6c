"""What the tests of deployments share: fleets from a few words, deployments of each strategy, a run in time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from mahavishnu.integrations.multi_region.core.analysis import Sample
from mahavishnu.integrations.multi_region.core.deployment import DeploymentView, Gates, Group, State, Step
from mahavishnu.integrations.multi_region.core.model import (
    AdminState,
    CloudProvider,
    DeploymentType,
    Fleet,
    Phase,
    Point,
    RegionView,
)
from mahavishnu.integrations.multi_region.core.obstacles import Seen
from mahavishnu.integrations.multi_region.core.request import Needs
from mahavishnu.integrations.multi_region.core.rollout import advance

PHASE_SCORES = {Phase.HEALTHY: 95.0, Phase.DEGRADED: 50.0, Phase.UNKNOWN: 0.0, Phase.SATURATED: 60.0, Phase.DOWN: 0.0}


def region(region_id: str, **how: Any) -> RegionView:
    """A healthy, active region with a load of 20 of 100, except for what ``how`` says."""
    phase = how.get("phase", Phase.HEALTHY)
    plain = {
        "name": region_id,
        "provider": CloudProvider.OTHER,
        "point": Point(10.0 * ord(region_id[0]) % 80, 0.0),
        "country": None,
        "endpoint": f"https://{region_id}.example.com",
        "phase": phase,
        "health_score": PHASE_SCORES[phase],
        "admin": AdminState.ACTIVE,
        "load": 20.0,
        "max_capacity": 100.0,
        "cost_multiplier": 1.0,
        "compliance": frozenset(),
    }
    return RegionView(region_id=region_id, **(plain | how))


def fleet(*regions: RegionView, frozen: str | None = None, plan: DeploymentView | None = None) -> Fleet:
    plans = {} if plan is None else {plan.service: plan}
    return Fleet(
        1,
        MappingProxyType({one.region_id: one for one in regions}),
        frozen=frozen,
        deployments=MappingProxyType(plans),
    )


def deployment(strategy: DeploymentType, groups: tuple[Group, ...], **how: Any) -> DeploymentView:
    """A deployment of the service ``web`` that was just begun, at time 0."""
    plain: dict[str, Any] = {
        "deployment_id": "web-1",
        "service": "web",
        "strategy": strategy,
        "regions": tuple(r for group in groups for r in group.regions),
        "state": State.PREPARING,
        "groups": groups,
        "created_at": 0.0,
        "entered_at": 0.0,
        "due_at": 0.0,
        "history": (Step(0.0, State.PREPARING, "begun"),),
    }
    return DeploymentView(**(plain | how))


def active_active(*regions: str, **how: Any) -> DeploymentView:
    return deployment(DeploymentType.ACTIVE_ACTIVE, (Group("active", regions, 0.0),), **how)


def active_passive(primary: str, *backups: str, **how: Any) -> DeploymentView:
    groups = (Group("active", (primary,), 0.0),)
    told = {"regions": (primary, *backups), "standby": backups, "primary": primary}
    return deployment(DeploymentType.ACTIVE_PASSIVE, groups, **(told | how))


def blue_green(blue: str = "a", green: str = "b", **gates: Any) -> DeploymentView:
    groups = (Group("blue", (blue,), 100.0), Group("green", (green,), 0.0))
    return deployment(DeploymentType.BLUE_GREEN, groups, previous=groups, gates=Gates(**gates))


def seen(view: DeploymentView, *regions: RegionView, **how: Any) -> Seen:
    """What is true for a deployment that is its service's plan of record."""
    told: dict[str, Any] = {"needs": Needs(deployment=view), "serving": view.weights if view.active else {}}
    frozen = how.pop("frozen", None)
    return Seen(fleet(*regions, frozen=frozen, plan=view), **(told | how))


def run(view: DeploymentView, *regions: RegionView, now: float = 0.0, **how: Any) -> DeploymentView:
    """The deployment after every transition that is due at ``now``."""
    return steps(view, *regions, now=now, **how)[-1]


def steps(view: DeploymentView, *regions: RegionView, now: float = 0.0, **how: Any) -> list[DeploymentView]:
    """The deployment, and what each transition that is due makes of it."""
    path = [view]
    for _ in range(20):
        after = advance(path[-1], seen(path[-1], *regions, **how), now)
        if after is path[-1]:
            return path
        path.append(after)
        if after.state is path[-2].state and after.step == path[-2].step:
            return path
    raise AssertionError(f"it never comes to rest: {[one.state.value for one in path]}")


def samples(**by_region: tuple[int, int, float]) -> Mapping[str, Sample]:
    """Requests by region: how many, how many failed, and how long the others took in ms."""
    return {
        name: Sample(total, failed, total - failed, (total - failed) * ms)
        for name, (total, failed, ms) in by_region.items()
    }


def changed(view: RegionView, **how: Any) -> RegionView:
    return replace(view, **how)
