"""One bad service among a hundred, at a real Envoy: the others' routes, failovers, and that it heals."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Generator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import pytest

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.assembly import part_of, routes_of
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.constraints import made
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.parts import (
    NOBODY_LEAVES,
    ROUTES_NAME,
    Addresses,
    Leaving,
)
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.plane import EnvoyDataPlane
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.resolve import Resolver
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.resources import ROUTES, Part
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.server import AdsServer
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.translate import Translated, Translator
from mahavishnu.integrations.multi_region.core.traffic import EdgePlan, Standing, TrafficPlan
from mahavishnu.integrations.multi_region.ports.dataplane import Acknowledged, EdgeEvent, Rejected
from tests.adapters.envoy.ads_envoy import Envoy, bootstrap, envoy
from tests.adapters.envoy.edge import free_port
from tests.adapters.envoy.grpc_client import until
from tests.adapters.envoy.plans import SPEC, kind, plan, service, target
from tests.adapters.probing import http_server, says

pytestmark = pytest.mark.slow

MANY = 100
REASON = "x-multi-region-reason"


def refused_part(name: str, version: int) -> Part:
    """A virtual host that keeps all stated limits and that no Envoy takes: it adds a header that means nothing."""
    host = f"{name}-{version}.test"
    document = {
        "name": name,
        "domains": [host],
        "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}],
        "response_headers_to_add": [{"header": {"key": "x", "value": "%NO_SUCH_THING%"}}],
    }
    found, why = made("envoy.config.route.v3.VirtualHost", document)
    assert why is None
    return part_of(frozenset({host}), found.SerializeToString())


class Spoiling(Translator):
    """Translates, and spoils services: ``spoilt`` has the version of each that is made bad."""

    def __init__(self) -> None:
        super().__init__()
        self.spoilt: dict[str, int] = {}

    def steps(
        self, plan: EdgePlan, generation: int, addresses: Addresses, leaving: Leaving = NOBODY_LEAVES
    ) -> Generator[int, None, Translated]:
        """As a translator does it, with the spoilt ones in place."""
        snapshot, problems = yield from super().steps(plan, generation, addresses, leaving)
        bad = {name: refused_part(name, version) for name, version in self.spoilt.items()}
        if bad:
            sites = {**(snapshot.sites or {}), **bad}
            routes = {ROUTES: {ROUTES_NAME: routes_of(sites)}}
            snapshot = replace(snapshot, resources={**snapshot.resources, **routes}, sites=sites)
        return snapshot, problems


@dataclass
class Stage:
    """An Envoy with a hundred services in two regions, and what it is told."""

    plane: EnvoyDataPlane
    server: AdsServer
    translator: Spoiling
    heard: list[EdgeEvent]
    edge: Envoy
    urls: Mapping[str, str]
    port: int
    session: aiohttp.ClientSession
    generation: int = 0

    def publish(self, hosts: Mapping[str, str], *, eu: Standing = Standing.SERVING) -> int:
        """All services; each answers to the host that is given, or to its own."""
        self.generation += 1
        names = [f"s{n}" for n in range(MANY)]
        tiers = [[target("eu", self.urls["eu"], standing=eu)], [target("us", self.urls["us"])]]
        told = [service(kind(*tiers, service=name), hosts=(hosts.get(name, f"{name}.test"),)) for name in names]
        spec = replace(SPEC, edge_id="e1", listen=f"127.0.0.1:{self.port}")
        self.plane.publish(TrafficPlan(1, self.generation, {"e1": plan(*told, edge=spec)}))
        return self.generation

    async def ask(self, host: str) -> tuple[int, str]:
        """Status, and the region or the reason."""
        async with self.session.get(f"http://127.0.0.1:{self.port}/", headers={"Host": host}) as answer:
            return answer.status, answer.headers.get(REASON) or await answer.text()

    async def becomes(self, host: str, expected: tuple[int, str]) -> None:
        """Wait until a host is answered so."""
        deadline = time.monotonic() + 30
        while (found := await self.ask(host)) != expected:
            assert time.monotonic() < deadline, found

    def alarms(self) -> list[tuple[str, str]]:
        """What was refused, and why."""
        return [(one.rejection.resource, one.rejection.reason) for one in self.heard if isinstance(one, Rejected)]

    def settled(self) -> bool:
        """Whether all that is told was answered."""
        state = self.plane.states()["e1"]
        return state.acknowledged == self.generation or bool(state.rejections)


@asynccontextmanager
async def stage(folder: Path, *, delta: bool) -> AsyncIterator[Stage]:
    """See ``Stage``."""
    server, translator, heard = AdsServer("127.0.0.1:0"), Spoiling(), list[EdgeEvent]()
    plane = EnvoyDataPlane(server, translator, Resolver)
    plane.subscribe(heard.append)
    await plane.start()
    try:
        async with (
            http_server(says(text="eu")) as eu,
            http_server(says(text="us")) as us,
            envoy(bootstrap([server.address], delta=delta), folder) as edge,
            aiohttp.ClientSession() as session,
        ):
            yield Stage(plane, server, translator, heard, edge, {"eu": eu, "us": us}, free_port(), session)
    finally:
        await plane.close()


@pytest.mark.parametrize("delta", [True, False])
async def test_one_bad_service_among_a_hundred_holds_up_nobody(tmp_path: Path, delta: bool) -> None:
    async with stage(tmp_path, delta=delta) as at:
        first = at.publish({})
        await until(lambda: Acknowledged("e1", first) in at.heard)
        for host in ("s7.test", "s50.test"):
            await at.becomes(host, (200, "eu"))

        # It is spoilt in the same plan that gives others another host: they get it, and it stays what it was.
        at.translator.spoilt = {"s50": 1}
        moved = {f"s{n}": f"new-s{n}.test" for n in range(0, MANY, 3)}
        at.publish(moved)
        await until(lambda: at.alarms())
        (resource, why), *others = at.alarms()
        assert (resource, others) == ("VirtualHost s50", [])
        assert "NO_SUCH_THING" in why
        for n in (0, 51, 99):
            await at.becomes(f"new-s{n}.test", (200, "eu"))
        assert await at.ask("s50.test") == (200, "eu")
        assert (await at.ask("s51.test"))[0] == 404

        # A later change of another gets through, and so does a failover, in the bad one as well.
        at.publish({**moved, "s1": "later.test"})
        await at.becomes("later.test", (200, "eu"))
        at.publish({**moved, "s1": "later.test"}, eu=Standing.OUT)
        for host in ("later.test", "s50.test", "new-s0.test"):
            await at.becomes(host, (200, "us"))
        assert [one.resource for one in at.plane.states()["e1"].rejections] == ["VirtualHost s50"]
        assert len(at.alarms()) == 1
        assert at.plane.states()["e1"].acknowledged == first

        # Mended it is in force, and the plan is taken over whole.
        at.translator.spoilt = {}
        healed = at.publish({**moved, "s50": "mended.test"})
        await until(lambda: Acknowledged("e1", healed) in at.heard)
        await at.becomes("mended.test", (200, "eu"))
        assert at.plane.states()["e1"].rejections == ()


async def test_bad_services_from_the_start_are_away_and_all_others_there(tmp_path: Path) -> None:
    async with stage(tmp_path, delta=True) as at:
        at.translator.spoilt = {"s3": 1, "s77": 1, "s78": 1}
        at.publish({})
        await until(lambda: len(at.alarms()) == 3)
        assert sorted(name for name, _ in at.alarms()) == ["VirtualHost s3", "VirtualHost s77", "VirtualHost s78"]
        for n in (0, 2, 4, 76, 79, 99):
            await at.becomes(f"s{n}.test", (200, "eu"))
        assert await at.ask("s77-1.test") == (404, "no such service")
        published = await at.edge.stat("http.clients.rds.services.update_rejected")
        assert 3 <= published <= 30
