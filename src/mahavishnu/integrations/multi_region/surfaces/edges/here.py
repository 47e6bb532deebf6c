"""Whether and how a controller runs the declared edges beside itself, by its settings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from mahavishnu.integrations.multi_region.core.address import parse_address
from mahavishnu.integrations.multi_region.core.edge_reports import EdgeReport
from mahavishnu.integrations.multi_region.errors import SettingsError
from mahavishnu.integrations.multi_region.settings import PREFIX, Settings, state_dir
from mahavishnu.integrations.multi_region.system import MultiRegionSystem

if TYPE_CHECKING:
    from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.plane import EnvoyDataPlane


@asynccontextmanager
async def edges_here(
    settings: Settings, system: MultiRegionSystem, plane: EnvoyDataPlane | None
) -> AsyncIterator[None]:
    """Every declared edge runs on this machine while the block does, where the settings want it so.

    Raises SettingsError when edges cannot be served here, UnavailableError when there is no Envoy.
    """
    steering = system.steering
    if not settings.edges_here:
        yield
        return
    if plane is None or steering is None:
        raise SettingsError(f"{PREFIX}EDGES_HERE", True, f"{PREFIX}XDS as well: where edges are served")
    if settings.xds_certificate is not None:
        allowed = "false where edges are served over TLS: run each with its own certificate, by `multi-region edge run`"
        raise SettingsError(f"{PREFIX}EDGES_HERE", True, allowed)
    from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.binary import find_envoy

    from .local import Workshop, local_edges

    async def take(report: EdgeReport) -> None:
        steering.take_report(report)

    workshop = Workshop(
        envoy=find_envoy(settings.envoy),
        controllers=(parse_address(plane.address), *settings.peers),
        state_dir=state_dir() / "edges",
        take=take,
        drain_s=settings.drain_timeout,
    )
    async with local_edges(workshop, lambda: system.region_manager.edges):
        try:
            yield
        finally:
            steering.let_go()
