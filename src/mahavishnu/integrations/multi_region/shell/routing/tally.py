"""Counts decisions, and numbers those that take turns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mahavishnu.integrations.multi_region.core.model import ComplianceFramework, RoutingStrategy

Kind = tuple[RoutingStrategy, str | None, frozenset[ComplianceFramework]]
"""Decisions that share a count of turns, since they choose among the same regions: strategy, service, requirements."""

MAX_KINDS = 10_000
"""Kinds whose turns are remembered; beyond, the one that had its turn longest ago begins anew."""


class Tally:
    """What was decided so far."""

    def __init__(self) -> None:
        self.decisions: dict[tuple[str, str], int] = {}
        self.refused = 0
        self._turns: dict[Kind, tuple[int, str]] = {}

    def count(self, region_id: str, strategy: str, times: int = 1) -> None:
        """Count decisions for a region by a strategy."""
        made = region_id, strategy
        self.decisions[made] = self.decisions.get(made, 0) + times

    def turn(self, kind: Kind) -> int:
        """The number of the next decision of a kind, from 0."""
        return self._turns[kind][0] if kind in self._turns else 0

    def last(self, kind: Kind) -> str | None:
        """The region that the last decision of a kind chose."""
        return self._turns[kind][1] if kind in self._turns else None

    def took(self, kind: Kind, turn: int, region_id: str) -> None:
        """A decision of a kind had its turn, and chose a region."""
        self._turns.pop(kind, None)
        if len(self._turns) >= MAX_KINDS:
            del self._turns[next(iter(self._turns))]
        self._turns[kind] = turn + 1, region_id

    def stats(self) -> dict[str, Any]:
        """Decisions in all, by region and by strategy; and how many requests were refused."""
        made = self.decisions
        return {
            "total_decisions": sum(made.values()),
            "decisions_by_region": _summed((region, n) for (region, _), n in made.items()),
            "decisions_by_strategy": _summed((strategy, n) for (_, strategy), n in made.items()),
            "refused": self.refused,
        }


def turns_matter(chosen: RoutingStrategy, service: str | None, deployed: Mapping[str, object]) -> bool:
    """Whether a decision depends on its number: ``deployed`` are the services with a plan of record."""
    return chosen is RoutingStrategy.ROUND_ROBIN or chosen is RoutingStrategy.WEIGHTED or service in deployed


def _summed(counts: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Counts added up by name."""
    total: dict[str, int] = {}
    for name, count in counts:
        total[name] = total.get(name, 0) + count
    return dict(sorted(total.items()))
