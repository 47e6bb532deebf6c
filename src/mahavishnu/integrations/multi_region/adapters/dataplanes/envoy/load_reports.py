"""Load reports of edges as plain values. Pure; the stream that carries them is in ``server.py``.

Envoy counts by cluster and locality: the cluster is a traffic class, the locality's region is ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mahavishnu.integrations.multi_region.core.traffic import service_of
from mahavishnu.integrations.multi_region.ports.dataplane import Load, LoadReport

from .proto import message

REQUEST = "envoy.service.load_stats.v3.LoadStatsRequest"
RESPONSE = "envoy.service.load_stats.v3.LoadStatsResponse"

_Counts = tuple[int, int, int, int]
_NOTHING: _Counts = (0, 0, 0, 0)


def wanted_reports(every_s: float) -> bytes:
    """The answer that asks for a report of all clusters, by locality, each ``every_s`` seconds."""
    found = message(RESPONSE)(send_all_clusters=True)
    found.load_reporting_interval.FromMilliseconds(round(every_s * 1000))
    encoded: bytes = found.SerializeToString()
    return encoded


class LoadReports:
    """The reports of one stream, in order. ``every_s``: the period to assume when a report does not say."""

    def __init__(self, edge_id: str, every_s: float) -> None:
        self._edge_id = edge_id
        self._every_s = every_s
        self._shown: frozenset[tuple[str, str]] = frozenset()

    def read(self, request: Any) -> LoadReport:
        """A ``LoadStatsRequest`` as a report.

        A class and region of the last report about which the edge is silent now is in it once with zeros: nothing was
        asked of it and nothing is in flight.
        """
        counts = _counted(request.cluster_stats)
        found = dict.fromkeys(self._shown, _NOTHING) | counts
        self._shown = frozenset(counts)
        loads = tuple(
            _load(class_name, region_id, found[class_name, region_id]) for class_name, region_id in sorted(found)
        )
        return LoadReport(self._edge_id, _period_s(request.cluster_stats, self._every_s), loads)


def _counted(clusters: Iterable[Any]) -> dict[tuple[str, str], _Counts]:
    """Sums by class and region; a locality without a region is none of ours."""
    found: dict[tuple[str, str], _Counts] = {}
    for cluster in clusters:
        for seen in cluster.upstream_locality_stats:
            if seen.locality.region:
                key = (cluster.cluster_name, seen.locality.region)
                found[key] = _sum(found.get(key, _NOTHING), seen)
    return found


def _sum(counts: _Counts, seen: Any) -> _Counts:
    succeeded, failed, in_flight, issued = counts
    return (
        succeeded + seen.total_successful_requests,
        failed + seen.total_error_requests,
        in_flight + seen.total_requests_in_progress,
        issued + seen.total_issued_requests,
    )


def _load(class_name: str, region_id: str, counts: _Counts) -> Load:
    succeeded, failed, in_flight, issued = counts
    return Load(service_of(class_name), class_name, region_id, succeeded, failed, in_flight, issued)


def _period_s(clusters: Iterable[Any], otherwise_s: float) -> float:
    """The longest period of the clusters: a cluster that is new reports a shorter one."""
    periods = [cluster.load_report_interval for cluster in clusters]
    return max((period.seconds + period.nanos / 1e9 for period in periods), default=0.0) or otherwise_s
