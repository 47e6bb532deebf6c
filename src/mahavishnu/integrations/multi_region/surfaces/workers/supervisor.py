"""The parent of all: owns the listening sockets, keeps a controller and N workers running, ends them in good order."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import structlog

from .line import Boot, Listening, UpperEnd

WORKER = "mahavishnu.integrations.multi_region.surfaces.workers.worker"
GRACE_S = 10.0
"""How long after a process should have stopped it is killed."""

SHORTEST_LIFE_S = 10.0
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
"""A process that lived shorter is begun again after a pause, which doubles each time."""

PLACE = "multi-region-"
LONGEST_PLACE = 90
"""How many bytes the path of a directory may have; systems allow those of sockets a hundred or so."""

log = structlog.get_logger(__name__)

Ready = Callable[[Mapping[str, object]], None]
"""Called once with the ids of the processes, when all of them answer."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run. ``sockets``: a listening socket for each worker, all at one address; ``controller``: its module."""

    boot: Boot
    sockets: Sequence[socket.socket]
    controller: str
    ready: Ready


def supervise(plan: Plan) -> int:
    """Run until told to stop by SIGTERM or SIGINT; the exit code: 0, or that of a controller that could not begin."""
    place = _private_place()
    try:
        return asyncio.run(_Supervisor(replace(plan, boot=replace(plan.boot, place=place))).run())
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _private_place() -> Path:
    """A new directory of mode 700, near enough to the root for the paths of sockets in it."""
    place = Path(tempfile.mkdtemp(prefix=PLACE))
    if len(os.fsencode(place)) <= LONGEST_PLACE:
        return place
    place.rmdir()
    return Path(tempfile.mkdtemp(prefix=PLACE, dir="/tmp"))


def pause_after(short_lives: int) -> float:
    """Seconds to wait before a process is begun again; ``short_lives``: how often running it did not live long."""
    if not short_lives:
        return 0.0
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(short_lives - 1, 10))


@dataclass(eq=False)
class _Child:
    """A process that is begun again whenever it ends. ``arguments``: what follows its line on the command line."""

    name: str
    module: str
    arguments: tuple[int, ...] = ()
    fds: tuple[int, ...] = ()
    pid: int | None = None
    line: UpperEnd | None = None
    process: asyncio.subprocess.Process | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    async def begin(self, boot: Boot) -> bool:
        """Start it, and wait until it is ready; False when it ended instead. Raises OSError when there can be none."""
        self.line, theirs = await UpperEnd.open()
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

    async def stop(self, grace_s: float) -> None:
        """Ask it to stop, and kill it when it does not."""
        if self.process is None:
            return
        self.kill(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.process.wait(), grace_s)
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


class _Supervisor:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._boot = plan.boot
        self._grace_s = plan.boot.settings.drain_timeout + GRACE_S
        fds = tuple(sock.fileno() for sock in plan.sockets)
        self._controller = _Child("controller", plan.controller)
        self._workers = [_Child(f"worker {n}", WORKER, (n,), fds) for n in range(len(fds))]
        self._stop = asyncio.Event()

    async def run(self) -> int:
        """Run until told to stop; the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._told_to_stop)
        keeping: list[asyncio.Task[None]] = []
        try:
            return await self._run(keeping)
        finally:
            for sock in self._plan.sockets:
                sock.close()
            for task in keeping:
                task.cancel()
            await asyncio.gather(*keeping, return_exceptions=True)
            await self._stop_all()

    async def _run(self, keeping: list[asyncio.Task[None]]) -> int:
        begun = await self._unless_stopped(self._controller.begin(self._boot))
        if begun is None:
            return 0
        if not begun:
            return await self._controller.ended()
        log.info("controller started", pid=self._controller.pid)
        # What the API has changed since must not be undone by a restart; memory alone has to be filled again.
        world = self._boot.world if self._boot.settings.store_path is None else None
        again = replace(self._boot, world=world)
        keeping.append(asyncio.create_task(self._keep(self._controller, again)))
        keeping += [asyncio.create_task(self._keep(worker, again)) for worker in self._workers]
        if await self._unless_stopped(self._all_ready()):
            self._plan.ready({"controller": self._controller.pid, "workers": [worker.pid for worker in self._workers]})
            await self._stop.wait()
        return 0

    async def _all_ready(self) -> bool:
        for worker in self._workers:
            await worker.ready.wait()
        return True

    async def _unless_stopped(self, what: Coroutine[Any, Any, bool]) -> bool | None:
        """What it comes to; None when it is time to stop first."""
        doing, stopping = asyncio.create_task(what), asyncio.create_task(self._stop.wait())
        await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        left = [task for task in (doing, stopping) if not task.done()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        return None if doing.cancelled() else doing.result()

    async def _keep(self, child: _Child, boot: Boot) -> None:
        """Begin a process again whenever it ends."""
        loop = asyncio.get_running_loop()
        since, short_lives = loop.time(), 0
        while True:
            what: dict[str, object] = {}
            try:
                if child.process is None and await child.begin(boot):
                    log.info(f"{child.name} started", pid=child.pid)
                    self._share()
                what = {"pid": child.pid, "code": await child.ended()}
            except OSError as err:  # too many processes or descriptors, or no memory: that may pass
                what = {"error": str(err)}
            self._share()
            lived_s = loop.time() - since
            short_lives = short_lives + 1 if lived_s < SHORTEST_LIFE_S else 0
            pause_s = pause_after(short_lives)
            log.error(f"{child.name} {'ended' if 'code' in what else 'cannot be started'}", **what, again_in_s=pause_s)
            await asyncio.sleep(pause_s)
            since = loop.time()

    def _share(self) -> None:
        """Let a worker that is there accept the connections that wait for those that are not."""
        missing = frozenset(n for n, worker in enumerate(self._workers) if not worker.ready.is_set())
        able = [worker.line for worker in self._workers if worker.ready.is_set() and worker.line is not None]
        for position, line in enumerate(able):
            line.say(Listening(missing if position == 0 else frozenset()))

    def _told_to_stop(self) -> None:
        """The first signal asks all to stop; the second does not wait for them."""
        if self._stop.is_set():
            for child in (*self._workers, self._controller):
                child.kill()
        self._stop.set()

    async def _stop_all(self) -> None:
        """Workers first, so that what they have passed on is answered."""
        await asyncio.gather(*(worker.stop(self._grace_s) for worker in self._workers))
        await self._controller.stop(self._grace_s)
