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
from mahavishnu.integrations.multi_region.core.ranking import Key, RankInput, turn_of
from mahavishnu.integrations.multi_region.core.request import Request, parse_requirements
from mahavishnu.integrations.multi_region.core.residuals import Corrections
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

from .batch import Numbers, RouteBatch, route_batch
from .manager import RegionManager
from .parts import ALONE, Compiled, Part
from .table import PLAIN, RoutingTable
from .tally import Kind, Tally, turns_matter

_LATENCY = RoutingStrategy.LATENCY_BASED
_WEIGHTED = RoutingStrategy.WEIGHTED

_SHAPED = frozenset({"user_location", "country", "service", "compliance_requirements"})
"""What a context may say for its shape to be remembered: all of it but the location."""

_MAX_SHAPES = 1_000

_ONE = 1

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
        self._tally = Tally()
        self._shapes: dict[tuple[Any, ...], Request] = {}
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
        """The same, without awaiting."""
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
                    )
            except (KeyError, TypeError):
                pass
        return self._route(fleet, request_context, strategy, candidates)

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
        request = Request(
            service=service,
            requirements=parse_requirements(compliance_requirements),
        )
        fleet = self._registry.fleet()
        if fleet is not self._table.fleet or self._book.corrections is not self._table.corrections:
            self._follow(fleet)
        chosen = self._strategy(fleet, request, strategy)
        entry = self._table.entry(request)
        return await route_batch(self._table, entry, request, chosen, self._tally, latitudes, longitudes)

    def explain(self, request_context: Mapping[str, Any], strategy: RoutingStrategy | str | None = None) -> Explanation:
        """A decision with the reason for every region; counts nothing and takes no turn."""
        fleet = self.region_manager.snapshot()
        request = self._parse(request_context)
        chosen = self._strategy(fleet, request, strategy)
        turn = self._tally.turn(_kind(chosen, request))
        return explain(fleet, request, chosen, self._input(fleet, request, self._book.corrections), turn)

    def preview(
        self, request_context: Mapping[str, Any], strategy: RoutingStrategy | str | None = None
    ) -> RoutingDecision:
        """The decision as ``route`` would make it, not counted. Raises what ``route`` raises."""
        fleet = self.region_manager.snapshot()
        request = self._parse(request_context)
        chosen = self._strategy(fleet, request, strategy)
        turn = self._tally.turn(_kind(chosen, request))
        return decide(fleet, request, chosen, self._input(fleet, request, self._book.corrections), turn)

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
        self._fold_counts()
        views = self.region_manager.snapshot().regions.values()
        return {**self._tally.stats(), "healthy_regions": sum(view.phase is Phase.HEALTHY for view in views)}

    @property
    def decisions(self) -> Mapping[tuple[str, str], int]:
        """Decisions so far by region and strategy."""
        self._fold_counts()
        return self._tally.decisions

    def acknowledged(self, revision: int) -> bool:
        """Whether decisions are made from that revision of intent, or a later one (L14)."""
        return self.region_manager.snapshot().revision >= revision

    # --- deciding -----------------------------------------------------------------------------

    def _route(
        self, fleet: Fleet, context: Mapping[str, Any], strategy: RoutingStrategy | str | None, candidates: int
    ) -> RoutingDecision:
        request, place = self._read(context)
        chosen = self._strategy(fleet, request, strategy)
        if isinstance(candidates, bool) or not isinstance(candidates, int) or not 1 <= candidates <= MAX_CANDIDATES:
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
                return RoutingDecision(view, chosen, fleet.revision, self._tell, given)
        request = replace(request, location=place)
        return decide(fleet, request, chosen, self._input(fleet, request, corrections), turn)

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
        estimate = self._estimator(place, request.country, table.corrections)
        return current if keeps(estimate(table.views[current]), estimate(table.views[best])) else best

    def _repeats(self, fleet: Fleet, kind: Kind, region: RegionView) -> bool:
        """Whether round robin would take the same region twice running, as it can when the set of regions changes."""
        strategy, service, _ = kind
        if strategy is not RoutingStrategy.ROUND_ROBIN or service in fleet.deployments:
            return False
        return region.region_id == self._tally.last(kind)

    # --- telling ------------------------------------------------------------------------------

    def _tell(
        self,
        fleet: Fleet,
        request: Request,
        place: Point | None,
        chosen: RoutingStrategy,
        turn: int,
        corrections: Corrections,
    ) -> Told:
        request = replace(request, location=place)
        explanation = explain(fleet, request, chosen, self._input(fleet, request, corrections), turn)
        assert explanation.decision is not None  # the table found one, and both agree
        return explanation.decision.told

    def _tell_nearest(self, fleet: Fleet, corrections: Corrections, latitude: float, longitude: float) -> Told:
        return self._tell(fleet, PLAIN, Point(float(latitude), float(longitude)), _LATENCY, 0, corrections)

    # --- inputs -------------------------------------------------------------------------------

    def _read(self, context: Mapping[str, Any]) -> tuple[Request, Point | None]:
        """The request of a context, and where it comes from; what is said beside the location is parsed only once."""
        shape = _shape_of(context)
        if shape is None:
            request = self._parse(context)
            return request, request.location
        known = self._shapes.get(shape)
        if known is None:
            request = self._parse(context)
            if len(self._shapes) >= _MAX_SHAPES:
                self._shapes.clear()
            self._shapes[shape] = self._parse({key: context[key] for key in context if key != "user_location"})
            return request, request.location
        place = context.get("user_location")
        return known, known.location if place is None else _quick_point(place) or self._parse(context).location

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
        if type(strategy) is RoutingStrategy:
            return strategy
        if strategy is not None:
            return parse_enum(RoutingStrategy, strategy, "strategy")
        service = fleet.services.get(request.service or "")
        return service.strategy if service is not None else RoutingStrategy.LATENCY_BASED

    def _input(self, fleet: Fleet, request: Request, corrections: Corrections) -> RankInput:
        service = fleet.services.get(request.service or "")
        of_record = fleet.deployments.get(request.service or "")
        declared = service.deployment.weights if service is not None and service.deployment is not None else None
        holders = self.region_manager.holders(request.data_id) if request.data_id is not None else ()
        location = request.location
        return RankInput(
            location=location,
            estimate=None if location is None else self._estimator(location, request.country, corrections),
            current=request.current,
            holders=tuple(fleet.regions[r].point for r in holders if r in fleet.regions),
            weights=declared if of_record is None else of_record.weights,
        )

    def _estimator(self, location: Point, country: str | None, corrections: Corrections) -> Key:
        """The round trip in ms to expect from a place to a region, as a function of the region."""
        estimate = self._book.estimate_ms
        return lambda region: estimate(location, region, country, corrections)

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


def _kind(strategy: RoutingStrategy, request: Request) -> Kind:
    return strategy, request.service, request.requirements


def _shape_of(context: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """What a context says beside the location; None where that cannot be looked up."""
    if type(context) is not dict or not context.keys() <= _SHAPED:
        return None
    named, country, service = (context.get(key) for key in _BESIDE)
    if not (named is None or type(named) is list) or not _is_text(country) or not _is_text(service):
        return None
    if named is None:
        return None, country, service
    return (tuple(named), country, service) if all(map(_is_text, named)) else None


_BESIDE = ("compliance_requirements", "country", "service")


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _quick_point(place: Any) -> Point | None:
    """The point that a location names, if it is one of the usual kind: two floats in range."""
    if type(place) is not dict or len(place) != 2:
        return None
    latitude, longitude = place.get("latitude"), place.get("longitude")
    if type(latitude) is not float or type(longitude) is not float:
        return None
    return Point(latitude, longitude) if abs(latitude) <= 90.0 and abs(longitude) <= 180.0 else None
