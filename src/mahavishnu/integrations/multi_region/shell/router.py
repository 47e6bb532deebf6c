"""RegionAwareRouter: one request in, one decision out, from the manager's current snapshot. Waits for nobody.

Requests are answered from a compiled table (``table.py``), those about a piece of data by ``core/routing.py`` over all
regions; both give the same answer. A decision's reason is worked out when it is read, from what it was made from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from mahavishnu.integrations.multi_region.core.latency import keeps
from mahavishnu.integrations.multi_region.core.model import (
    Fleet,
    Phase,
    Point,
    RegionView,
    RoutingStrategy,
    parse_enum,
)
from mahavishnu.integrations.multi_region.core.ranking import turn_of
from mahavishnu.integrations.multi_region.core.request import Request
from mahavishnu.integrations.multi_region.core.routing import (
    NEAREST,
    Explanation,
    RoutingDecision,
    decide,
    explain,
    nearest_reasoning,
)
from mahavishnu.integrations.multi_region.errors import InvalidInputError, NoEligibleRegionError
from mahavishnu.integrations.multi_region.ports.geoip import GeoIp
from mahavishnu.integrations.multi_region.shell.routing.batch import Batch, Numbers, RouteBatch, read_places
from mahavishnu.integrations.multi_region.shell.routing.contexts import ContextReader
from mahavishnu.integrations.multi_region.shell.routing.measurements import Measurements
from mahavishnu.integrations.multi_region.shell.routing.parts import ALONE, Compiled, Part
from mahavishnu.integrations.multi_region.shell.routing.table import PLAIN, RoutingTable
from mahavishnu.integrations.multi_region.shell.routing.tally import Kind, Tally, turns_matter
from mahavishnu.integrations.multi_region.shell.routing.telling import Teller, say

from .region_source import RegionSource

_LATENCY = RoutingStrategy.LATENCY_BASED
_WEIGHTED = RoutingStrategy.WEIGHTED

_ONE = 1
"""The usual number of candidates; compared by identity, since ``True`` is equal to it."""

MAX_CANDIDATES = 100


class RegionAwareRouter:
    """Routes requests to regions by one of the strategies, among eligible regions only.

    ``geoip``: looks up the ``ip`` of a request context; without it, such a context is refused. ``measurements``: takes
    measured round trips, many at a time.
    """

    def __init__(self, region_manager: RegionSource, *, geoip: GeoIp | None = None) -> None:
        self.region_manager = region_manager
        self._registry = region_manager.registry
        self._book = region_manager.round_trips
        self._contexts = ContextReader(geoip)
        self._teller = Teller(region_manager)
        self._tell_nearest = self._teller.of_nearest
        self.measurements = Measurements(region_manager, self._contexts)
        self._tally = Tally()
        self._table = RoutingTable(region_manager.snapshot(), self._book.model, self._book.corrections)
        self._counted = self._table.ids
        self._nearest_counts = [0] * len(self._counted)
        self._plain: Part | None = self._table.entry(PLAIN).part(0)

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
        """Where a request goes, decided without awaiting; without a strategy by its service's, or by lowest latency.

        ``candidates``: how many regions ``decision.candidates`` names, for clients that race. Raises InvalidInputError,
        NoEligibleRegionError.
        """
        fleet = self._registry.fleet()
        table = self._table
        if fleet is not table.fleet or self._book.corrections is not table.corrections:
            table = self._follow(fleet)
        plain = self._plain
        if (
            plain is not None
            and candidates is _ONE
            and (strategy is _LATENCY or strategy is None or strategy == _LATENCY)
        ):
            try:
                place = request_context["user_location"]
                latitude, longitude = place["latitude"], place["longitude"]
                if (
                    len(request_context) == 1
                    and len(place) == 2
                    and (type(latitude) is float or type(latitude) is int)
                    and (type(longitude) is float or type(longitude) is int)
                    and -90.0 <= latitude <= 90.0
                    and -180.0 <= longitude <= 180.0
                ):
                    index = table.nearest(plain, latitude, longitude)
                    self._nearest_counts[index] += 1
                    return RoutingDecision(
                        table.views[index],
                        _LATENCY,
                        fleet.revision,
                        self._tell_nearest,
                        (fleet, table.corrections, latitude, longitude),
                        _ONE,
                        nearest_reasoning,
                    )
            except (KeyError, TypeError):
                pass
        return self._route(fleet, request_context, strategy, candidates)

    def route_place(self, latitude: float, longitude: float) -> tuple[RegionView, int] | None:
        """``route`` of a request that says no more than where it is, by lowest latency: the region, and the revision
        that it was decided from. Costs less than a decision that can also say why.

        Degrees, in range. None, and nothing is counted, when it takes more than a look at the table: ask ``route``.
        """
        fleet = self._registry.fleet()
        table = self._table
        if fleet is not table.fleet or self._book.corrections is not table.corrections:
            table = self._follow(fleet)
        plain = self._plain
        if plain is None:
            return None
        index = table.nearest(plain, latitude, longitude)
        self._nearest_counts[index] += 1
        return table.views[index], fleet.revision

    async def route_many(
        self,
        latitudes: Numbers,
        longitudes: Numbers,
        *,
        strategy: RoutingStrategy | str | None = None,
        service: str | None = None,
        compliance_requirements: Iterable[Any] | None = None,
    ) -> RouteBatch:
        """``route`` for many clients at once, all in one state of the regions: each gets the very same answer.

        ``latitudes``, ``longitudes``: degrees, NumPy arrays or sequences of one length. The rest is as in a request
        context, and holds for all. Other tasks run meanwhile. Raises what ``route`` raises; an InvalidInputError names
        the first position that is not allowed.
        """
        context = {"service": service, "compliance_requirements": compliance_requirements}
        request = self._contexts.parse({key: value for key, value in context.items() if value is not None})
        places = await read_places(latitudes, longitudes)
        fleet = self._registry.fleet()
        if fleet is not self._table.fleet or self._book.corrections is not self._table.corrections:
            self._follow(fleet)
        chosen = self._strategy(fleet, request, strategy)
        turn = self._begin_batch(fleet, request, chosen, len(places[0]))
        found, counts = await Batch(self._table, self._table.entry(request), chosen, turn).decide(*places)
        for index in counts.nonzero()[0].tolist():
            self._tally.count(found.region_ids[index], chosen.value, int(counts[index]))
        return found

    def explain(self, request_context: Mapping[str, Any], strategy: RoutingStrategy | str | None = None) -> Explanation:
        """A decision with the reason for every region; counts nothing and takes no turn. Raises InvalidInputError."""
        fleet = self.region_manager.snapshot()
        request = self._contexts.parse(request_context)
        chosen = self._strategy(fleet, request, strategy)
        turn = self._tally.turn(_kind(chosen, request))
        return explain(fleet, request, chosen, self._teller.given(fleet, request, self._book.corrections), turn)

    def preview(
        self, request_context: Mapping[str, Any], strategy: RoutingStrategy | str | None = None
    ) -> RoutingDecision:
        """The decision as ``route`` would make it, not counted. Raises what ``route`` raises."""
        fleet = self.region_manager.snapshot()
        request = self._contexts.parse(request_context)
        chosen = self._strategy(fleet, request, strategy)
        turn = self._tally.turn(_kind(chosen, request))
        return decide(fleet, request, chosen, self._teller.given(fleet, request, self._book.corrections), turn)

    def observe_rtt(
        self, location: Mapping[str, Any] | None, region: str, ms: float, country: str | None = None
    ) -> None:
        """Learn from a measured round trip of ``ms`` between a client (degrees, or None and a country) and a region.

        Raises UnknownRegionError; InvalidInputError for a value that cannot be true, and then nothing is learned.
        """
        self.measurements.learn(self.measurements.read(location, region, ms, country))

    def get_routing_stats(self) -> dict[str, Any]:
        """Counts so far: ``total_decisions``, ``decisions_by_region``, ``decisions_by_strategy``, ``refused``
        (requests that no region may serve); and ``healthy_regions`` now."""
        self._fold_counts()
        views = self.region_manager.snapshot().regions.values()
        return {**self._tally.stats(), "healthy_regions": sum(view.phase is Phase.HEALTHY for view in views)}

    @property
    def decisions(self) -> Mapping[tuple[str, str], int]:
        """Decisions so far by region and strategy."""
        self._fold_counts()
        return self._tally.decisions

    @property
    def refused(self) -> int:
        """Requests so far that no region may serve."""
        return self._tally.refused

    def count_elsewhere(self, decisions: Iterable[tuple[str, str, int]], refused: int = 0) -> None:
        """Count what another process decided from the same regions: region, strategy, and how often."""
        for region_id, strategy, times in decisions:
            self._tally.count(region_id, strategy, times)
        self._tally.refused += refused

    def acknowledged(self, revision: int) -> bool:
        """Whether decisions are made from that revision of intent, or a later one (L14)."""
        return self.region_manager.snapshot().revision >= revision

    # --- deciding -----------------------------------------------------------------------------

    def _route(
        self, fleet: Fleet, context: Mapping[str, Any], strategy: RoutingStrategy | str | None, candidates: int
    ) -> RoutingDecision:
        request, place = self._contexts.read(context)
        chosen = self._strategy(fleet, request, strategy)
        if candidates is not _ONE and (type(candidates) is not int or not 1 <= candidates <= MAX_CANDIDATES):
            raise InvalidInputError("candidates", candidates, f"a whole number from 1 to {MAX_CANDIDATES}")
        kind = _kind(chosen, request) if turns_matter(chosen, request.service, fleet.deployments) else None
        turn = 0 if kind is None else self._tally.turn(kind)
        try:
            decision = self._decide(fleet, request, place, chosen, turn)
            if kind is not None and self._repeats(fleet, kind, decision.region):
                turn += 1
                decision = self._decide(fleet, request, place, chosen, turn)
        except NoEligibleRegionError:
            self._tally.refused += 1
            raise
        decision.wanted = candidates
        if candidates is not _ONE and place is not None and chosen in NEAREST:
            self._name_candidates(decision, request, place, turn)
        if kind is not None:
            self._tally.took(kind, turn, decision.region.region_id)
        self._tally.count(decision.region.region_id, chosen.value)
        return decision

    def _decide(
        self, fleet: Fleet, request: Request, place: Point | None, chosen: RoutingStrategy, turn: int
    ) -> RoutingDecision:
        """The decision from the table; by the rules where it has no answer, or the answer is a refusal."""
        corrections = self._table.corrections
        if request.data_id is None and request.data_class is None:
            entry = self._table.entry(request)
            part = entry.whole if chosen is _WEIGHTED else entry.part(turn)
            if part is not None and part.best:
                view = self._table.views[self._pick(entry, part, request, place, chosen, turn)]
                given = (fleet, request, place, chosen, turn, corrections)
                because = say(chosen, entry.needs, request, place)
                return RoutingDecision(view, chosen, fleet.revision, self._teller.of_any, given, _ONE, because)
        request = replace(request, location=place)
        return decide(fleet, request, chosen, self._teller.given(fleet, request, corrections), turn)

    def _name_candidates(self, decision: RoutingDecision, request: Request, place: Point, turn: int) -> None:
        """Name the candidates of a decision by round trip, where the regions that the table has at hand are enough."""
        if request.data_id is not None or request.data_class is not None:
            return
        table, most, chosen = self._table, decision.wanted, decision.region
        part = table.entry(request).part(turn)
        if part is None or part.best.bit_count() < most:
            return
        estimate = self._teller.estimator(place, request.country, table.corrections)
        found = table.shortlist(part, most, place, request.country, estimate)
        others = [(ms, region) for ms, region in found if region is not chosen]
        decision.name_candidates([(estimate(chosen), chosen), *others[: most - 1]])

    def _begin_batch(self, fleet: Fleet, request: Request, chosen: RoutingStrategy, requests: int) -> int:
        """The turn of a batch's first decision, after taking those of all. Raises NoEligibleRegionError."""
        if not requests:
            return 0
        kind = _kind(chosen, request)
        turn = self._tally.turn(kind)
        try:
            first = self._decide(fleet, request, None, chosen, turn)
        except NoEligibleRegionError:
            self._tally.refused += requests
            raise
        if not turns_matter(chosen, request.service, fleet.deployments):
            return 0
        turn += self._repeats(fleet, kind, first.region)
        self._tally.took(kind, *self._end_of_batch(fleet, request, chosen, turn, requests))
        return turn

    def _end_of_batch(
        self, fleet: Fleet, request: Request, chosen: RoutingStrategy, turn: int, requests: int
    ) -> tuple[int, str]:
        """The turn of a batch's last decision, and its region where that matters: a sole region skips turns."""
        first, second = (self._decide(fleet, request, None, chosen, at).region for at in (turn, turn + 1))
        sole = first is second and _never_twice(fleet, chosen, request.service)
        last = turn + (requests - 1) * (2 if sole else 1)
        return last, self._decide(fleet, request, None, chosen, last).selected_region

    def _pick(
        self, entry: Compiled, part: Part, request: Request, place: Point | None, chosen: RoutingStrategy, turn: int
    ) -> int:
        if chosen is RoutingStrategy.ROUND_ROBIN:
            return part.indices[turn % len(part.indices)]
        if chosen is _WEIGHTED:
            indices, weights = part.shares(entry.weights)
            if indices:
                return indices[turn_of(weights, turn)]
        if chosen in ALONE:
            return part.winner(chosen)
        if place is None:
            return part.winner(RoutingStrategy.HEALTH_BASED)
        best = self._table.nearest(part, place.latitude, place.longitude, request.country)
        if request.current is None or chosen not in NEAREST:
            return best
        return self._kept(part, best, request, place)

    def _kept(self, part: Part, best: int, request: Request, place: Point) -> int:
        """The client's current region where the best is not clearly nearer, else the best."""
        table = self._table
        current = table.index_of(request.current or "")
        if current is None or current == best or not part.best >> current & 1:
            return best
        estimate = self._teller.estimator(place, request.country, table.corrections)
        return current if keeps(estimate(table.views[current]), estimate(table.views[best])) else best

    def _repeats(self, fleet: Fleet, kind: Kind, region: RegionView) -> bool:
        """Whether round robin would take the same region twice running, as it can when the set of regions changes."""
        strategy, service, _ = kind
        return _never_twice(fleet, strategy, service) and region.region_id == self._tally.last(kind)

    def _strategy(self, fleet: Fleet, request: Request, strategy: RoutingStrategy | str | None) -> RoutingStrategy:
        if type(strategy) is RoutingStrategy:
            return strategy
        if strategy is not None:
            return parse_enum(RoutingStrategy, strategy, "strategy")
        service = fleet.services.get(request.service or "")
        return service.strategy if service is not None else RoutingStrategy.LATENCY_BASED

    # --- keeping the table --------------------------------------------------------------------

    def _follow(self, fleet: Fleet) -> RoutingTable:
        table = self._table
        table.follow(fleet, self._book.corrections)
        self._plain = table.entry(PLAIN).part(0)
        if table.ids is not self._counted:
            self._fold_counts()
            self._nearest_counts, self._counted = [0] * len(table.ids), table.ids
        return table

    def _fold_counts(self) -> None:
        """Move the counts of the plainest requests, which are kept by region's index, to the others."""
        counts = self._nearest_counts
        for index, region_id in enumerate(self._counted):
            if counts[index]:
                self._tally.count(region_id, _LATENCY.value, counts[index])
                counts[index] = 0


def _never_twice(fleet: Fleet, strategy: RoutingStrategy, service: str | None) -> bool:
    """Whether two decisions running must differ where they can; groups of a deployment come as their weights say."""
    plan = fleet.deployments.get(service or "")
    return strategy is RoutingStrategy.ROUND_ROBIN and (plan is None or len(plan.groups) < 2)


def _kind(strategy: RoutingStrategy, request: Request) -> Kind:
    return strategy, request.service, request.requirements
