"""Keeps Python's full garbage collections short, in a process that we own: they stop the event loop, and no turn of it
can be split while one runs.

A full collection looks at all objects that may refer to others and that are not put away: two hundred thousand once a
server has begun, fifty thousand more with each world of a thousand regions. So what is there in the beginning is put
away; full collections come sooner, so that little is new; and when one finds that much has come to stay, that is put
away too. What is put away is still freed when nobody holds it any more. Only a cycle among such objects stays, so that
once too many have been put away, all are looked at again, in one collection that is long.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

THRESHOLDS = (700, 5, 1)
"""Objects made and not freed before the youngest are looked at; and how often that happens before those that are older
are, in turn. With these, some 15,000 new objects before a full collection; with Python's own, 80,000."""

MOST = 5_000
"""Objects that a full collection may leave for the next one to look at again."""

MOST_AWAY = 1_000_000
"""Objects that may have been put away since the beginning and not freed: about 200 MB."""


class ShortCollections:
    """From ``begin`` to ``end``, or while ``kept``. For who owns the process: the collector is one for all in it."""

    def __init__(self, most: int = MOST, most_away: int = MOST_AWAY) -> None:
        self._most = most
        self._most_away = most_away
        self._before: tuple[int, int, int] | None = None
        self._at_first = self._away = 0

    def begin(self) -> None:
        """Put away what is there, once and at length. Safe to call twice."""
        if self._before is not None:
            return
        self._before = gc.get_threshold()
        gc.collect()
        gc.freeze()
        gc.collect()  # of nothing: the collector waits for a quarter of what it found last before it looks again
        self._at_first, self._away = gc.get_freeze_count(), 0
        gc.set_threshold(*THRESHOLDS)
        gc.callbacks.append(self._collected)

    def end(self) -> None:
        """Let collections be as they were."""
        if self._before is not None:
            gc.callbacks.remove(self._collected)
            gc.set_threshold(*self._before)
            gc.unfreeze()
            self._before = None

    @contextmanager
    def kept(self) -> Iterator[None]:
        """From ``begin`` to ``end``."""
        self.begin()
        try:
            yield
        finally:
            self.end()

    def _collected(self, phase: str, info: Mapping[str, int]) -> None:
        """Called by the collector itself, before and after each collection."""
        if phase != "stop" or info["generation"] != 2:
            return
        found = len(gc.get_objects(2))
        if found > self._most:
            gc.freeze()
            self._away += found
            if self._away > self._most_away:
                self._count_away()

    def _count_away(self) -> None:
        """How many of those are still there; when all are, cycles among them may be why."""
        self._away = max(0, gc.get_freeze_count() - self._at_first)
        if self._away > self._most_away:
            gc.unfreeze()
            self._away = 0
