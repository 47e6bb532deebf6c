"""How a deployment goes: a picture that changes in place on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from .errors import REFUSED, UnreachableError
from .output import note, plain, say, show_fields, show_json_line

if TYPE_CHECKING:
    from rich.console import RenderableType

    from .client import Remote

LOOK_EVERY_S = 0.25
AWAY_S = 30.0
"""How long a server that does not answer is waited for."""

RETRY_S = 1.0
GOOD = ("serving", "completed")
"""States in which a deployment that settled is what was asked for."""

_BAR = 30
_STYLES = {"serving": "green", "completed": "green", "halted": "red", "rolled_back": "red", "rolling_back": "red"}
Document = Mapping[str, Any]
Show = Callable[[Document], None]


def follow_to_its_end(remote: Remote, found: Document, as_json: bool) -> None:
    """Show how it goes until it has settled. Raises typer.Exit with code 1 when it is not where it was meant to go."""
    from .client import segment

    path = f"/v1/deployments/{segment(found['deployment_id'])}"
    try:
        with _screen(as_json) as show:
            show(found)
            while not found["settled"]:
                time.sleep(LOOK_EVERY_S)
                found = _look(remote, path)
                show(found)
    except KeyboardInterrupt:
        note(
            f"{found['deployment_id']} goes on; `multi-region deployments show {found['deployment_id']} -F` follows it"
        )
        raise typer.Exit(130) from None
    if not as_json:
        say(line_of(found))
    if found["state"] not in GOOD:
        raise typer.Exit(REFUSED)


def _look(remote: Remote, path: str) -> Document:
    """The deployment now; a server that is away for a while is waited for, since the deployment goes on after it."""
    deadline = time.monotonic() + AWAY_S
    while True:
        try:
            return dict(remote.get(path))
        except UnreachableError as err:
            if time.monotonic() > deadline:
                raise
            note(f"{err}; trying again")
            time.sleep(RETRY_S)


def line_of(found: Document) -> str:
    """A deployment in one line: where it stands, and why."""
    text = f"{found['deployment_id']} ({found['strategy']}) is {found['state'].replace('_', ' ')}"
    why = found["held"] or _last_reason(found)
    return f"{text}: {why}; {shares_text(found)}" if why else f"{text}; {shares_text(found)}"


def shares_text(found: Document) -> str:
    """Who has how much of the traffic."""
    shares = [f"{region} {_percent(share)}" for region, share in found["weights"].items() if share > 0]
    return ", ".join(shares) or "no traffic"


def show_whole(found: Document) -> None:
    """All of a deployment, with its history."""
    from .output import local_time, show_table

    show_fields(
        [
            ("deployment", found["deployment_id"]),
            ("service", found["service"] + ("" if found["of_record"] else " (goes by another deployment, or none)")),
            ("strategy", found["strategy"] + (", declared" if found["declared"] else "")),
            ("state", found["state"]),
            ("held", found["held"]),
            ("failover", found["failover_strategy"]),
            ("shares", shares_text(found)),
            ("roles", ", ".join(f"{region} {role}" for region, role in found["roles"].items())),
            ("steps", ", ".join(f"{step:g} %" for step in found["steps"]) or None),
            ("after", found["supersedes"]),
        ]
    )
    for region, run in {**found["runs"], **found["undo"]}.items():
        say(f"{region}: {run['state']}{': ' + run['detail'] if run['detail'] else ''}")
    rows = [(local_time(line["at"]), line["state"], line["why"]) for line in found["history"]]
    show_table(("when", "state", "why"), rows, empty="no history")


# --- following ----------------------------------------------------------------------------------


@contextmanager
def _screen(as_json: bool) -> Iterator[Show]:
    if as_json:
        yield _JsonLines().show
    elif sys.stdout.isatty():
        with _picture() as show:
            yield show
    else:
        yield _Lines().show


class _JsonLines:
    """One object a line, for each change of it."""

    def __init__(self) -> None:
        self._last: Document | None = None

    def show(self, found: Document) -> None:
        """Print it if it changed."""
        if found != self._last:
            self._last = found
            show_json_line(found)


class _Lines:
    """One line for each transition, for each reason that holds it up, and for each change of the work in a region."""

    def __init__(self) -> None:
        self._told: set[tuple[object, ...]] = set()
        self._held: str | None = None

    def show(self, found: Document) -> None:
        """Say what is new."""
        for line in found["history"]:
            self._once((line["at"], line["state"], line["why"]), f"{line['state'].replace('_', ' ')}: {line['why']}")
        for region, run in {**found["runs"], **found["undo"]}.items():
            if run["attempt"]:
                self._once((region, run["state"], run["at"]), f"{region}: {run['state']}")
        if found["held"] is not None and _kind(found["held"]) != self._held:
            say(f"held: {found['held']}")
        self._held = None if found["held"] is None else _kind(found["held"])

    def _once(self, key: tuple[object, ...], text: str) -> None:
        if key not in self._told:
            self._told.add(key)
            say(text)


def _kind(held: str) -> str:
    """What holds it, without the figures that grow while one looks."""
    return "".join(c for c in held if not c.isdigit())


@contextmanager
def _picture() -> Iterator[Show]:
    from rich.live import Live

    with Live(refresh_per_second=4) as live:
        yield lambda found: live.update(_drawn(found))


def _drawn(found: Document) -> RenderableType:
    """The deployment as it stands, with a bar for each region."""
    from rich.bar import Bar
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    state = found["state"]
    head = Text(f"{found['deployment_id']}  {found['strategy']} of {found['service']}  ")
    head.append(state.replace("_", " "), style=_STYLES.get(state, "yellow"))
    table = Table.grid(padding=(0, 2))
    for region, share in found["weights"].items():
        run = (found["undo"] or found["runs"]).get(region, {})
        work = run.get("state", "")
        bar = Bar(1.0, 0.0, share, width=_BAR, color="cyan")
        table.add_row(plain(region), found["roles"][region], bar, _percent(share), work)
    parts: list[RenderableType] = [head, table]
    parts += [Text(plain(line["why"]), style="dim") for line in found["history"][-5:]]
    if found["held"] is not None:
        parts.append(Text(plain(f"held: {found['held']}"), style="yellow"))
    return Group(*parts)


def _last_reason(found: Document) -> str:
    """Why it is where it is; of a rollback why it began."""
    lines = [line["why"] for line in found["history"]]
    if found["state"] == "rolled_back":
        lines = [line["why"] for line in found["history"] if line["state"] == "rolling_back"] or lines
    return str(lines[-1]) if lines else ""


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
