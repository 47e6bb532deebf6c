"""One moment of the demo, as it is shown while it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .controller import Status


@dataclass(frozen=True, slots=True)
class Frame:
    """One moment. ``elapsed_s`` of ``seconds``; shares 0..1 of the last seconds' requests; ``news``: newest last.

    ``fault_s``: when the fault begins, in seconds after the start. ``note``: what to say instead of when it does.
    ``through_edges``: whether it is edges that try again, of which clients see nothing.
    """

    victim: str
    elapsed_s: float
    seconds: float
    fault_s: float
    mended_s: float
    statuses: Sequence[Status]
    shares: dict[str, float]
    requests: int
    failed_first: int
    failed: int
    news: Sequence[str]
    note: str = ""
    through_edges: bool = False
