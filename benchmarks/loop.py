"""What holds the event loop at 1,000 regions, whoever asks: ``python -m benchmarks.loop``.

A task notes each turn of the loop while public calls are made, one after the other. A turn is measured as this thread's
own time, since on a machine with other work the clock also runs while we wait for a processor; the least of several
rounds counts. Garbage collections are kept short as ``serve`` keeps them, and count where they fall: with Python's own
settings, a full collection at 1,000 regions takes 20 to 80 ms.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from mahavishnu.integrations.multi_region.core.intent import World
from mahavishnu.integrations.multi_region.core.model import Region, RoutingStrategy, Service
from mahavishnu.integrations.multi_region.core.templates import policy_from_template
from mahavishnu.integrations.multi_region.facts.places import cities
from mahavishnu.integrations.multi_region.ports.probe import ProbeResult, ScriptedProbe
from mahavishnu.integrations.multi_region.shell.garbage import ShortCollections
from mahavishnu.integrations.multi_region.shell.manager import RegionManager
from mahavishnu.integrations.multi_region.shell.router import RegionAwareRouter
from mahavishnu.integrations.multi_region.surfaces.http.server import create_app
from mahavishnu.integrations.multi_region.system import MultiRegionSystem, create_multi_region_system

from .common import Table
from .world import clients, managed, region_in

ROUNDS = 5
REGIONS = 1_000
CLIENTS = 10_000
TEMPLATES = ("eea-only", "eea-plus-adequate")

Act = Callable[[int], Any]
"""One call, given the number of the round; may be awaited."""


@dataclass(slots=True)
class Turns:
    """The longest turn of the loop since ``begin``, in ms: of its own time, and by the clock."""

    own: float = 0.0
    wall: float = 0.0

    async def watch(self) -> None:
        """Note each turn."""
        last, own = time.perf_counter(), time.thread_time()
        while True:
            await asyncio.sleep(0)
            now, own_now = time.perf_counter(), time.thread_time()
            self.own, self.wall = max(self.own, (own_now - own) * 1e3), max(self.wall, (now - last) * 1e3)
            last, own = now, own_now


async def longest_turn(act: Act, rounds: int = ROUNDS) -> Turns:
    """The longest turn while ``act`` runs: of the round in which it was shortest."""
    found = []
    for number in range(rounds):
        turns = Turns()
        watching = asyncio.create_task(turns.watch())
        await asyncio.sleep(0)
        done = act(number)
        if isinstance(done, Awaitable):
            await done
        for _ in range(3):  # what it left behind for the next turn counts as well
            await asyncio.sleep(0)
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        found.append(turns)
    return Turns(min(turns.own for turns in found), min(turns.wall for turns in found))


def declared(changed: int = 0) -> World:
    """A world of 1,000 regions and two services under rules. ``changed``: another one for each number."""
    policies = tuple(policy_from_template(name, policy_id=name) for name in TEMPLATES)
    services = tuple(Service(policy.policy_id, policy=policy.policy_id) for policy in policies)
    made = [region_in(f"region-{number}", city, number) for number, city in enumerate(cities()[:REGIONS])]
    return World(tuple(replace(region, cost_multiplier=1.0 + changed) for region in made), services, policies)


async def asked(app: Any, path: str, body: bytes = b"") -> int:
    """The status of an answer of the app, whose body is taken and dropped."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST" if body else "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    given = [{"type": "http.request", "body": body, "more_body": False}]
    status = 0

    async def receive() -> dict[str, Any]:
        return given.pop() if given else await asyncio.Future()

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)

    await app(scope, receive, send)
    assert status == 200, f"{path}: {status}"
    return status


def probed(fleet: Any) -> ScriptedProbe:
    """A probe that finds every region well."""
    well = ProbeResult(True, 10.0)
    return ScriptedProbe({region.endpoint: lambda: well for region in fleet})


class Calls:
    """The public calls of one running system, in the order in which they are measured."""

    def __init__(self, system: MultiRegionSystem) -> None:
        self._system = system
        self._manager, self._router, self._handler = system[0], system[1], system[2]
        self._app = create_app(system, tokens=None)
        self._here = clients(1)[0]
        self._by_law = {**self._here, "service": TEMPLATES[0]}

    def all(self) -> dict[str, Act]:
        """What is called, by the words for it."""
        return {**self._looking(), **self._telling(), **self._changing(), **self._moving(), **self._over_http()}

    def _looking(self) -> dict[str, Act]:
        router, here, by_law = self._router, self._here, self._by_law
        data = {**here, "data_id": "orders"}
        european = next(name for name, region in self._manager.regions.items() if region.country == "FR")
        return {
            "explain": lambda _: router.explain(here),
            "explain under rules": lambda _: router.explain(by_law),
            "100 candidates": lambda _: router.route(here, None, 100).candidates,
            "a request that names data": lambda _: router.route(data),
            "by data locality": lambda _: router.route(data, "data_locality"),
            "by data locality, under rules": lambda _: router.route({**by_law, "data_id": "orders"}, "data_locality"),
            "get_stats": lambda _: self._manager.get_stats(),
            "list_regions, healthy ones": lambda _: self._manager.list_regions(healthy_only=True),
            "plan of a failover of two services": lambda _: self._handler.plan(european),
        }

    def _then_asked(self, act: Act) -> Act:
        """The same, and then a request of each kind, in the same turn where nothing is awaited."""

        async def both(number: int) -> None:
            done = act(number)
            if isinstance(done, Awaitable):
                await done
            self._router.route(self._here)
            self._router.route(self._by_law)

        return both

    def _telling(self) -> dict[str, Act]:
        manager = self._manager

        def outcomes(_: int) -> None:
            for number in range(100):
                manager.report_outcome(f"region-{number}", True, 12.0)

        def loads(number: int) -> None:
            for region in range(100):
                manager.report_load(f"region-{region}", float(number))

        def every_load(number: int) -> None:
            for region_id in list(manager.regions):
                manager.report_load(region_id, 10.0 + number)

        far = clients(20 * ROUNDS)

        def round_trips(number: int) -> None:
            for context in far[20 * number : 20 * (number + 1)]:
                self._router.observe_rtt(context["user_location"], f"region-{number}", 250.0)

        return {
            "report_outcome, 100": outcomes,
            "observe_rtt, 20, and a request": self._then_asked(round_trips),
            "report_load, 100, and a request": self._then_asked(loads),
            "a probe counted": lambda n: manager.monitor.probe_once(f"region-{n}"),
            "every load reported, and a request": self._then_asked(every_load),
            "tick": lambda _: manager.monitor.tick(),
        }

    def _changing(self) -> dict[str, Act]:
        manager, asked_after = self._manager, self._then_asked
        city = cities()[0]
        policy = policy_from_template(TEMPLATES[1], policy_id=TEMPLATES[0])
        plain = replace(policy, policy_id="plain", rules=())
        worlds, world = [declared(number + 1) for number in range(ROUNDS)], declared()
        ones = [
            replace(world, regions=(replace(world.regions[0], cost_multiplier=5.0 + number), *world.regions[1:]))
            for number in range(ROUNDS)
        ]

        def another(number: int) -> Region:
            return region_in(f"spare-{number}", city, number)

        return {
            "register_region, and a request": asked_after(lambda n: manager.register_region(another(n))),
            "update_region, and a request": asked_after(
                lambda n: manager.update_region(replace(another(n), cost_multiplier=3.0))
            ),
            "unregister_region, and a request": asked_after(lambda n: manager.unregister_region(f"spare-{n}")),
            "put_policy": lambda n: manager.put_policy(replace(plain, name=f"plain {n}")),
            "put_policy with rules, and a request": asked_after(
                lambda n: manager.put_policy(replace(policy, name=f"rules {n}"))
            ),
            "put_service": lambda n: manager.put_service(Service("extra", policy=TEMPLATES[0], priority=n + 1)),
            "apply, one region changed": lambda n: manager.apply(ones[n]),
            "apply, all regions changed": lambda n: manager.apply(worlds[n]),
            "apply, dry run": lambda n: manager.apply(ones[n], dry_run=True),
        }

    def _moving(self) -> dict[str, Act]:
        manager, handler = self._manager, self._handler
        return {
            "drain": lambda n: manager.drain(f"region-{n}", by="bench", reason="measured"),
            "undrain": lambda n: manager.undrain(f"region-{n}", by="bench", reason="measured"),
            "handle_region_failure": lambda n: handler.handle_region_failure(f"region-{n}", "measured"),
            "recover_region": lambda n: handler.recover_region(f"region-{n}", by="bench", reason="measured"),
            "a region falls by real traffic": self._fall,
            "failure review": lambda _: handler.review(),
        }

    def _fall(self, number: int) -> None:
        """The verdict, and the guard's look at what it would do."""
        for _ in range(20):
            self._manager.report_outcome(f"region-{200 + number}", False)

    def _over_http(self) -> dict[str, Act]:
        paths = ("/stats", "/regions", "/v1/regions", "/v1/status", "/v1/services", "/v1/events", "/metrics")
        acts: dict[str, Act] = {f"GET {path}": self._get(path) for path in paths}
        question = b'{"request_context": {"country": "DE", "service": "eea-only"}}'
        acts["POST /v1/route/explain"] = lambda _: asked(self._app, "/v1/route/explain", question)
        return acts

    def _get(self, path: str) -> Act:
        return lambda _: asked(self._app, path)


async def turns() -> list[list[str]]:
    """Rows: each call, and the longest turn of the loop while it ran."""
    rows = []
    world = declared()
    collections = ShortCollections()

    async def beginning(_: int) -> None:
        async with RegionManager() as manager:
            await manager.apply(world)

    with collections.kept():
        first = await longest_turn(beginning, 3)
    rows.append(["apply, a new world of 1,000 regions", f"{first.own:.2f}", f"{first.wall:.2f}"])
    system = await create_multi_region_system(probe=probed(world.regions))
    try:
        await system.region_manager.apply(world)
        for holder in ("region-1", "region-4"):
            assert holder in system.region_manager.regions
        await system.region_manager.put_placement("orders", ("region-1", "region-4"))
        await asyncio.sleep(6)  # until each was asked and is judged
        with collections.kept():
            for name, act in Calls(system).all().items():
                found = await longest_turn(act)
                rows.append([name.strip(), f"{found.own:.2f}", f"{found.wall:.2f}"])
    finally:
        await system.close()
    return rows


async def longest_turns() -> Table:
    """The table of them."""
    return Table("", ("one call at 1,000 regions", "longest turn, own ms", "by the clock, ms"), await turns())


async def loop_gap(seconds: float = 3.0) -> tuple[float, float]:
    """The longest turn, routing and flipping at 1,000 regions: ms of its own time, and by the clock."""
    manager, contexts = managed(REGIONS), clients(CLIENTS)
    router, regions = RegionAwareRouter(manager), list(manager.regions.values())
    end = time.perf_counter() + seconds

    async def route() -> None:
        at = 0
        while time.perf_counter() < end:
            for context in contexts[at : at + 10]:
                await router.route_request(context, RoutingStrategy.LATENCY_BASED)
            at = (at + 10) % CLIENTS
            await asyncio.sleep(0)

    async def flip() -> None:
        turn = 0
        while time.perf_counter() < end:
            region = regions[turn // 2 * 7 % REGIONS]
            region.health_score = 0.0 if region.health_score else 95.0
            turn += 1
            await asyncio.sleep(0)

    with ShortCollections().kept():
        found = await longest_turn(lambda _: asyncio.gather(route(), flip()), rounds=1)
    return found.own, found.wall


if __name__ == "__main__":
    print(asyncio.run(longest_turns()).markdown())
