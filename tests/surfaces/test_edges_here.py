"""Declared edges on one machine: each is run by one controller at a time, and taken over when that one is gone."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.binary import find_envoy
from mahavishnu.integrations.multi_region.core.edge_reports import EdgeReport
from mahavishnu.integrations.multi_region.surfaces.edges.local import LocalEdges, Workshop
from tests.adapters.envoy.edge import free_port

pytestmark = pytest.mark.slow


def controller(folder: Path) -> LocalEdges:
    """A controller that is to run the edge; what it would be told is nowhere to be had."""

    async def take(_: EdgeReport) -> None:
        """Nobody asks."""

    workshop = Workshop(find_envoy(), (("127.0.0.1", free_port()),), folder, take, drain_s=0.0)
    return LocalEdges(workshop, lambda: ["edge"])


async def test_a_second_controller_takes_an_edge_over_when_the_first_is_gone(tmp_path: Path) -> None:
    first, second = controller(tmp_path), controller(tmp_path)
    try:
        await first.follow()
        with capture_logs() as lines:
            await second.follow()
            await second.follow()
        assert (list(first.agents), list(second.agents)) == (["edge"], [])
        assert [line["event"] for line in lines] == ["edge not started"], "said once, however often it is tried"
        await first.close()
        await second.follow()
        assert second.agents["edge"].pid is not None
    finally:
        await first.close()
        await second.close()
