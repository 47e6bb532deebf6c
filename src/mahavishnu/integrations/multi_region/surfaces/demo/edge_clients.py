"""Clients in eight cities, each of the edge nearest to it. They send every request once: the edge does the rest.

A request is due at its time whatever became of those before, and its latency counts from then on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import uuid4

import aiohttp

from mahavishnu.integrations.multi_region.ports.clock import Clock

from .clients import in_words
from .edge_scene import Ask, EdgePlace, ask_of, host_of, leg_s, nearest_edge
from .ledger import Attempt, Outcome
from .pace import at_a_steady_rate
from .region_server import LATITUDE, LONGITUDE, PIECE_EVERY_S, SERVICE, STREAM_PIECES
from .scene import CITIES, City, Options, Place, delay_s

REGION, REASON = "x-multi-region-region", "x-multi-region-reason"
"""Response headers: the region that served, and why an edge refused."""

UNNAMED = "-"
"""How an edge writes a region that there is none of."""

STATED = "x-compliance-requirements"
CALL_TIMEOUT_S = 6.0
"""How long a client waits for an answer; longer than an edge lets a request take."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What came back: the region by the edge's word and by its own, what went wrong."""

    status: int | None = None
    region: str | None = None
    by: str | None = None
    reason: str = ""
    error: str = ""


class EdgeClients:
    """All clients. ``streams``: whether some requests take seconds. ``seen`` is told of every request's outcome."""

    lost_reports = 0
    """None is sent: edges tell the controller what they see."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        edges: tuple[EdgePlace, ...],
        places: tuple[Place, ...],
        clock: Clock,
        seen: Callable[[Outcome], None],
        *,
        streams: bool = False,
    ) -> None:
        self._session = session
        self._edges = {city.name: nearest_edge(city, edges) for city in CITIES}
        self._places = {place.region_id: place for place in places}
        self._clock = clock
        self._seen = seen
        self._streams = streams

    async def run(self, options: Options) -> None:
        """Send requests for ``options.seconds``, then wait for the last answers."""
        await at_a_steady_rate(options, self._clock, self._send)

    async def answers(self, city: City, service: str) -> bool:
        """Whether a request of a city is served now; it is not counted."""
        return (await self._ask(self._edges[city.name], Ask(service))).status == 200

    async def _send(self, city: City, number: int, due: float) -> None:
        """The way to the edge and back takes its time; the way from there to the region is the region's to wait."""
        edge, ask = self._edges[city.name], ask_of(city, number, self._streams)
        half_leg_s = leg_s(city, edge) / 2
        due_at = self._clock.now() - (self._clock.monotonic() - due)
        await self._clock.sleep(half_leg_s)
        sent_at, sent = self._clock.now(), self._clock.monotonic()
        seen = await self._ask(edge, ask)
        took_ms = 1000.0 * (self._clock.monotonic() - sent)
        await self._clock.sleep(half_leg_s)
        attempt = Attempt(seen.region or "", sent_at, took_ms, seen.status, seen.by, seen.error)
        self._seen(
            Outcome(
                city=city.name,
                service=ask.service,
                at=due_at,
                total_ms=1000.0 * (self._clock.monotonic() - due),
                attempts=(attempt,),
                method=ask.method,
                keyed=ask.keyed,
                stream=ask.stream,
                stated=ask.stated,
                reason=seen.reason,
                travel_ms=1000.0 * (2 * half_leg_s + self._beyond_s(edge, ask, seen.region)),
            )
        )

    def _beyond_s(self, edge: EdgePlace, ask: Ask, region_id: str | None) -> float:
        """What an answer takes beyond the edge, in seconds: 0 when no region gave it."""
        place = self._places.get(region_id or "")
        if place is None:
            return 0.0
        return STREAM_PIECES * PIECE_EVERY_S if ask.stream else delay_s(edge.point, place.point)

    async def _ask(self, edge: EdgePlace, ask: Ask) -> _Seen:
        seen = _Seen()
        try:
            async with self._session.request(
                ask.method, edge.url + ask.path, headers=_headers(edge, ask), timeout=_TIMEOUT
            ) as answer:
                region, reason = answer.headers.get(REGION), answer.headers.get(REASON, "")
                region = None if region == UNNAMED else region
                seen = _Seen(answer.status, region, None, reason)
                return _Seen(answer.status, region, _named(await answer.read()), reason)
        except (aiohttp.ClientError, OSError) as err:  # TimeoutError is an OSError
            return _Seen(seen.status, seen.region, None, seen.reason, in_words(err, CALL_TIMEOUT_S))


_TIMEOUT = aiohttp.ClientTimeout(total=CALL_TIMEOUT_S)


def _headers(edge: EdgePlace, ask: Ask) -> Mapping[str, str]:
    """The region is told where the edge stands, from which the request comes to it."""
    found = {
        "Host": host_of(ask.service),
        SERVICE: ask.service,
        LATITUDE: str(edge.point.latitude),
        LONGITUDE: str(edge.point.longitude),
    }
    if ask.stated:
        found[STATED] = ask.stated
    if ask.keyed:
        found["Idempotency-Key"] = uuid4().hex
    return found


def _named(body: bytes) -> str | None:
    """The region that an answer names in its first line; None when it names none."""
    try:
        found = json.loads(body.partition(b"\n")[0])
    except ValueError:
        return None
    region = found.get("region") if isinstance(found, dict) else None
    return region if isinstance(region, str) else None
