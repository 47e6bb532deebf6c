"""Shards: the golden vectors hold, and how much data moves when a region comes, leaves or is reweighed.

Run it with ``python -m benchmarks.hashing``. "Moved" is the share of keys whose region is another afterwards; "needed"
is the least that any scheme with exact shares must move. Ends with 1 when a golden vector does not hold.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import xxhash

from mahavishnu.integrations.multi_region.core.placement import shard_order

KEYS = [f"data-{i}" for i in range(20_000)]
GOLDEN = Path(__file__).parents[1] / "tests" / "data" / "golden_shards.json"
BASE = {f"region-{i}": 100.0 for i in range(10)}

hash64 = xxhash.xxh3_64_intdigest
Weights = Mapping[str, float]
Scheme = Callable[[str, Weights], str]


def rendezvous(key: str, weights: Weights) -> str:
    """What the package uses: weighted rendezvous hashing."""
    return shard_order(key, weights, hash64)[0]


def modulo(key: str, weights: Weights) -> str:
    """Hash modulo the number of regions; knows no weights."""
    return list(weights)[hash64(key.encode()) % len(weights)]


def jump(key: str, weights: Weights) -> str:
    """Jump consistent hash (Lamping and Veach, 2014); knows no weights, and regions may only leave at the end."""
    state, bucket, candidate = hash64(key.encode()), -1, 0
    while candidate < len(weights):
        bucket, state = candidate, (state * 2862933555777941757 + 1) % 2**64
        candidate = int((bucket + 1) * (2**31 / ((state >> 33) + 1)))
    return list(weights)[bucket]


SCHEMES: Mapping[str, Scheme] = {"weighted rendezvous": rendezvous, "jump": jump, "modulo": modulo}
CHANGES: Mapping[str, Weights] = {
    "add one": {**BASE, "region-10": 100.0},
    "remove a middle one": {name: weight for name, weight in BASE.items() if name != "region-4"},
    "halve one's weight": {**BASE, "region-4": 50.0},
}


def needed(before: Weights, after: Weights) -> float:
    """The least share of keys that must move so that every region has its share."""
    total, later = sum(before.values()), sum(after.values())
    return sum(max(0.0, weight / later - before.get(name, 0.0) / total) for name, weight in after.items())


def moved(scheme: Scheme, before: Weights, after: Weights) -> float:
    """The share of keys that another region has afterwards."""
    return sum(scheme(key, before) != scheme(key, after) for key in KEYS) / len(KEYS)


def _moved_text(name: str, after: Weights) -> str:
    if after.keys() == BASE.keys() and SCHEMES[name] is not rendezvous:
        return "knows no weights"
    return f"{100 * moved(SCHEMES[name], BASE, after):.1f} %"


def broken_vectors() -> list[str]:
    """The golden vectors that do not hold; empty when all do."""
    golden = json.loads(GOLDEN.read_text("utf-8"))
    hashes = [f"hash of {text!r}" for text, value in golden["hashes"].items() if hash64(text.encode()) != value]
    orders = [
        f"order of {data_id!r}"
        for vector in golden["vectors"]
        for data_id, order in vector["order"].items()
        if shard_order(data_id, vector["weights"], hash64) != order
    ]
    return hashes + orders


def main() -> int:
    """Print the figures; 1 when a golden vector does not hold."""
    broken = broken_vectors()
    print("golden vectors: " + ("all hold" if not broken else "BROKEN: " + "; ".join(broken)))
    print(f"\nmoved, of {len(KEYS)} keys over {len(BASE)} regions of equal weight\n")
    print(f"{'':22}{'needed':>9}" + "".join(f"{name:>21}" for name in SCHEMES))
    for change, after in CHANGES.items():
        shares = "".join(f"{_moved_text(name, after):>21}" for name in SCHEMES)
        print(f"{change:22}{100 * needed(BASE, after):>7.1f} %{shares}")
    loads = Counter(rendezvous(key, BASE) for key in KEYS).values()
    mean = len(KEYS) / len(BASE)
    print(
        f"\nweighted rendezvous: most loaded region {max(loads) / mean:.3f} of the mean, least {min(loads) / mean:.3f}"
    )
    started = time.perf_counter()
    for key in KEYS:
        rendezvous(key, BASE)
    print(f"one order of {len(BASE)} regions: {1e6 * (time.perf_counter() - started) / len(KEYS):.1f} µs")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
