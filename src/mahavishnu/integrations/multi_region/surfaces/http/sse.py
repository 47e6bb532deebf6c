"""The event log as server-sent events: what is there after a number, then what comes, until somebody hangs up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated

from fastapi import Header
from starlette.responses import StreamingResponse

from mahavishnu.integrations.multi_region.core.events import ChainedEvent
from mahavishnu.integrations.multi_region.errors import UnavailableError
from mahavishnu.integrations.multi_region.shell.event_log import EventLog

from .auth import Role
from .routes import Doors
from .schemas_v1 import EventAnswer
from .v1_look import LAST_SEQ, After, event_document

EVENT_STREAM = "text/event-stream"
LastEventId = Annotated[
    int | None, Header(alias="Last-Event-ID", ge=0, lt=LAST_SEQ, description="The last number seen, on reconnecting.")
]


class Streams:
    """The open streams of one server.

    ``keep_alive_s``: after so many quiet seconds a comment is sent, so that a dead connection is noticed. ``most``:
    streams at once; more are refused. ``open``: streams now.
    """

    def __init__(self, log: EventLog, *, keep_alive_s: float = 15.0, most: int = 100) -> None:
        self._log = log
        self._keep_alive_s = keep_alive_s
        self._most = most
        self.open = 0
        self._closing = asyncio.Event()

    def add_to(self, doors: Doors) -> None:
        """Add ``/events`` to a router."""
        stream = {"description": "Events, each with its number, its kind and itself as JSON.", "content": _STREAM}
        doors.add("GET", "/events", self.events, Role.VIEWER, None, problems=(503,), responses={200: stream})

    def close(self) -> None:
        """End every stream, and take no more: a server that is stopping waits for them."""
        self._closing.set()

    async def events(self, after: After = None, last_event_id: LastEventId = None) -> StreamingResponse:
        """The log as server-sent events, from the start, or after a number.

        `Last-Event-ID`, which browsers send when they connect again, counts more than `after`.
        """
        if self.open >= self._most or self._closing.is_set():
            raise UnavailableError(f"{self.open} of {self._most} streams are open, or the server is stopping")
        start = after if last_event_id is None else last_event_id
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(self._stream(start or 0), headers=headers, media_type=EVENT_STREAM)

    async def _stream(self, after: int) -> AsyncGenerator[str, None]:
        self.open += 1
        closing = asyncio.create_task(self._closing.wait())
        try:
            yield f": events after {after}\n\n"
            async with aclosing(self._log.follow(after)) as follow:
                async for text in self._until(closing, follow):
                    yield text
        finally:
            closing.cancel()
            self.open -= 1

    async def _until(
        self, closing: asyncio.Task[bool], follow: AsyncGenerator[ChainedEvent, None]
    ) -> AsyncIterator[str]:
        """Each event as it comes, comments while none does; ends with the log or when the server stops."""
        coming = asyncio.ensure_future(anext(follow, None))
        try:
            while not closing.done():
                wanted = {coming, closing}
                await asyncio.wait(wanted, timeout=self._keep_alive_s, return_when=asyncio.FIRST_COMPLETED)
                if coming.done():
                    entry = coming.result()
                    if entry is None:
                        return
                    yield as_text(entry)
                    coming = asyncio.ensure_future(anext(follow, None))
                elif not closing.done():
                    yield ": still here\n\n"
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)


_STREAM = {EVENT_STREAM: {"schema": {"type": "string"}}}


def as_text(entry: ChainedEvent) -> str:
    """One event in the form of the stream; its JSON has no line breaks."""
    data = EventAnswer.model_validate(event_document(entry)).model_dump_json()
    return f"id: {entry.seq}\nevent: {entry.event.kind.value}\ndata: {data}\n\n"
