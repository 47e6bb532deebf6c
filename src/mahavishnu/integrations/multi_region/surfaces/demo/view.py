"""The demo's live picture and its report, drawn for a terminal. Decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.bar import Bar
from rich.box import ROUNDED
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .controller import Explained, Status
from .faults import BEGIN_TEXT, Fault
from .frame import Frame
from .pieces import BAR, WIDTH, columns, grid, percent, promises, requests, section, short
from .report import DemoReport, Journey
from .sums import RegionSums
from .timeline import Timeline

PHASE_STYLE = {"healthy": "green", "degraded": "yellow", "saturated": "yellow", "down": "bold red", "unknown": "dim"}
SHOWN_EVENTS = 14


def picture(frame: Frame) -> RenderableType:
    """The live picture of one moment."""
    clock = Table.grid(padding=(0, 1), expand=True)
    clock.add_column(ratio=1)
    clock.add_column(justify="right")
    clock.add_row(
        ProgressBar(total=frame.seconds, completed=min(frame.elapsed_s, frame.seconds)),
        Text(f"{min(frame.elapsed_s, frame.seconds):4.1f} of {frame.seconds:g} s"),
    )
    parts: list[RenderableType] = [clock, _next(frame), _statuses(frame), _counters(frame), Text()]
    parts += [Text(short(line, WIDTH - 4), style=_news_style(line)) for line in frame.news]
    return Panel(Group(*parts), title="multi-region demo", box=ROUNDED, width=WIDTH)


def _next(frame: Frame) -> Text:
    if frame.note:
        return Text(short(frame.note, WIDTH - 4), style="yellow")
    if frame.elapsed_s < frame.fault_s:
        return Text(f"in {frame.fault_s - frame.elapsed_s:.0f} s {frame.victim} will fail", style="dim")
    if frame.elapsed_s < frame.mended_s:
        return Text(
            f"{frame.victim} has failed; it will be mended in {frame.mended_s - frame.elapsed_s:.0f} s", style="red"
        )
    return Text(f"{frame.victim} has been mended", style="green")


def _statuses(frame: Frame) -> Table:
    table = columns("region", "health", "share of traffic", "", "requests/s", "load")
    for status in frame.statuses:
        share = frame.shares.get(status.region_id, 0.0)
        table.add_row(
            Text(status.region_id, style="bold" if status.region_id == frame.victim else ""),
            Text(status.phase, style=PHASE_STYLE.get(status.phase, "")),
            Bar(1.0, 0.0, share, width=BAR * 2, color="cyan"),
            percent(share),
            f"{status.load:.0f} of {status.capacity:g}",
            _load_bar(status),
        )
    return table


def _load_bar(status: Status) -> Bar:
    load = status.load / status.capacity if status.capacity else 0.0
    return Bar(1.0, 0.0, min(1.0, load), width=BAR, color="red" if load > 0.9 else "green")


def _counters(frame: Frame) -> Text:
    text = Text(f"{frame.requests:,} requests   ", style="bold")
    if frame.through_edges:
        return text.append(f"{frame.failed} failed", style="bold red" if frame.failed else "green")
    text.append(f"{frame.failed_first} failed at the first attempt   ", style="yellow" if frame.failed_first else "dim")
    text.append(f"{frame.failed} failed in the end", style="bold red" if frame.failed else "green")
    return text


def _news_style(line: str) -> str:
    return "bold red" if "THE FAULT" in line else "yellow" if "failover" in line or " down" in line else ""


# --- the report -----------------------------------------------------------------------------------


def final(report: DemoReport) -> RenderableType:
    """The report, drawn."""
    parts: list[RenderableType] = [_headline(report), Text()]
    parts += [section("what clients saw"), requests(report.requests), Text()]
    parts += [section("when"), _times(report.timeline, report.victim), Text()]
    parts += [section("where the traffic was"), regions(report.regions, report.victim), Text()]
    moved = [journey for journey in report.journeys if journey.before != journey.after]
    if moved:
        parts += [section("whose traffic moved"), _journeys(moved), Text()]
    if report.left_out is not None:
        parts += [section(f"why there, right after the failover: {report.left_out.request}")]
        parts += [left_out(report.left_out), Text()]
    parts += [section("events"), events(report.events), Text()]
    parts += [section("promises"), promises(report.promises)]
    return Panel(Group(*parts), title="multi-region demo", box=ROUNDED, width=WIDTH, padding=(1, 2))


def _headline(report: DemoReport) -> Text:
    text = Text(f"{report.victim} failed under {report.rate:g} requests/s: {BEGIN_TEXT[Fault(report.fault)]}.\n")
    moved = report.timeline.moved_ms
    if report.timeline.failover_ms is None:
        text.append("Its traffic was not moved.", style="bold red")
    else:
        text.append(f"Traffic had moved after {moved:,.0f} ms", style="bold")
        text.append(f"; {report.requests.failed} of {report.requests.total:,} requests failed for their clients.")
    return text


def _times(times: Timeline, victim: str) -> Table:
    table = grid()
    table.columns[0].justify = "right"
    rows = [
        (0.0, f"{victim} fails"),
        (times.first_sign_ms, "the controller's first bad sign"),
        (times.detected_ms, "verdict: down"),
        (times.failover_ms, "failover recorded"),
        (times.moved_ms, "last request sent there"),
        (times.last_affected_ms, "last client learnt that its attempt there had failed"),
        (times.mended_ms, "the fault ends"),
        (times.recovered_ms, "traffic given back"),
    ]
    known = [(ms, what) for ms, what in rows if ms is not None]
    for ms, what in sorted(known, key=lambda row: row[0]):
        table.add_row(f"{ms:,.0f} ms", what)
    if times.failovers > 1:
        table.add_row("", f"{times.failovers} failovers in all, each with a longer hold-down than the one before")
    return table


def regions(sums: Iterable[RegionSums], victim: str) -> Table:
    """Each region's shares and load."""
    table = columns("region", "before", "", "while down", "", "recovered", "answers", "most in 1 s")
    for region in sums:
        recovered = "" if region.share_recovered is None else percent(region.share_recovered)
        table.add_row(
            Text(region.region_id, style="bold red" if region.region_id == victim else ""),
            Bar(1.0, 0.0, region.share_before, width=BAR, color="cyan"),
            percent(region.share_before),
            Bar(1.0, 0.0, region.share_after, width=BAR, color="cyan"),
            percent(region.share_after),
            recovered,
            f"{region.answers:,}",
            f"{region.peak} of {region.capacity}",
        )
    return table


def _journeys(journeys: Iterable[Journey]) -> Table:
    table = columns("clients", "service", "before", "", "while down", "")
    for journey in journeys:
        table.add_row(
            journey.city,
            journey.service,
            journey.before or "-",
            f"{journey.before_ms:.0f} ms",
            journey.after or "-",
            f"{journey.after_ms:.0f} ms",
        )
    return table


def left_out(explained: Explained) -> Table:
    """Where a request goes, and why nowhere else."""
    table = grid()
    table.add_row(Text(explained.selected or "refused", style="bold green"), "selected")
    for region_id, why in explained.excluded.items():
        table.add_row(region_id, Text(why))
    return table


def events(recorded: Sequence[Mapping[str, Any]]) -> Table:
    """What was recorded since the fault began."""
    table = grid()
    table.columns[0].justify = "right"
    since = [event for event in recorded if event["after_fault_ms"] >= 0]
    for event in since[:SHOWN_EVENTS]:
        line = " ".join(filter(None, (event["kind"], event["subject"], event["outcome"])))
        table.add_row(f"{event['after_fault_ms']:,.0f} ms", Text(line), Text(short(event["reason"], 42), style="dim"))
    if len(since) > SHOWN_EVENTS:
        table.add_row("", f"and {len(since) - SHOWN_EVENTS} more (--json lists all)", "")
    return table
