"""The specification's examples of deployment strategies, as they stand."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mahavishnu.integrations.multi_region import (
    CloudProvider,
    DeploymentOrchestrator,
    Region,
    RegionAwareRouter,
    RegionCapabilities,
    RegionManager,
    RoutingStrategy,
)
from tests.shell.deploying import VirtualClock, breathe

PLACES = {
    "us-east-1": ("US East (N. Virginia)", 37.4, -77.5, 95.0, 30),
    "us-west-2": ("US West (Oregon)", 45.8, -119.7, 90.0, 20),
    "eu-west-1": ("Europe (Ireland)", 53.3, -6.2, 92.0, 40),
}


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
async def manager(clock: VirtualClock) -> AsyncIterator[RegionManager]:
    async with RegionManager(clock=clock) as manager:
        for region_id, (name, latitude, longitude, score, load) in PLACES.items():
            region = Region(
                region_id=region_id,
                name=name,
                provider=CloudProvider.AWS,
                location=name,
                latitude=latitude,
                longitude=longitude,
                endpoint=f"https://{region_id}.api.example.com",
                capabilities=RegionCapabilities(max_capacity=100),
                health_score=score,
                current_capacity=load,
            )
            await manager.register_region(region)
        yield manager


@pytest.fixture
async def orchestrator(manager: RegionManager) -> AsyncIterator[DeploymentOrchestrator]:
    orchestrator = DeploymentOrchestrator(region_manager=manager)
    yield orchestrator
    await orchestrator.close()


class TestDeploymentOrchestrator:
    """Section 2 of the page."""

    async def test_active_active(self, orchestrator: DeploymentOrchestrator) -> None:
        deployment = await orchestrator.deploy_active_active(
            regions=["us-east-1", "us-west-2", "eu-west-1"],
            replication_strategy="full",  # Full data replication
            failover_strategy="automatic",
        )

        # All regions are active
        assert len(deployment.regions) == 3
        assert set(deployment.roles.values()) == {"active"}

    async def test_active_passive(self, orchestrator: DeploymentOrchestrator) -> None:
        deployment = await orchestrator.deploy_active_passive(
            primary="us-east-1",  # Primary serves all traffic
            backups=["us-west-2"],  # Backups on standby
            replication_strategy="partial",
            failover_strategy="graceful",
        )
        assert deployment.weights == {"us-east-1": 1.0, "us-west-2": 0.0}
        assert deployment.roles == {"us-east-1": "active", "us-west-2": "standby"}

    async def test_leader_election(
        self, orchestrator: DeploymentOrchestrator, capsys: pytest.CaptureFixture[str]
    ) -> None:
        # Elect leader from candidates
        leader = await orchestrator.elect_leader(
            regions=["us-east-1", "us-west-2", "eu-west-1"],
        )
        print(f"Leader: {leader}")
        assert capsys.readouterr().out == "Leader: us-east-1\n"  # the healthiest

    async def test_blue_green(
        self, orchestrator: DeploymentOrchestrator, manager: RegionManager, clock: VirtualClock
    ) -> None:
        deployment = await orchestrator.deploy_blue_green(
            blue_regions=["us-east-1"],  # Current production
            green_regions=["us-west-2"],  # New deployment
            switch_after=60,  # Seconds before switch
        )
        router = RegionAwareRouter(region_manager=manager)

        async def routed() -> str:
            context = {"service": deployment.service, "user_location": {"latitude": 37.4, "longitude": -77.5}}
            return (await router.route_request(context, RoutingStrategy.LATENCY_BASED)).selected_region

        assert await routed() == "us-east-1"
        await clock.advance(59)
        assert await routed() == "us-east-1"
        # Traffic switches automatically after 60 seconds
        await clock.advance(2)
        await breathe()
        assert await routed() == "us-west-2"
