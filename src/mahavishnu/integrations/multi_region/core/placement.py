"""Where data belongs: hot or cold, which regions hold a copy, and which one holds a shard.

Only the law is asked of a region, not its health and not its operator's drain: data at rest does not move because a
region is slow, down or in maintenance. To empty a region of data, take it out of the policy, or unregister it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from .eligibility import in_force, lawful_objection
from .kinds import ReplicationStrategy as ReplicationStrategy
from .model import Fleet, RegionView
from .ranking import RoundTrip, least_rtt_ms
from .request import Needs, Use

CLASSES, BINDINGS = "classes/", "bindings/"
"""Where the class of a piece of data and its binding to a policy are stored."""

COOL_SHARE = 0.8
"""Hot data goes cold only below this share of the threshold, so that a rate near it does not flap."""

STORAGE_USD_PER_GB_DAY = 0.023 / 30
"""List price of standard object storage in a cheap region (0.023 USD per GB and month); give your own."""

ALGORITHM = "hrw1"
"""Weighted rendezvous hashing over 64-bit hashes of region id, a bar and data id, as ``shard_order`` does it."""

Hash64 = Callable[[bytes], int]
"""A hash of bytes, even over 0 .. 2**64 - 1."""


class Temperature(StrEnum):
    """Hot data is worth a copy near its readers, cold data is not."""

    HOT = "hot"
    COLD = "cold"


def temperature(rate_per_day: float, threshold: float, before: Temperature | None) -> Temperature:
    """Hot above the threshold (accesses a day); what was hot stays so down to ``COOL_SHARE`` of it."""
    if rate_per_day > threshold:
        return Temperature.HOT
    if before is Temperature.HOT and rate_per_day >= COOL_SHARE * threshold:
        return Temperature.HOT
    return Temperature.COLD


def break_even(egress_usd_per_gb: float, storage_usd_per_gb_day: float) -> float:
    """The reads a day from which a second copy costs less than fetching the data anew for each; size cancels out."""
    return math.inf if egress_usd_per_gb <= 0 else storage_usd_per_gb_day / egress_usd_per_gb


@dataclass(frozen=True, slots=True)
class Rate:
    """Accesses a day, as seen at ``at`` (seconds since the epoch); old ones count less and less."""

    per_day: float = 0.0
    at: float = 0.0

    def seen(self, now: float, count: float = 0.0, memory_s: float = 86_400.0) -> Rate:
        """The rate with ``count`` more accesses at ``now``; what was seen ``memory_s`` ago counts 1/e."""
        left = self.per_day * math.exp(-max(0.0, now - self.at) / memory_s)
        return Rate(left + count * 86_400.0 / memory_s, max(now, self.at))


@dataclass(frozen=True, slots=True)
class Places:
    """Where data may be, in order of registration.

    ``primaries``: regions that may hold the primary copy. ``copies``: those that may hold any. ``excluded``: why each
    other region may hold none.
    """

    primaries: tuple[RegionView, ...]
    copies: tuple[RegionView, ...]
    excluded: Mapping[str, str]


def places_for(fleet: Fleet, needs: Needs) -> Places:
    """The regions that may lawfully hold data with these needs."""
    copy = in_force(fleet, _needing(needs, Use.COPY))
    primary = in_force(fleet, _needing(needs, Use.PRIMARY))
    excluded = {r.region_id: why.text for r in fleet.regions.values() if (why := lawful_objection(r, copy)) is not None}
    return Places(
        primaries=tuple(r for r in fleet.regions.values() if lawful_objection(r, primary) is None),
        copies=tuple(r for r in fleet.regions.values() if r.region_id not in excluded),
        excluded=excluded,
    )


def _needing(needs: Needs, use: Use) -> Needs:
    """These needs for data at rest; a service's deployment says where it runs, not where data lies."""
    return Needs(needs.requirements, needs.policies, use=use, facts=needs.facts)


def primary_of(places: Places, held_by: Sequence[str]) -> str | None:
    """The region of the primary copy: the first that holds the data and still may, else the first that may at all."""
    able = [region.region_id for region in places.primaries]
    return next((name for name in held_by if name in able), able[0] if able else None)


@dataclass(frozen=True, slots=True)
class Targets:
    """What a replication strategy comes to. ``fallbacks``: who is next should the regions be lost, best first."""

    regions: tuple[str, ...]
    primary: str
    fallbacks: tuple[str, ...] = ()


def plan_targets(
    places: Places,
    strategy: ReplicationStrategy,
    *,
    data_id: str,
    held_by: Sequence[str],
    hot: bool,
    hash64: Hash64,
    rtt_ms: RoundTrip = least_rtt_ms,
) -> Targets | None:
    """The regions that shall hold the data, in order of registration; None when no region may.

    Fallbacks are those nearest to the primary first by ``rtt_ms``, of equals in order of registration; of a shard, by
    hash.
    """
    primary = primary_of(places, held_by)
    if primary is None:
        return None
    if strategy is ReplicationStrategy.SHARDED:
        order = shard_order(data_id, {r.region_id: r.max_capacity for r in places.primaries}, hash64)
        return Targets((order[0],), order[0], tuple(order[1:]))
    if strategy is ReplicationStrategy.FULL or (strategy is ReplicationStrategy.PARTIAL and hot):
        everywhere = tuple(region.region_id for region in places.copies)
        return Targets(everywhere, primary, _nearest_to(primary, places, places.copies, rtt_ms))
    return Targets((primary,), primary, _nearest_to(primary, places, places.primaries, rtt_ms))


def _nearest_to(primary: str, places: Places, others: Sequence[RegionView], rtt_ms: RoundTrip) -> tuple[str, ...]:
    """The other regions, those nearest to the primary first."""
    here = next(region for region in places.primaries if region.region_id == primary)
    near = sorted((r for r in others if r is not here), key=lambda region: rtt_ms(here, region))
    return tuple(region.region_id for region in near)


def shard_order(data_id: str, weights: Mapping[str, float], hash64: Hash64) -> list[str]:
    """Regions for a piece of data, best first, each winning a share that is exactly its weight's.

    Weighted rendezvous hashing by the logarithmic method (Schindelhauer and Schomaker, "Weighted Distributed Hash
    Tables", SPAA 2005): the highest ``-weight / ln(u)`` wins, with ``u`` in (0, 1) from the hash. A region that leaves
    gives away its own data only, one that comes takes only what it wins, and the others keep theirs.
    """
    key = data_id.encode("utf-8", "surrogatepass")
    scored = [(_score(weight, name, key, hash64), name) for name, weight in weights.items() if weight > 0]
    return [name for _, name in sorted(scored, key=lambda pair: (-pair[0], pair[1]))]


def _score(weight: float, region_id: str, key: bytes, hash64: Hash64) -> float:
    drawn = hash64(region_id.encode() + b"|" + key) >> 12  # 52 bits: with the half below, exact as a float
    return -weight / math.log((drawn + 0.5) / 2**52)


def copied_bytes(size: int | None, targets: Iterable[str], held_by: Iterable[str]) -> int | None:
    """Bytes to move so that every target holds the data; None when its size is not known."""
    return None if size is None else size * len(set(targets) - set(held_by))
