"""What moving data between two regions costs, in USD per GB of 10^9 bytes, from list prices of 2023.

List prices without discounts or free tiers; where the provider counts a GB of 2^30 bytes, they are up to 7 % too high.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from types import MappingProxyType

from mahavishnu.integrations.multi_region.core.model import CloudProvider, Fleet

from . import catalog
from .files import read_rows

GB = 1e9
"""Bytes in the GB of these prices."""


def transfer_usd_per_gb(source: tuple[str, CloudProvider], target: tuple[str, CloudProvider]) -> float | None:
    """The price of a GB from ``source`` to ``target``, each a region's id and provider; None where it is not known.

    Between two regions of AWS it is their transfer price; otherwise what the source asks for traffic to the Internet.
    """
    if source == target:
        return 0.0
    if source[1] is CloudProvider.AWS and target[1] is CloudProvider.AWS:
        price = _between_aws().get((source[0], target[0]))
        if price is not None:
            return price
    known = catalog.find(*source)
    return None if known is None else known.egress_usd_per_gb


def usd_per_gb(fleet: Fleet, source: str, target: str) -> float | None:
    """The price of a GB from one region of a fleet to another, in USD; None where it is not known."""
    here, there = fleet.regions[source], fleet.regions[target]
    return transfer_usd_per_gb((source, here.provider), (target, there.provider))


def mean_usd_per_gb(fleet: Fleet, source: str) -> float | None:
    """The mean price of a GB from a region to each other one whose price is known; None where none is."""
    prices = [p for name in fleet.regions if name != source and (p := usd_per_gb(fleet, source, name)) is not None]
    return sum(prices) / len(prices) if prices else None


def copies_usd(fleet: Fleet, source: str, targets: Iterable[str], size: int | None) -> float | None:
    """What copying ``size`` bytes to each target costs; None when the size or a price is not known."""
    prices = [usd_per_gb(fleet, source, target) for target in targets]
    known = [price for price in prices if price is not None]
    return None if size is None or len(known) < len(prices) else sum(known) * size / GB


@cache
def _between_aws() -> Mapping[tuple[str, str], float]:
    rows = read_rows("aws_transfer_usd_per_gb.csv")
    return MappingProxyType({(row["src"], row["dst"]): float(row["cost"]) for row in rows})
