"""Looks up the hosts of regions' endpoints, since edges are told addresses only; keeps what it last knew of each."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from types import MappingProxyType

import structlog

from mahavishnu.integrations.multi_region.core.targets import TargetRules, target_objection

from .parts import Addresses

AGAIN_S = 30.0
"""How long an answer is believed."""

_AT_ONCE = 16

Lookup = Callable[[str], Awaitable[Iterable[str]]]
"""The IP addresses of a host; raises OSError when there are none."""

log = structlog.get_logger(__name__)


async def system_lookup(host: str) -> list[str]:
    """What the operating system says. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for *_, sockaddr in found]


class Resolver:
    """Addresses of the hosts that are followed. ``changed`` is called on the loop whenever any of them differ.

    ``rules``: where regions may be; an answer that leads elsewhere (a metadata service) is not believed.
    """

    def __init__(
        self,
        changed: Callable[[Addresses], None],
        *,
        lookup: Lookup = system_lookup,
        rules: TargetRules | None = None,
        every_s: float = AGAIN_S,
    ) -> None:
        self._changed = changed
        self._lookup = lookup
        self._rules = rules or TargetRules()
        self._every_s = every_s
        self._known: dict[str, tuple[str, ...]] = {}
        self._wanted: frozenset[str] = frozenset()
        self._fresh = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def addresses(self) -> Addresses:
        """What is known now; a host that was never found is not in it."""
        return MappingProxyType(dict(self._known))

    def follow(self, hosts: Iterable[str]) -> None:
        """Look these up from now on, and no others; new ones at once. What was known of others is forgotten."""
        wanted = frozenset(hosts)
        if wanted == self._wanted:
            return
        self._wanted = wanted
        self._known = {host: ips for host, ips in self._known.items() if host in wanted}
        if wanted - self._known.keys():
            self._fresh.set()

    async def start(self) -> None:
        """Begin; ends with ``close``."""
        self._task = asyncio.create_task(self._forever(), name="resolver")

    async def close(self) -> None:
        """Stop looking; what is known stays."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def look(self, hosts: Iterable[str] | None = None) -> None:
        """Look up these hosts now, all by default, and say so when anything changed."""
        gate = asyncio.Semaphore(_AT_ONCE)
        wanted = sorted(self._wanted if hosts is None else hosts)
        before = dict(self._known)
        await asyncio.gather(*(self._one(host, gate) for host in wanted))
        if self._known != before:
            self._changed(self.addresses)

    async def _forever(self) -> None:
        while True:
            self._fresh.clear()
            await self.look(self._wanted - self._known.keys())
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._fresh.wait()
                    continue
            await self.look()

    async def _one(self, host: str, gate: asyncio.Semaphore) -> None:
        """One host; on failure what was known of it stays."""
        async with gate:
            try:
                found = {ip for ip in await self._lookup(host) if self._allowed(host, ip)}
            except OSError as err:
                log.warning("host of a region not found", host=host, error=str(err), known=host in self._known)
                return
        if found and host in self._wanted:
            self._known[host] = tuple(sorted(found))

    def _allowed(self, host: str, ip: str) -> bool:
        objection = target_objection(ip, self._rules)
        if objection is not None:
            log.warning("host of a region leads where no region may be", host=host, address=ip, reason=objection)
        return objection is None
