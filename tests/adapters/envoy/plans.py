"""Plans for the translation's tests, from the few things that a test is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.parts import (
    NOBODY_LEAVES,
    Addresses,
    Leaving,
    Problem,
)
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.resources import Snapshot
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.translate import Translator
from mahavishnu.integrations.multi_region.core.edges import EdgeSpec
from mahavishnu.integrations.multi_region.core.model import HealthCheck, Point, UpstreamProtocol
from mahavishnu.integrations.multi_region.core.routes import RouteClass
from mahavishnu.integrations.multi_region.core.traffic import (
    Area,
    EdgePlan,
    ServiceTraffic,
    Standing,
    Target,
    TrafficClass,
)

CHECK = HealthCheck()
SPEC = EdgeSpec("edge-eu", Point(50.1, 8.7))


def target(
    region: str,
    url: str = "",
    *,
    weight: int = 1,
    standing: Standing = Standing.SERVING,
    protocol: UpstreamProtocol = UpstreamProtocol.HTTP1,
    check: HealthCheck = CHECK,
    rtt_ms: int = 0,
) -> Target:
    """One region of a class."""
    return Target(region, url or "http://192.0.2.1:9000", weight, standing, protocol, check, rtt_ms)


def kind(
    *tiers: Sequence[Target],
    asks: tuple[str, ...] = (),
    area: str = "",
    exhausted: str | None = None,
    service: str = "api",
) -> TrafficClass:
    """One class of a service."""
    return TrafficClass(service, asks, area, tuple(map(tuple, tiers)), {}, exhausted)


def service(
    *classes: TrafficClass, hosts: tuple[str, ...] = ("*",), routes: tuple[RouteClass, ...] = (RouteClass(),)
) -> ServiceTraffic:
    """A service whose requests may state what its classes ask."""
    statements = tuple({found.requirements: None for found in classes if found.requirements})
    return ServiceTraffic(classes[0].service, hosts, routes, statements, classes)


def plan(*services: ServiceTraffic, edge: EdgeSpec = SPEC, areas: tuple[Area, ...] = ()) -> EdgePlan:
    """What one edge is told."""
    return EdgePlan(edge, areas, services)


NOWHERE: Mapping[str, tuple[str, ...]] = {}


def translated(
    told: EdgePlan, addresses: Addresses = NOWHERE, leaving: Leaving = NOBODY_LEAVES
) -> tuple[Snapshot, tuple[Problem, ...]]:
    """What a translator that is new makes of a plan."""
    return Translator().snapshot(told, 7, addresses, leaving)
