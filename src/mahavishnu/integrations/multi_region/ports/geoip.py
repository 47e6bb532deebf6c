"""Where an Internet address probably is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from ..core.model import Point


@dataclass(frozen=True, slots=True)
class Place:
    """What is known of an address: a place (degrees), a country (ISO alpha-2), either or both."""

    point: Point | None = None
    country: str | None = None


class GeoIp(Protocol):
    """Looks addresses up; fast enough for every request."""

    def locate(self, address: str) -> Place:
        """Where a valid IP address probably is; an empty place when nothing is known."""


class GeoTable:
    """The in-memory reference: knows the addresses it was given."""

    def __init__(self, places: Mapping[str, Place]) -> None:
        self._places = dict(places)

    def locate(self, address: str) -> Place:
        return self._places.get(address, Place())
