"""What a decision says when it is asked, worked out from what it was made from, however much has changed since."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from mahavishnu.integrations.multi_region.core.model import Fleet, Point, RegionView, RoutingStrategy
from mahavishnu.integrations.multi_region.core.ranking import Key, RankInput
from mahavishnu.integrations.multi_region.core.request import Needs, Request, shares_of
from mahavishnu.integrations.multi_region.core.residuals import Corrections
from mahavishnu.integrations.multi_region.core.routing import (
    NEAREST,
    Telling,
    Told,
    explain,
    nearest_reasoning,
    plain_reasoning,
    unplaced_reasoning,
)
from mahavishnu.integrations.multi_region.facts.network import region_rtt_ms
from mahavishnu.integrations.multi_region.shell.region_source import RegionSource

from .parts import ALONE
from .table import PLAIN

_LATENCY = RoutingStrategy.LATENCY_BASED


class Teller:
    """Explains decisions over a manager's regions: ``of_any`` those from the table, ``of_nearest`` the plainest."""

    def __init__(self, manager: RegionSource) -> None:
        self._manager = manager
        self._estimate_ms = manager.round_trips.estimate_ms
        self.of_any = Telling(self._tell, self._estimate)
        self.of_nearest = Telling(self._tell_nearest, self._estimate_nearest)

    def _tell(
        self,
        fleet: Fleet,
        request: Request,
        place: Point | None,
        chosen: RoutingStrategy,
        turn: int,
        corrections: Corrections,
    ) -> Told:
        """All that a decision from the table can say: ``corrections`` are those that it was made from."""
        request = replace(request, location=place)
        explanation = explain(fleet, request, chosen, self.given(fleet, request, corrections), turn)
        assert explanation.decision is not None  # the table found one, and both agree
        return explanation.decision.told

    def _estimate(
        self, _fleet: Fleet, request: Request, place: Point | None, _chosen: object, _turn: int, learned: Corrections
    ) -> Key | None:
        return None if place is None else self.estimator(place, request.country, learned)

    def _tell_nearest(self, fleet: Fleet, corrections: Corrections, latitude: float, longitude: float) -> Told:
        """What is told of a decision by latency for a request that says no more than where it comes from."""
        return self._tell(fleet, PLAIN, Point(float(latitude), float(longitude)), _LATENCY, 0, corrections)

    def _estimate_nearest(self, _fleet: Fleet, corrections: Corrections, latitude: float, longitude: float) -> Key:
        return self.estimator(Point(float(latitude), float(longitude)), None, corrections)

    def given(self, fleet: Fleet, request: Request, corrections: Corrections) -> RankInput:
        """What ranking may look at beside the regions."""
        service = fleet.services.get(request.service or "")
        holders = self._manager.holders(request.data_id) if request.data_id is not None else ()
        location = request.location
        return RankInput(
            location=location,
            estimate=None if location is None else self.estimator(location, request.country, corrections),
            current=request.current,
            holders=tuple(fleet.regions[r] for r in holders if r in fleet.regions),
            rtt_ms=region_rtt_ms,
            weights=shares_of(service, fleet.deployments.get(request.service or "")),
        )

    def estimator(self, location: Point, country: str | None, corrections: Corrections) -> Key:
        """The round trip in ms to expect from a place to a region, as a function of the region."""
        estimate = self._estimate_ms
        return lambda region: estimate(location, region, country, corrections)


def say(
    chosen: RoutingStrategy, needs: Needs, request: Request, place: Point | None
) -> Callable[[RegionView], str] | None:
    """What gives the reason from the region alone; None where the other regions are needed to tell it."""
    if chosen in NEAREST and request.current is not None:
        return None
    if chosen is _LATENCY:
        return unplaced_reasoning if place is None else nearest_reasoning
    if chosen in ALONE or chosen in NEAREST:
        return partial(plain_reasoning, chosen, needs)
    return None
