"""Request contexts to requests. What a context says beside its location is parsed once, and remembered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mahavishnu.integrations.multi_region.core.model import Point
from mahavishnu.integrations.multi_region.core.request import Request
from mahavishnu.integrations.multi_region.facts import places
from mahavishnu.integrations.multi_region.ports.geoip import GeoIp

MAX_SHAPES = 1_000
"""How many are remembered, and how long the texts in one may be together."""

_SHAPED = frozenset({"user_location", "country", "service", "compliance_requirements", "current_region"})
_APART = ("user_location", "current_region")
"""What a context may say to be remembered; all of it is but for what each client says otherwise, ``_APART``."""

_Shape = tuple[tuple[str, ...] | None, str | None, str | None]


class ContextReader:
    """Reads request contexts. ``geoip``: looks up their ``ip``; without it, such a context is refused."""

    def __init__(self, geoip: GeoIp | None) -> None:
        self._geoip = geoip
        self._shapes: dict[_Shape, Request] = {}

    def read(self, context: Mapping[str, Any]) -> tuple[Request, Point | None]:
        """The request that a context describes, and where from; the request itself may lack the location.

        Raises InvalidInputError naming the field, the value and what is allowed.
        """
        shape = _shape_of(context)
        if shape is None:
            request = self.parse(context)
            return request, request.location
        known = self._shapes.get(shape)
        if known is None:
            request = self.parse(context)
            self._remember(shape, self.parse({key: context[key] for key in context if key not in _APART}))
            return request, request.location
        current = context.get("current_region")
        if current is not None:
            known = _using(known, current) if type(current) is str and current else self.parse(context)
        place = context.get("user_location")
        if place is None:
            return known, known.location
        return known, _quick_point(place) or self.parse(context).location

    def parse(self, context: Mapping[str, Any]) -> Request:
        """The request that a context describes; reads the shipped places only when a country may be needed."""
        named = isinstance(context, Mapping) and ("country" in context or "ip" in context)
        return Request.parse(context, places.centroids() if named else {}, self._locate if self._geoip else None)

    def _remember(self, shape: _Shape, request: Request) -> None:
        if len(repr(shape)) > MAX_SHAPES:
            return
        if len(self._shapes) >= MAX_SHAPES:
            self._shapes.clear()
        self._shapes[shape] = request

    def _locate(self, address: str) -> tuple[Point | None, str | None]:
        assert self._geoip is not None
        found = self._geoip.locate(address)
        country = found.country if found.country in places.centroids() else None
        return found.point, country


def _using(request: Request, current: str) -> Request:
    """The remembered request of a client that uses a region now; ``replace`` takes three times as long."""
    return Request(request.location, request.country, request.requirements, None, request.service, None, current)


def _shape_of(context: Mapping[str, Any]) -> _Shape | None:
    """What a context says beside the location; None where it says more, or nothing that can be looked up."""
    if type(context) is not dict or not context.keys() <= _SHAPED:
        return None
    named, country, service = context.get("compliance_requirements"), context.get("country"), context.get("service")
    if not _is_text(country) or not _is_text(service):
        return None
    if named is None:
        return None, country, service
    return (tuple(named), country, service) if type(named) is list and all(map(_is_text, named)) else None


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
