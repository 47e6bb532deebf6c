"""Ask one endpoint how it is. A late, refused or wrong answer is a result, not an exception."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ..core.model import HealthCheck


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What one probe saw.

    ``shedding``: the region says it has no room (HTTP 429). ``load`` (requests/s) and ``utilization`` (0..1): what it
    reports of itself, if it does.
    """

    ok: bool
    latency_ms: float
    reason: str = ""
    shedding: bool = False
    load: float | None = None
    utilization: float | None = None


class Probe(Protocol):
    """Asks one region, within ``check.timeout_s``; never raises for what the region does."""

    async def ask(self, endpoint: str, check: HealthCheck) -> ProbeResult:
        """One question, one result."""

    async def close(self) -> None:
        """Let go of connections."""


class ScriptedProbe:
    """The in-memory reference: answers from a table of functions by endpoint; an endpoint not listed fails."""

    def __init__(self, answers: dict[str, Callable[[], ProbeResult]] | None = None) -> None:
        self.answers = answers if answers is not None else {}

    async def ask(self, endpoint: str, check: HealthCheck) -> ProbeResult:
        answer = self.answers.get(endpoint)
        return answer() if answer else ProbeResult(False, 0.0, "no such endpoint")

    async def close(self) -> None:
        return
