"""Spans through the OpenTelemetry API: what is done with them is up to the SDK that the application has set up.

Without an SDK the API does nothing. A span becomes a child of the one that is current where the decision was asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mahavishnu.integrations.multi_region.errors import SettingsError
from mahavishnu.integrations.multi_region.ports.tracer import Span
from mahavishnu.integrations.multi_region.settings import PREFIX

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

SCOPE = "mahavishnu.integrations.multi_region"
"""The name that spans are recorded under."""

EXTRA = "mahavishnu-multi-region[otel]"


class OtelTracer:
    """Records spans with a provider: the application's, or None for the one that is registered as global.

    Raises SettingsError, naming the extra to install, where the package opentelemetry-api is missing.
    """

    def __init__(self, provider: TracerProvider | None = None) -> None:
        try:
            from opentelemetry import trace
        except ImportError as err:
            allowed = f"0, unless the package opentelemetry-api is installed: pip install '{EXTRA}'"
            raise SettingsError(f"{PREFIX}TRACE_SAMPLE", "above 0", allowed) from err
        self._trace = trace
        self._tracer = trace.get_tracer(SCOPE, tracer_provider=provider)

    def record(self, span: Span) -> None:
        """Record a span that has ended, with the times that it has."""
        made = self._tracer.start_span(span.name, attributes=span.attributes, start_time=_ns(span.started_at))
        if span.error is not None:
            made.set_status(self._trace.StatusCode.ERROR, span.error)
        made.end(end_time=_ns(span.ended_at))


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
