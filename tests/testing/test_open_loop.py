"""The open loop: requests begin when they are due, each outcome is on record, and figures follow from the record."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from mahavishnu.integrations.multi_region.testing.open_loop import Aim, Answer, OpenLoop, shares, summarize

SERVED = {"x-multi-region-region": "fra"}


def answer(
    due_s: float,
    latency_ms: float = 5.0,
    *,
    method: str = "GET",
    status: int | None = 200,
    region: str | None = "a",
    error: str = "",
) -> Answer:
    return Answer(due_s, latency_ms, method, status, region, None, error)


LOST = "connection lost"


@pytest.mark.parametrize(
    ("given", "failed", "cut", "idempotent"),
    [
        (answer(0), False, False, True),
        (answer(0, status=404), False, False, True),
        (answer(0, status=503), True, False, True),
        (answer(0, status=None, error=LOST), True, False, True),
        (answer(0, status=200, error=LOST), True, True, True),
        (answer(0, status=503, error=LOST), True, False, True),
        (answer(0, method="PUT"), False, False, True),
        (answer(0, method="POST"), False, False, False),
        (answer(0, method="PATCH", status=500), True, False, False),
    ],
)
def test_what_counts_as_failed_and_as_cut(given: Answer, failed: bool, cut: bool, idempotent: bool) -> None:
    assert (given.failed, given.cut, given.idempotent) == (failed, cut, idempotent)


def test_the_figures_of_a_load() -> None:
    found = summarize(
        [
            answer(0.0, region="a"),
            answer(0.5, region="b"),
            answer(0.9, 200.0, region="b"),  # due before the moment, answered after it
            answer(1.0, 40.0, region="b"),
            answer(1.1, 60.0, region="b"),
            answer(1.2, status=503, region=None),
            answer(1.3, method="POST", status=None, region=None, error=LOST),
            answer(1.4, status=200, region="a", error=LOST),
            answer(1.5, region="c"),
        ],
        moment_s=1.0,
    )
    assert (found.requests, found.failed, found.cut, found.failed_others) == (9, 1, 1, 1)
    assert found.slowest_ms == 200.0
    assert found.last_affected_s == pytest.approx(0.4)
    assert dict(found.before) == {"a": 0.5, "b": 0.5}
    assert dict(found.after) == {"b": pytest.approx(2 / 3), "c": pytest.approx(1 / 3)}


def test_a_load_without_trouble_has_no_last_affected_request() -> None:
    found = summarize([answer(0.0, 900.0), answer(2.0)], moment_s=1.0)
    assert (found.last_affected_s, found.failed) == (None, 0)


def test_nothing_sent_gives_figures_too() -> None:
    found = summarize([])
    assert (found.requests, found.slowest_ms, dict(found.before), dict(shares([]))) == (0, 0.0, {}, {})


@asynccontextmanager
async def server(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def until_answered(load: OpenLoop, count: int) -> None:
    async with asyncio.timeout(60):
        while len(load.answers) < count:
            await asyncio.sleep(0.01)


async def test_requests_begin_when_due_although_earlier_ones_wait_and_are_timed_from_then() -> None:
    let_go, arrived = asyncio.Event(), list[str]()

    async def hold(request: web.Request) -> web.Response:
        arrived.append(request.method)
        await let_go.wait()
        return web.Response(headers=SERVED)

    app = web.Application()
    app.router.add_route("*", "/", hold)
    async with server(app) as url, OpenLoop(Aim(url, 100.0, methods=("GET", "POST"))) as load:
        async with asyncio.timeout(60):
            while len(arrived) < 20:  # none of them has an answer yet
                await asyncio.sleep(0.01)
        assert load.answers == []
        released = load.mark()
        let_go.set()
        await until_answered(load, 20)
    first = min(load.answers, key=lambda one: one.due_s)
    assert first.due_s == 0.0
    assert first.latency_ms >= 1000 * released
    assert {one.region for one in load.answers} == {"fra"}
    methods = Counter(one.method for one in load.answers)
    assert abs(methods["GET"] - methods["POST"]) <= 1
    assert sorted(one.due_s for one in load.answers) == [n / 100 for n in range(len(load.answers))]


async def test_each_request_carries_its_number_where_one_is_wanted() -> None:
    seen = list[str | None]()

    async def note(request: web.Request) -> web.Response:
        seen.append(request.headers.get("x-number"))
        return web.Response(headers=SERVED)

    app = web.Application()
    app.router.add_get("/", note)
    for numbered in ("x-number", ""):
        seen.clear()
        async with server(app) as url, OpenLoop(Aim(url, 100.0, numbered=numbered)) as load:
            await until_answered(load, 10)
        wanted = [str(number) if numbered else None for number in range(len(load.answers))]
        assert Counter(seen) == Counter(wanted)


async def test_no_request_is_tried_again_behind_the_load_s_back() -> None:
    asked = 0

    async def hang_up_every_second(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        if asked % 2 == 0:
            assert request.transport is not None
            request.transport.abort()
        return web.Response(headers=SERVED)

    app = web.Application()
    app.router.add_get("/", hang_up_every_second)
    async with server(app) as url:
        async with OpenLoop(Aim(url, 50.0)) as load:
            await until_answered(load, 10)
        assert asked == len(load.answers)
    assert load.summary().failed == len(load.answers) // 2


async def test_a_response_that_breaks_off_is_cut() -> None:
    async def promise_more(request: web.Request) -> web.StreamResponse:
        begun = web.StreamResponse(headers={"content-length": "100", **SERVED})
        await begun.prepare(request)
        await begun.write(b"half")
        assert request.transport is not None
        request.transport.abort()
        return begun

    app = web.Application()
    app.router.add_get("/", promise_more)
    async with server(app) as url, OpenLoop(Aim(url, 20.0)) as load:
        await until_answered(load, 3)
    found = load.summary()
    assert (found.cut, found.failed) == (found.requests, 0)
    assert all(one.begun and one.error for one in load.answers)
