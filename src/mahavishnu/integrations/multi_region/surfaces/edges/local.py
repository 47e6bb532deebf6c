"""Runs every declared edge on this machine, beside its controller: starts those that appear, stops those that go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.agent import EdgeAgent, Orders, Take
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.binary import Envoy
from mahavishnu.integrations.multi_region.errors import MultiRegionError

LOOK_S = 0.5
"""How often it is looked whether edges were declared or removed."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Workshop:
    """What local edges have in common.

    ``controllers``: host and port of each, the one beside them first. ``state_dir``: where they keep what they last
    held, and their logs. ``take``: who hears what they hold.
    """

    envoy: Envoy
    controllers: tuple[tuple[str, int], ...]
    state_dir: Path
    take: Take
    threads: int = 1
    drain_s: float = 5.0

    def agent(self, edge_id: str) -> EdgeAgent:
        """An agent for one edge, not started yet."""
        orders = Orders(
            edge_id=edge_id,
            controllers=self.controllers,
            envoy=self.envoy,
            state_dir=self.state_dir,
            threads=self.threads,
            log_path=self.state_dir / f"{edge_id}.log",
            drain_s=self.drain_s,
        )
        return EdgeAgent(orders, self.take)


class LocalEdges:
    """Keeps one agent for each declared edge. ``declared``: their ids as of now."""

    def __init__(self, workshop: Workshop, declared: Callable[[], Iterable[str]]) -> None:
        self._workshop = workshop
        self._declared = declared
        self.agents: dict[str, EdgeAgent] = {}
        self._troubles: dict[str, str] = {}

    async def follow(self) -> None:
        """Start what was declared, stop what is declared no more; one that cannot be started is tried again later.

        So a second controller on this machine takes an edge over when the first is gone.
        """
        wanted = set(self._declared())
        for edge_id in sorted(self.agents.keys() - wanted):
            await self.agents.pop(edge_id).close()
        await asyncio.gather(*(self._start(edge_id) for edge_id in sorted(wanted - self.agents.keys())))

    async def close(self) -> None:
        """Stop them all."""
        agents, self.agents = self.agents, {}
        await asyncio.gather(*(agent.close() for agent in agents.values()))

    async def _start(self, edge_id: str) -> None:
        agent = self._workshop.agent(edge_id)
        try:
            await agent.start()
        except (MultiRegionError, OSError) as err:
            if self._troubles.get(edge_id) != str(err):
                log.error("edge not started", edge=edge_id, error=str(err))
            self._troubles[edge_id] = str(err)
            await agent.close()
            return
        self.agents[edge_id] = agent
        self._troubles.pop(edge_id, None)
        log.info("edge started", edge=edge_id, pid=agent.pid)


@asynccontextmanager
async def local_edges(workshop: Workshop, declared: Callable[[], Iterable[str]]) -> AsyncIterator[LocalEdges]:
    """Every declared edge runs while the block does."""
    edges = LocalEdges(workshop, declared)
    following = asyncio.create_task(_follow_forever(edges), name="local edges")
    try:
        yield edges
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await edges.close()


async def _follow_forever(edges: LocalEdges) -> None:
    while True:
        try:
            await edges.follow()
        except Exception:  # one bad turn must not end the following
            log.exception("declared edges not followed")
        await asyncio.sleep(LOOK_S)
