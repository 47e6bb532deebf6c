"""Declared edges in the manager: kept, counted as a change, written down, refused whole."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mahavishnu.integrations.multi_region.core.edges import EdgeSpec
from mahavishnu.integrations.multi_region.core.intent import World
from mahavishnu.integrations.multi_region.core.model import Point, UpstreamProtocol
from mahavishnu.integrations.multi_region.errors import InvalidInputError, UnknownEdgeError
from mahavishnu.integrations.multi_region.shell.manager import RegionManager
from mahavishnu.integrations.multi_region.testing.builders import region

EDGE = EdgeSpec("edge-eu", Point(53.3, -6.3), country="IE")


async def test_each_change_of_an_edge_is_a_change_of_the_fleet_and_in_the_log() -> None:
    async with RegionManager() as manager:
        seen = [manager.snapshot().generation]
        await manager.put_edge(EDGE)
        assert manager.edges == manager.registry.edges == {"edge-eu": EDGE}
        seen.append(manager.snapshot().generation)
        await manager.put_edge(replace(EDGE, trusted_hops=1))
        seen.append(manager.snapshot().generation)
        await manager.put_edge(replace(EDGE, trusted_hops=1))  # says nothing new
        assert manager.snapshot().generation == seen[-1]
        await manager.remove_edge("edge-eu")
        assert not manager.edges
        seen.append(manager.snapshot().generation)
        events = await manager.journal.last(10)
    assert sorted(set(seen)) == seen
    assert [entry.event.kind.value for entry in events] == ["edge.declared", "edge.declared", "edge.removed"]


async def test_a_refused_edge_leaves_everything_as_it_was() -> None:
    async with RegionManager() as manager:
        await manager.put_edge(EDGE)
        before = manager.registry.revision
        with pytest.raises(InvalidInputError, match=r"edges\.other\.listen"):
            await manager.put_edge(replace(EDGE, edge_id="other"))
        with pytest.raises(InvalidInputError, match="country"):
            await manager.put_edge(replace(EDGE, country="XX"))
        with pytest.raises(InvalidInputError, match="country"):
            await manager.apply(World((region("eu-west-1"),), edges=(replace(EDGE, country="XX"),)))
        with pytest.raises(UnknownEdgeError, match="did you mean 'edge-eu'"):
            await manager.remove_edge("edge-ue")
        assert (manager.registry.revision, manager.edges) == (before, {"edge-eu": EDGE})


async def test_an_edge_of_a_world_is_put_and_taken_away_with_it() -> None:
    async with RegionManager() as manager:
        await manager.apply(World((region("eu-west-1"),), edges=(EDGE,)), dry_run=True)
        assert not manager.edges
        await manager.apply(World((region("eu-west-1"),), edges=(EDGE,)))
        assert manager.edges == {"edge-eu": EDGE}
        changes = await manager.apply(World((region("eu-west-1"),)))
        assert [change.key for change in changes if change.key.startswith("edges/")] == ["edges/edge-eu"]
        assert not manager.edges


@pytest.mark.parametrize("spelled", [UpstreamProtocol.HTTP2, "http2", "HTTP2"])
async def test_what_a_region_speaks_is_seen_by_decisions(spelled: UpstreamProtocol) -> None:
    async with RegionManager() as manager:
        await manager.register_region(region("eu-west-1", protocol=spelled))
        assert manager.snapshot().regions["eu-west-1"].protocol is UpstreamProtocol.HTTP2
        with pytest.raises(InvalidInputError, match="protocol"):
            await manager.register_region(region("us-east-1", protocol="http3"))
