"""The router with one decision in so many traced. Who does not want traces uses the plain one, and pays nothing.

A traced decision costs a span and the wording of its reason; each of the others a subtraction and a comparison.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mahavishnu.integrations.multi_region.core.model import RegionView, RoutingStrategy
from mahavishnu.integrations.multi_region.core.routing import RoutingDecision
from mahavishnu.integrations.multi_region.errors import InvalidInputError, NoEligibleRegionError
from mahavishnu.integrations.multi_region.ports.clock import Clock, SystemClock
from mahavishnu.integrations.multi_region.ports.geoip import GeoIp
from mahavishnu.integrations.multi_region.ports.tracer import Span, Tracer

from .region_source import RegionSource
from .router import RegionAwareRouter

SPAN = "multi_region.route"
REGION, STRATEGY = "multi_region.region", "multi_region.strategy"
REVISION, REASONING = "multi_region.revision", "multi_region.reasoning"


class TracedRouter(RegionAwareRouter):
    """Routes as ``RegionAwareRouter`` does, and hands a span of every so-many-th single decision to a tracer.

    ``sample``: the share of decisions to trace, above 0 up to 1; they are taken at equal steps. Batches are not traced.
    Raises InvalidInputError for another share.
    """

    def __init__(
        self,
        region_manager: RegionSource,
        *,
        tracer: Tracer,
        sample: float,
        geoip: GeoIp | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(region_manager, geoip=geoip)
        if not 0 < sample <= 1:
            raise InvalidInputError("sample", sample, "a share above 0, at most 1")
        self._tracer = tracer
        self._trace_clock = clock or SystemClock()
        self._every = self._until_traced = round(1 / sample)

    def route(
        self,
        request_context: Mapping[str, Any],
        strategy: RoutingStrategy | str | None = None,
        candidates: int = 1,
    ) -> RoutingDecision:
        """Where a request goes, as the plain router says it; the decision is traced when it is its turn.

        Raises InvalidInputError, NoEligibleRegionError.
        """
        self._until_traced -= 1
        if self._until_traced:
            return RegionAwareRouter.route(self, request_context, strategy, candidates)
        self._until_traced = self._every
        return self._route_traced(request_context, strategy, candidates)

    def route_place(self, latitude: float, longitude: float) -> tuple[RegionView, int] | None:
        """As the plain router's; None when this decision is to be traced, so that ``route`` is asked. Degrees."""
        if self._until_traced == 1:
            return None
        found = RegionAwareRouter.route_place(self, latitude, longitude)
        if found is not None:
            self._until_traced -= 1
        return found

    def _route_traced(
        self, context: Mapping[str, Any], strategy: RoutingStrategy | str | None, candidates: int
    ) -> RoutingDecision:
        started = self._trace_clock.now()
        try:
            decision = RegionAwareRouter.route(self, context, strategy, candidates)
        except NoEligibleRegionError as err:
            self._tracer.record(Span(SPAN, started, self._trace_clock.now(), {}, str(err)))
            raise
        ended = self._trace_clock.now()
        self._tracer.record(Span(SPAN, started, ended, _attributes(decision)))
        return decision


def _attributes(decision: RoutingDecision) -> dict[str, str | int]:
    return {
        REGION: decision.selected_region,
        STRATEGY: decision.strategy.value,
        REVISION: decision.revision,
        REASONING: decision.reasoning,
    }
