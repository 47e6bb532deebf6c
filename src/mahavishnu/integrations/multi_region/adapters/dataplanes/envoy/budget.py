"""How much an edge may check by itself. Pure.

Every cluster checks its regions over connections of its own, all from Envoy's main thread, which also takes in what we
tell it: some 100 µs and one file descriptor for each. An edge with more to check than that allows checks less, in
coarse steps, since a step changes clusters, and a changed cluster starts over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import IntEnum

from mahavishnu.integrations.multi_region.core.traffic import TrafficClass

MOST_HOSTS = 2_000
"""Up to so many addresses, over all classes, everything is checked as it was stated."""

MOST_PER_S = 2_000
"""Checks/s that take some fifth of Envoy's main thread."""

RESERVED = 1_000
"""File descriptors that are left for clients, and for their requests to regions."""

CALM = 0.8
"""What would be checked must be within this part of the budget before more of it is again; so no level flaps."""

Demand = tuple[tuple[bool, float, int], ...]
"""What checks a service asks for: of its own classes or not, every so many seconds, how many addresses."""


class Level(IntEnum):
    """How much less than stated an edge checks."""

    AS_STATED = 0
    OWN_ALONE = 1
    EVERY_SECOND = 2
    EVERY_5_SECONDS = 3
    EVERY_10_SECONDS = 4
    NOTHING = 5


_FLOORS_S = {Level.EVERY_SECOND: 1.0, Level.EVERY_5_SECONDS: 5.0, Level.EVERY_10_SECONDS: 10.0}


def is_own(kind: TrafficClass) -> bool:
    """Whether it is a service's own class: of requests that ask nothing of the law, from the edge's own place."""
    return not (kind.requirements or kind.area)


def floor_of(level: Level, kind: TrafficClass) -> float | None:
    """The shortest interval in seconds at which an edge at that level checks a class; None when it does not."""
    if level is Level.NOTHING or (level > Level.AS_STATED and not is_own(kind)):
        return None
    return _FLOORS_S.get(level, 0.0)


def level_for(demands: Iterable[Demand], current: Level, descriptors: int | None) -> Level:
    """The level of an edge whose services demand this. ``descriptors``: how many files it may open, if known.

    Less is checked as soon as the budget is exceeded, more only once there is room to spare.
    """
    total: Counter[tuple[bool, float]] = Counter()
    for demand, services in Counter(demands).items():
        for own, interval_s, hosts in demand:
            total[own, interval_s] += hosts * services
    needed = _first(total, 1.0, descriptors)
    return needed if needed >= current else min(current, _first(total, CALM, descriptors))


def _first(total: Mapping[tuple[bool, float], int], part: float, descriptors: int | None) -> Level:
    return next(level for level in Level if _fits(level, total, part, descriptors))


def _fits(level: Level, total: Mapping[tuple[bool, float], int], part: float, descriptors: int | None) -> bool:
    """Whether that part of the budget suffices at a level."""
    if level is Level.NOTHING:
        return True
    floor_s = _FLOORS_S.get(level, 0.0)
    asked = [
        (hosts, max(interval_s, floor_s))
        for (own, interval_s), hosts in total.items()
        if own or level is Level.AS_STATED
    ]
    hosts = sum(each for each, _ in asked)
    if level is Level.AS_STATED and hosts > MOST_HOSTS * part:
        return False
    if descriptors is not None and hosts > max(0, descriptors - RESERVED) * part:
        return False
    return sum(each / interval_s for each, interval_s in asked) <= MOST_PER_S * part
