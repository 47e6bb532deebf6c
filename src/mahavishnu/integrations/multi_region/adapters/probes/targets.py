"""Names to addresses, each address judged before anything connects to it, and what went wrong in a few words.

Enforces ``core/targets.py`` where it counts: after the name was looked up and again as the socket opens, so that a name
which changes its answer gains nothing.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from mahavishnu.integrations.multi_region.core.targets import (
    TargetRules,
    host_objection,
    literal_address,
    target_objection,
)

Lookup = Callable[[str, int], Awaitable[Sequence[str]]]
"""Looks a name up: (host, port) to its IP addresses; raises OSError (``socket.gaierror``) when there are none."""

_LOOKUPS_AT_ONCE = 32


class TargetRefused(OSError):
    """The rules do not allow this target; nothing was sent. An OSError, because connectors carry those through."""


class TargetGuard:
    """Holds the rules and looks names up; shared by all probes.

    ``lookup`` replaces the operating system's resolver. Lookups run in threads of their own: a name server that hangs
    must not starve everything else that uses the loop's default threads.
    """

    def __init__(self, rules: TargetRules | None = None, lookup: Lookup | None = None) -> None:
        self.rules = rules or TargetRules()
        self._lookup = lookup or self._ask_system
        self._threads: ThreadPoolExecutor | None = None

    def admit_scheme(self, scheme: str) -> None:
        """Raise TargetRefused when URLs of this scheme may not be probed."""
        if scheme not in self.rules.schemes:
            raise TargetRefused(f"the scheme {scheme[:20]!r} is not allowed")

    def admit_host(self, host: str) -> None:
        """Raise TargetRefused when the host, as it is written, may not be probed."""
        if objection := host_objection(host, self.rules):
            raise TargetRefused(objection)

    def admit_address(self, address: str) -> None:
        """Raise TargetRefused when this IP address may not be probed."""
        if objection := target_objection(address, self.rules):
            raise TargetRefused(objection)

    async def addresses(self, host: str, port: int) -> list[str]:
        """The host's IP addresses; raises TargetRefused when any of them is refused, OSError when there are none."""
        self.admit_host(host)
        literal = literal_address(host)
        found = [str(literal)] if literal else list(dict.fromkeys(await self._lookup(host, port)))
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        for address in found:
            self.admit_address(address)
        return found

    def open_socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        """A socket for a connector that is about to connect to ``info``; raises TargetRefused."""
        family, kind, protocol, _, address = info
        self.admit_address(str(address[0]))
        return socket.socket(family=family, type=kind, proto=protocol)

    def close(self) -> None:
        """Let go of the lookup threads; lookups that wait are dropped."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None

    async def _ask_system(self, host: str, port: int) -> Sequence[str]:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_LOOKUPS_AT_ONCE, thread_name_prefix="probe-lookup")
        loop = asyncio.get_running_loop()
        infos = await loop.run_in_executor(self._threads, _getaddrinfo, host, port)
        return [str(info[4][0]) for info in infos]


class GuardedResolver(AbstractResolver):
    """aiohttp's view of a TargetGuard."""

    def __init__(self, guard: TargetGuard) -> None:
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The allowed addresses of a host."""
        found = await self._guard.addresses(host, port)
        return [
            ResolveResult(hostname=host, host=ip, port=port, family=family_of(ip), proto=0, flags=socket.AI_NUMERICHOST)
            for ip in found
        ]

    async def close(self) -> None:
        """Nothing to let go of: the guard outlives the resolver."""


def family_of(address: str) -> socket.AddressFamily:
    """The socket family of an IP address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def failure_reason(err: BaseException) -> str:
    """Why a probe got no answer, short and exact, for people."""
    if isinstance(err, aiohttp.ClientConnectorCertificateError):
        return failure_reason(err.certificate_error)
    if isinstance(err, aiohttp.ClientConnectorError):
        return failure_reason(err.os_error)
    if isinstance(err, TargetRefused):
        return f"target refused: {err}"
    if isinstance(err, aiohttp.ClientError):
        return _client_reason(err)
    if isinstance(err, ssl.SSLError):
        return _tls_reason(err)
    if isinstance(err, OSError):
        return _system_reason(err)
    return f"cannot be asked: {err}"


def _client_reason(err: aiohttp.ClientError) -> str:
    """What aiohttp found wrong once it had a connection."""
    if isinstance(err, aiohttp.ServerDisconnectedError):
        return "connection closed before an answer"
    if isinstance(err, aiohttp.ClientPayloadError):
        return "connection lost within the body" if _lost(err) else "body is malformed"
    if isinstance(err, aiohttp.ClientResponseError):
        return "answer is not HTTP/1.1"
    if isinstance(err, aiohttp.InvalidURL):
        return f"cannot be asked: {err}"
    return _system_reason(err) if isinstance(err, OSError) else "connection lost"


def _lost(err: BaseException) -> bool:
    """Whether the body ended because the connection did."""
    cause = err.__cause__ or err
    return isinstance(cause, OSError | aiohttp.ClientConnectionError) or "not completed" in str(err).lower()


def _tls_reason(err: ssl.SSLError) -> str:
    if isinstance(err, ssl.SSLCertVerificationError):
        return f"certificate is not trusted: {err.verify_message}"
    return f"TLS failed: {(err.reason or 'no reason given').lower().replace('_', ' ')}"


def _system_reason(err: OSError) -> str:
    """What the operating system said."""
    if isinstance(err, socket.gaierror):
        return f"name does not resolve: {(err.strerror or 'no reason given').lower()}"
    if isinstance(err, ConnectionRefusedError) or err.errno == errno.ECONNREFUSED:
        return "connection refused"
    if isinstance(err, ConnectionError) or err.errno == errno.ECONNRESET:
        return "connection reset"
    return os.strerror(err.errno).lower() if err.errno else f"connection failed: {err}"


def timeout_reason(timeout_s: float) -> str:
    """The words for a probe whose time, in seconds, was up."""
    return f"timed out after {timeout_s * 1000:.0f} ms"


def _getaddrinfo(host: str, port: int) -> list[tuple[object, object, object, object, tuple[object, ...]]]:
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
