"""What is in the way of traffic moving to a region, and who takes over from one that is lost.

Asks the same functions as routing and failover do: law first, then health, then room.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from .analysis import Sample
from .deployment import DeploymentView, Group
from .eligibility import failed_over_for, takeover_objection
from .heirs import best_heir, declared_at, room
from .model import AdminState, Fleet, RegionView
from .ranking import TIER
from .request import Needs
from .safety import in_service


@dataclass(frozen=True, slots=True)
class Seen:
    """What is true now.

    ``needs``: of the service. ``samples``: real requests per region since the step (or the wave) began. ``serving``:
    each region's share of the service's traffic now, by the plan of record. ``services``: how many plans of record
    have each region serve. ``replaced_by``: a newer deployment of the service. ``returns_to``: the plan that a rollback
    would restore, None when that is the deployment's own. ``ordered``: regions that a person has failed over.
    ``heirs``: whom the failover of a region gave the service to, by the id of the region that was left.
    """

    fleet: Fleet
    needs: Needs
    samples: Mapping[str, Sample] = field(default_factory=dict)
    serving: Mapping[str, float] = field(default_factory=dict)
    services: Mapping[str, int] = field(default_factory=dict)
    replaced_by: str | None = None
    returns_to: DeploymentView | None = None
    ordered: frozenset[str] = frozenset()
    heirs: Mapping[str, str] = field(default_factory=dict)


def obstacle(region_id: str, seen: Seen) -> str | None:
    """Why a region may not take the service's traffic, whatever its part in deployments; None when it may."""
    region = seen.fleet.regions.get(region_id)
    if region is None:
        return "is not registered"
    why = takeover_objection(region, replace(seen.needs, service=None, deployment=None))
    if why is not None:
        return why.text
    return f"was failed over: {region.failed_over}" if failed_over_for(region, seen.needs) else None


def shift_obstacle(view: DeploymentView, wanted: tuple[Group, ...], seen: Seen) -> str | None:
    """Why traffic cannot move to the wanted groups now; None if it can.

    A region that takes more than it does now must be eligible, no less well than those that serve, and have room for
    what comes to it.
    """
    load = sum(load_of(region, seen) for region, share in seen.serving.items() if share > 0)
    for region, share in replace(view, groups=wanted).weights.items():
        more = share - seen.serving.get(region, 0.0)
        if more <= 0:
            continue
        why = obstacle(region, seen) or _less_well(region, seen) or too_small(region, more * load, seen)
        if why is not None:
            return f"{region} {why}"
    return None


def load_of(region_id: str, seen: Seen) -> float:
    """The service's part of a region's load, in the unit of the region's limit.

    Nobody says how the load divides among the services that are served in a region, so each counts for the same.
    """
    region = seen.fleet.regions.get(region_id)
    if region is None:
        return 0.0
    return region.load / max(1, seen.services.get(region_id, 0) + declared_at(seen.fleet, region_id))


def too_small(region_id: str, load: float, seen: Seen) -> str | None:
    """Why a registered region cannot carry ``load`` on top of its own; None when it can."""
    free = room(seen.fleet.regions[region_id], seen.fleet.limits.headroom)
    return f"has room for {free:g} of {load:g}" if load > free else None


def _less_well(region_id: str, seen: Seen) -> str | None:
    """Of a region that is degraded or unknown while one that serves now is better: no data is no reason to move."""
    serving = [seen.fleet.regions[r] for r, share in seen.serving.items() if share > 0 and r in seen.fleet.regions]
    others = [r for r in serving if r.region_id != region_id]
    best = min(others, key=lambda r: TIER[r.standing], default=None)
    here = seen.fleet.regions[region_id]
    if best is None or TIER[here.standing] <= TIER[best.standing]:
        return None
    return f"is {here.standing.value}, while {best.region_id}, which serves now, is {best.standing.value}"


# --- loss and succession ------------------------------------------------------------------------


def lost(region_id: str, seen: Seen) -> str | None:
    """Why a region cannot go on serving; None when it can. Being full is no reason: the others would be, too."""
    region = seen.fleet.regions.get(region_id)
    if region is None:
        return "is not registered any more"
    if in_service(region) and not failed_over_for(region, seen.needs):
        return None
    return obstacle(region_id, seen) or "is out of service"


def left_by_choice(region_id: str, seen: Seen) -> bool:
    """Whether it is a person's word that a region serves no more: a drain, a failover by hand, or its removal."""
    region = seen.fleet.regions.get(region_id)
    return region is None or region.admin is not AdminState.ACTIVE or region_id in seen.ordered


def group_lost(regions: Iterable[str], seen: Seen) -> str | None:
    """Why no region of a group can go on serving; None while one can."""
    whys = {region: lost(region, seen) for region in regions}
    return "; ".join(f"{r} {why}" for r, why in whys.items()) if whys and all(whys.values()) else None


def heir(candidates: Sequence[str], leaving: Sequence[str], seen: Seen) -> tuple[str | None, str]:
    """Who takes the service over from the regions that leave, or why nobody can.

    Whom their failover gave it to, while that one may: its room was asked for then, and its load counts it since. Else
    of those that may the best known, then by their order.
    """
    named = next((seen.heirs[region_id] for region_id in leaving if region_id in seen.heirs), None)
    if named is not None and named in candidates and obstacle(named, seen) is None:
        return named, ""
    return _best_known(candidates, sum(load_of(region_id, seen) for region_id in leaving), seen)


def _best_known(candidates: Sequence[str], load: float, seen: Seen) -> tuple[str | None, str]:
    reasons: list[str] = []
    able: list[RegionView] = []
    for region_id in candidates:
        why = obstacle(region_id, seen)
        if why is None:
            able.append(seen.fleet.regions[region_id])
        else:
            reasons.append(f"{region_id} {why}")
    able.sort(key=lambda region: TIER[region.standing])
    chosen = best_heir(able, load, seen.fleet.limits.headroom)
    if chosen is not None:
        return chosen.region_id, ""
    reasons += [f"{region.region_id} has no room" for region in able]
    return None, "; ".join(reasons) or "nobody stands by"
