"""The proxy, between a real server at a unix socket and a real client: what goes through, and when it does not."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn
from aiohttp import ClientPayloadError, ClientSession, DummyCookieJar, web
from yarl import URL

from mahavishnu.integrations.multi_region.surfaces.workers.proxy import Proxy

ASKED = ("x-two", "host", "user-agent", "accept")


@asynccontextmanager
async def passing_on(path: Path, behind: Callable[[web.Request], object] | None) -> AsyncIterator[tuple[str, Proxy]]:
    """A server that passes everything on to ``behind``, if there is one; its URL."""
    proxy = Proxy(path)
    proxy.open()
    server = uvicorn.Server(uvicorn.Config(proxy, host="127.0.0.1", port=0, lifespan="off", log_level="critical"))
    serving = asyncio.create_task(server.serve())
    runner = await _behind(path, behind) if behind is not None else None
    try:
        async with asyncio.timeout(30):
            while not server.started:
                await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", proxy
    finally:
        server.should_exit = True
        await serving
        await proxy.close()
        if runner is not None:
            await runner.cleanup()


async def _behind(path: Path, handler: Callable[[web.Request], object]) -> web.AppRunner:
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{tail:.*}", handler)  # type: ignore[arg-type]  # a coroutine function
    runner = web.AppRunner(app, auto_decompress=False, shutdown_timeout=1.0)
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
    return runner


async def test_method_path_query_headers_and_body_arrive_as_they_were_sent(tmp_path: Path) -> None:
    seen: list[tuple[str, str, list[tuple[str, str]], bytes]] = []

    async def behind(request: web.Request) -> web.Response:
        named = [(k.lower(), v) for k, v in request.headers.items() if k.lower() in ASKED]
        seen.append((request.method, request.raw_path, named, await request.read()))
        return web.Response(status=207, body=b"done", headers=[("X-Own", "a"), ("X-Own", "b")])

    async with passing_on(tmp_path / "s", behind) as (url, _), ClientSession(skip_auto_headers=["Accept"]) as client:
        headers = [("X-Two", "1"), ("X-Two", "2"), ("Host", "name.example"), ("User-Agent", "me")]
        address = url + "/a%2Fb?c=%20d&c=e"
        async with client.put(URL(address, encoded=True), data=b"\0" * 900_000, headers=headers) as answer:
            assert (answer.status, await answer.read(), answer.headers.getall("X-Own")) == (207, b"done", ["a", "b"])
            assert len(answer.headers.getall("Date")) == 1
    (method, path, named, body) = seen[0]
    assert (method, path, body) == ("PUT", "/a%2Fb?c=%20d&c=e", b"\0" * 900_000)
    assert sorted(named) == [("host", "name.example"), ("user-agent", "me"), ("x-two", "1"), ("x-two", "2")]


async def test_an_answer_is_passed_back_as_it_is_and_nothing_of_it_is_kept(tmp_path: Path) -> None:
    asked: list[set[str]] = []
    packed = gzip.compress(b"moved")

    async def behind(request: web.Request) -> web.Response:
        asked.append({name.lower() for name in request.headers})
        headers = {"Location": "/elsewhere", "Set-Cookie": "session=1; Path=/", "Content-Encoding": "gzip"}
        return web.Response(status=307, body=packed, headers=headers)

    async with (
        passing_on(tmp_path / "s", behind) as (url, _),
        ClientSession(auto_decompress=False, cookie_jar=DummyCookieJar()) as client,
    ):
        for _ in range(2):
            headers = {"TE": "trailers", "Keep-Alive": "5"}
            async with client.get(url, headers=headers, allow_redirects=False) as answer:
                assert (answer.status, answer.headers["Location"], await answer.read()) == (307, "/elsewhere", packed)
                assert answer.headers["Set-Cookie"].startswith("session=1")
    assert len(asked) == 2, "who asked goes where it is sent, if it wants to"
    for names in asked:
        assert not names & {"cookie", "te", "keep-alive", "transfer-encoding", "content-length"}


async def test_an_answer_flows_while_it_is_made_and_a_client_who_leaves_is_noticed(tmp_path: Path) -> None:
    left = asyncio.Event()

    async def behind(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: first\n\n")
        try:
            while True:
                await asyncio.sleep(0.05)
                await response.write(b": still here\n\n")
        finally:
            left.set()

    async with passing_on(tmp_path / "s", behind) as (url, _), ClientSession() as client:
        answer = await client.get(url + "/events")
        assert await answer.content.readline() == b"data: first\n"
        answer.close()
        await asyncio.wait_for(left.wait(), 30)


async def test_streams_of_events_end_well_when_the_worker_stops(tmp_path: Path) -> None:
    async def behind(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: first\n\n")
        await asyncio.sleep(60)
        return response

    async with passing_on(tmp_path / "s", behind) as (url, proxy), ClientSession() as client:
        answer = await client.get(url + "/events")
        assert await answer.content.readline() == b"data: first\n"
        proxy.end_streams()
        assert await asyncio.wait_for(answer.content.read(), 30) == b"\n"


async def test_without_a_server_behind_it_says_so(tmp_path: Path) -> None:
    async with passing_on(tmp_path / "nobody", None) as (url, _), ClientSession() as client:
        for method, body in (("GET", None), ("POST", b"x" * 100_000)):
            async with client.request(method, url + "/stats", data=body) as answer:
                problem = await answer.json(content_type="application/problem+json")
                assert (answer.status, problem["instance"], answer.headers["Retry-After"]) == (503, "/stats", "1")
                assert "the controller does not answer" in problem["detail"]


async def test_an_answer_that_breaks_off_is_not_made_to_look_whole(tmp_path: Path) -> None:
    async def behind(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.abort()
        return response

    async with passing_on(tmp_path / "s", behind) as (url, _), ClientSession() as client, client.get(url) as answer:
        with pytest.raises(ClientPayloadError):
            await answer.read()
