"""What a real Envoy refuses for a file that is broken, and what becomes of it once the file is mended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.parts import EdgeOptions
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.plane import EnvoyDataPlane
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.server import AdsServer
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.translate import Translator
from mahavishnu.integrations.multi_region.core.edges import ClientPlace
from mahavishnu.integrations.multi_region.core.traffic import Standing, TrafficPlan
from mahavishnu.integrations.multi_region.ports.dataplane import Acknowledged, EdgeEvent, EdgeState, Rejected, Settled
from tests.adapters.envoy.ads_envoy import bootstrap, envoy
from tests.adapters.envoy.edge import free_port
from tests.adapters.envoy.grpc_client import until
from tests.adapters.envoy.plans import SPEC, kind, plan, service, target
from tests.adapters.mmdb_writer import write_mmdb
from tests.adapters.probing import http_server, says

pytestmark = pytest.mark.slow

both = pytest.mark.parametrize("delta", [True, False], ids=["delta", "sotw"])
E = "e1"
SELDOM_S, OFTEN_S = 3600.0, 0.3


class Stage:
    """A data plane with two regions, one service, and an edge that places clients by a database."""

    def __init__(self, folder: Path, urls: dict[str, str], retry_every_s: float) -> None:
        self.folder, self.urls = folder, urls
        self.database, self.port = folder / "geo.mmdb", free_port()
        self.server = AdsServer("127.0.0.1:0", retry_every_s=retry_every_s)
        self.plane = EnvoyDataPlane(self.server, Translator(EdgeOptions(geoip_database=str(self.database))))
        self.heard: list[EdgeEvent] = []
        self.plane.subscribe(self.heard.append)
        self.generation = 0
        self.last = TrafficPlan(0, -1)

    def publish(self, *, eu: Standing = Standing.SERVING, place: ClientPlace = ClientPlace.GEOIP) -> int:
        """One more plan; its generation."""
        self.generation += 1
        tiers = [[target("eu", self.urls["eu"], standing=eu)], [target("us", self.urls["us"])]]
        spec = replace(SPEC, edge_id=E, listen=f"127.0.0.1:{self.port}", client_place=place)
        told = plan(service(kind(*tiers)), edge=spec)
        self.last = TrafficPlan(self.generation, self.generation, {E: told})
        self.plane.publish(self.last)
        return self.generation

    def mend(self, *, broken: bool = False) -> None:
        """Put a database in its place, as whoever replaces a file does it."""
        fresh = self.folder / "fresh.mmdb"
        if broken:
            fresh.write_bytes(b"no database")
        else:
            write_mmdb(fresh, {"203.0.113.0/24": {"country": {"iso_code": "DE"}}})
        fresh.replace(self.database)

    @property
    def state(self) -> EdgeState:
        """Of the edge."""
        return self.plane.states()[E]

    def alarms(self) -> list[str]:
        """What was told as refused."""
        return [one.rejection.resource for one in self.heard if isinstance(one, Rejected)]

    async def ask(self) -> str | None:
        """The region that answers a client, None when nobody listens."""
        try:
            async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{self.port}/") as answer:
                return await answer.text()
        except aiohttp.ClientConnectorError:
            return None


@asynccontextmanager
async def stage(folder: Path, retry_every_s: float) -> AsyncIterator[Stage]:
    """See ``Stage``; the database is broken."""
    async with AsyncExitStack() as stack:
        urls = {name: await stack.enter_async_context(http_server(says(text=name))) for name in ("eu", "us")}
        at = Stage(folder, urls, retry_every_s)
        at.mend(broken=True)
        await at.plane.start()
        try:
            yield at
        finally:
            await at.plane.close()


@both
async def test_a_listener_that_is_refused_for_a_broken_file_is_in_force_soon_after_it_is_mended(
    tmp_path: Path, delta: bool
) -> None:
    async with stage(tmp_path, OFTEN_S) as at, envoy(bootstrap([at.server.address], delta=delta), tmp_path) as edge:
        generation = at.publish()
        await until(at.alarms)
        assert not at.state.serving
        assert at.state.acknowledged is None
        (rejection,) = at.state.rejections
        assert rejection.resource == "Listener clients"
        assert rejection.reason == rejection.reason.strip()
        tried = await edge.stat("listener_manager.lds.update_rejected")
        while not await edge.at_least("listener_manager.lds.update_rejected", tried + 3):
            assert await at.ask() is None
        assert at.alarms() == ["Listener clients"], "told once, however often it is tried"
        assert at.state.rejections == (rejection,)
        at.mend()
        await until(lambda: Acknowledged(E, generation) in at.heard)
        assert await at.ask() == "eu"
        found = at.state
        assert (found.serving, found.rejections) == (True, ())


@both
async def test_an_envoy_that_is_started_anew_is_offered_what_the_one_before_it_refused(
    tmp_path: Path, delta: bool
) -> None:
    async with stage(tmp_path, SELDOM_S) as at:
        generation = at.publish()
        async with envoy(bootstrap([at.server.address], delta=delta), tmp_path):
            await until(at.alarms)
        at.mend()
        (tmp_path / "admin").unlink()
        async with envoy(bootstrap([at.server.address], delta=delta), tmp_path):
            await until(lambda: Acknowledged(E, generation) in at.heard)
            assert await at.ask() == "eu"


@both
async def test_an_envoy_that_is_started_anew_has_acknowledged_nothing_and_says_what_it_refuses(
    tmp_path: Path, delta: bool
) -> None:
    async with stage(tmp_path, SELDOM_S) as at:
        at.mend()
        generation = at.publish()
        async with envoy(bootstrap([at.server.address], delta=delta), tmp_path):
            await until(lambda: Acknowledged(E, generation) in at.heard)
        at.mend(broken=True)
        (tmp_path / "admin").unlink()
        async with envoy(bootstrap([at.server.address], delta=delta), tmp_path):
            await until(lambda: at.state.rejections)
            assert (at.state.acknowledged, at.state.settled, at.state.serving) == (None, None, False)


@both
async def test_a_refused_listener_with_one_before_it_holds_no_failover_up(tmp_path: Path, delta: bool) -> None:
    async with stage(tmp_path, SELDOM_S) as at, envoy(bootstrap([at.server.address], delta=delta), tmp_path):
        first = at.publish(place=ClientPlace.EDGE)
        await until(lambda: Acknowledged(E, first) in at.heard)
        assert await at.ask() == "eu"
        second = at.publish()
        await until(lambda: Settled(E, second) in at.heard)
        third = at.publish(eu=Standing.OUT)
        await until(lambda: Settled(E, third) in at.heard)
        assert await at.ask() == "us"
        assert (at.state.acknowledged, at.state.settled, at.state.serving) == (first, third, True)
        assert at.alarms() == ["Listener clients"]
        at.mend()
        await at.server.stop()  # a controller that is started again offers it anew
        again = EnvoyDataPlane(AdsServer(at.server.address), Translator(EdgeOptions(geoip_database=str(at.database))))
        again.subscribe(at.heard.append)
        await again.start()
        try:
            again.publish(TrafficPlan(third + 1, third + 1, at.last.edges))
            await until(lambda: Acknowledged(E, third + 1) in at.heard)
        finally:
            await again.close()
