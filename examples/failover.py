"""Fail a region over: the plan first, then the move, a refusal that changes nothing, and the way back."""

from __future__ import annotations

import asyncio

from mahavishnu.integrations.multi_region import (
    FailoverRefusedError,
    FailureHandler,
    RegionCapabilities,
    RegionManager,
    region_from_catalog,
)

LOADS = {"us-east-1": 600, "us-east-2": 500, "us-west-2": 300, "eu-west-1": 800}  # requests/s, of 1,000 each


def show(manager: RegionManager) -> None:
    print("  load: " + ", ".join(f"{rid} {region.current_capacity:g}" for rid, region in manager.regions.items()))


async def main() -> None:
    async with RegionManager() as manager:
        for region_id, load in LOADS.items():
            region = region_from_catalog(
                region_id,
                endpoint=f"https://{region_id}.api.example.com",
                capabilities=RegionCapabilities(max_capacity=1000),
                health_score=95.0,
                current_capacity=load,
            )
            await manager.register_region(region)
        handler = FailureHandler(region_manager=manager)
        await handler.initialize()
        show(manager)

        event = await handler.handle_region_failure("us-east-1", "Health check failed")
        for target, share in event.shares.items():
            print(f"{event.from_region} -> {target}: {share:.0%} of {event.load:g} requests/s")
        show(manager)

        try:
            await handler.failover_to("us-west-2", "eu-west-1", reason="Planned maintenance")
        except FailoverRefusedError as refusal:
            print(f"refused by {refusal.rule}: {refusal}")

        await handler.recover_region("us-east-1")
        print("us-east-1 recovered")
        show(manager)
        await handler.close()


asyncio.run(main())
