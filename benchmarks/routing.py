"""What a routing decision costs, beside the obvious code and beside a bare ``await``: ``python -m benchmarks.routing``.

Clients stand in the world's large cities and around them, and regions in those cities. Every timed call is the one that
a user would make. Each figure is the best of several rounds, taken in turn with its baselines, so that a busy machine
burdens all alike; percentiles are over single calls and contain the clock's own 50 ns.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from mahavishnu.integrations.multi_region.core.model import (
    Region,
    RoutingStrategy,
)
from mahavishnu.integrations.multi_region.shell.router import RegionAwareRouter

from .common import Table, publish
from .loop import longest_turns, loop_gap
from .plot import Chart, write_png
from .world import Context, clients, managed

PLOT = Path(__file__).parent.parent / "docs" / "routing-cost.png"
LATENCY = RoutingStrategy.LATENCY_BASED
ROUNDS = 5
CLIENTS = 10_000


# --- the baselines ----------------------------------------------------------------------------


@dataclass(frozen=True)
class NaiveDecision:
    """What the obvious router answers."""

    selected_region: str
    endpoint: str
    reasoning: str
    alternatives: list[str]
    at: datetime


class NaiveRouter:
    """The obvious code: filter the regions, the haversine distance to each, sort, and say why."""

    def __init__(self, regions: Sequence[Region]) -> None:
        self._regions = regions
        self._counts: Counter[str] = Counter()

    async def route_request(self, context: Context, strategy: RoutingStrategy) -> NaiveDecision:
        """The nearest healthy region with room."""
        location = context["user_location"]
        here = location["latitude"], location["longitude"]
        needed = context.get("compliance_requirements", ())
        able = [
            region
            for region in self._regions
            if (region.health_score or 0.0) > 50.0
            and region.current_capacity < region.capabilities.max_capacity
            and all(name in region.capabilities.compliance for name in needed)
        ]
        ranked = sorted((haversine_km(*here, r.latitude, r.longitude), r.region_id, r.endpoint) for r in able)
        km, region_id, endpoint = ranked[0]
        self._counts[region_id] += 1
        reasoning = f"Selected {region_id} by {strategy.value}: {km:.1f} km away"
        return NaiveDecision(region_id, endpoint, reasoning, [name for _, name, _ in ranked[1:4]], datetime.now(UTC))


def haversine_km(latitude: float, longitude: float, other_latitude: float, other_longitude: float) -> float:
    """Distance over the ground."""
    south, north = math.radians(latitude), math.radians(other_latitude)
    across = math.radians(other_longitude - longitude)
    chord = math.sin((north - south) / 2) ** 2 + math.cos(south) * math.cos(north) * math.sin(across / 2) ** 2
    return 2 * 6371.0 * math.asin(math.sqrt(chord))


async def nothing(_context: Context, _strategy: RoutingStrategy) -> None:
    """What any ``await`` costs."""


# --- measuring --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one call, in µs."""

    mean: float
    p50: float
    p99: float


Route = Callable[[Context, Any], Awaitable[object]]
Ask = Callable[[RegionAwareRouter], Route]


async def mean_us(route: Route, contexts: Sequence[Context], strategy: Any = LATENCY) -> float:
    """The mean time of a call, in µs."""
    start = time.perf_counter_ns()
    for context in contexts:
        await route(context, strategy)
    return (time.perf_counter_ns() - start) / len(contexts) / 1000


async def each_us(route: Route, contexts: Sequence[Context], strategy: Any = LATENCY) -> list[float]:
    """The time of each call, in µs, shortest first."""
    now, times = time.perf_counter_ns, []
    for context in contexts:
        start = now()
        await route(context, strategy)
        times.append(now() - start)
    return [took / 1000 for took in sorted(times)]


async def cost(route: Route, contexts: Sequence[Context], strategy: Any = LATENCY) -> Cost:
    """Of calls with all that can be remembered remembered: the best of the rounds."""
    await mean_us(route, contexts, strategy)
    mean = min([await mean_us(route, contexts, strategy) for _ in range(ROUNDS)])
    rounds = [await each_us(route, contexts, strategy) for _ in range(ROUNDS)]
    p50, p99 = (min(times[int(len(times) * share)] for times in rounds) for share in (0.5, 0.99))
    return Cost(mean, p50, p99)


# --- what is measured -------------------------------------------------------------------------


async def by_regions(counts: Sequence[int]) -> tuple[list[list[str]], dict[str, list[tuple[float, float]]]]:
    """Rows, and lines for the plot: cost by the number of regions."""
    rows, contexts = [], clients(CLIENTS)
    lines: dict[str, list[tuple[float, float]]] = {"naive haversine router": [], "99th percentile": [], "median": []}
    for count in counts:
        manager = managed(count)
        router, naive = RegionAwareRouter(manager), NaiveRouter(list(manager.regions.values()))
        few = contexts[: max(100, min(CLIENTS, 200_000 // count))]
        naively = min([await mean_us(naive.route_request, few) for _ in range(2)])
        bare = min([await mean_us(nothing, contexts) for _ in range(ROUNDS)])
        ours = await cost(router.route_request, contexts)
        figures = (ours.p50, ours.p99, ours.mean, naively, bare)
        ratios = [f"{naively / ours.mean:,.0f} x", f"{ours.mean / bare:.0f} x"]
        rows.append([f"{count:,}", *ratios, *(f"{us:,.2f}" for us in figures)])
        for line, us in zip(lines.values(), (naively, ours.p99, ours.p50), strict=True):
            line.append((count, us))
    return rows, lines


async def by_clients(counts: Sequence[int]) -> tuple[list[list[str]], dict[str, list[tuple[float, float]]]]:
    """The same by the number of places that clients are at, with 100 regions: first requests and later ones."""
    lines: dict[str, list[tuple[float, float]]] = {
        "first request from a place": [],
        "later ones, 99th": [],
        "median": [],
    }
    for count in counts:
        router, contexts = RegionAwareRouter(managed(100)), clients(count)
        first = await mean_us(router.route_request, contexts)
        later = await each_us(router.route_request, contexts * max(1, CLIENTS // count))
        figures = (first, later[int(len(later) * 0.99)], later[len(later) // 2])
        for line, us in zip(lines.values(), figures, strict=True):
            line.append((count, us))
    table = zip(counts, *([f"{us:,.2f}" for _, us in line] for line in lines.values()), strict=True)
    return [[f"{count:,}", *cells] for count, *cells in table], lines


async def other_requests() -> list[list[str]]:
    """What other requests cost, at 100 and at 1,000 regions."""
    bare = await mean_us(nothing, clients(CLIENTS))
    rows = []
    few, many = RegionAwareRouter(managed(100)), RegionAwareRouter(managed(1_000))
    asked: list[tuple[str, Context, Any, Ask]] = [
        ("its estimate read", {}, LATENCY, with_estimate),
        ("three candidates read", {}, LATENCY, with_candidates),
        ("strategy as text", {}, "latency_based", plainly),
        ("under GDPR", {"compliance_requirements": ["gdpr"]}, LATENCY, plainly),
        ("country given", {"country": "DE"}, LATENCY, plainly),
        ("current region given", {"current_region": "region-1"}, LATENCY, plainly),
        *((strategy.value, {}, strategy, plainly) for strategy in RoutingStrategy if strategy is not LATENCY),
    ]
    for name, more, strategy, ask in asked:
        contexts = clients(CLIENTS // 5, **more)
        costs = [await cost(ask(router), contexts, strategy) for router in (few, many)]
        rows.append([name, f"{costs[0].mean / bare:.0f} x", *(f"{us:.2f}" for c in costs for us in (c.p50, c.p99))])
    return rows


def plainly(router: RegionAwareRouter) -> Route:
    """A decision, of which nothing more is read."""
    return router.route_request


def with_estimate(router: RegionAwareRouter) -> Route:
    """A decision, and the round trip that it says to expect."""

    async def route(context: Context, strategy: Any) -> str:
        return (await router.route_request(context, strategy)).estimate

    return route


def with_candidates(router: RegionAwareRouter) -> Route:
    """A decision, and the three best regions with the round trip to expect to each."""

    async def route(context: Context, strategy: Any) -> object:
        return (await router.route_request(context, strategy, 3)).candidates

    return route


async def changes() -> list[list[str]]:
    """From a change of a region to the answer that knows of it, at 1,000 regions."""
    manager, rows = managed(1_000), []
    router, contexts, regions = RegionAwareRouter(manager), clients(CLIENTS), list(manager.regions.values())
    await mean_us(router.route_request, contexts)

    def load(region: Region, turn: int) -> None:
        region.current_capacity = 10.0 + turn % 7

    def health(region: Region, turn: int) -> None:
        region.health_score = 0.0 if region.health_score else 95.0

    for name, change in (("load", load), ("health, down or up again", health)):
        took = []
        for turn in range(2_000):
            start = time.perf_counter_ns()
            change(regions[turn // 2 * 7 % 1_000], turn)
            await router.route_request(contexts[turn], LATENCY)
            took.append((time.perf_counter_ns() - start) / 1000)
        took.sort()
        rows.append([name, *(f"{took[int(len(took) * share)]:.0f}" for share in (0.5, 0.9, 0.99))])
    return rows


async def batches() -> list[list[str]]:
    """Decisions a second of ``route_many``, 100,000 clients anywhere on earth, and the longest turn of the loop."""
    dice, rows = np.random.default_rng(7), []
    latitudes, longitudes = np.degrees(np.arcsin(dice.uniform(-1, 1, 100_000))), dice.uniform(-180, 180, 100_000)
    for count in (10, 100, 1_000):
        router = RegionAwareRouter(managed(count))
        single = await mean_us(router.route_request, clients(1_000))
        single = min(single, await mean_us(router.route_request, clients(1_000)))
        took = []
        for _ in range(2 + ROUNDS):
            start = time.perf_counter()
            await router.route_many(latitudes, longitudes)
            took.append(time.perf_counter() - start)
        warm = len(latitudes) / min(took[1:])
        rows.append([f"{count:,}", f"{warm * single / 1e6:.0f} x", f"{warm / 1e6:.1f}", f"{took[0]:.2f}"])
    return rows


# --- all of it --------------------------------------------------------------------------------


def main() -> Table:
    """Measure, draw ``docs/routing-cost.png``, and give the tables."""
    return asyncio.run(_measured())


async def _measured() -> Table:
    rows, lines = await by_regions((1, 10, 100, 1_000))
    places, by_place = await by_clients((10, 100, 1_000, 10_000, 100_000))
    write_png(
        PLOT,
        [
            Chart("a decision, by the number of regions", "regions", "µs", lines),
            Chart("with 100 regions, by the number of places", "places of clients", "µs", by_place),
        ],
    )
    own, wall = await loop_gap()
    gap = (
        "Longest turn of the event loop while requests are routed and one of 1,000 regions goes down or up in every "
        f"turn: {own:.1f} ms of its own time, {wall:.1f} ms by the clock. A turn is ten requests and a change."
    )
    us = ("p50 µs", "p99 µs")
    others = Table(
        "",
        ("request", "a bare await", *(f"100: {name}" for name in us), *(f"1,000: {name}" for name in us)),
        await other_requests(),
    )
    tables = (
        Table("", ("places of clients, 100 regions", "first request µs", "later p99 µs", "later p50 µs"), places),
        others,
        Table(
            "", ("change of one of 1,000 regions, to the next decision", "p50 µs", "p90 µs", "p99 µs"), await changes()
        ),
        await longest_turns(),
        Table("", ("route_many, regions", "one at a time", "million/s", "first time, s"), await batches()),
    )
    columns = ("regions", "naive", "bare await", *us, "mean µs", "naive µs", "bare await µs")
    notes = "\n".join(
        [
            "Ratios: how many times as fast as the naive router, how many times a bare `await`.\n",
            *(t.markdown() for t in tables),
            gap,
        ]
    )
    return Table("await route_request(context, LATENCY_BASED)", columns, rows, notes)


if __name__ == "__main__":
    publish("routing", main())
