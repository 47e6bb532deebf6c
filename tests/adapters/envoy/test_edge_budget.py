"""A real Envoy with a thousand clusters and the usual checks: it starts, lives, and takes a change over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.binary import find_envoy
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.bootstrap import bootstrap_document
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.budget import Level
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.plane import EnvoyDataPlane
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.process import EnvoyProcess, Start
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.server import AdsServer
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.translate import Translator
from mahavishnu.integrations.multi_region.core.traffic import Standing, TrafficPlan

from .edge import free_port
from .grpc_client import until
from .plans import SPEC, kind, plan, service, target
from .regions import TestRegion, ask, regions

pytestmark = pytest.mark.slow

SERVICES = 1_015


def told(generation: int, port: int, *order: TestRegion) -> TrafficPlan:
    """The first of these regions serves all services, the others are out."""
    first, *others = order
    tiers = (
        [target(first.region_id, first.url)],
        [target(one.region_id, one.url, standing=Standing.OUT) for one in others],
    )
    shared = kind(*tiers).tiers
    services = [
        service(
            replace(kind(service=f"s{n}"), tiers=shared), hosts=("api.test" if n == SERVICES - 1 else f"s{n}.test",)
        )
        for n in range(SERVICES)
    ]
    edge = plan(*services, edge=replace(SPEC, listen=f"127.0.0.1:{port}"))
    return TrafficPlan(1, generation, {SPEC.edge_id: edge})


async def test_a_thousand_clusters_with_the_usual_checks_start_and_follow(tmp_path: Path) -> None:
    port, translator = free_port(), Translator()
    plane = EnvoyDataPlane(AdsServer("127.0.0.1:0"), translator)
    await plane.start()
    host, _, ads = plane.address.rpartition(":")
    document = bootstrap_document(SPEC.edge_id, [(host, int(ads))], admin_socket=str(tmp_path / "admin.sock"))
    envoy = EnvoyProcess(Start(find_envoy(), document, tmp_path, log_path=tmp_path / "envoy.log", drain_s=0.0))

    async def served_by(region: str) -> None:
        for _ in range(600):
            answer = await ask(port)
            if answer.value("x-multi-region-region") == region:
                return
        raise AssertionError(f"the last service is never served by {region}")

    def acknowledged(generation: int) -> bool:
        return plane.states()[SPEC.edge_id].acknowledged == generation

    async with regions(["a", "b"]) as found:
        try:
            plane.publish(told(1, port, found["a"], found["b"]))
            await envoy.start()
            await until(lambda: acknowledged(1))
            assert translator.level(SPEC.edge_id) is Level.EVERY_5_SECONDS
            await served_by("a")
            plane.publish(told(2, port, found["b"], found["a"]))
            await until(lambda: acknowledged(2))
            await served_by("b")
            assert envoy.restarts == 0
        finally:
            await envoy.stop()
            await plane.close()
