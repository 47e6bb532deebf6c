"""Regions known by host name: edges keep what they have until names are looked up, and never what the law took out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.address_book import AddressBook
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.plane import EnvoyDataPlane
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.proto import message
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.resolve import Resolver
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.resources import (
    CLUSTER,
    ENDPOINTS,
    LISTENER,
    ROUTES,
)
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.server import AdsServer
from mahavishnu.integrations.multi_region.core.edges import EdgeSpec
from mahavishnu.integrations.multi_region.core.model import Point
from mahavishnu.integrations.multi_region.core.traffic import Target, TrafficPlan
from mahavishnu.integrations.multi_region.ports.dataplane import Acknowledged, EdgeEvent, Rejected
from tests.adapters.envoy.ads_envoy import bootstrap, envoy
from tests.adapters.envoy.edge import free_port
from tests.adapters.envoy.grpc_client import Stream, stream, until
from tests.adapters.envoy.plans import kind, plan, service, target
from tests.adapters.probing import http_server, says

SPEC = EdgeSpec("e1", Point(50.1, 8.7))


class Names:
    """A name service: answers at once what it knows, says at once what it refuses, and leaves the rest to wait."""

    def __init__(self, **answers: str) -> None:
        self.answers = {name.replace("_", "."): address for name, address in answers.items()}
        self.refused: set[str] = set()
        self.news = asyncio.Event()

    async def lookup(self, host: str) -> Iterable[str]:
        """Raises OSError for a name that is refused."""
        while host not in self.answers:
            if host in self.refused:
                raise OSError("no such host")
            await self.news.wait()
        return [self.answers[host]]

    def knows(self, host: str, address: str) -> None:
        """From now on."""
        self.answers[host] = address
        self.news.set()


@asynccontextmanager
async def running(
    names: Names, book: AddressBook | None = None, patience_s: float = 3600.0
) -> AsyncIterator[tuple[EnvoyDataPlane, list[EdgeEvent]]]:
    """A data plane that serves, and what it tells."""
    make = partial(Resolver, lookup=names.lookup, book=book, patience_s=patience_s)
    plane = EnvoyDataPlane(AdsServer("127.0.0.1:0"), make_resolver=make)
    heard: list[EdgeEvent] = []
    plane.subscribe(heard.append)
    await plane.start()
    try:
        yield plane, heard
    finally:
        await plane.close()


def told(generation: int, *regions: Target) -> TrafficPlan:
    """A plan of one edge with one service, all regions in one tier."""
    return TrafficPlan(1, generation, {"e1": plan(service(kind(list(regions))), edge=SPEC)})


def regions_of(resource: Any) -> dict[str, list[str]]:
    """Addresses by region in a resource as it is sent."""
    found = message("envoy.config.endpoint.v3.ClusterLoadAssignment").FromString(resource.resource.value)
    return {
        place.locality.region: [one.endpoint.address.socket_address.address for one in place.lb_endpoints]
        for place in found.endpoints
    }


async def take_endpoints(client: Stream) -> tuple[dict[str, list[str]], str]:
    """The next response with endpoints, accepted: the regions, and the version."""
    while (found := await client.take()).type_url != ENDPOINTS or not found.resources:
        pass
    return regions_of(found.resources[0]), found.resources[0].version


def unknown(heard: list[EdgeEvent]) -> list[str]:
    """What is said of hosts that are not found."""
    return [one.rejection.reason for one in heard if isinstance(one, Rejected)]


async def test_an_edge_is_told_nothing_while_its_names_are_looked_up() -> None:
    names = Names()
    async with running(names) as (plane, heard), stream(plane.address, "e1") as client:
        plane.publish(told(1, target("a", "http://a.test:80")))
        await client.ask(ENDPOINTS, resource_names_subscribe=["api"])
        await until(lambda: plane.states()["e1"].connected)
        plane.publish(told(2, target("a", "http://a.test:80")))
        names.knows("a.test", "127.0.0.9")
        assert (await take_endpoints(client))[0] == {"a": ["127.0.0.9"]}
        assert not unknown(heard)


async def test_a_slow_name_holds_an_edge_up_for_a_while_only() -> None:
    names = Names(a_test="127.0.0.9")
    async with running(names, patience_s=0.05) as (plane, heard), stream(plane.address, "e1") as client:
        plane.publish(told(1, target("a", "http://a.test:80"), target("b", "http://b.test:80")))
        await client.ask(ENDPOINTS, resource_names_subscribe=["api"])
        assert (await take_endpoints(client))[0] == {"a": ["127.0.0.9"]}
        await until(lambda: unknown(heard) == ["endpoint: no address is known for b.test"])
        names.knows("b.test", "127.0.0.8")
        assert (await take_endpoints(client))[0] == {"a": ["127.0.0.9"], "b": ["127.0.0.8"]}
        assert plane.states()["e1"].rejections == ()


async def test_a_region_without_an_address_is_told_of_and_holds_no_acknowledgement_up() -> None:
    names = Names(a_test="127.0.0.9")
    names.refused.add("b.test")
    async with running(names) as (plane, heard), stream(plane.address, "e1") as client:
        plane.publish(told(1, target("a", "http://a.test:80"), target("b", "http://b.test:80")))
        for url in (ENDPOINTS, CLUSTER):
            await client.ask(url, resource_names_subscribe=["api"] if url == ENDPOINTS else ["*"])
        await _take_all(client, plane)
        assert plane.states()["e1"].acknowledged == 1
        assert unknown(heard) == ["endpoint: no address is known for b.test"]
        assert [one.resource for one in plane.states()["e1"].rejections] == ["api/b"]


async def _take_all(client: Stream, plane: EnvoyDataPlane) -> None:
    """Accept whatever comes, asking for listeners and routes as well, until all is taken over."""
    await client.ask(LISTENER, resource_names_subscribe=["*"])
    await client.ask(ROUTES, resource_names_subscribe=["services"])

    async def accept() -> None:
        while True:
            await client.take()

    taking = asyncio.create_task(accept())
    try:
        await until(lambda: plane.states()["e1"].acknowledged is not None)
    finally:
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)


async def test_addresses_outlive_the_controller(tmp_path: Path) -> None:
    book = AddressBook(tmp_path / "addresses.json")
    async with running(Names(a_test="127.0.0.9"), book) as (plane, _), stream(plane.address, "e1") as client:
        plane.publish(told(1, target("a", "http://a.test:80")))
        await client.ask(ENDPOINTS, resource_names_subscribe=["api"])
        await take_endpoints(client)
        await until(book.load)
    assert (tmp_path / "addresses.json").stat().st_mode & 0o777 == 0o600
    async with running(Names(), book) as (plane, heard), stream(plane.address, "e1") as client:
        plane.publish(told(1, target("a", "http://a.test:80")))
        await client.ask(ENDPOINTS, resource_names_subscribe=["api"])
        assert (await take_endpoints(client))[0] == {"a": ["127.0.0.9"]}
        assert not unknown(heard)


async def _held_before(*regions: Target) -> str:
    """The version of the endpoints that an edge took from an earlier controller."""
    names = Names(a_test="127.0.0.9", b_test="127.0.0.8")
    async with running(names) as (plane, _), stream(plane.address, "e1") as client:
        plane.publish(told(1, *regions))
        await client.ask(ENDPOINTS, resource_names_subscribe=["api"])
        return (await take_endpoints(client))[1]


A, B = target("a", "http://a.test:80"), target("b", "http://b.test:80")


async def test_an_edge_goes_on_with_what_it_has_when_no_address_is_known_any_more() -> None:
    held = await _held_before(A, B)
    names = Names()
    names.refused.update({"a.test", "b.test"})
    async with running(names) as (plane, heard), stream(plane.address, "e1") as client:
        plane.publish(told(1, A, B))
        await until(lambda: len(unknown(heard)) == 2)
        await client.ask(ENDPOINTS, resource_names_subscribe=["api"], initial_resource_versions={"api": held})
        await client.ask(CLUSTER, resource_names_subscribe=["*"])
        assert (await client.take()).type_url == CLUSTER  # sent after endpoints that are due, and endpoints with it
        names.knows("a.test", "127.0.0.9")
        plane.publish(told(2, A, B, target("c", "http://192.0.2.3:80")))
        assert (await take_endpoints(client))[0] == {"c": ["192.0.2.3"]}


async def test_what_the_law_took_out_is_not_kept_for_want_of_addresses() -> None:
    held = await _held_before(A, B)
    names = Names()
    names.refused.add("a.test")
    async with running(names) as (plane, heard), stream(plane.address, "e1") as client:
        plane.publish(told(1, A))
        await until(lambda: len(unknown(heard)) == 1)
        await client.ask(ENDPOINTS, resource_names_subscribe=["api"], initial_resource_versions={"api": held})
        assert (await take_endpoints(client))[0] == {}


async def test_an_edge_that_has_nothing_is_told_so() -> None:
    names = Names()
    names.refused.add("a.test")
    async with running(names) as (plane, _), stream(plane.address, "e1") as client:
        plane.publish(told(1, A))
        await client.ask(ENDPOINTS, resource_names_subscribe=["api"])
        assert (await take_endpoints(client))[0] == {}


@pytest.mark.slow
@pytest.mark.parametrize("kept", [True, False], ids=["kept", "forgotten"])
async def test_an_envoy_serves_on_while_a_new_controller_finds_no_name(tmp_path: Path, kept: bool) -> None:
    port, xds = free_port(), free_port()
    book = AddressBook(tmp_path / "addresses.json" if kept else None)

    def traffic(generation: int, *urls: str) -> TrafficPlan:
        regions = [target(f"r{n}", url) for n, url in enumerate(urls)]
        spec = EdgeSpec("e1", Point(50.1, 8.7), listen=f"127.0.0.1:{port}")
        return TrafficPlan(1, generation, {"e1": plan(service(kind(regions)), edge=spec)})

    async with (
        http_server(says(text="eu")) as eu,
        envoy(bootstrap([f"127.0.0.1:{xds}"], delta=True), tmp_path) as edge,
    ):
        named = eu.replace("127.0.0.1", "eu.test")
        async with _controller(xds, Names(eu_test="127.0.0.1"), book) as (plane, heard):
            plane.publish(traffic(1, named))
            await until(lambda: Acknowledged("e1", 1) in heard)
            await _answers(edge.get, "eu")
        dead = Names()
        dead.refused.update({"eu.test", "us.test"})
        async with _controller(xds, dead, book) as (plane, heard):
            plane.publish(traffic(1, named))
            await until(lambda: Acknowledged("e1", 1) in heard)
            assert [(await edge.get("clients"))[1] for _ in range(20)] == ["eu"] * 20
            plane.publish(traffic(2, "http://us.test:80"))  # elsewhere: what the edge has need not be it
            await until(lambda: Acknowledged("e1", 2) in heard)
            assert not {(await edge.get("clients"))[1] for _ in range(20)} & {"eu"}


@asynccontextmanager
async def _controller(
    port: int, names: Names, book: AddressBook
) -> AsyncIterator[tuple[EnvoyDataPlane, list[EdgeEvent]]]:
    server = AdsServer(f"127.0.0.1:{port}")
    plane = EnvoyDataPlane(server, make_resolver=partial(Resolver, lookup=names.lookup, book=book))
    heard: list[EdgeEvent] = []
    plane.subscribe(heard.append)
    await plane.start()
    try:
        yield plane, heard
    finally:
        await plane.close()


async def _answers(get: Callable[[str], Any], expected: str) -> None:
    """Ask until the answer is as expected."""
    found: list[str] = []

    async def ask() -> None:
        while not found or found[-1] != expected:
            found.append((await get("clients"))[1])
            await asyncio.sleep(0.02)

    async with asyncio.timeout(60):
        await ask()
