"""The frozen copies of regions that decisions read, kept up to date: only what changed is made anew.

A region that a change declares is made ready before it counts, so that a thousand of them can come in at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from mahavishnu.integrations.multi_region.core.facts import Facts
from mahavishnu.integrations.multi_region.core.health import HealthState, phase_of_score
from mahavishnu.integrations.multi_region.core.intent import Document, region_from_document
from mahavishnu.integrations.multi_region.core.model import (
    AdminState,
    Phase,
    Point,
    Region,
    RegionView,
    UpstreamProtocol,
    parse_enum,
)
from mahavishnu.integrations.multi_region.core.overrides import Drain, Failure
from mahavishnu.integrations.multi_region.core.safety import Violation
from mahavishnu.integrations.multi_region.core.vocabulary import attested
from mahavishnu.integrations.multi_region.facts.law import facts_of

from .region_table import Keeper, RegionTable
from .view_copies import with_load


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands over regions, by id: their health, the operator's drains, failovers, and whom safety holds."""

    health: dict[str, HealthState] = field(default_factory=dict)
    drains: dict[str, Drain] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    held: dict[str, tuple[Violation, Phase]] = field(default_factory=dict)


class Arrival(NamedTuple):
    """A declared region made ready before it counts: it, its view, and who keeps it; the document before it, whether
    there was a region then, and how many changes of regions and ends of facts there had been."""

    region: Region
    view: RegionView
    keeper: Keeper
    previous: Document | None
    known: bool
    after: int
    lapses: int


class RegionViews:
    """The views of the regions in a table. ``now``: seconds since the epoch."""

    def __init__(self, regions: RegionTable, standing: Standing, now: Callable[[], float]) -> None:
        self._regions = regions
        self._standing = standing
        self._now = now
        self._lapse: float | None = None
        self._lapses = 0
        self._views: dict[str, RegionView] = {}
        self._ready: dict[str, RegionView] = {}
        self._stale: set[str] = set()
        self._loaded: set[str] = set()
        self._reshaped = False
        self._changes = 0
        self._changed: dict[str, int] = {}
        self._told: dict[str, int] = {}
        self._forgotten = 0

    def changed(self, region_id: str) -> None:
        """A region, or what stands over it, changed; or it came or went."""
        self._changes += 1
        self._changed[region_id] = self._changes
        self._stale.add(region_id)
        if region_id not in self._regions or region_id not in self._views:
            self._reshaped = True

    def load(self, region_id: str, load: float) -> bool:
        """Set the load of a region in the table; whether it is another. Costs less than any other change of a region.

        ``load``: checked. Whoever else keeps the region is told as of any change.
        """
        region = self._regions[region_id]
        before = region.current_capacity
        if type(before) is type(load) and before == load:
            return False
        if len(region._watchers) > 1 or region_id not in self._views:
            region.current_capacity = load
        else:
            object.__setattr__(region, "current_capacity", load)
            self._changes += 1
            self._told[region_id] = self._changes
            self._loaded.add(region_id)
        return True

    def get(self, region_id: str) -> RegionView | None:
        """The view made last, None when there is none yet."""
        return self._views.get(region_id)

    def lapsed(self) -> bool:
        """Whether a fact has ended that some view counts; then all are made anew."""
        if self._lapse is None or self._now() < self._lapse:
            return False
        self._reshaped, self._views, self._ready, self._lapse = True, {}, {}, None
        self._lapses += 1
        return True

    def current(self) -> Mapping[str, RegionView]:
        """The views as things stand; those that were handed out stay as they are."""
        known = {**self._views, **self._ready} if self._ready else self._views
        stale, loaded, regions = self._stale, self._loaded, self._regions
        if self._reshaped:
            stale = stale | loaded
            self._changed, self._told = self._kept(self._changed), self._kept(self._told)
            self._views = {
                region_id: known[region_id] if region_id in known and region_id not in stale else self.view(region)
                for region_id, region in regions.items()
            }
        elif stale or loaded or self._ready:
            again = {region_id: self.view(regions[region_id]) for region_id in stale}
            lately = {i: with_load(known[i], regions[i].current_capacity) for i in loaded}
            self._views = {**known, **lately, **again}
        self._stale, self._loaded, self._ready, self._reshaped = set(), set(), {}, False
        return self._views

    def _kept(self, changes: dict[str, int]) -> dict[str, int]:
        """The changes of regions in the table; of the others only how late they were is remembered."""
        gone = [at for region_id, at in changes.items() if region_id not in self._regions]
        if not gone:
            return changes
        self._forgotten = max(self._forgotten, *gone)
        return {region_id: at for region_id, at in changes.items() if region_id in self._regions}

    # --- made ready before they count ---------------------------------------------------------

    def prepare(self, document: Document, previous: Document | None) -> Arrival:
        """Make the region that a document describes ready. ``previous``: what was known under its key."""
        region = region_from_document(document)
        region_id = region.region_id
        live = self._regions.get(region_id)
        if live is not None and previous is not None:
            keep_observed(region, live, previous, document)
        keeper = Keeper(self._regions.changed, region_id)
        region._watch(keeper.tell)
        view = self.view(region)
        return Arrival(region, view, keeper, previous, live is not None, self._changes, self._lapses)

    def settle(self, made: Arrival, document: Document, previous: Document | None) -> bool:
        """Let an arrival of a document count: its region is in the table, its view among the current ones.

        What was observed meanwhile is taken over, and where something else may be other than when it was made ready,
        the view is made anew. ``previous``: the document before it. False, and nothing is done,
        when it was made from another one, or the region came or went: it must be made anew.
        """
        region, region_id = made.region, made.region.region_id
        if made.known is not (region_id in self._regions) or made.previous is not previous:
            return False
        told = self._told.get(region_id, 0) > made.after
        changed = max(self._changed.get(region_id, 0), self._forgotten) > made.after or made.lapses != self._lapses
        if (changed or told) and previous is not None and made.known:
            keep_observed(region, self._regions[region_id], previous, document)
        self._regions.settle(region, made.keeper)
        self._ready[region_id] = made.view
        (self._stale.add if changed else self._stale.discard)(region_id)
        (self._loaded.add if told else self._loaded.discard)(region_id)
        if region_id not in self._views:
            self._reshaped = True
        return True

    # --- one region ---------------------------------------------------------------------------

    def view(self, region: Region) -> RegionView:
        """The frozen copy of a region as things stand."""
        region_id, standing = region.region_id, self._standing
        facts, as_of = facts_of(region), self._now()
        self._watch_expiry(facts, as_of)
        state = standing.health.get(region_id)
        judged = state is not None and state.judged
        drain = standing.drains.get(region_id)
        failure = standing.failures.get(region_id)
        held = standing.held.get(region_id)
        services = failure.services if failure else None
        return RegionView(
            region_id=region_id,
            name=region.name,
            provider=region.provider,
            point=Point(region.latitude, region.longitude),
            country=region.country,
            endpoint=region.endpoint,
            phase=state.phase if state is not None and judged else phase_of_score(region.health_score),
            health_score=state.score if state is not None and judged else region.health_score or 0.0,
            admin=drain.state if drain else AdminState.ACTIVE,
            load=region.current_capacity,
            max_capacity=region.capabilities.max_capacity,
            cost_multiplier=region.cost_multiplier,
            compliance=attested(facts, as_of),
            facts=facts,
            as_of=as_of,
            held=held[0].text if held else None,
            serves_as=held[1] if held else None,
            failed_over=failure.reason if failure else None,
            failed_services=None if services is None else frozenset(services),
            protocol=parse_enum(UpstreamProtocol, region.protocol, "protocol"),
        )

    def _watch_expiry(self, facts: Facts, as_of: float) -> None:
        """Remember when the first fact ends that still counts: what was derived from it ends then too."""
        for fact in facts.values():
            ends = fact.valid_until
            if ends is not None and as_of < ends and (self._lapse is None or ends < self._lapse):
                self._lapse = ends


def keep_observed(region: Region, live: Region, previous: Document, document: Document) -> None:
    """A new declaration of a region does not undo what was observed of it, unless it declares that very thing."""
    for name in ("current_capacity", "health_score"):
        if previous[name] == document[name]:
            object.__setattr__(region, name, getattr(live, name))  # checked when it was observed; nobody is told yet
