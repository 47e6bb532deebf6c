"""RttBook: takes measured round trips, keeps what they teach in bounds, and hands it out frozen and numbered.

What a measurement is worth is decided in ``core/residuals.py``. One document per region lies in the store under
``rtt/`` and its id; several processes that share a store learn from each other's, cell by cell, the newer one winning.
Everything here runs on one event loop and waits for nothing but the store.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

import structlog

from mahavishnu.integrations.multi_region.core.geo import distance_km
from mahavishnu.integrations.multi_region.core.latency import LatencyModel, cell_of, corrected_ms
from mahavishnu.integrations.multi_region.core.model import Point, RegionView
from mahavishnu.integrations.multi_region.core.residuals import (
    Corrections,
    Learned,
    check_rtt,
    first_residual,
    is_outlier,
)
from mahavishnu.integrations.multi_region.core.rtt_shelf import Shelf, fingerprint, parse_shelf, shelf_text
from mahavishnu.integrations.multi_region.errors import InvalidInputError, MultiRegionError
from mahavishnu.integrations.multi_region.facts.network import latency_model, zone_of_client, zone_of_region
from mahavishnu.integrations.multi_region.ports.clock import Clock, SystemClock

RTT = "rtt/"
"""Where documents are kept: this and the region's id."""

CELLS_PER_REGION = 512
REGIONS = 2_000
"""How much is kept at most; beyond, what weighs least and what was heard of longest ago goes."""

WRITE_EVERY_S = 5.0
PUBLISH_EVERY_S = 1.0
AGE_EVERY_S = 3_600.0
"""How often at most the store is written and corrections are renewed, and how soon all of them are, to age."""

MATTERS_MS = 0.5
"""Corrections are renewed when that of one cell has moved by this much."""

REGIONS_AT_ONCE = 8
CELLS_AT_ONCE = 1_024
"""How many regions are written or renewed in one go, and fewer where they have more cells than that together: the event
loop is held for about 2 ms."""

DOUBTS_IN_A_ROW = 5
"""So many outliers running, from one cell to one region, are the new truth."""

_DOUBTED_CELLS = 1_024

REASONS = ("impossible", "outlier")
"""Why a round trip is not learned from."""

Write = Callable[[Mapping[str, str | None]], Awaitable[object]]
"""Commits documents (None deletes) as one change; ``Store.commit`` is one. Raises a MultiRegionError when it cannot."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RttStats:
    """What the book holds (regions, cells of all regions), took, refused by each reason, and has not written yet."""

    regions: int
    cells: int
    observed: int
    refused: Mapping[str, int]
    unwritten: int
    version: int


class RttBook:
    """Learns from measured round trips. ``corrections`` is what decisions read: frozen, replaced when it changes."""

    def __init__(
        self,
        write: Write | None = None,
        *,
        clock: Clock | None = None,
        model: LatencyModel | None = None,
        cells_per_region: int = CELLS_PER_REGION,
        write_every_s: float = WRITE_EVERY_S,
    ) -> None:
        self._write = write
        self._clock = clock or SystemClock()
        self.model = model or latency_model()
        self._fingerprint = fingerprint(self.model)
        self._most = max(1, cells_per_region)
        self._write_every_s = write_every_s
        self._shelves: dict[str, Shelf] = {}  # the longest unheard of first
        self._unwritten: dict[str, None] = {}
        self._stale: dict[str, None] = {}
        self._published_at: float | None = None
        self._doubts: dict[tuple[str, int], int] = {}
        self._written: dict[str, int] = {}  # by region: the hash of the text that we wrote last
        self._observed = 0
        self._refused: Counter[str] = Counter()
        self._ticker: asyncio.Task[None] | None = None
        self.corrections = Corrections()

    @property
    def version(self) -> int:
        """Of the corrections: grows when they change enough to matter, at most once a second."""
        return self.corrections.version

    def stats(self) -> RttStats:
        """Counts, for people and metrics."""
        cells = sum(len(shelf.cells) for shelf in self._shelves.values())
        refused = {reason: self._refused[reason] for reason in REASONS}
        return RttStats(len(self._shelves), cells, self._observed, refused, len(self._unwritten), self.version)

    # --- asking -------------------------------------------------------------------------------

    def estimate_ms(
        self,
        location: Point,
        region: RegionView,
        country: str | None = None,
        corrections: Corrections | None = None,
    ) -> float:
        """The round trip in ms to expect between a client and a region, by the model and what was learned.

        ``corrections``: what was learned at some time; None for now.
        """
        km = distance_km(location, region.point)
        learned = self.corrections if corrections is None else corrections
        correction = learned.correction_ms(cell_of(location.latitude, location.longitude), region.region_id)
        return corrected_ms(km, self._predicted(km, location, region, country), correction)

    # --- telling ------------------------------------------------------------------------------

    def check(self, location: Point, region: RegionView, ms: float) -> float:
        """The round trip as a float; learns nothing. What cannot be true is counted, and raises InvalidInputError."""
        try:
            return check_rtt(ms, distance_km(location, region.point))
        except InvalidInputError:
            self._refused["impossible"] += 1
            raise

    def observe(self, location: Point, region: RegionView, ms: float, country: str | None = None) -> None:
        """Learn from one round trip of ``ms`` between a client at ``location`` (and ``country``) and a region.

        Raises InvalidInputError, and learns nothing, when it cannot be true or is an outlier: more than 4 times what is
        usual from there and more than 300 ms above it. The fifth outlier in a row is believed.
        """
        value, km = self.check(location, region, ms), distance_km(location, region.point)
        cell, now = cell_of(location.latitude, location.longitude), self._clock.now()
        predicted = self._predicted(km, location, region, country)
        usual = self._usual_ms(value, km, predicted, cell, region.region_id)
        self._refuse_outlier(value, cell, region.region_id, usual)
        self._learn(region, cell, value - predicted, now)
        self._observed += 1
        self.renew()

    def accept(self, key: str, text: str | None) -> bool:
        """Take over a document from the store, ``rtt/`` and a region's id: when starting, or written by another.

        What cannot be read, or was learned against another model, is left aside. None (deleted) is forgotten here too.
        What we wrote ourselves comes back and is not read again. Returns whether anything was new.
        """
        region_id = key.removeprefix(RTT)
        if self._written.get(region_id) == hash(text):
            return False
        self._written.pop(region_id, None)
        if text is None:
            return self._drop(region_id)
        theirs = parse_shelf(text, self._fingerprint, self._clock.now())
        if theirs is None:
            log.warning("stored round trips not used", region=region_id)
            return False
        ours = self._shelves.setdefault(region_id, theirs)
        if ours is not theirs and not (ours.same_place(theirs) and ours.merge(theirs)):
            return False
        ours.shrink(self._most, self._clock.now())
        self._stale[region_id] = None
        self._bound_regions()
        return True

    def follow(self, regions: Mapping[str, RegionView]) -> None:
        """Let go of what was learned of regions that stand elsewhere now; those that are not named are kept.

        Call it once the store's documents were accepted, and whenever regions change.
        """
        for region_id, region in regions.items():
            shelf = self._shelves.get(region_id)
            if shelf is not None and not shelf.stands_at(region.point, self._zone_name(region)):
                self._drop(region_id)

    def forget(self, region_id: str) -> None:
        """Forget all that was learned of a region, in the store too."""
        if region_id in self._shelves:
            self._drop(region_id)
            self._unwritten[region_id] = None

    def renew(self) -> bool:
        """Bring ``corrections`` up to date if they have changed and a second has passed; whether that was done."""
        now = self._clock.monotonic()
        if self._published_at is not None and now - self._published_at < PUBLISH_EVERY_S:
            return False
        aged = (rid for rid, shelf in self._shelves.items() if now - shelf.renewed_at >= AGE_EVERY_S)
        turn = self._in_one_go({**self._stale, **dict.fromkeys(aged)})
        if not turn:
            return False
        self._published_at = now
        self._publish(turn, now)
        return True

    # --- writing ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Renew and write from now on, every few seconds, until ``close``. Does nothing the second time."""
        if self._ticker is None:
            self._ticker = asyncio.create_task(self._tick_forever(), name="round trips")

    async def flush(self) -> None:
        """Write what has changed, a few regions in each commit; what cannot be written now is kept for later."""
        if self._write is None:
            return
        waiting = dict.fromkeys(self._unwritten)
        try:
            while turn := self._in_one_go(waiting):
                await self._write_some(self._write, turn)
                for region_id in turn:
                    del waiting[region_id]
                await asyncio.sleep(0)  # not every store takes its time
        except MultiRegionError as err:
            log.warning("round trips not written", regions=len(self._unwritten), error=str(err))

    async def close(self) -> None:
        """Stop, and write what is left."""
        if self._ticker is not None:
            self._ticker.cancel()
            with suppress(asyncio.CancelledError):
                await self._ticker
            self._ticker = None
        await self.flush()

    async def _tick_forever(self) -> None:
        while True:
            await self._clock.sleep(self._write_every_s)
            self.renew()
            await self.flush()

    async def _write_some(self, write: Write, turn: list[str]) -> None:
        documents = {RTT + region_id: self._text(region_id) for region_id in turn}
        for region_id in turn:
            self._unwritten.pop(region_id, None)
            self._written[region_id] = hash(documents[RTT + region_id])
        try:
            await write(documents)
        except BaseException:  # cancelled ones too: what is not known to be written is written again
            self._unwritten.update(dict.fromkeys(turn))
            raise

    # --- inside -------------------------------------------------------------------------------

    def _in_one_go(self, waiting: Iterable[str]) -> list[str]:
        """The first of some regions, as many as are worked on in one turn of the loop; one at least."""
        turn, cells = list[str](), 0
        for region_id in islice(waiting, REGIONS_AT_ONCE):
            shelf = self._shelves.get(region_id)
            cells += 0 if shelf is None else len(shelf.cells)
            if turn and cells > CELLS_AT_ONCE:
                break
            turn.append(region_id)
        return turn

    def _predicted(self, km: float, location: Point, region: RegionView, country: str | None) -> float:
        region_zone = zone_of_region(region.point, region.country)
        return self.model.estimate_ms(km, zone_of_client(location, country), region_zone)

    def _zone_name(self, region: RegionView) -> str:
        return self.model.zones[zone_of_region(region.point, region.country)]

    def _usual_ms(self, ms: float, km: float, predicted_ms: float, cell: int, region_id: str) -> float:
        """The round trip that is usual by the cell's own history, or else by its neighbours'.

        Or less, where ``ms`` is no outlier beside the least that can be: what neighbours say takes time to sum up.
        """
        shelf, learned = self._shelves.get(region_id), self.corrections.learned.get(region_id)
        own = shelf.cells.get(cell) if shelf is not None else None
        if own is not None or learned is None:
            return corrected_ms(km, predicted_ms, 0.0 if own is None else own.mean_ms)
        least = corrected_ms(km, predicted_ms, learned.lowest_ms)
        return corrected_ms(km, predicted_ms, learned.correction_ms(cell)) if is_outlier(ms, least) else least

    def _refuse_outlier(self, ms: float, cell: int, region_id: str, usual_ms: float) -> None:
        key = region_id, cell
        if not is_outlier(ms, usual_ms):
            self._doubts.pop(key, None)
            return
        doubts = self._doubts.pop(key, 0) + 1
        self._doubts[key] = doubts
        if len(self._doubts) > _DOUBTED_CELLS:
            del self._doubts[next(iter(self._doubts))]
        if doubts < DOUBTS_IN_A_ROW:
            self._refused["outlier"] += 1
            allowed = f"about {usual_ms:.0f} ms is usual; so far above it a client stalled, unless it happens again"
            raise InvalidInputError("ms", ms, f"{allowed} ({doubts} of {DOUBTS_IN_A_ROW} in a row)")

    def _learn(self, region: RegionView, cell: int, residual_ms: float, now: float) -> None:
        region_id, zone = region.region_id, self._zone_name(region)
        shelf = self._shelves.pop(region_id, None)
        if shelf is None or not shelf.stands_at(region.point, zone):
            shelf = Shelf(region.point, zone)
        self._shelves[region_id] = shelf
        before = shelf.cells.get(cell)
        after = first_residual(residual_ms, now) if before is None else before.then(residual_ms, now)
        shelf.cells[cell] = after
        if abs(after.pull_ms(now) - shelf.shown_ms.get(cell, 0.0)) >= MATTERS_MS:
            self._stale[region_id] = None
        shelf.shrink(self._most, now)
        self._unwritten[region_id] = None
        self._bound_regions()

    def _bound_regions(self) -> None:
        while len(self._shelves) > REGIONS:
            self.forget(next(iter(self._shelves)))

    def _drop(self, region_id: str) -> bool:
        """Let go of a region; whether anything was known of it."""
        self._written.pop(region_id, None)
        if self._shelves.pop(region_id, None) is None:
            return False
        self._stale[region_id] = None
        return True

    def _publish(self, turn: list[str], monotonic_s: float) -> None:
        now, changed, gone = self._clock.now(), dict[str, Learned](), list[str]()
        for region_id in turn:
            self._stale.pop(region_id, None)
            shelf = self._shelves.get(region_id)
            if shelf is None:
                gone.append(region_id)
                continue
            changed[region_id] = Learned.of(shelf.cells, now)
            shelf.shown_ms = {cell: residual.pull_ms(now) for cell, residual in shelf.cells.items()}
            shelf.renewed_at = monotonic_s
        self.corrections = self.corrections.having(changed, gone)

    def _text(self, region_id: str) -> str | None:
        shelf = self._shelves.get(region_id)
        return None if shelf is None else shelf_text(shelf, self._fingerprint)
