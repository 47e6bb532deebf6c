"""What a probe asks, and what it makes of an answer, against real servers on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from types import MappingProxyType

import pytest
from aiohttp import web

from mahavishnu.integrations.multi_region.adapters.probes import HttpProbe, ProbeByKind, ProbeLimits, TcpProbe
from mahavishnu.integrations.multi_region.adapters.probes.http import USER_AGENT
from mahavishnu.integrations.multi_region.core.model import ProbeKind
from mahavishnu.integrations.multi_region.ports.probe import Probe, ProbeResult, ScriptedProbe
from mahavishnu.integrations.multi_region.testing.probe_contract import check_probe
from tests.adapters.probing import PATIENT, answers, dead_port, hangs, http_server, raw_server, says


@pytest.fixture
async def probe() -> AsyncIterator[ProbeByKind]:
    asker = ProbeByKind()
    yield asker
    await asker.close()


# --- the contract ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(ProbeKind))
async def test_real_probes_keep_the_contract(kind: ProbeKind) -> None:
    with dead_port() as gone:
        async with http_server(says()) as up:
            check = replace(PATIENT, kind=kind)
            await check_probe(ProbeByKind(), up=up, gone=f"http://127.0.0.1:{gone}", check=check)


async def test_the_reference_keeps_the_contract() -> None:
    probe = ScriptedProbe({"up": lambda: ProbeResult(True, 1.0)})
    await check_probe(probe, up="up", gone="gone", check=PATIENT)


# --- answers ---------------------------------------------------------------------------------------


async def test_a_good_answer_passes_with_its_latency(probe: Probe) -> None:
    async with http_server(says()) as url:
        result = await probe.ask(url, PATIENT)
    assert (result.ok, result.reason, result.shedding, result.load) == (True, "", False, None)
    assert result.latency_ms > 0


@pytest.mark.parametrize("status", [404, 500, 503])
async def test_a_status_outside_the_ranges_fails(probe: Probe, status: int) -> None:
    async with http_server(says(status=status)) as url:
        result = await probe.ask(url, PATIENT)
    assert (result.ok, result.reason, result.shedding) == (False, f"status {status}", False)


@pytest.mark.parametrize(("status", "ok"), [(199 + 1, False), (418, True), (420, True), (421, False)])
async def test_the_ranges_include_both_ends(probe: Probe, status: int, ok: bool) -> None:
    async with http_server(says(status=status)) as url:
        result = await probe.ask(url, replace(PATIENT, statuses=((418, 420),)))
    assert result.ok is ok


async def test_too_many_requests_is_shedding_whatever_the_ranges_say(probe: Probe) -> None:
    async with http_server(says(status=429)) as url:
        result = await probe.ask(url, replace(PATIENT, statuses=((200, 499),)))
    assert (result.ok, result.shedding, result.reason) == (False, True, "status 429: the region sheds load")


@pytest.mark.parametrize(("text", "reason"), [("all is wéll", ""), ("all is lost", "body lacks 'wéll'")])
async def test_the_body_must_hold_the_text(probe: Probe, text: str, reason: str) -> None:
    async with http_server(says(text=text)) as url:
        result = await probe.ask(url, replace(PATIENT, body_contains="wéll"))
    assert (result.ok, result.reason) == (not reason, reason)


async def test_a_huge_body_is_read_only_as_far_as_the_limit(probe: Probe) -> None:
    sent = 0
    hung_up = asyncio.Event()

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 65_536)
                await writer.drain()
                sent += 65_536
        finally:
            hung_up.set()

    async with raw_server(endless) as port:
        result = await probe.ask(f"http://127.0.0.1:{port}", replace(PATIENT, body_contains="y"))
        await asyncio.wait_for(hung_up.wait(), 20)
    assert result.reason == "body lacks 'y'"
    assert sent < 50_000_000  # what buffers on the way may hold, far from the whole


async def test_text_beyond_the_limit_does_not_count() -> None:
    probe = HttpProbe(ProbeLimits(body_bytes=10))
    async with http_server(says(text="0123456789ready")) as url:
        early = await probe.ask(url, replace(PATIENT, body_contains="789"))
        late = await probe.ask(url, replace(PATIENT, body_contains="9ready"))
        await probe.close()
    assert (early.ok, late.reason) == (True, "body lacks '9ready'")


@pytest.mark.parametrize(
    ("header", "load", "utilization"),
    [
        ('JSON {"rps_fractional": 42.5, "application_utilization": 0.6}', 42.5, 0.6),
        ('JSON {"rpsFractional": 7}', 7.0, None),
        ("TEXT rps_fractional=42.5, application_utilization=0.6", 42.5, 0.6),
        ("TEXT cpu_utilization=0.3,rps_fractional=1e3", 1000.0, None),
        ("TEXT rps_fractional=nan, application_utilization=-1", None, None),
        ("TEXT rps_fractional=2e12, application_utilization=0.5", None, 0.5),
        ('JSON {"rps_fractional": 1e12, "application_utilization": 1e300}', 1e12, None),
        ('JSON {"rps_fractional": true, "application_utilization": [1]}', None, None),
        ('JSON {"rps_fractional": 1' + "0" * 400 + "}", None, None),
        ("JSON " + "[" * 5000, None, None),
        ("JSON [1]", None, None),
        ("JSON {", None, None),
        ("BIN CgkBAAAA", None, None),
        ("TEXT", None, None),
        ("", None, None),
    ],
)
async def test_the_reported_load_is_read_and_garbage_is_not(
    probe: Probe, header: str, load: float | None, utilization: float | None
) -> None:
    async with http_server(says(endpoint_load_metrics=header)) as url:
        result = await probe.ask(url, PATIENT)
    assert (result.ok, result.load, result.utilization) == (True, load, utilization)


async def test_a_failing_region_may_still_report_its_load(probe: Probe) -> None:
    async with http_server(says(status=429, endpoint_load_metrics="TEXT rps_fractional=900")) as url:
        assert (await probe.ask(url, PATIENT)).load == 900.0


# --- the question ----------------------------------------------------------------------------------


async def test_path_headers_and_name_are_sent_as_the_check_says(probe: Probe) -> None:
    seen: list[tuple[str, str, dict[str, str]]] = []

    async def note(request: web.Request) -> web.Response:
        seen.append((request.method, request.path_qs, {k.lower(): v for k, v in request.headers.items()}))
        return web.Response()

    headers = MappingProxyType({"X-Probe": "1", "host": "api.example.test"})
    async with http_server(note) as url:
        await probe.ask(f"{url}/base/", replace(PATIENT, path="/up?deep=1", headers=headers))
        await probe.ask(url, replace(PATIENT, headers=MappingProxyType({"user-agent": "mine"})))
    (method, path, first), (_, _, second) = seen
    assert (method, path) == ("GET", "/base/up?deep=1")
    assert (first["x-probe"], first["host"], first["user-agent"]) == ("1", "api.example.test", USER_AGENT)
    assert second["user-agent"] == "mine"


async def test_a_region_is_asked_as_a_stranger_each_time_and_for_a_body_as_it_is() -> None:
    seen: list[tuple[str | None, str | None]] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append((request.headers.get("Cookie"), request.headers.get("Accept-Encoding")))
        return web.Response(headers={"Set-Cookie": "session=1; Path=/"})

    probe = ProbeByKind(lookup=answers(["127.0.0.1"]))  # a name, since no jar keeps cookies of an address
    async with http_server(handle) as url:
        named = url.replace("127.0.0.1", "region.example.test")
        results = [await probe.ask(named, PATIENT) for _ in range(2)]
        await probe.close()
    assert [result.ok for result in results] == [True, True]
    assert seen == [(None, "identity")] * 2


async def test_a_check_with_its_own_url_leaves_the_endpoint_alone(probe: Probe) -> None:
    with dead_port() as gone:
        async with http_server(says()) as url:
            result = await probe.ask(f"http://127.0.0.1:{gone}", replace(PATIENT, url=f"{url}/status"))
    assert result.ok


async def test_connections_are_kept_between_questions(probe: Probe) -> None:
    peers = set()

    async def note(request: web.Request) -> web.Response:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return web.Response(text="ok")

    async with http_server(note) as url:
        for _ in range(5):
            assert (await probe.ask(url, PATIENT)).ok
    assert len(peers) == 1


async def test_a_kept_connection_that_the_region_closed_is_replaced(probe: Probe) -> None:
    connections = 0

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()

    async with raw_server(once) as port:
        results = [await probe.ask(f"http://127.0.0.1:{port}", PATIENT) for _ in range(5)]
    assert [result.reason for result in results] == [""] * 5
    assert connections == 5


# --- TCP -------------------------------------------------------------------------------------------


async def test_an_open_port_passes_though_nobody_speaks() -> None:
    async with raw_server(hangs) as port:
        for endpoint in (f"tcp://127.0.0.1:{port}", f"http://127.0.0.1:{port}", f"https://127.0.0.1:{port}/x"):
            probe = TcpProbe()
            result = await probe.ask(endpoint, PATIENT)
            await probe.close()
            assert (result.ok, result.reason) == (True, ""), endpoint
            assert result.latency_ms > 0


async def test_the_next_address_is_tried_when_one_refuses() -> None:
    """Only 127.0.0.1 listens; a connection to 127.0.0.2 on the same port is refused."""
    probe = ProbeByKind(lookup=answers(["127.0.0.2", "127.0.0.1"]))
    async with raw_server(hangs) as port:
        result = await probe.ask(f"tcp://region.example.test:{port}", replace(PATIENT, kind=ProbeKind.TCP))
        await probe.close()
    assert (result.ok, result.reason) == (True, "")


async def test_a_tcp_endpoint_needs_a_port(probe: Probe) -> None:
    result = await probe.ask("tcp://127.0.0.1", replace(PATIENT, kind=ProbeKind.TCP))
    assert result.reason.startswith("cannot be asked: "), result.reason
    assert "tcp://host:port" in result.reason


async def test_a_tcp_check_with_its_own_url_leaves_the_endpoint_alone(probe: Probe) -> None:
    async with raw_server(hangs) as port:
        check = replace(PATIENT, kind=ProbeKind.TCP, url=f"tcp://127.0.0.1:{port}")
        assert (await probe.ask("http://region.example.test", check)).ok
