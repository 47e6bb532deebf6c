"""The agent beside a real Envoy: keeps it running, remembers what it held, and hands it to controllers that answer."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.agent import EdgeAgent, Orders
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.binary import find_envoy
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.bootstrap import EdgeTls, bootstrap_document
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.parts import REGION
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.plane import EnvoyDataPlane
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.server import AdsServer
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.tls import ServerTls
from mahavishnu.integrations.multi_region.core.edge_reports import EdgeReport
from mahavishnu.integrations.multi_region.core.edges import EdgeSpec
from mahavishnu.integrations.multi_region.core.model import HealthCheck, Point, UpstreamProtocol
from mahavishnu.integrations.multi_region.core.routes import RouteClass
from mahavishnu.integrations.multi_region.core.traffic import (
    EdgePlan,
    ServiceTraffic,
    Standing,
    Target,
    TrafficClass,
    TrafficPlan,
)
from mahavishnu.integrations.multi_region.errors import InvalidInputError, UnavailableError
from tests.adapters.envoy.edge import free_port
from tests.adapters.envoy.regions import TestRegion

pytestmark = pytest.mark.slow

DEADLINE_S = 60.0


def plan(port: int, *regions: TestRegion, generation: int = 1) -> TrafficPlan:
    """All traffic to the first region that serves."""
    check = HealthCheck(interval_s=0.25, timeout_s=0.2)
    tiers = tuple(
        (Target(region.region_id, region.url, 1, Standing.SERVING, UpstreamProtocol.HTTP1, check),)
        for region in regions
    )
    service = ServiceTraffic("api", ("*",), (RouteClass(),), (), (TrafficClass("api", (), "", tiers),))
    edge = EdgePlan(EdgeSpec("edge", Point(0, 0), listen=f"127.0.0.1:{port}"), (), (service,))
    return TrafficPlan(generation, generation, {"edge": edge})


@asynccontextmanager
async def region(region_id: str) -> AsyncIterator[TestRegion]:
    found = TestRegion(region_id)
    await found.start()
    try:
        yield found
    finally:
        await found.lose()


@asynccontextmanager
async def controller(port: int, plan: TrafficPlan) -> AsyncIterator[EnvoyDataPlane]:
    plane = EnvoyDataPlane(AdsServer(f"127.0.0.1:{port}"))
    await plane.start()
    plane.publish(plan)
    try:
        yield plane
    finally:
        await plane.close()


@asynccontextmanager
async def agent(xds_port: int, folder: Path, seen: list[EdgeReport] | None = None) -> AsyncIterator[EdgeAgent]:
    async def take(report: EdgeReport) -> None:
        if seen is not None:
            seen.append(report)

    controllers = (("127.0.0.1", xds_port),)
    orders = Orders(
        edge_id="edge",
        controllers=controllers,
        envoy=find_envoy(),
        state_dir=folder,
        log_path=folder / "envoy.log",
        drain_s=1.0,
    )
    folder.mkdir(exist_ok=True)
    found = EdgeAgent(orders, take)
    try:
        await found.start()
        yield found
    finally:
        await found.close()


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not await true():
            await asyncio.sleep(0.05)


async def served_by(port: int) -> str | None:
    """The region that answers at an edge; None when nothing does."""
    try:
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"http://127.0.0.1:{port}/")
    except httpx.HTTPError:
        return None
    return answer.headers.get(REGION) if answer.status_code == 200 else None


def serves(port: int, region_id: str) -> Callable[[], Awaitable[bool]]:
    async def asked() -> bool:
        return await served_by(port) == region_id

    return asked


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_it_tells_what_its_envoy_holds(tmp_path: Path) -> None:
    port, xds, seen = free_port(), free_port(), list[EdgeReport]()

    async def held() -> bool:
        return bool(seen) and {h.region_id for h in seen[-1].classes.get("api", ())} == {"a", "b"}

    async with region("a") as a, region("b") as b, controller(xds, plan(port, a, b)), agent(xds, tmp_path / "s", seen):
        await until(held)
    assert seen[-1].edge_id == "edge" and seen[-1].version.startswith("1.")


async def test_an_envoy_that_was_killed_is_started_again(tmp_path: Path) -> None:
    port, xds = free_port(), free_port()
    async with region("a") as a, controller(xds, plan(port, a)), agent(xds, tmp_path / "s") as edge:
        await until(serves(port, "a"))
        first = edge.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(serves(port, "a"))
        assert edge.pid not in (None, first)


async def test_it_leaves_no_process_behind(tmp_path: Path) -> None:
    port, xds = free_port(), free_port()
    async with region("a") as a, controller(xds, plan(port, a)), agent(xds, tmp_path / "s") as edge:
        await until(serves(port, "a"))
        pid = edge.pid
    assert pid is not None and not is_alive(pid)


async def test_an_edge_starts_with_what_it_last_held_and_is_handed_to_the_first_controller(tmp_path: Path) -> None:
    port, xds, state = free_port(), free_port(), tmp_path / "s"
    async with region("a") as a, region("b") as b:
        async with controller(xds, plan(port, a, b)), agent(xds, state):
            await until(serves(port, "a"))
        async with agent(xds, state) as edge:  # no controller is there
            alone = edge.on_its_own
            assert alone
            await until(serves(port, "a"))
            async with controller(xds, plan(port, b, a)) as plane:
                await until(serves(port, "b"))
                alone = edge.on_its_own
                assert not alone and plane.states()["edge"].connected


async def test_an_edge_on_its_own_still_fails_over(tmp_path: Path) -> None:
    port, xds, state = free_port(), free_port(), tmp_path / "s"
    async with region("a") as a, region("b") as b:
        async with controller(xds, plan(port, a, b)), agent(xds, state):
            await until(serves(port, "a"))
        async with agent(xds, state):
            await until(serves(port, "a"))
            await a.lose()
            assert await served_by(port) == "b"


async def test_one_that_never_held_anything_waits_for_a_controller(tmp_path: Path) -> None:
    port, xds = free_port(), free_port()
    async with region("a") as a, agent(xds, tmp_path / "s") as edge:
        assert not edge.on_its_own and await served_by(port) is None
        async with controller(xds, plan(port, a)):
            await until(serves(port, "a"))


@asynccontextmanager
async def left_behind(xds: int, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """An Envoy in the new ``folder`` as an agent leaves it that was killed."""
    folder.mkdir()
    bootstrap = bootstrap_document("edge", (("127.0.0.1", xds),), admin_socket=str(folder / "admin.sock"))
    (folder / "bootstrap.json").write_text(json.dumps(bootstrap))
    command = [str(find_envoy().path), "-c", str(folder / "bootstrap.json"), "--disable-hot-restart", "-l", "off"]
    left = await asyncio.create_subprocess_exec(*command)
    try:
        yield left
    finally:
        if left.returncode is None:
            left.kill()
            await left.wait()


async def test_an_envoy_that_its_agent_left_behind_is_relieved(tmp_path: Path) -> None:
    port, xds, state, left_in = free_port(), free_port(), tmp_path / "s", tmp_path / "left"
    state.mkdir()
    async with region("a") as a, controller(xds, plan(port, a)), left_behind(xds, left_in) as left:
        await until(serves(port, "a"))
        (state / "edge.pid").write_text(json.dumps({"pid": left.pid, "run_dir": str(left_in)}))
        async with agent(xds, state) as edge:
            await asyncio.wait_for(left.wait(), DEADLINE_S)
            await until(serves(port, "a"))
            assert edge.pid not in (None, left.pid)


async def test_a_process_that_is_none_of_ours_is_let_be(tmp_path: Path) -> None:
    port, xds, state = free_port(), free_port(), tmp_path / "s"
    state.mkdir()
    async with region("a") as a, controller(xds, plan(port, a)):
        (state / "edge.pid").write_text(json.dumps({"pid": os.getpid(), "run_dir": str(tmp_path)}))
        async with agent(xds, state):
            await until(serves(port, "a"))
            await until(lambda: _names_another(state / "edge.pid", os.getpid()))


async def _names_another(path: Path, pid: int) -> bool:
    return bool(json.loads(path.read_text())["pid"] != pid)


async def test_an_envoy_that_dies_while_no_controller_answers_goes_on_with_what_it_last_held(tmp_path: Path) -> None:
    port, xds, state = free_port(), free_port(), tmp_path / "s"
    async with region("a") as a, region("b") as b:
        async with controller(xds, plan(port, a, b)), agent(xds, state):
            await until(serves(port, "a"))
        async with controller(xds, plan(port, a, b)) as plane, agent(xds, state) as edge:
            await until(serves(port, "a"))
            await plane.close()
            first = edge.pid
            assert first is not None
            os.kill(first, signal.SIGKILL)
            await until(_is_dead(first))
            await until(serves(port, "a"))
            assert edge.on_its_own
            async with controller(xds, plan(port, b, a)):
                await until(serves(port, "b"))


async def test_an_edge_that_an_agent_runs_is_left_to_it_by_others(tmp_path: Path) -> None:
    port, xds, state = free_port(), free_port(), tmp_path / "s"
    async with region("a") as a, controller(xds, plan(port, a)):
        async with agent(xds, state) as edge:
            await until(serves(port, "a"))
            first = edge.pid
            assert first is not None
            with pytest.raises(UnavailableError, match="another agent"):
                async with agent(xds, state):
                    pass
            await until(lambda: _names_another(state / "edge.pid", 0))
            assert edge.pid == first and is_alive(first) and await served_by(port) == "a"
        async with agent(xds, state):
            await until(serves(port, "a"))


def _is_dead(pid: int) -> Callable[[], Awaitable[bool]]:
    async def asked() -> bool:
        return not is_alive(pid)

    return asked


async def test_one_that_ends_before_it_has_relieved_another_ends_both(tmp_path: Path) -> None:
    port, xds, state, left_in = free_port(), free_port(), tmp_path / "s", tmp_path / "left"
    state.mkdir()
    async with region("a") as a, controller(xds, plan(port, a)), left_behind(xds, left_in) as left:
        await until(serves(port, "a"))
        (state / "edge.pid").write_text(json.dumps({"pid": 1, "run_dir": str(left_in)}))  # it was started again
        async with agent(xds, state):
            pass
        await asyncio.wait_for(left.wait(), DEADLINE_S)
        assert not left_in.exists()


# --- what cannot be, and what is said of it -------------------------------------------------------


@pytest.mark.parametrize("what", ["folder", "secrets"])
async def test_a_state_that_cannot_be_written_is_named(tmp_path: Path, what: str) -> None:
    taken = tmp_path / "taken"
    taken.write_text("a file, so no folder can be below it")
    certificate = Path(__file__).parents[2] / "data" / "tls" / "cert.pem"
    tls = EdgeTls(str(certificate), str(certificate), str(certificate), "name", str(taken / "secrets"))
    folder = taken / "state" if what == "folder" else tmp_path / "state"
    orders = Orders("edge", (("127.0.0.1", 9),), find_envoy(), folder, tls=tls)
    found = EdgeAgent(orders)
    try:
        with pytest.raises(InvalidInputError, match=r"^state: "):
            await found.start()
    finally:
        await found.close()


async def test_an_edge_that_speaks_no_tls_to_a_controller_that_asks_for_it_says_so_once(tmp_path: Path) -> None:
    files = Path(__file__).parents[2] / "data" / "tls"
    xds = free_port()
    strict = AdsServer(f"127.0.0.1:{xds}", ServerTls(files / "cert.pem", files / "key.pem", files / "cert.pem"))
    await strict.start()
    with capture_logs() as lines:
        async with agent(xds, tmp_path / "state"), region("eu") as eu:
            await until(said(lines, "no controller serves the edge"))
            await asyncio.sleep(2)
            await strict.stop()
            async with controller(xds, plan(free_port(), eu)):
                await until(said(lines, "a controller serves the edge again"))
    about = [line for line in lines if "serves the edge" in line["event"]]
    assert [line["event"] for line in about] == [
        "no controller serves the edge",
        "a controller serves the edge again",
    ]
    assert about[0]["controllers"] == [f"127.0.0.1:{xds}"]
    assert "TLS" in about[0]["hint"]


def said(lines: list[MutableMapping[str, Any]], event: str) -> Callable[[], Awaitable[bool]]:
    async def asked() -> bool:
        return any(line["event"] == event for line in lines)

    return asked
