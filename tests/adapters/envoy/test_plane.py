"""Envoys as the data plane: plans in, resources out, evidence back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import grpc.aio
import pytest

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.parts import Addresses
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.plane import EnvoyDataPlane
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.proto import message
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.resolve import Resolver
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.resources import CLUSTER, ENDPOINTS
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.server import AdsServer
from mahavishnu.integrations.multi_region.core.edges import EdgeSpec
from mahavishnu.integrations.multi_region.core.model import Point
from mahavishnu.integrations.multi_region.core.traffic import Standing, TrafficPlan
from mahavishnu.integrations.multi_region.ports.dataplane import (
    Acknowledged,
    Connected,
    DataPlane,
    EdgeEvent,
    Rejected,
)
from tests.adapters.envoy.ads_envoy import bootstrap, envoy
from tests.adapters.envoy.edge import free_port
from tests.adapters.envoy.grpc_client import PATIENCE_S, Stream, stream, until
from tests.adapters.envoy.plans import kind, plan, service, target
from tests.adapters.probing import http_server, says

SPEC = EdgeSpec("e1", Point(50.1, 8.7))


class Names:
    """A name service whose answers a test changes; ``resolver`` is the last that was made with it."""

    def __init__(self, **answers: str) -> None:
        self.answers = answers
        self.resolver: Resolver | None = None

    async def lookup(self, host: str) -> Iterable[str]:
        """The address of a host. Raises OSError when there is none."""
        if host not in self.answers:
            raise OSError("no such host")
        return [self.answers[host]]

    def make(self, changed: Callable[[Addresses], None]) -> Resolver:
        """A resolver that asks here."""
        self.resolver = Resolver(changed, lookup=self.lookup)
        return self.resolver


@asynccontextmanager
async def running(names: Names | None = None) -> AsyncIterator[tuple[EnvoyDataPlane, AdsServer, list[EdgeEvent]]]:
    """A data plane that serves, and what it tells."""
    server = AdsServer("127.0.0.1:0")
    plane = EnvoyDataPlane(server, make_resolver=(names or Names()).make)
    heard: list[EdgeEvent] = []
    plane.subscribe(heard.append)
    await plane.start()
    try:
        yield plane, server, heard
    finally:
        await plane.close()


def to(generation: int, *urls: str, revision: int = 1, edges: Iterable[str] = ("e1",)) -> TrafficPlan:
    """A plan: one service whose regions, in one tier, are at these URLs."""
    targets = [target(f"r{n}", url) for n, url in enumerate(urls)]
    told = {one: plan(service(kind(targets)), edge=replace(SPEC, edge_id=one)) for one in edges}
    return TrafficPlan(revision, generation, told)


async def endpoints_of(client: Stream) -> list[str]:
    """The addresses in the next response with endpoints."""
    found = await client.take()
    assert found.type_url == ENDPOINTS
    assigned = message("envoy.config.endpoint.v3.ClusterLoadAssignment").FromString(found.resources[0].resource.value)
    hosts = [one.endpoint.address.socket_address.address for place in assigned.endpoints for one in place.lb_endpoints]
    return sorted(hosts)


async def test_a_plan_reaches_an_edge_as_resources() -> None:
    async with running() as (served, server, _), stream(served.address, "e1") as client:
        plane: DataPlane = served
        assert served.address == server.address
        plane.publish(to(1, "http://192.0.2.1:80", "http://192.0.2.2:80"))
        await client.ask(CLUSTER)
        assert [one.name for one in (await client.take()).resources] == ["api"]
        await client.ask(ENDPOINTS, resource_names_subscribe=["api"])
        assert await endpoints_of(client) == ["192.0.2.1", "192.0.2.2"]
        plane.publish(to(2, "http://192.0.2.2:80"))
        assert await endpoints_of(client) == ["192.0.2.2"]
        assert set(plane.states()) == {"e1"}
        assert plane.states()["e1"].connected


@pytest.mark.parametrize(("generation", "revision"), [(1, 9), (2, 1), (2, 0)])
async def test_an_older_plan_is_ignored(generation: int, revision: int) -> None:
    async with running() as (plane, _, _):
        plane.publish(to(2, "http://192.0.2.1:80"))
        plane.publish(to(generation, "http://192.0.2.2:80", revision=revision, edges=["e1", "e2"]))
        assert set(plane.states()) == {"e1"}


async def test_newer_intent_with_the_same_observations_is_taken() -> None:
    async with running() as (plane, _, _):
        plane.publish(to(2, "http://192.0.2.1:80"))
        plane.publish(to(2, "http://192.0.2.2:80", revision=2, edges=["e1", "e2"]))
        assert set(plane.states()) == {"e1", "e2"}
        plane.publish(to(3, "http://192.0.2.2:80", edges=["e2"]))
        assert set(plane.states()) == {"e2"}


async def test_an_address_that_changes_reaches_edges_without_a_new_plan() -> None:
    names = Names(**{"eu.example.test": "192.0.2.7"})
    async with running(names) as (plane, server, _), stream(server.address, "e1") as client:
        plane.publish(to(1, "http://eu.example.test:80"))
        resolver = names.resolver
        assert resolver is not None
        await until(lambda: resolver.addresses)
        await client.ask(ENDPOINTS, resource_names_subscribe=["api"])
        assert await endpoints_of(client) == ["192.0.2.7"]
        names.answers["eu.example.test"] = "192.0.2.8"
        await resolver.look()
        assert await endpoints_of(client) == ["192.0.2.8"]


async def test_a_declared_edge_may_wait_for_its_first_plan_and_another_may_not() -> None:
    async with running() as (plane, server, heard):
        plane.publish(to(1, "http://192.0.2.1:9000", edges=()))
        plane.declare(["e1"])
        async with stream(server.address, "e1") as client, stream(server.address, "e2") as stranger:
            await client.ask(CLUSTER)
            await stranger.ask(CLUSTER)
            with pytest.raises(grpc.aio.AioRpcError, match="no edge 'e2' is declared"):
                await stranger.read()
            await until(lambda: Connected("e1", True) in heard)
            plane.publish(to(2, "http://192.0.2.1:9000", edges=("e1", "e2")))
            assert (await client.read()).resources
            assert set(plane.states()) == {"e1"}
            plane.declare([])
            with pytest.raises(grpc.aio.AioRpcError, match="not declared"):
                while True:
                    await client.read()


async def test_what_cannot_be_told_is_an_event_and_a_rejection() -> None:
    async with running() as (plane, _, heard):
        plane.publish(to(1, "http://192.0.2.1:80", "ftp://192.0.2.2:80"))
        (told,) = [one for one in heard if isinstance(one, Rejected)]
        assert told.edge_id == "e1"
        assert told.rejection.generation == 1
        assert plane.states()["e1"].rejections == (told.rejection,)
        plane.publish(to(2, "http://192.0.2.1:80"))
        assert plane.states()["e1"].rejections == ()


@pytest.mark.slow
async def test_an_envoy_serves_by_plans(tmp_path: Path) -> None:
    port = free_port()
    async with (
        running() as (plane, server, heard),
        http_server(says(text="eu")) as eu,
        http_server(says(text="us")) as us,
        envoy(bootstrap([server.address], delta=True), tmp_path) as edge,
    ):

        def told(generation: int, first: Standing, second: Standing) -> TrafficPlan:
            tiers = [[target("eu", eu, standing=first)], [target("us", us, standing=second)]]
            spec = replace(SPEC, listen=f"127.0.0.1:{port}")
            return TrafficPlan(1, generation, {"e1": plan(service(kind(*tiers)), edge=spec)})

        async def answer() -> str:
            return (await edge.get("clients"))[1]

        plane.publish(told(1, Standing.SERVING, Standing.SERVING))
        await until(lambda: Acknowledged("e1", 1) in heard)
        await eventually(answer, "eu")
        plane.publish(told(2, Standing.OUT, Standing.SERVING))
        await until(lambda: Acknowledged("e1", 2) in heard)
        assert [await answer() for _ in range(5)] == ["us"] * 5
        plane.publish(told(3, Standing.SERVING, Standing.DRAINING))
        await until(lambda: Acknowledged("e1", 3) in heard)
        await eventually(answer, "eu")
        await until(lambda: plane.states()["e1"].in_flight == {"eu": 0} or not plane.states()["e1"].in_flight)
        assert plane.states()["e1"].rejections == ()


async def eventually(question: Callable[[], Awaitable[object]], expected: object) -> None:
    """Ask until the answer is as expected. Raises AssertionError when it never is."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE_S
    while (found := await question()) != expected:
        assert loop.time() < deadline, f"{found!r}, not {expected!r}"
        await asyncio.sleep(0.02)
