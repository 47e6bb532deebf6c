"""Asks a region over HTTP or HTTPS: one GET, one deadline for everything, one pool of connections for all regions.

Decides what an answer means (status, body, shedding, redirects); when to ask and how results count, others decide.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass, field

import aiohttp
from yarl import URL

from mahavishnu.integrations.multi_region.core.model import HealthCheck
from mahavishnu.integrations.multi_region.core.targets import TargetRules, target_url
from mahavishnu.integrations.multi_region.ports.probe import ProbeResult

from .load_report import HEADER, LoadReport, read_load_report
from .targets import GuardedResolver, TargetGuard, failure_reason, timeout_reason

USER_AGENT = "mahavishnu-multi-region-probe"

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SHEDDING = 429
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class ProbeLimits:
    """Bounds of the HTTP probe's pool and appetite.

    ``connections``: open at once, over all regions; ``per_host``: to one host and port. ``keepalive_s``: how long an
    idle connection is kept. ``body_bytes``: how much of a body is read. ``redirects``: how many are followed.
    """

    connections: int = 2000
    per_host: int = 8
    keepalive_s: float = 75.0
    body_bytes: int = 64 * 1024
    redirects: int = 3


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came back: ``objection`` is why it does not pass, None when it does."""

    objection: str | None
    shedding: bool = False
    report: LoadReport = field(default_factory=LoadReport)


class HttpProbe:
    """The Probe port over HTTP(S).

    ``guard`` says which targets are allowed (the default rules when None). ``trust``: the certificates that are trusted
    when a check verifies TLS; None: the system's. Keeps no cookies and uses no proxy: regions are asked directly.
    """

    def __init__(
        self,
        limits: ProbeLimits | None = None,
        *,
        guard: TargetGuard | None = None,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._limits = limits or ProbeLimits()
        self._guard = guard or TargetGuard(TargetRules())
        self._trust: ssl.SSLContext | bool = trust or True
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, endpoint: str, check: HealthCheck) -> ProbeResult:
        """One question, answered within ``check.timeout_s``; whatever the region does is a result."""
        started = time.perf_counter()
        answer = await self._within_deadline(endpoint, check)
        return ProbeResult(
            ok=answer.objection is None,
            latency_ms=(time.perf_counter() - started) * 1000.0,
            reason=answer.objection or "",
            shedding=answer.shedding,
            load=answer.report.load,
            utilization=answer.report.utilization,
        )

    async def close(self) -> None:
        """Let go of connections and lookup threads."""
        if self._session is not None:
            await self._session.close()
        self._guard.close()

    async def _within_deadline(self, endpoint: str, check: HealthCheck) -> _Answer:
        try:
            async with asyncio.timeout(check.timeout_s) as deadline:
                return await self._follow(URL(target_url(endpoint, check)), check)
        except (aiohttp.ClientError, OSError, ValueError) as err:  # TimeoutError is an OSError
            return _Answer(timeout_reason(check.timeout_s) if deadline.expired() else failure_reason(err))

    async def _follow(self, url: URL, check: HealthCheck) -> _Answer:
        """Ask, and ask again where a redirect leads, as long as it stays on the same host and port."""
        for _ in range(self._limits.redirects + 1):
            found = await self._get(url, check)
            if isinstance(found, _Answer):
                return found
            if (found.raw_host, found.port) != (url.raw_host, url.port):
                return _Answer(f"redirected off-host to {_shown(str(found))}")
            url = found
        return _Answer(f"redirected more than {self._limits.redirects} times")

    async def _get(self, url: URL, check: HealthCheck) -> _Answer | URL:
        """One GET: an answer, or the URL it redirects to."""
        self._admit(url)
        tls = self._trust if check.verify_tls else False
        async with self._open().get(url, headers=check.headers, ssl=tls, allow_redirects=False) as response:
            location = response.headers.get("Location")
            if location is not None and response.status in _REDIRECTS and not _wants_redirect(check):
                return url.join(URL(location))
            return await self._judge(response, check)

    async def _judge(self, response: aiohttp.ClientResponse, check: HealthCheck) -> _Answer:
        """Whether an answer passes; reads the body only as far as the limit, and only when the status passes."""
        report = read_load_report(response.headers.get(HEADER))
        if response.status == _SHEDDING:
            return _Answer(f"status {_SHEDDING}: the region sheds load", shedding=True, report=report)
        if not any(low <= response.status <= high for low, high in check.statuses):
            return _Answer(f"status {response.status}", report=report)
        body = await _read(response.content, self._limits.body_bytes)
        if check.body_contains is not None and check.body_contains.encode() not in body:
            return _Answer(f"body lacks {_shown(repr(check.body_contains))}", report=report)
        return _Answer(None, report=report)

    def _admit(self, url: URL) -> None:
        """Raise when the URL is no HTTP URL or its host may not be probed."""
        self._guard.admit_scheme(url.scheme)
        if url.scheme not in {"http", "https"} or url.raw_host is None:
            raise ValueError(f"{_shown(str(url))} is not an HTTP URL")
        self._guard.admit_host(url.raw_host)

    def _open(self) -> aiohttp.ClientSession:
        """The one session; made on first use, because it belongs to the running loop."""
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=self._limits.connections,
                limit_per_host=self._limits.per_host,
                keepalive_timeout=self._limits.keepalive_s,
                resolver=GuardedResolver(self._guard),
                socket_factory=self._guard.open_socket,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            )
        return self._session


def _wants_redirect(check: HealthCheck) -> bool:
    """Whether the check names redirects themselves as the right answer: a range of statuses within 300 to 399."""
    return any(300 <= low <= high <= 399 for low, high in check.statuses)


async def _read(content: aiohttp.StreamReader, limit: int) -> bytes:
    """The body's first bytes, at most ``limit`` of them."""
    body = bytearray()
    while len(body) < limit and (chunk := await content.read(limit - len(body))):
        body += chunk
    return bytes(body)


def _shown(text: str) -> str:
    """Foreign text, fit for a log line: printable and short."""
    clean = "".join(c if c.isprintable() else "?" for c in text)
    return clean if len(clean) <= _SHOWN else clean[: _SHOWN - 1] + "…"
