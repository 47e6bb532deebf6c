"""Bring a probe of your own: anything with `ask` and `close` tells the manager how a region is."""

from __future__ import annotations

import asyncio

from mahavishnu.integrations.multi_region import (
    HealthCheck,
    RegionManager,
    create_multi_region_system,
    region_from_catalog,
)
from mahavishnu.integrations.multi_region.ports.probe import ProbeResult


class QueueProbe:
    """Judges a region by the length of its job queue; in your probe this would be a call to your broker."""

    def __init__(self) -> None:
        self.waiting = {"https://eu-west-1.api.example.com": 3, "https://us-east-1.api.example.com": 5}

    async def ask(self, endpoint: str, check: HealthCheck) -> ProbeResult:
        """A queue of 1,000 jobs or more is a failure, of 100 or more a region without room. Never raises."""
        jobs = self.waiting[endpoint]
        return ProbeResult(ok=jobs < 1000, latency_ms=0.1, reason=f"{jobs} jobs wait", shedding=100 <= jobs < 1000)

    async def close(self) -> None:
        """Nothing to let go of."""


async def phase_becomes(manager: RegionManager, region_id: str, wanted: str) -> None:
    async with asyncio.timeout(30):
        while manager.health_of(region_id).status != wanted:
            await asyncio.sleep(0.005)
    print(f"{region_id} is {wanted}: {manager.health_of(region_id).reason}")


async def main() -> None:
    probe = QueueProbe()
    system = await create_multi_region_system(probe=probe)
    manager, router, _ = system
    often = HealthCheck(interval_s=0.05, fall=2, rise=2, hold_down_s=0.1)  # seconds, so that the example is quick
    for region_id in ("eu-west-1", "us-east-1"):
        endpoint = f"https://{region_id}.api.example.com"
        await manager.register_region(region_from_catalog(region_id, endpoint=endpoint, health=often))

    for region_id in ("eu-west-1", "us-east-1"):
        await phase_becomes(manager, region_id, "healthy")
    for jobs, phase in ((250, "saturated"), (4000, "down")):
        probe.waiting["https://eu-west-1.api.example.com"] = jobs
        await phase_becomes(manager, "eu-west-1", phase)
        print(f"  {(await router.route_request({'country': 'IE'})).reasoning}")
    await system.close()


asyncio.run(main())
