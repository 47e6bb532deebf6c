"""The protocol that answers the hot path inside uvicorn's parser: every shape in which a request can arrive."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import tomllib
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from mahavishnu.integrations.multi_region.surfaces.http.api import MultiRegionAPI
from mahavishnu.integrations.multi_region.surfaces.http.hot import LARGEST
from mahavishnu.integrations.multi_region.surfaces.http.protocol import HotProtocol, http_protocol
from mahavishnu.integrations.multi_region.surfaces.http.routes import MAX_BODY
from mahavishnu.integrations.multi_region.surfaces.http.server import create_app, protocol_for
from mahavishnu.integrations.multi_region.system import MultiRegionSystem
from tests.surfaces.hot_stage import BODY, Wire, an_api, nothing, post, wire

SYDNEY = b'{"request_context":{"user_location":{"latitude":-33.9,"longitude":151.2}}}'
COLD = b"GET /stats HTTP/1.1\r\nHost: server\r\n\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Wire]:
    """One server for this module."""
    with wire() as running:
        yield running


@pytest.fixture
def hot(server: Wire) -> Iterator[Wire]:
    """The same, to be used by a test whose requests must not come as far as the app."""
    server.seen.paths.clear()
    yield server
    assert server.seen.paths == []


@pytest.fixture
def cold(server: Wire) -> Iterator[Wire]:
    """The same, to be used by a test with a request that is the app's."""
    server.seen.paths.clear()
    yield server
    assert server.seen.paths != []


# --- how it arrives -------------------------------------------------------------------------------


def test_a_request_in_one_packet(hot: Wire) -> None:
    reply = hot.ask(post())
    assert reply.region == "eu-central-1"
    assert reply.headers["content-type"] == "application/json"
    assert "date" in reply.headers
    assert "connection" not in reply.headers


def test_a_request_byte_by_byte(hot: Wire) -> None:
    raw = post()
    assert hot.ask(*(raw[at : at + 1] for at in range(len(raw)))).region == "eu-central-1"


@pytest.mark.parametrize("at", [1, 8, 20, 60, len(post()) - len(BODY), len(post()) - 1])
def test_a_request_in_two_packets(hot: Wire, at: int) -> None:
    assert hot.ask(post()[:at], post()[at:]).region == "eu-central-1"


def test_many_requests_on_one_connection(hot: Wire) -> None:
    with hot.connected() as line:
        for body, expected in [(BODY, "eu-central-1"), (SYDNEY, "ap-southeast-2")] * 20:
            line.send(post(body))
            assert line.reply().region == expected


def test_what_is_wrong_with_a_body_is_answered_and_the_connection_stays(hot: Wire) -> None:
    with hot.connected() as line:
        for body, status in [(b"{", 400), (b"{}", 422), (b"", 400), (BODY, 200)]:
            line.send(post(body))
            assert line.reply().status == status


def test_pipelined_requests_are_answered_in_order(hot: Wire) -> None:
    with hot.connected() as line:
        line.send((post(BODY) + post(SYDNEY) + post(b"{}")) * 50)
        for _ in range(50):
            assert [line.reply().status for _ in range(3)] == [200, 200, 422]


def test_short_and_long_ways_keep_their_order_on_one_connection(cold: Wire) -> None:
    with cold.connected() as line:
        line.send((post(BODY) + COLD + post(SYDNEY) + COLD + COLD + post(BODY)) * 10)
        for _ in range(10):
            replies = [line.reply() for _ in range(6)]
            assert [sorted(reply.json)[0] for reply in replies] == [
                *("endpoint", "failover"),
                *("endpoint", "failover"),
                *("failover", "endpoint"),
            ]
            assert [replies[at].region for at in (0, 2, 5)] == ["eu-central-1", "ap-southeast-2", "eu-central-1"]


def test_after_a_long_way_the_next_request_is_short_again(server: Wire) -> None:
    server.seen.paths.clear()
    with server.connected() as line:
        for raw in (post(), COLD, post()):
            line.send(raw)
            assert line.reply().status == 200
    assert server.seen.paths == ["/stats"]


# --- what is left to uvicorn ----------------------------------------------------------------------


def _chunked(body: bytes) -> bytes:
    head = b"POST /route HTTP/1.1\r\nHost: s\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"


def test_a_chunked_body(cold: Wire) -> None:
    assert cold.ask(_chunked(BODY)).region == "eu-central-1"


def test_a_chunked_body_beyond_the_limit(cold: Wire) -> None:
    head = b"POST /route HTTP/1.1\r\nHost: s\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    assert cold.ask(head + piece * (MAX_BODY // 0x10000 + 1)).status == 413


@pytest.mark.parametrize("accelerated", [False, True])
def test_a_length_that_chunks_belie_leads_past_no_limit(accelerated: bool) -> None:
    def made(api: MultiRegionAPI) -> ASGIApp:
        app = FastAPI()
        api.register_routes(app)
        return api.accelerate(app) if accelerated else app

    head = b"POST /route HTTP/1.1\r\nHost: s\r\nContent-Type: application/json\r\nContent-Length: 5\r\n"
    piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    with wire(made, http="h11") as server:  # which goes by the chunks, where others refuse both headers together
        raw = head + b"Transfer-Encoding: chunked\r\n\r\n" + piece * (MAX_BODY // 0x10000 + 1)
        assert server.ask(raw).status == 413


def test_a_client_that_waits_to_be_asked_for_the_body(cold: Wire) -> None:
    raw = post(BODY, b"Expect: 100-continue")
    with cold.connected() as line:
        line.send(raw.removesuffix(BODY))
        assert line.reply().status == 100
        line.send(BODY)
        assert line.reply().region == "eu-central-1"


def test_http_1_0_is_answered_and_closed(cold: Wire) -> None:
    for headers in ((), (b"Connection: keep-alive",)):
        with cold.connected() as line:
            line.send(post(BODY, *headers, version=b"1.0"))
            reply = line.reply()
            assert (reply.region, reply.headers["connection"], line.closed()) == ("eu-central-1", "close", True)


def test_a_client_that_wants_the_connection_closed(cold: Wire) -> None:
    with cold.connected() as line:
        line.send(post(BODY, b"Connection: close"))
        reply = line.reply()
        assert (reply.region, reply.headers["connection"], line.closed()) == ("eu-central-1", "close", True)


@pytest.mark.parametrize(("size", "status"), [(LARGEST + 1, 200), (MAX_BODY, 200), (MAX_BODY + 1, 413)])
def test_a_large_body(cold: Wire, size: int, status: int) -> None:
    assert cold.ask(post(BODY.ljust(size))).status == status


def test_a_body_that_is_said_to_be_too_large_is_not_waited_for(cold: Wire) -> None:
    with cold.connected() as line:
        line.send(post(BODY).replace(b"Content-Length: %d" % len(BODY), b"Content-Length: 99999999"))
        reply = line.reply()
        assert (reply.status, reply.headers["connection"], line.closed()) == (413, "close", True)


def test_the_largest_body_of_the_short_way(hot: Wire) -> None:
    assert hot.ask(post(BODY.ljust(LARGEST))).status == 200


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (post(path=b"/route?x=1"), 200),
        (post(path=b"/ro%75te"), 200),
        (post(path=b"http://server/route"), 200),
        (post(path=b"/route/"), 307),
        (post(path=b"/Route"), 404),
        (post().replace(b"POST", b"GET", 1), 405),
        (post().replace(b"POST", b"PUT", 1), 405),
        (b"OPTIONS /route HTTP/1.1\r\nHost: s\r\n\r\n", 405),
        (b"POST /route HTTP/1.1\r\nHost: s\r\nContent-Type: application/json\r\n\r\n", 400),
    ],
)
def test_other_paths_and_methods(cold: Wire, raw: bytes, status: int) -> None:
    assert cold.ask(raw).status == status


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"POST /route\r\n\r\n",
        b"POST /route HTTP/9.9\r\n\r\n",
        post().replace(b"Content-Length: ", b"Content-Length: -"),
        post().replace(b"Content-Length: ", b"Content-Length: 1\r\nContent-Length: "),
        post(BODY, b"Transfer-Encoding: chunked"),
        post(BODY, b"bad header: x"),
    ],
)
def test_what_is_not_http_is_refused_and_closed(server: Wire, raw: bytes) -> None:
    with server.connected() as line:
        line.send(raw)
        assert (line.reply().status, line.closed()) == (400, True)
    assert server.ask(post()).region == "eu-central-1"


def test_garbage_after_a_good_request(server: Wire) -> None:
    with server.connected() as line:
        line.send(post() + b"\x00garbage\r\n\r\n")
        assert line.reply().region == "eu-central-1"
        assert (line.reply().status, line.closed()) == (400, True)


# --- clients that behave oddly --------------------------------------------------------------------


def test_a_client_that_says_no_more_is_still_answered(hot: Wire) -> None:
    with hot.connected() as line:
        line.send(post() + post(SYDNEY))
        line.sock.shutdown(1)
        assert [line.reply().region for _ in range(2)] == ["eu-central-1", "ap-southeast-2"]
        assert line.closed()


@pytest.mark.parametrize("at", [10, len(post()) - 1])
def test_a_client_that_hangs_up_in_the_middle_harms_nobody(hot: Wire, at: int) -> None:
    for _ in range(20):
        with hot.connected() as line:
            line.send(post()[:at])
    assert hot.ask(post()).region == "eu-central-1"


def test_a_client_that_does_not_read_is_not_answered_from_memory_without_end(cold: Wire) -> None:
    many = 40_000
    with cold.connected(receive_buffer=4096) as line:
        sending = Thread(target=line.send, args=(post() * many,))
        sending.start()
        while sending.is_alive() and not cold.seen.paths:  # until buffers are full: then it waits, as uvicorn does
            sending.join(0.01)
        assert all(line.reply().region == "eu-central-1" for _ in range(many))
        sending.join()
    assert len(cold.seen.paths) < many


# --- other ways in --------------------------------------------------------------------------------


class _Taker(asyncio.Protocol):
    """A protocol for websockets that only says what it was handed."""

    def __init__(self, **_: Any) -> None:
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(b"handed over: " + data.partition(b"\r\n")[0] + b"\r\n")


UPGRADE = (b"Connection: Upgrade", b"Upgrade: websocket")


def test_a_websocket_is_handed_over_as_ever() -> None:
    with wire(ws=_Taker) as server, server.connected() as line:
        line.send(post())
        assert line.reply().region == "eu-central-1"
        line.send(post(b"", *UPGRADE).replace(b"POST /route", b"GET /echo"))
        assert line.file.readline() == b"handed over: GET /echo HTTP/1.1\r\n"


@pytest.mark.parametrize("body", [b"", BODY])
def test_an_upgrade_that_nobody_offers_is_answered_as_uvicorn_answers_it(body: bytes) -> None:
    raw = post(body, *UPGRADE)
    with wire(ws="none") as ours, wire(ws="none", http="httptools") as plain:
        assert ours.ask(raw).json == plain.ask(raw).json
        assert ours.seen.paths == plain.seen.paths == ["/route"]


@pytest.mark.parametrize(
    "config", [{"limit_concurrency": 100}, {"root_path": "/api"}, {"access_log": True, "log_level": "info"}]
)
def test_what_uvicorn_must_see_it_sees(config: dict[str, Any]) -> None:
    with wire(**config) as server:
        assert server.ask(post()).status == 200
        assert server.seen.paths[0].endswith("/route")


def test_an_app_with_dependencies_keeps_its_requests() -> None:
    def closed(api: MultiRegionAPI) -> FastAPI:
        from fastapi import Depends

        app = FastAPI(dependencies=[Depends(nothing)])
        api.register_routes(app)
        return app

    with wire(closed) as server:
        assert server.ask(post()).region == "eu-central-1"
        assert server.seen.paths == ["/route"]


def test_our_own_failure_is_the_apps_to_answer() -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError

    with wire() as server:
        server.api.router.route = server.api.router.route_place = fails  # type: ignore[assignment,method-assign]
        with server.connected() as line:
            line.send(post())
            assert line.reply().status == 500
        assert server.seen.paths == ["/route"]


def test_on_our_own_server_a_parameter_that_nobody_asked_for_is_refused() -> None:
    def own(api: MultiRegionAPI) -> FastAPI:
        return create_app(MultiRegionSystem(api.region_manager, api.router, api.failure_handler), tokens=None)

    with wire(own) as server:
        assert server.ask(post()).region == "eu-central-1"
        assert server.seen.paths == []
        assert server.ask(post(path=b"/route?x=1")).json["errors"][0]["field"] == "query.x"
        assert server.ask(b"DELETE /route HTTP/1.1\r\nHost: s\r\n\r\n").headers["allow"] == "POST"


def test_our_own_server_speaks_by_it() -> None:
    app = FastAPI()
    assert issubclass(protocol_for(app), HotProtocol)  # type: ignore[arg-type]  # "auto" would be no class


# --- living and ending ----------------------------------------------------------------------------


def test_an_idle_connection_is_closed() -> None:
    with wire(timeout_keep_alive=1) as server, server.connected() as line:
        line.send(post())
        assert line.reply().region == "eu-central-1"
        assert line.closed()


def test_a_server_that_stops_answers_what_has_begun() -> None:
    with wire() as server, server.connected() as line, server.connected() as idle:
        idle.send(post())
        assert idle.reply().status == 200
        line.send(post()[:-5])
        _until_under_way(server)
        server.server.should_exit = True
        assert idle.closed()
        line.send(post()[-5:])
        reply = line.reply()
        assert (reply.region, reply.headers["connection"], line.closed()) == ("eu-central-1", "close", True)


def _until_under_way(server: Wire) -> None:
    """Wait until a request's head was read."""

    async def reading() -> bool:
        return any(getattr(c, "_under_way", False) for c in server.server.server_state.connections)

    while not asyncio.run_coroutine_threadsafe(reading(), server.loop).result(30):
        pass


def test_requests_of_the_short_way_count_for_the_server() -> None:
    with wire() as server, server.connected() as line:
        for raw in (post(), post(), COLD, post(b"{}")):
            line.send(raw)
            line.reply()
        assert server.server.server_state.total_requests == 4


class _Loop:
    """A loop whose time is set by hand, as far as a connection needs one."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[tuple[float, Any, _Timer]] = []

    def time(self) -> float:
        """The time in seconds."""
        return self.now

    def call_later(self, delay: float, act: Any) -> _Timer:
        """Call ``act`` after a delay."""
        timer = _Timer()
        self.timers.append((self.now + delay, act, timer))
        return timer

    def advance(self, seconds: float) -> None:
        """Let time go by; timers go off at their time."""
        end = self.now + seconds
        while due := [t for t in self.timers if t[0] <= end and not t[2].cancelled]:
            first = min(due, key=lambda t: t[0])
            self.timers.remove(first)
            self.now = max(self.now, first[0])
            first[1]()
        self.now = end

    @property
    def waiting(self) -> int:
        """How many timers are set."""
        return sum(not timer.cancelled for _, _, timer in self.timers)


class _Timer:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        """Do not go off."""
        self.cancelled = True


class _Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """It is another's now."""

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed


async def _connection(keep_alive_s: int = 5, **more: Any) -> tuple[HotProtocol, _Loop, _Transport]:
    api, app = await an_api(), FastAPI()
    api.register_routes(app)
    config = uvicorn.Config(app, http=http_protocol(app), access_log=False, timeout_keep_alive=keep_alive_s, **more)
    config.load()
    loop, transport = _Loop(), _Transport()
    made: Any = config.http_protocol_class
    protocol: HotProtocol = made(config=config, server_state=ServerState(), app_state={}, _loop=loop)
    protocol.connection_made(transport)
    return protocol, loop, transport


async def test_a_connection_in_use_is_not_closed_and_an_idle_one_is() -> None:
    protocol, loop, transport = await _connection(keep_alive_s=5)
    for _ in range(20):
        protocol.data_received(post())
        loop.advance(3.0)
    assert transport.written.count(b"HTTP/1.1 200 OK") == 20
    assert not transport.is_closed
    loop.advance(1.9)
    assert not transport.is_closed
    loop.advance(0.2)
    assert transport.is_closed


async def test_one_timer_is_enough_for_any_number_of_requests() -> None:
    protocol, loop, _ = await _connection()
    for _ in range(50):
        protocol.data_received(post())
        assert loop.waiting == 1
        loop.advance(0.5)


async def test_a_request_on_its_way_is_not_cut_off() -> None:
    protocol, loop, transport = await _connection(keep_alive_s=5)
    protocol.data_received(post())
    protocol.data_received(post()[:-5])
    loop.advance(60)
    assert not transport.is_closed
    protocol.data_received(post()[-5:])
    assert transport.written.count(b"HTTP/1.1 200 OK") == 2
    loop.advance(4)
    assert not transport.is_closed
    loop.advance(2)
    assert transport.is_closed


async def test_a_connection_that_is_handed_over_is_not_closed_by_an_old_timer() -> None:
    protocol, loop, transport = await _connection(ws=_Taker)
    protocol.data_received(post())
    protocol.data_received(post(b"", *UPGRADE).replace(b"POST /route", b"GET /echo"))
    assert transport.written.endswith(b"handed over: GET /echo HTTP/1.1\r\n")
    assert loop.waiting == 0


async def test_a_connection_that_is_gone_leaves_no_timer() -> None:
    protocol, loop, _ = await _connection()
    protocol.data_received(post())
    protocol.connection_lost(None)
    assert loop.waiting == 0


# --- what it is built upon ------------------------------------------------------------------------

KNOWN = {
    "__init__": "4f08999410347141",
    "connection_made": "6efb565ff3d36b91",
    "connection_lost": "c91a4c9bf2e29c55",
    "eof_received": "5652627579a02369",
    "_unset_keepalive_if_required": "00a6a4e47214e68e",
    "_should_upgrade": "8fcad1ab8e096739",
    "data_received": "010a7ae59a5d3b1a",
    "handle_websocket_upgrade": "179c4f769386ab89",
    "on_message_begin": "96d377fdc7c2baef",
    "on_url": "37be44e962b04ca8",
    "on_header": "65d62c044f61fdbd",
    "on_headers_complete": "1ea8589acfad92d8",
    "on_body": "dba9c32aeba35b6a",
    "on_message_complete": "1fbad42dc31fc01f",
    "on_response_complete": "64e254f28e389e76",
    "shutdown": "d7351fa33f00d430",
    "pause_writing": "17a8fd215d96a13c",
    "resume_writing": "7844bbaa8cceb1ef",
    "timeout_keep_alive_handler": "8b53bf5f2e202970",
}
"""uvicorn's own methods, by a fingerprint of the source that was read when ours were written."""


@pytest.mark.parametrize("name", KNOWN)
def test_uvicorns_protocol_is_the_one_that_ours_was_written_for(name: str) -> None:
    assert _fingerprint(name) == KNOWN[name], (
        f"uvicorn {uvicorn.__version__} changed HttpToolsProtocol.{name}, which surfaces/http/protocol.py builds upon: "
        f"read it again, mend what no longer fits, run this file, and note {_fingerprint(name)!r} here"
    )


def test_every_method_that_is_overridden_is_watched() -> None:
    overridden = {name for name, value in vars(HotProtocol).items() if inspect.isfunction(value)}
    assert overridden & set(dir(HttpToolsProtocol)) <= set(KNOWN)


def test_uvicorn_is_pinned_to_the_version_that_was_read() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert "uvicorn~=0.54.0" in project["project"]["dependencies"]
    assert uvicorn.__version__.startswith("0.54.")


def _fingerprint(name: str) -> str:
    return hashlib.sha256(inspect.getsource(getattr(HttpToolsProtocol, name)).encode()).hexdigest()[:16]
