"""How much traffic a class has, as plans are to see it, and what edges' traffic means for the load of each region.

Decides which changes of demand and load are worth a new plan (L16): rises of demand beyond chance are followed at once,
falls slowly, and small changes not at all; and whom edges see alive. Where the demand goes is decided in ``room.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import exp, sqrt
from types import MappingProxyType

from .model import Fleet

TIME_S = 5.0
"""Over how long rates are smoothed, in seconds."""

STEP = 0.05
"""Changes below this share of the demand are not told."""

CHANCE = 2.5
"""Nor are those that chance alone explains: so many standard deviations of arrivals that know nothing of each other."""

SURGE = 4.0
"""A rise by so many standard deviations of one report is no chance: it is followed at once."""

LEAST = 0.5
"""Demand below this many requests/s counts as none."""

BOOKED = 0.1
"""Regions and edges that count differently differ by less than this share."""

WORTH_TELLING = 0.01
"""Changes of load below this share of a region's limit are not worth a new plan."""

Demand = Mapping[tuple[str, str], float]
"""Requests/s by the id of an edge and the name of a class there."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What edges tell of their traffic.

    ``alive``: regions that their own requests succeeded at just now. ``carried``: requests/s that they send, by region,
    as it is counted in the load of each.
    """

    alive: frozenset[str] = frozenset()
    demand: Demand = field(default_factory=lambda: MappingProxyType({}))
    carried: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Smoothed:
    """The rate of one class at one edge, in requests/s: ``rate`` smoothed, ``told`` as plans see it."""

    rate: float = 0.0
    told: float = 0.0

    def after(self, rate: float, period_s: float) -> Smoothed:
        """The next, when a report over ``period_s`` seconds (above 0) tells of ``rate`` requests/s."""
        rise = rate - self.rate
        surges = rise > max(STEP * self.rate, SURGE * sqrt(self.rate / period_s))
        smooth = rate if surges else self.rate + rise * (1.0 - exp(-period_s / TIME_S))
        if smooth < LEAST:
            return Smoothed(smooth if rate else 0.0, 0.0)
        chance = CHANCE * sqrt(self.told / (2.0 * TIME_S))
        moved = abs(smooth - self.told) > max(LEAST, STEP * self.told, chance)
        return Smoothed(smooth, float(f"{smooth:.3g}") if moved else self.told)


def foreign_loads(loads: Mapping[str, float], carried: Mapping[str, float]) -> dict[str, float]:
    """The load of each region that edges do not account for, in requests/s.

    ``carried``: what edges send, by region. Where a region has much less than that, its load was booked on others (a
    failover does so until somebody reports what is really there): theirs is no more foreign than it was.
    """
    excess = {name: max(0.0, load - carried.get(name, 0.0)) for name, load in loads.items()}
    whole = sum(excess.values())
    short = {name: sent - loads[name] for name, sent in carried.items() if name in loads}
    booked = sum(less for name, less in short.items() if less > BOOKED * carried[name])
    part = max(0.0, 1.0 - booked / whole) if whole > 0 else 0.0
    return {name: round(part * over, 6) for name, over in excess.items()}


@dataclass(frozen=True, slots=True)
class Booking:
    """What edges send, as loads of regions; all in requests/s by region.

    ``told``: loads that change, and what to. ``carried``: what edges send, as it then counts in each load; regions that
    they send nothing are not in it.
    """

    told: Mapping[str, float]
    carried: Mapping[str, float]


def booked(
    loads: Mapping[str, float],
    limits: Mapping[str, float],
    sent: Mapping[str, float],
    carried: Mapping[str, float],
    declared: Mapping[str, float],
) -> Booking:
    """What becomes of ``loads`` when edges send ``sent``: that, on top of what comes from elsewhere.

    ``limits``: the most that each region of ``loads`` takes. ``carried``: as in the last booking, empty before the
    first. ``declared``: loads from before edges told anything; one that nobody changed since may be what they send.
    """
    foreign = foreign_loads(loads, carried)
    told, counted = {}, {}
    for region_id, load in loads.items():
        rate, before = sent.get(region_id, 0.0), carried.get(region_id, 0.0)
        theirs = rate if not before and load == declared.get(region_id) else 0.0
        others = max(0.0, foreign[region_id] - theirs)
        counted[region_id] = max(0.0, round(load - others, 6))
        changes = abs(others + rate - load) > WORTH_TELLING * limits[region_id]
        if changes or bool(rate) is not bool(before):
            told[region_id], counted[region_id] = others + rate, rate
    return Booking(told, {region_id: rate for region_id, rate in counted.items() if rate})


def seen_alive(succeeded: Mapping[str, int], failed: Mapping[str, int]) -> frozenset[str]:
    """The regions at which more requests ended well lately than failed; the counts are of all edges together."""
    return frozenset(region_id for region_id, count in succeeded.items() if count > failed.get(region_id, 0))


def without_edges(fleet: Fleet, carried: Mapping[str, float]) -> Fleet:
    """The fleet with the load alone that does not come from edges; the same one when edges carry nothing."""
    if not carried:
        return fleet
    loads = foreign_loads({name: region.load for name, region in fleet.regions.items()}, carried)
    regions = {name: replace(region, load=loads[name]) for name, region in fleet.regions.items()}
    return replace(fleet, regions=MappingProxyType(regions))
