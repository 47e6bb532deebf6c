"""How answers are printed: tables and lines for people, JSON for programs, errors on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from mahavishnu.integrations.multi_region.errors import MultiRegionError

from .errors import lines_of, problem_of

if TYPE_CHECKING:
    from rich.console import Console

_PIPE_WIDTH = 200  # columns where there is no terminal to ask

_COLOURS = {
    "healthy": "green",
    "ok": "green",
    "active": "green",
    "add": "green",
    "degraded": "yellow",
    "saturated": "yellow",
    "draining": "yellow",
    "drained": "yellow",
    "update": "yellow",
    "warn": "yellow",
    "down": "red",
    "remove": "red",
    "fail": "red",
}
"""Words whose cell is coloured where the terminal has colours; the word itself always stands there."""


def plain(value: object) -> str:
    """A value as one line that is safe to print: what a terminal would obey is written as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(value))


def say(text: str) -> None:
    """One line on standard output."""
    print(plain(text), flush=True)


def note(text: str) -> None:
    """One line on standard error, beside the answer."""
    print(plain(text), file=sys.stderr, flush=True)


def show_json(value: Any) -> None:
    """An answer as an indented JSON document."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str), flush=True)


def show_json_line(value: Any) -> None:
    """One record of a stream as a line of JSON."""
    print(json.dumps(value, separators=(",", ":"), default=str), flush=True)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """A table with a line for each row; ``empty`` is said instead where there is none. None is an empty cell."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        cells = ["" if cell is None else plain(cell) for cell in row]
        table.add_row(*(Text(cell, style=_COLOURS.get(cell, "")) for cell in cells))
    if table.row_count:
        _console().print(table)
    else:
        say(empty)


def show_fields(pairs: Iterable[tuple[str, object]]) -> None:
    """Names and values below each other; those whose value is None are left out."""
    shown = [(name, value) for name, value in pairs if value is not None]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        say(f"{name.ljust(width)}  {plain(value)}")


def show_error(err: MultiRegionError, as_json: bool) -> None:
    """The reason on standard error; with JSON the problem document on standard output."""
    if as_json:
        show_json(problem_of(err))
        return
    for text in lines_of(err):
        note(text)


def number(value: object) -> str:
    """A figure as short as it is exact; empty for none."""
    return "" if value is None else f"{value:g}" if isinstance(value, int | float) else plain(value)


def percent(part: float, whole: float) -> str:
    """``part`` of ``whole`` in percent; empty when there is no whole."""
    return f"{100 * part / whole:.0f} %" if whole else ""


def local_time(seconds: object) -> str:
    """A time in seconds since the epoch as date and time here; empty for none."""
    from datetime import datetime

    if not isinstance(seconds, int | float):
        return ""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _console() -> Console:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)
