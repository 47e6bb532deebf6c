"""Which regions shall hold a piece of data: the evidence, the bytes to copy, and what those cost by list prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import xxhash

from mahavishnu.integrations.multi_region.core.eligibility import in_force, lawful_decision
from mahavishnu.integrations.multi_region.core.figures import check_whole
from mahavishnu.integrations.multi_region.core.kinds import ReplicationStrategy
from mahavishnu.integrations.multi_region.core.model import Fleet
from mahavishnu.integrations.multi_region.core.placement import (
    Places,
    Targets,
    copied_bytes,
    places_for,
    plan_targets,
)
from mahavishnu.integrations.multi_region.core.request import Request, Use, needs_of
from mahavishnu.integrations.multi_region.errors import NoEligibleRegionError
from mahavishnu.integrations.multi_region.facts.network import region_rtt_ms
from mahavishnu.integrations.multi_region.facts.prices import copies_usd


class ReplicationPlan(list[str]):
    """The regions that shall hold a piece of data, in order of registration; equal to the plain list of their ids.

    ``primary``: where the first copy is. ``fallbacks``: who is next should those be lost, best first. ``excluded``: why
    each other region may hold none. ``bytes``: how much must be copied, None when the size was not told.
    ``estimated_cost_usd``: for that, by list prices; None when size or a price is not known. ``decisions``: the id of
    the lawful decision on each region.
    """

    strategy: ReplicationStrategy
    primary: str
    fallbacks: tuple[str, ...]
    excluded: Mapping[str, str]
    bytes: int | None
    estimated_cost_usd: float | None
    decisions: Mapping[str, str]


def places_of(fleet: Fleet, data_id: str) -> Places:
    """The regions that may hold a piece of data, by what binds it."""
    return places_for(fleet, needs_of(fleet, Request(data_id=data_id)))


def plan_copies(
    fleet: Fleet, data_id: str, strategy: ReplicationStrategy, held_by: tuple[str, ...], hot: bool, size: int | None
) -> ReplicationPlan:
    """The plan for a piece of data that ``held_by`` hold now, the primary first. ``size`` in bytes, None: not told.

    Raises InvalidInputError; NoEligibleRegionError with the reason for each region when none may hold it.
    """
    places = places_of(fleet, data_id)
    targets = plan_targets(
        places,
        strategy,
        data_id=data_id,
        held_by=held_by,
        hot=hot,
        hash64=xxhash.xxh3_64_intdigest,
        rtt_ms=region_rtt_ms,
    )
    if targets is None:
        text = "; ".join(f"{name} {why}" for name, why in places.excluded.items())
        message = f"no region may hold {data_id}: {text or 'none may hold its primary copy'}"
        raise NoEligibleRegionError(message, places.excluded, policy_bound=bool(fleet.regions))
    if size is not None:
        check_whole(size, "size_bytes", allowed="a whole number of bytes, 0 or more")
    plan = _told(fleet, strategy, targets, held_by or (targets.primary,), size)
    plan.excluded = MappingProxyType(dict(places.excluded))
    plan.decisions = MappingProxyType(_decisions(fleet, data_id))
    return plan


def _told(
    fleet: Fleet, strategy: ReplicationStrategy, targets: Targets, held_by: tuple[str, ...], size: int | None
) -> ReplicationPlan:
    """The targets, and what it takes to bring the data there."""
    plan = ReplicationPlan(targets.regions)
    plan.strategy, plan.primary, plan.fallbacks = strategy, targets.primary, targets.fallbacks
    plan.bytes = copied_bytes(size, targets.regions, held_by)
    source = next((name for name in held_by if name in fleet.regions), targets.primary)
    plan.estimated_cost_usd = copies_usd(fleet, source, [t for t in targets.regions if t not in held_by], size)
    return plan


def _decisions(fleet: Fleet, data_id: str) -> dict[str, str]:
    """The id of the lawful decision on a copy in each region."""
    needs = in_force(fleet, replace(needs_of(fleet, Request(data_id=data_id)), use=Use.COPY))
    subject = f"copy of {data_id!r}"
    return {name: lawful_decision(view, needs, f"{subject} in {name}").id for name, view in fleet.regions.items()}
