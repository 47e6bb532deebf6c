"""The report of the blue-green demo, drawn for a terminal. Decides nothing."""

from __future__ import annotations

from rich.bar import Bar
from rich.box import ROUNDED
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from .pieces import BAR, WIDTH, columns, grid, percent, promises, requests, section, short
from .rollout_report import RolloutReport

_WHY = 78


def final_of_rollout(report: RolloutReport) -> RenderableType:
    """The report, drawn."""
    parts: list[RenderableType] = [_headline(report), Text()]
    parts += [section("what clients saw"), requests(report.requests, seen_again=report.through == "clients"), Text()]
    parts += [section("step by step"), _steps(report), Text()]
    parts += [section("when and why"), _history(report), Text()]
    parts += [section("where the traffic was"), _regions(report), Text()]
    parts += [section("promises"), promises(report.promises)]
    return Panel(Group(*parts), title="multi-region demo: blue-green", box=ROUNDED, width=WIDTH, padding=(1, 2))


def _headline(report: RolloutReport) -> Text:
    text = Text(f"web moves from {' and '.join(report.blue)} to {report.green} under {report.rate:g} requests/s")
    text.append("; its new version there is bad.\n" if report.failing else ".\n")
    text.append(f"The rollout is {report.state.replace('_', ' ')}", style="bold")
    text.append(f"; {report.requests.failed} of {report.requests.total:,} requests failed for their clients.")
    return text


def _steps(report: RolloutReport) -> Table:
    drawn = columns("planned", "green had", "", "requests", "after")
    for step in report.steps:
        share = step.to_green / step.requests if step.requests else 0.0
        drawn.add_row(
            f"{step.percent:g} %",
            Bar(1.0, 0.0, share, width=BAR * 2, color="green"),
            percent(share),
            f"{step.to_green:,} of {step.requests:,}",
            f"{step.after_ms:,.0f} ms",
        )
    return drawn


def _history(report: RolloutReport) -> Table:
    drawn = grid()
    drawn.columns[0].justify = "right"
    for line in report.history:
        drawn.add_row(f"{line['after_ms']:,.0f} ms", line["state"].replace("_", " "), Text(short(line["why"], _WHY)))
    return drawn


def _regions(report: RolloutReport) -> Table:
    drawn = columns("region", "role", "answers", "failed", "most in 1 s")
    for region in report.regions:
        failed = Text(f"{region.failed:,}", style="red" if region.failed else "")
        load = f"{region.peak} of {region.capacity}"
        drawn.add_row(region.region_id, region.role, f"{region.answers:,}", failed, load)
    return drawn
