"""What the endpoints that act answer. Models only."""

from __future__ import annotations

from pydantic import Field

from mahavishnu.integrations.multi_region.core.failover import FailoverStrategy
from mahavishnu.integrations.multi_region.core.model import AdminState
from mahavishnu.integrations.multi_region.core.overrides import Cause

from .schemas import Answer


class FailoverAnswer(Answer):
    """A failover as planned (``dry_run``), or as carried out; then with its times."""

    dry_run: bool = False
    from_region: str
    to_region: str = Field(description="The region that takes most.")
    strategy: FailoverStrategy
    reason: str
    shares: dict[str, float] = Field(description="Share of the load (0 to 1) that each region takes.")
    shed: float = Field(description="Share of the load that nobody has room for.")
    load: float = Field(description="Load that moves, in requests/s.")
    excluded: dict[str, str] = Field(description="Why each other region takes none.")
    revision: int
    rtt_ms: dict[str, float] | None = Field(
        None, description="Round trip in ms to expect from the region that leaves to each that takes load; of a plan."
    )
    event_id: str | None = None
    cause: Cause | None = None
    started_at: float | None = Field(None, description="Seconds since the epoch.")
    completed_at: float | None = Field(None, description="Seconds since the epoch.")
    duration_ms: float | None = Field(
        None, description="From the first bad sign, or the call, to the last acknowledgement, or to when no more came."
    )
    detected_ms: float | None = Field(None, description="From the first bad sign to the start of the failover.")
    first_signal_at: float | None = Field(None, description="First bad sign, in seconds since the epoch.")
    verdict_at: float | None = Field(None, description="Verdict, or the call, in seconds since the epoch.")
    planned_at: float | None = Field(None, description="Plan, in seconds since the epoch.")
    acknowledged_at: float | None = Field(
        None, description="Last acknowledgement, in seconds since the epoch; null while edges lag."
    )
    acknowledged_by: list[str] | None = Field(None, description="Edges that have taken it over; null: only planned.")
    lagging: list[str] | None = Field(None, description="Edges that had not in time; they catch up when they can.")
    rejected: list[str] | None = Field(
        None, description="Those of acknowledged_by that refuse a part which moves no requests here."
    )


class RecoveryAnswer(Answer):
    """A region that may serve again."""

    region_id: str
    cause: Cause
    reason: str
    at: float = Field(description="Seconds since the epoch.")
    waiting: list[str] = Field(description="Services that stay away until somebody gives them back.")


class UndrainedAnswer(Answer):
    """A region whose drain was lifted."""

    region_id: str
    state: AdminState


class UnfrozenAnswer(Answer):
    """Automation may act again."""

    frozen: bool


class CountedAnswer(Answer):
    """How many observations were counted."""

    outcomes: int
    loads: int
    rtts: int = Field(description="Round trips that were learned from.")
    doubted: int = Field(description="Round trips far above what is usual: believed when they keep coming.")
