"""Asks a region over TCP: a connection that is accepted within the time is a pass. Nothing is sent.

Says only that something listens. A process that hangs behind an open port still passes, so prefer HTTP where it is
spoken.
"""

from __future__ import annotations

import asyncio
import socket
import time

from mahavishnu.integrations.multi_region.core.model import HealthCheck
from mahavishnu.integrations.multi_region.core.targets import TargetRules, parse_target
from mahavishnu.integrations.multi_region.ports.probe import ProbeResult

from .targets import TargetGuard, failure_reason, family_of, timeout_reason


class TcpProbe:
    """The Probe port over TCP: ``tcp://host:port``, or an HTTP URL (port 80 or 443 when it names none)."""

    def __init__(self, *, guard: TargetGuard | None = None) -> None:
        self._guard = guard or TargetGuard(TargetRules())

    async def ask(self, endpoint: str, check: HealthCheck) -> ProbeResult:
        """One connection, opened and closed; ``check.url`` overrides the endpoint."""
        started = time.perf_counter()
        objection = await self._within_deadline(check.url or endpoint, check.timeout_s)
        return ProbeResult(objection is None, (time.perf_counter() - started) * 1000.0, objection or "")

    async def close(self) -> None:
        """Let go of lookup threads."""
        self._guard.close()

    async def _within_deadline(self, url: str, timeout_s: float) -> str | None:
        try:
            async with asyncio.timeout(timeout_s) as deadline:
                await self._connect(url)
        except (OSError, ValueError) as err:  # TimeoutError is an OSError
            return timeout_reason(timeout_s) if deadline.expired() else failure_reason(err)
        return None

    async def _connect(self, url: str) -> None:
        """Connect to the first address that accepts; raises the last one's error when none does."""
        target = parse_target(url)
        self._guard.admit_scheme(target.scheme)
        failure: OSError | None = None
        for address in await self._guard.addresses(target.host, target.port):
            try:
                return await _touch(address, target.port)
            except OSError as err:
                failure = err
        if failure is not None:
            raise failure


async def _touch(address: str, port: int) -> None:
    """Open a connection and close it."""
    with socket.socket(family_of(address), socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (address, port))
