"""Compares what edges really hold with what they were told (L6, L14), and tells of what their own requests met.

A change takes a moment to reach an edge, so a region out of its class counts when two reports in a row have it there.
Reports are the word of whoever may send them: they raise alarms and move no traffic, and no report is told of in more
than some ``MOST_TOLD`` events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from mahavishnu.integrations.multi_region.core.edge_reports import EdgeReport, Ejection, astray, ejections, told_regions
from mahavishnu.integrations.multi_region.core.traffic import EdgePlan, TrafficPlan
from mahavishnu.integrations.multi_region.ports.dataplane import SEVERAL, Astray, EdgeListener, Ejected

MOST_TOLD = 20
"""So many classes of a report are told of one by one, and so many regions of each; the others in one."""

_Strays = Mapping[str, tuple[str, ...]]


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
        self._tell_ejections(plan, ejections(self._last.get(report.edge_id), report))
        self._last[report.edge_id] = report

    def _compare(self, edge_id: str, now: dict[str, tuple[str, ...]]) -> None:
        before, told = self._strays.get(edge_id, {}), self._told.get(edge_id, {})
        self._strays[edge_id] = now
        lasting = {
            name: stay for name, regions in now.items() if (stay := tuple(sorted({*regions} & {*before.get(name, ())})))
        }
        fresh, others = _summed_up(lasting, told)
        for name in sorted(fresh.keys() | told.keys()):
            if fresh.get(name, ()) != told.get(name, ()):
                self._tell(Astray(edge_id, name, fresh.get(name, ()), others if name == SEVERAL and others else 1))
        self._told[edge_id] = fresh

    def _tell_ejections(self, plan: EdgePlan, changes: Iterable[Ejection]) -> None:
        """Tell of regions where they belong; of those in many classes at once in one."""
        edge_id, left = plan.edge.edge_id, MOST_TOLD
        for (region_id, ejected), names in _by_region(plan, changes).items():
            cause = "its requests failed there" if ejected else "its time out is over"
            if len(names) > left:
                self._tell(Ejected(edge_id, region_id, SEVERAL, ejected, cause, len(names)))
                continue
            left -= len(names)
            for name in names:
                self._tell(Ejected(edge_id, region_id, name, ejected, cause))


def _summed_up(strays: _Strays, told: _Strays) -> tuple[dict[str, tuple[str, ...]], int]:
    """As many as are told of one by one, first those that were so before; and how many the rest are."""
    names = sorted(strays, key=lambda name: (name not in told, name))
    found = {name: strays[name][:MOST_TOLD] for name in names[:MOST_TOLD]}
    if rest := names[MOST_TOLD:]:
        found[SEVERAL] = tuple(sorted(frozenset().union(*(strays[name] for name in rest))))[:MOST_TOLD]
    return found, len(rest)


def _by_region(plan: EdgePlan, changes: Iterable[Ejection]) -> dict[tuple[str, bool], list[str]]:
    """The classes by region and what became of it there; a region that does not belong to its class is left out."""
    told = told_regions(plan)
    found: dict[tuple[str, bool], list[str]] = {}
    for change in changes:
        if change.region_id in told.get(change.class_name, ()):
            found.setdefault((change.region_id, change.ejected), []).append(change.class_name)
    return found
