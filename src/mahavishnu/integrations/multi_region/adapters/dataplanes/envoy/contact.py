"""Whether any controller serves an edge, and saying so: once when none has for a while, and once when that is over.

Envoy itself says no more than that it finds no healthy upstream, again and again, whatever the reason is.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

PATIENCE_S = 5.0
"""How long an edge may be without a controller until it is news: it turns to another one in less."""

_WHY = "a controller that asks for TLS ends what does not speak it, and one refuses edges that are not declared there"
_PLAIN = f"{_WHY}; this edge speaks no TLS (--certificate, --key, --ca, --controller-name)"
_TLS = f"{_WHY}; this edge speaks TLS, and a controller without certificates does not"

log = structlog.get_logger(__name__)


class Contact:
    """See the module. ``controllers``: host and port of each. ``monotonic``: seconds that never go back."""

    def __init__(
        self, edge_id: str, controllers: tuple[tuple[str, int], ...], monotonic: Callable[[], float], *, tls: bool
    ) -> None:
        self._edge_id = edge_id
        self._controllers = [f"{host}:{port}" for host, port in controllers]
        self._monotonic = monotonic
        self._hint = _TLS if tls else _PLAIN
        self._since: float | None = None
        self._seen = False
        self._told = False

    def saw(self, streams: int) -> None:
        """So many streams to controllers are open now; one counts when the next look finds one too."""
        served, self._seen = streams > 0 and self._seen, streams > 0
        now = self._monotonic()
        if served:
            if self._told:
                log.info("a controller serves the edge again", edge=self._edge_id)
            self._since, self._told = now, False
        elif self._since is None:
            self._since = now
        elif not self._told and now - self._since >= PATIENCE_S:
            self._told = True
            log.warning(
                "no controller serves the edge", edge=self._edge_id, controllers=self._controllers, hint=self._hint
            )

    def pause(self) -> None:
        """Nothing can be said of now: Envoy itself is away, or it is served from what it last held."""
        self._since, self._seen = None, False
