"""Pieces that the demo's pictures and reports are drawn from. Decides nothing."""

from __future__ import annotations

from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from .promises import Promise
from .report import RequestSums

WIDTH = 108
BAR = 14


def requests(sums: RequestSums, *, seen_again: bool = True) -> Table:
    """What became of the requests. ``seen_again``: whether it was clients that tried again."""
    table = grid()
    services = ", ".join(f"{name} {count:,}" for name, count in sums.by_service.items())
    table.add_row("requests", f"{sums.total:,}  ({services})")
    causes = ", ".join(f"{cause} {count}" for cause, count in sums.failures_by_error.items())
    told = f"  ({causes})" if causes else ""
    if seen_again:
        table.add_row("failed at the first attempt", f"{sums.failed_first_attempts}{told}")
        table.add_row("tried once more, elsewhere", f"{sums.retried}")
        table.add_row("failed in the end", Text(f"{sums.failed}", style="bold red" if sums.failed else "bold green"))
    else:
        own = sums.failed_idempotent
        table.add_row("failed, idempotent", Text(f"{own}", style="bold red" if own else "bold green"))
        table.add_row("failed, others", f"{sums.failed - own}{told}")
    table.add_row(
        "took", f"{sums.typical_ms:,.0f} ms typically, {sums.p99_ms:,.0f} ms at p99, {sums.slowest_ms:,.0f} ms at most"
    )
    return table


def promises(given: Iterable[Promise]) -> Table:
    """Each promise, whether it was kept, and what shows that."""
    table = grid()
    for promise in given:
        mark = Text("PASS", style="bold green") if promise.held else Text("FAIL", style="bold red")
        table.add_row(mark, Text(promise.text), Text(promise.detail, style="dim"))
    return table


def section(title: str) -> Text:
    """A heading."""
    return Text(title, style="bold cyan")


def grid() -> Table:
    """Columns without lines."""
    table = Table.grid(padding=(0, 2))
    for _ in range(3):
        table.add_column()
    return table


def columns(*names: str) -> Table:
    """Columns with a head."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in names:
        table.add_column(column)
    return table


def percent(share: float) -> str:
    """A share as a whole number of percent."""
    return f"{100 * share:3.0f} %"


def short(text: str, width: int) -> str:
    """The text, cut where it is longer."""
    return text if len(text) <= width else text[: width - 1] + "…"
