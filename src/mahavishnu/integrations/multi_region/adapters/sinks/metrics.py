"""Figures for Prometheus, gathered when it asks: the hot path only counts in plain integers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from mahavishnu.integrations.multi_region.core.events import ChainedEvent, EventKind
from mahavishnu.integrations.multi_region.core.model import Phase


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
    """One edge now. ``rejections``: parts of the newest plan that it refused; ``rates``: requests/s by region.

    ``astray``: regions that it holds in a class of requests where they do not belong.
    """

    edge_id: str
    connected: bool = False
    synced: bool = False
    rejections: int = 0
    astray: int = 0
    rates: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


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


class MetricsSink:
    """The Sink port as counters: events by kind, and what failovers took. Its fields are for reading."""

    def __init__(self) -> None:
        self.events: dict[str, int] = {}
        self.failovers = 0
        self.failover_seconds = 0.0

    def take(self, entry: ChainedEvent) -> None:
        """Count one event."""
        kind = entry.event.kind
        self.events[kind.value] = self.events.get(kind.value, 0) + 1
        if kind is EventKind.FAILOVER_COMPLETED:
            self.failovers += 1
            self.failover_seconds += _seconds(entry.event.details.get("duration_ms"))

    @property
    def failovers_refused(self) -> int:
        """How many failovers a rule refused."""
        return self.events.get(EventKind.FAILOVER_REFUSED.value, 0)


class FleetCollector(Collector):
    """Turns the snapshot that ``read`` returns into metrics, each time Prometheus asks."""

    def __init__(self, read: Callable[[], MetricsSnapshot]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """Every metric, from one snapshot."""
        now = self._read()
        yield from _region_metrics(now.regions)
        yield from _edge_metrics(now.edges)
        yield _counter("decisions", "Routing decisions.", ("region", "strategy"), now.decisions)
        yield _counter("refused", "What a rule refused.", ("what",), {(what,): n for what, n in now.refused.items()})
        yield _counter("events", "Events by kind.", ("kind",), {(kind,): n for kind, n in now.events.items()})
        yield CounterMetricFamily("multi_region_failovers", "Failovers completed.", value=now.failovers)
        yield SummaryMetricFamily(
            "multi_region_failover_duration_seconds",
            "From the first sign of failure to traffic moved.",
            count_value=now.failovers,
            sum_value=now.failover_seconds,
        )


def build_registry(read: Callable[[], MetricsSnapshot]) -> CollectorRegistry:
    """A registry of one's own with the fleet's metrics; nothing is registered globally."""
    registry = CollectorRegistry()
    registry.register(FleetCollector(read))
    return registry


def _region_metrics(regions: tuple[RegionFigures, ...]) -> Iterator[Metric]:
    yield _phases(regions)
    scores = {r.region_id: r.health_score for r in regions if r.health_score is not None}
    yield _gauge("region_health_score", "Health from 0 to 100; absent while unknown.", scores)
    yield _gauge("region_load", "Load now, in the unit of capacity.", {r.region_id: r.load for r in regions})
    yield _gauge("region_capacity", "The most a region carries.", {r.region_id: r.max_capacity for r in regions})
    yield _gauge("region_serving", "1: new traffic may go there.", {r.region_id: float(r.serving) for r in regions})


def _edge_metrics(edges: tuple[EdgeFigures, ...]) -> Iterator[Metric]:
    one = ("edge",)
    yield _labelled("edge_connected", "1: it listens to us.", one, {(e.edge_id,): e.connected for e in edges})
    yield _labelled("edge_synced", "1: it has the newest plan.", one, {(e.edge_id,): e.synced for e in edges})
    yield _labelled("edge_rejections", "What it refused.", one, {(e.edge_id,): e.rejections for e in edges})
    yield _labelled(
        "edge_astray", "Regions that it holds where they do not belong.", one, {(e.edge_id,): e.astray for e in edges}
    )
    rates = {(edge.edge_id, region_id): rate for edge in edges for region_id, rate in edge.rates.items()}
    yield _labelled("edge_requests_per_second", "Requests/s that a region gets from it.", ("edge", "region"), rates)


def _phases(regions: tuple[RegionFigures, ...]) -> Metric:
    """Regions in each phase, phases without any included, so that an alert on them has a series."""
    family = GaugeMetricFamily("multi_region_regions", "Regions by phase.", labels=("phase",))
    for phase in Phase:
        family.add_metric((phase.value,), sum(r.phase is phase for r in regions))
    return family


def _gauge(name: str, text: str, values: Mapping[str, float]) -> Metric:
    return _labelled(name, text, ("region",), {(region_id,): value for region_id, value in values.items()})


def _labelled(name: str, text: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> Metric:
    """A gauge; ``values``: by the labels' values."""
    family = GaugeMetricFamily(f"multi_region_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _counter(
    name: str, text: str, labels: tuple[str, ...], values: Mapping[tuple[str, str], int] | Mapping[tuple[str], int]
) -> Metric:
    family = CounterMetricFamily(f"multi_region_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _seconds(duration_ms: object) -> float:
    """A duration in seconds; 0 for what is no number of milliseconds."""
    return duration_ms / 1000.0 if isinstance(duration_ms, int | float) else 0.0
