"""How a real Envoy talks to regions: TLS where they speak it, and HTTP/2 that notices a silent peer by itself."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.parts import EdgeOptions
from mahavishnu.integrations.multi_region.core.model import HealthCheck, UpstreamProtocol
from mahavishnu.integrations.multi_region.core.routes import RouteClass

from .edge import free_port, run_envoy, static_edge
from .plans import kind, plan, service, target
from .regions import ask, regions

pytestmark = pytest.mark.slow

TLS = Path(__file__).parents[2] / "data" / "tls"
OPTIONS = EdgeOptions(ca_file=str(TLS / "cert.pem"))
REGION = "x-multi-region-region"


def _server_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "cert.pem", TLS / "key.pem")
    return context


async def test_regions_with_and_without_tls_share_a_class(tmp_path: Path) -> None:
    async with regions(["safe", "plain"]) as found:
        found["safe"].tls = _server_tls()
        await found["safe"].lose()
        await found["safe"].start()
        tier = [target("safe", f"https://localhost:{found['safe'].port}"), target("plain", found["plain"].url)]
        known = {"localhost": ("127.0.0.1",)}
        async with static_edge(plan(service(kind(tier))), tmp_path, options=OPTIONS, addresses=known) as (port, _):
            answers = [await ask(port) for _ in range(8)]
    assert {answer.value(REGION) for answer in answers} == {"safe", "plain"}
    assert {answer.status for answer in answers} == {200}
    for name, host in (("safe", "localhost"), ("plain", "127.0.0.1")):  # checks name the host as the owner does
        assert {tuple(asked.values("host")) for asked in found[name].checks} == {(f"{host}:{found[name].port}",)}
        assert {tuple(asked.values("host")) for asked in found[name].asked} == {("api.test",)}


async def test_checks_carry_the_headers_of_their_owner(tmp_path: Path) -> None:
    check = HealthCheck(headers={"Host": "inside.test", "X-Share": "100%"})
    async with regions(["a"]) as found:
        told = plan(service(kind([target("a", found["a"].url, check=check)])))
        async with static_edge(told, tmp_path) as (port, _):
            assert (await ask(port)).status == 200
    said = {(*asked.values("host"), *asked.values("x-share")) for asked in found["a"].checks}
    assert said == {("inside.test", "100%")}


async def test_a_certificate_for_another_name_is_refused_unless_the_owner_said_so(tmp_path: Path) -> None:
    known = {"other.test": ("127.0.0.1",), "unchecked.test": ("127.0.0.1",)}
    async with regions(["safe"]) as found:
        found["safe"].tls = _server_tls()
        await found["safe"].lose()
        await found["safe"].start()
        port_of = found["safe"].port
        strict = kind([target("a", f"https://other.test:{port_of}")])
        lax = kind(
            [target("b", f"https://unchecked.test:{port_of}", check=HealthCheck(verify_tls=False))], service="lax"
        )
        told = plan(service(strict, hosts=("api.test",)), service(lax, hosts=("*",)))
        async with static_edge(told, tmp_path, options=OPTIONS, addresses=known) as (port, _):
            refused = await ask(port)
            assert not found["safe"].asked
        async with static_edge(plan(service(lax)), tmp_path, options=OPTIONS, addresses=known) as (port, _):
            served = await ask(port)
    assert (refused.status, refused.value("x-multi-region-reason")) == (503, "no healthy region")
    assert (served.status, served.value(REGION)) == (200, "b")


@asynccontextmanager
async def http2_region(folder: Path, name: str) -> AsyncIterator[tuple[str, int]]:
    """A region that speaks HTTP/2 only: its URL and its process."""
    folder.mkdir()
    port = free_port()
    kind_of = "type.googleapis.com/envoy.extensions.filters."
    answer = {"prefix": "/"}, {"status": 200, "body": {"inline_string": name}}
    manager: dict[str, Any] = {
        "@type": kind_of + "network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "codec_type": "HTTP2",
        "route_config": {
            "virtual_hosts": [
                {"name": name, "domains": ["*"], "routes": [{"match": answer[0], "direct_response": answer[1]}]}
            ]
        },
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": kind_of + "http.router.v3.Router"}}
        ],
    }
    listener = {
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    admin = {"address": {"pipe": {"path": str(folder / "admin.sock")}}}
    bootstrap = {"admin": admin, "static_resources": {"listeners": [listener]}}
    async with run_envoy(bootstrap, folder) as (_, pid):
        yield f"http://127.0.0.1:{port}", pid


async def test_a_region_that_falls_silent_fails_no_idempotent_request(tmp_path: Path) -> None:
    """HTTP/2 towards regions, no limit on how long an attempt may take: the connection's own check is enough."""
    unhurried = HealthCheck(interval_s=60.0)
    async with (
        http2_region(tmp_path / "near", "near") as (near, pid),
        http2_region(tmp_path / "far", "far") as (far, _),
    ):
        tiers = [
            [target(name, url, check=unhurried, protocol=UpstreamProtocol.HTTP2)]
            for name, url in (("near", near), ("far", far))
        ]
        told = plan(service(kind(*tiers), routes=(RouteClass(timeout_s=30.0),)))
        async with static_edge(told, tmp_path) as (port, _):
            before = await ask(port)
            os.kill(pid, signal.SIGSTOP)
            try:
                during = await asyncio.gather(*(ask(port) for _ in range(20)))
            finally:
                os.kill(pid, signal.SIGCONT)
    assert (before.status, before.body) == (200, "near")
    assert {(answer.status, answer.body) for answer in during} == {(200, "far")}
