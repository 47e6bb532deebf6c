"""``/v1``, declaring: regions, services, policies, and a world as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Query, Response

from mahavishnu.integrations.multi_region.core.model import DataPlacementPolicy, Service
from mahavishnu.integrations.multi_region.facts.checks import place_warnings
from mahavishnu.integrations.multi_region.surfaces.world.load import world_from_json
from mahavishnu.integrations.multi_region.system import MultiRegionSystem

from .api import declared, region_at
from .auth import Role
from .bodies import PolicyBody, RegionBody, ServiceBody, refuse_other_name, region_of
from .documents import json_body
from .guarding import Actor
from .params import Flag
from .routes import WRITES, Doors, StrictRequest
from .schemas import RegisteredAnswer
from .schemas_v1 import AppliedAnswer, PolicyAnswer, ServiceAnswer
from .v1_look import service_at


class Declaring:
    """The endpoints that change what is declared."""

    def __init__(self, system: MultiRegionSystem) -> None:
        self._manager = system.region_manager
        self._orchestrator = system.orchestrator

    def add_to(self, doors: Doors) -> None:
        """Add them to a router."""
        created = {201: {"model": RegisteredAnswer, "description": "The region was not there before."}}
        region, service, policy = "/v1/regions/{region_id}", "/v1/services/{name}", "/v1/policies/{policy_id}"
        doors.add("PUT", region, self.put_region, Role.OPERATOR, RegisteredAnswer, problems=WRITES, responses=created)
        doors.add(
            "DELETE",
            region,
            self.remove_region,
            Role.ADMIN,
            None,
            status=204,
            problems=WRITES,
            response_class=Response,
        )
        doors.add("PUT", service, self.put_service, Role.ADMIN, ServiceAnswer, problems=WRITES)
        doors.add(
            "DELETE",
            service,
            self.remove_service,
            Role.ADMIN,
            None,
            status=204,
            problems=WRITES,
            response_class=Response,
        )
        doors.add("PUT", policy, self.put_policy, Role.ADMIN, PolicyAnswer, problems=WRITES)
        extra = json_body({"$ref": "#/components/schemas/World"})
        doors.add("POST", "/v1/apply", self.apply, Role.ADMIN, AppliedAnswer, problems=WRITES, openapi_extra=extra)

    async def put_region(self, region_id: str, body: RegionBody, actor: Actor, response: Response) -> Mapping[str, Any]:
        """Declare a region anew, or replace its declaration; what is left out takes its default again."""
        refuse_other_name("region_id", body.region_id, region_id)
        standing = self._manager.regions.get(region_id)
        region = region_of(body, self._manager.health_check, standing)
        if standing is None:
            response.status_code = 201
            return declared(region, await self._manager.register_region(region, actor=actor))
        warnings = await self._manager.update_region(region, actor=actor)
        return declared(self._manager.get_region(region_id), warnings)

    async def remove_region(self, region_id: str, actor: Actor) -> None:
        """Remove a region that nothing declared names any more."""
        region_at(self._manager, region_id)
        await self._manager.unregister_region(region_id, actor=actor)

    async def put_service(self, name: str, body: ServiceBody, actor: Actor) -> Service:
        """Declare or replace a service."""
        service = body.service(name)
        await self._manager.put_service(service, actor=actor)
        await self._orchestrator.adopt_declared()
        return service

    async def remove_service(self, name: str, actor: Actor) -> None:
        """Remove a service."""
        service_at(self._manager, name)
        await self._manager.remove_service(name, actor=actor)
        await self._orchestrator.adopt_declared()

    async def put_policy(self, policy_id: str, body: PolicyBody, actor: Actor) -> DataPlacementPolicy:
        """Register or replace a policy."""
        policy = body.policy(policy_id)
        await self._manager.put_policy(policy, actor=actor)
        return policy

    async def apply(
        self, request: StrictRequest, actor: Actor, dry_run: Annotated[Flag, Query()] = False
    ) -> Mapping[str, Any]:
        """Make a world the intent, all or nothing. What it does not name is removed.

        `dry_run`: only say what would change.
        """
        world = world_from_json(await request.json(), self._manager.health_check)
        changes = await self._manager.apply(world, dry_run=dry_run, actor=actor)
        if changes and not dry_run:
            await self._orchestrator.adopt_declared()
        return {
            "dry_run": dry_run,
            "changes": changes,
            "warnings": [str(warning) for region in world.regions for warning in place_warnings(region)],
            "revision": self._manager.registry.revision,
        }
