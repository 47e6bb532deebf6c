"""Envoys as the data plane: plans are translated per edge and shipped by the servers for edges.

Brings together the translation, the addresses that it needs, and the server; decides nothing itself. An address that
changes has the newest plan translated again, of which only the endpoints concerned are sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mahavishnu.integrations.multi_region.core.traffic import EdgePlan, TrafficPlan
from mahavishnu.integrations.multi_region.ports.dataplane import EdgeListener, EdgeState, Rejection

from .endpoints import host_names
from .parts import Addresses
from .resolve import Resolver
from .resources import Snapshot
from .server import AdsServer
from .translate import Translator

MakeResolver = Callable[[Callable[[Addresses], None]], Resolver]
"""Makes what looks up regions' hosts, given what to call when an address changed."""


class EnvoyDataPlane:
    """Implements ``DataPlane``. Owns the server and the resolver: ``start`` starts them, ``close`` ends them."""

    def __init__(
        self, server: AdsServer, translator: Translator | None = None, make_resolver: MakeResolver = Resolver
    ) -> None:
        self._server = server
        self._translator = translator or Translator()
        self._resolver = make_resolver(self._addresses_changed)
        self._plan: TrafficPlan | None = None

    async def start(self) -> None:
        """Serve edges. Raises UnavailableError when the address cannot be had."""
        await self._server.start()
        await self._resolver.start()

    @property
    def address(self) -> str:
        """HOST:PORT where edges reach it, once it serves."""
        return self._server.address

    def publish(self, plan: TrafficPlan) -> None:
        """Take a plan as what every edge is to do from now on; does not wait for them. Older plans are ignored."""
        last = self._plan
        if last is not None and (plan.generation, plan.revision) <= (last.generation, last.revision):
            return
        for edge_id in (last.edges.keys() if last is not None else set()) - plan.edges.keys():
            self._translator.forget(edge_id)
        self._plan = plan
        self._resolver.follow(host_names(kind for edge in plan.edges.values() for kind in edge.classes))
        self._ship(plan, self._resolver.addresses)

    def states(self) -> Mapping[str, EdgeState]:
        """Each edge of the newest plan, and each that is connected, by id."""
        return self._server.states()

    def subscribe(self, listener: EdgeListener) -> None:
        """Be told what happens at edges from now on."""
        self._server.subscribe(listener)

    async def close(self) -> None:
        """Let go of the edges; they go on with what they have."""
        await self._resolver.close()
        await self._server.stop()

    def _addresses_changed(self, addresses: Addresses) -> None:
        if self._plan is not None:
            self._ship(self._plan, addresses)

    def _ship(self, plan: TrafficPlan, addresses: Addresses) -> None:
        snapshots: dict[str, Snapshot] = {}
        problems: dict[str, tuple[Rejection, ...]] = {}
        for edge_id, edge in plan.edges.items():
            snapshots[edge_id], problems[edge_id] = self._translated(edge, plan.generation, addresses)
        self._server.publish(snapshots, problems)

    def _translated(
        self, edge: EdgePlan, generation: int, addresses: Addresses
    ) -> tuple[Snapshot, tuple[Rejection, ...]]:
        snapshot, problems = self._translator.snapshot(edge, generation, addresses)
        return snapshot, tuple(Rejection(problem.resource, problem.reason, generation) for problem in problems)
