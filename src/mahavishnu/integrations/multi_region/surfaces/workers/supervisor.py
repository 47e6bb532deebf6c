"""The parent of all: owns the listening sockets, keeps a controller and N workers running, ends them in good order."""

from __future__ import annotations

import asyncio
import math
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog

from .child import Child
from .heartbeat import CONTROLLER_S, LOOK_EVERY_S, START_S, WORKER_S, Verdict, Watch, judge
from .line import Boot, Listening

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


class _Supervisor:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._boot = plan.boot
        self._grace_s = plan.boot.settings.drain_timeout + GRACE_S
        fds = tuple(sock.fileno() for sock in plan.sockets)
        # A controller that begins may have much to read and to apply, and whoever started it sees how that goes.
        self._controller = Child("controller", plan.controller, CONTROLLER_S, math.inf)
        self._workers = [Child(f"worker {n}", WORKER, WORKER_S, START_S, (n,), fds) for n in range(len(fds))]
        self._quiet: frozenset[str] = frozenset()
        self._silent: dict[str, tuple[int | None, float]] = {}  # the last sign of life of who was said to be silent
        self._stop = asyncio.Event()

    @property
    def _children(self) -> tuple[Child, ...]:
        return (*self._workers, self._controller)

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
        keeping.append(asyncio.create_task(self._watch()))
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

    async def _keep(self, child: Child, boot: Boot) -> None:
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

    async def _watch(self) -> None:
        """Notice processes that hang: let neighbours take the place of one that is quiet, end one that stays so."""
        loop = asyncio.get_running_loop()
        watch = Watch(loop.time(), loop.time())
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            pulses = [pulse for child in self._children if (pulse := child.pulse()) is not None]
            verdict = judge(watch, pulses, loop.time())
            watch = verdict.watch
            self._tell_who_is_back()
            self._act_on(verdict)

    def _act_on(self, verdict: Verdict) -> None:
        if verdict.held_up_s:
            log.warning("the supervisor was held up: no silence until now counts", for_s=round(verdict.held_up_s, 1))
        before, self._quiet = self._quiet, verdict.quiet
        for child in self._children:
            about = {"pid": child.pid, "silent_s": round(verdict.silent_s.get(child.name, 0.0), 1)}
            if child.name in self._quiet - before:
                log.warning(f"{child.name} is silent", **about)
                self._silent[child.name] = _life_of(child)
            if child.name == verdict.hangs:
                log.error(f"{child.name} hangs and is killed", **about)
                child.kill()
                self._silent.pop(child.name, None)
        if self._quiet != before:
            self._share()

    def _tell_who_is_back(self) -> None:
        """Say who speaks again and is still the same process; that another took its place is told when that starts."""
        for child in self._children:
            last, now = self._silent.get(child.name), _life_of(child)
            if last is None or last == now:
                continue
            del self._silent[child.name]
            if now[0] == last[0] and child.process is not None:
                log.info(f"{child.name} is heard again", pid=child.pid)

    def _share(self) -> None:
        """Let a worker that is there accept the connections that wait for those that are not, or are silent."""
        there = [worker.ready.is_set() and worker.name not in self._quiet for worker in self._workers]
        missing = frozenset(n for n, is_there in enumerate(there) if not is_there)
        able = [worker.line for worker, is_there in zip(self._workers, there, strict=True) if is_there and worker.line]
        for position, line in enumerate(able):
            line.say(Listening(missing if position == 0 else frozenset()))

    def _told_to_stop(self) -> None:
        """The first signal asks all to stop; the second does not wait for them."""
        if self._stop.is_set():
            for child in self._children:
                child.kill()
        self._stop.set()

    async def _stop_all(self) -> None:
        """Workers first, so that what they have passed on is answered."""
        await asyncio.gather(*(worker.stop(self._grace_s) for worker in self._workers))
        await self._controller.stop(self._grace_s)


def _life_of(child: Child) -> tuple[int | None, float]:
    """Which process it is, and when that was last heard of in monotonic seconds; never: minus infinity."""
    pulse = child.pulse()
    return child.pid, -math.inf if pulse is None else pulse.heard_at
