"""A process with a network of its own, whose packets can be dropped both ways: nobody is told, nothing answers.

The process runs in a fresh network namespace that has no name: it is gone with the process, and so is the wire to it.
Packets are dropped by sending them to a card that does not exist, at both ends of the wire.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
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
    tried = subprocess.run([*ALONE, "true"], capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else f"no network namespace can be made here: {tried.stderr.strip()}"


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
        for inside, (device, far) in self._ends():
            await self._ip(inside, "neigh", "replace", far, "lladdr", _NOBODY, "dev", device, "nud", "permanent")

    async def mend(self) -> None:
        """Let packets arrive again. Raises UnavailableError."""
        for inside, (device, far) in self._ends():
            await self._ip(inside, "neigh", "del", far, "dev", device)

    def _ends(self) -> tuple[tuple[bool, tuple[str, str]], ...]:
        """Whether it is the end inside, its device, and the address of the other end."""
        return (False, (self.device, self.there)), (True, (_FAR, self.here))

    async def _ip(self, inside: bool, *arguments: str) -> None:
        enter = ("nsenter", f"--net=/proc/{self.pid}/ns/net") if inside else ()
        command = (*enter, "ip", *arguments)
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        _, said = await process.communicate()
        if process.returncode:
            raise UnavailableError(f"{' '.join(command)}: {said.decode(errors='replace').strip()}")

    async def _lay(self) -> None:
        await self._ip(False, "link", "add", self.device, "type", "veth", "peer", "name", _FAR, "netns", str(self.pid))
        for inside, device, own in ((False, self.device, self.here), (True, _FAR, self.there)):
            await self._ip(inside, "address", "add", f"{own}/30", "dev", device)
            await self._ip(inside, "link", "set", device, "up")


async def wire(pid: int) -> Island:
    """Lay a wire to a process that was started with ``ALONE``. Raises UnavailableError."""
    island = Island(pid)
    await island._lay()
    return island
