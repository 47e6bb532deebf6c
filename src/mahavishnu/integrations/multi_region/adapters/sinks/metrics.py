"""Figures for Prometheus, gathered when it asks: the hot path only counts in plain integers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from types import MappingProxyType
from typing import Any, TypeVar

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from mahavishnu.integrations.multi_region.core.events import ChainedEvent
from mahavishnu.integrations.multi_region.core.model import Phase

T = TypeVar("T")

PIECE = 200
"""Samples written in one turn of the event loop: about 1 ms of them."""


@dataclass(frozen=True, slots=True)
class RegionFigures:
    """One region now. ``health_score`` 0..100, None: unknown; ``load`` and ``max_capacity`` share a unit (requests/s).

    ``serving``: whether new traffic may go there.
    """

    region_id: str
    phase: Phase
    health_score: float | None
    load: float
    max_capacity: float
    serving: bool


@dataclass(frozen=True, slots=True)
class EdgeFigures:
    """One edge now. ``rejections``: parts of the newest plan that it refused; ``rates``: requests/s sent, by region.

    ``astray``: regions that it holds in a class of requests where they do not belong. ``serving``: whether it listens
    to clients; None: nobody knows, since it is not connected.
    """

    edge_id: str
    connected: bool = False
    synced: bool = False
    rejections: int = 0
    astray: int = 0
    rates: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    serving: bool | None = None


@dataclass(frozen=True, slots=True)
class RoundTripFigures:
    """Measured round trips: how many were learned from, how many refused by reason, and what is kept.

    ``cells``: of one degree, of all regions. ``unwritten``: regions of which the store does not know the newest yet.
    """

    observed: int = 0
    refused: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    regions: int = 0
    cells: int = 0
    unwritten: int = 0


@dataclass(frozen=True, slots=True)
class MetricsSnapshot:
    """What the process has counted since it started, and how its regions are now.

    ``decisions``: by (region id, strategy). ``refused``: by what was refused, e.g. ``route`` and ``failover``.
    ``events``: by kind. ``failover_seconds``: the sum over all ``failovers``.
    """

    regions: tuple[RegionFigures, ...] = ()
    decisions: Mapping[tuple[str, str], int] = field(default_factory=lambda: MappingProxyType({}))
    refused: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    events: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    failovers: int = 0
    failover_seconds: float = 0.0
    edges: tuple[EdgeFigures, ...] = ()
    round_trips: RoundTripFigures = RoundTripFigures()


class MetricsSink:
    """The Sink port as counters: events by kind. Its field is for reading."""

    def __init__(self) -> None:
        self.events: dict[str, int] = {}

    def take(self, entry: ChainedEvent) -> None:
        """Count one event."""
        kind = entry.event.kind
        self.events[kind.value] = self.events.get(kind.value, 0) + 1


@dataclass(frozen=True, slots=True)
class _Piece(Collector):
    """A part of one metric, to be written by itself."""

    metric: Metric

    def collect(self) -> Iterator[Metric]:
        yield self.metric


async def exposition(now: MetricsSnapshot, most: int = PIECE) -> bytes:
    """The snapshot in Prometheus' text form, written ``most`` samples at a time: other tasks run between."""
    parts, before = [], ""
    for metric in _metrics(now, most):
        text = generate_latest(_Piece(metric))
        if metric.name == before:  # it goes on: its name and type were told
            text = b"".join(line for line in text.splitlines(keepends=True) if not line.startswith(b"#"))
        parts.append(text)
        before = metric.name
        await asyncio.sleep(0)
    return b"".join(parts)


def _metrics(now: MetricsSnapshot, most: int) -> Iterator[Metric]:
    """Every metric, in pieces of ``most`` samples at most; the pieces of one follow each other."""
    yield from _region_metrics(now.regions, most)
    yield from _edge_metrics(now.edges, most)
    yield from _counter("decisions", "Routing decisions.", ("region", "strategy"), now.decisions, most)
    refused = {(what,): n for what, n in now.refused.items()}
    yield from _counter("refused", "What a rule refused.", ("what",), refused, most)
    yield from _counter("events", "Events by kind.", ("kind",), {(kind,): n for kind, n in now.events.items()}, most)
    yield from _round_trip_metrics(now.round_trips, most)
    yield CounterMetricFamily("multi_region_failovers", "Failovers completed.", value=now.failovers)
    yield SummaryMetricFamily(
        "multi_region_failover_duration_seconds",
        "From the first sign of failure to traffic moved.",
        count_value=now.failovers,
        sum_value=now.failover_seconds,
    )


def _round_trip_metrics(now: RoundTripFigures, most: int) -> Iterator[Metric]:
    yield CounterMetricFamily("multi_region_round_trips", "Measured round trips learned from.", value=now.observed)
    refused = {(reason,): n for reason, n in now.refused.items()}
    yield from _counter("round_trips_refused", "Measured round trips refused.", ("reason",), refused, most)
    gauges = (
        ("regions", "Regions to which round trips were learned.", now.regions),
        ("cells", "Cells from which they were, of all regions.", now.cells),
        ("unwritten", "Regions of which the store does not have the newest yet.", now.unwritten),
    )
    for name, text, value in gauges:
        yield GaugeMetricFamily(f"multi_region_round_trips_{name}", text, value=value)


def _region_metrics(regions: tuple[RegionFigures, ...], most: int) -> Iterator[Metric]:
    yield _phases(regions)
    figures: tuple[tuple[str, str, dict[str, float]], ...] = (
        (
            "health_score",
            "Health from 0 to 100; absent while unknown.",
            {r.region_id: r.health_score for r in regions if r.health_score is not None},
        ),
        ("load", "Load now, in the unit of capacity.", {r.region_id: r.load for r in regions}),
        ("capacity", "The most a region carries.", {r.region_id: r.max_capacity for r in regions}),
        ("serving", "1: new traffic may go there.", {r.region_id: float(r.serving) for r in regions}),
    )
    for name, text, values in figures:
        by_label = {(region_id,): value for region_id, value in values.items()}
        yield from _labelled(f"region_{name}", text, ("region",), by_label, most)


def _edge_metrics(edges: tuple[EdgeFigures, ...], most: int) -> Iterator[Metric]:
    figures: tuple[tuple[str, str, dict[tuple[str], float]], ...] = (
        ("connected", "1: it listens to us.", {(e.edge_id,): e.connected for e in edges}),
        ("synced", "1: it has the newest plan.", {(e.edge_id,): e.synced for e in edges}),
        (
            "serving",
            "1: it listens to clients; absent while unknown.",
            {(e.edge_id,): e.serving for e in edges if e.serving is not None},
        ),
        ("rejections", "What it refused.", {(e.edge_id,): e.rejections for e in edges}),
        ("astray", "Regions that it holds where they do not belong.", {(e.edge_id,): e.astray for e in edges}),
    )
    for name, text, values in figures:
        yield from _labelled(f"edge_{name}", text, ("edge",), values, most)
    rates = {(edge.edge_id, region_id): rate for edge in edges for region_id, rate in edge.rates.items()}
    text = "Requests/s that it sends a region, answered or not."
    yield from _labelled("edge_requests_per_second", text, ("edge", "region"), rates, most)


def _phases(regions: tuple[RegionFigures, ...]) -> Metric:
    """Regions in each phase, phases without any included, so that an alert on them has a series."""
    family = GaugeMetricFamily("multi_region_regions", "Regions by phase.", labels=("phase",))
    for phase in Phase:
        family.add_metric((phase.value,), sum(r.phase is phase for r in regions))
    return family


def _labelled(
    name: str, text: str, labels: tuple[str, ...], values: Mapping[Any, float], most: int
) -> Iterator[Metric]:
    """A gauge; ``values``: by the labels' values."""
    for part in _parts(values, most):
        family = GaugeMetricFamily(f"multi_region_{name}", text, labels=labels)
        for key, value in part:
            family.add_metric(key, value)
        yield family


def _counter(name: str, text: str, labels: tuple[str, ...], values: Mapping[Any, int], most: int) -> Iterator[Metric]:
    """A counter, the same."""
    for part in _parts(values, most):
        family = CounterMetricFamily(f"multi_region_{name}", text, labels=labels)
        for key, value in part:
            family.add_metric(key, value)
        yield family


def _parts(values: Mapping[Any, T], most: int) -> Iterator[Iterable[tuple[Any, T]]]:
    """The values, so many at once; once nothing where there are none, since a metric is told of all the same."""
    items = iter(values.items())
    yield islice(items, most)
    for item in items:
        yield chain((item,), islice(items, most - 1))
