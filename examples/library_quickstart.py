"""Register three regions of the catalog, route requests by several strategies, and ask why."""

from __future__ import annotations

import asyncio

from mahavishnu.integrations.multi_region import (
    RegionAwareRouter,
    RegionCapabilities,
    RegionManager,
    RoutingStrategy,
    region_from_catalog,
)

BERLIN = {"latitude": 52.5, "longitude": 13.4}
LOADS = {"us-east-1": 300, "eu-west-1": 550, "ap-southeast-1": 120}  # requests/s now


async def main() -> None:
    async with RegionManager() as manager:
        for region_id, load in LOADS.items():
            region = region_from_catalog(  # the id brings name, place, country and price
                region_id,
                endpoint=f"https://{region_id}.api.example.com",
                capabilities=RegionCapabilities(max_capacity=1000),
                health_score=95.0,  # what you state; it counts until probes or real traffic say otherwise
                current_capacity=load,
            )
            await manager.register_region(region)

        router = RegionAwareRouter(region_manager=manager)
        for strategy in (RoutingStrategy.LATENCY_BASED, RoutingStrategy.CAPACITY_BASED, RoutingStrategy.COST_BASED):
            decision = await router.route_request({"user_location": BERLIN}, strategy)
            print(f"{strategy.value:15} {decision.reasoning}")

        for _ in range(5):  # five real requests in a row fail: the circuit breaker opens
            manager.report_outcome("eu-west-1", ok=False)
        why = router.explain({"user_location": BERLIN})
        assert why.decision is not None
        print(f"now             {why.decision.reasoning}")
        for region_id, objection in why.excluded.items():
            print(f"left out        {region_id}: {objection.text}")


asyncio.run(main())
