"""Arrays say what the scalar functions say."""

import numpy as np
from hypothesis import given, strategies as st

from mahavishnu.integrations.multi_region.core.latency import CELLS, cell_of
from mahavishnu.integrations.multi_region.facts.latency_arrays import (
    cells_of,
    estimates_ms,
    zones_of_cells,
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
    table = zones_of_cells(np.arange(CELLS))
    assert table.shape == (CELLS,)
    sample = [*range(0, CELLS, 97), CELLS - 1]
    assert table[sample].tolist() == [zone_of_cell(cell) for cell in sample]
