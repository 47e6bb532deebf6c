"""One process of the supervisor's: started, waited for, listened to, stopped."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from .heartbeat import Pulse
from .line import Boot, UpperEnd

log = structlog.get_logger(__name__)


@dataclass(eq=False)
class Child:
    """A process that is begun again whenever it ends. ``arguments``: what follows its line on the command line.

    ``silence_s``: how long it may say nothing before it is taken to hang; ``start_s``: the same until its first word.
    """

    name: str
    module: str
    silence_s: float
    start_s: float
    arguments: tuple[int, ...] = ()
    fds: tuple[int, ...] = ()
    pid: int | None = None
    line: UpperEnd | None = None
    process: asyncio.subprocess.Process | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    _begun_at: float = 0.0

    async def begin(self, boot: Boot) -> bool:
        """Start it, and wait until it is ready; False when it ended instead. Raises OSError when there can be none."""
        self.line, theirs = await UpperEnd.open()
        self._begun_at = asyncio.get_running_loop().time()
        try:
            with theirs:
                self.process = await self._start(theirs.fileno())
        except OSError:
            self.line.close()
            raise
        self.pid = self.process.pid
        self.line.say(boot)
        if await self.line.ready():
            self.ready.set()
        return self.ready.is_set()

    async def _start(self, line_fd: int) -> asyncio.subprocess.Process:
        arguments = map(str, (line_fd, *self.arguments, *self.fds))
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", self.module, *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=(line_fd, *self.fds),
            start_new_session=True,  # Ctrl-C reaches the supervisor alone, which ends the others in order
        )

    async def ended(self) -> int:
        """Wait for its end; its exit code."""
        assert self.process is not None and self.line is not None
        code = await self.process.wait()
        self.ready.clear()
        self.line.close()
        self.process = None
        return code

    def pulse(self) -> Pulse | None:
        """When it was last heard of; None while it does not run."""
        if self.process is None or self.line is None:
            return None
        heard_at = self.line.heard_at
        if heard_at is None:
            return Pulse(self.name, self._begun_at, self.start_s, ready=False)
        return Pulse(self.name, heard_at, self.silence_s, self.ready.is_set())

    async def stop(self, grace_s: float) -> None:
        """Ask it to stop, and kill it when it does not."""
        if self.process is None:
            return
        self.kill(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace_s):
                await self.process.wait()
        except TimeoutError:
            log.error(f"{self.name} did not stop", pid=self.pid)
            self.kill()
            await self.process.wait()
        if self.line is not None:
            self.line.close()

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send it a signal, if it is there."""
        if self.process is not None and self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.send_signal(number)
