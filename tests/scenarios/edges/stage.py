"""The whole system as people run it: regions, controllers and edges, each a process; real Envoys carry the requests.

async with Stage() as stage:
    await stage.regions("fra", "par", "iad")
    controller = await stage.controller(world(stage.places, services=[SPREAD]))
    async with stage.load() as load:
        ...
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self
from uuid import uuid4

import aiohttp

from mahavishnu.integrations.multi_region.testing.open_loop import REGION_HEADER, Aim, OpenLoop, Summary

from .places import HOST, Island, NginxPlace, Place, PythonPlace
from .processes import MARK, Started, end_marked, free_port, until

EDGE = "edge-eu"
FRANKFURT = {"latitude": 50.1, "longitude": 8.7}
PLACES: Mapping[str, Mapping[str, Any]] = {
    "fra": {**FRANKFURT, "country": "DE", "compliance": ["gdpr"]},
    "par": {"latitude": 48.9, "longitude": 2.3, "country": "FR", "compliance": ["gdpr"]},
    "iad": {"latitude": 38.9, "longitude": -77.4, "country": "US"},
}
"""Where regions are; the first is the nearest to the edge."""

CHECK: Mapping[str, Any] = MappingProxyType(
    {"interval": "250ms", "timeout": "500ms", "fall": 2, "rise": 2, "hold_down": "1s"}
)
"""How regions are probed: patient enough for a machine that is busy."""

HOST_NAME = "api.test"
HEDGED = {"prefix": "/", "timeout": "10s", "attempt_timeout": "2s"}
"""An attempt has far longer than a busy machine takes: a region that is slow only for that is not to be left out."""

SPREAD = {"name": "api", "hosts": [HOST_NAME], "strategy": "round_robin", "routes": [HEDGED]}
"""A service that all regions serve at once."""
NEAREST = {"name": "api", "hosts": [HOST_NAME], "strategy": "latency_based", "routes": [HEDGED]}
"""A service that the nearest region serves; each other one stands by."""

PATIENT: Mapping[str, str] = MappingProxyType({"FAILOVER_TIMEOUT": "30"})
"""Settings of controllers: an edge that lags only because the machine is busy is waited for."""

NO_HEADERS: Mapping[str, str] = MappingProxyType({})

_ENV_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "PYTHONPATH", "VIRTUAL_ENV")


class Controller:
    """One ``multi-region serve``. ``xds``: the port where edges are served."""

    def __init__(self, process: Started, xds: int, http: aiohttp.ClientSession) -> None:
        self.process, self.xds = process, xds
        self._http = http
        self._url, self._headers = "", dict[str, str]()

    async def start(self) -> None:
        """Begin, or begin anew, and wait until it answers."""
        self.process.start()
        told = json.loads("{" + await self.process.line('{"event":"listening",'))
        token = json.loads(Path(told["token_file"]).read_text())["token"]
        self._url, self._headers = told["url"], {"Authorization": f"Bearer {token}"}
        self.url, self.token = self._url, token

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        """Send a request to its API; a failed test when it is refused."""
        async with self._http.request(method, self._url + path, json=body, headers=self._headers) as answer:
            text = await answer.text()
            assert answer.status < 300, (method, path, answer.status, text)
        return json.loads(text) if text else None

    async def get(self, path: str) -> Any:
        """Look at something."""
        return await self.ask("GET", path)

    async def events(self, kind: str, subject: str | None = None) -> list[dict[str, Any]]:
        """The events of a kind, of one subject or of all, oldest first."""
        found = (await self.get("/v1/events?after=0&limit=1000"))["events"]
        return [event for event in found if event["kind"] == kind and subject in (None, event["subject"])]

    async def happened(self, kind: str, subject: str | None = None) -> None:
        """Wait until there is an event of a kind."""
        await until(lambda: self.events(kind, subject), f"{kind} of {subject}")

    async def edge(self, edge_id: str = EDGE) -> dict[str, Any]:
        """An edge as the controller sees it."""
        found: dict[str, Any] = await self.get(f"/v1/edges/{edge_id}")
        return found

    async def synced(self, edge_id: str = EDGE) -> None:
        """Wait until an edge holds the newest plan."""

        async def is_so() -> bool:
            return bool((await self.edge(edge_id))["synced"])

        await until(is_so, f"{edge_id} is synced")


class Stage:
    """Everything that runs, and the folder that it runs in."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mr-stage-"))  # short: sockets live below it
        self._mark = uuid4().hex
        self.env = {name: os.environ[name] for name in _ENV_KEPT if name in os.environ} | {
            MARK: self._mark,
            "TMPDIR": str(self.folder),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "XDG_RUNTIME_DIR": str(self.folder / "run"),
        }
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        """Where clients reach the edge."""
        self.places: dict[str, Place] = {}
        self.islands: list[Island] = []
        self._processes: list[Started] = []
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for process in reversed(self._processes):
                await asyncio.to_thread(process.stop)
            for place in self.places.values():
                place.end()
        finally:
            end_marked(self._mark)
            for island in self.islands:
                island.remove()
            if self._http is not None:
                await self._http.close()
            if kind is not None:
                print(self.logs())
            shutil.rmtree(self.folder, ignore_errors=True)

    def logs(self) -> str:
        """The ends of what the processes said, for a test that failed."""
        files = sorted([*self.folder.glob("*.err"), *self.folder.glob("state/**/*.log")])
        return "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')[-20_000:]}" for path in files)

    def pid_file(self, edge_id: str = EDGE) -> Path:
        """Where a controller notes the Envoy that it runs."""
        return self.folder / "state" / "multi-region" / "edges" / f"{edge_id}.pid"

    # --- who takes part -----------------------------------------------------------------------------

    async def regions(self, *names: str) -> list[PythonPlace]:
        """Regions on loopback."""
        made = [PythonPlace(self.env, self.folder / name) for name in names]
        await self._open(dict(zip(names, made, strict=True)))
        return made

    async def http2_regions(self, *names: str) -> None:
        """Regions that speak HTTP/2."""
        await self._open({name: NginxPlace(self.env, self.folder / name) for name in names})

    async def island_region(self, name: str) -> Island:
        """A region in a network of its own."""
        island = Island()
        self.islands.append(island)
        island.make()
        await self._open({name: island.place(self.env, self.folder / name)})
        return island

    async def _open(self, places: Mapping[str, Place]) -> None:
        self.places.update(places)
        await asyncio.gather(*(place.start() for place in places.values()))

    async def controller(
        self,
        world: Mapping[str, Any] | None,
        *,
        store: str = "memory",
        edges: bool = True,
        xds: int | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> Controller:
        """A controller that answers; ``edges``: it runs the declared edges itself, and the first is in service."""
        name, port = f"controller{len(self._processes)}", xds or free_port()
        command = [sys.executable, "-m", "mahavishnu.integrations.multi_region", "serve", "--json", "--store", store]
        command += ["--listen", f"{HOST}:0", "--xds", f"{HOST}:{port}", *(["--envoy"] if edges else [])]
        if world is not None:
            file = self.folder / f"{name}.yaml"
            file.write_text(json.dumps(world))
            command += ["-f", str(file)]
        given = {f"MAHAVISHNU_MULTI_REGION__{key}": value for key, value in {**PATIENT, **(settings or {})}.items()}
        process = Started(command, self.env | given, self.folder / name)
        self._processes.append(process)
        assert self._http is not None
        made = Controller(process, port, self._http)
        await made.start()
        if edges:
            await made.synced()
            await self.serves()
        return made

    async def edge(self, *controllers: int, report_to: Controller | None = None, edge_id: str = EDGE) -> Started:
        """An edge on its own; ``controllers``: ports where edges are served. It runs, and may have no work yet."""
        command = [sys.executable, "-m", "mahavishnu.integrations.multi_region", "edge", "run", edge_id, "--json"]
        command += [part for port in controllers for part in ("--controller", f"{HOST}:{port}")]
        command += ["--state", str(self.folder / "edge-state"), "--drain", "1"]
        if report_to is not None:
            command += ["--server", report_to.url, "--token", report_to.token]
        process = Started(command, self.env, self.folder / f"edge{len(self._processes)}")
        self._processes.append(process)
        process.start()
        await process.line('{"event":"running",')
        return process

    # --- clients ------------------------------------------------------------------------------------

    async def request(self, path: str = "/", headers: Mapping[str, str] = NO_HEADERS) -> tuple[int, Mapping[str, str]]:
        """One request's status and headers; (0, {}) when nobody answers."""
        assert self._http is not None
        try:
            async with self._http.get(self.url + path, headers={"host": HOST_NAME, **headers}) as answer:
                await answer.read()
                return answer.status, answer.headers
        except aiohttp.ClientError:
            return 0, {}

    async def serves(self, path: str = "/", headers: Mapping[str, str] = NO_HEADERS, *, by: Iterable[str] = ()) -> None:
        """Wait until the edge answers a few clients in a row well; ``by``: from exactly these regions."""

        async def well() -> bool:
            answers = [await self.request(path, headers) for _ in range(10)]
            served = {said.get(REGION_HEADER) for _, said in answers}
            return {status for status, _ in answers} == {200} and served == (set(by) or served)

        await until(well, f"the edge answers clients {path} {dict(headers)}, by {by}")

    def load(
        self,
        path: str = "/",
        headers: Mapping[str, str] = NO_HEADERS,
        *,
        rate: float = 250.0,
        methods: tuple[str, ...] = ("GET",),
        numbered: str = "",
    ) -> OpenLoop:
        """Clients of the edge; ``numbered``: the header in which each request carries its number."""
        body = b"body" if set(methods) - {"GET", "HEAD"} else b""
        return OpenLoop(Aim(self.url + path, rate, methods, {"host": HOST_NAME, **headers}, body, 30.0, numbered))


def world(
    stage: Stage,
    *services: Mapping[str, Any],
    policies: Iterable[Mapping[str, Any]] = (),
    safety: Mapping[str, Any] | None = None,
    check: Mapping[str, Any] = CHECK,
    edge: Mapping[str, Any] = NO_HEADERS,
) -> dict[str, Any]:
    """The world file of a stage: its regions, these services, and one edge in Frankfurt; ``edge``: more of that."""
    regions = [
        {"id": name, "max_capacity": 10_000, "health": dict(check), **PLACES[name], **place.declared}
        for name, place in stage.places.items()
    ]
    ours = {"id": EDGE, **FRANKFURT, "listen": f"{HOST}:{stage.port}", **edge}
    found: dict[str, Any] = {"regions": regions, "services": list(services), "edges": [ours]}
    found |= {"policies": list(policies)} if policies else {}
    return found | ({"safety": safety} if safety else {})


def told(name: str, found: Summary) -> None:
    """One line of figures; pytest shows it with -rP."""
    last = "-" if found.last_affected_s is None else f"{1000 * found.last_affected_s:.0f}"
    line = f"{found.requests} requests, failed {found.failed}, cut {found.cut}, others {found.failed_others}"
    print(f"{name}: {line}, slowest {found.slowest_ms:.0f} ms, last affected {last} ms; {dict(found.after)}")
