"""Reading the event log: its newest entries, the proof that it is whole, and following it as it grows.

Events live in the store under ``events/`` and their number; ``events-head`` holds the last number and its hash. Both
are written in one commit (``journal.py``), so an event whose revision is not newer than a head's cannot lie beyond it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from mahavishnu.integrations.multi_region.core.events import GENESIS, ChainedEvent, parse_event, verify_link
from mahavishnu.integrations.multi_region.errors import AuditBrokenError, HistoryGoneError, InvalidInputError
from mahavishnu.integrations.multi_region.ports.store import Changes, Entry, Loaded, Store

EVENTS = "events/"
HEAD = "events-head"
PAGE = 200  # events read at once: a few milliseconds of hashing between two awaits


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the log: the last event's number and hash, and the revision of the entry saying so (0: no entry)."""

    seq: int = 0
    digest: str = GENESIS
    revision: int = 0

    @property
    def text(self) -> str:
        """What is stored under ``HEAD``."""
        return json.dumps({"seq": self.seq, "digest": self.digest})


def event_key(seq: int) -> str:
    """Where event number ``seq`` is stored; keys sort as their numbers do."""
    return f"{EVENTS}{seq:016d}"


class EventLog:
    """The log in ``store``, for reading. Needs no writer and works beside any number of them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def tail(self, after: int = 0, limit: int = 100) -> list[ChainedEvent]:
        """At most ``limit`` events after number ``after``, oldest first. Proves nothing; ``verify`` does.

        Raises AuditBrokenError for an event that cannot be read, StoreError.
        """
        loaded = await self._page(after, limit)
        return [_parse(key, entry.value) for key, entry in loaded.entries.items()]

    async def last(self, n: int) -> list[ChainedEvent]:
        """The newest ``n`` events, oldest first."""
        head, _ = await self._read_head()
        return await self.tail(max(0, head.seq - n), n)

    async def verify(self) -> int:
        """Prove that no event was altered, removed, moved or added up to the head as it stands now; how many there are.

        Writers may go on meanwhile. Raises AuditBrokenError with the number of the first event that fails; StoreError.
        Who rewrites every event and the head is found out only by a copy of a hash kept elsewhere (see the sinks).
        """
        head, as_of = await self._read_head()
        seq, digest = 0, GENESIS
        while seq < head.seq:
            loaded = await self._page(seq, min(PAGE, head.seq - seq))
            if not loaded.entries:
                raise AuditBrokenError(seq + 1, f"is missing, and so are all up to the last one written ({head.seq})")
            for key, entry in loaded.entries.items():
                seq += 1
                digest = _follow_link(key, entry.value, seq, digest)
        if digest != head.digest:
            raise AuditBrokenError(seq, "is not the one that was written last: it or the head was altered")
        await self._refuse_beyond(seq, as_of)
        return seq

    async def follow(self, after: int = 0) -> AsyncGenerator[ChainedEvent, None]:
        """Every event after number ``after``, in order: those that are there, then new ones as they come.

        Ends when the store is closed. Close the iterator when done before that (``contextlib.aclosing``).
        """
        while True:
            loaded = await self._page(after, PAGE)
            for key, entry in loaded.entries.items():
                found = _parse(key, entry.value)
                after = found.seq
                yield found
            if len(loaded.entries) == PAGE:
                continue
            try:
                async with aclosing(self._live(after, loaded.revision)) as live:
                    async for found in live:
                        after = found.seq
                        yield found
                return
            except HistoryGoneError:
                continue  # slower than the store's history: read the pages again

    async def _live(self, after: int, revision: int) -> AsyncGenerator[ChainedEvent, None]:
        async for changes in self._store.watch(EVENTS, after=revision):
            for found in _added(changes):
                if found.seq > after:
                    after = found.seq
                    yield found

    async def _read_head(self) -> tuple[Head, int]:
        """The head, and the revision of the whole store at which it was read."""
        loaded = await self._store.load(HEAD, limit=1)
        return parse_head(loaded.entries), loaded.revision

    async def _page(self, after: int, limit: int) -> Loaded:
        if after < 0:
            raise InvalidInputError("after", after, "the number of an event, or 0 for the start")
        return await self._store.load(EVENTS, after=event_key(after), limit=limit)

    async def _refuse_beyond(self, seq: int, as_of: int) -> None:
        """Nothing may stand after the last event but what was committed after the head was read, at ``as_of``."""
        loaded = await self._page(seq, PAGE)
        for key, entry in loaded.entries.items():
            if not as_of < entry.revision <= loaded.revision:
                raise AuditBrokenError(seq + 1, f"is not known to the head: {key!r} was added, or the head put back")


def parse_head(entries: Mapping[str, Entry]) -> Head:
    """The head among ``entries``; the start of an empty log when it is not there. Raises AuditBrokenError."""
    entry = entries.get(HEAD)
    if entry is None:
        return Head()
    try:
        raw = json.loads(entry.value)
        return Head(int(raw["seq"]), str(raw["digest"]), entry.revision)
    except (ValueError, KeyError, TypeError) as err:
        raise AuditBrokenError(0, f"the log's head cannot be read: {err}") from err


def _follow_link(key: str, text: str, seq: int, previous: str) -> str:
    """The digest of event ``seq`` if it stands where it must and says what it must."""
    if key != event_key(seq):
        raise AuditBrokenError(seq, f"is not where it belongs: {key!r} stands in its place")
    return verify_link(text, seq, previous).digest


def _added(changes: Changes) -> list[ChainedEvent]:
    return [_parse(key, text) for key, text in sorted(changes.values.items()) if text is not None]


def _parse(key: str, text: str) -> ChainedEvent:
    try:
        return parse_event(text)
    except (ValueError, KeyError, TypeError) as err:
        number = key.removeprefix(EVENTS)
        raise AuditBrokenError(int(number) if number.isdecimal() else 0, f"cannot be read: {err}") from err
