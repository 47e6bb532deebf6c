"""What depends on how far regions are from each other goes by the measured round trip, not by kilometres.

From me-central-1, il-central-1 is 400 km nearer than ap-south-2, and predicted to be nearer; the provider measured 144
ms to it and 50 ms to ap-south-2.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mahavishnu.integrations.multi_region.core.failover import FailoverPlan
from mahavishnu.integrations.multi_region.core.geo import distance_km
from mahavishnu.integrations.multi_region.core.model import AdminState, Region
from mahavishnu.integrations.multi_region.facts.backbone import measured_rtt_ms
from mahavishnu.integrations.multi_region.facts.catalog import region_from_catalog
from mahavishnu.integrations.multi_region.shell.locality import DataLocalityOptimizer
from mahavishnu.integrations.multi_region.testing.builders import service
from mahavishnu.integrations.multi_region.testing.stage import Stage

HERE, NEAR, QUICK = "me-central-1", "il-central-1", "ap-south-2"


def built(region_id: str, load: float) -> Region:
    made = region_from_catalog(region_id, provider="aws", endpoint=f"https://{region_id}.example.com")
    made.health_score, made.current_capacity, made.capabilities.max_capacity = 95.0, load, 100
    return made


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with Stage.of(built(HERE, 40), built(NEAR, 70), built(QUICK, 0), probed=False) as made:
        yield made


async def test_the_example_is_one(stage: Stage) -> None:
    places = {name: view.point for name, view in stage.manager.snapshot().regions.items()}
    assert distance_km(places[HERE], places[NEAR]) < distance_km(places[HERE], places[QUICK])
    assert (measured_rtt_ms("aws", HERE, NEAR), measured_rtt_ms("aws", HERE, QUICK)) == (144.49, 50.15)


async def test_a_failover_fills_the_quickest_first(stage: Stage) -> None:
    plan = stage.handler.plan(HERE)
    assert isinstance(plan, FailoverPlan)
    assert (plan.shares, plan.rtt_ms) == ({QUICK: 1.0}, {QUICK: 50.15})
    event = await stage.handler.handle_region_failure(HERE, "flooded")
    assert event.shares == {QUICK: 1.0}


async def test_a_drain_is_judged_by_where_the_load_would_really_go(stage: Stage) -> None:
    await stage.manager.put_service(service("api", HERE, NEAR, QUICK, priority=1))
    await stage.manager.put_service(service("batch", HERE, NEAR, priority=9))  # has no room but the nearest region's
    drain = await stage.manager.drain(HERE, by="ada", reason="new roof")
    assert drain.state is AdminState.DRAINED


async def test_data_is_asked_for_where_the_way_to_its_holder_is_quickest(stage: Stage) -> None:
    await stage.manager.put_placement("d", (HERE,))
    assert stage.router.route({"data_id": "d"}, "data_locality").selected_region == HERE
    await stage.manager.drain(HERE, by="ada", reason="new roof")
    assert stage.router.route({"data_id": "d"}, "data_locality").selected_region == QUICK


async def test_lost_data_is_looked_for_at_the_quickest_copy_first(stage: Stage) -> None:
    await stage.manager.put_placement("d", (HERE,))
    plan = await DataLocalityOptimizer(stage.manager).plan_replication("d", "full")
    assert (plan.primary, plan.fallbacks) == (HERE, (QUICK, NEAR))
