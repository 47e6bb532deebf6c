"""A worker and its controller: what each believes of the other, and when an answer to a change may go out."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import MappingProxyType

from mahavishnu.integrations.multi_region.core.model import Fleet
from mahavishnu.integrations.multi_region.core.residuals import Corrections
from mahavishnu.integrations.multi_region.shell.router import RegionAwareRouter
from mahavishnu.integrations.multi_region.surfaces.workers.feed import Feed
from mahavishnu.integrations.multi_region.surfaces.workers.follow import FollowedRegions, Follower
from mahavishnu.integrations.multi_region.surfaces.workers.frames import next_message
from mahavishnu.integrations.multi_region.surfaces.workers.report import Report, parse_report
from mahavishnu.integrations.multi_region.surfaces.workers.state import State
from mahavishnu.integrations.multi_region.testing.builders import view

PARIS = {"user_location": {"latitude": 48.9, "longitude": 2.4}}


def become(source: FollowedRegions, revision: int) -> None:
    """Another fleet of one region."""
    regions = MappingProxyType({"eu-west-3": view("eu-west-3", phase="healthy", health_score=100.0)})
    source.become(State(revision, Fleet(revision=revision, regions=regions), Corrections()))


async def followed(path: Path, number: int) -> Follower:
    """A worker's follower that decides by a controller's state of that number, after which the controller has gone."""
    source = FollowedRegions()
    feed = Feed(source, RegionAwareRouter(source), path)
    become(source, 1)
    await feed.start()
    follower = Follower(path)
    await follower.start()
    for revision in range(2, number + 1):
        become(source, revision)
        assert await feed.settled(30)
    await feed.close()
    assert follower.regions.fleet().revision == number
    return follower


async def test_a_worker_does_not_claim_the_state_of_the_controller_before(tmp_path: Path) -> None:
    follower = await followed(tmp_path / "state", number=9)
    router = RegionAwareRouter(follower.regions)
    heard: asyncio.Future[Report] = asyncio.get_running_loop().create_future()

    async def a_controller_that_says_nothing_yet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw = await next_message(reader)
        assert raw is not None
        heard.set_result(parse_report(raw))
        writer.close()

    async with await asyncio.start_unix_server(a_controller_that_says_nothing_yet, tmp_path / "state"):
        follower.report(router)
        router.route(PARIS)
        report = await asyncio.wait_for(heard, 30)
        assert (report.applied, report.decisions) == (0, [("eu-west-3", "latency_based", 1)])
        await follower.close()


async def test_a_change_is_answered_once_a_worker_of_the_controller_before_decides_by_it(tmp_path: Path) -> None:
    follower = await followed(tmp_path / "state", number=3)
    source = FollowedRegions()
    become(source, 70)
    feed = Feed(source, RegionAwareRouter(source), tmp_path / "state", workers=1, join_within_s=60.0)
    await feed.start()  # the worker does not know yet
    assert follower.regions.fleet().revision == 3
    assert await feed.settled(60)
    assert follower.regions.fleet().revision == 70
    await follower.close()
    assert await feed.settled(60)  # a worker that has gone is not waited for
    await feed.close()


async def test_workers_that_do_not_come_are_not_waited_for_beyond_the_start(tmp_path: Path) -> None:
    source = FollowedRegions()
    feed = Feed(source, RegionAwareRouter(source), tmp_path / "state", workers=2, join_within_s=0.05)
    await feed.start()
    assert not await feed.settled(0)
    assert await feed.settled(60)
    await feed.close()
