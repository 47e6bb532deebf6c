"""What needs somebody's attention at an edge, in words; for ``status`` and ``doctor``.

Judges by what the server tells of its edges, and holds no rule of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

READ_BACK_LATE_S = 60.0
"""An agent that has not told for so long what its edge holds is said to be silent; it tells every few seconds."""

_RUNBOOK = "docs/runbooks/edges.md"


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong with an edge.

    ``unlawful``: it may send requests where the law forbids it; ``deaf``: it serves nobody.
    """

    edge_id: str
    text: str
    remedy: str
    unlawful: bool = False
    deaf: bool = False

    @property
    def grave(self) -> bool:
        """Whether somebody has to look at once."""
        return self.unlawful or self.deaf

    def __str__(self) -> str:
        """The trouble as one line."""
        return f"edge {self.edge_id} {self.text}"


def troubles_of(edges: list[dict[str, Any]]) -> Iterator[Trouble]:
    """What is wrong with the edges that ``/v1/edges`` answers, the gravest first."""
    for look in (_astray, _deaf, _refusing, _lagging, _away):
        for edge in edges:
            yield from look(edge)


def unread(edges: list[dict[str, Any]]) -> Iterator[Trouble]:
    """Edges that carry traffic and of which nobody tells what they really hold."""
    for edge in edges:
        age = edge["read_back_age_s"]
        if edge["spec"] is None or not edge["connected"] or (age is not None and age <= READ_BACK_LATE_S):
            continue
        since = "has never been read back" if age is None else f"was last read back {age:.0f} s ago"
        remedy = f"multi-region edge run {edge['edge_id']} … --server URL, with an operator's token"
        yield Trouble(edge["edge_id"], f"{since}: nobody would notice if it held the wrong regions", remedy)


def _astray(edge: dict[str, Any]) -> Iterator[Trouble]:
    for name, regions in (edge["astray"] or {}).items():
        text = f"holds {', '.join(regions)} in {name}, where they do not belong: law may be broken"
        yield Trouble(edge["edge_id"], text, f"take it out of service; see {_RUNBOOK}", unlawful=True)


def _deaf(edge: dict[str, Any]) -> Iterator[Trouble]:
    if _is_deaf(edge):
        refused = edge["rejections"] or ()
        why = next((each["reason"] for each in refused if each["resource"].lower().startswith("listener")), "no reason")
        text = f"listens to nobody: it has no listener for clients, and refused the one that it was told: {why}"
        yield Trouble(edge["edge_id"], text, f"mend what it says; see {_RUNBOOK}", deaf=True)


def _is_deaf(edge: dict[str, Any]) -> bool:
    return edge["connected"] and edge["serving"] is False


def _refusing(edge: dict[str, Any]) -> Iterator[Trouble]:
    refused = edge["rejections"] or ()
    if refused and not _is_deaf(edge):
        first = refused[0]
        more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        text = f"does not have {first['resource']} as planned{more}: {first['reason']}"
        yield Trouble(edge["edge_id"], text, f"multi-region edges show {edge['edge_id']}; see {_RUNBOOK}")


def _lagging(edge: dict[str, Any]) -> Iterator[Trouble]:
    if edge["lagging"] and not edge["rejections"]:
        held = "no plan yet" if edge["acknowledged"] is None else f"plan {edge['acknowledged']} of {edge['current']}"
        yield Trouble(edge["edge_id"], f"lags: it has {held}", f"ask again in a second; then see {_RUNBOOK}")


def _away(edge: dict[str, Any]) -> Iterator[Trouble]:
    if edge["spec"] is None or edge["connected"]:
        return
    if edge["synced"] is None:
        text = "is declared, and this controller serves no edges"
        yield Trouble(edge["edge_id"], text, "start it with `serve --envoy`, or with `serve --xds HOST:PORT`")
        return
    text = "is not connected here: it follows another controller, goes on with what it has, or does not run"
    yield Trouble(edge["edge_id"], text, f"ask the other controllers, or start it; see {_RUNBOOK}")
