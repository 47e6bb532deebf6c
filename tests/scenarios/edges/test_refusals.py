"""An edge refuses one part of a plan among a hundred services: the others work, and a failover still goes through."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import MappingProxyType

import pytest

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.plane import EnvoyDataPlane
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.proto import message
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.resources import CLUSTER, Resource, Snapshot
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.server import AdsServer
from mahavishnu.integrations.multi_region.core.events import EventKind
from mahavishnu.integrations.multi_region.ports.dataplane import Rejection
from mahavishnu.integrations.multi_region.ports.sink import MemorySink
from mahavishnu.integrations.multi_region.settings import load_settings
from mahavishnu.integrations.multi_region.surfaces.world.load import world_from_json
from mahavishnu.integrations.multi_region.system import create_multi_region_system
from mahavishnu.integrations.multi_region.testing.open_loop import shares

from .places import HOST
from .processes import free_port, until
from .stage import EDGE, HEDGED, Stage, told, world

pytestmark = pytest.mark.slow

SERVICES = 100
ODD = "odd"


class OddServer(AdsServer):
    """Spoils one cluster such that protobuf takes it and no Envoy does: it has no time to connect."""

    def offer(self, edge_id: str, snapshot: Snapshot, *problems: tuple[Rejection, ...]) -> None:
        """What an edge is to hold from now on, but for the odd service's cluster."""
        clusters = dict(snapshot.resources[CLUSTER])
        if ODD in clusters:
            found = message("envoy.config.cluster.v3.Cluster").FromString(clusters[ODD].body)
            found.connect_timeout.Clear()
            clusters[ODD] = Resource.of(CLUSTER, ODD, found)
        resources = MappingProxyType({**snapshot.resources, CLUSTER: MappingProxyType(clusters)})
        super().offer(edge_id, replace(snapshot, resources=resources), *problems)


async def test_one_refused_cluster_among_a_hundred_services_holds_nobody_up() -> None:
    async with Stage() as stage:
        fra, *_ = await stage.regions("fra", "par", "iad")
        names = ["api", *(f"s{number}" for number in range(2, SERVICES)), ODD]
        services = [{"name": name, "hosts": [f"{name}.test"], "routes": [HEDGED]} for name in names]
        server, sink = OddServer(f"{HOST}:{free_port()}"), MemorySink()
        plane = EnvoyDataPlane(server)
        await plane.start()
        system = await create_multi_region_system(load_settings(), sinks=[sink], plane=plane)
        try:
            await system.region_manager.apply(world_from_json(world(stage, *services)), actor="test")
            await stage.edge(int(server.address.rpartition(":")[2]))
            await stage.serves(by=("fra",))
            others = [(await stage.request(headers={"host": f"{name}.test"}))[0] for name in names[:-1]]
            odd = await stage.request(headers={"host": f"{ODD}.test"})

            def happened(kind: EventKind) -> list[str]:
                return [entry.event.subject for entry in sink.entries if entry.event.kind is kind]

            async def failed_over() -> bool:
                return bool(happened(EventKind.FAILOVER_ACKNOWLEDGED))

            async with stage.load() as load:
                await asyncio.sleep(0.5)
                load.mark()
                fra.kill()
                await until(failed_over, "the failover goes through")
                settled = load.now_s
                await asyncio.sleep(1)
            assert system.steering is not None
            edge = system.steering.edges()[EDGE]
        finally:
            await system.close()
    told("one cluster of a hundred refused", load.summary())
    assert set(others) == {200}
    assert odd[0] == 503
    assert [rejection.resource for rejection in edge.rejections] == [f"Cluster {ODD}"]
    assert happened(EventKind.EDGE_REJECTED) == [EDGE]
    assert [answer for answer in load.answers if answer.failed] == []
    assert set(shares(load.since(settled))) == {"par"}
