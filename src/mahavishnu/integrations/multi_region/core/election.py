"""Who leads, and the term that fences the last leader out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from .model import Fleet, Phase, RegionView
from .safety import in_service

ELECTIONS = "elections/"
"""Where the last result of each election lives."""


class Leader(str):
    """The elected region's id, with why it was and the ``term`` of its election: only the highest term may act."""

    __slots__ = ("reason", "term")
    term: int
    reason: str

    def __new__(cls, region_id: str, term: int, reason: str) -> Leader:
        """A leader; equal to its region's id."""
        leader = super().__new__(cls, region_id)
        leader.term, leader.reason = term, reason
        return leader


def able_to_lead(fleet: Fleet, names: Iterable[str]) -> list[RegionView]:
    """The candidates that can lead: registered, in service, and neither down nor saturated."""
    candidates = (fleet.regions[name] for name in names if name in fleet.regions)
    return [r for r in candidates if in_service(r) and r.phase not in (Phase.DOWN, Phase.SATURATED)]


def why_none_can_lead(fleet: Fleet, names: Iterable[str]) -> dict[str, str]:
    """What speaks against each registered candidate, by its id."""
    candidates = (fleet.regions[name] for name in names if name in fleet.regions)
    return {r.region_id: f"is {r.phase.value}, {r.admin.value}" for r in candidates}


def elect(candidates: Iterable[RegionView], term: int) -> Leader:
    """The healthiest candidate; among equals the least utilised; among those by a draw that the term decides.

    The draw is BLAKE2b over term and id: as good as random, and anybody can repeat it. ``candidates``: at least one.
    """
    winner = min(candidates, key=lambda r: (-r.health_score, r.utilization, draw(term, r.region_id)))
    reason = f"health score {winner.health_score:.1f}, {100 * winner.utilization:.1f}% utilization"
    return Leader(winner.region_id, term, reason)


def draw(term: int, region_id: str) -> int:
    """A region's lot in the tie-break of a term."""
    return int.from_bytes(hashlib.blake2b(f"{term}\n{region_id}".encode(), digest_size=8).digest(), "big")
