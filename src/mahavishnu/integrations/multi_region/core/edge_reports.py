"""What an edge really holds, read back from it, against what it was told: who does not belong, who was taken out.

Pure: reading an edge is an adapter's work, what follows from a finding the shell's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .traffic import EdgePlan


@dataclass(frozen=True, slots=True)
class HostSeen:
    """One region in one class as an edge holds it.

    ``ejected``: taken out by what the edge's own requests met; ``failing``: its own checks fail; ``in_flight``:
    requests without an answer.
    """

    region_id: str
    ejected: bool = False
    failing: bool = False
    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class EdgeReport:
    """What an edge holds: the regions of each class. ``version``: of the proxy."""

    edge_id: str
    classes: Mapping[str, tuple[HostSeen, ...]]
    version: str = ""


@dataclass(frozen=True, slots=True)
class Ejection:
    """A region was taken out of a class by an edge, or (``ejected`` false) let back in."""

    class_name: str
    region_id: str
    ejected: bool


def told_regions(plan: EdgePlan) -> dict[str, frozenset[str]]:
    """The regions that an edge is told to hold, by class."""
    return {kind.name: frozenset(target.region_id for target in kind.targets) for kind in plan.classes}


def astray(plan: EdgePlan, report: EdgeReport) -> dict[str, tuple[str, ...]]:
    """Regions in a class that the plan does not hold there, by class; empty when the edge does as it was told (L6)."""
    told = told_regions(plan)
    found: dict[str, tuple[str, ...]] = {}
    for name, hosts in report.classes.items():
        strays = {host.region_id for host in hosts} - told.get(name, frozenset())
        if strays:
            found[name] = tuple(sorted(strays))
    return found


def ejections(before: EdgeReport | None, now: EdgeReport) -> Iterator[Ejection]:
    """What changed since the report before: regions that an edge has taken out, and those that it let back in."""
    was = {} if before is None else dict(_ejected(before))
    for key, out in _ejected(now):
        if out != was.get(key, False):
            yield Ejection(*key, out)


def _ejected(report: EdgeReport) -> Iterator[tuple[tuple[str, str], bool]]:
    """Whether each region of each class is out; one with several addresses is when all of them are."""
    for name, hosts in report.classes.items():
        outs: dict[str, bool] = {}
        for host in hosts:
            outs[host.region_id] = outs.get(host.region_id, True) and host.ejected
        for region_id, out in outs.items():
            yield (name, region_id), out


def report_document(report: EdgeReport) -> dict[str, object]:
    """A report as plain data; what is as by default is left out, since most of it is."""
    classes = {name: [_host_document(host) for host in hosts] for name, hosts in report.classes.items()}
    return {"version": report.version, "classes": classes}


def _host_document(host: HostSeen) -> dict[str, object]:
    found = {"ejected": host.ejected, "failing": host.failing, "in_flight": host.in_flight}
    return {"region": host.region_id, **{name: value for name, value in found.items() if value}}
