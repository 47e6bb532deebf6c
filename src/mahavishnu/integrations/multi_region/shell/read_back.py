"""Compares what edges really hold with what they were told (L6, L14), and tells of what their own requests met.

A change takes a moment to reach an edge, so a region out of its class counts when two reports in a row have it there.
"""

from __future__ import annotations

from collections.abc import Callable

from mahavishnu.integrations.multi_region.core.edge_reports import EdgeReport, astray, ejections
from mahavishnu.integrations.multi_region.core.traffic import TrafficPlan
from mahavishnu.integrations.multi_region.ports.dataplane import Astray, EdgeListener, Ejected


class ReadBack:
    """Takes the reports of edges' agents. ``plan``: the newest; ``tell``: who hears of findings."""

    def __init__(self, plan: Callable[[], TrafficPlan], tell: EdgeListener) -> None:
        self._plan = plan
        self._tell = tell
        self._last: dict[str, EdgeReport] = {}
        self._strays: dict[str, dict[str, tuple[str, ...]]] = {}
        self._told: dict[str, dict[str, tuple[str, ...]]] = {}

    def take(self, report: EdgeReport) -> None:
        """Look at what an edge holds now; one that is not part of the plan is not looked at."""
        plan = self._plan().edges.get(report.edge_id)
        if plan is None:
            return
        self._compare(report.edge_id, astray(plan, report))
        for change in ejections(self._last.get(report.edge_id), report):
            cause = "its requests failed there" if change.ejected else "its time out is over"
            self._tell(Ejected(report.edge_id, change.region_id, change.class_name, change.ejected, cause))
        self._last[report.edge_id] = report

    def _compare(self, edge_id: str, now: dict[str, tuple[str, ...]]) -> None:
        before, told = self._strays.get(edge_id, {}), self._told.setdefault(edge_id, {})
        self._strays[edge_id] = now
        for name in sorted(now.keys() | told.keys()):
            lasting = tuple(region for region in now.get(name, ()) if region in before.get(name, ()))
            if lasting != told.get(name, ()):
                self._tell(Astray(edge_id, name, lasting))
                told[name] = lasting
        self._told[edge_id] = {name: regions for name, regions in told.items() if regions}
