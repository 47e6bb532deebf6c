"""``router.observe_rtt``: what is measured corrects what is predicted; what cannot be true is refused with a reason."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.adapters.stores.sqlite import SqliteStore
from mahavishnu.integrations.multi_region.errors import InvalidInputError, UnknownRegionError
from mahavishnu.integrations.multi_region.testing.stage import Stage

BERLIN = {"latitude": 52.5, "longitude": 13.4}
LEIPZIG = {"latitude": 51.3, "longitude": 12.4}
CONTEXT = {"user_location": BERLIN}
FRANKFURT, DUBLIN = "eu-central-1", "eu-west-1"


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with Stage.of(FRANKFURT, DUBLIN, probed=False) as made:
        yield made


def estimate(stage: Stage, region_id: str, **more: Any) -> float:
    """The round trip that a client in Berlin is told to expect to a region."""
    found = stage.router.route({**CONTEXT, **more}, candidates=2).candidates
    ms = {candidate.region_id: candidate.estimate_ms for candidate in found}[region_id]
    assert ms is not None
    return ms


async def measured(stage: Stage, region_id: str, ms: float, times: int, **where: Any) -> None:
    """So many measurements of one client, a second apart, and then the corrections renewed."""
    for _ in range(times):
        stage.router.observe_rtt(where.get("location", BERLIN), region_id, ms, where.get("country"))
        await stage.pass_time(1.0)
    await stage.pass_time(10.0)


# --- learning -------------------------------------------------------------------------------------


async def test_measurements_pull_the_estimate_towards_them_and_leave_the_other_region_alone(stage: Stage) -> None:
    before, other = estimate(stage, FRANKFURT), estimate(stage, DUBLIN)
    await measured(stage, FRANKFURT, before + 40.0, 50)
    assert before + 25.0 < estimate(stage, FRANKFURT) < before + 40.0
    assert estimate(stage, DUBLIN) == other


async def test_a_client_goes_elsewhere_once_its_way_was_measured_to_be_longer(stage: Stage) -> None:
    assert stage.router.route(CONTEXT).selected_region == FRANKFURT
    await measured(stage, FRANKFURT, 120.0, 50)
    assert stage.router.route(CONTEXT).selected_region == DUBLIN


@pytest.mark.parametrize("ms", [400.0, 3_000.0])
async def test_a_flood_from_one_place_moves_that_place_and_no_other_city(stage: Stage, ms: float) -> None:
    amman, istanbul, vienna = ({"latitude": a, "longitude": b} for a, b in ((31.95, 35.93), (41.0, 29.0), (48.2, 16.4)))
    others = [{"user_location": place} for place in (istanbul, vienna, BERLIN)]
    before = estimate(stage, FRANKFURT)
    for _ in range(20):
        with suppress(InvalidInputError):
            stage.router.observe_rtt(amman, FRANKFURT, ms)
    await stage.pass_time(10.0)
    assert stage.router.route({"user_location": amman}).selected_region == DUBLIN
    assert {stage.router.route(context).selected_region for context in others} == {FRANKFURT}
    assert 0.0 < estimate(stage, FRANKFURT) - before < 5.0


async def test_neighbours_learn_less_than_the_place_itself(stage: Stage) -> None:
    before = estimate(stage, FRANKFURT)
    await measured(stage, FRANKFURT, before + 40.0, 50, location=LEIPZIG)
    assert before + 10.0 < estimate(stage, FRANKFURT) < before + 40.0


async def test_a_country_beside_the_place_counts_as_in_requests(stage: Stage) -> None:
    expected = estimate(stage, FRANKFURT, country="BR")  # in another network zone than the place alone would be
    assert expected > estimate(stage, FRANKFURT) + 3.0
    await measured(stage, FRANKFURT, expected, 50, country="BR")
    assert estimate(stage, FRANKFURT, country="BR") == pytest.approx(expected, abs=0.01)


# --- refusing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ms", "why"),
    [
        (1.0, "light in fibre cannot cover"),
        (0.0, "above 0"),
        (-5.0, "above 0"),
        (10_001.0, "at most 10,000"),
        (float("nan"), "a round trip in ms"),
        (float("inf"), "a round trip in ms"),
        ("20", "a round trip in ms"),
        (True, "a round trip in ms"),
    ],
)
async def test_what_cannot_be_true_is_refused_and_teaches_nothing(stage: Stage, ms: Any, why: str) -> None:
    before = estimate(stage, DUBLIN)
    with pytest.raises(InvalidInputError, match=why) as refused:
        stage.router.observe_rtt(BERLIN, DUBLIN, ms)
    assert refused.value.field == "ms"
    await stage.pass_time(10.0)
    assert estimate(stage, DUBLIN) == before
    assert (stage.manager.round_trips.stats().observed, stage.manager.round_trips.stats().refused) == (
        0,
        {"impossible": 1, "outlier": 0},
    )


async def test_an_outlier_is_refused_until_it_has_happened_five_times_running(stage: Stage) -> None:
    before = estimate(stage, FRANKFURT)
    for doubt in range(1, 5):
        with pytest.raises(InvalidInputError, match=rf"about {before:.0f} ms is usual.*\({doubt} of 5 in a row\)"):
            stage.router.observe_rtt(BERLIN, FRANKFURT, 900.0)
        await stage.pass_time(10.0)
        assert estimate(stage, FRANKFURT) == before
    stage.router.observe_rtt(BERLIN, FRANKFURT, 900.0)
    await stage.pass_time(10.0)
    assert estimate(stage, FRANKFURT) > before
    assert stage.manager.round_trips.stats().refused == {"impossible": 0, "outlier": 4}


async def test_a_usual_value_ends_a_row_of_outliers(stage: Stage) -> None:
    usual = estimate(stage, FRANKFURT)
    for _ in range(3):
        for _ in range(4):
            with pytest.raises(InvalidInputError):
                stage.router.observe_rtt(BERLIN, FRANKFURT, 900.0)
        stage.router.observe_rtt(BERLIN, FRANKFURT, usual)
    assert stage.manager.round_trips.stats().observed == 3


async def test_a_region_that_is_not_there_is_named_with_the_nearest(stage: Stage) -> None:
    with pytest.raises(UnknownRegionError, match="did you mean 'eu-central-1'"):
        stage.router.observe_rtt(BERLIN, "eu-centrl-1", 20.0)


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ({"latitude": 91.0, "longitude": 0.0}, r"^location\.latitude: 91\.0"),
        ({"latitude": 52.5}, "^location: .*latitude and longitude"),
        ({}, "^location: {} is not allowed.*latitude and longitude.*or leave it out and give a country"),
    ],
)
async def test_a_place_that_is_none_is_refused(stage: Stage, location: dict[str, float], why: str) -> None:
    with pytest.raises(InvalidInputError, match=why):
        stage.router.observe_rtt(location, FRANKFURT, 20.0)
    with pytest.raises(InvalidInputError, match=r"^country: 'Z'"):
        stage.router.observe_rtt(BERLIN, FRANKFURT, 20.0, "Z")
    assert stage.manager.round_trips.stats().observed == 0


# --- remembering ----------------------------------------------------------------------------------


async def test_what_was_learned_outlives_a_restart(tmp_path: Path) -> None:
    path = str(tmp_path / "state.db")
    async with Stage.of(FRANKFURT, DUBLIN, store=await SqliteStore.open(path), probed=False) as stage:
        before = estimate(stage, FRANKFURT)
        await measured(stage, FRANKFURT, before + 40.0, 50)
        learned = estimate(stage, FRANKFURT)
    assert learned > before + 25.0
    clock = stage.clock
    async with Stage.of(FRANKFURT, DUBLIN, store=await SqliteStore.open(path), clock=clock, probed=False) as again:
        await again.pass_time(10.0)
        assert estimate(again, FRANKFURT) == pytest.approx(learned, abs=0.1)
        assert estimate(again, DUBLIN) == estimate(stage, DUBLIN)
