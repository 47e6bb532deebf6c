"""RegionAwareRouter: one request in, one decision out, from the manager's current snapshot. Waits for nobody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mahavishnu.integrations.multi_region.core.model import Fleet, Phase, RoutingStrategy, parse_enum
from mahavishnu.integrations.multi_region.core.ranking import RankInput
from mahavishnu.integrations.multi_region.core.request import Request
from mahavishnu.integrations.multi_region.core.routing import Explanation, RoutingDecision, decide, explain
from mahavishnu.integrations.multi_region.errors import NoEligibleRegionError
from mahavishnu.integrations.multi_region.facts import places

from .manager import RegionManager

TAKING_TURNS = frozenset({RoutingStrategy.ROUND_ROBIN, RoutingStrategy.WEIGHTED})
"""Strategies whose decisions depend on how many came before."""


class RegionAwareRouter:
    """Routes requests to regions by one of the strategies, among eligible regions only."""

    def __init__(self, region_manager: RegionManager) -> None:
        self.region_manager = region_manager
        self._turns: dict[tuple[RoutingStrategy, str | None], int] = {}
        self._by_region: dict[str, int] = {}
        self._by_strategy: dict[str, int] = {}
        self._refused = 0

    async def route_request(
        self, request_context: Mapping[str, Any], strategy: RoutingStrategy | str | None = None
    ) -> RoutingDecision:
        """Where a request goes. Without a strategy, the one of the request's service, or lowest latency.

        Raises InvalidInputError for a context or strategy that is not allowed, NoEligibleRegionError with the reason
        for each region when none may serve.
        """
        return self.route(request_context, strategy)

    def route(
        self, request_context: Mapping[str, Any], strategy: RoutingStrategy | str | None = None
    ) -> RoutingDecision:
        """The same, without awaiting."""
        fleet = self.region_manager.snapshot()
        request = parse_request(request_context)
        chosen = self._strategy(fleet, request, strategy)
        turn = self._turn(chosen, request)
        try:
            decision = decide(fleet, request, chosen, self._input(fleet, request), turn)
        except NoEligibleRegionError:
            self._refused += 1
            raise
        self._count(decision)
        if chosen in TAKING_TURNS:
            self._turns[chosen, request.service] = turn + 1
        return decision

    def explain(self, request_context: Mapping[str, Any], strategy: RoutingStrategy | str | None = None) -> Explanation:
        """A decision with the reason for every region; counts nothing and takes no turn."""
        fleet = self.region_manager.snapshot()
        request = parse_request(request_context)
        chosen = self._strategy(fleet, request, strategy)
        return explain(fleet, request, chosen, self._input(fleet, request), self._turn(chosen, request))

    def preview(
        self, request_context: Mapping[str, Any], strategy: RoutingStrategy | str | None = None
    ) -> RoutingDecision:
        """The decision as ``route`` would make it, not counted. Raises what ``route`` raises."""
        fleet = self.region_manager.snapshot()
        request = parse_request(request_context)
        chosen = self._strategy(fleet, request, strategy)
        return decide(fleet, request, chosen, self._input(fleet, request), self._turn(chosen, request))

    def get_routing_stats(self) -> dict[str, Any]:
        """Decisions so far, in all, by region and by strategy; and how many requests were refused."""
        return {
            "total_decisions": sum(self._by_region.values()),
            "decisions_by_region": dict(self._by_region),
            "decisions_by_strategy": dict(self._by_strategy),
            "refused": self._refused,
            "healthy_regions": sum(
                view.phase is Phase.HEALTHY for view in self.region_manager.snapshot().regions.values()
            ),
        }

    def acknowledged(self, revision: int) -> bool:
        """Whether decisions are made from that revision of intent, or a later one (L14)."""
        return self.region_manager.snapshot().revision >= revision

    def _strategy(self, fleet: Fleet, request: Request, strategy: RoutingStrategy | str | None) -> RoutingStrategy:
        if strategy is not None:
            return parse_enum(RoutingStrategy, strategy, "strategy")
        service = fleet.services.get(request.service or "")
        return service.strategy if service is not None else RoutingStrategy.LATENCY_BASED

    def _input(self, fleet: Fleet, request: Request) -> RankInput:
        service = fleet.services.get(request.service or "")
        deployment = service.deployment if service is not None else None
        holders = self.region_manager.holders(request.data_id) if request.data_id is not None else ()
        return RankInput(
            location=request.location,
            holders=tuple(fleet.regions[r].point for r in holders if r in fleet.regions),
            weights=deployment.weights if deployment is not None else None,
        )

    def _turn(self, strategy: RoutingStrategy, request: Request) -> int:
        """The number of this decision among those of its strategy and service that take turns."""
        return self._turns.get((strategy, request.service), 0)

    def _count(self, decision: RoutingDecision) -> None:
        region, strategy = decision.selected_region, decision.strategy.value
        self._by_region[region] = self._by_region.get(region, 0) + 1
        self._by_strategy[strategy] = self._by_strategy.get(strategy, 0) + 1


def parse_request(context: Mapping[str, Any]) -> Request:
    """The request that a context describes; reads the shipped places only when a country is named."""
    return Request.parse(context, places.centroids() if "country" in context else {})
