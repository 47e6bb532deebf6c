"""Asks a web address to put a version into a region, by a signed POST that may be repeated.

The body is JSON: the task's fields, and ``deadline_s``. Four headers go with it:

- ``Idempotency-Key``: the operation id, the same however often the call is repeated.
- ``X-Multi-Region-Timestamp``: when this attempt was signed, whole seconds since the epoch.
- ``X-Multi-Region-Signature``: ``sha256=`` and the hexadecimal HMAC-SHA256, under the shared secret, of the
  timestamp, a dot, and the body. ``verify`` does what a receiver has to do.
- ``Content-Type``: ``application/json``.

2xx is success. 408, 425, 429, 5xx and no answer are tried again until the deadline, then the outcome is unknown; any
other answer is failure, redirects included.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import socket
import ssl
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from mahavishnu.integrations.multi_region.core.deployment import RunState
from mahavishnu.integrations.multi_region.core.targets import TargetRules, check_target, target_objection
from mahavishnu.integrations.multi_region.errors import InvalidInputError
from mahavishnu.integrations.multi_region.ports.clock import Clock, SystemClock
from mahavishnu.integrations.multi_region.ports.executor import Task, TaskResult

TIMESTAMP, SIGNATURE, KEY = "X-Multi-Region-Timestamp", "X-Multi-Region-Signature", "Idempotency-Key"
AGAIN = frozenset({408, 425, 429})
"""Refusals that ask to be tried again later."""

SECRET_BYTES = 16
"""The shortest secret that is taken."""

TOLERANCE_S = 300.0
"""How old a signature may be before ``verify`` takes it for a replay."""

BODY_BYTES = 16 * 1024
"""How much of an answer is read and kept."""


@dataclass(frozen=True, slots=True)
class Pauses:
    """Seconds: the first pause between attempts, the longest, and how long one attempt may take."""

    first_s: float = 0.2
    longest_s: float = 10.0
    attempt_s: float = 30.0

    def before(self, attempt: int) -> float:
        """The pause before an attempt, counted from 1 for the first repetition; it doubles."""
        return min(self.longest_s, self.first_s * 2.0 ** min(attempt - 1, 32))


class WebhookExecutor:
    """Calls ``url`` for each task, signed with ``secret``.

    ``rules``: where it may go, as for probes; names are looked up and the addresses asked about again. ``trust``: the
    certificates that are trusted, None: the system's. Raises InvalidInputError for a URL that the rules do not allow or
    a secret of less than 16 bytes.
    """

    def __init__(
        self,
        url: str,
        secret: str | bytes,
        *,
        rules: TargetRules | None = None,
        pauses: Pauses | None = None,
        trust: ssl.SSLContext | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._rules = rules or TargetRules(schemes=frozenset({"http", "https"}))
        check_target(url, self._rules, "url")
        self._url = url
        self._secret = secret.encode() if isinstance(secret, str) else bytes(secret)
        if len(self._secret) < SECRET_BYTES:
            raise InvalidInputError("secret", "…", f"a secret of at least {SECRET_BYTES} bytes")
        self._pauses = pauses or Pauses()
        self._trust: ssl.SSLContext | bool = trust or True
        self._clock = clock or SystemClock()
        self._session: aiohttp.ClientSession | None = None

    async def run(self, task: Task, deadline_s: float) -> TaskResult:
        """Call until there is an answer that settles it, or the deadline has come; never raises for what went wrong."""
        body = payload(task, deadline_s)
        last = "no attempt was made"
        try:
            async with asyncio.timeout(deadline_s):
                attempt = 0
                while True:
                    attempt += 1
                    answer = await self._ask(task, body)
                    if isinstance(answer, TaskResult):
                        return answer
                    last = f"attempt {attempt}: {answer}"
                    await self._clock.sleep(self._pauses.before(attempt))
        except TimeoutError:
            return TaskResult(RunState.UNKNOWN, f"no result within {deadline_s:g} s; {last}")

    async def close(self) -> None:
        """Let go of connections. Safe to call twice."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _ask(self, task: Task, body: bytes) -> TaskResult | str:
        """One attempt: a result, or why to try again."""
        stamp = str(int(self._clock.now()))
        headers = {
            "Content-Type": "application/json",
            KEY: task.operation_id,
            TIMESTAMP: stamp,
            SIGNATURE: sign(self._secret, stamp, body),
        }
        limit = aiohttp.ClientTimeout(total=self._pauses.attempt_s)
        try:
            async with self._open().post(
                self._url, data=body, headers=headers, allow_redirects=False, ssl=self._trust, timeout=limit
            ) as response:
                return _judged(response.status, await _text(response.content))
        except TimeoutError:
            return f"no answer within {self._pauses.attempt_s:g} s"
        except ForbiddenTargetError as err:
            return TaskResult(RunState.FAILED, str(err))
        except (aiohttp.ClientError, OSError) as err:
            return f"{type(err).__name__}: {err}"

    def _open(self) -> aiohttp.ClientSession:
        """The one session; made on first use, because it belongs to the running loop."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=CheckedResolver(self._rules)),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "multi-region"},
            )
        return self._session


def payload(task: Task, deadline_s: float) -> bytes:
    """The body of a call."""
    return json.dumps(
        {
            "operation_id": task.operation_id,
            "deployment_id": task.deployment_id,
            "service": task.service,
            "region_id": task.region_id,
            "action": task.action.value,
            "attempt": task.attempt,
            "facts": dict(task.facts),
            "deadline_s": round(deadline_s, 3),
        },
        sort_keys=True,
    ).encode()


def sign(secret: bytes, timestamp: str, body: bytes) -> str:
    """The signature header's value."""
    return "sha256=" + hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def verify(
    secret: bytes, timestamp: str, body: bytes, signature: str, now: float, tolerance_s: float = TOLERANCE_S
) -> bool:
    """Whether a call was signed with ``secret``, not altered, and not longer than ``tolerance_s`` ago.

    ``now`` in seconds since the epoch. Compares in constant time.
    """
    genuine = hmac.compare_digest(sign(secret, timestamp, body).encode(), signature.encode())
    fresh = timestamp.isascii() and timestamp.isdigit() and abs(now - int(timestamp)) <= tolerance_s
    return genuine and fresh


def _judged(status: int, text: str) -> TaskResult | str:
    said = f"status {status}: {text}" if text else f"status {status}"
    if 200 <= status < 300:
        return TaskResult(RunState.SUCCEEDED, text)
    if status >= 500 or status in AGAIN:
        return said
    return TaskResult(RunState.FAILED, f"{said} (redirects are not followed)" if 300 <= status < 400 else said)


async def _text(content: aiohttp.StreamReader) -> str:
    """An answer's beginning, as text."""
    body = bytearray()
    while len(body) < BODY_BYTES and (chunk := await content.read(BODY_BYTES - len(body))):
        body += chunk
    return body.decode(errors="replace").strip()


class ForbiddenTargetError(Exception):
    """A name that leads to an address where no call may go."""


class CheckedResolver(AbstractResolver):
    """Looks names up as probes do, on a machine without a network too, and refuses addresses that the rules forbid."""

    def __init__(self, rules: TargetRules) -> None:
        self._rules = rules

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        infos = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        found = [_resolved(host, family, proto, address) for family, _, proto, _, address in infos]
        for one in found:
            objection = target_objection(one["host"], self._rules)
            if objection is not None:
                raise ForbiddenTargetError(f"{host} leads where no call may go: {objection}")
        return found

    async def close(self) -> None:
        """Nothing is held."""


def _resolved(host: str, family: int, proto: int, address: tuple[object, ...]) -> ResolveResult:
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(
        hostname=host, host=str(address[0]), port=int(str(address[1])), family=family, proto=proto, flags=flags
    )
