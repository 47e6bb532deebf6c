"""Who may take over from a region that leaves, in which order, and how much room each has.

Law before optimum (L6): a region that may not serve is never among the heirs. How the load is then shared out is for
``failover.py``; a deployment that hands over (``rollout.py``) asks here as well, so that both name the same heir.
"""

from __future__ import annotations

from collections.abc import Sequence

from .deployment import DeploymentView
from .eligibility import in_force, is_lawful, may_take_over, takeover_objection
from .model import DeploymentType, Fleet, RegionView
from .ranking import TIER, RoundTrip
from .request import Needs, Request, needs_of


def room(region: RegionView, headroom: float) -> float:
    """What the region can take on top of its load, in requests/s, with ``headroom`` (0..1) of its limit kept free."""
    return max(0.0, region.max_capacity * (1.0 - headroom) - region.load)


# --- what leaves --------------------------------------------------------------------------------


def served_needs(fleet: Fleet, region: RegionView) -> list[Needs]:
    """The needs of each service that the region serves; one that asks nothing when there is no service."""
    names = dict.fromkeys([*fleet.services, *fleet.deployments])
    needs = [in_force(fleet, needs_of(fleet, Request(service=name)), region.region_id) for name in names]
    served = [n for n in needs if is_lawful(region, n) and _serves(n, region.region_id)]
    return served or [Needs()]


def _serves(need: Needs, region_id: str) -> bool:
    """Whether the region has a part in the service's traffic, as far as its plan of record says."""
    plan = need.deployment
    return plan is None or region_id in plan.active or _served_last(plan, region_id)


def _served_last(plan: DeploymentView, region_id: str) -> bool:
    """Whether a region that stands by now is the one that handed the traffic over last."""
    return any(region_id in group.regions for group in plan.previous if group.weight > 0)


def declared_at(fleet: Fleet, region_id: str) -> int:
    """How many services run in a region as declared, with no plan of record that says otherwise."""
    declared = [s for name, s in fleet.services.items() if name not in fleet.deployments]
    return sum(s.deployment is None or region_id in s.deployment.regions for s in declared)


# --- who takes over -----------------------------------------------------------------------------


class Away:
    """The round trip in ms to expect from a region to others; each is worked out once, and only if asked for."""

    def __init__(self, leaving: RegionView, rtt_ms: RoundTrip) -> None:
        self._leaving = leaving
        self._rtt_ms = rtt_ms
        self._known: dict[str, float] = {}

    def ms(self, region: RegionView) -> float:
        """To this region."""
        known = self._known.get(region.region_id)
        if known is None:
            known = self._known[region.region_id] = self._rtt_ms(self._leaving, region)
        return known


def heirs_of(
    fleet: Fleet, leaving: RegionView, needs: list[Needs], away: Away, by_choice: bool
) -> list[list[RegionView]]:
    """For each need the regions that may take it over, best first; of active-passive one alone.

    ``by_choice``: a person asks; otherwise a service whose failover is manual has none, nor one for which nobody has
    room.
    """
    partly = any(region.failed_services is not None for region in fleet.regions.values())
    known: dict[object, list[RegionView]] = {}
    found = []
    for need in needs:
        law = need.requirements, need.policies, need.beyond_preference, need.deployed
        alike = law, id(need.deployment), need.name if partly else ""  # services that differ in nothing else
        if alike not in known:
            stays = not by_choice and stays_put(need)
            load = leaving.load / len(needs)
            known[alike] = [] if stays else _together(fleet, leaving, need, load, away, by_choice)
        found.append(known[alike])
    return found


def stays_put(need: Needs) -> bool:
    """Whether only a person moves this traffic to another region: its deployment's failover is manual."""
    return need.deployment is not None and need.deployment.waits_for_a_person


def _ordered(fleet: Fleet, leaving: RegionView, need: Needs, away: Away) -> list[RegionView]:
    """Regions that may take these requests over, the one that stands by for them first, then the nearest."""
    others = [r for r in fleet.regions.values() if r.region_id != leaving.region_id]
    rank = {region_id: index for index, region_id in enumerate(_line_of(need, leaving))}

    def order(region: RegionView) -> tuple[int, int, float, str]:
        heir = rank.get(region.region_id, len(rank))
        return TIER[region.standing], heir, away.ms(region), region.region_id

    return sorted((r for r in others if may_take_over(r, need)), key=order)


def _together(
    fleet: Fleet, leaving: RegionView, need: Needs, load: float, away: Away, by_choice: bool
) -> list[RegionView]:
    """The heirs of these requests; of active-passive the one heir, since two must never serve at once.

    Where nobody has room a person is shown who may serve, so that it is room that is missing, not law.
    """
    heirs = _ordered(fleet, leaving, need, away)
    plan = need.deployment
    if plan is None or plan.strategy is not DeploymentType.ACTIVE_PASSIVE:
        return heirs
    chosen = best_heir(heirs, load, fleet.limits.headroom)
    return [chosen] if chosen is not None else heirs[: int(by_choice)]


def best_heir(able: Sequence[RegionView], load: float, headroom: float) -> RegionView | None:
    """Of those that may take a service over alone, best first: one with room for all, else the one with most room."""
    whole = next((region for region in able if room(region, headroom) >= load), None)
    if whole is not None:
        return whole
    widest = max(able, key=lambda region: room(region, headroom), default=None)
    return widest if widest is not None and room(widest, headroom) > 0 else None


def _line_of(need: Needs, leaving: RegionView) -> tuple[str, ...]:
    """Who takes over from the leaving region, in the order that the plan of record has them: both name the same heir.

    A deployment may have moved before its region's failover is planned: then the heir is who serves already.
    """
    plan = need.deployment
    if plan is None:
        return ()
    if leaving.region_id in plan.active:
        return plan.warm
    wanted = () if plan.wanted is None else (plan.wanted,)
    return (*wanted, *plan.active, *plan.warm) if _served_last(plan, leaving.region_id) else ()


# --- who does not -------------------------------------------------------------------------------


def why_not(
    fleet: Fleet, leaving: RegionView, needs: list[Needs], heirs: list[list[RegionView]], by_choice: bool
) -> dict[str, str]:
    """Why each region that takes nothing is no heir, by region id."""
    able = {leaving.region_id, *(region.region_id for regions in heirs for region in regions)}
    others = [region for region in fleet.regions.values() if region.region_id not in able]
    full = {region.region_id: None if room(region, fleet.limits.headroom) else "has no room" for region in others}
    whys = ((name, heir_objection(fleet.regions[name], needs, by_choice) or why) for name, why in full.items())
    return {region_id: why for region_id, why in whys if why is not None}


def heir_objection(region: RegionView, needs: list[Needs], by_choice: bool = True) -> str | None:
    """Why the region does not take over all of these needs; None when it may."""
    for need in needs:
        why = takeover_objection(region, need)
        if why is not None:
            return why.text
        if not by_choice and stays_put(need):
            return f"takes {need.name} over only by a person's word: its failover is manual"
    return None
