"""Elections: one term after the other, each written before anybody hears of it. Who wins is decided in the core."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mahavishnu.integrations.multi_region.core.election import (
    ELECTIONS,
    Leader,
    able_to_lead,
    elect,
    why_none_can_lead,
)
from mahavishnu.integrations.multi_region.core.events import Event, EventKind
from mahavishnu.integrations.multi_region.core.model import Fleet, RegionView
from mahavishnu.integrations.multi_region.errors import NoEligibleRegionError, StaleRevisionError, UnavailableError

from .manager import RegionManager

TRIES = 20
"""How often an election that lost the race for its term is held again."""


async def hold_election(manager: RegionManager, names: Sequence[str], election: str) -> Leader:
    """The leader among registered regions, under a term above every earlier one of this election.

    Raises NoEligibleRegionError when no candidate is in service, UnavailableError when others were first each time.
    """
    key = ELECTIONS + election
    for _ in range(TRIES):
        before = manager.registry.documents.get(key)
        leader = elect(_able(manager.snapshot(), names), 1 if before is None else before["term"] + 1)
        document = {"leader": str(leader), "term": leader.term}
        event = _event(manager.clock.now(), election, leader.reason, before, document)
        try:
            await manager.write_documents({key: document}, [event])
        except StaleRevisionError:
            await manager.reread([key])
        else:
            return leader
    raise UnavailableError(f"election {election}: lost {TRIES} races for a term")


def _able(fleet: Fleet, names: Sequence[str]) -> list[RegionView]:
    able = able_to_lead(fleet, names)
    if not able:
        raise NoEligibleRegionError("no candidate can lead", why_none_can_lead(fleet, names), policy_bound=False)
    return able


def _event(at: float, election: str, reason: str, before: dict[str, Any] | None, after: dict[str, Any]) -> Event:
    return Event(EventKind.LEADER_ELECTED, at, election, reason=reason, before=before, after=after)
