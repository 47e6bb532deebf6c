"""What the tests of the journal share: a store that can be held up or fail, a clock that takes no time, events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from mahavishnu.integrations.multi_region.core.events import ChainedEvent, Event, EventKind
from mahavishnu.integrations.multi_region.ports.clock import SystemClock
from mahavishnu.integrations.multi_region.ports.store import Changes, Loaded, Store
from mahavishnu.integrations.multi_region.shell.journal import Journal, Recorded


class Turnstile:
    """A store in front of ``inner`` whose commits wait until they are let through, and fail when told to."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.commits: list[list[str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failures: list[Exception] = []

    async def load(self, prefix: str = "", *, after: str = "", limit: int | None = None) -> Loaded:
        await asyncio.sleep(0)  # as any store does that is not in memory
        return await self.inner.load(prefix, after=after, limit=limit)

    async def commit(self, values: Mapping[str, str | None], guards: Mapping[str, int] | None = None) -> int:
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        revision = await self.inner.commit(values, guards)
        self.commits.append([key for key in values if not key.startswith("events")])
        return revision

    def watch(self, prefix: str = "", *, after: int) -> AsyncIterator[Changes]:
        return self.inner.watch(prefix, after=after)

    async def close(self) -> None:
        await self.inner.close()


class HaltedClock(SystemClock):
    """A clock whose sleeps are noted and take no time."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


def happened(subject: str, **details: Any) -> Event:
    return Event(EventKind.REGION_UPDATED, 1.5, subject, details=details)


def subjects(entries: list[ChainedEvent] | tuple[ChainedEvent, ...]) -> list[str]:
    return [entry.event.subject for entry in entries]


async def turns(count: int = 20) -> None:
    """Let every task go as far as it can."""
    for _ in range(count):
        await asyncio.sleep(0)


async def held_up(journal: Journal, store: Turnstile) -> asyncio.Task[Recorded]:
    """A call whose commit is under way and held at the gate: whoever calls next must queue."""
    store.gate.clear()
    first = asyncio.create_task(journal.record({"first": "1"}, [happened("first")]))
    await turns()
    return first
