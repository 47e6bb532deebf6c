"""Looks up the hosts of regions' endpoints, since edges are told addresses only; keeps what it last knew of each.

What was known stays while lookups fail, and with an address book also when the controller starts again.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Set
from contextlib import suppress
from types import MappingProxyType

import structlog

from mahavishnu.integrations.multi_region.core.targets import TargetRules, target_objection

from .address_book import AddressBook
from .parts import Addresses

AGAIN_S = 30.0
"""How long an answer is believed."""

PATIENCE_S = 2.0
"""How long the quick answers wait for the slow ones, and edges for the first answers."""

_AT_ONCE = 16

Lookup = Callable[[str], Awaitable[Iterable[str]]]
"""The IP addresses of a host; raises OSError when there are none."""

log = structlog.get_logger(__name__)


async def system_lookup(host: str) -> list[str]:
    """What the operating system says. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for *_, sockaddr in found]


class Resolver:
    """Addresses of the hosts that are followed. ``changed`` is called on the loop whenever any of them differ, and when
    the wait for hosts that were not looked up before is over.

    ``rules``: where regions may be; an answer that leads elsewhere (a metadata service) is not believed. ``book``:
    where addresses are kept between starts.
    """

    def __init__(
        self,
        changed: Callable[[Addresses], None],
        *,
        lookup: Lookup = system_lookup,
        rules: TargetRules | None = None,
        every_s: float = AGAIN_S,
        patience_s: float = PATIENCE_S,
        book: AddressBook | None = None,
    ) -> None:
        self._changed = changed
        self._lookup = lookup
        self._rules = rules or TargetRules()
        self._every_s = every_s
        self._patience_s = patience_s
        self._book = book or AddressBook()
        self._kept: Addresses = {}
        self._known: dict[str, tuple[str, ...]] = {}
        self._wanted: frozenset[str] = frozenset()
        self._unseen: set[str] = set()
        self._asking: set[str] = set()
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._saving = asyncio.Lock()
        self._fresh = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def addresses(self) -> Addresses:
        """What is known now; a host that was never found is not in it."""
        return MappingProxyType(dict(self._known))

    def awaits(self, hosts: Set[str]) -> bool:
        """Whether any of these is unknown only because its first lookup is under way, and not for long."""
        return any(host in self._unseen and host not in self._known for host in hosts)

    def follow(self, hosts: Iterable[str]) -> None:
        """Look these up from now on, and no others; new ones at once. What was known of others is forgotten."""
        wanted = frozenset(hosts)
        if wanted == self._wanted:
            return
        fresh = wanted - self._wanted
        self._wanted = wanted
        self._known = {host: ips for host, ips in self._known.items() if host in wanted}
        self._known |= {host: self._kept[host] for host in fresh & self._kept.keys()}
        self._unseen = (self._unseen & wanted) | fresh
        if fresh:
            self._fresh.set()

    async def start(self) -> None:
        """Begin; ends with ``close``."""
        kept = await asyncio.to_thread(self._book.load)
        allowed = {host: tuple(ip for ip in ips if self._allowed(host, ip)) for host, ips in kept.items()}
        self._kept = {host: ips for host, ips in allowed.items() if ips}
        self._task = asyncio.create_task(self._forever(), name="resolver")

    async def close(self) -> None:
        """Stop looking; what is known stays."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def look(self, hosts: Iterable[str] | None = None) -> None:
        """Look up these hosts now, all by default, and say so when anything changed: once, and for each slow one."""
        wanted = sorted(set(self._wanted if hosts is None else hosts) - self._asking)
        before = dict(self._known)
        async with asyncio.TaskGroup() as group:
            waiting = {group.create_task(self._one(host)) for host in wanted}
            when, patience_s = asyncio.ALL_COMPLETED, self._patience_s
            while waiting:
                _, waiting = await asyncio.wait(waiting, timeout=patience_s, return_when=when)
                before = await self._tell(before, wanted)
                when, patience_s = asyncio.FIRST_COMPLETED, self._every_s

    async def _tell(self, before: Addresses, looked: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Say what changed, or that nobody need wait any longer; gives what is known now."""
        waited = self._unseen.intersection(looked)
        self._unseen -= waited
        now = dict(self._known)
        if now != before or waited:
            try:
                self._changed(self.addresses)
            except Exception:  # what is wrong with a plan must not end the looking
                log.exception("addresses not taken")
        if now != before:
            async with self._saving:
                await asyncio.to_thread(self._book.save, self.addresses)
        return now

    async def _forever(self) -> None:
        async with asyncio.TaskGroup() as looks:
            while True:
                self._fresh.clear()
                if fresh := self._unseen - self._asking:
                    looks.create_task(self.look(fresh))
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._every_s):
                        await self._fresh.wait()
                        continue
                looks.create_task(self.look())

    async def _one(self, host: str) -> None:
        """One host; on failure what was known of it stays."""
        self._asking.add(host)
        try:
            async with self._gate:
                found = {ip for ip in await self._lookup(host) if self._allowed(host, ip)}
        except (OSError, UnicodeError) as err:
            log.warning("host of a region not found", host=host, error=str(err), known=host in self._known)
            return
        finally:
            self._asking.discard(host)
        if found and host in self._wanted:
            self._known[host] = tuple(sorted(found))

    def _allowed(self, host: str, ip: str) -> bool:
        objection = target_objection(ip, self._rules)
        if objection is not None:
            log.warning("host of a region leads where no region may be", host=host, address=ip, reason=objection)
        return objection is None
