"""What was refused is offered again: to an edge that was started anew at once, to the others from time to time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.edge_record import Link
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.resources import (
    CLUSTER,
    ENDPOINTS,
    LISTENER,
    Resource,
    Snapshot,
)
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.roster import Roster
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.server import AdsServer
from mahavishnu.integrations.multi_region.ports.dataplane import Acknowledged, EdgeEvent, Rejected, Rejection, Settled
from mahavishnu.integrations.multi_region.testing.virtual_clock import VirtualClock
from tests.adapters.envoy.ads_client import Client, Wire, never, snapshot
from tests.adapters.envoy.grpc_client import Stream, serving, stream, until, versions

both = pytest.mark.parametrize("delta", [True, False], ids=["delta", "sotw"])
E = "e1"


def is_bad(one: Resource) -> bool:
    """Bodies say it of themselves."""
    return one.body.startswith(b"bad")


def world(
    generation: int = 1,
    *,
    listener: str = "r",
    second: str = "",
    clusters: Mapping[str, str] | None = None,
    **endpoints: str,
) -> Snapshot:
    """Clusters ``a`` and ``b``, one listener or a ``second`` as well; endpoints by cluster."""
    found = {"a": "", "b": ""} if clusters is None else clusters
    given = {name: endpoints.get(name, "") for name in found}
    listeners = {"l": listener, **({"m": second} if second else {})}
    return snapshot(generation, clusters=found, endpoints=given, listeners=listeners, routes={"r": "1"})


def refusing_all_listeners(one: Resource) -> bool:
    """As an Envoy does where a file that listeners name is broken."""
    return one.type_url == LISTENER


# --- streams ------------------------------------------------------------------------------------------


@both
def test_a_client_that_was_started_anew_is_told_what_the_one_before_it_refused(delta: bool) -> None:
    first = Wire(Client(delta=delta, bad=refusing_all_listeners), world())
    first.settle()
    assert [one.resource for one in first.stream.refused] == ["Listener l"]
    anew = Wire(Client(delta=delta), world(), earlier=first.stream)
    anew.settle()
    assert anew.whole()
    assert anew.stream.refused == ()


@both
def test_a_client_that_goes_on_is_not_told_it_again_at_once(delta: bool) -> None:
    first = Wire(Client(delta=delta, bad=refusing_all_listeners), world())
    first.settle()
    again = Wire(first.client, world(), earlier=first.stream)
    again.settle()
    assert again.refusals == []
    assert [one.resource for one in again.stream.refused] == ["Listener l"]
    assert not any(reply.resources for reply in again.sent)


@both
def test_a_stream_that_ended_before_it_said_anything_does_not_hide_the_one_before_it(delta: bool) -> None:
    first = Wire(Client(delta=delta, bad=refusing_all_listeners), world())
    first.settle()
    silent = Wire(first.client, world(), earlier=first.stream)
    again = Wire(first.client, world(), earlier=silent.stream)
    again.settle()
    assert again.refusals == []
    assert [one.resource for one in again.stream.refused] == ["Listener l"]


@both
def test_what_is_tried_again_and_taken_is_refused_no_more(delta: bool) -> None:
    wire = Wire(Client(delta=delta, bad=refusing_all_listeners), world())
    wire.settle()
    wire.client.bad = never
    assert wire.stream.try_again()
    wire.settle()
    assert wire.whole()
    assert wire.stream.refused == ()
    assert not wire.stream.try_again()


@both
def test_what_is_refused_again_is_no_news_unless_the_reason_is_another(delta: bool) -> None:
    wire = Wire(Client(delta=delta, bad=is_bad, says_which=True), world())
    wire.settle()
    wire.stream.offer(world(2, clusters={"a": "bad 1", "b": "bad 2"}))
    wire.settle()
    wire.stream.offer(world(3, clusters={"a": "bad 1", "b": "bad 2"}))
    known, before = wire.stream.refused, len(wire.refusals)
    wire.stream.try_again()
    assert wire.stream.refused == known, "refused until it is accepted"
    wire.settle()
    assert len(wire.refusals) == before
    assert [one.generation for one in wire.stream.refused] == [2, 2]
    assert {name: one.body for name, one in wire.client.holds[CLUSTER].items()} == {"a": b"", "b": b""}
    wire.client._says_which = False
    wire.stream.try_again()
    wire.settle()
    assert [one.reason for one in wire.refusals[before:]] == ["cannot take something: no"] * 2


@both
def test_each_is_tried_alone_so_that_one_that_was_mended_is_taken(delta: bool) -> None:
    wire = Wire(Client(delta=delta, bad=is_bad), world())
    wire.settle()
    wire.stream.offer(world(2, clusters={"a": "bad 1", "b": "bad 2"}))
    wire.settle()
    wire.client.bad = lambda one: one.body == b"bad 2"
    wire.stream.try_again()
    wire.stream.offer(world(3, clusters={"a": "bad 1", "b": "bad 2", "c": ""}))
    sent = wire.settle()
    assert [reply.news for reply in sent if {"a", "b"} & {*reply.news} and reply.type_url == CLUSTER][:2] == [
        ("a",),
        ("b",),
    ]
    assert [one.name for one in wire.stream.refused] == ["b"]
    assert {name: one.body for name, one in wire.client.holds[CLUSTER].items()} == {"a": b"bad 1", "b": b"", "c": b""}


# --- settled ------------------------------------------------------------------------------------------


@both
def test_settled_is_a_client_that_goes_on_with_an_older_version_of_what_it_refused(delta: bool) -> None:
    wire = Wire(Client(delta=delta, bad=is_bad), world())
    wire.settle()
    wire.stream.offer(world(2, listener="bad", clusters={"a": "bad", "b": ""}))
    assert (wire.stream.settled, wire.whole()) == (False, False)
    wire.settle()
    assert (wire.stream.settled, wire.whole()) == (True, False)
    wire.stream.offer(world(3, listener="bad", clusters={"a": "bad", "b": ""}, a="moved"))
    assert wire.stream.settled is False, "until the endpoints are there"
    wire.settle()
    assert (wire.stream.settled, wire.client.holds[ENDPOINTS]["a"].body) == (True, b"moved")


@both
@pytest.mark.parametrize(
    "what",
    [{"a": "bad"}, {"clusters": {"a": "", "b": "", "c": "bad"}}, {"second": "bad"}],
    ids=["endpoints", "a cluster", "a listener"],
)
def test_refused_endpoints_and_parts_without_an_older_version_are_not(delta: bool, what: dict[str, str]) -> None:
    wire = Wire(Client(delta=delta, bad=is_bad), world())
    wire.settle()
    wire.stream.offer(world(2, **what))  # type: ignore[arg-type]  # bodies, and a mapping of them
    wire.settle()
    assert len(wire.stream.refused) == 1
    assert not wire.stream.settled


# --- edges --------------------------------------------------------------------------------------------


class Edge:
    """A client of a roster."""

    def __init__(self, roster: Roster, client: Client) -> None:
        self.roster, self.client = roster, client
        self.link: Link = roster.connect(E, "1", delta=client.delta)
        self._asks = client.hello()

    def talk(self, asks: int | None = None) -> None:
        """Both go on until neither has anything to say, or until so many requests were heard."""
        while asks is None or asks > 0:
            if not self._asks:
                self._asks = [ask for reply in self.link.stream.replies() for ask in self.client.take(reply)]
            if not self._asks:
                return
            self.roster.hear(self.link, self._asks.pop(0))
            asks = None if asks is None else asks - 1

    def end(self) -> None:
        """The connection is lost."""
        self.roster.disconnect(self.link)


def listening() -> tuple[Roster, list[EdgeEvent]]:
    """A roster, and what it tells."""
    roster, heard = Roster(), list[EdgeEvent]()
    roster.subscribe(heard.append)
    return roster, heard


@both
def test_an_edge_that_was_started_anew_has_acknowledged_nothing(delta: bool) -> None:
    roster, heard = listening()
    roster.publish({E: world()}, {})
    first = Edge(roster, Client(delta=delta))
    first.talk()
    assert roster.states()[E].acknowledged == 1
    first.end()
    anew = Edge(roster, Client(delta=delta, bad=refusing_all_listeners))
    assert roster.states()[E].acknowledged is None
    anew.talk()
    state = roster.states()[E]
    assert (state.acknowledged, state.settled, state.serving) == (None, None, False)
    assert [one.resource for one in state.rejections] == ["Listener l"]
    anew.client.bad = never
    roster.try_again()
    anew.talk()
    state = roster.states()[E]
    assert (state.acknowledged, state.settled, state.serving, state.rejections) == (1, 1, True, ())
    assert [one for one in heard if isinstance(one, Acknowledged)] == [Acknowledged(E, 1)] * 2


@both
def test_an_edge_that_goes_on_keeps_what_it_acknowledged_once_it_has_shown_to_hold_it(delta: bool) -> None:
    roster, heard = listening()
    roster.publish({E: world()}, {})
    first = Edge(roster, Client(delta=delta))
    first.talk()
    first.end()
    roster.publish({E: world(2, clusters={"a": "", "b": "", "c": "bad"})}, {})
    heard.clear()
    first.client.bad = is_bad
    again = Edge(roster, first.client)
    assert roster.states()[E].acknowledged is None, "it has said nothing yet"
    again.talk()
    state = roster.states()[E]
    if delta:
        assert state.acknowledged == 1
    assert state.settled != 2
    assert not any(isinstance(one, (Acknowledged, Settled)) for one in heard)


def an_edge_that_lost_its_memory() -> tuple[Roster, Callable[[], Edge]]:
    """A roster whose edge acknowledged 2 and ended, and how it comes back with what it held at 1."""
    roster, _ = listening()
    roster.publish({E: world()}, {})
    first = Edge(roster, Client(delta=True))
    first.talk()
    old = {url: dict(held) for url, held in first.client.holds.items()}
    roster.publish({E: world(2, a="moved")}, {})
    first.talk()
    assert roster.states()[E].acknowledged == 2
    first.end()

    def hold_older() -> Edge:
        client = Client(delta=True)
        client.holds = {url: dict(held) for url, held in old.items()}
        return Edge(roster, client)

    return roster, hold_older


def test_an_edge_that_brings_something_older_has_acknowledged_nothing() -> None:
    roster, hold_older = an_edge_that_lost_its_memory()
    edge = hold_older()
    edge.talk(asks=4)  # as many as it takes to say what it holds
    assert roster.states()[E].acknowledged is None
    edge.talk()
    assert roster.states()[E].acknowledged == 2


def test_nor_has_it_after_a_stream_that_broke_before_it_had_told_all() -> None:
    roster, hold_older = an_edge_that_lost_its_memory()
    for asks in (1, 1, 4):
        edge = hold_older()
        edge.talk(asks=asks)
        assert roster.states()[E].acknowledged is None, asks
        if asks == 1:
            edge.end()
    edge.talk()
    assert roster.states()[E].acknowledged == 2


def test_a_stream_that_takes_over_and_dies_leaves_the_edge_where_the_first_one_is() -> None:
    roster, _ = listening()
    roster.publish({E: world()}, {})
    first = Edge(roster, Client(delta=True))
    first.talk()
    second = Edge(roster, Client(delta=True))
    assert roster.states()[E].acknowledged is None
    second.end()
    assert roster.states()[E].acknowledged == 1


def test_an_edge_that_refused_a_part_before_carries_later_plans_out() -> None:
    roster, heard = listening()
    roster.publish({E: world()}, {})
    edge = Edge(roster, Client(delta=True, bad=is_bad))
    edge.talk()
    roster.publish({E: world(2, clusters={"a": "bad", "b": ""})}, {})
    edge.talk()
    roster.publish({E: world(3, clusters={"a": "bad", "b": ""}, a="moved")}, {})
    edge.talk()
    state = roster.states()[E]
    assert (state.acknowledged, state.settled, state.refused) == (1, 3, 2)
    assert heard[-1] == Settled(E, 3)
    edge.end()
    again = Edge(roster, edge.client)
    again.talk()
    state = roster.states()[E]
    assert (state.acknowledged, state.settled, state.refused) == (1, 3, 2)


def test_a_refused_listener_moves_no_requests() -> None:
    roster, _ = listening()
    roster.publish({E: world()}, {})
    edge = Edge(roster, Client(delta=True, bad=is_bad))
    edge.talk()
    roster.publish({E: world(2, listener="bad")}, {})
    edge.talk()
    state = roster.states()[E]
    assert (state.settled, state.refused, state.serving) == (2, None, True)


def test_what_could_not_be_told_holds_no_plan_up() -> None:
    roster, _ = listening()
    roster.publish({E: world()}, {E: (Rejection("api /x", "not allowed", 1),)})
    edge = Edge(roster, Client(delta=True))
    edge.talk()
    state = roster.states()[E]
    assert (state.acknowledged, state.settled, state.refused, state.serving) == (None, 1, None, True)


def test_an_edge_that_could_be_told_no_listener_serves_nobody() -> None:
    roster, _ = listening()
    problem = Rejection("listener", "listen: not allowed", 1)
    roster.publish({E: snapshot(1, clusters=["a"])}, {E: (problem,)})
    edge = Edge(roster, Client(delta=True))
    edge.talk()
    assert not roster.states()[E].serving


# --- the server ---------------------------------------------------------------------------------------


async def _after_a_while(client: Stream, clock: VirtualClock) -> Any:
    """The next response, however long it takes."""
    reading = asyncio.create_task(client.read())
    while not reading.done():
        await clock.advance(46.0)
        await asyncio.sleep(0.01)
    return await reading


async def test_the_server_offers_it_again_after_a_while_and_tells_once() -> None:
    clock = VirtualClock()
    server = AdsServer("127.0.0.1:0", retry_every_s=45.0, clock=clock)
    async with serving(server) as heard, stream(server.address, E) as client:
        server.publish({E: snapshot(1, clusters={"a": "1"}, endpoints=[])})
        await client.ask(CLUSTER)
        for _ in range(3):
            found = await _after_a_while(client, clock)
            assert list(versions(found)) == ["a"]
            await client.ask(CLUSTER, response_nonce=found.nonce, error_detail={"code": 3, "message": "no file\n"})
        found = await _after_a_while(client, clock)
        await client.ask(CLUSTER, response_nonce=found.nonce)
        await until(lambda: server.states()[E].acknowledged == 1)
        assert server.states()[E].rejections == ()
    assert [one for one in heard if isinstance(one, Rejected)] == [Rejected(E, Rejection("Cluster a", "no file", 1))]
