"""The demo's processes with edges: the controller serves them, and Envoy carries the requests."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path
from typing import Any

from mahavishnu.integrations.multi_region.settings import PREFIX
from mahavishnu.integrations.multi_region.surfaces.http.auth import Role

from .edge_scene import DRAIN_S, EDGES, edge_places, edge_world
from .faults import GRAY, Fault
from .islands import ALONE, Island, wire
from .processes import Child, start
from .region_server import READY as REGION_READY
from .scene import Options, Place
from .stage import LEASHED, ORDERLY_S, REGION_PROGRAM, Stage


class EdgeStage(Stage):
    """The running processes. ``envoy``: the program. ``apart``: edges are processes of their own, which outlive the
    controller.

    With the fault ``drop`` the victim has a network of its own.
    """

    role = Role.ADMIN

    def __init__(self, options: Options, folder: Path, *, envoy: Path, apart: bool = False) -> None:
        super().__init__(options, folder)
        names = [*EDGES, "http", "xds"]
        self._ports = dict(zip(names, free_ports(len(names)), strict=True))
        self.edges = edge_places(options, self._ports)
        self._envoy = envoy
        self._apart = apart
        self._edge_processes: list[Child] = []
        self._island: Island | None = None

    @property
    def pids(self) -> list[int]:
        """The ids of all processes that were started here and run."""
        return [*super().pids, *(child.pid for child in self._edge_processes if child.running)]

    async def set_up(self) -> None:
        """Start the regions, the controller and the edges. Raises UnavailableError with what a process said."""
        await super().set_up()
        if self._apart:
            await asyncio.gather(*(self._start_edge(edge.edge_id) for edge in self.edges))

    async def tear_down(self) -> None:
        """End every process and wait until all have ended; edges first."""
        await asyncio.gather(*(child.end(ORDERLY_S) for child in self._edge_processes))
        await super().tear_down()

    async def kill_controller(self) -> None:
        """SIGKILL: it says goodbye to nobody."""
        assert self._controller is not None
        await self._controller.kill()

    async def restart_controller(self) -> None:
        """Start it again where it was, with what it had stored."""
        await self._start_controller()

    async def break_down(self, victim: str, fault: Fault) -> None:
        """Make a region fail."""
        if fault is Fault.DROP and self._island is not None:
            await self._island.cut()
        elif fault is Fault.ERRORS:
            self._regions[victim].tell(GRAY)
        else:
            await super().break_down(victim, fault)

    async def mend(self, victim: str, fault: Fault) -> None:
        """Make it well again. Raises UnavailableError when its process does not come up on its old port."""
        if fault is Fault.DROP and self._island is not None:
            await self._island.mend()
        else:
            await super().mend(victim, fault)

    # --- inside -------------------------------------------------------------------------------

    async def _start_region(self, place: Place, port: int = 0) -> None:
        if place.region_id != self._options.victim or self._options.fault is not Fault.DROP:
            return await super()._start_region(place, port)
        arguments = [*self._region_arguments(place, port), "--host=0.0.0.0"]
        child = await start(place.region_id, REGION_PROGRAM, arguments, before=ALONE)
        self._regions[place.region_id] = child
        port = int(await child.said(REGION_READY))
        self._island = await wire(child.pid)
        self.endpoints[place.region_id] = f"http://{self._island.there}:{port}"

    async def _start_edge(self, edge_id: str) -> None:
        controller = f"127.0.0.1:{self._ports['xds']}"
        arguments = ["edge", "run", edge_id, f"--controller={controller}", f"--state={self._folder / 'edges'}"]
        child = await start(edge_id, LEASHED, arguments, env=self._settings())
        self._edge_processes.append(child)
        await child.said(f"{edge_id} runs")

    def _world(self) -> dict[str, Any]:
        return edge_world(self._options, self._ordered(), self.edges)

    def _serving(self) -> list[str]:
        found = [f"--listen=127.0.0.1:{self._ports['http']}", f"--xds=127.0.0.1:{self._ports['xds']}"]
        return found if self._apart else [*found, "--envoy"]

    def _settings(self) -> dict[str, str]:
        ours = {"ENVOY": str(self._envoy), "DRAIN_TIMEOUT": f"{DRAIN_S:g}"}
        return {"XDG_STATE_HOME": str(self._folder), **{f"{PREFIX}{name}": value for name, value in ours.items()}}


def free_ports(count: int) -> list[int]:
    """So many ports that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]
