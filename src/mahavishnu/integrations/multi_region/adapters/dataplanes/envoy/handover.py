"""Where regions were until a moment ago: edges keep those addresses until the new ones can have passed their checks.

To an edge an address that is new is lost until a check says otherwise. A region that moves is therefore told at both
places first, and at the new one alone after a while: make before break. Knows no network and no edges.

Law comes first. An address counts as the region's only while what law goes by is what it was there: with other grounds,
at an address that is another region's now, or when the region itself is gone, it is out at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from mahavishnu.integrations.multi_region.core.traffic import Standing, Target, Whereabouts

from .endpoints import ips_of, located
from .parts import Addresses, Former, Leaving

ALLOWANCE_S = 2.0
"""How long it may take until an edge has what it is told."""

MOST_LEFT = 32
"""Addresses of one region that are kept, those that it left last."""

Place = tuple[str, int]
"""An IP address and a port: an edge tells hosts apart by nothing else."""


@dataclass(frozen=True, slots=True)
class _Home:
    """Where a region is. ``ips``: what its host was known by."""

    where: Whereabouts
    ips: tuple[str, ...]
    places: Mapping[Place, Former]


@dataclass(slots=True)
class _Left:
    """An address that a region left. ``until``: when it goes, None while not every edge has been told of the move."""

    former: Former
    until: float | None = None


class Handover:
    """See the module. ``monotonic``: seconds that never go back."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._homes: dict[str, _Home] = {}
        self._left: dict[str, dict[Place, _Left]] = {}

    def turn(self, regions: Mapping[str, Whereabouts], addresses: Addresses) -> Leaving:
        """Take in where regions are now; gives where else edges are to find them."""
        homes = {name: self._home(name, where, addresses) for name, where in regions.items()}
        left = {name: self._left_by(name, home) for name, home in homes.items() if self._has_left(name, home)}
        self._homes, self._left = homes, {name: places for name, places in left.items() if places}
        if self._left:
            self._yield_to_others()
        return {name: tuple(one.former for one in places.values()) for name, places in self._left.items()}

    def told(self, settling_s: float) -> None:
        """Every edge has been told; what takes longest there takes ``settling_s`` from now."""
        until = self._monotonic() + settling_s + ALLOWANCE_S
        for name, places in self._left.items():
            if not self._homes[name].places:
                continue  # it is where it was until its new name is found
            for one in places.values():
                if one.until is None:
                    one.until = until

    @property
    def due_s(self) -> float | None:
        """How long until ``turn`` has the next address go, None when none has a date."""
        dates = [one.until for one in self._all_left() if one.until is not None]
        return max(0.0, min(dates) - self._monotonic()) if dates else None

    def _all_left(self) -> Iterator[_Left]:
        return (one for places in self._left.values() for one in places.values())

    def _home(self, name: str, where: Whereabouts, addresses: Addresses) -> _Home:
        ips, old = ips_of(where, addresses), self._homes.get(name)
        if old is not None and old.ips == ips and old.where == where:
            return old
        target = Target(name, where.endpoint, 1, Standing.SERVING, where.protocol, where.check)
        location = located(where.endpoint)
        places = {} if location is None else {(ip, location.port): Former(ip, target) for ip in ips}
        return _Home(where, ips, places)

    def _has_left(self, name: str, home: _Home) -> bool:
        """Whether there is anything to look at."""
        return name in self._left or (name in self._homes and self._homes[name] is not home)

    def _left_by(self, name: str, home: _Home) -> dict[Place, _Left]:
        """What a region has left by now, the last last. Whenever it moves, all of that stays for as long anew."""
        old = self._homes.get(name)
        if old is None or old.where.grounds != home.where.grounds:
            return {}
        now, before = self._monotonic(), self._left.get(name, {})
        kept = {place: one for place, one in before.items() if one.until is None or now < one.until}
        if old.places.keys() != home.places.keys():
            kept = {place: _Left(one.former) for place, one in kept.items() if place not in old.places}
            kept |= {place: _Left(former) for place, former in old.places.items()}
        found = {place: one for place, one in kept.items() if place not in home.places}
        return dict(islice(found.items(), max(0, len(found) - MOST_LEFT), None))

    def _yield_to_others(self) -> None:
        """An address at which another region is now is that one's alone."""
        owners: dict[Place, set[str]] = {}
        for name, home in self._homes.items():
            for place in home.places:
                owners.setdefault(place, set()).add(name)
        for name, places in self._left.items():
            for place in [place for place in places if owners.get(place, set()) - {name}]:
                del places[place]
        self._left = {name: places for name, places in self._left.items() if places}
