"""What the journal writes in one commit: which waiting calls fit together, and how values and events become keys."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mahavishnu.integrations.multi_region.core.events import GENESIS, ChainedEvent, Event, canonical, chain, parse_event
from mahavishnu.integrations.multi_region.errors import InvalidInputError
from mahavishnu.integrations.multi_region.ports.store import check_change

from .event_log import EVENTS, HEAD, Head, event_key
from .turns import turn

MAX_KEYS = 100  # keys and guards in a shared commit: stores bound a transaction (etcd: 128 by default)
MAX_CHARS = 512 * 1024  # text in a shared commit (etcd: 1.5 MiB a request)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a call to ``record`` wrote: the revision of its commit, its events at their places in the chain."""

    revision: int
    entries: tuple[ChainedEvent, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """One caller's wish, checked, and the future on which it waits."""

    values: Mapping[str, str | None]
    events: tuple[Event, ...]
    guards: Mapping[str, int]
    size: int
    done: asyncio.Future[Recorded]

    @property
    def keys(self) -> int:
        """How many keys and guards it adds to a commit."""
        return len(self.values) + len(self.guards) + len(self.events)


@dataclass(slots=True)
class Batch:
    """Calls that go into one commit and mean the same as if each were committed by itself, in order."""

    calls: list[Call] = field(default_factory=list)
    values: dict[str, str | None] = field(default_factory=dict)
    guards: dict[str, int] = field(default_factory=dict)

    def takes(self, call: Call) -> bool:
        """Whether ``call`` may join: it touches nothing written here, contradicts no guard, and there is room."""
        if not self.calls:
            return True
        if any(key in self.values for key in (*call.values, *call.guards)):
            return False
        if any(self.guards.get(key, revision) != revision for key, revision in call.guards.items()):
            return False
        together = [*self.calls, call]
        return sum(one.keys for one in together) <= MAX_KEYS and sum(one.size for one in together) <= MAX_CHARS

    def add(self, call: Call) -> None:
        """Let ``call`` join."""
        self.calls.append(call)
        self.values.update(call.values)
        self.guards.update(call.guards)


@dataclass(frozen=True, slots=True)
class Layout:
    """A commit in full: what it writes, under which guards, where its events come to stand, and the head after it."""

    values: Mapping[str, str | None]
    guards: Mapping[str, int]
    entries: tuple[ChainedEvent, ...]
    seq: int
    digest: str


async def check_call(
    values: Mapping[str, str | None], events: Sequence[Event], guards: Mapping[str, int], done: asyncio.Future[Recorded]
) -> Call:
    """The call as it will be written. Raises InvalidInputError where something cannot be, or is the log's own."""
    check_change(values, guards)
    for key in (*values, *guards):
        if key == HEAD or key.startswith(EVENTS):
            raise InvalidInputError("key", key, f"a key outside {EVENTS!r} and not {HEAD!r}: the log writes those")
    frozen = []
    for place, event in enumerate(events):
        await turn(place)
        frozen.append(_freeze(event, f"events[{place}]"))
    size = sum(len(value or "") for value in values.values()) + sum(length for _, length in frozen)
    return Call(dict(values), tuple(event for event, _ in frozen), dict(guards), size, done)


def take_batch(queue: deque[Call]) -> list[Call]:
    """Take the longest run of calls off the queue that may share a commit; callers that have gone are dropped."""
    batch = Batch()
    while queue and (queue[0].done.done() or batch.takes(queue[0])):
        call = queue.popleft()
        if not call.done.done():
            batch.add(call)
    return batch.calls


async def lay_out(calls: Sequence[Call], head: Head) -> Layout:
    """One commit for ``calls``, their events chained on to ``head``.

    The callers' guards come first, so that a caller hears of its own. The place of the first new event must be empty:
    nothing in the log is ever written over.
    """
    batch, entries, texts = Batch(), [], {}
    seq, digest = head.seq, head.digest
    for call in calls:
        batch.add(call)
        for event in call.events:
            await turn(seq - head.seq)
            seq += 1
            entry, texts[event_key(seq)] = chain(event, seq, digest)
            digest = entry.digest
            entries.append(entry)
    if not entries:
        return Layout(batch.values, batch.guards, (), seq, digest)
    values = batch.values | texts | {HEAD: Head(seq, digest).text}
    guards = batch.guards | {HEAD: head.revision, event_key(head.seq + 1): 0}
    return Layout(values, guards, tuple(entries), seq, digest)


def share_out(calls: Sequence[Call], layout: Layout, revision: int) -> list[Recorded]:
    """What each of ``calls`` is told, in their order."""
    shares, start = [], 0
    for call in calls:
        end = start + len(call.events)
        shares.append(Recorded(revision, layout.entries[start:end]))
        start = end
    return shares


def _freeze(event: Event, field_name: str) -> tuple[Event, int]:
    """The event as the log will give it back (plain JSON values, the caller's own objects let go), and its length."""
    allowed = "an event whose values JSON can carry and give back: text keys, finite numbers, no cycles"
    try:
        text = canonical(event, 0, GENESIS)
        frozen = parse_event(text).event
        same = canonical(frozen, 0, GENESIS) == text
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as err:
        raise InvalidInputError(field_name, event, f"{allowed} ({err})") from err
    if not same:
        raise InvalidInputError(field_name, event, allowed)
    return frozen, len(text)
