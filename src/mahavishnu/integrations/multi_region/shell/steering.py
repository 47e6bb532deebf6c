"""Steering: keeps the edges on the newest plan, takes in what they tell, and says who has taken over what (L14).

Plans are made by ``edges/plans.py``; how edges are told is the data plane's; what they saw is counted by
``edges/evidence.py`` and recorded by ``edges/alarms.py``.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import structlog

from mahavishnu.integrations.multi_region.core.edge_reports import EdgeReport
from mahavishnu.integrations.multi_region.core.traffic import TrafficPlan
from mahavishnu.integrations.multi_region.ports.dataplane import (
    Acknowledged,
    Astray,
    Connected,
    DataPlane,
    EdgeEvent,
    EdgeState,
    Ejected,
    LoadReport,
    Rejected,
    Settled,
)
from mahavishnu.integrations.multi_region.shell.edges.alarms import EdgeAlarms
from mahavishnu.integrations.multi_region.shell.edges.evidence import EdgeEvidence
from mahavishnu.integrations.multi_region.shell.edges.overview import EdgeOverview
from mahavishnu.integrations.multi_region.shell.edges.plans import EdgePlans, Planner
from mahavishnu.integrations.multi_region.shell.edges.read_back import ReadBack

from .manager import RegionManager

TICK_S = 0.5
"""How often it is looked whether facts or reports have expired."""

KEPT_REVISIONS = 1000
"""Changes of intent for which it is remembered which plan was the first to know them."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Settlement:
    """Which of the connected edges do by a revision of intent or a later one, and which lag behind it, both sorted.

    ``rejected``: those of ``acknowledged_by`` that refused a part of the plan, by which it moves no requests.
    """

    acknowledged_by: tuple[str, ...] = ()
    lagging: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()

    @property
    def reason(self) -> str:
        """For people."""
        lag = f"edges lag: {', '.join(self.lagging)}" if self.lagging else "every connected edge has taken it over"
        return f"{lag}; with parts refused: {', '.join(self.rejected)}" if self.rejected else lag


class Steering:
    """Steers the declared edges through a data plane. ``planner``: None for ``core.steering.plan_traffic``.

    ``first_look_s``: how long the first plan waits until each region has been heard of.
    """

    def __init__(
        self, manager: RegionManager, plane: DataPlane, planner: Planner | None = None, first_look_s: float = 0.0
    ) -> None:
        self._manager = manager
        self._plane = plane
        self._clock = manager.clock
        self._alarms = EdgeAlarms(manager.recorder, manager.clock)
        self._evidence = EdgeEvidence(manager, lambda: self.plan)
        self._plans = EdgePlans(
            manager, self._publish, plane.declare, lambda: self._evidence.seen, planner, first_look_s
        )
        self._read_back = ReadBack(lambda: self.plan, self.take)
        self._read_back_at: dict[str, float] = {}
        self._ticker: asyncio.Task[None] | None = None
        self._waiting: list[asyncio.Future[None]] = []
        self._firsts: list[tuple[int, int]] = []
        self._letting_go = False

    async def initialize(self) -> None:
        """Publish the first plan, then follow every change. Safe to call twice."""
        if self._ticker is None:
            self._plane.subscribe(self.take)
            self._evidence.start()
            self._plans.start()
            self._ticker = asyncio.create_task(self._tick_forever(), name="steering ticks")

    async def close(self) -> None:
        """Stop; edges go on with what they have. Safe to call twice; it is not started again."""
        await self._plans.close()
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)
        await self._evidence.close()
        await self._plane.close()

    @property
    def plan(self) -> TrafficPlan:
        """The newest plan."""
        return self._plans.newest

    # --- what edges have taken over -----------------------------------------------------------

    def edges(self) -> Mapping[str, EdgeOverview]:
        """Each edge that is declared or connected, by id."""
        states = self._plane.states()
        names = sorted({*self._manager.edges, *states})
        return MappingProxyType({name: self._overview(states.get(name, EdgeState(name))) for name in names})

    def connected(self) -> tuple[str, ...]:
        """The declared edges that listen to this controller."""
        return tuple(state.edge_id for state in self._listening())

    def unheard(self) -> tuple[str, ...]:
        """The declared edges that do not listen to this controller: they go on with what they have, sorted."""
        return tuple(sorted(self._manager.edges.keys() - set(self.connected())))

    def lagging(self, revision: int) -> tuple[str, ...]:
        """The connected edges that do not carry out a plan made from that revision of intent, or a later one.

        One that refused a part of it does where it goes on with an older version of that part, and was told of the part
        by a plan before that revision: then nothing moves by it.
        """
        return tuple(state.edge_id for state in self._listening() if not self._does(state, revision))

    async def settled(self, revision: int, timeout_s: float) -> Settlement:
        """Wait until no connected edge lags behind a revision of intent, for ``timeout_s`` seconds at most.

        Nobody waits for edges that are not connected: ``edges`` tells of them.
        """
        await self._until(lambda: not self.lagging(revision), timeout_s)
        return self.settlement(revision)

    def settlement(self, revision: int) -> Settlement:
        """Which connected edges do by a revision of intent as of now, and which lag."""
        states = {state.edge_id: state for state in self._listening()}
        done = tuple(edge_id for edge_id, state in states.items() if self._does(state, revision))
        rejected = tuple(name for name in done if self._revision_of(states[name].acknowledged) < revision)
        return Settlement(done, tuple(edge_id for edge_id in states if edge_id not in done), rejected)

    def in_flight(self, region_id: str) -> int:
        """Requests to a region without an answer, over all connected edges, as each last reported."""
        return sum(state.in_flight.get(region_id, 0) for state in self._listening())

    def reported_at(self, edge_id: str) -> float | None:
        """When an edge last reported (monotonic seconds), None for one whose reports are old or that sent none."""
        return self._evidence.reported_at(edge_id)

    async def emptied(self, region_id: str, revision: int, timeout_s: float) -> tuple[str, ...]:
        """Wait until no edge has a request in flight to a region; those that may have after ``timeout_s`` seconds.

        Only a report newer than the edge's acknowledgement of ``revision`` counts: until then it may send more there.
        """
        acknowledged_at: dict[str, float] = {}

        def busy() -> tuple[str, ...]:
            lagging = self.lagging(revision)
            for edge_id in self.connected():
                if edge_id in lagging:  # it may have been started anew, from something old
                    acknowledged_at.pop(edge_id, None)
                else:
                    acknowledged_at.setdefault(edge_id, self._clock.monotonic())
            return tuple(s.edge_id for s in self._listening() if not self._is_rid_of(s, region_id, acknowledged_at))

        await self._until(lambda: not busy(), timeout_s)
        return busy()

    def take(self, event: EdgeEvent) -> None:
        """Something happened at an edge. Must be called on the event loop; returns at once."""
        match event:
            case LoadReport():
                self._evidence.take(event)
            case Connected():
                self._alarms.connection(event, self._leave_of(event.edge_id))
            case Rejected():
                self._alarms.rejection(event)
            case Ejected():
                self._alarms.ejection(event)
            case Astray():
                self._alarms.stray(event)
            case Acknowledged() | Settled():
                pass  # the data plane's states tell it
        self._wake()

    def take_report(self, report: EdgeReport) -> None:
        """What an edge holds, read back from it: compared with what it was told; what is amiss becomes an event."""
        self._read_back_at[report.edge_id] = self._clock.monotonic()
        self._read_back.take(report)

    def let_go(self) -> None:
        """Edges that end from now on end with this controller, as they should."""
        self._letting_go = True

    # --- inside -------------------------------------------------------------------------------

    def _leave_of(self, edge_id: str) -> str | None:
        """Why an edge that ends was to end; None when it was not."""
        if edge_id not in self._manager.edges:
            return "is not declared any more"
        return "ends with this controller" if self._letting_go else None

    def _publish(self, plan: TrafficPlan) -> None:
        if not self._firsts or self._firsts[-1][1] != plan.revision:
            self._firsts = [*self._firsts[1 - KEPT_REVISIONS :], (plan.generation, plan.revision)]
        self._plane.publish(plan)
        self._wake()

    def _listening(self) -> list[EdgeState]:
        states, declared = self._plane.states(), self._manager.edges
        return [state for edge_id, state in sorted(states.items()) if state.connected and edge_id in declared]

    def _does(self, state: EdgeState, revision: int) -> bool:
        """Whether an edge does by a revision of intent; see ``lagging``."""
        if self._revision_of(state.acknowledged) >= revision:
            return True
        return self._revision_of(state.settled) >= revision > self._revision_of(state.refused)

    def _revision_of(self, generation: int | None) -> int:
        """The revision of intent that plans were made from by then; -1 before the first."""
        if generation is None:
            return -1
        place = bisect_right(self._firsts, generation, key=lambda first: first[0])
        return self._firsts[place - 1][1] if place else -1

    def _is_rid_of(self, state: EdgeState, region_id: str, acknowledged_at: Mapping[str, float]) -> bool:
        told, acknowledged = self.reported_at(state.edge_id), acknowledged_at.get(state.edge_id)
        if told is None or acknowledged is None or told <= acknowledged:
            return False
        return not state.in_flight.get(region_id)

    def _overview(self, state: EdgeState) -> EdgeOverview:
        read_at = self._read_back_at.get(state.edge_id)
        return EdgeOverview(
            edge_id=state.edge_id,
            declared=state.edge_id in self._manager.edges,
            connected=state.connected,
            acknowledged=state.acknowledged,
            settled=state.settled,
            current=self.plan.generation,
            synced=state.connected and state.acknowledged == self.plan.generation,
            rejections=state.rejections,
            serving=state.serving,
            rates=state.rates,
            in_flight=state.in_flight,
            astray=self._alarms.astray(state.edge_id),
            version=state.version,
            read_back_age_s=None if read_at is None else self._clock.monotonic() - read_at,
        )

    async def _until(self, true: Callable[[], bool], timeout_s: float) -> None:
        """Wait until something is true, looking at it whenever an edge tells something; for so long at most."""
        late = asyncio.ensure_future(self._clock.sleep(timeout_s))
        try:
            while not true() and not late.done():
                news = asyncio.get_running_loop().create_future()
                self._waiting.append(news)
                await asyncio.wait({news, late}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            late.cancel()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for news in waiting:
            if not news.done():
                news.set_result(None)

    async def _tick_forever(self) -> None:
        while True:
            await self._clock.sleep(TICK_S)
            try:
                self._manager.snapshot()  # notices facts that have expired
                self._evidence.tick()
            except Exception:  # one bad turn must not end the looking
                log.exception("tick not finished")
