"""Measured round trips on their way to being learned: checked as a whole first, so that a bad one changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mahavishnu.integrations.multi_region.core.geo import distance_km
from mahavishnu.integrations.multi_region.core.model import Point
from mahavishnu.integrations.multi_region.core.residuals import check_rtt
from mahavishnu.integrations.multi_region.errors import InvalidInputError
from mahavishnu.integrations.multi_region.shell.region_source import RegionSource

from .contexts import ContextReader


@dataclass(frozen=True, slots=True)
class Measured:
    """A round trip of ``ms`` between a client at ``place`` (in ``country``) and a region that is registered."""

    place: Point
    country: str | None
    region_id: str
    ms: float


class Measurements:
    """Takes measured round trips for a manager's book."""

    def __init__(self, manager: RegionSource, contexts: ContextReader) -> None:
        self._manager = manager
        self._contexts = contexts

    def read(self, location: Mapping[str, Any] | None, region: str, ms: float, country: str | None = None) -> Measured:
        """A measurement, from the place that stands for the country where no location is given.

        Raises UnknownRegionError, InvalidInputError for the region and the place; ``ms`` is looked at when learning.
        """
        self._manager.get_region(region)
        given = {"user_location": location, "country": country}
        request = self._contexts.parse({key: value for key, value in given.items() if value is not None})
        if request.location is None:
            raise InvalidInputError("location", location, "an object with latitude and longitude, in degrees")
        return Measured(request.location, request.country, region, ms)

    def check(self, measured: Measured) -> None:
        """Raises InvalidInputError for a round trip that cannot be true; learns nothing."""
        view = self._manager.snapshot().regions[measured.region_id]
        check_rtt(measured.ms, distance_km(measured.place, view.point))

    def learn(self, measured: Measured) -> None:
        """Learn from it. Raises InvalidInputError when it cannot be true, or must happen again to be believed."""
        view = self._manager.snapshot().regions[measured.region_id]
        self._manager.round_trips.observe(measured.place, view, measured.ms, measured.country)

    def learn_all(self, measured: Iterable[Measured]) -> int:
        """Learn from all of them; how many were doubted, and not learned from."""
        doubted = 0
        for one in measured:
            try:
                self.learn(one)
            except InvalidInputError:
                doubted += 1
        return doubted
