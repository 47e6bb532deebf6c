"""Take an event, after it is safely in the log: for log lines, metrics and followers."""

from __future__ import annotations

from typing import Protocol

from ..core.events import ChainedEvent


class Sink(Protocol):
    """Told of each event once, in order; must return at once and not raise."""

    def take(self, entry: ChainedEvent) -> None:
        """One event."""


class MemorySink:
    """The in-memory reference: keeps what it was told."""

    def __init__(self) -> None:
        self.entries: list[ChainedEvent] = []

    def take(self, entry: ChainedEvent) -> None:
        self.entries.append(entry)
