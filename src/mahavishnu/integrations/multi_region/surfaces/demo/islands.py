"""A process with a network of its own, whose packets can be dropped both ways: nobody is told, nothing answers.

The process runs in a fresh network namespace that has no name: it is gone with the process, and so is the wire to it.
Packets are dropped by sending them to a card that does not exist, at both ends of the wire.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from mahavishnu.integrations.multi_region.errors import UnavailableError

ALONE = ("unshare", "--net")
"""The beginning of a command that runs in a network of its own."""

TOOLS = ("ip", "unshare", "nsenter")
_FIRST = IPv4Address("198.18.0.0")  # RFC 2544 keeps 198.18.0.0/15 for tests like this one
_NETWORKS = 2**17 // 4
_NOBODY = "02:00:00:00:00:01"
_FAR = "eth0"


def why_not() -> str | None:
    """What is missing to make such networks here; None when nothing is."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"there is no {' and no '.join(missing)} here"
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    wrong = _rehearse()
    return f"no network can be made and cut off here: {wrong}" if wrong else None


def _rehearse() -> str:
    """What goes wrong when a network is made, wired, cut off and taken away; empty when nothing does."""
    waiting = (*ALONE, "sh", "-c", "echo && exec cat")
    with subprocess.Popen(waiting, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as alone:
        assert alone.stdout is not None
        if said := alone.stdout.readline().strip():
            return said.decode(errors="replace")
        island = Island(alone.pid)
        try:
            return next(filter(None, map(_failing, (*island.laying(), *island.cutting()))), "")
        finally:
            _failing(("ip", "link", "del", island.device))


def _failing(command: Sequence[str]) -> str:
    """Carry a command out; what it said if it failed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"{' '.join(command)}: {done.stderr.strip()}" if done.returncode else ""


@dataclass(frozen=True, slots=True)
class Island:
    """The network of the process ``pid``. Made by ``wire``."""

    pid: int

    @property
    def here(self) -> str:
        """Our own address on the wire."""
        return str(_FIRST + 4 * (self.pid % _NETWORKS) + 1)

    @property
    def there(self) -> str:
        """The process's address."""
        return str(_FIRST + 4 * (self.pid % _NETWORKS) + 2)

    @property
    def device(self) -> str:
        """Our end of the wire."""
        return f"mrd{self.pid}"

    async def cut(self) -> None:
        """Drop every packet from now on. Raises UnavailableError."""
        for command in self.cutting():
            await _run(command)

    async def mend(self) -> None:
        """Let packets arrive again. Raises UnavailableError."""
        for inside, (device, far) in self._ends():
            await _run(self._ip(inside, "neigh", "del", far, "dev", device))

    def laying(self) -> Iterator[tuple[str, ...]]:
        """The commands that lay the wire."""
        yield self._ip(False, "link", "add", self.device, "type", "veth", "peer", "name", _FAR, "netns", str(self.pid))
        for inside, device, own in ((False, self.device, self.here), (True, _FAR, self.there)):
            yield self._ip(inside, "address", "add", f"{own}/30", "dev", device)
            yield self._ip(inside, "link", "set", device, "up")

    def cutting(self) -> Iterator[tuple[str, ...]]:
        """The commands that send all packets to nobody."""
        for inside, (device, far) in self._ends():
            yield self._ip(inside, "neigh", "replace", far, "lladdr", _NOBODY, "dev", device, "nud", "permanent")

    def _ends(self) -> tuple[tuple[bool, tuple[str, str]], ...]:
        """Whether it is the end inside, its device, and the address of the other end."""
        return (False, (self.device, self.there)), (True, (_FAR, self.here))

    def _ip(self, inside: bool, *arguments: str) -> tuple[str, ...]:
        enter = ("nsenter", f"--net=/proc/{self.pid}/ns/net") if inside else ()
        return (*enter, "ip", *arguments)


async def wire(pid: int) -> Island:
    """Lay a wire to a process that was started with ``ALONE``. Raises UnavailableError."""
    island = Island(pid)
    for command in island.laying():
        await _run(command)
    return island


async def _run(command: Sequence[str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    if process.returncode:
        raise UnavailableError(f"{' '.join(command)}: {said.decode(errors='replace').strip()}")
