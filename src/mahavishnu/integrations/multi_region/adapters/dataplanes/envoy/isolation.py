"""Keeps one bad service of an edge from holding up the routes of the others: what to tell, given what was refused.

Joins ``route_search.py`` with what streams say. Routes that are of one piece pass through untouched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from mahavishnu.integrations.multi_region.ports.dataplane import Rejection

from .assembly import routes_of
from .parts import ROUTES_NAME
from .rejections import Refusal
from .resources import ROUTES, Part, Resource, Snapshot
from .route_search import RouteSearch


class Isolation:
    """For one edge. ``told``: what its streams are to be offered, None before the first snapshot."""

    def __init__(self) -> None:
        self.told: Snapshot | None = None
        self._given: Snapshot | None = None
        self._search = RouteSearch()
        self._alarms: dict[str, Rejection] = {}
        self._made: tuple[Mapping[str, Part], Resource] | None = None

    @property
    def searching(self) -> bool:
        """Whether routes are on trial, so that what is in force may still be an older version."""
        return self._search.searching

    @property
    def whole(self) -> bool:
        """Whether nothing is held back."""
        return self._search.whole

    @property
    def settled(self) -> bool:
        """Whether nothing is looked for, and what is held back is in force in an older version."""
        search = self._search
        return not (search.searching or search.broken) and search.bad.keys() <= search.good.keys()

    @property
    def rejections(self) -> tuple[Rejection, ...]:
        """What is held back, by service."""
        return tuple(self._alarms[name] for name in sorted(self._alarms))

    def offer(self, snapshot: Snapshot) -> Snapshot:
        """What to tell the edge when it should hold this."""
        before, self._given = self._given, snapshot
        if snapshot.sites is not None and (before is None or before.sites is not snapshot.sites):
            self._search.offer(snapshot.sites)
        return self._tell(snapshot)

    def start_over(self) -> Snapshot | None:
        """What to tell the edge now that it is another build, which may take what the last one refused."""
        self._search, self._alarms = RouteSearch(), {}
        given, self._given = self._given, None
        return None if given is None else self.offer(given)

    def try_again(self) -> Snapshot | None:
        """What to tell the edge so that what is held back is tried once more; None when nothing is, or can be now."""
        if self._given is None or self._given.sites is None or not self._search.try_again():
            return None
        return self._tell(self._given)

    def hear(self, held: str | None, refusals: tuple[Refusal, ...]) -> tuple[Snapshot | None, tuple[Rejection, ...]]:
        """Something was said of routes. ``held``: the version that the edge has accepted.

        Gives what to tell it now, None when that stays the same, and what is newly known as refused.
        """
        if self._given is None or self.told is None or self._given.sites is None:
            return None, ()
        version = self.told.resources[ROUTES][ROUTES_NAME].version
        refused = next((one for one in refusals if one.version == version), None)
        alarms: tuple[Rejection, ...] = ()
        if refused is not None:
            alarms = self._refused(refused)
        elif held == version and (self._search.good is not self._search.trial or self._search.broken):
            self._search.accepted()
        else:
            return None, ()
        return self._tell(self._given), alarms

    def _refused(self, refusal: Refusal) -> tuple[Rejection, ...]:
        found = self._search.refused(refusal.reason)
        for name in found:
            fate = "the last good version stays" if name in self._search.good else "there is none before it"
            reason = f"{self._search.bad[name].reason} ({fate})"
            self._alarms[name] = Rejection(f"VirtualHost {name}", reason, refusal.generation)
        broken = (Rejection(refusal.resource, refusal.reason, refusal.generation),) if self._search.broken else ()
        return (*(self._alarms[name] for name in found), *broken)

    def _tell(self, given: Snapshot) -> Snapshot:
        self._alarms = {name: alarm for name, alarm in self._alarms.items() if name in self._search.bad}
        self.told = given if given.sites is None or self._search.trial is given.sites else self._instead(given)
        return self.told

    def _instead(self, given: Snapshot) -> Snapshot:
        """The snapshot with the routes that are on trial; those are put together once."""
        if self._made is None or self._made[0] != self._search.trial:
            self._made = self._search.trial, routes_of(self._search.trial)
        routes = MappingProxyType({**given.resources[ROUTES], ROUTES_NAME: self._made[1]})
        return replace(given, resources=MappingProxyType({**given.resources, ROUTES: routes}))
