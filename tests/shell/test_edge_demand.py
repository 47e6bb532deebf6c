"""What edges report becomes the demand that plans go by: added up over regions, steady, forgotten when it grows old."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import pytest

from mahavishnu.integrations.multi_region.core.traffic import Standing
from mahavishnu.integrations.multi_region.ports.dataplane import Load, LoadReport
from mahavishnu.integrations.multi_region.testing.builders import region
from mahavishnu.integrations.multi_region.testing.stage import Stage

US, EU, DE = "us-east-1", "eu-west-1", "eu-central-1"
A, B = "edge-a", "edge-b"
"""Both in London: EU is the nearest, then DE, then US. Each region has room for 100 requests/s."""


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with Stage.of(US, EU, DE, probed=False, edges=[A, B]) as made:
        yield made


def shares(stage: Stage, edge_id: str) -> Mapping[str, float]:
    """Who takes the traffic of an edge now, and in what parts."""
    kind = next(kind for kind in stage.plane.plan.edges[edge_id].classes if kind.name == "default")
    for tier in kind.tiers:
        if serving := {t.region_id: t.weight for t in tier if t.standing is Standing.SERVING}:
            return {name: weight / sum(serving.values()) for name, weight in serving.items()}
    return {}


def send(stage: Stage, edge_id: str, rate: float) -> None:
    """An edge that does as it is told has carried so many requests/s for a second."""
    loads = tuple(
        Load("default", "default", name, round(rate * part), 0, 0, round(rate * part))
        for name, part in shares(stage, edge_id).items()
    )
    stage.plane.tell(LoadReport(edge_id, 1.0, loads))


async def test_L16_demand_beyond_the_nearest_is_split_once_and_stays_split(stage: Stage) -> None:
    assert shares(stage, A) == {EU: 1.0}
    seen = []
    for _ in range(8):
        send(stage, A, 200)
        await stage.pass_time(1)
        seen.append(shares(stage, A))
    assert seen[0] == pytest.approx({EU: 0.45, DE: 0.45, US: 0.1})
    assert seen == [seen[0]] * 8
    assert stage.view(EU).load == 90


async def test_L16_noise_makes_no_other_shares(stage: Stage) -> None:
    send(stage, A, 200)
    await stage.pass_time(1)
    before = shares(stage, A)
    for rate in (206, 195, 203, 198):
        send(stage, A, rate)
        await stage.pass_time(1)
        assert shares(stage, A) == before


async def test_L7_edges_share_the_room(stage: Stage) -> None:
    send(stage, A, 80)
    send(stage, B, 80)
    await stage.pass_time(1)
    assert shares(stage, A) == {EU: 1.0}
    assert shares(stage, B) == pytest.approx({EU: 0.125, DE: 0.875})


async def test_demand_is_forgotten_with_the_reports_of_its_edge(stage: Stage) -> None:
    send(stage, A, 200)
    await stage.pass_time(1)
    assert len(shares(stage, A)) == 3
    await stage.pass_time(10)
    assert shares(stage, A) == {EU: 1.0}


async def test_answers_that_come_late_are_no_demand(stage: Stage) -> None:
    """EU hung and was left; what it still had in flight fails while the others get all."""
    send(stage, A, 80)
    await stage.pass_time(1)
    await stage.handler.handle_region_failure(EU, "fire")
    for _ in range(3):
        late = Load("default", "default", EU, 0, 80, 0, 0)
        stage.plane.tell(LoadReport(A, 1.0, (late, Load("default", "default", DE, 80, 0, 0, 80))))
        await stage.pass_time(1)
        assert shares(stage, A) == {DE: 1.0}


async def test_a_class_that_an_edge_no_longer_names_has_no_demand(stage: Stage) -> None:
    send(stage, A, 200)
    for _ in range(40):
        await stage.pass_time(1)
        stage.plane.tell(LoadReport(A, 1.0, ()))
    assert shares(stage, A) == {EU: 1.0}


async def test_L7_load_that_a_region_reports_besides_takes_room(stage: Stage) -> None:
    stage.manager.report_load(EU, 70)
    stage.manager.report_load(DE, 60)
    await stage.pass_time(1)
    for _ in range(4):
        send(stage, A, 100)
        await stage.pass_time(1)
        assert shares(stage, A) == pytest.approx({EU: 0.2, DE: 0.3, US: 0.5})
    assert (stage.view(EU).load, stage.view(DE).load) == (90, 90)


async def test_load_from_before_is_not_counted_twice() -> None:
    async with Stage.of(region(EU, current_capacity=90), DE, probed=False, edges=[A]) as stage:
        send(stage, A, 90)
        await stage.pass_time(1)
        assert stage.view(EU).load == 90
        assert shares(stage, A) == {EU: 1.0}


async def test_a_region_that_tells_its_whole_load_is_left_the_part_that_edges_do_not_send(stage: Stage) -> None:
    send(stage, A, 50)
    await stage.pass_time(1)
    stage.manager.report_load(EU, 80)
    send(stage, A, 50)
    await stage.pass_time(1)
    assert stage.view(EU).load == 80
    send(stage, A, 20)
    await stage.pass_time(1)
    assert stage.view(EU).load == 50


async def test_L7_after_a_loss_the_survivors_share_what_the_lost_one_had(stage: Stage) -> None:
    for _ in range(3):
        send(stage, A, 140)
        await stage.pass_time(1)
    assert shares(stage, A) == pytest.approx({EU: 0.643, DE: 0.357}, abs=0.001)
    await stage.handler.handle_region_failure(EU, "fire")
    await stage.pass_time(0.1)
    for _ in range(4):
        assert shares(stage, A) == pytest.approx({DE: 0.643, US: 0.357}, abs=0.001)
        send(stage, A, 140)
        await stage.pass_time(1)
