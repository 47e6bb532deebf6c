"""What is kept of a region's round trips survives its document, and a bad document is recognised."""

import json

import pytest

from mahavishnu.integrations.multi_region.core.latency import LatencyModel
from mahavishnu.integrations.multi_region.core.model import Point
from mahavishnu.integrations.multi_region.core.residuals import MEMORY, Residual
from mahavishnu.integrations.multi_region.core.rtt_shelf import Shelf, fingerprint, parse_shelf, shelf_text

NOW = 1_800_000_000.0


def shelf() -> Shelf:
    return Shelf(Point(50.1, 8.7), "EUW", {7: Residual(12.5, 3.0, 3, NOW - 60), 900: Residual(-4.0, MEMORY, 99, NOW)})


def document(**changed: object) -> str:
    return json.dumps(json.loads(shelf_text(shelf(), "m1")) | changed)


def test_a_document_holds_all_that_is_kept() -> None:
    assert parse_shelf(shelf_text(shelf(), "m1"), "m1", NOW) == shelf()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{}",
        document(model="another"),
        document(place=None),
        document(cells={"x": [1, 1, 1, 1]}),
        document(cells={"-1": [1, 1, 1, 1]}),
        document(cells={"65341": [1, 1, 1, 1]}),
        document(cells={"7": [1, 1, 1]}),
        document(cells={"7": [None, 1, 1, 1]}),
        document(cells={"7": [float("nan"), 1, 1, 1]}),
        document(cells={"7": [1, 0, 1, 1]}),
        document(cells={"7": [1e308, 1, 1, 1]}),
        document(cells={"7": [-10_001, 1, 1, 1]}),
        document(cells=[]),
    ],
)
def test_what_cannot_be_used_is_none(text: str) -> None:
    assert parse_shelf(text, "m1", NOW) is None


def test_a_time_in_the_future_becomes_now() -> None:
    found = parse_shelf(document(cells={"7": [1, 1, 1, NOW + 10**6]}), "m1", NOW)
    assert found is not None
    assert found.cells[7].last_s == NOW


def test_merging_takes_the_newer_of_each_cell() -> None:
    ours = shelf()
    theirs = Shelf(ours.place, ours.zone, {7: Residual(1.0, 1.0, 1, NOW), 900: Residual(1.0, 1.0, 1, NOW - 1)})
    assert ours.merge(theirs)
    assert (ours.cells[7].mean_ms, ours.cells[900].mean_ms) == (1.0, -4.0)
    assert not ours.merge(theirs)


def test_shrinking_makes_room_for_more_than_one() -> None:
    full = Shelf(Point(0, 0), "EUW", {cell: Residual(1.0, 1.0, 1, NOW - cell) for cell in range(17)})
    full.shrink(16, NOW)
    assert set(full.cells) == set(range(14))
    full.shrink(16, NOW)
    assert len(full.cells) == 14


def test_a_fingerprint_tells_models_apart() -> None:
    one = LatencyModel(("A",), (0.0, 1.0), (1.0, 2.0), 1000.0, ((3.0,),))
    same = LatencyModel(("A",), (0.0, 1.0), (1.0, 2.0), 1000.0, ((3.0,),))
    other = LatencyModel(("A",), (0.0, 1.0), (1.0, 2.0), 1000.0, ((3.5,),))
    assert fingerprint(one) == fingerprint(same) != fingerprint(other)
