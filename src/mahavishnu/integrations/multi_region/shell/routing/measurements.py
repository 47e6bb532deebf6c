"""Measured round trips on their way to being learned: checked as a whole first, so that a bad one changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mahavishnu.integrations.multi_region.core.model import Point
from mahavishnu.integrations.multi_region.errors import InvalidInputError
from mahavishnu.integrations.multi_region.shell.region_source import RegionSource
from mahavishnu.integrations.multi_region.shell.turns import turn

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
        try:
            request, place = self._contexts.read({key: value for key, value in given.items() if value is not None})
        except InvalidInputError as err:
            raise _as_here(err) from err
        if place is None:
            raise InvalidInputError("location", location, _PLACE)
        return Measured(place, request.country, region, ms)

    def check(self, measured: Measured) -> None:
        """Raises InvalidInputError for a round trip that cannot be true; learns nothing."""
        view = self._manager.snapshot().regions[measured.region_id]
        self._manager.round_trips.check(measured.place, view, measured.ms)

    def learn(self, measured: Measured) -> None:
        """Learn from it. Raises InvalidInputError when it cannot be true, or must happen again to be believed."""
        view = self._manager.snapshot().regions[measured.region_id]
        self._manager.round_trips.observe(measured.place, view, measured.ms, measured.country)

    async def learn_all(self, measured: Iterable[Measured]) -> tuple[int, int]:
        """Learn from all of them, in several turns of the loop; how many it learned from, and how many it doubted.

        Those to a region that is removed meanwhile are neither.
        """
        learned = doubted = 0
        for number, one in enumerate(measured):
            await turn(number)
            if one.region_id not in self._manager.snapshot().regions:
                continue
            try:
                self.learn(one)
                learned += 1
            except InvalidInputError:
                doubted += 1
        return learned, doubted


_PLACE = "an object with latitude and longitude, in degrees; or leave it out and give a country"


def _as_here(error: InvalidInputError) -> InvalidInputError:
    """The error with the field as callers name it, who know of no request."""
    field = error.field.removeprefix("request_context.").replace("user_location", "location")
    return InvalidInputError(field, error.value, _PLACE if field == "location" else error.allowed)
