"""The specification's examples of data locality, as they stand."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mahavishnu.integrations.multi_region import (
    CloudProvider,
    ComplianceFramework,
    DataLocalityOptimizer,
    DataPlacementPolicy,
    Region,
    RegionCapabilities,
    RegionManager,
)

PLACES = {
    "us-east-1": ("US East (N. Virginia)", 37.4, -77.5, [ComplianceFramework.SOC2, ComplianceFramework.HIPAA]),
    "us-west-2": ("US West (Oregon)", 45.8, -119.7, [ComplianceFramework.SOC2, ComplianceFramework.HIPAA]),
    "eu-west-1": ("Europe (Ireland)", 53.3, -6.2, [ComplianceFramework.GDPR]),
}


@pytest.fixture
async def manager() -> AsyncIterator[RegionManager]:
    async with RegionManager() as manager:
        for region_id, (name, latitude, longitude, compliance) in PLACES.items():
            region = Region(
                region_id=region_id,
                name=name,
                provider=CloudProvider.AWS,
                location=name,
                latitude=latitude,
                longitude=longitude,
                endpoint=f"https://{region_id}.api.example.com",
                capabilities=RegionCapabilities(compliance=compliance, max_capacity=100),
                health_score=95.0,
                current_capacity=30,
            )
            await manager.register_region(region)
        yield manager


class TestDataLocalityOptimizer:
    async def test_gdpr_compliance(self, manager: RegionManager) -> None:
        optimizer = DataLocalityOptimizer(region_manager=manager)
        policy = DataPlacementPolicy(
            name="EU Data Policy",
            compliance_requirements=[ComplianceFramework.GDPR],
            allowed_regions=["eu-west-1", "eu-central-1"],
            locality_level="strict",  # type: ignore[arg-type]  # text, as the specification writes it
            cross_region_transfer=False,
        )
        await optimizer.register_policy(policy)
        region = await optimizer.find_optimal_region(
            data_type="user_data",
            compliance_requirements=[ComplianceFramework.GDPR],
            user_location={"latitude": 52.5, "longitude": 13.4},
        )
        assert region == "eu-west-1"
        assert region.excluded == {"us-east-1": "lacks gdpr", "us-west-2": "lacks gdpr"}

    async def test_classification(self, manager: RegionManager) -> None:
        optimizer = DataLocalityOptimizer(region_manager=manager)
        classification = await optimizer.classify_data(data_id="user_123_data", access_frequency=50.0)
        assert classification == "hot"
        assert f"{classification}" == "hot"
        assert await optimizer.classify_data(data_id="archive_data", access_frequency=9.9) == "cold"

    async def test_full_replication(self, manager: RegionManager) -> None:
        optimizer = DataLocalityOptimizer(region_manager=manager)
        targets = await optimizer.plan_replication(data_id="user_123_data", replication_strategy="full")
        assert targets == ["us-east-1", "us-west-2", "eu-west-1"]
        assert f"{targets}" == "['us-east-1', 'us-west-2', 'eu-west-1']"

    async def test_partial_replication(self, manager: RegionManager) -> None:
        optimizer = DataLocalityOptimizer(region_manager=manager)
        targets = await optimizer.plan_replication(data_id="archive_data", replication_strategy="partial")
        assert targets == ["us-east-1"]

    async def test_sharded_replication(self, manager: RegionManager) -> None:
        optimizer = DataLocalityOptimizer(region_manager=manager)
        targets = await optimizer.plan_replication(data_id="user_456_data", replication_strategy="sharded")
        assert targets == ["us-west-2"]

    async def test_the_policies_of_the_best_practices(self, manager: RegionManager) -> None:
        optimizer = DataLocalityOptimizer(region_manager=manager)
        gdpr = DataPlacementPolicy(
            name="GDPR Policy",
            compliance_requirements=[ComplianceFramework.GDPR],
            allowed_regions=["eu-west-1", "eu-central-1"],
            locality_level="strict",  # type: ignore[arg-type]  # text, as the specification writes it
            cross_region_transfer=False,
        )
        hipaa = DataPlacementPolicy(
            name="HIPAA Policy",
            compliance_requirements=[ComplianceFramework.HIPAA],
            allowed_regions=["us-east-1", "us-west-2"],
            locality_level="region",  # type: ignore[arg-type]  # text, as the specification writes it
            cross_region_transfer=True,
        )
        await optimizer.register_policy(gdpr)
        await optimizer.register_policy(hipaa)
        assert set(optimizer.policies) == {"gdpr-policy", "hipaa-policy"}

    async def test_compliance_violations(self, manager: RegionManager) -> None:
        optimizer = DataLocalityOptimizer(region_manager=manager)
        await optimizer.register_policy(
            DataPlacementPolicy(
                name="p",
                policy_id="policy_id",
                compliance_requirements=[ComplianceFramework.SOC2],
                allowed_regions=["us-east-1"],
            )
        )
        region = manager.get_region("us-east-1")
        assert [c.value for c in region.compliance_frameworks] == ["soc2", "hipaa"]
        policy = optimizer.policies["policy_id"]
        assert [c.value for c in policy.compliance_requirements] == ["soc2"]
        assert policy.allowed_regions == ("us-east-1",)
