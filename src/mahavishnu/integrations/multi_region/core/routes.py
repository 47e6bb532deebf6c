"""How requests of one kind are carried by proxies: time limits, retries, hedging. Decides nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RouteClass:
    """How requests of one kind are carried; the first of a service's that fits a path applies.

    ``prefix``: of the path. ``timeout_s``: for the whole request, 0 for none (streams). ``attempt_timeout_s``: after
    this time without an answer a second attempt is hedged to another region; only for a known, safe p99.9 (at least
    three times it), None for the upstream's liveness check alone. ``retry_keyed``: whether a request with an
    ``Idempotency-Key`` counts as idempotent. ``retries``: further attempts of an idempotent request.
    """

    prefix: str = "/"
    timeout_s: float = 15.0
    attempt_timeout_s: float | None = None
    retry_keyed: bool = False
    retries: int = 2
