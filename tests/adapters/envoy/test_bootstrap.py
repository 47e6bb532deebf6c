"""What an Envoy is started with: whom it asks, with which certificates, and what it does while nobody answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.bootstrap import (
    EdgeTls,
    bootstrap_document,
    secret_documents,
)
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.parts import EdgeOptions
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.resources import Snapshot
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.server import AdsServer
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.tls import ServerTls
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.translate import Translator
from mahavishnu.integrations.multi_region.core.edges import ClientPlace, Network
from mahavishnu.integrations.multi_region.core.model import HealthCheck, Point, ProbeKind, UpstreamProtocol
from mahavishnu.integrations.multi_region.core.routes import RouteClass
from mahavishnu.integrations.multi_region.core.traffic import Area
from mahavishnu.integrations.multi_region.errors import InvalidInputError
from mahavishnu.integrations.multi_region.ports.dataplane import Connected, EdgeEvent, LoadReport
from tests.adapters.mmdb_writer import write_mmdb

from .edge import free_port, run_envoy, static_bootstrap, validate
from .plans import SPEC, kind, plan, service, target
from .regions import ask, regions
from .tls_files import make_authority, make_certificate

REGION = "x-multi-region-region"
CA = str(Path(__file__).parents[2] / "data" / "tls" / "cert.pem")


def test_controllers_are_asked_first_and_the_agent_when_none_answers() -> None:
    made = bootstrap_document(
        "edge-eu", [("192.0.2.1", 1), ("192.0.2.2", 2)], admin_socket="/run/a", fallback_socket="/run/x"
    )
    (xds,) = made["static_resources"]["clusters"]
    assert made["node"] == {"id": "edge-eu", "cluster": "multi-region"}
    assert xds["type"] == "STATIC"
    tiers = [(tier["priority"], len(tier["lb_endpoints"])) for tier in xds["load_assignment"]["endpoints"]]
    assert tiers == [(0, 1), (1, 1), (2, 1)]


def test_names_of_controllers_are_looked_up() -> None:
    made = bootstrap_document("edge-eu", [("controller.test", 1)], admin_socket="/run/a")
    assert made["static_resources"]["clusters"][0]["type"] == "STRICT_DNS"


def test_an_edge_needs_a_name_and_somebody_to_ask() -> None:
    with pytest.raises(InvalidInputError, match="edge_id"):
        bootstrap_document("", [("192.0.2.1", 1)], admin_socket="/run/a")
    with pytest.raises(InvalidInputError, match="controllers"):
        bootstrap_document("edge-eu", [], admin_socket="/run/a")


# --- a real Envoy -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("place", ClientPlace)
def test_envoy_takes_all_that_a_plan_can_hold(place: ClientPlace, tmp_path: Path) -> None:
    database = write_mmdb(tmp_path / "geo.mmdb", {"203.0.113.0/24": {"country": {"iso_code": "DE"}}})
    options = EdgeOptions(str(database), ca_file=CA, access_log=True)
    networks = (Network("an office", ("192.0.2.0/24", "2001:db8::/32"), Point(0, 0)),)
    scattered = "BDFHJLNPRTVXZ"  # neighbours would share an instruction of the pattern
    countries = tuple(first + second for first in scattered for second in scattered)
    areas = (Area("wide", countries=countries), Area("office", network="an office"), Area(""))
    check = HealthCheck(headers={"x-probe": "1"}, body_contains="fine", path="/ready?deep=1")
    tiers = [
        [target("a", check=check, protocol=UpstreamProtocol.HTTP2, rtt_ms=400)],
        [target("b", "https://b.test", protocol=UpstreamProtocol.HTTP2)],
        [target("c", "https://b.test", check=HealthCheck(verify_tls=False), protocol=UpstreamProtocol.HTTP2)],
    ]
    routes = (
        RouteClass("/s", timeout_s=0),
        RouteClass("/q", 5.0, 0.3, True, 3),
        RouteClass("/l", timeout_s=900.0),
        RouteClass(),
    )
    statements = [(), ("gdpr",), ("ccpa", "fedramp", "gdpr", "hipaa", "iso27001", "pci_dss", "soc2")]
    kinds = [kind(*tiers, asks=asks, area=area) for asks in statements for area in ("", "wide", "office")]
    kinds.append(kind([], asks=("hipaa",), exhausted="nobody may"))
    tcp = kind([target("t", check=HealthCheck(kind=ProbeKind.TCP))], service="tcp ~@%")
    told = plan(
        service(*kinds, routes=routes, hosts=("api.test", "*.api.test")),
        service(tcp),
        edge=replace(SPEC, client_place=place, networks=networks, trusted_hops=2),
        areas=areas,
    )
    snapshot, problems = Translator(options).snapshot(told, 1, {"b.test": ("192.0.2.1", "2001:db8::1")})
    assert problems == ()
    assert validate(static_bootstrap(snapshot, str(tmp_path / "admin.sock")), tmp_path) == ""


@pytest.mark.slow
def test_envoy_takes_every_kind_of_bootstrap(tmp_path: Path) -> None:
    tls = _edge_tls(tmp_path)
    here, away = ("127.0.0.1", 18000), ("localhost", 18000)
    kinds: list[dict[str, Any]] = [
        {"controllers": [here]},
        {"controllers": [here, away], "fallback_socket": str(tmp_path / "x.sock")},
        {"controllers": [], "fallback_socket": str(tmp_path / "x.sock")},
        {"controllers": [here], "fallback_socket": str(tmp_path / "x.sock"), "tls": tls},
        {"controllers": [here], "ejection_log": str(tmp_path / "ejected.log")},
    ]
    for each in kinds:
        made = bootstrap_document("edge-eu", admin_socket=str(tmp_path / "a.sock"), **each)
        assert validate(made, tmp_path) == "", each


def _edge_tls(folder: Path) -> EdgeTls:
    ca = make_authority(folder)
    certificate, key = make_certificate(folder, "edge-eu", alt="DNS:edge-eu")
    tls = EdgeTls(str(certificate), str(key), str(ca), "controller.test", str(folder))
    for name, document in secret_documents(tls).items():
        (folder / name).write_text(json.dumps(document))
    return tls


@asynccontextmanager
async def controller(
    listen: str, snapshot: Snapshot, tls: ServerTls | None = None
) -> AsyncIterator[tuple[AdsServer, tuple[str, int]]]:
    """A server for edges that has this for ``edge-eu``; also its address."""
    server = AdsServer(listen, tls)
    await server.start()
    try:
        server.publish({"edge-eu": snapshot}, {})
        host, _, port = server.address.rpartition(":")
        yield server, (host, int(port) if port.isdecimal() else 0)
    finally:
        await server.stop()


async def served_by(port: int, region: str) -> None:
    """Wait until the edge sends a request there."""
    async with asyncio.timeout(60):
        while True:
            try:
                if (await ask(port)).value(REGION) == region:
                    return
            except OSError:
                pass  # it does not listen yet
            await asyncio.sleep(0.05)


def _told(region: str, url: str, port: int) -> Snapshot:
    edge = replace(SPEC, listen=f"127.0.0.1:{port}")
    return Translator().snapshot(plan(service(kind([target(region, url)])), edge=edge), 1, {})[0]


def _names(document: Mapping[str, Any]) -> list[str]:
    return [part["@type"].rpartition(".")[2] for part in document["configs"]]


@pytest.mark.slow
async def test_an_edge_and_a_controller_know_each_other_by_certificate(tmp_path: Path) -> None:
    tls = _edge_tls(tmp_path)
    certificate, key = make_certificate(tmp_path, "controller", alt="DNS:controller.test")
    server_tls = ServerTls(certificate, key, Path(tls.ca))
    port = free_port()
    async with regions(["a"]) as found:
        snapshot = _told("a", found["a"].url, port)
        async with controller("127.0.0.1:0", snapshot, server_tls) as (server, address):
            made = bootstrap_document("edge-eu", [address], admin_socket=str(tmp_path / "admin.sock"), tls=tls)
            async with run_envoy(made, tmp_path) as (admin, _):
                await served_by(port, "a")
                assert "SecretsConfigDump" in _names(await admin.config())
            assert server.states()["edge-eu"].acknowledged == 1


@pytest.mark.slow
async def test_an_edge_starts_on_what_its_agent_kept_and_goes_on_with_the_controllers(tmp_path: Path) -> None:
    port, later = free_port(), free_port()
    own = tmp_path / "x.sock"
    async with regions(["kept", "new"]) as found:
        kept, new = (_told(name, found[name].url, port) for name in ("kept", "new"))
        made = bootstrap_document(
            "edge-eu", [("127.0.0.1", later)], admin_socket=str(tmp_path / "admin.sock"), fallback_socket=str(own)
        )
        async with controller(f"unix:{own}", kept) as (relay, _), run_envoy(made, tmp_path):
            await served_by(port, "kept")
            async with controller(f"127.0.0.1:{later}", new):
                await relay.stop()
                await served_by(port, "new")


@pytest.mark.slow
async def test_plans_and_load_reports_go_over_the_same_controller_and_move_to_the_next_together(tmp_path: Path) -> None:
    port, heard = free_port(), dict[str, list[EdgeEvent]]()
    async with regions(["a"]) as found, AsyncExitStack() as stack:
        servers = {}
        for name in ("first", "second"):
            opened = controller("127.0.0.1:0", _told("a", found["a"].url, port))
            servers[name] = await stack.enter_async_context(opened)
            servers[name][0].subscribe(heard.setdefault(name, []).append)
        addresses = [address for _, address in servers.values()]
        made = bootstrap_document("edge-eu", addresses, admin_socket=str(tmp_path / "admin.sock"))
        async with run_envoy(made, tmp_path):
            for name in ("first", "second"):
                await _reports(port, heard[name])
                assert [other for other, events in heard.items() if events] == [name]
                assert Connected("edge-eu", True) in heard[name]
                await servers[name][0].stop()
                heard[name].clear()


@pytest.mark.slow
async def test_a_controller_that_takes_connections_and_never_answers_is_passed_over(tmp_path: Path) -> None:
    port, taken = free_port(), list[asyncio.StreamWriter]()
    hung = await asyncio.start_server(lambda _, writer: taken.append(writer), "127.0.0.1", 0)
    silent = ("127.0.0.1", int(hung.sockets[0].getsockname()[1]))
    try:
        async with regions(["a"]) as found, controller("127.0.0.1:0", _told("a", found["a"].url, port)) as (_, address):
            made = bootstrap_document("edge-eu", [silent, address], admin_socket=str(tmp_path / "admin.sock"))
            async with run_envoy(made, tmp_path):
                await served_by(port, "a")
        assert taken
    finally:
        hung.close()
        for writer in taken:
            writer.close()


async def _reports(port: int, events: list[EdgeEvent]) -> None:
    """Ask the edge until it reports what it was asked."""
    async with asyncio.timeout(60):
        while not any(isinstance(event, LoadReport) and event.loads for event in events):
            with suppress(OSError):
                await ask(port)
            await asyncio.sleep(0.05)
