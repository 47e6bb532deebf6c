"""What a worker needs of the controller's state, as pieces small enough that neither event loop is held up.

Pieces are pickled: they come over a socket in a directory that only this account may enter, from the process that
serves the same account's secrets already. Nothing that comes the other way is ever unpickled.
"""

from __future__ import annotations

import copyreg
import io
import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

from mahavishnu.integrations.multi_region.core.model import Fleet, RegionView
from mahavishnu.integrations.multi_region.core.residuals import Corrections, Learned

VIEWS_AT_ONCE = 50
LEARNED_AT_ONCE = 8
"""How much goes into one piece: about a millisecond of work for either side."""

_T = TypeVar("_T")

NO_FLEET = Fleet(revision=0, regions=MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class State:
    """What decisions are made from, at one moment. ``number`` grows with each; bindings of data are left out."""

    number: int = 0
    fleet: Fleet = NO_FLEET
    corrections: Corrections = field(default_factory=Corrections)


@dataclass(frozen=True, slots=True)
class Views:
    """Regions that are new or have changed."""

    views: Mapping[str, RegionView]


@dataclass(frozen=True, slots=True)
class Lessons:
    """What was learned of regions, where it has changed."""

    learned: Mapping[str, Learned]


@dataclass(frozen=True, slots=True)
class Rest:
    """All that is neither; ends an update. ``fleet`` has no regions; None where no part of it changed.

    ``order``: the regions' ids in order, None where they are as they were. ``gone``: regions of which nothing is known
    any more, to be applied after the lessons; None begins from nothing.
    """

    number: int
    fleet: Fleet | None
    order: Sequence[str] | None
    version: int
    gone: Sequence[str] | None


Piece: TypeAlias = Views | Lessons | Rest


def pieces(before: State | None, after: State) -> Iterator[Piece]:
    """What turns ``before`` into ``after``; None: whatever the other side has."""
    known = before or State()
    yield from map(Views, _chunks(_changed(known.fleet.regions, after.fleet.regions), VIEWS_AT_ONCE))
    learned, had = after.corrections.learned, known.corrections.learned
    yield from map(Lessons, _chunks(_changed(had, learned), LEARNED_AT_ONCE))
    order = tuple(after.fleet.regions)
    same_fleet = before is not None and after.fleet is known.fleet
    yield Rest(
        after.number,
        None if same_fleet else _bare(after.fleet),
        None if before is not None and order == tuple(known.fleet.regions) else order,
        after.corrections.version,
        None if before is None else [region_id for region_id in had if region_id not in learned],
    )


class Assembler:
    """Puts pieces together again. ``state``: the last that was complete."""

    def __init__(self) -> None:
        self.state = State()
        self._views: dict[str, RegionView] = {}
        self._learned: dict[str, Learned] = {}

    def begin(self) -> None:
        """Forget an update that was broken off; the next is a whole one."""
        self._views, self._learned = {}, {}

    def take(self, piece: Piece) -> bool:
        """Take one piece; whether ``state`` is a new one."""
        match piece:
            case Views(views):
                self._views.update(views)
            case Lessons(learned):
                self._learned.update(learned)
            case Rest():
                self.state = self._complete(piece)
                self.begin()
                return True
        return False

    def _complete(self, rest: Rest) -> State:
        fleet, corrections = self.state.fleet, self.state.corrections
        if rest.fleet is not None or rest.order is not None or self._views:
            fleet = self._fleet(fleet, rest)
        if rest.version != corrections.version or self._learned or rest.gone is None:
            learned = {} if rest.gone is None else dict(corrections.learned)
            learned.update(self._learned)
            for region_id in rest.gone or ():
                learned.pop(region_id, None)
            corrections = Corrections(rest.version, MappingProxyType(learned))
        return State(rest.number, fleet, corrections)

    def _fleet(self, before: Fleet, rest: Rest) -> Fleet:
        """The next fleet. What is equal stays the same object, so that the routing table sees what changed."""
        known = before.regions
        for region_id, view in self._views.items():
            if known.get(region_id) == view:
                self._views[region_id] = known[region_id]
        regions = {**known, **self._views}
        if rest.order is not None:
            regions = {region_id: regions[region_id] for region_id in rest.order}
        bare = rest.fleet or before
        rules = {name: _kept(getattr(before, name), getattr(bare, name)) for name in _RULES}
        return replace(bare, regions=MappingProxyType(regions), **rules)


_RULES = ("services", "policies", "deployments")


def _bare(fleet: Fleet) -> Fleet:
    """A fleet without its regions, and without the bindings of data, which workers do not use."""
    return replace(fleet, regions=NO_FLEET.regions, bindings=NO_FLEET.bindings)


def _kept(before: _T, after: _T) -> _T:
    return before if before == after else after


def _changed(before: Mapping[str, _T], after: Mapping[str, _T]) -> dict[str, _T]:
    if before is after:
        return {}
    return {key: value for key, value in after.items() if before.get(key) is not value}


def _chunks(values: Mapping[str, _T], size: int) -> Iterator[dict[str, _T]]:
    rest = iter(values.items())
    while some := dict(islice(rest, size)):
        yield some


# --- bytes ------------------------------------------------------------------------------------


def _frozen(values: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(values)


class _Pickler(pickle.Pickler):
    dispatch_table = copyreg.dispatch_table | {MappingProxyType: lambda m: (_frozen, (dict(m),))}


def encoded(value: object) -> bytes:
    """A piece, or anything else of our own, as bytes."""
    out = io.BytesIO()
    _Pickler(out, pickle.HIGHEST_PROTOCOL).dump(value)
    return out.getvalue()


def decoded(raw: bytes) -> Any:
    """What ``encoded`` made. Only for bytes that our own process wrote where no other account can."""
    return pickle.loads(raw)
