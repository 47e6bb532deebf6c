"""Changes of intent look at what they change, and refuse to leave a service with no region."""

from __future__ import annotations

import pytest

from mahavishnu.integrations.multi_region.core.conditions import Is
from mahavishnu.integrations.multi_region.core.model import DataPlacementPolicy
from mahavishnu.integrations.multi_region.core.policy import Effect, Rule
from mahavishnu.integrations.multi_region.errors import InvalidInputError, RefusedError
from mahavishnu.integrations.multi_region.shell.manager import RegionManager
from mahavishnu.integrations.multi_region.testing.builders import policy, region, service
from mahavishnu.integrations.multi_region.testing.stage import Stage

DE, US = "eu-central-1", "us-east-1"


def in_country(code: str) -> DataPlacementPolicy:
    return DataPlacementPolicy("p", policy_id="p", rules=(Rule("there", Effect.ALLOW, Is("region.country", code)),))


@pytest.mark.parametrize("change", ["policy", "service", "region"])
async def test_what_would_empty_a_service_is_refused_whatever_it_is(change: str) -> None:
    async with Stage.of(DE, US, probed=False) as stage:
        await stage.manager.put_policy(policy("p", allow=[DE]))
        await stage.manager.put_service(service("api", policy="p"))
        with pytest.raises(RefusedError, match="no region could serve api"):
            if change == "policy":
                await stage.manager.put_policy(policy("p", allow=[DE], require=["fedramp"]))
            elif change == "service":
                await stage.manager.put_service(service("api", US, policy="p"))
            else:
                await stage.manager.unregister_region(DE)
        assert stage.router.route({"service": "api"}).selected_region == DE


async def test_rules_that_leave_a_service_some_region_are_taken_over() -> None:
    async with Stage.of(DE, US, probed=False) as stage:
        await stage.manager.put_policy(in_country("DE"))
        await stage.manager.put_service(service("api", policy="p"))
        await stage.manager.put_policy(in_country("US"))
        assert stage.router.route({"service": "api"}).selected_region == US
        with pytest.raises(InvalidInputError):
            await stage.manager.put_policy(in_country("XX"))
        assert stage.router.route({"service": "api"}).selected_region == US


async def test_regions_put_into_the_table_by_hand_count() -> None:
    manager = RegionManager()
    manager.regions[DE] = region(DE)
    async with manager:
        await manager.put_service(service("api"))
        await manager.put_policy(policy("p", allow=[DE]))
        await manager.put_service(service("api", policy="p"))
        assert manager.snapshot().services["api"].policy == "p"
