"""DataLocalityOptimizer: which policies bind data, which regions hold it, and which region suits it best."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mahavishnu.integrations.multi_region.core.model import ComplianceFramework, DataPlacementPolicy, RoutingStrategy

from .manager import RegionManager
from .router import RegionAwareRouter


class DataLocalityOptimizer:
    """Data placement policies over the regions of a manager."""

    def __init__(self, region_manager: RegionManager) -> None:
        self.region_manager = region_manager
        self._router = RegionAwareRouter(region_manager)

    @property
    def policies(self) -> Mapping[str, DataPlacementPolicy]:
        """The registered policies by id."""
        return self.region_manager.policies

    async def register_policy(self, policy: DataPlacementPolicy) -> None:
        """Register or replace a policy; it binds every request that requires all that the policy requires.

        Raises UnknownRegionError, naming the nearest, for a region that is neither registered nor in the catalog.
        """
        await self.region_manager.put_policy(policy)

    async def find_optimal_region(
        self,
        data_type: str,
        compliance_requirements: Iterable[ComplianceFramework | str] = (),
        user_location: Mapping[str, float] | None = None,
    ) -> str:
        """The region where data of a user at ``user_location`` (degrees) belongs: lawful, in service, nearest.

        Raises NoEligibleRegionError with the reason for each region when none may hold it.
        """
        context: dict[str, Any] = {"compliance_requirements": list(compliance_requirements)}
        if user_location is not None:
            context["user_location"] = user_location
        return self._router.preview(context, RoutingStrategy.LATENCY_BASED).selected_region

    async def record_placement(self, data_id: str, regions: Iterable[str]) -> None:
        """Remember which regions hold a piece of data, for routing by data locality. Raises UnknownRegionError."""
        await self.region_manager.put_placement(data_id, tuple(regions))
