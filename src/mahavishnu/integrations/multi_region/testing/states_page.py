"""The page ``docs/states.md``, written from the transition tables in ``core/`` so that it cannot be wrong."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from mahavishnu.integrations.multi_region.core.deployment import State
from mahavishnu.integrations.multi_region.core.health import BREAKER_TRANSITIONS, TRANSITIONS, Breaker
from mahavishnu.integrations.multi_region.core.model import Phase
from mahavishnu.integrations.multi_region.core.rollout import TRANSITIONS as ROLLOUT

INTRODUCTION = """\
# States

This page is generated from the transition tables in `core/health.py` and `core/rollout.py`; a test compares them. Write
it anew with `python -m mahavishnu.integrations.multi_region.testing.states_page > docs/states.md`.

"""

PHASES = """\
## A region's health

Each observation (a probe's result, a report of a real request, time that passes) yields one signal, and the table says
what the signal does to the phase. A pair that is not in the table changes nothing. What follows from a phase, whether
the region leaves service for it, is decided by the safety rules.

"""

BREAKERS = """\
## Its circuit breaker

Moved by reports of real requests. Opening it takes the region down; it half opens when the region is let back in.

"""

DEPLOYMENTS = """\
## A deployment

Each transition is one transaction with one event. Which signals a deployment can get depends on its strategy: only
blue-green goes from step to step, and only active-passive is demoted and promoted.

"""

Row = tuple[StrEnum, StrEnum, StrEnum, str]


def states_page() -> str:
    """The whole page, in Markdown with Mermaid diagrams."""
    phases = [(before, signal, after, why) for (before, signal), (after, why) in TRANSITIONS.items()]
    breaker = [(before, signal, after, why) for (before, signal), (after, why) in BREAKER_TRANSITIONS.items()]
    deployment = [(before, signal, after, why) for (before, signal), (after, why) in ROLLOUT.items()]
    return "".join(
        [
            INTRODUCTION,
            PHASES,
            _diagram(Phase.UNKNOWN, phases),
            _table(phases),
            "\n",
            BREAKERS,
            _diagram(Breaker.CLOSED, breaker),
            _table(breaker),
            "\n",
            DEPLOYMENTS,
            _diagram(State.PREPARING, deployment),
            _table(deployment),
        ]
    )


def _diagram(start: StrEnum, rows: Iterable[Row]) -> str:
    """A Mermaid state diagram; signals that lead from one state to the same other share an arrow."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for before, signal, after, _ in rows:
        arrows.setdefault((before.value, after.value), []).append(signal.value)
    lines = [f"    {before} --> {after}: {', '.join(signals)}" for (before, after), signals in arrows.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", f"    [*] --> {start.value}", *lines, "```", "", ""])


def _table(rows: Iterable[Row]) -> str:
    head = ["| from | signal | to | because |", "|---|---|---|---|"]
    lines = [f"| {before.value} | {signal.value} | {after.value} | {why} |" for before, signal, after, why in rows]
    return "\n".join([*head, *lines, ""])


if __name__ == "__main__":
    print(states_page(), end="")
