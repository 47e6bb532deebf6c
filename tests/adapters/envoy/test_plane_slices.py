"""Large plans are carried on between other work: the newest wins, no edge waits forever, nothing goes out of order."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from dataclasses import replace

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.parts import NOBODY_LEAVES, Addresses, Leaving
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.plane import SLICE, EnvoyDataPlane
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.resources import CLUSTER
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.server import AdsServer
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.translate import MADE, Translated, Translator
from mahavishnu.integrations.multi_region.core.traffic import EdgePlan, TrafficPlan
from tests.adapters.envoy.grpc_client import stream, until
from tests.adapters.envoy.plans import SPEC, kind, plan, service, target


class Slow(Translator):
    """One whose every edge costs a slice; ``done``: edge and generation of each that it finished."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[str, int]] = []

    def steps(
        self, plan: EdgePlan, generation: int, addresses: Addresses, leaving: Leaving = NOBODY_LEAVES
    ) -> Generator[int, None, Translated]:
        """As any other, in one step that leaves room for shipping it."""
        steps = super().steps(plan, generation, addresses, leaving)
        yield SLICE - MADE
        try:
            while True:
                next(steps)
        except StopIteration as ended:
            self.done.append((plan.edge.edge_id, generation))
            found: Translated = ended.value
            return found


def told(generation: int, *edges: str, services: int = 1) -> TrafficPlan:
    """A plan for edges, each with the same services."""
    made = [
        service(kind([target("r", weight=generation)], service=f"s{n}"), hosts=(f"s{n}.test",)) for n in range(services)
    ]
    return TrafficPlan(1, generation, {one: plan(*made, edge=replace(SPEC, edge_id=one)) for one in edges})


async def test_a_large_plan_goes_on_between_other_work() -> None:
    slow = Slow()
    plane = EnvoyDataPlane(AdsServer("127.0.0.1:0"), slow)
    plane.publish(told(1, "e1", "e2", "e3"))
    turns = [len(slow.done)]
    while len(slow.done) < 3:
        await asyncio.sleep(0)
        turns.append(len(slow.done))
    assert set(turns) == {1, 2, 3}
    assert slow.done == [("e1", 1), ("e2", 1), ("e3", 1)]
    await plane.close()


async def test_the_newest_plan_wins_and_begins_where_the_last_one_was_left() -> None:
    slow = Slow()
    plane = EnvoyDataPlane(AdsServer("127.0.0.1:0"), slow)
    for generation in (1, 2, 3, 4):
        plane.publish(told(generation, "e1", "e2", "e3"))
    assert slow.done == [("e1", 1), ("e2", 2), ("e3", 3), ("e1", 4)]
    await until(lambda: len(slow.done) == 6)
    assert slow.done[4:] == [("e2", 4), ("e3", 4)]
    await plane.close()


async def test_an_edge_holds_the_newest_of_plans_that_came_at_once() -> None:
    server = AdsServer("127.0.0.1:0")
    plane = EnvoyDataPlane(server)
    await plane.start()
    try:
        async with stream(server.address, "e1") as client:
            await client.ask(CLUSTER)
            for generation, services in ((1, 40), (2, 60), (3, 50)):
                plane.publish(told(generation, "e1", services=services))
            assert set(plane.states()) >= {"e1"}
            assert {one.name for one in (await client.take()).resources} == {f"s{n}" for n in range(50)}
    finally:
        await plane.close()


async def test_closing_ends_what_is_under_way() -> None:
    slow = Slow()
    plane = EnvoyDataPlane(AdsServer("127.0.0.1:0"), slow)
    plane.publish(told(1, "e1", "e2", "e3"))
    await plane.close()
    done = len(slow.done)
    await asyncio.sleep(0.01)
    assert len(slow.done) == done
