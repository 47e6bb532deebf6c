"""Makes the plan for edges anew whenever the fleet or the declared edges change: once per turn of the event loop.

There is no further delay; large plans are made in a thread, so that nothing else waits for them. What round trips have
taught meanwhile is taken up from time to time, and only where it moved more than a little (L16). What a plan holds is
decided in ``core/steering.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

import structlog

from mahavishnu.integrations.multi_region.core.demand import Seen
from mahavishnu.integrations.multi_region.core.edges import ClientPlace, EdgeSpec
from mahavishnu.integrations.multi_region.core.model import Fleet, Phase
from mahavishnu.integrations.multi_region.core.steering import SteeringInput, plan_traffic
from mahavishnu.integrations.multi_region.core.traffic import TrafficPlan
from mahavishnu.integrations.multi_region.facts.places import centroids
from mahavishnu.integrations.multi_region.shell.manager import RegionManager

Planner = Callable[[Fleet, Mapping[str, EdgeSpec], SteeringInput, TrafficPlan | None], TrafficPlan]
"""Makes a plan; the last argument is the plan before it, whose objects it may share."""

SMALL = 300
"""Regions x services x places of clients up to which a plan is made on the event loop: a few milliseconds at most."""

LEARN_EVERY_S = 30.0
"""How often it is looked whether learned round trips ask for a new plan."""

MOVED_MS, MOVED_SHARE = 2.0, 0.05
"""They do when one from an edge, or a network of its clients, moved by more than both: this, and this share of it."""

log = structlog.get_logger(__name__)


class EdgePlans:
    """Follows the manager. ``publish`` is called on the event loop with each plan; ``seen`` says what edges tell.

    ``declare`` is called with the ids of the declared edges as they are now, before there is a plan for them.

    A plan that cannot be made, or not be published, is logged, and the last one stays. ``first_look_s``: how long the
    first plan with regions waits until each has been heard of: an order made of the first answers alone would move
    traffic, and edges that ran before this process did go on with what they have.
    """

    def __init__(
        self,
        manager: RegionManager,
        publish: Callable[[TrafficPlan], None],
        declare: Callable[[Iterable[str]], None],
        seen: Callable[[], Seen],
        planner: Planner | None = None,
        first_look_s: float = 0.0,
    ) -> None:
        self._manager = manager
        self._first_look_s = first_look_s
        self._looked = first_look_s <= 0
        self._look: asyncio.Task[None] | None = None
        self._publish = publish
        self._declare = declare
        self._seen = seen
        self._planner = planner or plan_traffic
        self._loop: asyncio.AbstractEventLoop | None = None
        self._due = False
        self._overtaken = False
        self._worker: asyncio.Task[None] | None = None
        self._learner: asyncio.Task[None] | None = None
        self._learned = manager.round_trips.corrections
        self.newest = TrafficPlan(0, -1)

    def start(self) -> None:
        """Make the first plan, then follow every change."""
        self._loop = asyncio.get_running_loop()
        self._manager.registry.on_change(self._changed)
        self._learner = asyncio.create_task(self._learn_forever(), name="learned round trips")
        self._replan()

    async def close(self) -> None:
        """Follow no more. Safe to call twice."""
        if self._loop is None:
            return
        self._loop = None
        self._manager.registry.off_change(self._changed)
        tasks = [task for task in (self._worker, self._look, self._learner) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _changed(self) -> None:
        """Plan in the next turn of the loop, once, however much changes in this one."""
        if not self._due and self._loop is not None:
            self._due = True
            self._loop.call_soon(self._replan)

    def _replan(self) -> None:
        self._due = False
        if self._loop is None:
            return
        self._declare(self._manager.edges)
        if self._worker is not None:
            self._overtaken = True
            return
        fleet, edges = self._manager.snapshot(), dict(self._manager.edges)
        if self._is_looking(fleet):
            return
        if _size(fleet, edges) <= SMALL:
            self._take(self._attempt(fleet, edges, self._given(fleet)))
        else:
            self._worker = asyncio.create_task(self._plan_aside(), name="plan for edges")

    def _is_looking(self, fleet: Fleet) -> bool:
        """Whether the first plan with regions still waits for word of some."""
        if self._looked or not fleet.regions:
            return False
        self._looked = all(region.phase is not Phase.UNKNOWN for region in fleet.regions.values())
        if not self._looked and self._look is None:
            self._look = asyncio.create_task(self._end_first_look(), name="first look at regions")
        return not self._looked

    async def _end_first_look(self) -> None:
        await self._manager.clock.sleep(self._first_look_s)
        self._looked = True
        self._changed()

    async def _plan_aside(self) -> None:
        """Make plans in a thread until one was made from what is newest."""
        try:
            while True:
                self._overtaken = False
                fleet, edges = self._manager.snapshot(), dict(self._manager.edges)
                self._take(await asyncio.to_thread(self._attempt, fleet, edges, self._given(fleet)))
                if not self._overtaken:
                    return
        finally:
            self._worker = None

    def _attempt(self, fleet: Fleet, edges: Mapping[str, EdgeSpec], given: SteeringInput) -> TrafficPlan | None:
        try:
            return self._planner(fleet, edges, given, self.newest)
        except Exception:  # whatever it is, the next change must be planned
            log.exception("no plan for edges: the last one stays", generation=fleet.generation)
            return None

    def _given(self, fleet: Fleet) -> SteeringInput:
        """What a plan goes by beside the fleet, as it is now: a thread may read it."""
        book, check_of = self._manager.round_trips, self._manager.monitor.check_of
        if not self.newest.edges:
            self._learned = book.corrections
        learned, seen = self._learned, self._seen()
        return SteeringInput(
            estimate=lambda place, country: lambda region: book.estimate_ms(place, region, country, learned),
            check={name: check_of(name) for name in fleet.regions}.__getitem__,
            countries=centroids(),
            seen_alive=seen.alive,
            demand=seen.demand,
            carried=seen.carried,
        )

    async def _learn_forever(self) -> None:
        while True:
            await self._manager.clock.sleep(LEARN_EVERY_S)
            try:
                if self._has_moved(self._manager.snapshot()):
                    self._learned = self._manager.round_trips.corrections
                    self._manager.registry.touch()  # plans are made by it
            except Exception:  # one bad turn must not end the looking
                log.exception("learned round trips not looked at")

    def _has_moved(self, fleet: Fleet) -> bool:
        """Whether what was learned since the last plans were made may move traffic worth moving."""
        book, learned = self._manager.round_trips, self._learned
        if book.corrections is learned:
            return False
        edges = self._manager.edges.values()
        if any(edge.client_place is ClientPlace.GEOIP for edge in edges):
            return True  # too many places to look at one by one
        places = {(edge.point, edge.country) for edge in edges}
        places |= {(network.point, network.country) for edge in edges for network in edge.networks}
        return any(
            _is_far(book.estimate_ms(point, region, country, learned), book.estimate_ms(point, region, country))
            for point, country in places
            for region in fleet.regions.values()
        )

    def _take(self, plan: TrafficPlan | None) -> None:
        if plan is None or plan.generation <= self.newest.generation:
            return
        self.newest = plan
        try:
            self._publish(plan)
        except Exception:  # as above
            log.exception("plan for edges not published", generation=plan.generation)


def _is_far(before_ms: float, now_ms: float) -> bool:
    return abs(now_ms - before_ms) > max(MOVED_MS, MOVED_SHARE * before_ms)


def _size(fleet: Fleet, edges: Mapping[str, EdgeSpec]) -> int:
    """How much there is to plan: regions x services x places of clients, over all edges."""
    by_country = sum(edge.client_place is ClientPlace.GEOIP for edge in edges.values()) * len(centroids())
    places = by_country + sum(1 + len(edge.networks) for edge in edges.values())
    return len(fleet.regions) * max(1, len(fleet.services), len(fleet.deployments)) * places
