"""Full collections stay short in a process that owns its collector, and what is put away is not lost track of."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from mahavishnu.integrations.multi_region.shell.garbage import ShortCollections


class Knot:
    """Refers to itself, so that only the collector can free it."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def short() -> Iterator[ShortCollections]:
    collections = ShortCollections(most=1_000, most_away=100_000)
    with collections.kept():
        yield collections
    gc.collect()


def looked_at() -> int:
    """How many objects a full collection would look at."""
    return sum(len(gc.get_objects(generation)) for generation in range(3))


def test_what_is_there_in_the_beginning_is_not_looked_at_again(short: ShortCollections) -> None:
    assert gc.get_freeze_count() > 10_000
    assert looked_at() < 5_000


def test_much_that_has_come_to_stay_is_put_away_bit_by_bit(short: ShortCollections) -> None:
    stay: list[object] = []
    most = 0
    for number in range(60_000):
        stay.append([number, stay])
        if number % 1_000 == 0:
            most = max(most, looked_at())
    assert most < 30_000
    assert len(stay) == 60_000


def test_little_that_has_come_to_stay_is_looked_at_again(short: ShortCollections) -> None:
    away = gc.get_freeze_count()
    stay = [[number] for number in range(100)]
    gc.collect()
    assert gc.get_freeze_count() <= away
    assert len(stay) == 100


def test_cycles_that_nobody_holds_are_still_found(short: ShortCollections) -> None:
    for _ in range(60_000):
        Knot()
    gc.collect()
    assert not any(isinstance(one, Knot) for one in gc.get_objects())


def test_cycles_that_were_put_away_are_found_once_there_are_too_many(short: ShortCollections) -> None:
    for _ in range(8):
        held = [Knot() for _ in range(20_000)]
        gc.collect()
        del held
    gc.collect()
    gc.unfreeze()  # nothing is freed by that
    assert sum(isinstance(one, Knot) for one in gc.get_objects()) < 8 * 20_000


def test_it_ends_as_it_began() -> None:
    before, callbacks = gc.get_threshold(), list(gc.callbacks)
    collections = ShortCollections()
    collections.begin()
    collections.begin()
    assert gc.get_threshold() != before
    collections.end()
    collections.end()
    assert (gc.get_threshold(), gc.callbacks, gc.get_freeze_count()) == (before, callbacks, 0)
