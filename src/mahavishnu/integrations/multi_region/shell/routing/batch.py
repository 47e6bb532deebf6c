"""``route`` for many clients at once: NumPy arrays in, region indices out, and never long on the event loop.

A batch is decided in one state of the regions, the one it was begun in, although other tasks run between its chunks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mahavishnu.integrations.multi_region.core.figures import check_number
from mahavishnu.integrations.multi_region.core.model import RegionView, RoutingStrategy
from mahavishnu.integrations.multi_region.core.ranking import GOLDEN, rank_of
from mahavishnu.integrations.multi_region.errors import InvalidInputError
from mahavishnu.integrations.multi_region.facts.latency_arrays import Floats, Ints

from .batch_cells import CellArrays
from .batch_winners import Winners
from .parts import ALONE, Compiled, Part, indices_of
from .table import RoutingTable

Numbers: TypeAlias = NDArray[Any] | Sequence[float]

_Positions: TypeAlias = NDArray[np.uint16] | NDArray[np.uint32]

CHUNK = 16_384
"""Places that are decided in one go: 1 to 2 ms."""

LISTED = 4_096
"""Numbers of a plain sequence that are read in one go."""


@dataclass(frozen=True, slots=True)
class RouteBatch:
    """Where many requests go. ``indices``: for each the position of its region in ``region_ids``.

    ``indices`` has dtype uint16, or uint32 beyond 65,536 regions. ``revision``: of the intent it was decided from.
    """

    indices: _Positions
    region_ids: tuple[str, ...]
    strategy: RoutingStrategy
    revision: int
    _selected: list[list[str]] = field(default_factory=list, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def selected(self) -> list[str]:
        """The region's id for each request; made when first asked for."""
        if not self._selected:
            self._selected.append(np.array([*self.region_ids, ""], dtype=object)[self.indices].tolist())
        return self._selected[0]


# --- what is asked ----------------------------------------------------------------------------


async def read_places(latitudes: Numbers, longitudes: Numbers) -> tuple[Floats, Floats]:
    """Both columns as arrays of their own, checked. Raises InvalidInputError naming the first bad position."""
    columns = _column(latitudes, "latitudes"), _column(longitudes, "longitudes")
    if len(columns[0]) != len(columns[1]):
        raise InvalidInputError(
            "longitudes", f"{len(columns[1])} of them", f"one for each of {len(columns[0])} latitudes"
        )
    n = len(columns[0])
    places = np.empty(n), np.empty(n)
    step = CHUNK if all(isinstance(column, np.ndarray) for column in columns) else LISTED
    for start in range(0, n, step):
        some = slice(start, min(n, start + step))
        fine = [
            _read(column[some], out[some], most) for column, out, most in zip(columns, places, _LIMITS, strict=True)
        ]
        if not all(fine):
            _read_singly(columns, places, range(n)[some])
        await asyncio.sleep(0)
    return places


_LIMITS = (90.0, 180.0)


def _column(values: Any, name: str) -> Any:
    """What can be cut into chunks: an array of one dimension, or a sequence."""
    if isinstance(values, np.ndarray):
        if values.ndim != 1:
            raise InvalidInputError(name, f"an array of shape {values.shape}", "one dimension")
        return values if values.dtype.kind in "fiu" else values.tolist()
    if isinstance(values, Sequence) and not isinstance(values, str | bytes):
        return values
    raise InvalidInputError(name, values, "an array or a sequence of numbers, in degrees")


def _read(values: Any, out: Floats, limit: float) -> bool:
    """Copy numbers of degrees; whether all of them are some, and in range."""
    if not isinstance(values, np.ndarray) and not set(map(type, values)) <= {int, float}:
        return False
    try:
        out[:] = values
    except OverflowError:  # an int beyond any float
        return False
    return bool((np.abs(out) <= limit).all())


def _read_singly(columns: tuple[Any, Any], places: tuple[Floats, Floats], positions: range) -> None:
    """Copy numbers of any type that ``route`` takes; raises for the first that it would not."""
    for at in positions:
        for name, column, out, most in zip(("latitudes", "longitudes"), columns, places, _LIMITS, strict=True):
            value = column[at].item() if isinstance(column[at], np.generic) else column[at]
            allowed = f"a number of degrees from -{most:g} to {most:g}"
            out[at] = check_number(value, f"{name}.{at}", allowed, lambda v, most=most: abs(v) <= most)  # type: ignore[misc]


# --- what is answered -------------------------------------------------------------------------


class Batch:
    """Decides places in the state that the table is in now; ``first_turn`` numbers the first of them."""

    def __init__(self, table: RoutingTable, entry: Compiled, chosen: RoutingStrategy, first_turn: int) -> None:
        self._table = table
        self._chosen = chosen
        self._turn = first_turn
        self._revision = table.fleet.revision
        self._ids = table.ids
        self._views = list(table.views)
        indices, weights = entry.whole.shares(entry.weights) if chosen is RoutingStrategy.WEIGHTED else ([], [])
        self._parts: list[_Among] = [_One(index) for index in indices]
        if not indices:
            parts = [entry.whole] if chosen is RoutingStrategy.WEIGHTED else [p for p in entry.parts if p.best]
            weights, self._parts = [part.weight for part in parts], [self._among(part) for part in parts]
        self._weights = weights

    async def decide(self, latitudes: Floats, longitudes: Floats) -> tuple[RouteBatch, Ints]:
        """Where each place goes, and how often each region was chosen."""
        n, counts = len(latitudes), np.zeros(len(self._ids), dtype=np.intp)
        indices: _Positions = np.empty(n, np.uint16) if len(self._ids) <= 65_536 else np.empty(n, np.uint32)
        for start in range(0, n, CHUNK):
            some = slice(start, min(n, start + CHUNK))
            await self._fill(indices[some], latitudes[some], longitudes[some], self._turn + start)
            counts += np.bincount(indices[some], minlength=len(counts))
            await asyncio.sleep(0)
        return RouteBatch(indices, self._ids, self._chosen, self._revision), counts

    async def _fill(self, out: NDArray[Any], latitudes: Floats, longitudes: Floats, turn: int) -> None:
        turns = np.arange(turn, turn + len(out))
        if len(self._parts) == 1:
            out[:] = await self._parts[0].decide(latitudes, longitudes, turns)
            return
        whose = turns_of(self._weights, turns)
        for part, among in enumerate(self._parts):
            theirs = np.flatnonzero(whose == part)
            if len(theirs):
                out[theirs] = await among.decide(latitudes[theirs], longitudes[theirs], turns[theirs])

    def _among(self, part: Part) -> _Among:
        if self._chosen is RoutingStrategy.ROUND_ROBIN:
            return _InTurn(part.indices)
        if self._chosen in ALONE:
            return _One(part.winner(self._chosen))
        return _Nearest(self._table, part, self._views)


class _One:
    """One region, whatever the place."""

    def __init__(self, index: int) -> None:
        self._index = index

    async def decide(self, latitudes: Floats, _longitudes: Floats, _turns: Ints) -> Ints:
        return np.full(len(latitudes), self._index)


class _InTurn:
    """Regions in turn."""

    def __init__(self, indices: Sequence[int]) -> None:
        self._indices = np.array(indices, dtype=np.intp)

    async def decide(self, _latitudes: Floats, _longitudes: Floats, turns: Ints) -> Ints:
        found: Ints = self._indices[turns % len(self._indices)]
        return found


class _Nearest:
    """The region with the lowest estimate."""

    def __init__(self, table: RoutingTable, part: Part, views: Sequence[RegionView]) -> None:
        self._winners = _winners(table, part)
        chosen = list(part.chosen)
        self._chosen = np.array(chosen, dtype=np.intp)
        self._ranks = lambda site: rank_of(views[chosen[site]])

    async def decide(self, latitudes: Floats, longitudes: Floats, _turns: Ints) -> Ints:
        found = np.empty(len(latitudes), dtype=np.int32)
        for _ in self._winners.steps(latitudes, longitudes, self._ranks, found):
            await asyncio.sleep(0)
        indices: Ints = self._chosen[found]
        return indices


_Among: TypeAlias = _One | _InTurn | _Nearest


def _winners(table: RoutingTable, part: Part) -> Winners:
    """The part's cells as arrays; a table keeps those of a few parts."""
    if isinstance(part.arrays, Winners):
        return part.arrays
    sites = table.sites
    if not isinstance(sites.cell_arrays, CellArrays):
        sites.cell_arrays = CellArrays(sites)
    allowed = np.zeros(len(sites.all), dtype=np.bool_)
    allowed[indices_of(part.open_sites)] = True
    found = part.arrays = Winners(sites, sites.cell_arrays, allowed)
    table.remember_arrays(part)
    return found


def turns_of(weights: Sequence[float], turns: Ints) -> Ints:
    """``turn_of`` for many turns."""
    marks = turns * GOLDEN % 1.0 * sum(weights)
    found = np.full(len(turns), len(weights) - 1)
    open_ = np.ones(len(turns), dtype=np.bool_)
    for index, weight in enumerate(weights):
        marks -= weight
        theirs = open_ & (marks < 0)
        found[theirs] = index
        open_ &= ~theirs
    return found
