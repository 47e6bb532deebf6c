"""Where an edge's clients are, in as few areas as there are orders of regions for them.

An order goes by the round trips to expect and nothing else: health, load and drains move no country from one area to
another and rename none. An area of countries is called by the first of them, in lower case.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from itertools import groupby
from math import ceil, log2

from .edges import ClientPlace, EdgeSpec
from .model import RegionView
from .ranking import Key
from .traffic import Area

Order = tuple[tuple[str, ...], ...]
"""Ids of regions, the nearest first; equally near ones share a place, sorted."""

Areas = tuple[tuple[Area, Order], ...]
"""Areas, each with its order; the last is of clients at the edge's own place, and of those that nobody can place."""

NEAR_MS = 50
"""Round trips up to this long are not told apart; longer ones in steps, each twice the one before."""


def order_of(regions: Iterable[RegionView], estimate: Key) -> Order:
    """The order of regions for a place with these estimates (ms)."""
    found = sorted((estimate(region), region.region_id) for region in regions)
    return tuple(tuple(name for _, name in near) for _, near in groupby(found, lambda pair: pair[0]))


def ranks(order: Order) -> dict[str, int]:
    """Each region's place in an order; where estimates tell regions apart, so do ranks."""
    return {region_id: rank for rank, near in enumerate(order) for region_id in near}


def narrowed(order: Order, regions: Container[str]) -> Order:
    """What is left of an order when only some regions count."""
    left = (tuple(name for name in near if name in regions) for near in order)
    return tuple(near for near in left if near)


def rtt_step_ms(estimate_ms: float) -> int:
    """The step that a round trip of so many ms falls in: its upper end, 0 for a near one."""
    if estimate_ms <= NEAR_MS:
        return 0
    return NEAR_MS << ceil(log2(estimate_ms / NEAR_MS))


def areas_of(edge: EdgeSpec, own: Order, countries: Mapping[str, Order], networks: Mapping[str, Order]) -> Areas:
    """The areas of an edge. ``own``: the order at its own place; ``countries``, ``networks``: by code and by name."""
    if edge.client_place is ClientPlace.CIDR:
        names = sorted(network.name for network in edge.networks)
        return (*((Area(name, network=name), networks[name]) for name in names), (Area(""), own))
    if edge.client_place is ClientPlace.EDGE:
        return ((Area(""), own),)
    groups: dict[Order, list[str]] = {own: []}
    for code in sorted(countries):
        groups.setdefault(countries[code], []).append(code)
    at_home = Area("", tuple(groups.pop(own)))
    return (*((Area(codes[0].lower(), tuple(codes)), order) for order, codes in groups.items()), (at_home, own))
