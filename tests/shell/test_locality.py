"""Which region suits a user's data, as the spec's example asks it; the rest of placement has its own tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mahavishnu.integrations.multi_region.core.model import ComplianceFramework, DataPlacementPolicy
from mahavishnu.integrations.multi_region.errors import NoEligibleRegionError, UnknownRegionError
from mahavishnu.integrations.multi_region.shell.locality import DataLocalityOptimizer
from mahavishnu.integrations.multi_region.testing.builders import region
from mahavishnu.integrations.multi_region.testing.stage import Stage

GDPR = ComplianceFramework.GDPR
BERLIN = {"latitude": 52.5, "longitude": 13.4}
EU = DataPlacementPolicy("EU Data Policy", [GDPR], ["eu-west-1", "eu-central-1"])


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    regions = [region("us-east-1", compliance=["gdpr"]), region("eu-west-1", compliance=["gdpr"])]
    async with Stage.of(*regions, probed=False) as made:
        yield made


@pytest.fixture
async def optimizer(stage: Stage) -> DataLocalityOptimizer:
    return DataLocalityOptimizer(stage.manager)


async def test_the_nearest_lawful_region_is_found(optimizer: DataLocalityOptimizer) -> None:
    await optimizer.register_policy(EU)
    found = await optimizer.find_optimal_region("user_data", compliance_requirements=[GDPR], user_location=BERLIN)
    assert found == "eu-west-1"


async def test_the_policy_binds_a_user_elsewhere_too(optimizer: DataLocalityOptimizer) -> None:
    await optimizer.register_policy(EU)
    washington = {"latitude": 38.9, "longitude": -77.0}
    found = await optimizer.find_optimal_region("user_data", compliance_requirements=["gdpr"], user_location=washington)
    assert found == "eu-west-1"


async def test_a_policy_is_kept_under_its_id(optimizer: DataLocalityOptimizer) -> None:
    await optimizer.register_policy(EU)
    assert optimizer.policies["eu-data-policy"] == EU


async def test_a_policy_with_a_region_that_nobody_knows_is_refused(optimizer: DataLocalityOptimizer) -> None:
    with pytest.raises(UnknownRegionError, match="did you mean 'eu-west-1'"):
        await optimizer.register_policy(DataPlacementPolicy("p", [GDPR], ["eu-wets-1"]))
    assert not optimizer.policies


async def test_when_none_may_hold_it_every_region_has_its_reason(
    stage: Stage, optimizer: DataLocalityOptimizer
) -> None:
    await optimizer.register_policy(EU)
    stage.manager.regions["eu-west-1"].health_score = 0.0
    with pytest.raises(NoEligibleRegionError) as caught:
        await optimizer.find_optimal_region("user_data", compliance_requirements=[GDPR], user_location=BERLIN)
    assert set(caught.value.reasons) == {"us-east-1", "eu-west-1"}
    assert caught.value.policy_bound


async def test_looking_for_a_region_is_no_routing_decision(stage: Stage, optimizer: DataLocalityOptimizer) -> None:
    await optimizer.find_optimal_region("user_data", user_location=BERLIN)
    assert stage.router.get_routing_stats()["total_decisions"] == 0
