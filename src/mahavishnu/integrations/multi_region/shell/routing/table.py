"""The router's compiled table: who may serve as bit masks, who is nearest by cell. Exact, and cheap to keep up to date.

A change of health, load or policy rewrites bits; cells are geometry and stay. What the table answers is always what
``core/routing.py`` would answer over all eligible regions: that is tested, and the slow way is what explains.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Sequence
from itertools import compress, count
from operator import is_not

from mahavishnu.integrations.multi_region.core.latency import CELLS, LatencyModel, cell_centre, cell_of
from mahavishnu.integrations.multi_region.core.model import Fleet, Point, RegionView
from mahavishnu.integrations.multi_region.core.ranking import Key, Rank, rank_of
from mahavishnu.integrations.multi_region.core.request import Request, needs_of
from mahavishnu.integrations.multi_region.core.residuals import Corrections
from mahavishnu.integrations.multi_region.facts.latency_arrays import zone_at
from mahavishnu.integrations.multi_region.facts.network import zone_of_country
from mahavishnu.integrations.multi_region.shell.view_copies import same_but_load

from .contenders import Answer, Contender, Mixed
from .parts import Compiled, Part
from .sites import FINE_COLUMNS, FINER, Sites

MAX_ENTRIES = 64
"""Different needs kept compiled at once: hostile lists of requirements must not fill the memory."""

MAX_ANSWERS = 200_000
"""Cells whose winners are remembered, smaller cells included, for all needs together."""

MAX_LOG = 64
"""Changes of regions that are remembered for entries that have not followed them yet."""

MAX_ARRAYED = 4
"""Parts that keep arrays for batches at once, of 1 to 10 MB each."""

NeedsKey = tuple[frozenset[str], str | None, str | None]

PLAIN = Request()
"""A request that says no more than where it comes from. What it needs is always kept."""

_PLAIN_KEY: NeedsKey = (PLAIN.requirements, None, None)


class RoutingTable:
    """The regions of a fleet, compiled. ``views``, ``ids``: by index; ``ids`` is another object when they change."""

    def __init__(
        self, fleet: Fleet, model: LatencyModel, corrections: Corrections, *, most_answers: int = MAX_ANSWERS
    ) -> None:
        self.fleet = fleet
        self.model = model
        self.corrections = corrections
        self.views: list[RegionView] = list(fleet.regions.values())
        self.sites = Sites(self.views, model, corrections)
        zone_at(0)  # reads the shipped tables, which takes 30 ms, now and not within the first decision
        self.ids = tuple(view.region_id for view in self.views)
        self._index = {region_id: index for index, region_id in enumerate(self.ids)}
        self._entries: dict[NeedsKey, Compiled] = {}
        self._former: dict[NeedsKey, Compiled] = {}
        self._former_views: list[RegionView] = []
        self._log: deque[Sequence[int]] = deque(maxlen=MAX_LOG)
        self._arrayed: deque[Part] = deque()
        self._latest: Compiled | None = None
        self._version = 0
        self._rules = _rules(fleet)
        self._most_answers = self._room = most_answers

    # --- keeping up -------------------------------------------------------------------------------

    def follow(self, fleet: Fleet, corrections: Corrections) -> None:
        """Become the table of another fleet or of newer corrections; only what changed is worked on.

        What was compiled for needs follows when they are asked for again.
        """
        before, self.fleet = self.views, fleet
        if any(map(is_not, _rules(fleet), self._rules)):
            self._rules = _rules(fleet)
        views = list(fleet.regions.values())
        changed = list(compress(count(), map(is_not, before, views)))
        worth = [index for index in changed if not _carries_on(before[index], views[index])]
        if len(views) != len(before) or any(_moved(before[i], views[i]) for i in worth):
            self._build(views, corrections)
            return
        if changed:
            for index in changed:  # in place: entries look at this very list
                before[index] = views[index]
            self._log.append(worth if len(worth) == len(changed) else self._ranked(worth, changed))
            self._version += 1
        if corrections is not self.corrections:
            self._learn(corrections)

    def _ranked(self, worth: list[int], changed: list[int]) -> list[int]:
        """Those of the changes that entries must look at: load alone matters only among regions of one site."""
        among = {index for index in changed if len(self.sites.all[self.sites.of_region[index]].members) > 1}
        return sorted(among.union(worth))

    def entry(self, request: Request) -> Compiled:
        """What the needs of a request without data come to, as things stand. Raises UnknownServiceError."""
        key = (request.requirements, request.service, request.data_class)
        entry = self._entries.get(key)
        if entry is None:
            return self._compile(key, request)
        if entry.rules is not self._rules:
            if needs_of(self.fleet, request) != entry.needs:
                return self._compile(key, request)
            entry.rules = self._rules
        if entry.version != self._version:
            self._catch_up(entry)
        if entry is not self._latest and key != _PLAIN_KEY:
            self._entries[key] = self._latest = self._entries.pop(key)  # the one asked for last goes last
        return entry

    def _compile(self, key: NeedsKey, request: Request) -> Compiled:
        self._entries.pop(key, None)
        needs, known = needs_of(self.fleet, request), None
        entry = self._former.pop(key, None)
        if entry is not None and entry.needs == needs:
            known = {id(view): tier for view, tier in zip(self._former_views, entry.tiers, strict=True)}
        else:
            entry = Compiled.of(needs, self._rules)
        entry.compile(self.fleet, self.views, self.sites, known)
        entry.version, entry.rules = self._version, self._rules
        if len(self._entries) >= MAX_ENTRIES:
            self._entries.pop(next(key for key in self._entries if key != _PLAIN_KEY))
        self._entries[key] = self._latest = entry
        return entry

    def _catch_up(self, entry: Compiled) -> None:
        missed = self._version - entry.version
        if missed > len(self._log):
            entry.compile(self.fleet, self.views, self.sites)
        elif missed == 1:
            entry.follow(self.fleet, self.views, self.sites, self._log[-1])
        else:
            recent = list(self._log)[-missed:]
            entry.follow(self.fleet, self.views, self.sites, list({index for one in recent for index in one}))
        entry.version = self._version

    def _build(self, views: list[RegionView], corrections: Corrections) -> None:
        """Regions came, went or moved. Needs are compiled anew when asked for, by what is known of regions that are as
        they were; the plain ones now."""
        self._former = {key: entry for key, entry in self._entries.items() if entry.version == self._version}
        self._former_views, self.views, self.corrections = self.views, views, corrections
        self.sites = Sites(views, self.model, corrections, self.sites)
        self.ids = tuple(view.region_id for view in views)
        self._index = {region_id: index for index, region_id in enumerate(self.ids)}
        self._entries.clear()
        if _PLAIN_KEY in self._former:
            self._compile(_PLAIN_KEY, PLAIN)
        self._log.clear()

    def _learn(self, corrections: Corrections) -> None:
        self.corrections = corrections
        self.sites = Sites(self.views, self.model, corrections, self.sites)
        for entry in self._entries.values():
            entry.place(self.views, self.sites)

    # --- deciding ---------------------------------------------------------------------------------

    def nearest(self, part: Part, latitude: float, longitude: float, country: str | None = None) -> int:
        """Index of the region with the lowest estimate among the best tier of a part (which must have one).

        Degrees as floats, in range. ``country``: ISO alpha-2, upper case.
        """
        key = int(latitude + 90.0) * 361 + int(longitude + 180.0)
        if country is not None:
            key = _key_in(country, key)
        answer = part.answers.get(key)
        if answer is None:
            answer = self._answer(part, key)
        if type(answer) is int:
            return part.chosen[answer]
        place = int((latitude + 90.0) * FINER) * FINE_COLUMNS + int((longitude + 180.0) * FINER)
        finer = answer.smaller.get(place)  # type: ignore[union-attr]  # an isinstance here costs as much as the lookup
        if finer is None:
            finer = self._cut(answer, place)  # type: ignore[arg-type]
        if type(finer) is int:
            return part.chosen[finer]
        zone = answer.zone  # type: ignore[union-attr]
        return part.chosen[self.sites.closest(finer, zone, latitude, longitude, part.rank)]  # type: ignore[arg-type]

    def shortlist(
        self, part: Part, most: int, place: Point, country: str | None, estimate: Key
    ) -> list[tuple[float, RegionView]]:
        """The regions of a part's best tier with the lowest estimates, so many at most, best first, with those in ms.

        ``estimate``: the exact one from the place. Few regions are asked for it: those that a cell's bounds let in.
        """
        key = cell_of(place.latitude, place.longitude)
        found: list[tuple[float, Rank, RegionView]] = []
        for low, site in self.sites.geometry.by_bound(
            key if country is None else _key_in(country, key), part.open_sites
        ):
            if len(found) == most and low > found[-1][0]:
                break
            able = [self.views[index] for index in self.sites.all[site].members if part.best >> index & 1]
            ms = estimate(able[0])  # of all regions of a site it is the same
            for view in able:
                insort(found, (ms, rank_of(view), view))
            del found[most:]
        return [(ms, view) for ms, _, view in found]

    def index_of(self, region_id: str) -> int | None:
        """The index of a region, None when it is not in the table."""
        return self._index.get(region_id)

    def remember_arrays(self, part: Part) -> None:
        """Note that a part holds arrays for batches; the one that got them first gives them up."""
        if len(self._arrayed) == MAX_ARRAYED:
            self._arrayed.popleft().arrays = None
        self._arrayed.append(part)

    def _answer(self, part: Part, key: int) -> Answer:
        """Compile one cell for a part, and remember it."""
        self._take_room()
        answer = part.answers[key] = self.sites.answer(key, part.open_sites)
        return answer

    def _cut(self, mixed: Mixed, place: int) -> int | tuple[Contender, ...]:
        self._take_room()
        return self.sites.cut(mixed, place)

    def _take_room(self) -> None:
        """Make sure that one more cell may be remembered; when none may, all are forgotten."""
        self._room -= 1
        if self._room < 0:
            self._room = self._most_answers - 1
            for entry in self._entries.values():
                entry.forget()


def _key_in(country: str, cell: int) -> int:
    """The key of a cell for clients who name their country: its own, unless no zone lists that country."""
    zone = zone_of_country(country, cell_centre(cell).longitude)
    return cell if zone is None else cell + CELLS * (1 + zone)


def _moved(before: RegionView, after: RegionView) -> bool:
    """Whether the geometry of a region is another: it is a different one, or stands elsewhere."""
    return (before.region_id, before.point, before.country) != (after.region_id, after.point, after.country)


def _carries_on(before: RegionView, after: RegionView) -> bool:
    """Whether a region may serve whom it might before: it carries another load, and has room for more as it had."""
    room = before.load < before.max_capacity
    return (after.load < after.max_capacity) is room and same_but_load(before, after)


def _rules(fleet: Fleet) -> tuple[object, ...]:
    """What needs are made of: the same objects until one of them changes."""
    return fleet.services, fleet.policies, fleet.deployments, fleet.bindings


assert cell_of(-90.0, -179.0) == 1 and cell_of(-89.0, -180.0) == 361  # what ``nearest`` has written out
