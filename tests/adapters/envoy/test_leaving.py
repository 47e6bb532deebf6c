"""Regions that move, as edges are told of them: at both addresses for a while, each as it is spoken to there."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.checks import EdgeCheck, Question, settling_s
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.parts import EdgeOptions, Former, Leaving
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.plane import EnvoyDataPlane
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.proto import message
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.resources import CLUSTER, ENDPOINTS, Snapshot
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.server import AdsServer
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.translate import Translator
from mahavishnu.integrations.multi_region.core.model import HealthCheck, UpstreamProtocol
from mahavishnu.integrations.multi_region.core.traffic import Standing, Target, TrafficPlan, Whereabouts
from mahavishnu.integrations.multi_region.testing.virtual_clock import VirtualClock

from .ads_envoy import bootstrap, envoy
from .edge import free_port, plain
from .grpc_client import Stream, stream, until
from .plans import SPEC, kind, plan, service, target, translated
from .regions import TestRegion, ask, regions
from .test_plane import Names, eventually

OLD, NEW = "http://192.0.2.1:80", "http://192.0.2.2:80"


def leaving(was: Target, ip: str = "192.0.2.1") -> Leaving:
    """One region that was at another address."""
    return {was.region_id: (Former(ip, was),)}


def hosts(snapshot: Snapshot, name: str = "api") -> list[dict[str, Any]]:
    """The hosts of a class, in JSON form, in order."""
    places = plain(snapshot.resources[ENDPOINTS][name]).get("endpoints", [])
    return [host for place in places for host in place["lb_endpoints"]]


def ips(snapshot: Snapshot, name: str = "api") -> list[str]:
    """Their addresses."""
    return [host["endpoint"]["address"]["socket_address"]["address"] for host in hosts(snapshot, name)]


def transports(snapshot: Snapshot) -> list[str]:
    """The encryptions that a class's cluster knows."""
    found = plain(snapshot.resources[CLUSTER]["api"]).get("transport_socket_matches", [])
    return [match["name"] for match in found]


def test_a_region_that_moves_is_told_at_both_addresses_in_one_locality() -> None:
    told, problems = translated(plan(service(kind([target("a", NEW)]))), leaving=leaving(target("a", OLD)))
    (place,) = plain(told.resources[ENDPOINTS]["api"])["endpoints"]
    assert place["locality"] == {"region": "a"}
    assert ips(told) == ["192.0.2.2", "192.0.2.1"]
    assert problems == ()


@pytest.mark.parametrize(("standing", "health"), [(Standing.DRAINING, "DRAINING"), (Standing.OUT, "UNHEALTHY")])
def test_a_region_that_drains_or_is_out_is_so_at_both(standing: Standing, health: str) -> None:
    told, _ = translated(plan(service(kind([target("a", NEW, standing=standing)]))), leaving=leaving(target("a", OLD)))
    assert [host["health_status"] for host in hosts(told)] == [health] * 2


def test_a_region_that_is_in_a_class_no_more_is_gone_with_all_its_addresses() -> None:
    classes = kind([target("a", NEW)], [target("b")]), kind([target("b")], asks=("gdpr",))
    told, _ = translated(plan(service(*classes)), leaving=leaving(target("a", OLD)))
    assert ips(told) == ["192.0.2.2", "192.0.2.1", "192.0.2.1"]
    assert [host["metadata"]["filter_metadata"]["multi-region"]["region"] for host in hosts(told, "api~gdpr")] == ["b"]


@pytest.mark.parametrize(
    ("was", "now", "known"),
    [
        ("http://192.0.2.1:80", "https://b.test", [None, "verified"]),
        ("https://a.test", "http://192.0.2.2:80", ["verified", None]),
    ],
)
def test_each_address_is_encrypted_as_it_was_said_there(was: str, now: str, known: list[str | None]) -> None:
    told, _ = translated(plan(service(kind([target("a", now)]))), {"b.test": ("192.0.2.2",)}, leaving(target("a", was)))
    found = {
        host["endpoint"]["address"]["socket_address"]["address"]: host["metadata"]["filter_metadata"]
        .get("envoy.transport_socket_match", {})
        .get("transport")
        for host in hosts(told)
    }
    assert [found["192.0.2.1"], found["192.0.2.2"]] == known
    assert transports(told) == ["verified"]


def test_a_host_is_checked_under_the_name_that_it_had() -> None:
    was = target("a", "http://a.test:80", check=HealthCheck(headers={"Host": "inside.test"}))
    told, _ = translated(plan(service(kind([target("a", NEW)]))), leaving=leaving(was))
    assert [host["endpoint"]["health_check_config"]["hostname"] for host in hosts(told)] == [
        "192.0.2.2:80",
        "inside.test",
    ]
    assert [host["endpoint"].get("hostname", "") for host in hosts(told)] == ["", "a.test"]


def test_an_old_address_is_not_asked_what_it_never_was_asked() -> None:
    others = [target(name, f"http://192.0.2.{n}:80") for n, name in ((7, "b"), (8, "c"))]
    elsewhere = target("a", OLD, check=HealthCheck(url="http://192.0.2.9:80/"))
    told, _ = translated(plan(service(kind([target("a", NEW), *others]))), leaving=leaving(elsewhere))
    unasked = [
        host["endpoint"].get("health_check_config", {}).get("disable_active_health_check", False)
        for host in hosts(told)
    ]
    assert unasked == [False, True, False, False]


def test_a_region_whose_new_name_is_not_found_yet_is_told_where_it_was() -> None:
    told, (problem,) = translated(
        plan(service(kind([target("a", "http://a.test")]))), leaving=leaving(target("a", OLD))
    )
    assert ips(told) == ["192.0.2.1"]
    assert problem.host == "a.test"


def test_an_edge_may_keep_what_it_has_of_the_same_endpoints_alone() -> None:
    """A name that is not found is no reason to drop an address that it led to; it is to drop one declared before."""
    before, _ = translated(plan(service(kind([target("a", OLD)]))))
    was, _ = translated(plan(service(kind([target("a", "http://a.test")]))), {"a.test": ("192.0.2.9",)})
    lost, _ = translated(plan(service(kind([target("a", "http://a.test")]))))
    assert ips(lost) == []
    now = lost.resources[ENDPOINTS]["api"]
    assert now.spares(was.resources[ENDPOINTS]["api"].version)
    assert not now.spares(before.resources[ENDPOINTS]["api"].version)


def test_a_translation_says_the_same_whatever_it_made_before() -> None:
    known = Translator()
    before, after = (plan(service(kind([target("a", url)]))) for url in (OLD, NEW))
    moving = leaving(target("a", OLD))
    for told, beside in ((before, {}), (after, moving), (after, {}), (after, moving), (before, {})):
        found, _ = known.snapshot(told, 7, {}, beside)
        assert found.resources == translated(told, leaving=beside)[0].resources


def test_only_classes_of_a_region_that_moves_are_made_anew() -> None:
    known = Translator()
    told = plan(service(kind([target("a", NEW)])), service(kind([target("b")], service="other"), hosts=("other.test",)))
    before, _ = known.snapshot(told, 7, {})
    after, _ = known.snapshot(told, 7, {}, leaving(target("a", OLD)))
    assert after.resources[ENDPOINTS]["other"] is before.resources[ENDPOINTS]["other"]
    assert after.resources[ENDPOINTS]["api"] is not before.resources[ENDPOINTS]["api"]
    assert after.resources[CLUSTER] is before.resources[CLUSTER], "no connection and no check starts over"


def test_a_new_host_may_fail_once_and_has_time_to_pass_as_often_as_it_must() -> None:
    check = EdgeCheck(Question("/"), interval_s=1.0, timeout_s=0.5, fall=2, rise=2, spread_s=4.0)
    assert settling_s(check) == pytest.approx(4.0 + 3 * (1.1 + 0.5))


def test_how_long_it_takes_is_said_while_a_region_moves() -> None:
    known = Translator()
    told = plan(service(kind([target("a", NEW, check=HealthCheck(interval_s=20.0, timeout_s=3.0, rise=4))])))
    known.snapshot(told, 7, {})
    assert known.settling_s("edge-eu") == 0
    known.snapshot(told, 7, {}, leaving(target("a", OLD)))
    assert known.settling_s("edge-eu") == pytest.approx(5 * (22.0 + 3.0))


def test_of_several_services_the_one_that_takes_longest_counts() -> None:
    known = Translator()
    moves = service(kind([target("a", NEW, check=HealthCheck(interval_s=20.0, timeout_s=3.0, rise=4))]))
    known.snapshot(
        plan(moves, service(kind([target("b")], service="other"), hosts=("o.test",))), 7, {}, leaving(target("a", OLD))
    )
    assert known.settling_s("edge-eu") == pytest.approx(5 * (22.0 + 3.0))


async def ips_of(client: Stream) -> list[str]:
    """The addresses in the next response with endpoints."""
    found = await client.take()
    assigned = message("envoy.config.endpoint.v3.ClusterLoadAssignment").FromString(found.resources[0].resource.value)
    return [one.endpoint.address.socket_address.address for place in assigned.endpoints for one in place.lb_endpoints]


def moving(generation: int, url: str, grounds: str = "DE") -> TrafficPlan:
    """A plan with one region."""
    told = target("a", url)
    edge = plan(service(kind([told])), edge=SPEC)
    return TrafficPlan(1, generation, {SPEC.edge_id: edge}, {"a": Whereabouts(url, told.protocol, told.check, grounds)})


async def test_edges_are_told_both_and_later_the_new_one_alone() -> None:
    clock, server = VirtualClock(), AdsServer("127.0.0.1:0")
    plane = EnvoyDataPlane(server, make_resolver=Names().make, clock=clock)
    await plane.start()
    try:
        async with stream(server.address, SPEC.edge_id) as client:
            plane.publish(moving(1, OLD))
            await client.ask(ENDPOINTS, resource_names_subscribe=["api"])
            assert await ips_of(client) == ["192.0.2.1"]
            plane.publish(moving(2, NEW))
            assert await ips_of(client) == ["192.0.2.2", "192.0.2.1"]
            await clock.advance(60)
            assert await ips_of(client) == ["192.0.2.2"]
            plane.publish(moving(3, OLD, grounds="US"))
            assert await ips_of(client) == ["192.0.2.1"]
    finally:
        await plane.close()


async def test_a_name_that_leads_elsewhere_keeps_its_old_address_for_a_while() -> None:
    names, clock, server = Names(**{"a.test": "192.0.2.1"}), VirtualClock(), AdsServer("127.0.0.1:0")
    plane = EnvoyDataPlane(server, make_resolver=names.make, clock=clock)
    await plane.start()
    try:
        async with stream(server.address, SPEC.edge_id) as client:
            plane.publish(moving(1, "http://a.test"))
            resolver = names.resolver
            assert resolver is not None
            await until(lambda: resolver.addresses)
            await client.ask(ENDPOINTS, resource_names_subscribe=["api"])
            assert await ips_of(client) == ["192.0.2.1"]
            names.answers["a.test"] = "192.0.2.2"
            await resolver.look()
            assert await ips_of(client) == ["192.0.2.2", "192.0.2.1"]
            await clock.advance(60)
            assert await ips_of(client) == ["192.0.2.2"]
    finally:
        await plane.close()


async def test_closing_waits_for_nothing() -> None:
    plane = EnvoyDataPlane(AdsServer("127.0.0.1:0"), make_resolver=Names().make, clock=VirtualClock())
    await plane.start()
    plane.publish(moving(1, OLD))
    plane.publish(moving(2, NEW))
    await plane.close()


SECURE = Path(__file__).parents[2] / "data" / "tls"
ELSEWHERE = HealthCheck(path="/healthz", interval_s=0.25, timeout_s=0.5)
MOVES = 6
EDGE = "e1"


@asynccontextmanager
async def clients(port: int) -> AsyncIterator[list[int]]:
    """Requests one after the other until the end; yields the statuses of their answers, as they come."""
    statuses: list[int] = []

    async def request_forever() -> None:
        while True:
            statuses.append((await ask(port)).status)
            await asyncio.sleep(0.002)

    task = asyncio.create_task(request_forever())
    try:
        yield statuses
    finally:
        task.cancel()
        await asyncio.wait((task,))


@asynccontextmanager
async def serving_plane() -> AsyncIterator[tuple[EnvoyDataPlane, AdsServer]]:
    """A data plane that knows where localhost is, and trusts the tests' certificate."""
    server = AdsServer("127.0.0.1:0")
    options = EdgeOptions(ca_file=str(SECURE / "cert.pem"))
    plane = EnvoyDataPlane(server, Translator(options), Names(localhost="127.0.0.1").make)
    await plane.start()
    try:
        yield plane, server
    finally:
        await plane.close()


def homes(other: str, here: TestRegion, there: TestRegion) -> list[tuple[str, HealthCheck]]:
    """Two places of a region, and how it is checked there."""
    path, elsewhere = replace(ELSEWHERE, path="/other"), replace(ELSEWHERE, url=f"{here.url}/healthz")
    second = {
        "tls": (f"https://localhost:{there.port}", ELSEWHERE),
        "path": (there.url, path),
        "unchecked": (there.url, elsewhere),
    }
    return [(here.url, ELSEWHERE), second[other]]


@pytest.mark.slow
@pytest.mark.parametrize("other", ["tls", "path", "unchecked"])
async def test_an_envoy_loses_nothing_when_how_a_region_is_spoken_to_changes_too(tmp_path: Path, other: str) -> None:
    """One region, there and back: to TLS at another port, to another path of its check, to no check at all."""
    port = free_port()

    def told(generation: int, url: str, check: HealthCheck) -> TrafficPlan:
        edge = plan(
            service(kind([target("a", url, check=check)])), edge=replace(SPEC, edge_id=EDGE, listen=f"127.0.0.1:{port}")
        )
        where = Whereabouts(url, UpstreamProtocol.HTTP1, check)
        return TrafficPlan(1, generation, {EDGE: edge}, {"a": where})

    async with regions(["here", "there"]) as found, serving_plane() as (plane, server):
        if other == "tls":
            await found["there"].lose()
            found["there"].tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            found["there"].tls.load_cert_chain(SECURE / "cert.pem", SECURE / "key.pem")
            await found["there"].start()
        places = homes(other, found["here"], found["there"])
        asks = bootstrap([server.address], delta=True)
        async with envoy(asks, tmp_path):
            plane.publish(told(1, *places[0]))
            await eventually(lambda: answers(port), 200)
            async with clients(port) as statuses:
                for generation in range(2, MOVES + 2):
                    plane.publish(told(generation, *places[(generation + 1) % 2]))
                    await eventually(lambda: acknowledged(plane), generation)
                    await asyncio.sleep(0.5)
        asked = [len(region.asked) for region in found.values()]
    assert set(statuses) == {200}
    assert min(asked) > 10


async def acknowledged(plane: EnvoyDataPlane) -> int | None:
    """The newest plan that the edge has taken over."""
    return plane.states()[EDGE].acknowledged


async def answers(port: int) -> int:
    """The status of one answer, 0 when nobody listens yet."""
    try:
        return (await ask(port)).status
    except OSError:
        return 0
