"""The only writer: values and the events that tell of them go into the store as one commit, events in a hash chain.

Callers that come while a commit is under way wait in a queue and share the next one. One task, the journal's own,
writes; a caller that gives up takes nobody else's result along.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence

import structlog

from mahavishnu.integrations.multi_region.core.events import ChainedEvent, Event
from mahavishnu.integrations.multi_region.errors import AuditBrokenError, StaleRevisionError, UnavailableError
from mahavishnu.integrations.multi_region.ports.clock import Clock
from mahavishnu.integrations.multi_region.ports.sink import Sink
from mahavishnu.integrations.multi_region.ports.store import Store

from .event_log import HEAD, EventLog, Head, event_key
from .journal_batch import Call, Layout, Recorded, check_call, lay_out, share_out, take_batch
from .turns import turn

__all__ = ["Journal", "Recorded"]

ATTEMPTS = 50
LONGEST_PAUSE_S = 0.1

log = structlog.get_logger(__name__)


class Journal(EventLog):
    """Writes to ``store`` and keeps its event log; then tells ``sinks``. Several journals may share a store.

    Close it before the store.
    """

    def __init__(self, store: Store, clock: Clock, sinks: Sequence[Sink] = ()) -> None:
        super().__init__(store)
        self._clock = clock
        self._sinks = tuple(sinks)
        self._queue: deque[Call] = deque()
        self._door = asyncio.Lock()
        self._flusher: asyncio.Task[None] | None = None
        self._head: Head | None = None  # None: not known, read it
        self._closed = False

    async def record(
        self, values: Mapping[str, str | None], events: Sequence[Event], guards: Mapping[str, int] | None = None
    ) -> Recorded:
        """Write ``values`` (None deletes) and ``events`` as one change, durable on return.

        ``guards``: key to the revision it must have, 0 for absent. Calls take effect in the order in which they were
        made. Raises StaleRevisionError when a guard differs and InvalidInputError for what cannot be stored: nothing
        is written then. StoreError: the outcome is unknown. UnavailableError: the journal is closed, or other writers
        kept it from the log; nothing is written. A caller that is cancelled while its turn has not come writes nothing.
        """
        if self._closed:
            raise UnavailableError("the journal is closed")
        async with self._door:  # in order, though many events take several turns of the loop to check
            call = await check_call(values, events, guards or {}, asyncio.get_running_loop().create_future())
            if self._closed:
                raise UnavailableError("the journal is closed")
            self._queue.append(call)
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush(), name="journal")
        return await call.done

    async def close(self) -> None:
        """Take no more calls; wait until those that were made are written. The store stays open."""
        self._closed = True
        if self._flusher is not None:
            await asyncio.wait({self._flusher})

    # --- the journal's own task -------------------------------------------------------------------

    async def _flush(self) -> None:
        calls: list[Call] = []
        try:
            while calls := take_batch(self._queue):
                await self._settle(calls)
        finally:  # only a loop that is shutting down leaves anybody waiting here
            for call in (*calls, *self._queue):
                call.done.cancel()
            self._queue.clear()

    async def _settle(self, calls: list[Call]) -> None:
        """Write ``calls`` and tell each caller. If they fail together for one's guard, each stands for itself."""
        try:
            shares = await self._write(calls)
        except StaleRevisionError as err:
            if len(calls) == 1:
                return _fail(calls, err)
            for call in calls:
                if not call.done.done():
                    await self._settle([call])
        except Exception as err:  # whatever it is, it belongs to those who wait, and the journal goes on
            _fail(calls, err)
        else:
            for call, share in zip(calls, shares, strict=True):
                if not call.done.done():
                    call.done.set_result(share)

    async def _write(self, calls: list[Call]) -> list[Recorded]:
        for attempt in range(ATTEMPTS):
            head = self._head or (await self._read_head())[0]
            layout = await lay_out(calls, head)
            try:
                revision = await self._store.commit(layout.values, layout.guards)
            except StaleRevisionError as err:
                if err.key not in (HEAD, event_key(head.seq + 1)):
                    raise
                await self._clock.sleep(min(LONGEST_PAUSE_S, 0.001 * attempt**2))
                self._head = await self._newer_head(head, err)
                continue
            await self._written(layout, head, revision)
            return share_out(calls, layout, revision)
        raise UnavailableError(f"other writers came first {ATTEMPTS} times: nothing was written, try later")

    async def _written(self, layout: Layout, head: Head, revision: int) -> None:
        self._head = Head(layout.seq, layout.digest, revision) if layout.entries else head
        for number, entry in enumerate(layout.entries):
            await turn(number)
            self._tell(entry)

    def _tell(self, entry: ChainedEvent) -> None:
        for sink in self._sinks:
            try:
                sink.take(entry)
            except Exception:
                log.exception("sink failed", sink=type(sink).__name__, seq=entry.seq)

    async def _newer_head(self, head: Head, err: StaleRevisionError) -> Head:
        newer, _ = await self._read_head()
        if newer == head and err.key != HEAD:
            raise AuditBrokenError(head.seq + 1, f"exists, but the log's head says {head.seq} is the last one") from err
        return newer


def _fail(calls: list[Call], err: Exception) -> None:
    for call in calls:
        if not call.done.done():
            call.done.set_exception(err)
