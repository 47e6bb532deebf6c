"""Sets the demo up and takes it down: the regions' processes, the controller's, and a folder for its files."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from mahavishnu.integrations.multi_region.errors import UnavailableError
from mahavishnu.integrations.multi_region.surfaces.http.auth import Role, Tokens

from .controller import READY as CONTROLLER_READY
from .faults import BAD_VERSION, Fault
from .processes import Child, start
from .region_server import READY as REGION_READY
from .scene import Options, Place, places, world

_HERE = __name__.rpartition(".")[0]
ORDERLY_S = 30.0
"""How long what runs edges may take to end: killed, it would leave them behind."""

REGION_PROGRAM, LEASHED = f"{_HERE}.region_server", f"{_HERE}.leashed"


class Stage:
    """The running processes; made by ``open_stage``.

    ``url`` and ``token`` are the controller's, ``endpoints`` are the regions' URLs by id.
    """

    role = Role.OPERATOR
    """What the demo's token may do."""

    def __init__(self, options: Options, folder: Path) -> None:
        self.places = places(options)
        self.endpoints: dict[str, str] = {}
        self.url = ""
        self.token, self._token_line = Tokens.issue("demo", self.role)
        self._options = options
        self._folder = folder
        self._regions: dict[str, Child] = {}
        self._controller: Child | None = None

    @property
    def pids(self) -> list[int]:
        """The ids of all processes that run."""
        children = [*self._regions.values(), *([self._controller] if self._controller else [])]
        return [child.pid for child in children if child.running]

    async def set_up(self) -> None:
        """Start the regions side by side, then the controller. Raises UnavailableError with what a process said."""
        try:
            async with asyncio.TaskGroup() as group:
                for place in self.places:
                    group.create_task(self._start_region(place))
        except* UnavailableError as failures:
            raise failures.exceptions[0] from None
        await self._start_controller()

    async def _start_region(self, place: Place, port: int = 0) -> None:
        child = await start(place.region_id, REGION_PROGRAM, self._region_arguments(place, port))
        self._regions[place.region_id] = child
        self.endpoints[place.region_id] = f"http://127.0.0.1:{await child.said(REGION_READY)}"

    def _region_arguments(self, place: Place, port: int) -> list[str]:
        arguments = {
            "--region": place.region_id,
            "--latitude": place.point.latitude,
            "--longitude": place.point.longitude,
            "--capacity": place.capacity,
            "--port": port,
        }
        return [f"{name}={value}" for name, value in arguments.items()]

    async def _start_controller(self) -> None:
        file = self._folder / "world.yaml"
        file.write_text(json.dumps(self._world(), indent=2))  # JSON is YAML
        tokens = self._folder / "tokens"
        tokens.touch(mode=0o600)
        tokens.write_text(self._token_line)
        store = self._folder / "store.sqlite"
        options = {"--file": file, "--store": store, "--tokens": tokens}
        arguments = ["serve", "--log-level=warning", *(f"{name}={value}" for name, value in options.items())]
        arguments += self._serving()
        self._controller = await start("the controller", LEASHED, arguments, env=self._settings())
        self.url = await self._controller.said(CONTROLLER_READY)

    def _ordered(self) -> dict[str, str]:
        """The regions' URLs in the order of the places."""
        return {place.region_id: self.endpoints[place.region_id] for place in self.places}

    def _world(self) -> dict[str, Any]:
        """What is declared to the controller."""
        return world(self._options, self._ordered())

    def _serving(self) -> list[str]:
        """What else the controller is started with."""
        return ["--listen=127.0.0.1:0"]

    def _settings(self) -> dict[str, str]:
        """What is added to the controller's environment."""
        return {}

    async def tear_down(self) -> None:
        """End every process, the controller first, and wait until all have ended."""
        if self._controller is not None:
            await self._controller.end(ORDERLY_S)
        await asyncio.gather(*(child.end() for child in self._regions.values()))

    # --- the fault ------------------------------------------------------------------------------

    async def break_down(self, victim: str, fault: Fault) -> None:
        """Make a region fail."""
        child = self._regions[victim]
        match fault:
            case Fault.KILL:
                await child.kill()
            case Fault.HANG:
                child.send(signal.SIGSTOP)
            case _:
                child.tell(fault.value)

    async def break_version(self, region_id: str) -> None:
        """Make a region fail the requests of the service that it has a new version of, and nothing else."""
        self._regions[region_id].tell(BAD_VERSION)

    async def mend(self, victim: str, fault: Fault) -> None:
        """Make it well again. Raises UnavailableError when its process does not come up on its old port."""
        child = self._regions[victim]
        match fault:
            case Fault.KILL:
                port = int(self.endpoints[victim].rpartition(":")[2])
                await self._start_region(next(p for p in self.places if p.region_id == victim), port)
            case Fault.HANG:
                child.send(signal.SIGCONT)
            case _:
                child.tell("well")


_S = TypeVar("_S", bound=Stage)


@asynccontextmanager
async def open_stage(build: Callable[[Path], _S]) -> AsyncIterator[_S]:
    """Everything running; all of it ended, and its files gone, when the block is left, however that happens.

    ``build`` makes the stage, given the folder for its files.
    """
    with tempfile.TemporaryDirectory(prefix="multi-region-demo-", ignore_cleanup_errors=True) as folder:
        stage = build(Path(folder))
        try:
            await stage.set_up()
            yield stage
        finally:
            await _unhurried(stage.tear_down())


async def _unhurried(work: object) -> None:
    """Finish ``work`` even when this task is cancelled (again) meanwhile."""
    task = asyncio.ensure_future(work)  # type: ignore[call-overload]
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(task)
    task.result()
