"""The wiring: the one place where adapters meet the shell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from mahavishnu.integrations.multi_region.errors import InvalidInputError, SettingsError, UnavailableError
from mahavishnu.integrations.multi_region.ports.clock import Clock
from mahavishnu.integrations.multi_region.ports.dataplane import DataPlane
from mahavishnu.integrations.multi_region.ports.executor import Executor
from mahavishnu.integrations.multi_region.ports.geoip import GeoIp
from mahavishnu.integrations.multi_region.ports.probe import Probe
from mahavishnu.integrations.multi_region.ports.sink import Sink
from mahavishnu.integrations.multi_region.ports.store import MemoryStore, Store
from mahavishnu.integrations.multi_region.ports.tracer import Tracer
from mahavishnu.integrations.multi_region.settings import PREFIX, Settings, load_settings
from mahavishnu.integrations.multi_region.shell.failure import FailureHandler
from mahavishnu.integrations.multi_region.shell.locality import DataLocalityOptimizer
from mahavishnu.integrations.multi_region.shell.manager import RegionManager
from mahavishnu.integrations.multi_region.shell.orchestrator import DeploymentOrchestrator
from mahavishnu.integrations.multi_region.shell.router import RegionAwareRouter
from mahavishnu.integrations.multi_region.shell.steering import Steering
from mahavishnu.integrations.multi_region.shell.traced_router import TracedRouter

if TYPE_CHECKING:
    from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.plane import EnvoyDataPlane


class MultiRegionSystem(tuple[RegionManager, RegionAwareRouter, FailureHandler]):
    """A running system. Unpacks into manager, router and failure handler; has the ``orchestrator`` beside them.

    ``orchestrator``: None for one without an executor; whoever passes one has started it, ``close`` ends it. So it is
    with ``steering``: what keeps edges on the plan, None for a system without a data plane.
    """

    orchestrator: DeploymentOrchestrator
    steering: Steering | None

    def __new__(
        cls,
        region_manager: RegionManager,
        router: RegionAwareRouter,
        failure_handler: FailureHandler,
        orchestrator: DeploymentOrchestrator | None = None,
        steering: Steering | None = None,
    ) -> Self:
        """Bind the parts together; starts nothing."""
        system = super().__new__(cls, (region_manager, router, failure_handler))
        system.orchestrator = orchestrator or DeploymentOrchestrator(region_manager)
        system.steering = steering
        return system

    @property
    def region_manager(self) -> RegionManager:
        """The regions."""
        return self[0]

    @property
    def router(self) -> RegionAwareRouter:
        """The router over them."""
        return self[1]

    @property
    def failure_handler(self) -> FailureHandler:
        """What moves traffic when one fails."""
        return self[2]

    @property
    def optimizer(self) -> DataLocalityOptimizer:
        """The data locality optimizer over the same regions."""
        return self.failure_handler.data_optimizer

    async def close(self) -> None:
        """Stop everything, the last started first."""
        await self.orchestrator.close()
        await self.failure_handler.close()
        if self.steering is not None:
            await self.steering.close()
        await self.region_manager.close()


async def create_multi_region_system(
    settings: Settings | None = None,
    *,
    store: Store | None = None,
    probe: Probe | None = None,
    clock: Clock | None = None,
    sinks: Sequence[Sink] = (),
    executor: Executor | None = None,
    geoip: GeoIp | None = None,
    tracer: Tracer | None = None,
    plane: DataPlane | None = None,
    first_look_s: float = 0.0,
) -> MultiRegionSystem:
    """A running system: real probes over HTTP and TCP, the store that the settings name (memory by default).

    Deployments that the store holds go on where they were, and what services declare is taken up. ``executor``: puts
    versions into regions; ``geoip``: says where addresses are; by default the ones that the settings name, or none.
    ``tracer``: takes the share of decisions that ``settings.trace_sample`` says, by default through OpenTelemetry.
    ``plane``: carries traffic plans to the declared edges, and is closed with the system. ``first_look_s``: how long at
    most the first plan waits until every region has been heard of.
    Raises SettingsError for a setting that is not allowed, StoreError when the store cannot be opened.
    """
    settings = settings or load_settings()
    geoip = geoip or open_geoip(settings)
    executor = executor or open_executor(settings)
    tracer = tracer or open_tracer(settings)
    manager = RegionManager(
        store=store or await open_store(settings),
        probe=probe or open_probe(settings),
        clock=clock,
        sinks=sinks,
        settings=settings,
    )
    await manager.initialize()
    router = _router(manager, settings, geoip, tracer)
    steering = None if plane is None else Steering(manager, plane, first_look_s=first_look_s)
    if steering is not None:
        await steering.initialize()
    handler = FailureHandler(
        region_manager=manager,
        router=router,
        data_optimizer=DataLocalityOptimizer(manager, hot_data_threshold=settings.hot_data_threshold),
        failover_timeout=settings.failover_timeout,
        drain_timeout=settings.drain_timeout,
        steering=steering,
    )
    await handler.initialize()
    orchestrator = DeploymentOrchestrator(manager, executor=executor, steering=steering)
    await orchestrator.initialize()
    return MultiRegionSystem(manager, router, handler, orchestrator, steering)


async def open_store(settings: Settings) -> Store:
    """The store that the settings name: a SQLite file, or memory."""
    if settings.store is None:
        return MemoryStore()
    from mahavishnu.integrations.multi_region.adapters.stores.sqlite import SqliteStore

    return await SqliteStore.open(settings.store)


async def open_plane(settings: Settings) -> EnvoyDataPlane | None:
    """The server for edges at the address that the settings name, serving already; None where they name none.

    Raises SettingsError for files of its certificate that will not do, UnavailableError when the address is taken or
    the packages that it needs are not installed.
    """
    if settings.xds is None:
        return None
    try:
        from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.open import open_envoy_plane
    except ModuleNotFoundError as err:
        text = f"{PREFIX}XDS needs packages that are not installed ({err.name}): pip install"
        raise UnavailableError(f"{text} 'mahavishnu-multi-region[envoy]'") from err
    files = (settings.xds_certificate, settings.xds_key, settings.xds_client_ca)
    names = (f"{PREFIX}XDS_CERTIFICATE", f"{PREFIX}XDS_KEY", f"{PREFIX}XDS_CLIENT_CA")
    try:
        return await open_envoy_plane(settings.xds, files, settings.geoip_database, names, addresses_beside(settings))
    except InvalidInputError as err:
        raise SettingsError(f"{PREFIX}XDS" if err.field == "xds.listen" else err.field, err.value, err.allowed) from err


def addresses_beside(settings: Settings) -> Path | None:
    """The file, beside the store's, where addresses of regions are kept between starts; None for a store in memory."""
    path = settings.store_path
    return None if path is None else path.with_name(f"{path.name}.addresses.json")


def open_probe(settings: Settings) -> Probe:
    """Probes over HTTP and TCP, with the settings' rules about targets."""
    from mahavishnu.integrations.multi_region.adapters.probes import ProbeByKind

    return ProbeByKind(settings.target_rules())


def open_geoip(settings: Settings) -> GeoIp | None:
    """The database of addresses that the settings name, None where they name none. Raises SettingsError."""
    if settings.geoip_database is None:
        return None
    from mahavishnu.integrations.multi_region.adapters.geoip.mmdb import MmdbGeoIp

    return MmdbGeoIp(settings.geoip_database)


def open_tracer(settings: Settings) -> Tracer | None:
    """What traces go to: OpenTelemetry, None where none are wanted. Raises SettingsError when it is not installed."""
    if not settings.trace_sample:
        return None
    from mahavishnu.integrations.multi_region.adapters.tracing.otel import OtelTracer

    return OtelTracer()


def _router(
    manager: RegionManager, settings: Settings, geoip: GeoIp | None, tracer: Tracer | None
) -> RegionAwareRouter:
    """The plain router, unless decisions are to be traced."""
    if tracer is None or not settings.trace_sample:
        return RegionAwareRouter(region_manager=manager, geoip=geoip)
    sample, clock = settings.trace_sample, manager.clock
    return TracedRouter(manager, tracer=tracer, sample=sample, geoip=geoip, clock=clock)


def open_executor(settings: Settings) -> Executor | None:
    """What puts versions into regions: the settings' command or webhook, None where they name neither.

    Raises SettingsError for a webhook at an address that may not be called.
    """
    if settings.executor_argv is not None:
        from mahavishnu.integrations.multi_region.adapters.executors.command import CommandExecutor

        return CommandExecutor(settings.executor_argv)
    if settings.executor_webhook is None or settings.executor_secret is None:
        return None
    from mahavishnu.integrations.multi_region.adapters.executors.webhook import WebhookExecutor

    try:
        return WebhookExecutor(settings.executor_webhook, settings.executor_secret.get_secret_value())
    except InvalidInputError as err:
        raise SettingsError(f"{PREFIX}EXECUTOR_WEBHOOK", err.value, err.allowed) from err
