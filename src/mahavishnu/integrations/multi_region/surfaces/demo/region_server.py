"""One region of the demo: a real HTTP server in a process of its own.

Each answer comes after the round trip between the client (who says where it is) and the region, names the region, and
beyond the capacity is 429. ``/stream`` takes seconds to answer, piece by piece. ``/healthz`` reports the load. Lines
on standard input (``errors``, ``gray``, ``flap``, ``slow``, ``bad-version``, ``well``) change how it behaves; when
standard input ends, so does the process, so that none outlives its director.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import deque
from collections.abc import Sequence

from aiohttp import web

from mahavishnu.integrations.multi_region.core.model import Point
from mahavishnu.integrations.multi_region.ports.clock import Clock, SystemClock

from .faults import BAD_VERSION, GRAY, LATE_S, Fault, fails_now
from .scene import WEB, delay_s

LATITUDE, LONGITUDE, SERVICE = "X-Client-Latitude", "X-Client-Longitude", "X-Service"
READY = "ready on port "
"""What the process prints, followed by its port, once it answers."""

LOAD_HEADER = "endpoint-load-metrics"
WINDOW_S = 1.0
STREAM_PIECES, PIECE_EVERY_S = 10, 0.2
"""A stream's answer: so many lines, and the pause after each."""

STREAM = "/stream"
"""The path of streams."""


class RegionServer:
    """Answers requests as one region would. ``capacity`` in requests/s."""

    def __init__(self, region_id: str, point: Point, capacity: int, clock: Clock) -> None:
        self._region_id = region_id
        self._point = point
        self._capacity = capacity
        self._clock = clock
        self._taken: deque[float] = deque()
        self._mode = "well"
        self._since = 0.0
        self._served = 0

    def behave(self, mode: str) -> None:
        """From now on fail as ``mode`` says: a fault's name, or ``well``."""
        self._mode, self._since = mode, self._clock.monotonic()

    def app(self) -> web.Application:
        """The web application: ``/healthz``, and every other path."""
        app = web.Application()
        app.router.add_get("/healthz", self._health)
        app.router.add_get(STREAM, self._stream)
        app.router.add_route("*", "/{path:.*}", self._serve)
        return app

    async def _health(self, _: web.Request) -> web.Response:
        status = 503 if self._failing() else 200
        report = {LOAD_HEADER: f"TEXT rps_fractional={self._load()}"}
        return web.json_response({"region": self._region_id}, status=status, headers=report)

    async def _serve(self, request: web.Request) -> web.Response:
        if self._failing() or self._fails_version(request) or self._fails_this_one():
            return self._answer(503)
        if self._load() >= self._capacity:
            return self._answer(429)
        self._taken.append(self._clock.monotonic())
        await self._clock.sleep(self._delay_s(request))
        return self._answer(503 if self._failing() else 200)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """Name the region at once and again at the end."""
        answer = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await answer.prepare(request)
        line = json.dumps({"region": self._region_id}).encode() + b"\n"
        for _ in range(STREAM_PIECES):
            await answer.write(line)
            await self._clock.sleep(PIECE_EVERY_S)
        await answer.write_eof(line)
        return answer

    def _delay_s(self, request: web.Request) -> float:
        client = _client(request)
        distance_s = 0.0 if client is None else delay_s(client, self._point)
        return distance_s + (LATE_S if self._mode == Fault.SLOW else 0.0)

    def _fails_this_one(self) -> bool:
        """Every second request, while the region is gray."""
        self._served += 1
        return self._mode == GRAY and self._served % 2 == 0

    def _answer(self, status: int) -> web.Response:
        return web.json_response({"region": self._region_id}, status=status)

    def _failing(self) -> bool:
        return fails_now(self._mode, self._clock.monotonic() - self._since)

    def _fails_version(self, request: web.Request) -> bool:
        """Whether the request is for the service whose new version here is bad."""
        return self._mode == BAD_VERSION and request.headers.get(SERVICE) == WEB

    def _load(self) -> int:
        """Requests taken within the last second."""
        begin = self._clock.monotonic() - WINDOW_S
        while self._taken and self._taken[0] < begin:
            self._taken.popleft()
        return len(self._taken)


def _client(request: web.Request) -> Point | None:
    """Where the client says it is; None when it does not, or not in numbers."""
    try:
        return Point(float(request.headers[LATITUDE]), float(request.headers[LONGITUDE]))
    except (KeyError, ValueError):
        return None


async def obey(server: RegionServer) -> None:
    """Do what the lines on standard input (a pipe) say, until it ends."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        server.behave(line.decode().strip())


async def serve(server: RegionServer, host: str, port: int) -> None:
    """Listen (port 0: any free one), say so, and answer until standard input ends."""
    runner = web.AppRunner(server.app(), access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, shutdown_timeout=0.5)
        await site.start()
        print(f"{READY}{runner.addresses[0][1]}", flush=True)
        await obey(server)
    finally:
        await runner.cleanup()


def main(argv: Sequence[str] | None = None) -> None:
    """Run one region until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--region", required=True)
    parser.add_argument("--latitude", type=float, required=True)
    parser.add_argument("--longitude", type=float, required=True)
    parser.add_argument("--capacity", type=int, required=True, help="requests/s")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--host", default="127.0.0.1")
    given = parser.parse_args(argv)
    point = Point(given.latitude, given.longitude)
    asyncio.run(serve(RegionServer(given.region, point, given.capacity, SystemClock()), given.host, given.port))


if __name__ == "__main__":
    main()
