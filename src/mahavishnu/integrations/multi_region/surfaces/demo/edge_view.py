"""The report of the demo with edges, drawn for a terminal. Decides nothing."""

from __future__ import annotations

from collections.abc import Mapping

from rich.box import ROUNDED
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from .edge_report import EdgeReport, EdgeSums
from .faults import BEGIN_TEXT, GRAY_TEXT, Fault, Scenario
from .pieces import WIDTH, grid, promises, section
from .view import events, left_out, regions

WHAT = {
    Scenario.DRAIN: "an operator drains {victim}, streams in flight; then it is stopped",
    Scenario.CONTROLLER_LOSS: "the controller is killed, {victim} fails while it is away, and it comes back",
    Scenario.RESIDENCY: "{victim} leaves the policy while it is well; later every region of the EU fails",
}


def final_with_edges(report: EdgeReport) -> RenderableType:
    """The report, drawn."""
    parts: list[RenderableType] = [_headline(report), Text()]
    parts += [section("what clients saw"), _requests(report.requests), Text()]
    parts += [section("when"), _moments(report), Text()]
    parts += [section("where the traffic was"), regions(report.regions, report.victim), Text()]
    if report.left_out is not None:
        parts += [section(f"why there, right after the failover: {report.left_out.request}")]
        parts += [left_out(report.left_out), Text()]
    parts += [section("events"), events(report.events), Text()]
    parts += [section("promises"), promises(report.promises)]
    return Panel(Group(*parts), title=f"multi-region demo: {report.scenario}", box=ROUNDED, width=WIDTH, padding=(1, 2))


def _headline(report: EdgeReport) -> Text:
    text = Text(f"{_story(report)}.\n")
    text.append(f"{report.rate:g} requests/s go through {len(report.edges)} edges (Envoy); ")
    lost = report.requests.failed_idempotent
    text.append(
        f"{lost} of {report.requests.total:,} failed that could be repeated",
        style="bold red" if lost > 0 else "bold green",
    )
    return text.append(".")


def _story(report: EdgeReport) -> str:
    if report.fault is None:
        return WHAT[Scenario(report.scenario)].format(victim=report.victim)
    fault = Fault(report.fault)
    return f"{report.victim} fails: {GRAY_TEXT if fault is Fault.ERRORS else BEGIN_TEXT[fault]}"


def _requests(sums: EdgeSums) -> Table:
    table = grid()
    table.add_row("requests", f"{sums.total:,}  ({_listed(sums.by_service)}; {_listed(sums.by_method)})")
    lost = sums.failed_idempotent
    table.add_row("failed, idempotent", Text(str(lost), style="bold red" if lost else "bold green"))
    table.add_row("failed, others", f"{sums.failed_others}")
    table.add_row("response broke off", f"{sums.cut}")
    for what, counts in (("refused, by law", sums.refused), ("as clients saw it", sums.failures)):
        if counts:
            table.add_row(what, _listed(counts))
    took = f"{sums.typical_ms:,.0f} ms typically, {sums.p99_ms:,.0f} ms at p99, {sums.slowest_ms:,.0f} ms at most"
    table.add_row("took", took)
    if sums.last_affected_ms is not None:
        last = f"{sums.affected} in all; the last was due at {sums.last_affected_ms:,.0f} ms, counted from the fault"
        table.add_row("affected", last)
    return table


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _moments(report: EdgeReport) -> Table:
    table = grid()
    table.columns[0].justify = "right"
    for moment in report.moments:
        table.add_row(f"{moment.ms:,.0f} ms", moment.what)
    if report.phases.failovers > 1:
        table.add_row("", f"{report.phases.failovers} failovers in all")
    return table
