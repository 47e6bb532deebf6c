"""Scripts of outages: what befalls which region from which minute on, and the story that a stage tells of it.

Failures are spread evenly, not drawn: 0.6 means three probes of five, the same ones on every run, and not the same in
every region.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mahavishnu.integrations.multi_region.core.events import Event, EventKind
from mahavishnu.integrations.multi_region.testing.stage import FAILED, WELL, Stage

MINUTE = 60.0
WARM_UP_S = 60.0
"""How long all is well before a script begins, so that every region has been seen."""


@dataclass(frozen=True, slots=True)
class Spell:
    """From minute ``start`` to ``end``, probes fail at this rate (0..1)."""

    start: float
    end: float
    error_rate: float


def square_wave(start: float, end: float, bad: float, good: float) -> list[Spell]:
    """All bad for ``bad`` minutes, all good for ``good`` minutes, in turn."""
    spells, at = list[Spell](), start
    while at < end:
        spells.append(Spell(at, min(end, at + bad), 1.0))
        at += bad + good
    return spells


async def play(stage: Stage, script: Mapping[str, list[Spell]], minutes: float) -> list[str]:
    """Warm up, let the script happen for so many minutes, and tell the story."""
    await stage.pass_time(WARM_UP_S)
    began = stage.clock.now()
    for place, (region_id, spells) in enumerate(script.items()):
        _follow(stage, region_id, spells, began, owed=place / len(script))
    await stage.pass_time(minutes * MINUTE)
    return [_line(event, began) for event in stage.events if event.at > began]


def _follow(stage: Stage, region_id: str, spells: list[Spell], began: float, owed: float) -> None:
    """Let the region's probes see what its spells say. ``owed``: how much of a failure has built up at the start."""

    def answer() -> object:
        nonlocal owed
        minute = (stage.clock.now() - began) / MINUTE
        owed += next((s.error_rate for s in spells if s.start <= minute < s.end), 0.0)
        if owed < 1.0 - 1e-9:
            return WELL
        owed -= 1.0
        return FAILED

    stage.answer_with(region_id, answer)  # type: ignore[arg-type]  # both are probe results


def _line(event: Event, began: float) -> str:
    """One event as a line: the minute, what, whom, and the phase it came to."""
    phase = f" {event.after['phase']}" if event.kind is EventKind.HEALTH_CHANGED and event.after else ""
    return f"{int((event.at - began) // MINUTE):4} {event.kind.value} {event.subject}{phase}"
