"""Arrays say what the scalar functions say."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from mahavishnu.integrations.multi_region.core.latency import CELLS, cell_of
from mahavishnu.integrations.multi_region.core.residuals import Learned
from mahavishnu.integrations.multi_region.facts.latency_arrays import (
    LearnedArrays,
    cell_zones,
    cells_of,
    estimates_ms,
)
from mahavishnu.integrations.multi_region.facts.network import latency_model, zone_of_cell

zones = st.integers(0, 26)


@given(st.lists(st.tuples(st.one_of(st.floats(0, 20_100), st.sampled_from([100.0, 350.0, 1000.0])), zones, zones)))
def test_estimates_are_the_same_to_the_last_bit(asked: list[tuple[float, int, int]]) -> None:
    km, clients, regions = np.array(asked, dtype=np.float64).reshape(-1, 3).T
    found = estimates_ms(latency_model(), km, clients.astype(np.intp), regions.astype(np.intp))
    assert found.tolist() == [latency_model().estimate_ms(*one) for one in asked]


def test_estimates_broadcast() -> None:
    found = estimates_ms(latency_model(), np.ones((4, 3)) * 500, np.array([[1], [2], [3], [4]]), np.array([5, 6, 7]))
    assert found.shape == (4, 3)
    assert found[2, 1] == latency_model().estimate_ms(500.0, 3, 6)


@given(st.lists(st.tuples(st.floats(-90, 90), st.floats(-180, 180))))
def test_cells_are_the_same(places: list[tuple[float, float]]) -> None:
    latitudes, longitudes = np.array(places, dtype=np.float64).reshape(-1, 2).T
    assert cells_of(latitudes, longitudes).tolist() == [cell_of(*place) for place in places]


def test_zones_of_cells_are_the_same() -> None:
    table = cell_zones()
    assert table.shape == (CELLS,)
    sample = [*range(0, CELLS, 97), CELLS - 1]
    assert table[sample].tolist() == [zone_of_cell(cell) for cell in sample]


cells = st.integers(0, CELLS - 1)


@given(
    st.dictionaries(cells, st.tuples(st.floats(0, 2), st.floats(-200, 2000)), max_size=20),
    st.lists(cells, min_size=1, max_size=20),
)
def test_corrections_are_the_same_but_for_rounding(measured: dict[int, tuple[float, float]], asked: list[int]) -> None:
    learned = Learned(tuple(measured), tuple(w for w, _ in measured.values()), tuple(m for _, m in measured.values()))
    asked += list(measured)
    found = LearnedArrays.of(learned).corrections_ms(np.array(asked))
    assert found.tolist() == pytest.approx([learned.correction_ms(cell) for cell in asked], abs=1e-4)
