"""How much of each class's demand each region is given, so that none is planned beyond its limit (L7).

Decides by one greedy pass over all classes, those that matter most first. Each fills its regions in its own order:
at first to the limit less the share that is to be kept free, then to the limit. For a class that still finds no room,
others that may go elsewhere make some. What is left then is spread over the class's regions in proportion to their
limits, so that none is drowned more than another, and is told as overload: edges cannot shed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from .model import RegionView

LEAST = 1e-6
"""Less than this many requests/s is nothing but rounding."""

Pool = tuple[tuple[str, float], ...]
"""Ids of regions that share traffic, each with its part relative to the others, more than 0."""


@dataclass(frozen=True, slots=True)
class Line:
    """A part (0..1) of a class's demand, and the pools that it fills, first to last; a region may be in several lines.

    At least one pool, none empty.
    """

    part: float
    pools: tuple[Pool, ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """The demand of one class at one edge, in requests/s. ``priority``: the lowest number is served first."""

    edge_id: str
    class_name: str
    priority: int
    demand: float
    lines: tuple[Line, ...]


@dataclass(slots=True)
class Share:
    """What regions take of one ask. ``takes``: requests/s by region; ``overload``: how many of them find no room.

    ``pressed``: whether it does not simply go where it would go if there were room without end.
    """

    takes: dict[str, float] = field(default_factory=dict)
    overload: float = 0.0
    pressed: bool = False


class Rooms:
    """What is left of each region's limit, in requests/s, as classes are given their parts."""

    def __init__(self, regions: Mapping[str, RegionView]) -> None:
        self._limits = {name: region.max_capacity for name, region in regions.items()}
        self._used = {name: region.load for name, region in regions.items()}

    def free(self, region_id: str, kept_free: float = 0.0) -> float:
        """What a region can still take with a share (0..1) of its limit kept free; never negative."""
        return max(0.0, self._limits[region_id] * (1.0 - kept_free) - self._used[region_id])

    def share_out(self, asks: Iterable[Ask], headroom: float) -> list[tuple[Ask, Share]]:
        """What regions take of each ask. ``headroom``: the share of limits that is kept free while it can be."""
        ordered = sorted(asks, key=lambda ask: (ask.priority, ask.edge_id, ask.class_name))
        found = [(ask, Share()) for ask in ordered]
        parts = [_Part(line, ask.demand * line.part, share) for ask, share in found for line in ask.lines]
        for kept_free in (headroom, 0.0):
            for part in parts:
                self._fill(part, kept_free)
        self._make_room(parts)
        for part in parts:
            self._overflow(part)
            for name, taken in part.takes.items():
                part.share.takes[name] = part.share.takes.get(name, 0.0) + taken
        return found

    def _fill(self, part: _Part, kept_free: float) -> None:
        for pool in part.line.pools:
            if part.left <= LEAST:
                return
            free = [self.free(name, kept_free) for name, _ in pool]
            wanted, whole = part.left, sum(weight for _, weight in pool)
            takes = poured(wanted, [weight for _, weight in pool], free)
            for (name, weight), taken in zip(pool, takes, strict=True):
                self._give(part, name, taken)
                part.share.pressed |= taken < wanted * weight / whole - LEAST

    def _make_room(self, parts: Sequence[_Part]) -> None:
        """Move what may go elsewhere, of those that matter least first, for what may not."""
        wanting = [part for part in parts if part.left > LEAST]
        on: dict[str, list[_Part]] = {name: [] for part in wanting for name in part.regions}
        for part in parts:
            for name in part.takes.keys() & on.keys():
                on[name].append(part)
        for part in wanting:
            for name in part.regions:
                while part.left > LEAST and on[name]:
                    if not self._swapped(on[name][-1], part, name):
                        on[name].pop()  # nobody leaves a region while room is made: this one never finds any

    def _swapped(self, mover: _Part, part: _Part, region_id: str) -> bool:
        """Whether some of what one part has at a region went elsewhere, to let another part in."""
        for name in mover.regions:
            moved = min(part.left, mover.takes.get(region_id, 0.0), self.free(name))
            if moved > LEAST:
                self._give(mover, region_id, -moved)
                self._give(mover, name, moved)
                self._give(part, region_id, moved)
                mover.share.pressed = True
                return True
        return False

    def _overflow(self, part: _Part) -> None:
        if part.left <= LEAST:
            return
        part.share.overload += part.left
        limits = {name: self._limits[name] for name in part.regions}
        over, whole = part.left, sum(limits.values())
        for name, limit in limits.items():
            self._give(part, name, over * limit / whole if whole > 0 else over / len(limits))

    def _give(self, part: _Part, region_id: str, taken: float) -> None:
        if taken:
            part.left -= taken
            self._used[region_id] += taken
            part.takes[region_id] = part.takes.get(region_id, 0.0) + taken


@dataclass(slots=True)
class _Part:
    """A line while it is filled: ``left`` requests/s have no region yet; ``takes``: those that have, by region."""

    line: Line
    left: float
    share: Share
    takes: dict[str, float] = field(default_factory=dict)

    @property
    def regions(self) -> list[str]:
        """All that it may fill, in order."""
        return [name for pool in self.line.pools for name, _ in pool]


def poured(amount: float, weights: Sequence[float], free: Sequence[float]) -> list[float]:
    """An amount over several by weight, none beyond what it has free; what does not fit is left out."""
    takes = [0.0] * len(weights)
    whole = sum(weights)
    for place in sorted(range(len(weights)), key=lambda place: (free[place] / weights[place], place)):
        takes[place] = min(free[place], amount * weights[place] / whole if whole > 0 else amount)
        amount, whole = amount - takes[place], whole - weights[place]
    return takes
