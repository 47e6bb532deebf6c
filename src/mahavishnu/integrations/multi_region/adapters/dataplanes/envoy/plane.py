"""Envoys as the data plane: plans are translated per edge and shipped by the servers for edges.

Brings together the translation, the addresses that it needs, and the server; decides nothing itself. An address that
changes has the newest plan translated again, of which only the endpoints concerned are sent. An edge that was told
nothing yet waits a moment for addresses that are being looked up: it may hold good ones from before we started.

A region that moves to another address is told at both for a while (``handover.py``); then the newest plan is translated
once more, without the old one.

A plan that costs more than one slice of time is carried on between other work of the event loop, edge by edge; a newer
one takes its place, and begins with the edges that waited longest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import suppress

import structlog

from mahavishnu.integrations.multi_region.core.traffic import TrafficPlan
from mahavishnu.integrations.multi_region.ports.clock import Clock, SystemClock
from mahavishnu.integrations.multi_region.ports.dataplane import EdgeListener, EdgeState, Rejection

from .endpoints import host_names
from .handover import Handover
from .parts import Addresses, Problem
from .resolve import Resolver
from .resources import Snapshot
from .server import AdsServer
from .translate import KEPT, MADE, Translator

log = structlog.get_logger(__name__)

SLICE = 400
"""What is done at a time, in units of the translation: some 1 ms."""

_LOOK_S = 0.05

MakeResolver = Callable[[Callable[[Addresses], None]], Resolver]
"""Makes what looks up regions' hosts, given what to call when an address changed."""


class EnvoyDataPlane:
    """Implements ``DataPlane``. Owns the server and the resolver: ``start`` starts them, ``close`` ends them."""

    def __init__(
        self,
        server: AdsServer,
        translator: Translator | None = None,
        make_resolver: MakeResolver = Resolver,
        clock: Clock | None = None,
    ) -> None:
        self._server = server
        self._clock = clock or SystemClock()
        self._handover = Handover(self._clock.monotonic)
        self._parting: asyncio.Task[None] | None = None
        self._translator = translator or Translator()
        self._resolver = make_resolver(self._addresses_changed)
        self._plan: TrafficPlan | None = None
        self._declared: frozenset[str] | None = None
        self._work: Generator[int, None, None] | None = None
        self._carrying: asyncio.Task[None] | None = None
        self._turns: dict[str, int] = {}
        self._hosts: dict[str, frozenset[str]] = {}

    async def start(self) -> None:
        """Serve edges. Raises UnavailableError when the address cannot be had."""
        await self._server.start()
        try:
            await self._resolver.start()
        except BaseException:
            await self._server.stop()
            raise

    @property
    def address(self) -> str:
        """HOST:PORT where edges reach it, once it serves."""
        return self._server.address

    def declare(self, edge_ids: Iterable[str]) -> None:
        """Which edges there are from now on, though no plan may have them yet: others are refused, these may wait."""
        found = frozenset(edge_ids)
        if found != self._declared:
            self._declared = found
            self._server.declare(found)

    def publish(self, plan: TrafficPlan) -> None:
        """Take a plan as what every edge is to do from now on; does not wait for them. Older plans are ignored."""
        last = self._plan
        if last is not None and (plan.generation, plan.revision) <= (last.generation, last.revision):
            return
        for edge_id in (last.edges.keys() if last is not None else set()) - plan.edges.keys():
            self._translator.forget(edge_id)
            self._turns.pop(edge_id, None)
            self._hosts.pop(edge_id, None)
        self._plan = plan
        self._server.declare(plan.edges if self._declared is None else self._declared)
        self._ship(plan)

    def states(self) -> Mapping[str, EdgeState]:
        """Each edge of the newest plan, and each that is connected, by id."""
        return self._server.states()

    def subscribe(self, listener: EdgeListener) -> None:
        """Be told what happens at edges from now on."""
        self._server.subscribe(listener)

    async def close(self) -> None:
        """Let go of the edges; they go on with what they have."""
        self._work = None
        for task in (self._carrying, self._parting):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        await self._resolver.close()
        await self._server.stop()

    def _addresses_changed(self, _: Addresses) -> None:
        if self._plan is not None:
            self._ship(self._plan)

    def _ship(self, plan: TrafficPlan) -> None:
        """Begin with a plan, in place of the one that was under way; what a slice does not do is carried on."""
        if self._work is not None:
            self._work.close()
        self._work = self._steps(plan)
        self._advance()
        if self._work is not None and (self._carrying is None or self._carrying.done()):
            self._carrying = asyncio.get_running_loop().create_task(self._carry_on())

    async def _carry_on(self) -> None:
        """Do slices until nothing is left, whichever plan they are of."""
        while self._work is not None:
            await asyncio.sleep(0)
            try:
                self._advance()
            except Exception:
                self._work = None
                log.exception("plan_not_translated")

    def _advance(self) -> None:
        """Do one slice of the work."""
        spent = 0
        while self._work is not None and spent < SLICE:
            try:
                spent += next(self._work)
            except StopIteration:
                self._work = None

    def _steps(self, plan: TrafficPlan) -> Generator[int, None, None]:
        """Translate for each edge and ship that, those first that waited longest."""
        yield from self._gather_hosts(plan)
        addresses = self._resolver.addresses
        leaving = self._handover.turn(plan.regions, addresses)
        turn = max(self._turns.values(), default=0) + 1
        for edge_id in sorted(plan.edges, key=lambda edge_id: self._turns.get(edge_id, 0)):
            if edge_id not in self._turns and self._resolver.awaits(self._hosts[edge_id]):
                continue
            edge = plan.edges[edge_id]
            snapshot, problems = yield from self._translator.steps(edge, plan.generation, addresses, leaving)
            self._turns[edge_id] = turn
            self._hosts[edge_id] = self._translator.hosts(edge_id)
            self._offer(edge_id, snapshot, problems)
            yield MADE
        self._resolver.follow(frozenset().union(*self._hosts.values()))
        self._part(max(map(self._translator.settling_s, plan.edges), default=0.0))

    def _part(self, settling_s: float) -> None:
        """Have the addresses that regions left go once edges can have found the new ones well."""
        self._handover.told(settling_s)
        if self._handover.due_s is not None and (self._parting is None or self._parting.done()):
            self._parting = asyncio.get_running_loop().create_task(self._part_when_due())

    async def _part_when_due(self) -> None:
        """Translate anew whenever an address is to go, until there is none left."""
        while (due_s := self._handover.due_s) is not None:
            await self._clock.sleep(max(due_s, _LOOK_S))
            if self._plan is not None and self._work is None and not self._handover.due_s:
                try:
                    self._ship(self._plan)
                except Exception:
                    log.exception("plan_not_translated")

    def _gather_hosts(self, plan: TrafficPlan) -> Iterator[int]:
        """Have hosts looked up that edges need which were told nothing yet."""
        fresh = [edge_id for edge_id in plan.edges if edge_id not in self._turns]
        for edge_id in fresh:
            found: set[str] = set()
            for kind in {id(kind.tiers): kind for kind in plan.edges[edge_id].classes}.values():
                found |= host_names([kind])
                yield KEPT
            self._hosts[edge_id] = frozenset(found)
        if fresh:
            self._resolver.follow(frozenset().union(*self._hosts.values()))

    def _offer(self, edge_id: str, snapshot: Snapshot, problems: tuple[Problem, ...]) -> None:
        """Ship what was translated, with what is to be said of it; hosts that are being looked up are no news yet."""
        said = [problem for problem in problems if not (problem.host and self._resolver.awaits({problem.host}))]
        lacking = _rejections((problem for problem in said if not problem.carried), snapshot.generation)
        remarks = _rejections((problem for problem in said if problem.carried), snapshot.generation)
        self._server.offer(edge_id, snapshot, lacking, remarks)


def _rejections(problems: Iterable[Problem], generation: int) -> tuple[Rejection, ...]:
    return tuple(Rejection(problem.resource, problem.reason, generation) for problem in problems)
