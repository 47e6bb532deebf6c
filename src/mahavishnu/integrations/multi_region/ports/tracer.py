"""Takes the traces of decisions that were sampled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Span:
    """One thing that was done. ``started_at``, ``ended_at``: seconds since the epoch. ``error``: why it failed."""

    name: str
    started_at: float
    ended_at: float
    attributes: Mapping[str, str | int]
    error: str | None = None


class Tracer(Protocol):
    """Takes spans; what cannot be delivered is its own affair, and nobody waits for it."""

    def record(self, span: Span) -> None:
        """Take a span that has ended; it belongs to whatever the caller was doing."""


class MemoryTracer:
    """The in-memory reference: keeps what it was given, in order."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def record(self, span: Span) -> None:
        self.spans.append(span)
