"""Messages over a stream: each its length in four bytes, then itself."""

from __future__ import annotations

import asyncio

LARGEST = 1 << 28
"""The largest message that is read, in bytes."""


def frame(message: bytes) -> bytes:
    """A message as it goes over the stream."""
    return len(message).to_bytes(4, "big") + message


async def next_message(reader: asyncio.StreamReader) -> bytes | None:
    """The next message, None at the end of the stream. Raises ValueError for one that is too long."""
    try:
        length = int.from_bytes(await reader.readexactly(4), "big")
        if length > LARGEST:
            raise ValueError(f"a message of {length} bytes")
        return await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
