"""Changes of intent look at what they change, and refuse to leave a service with no region."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mahavishnu.integrations.multi_region.core.conditions import Is
from mahavishnu.integrations.multi_region.core.intent import World, policy_document, service_document
from mahavishnu.integrations.multi_region.core.model import DataPlacementPolicy, Service
from mahavishnu.integrations.multi_region.core.policy import Effect, Rule
from mahavishnu.integrations.multi_region.errors import InvalidInputError, RefusedError
from mahavishnu.integrations.multi_region.ports.store import MemoryStore
from mahavishnu.integrations.multi_region.shell.locality import DataLocalityOptimizer
from mahavishnu.integrations.multi_region.shell.manager import RegionManager
from mahavishnu.integrations.multi_region.shell.orchestrator import DeploymentOrchestrator
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


# --- names that nothing new is declared under ---------------------------------------------------

NAME, ELDER = "Données UE", "données-ue"


@pytest.mark.parametrize("name", [NAME, "EUデータ", "x" * 80, "EU Data Policy"])
async def test_a_policy_needs_no_id_whatever_it_is_called(name: str) -> None:
    async with Stage.of(DE, probed=False) as stage:
        await stage.manager.put_policy(DataPlacementPolicy(name))
        assert [policy.name for policy in stage.manager.policies.values()] == [name]


@asynccontextmanager
async def elder() -> AsyncIterator[RegionManager]:
    """A store from before names were plain: an id that followed from a name, one that was given, a service."""
    stood = [DataPlacementPolicy(NAME, policy_id=ELDER), DataPlacementPolicy("x", policy_id="my policy/ü")]
    values = {f"policies/{policy.policy_id}": json.dumps(policy_document(policy)) for policy in stood}
    values["services/my api"] = json.dumps(service_document(service("my api", policy=ELDER)))
    store = MemoryStore()
    await store.commit(values)
    async with RegionManager(store=store) as manager:
        await manager.register_region(region(DE))
        yield manager


@pytest.mark.parametrize("named", [ELDER, DataPlacementPolicy(NAME).policy_id])
async def test_a_world_that_stands_under_elder_names_is_taken_again_as_it_stands(named: str) -> None:
    async with elder() as manager:
        world = World(
            regions=(region(DE),),
            policies=(DataPlacementPolicy(NAME), DataPlacementPolicy("x", policy_id="my policy/ü")),
            services=(service("my api", policy=named),),
        )
        assert [change.key for change in await manager.apply(world)] == ["limits"]


async def test_what_stands_under_an_elder_name_can_be_declared_again() -> None:
    async with elder() as manager:
        await manager.put_policy(DataPlacementPolicy(NAME, allowed_regions=[DE]))
        await manager.put_policy(DataPlacementPolicy("y", policy_id="my policy/ü"))
        assert set(manager.policies) == {ELDER, "my policy/ü"}
        assert manager.policies[ELDER].allowed_regions == (DE,)
        await manager.put_service(Service("my api", policy=DataPlacementPolicy(NAME).policy_id, priority=7))
        assert (manager.services["my api"].policy, manager.services["my api"].priority) == (ELDER, 7)
        await DataLocalityOptimizer(manager).assign_policy("orders", DataPlacementPolicy(NAME).policy_id)
        assert manager.snapshot().bindings["orders"].policy_id == ELDER


async def test_a_service_that_stands_under_an_elder_name_can_be_deployed() -> None:
    async with elder() as manager:
        orchestrator = DeploymentOrchestrator(manager)
        deployment = await orchestrator.deploy_active_active([DE], service="my api")
        assert deployment.service == "my api"
        with pytest.raises(InvalidInputError, match="service"):
            await orchestrator.deploy_active_active([DE], service="her api")
        await orchestrator.close()


async def test_no_new_thing_is_declared_under_such_a_name() -> None:
    async with elder() as manager:
        with pytest.raises(InvalidInputError, match="policy_id"):
            await manager.put_policy(DataPlacementPolicy("x", policy_id="her policy/ü"))
        with pytest.raises(InvalidInputError, match=r"services\.name"):
            await manager.put_service(Service("her api"))
        with pytest.raises(InvalidInputError, match=r"services\.name"):
            await manager.apply(World(regions=(region(DE),), services=(Service("her api"),)))
