"""A region that does not answer, or answers nonsense, is a result in exact words."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from types import MappingProxyType

import pytest

from mahavishnu.integrations.multi_region.adapters.probes import ProbeByKind
from mahavishnu.integrations.multi_region.core.model import ProbeKind
from mahavishnu.integrations.multi_region.ports.probe import Probe
from tests.adapters.probing import HASTY, PATIENT, Raw, answers, dead_port, hangs, http_server, raw_server, says


@pytest.fixture
async def probe() -> AsyncIterator[ProbeByKind]:
    asker = ProbeByKind()
    yield asker
    await asker.close()


@pytest.mark.parametrize("kind", list(ProbeKind))
async def test_nothing_listens(probe: Probe, kind: ProbeKind) -> None:
    with dead_port() as gone:
        result = await probe.ask(f"http://127.0.0.1:{gone}", replace(PATIENT, kind=kind))
    assert (result.ok, result.reason) == (False, "connection refused")


async def hangs_in_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    await reader.read()


async def hangs_in_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab")
    await reader.read()


@pytest.mark.parametrize("talk", [hangs, hangs_in_headers, hangs_in_body])
async def test_a_region_that_hangs_fails_when_the_time_is_up(probe: Probe, talk: Raw) -> None:
    async with raw_server(talk) as port:
        result = await probe.ask(f"http://127.0.0.1:{port}", HASTY)
    assert (result.ok, result.reason) == (False, "timed out after 200 ms")


async def test_a_tls_handshake_that_hangs_counts_against_the_same_time(probe: Probe) -> None:
    async with raw_server(hangs) as port:
        result = await probe.ask(f"https://127.0.0.1:{port}", HASTY)
    assert result.reason == "timed out after 200 ms"


@pytest.mark.parametrize("kind", list(ProbeKind))
async def test_a_name_lookup_that_hangs_counts_against_the_same_time(kind: ProbeKind) -> None:
    async def never(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    probe = ProbeByKind(lookup=never)
    result = await probe.ask("http://region.example.test", replace(HASTY, kind=kind))
    await probe.close()
    assert result.reason == "timed out after 200 ms"


@pytest.mark.parametrize("kind", list(ProbeKind))
async def test_a_name_that_nobody_knows(kind: ProbeKind) -> None:
    async def unknown(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    for lookup in (unknown, answers([])):
        probe = ProbeByKind(lookup=lookup)
        result = await probe.ask("http://region.example.test", replace(PATIENT, kind=kind))
        await probe.close()
        assert result.reason.startswith("name does not resolve: "), result.reason


async def test_the_systems_names_are_looked_up(probe: Probe) -> None:
    async with http_server(says()) as url:
        port = url.rpartition(":")[2]
        for kind in ProbeKind:
            result = await probe.ask(f"http://localhost:{port}", replace(PATIENT, kind=kind))
            assert result.ok, result.reason


async def talks_something_else(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    await writer.drain()


async def speaks_http2_alone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    settings = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    writer.write(settings)  # a server's first frame, sent before it has read anything
    await writer.drain()
    await reader.readuntil(b"\r\n\r\n")


async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")


async def dies_in_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab")
    await writer.drain()


async def resets_in_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await dies_in_body(reader, writer)
    writer.transport.abort()


async def garbles_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n")
    await writer.drain()


async def floods_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nx: " + b"a" * 1_000_000 + b"\r\n\r\n")
    await writer.drain()


async def garbles_compression(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nabcd")
    await writer.drain()


@pytest.mark.parametrize(
    ("talk", "reasons"),
    [
        (talks_something_else, {"answer is not HTTP/1.1"}),
        (speaks_http2_alone, {"answer is not HTTP/1.1"}),
        (hangs_up, {"connection closed before an answer"}),
        (dies_in_body, {"connection lost within the body"}),
        (resets_in_body, {"connection lost within the body", "connection reset"}),
        (garbles_body, {"answer is not HTTP/1.1", "body is malformed", "connection lost within the body"}),
        (floods_headers, {"answer is not HTTP/1.1"}),
        (garbles_compression, {"body is malformed"}),
    ],
)
async def test_whatever_a_region_says_is_a_result(probe: Probe, talk: Raw, reasons: set[str]) -> None:
    async with raw_server(talk) as port:
        result = await probe.ask(f"http://127.0.0.1:{port}", PATIENT)
    assert not result.ok
    assert result.reason in reasons


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "region.example.test",
        "http://[::1",
        "http://127.0.0.1:99999",
        "tcp://127.0.0.1:1",
        "http://" + "a" * 70 + ".test",
        "http://a..test",
    ],
)
async def test_an_endpoint_that_cannot_be_asked_is_a_result_too(probe: Probe, endpoint: str) -> None:
    result = await probe.ask(endpoint, PATIENT)
    assert not result.ok
    assert result.reason.startswith("cannot be asked: "), result.reason


async def test_a_header_that_would_break_the_request_is_not_sent(probe: Probe) -> None:
    async with http_server(says()) as url:
        result = await probe.ask(url, replace(PATIENT, headers=MappingProxyType({"X": "a\r\nY: b"})))
    assert not result.ok
    assert result.reason.startswith("cannot be asked: "), result.reason


async def test_a_cancelled_question_stays_cancelled(probe: Probe) -> None:
    arrived = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        arrived.set()
        await reader.read()

    async with raw_server(hold) as port:
        question = asyncio.create_task(probe.ask(f"http://127.0.0.1:{port}", PATIENT))
        await asyncio.wait_for(arrived.wait(), 20)
        question.cancel()
        with pytest.raises(asyncio.CancelledError):
            await question
