"""Clients in eight cities: each asks the controller where to go, goes there, and tells how it went.

Requests begin at a steady rate whatever becomes of those before (open loop). A request that fails is a GET and so is
tried once more, elsewhere; both attempts are on record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp

from mahavishnu.integrations.multi_region.ports.clock import Clock

from .controller import Controller, ControllerFailure, Report, Route
from .ledger import Attempt, Outcome
from .pace import at_a_steady_rate
from .region_server import LATITUDE, LONGITUDE, SERVICE
from .scene import City, Options, service_of

CALL_TIMEOUT_S = 1.0
"""How long a client waits for a region's answer."""

REPORT_EVERY_S = 0.1


class Clients:
    """All clients. ``endpoints``: region id to URL; ``seen`` is told of every request's outcome."""

    def __init__(
        self,
        controller: Controller,
        session: aiohttp.ClientSession,
        endpoints: dict[str, str],
        clock: Clock,
        seen: Callable[[Outcome], None],
    ) -> None:
        self._controller = controller
        self._session = session
        self._endpoints = endpoints
        self._clock = clock
        self._seen = seen
        self._reports: list[Report] = []
        self.lost_reports = 0

    async def run(self, options: Options) -> None:
        """Send requests for ``options.seconds``, then wait for the last answers."""
        reporter = asyncio.create_task(self._report_forever(), name="reports of clients")
        try:
            await at_a_steady_rate(options, self._clock, self._send)
        finally:
            reporter.cancel()
            await asyncio.gather(reporter, return_exceptions=True)
        await self._report()

    async def _send(self, city: City, number: int, _: float) -> None:
        await self._request(city, service_of(city, number))

    async def _request(self, city: City, service: str) -> None:
        at, began = self._clock.now(), self._clock.monotonic()
        attempts: list[Attempt] = []
        refused = ""
        try:
            route = await self._controller.route(city.point, service)
            attempts.append(await self._call(city, service, route.region_id))
            if not attempts[0].ok:
                again = await self._controller.route(city.point, service)
                attempts.append(await self._call(city, service, elsewhere(again, route.region_id)))
        except ControllerFailure as err:
            refused = str(err)
        self._seen(
            Outcome(city.name, service, at, 1000.0 * (self._clock.monotonic() - began), tuple(attempts), refused)
        )

    async def _call(self, city: City, service: str, region_id: str) -> Attempt:
        """One GET to a region; whatever becomes of it is an attempt, and is reported."""
        at, began = self._clock.now(), self._clock.monotonic()
        status, by, error = None, None, ""
        said = {LATITUDE: str(city.point.latitude), LONGITUDE: str(city.point.longitude), SERVICE: service}
        try:
            async with self._session.get(f"{self._endpoints[region_id]}/", headers=said, timeout=_TIMEOUT) as answer:
                status, by = answer.status, (await answer.json()).get("region")
        except (aiohttp.ClientError, OSError, ValueError) as err:  # TimeoutError is an OSError
            error = in_words(err)
        attempt = Attempt(region_id, at, 1000.0 * (self._clock.monotonic() - began), status, by, error)
        self._reports.append(Report(region_id, attempt.ok, attempt.latency_ms, service))
        return attempt

    async def _report_forever(self) -> None:
        while True:
            await self._clock.sleep(REPORT_EVERY_S)
            await self._report()

    async def _report(self) -> None:
        batch, self._reports = self._reports, []
        if not batch:
            return
        try:
            await self._controller.observe(batch)
        except ControllerFailure:
            self.lost_reports += len(batch)


_TIMEOUT = aiohttp.ClientTimeout(total=CALL_TIMEOUT_S)


def in_words(err: Exception, waited_s: float = CALL_TIMEOUT_S) -> str:
    """What a client saw instead of an answer; ``waited_s``: how long it waits."""
    match err:
        case TimeoutError():
            return f"no answer within {waited_s:g} s"
        case aiohttp.ClientConnectorError():
            return "could not connect"
        case _:
            return "connection lost"


def elsewhere(route: Route, failed: str) -> str:
    """Where the second attempt goes: where the controller says now, or the next best when that is what just failed.

    Raises ControllerFailure when the failed region is the only one.
    """
    for region_id in (route.region_id, *route.alternatives):
        if region_id != failed:
            return region_id
    raise ControllerFailure(f"no other region than {failed} may serve this request")
