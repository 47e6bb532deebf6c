"""Events that must not make anybody wait: recorded in order, in the background, again until the store takes them.

A verdict takes effect at once, whether or not the store answers (L10); its event follows.
"""

from __future__ import annotations

import asyncio
from collections import deque

import structlog

from mahavishnu.integrations.multi_region.core.events import Event
from mahavishnu.integrations.multi_region.errors import InvalidInputError, MultiRegionError
from mahavishnu.integrations.multi_region.ports.clock import Clock

from .journal import Journal

MAX_BACKLOG = 10_000
"""Events kept while the store is lost; beyond that the oldest are dropped, and that is logged."""

BATCH = 90
"""Events recorded in one transaction: what any store takes at once."""

log = structlog.get_logger(__name__)


class Recorder:
    """Owns one task that drains a queue of events into the journal."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._queue: deque[Event] = deque()
        self._task: asyncio.Task[None] | None = None
        self.store_lost: str | None = None

    def soon(self, event: Event) -> None:
        """Record an event when the store takes it. Needs a running event loop."""
        if len(self._queue) >= MAX_BACKLOG:
            log.error("event dropped", dropped=self._queue.popleft())
        self._queue.append(event)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain(), name="event recorder")

    async def settled(self) -> None:
        """Wait until everything given so far is recorded."""
        while self._task is not None and not self._task.done():
            await asyncio.shield(self._task)

    async def close(self, timeout_s: float = 2.0) -> None:
        """Record what is queued, for at most ``timeout_s``, then stop."""
        if self._task is None:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self.settled()
        except TimeoutError:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            log.error("events lost at shutdown", count=len(self._queue))

    async def _drain(self) -> None:
        pause = 0.1
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            try:
                await self._journal.record({}, batch)
            except InvalidInputError as err:
                await self._record_apart(batch, err)
            except MultiRegionError as err:
                self._queue.extendleft(reversed(batch))
                self.store_lost = str(err)
                log.error("store lost: events wait", waiting=len(self._queue), error=str(err))
                await self._clock.sleep(pause)
                pause = min(5.0, 2 * pause)
                continue
            self.store_lost, pause = None, 0.1

    async def _record_apart(self, batch: list[Event], err: InvalidInputError) -> None:
        """Record each by itself, since one of them can never be: it must not keep the others from the log."""
        if len(batch) == 1:
            log.error("event dropped: it cannot be stored", dropped=batch[0], error=str(err))
            return
        half = len(batch) // 2
        for part in (batch[:half], batch[half:]):
            try:
                await self._journal.record({}, part)
            except InvalidInputError as again:
                await self._record_apart(part, again)
            except MultiRegionError:
                self._queue.extend(part)  # the store went away meanwhile: later, if out of order
