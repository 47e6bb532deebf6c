"""RegionAwareRouter: one request in, one decision out, from the manager's current snapshot. Waits for nobody.

Common requests are answered from a compiled table (``table.py``), the others by ``core/routing.py`` over all regions;
both give the same answer. A decision's reason is worked out when it is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mahavishnu.integrations.multi_region.core.latency import keeps
from mahavishnu.integrations.multi_region.core.model import (
    ComplianceFramework,
    Fleet,
    Phase,
    Point,
    RegionView,
    RoutingStrategy,
    parse_enum,
)
from mahavishnu.integrations.multi_region.core.ranking import RankInput
from mahavishnu.integrations.multi_region.core.request import Request
from mahavishnu.integrations.multi_region.core.routing import (
    NEAREST,
    Explanation,
    RoutingDecision,
    Told,
    decide,
    explain,
)
from mahavishnu.integrations.multi_region.errors import InvalidInputError, NoEligibleRegionError
from mahavishnu.integrations.multi_region.facts import places
from mahavishnu.integrations.multi_region.ports.geoip import GeoIp

from .manager import RegionManager
from .table import Part, RoutingTable

_Kind = tuple[RoutingStrategy, str | None, frozenset[ComplianceFramework]]

_ALONE = frozenset({RoutingStrategy.CAPACITY_BASED, RoutingStrategy.COST_BASED, RoutingStrategy.HEALTH_BASED})
"""Strategies that look at regions alone."""

_COMPILED = NEAREST | _ALONE | {RoutingStrategy.ROUND_ROBIN}
"""Strategies that the table answers."""

_LATENCY = RoutingStrategy.LATENCY_BASED
_NOTHING = Request()

MAX_CANDIDATES = 100


class RegionAwareRouter:
    """Routes requests to regions by one of the strategies, among eligible regions only.

    ``geoip``: looks up the ``ip`` of a request context; without it, such a context is refused.
    """

    def __init__(self, region_manager: RegionManager, *, geoip: GeoIp | None = None) -> None:
        self.region_manager = region_manager
        self._registry = region_manager.registry
        self._book = region_manager.round_trips
        self._geoip = geoip
        self._turns: dict[_Kind, int] = {}
        self._last: dict[_Kind, str] = {}
        self._decisions: dict[tuple[str, str], int] = {}
        self._refused = 0
        self._table = RoutingTable(region_manager.snapshot(), self._book.model, self._book.corrections)
        self._plain: Part | None = None
        self._nearest_counts: list[int] = []
        self._adopt_table()

    async def route_request(
        self,
        request_context: Mapping[str, Any],
        strategy: RoutingStrategy | str | None = None,
        candidates: int = 1,
    ) -> RoutingDecision:
        """Where a request goes. Without a strategy, the one of the request's service, or lowest latency.

        ``candidates``: how many regions ``decision.candidates`` names, for clients that race. Raises InvalidInputError
        for a context or strategy that is not allowed, NoEligibleRegionError with the reason for each region when none
        may serve.
        """
        return self.route(request_context, strategy, candidates)

    def route(
        self,
        request_context: Mapping[str, Any],
        strategy: RoutingStrategy | str | None = None,
        candidates: int = 1,
    ) -> RoutingDecision:
        """The same, without awaiting."""
        fleet = self._registry.fleet()
        table = self._table
        if fleet is not table.fleet or self._book.corrections is not table.corrections:
            table = self._follow(fleet)
        plain = self._plain
        if plain is not None and candidates == 1 and (strategy is None or strategy is _LATENCY):
            try:
                place = request_context["user_location"]
                latitude, longitude = place["latitude"], place["longitude"]
                if (
                    len(request_context) == 1
                    and len(place) == 2
                    and type(latitude) is float
                    and type(longitude) is float
                    and -90.0 <= latitude <= 90.0
                    and -180.0 <= longitude <= 180.0
                ):
                    index = table.nearest(plain, latitude, longitude, None)
                    self._nearest_counts[index] += 1
                    return RoutingDecision(
                        table.views[index], _LATENCY, fleet.revision, self._tell_nearest, (fleet, latitude, longitude)
                    )
            except (KeyError, TypeError):
                pass
        return self._route(fleet, self._parse(request_context), strategy, candidates)

    def explain(self, request_context: Mapping[str, Any], strategy: RoutingStrategy | str | None = None) -> Explanation:
        """A decision with the reason for every region; counts nothing and takes no turn."""
        fleet = self.region_manager.snapshot()
        request = self._parse(request_context)
        chosen = self._strategy(fleet, request, strategy)
        return explain(fleet, request, chosen, self._input(fleet, request), self._turn(chosen, request))

    def preview(
        self, request_context: Mapping[str, Any], strategy: RoutingStrategy | str | None = None
    ) -> RoutingDecision:
        """The decision as ``route`` would make it, not counted. Raises what ``route`` raises."""
        fleet = self.region_manager.snapshot()
        request = self._parse(request_context)
        chosen = self._strategy(fleet, request, strategy)
        return decide(fleet, request, chosen, self._input(fleet, request), self._turn(chosen, request))

    def observe_rtt(self, location: Mapping[str, Any], region: str, ms: float, country: str | None = None) -> None:
        """Learn from a measured round trip of ``ms`` between a client (degrees) and a region.

        Raises UnknownRegionError; InvalidInputError for a value that cannot be true, and then nothing is learned.
        """
        self.region_manager.get_region(region)
        context = {"user_location": location} if country is None else {"user_location": location, "country": country}
        request = self._parse(context)
        if request.location is None:
            raise InvalidInputError("location", location, "an object with latitude and longitude, in degrees")
        self._book.observe(request.location, self.region_manager.snapshot().regions[region], ms, request.country)

    def get_routing_stats(self) -> dict[str, Any]:
        """Decisions so far, in all, by region and by strategy; and how many requests were refused."""
        made = self.decisions
        return {
            "total_decisions": sum(made.values()),
            "decisions_by_region": _summed((region, n) for (region, _), n in made.items()),
            "decisions_by_strategy": _summed((strategy, n) for (_, strategy), n in made.items()),
            "refused": self._refused,
            "healthy_regions": sum(
                view.phase is Phase.HEALTHY for view in self.region_manager.snapshot().regions.values()
            ),
        }

    @property
    def decisions(self) -> Mapping[tuple[str, str], int]:
        """Decisions so far by region and strategy."""
        self._fold_counts()
        return self._decisions

    def acknowledged(self, revision: int) -> bool:
        """Whether decisions are made from that revision of intent, or a later one (L14)."""
        return self.region_manager.snapshot().revision >= revision

    # --- deciding -----------------------------------------------------------------------------

    def _route(
        self, fleet: Fleet, request: Request, strategy: RoutingStrategy | str | None, candidates: int
    ) -> RoutingDecision:
        chosen = self._strategy(fleet, request, strategy)
        if isinstance(candidates, bool) or not isinstance(candidates, int) or not 1 <= candidates <= MAX_CANDIDATES:
            raise InvalidInputError("candidates", candidates, f"a whole number from 1 to {MAX_CANDIDATES}")
        try:
            decision = self._by_table(fleet, request, chosen) or self._by_rules(fleet, request, chosen)
        except NoEligibleRegionError:
            self._refused += 1
            raise
        decision.wanted = candidates
        kind = _kind(chosen, request)
        self._turns[kind], self._last[kind] = self._turn(chosen, request) + 1, decision.selected_region
        made = decision.selected_region, chosen.value
        self._decisions[made] = self._decisions.get(made, 0) + 1
        return decision

    def _by_table(self, fleet: Fleet, request: Request, chosen: RoutingStrategy) -> RoutingDecision | None:
        """The decision from the table; None where it has no answer, or the answer is a refusal with its reasons."""
        if chosen not in _COMPILED or request.data_id is not None or request.data_class is not None:
            return None
        turn = self._turn(chosen, request)
        part = self._table.entry(request).part(turn)
        if part is None:
            return None
        index = self._pick(part, request, chosen, turn)
        if chosen is RoutingStrategy.ROUND_ROBIN and self._repeats(fleet, request, chosen, self._table.views[index]):
            turn += 1
            self._turns[_kind(chosen, request)] = turn
            index = self._pick(part, request, chosen, turn)
        view = self._table.views[index]
        return RoutingDecision(view, chosen, fleet.revision, self._tell, (fleet, request, chosen, turn))

    def _pick(self, part: Part, request: Request, chosen: RoutingStrategy, turn: int) -> int:
        table, location = self._table, request.location
        if chosen is RoutingStrategy.ROUND_ROBIN:
            return table.by_turn(part, turn)
        if chosen in _ALONE:
            return table.winner(part, chosen)
        if location is None:
            return table.winner(part, RoutingStrategy.HEALTH_BASED)
        best = table.nearest(part, location.latitude, location.longitude, request.country)
        current = table.index_of(request.current) if request.current is not None else None
        if current is None or current == best or not part.best >> current & 1:
            return best
        estimate = self._estimator(location, request.country)
        return current if keeps(estimate(table.views[current]), estimate(table.views[best])) else best

    def _by_rules(self, fleet: Fleet, request: Request, chosen: RoutingStrategy) -> RoutingDecision:
        turn = self._turn(chosen, request)
        decision = decide(fleet, request, chosen, self._input(fleet, request), turn)
        if self._repeats(fleet, request, chosen, decision.region):
            self._turns[_kind(chosen, request)] = turn + 1
            decision = decide(fleet, request, chosen, self._input(fleet, request), turn + 1)
        return decision

    def _repeats(self, fleet: Fleet, request: Request, chosen: RoutingStrategy, region: RegionView) -> bool:
        """Whether round robin would take the same region twice running, as it can when the set of regions changes."""
        if chosen is not RoutingStrategy.ROUND_ROBIN or request.service in fleet.deployments:
            return False
        return region.region_id == self._last.get(_kind(chosen, request))

    # --- telling ------------------------------------------------------------------------------

    def _tell(self, fleet: Fleet, request: Request, chosen: RoutingStrategy, turn: int) -> Told:
        explanation = explain(fleet, request, chosen, self._input(fleet, request), turn)
        assert explanation.decision is not None  # the table found one, and both agree
        return explanation.decision.told

    def _tell_nearest(self, fleet: Fleet, latitude: float, longitude: float) -> Told:
        return self._tell(fleet, Request(location=Point(latitude, longitude)), _LATENCY, 0)

    # --- inputs -------------------------------------------------------------------------------

    def _parse(self, context: Mapping[str, Any]) -> Request:
        """The request that a context describes; reads the shipped places only when a country may be needed."""
        named = isinstance(context, Mapping) and ("country" in context or "ip" in context)
        return Request.parse(context, places.centroids() if named else {}, self._locate if self._geoip else None)

    def _locate(self, address: str) -> tuple[Point | None, str | None]:
        assert self._geoip is not None
        found = self._geoip.locate(address)
        country = found.country if found.country in places.centroids() else None
        return found.point, country

    def _strategy(self, fleet: Fleet, request: Request, strategy: RoutingStrategy | str | None) -> RoutingStrategy:
        if strategy is not None:
            return parse_enum(RoutingStrategy, strategy, "strategy")
        service = fleet.services.get(request.service or "")
        return service.strategy if service is not None else RoutingStrategy.LATENCY_BASED

    def _input(self, fleet: Fleet, request: Request) -> RankInput:
        service = fleet.services.get(request.service or "")
        of_record = fleet.deployments.get(request.service or "")
        declared = service.deployment.weights if service is not None and service.deployment is not None else None
        holders = self.region_manager.holders(request.data_id) if request.data_id is not None else ()
        location = request.location
        return RankInput(
            location=location,
            estimate=None if location is None else self._estimator(location, request.country),
            current=request.current,
            holders=tuple(fleet.regions[r].point for r in holders if r in fleet.regions),
            weights=declared if of_record is None else of_record.weights,
        )

    def _estimator(self, location: Point, country: str | None) -> Any:
        """The round trip in ms to expect from a place to a region, as a function of the region."""
        estimate = self._book.estimate_ms
        return lambda region: estimate(location, region, country)

    def _turn(self, strategy: RoutingStrategy, request: Request) -> int:
        """The number of this decision among those of its kind."""
        return self._turns.get(_kind(strategy, request), 0)

    # --- keeping the table --------------------------------------------------------------------

    def _follow(self, fleet: Fleet) -> RoutingTable:
        self._fold_counts()
        self._table.follow(fleet, self._book.corrections)
        self._adopt_table()
        return self._table

    def _adopt_table(self) -> None:
        """Note what answers a request that says no more than where it comes from."""
        self._plain = self._table.entry(_NOTHING).part(0)
        self._nearest_counts = [0] * len(self._table.views)

    def _fold_counts(self) -> None:
        for view, count in zip(self._table.views, self._nearest_counts, strict=True):
            if count:
                made = view.region_id, _LATENCY.value
                self._decisions[made] = self._decisions.get(made, 0) + count
        self._nearest_counts = [0] * len(self._table.views)


def _kind(strategy: RoutingStrategy, request: Request) -> _Kind:
    """Decisions that share a count of turns: those that choose among the same regions."""
    return strategy, request.service, request.requirements


def _summed(counts: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Counts added up by name, in order of name."""
    total: dict[str, int] = {}
    for name, count in counts:
        total[name] = total.get(name, 0) + count
    return dict(sorted(total.items()))
