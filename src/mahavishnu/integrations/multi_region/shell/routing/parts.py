"""Who may serve one kind of request, as bit masks over the regions of a table, kept up to date bit by bit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mahavishnu.integrations.multi_region.core.eligibility import in_force, may_serve
from mahavishnu.integrations.multi_region.core.model import Fleet, RegionView, RoutingStrategy
from mahavishnu.integrations.multi_region.core.ranking import KEYS, TIER, Rank, RankInput, rank_of, turn_of
from mahavishnu.integrations.multi_region.core.request import Needs, shares_of

from .contenders import Answer
from .sites import Sites

ALONE = frozenset({RoutingStrategy.CAPACITY_BASED, RoutingStrategy.COST_BASED, RoutingStrategy.HEALTH_BASED})
"""Strategies that look at regions alone."""

TIERS = max(TIER.values()) + 1


_OUT = -1
"""The tier of a region that may not serve."""

_NOBODY = -1


class Part:
    """Regions that take traffic together under one set of needs: a deployment's group, or all of them.

    ``best``: a bit for each region of the best tier that has any. ``open_sites``: a bit for each site with such a
    region. ``chosen``: by site, the index of the region that stands for it. ``answers``: by cell, what was compiled;
    ``arrays``: a place for what batches compile.
    """

    def __init__(self, weight: float, members: frozenset[str] | None) -> None:
        self.weight = weight
        self.members = members
        self.masks = [0] * TIERS
        self.best = 0
        self.open_sites = 0
        self.chosen: list[int] = []
        self.answers: dict[int, Answer] = {}
        self.arrays: object = None
        self._indices: list[int] = []
        self._winners: dict[RoutingStrategy, int] = {}
        self._shares: tuple[list[int], list[float]] | None = None
        self._views: Sequence[RegionView] = ()

    def move(self, index: int, before: int, after: int) -> None:
        """A region went from one tier to another."""
        bit = 1 << index
        if before != _OUT:
            self.masks[before] &= ~bit
        if after != _OUT:
            self.masks[after] |= bit

    def settle(self, views: Sequence[RegionView], sites: Sites, touched: Iterable[int]) -> None:
        """Work out what follows from the masks, some regions (``touched``) being others than before."""
        self._views = views
        self._winners.clear()
        self._shares = None
        best, before = next((mask for mask in self.masks if mask), 0), self.best
        stale = {sites.of_region[index] for index in touched}
        if best != before:
            self.best, self._indices = best, []
            stale.update(sites.of_region[index] for index in indices_of(best ^ before))
        for site in stale:
            self._choose(site, sites.all[site].members)

    def fill(self, views: Sequence[RegionView], sites: Sites, tiers: Sequence[int]) -> None:
        """Begin anew, with the tier of each region."""
        inside = [self.members is None or view.region_id in self.members for view in views]
        own = [tier if inside[index] else _OUT for index, tier in enumerate(tiers)]
        self.masks = [_mask_of([tier == level for tier in own]) for level in range(TIERS)]
        self.best, self._indices = next((mask for mask in self.masks if mask), 0), []
        self._winners.clear()
        self._shares = None
        self.place(views, sites)

    def place(self, views: Sequence[RegionView], sites: Sites) -> None:
        """Regions stand elsewhere, or more was learned of them: forget what was compiled, choose for each site anew."""
        self._views = views
        self.answers, self.arrays = {}, None
        able = set(self.indices)
        self.chosen = [
            (site.members[0] if site.members[0] in able else _NOBODY)
            if len(site.members) == 1
            else min(able.intersection(site.members), key=self._rank, default=_NOBODY)
            for site in sites.all
        ]
        self.open_sites = _mask_of([chosen != _NOBODY for chosen in self.chosen])

    def _choose(self, site: int, members: tuple[int, ...]) -> None:
        able = [index for index in members if self.best >> index & 1]
        chosen = able[0] if len(able) == 1 else min(able, key=self._rank, default=_NOBODY)
        if (chosen == _NOBODY) is not (self.chosen[site] == _NOBODY):
            self.open_sites ^= 1 << site
            self.answers, self.arrays = {}, None
        self.chosen[site] = chosen

    def rank(self, site: int) -> Rank:
        """The rank of the region that stands for a site; of equal estimates the lowest wins."""
        return self._rank(self.chosen[site])

    def _rank(self, index: int) -> Rank:
        return rank_of(self._views[index])

    @property
    def indices(self) -> list[int]:
        """The regions of the best tier, in order of registration."""
        if not self._indices:
            self._indices = indices_of(self.best)
        return self._indices

    def winner(self, strategy: RoutingStrategy) -> int:
        """Index of the best region by a strategy that looks at regions alone: cost, capacity, health."""
        index = self._winners.get(strategy)
        if index is None:
            key = KEYS[strategy](RankInput())
            assert key is not None
            views = self._views
            index = min(self.indices, key=lambda i: (key(views[i]), rank_of(views[i])))
            self._winners[strategy] = index
        return index

    def shares(self, weights: Mapping[str, float]) -> tuple[list[int], list[float]]:
        """The regions with a weight of the best tier that has any such, and their weights; empty when none has.

        ``weights``: by region; the same for every call between two changes.
        """
        if self._shares is None:
            self._shares = self._weigh(weights)
        return self._shares

    def _weigh(self, weights: Mapping[str, float]) -> tuple[list[int], list[float]]:
        names = [view.region_id for view in self._views]
        for mask in self.masks:
            found = [index for index in indices_of(mask) if weights.get(names[index], 0.0) > 0]
            if found:
                return found, [weights[names[index]] for index in found]
        return [], []


@dataclass(slots=True, eq=False)
class Compiled:
    """One set of needs over the regions of a table. ``version``, ``rules``: of the table when it was last brought up.

    ``whole``: all regions that may serve; ``parts``: the groups of a deployment, or that one alone. ``leaning``: the
    needs as they bind now differ from the needs, because no preferred region can serve.
    """

    needs: Needs
    whole: Part
    parts: list[Part]
    rules: object
    version: int = 0
    leaning: bool = False
    tiers: list[int] = field(default_factory=list)
    _weights: Mapping[str, float] | None = None

    @classmethod
    def of(cls, needs: Needs, rules: object) -> Compiled:
        """Not compiled yet."""
        groups = [g for g in needs.deployment.groups if g.weight > 0] if needs.deployment is not None else []
        whole = Part(1.0, None)
        return cls(needs, whole, [Part(g.weight, frozenset(g.regions)) for g in groups] or [whole], rules)

    def part(self, turn: int) -> Part | None:
        """The part whose turn it is among those with an eligible region; None when none has."""
        if len(self.parts) == 1:
            return self.parts[0] if self.parts[0].best else None
        able = [part for part in self.parts if part.best]
        if len(able) < 2:
            return able[0] if able else None
        return able[turn_of([part.weight for part in able], turn)]

    def compile(
        self, fleet: Fleet, views: Sequence[RegionView], sites: Sites, known: Mapping[int, int] | None = None
    ) -> None:
        """Look at all regions, but for those whose tier is known already, by the identity of their view."""
        needs = in_force(fleet, self.needs)
        if known is None or self.leaning is not (needs is not self.needs):
            known = {}
        self.leaning = needs is not self.needs
        found = [known.get(id(view)) for view in views]
        self.tiers = [_tier(view, needs) if tier is None else tier for view, tier in zip(views, found, strict=True)]
        for part in self._each():
            part.fill(views, sites, self.tiers)

    def follow(self, fleet: Fleet, views: Sequence[RegionView], sites: Sites, changed: Sequence[int]) -> None:
        """Look at the regions that changed (by index), or at all when a preference came into force or fell away."""
        needs = in_force(fleet, self.needs)
        leaning = needs is not self.needs
        self._move(needs, views, changed if leaning is self.leaning else range(len(views)))
        self.leaning = leaning
        for part in self._each():
            part.settle(views, sites, changed)

    def place(self, views: Sequence[RegionView], sites: Sites) -> None:
        """Take over other sites of the same regions."""
        for part in self._each():
            part.place(views, sites)

    def forget(self) -> None:
        """Forget the cells; they come back as they are asked for."""
        for part in self._each():
            part.answers = {}

    @property
    def weights(self) -> Mapping[str, float]:
        """The shares of the service's regions: by its plan of record, else as declared; empty for none."""
        if self._weights is None:
            self._weights = shares_of(self.needs.service, self.needs.deployment)
        return self._weights

    def _move(self, needs: Needs, views: Sequence[RegionView], indices: Iterable[int]) -> None:
        tiers, parts = self.tiers, self._each()
        for index in indices:
            view = views[index]
            tier = _tier(view, needs)
            if tier != tiers[index]:
                for part in parts:
                    if part.members is None or view.region_id in part.members:
                        part.move(index, tiers[index], tier)
                tiers[index] = tier

    def _each(self) -> list[Part]:
        return self.parts if self.parts[0] is self.whole else [*self.parts, self.whole]


def _tier(view: RegionView, needs: Needs) -> int:
    return TIER[view.standing] if may_serve(view, needs) else _OUT


def _mask_of(flags: Sequence[bool]) -> int:
    """A bit for each flag that is set."""
    return int("".join(["1" if flag else "0" for flag in reversed(flags)]) or "0", 2)


def indices_of(mask: int) -> list[int]:
    """The bits that are set, lowest first."""
    digits = f"{mask:b}"[::-1]
    found, at = [], digits.find("1")
    while at >= 0:
        found.append(at)
        at = digits.find("1", at + 1)
    return found
