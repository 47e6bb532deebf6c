"""The store: load, compare-and-swap on revisions, watch. Keys are paths (``regions/eu-west-1``), values text (JSON).

One counter, the revision, grows by one with every commit that changes something. An entry carries the revision of the
commit that last wrote it. Keys sort by their UTF-8 bytes, which is how Python sorts strings too.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from ..errors import HistoryGoneError, InvalidInputError, StaleRevisionError, StoreError

HISTORY = 100_000
"""How many commits back a watch may start, unless the store was opened with another figure."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored value and the revision of the commit that wrote it."""

    value: str
    revision: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """All entries under a prefix, in order of key, as of one revision of the whole store."""

    revision: int
    entries: Mapping[str, Entry]


@dataclass(frozen=True, slots=True)
class Changes:
    """What one commit changed under the watched prefix: the new value of each key, None where it was deleted."""

    revision: int
    values: Mapping[str, str | None]


class Store(Protocol):
    """Where intent, overrides and events live."""

    async def load(self, prefix: str = "", *, after: str = "", limit: int | None = None) -> Loaded:
        """Entries whose key starts with ``prefix`` and sorts after the key ``after``; at most ``limit``."""

    async def commit(self, values: Mapping[str, str | None], guards: Mapping[str, int] | None = None) -> int:
        """Write all of ``values`` (None deletes) as one change, durable on return; the new revision.

        ``guards``: key to the revision its entry must have now, 0 for "does not exist". Raises StaleRevisionError
        when one differs, and then nothing is written; StoreError when the outcome is unknown.
        Deleting what is not there is no change. A commit that changes nothing (no values, or only such deletes)
        checks its guards, leaves the revision as it is and returns it; watches do not see it.
        """

    def watch(self, prefix: str = "", *, after: int) -> AsyncIterator[Changes]:
        """Every commit after revision ``after`` that touches ``prefix``, in order, none lost; waits for more.

        Raises HistoryGoneError when the store no longer holds the history since ``after``, or has not come so far
        (it was put back to an older state).
        """

    async def close(self) -> None:
        """Let go of the store; watches end. Afterwards ``load`` and ``commit`` raise StoreError."""


# --- what every store needs ---------------------------------------------------------------------


def check_change(values: Mapping[str, str | None], guards: Mapping[str, int]) -> None:
    """Raise InvalidInputError unless keys and values are text that UTF-8 can carry and guards are revisions."""
    for key, value in values.items():
        check_key(key)
        if value is not None:
            _check_text(f"values[{key!r}]", value)
    for key, revision in guards.items():
        check_key(key)
        if isinstance(revision, bool) or not isinstance(revision, int) or revision < 0:
            raise InvalidInputError(f"guards[{key!r}]", revision, "a revision: a whole number from 0 (0: absent)")


def check_key(key: str) -> None:
    """Raise InvalidInputError unless ``key`` can name an entry."""
    _check_text("key", key)
    if not key:
        raise InvalidInputError("key", key, "text of at least one character")


def check_range(prefix: str, after: str = "", limit: int | None = None) -> None:
    """Raise InvalidInputError unless a load or a watch of this range can be answered."""
    _check_text("prefix", prefix)
    _check_text("after", after)
    if limit is not None and limit < 1:
        raise InvalidInputError("limit", limit, "a whole number from 1, or None for all")


def check_start(after: int, floor: int, revision: int) -> None:
    """Raise HistoryGoneError unless history (``floor``, ``revision``] can answer a watch from ``after``."""
    if after < floor:
        raise HistoryGoneError(f"changes after revision {after} are gone, the oldest kept is {floor + 1}: load again")
    if after > revision:
        raise HistoryGoneError(f"the store is at revision {revision}, before {after}: it was put back; load again")


def prefix_end(prefix: str) -> str | None:
    """The least key that sorts after every key with this prefix, None when there is none such."""
    stem = prefix.rstrip("\U0010ffff")
    if not stem:
        return None
    code = ord(stem[-1]) + 1
    return stem[:-1] + chr(0xE000 if code == 0xD800 else code)  # surrogates are no characters


def _check_text(field: str, value: object) -> None:
    if not isinstance(value, str):
        raise InvalidInputError(field, value, "text")
    try:
        value.isascii() or value.encode()
    except UnicodeEncodeError:
        raise InvalidInputError(field, value[:60], "text without lone surrogates") from None


class Bell:
    """Wakes everyone who waits. Take ``next()`` before looking for news, wait on it after: no ring is missed."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def next(self) -> asyncio.Event:
        """The event that the coming ring will set."""
        return self._event

    def ring(self) -> None:
        """Wake all who wait. Call it on the event loop."""
        self._event.set()
        self._event = asyncio.Event()


# --- the in-memory reference --------------------------------------------------------------------


class MemoryStore:
    """The in-memory reference: same contract, gone with the process. For one event loop.

    ``history``: how many commits back a watch may start.
    """

    def __init__(self, *, history: int = HISTORY) -> None:
        if history < 1:
            raise InvalidInputError("history", history, "a whole number of commits from 1")
        self._entries: dict[str, Entry] = {}
        self._history: deque[Changes] = deque(maxlen=history)
        self._revision = 0
        self._closed = False
        self._bell = Bell()

    async def load(self, prefix: str = "", *, after: str = "", limit: int | None = None) -> Loaded:
        self._check_open()
        check_range(prefix, after, limit)
        keys = sorted(key for key in self._entries if key.startswith(prefix) and key > after)
        return Loaded(self._revision, {key: self._entries[key] for key in keys[:limit]})

    async def commit(self, values: Mapping[str, str | None], guards: Mapping[str, int] | None = None) -> int:
        self._check_open()
        check_change(values, guards or {})
        for key, expected in (guards or {}).items():
            if (actual := self._revision_of(key)) != expected:
                raise StaleRevisionError(key, expected, actual)
        changed = {key: values[key] for key in sorted(values) if values[key] is not None or key in self._entries}
        if changed:
            self._apply(changed)
        return self._revision

    async def watch(self, prefix: str = "", *, after: int) -> AsyncIterator[Changes]:
        check_range(prefix)
        while not self._closed:
            news = self._bell.next()
            for changes in self._since(after):
                after = changes.revision
                touched = {key: value for key, value in changes.values.items() if key.startswith(prefix)}
                if touched:
                    yield Changes(changes.revision, touched)
                if self._is_closed():
                    return
            if after == self._revision:
                await news.wait()

    async def close(self) -> None:
        self._closed = True
        self._bell.ring()

    def _apply(self, changed: Mapping[str, str | None]) -> None:
        self._revision += 1
        for key, value in changed.items():
            if value is None:
                del self._entries[key]
            else:
                self._entries[key] = Entry(value, self._revision)
        self._history.append(Changes(self._revision, changed))
        self._bell.ring()

    def _since(self, after: int) -> list[Changes]:
        check_start(after, self._revision - len(self._history), self._revision)
        return list(islice(reversed(self._history), self._revision - after))[::-1]

    def _revision_of(self, key: str) -> int:
        entry = self._entries.get(key)
        return entry.revision if entry else 0

    def _is_closed(self) -> bool:  # a call, since it changes while a watch is away
        return self._closed

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("the store is closed")
