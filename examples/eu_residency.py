"""Keep European data in Europe: policy is a filter, and when no lawful region is left the answer is a refusal."""

from __future__ import annotations

import asyncio

from mahavishnu.integrations.multi_region import (
    ComplianceFramework,
    DataLocalityOptimizer,
    DataPlacementPolicy,
    NoEligibleRegionError,
    RegionAwareRouter,
    RegionCapabilities,
    RegionManager,
    region_from_catalog,
)

REQUEST = {"compliance_requirements": ["gdpr"], "country": "DE"}
ATTESTED = {"eu-central-1": ["gdpr"], "eu-west-1": ["gdpr"], "eu-west-2": ["gdpr"], "us-east-1": []}


async def main() -> None:
    async with RegionManager() as manager:
        for region_id, frameworks in ATTESTED.items():
            capabilities = RegionCapabilities(compliance=[ComplianceFramework(name) for name in frameworks])
            endpoint = f"https://{region_id}.api.example.com"
            region = region_from_catalog(region_id, endpoint=endpoint, capabilities=capabilities, health_score=95.0)
            await manager.register_region(region)

        policy = DataPlacementPolicy(
            name="eu-only",
            compliance_requirements=[ComplianceFramework.GDPR],
            allowed_regions=["eu-west-1", "eu-central-1"],  # eu-west-2 attests GDPR too, but London is not listed
        )
        await DataLocalityOptimizer(region_manager=manager).register_policy(policy)

        router = RegionAwareRouter(region_manager=manager)
        for lost in ("eu-central-1", "eu-west-1"):
            decision = await router.route_request(REQUEST)
            print(f"served by {decision.selected_region}, then {', '.join(decision.alternatives) or 'nobody'}")
            manager.regions[lost].health_score = 0.0
            print(f"{lost} is lost")
        try:
            await router.route_request(REQUEST)
        except NoEligibleRegionError as refusal:
            print(f"refused: {refusal.rule}")
            for region_id, reason in refusal.reasons.items():
                print(f"  {region_id} {reason}")


asyncio.run(main())
