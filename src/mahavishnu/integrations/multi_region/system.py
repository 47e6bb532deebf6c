"""The wiring: the one place where adapters meet the shell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mahavishnu.integrations.multi_region.ports.clock import Clock
from mahavishnu.integrations.multi_region.ports.probe import Probe
from mahavishnu.integrations.multi_region.ports.sink import Sink
from mahavishnu.integrations.multi_region.ports.store import MemoryStore, Store
from mahavishnu.integrations.multi_region.settings import Settings, load_settings
from mahavishnu.integrations.multi_region.shell.failure import FailureHandler
from mahavishnu.integrations.multi_region.shell.locality import DataLocalityOptimizer
from mahavishnu.integrations.multi_region.shell.manager import RegionManager
from mahavishnu.integrations.multi_region.shell.router import RegionAwareRouter


class MultiRegionSystem(NamedTuple):
    """A running system. Unpacks into manager, router and failure handler."""

    region_manager: RegionManager
    router: RegionAwareRouter
    failure_handler: FailureHandler

    @property
    def optimizer(self) -> DataLocalityOptimizer:
        """The data locality optimizer over the same regions."""
        return self.failure_handler.data_optimizer

    async def close(self) -> None:
        """Stop everything, the last started first."""
        await self.failure_handler.close()
        await self.region_manager.close()


async def create_multi_region_system(
    settings: Settings | None = None,
    *,
    store: Store | None = None,
    probe: Probe | None = None,
    clock: Clock | None = None,
    sinks: Sequence[Sink] = (),
) -> MultiRegionSystem:
    """A running system: real probes over HTTP and TCP, the store that the settings name (memory by default).

    Raises SettingsError for a setting that is not allowed, StoreError when the store cannot be opened.
    """
    settings = settings or load_settings()
    manager = RegionManager(
        store=store or await open_store(settings),
        probe=probe or open_probe(settings),
        clock=clock,
        sinks=sinks,
        settings=settings,
    )
    await manager.initialize()
    router = RegionAwareRouter(region_manager=manager)
    handler = FailureHandler(
        region_manager=manager,
        router=router,
        data_optimizer=DataLocalityOptimizer(manager, hot_data_threshold=settings.hot_data_threshold),
        failover_timeout=settings.failover_timeout,
        drain_timeout=settings.drain_timeout,
    )
    await handler.initialize()
    return MultiRegionSystem(manager, router, handler)


async def open_store(settings: Settings) -> Store:
    """The store that the settings name: a SQLite file, or memory."""
    if settings.store is None:
        return MemoryStore()
    from mahavishnu.integrations.multi_region.adapters.stores.sqlite import SqliteStore

    return await SqliteStore.open(settings.store)


def open_probe(settings: Settings) -> Probe:
    """Probes over HTTP and TCP, with the settings' rules about targets."""
    from mahavishnu.integrations.multi_region.adapters.probes import ProbeByKind

    return ProbeByKind(settings.target_rules())
