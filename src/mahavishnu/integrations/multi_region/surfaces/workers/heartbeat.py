"""Which processes hang, judged by when each was last heard of. Reads no clock and ends nobody: ``supervisor.py`` does.

Times are monotonic seconds. A machine that swaps or is frozen silences everybody at once: so a supervisor that was held
up itself holds nothing against others, and one process is ended at a time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

BEAT_EVERY_S = 1.0
LOOK_EVERY_S = 0.5
"""How often a process says that its event loop turns, and how often the supervisor looks at who has."""

HELD_UP_S = 2.0
"""When so long has passed since the last look, it was the supervisor that did not run."""

QUIET_S = 3.0
"""After so long a silence of a worker its neighbours take the connections that come to it, as if it had ended."""

WORKER_S = 10.0
CONTROLLER_S = 30.0
"""After so long a silence a process is ended. A turn of its event loop takes milliseconds; but a controller may wait
for a disk, and what it knows of health ends with it.
"""

START_S = 120.0
"""How long a worker may take from its start to its first word."""

NEXT_AFTER_S = 30.0
"""How long the one that was ended is waited for before another is."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """A process that runs. ``heard_at``: when it last spoke, or was started if it has not spoken yet. ``allowed_s``:
    how long it may be silent. ``ready``: whether it does its work.
    """

    name: str
    heard_at: float
    allowed_s: float
    ready: bool


@dataclass(frozen=True, slots=True)
class Watch:
    """What is remembered from one look to the next: when that was, since when looks have come in time, and which
    process was ended last, and when.
    """

    looked_at: float
    seeing_since: float
    ended: str | None = None
    ended_at: float = -math.inf


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a look comes to. ``silent_s``: how long each has been silent while looks came in time. ``quiet``: those that
    did their work and seem to do so no more; ``hangs``: the one process to end now.

    ``held_up_s``: how long the supervisor itself did not look, 0 when it was in time.
    """

    watch: Watch
    silent_s: Mapping[str, float]
    quiet: frozenset[str]
    hangs: str | None
    held_up_s: float


def judge(watch: Watch, pulses: Sequence[Pulse], now: float) -> Verdict:
    """One look at all processes."""
    gap_s = now - watch.looked_at
    held_up_s = gap_s if gap_s > HELD_UP_S else 0.0
    watch = replace(watch, looked_at=now, seeing_since=now if held_up_s else watch.seeing_since)
    silent_s = {pulse.name: now - max(pulse.heard_at, watch.seeing_since) for pulse in pulses}
    hangs = None if _awaits_the_last(watch, pulses) else _longest_overdue(watch, pulses, silent_s)
    if hangs is not None:
        watch = replace(watch, ended=hangs, ended_at=now)
    quiet = frozenset(pulse.name for pulse in pulses if pulse.ready and silent_s[pulse.name] > QUIET_S)
    return Verdict(watch, silent_s, quiet, hangs, held_up_s)


def _awaits_the_last(watch: Watch, pulses: Sequence[Pulse]) -> bool:
    """Whether the process that was ended last has yet to be back, and may still be."""
    back = any(pulse.name == watch.ended and pulse.ready and pulse.heard_at > watch.ended_at for pulse in pulses)
    return not back and watch.looked_at - watch.ended_at < NEXT_AFTER_S


def _longest_overdue(watch: Watch, pulses: Sequence[Pulse], silent_s: Mapping[str, float]) -> str | None:
    """Who is longest beyond what it is allowed; one that was ended and did not go keeps no other from its turn."""
    overdue_s = {pulse.name: silent_s[pulse.name] - pulse.allowed_s for pulse in pulses}
    late = [name for name, seconds in overdue_s.items() if seconds > 0.0]
    return max(late, key=lambda name: (name != watch.ended, overdue_s[name]), default=None)
