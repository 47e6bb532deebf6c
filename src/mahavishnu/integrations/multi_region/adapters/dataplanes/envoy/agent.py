"""The agent beside one Envoy: starts it, keeps it running, tells what it holds, and remembers what it last held.

An Envoy that starts, or starts again, while no controller answers gets its last good configuration from a server of the
agent's own, and is handed over to the controllers as soon as one of them answers: the same stream protocol, no second
process.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from mahavishnu.integrations.multi_region.core.edge_reports import EdgeReport
from mahavishnu.integrations.multi_region.errors import InvalidInputError, MultiRegionError, UnavailableError

from . import last_good
from .admin import read_report
from .binary import Envoy
from .bootstrap import EdgeTls, bootstrap_document, write_secrets
from .contact import Contact
from .hold import Hold
from .process import EnvoyProcess, Start
from .server import AdsServer
from .succession import Succession

REPORT_S = 1.0
CONTACT_S = 1.0
SAVE_S = 5.0
EASE = 20.0
"""What asks Envoy a lot waits this many times as long as the question took before it asks again."""

READY_S = 60.0
REACH_S = 1.0
_LOOK_S = 0.25

Take = Callable[[EdgeReport], Awaitable[None]]
"""Who is told what an edge holds."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Orders:
    """What one agent is to run.

    ``controllers``: host and port of each. ``state_dir``: where the last good configuration is kept between starts.
    ``tls``: how it proves itself to controllers, None on this machine. ``threads``: Envoy's workers. ``log_path``: of
    Envoy; None: our own standard error.
    """

    edge_id: str
    controllers: tuple[tuple[str, int], ...]
    envoy: Envoy
    state_dir: Path
    tls: EdgeTls | None = None
    threads: int = 1
    log_path: Path | None = None
    drain_s: float = 5.0

    @property
    def last_good(self) -> Path:
        """The file of the last good configuration."""
        return self.state_dir / f"{self.edge_id}.last-good.json.gz"

    @property
    def lock_file(self) -> Path:
        """Is locked while an agent runs the edge."""
        return self.state_dir / f"{self.edge_id}.lock"

    @property
    def pid_file(self) -> Path:
        """Names the process that runs, so that the next agent can relieve it."""
        return self.state_dir / f"{self.edge_id}.pid"


class EdgeAgent:
    """Runs one Envoy from ``start`` to ``close``; nobody else runs one for the same edge and folder meanwhile."""

    def __init__(self, orders: Orders, take: Take | None = None) -> None:
        self._orders = orders
        self._take = take
        self._run_dir = Path(tempfile.mkdtemp(prefix="mr-edge-"))
        start = Start(
            envoy=orders.envoy,
            bootstrap=bootstrap_document(
                orders.edge_id,
                orders.controllers,
                admin_socket=str(self._run_dir / "admin.sock"),
                fallback_socket=str(self._run_dir / "xds.sock"),
                tls=orders.tls,
            ),
            run_dir=self._run_dir,
            threads=orders.threads,
            log_path=orders.log_path,
            drain_s=orders.drain_s,
        )
        self.process = EnvoyProcess(start)
        self._hold = Hold(orders.lock_file)
        self._succession = Succession(orders.pid_file, self._run_dir)
        self._relay: AdsServer | None = None
        self._nothing_kept = False
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def pid(self) -> int | None:
        """Envoy's process as it runs now."""
        return self.process.pid

    @property
    def on_its_own(self) -> bool:
        """Whether it runs on what it last held, since no controller has answered yet."""
        return self._relay is not None

    async def start(self) -> None:
        """Start Envoy. Raises UnavailableError when it cannot be started, or another agent runs this edge.

        Raises InvalidInputError when its state cannot be written.
        """
        try:
            self._take_over_state()
        except OSError as err:
            raise InvalidInputError("state", str(self._orders.state_dir), f"a folder to write in ({err})") from err
        if not await reachable(self._orders.controllers):
            await self._start_relay()
        await self.process.start()
        loops = [self._save_forever(), self._stand_in(), self._relieve(), self._watch_contact()]
        if self._take is not None:
            loops.append(self._report_forever(self._take))
        self._tasks = [asyncio.create_task(loop, name=f"edge {self._orders.edge_id}") for loop in loops]

    def _take_over_state(self) -> None:
        """Be the one agent that writes there. Raises OSError, UnavailableError."""
        self._orders.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._hold.take()
        self._succession.begin()
        if self._orders.tls is not None:
            write_secrets(self._orders.tls)

    async def ready(self, timeout_s: float = READY_S) -> None:
        """Wait until Envoy serves. Raises UnavailableError when it does not within ``timeout_s``."""
        await self.process.ready(timeout_s)

    async def close(self) -> None:
        """Let requests in flight finish, end Envoy, clear up."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(MultiRegionError, OSError):
            await self._save()
        await self.process.stop()
        await self._stop_relay()
        shutil.rmtree(self._run_dir, ignore_errors=True)
        if self._hold.taken:
            self._succession.close()
            self._hold.release()

    # --- starting without controllers -----------------------------------------------------------

    async def _start_relay(self) -> None:
        snapshot = await asyncio.to_thread(last_good.load, self._orders.last_good)
        if snapshot is None:
            if not self._nothing_kept:
                log.warning("no controller answers, and nothing was kept to start from", edge=self._orders.edge_id)
            self._nothing_kept = True
            return
        relay = AdsServer(f"unix:{self._run_dir / 'xds.sock'}")
        await relay.start()
        self._relay, self._nothing_kept = relay, False
        relay.publish({self._orders.edge_id: snapshot})
        log.warning("no controller answers: the edge starts from what it last held", edge=self._orders.edge_id)

    async def _stand_in(self) -> None:
        """Be there for an Envoy that has nothing and finds no controller, now or whenever it starts again."""
        while True:
            try:
                await self._take_turns()
            except MultiRegionError as err:
                log.error("cannot stand in for controllers", edge=self._orders.edge_id, error=str(err))
            await asyncio.sleep(_LOOK_S)

    async def _take_turns(self) -> None:
        """Step in when it is needed, and back once a controller answers: the edge is its own again."""
        if self._relay is None and await self.process.admin.ready():
            return
        answers = await reachable(self._orders.controllers)
        if self._relay is None and not answers:
            await self._start_relay()
        elif self._relay is not None and answers:
            await self._stop_relay()
            log.info("a controller answers: the edge follows it", edge=self._orders.edge_id)

    async def _stop_relay(self) -> None:
        relay, self._relay = self._relay, None
        if relay is not None:
            await relay.stop()

    async def _relieve(self) -> None:
        """End the Envoys that agents before this one left running, once this one serves in their place."""
        await self.process.ready(READY_S)
        await self._succession.relieve(self.pid, self._orders.drain_s)

    async def _watch_contact(self) -> None:
        """Say when no controller serves the edge, and when one does again."""
        orders, clock = self._orders, asyncio.get_running_loop().time
        contact = Contact(orders.edge_id, orders.controllers, clock, tls=orders.tls is not None)
        while True:
            pause = CONTACT_S
            try:
                pause = await self._timed(self._look_for(contact), CONTACT_S)
            except UnavailableError:
                contact.pause()
            await asyncio.sleep(pause)

    async def _look_for(self, contact: Contact) -> None:
        if self._relay is None:
            contact.saw(await self.process.admin.streams())
        else:
            contact.pause()

    # --- telling and remembering ------------------------------------------------------------------

    async def _report_forever(self, take: Take) -> None:
        while True:
            pause = REPORT_S
            try:
                pause = await self._timed(self._report(take), REPORT_S)
            except UnavailableError:
                pass  # as below
            except Exception:  # one bad report must not end the reporting
                log.exception("edge not read back", edge=self._orders.edge_id)
            await asyncio.sleep(pause)

    async def _report(self, take: Take) -> None:
        clusters = await self.process.admin.clusters()
        await take(read_report(self._orders.edge_id, clusters, self._orders.envoy.version))

    async def _save_forever(self) -> None:
        while True:
            pause = SAVE_S
            try:
                pause = await self._timed(self._save(), SAVE_S)
            except UnavailableError:
                pass  # it is not up yet, or starting again
            except OSError as err:
                log.error("last good configuration not kept", edge=self._orders.edge_id, error=str(err))
            await asyncio.sleep(pause)

    async def _save(self) -> None:
        """Keep what is in force; nothing in force is no news."""
        dump = await self.process.admin.config()
        resources = last_good.in_force(dump)
        if resources:
            await asyncio.to_thread(last_good.save, self._orders.last_good, resources)

    async def _timed(self, work: Awaitable[None], least_s: float) -> float:
        """Do it; how long to wait until it is done again."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        await work
        return max(least_s, EASE * (loop.time() - began))


async def reachable(controllers: tuple[tuple[str, int], ...]) -> bool:
    """Whether any of them takes a connection."""
    return any(await asyncio.gather(*(_answers(*address) for address in controllers)))


async def _answers(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(REACH_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True
