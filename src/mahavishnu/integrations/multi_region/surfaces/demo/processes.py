"""Processes of the demo: started, waited for until they say that they are ready, and ended by their own id.

Each has a process group of its own, so that Ctrl-C at the keyboard reaches the director alone, and a pipe as standard
input, whose end tells it to stop even when the director was killed.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from mahavishnu.integrations.multi_region.errors import UnavailableError
from mahavishnu.integrations.multi_region.settings import PREFIX

READY_WITHIN_S = 30.0
END_WITHIN_S = 5.0
KEPT_LINES = 4


class Child:
    """One running process. Made by ``start``."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self._process = process
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._drain: asyncio.Task[None] | None = None
        atexit.register(self._end_at_exit)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None

    async def said(self, marker: str) -> str:
        """The rest of the first line that holds ``marker``. Raises UnavailableError when it does not come."""
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                found = await self._find(marker)
        except TimeoutError:
            raise UnavailableError(
                f"{self.name} was not ready within {READY_WITHIN_S:g} s{self._last_words()}"
            ) from None
        self._drain = asyncio.create_task(self._keep_reading(), name=f"output of {self.name}")
        return found

    async def _find(self, marker: str) -> str:
        while line := await self._read():
            _, found, rest = line.partition(marker)
            if found:
                return rest.strip()
        raise UnavailableError(f"{self.name} ended before it was ready{self._last_words()}")

    async def _keep_reading(self) -> None:
        """Whatever it prints must go somewhere, or it would wait for a reader."""
        while await self._read():
            pass

    async def _read(self) -> str:
        assert self._process.stdout is not None
        try:
            line = (await self._process.stdout.readline()).decode(errors="replace")
        except ValueError:  # a line longer than the reader's buffer
            line = "…\n"
        if line.strip():
            self._lines.append(line.rstrip())
        return line

    def _last_words(self) -> str:
        return f"; it said: {' / '.join(self._lines)}" if self._lines else ""

    def tell(self, line: str) -> None:
        """Write one line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())

    def send(self, what: signal.Signals) -> None:
        """Send it a signal, if it has not ended."""
        if self.running:
            os.kill(self.pid, what)

    async def end(self, within_s: float = END_WITHIN_S) -> None:
        """End it and wait for that: its input ends, then SIGTERM (and SIGCONT, should it be stopped), then SIGKILL.

        ``within_s``: how long SIGTERM may take.
        """
        if self._process.stdin is not None:
            self._process.stdin.close()
        for what in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                self.send(what)
                self.send(signal.SIGCONT)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await self._process.wait()
                break
        await self._forget()

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        with contextlib.suppress(ProcessLookupError):
            self.send(signal.SIGKILL)
        await self._process.wait()
        await self._forget()

    async def _forget(self) -> None:
        if self._drain is not None:
            self._drain.cancel()
            await asyncio.gather(self._drain, return_exceptions=True)
        atexit.unregister(self._end_at_exit)

    def _end_at_exit(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.send(signal.SIGKILL)


NOTHING: Mapping[str, str] = MappingProxyType({})


async def start(
    name: str,
    module: str,
    arguments: Sequence[str],
    *,
    before: Sequence[str] = (),
    env: Mapping[str, str] = NOTHING,
) -> Child:
    """Start ``python -m module arguments`` with this interpreter; our settings in the environment do not reach it.

    ``before``: the beginning of the command, of a program that becomes the one named after it. ``env``: is added.
    """
    process = await asyncio.create_subprocess_exec(
        *before,
        sys.executable,
        "-u",
        "-m",
        module,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={k: value for k, value in os.environ.items() if not k.upper().startswith(PREFIX)} | dict(env),
        process_group=0,
    )
    return Child(name, process)
