"""The RttBook learns, refuses, stays in bounds, and keeps what it learned across a restart."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from mahavishnu.integrations.multi_region.core.geo import distance_km
from mahavishnu.integrations.multi_region.core.model import AdminState, CloudProvider, Phase, Point, RegionView
from mahavishnu.integrations.multi_region.errors import InvalidInputError, StoreError
from mahavishnu.integrations.multi_region.facts.network import latency_model, zone_of_client, zone_of_region
from mahavishnu.integrations.multi_region.ports.store import MemoryStore
from mahavishnu.integrations.multi_region.shell.rtt import (
    CELLS_AT_ONCE,
    DOUBTS_IN_A_ROW,
    REGIONS_AT_ONCE,
    RTT,
    RttBook,
    Write,
)

WEEK = 7 * 86_400.0
BERLIN, LEIPZIG, AMMAN, SYDNEY = Point(52.5, 13.4), Point(51.3, 12.4), Point(31.95, 35.93), Point(-33.9, 151.2)
PRAGUE = Point(50.1, 14.4)


class HandClock:
    """A clock that moves when it is told to; whoever sleeps waits for that."""

    def __init__(self) -> None:
        self.time = 1_800_000_000.0
        self.moved = asyncio.Event()

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    def move(self, seconds: float) -> None:
        self.time += seconds
        self.moved.set()
        self.moved = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        until = self.time + seconds
        while self.time < until:
            await self.moved.wait()


def region(region_id: str, at: Point, country: str | None) -> RegionView:
    return RegionView(
        region_id=region_id,
        name="",
        provider=CloudProvider.OTHER,
        point=at,
        country=country,
        endpoint="",
        phase=Phase.HEALTHY,
        health_score=100.0,
        admin=AdminState.ACTIVE,
        load=0.0,
        max_capacity=100.0,
        cost_multiplier=1.0,
        compliance=frozenset(),
    )


DUBLIN = region("dublin", Point(53.3, -6.3), "IE")
PARIS = region("paris", Point(48.9, 2.4), "FR")


def predicted(location: Point, target: RegionView, country: str | None = None) -> float:
    zones = zone_of_client(location, country), zone_of_region(target.point, target.country)
    return latency_model().estimate_ms(distance_km(location, target.point), *zones)


def measure(book: RttBook, location: Point, target: RegionView, ms: float, times: int = 1) -> None:
    for _ in range(times):
        book.observe(location, target, ms)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def book(clock: HandClock) -> RttBook:
    return RttBook(clock=clock)


def test_a_new_book_predicts_by_the_model_alone(book: RttBook) -> None:
    assert book.estimate_ms(BERLIN, DUBLIN) == predicted(BERLIN, DUBLIN)
    assert book.estimate_ms(Point(51.0, 15.0), DUBLIN, "PL") == predicted(Point(51.0, 15.0), DUBLIN, "PL")
    assert book.version == 0


def test_measurements_move_the_estimate_there_nearby_and_for_that_region_only(book: RttBook, clock: HandClock) -> None:
    measure(book, BERLIN, DUBLIN, predicted(BERLIN, DUBLIN) + 60, times=20)
    clock.move(1)
    book.renew()
    there, nearby = (book.estimate_ms(at, DUBLIN) - predicted(at, DUBLIN) for at in (BERLIN, LEIPZIG))
    assert there == pytest.approx(40.0)
    assert 20.0 < nearby < there
    assert book.estimate_ms(SYDNEY, DUBLIN) == predicted(SYDNEY, DUBLIN)
    assert book.estimate_ms(BERLIN, PARIS) == predicted(BERLIN, PARIS)


def test_no_estimate_goes_below_light(book: RttBook, clock: HandClock) -> None:
    floor = distance_km(SYDNEY, DUBLIN.point) / 100
    measure(book, SYDNEY, DUBLIN, floor, times=20)
    clock.move(1)
    book.renew()
    assert book.estimate_ms(SYDNEY, DUBLIN) >= floor


def test_what_was_learned_fades_over_weeks(book: RttBook, clock: HandClock) -> None:
    measure(book, BERLIN, DUBLIN, predicted(BERLIN, DUBLIN) + 60, times=20)
    corrections = []
    for _ in range(4):
        clock.move(4 * WEEK)
        assert book.renew()
        corrections.append(book.estimate_ms(BERLIN, DUBLIN) - predicted(BERLIN, DUBLIN))
    assert corrections == sorted(corrections, reverse=True)
    assert corrections[-1] < 1.0


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize("ms", [0.0, -3.0, float("nan"), float("inf"), 10_001.0, 3.0])
def test_what_cannot_be_true_is_refused_and_teaches_nothing(book: RttBook, ms: float) -> None:
    with pytest.raises(InvalidInputError, match="ms"):
        book.observe(BERLIN, DUBLIN, ms)
    assert book.stats().cells == book.stats().unwritten == book.version == 0
    assert book.stats().refused == {"impossible": 1, "outlier": 0}


def test_an_outlier_is_refused_with_what_is_usual(book: RttBook) -> None:
    measure(book, BERLIN, DUBLIN, 40.0, times=3)
    with pytest.raises(InvalidInputError, match=r"about 40 ms is usual.*1 of 5"):
        book.observe(BERLIN, DUBLIN, 900.0)
    assert book.stats().observed == 3
    assert book.stats().refused == {"impossible": 0, "outlier": 1}


def test_what_is_usual_where_nothing_was_measured_yet_the_neighbours_say(book: RttBook, clock: HandClock) -> None:
    with pytest.raises(InvalidInputError, match=r"about 3\d ms is usual"):
        book.observe(BERLIN, DUBLIN, 700.0)
    for ms, times in ((290.0, 20), (500.0, 40)):
        measure(book, LEIPZIG, DUBLIN, ms, times)
        measure(book, PRAGUE, DUBLIN, ms, times)
    clock.move(1)
    book.renew()
    book.observe(BERLIN, DUBLIN, 700.0)
    with pytest.raises(InvalidInputError, match="is usual"):
        book.observe(SYDNEY, DUBLIN, 1_500.0)
    assert book.stats().observed == 121


def test_an_outlier_that_keeps_coming_is_believed(book: RttBook, clock: HandClock) -> None:
    for _ in range(DOUBTS_IN_A_ROW - 1):
        with pytest.raises(InvalidInputError):
            book.observe(AMMAN, DUBLIN, 900.0)
    measure(book, AMMAN, DUBLIN, 900.0, times=20)
    clock.move(1)
    book.renew()
    assert book.estimate_ms(AMMAN, DUBLIN) > 600.0


def test_a_plausible_measurement_ends_the_row(book: RttBook) -> None:
    for _ in range(3):
        for _ in range(DOUBTS_IN_A_ROW - 1):
            with pytest.raises(InvalidInputError):
                book.observe(BERLIN, DUBLIN, 900.0)
        book.observe(BERLIN, DUBLIN, 40.0)
    assert book.stats().observed == 3


# --- versions ---------------------------------------------------------------------------------


def test_the_version_grows_at_most_once_a_second(book: RttBook, clock: HandClock) -> None:
    for step in range(40):
        measure(book, Point(float(step), 10.0), PARIS, predicted(Point(float(step), 10.0), PARIS) + 50)
        clock.move(0.1)
    assert 4 <= book.version <= 5


def test_the_version_stays_when_nothing_new_is_learned(book: RttBook, clock: HandClock) -> None:
    usual = predicted(BERLIN, PARIS)
    for _ in range(50):
        measure(book, BERLIN, PARIS, usual + 0.1)
        clock.move(2)
    assert book.version == 0


def test_corrections_in_hand_do_not_change(book: RttBook, clock: HandClock) -> None:
    before = book.corrections
    measure(book, BERLIN, PARIS, 90.0, times=5)
    clock.move(1)
    book.renew()
    assert before.version == 0
    assert before.learned == {}
    assert book.corrections is not before


def test_many_regions_are_renewed_in_turns(book: RttBook, clock: HandClock) -> None:
    many = [replace(PARIS, region_id=f"r{n}") for n in range(3 * REGIONS_AT_ONCE)]
    for one in many:
        measure(book, BERLIN, one, predicted(BERLIN, one) + 50)
    turns = 0
    clock.move(1)
    while book.renew():
        turns += 1
        clock.move(1)
    assert turns == 3
    assert len(book.corrections.learned) == len(many)
    assert book.version == 4  # the first at once, then in turns of eight


# --- bounds -----------------------------------------------------------------------------------


def test_a_region_keeps_a_bounded_number_of_cells_and_the_weighty_ones(clock: HandClock) -> None:
    book = RttBook(clock=clock, cells_per_region=16)
    measure(book, BERLIN, PARIS, 60.0, times=20)
    for longitude in range(100):
        book.observe(Point(5.0, float(longitude)), PARIS, predicted(Point(5.0, float(longitude)), PARIS) + 5)
        assert book.stats().cells <= 16
    clock.move(1)
    book.renew()
    assert book.estimate_ms(BERLIN, PARIS) > predicted(BERLIN, PARIS) + 10


def test_a_region_that_moved_begins_anew(book: RttBook, clock: HandClock) -> None:
    measure(book, BERLIN, PARIS, 90.0, times=20)
    clock.move(1)
    moved = replace(PARIS, point=Point(43.3, 5.4))
    book.observe(BERLIN, moved, predicted(BERLIN, moved))
    clock.move(1)
    book.renew()
    assert abs(book.estimate_ms(BERLIN, moved) - predicted(BERLIN, moved)) < 1.0


def test_following_the_regions_lets_go_of_what_moved_only(book: RttBook, clock: HandClock) -> None:
    measure(book, BERLIN, PARIS, 90.0, times=20)
    measure(book, BERLIN, DUBLIN, 90.0, times=20)
    book.follow({"paris": replace(PARIS, country="DE", point=Point(50.0, 8.0)), "lima": PARIS})
    clock.move(1)
    book.renew()
    assert set(book.corrections.learned) == {"dublin"}


# --- the store --------------------------------------------------------------------------------


async def stored(store: MemoryStore) -> dict[str, str]:
    return {key: entry.value for key, entry in (await store.load(RTT)).entries.items()}


async def test_a_restart_keeps_what_was_learned(clock: HandClock) -> None:
    store = MemoryStore()
    book = RttBook(store.commit, clock=clock)
    measure(book, BERLIN, PARIS, 90.0, times=20)
    clock.move(1)
    book.renew()
    await book.close()
    again = RttBook(store.commit, clock=clock)
    for key, text in (await stored(store)).items():
        again.accept(key, text)
    again.follow({"paris": PARIS})
    again.renew()
    assert again.estimate_ms(BERLIN, PARIS) == pytest.approx(book.estimate_ms(BERLIN, PARIS), abs=0.01)
    assert again.stats().unwritten == 0


async def test_writes_wait_for_each_other_and_are_batched(clock: HandClock) -> None:
    commits: list[list[str]] = []

    async def write(documents: Mapping[str, str | None]) -> int:
        commits.append(sorted(documents))
        return len(commits)

    book = RttBook(write, clock=clock, write_every_s=5.0)
    await book.start()
    await book.start()
    measure(book, BERLIN, PARIS, 60.0, times=100)
    measure(book, BERLIN, DUBLIN, 60.0, times=100)
    await asyncio.sleep(0)
    assert commits == []
    for _ in range(5):
        clock.move(1)
        await asyncio.sleep(0)
    await asyncio.wait_for(_until(lambda: bool(commits)), 10)
    await book.close()
    assert commits == [["rtt/dublin", "rtt/paris"]]


async def test_a_store_that_fails_loses_nothing(clock: HandClock) -> None:
    store, failures = MemoryStore(), [StoreError("away"), StoreError("still away")]

    async def write(documents: Mapping[str, str | None]) -> int:
        if failures:
            raise failures.pop()
        return await store.commit(documents)

    book = RttBook(write, clock=clock)
    measure(book, BERLIN, PARIS, 60.0)
    await book.flush()
    await book.flush()
    assert (book.stats().unwritten, await stored(store)) == (1, {})
    await book.flush()
    assert (book.stats().unwritten, list(await stored(store))) == (0, ["rtt/paris"])


async def test_a_write_that_is_cut_off_is_made_again(clock: HandClock) -> None:
    store, entered = MemoryStore(), asyncio.Event()
    gate = asyncio.Event()

    async def write(documents: Mapping[str, str | None]) -> int:
        entered.set()
        await gate.wait()
        return await store.commit(documents)

    book = RttBook(write, clock=clock, write_every_s=1.0)
    await book.start()
    measure(book, BERLIN, PARIS, 60.0)
    await asyncio.sleep(0)
    clock.move(1)
    await asyncio.wait_for(entered.wait(), 10)
    gate.set()
    await book.close()
    assert list(await stored(store)) == ["rtt/paris"]


async def test_forgetting_reaches_the_store(clock: HandClock) -> None:
    store = MemoryStore()
    book = RttBook(store.commit, clock=clock)
    measure(book, BERLIN, PARIS, 60.0)
    await book.flush()
    book.forget("paris")
    book.forget("never heard of")
    await book.close()
    assert await stored(store) == {}


async def test_two_that_share_a_store_learn_from_each_other(clock: HandClock) -> None:
    store = MemoryStore()
    one, two = RttBook(store.commit, clock=clock), RttBook(store.commit, clock=clock)
    measure(one, BERLIN, PARIS, 60.0)
    measure(two, SYDNEY, PARIS, 300.0)
    await one.flush()
    for key, text in (await stored(store)).items():
        two.accept(key, text)
    two.observe(SYDNEY, PARIS, 300.0)
    await two.flush()
    for key, text in (await stored(store)).items():
        one.accept(key, text)
    assert one.stats().cells == two.stats().cells == 2
    clock.move(1)
    one.renew()
    assert one.version > 0


async def test_what_it_wrote_itself_is_no_news_when_it_comes_back(clock: HandClock) -> None:
    store = MemoryStore()
    book, other = RttBook(store.commit, clock=clock), RttBook(store.commit, clock=clock)
    measure(book, BERLIN, PARIS, 60.0)
    await book.flush()
    ((key, ours),) = (await stored(store)).items()
    clock.move(1)
    measure(other, SYDNEY, PARIS, 300.0)
    await other.flush()
    ((_, theirs),) = (await stored(store)).items()
    assert [book.accept(key, ours), other.accept(key, ours)] == [False, True]
    assert [book.accept(key, theirs), book.accept(key, theirs), other.accept(key, theirs)] == [True, False, False]


async def test_a_deletion_of_its_own_that_comes_back_late_undoes_nothing(clock: HandClock) -> None:
    store = MemoryStore()
    book = RttBook(store.commit, clock=clock)
    measure(book, BERLIN, PARIS, 60.0)
    await book.flush()
    ((key, text),) = (await stored(store)).items()
    book.forget("paris")
    await book.flush()
    measure(book, BERLIN, PARIS, 60.0)
    assert (book.accept(key, None), book.stats().cells) == (False, 1)
    clock.move(1)
    other = text.replace(f"{clock.time - 1:.1f}", f"{clock.time:.1f}")
    assert (book.accept(key, other), book.accept(key, None), book.stats().cells) == (True, True, 0)  # of another


def full_book(write: Write | None, clock: HandClock, regions: int, cells: int) -> RttBook:
    """A book that was told of so many regions from so many cells each."""
    book = RttBook(write, clock=clock)
    for number in range(regions):
        one = replace(PARIS, region_id=f"r{number}")
        for cell in range(cells):
            book.observe(Point(-60.5 + cell // 300, -150.5 + cell % 300), one, 400.0)
    return book


@pytest.mark.parametrize(("regions", "cells"), [(3 * REGIONS_AT_ONCE, 2), (5, CELLS_AT_ONCE // 3), (3, 500)])
async def test_writing_takes_turns_by_how_much_there_is(clock: HandClock, regions: int, cells: int) -> None:
    store, commits, turns = MemoryStore(), list[list[str]](), list[int]()

    async def write(documents: Mapping[str, str | None]) -> int:
        commits.append(list(documents))
        turns.append(now)
        return await store.commit(documents)

    book, now = full_book(write, clock, regions, cells), 0
    flushing = asyncio.create_task(book.flush())
    while not flushing.done():
        await asyncio.sleep(0)
        now += 1
    assert len(set(turns)) == len(commits)  # in a turn of the loop each
    assert all(len(c) <= max(1, min(REGIONS_AT_ONCE, CELLS_AT_ONCE // cells)) for c in commits)
    assert sorted(key for c in commits for key in c) == sorted(await stored(store))
    assert len(await stored(store)) == regions


def test_renewing_takes_turns_by_how_much_there_is(clock: HandClock) -> None:
    book, turns = full_book(None, clock, 5, CELLS_AT_ONCE // 3), 0
    clock.move(1)
    while book.renew():
        turns += 1
        clock.move(1)
    assert turns == 2
    assert {len(learned.cells) for learned in book.corrections.learned.values()} == {CELLS_AT_ONCE // 3}


@pytest.mark.parametrize("text", ["{}", "[1]", "not json", json.dumps({"model": "of last year"})])
def test_a_document_that_cannot_be_used_changes_nothing(book: RttBook, text: str) -> None:
    book.accept("rtt/paris", text)
    assert (book.stats().regions, book.renew()) == (0, False)


def test_a_deleted_document_is_forgotten(book: RttBook, clock: HandClock) -> None:
    measure(book, BERLIN, PARIS, 90.0, times=20)
    book.accept("rtt/paris", None)
    clock.move(1)
    book.renew()
    assert book.estimate_ms(BERLIN, PARIS) == predicted(BERLIN, PARIS)


async def _until(true: object) -> None:
    assert callable(true)
    while not true():
        await asyncio.sleep(0.01)
