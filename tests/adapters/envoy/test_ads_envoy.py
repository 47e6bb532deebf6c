"""A real Envoy, asked through its admin interface what it took over from our servers."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import web

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.resources import Resource, Snapshot
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.server import AdsServer
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.tls import ServerTls
from mahavishnu.integrations.multi_region.ports.dataplane import Acknowledged, Connected, LoadReport
from tests.adapters.envoy.ads_envoy import bootstrap, cluster, endpoints, envoy, listener, routes, together
from tests.adapters.envoy.grpc_client import PATIENCE_S, serving, until
from tests.adapters.envoy.regions import regions as small_regions
from tests.adapters.envoy.tls_files import make_authority, make_certificate
from tests.adapters.probing import http_server, says

pytestmark = pytest.mark.slow

LOCAL = "127.0.0.1:0"
both = pytest.mark.parametrize("delta", [True, False], ids=["delta", "sotw"])


@pytest.fixture
async def regions() -> AsyncIterator[dict[str, int]]:
    """Two regions that say their names; their ports."""
    async with AsyncExitStack() as stack:
        urls = {name: await stack.enter_async_context(http_server(says(text=name))) for name in ("eu", "us")}
        yield {name: int(url.rpartition(":")[2]) for name, url in urls.items()}


def world(generation: int, **ports: int) -> Snapshot:
    """One class, one listener."""
    return together(generation, cluster("api"), endpoints("api", **ports), listener("l0", "r0"), routes("r0", "api"))


async def so(question: Callable[[], Awaitable[object]], expected: object) -> None:
    """Ask until the answer is as expected. Raises AssertionError when it never is."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE_S
    while (answer := await question()) != expected:
        assert loop.time() < deadline, f"{answer!r}, not {expected!r}"
        await asyncio.sleep(0.02)


def taken(server: AdsServer, generation: int) -> Callable[[], bool]:
    """Whether e1 has taken a generation over."""
    return lambda: "e1" in server.states() and server.states()["e1"].acknowledged == generation


@both
async def test_envoy_takes_all_over_and_follows_changes(delta: bool, regions: dict[str, int], tmp_path: Path) -> None:
    server = AdsServer(LOCAL)
    async with serving(server), envoy(bootstrap([server.address], delta=delta), tmp_path) as edge:
        server.publish({"e1": world(1, eu=regions["eu"])})
        await until(taken(server, 1))
        await so(edge.get, (200, "eu"))
        server.publish({"e1": world(2, us=regions["us"])})
        await until(taken(server, 2))
        assert await edge.get() == (200, "us")
        assert server.states()["e1"].version == "1.40.0"


async def slow_to_be_healthy(request: web.Request) -> web.Response:
    """A region whose health takes a while to ask for."""
    if request.path == "/healthz":
        await asyncio.sleep(0.3)
    return web.Response(text="green")


@both
async def test_routes_name_a_new_cluster_only_once_its_endpoints_were_checked_and_the_old_one_goes(
    delta: bool, regions: dict[str, int], tmp_path: Path
) -> None:
    server = AdsServer(LOCAL)
    async with (
        serving(server),
        http_server(slow_to_be_healthy) as url,
        envoy(bootstrap([server.address], delta=delta), tmp_path) as edge,
    ):
        server.publish({"e1": world(1, eu=regions["eu"])})
        await until(taken(server, 1))
        await so(edge.get, (200, "eu"))
        placed = endpoints("green", us=int(url.rpartition(":")[2]))
        green = [cluster("green", checked=True), placed, listener("l0", "r0"), routes("r0", "green")]
        server.publish({"e1": together(2, *green)})
        answers = set()
        while not taken(server, 2)():
            answers.add(await edge.get())
        assert answers <= {(200, "eu"), (200, "green")}
        assert await edge.get() == (200, "green")
        await so(edge.active_names, {"green"})


@both
async def test_a_changed_cluster_does_not_wait_for_endpoints_that_never_come(
    delta: bool, regions: dict[str, int], tmp_path: Path
) -> None:
    server = AdsServer(LOCAL)
    async with serving(server), envoy(bootstrap([server.address], delta=delta), tmp_path) as edge:
        server.publish({"e1": world(1, eu=regions["eu"])})
        await until(taken(server, 1))
        parts = [endpoints("api", eu=regions["eu"]), listener("l0", "r0"), routes("r0", "api")]
        server.publish({"e1": together(2, cluster("api", connect_timeout="2s"), *parts)})
        await until(taken(server, 2))
        await so(edge.warming, 0)
        assert (await edge.active("clusters"))["api"]["cluster"]["connect_timeout"] == "2s"
        # Had it waited in vain, this would count.
        assert await edge.stat("cluster.api.init_fetch_timeout") == 0


@both
async def test_another_server_goes_on_where_the_first_ended_and_sends_nothing(
    delta: bool, regions: dict[str, int], tmp_path: Path
) -> None:
    first = AdsServer(LOCAL)
    async with serving(first), envoy(bootstrap([first.address], delta=delta), tmp_path) as edge:
        first.publish({"e1": world(1, eu=regions["eu"])})
        await until(taken(first, 1))
        await first.stop()
        second = AdsServer(first.address)
        second.publish({"e1": world(5, eu=regions["eu"])})
        before = await edge.stats("update_success$")
        async with serving(second) as heard:
            await until(lambda: Acknowledged("e1", 5) in heard)
            assert await edge.stats("update_success$") == before
            second.publish({"e1": world(6, us=regions["us"])})
            await until(taken(second, 6))
            assert await edge.get() == (200, "us")


def hundred(generation: int, port: int, **instead: Resource) -> Snapshot:
    """A hundred clusters and routes, one listener that is bound; ``instead`` replaces some."""
    clusters = [instead.get(f"c{n}", cluster(f"c{n}")) for n in range(100)]
    placed = [endpoints(f"c{n}", eu=port) for n in range(100)]
    listeners = [listener(f"l{n}", f"r{n}", bound=n == 0) for n in range(100)]
    routed = [instead.get(f"r{n}", routes(f"r{n}", f"c{n}")) for n in range(100)]
    return together(generation, *clusters, *placed, *listeners, *routed)


@both
@pytest.mark.parametrize(
    ("kind", "bad"),
    [("clusters", cluster("c42", connect_timeout="0s")), ("route_configs", routes("r42", "c42", domains=("a", "a")))],
    ids=["cluster", "routes"],
)
async def test_one_bad_resource_among_a_hundred_is_found_and_the_others_are_in_force(
    delta: bool, kind: str, bad: Resource, regions: dict[str, int], tmp_path: Path
) -> None:
    server = AdsServer(LOCAL)
    async with serving(server), envoy(bootstrap([server.address], delta=delta), tmp_path) as edge:
        server.publish({"e1": hundred(1, regions["eu"], **{bad.name: bad})})
        await until(lambda: "e1" in server.states() and server.states()["e1"].rejections)
        (rejection,) = server.states()["e1"].rejections
        assert rejection.resource.endswith(f" {bad.name}")
        assert rejection.reason

        async def others() -> int:
            return len([name for name in await edge.active(kind) if name != bad.name])

        await so(others, 99)
        await so(edge.get, (200, "eu"))
        assert server.states()["e1"].acknowledged is None
        server.publish({"e1": hundred(2, regions["eu"])})
        await until(taken(server, 2))
        assert server.states()["e1"].rejections == ()
        assert len(await edge.active(kind)) == 100


@both
async def test_a_bad_change_leaves_the_last_good_and_a_failover_goes_through(
    delta: bool, regions: dict[str, int], tmp_path: Path
) -> None:
    server = AdsServer(LOCAL)
    async with serving(server), envoy(bootstrap([server.address], delta=delta), tmp_path) as edge:
        server.publish({"e1": world(1, eu=regions["eu"])})
        await until(taken(server, 1))
        bad = routes("r0", "api", domains=("a", "a"))
        server.publish(
            {"e1": together(2, cluster("api"), endpoints("api", us=regions["us"]), listener("l0", "r0"), bad)}
        )
        await until(lambda: server.states()["e1"].rejections)
        await so(edge.get, (200, "us"))
        assert server.states()["e1"].acknowledged == 1


async def test_load_reports_count_the_requests(regions: dict[str, int], tmp_path: Path) -> None:
    server = AdsServer(LOCAL, report_every_s=0.2)
    async with serving(server) as heard, envoy(bootstrap([server.address], delta=True), tmp_path) as edge:
        parts = [cluster("api~gdpr"), endpoints("api~gdpr", **regions), listener("l0", "r0"), routes("r0", "api~gdpr")]
        server.publish({"e1": together(1, *parts)})
        await until(taken(server, 1))
        await so(lambda: edge.port_known("l0"), True)
        await until(lambda: any(isinstance(one, LoadReport) for one in heard))
        answers = [await edge.get() for _ in range(40)]

        def counted() -> dict[str, tuple[int, int, int]]:
            found = dict.fromkeys(regions, (0, 0, 0))
            for report in heard:
                for load in report.loads if isinstance(report, LoadReport) else ():
                    assert (load.service, load.class_name) == ("api", "api~gdpr")
                    issued, succeeded, failed = found[load.region_id]
                    found[load.region_id] = (issued + load.issued, succeeded + load.succeeded, failed + load.failed)
            return found

        expected = {name: answers.count((200, name)) for name in regions}
        assert sum(expected.values()) == 40
        await until(lambda: counted() == {name: (count, count, 0) for name, count in expected.items()})
        reports = len(heard)
        await until(lambda: len(heard) > reports + 2)  # silent periods are reported too
        assert server.states()["e1"].rates == {}
        assert not any(server.states()["e1"].in_flight.values())


async def test_a_request_that_hangs_is_reported_when_it_is_sent_and_counted_as_failed_when_it_ends(
    tmp_path: Path,
) -> None:
    """So load and demand go by ``issued``: answers tell too late of a region that hangs, and too long of one left."""
    server = AdsServer(LOCAL, report_every_s=0.2)
    async with (
        small_regions(["eu"]) as region,
        serving(server) as heard,
        envoy(bootstrap([server.address], delta=True), tmp_path) as edge,
    ):
        region["eu"].silent = True
        parts = [cluster("api"), endpoints("api", eu=region["eu"].port), listener("l0", "r0"), routes("r0", "api")]
        server.publish({"e1": together(1, *parts)})
        await until(taken(server, 1))
        await so(lambda: edge.port_known("l0"), True)
        await until(lambda: any(isinstance(one, LoadReport) for one in heard))

        def counted() -> tuple[int, int, int]:
            loads = [load for report in heard if isinstance(report, LoadReport) for load in report.loads]
            flying = loads[-1].in_flight if loads else 0
            return sum(load.issued for load in loads), sum(load.succeeded + load.failed for load in loads), flying

        waiting = [asyncio.create_task(edge.get()) for _ in range(6)]
        await until(lambda: counted() == (6, 0, 6))
        await region["eu"].lose()
        assert [status for status, _ in await asyncio.gather(*waiting)] == [503] * 6
        await until(lambda: counted() == (6, 6, 0))


@pytest.mark.parametrize("name", ["e1", "nobody"])
async def test_only_an_envoy_with_a_certificate_is_served(name: str, regions: dict[str, int], tmp_path: Path) -> None:
    make_authority(tmp_path)
    certificate, key = make_certificate(tmp_path, "controller", alt="DNS:controller")
    make_certificate(tmp_path, "e1", alt="DNS:e1")
    server = AdsServer(LOCAL, ServerTls(certificate, key, tmp_path / "ca.pem"))
    async with serving(server) as heard:
        document = bootstrap([server.address], delta=True, tls=tmp_path, name=name)
        async with envoy(document, tmp_path) as edge:
            server.publish({"e1": world(1, eu=regions["eu"])})
            if name == "e1":
                await until(taken(server, 1))
                await so(edge.get, (200, "eu"))
            else:
                await so(lambda: edge.at_least("cluster.xds.upstream_cx_total", 3), True)
                assert heard == []


async def test_when_one_of_two_servers_ends_envoy_goes_on_with_the_other(
    regions: dict[str, int], tmp_path: Path
) -> None:
    one, two = AdsServer(LOCAL), AdsServer(LOCAL)
    async with serving(one) as heard_one, serving(two) as heard_two:
        for server in (one, two):
            server.publish({"e1": world(1, eu=regions["eu"])})
        async with envoy(bootstrap([one.address, two.address], delta=True), tmp_path) as edge:
            await until(lambda: Acknowledged("e1", 1) in heard_one + heard_two)
            serves, other = (one, two) if Connected("e1", True) in heard_one else (two, one)
            await serves.stop()
            other.publish({"e1": world(2, us=regions["us"])})
            await until(taken(other, 2))
            await so(edge.get, (200, "us"))


async def test_an_envoy_that_hangs_is_noticed_and_one_that_goes_on_comes_back(
    regions: dict[str, int], tmp_path: Path
) -> None:
    server = AdsServer(LOCAL)
    async with serving(server) as heard, envoy(bootstrap([server.address], delta=True), tmp_path) as edge:
        server.publish({"e1": world(1, eu=regions["eu"])})
        await until(taken(server, 1))
        os.kill(edge.pid, signal.SIGSTOP)
        try:
            await until(lambda: Connected("e1", False) in heard)
            server.publish({"e1": world(2, us=regions["us"])})
        finally:
            os.kill(edge.pid, signal.SIGCONT)
        await until(taken(server, 2))
        await so(edge.get, (200, "us"))
