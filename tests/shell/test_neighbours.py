"""Regions of several providers in one city: nearly the same everywhere, and yet each place has its one nearest."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from mahavishnu.integrations.multi_region.core.latency import CELLS
from mahavishnu.integrations.multi_region.core.model import Fleet, Point, RegionView
from mahavishnu.integrations.multi_region.core.residuals import Corrections
from mahavishnu.integrations.multi_region.facts.network import latency_model
from mahavishnu.integrations.multi_region.shell.routing.sites import Sites
from mahavishnu.integrations.multi_region.testing.builders import fleet, view
from tests.shell.random_worlds import Reference, StagedManager

CITIES = ((-33.449, -70.669), (51.507, -0.128), (89.9995, 10.0), (0.0, 179.9995), (1.352, 103.82))
METRE = 1 / 111_195


def twins(dice: Random, apart_m: float) -> list[RegionView]:
    """Two or three regions in each city, about so many metres apart, some of them in very good health."""
    return [
        view(
            f"{name}-{city}",
            point=Point(min(90.0, south + dice.gauss(0, apart_m) * METRE), east + dice.gauss(0, apart_m) * METRE),
            health_score=dice.choice((80.0, 99.0)),
        )
        for city, (south, east) in enumerate(CITIES)
        for name in ("a", "b", "c")[: dice.choice((2, 3))]
    ]


def somewhere(dice: Random) -> tuple[float, float]:
    """Anywhere, or near one of the cities or opposite to it."""
    south, east = dice.choice(CITIES)
    far = dice.choice((1e-6, 1e-3, 0.1, 3.0))
    near = south + dice.gauss(0, far), east + dice.gauss(0, far)
    opposite = -near[0], near[1] - 180.0 if near[1] > 0 else near[1] + 180.0
    found = dice.choice((near, opposite, (dice.uniform(-90, 90), dice.uniform(-180, 180))))
    return max(-90.0, min(90.0, found[0])), max(-180.0, min(180.0, found[1]))


@pytest.mark.parametrize("apart_m", [0.001, 1.0, 3.0, 6.0, 20.0, 150.0, 2_000.0, 30_000.0])
async def test_neighbours_are_told_apart_as_the_rules_do(apart_m: float) -> None:
    dice = Random(int(apart_m * 1_000))
    for _ in range(3):
        manager = StagedManager(fleet(*twins(dice, apart_m)))
        router, reference = manager.router(), Reference(manager)
        places = [somewhere(dice) for _ in range(150)]
        expected = [
            reference.decide({"user_location": {"latitude": a, "longitude": b}}, None).selected_region
            for a, b in places
        ]
        assert [
            router.route({"user_location": {"latitude": a, "longitude": b}}).selected_region for a, b in places
        ] == (expected)
        assert (await router.route_many(*np.array(places).T)).selected == expected


def sites_of(some: Fleet) -> Sites:
    return Sites(list(some.regions.values()), latency_model(), Corrections())


def test_nearly_everywhere_one_of_two_neighbours_is_left() -> None:
    some = fleet(view("a", point=Point(-33.449, -70.669), health_score=90), view("b", point=Point(-33.45, -70.67)))
    sites = sites_of(some)
    cells = Random(5).sample(range(CELLS), 500)
    assert sum(type(sites.answer(cell, 0b11)) is int for cell in cells) > 450
