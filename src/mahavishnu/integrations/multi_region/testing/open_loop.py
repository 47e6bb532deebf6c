"""Clients that do not wait for each other: requests begin at their due times whatever became of those before.

A client that waits for its last answer sends less just when answers are slow, and so hides what others suffer
(coordinated omission). Here each request has a time at which it is due, and its latency counts from that time on.

async with OpenLoop(Aim("http://127.0.0.1:10000/", rate=250)) as load:
    await asyncio.sleep(1)
    load.mark()  # the fault begins now
    kill_a_region()
    await asyncio.sleep(3)
print(summarize(load.answers, load.marked_s))
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType, TracebackType
from typing import Self

import aiohttp

from mahavishnu.integrations.multi_region.core.routes import IDEMPOTENT as IDEMPOTENT

REGION_HEADER, REASON_HEADER = "x-multi-region-region", "x-multi-region-reason"
"""Response headers in which an edge names the region that served, and why it refused."""

SLOW_MS = 50.0
"""An answer that took longer counts as affected by a fault."""

_LAST_ANSWERS_S = 5.0


@dataclass(frozen=True, slots=True)
class Aim:
    """What is sent, to ``url``: ``rate`` requests/s, each with one of ``methods`` in turn.

    ``headers``: of each request, ``host`` among them if it is not the URL's. ``timeout_s``: how long a client waits.
    ``numbered``: the header in which each request carries its number, from 0, such as ``idempotency-key``; "" for none.
    """

    url: str
    rate: float
    methods: tuple[str, ...] = ("GET",)
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    body: bytes = b""
    timeout_s: float = 10.0
    numbered: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one request. ``due_s``: when it was due, in seconds since the load began.

    ``latency_ms``: from then to the end of the body. ``status``: None when no response began. ``region``, ``reason``:
    as the edge named them. ``error``: what went wrong on the way, "" for nothing.
    """

    due_s: float
    latency_ms: float
    method: str
    status: int | None = None
    region: str | None = None
    reason: str | None = None
    error: str = ""

    @property
    def ended_s(self) -> float:
        """When its answer was whole, in seconds since the load began."""
        return self.due_s + self.latency_ms / 1000.0

    @property
    def begun(self) -> bool:
        """Whether a response had begun: nobody can then replay the request unseen."""
        return self.status is not None

    @property
    def failed(self) -> bool:
        """Whether the client did not get what it asked for: an error on the way, or a status of 500 or more."""
        return bool(self.error) or self.status is None or self.status >= 500

    @property
    def cut(self) -> bool:
        """Whether a good response had begun and then broke off."""
        return bool(self.error) and self.status is not None and self.status < 500

    @property
    def idempotent(self) -> bool:
        """Whether it could have been repeated."""
        return self.method in IDEMPOTENT


@dataclass(frozen=True, slots=True)
class Summary:
    """A load in figures, as of a moment within it.

    ``failed``: idempotent requests that failed though no good response had begun: those that must not be. ``cut``: of
    any method, those whose response broke off. ``failed_others``: the rest. ``slowest_ms``: of all answers.
    ``last_affected_s``: how long after the moment the last request was due that failed or was slow; None for none.
    ``before``, ``after``: each region's share (0..1) of the requests that were served before the moment, and of those
    that were due from then on.
    """

    requests: int
    failed: int
    cut: int
    failed_others: int
    slowest_ms: float
    last_affected_s: float | None
    before: Mapping[str, float]
    after: Mapping[str, float]


def summarize(answers: Iterable[Answer], moment_s: float = 0.0, slow_ms: float = SLOW_MS) -> Summary:
    """The figures. ``moment_s``: seconds since the load began. ``slow_ms``: from where on an answer counts as slow."""
    all_of_them = list(answers)
    wrong = [answer for answer in all_of_them if answer.failed]
    late = (a.due_s for a in all_of_them if a.due_s >= moment_s and (a.failed or a.latency_ms > slow_ms))
    last = max(late, default=None)
    return Summary(
        requests=len(all_of_them),
        failed=sum(answer.idempotent and not answer.cut for answer in wrong),
        cut=sum(answer.cut for answer in wrong),
        failed_others=sum(not (answer.idempotent or answer.cut) for answer in wrong),
        slowest_ms=max((answer.latency_ms for answer in all_of_them), default=0.0),
        last_affected_s=None if last is None else last - moment_s,
        before=shares(answer for answer in all_of_them if answer.ended_s < moment_s),
        after=shares(answer for answer in all_of_them if answer.due_s >= moment_s),
    )


def shares(answers: Iterable[Answer]) -> Mapping[str, float]:
    """Each region's share (0..1) of the requests that were served, by region; empty when none was."""
    counts = Counter(answer.region for answer in answers if answer.region is not None and not answer.failed)
    total = counts.total()
    return MappingProxyType({region: count / total for region, count in sorted(counts.items())})


class OpenLoop:
    """A load that runs from the beginning to the end of a block; at the end the last answers are waited for."""

    def __init__(self, aim: Aim) -> None:
        self._aim = aim
        self._session: aiohttp.ClientSession | None = None
        self._pacer: asyncio.Task[None] | None = None
        self._requests: set[asyncio.Task[None]] = set()
        self._began = 0.0
        self.answers: list[Answer] = []
        self.marked_s = 0.0

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60.0)
        timeout = aiohttp.ClientTimeout(total=self._aim.timeout_s)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=timeout, headers=dict(self._aim.headers), auto_decompress=False
        )
        self._session._retry_connection = False  # a client that tries again by itself would hide failures
        self._began = asyncio.get_running_loop().time()
        self._pacer = asyncio.create_task(self._pace(self._session), name="open loop")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pacer is not None:
            self._pacer.cancel()
            await asyncio.gather(self._pacer, return_exceptions=True)
        if self._requests:
            _, late = await asyncio.wait(self._requests, timeout=self._aim.timeout_s + _LAST_ANSWERS_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    @property
    def now_s(self) -> float:
        """Seconds since the load began."""
        return asyncio.get_running_loop().time() - self._began

    def mark(self) -> float:
        """Remember this moment, as ``marked_s``; gives it."""
        self.marked_s = self.now_s
        return self.marked_s

    def since(self, moment_s: float) -> list[Answer]:
        """The answers so far to requests that were due at a moment (seconds since the load began) or later."""
        return [answer for answer in self.answers if answer.due_s >= moment_s]

    def summary(self) -> Summary:
        """The figures so far, as of the marked moment."""
        return summarize(self.answers, self.marked_s)

    async def _pace(self, session: aiohttp.ClientSession) -> None:
        """Begin each request when it is due; those that this machine was too slow for begin at once."""
        loop, number = asyncio.get_running_loop(), 0
        while True:
            due_s = number / self._aim.rate
            wait_s = self._began + due_s - loop.time()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            method = self._aim.methods[number % len(self._aim.methods)]
            headers = {self._aim.numbered: str(number)} if self._aim.numbered else {}
            task = loop.create_task(self._request(session, method, headers, due_s))
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)
            number += 1

    async def _request(
        self, session: aiohttp.ClientSession, method: str, headers: Mapping[str, str], due_s: float
    ) -> None:
        status: int | None = None
        region: str | None = None
        reason: str | None = None
        error = ""
        data = self._aim.body if method not in ("GET", "HEAD") else None
        try:
            sent = session.request(method, self._aim.url, headers=headers, data=data, allow_redirects=False)
            async with sent as answer:
                status = answer.status
                region, reason = answer.headers.get(REGION_HEADER), answer.headers.get(REASON_HEADER)
                await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as err:
            error = f"{type(err).__name__}: {err}"
        latency_ms = 1000.0 * (self.now_s - due_s)
        self.answers.append(Answer(due_s, latency_ms, method, status, region, reason, error))
