"""Runs the operator's command for each region, without a shell. Exit code 0 is success, any other is failure.

The command learns what to do from its environment (``environment`` lists the names). It runs in a process group of its
own, and whatever it leaves running there is ended with it. A command that outlives its deadline is ended; how far it
came nobody can tell, so that is unknown. When this process is killed the command goes on: it may be asked for again,
under the same operation id, and doing it twice must do no harm.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from io import FileIO

from mahavishnu.integrations.multi_region.core.deployment import RunState
from mahavishnu.integrations.multi_region.errors import InvalidInputError
from mahavishnu.integrations.multi_region.ports.executor import Task, TaskResult

OUTPUT_BYTES = 16 * 1024
"""How much of the end of a command's output is kept."""

INHERITED = ("PATH", "HOME", "LANG", "TZ", "TMPDIR")
"""What a command is given of this process's own environment; no secret of ours is among it."""

DRAIN_S = 0.5
"""How long the output is still read after the command has ended, should something it left hold the pipe open."""


class CommandExecutor:
    """Runs ``argv`` for each task.

    ``environment``: variables for the command besides ours. ``grace_s``: seconds between asking a command that is to
    end (SIGTERM) and ending it (SIGKILL). Raises InvalidInputError for an ``argv`` that is no list of texts.
    """

    def __init__(
        self, argv: Sequence[str], *, environment: Mapping[str, str] | None = None, grace_s: float = 5.0
    ) -> None:
        if isinstance(argv, str) or not argv or not all(isinstance(part, str) for part in argv) or not argv[0]:
            raise InvalidInputError("argv", argv, "a command and its arguments, as a list of texts: no shell reads it")
        if not grace_s >= 0:
            raise InvalidInputError("grace_s", grace_s, "a number of seconds, 0 or more")
        self._argv = tuple(argv)
        self._environment = dict(environment or {})
        self._grace_s = grace_s

    async def run(self, task: Task, deadline_s: float) -> TaskResult:
        """Run the command once; whatever it does is a result. Ends it when cancelled."""
        tail = _Tail()
        # A pipe of our own: asyncio's would let whatever the command leaves behind hold up the news that it has ended.
        readable, writable = os.pipe()
        with os.fdopen(readable, "rb", buffering=0) as output:
            try:
                process = await self._start(task, deadline_s, writable)
            except (OSError, ValueError) as err:  # nothing has begun
                return TaskResult(RunState.FAILED, f"{self._argv[0]} cannot be started: {err}")
            finally:
                os.close(writable)
            reading = asyncio.create_task(_read(output, tail))
            try:
                in_time = await self._wait(process, deadline_s)
                await asyncio.wait({reading}, timeout=DRAIN_S)
            finally:
                _signal(process, signal.SIGKILL)  # what it left behind, or all of it when this was cancelled twice
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
        return _result(process.returncode, in_time, deadline_s, tail.text)

    async def close(self) -> None:
        """Nothing is held between tasks."""

    async def _start(self, task: Task, deadline_s: float, output: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self._argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=self._environment_for(task, deadline_s),
            start_new_session=True,
        )

    async def _wait(self, process: asyncio.subprocess.Process, deadline_s: float) -> bool:
        """Whether the command ended by itself; it has ended in any case."""
        try:
            async with asyncio.timeout(deadline_s):
                await process.wait()
            return True
        except TimeoutError:
            await self._end(process)
            return False
        except asyncio.CancelledError:
            await self._end(process)
            raise

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        """Ask the whole group to end, and end it when it does not."""
        _signal(process, signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._grace_s):
                await process.wait()
        _signal(process, signal.SIGKILL)
        await process.wait()

    def _environment_for(self, task: Task, deadline_s: float) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        return inherited | self._environment | environment(task, deadline_s)


def environment(task: Task, deadline_s: float) -> dict[str, str]:
    """What a command is told: each fact of its region and all of its task, as ``MULTI_REGION_`` and the name."""
    told = {
        **task.facts,
        "operation_id": task.operation_id,
        "deployment_id": task.deployment_id,
        "service": task.service,
        "region_id": task.region_id,
        "action": task.action.value,
        "attempt": str(task.attempt),
        "deadline_s": f"{deadline_s:.3f}",
    }
    return {f"MULTI_REGION_{name.upper()}": value for name, value in told.items()}


class _Tail:
    """The end of an output."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._cut = False

    def add(self, piece: bytes) -> None:
        self._bytes += piece
        if len(self._bytes) > OUTPUT_BYTES:
            self._cut = True
            del self._bytes[:-OUTPUT_BYTES]

    @property
    def text(self) -> str:
        return ("…" if self._cut else "") + self._bytes.decode(errors="replace").strip()


async def _read(output: FileIO, tail: _Tail) -> None:
    """Keep the end of what comes until the other end of the pipe is closed."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), output
    )
    try:
        while piece := await reader.read(OUTPUT_BYTES):
            tail.add(piece)
    finally:
        transport.close()


def _signal(process: asyncio.subprocess.Process, what: signal.Signals) -> None:
    """Send a signal to the command's whole group, if anything of it is left."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, what)


def _result(code: int | None, in_time: bool, deadline_s: float, output: str) -> TaskResult:
    if not in_time:
        state, what = RunState.UNKNOWN, f"ended after {deadline_s:g} s without a result"
    elif code == 0:
        return TaskResult(RunState.SUCCEEDED, output)
    else:
        state = RunState.FAILED
        what = f"exit code {code}" if code is None or code > 0 else f"ended by signal {-code}"
    return TaskResult(state, f"{what}\n{output}" if output else what)
