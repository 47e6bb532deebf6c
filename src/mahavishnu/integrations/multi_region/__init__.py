"""Multi-region orchestration: know the regions, watch them, decide where traffic and data belong, move them in time.

Public names are resolved on first use, so that importing the package loads neither a web framework nor a driver.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .core.deployment import Gates, OnFailure, Waves
    from .core.edges import ClientPlace, EdgeSpec, Network
    from .core.election import Leader
    from .core.facts import Attestation
    from .core.failover import FailoverEvent, FailoverStrategy
    from .core.model import (
        AdminState,
        CloudProvider,
        ComplianceFramework,
        DataPlacementPolicy,
        DeploymentSpec,
        DeploymentType,
        FailbackMode,
        HealthCheck,
        LocalityLevel,
        Phase,
        ProbeKind,
        Region,
        RegionCapabilities,
        RegionHealth,
        RoutingStrategy,
        SafetyLimits,
        Service,
        UpstreamProtocol,
    )
    from .core.policy import Rule
    from .core.recovery import RecoveryEvent
    from .core.routes import RouteClass
    from .core.routing import Explanation, RoutingDecision
    from .core.templates import policy_from_template
    from .errors import (
        FailoverRefusedError,
        InvalidInputError,
        MultiRegionError,
        NoEligibleRegionError,
        RefusedError,
        StoreError,
        UnavailableError,
        UnknownRegionError,
    )
    from .facts.catalog import region_from_catalog
    from .settings import Settings, load_settings
    from .shell.failure import FailureHandler
    from .shell.locality import DataLocalityOptimizer
    from .shell.manager import RegionManager
    from .shell.orchestrator import Deployment, DeploymentOrchestrator
    from .shell.router import RegionAwareRouter
    from .surfaces.http.api import MultiRegionAPI
    from .system import MultiRegionSystem, create_multi_region_system

_WHERE = {
    "core.deployment": ("Gates", "OnFailure", "Waves"),
    "core.edges": ("ClientPlace", "EdgeSpec", "Network"),
    "core.election": ("Leader",),
    "core.facts": ("Attestation",),
    "core.policy": ("Rule",),
    "core.templates": ("policy_from_template",),
    "core.failover": ("FailoverEvent", "FailoverStrategy"),
    "core.recovery": ("RecoveryEvent",),
    "core.model": (
        "AdminState",
        "CloudProvider",
        "ComplianceFramework",
        "DataPlacementPolicy",
        "DeploymentSpec",
        "DeploymentType",
        "FailbackMode",
        "HealthCheck",
        "LocalityLevel",
        "Phase",
        "ProbeKind",
        "Region",
        "RegionCapabilities",
        "RegionHealth",
        "RoutingStrategy",
        "SafetyLimits",
        "Service",
        "UpstreamProtocol",
    ),
    "core.routes": ("RouteClass",),
    "core.routing": ("Explanation", "RoutingDecision"),
    "errors": (
        "FailoverRefusedError",
        "InvalidInputError",
        "MultiRegionError",
        "NoEligibleRegionError",
        "RefusedError",
        "StoreError",
        "UnavailableError",
        "UnknownRegionError",
    ),
    "facts.catalog": ("region_from_catalog",),
    "settings": ("Settings", "load_settings"),
    "shell.failure": ("FailureHandler",),
    "shell.locality": ("DataLocalityOptimizer",),
    "shell.manager": ("RegionManager",),
    "shell.orchestrator": ("Deployment", "DeploymentOrchestrator"),
    "shell.router": ("RegionAwareRouter",),
    "surfaces.http.api": ("MultiRegionAPI",),
    "system": ("MultiRegionSystem", "create_multi_region_system"),
}
_HOME = {name: module for module, names in _WHERE.items() for name in names}

__all__ = [
    "AdminState",
    "Attestation",
    "ClientPlace",
    "CloudProvider",
    "ComplianceFramework",
    "DataLocalityOptimizer",
    "DataPlacementPolicy",
    "Deployment",
    "DeploymentOrchestrator",
    "DeploymentSpec",
    "DeploymentType",
    "EdgeSpec",
    "Explanation",
    "FailbackMode",
    "FailoverEvent",
    "FailoverRefusedError",
    "FailoverStrategy",
    "FailureHandler",
    "Gates",
    "HealthCheck",
    "InvalidInputError",
    "Leader",
    "LocalityLevel",
    "MultiRegionAPI",
    "MultiRegionError",
    "MultiRegionSystem",
    "Network",
    "NoEligibleRegionError",
    "OnFailure",
    "Phase",
    "ProbeKind",
    "RecoveryEvent",
    "RefusedError",
    "Region",
    "RegionAwareRouter",
    "RegionCapabilities",
    "RegionHealth",
    "RegionManager",
    "RouteClass",
    "RoutingDecision",
    "RoutingStrategy",
    "Rule",
    "SafetyLimits",
    "Service",
    "Settings",
    "StoreError",
    "UnavailableError",
    "UnknownRegionError",
    "UpstreamProtocol",
    "Waves",
    "create_multi_region_system",
    "errors",
    "load_settings",
    "policy_from_template",
    "region_from_catalog",
    "settings",
    "system",
]


def __getattr__(name: str) -> Any:
    module = _HOME.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{module}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
