"""A worker and its controller: what each believes of the other, and when an answer to a change may go out."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import MappingProxyType

import pytest

from mahavishnu.integrations.multi_region.core.model import Fleet
from mahavishnu.integrations.multi_region.core.residuals import Corrections
from mahavishnu.integrations.multi_region.errors import NoEligibleRegionError
from mahavishnu.integrations.multi_region.shell.router import RegionAwareRouter
from mahavishnu.integrations.multi_region.surfaces.workers.feed import Feed
from mahavishnu.integrations.multi_region.surfaces.workers.follow import FollowedRegions, Follower
from mahavishnu.integrations.multi_region.surfaces.workers.frames import next_message
from mahavishnu.integrations.multi_region.surfaces.workers.proxy import Message, Receive, Send
from mahavishnu.integrations.multi_region.surfaces.workers.report import Report, parse_report
from mahavishnu.integrations.multi_region.surfaces.workers.settling import Settling
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


async def test_a_worker_that_goes_while_it_is_waited_for_is_waited_for_no_longer(tmp_path: Path) -> None:
    source = FollowedRegions()
    become(source, 1)
    feed = Feed(source, RegionAwareRouter(source), tmp_path / "state", workers=1, join_within_s=60.0)
    await feed.start()
    reader, writer = await asyncio.open_unix_connection(tmp_path / "state")
    assert await next_message(reader) is not None, "it is heard of, and never says that it follows"
    waiting = asyncio.create_task(feed.settled(3600))
    await asyncio.sleep(0)
    writer.close()
    assert await asyncio.wait_for(waiting, 30)
    await feed.close()


async def test_what_a_worker_counts_is_told_once(tmp_path: Path) -> None:
    source = FollowedRegions()
    become(source, 1)
    ours = RegionAwareRouter(source)
    feed = Feed(source, ours, tmp_path / "state")
    await feed.start()
    follower = Follower(tmp_path / "state")
    await follower.start()
    router = RegionAwareRouter(follower.regions)
    follower.report(router)
    for times in (1, 2):
        router.route(PARIS)
        with pytest.raises(NoEligibleRegionError):
            router.route({**PARIS, "compliance_requirements": ["gdpr"]})
        async with asyncio.timeout(30):
            while ours.get_routing_stats()["total_decisions"] < times:
                await asyncio.sleep(0.01)
        assert (ours.get_routing_stats()["total_decisions"], ours.refused) == (times, times)
    await follower.close()
    await feed.close()


class Counting(Feed):
    """A feed that counts how often somebody waits for the workers."""

    waits = 0

    async def settled(self, timeout_s: float) -> bool:
        self.waits += 1
        return True


@pytest.mark.parametrize(("method", "waits"), [("GET", 0), ("HEAD", 0), ("OPTIONS", 0), ("POST", 1), ("DELETE", 1)])
async def test_only_answers_to_what_may_have_changed_something_wait(tmp_path: Path, method: str, waits: int) -> None:
    source = FollowedRegions()
    feed = Counting(source, RegionAwareRouter(source), tmp_path / "state")
    sent: list[str] = []

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message["type"])

    await Settling(app, feed)({"type": "http", "method": method}, receive, send)
    assert (feed.waits, sent) == (waits, ["http.response.start", "http.response.body"])
