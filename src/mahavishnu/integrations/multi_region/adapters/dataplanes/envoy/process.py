"""One Envoy as a child process: started with a bootstrap, watched, started again when it dies, drained when it ends."""

from __future__ import annotations

import asyncio
import json
import resource
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from mahavishnu.integrations.multi_region.errors import UnavailableError

from .admin import Admin, read_report
from .binary import Envoy

KILL_AFTER_S = 5.0
"""How long a process that was told to end may take."""

STEADY_S = 30.0
"""One that ran for this long before it died is started again at once."""

_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_LOOK_S = 0.05

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Start:
    """How to start one.

    ``run_dir``: short and private, for sockets. ``threads``: its workers. ``log_path``: None for our standard error.
    ``drain_s``: how long requests in flight may take when it ends.
    """

    envoy: Envoy
    bootstrap: Mapping[str, Any]
    run_dir: Path
    threads: int = 1
    log_path: Path | None = None
    drain_s: float = 5.0

    @property
    def admin_socket(self) -> str:
        """Where its admin interface listens."""
        return str(self.run_dir / "admin.sock")


class EnvoyProcess:
    """Keeps one Envoy running until told to stop."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._child: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.admin = Admin(start.admin_socket)
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        """The process as it runs now."""
        return None if self._child is None or self._child.returncode is not None else self._child.pid

    async def start(self) -> None:
        """Start it and keep it running. Raises UnavailableError when it ends at once by itself."""
        path = self._start.run_dir / "bootstrap.json"
        path.write_text(json.dumps(self._start.bootstrap, indent=1))
        await self._launch(path)
        self._keeper = asyncio.create_task(self._keep(path), name="envoy")

    async def ready(self, timeout_s: float) -> None:
        """Wait until it serves. Raises UnavailableError when it does not within ``timeout_s``."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while not await self.admin.ready():
            if loop.time() > deadline:
                raise UnavailableError(f"Envoy was not ready within {timeout_s:g} s; its log says why")
            await asyncio.sleep(_LOOK_S)

    async def stop(self) -> None:
        """Let requests in flight finish for at most ``drain_s``, then end it."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
        if self.pid is not None and self._child is not None:
            await drain(self.admin, self._start.drain_s)
            await _end(self._child)
        await self.admin.close()

    async def _launch(self, path: Path) -> None:
        start = self._start
        arguments = ["-c", str(path), "--disable-hot-restart", "--log-level", "warning"]
        arguments += ["--concurrency", str(start.threads), "--drain-time-s", str(max(1, round(start.drain_s)))]
        if start.log_path is not None:
            arguments += ["--log-path", str(start.log_path)]
        try:
            # In a session of its own: Ctrl-C at the keyboard is for us, and requests are let finish first.
            self._child = await asyncio.create_subprocess_exec(
                str(start.envoy.path), *arguments, start_new_session=True
            )
        except OSError as err:
            raise UnavailableError(f"{start.envoy.path} cannot be started: {err}") from err
        _let_open_files(self._child.pid)

    async def _keep(self, path: Path) -> None:
        """Start it again whenever it dies, after pauses that grow while it dies young."""
        loop, young = asyncio.get_running_loop(), 0
        while self._child is not None:
            began = loop.time()
            code = await self._child.wait()
            young = 0 if loop.time() - began > STEADY_S else young + 1
            pause = _PAUSES_S[min(young, len(_PAUSES_S) - 1)]
            log.error("envoy ended by itself", exit_code=code, starts_again_in_s=pause)
            await asyncio.sleep(pause)
            self.restarts += 1
            try:
                await self._launch(path)
            except UnavailableError as err:
                log.error("envoy not started", error=str(err))
                await asyncio.sleep(_PAUSES_S[-1])


def most_open_files() -> int:
    """How many files and connections an Envoy that is started here may have open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def _let_open_files(pid: int) -> None:
    """Let a process open as many files as it ever may; each connection is one, and the usual limit is for shells."""
    try:
        _, most = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, most))
    except (OSError, ValueError) as err:  # it has ended already, or it is not ours to say
        log.warning("limit of open files not raised", error=str(err))


async def drain(admin: Admin, drain_s: float) -> None:
    """Wait until an Envoy has no request in flight, no longer than ``drain_s``."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + drain_s
    try:
        await admin.drain()
        while loop.time() < deadline and await _in_flight(admin):
            await asyncio.sleep(_LOOK_S)
    except UnavailableError as err:
        log.warning("envoy not drained", error=str(err))


async def retire(admin: Admin, drain_s: float) -> None:
    """Have an Envoy whose successor takes requests already send its clients there; twice ``drain_s`` at most.

    At first answers ask clients to open their connection anew; then nothing new is taken, and what is open may end.
    """
    loop, drain_s = asyncio.get_running_loop(), max(1.0, drain_s)
    deadline = loop.time() + 2 * drain_s
    try:
        await admin.drain()
        await asyncio.sleep(drain_s)
        while loop.time() < deadline and await admin.clients():
            await asyncio.sleep(_LOOK_S)
    except UnavailableError as err:
        log.warning("envoy not retired", error=str(err))


async def _in_flight(admin: Admin) -> int:
    report = read_report("", await admin.clusters())
    return sum(host.in_flight for hosts in report.classes.values() for host in hosts)


async def _end(child: asyncio.subprocess.Process) -> None:
    try:
        child.terminate()
        async with asyncio.timeout(KILL_AFTER_S):
            await child.wait()
    except ProcessLookupError:
        pass
    except TimeoutError:
        child.kill()
        await child.wait()
