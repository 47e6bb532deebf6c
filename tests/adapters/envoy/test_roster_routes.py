"""What the roster makes of refused routes: streams that come and go, other builds, acknowledgements, removals."""

from __future__ import annotations

from collections.abc import Mapping

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.assembly import part_of, routes_of
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.edge_record import Link
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.exchange import EVERYTHING, Ask, Reply
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.parts import ROUTES_NAME
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.resources import (
    CLUSTER,
    ROUTES,
    Part,
    Resource,
    Snapshot,
)
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.roster import Roster
from mahavishnu.integrations.multi_region.ports.dataplane import Acknowledged, EdgeEvent, Rejected, Settled

BAD = b"bad"


def site(name: str, body: bytes = b"good") -> Part:
    """A virtual host; a body with ``BAD`` is what the edge refuses."""
    return part_of(frozenset({f"{name}.test"}), name.encode() + body)


def told(generation: int, sites: Mapping[str, Part], clusters: tuple[str, ...] = ("c",)) -> dict[str, Snapshot]:
    """A snapshot of these virtual hosts and clusters, for one edge."""
    made = {name: Resource(CLUSTER, name, name.encode(), name) for name in clusters}
    return {"e1": Snapshot(generation, {CLUSTER: made, ROUTES: {ROUTES_NAME: routes_of(sites)}}, sites)}


class Client:
    """An edge's end of a stream. ``taste``: what it refuses; ``earlier``: the one as which it goes on."""

    def __init__(self, roster: Roster, version: str = "1", taste: bytes = BAD, earlier: Client | None = None) -> None:
        self.roster = roster
        self.taste = taste
        self.link: Link = roster.connect("e1", version, delta=True)
        self.heard: list[Reply] = []
        self.routes: bytes = earlier.routes if earlier else b""
        self.holds: dict[str, dict[str, str]] = earlier.holds if earlier else {CLUSTER: {}, ROUTES: {}}
        roster.hear(self.link, Ask(CLUSTER, subscribe=(EVERYTHING,), holds=dict(self.holds[CLUSTER])))
        roster.hear(self.link, Ask(ROUTES, subscribe=(ROUTES_NAME,), holds=dict(self.holds[ROUTES])))
        self.talk()

    def talk(self) -> None:
        """Answer until there is nothing more to answer."""
        while replies := self.link.stream.replies():
            for reply in replies:
                self.heard.append(reply)
                self._answer(reply)

    def _answer(self, reply: Reply) -> None:
        body = b"".join(resource.body for resource in reply.resources)
        wrong = reply.type_url == ROUTES and self.taste in body
        if reply.type_url == ROUTES and not wrong:
            self.routes = body
        if not wrong:
            self.holds[reply.type_url] |= {one.name: one.version for one in reply.resources}
        self.roster.hear(self.link, Ask(reply.type_url, nonce=reply.nonce, error="no good" if wrong else None))


def listening() -> tuple[Roster, list[EdgeEvent]]:
    """A roster, and what it tells."""
    roster, heard = Roster(), list[EdgeEvent]()
    roster.subscribe(heard.append)
    return roster, heard


def refused(heard: list[EdgeEvent]) -> list[str]:
    """What was told as refused."""
    return [one.rejection.resource for one in heard if isinstance(one, Rejected)]


def test_what_is_held_back_is_named_and_keeps_the_edge_behind_until_it_is_mended() -> None:
    roster, heard = listening()
    roster.publish(told(1, {"a": site("a"), "b": site("b")}), {})
    client = Client(roster)
    assert Acknowledged("e1", 1) in heard
    roster.publish(told(2, {"a": site("a", b"2"), "b": site("b", BAD)}), {})
    client.talk()
    assert b"a2" in client.routes
    assert b"bgood" in client.routes
    (rejection,) = roster.states()["e1"].rejections
    assert (rejection.resource, rejection.generation) == ("VirtualHost b", 2)
    assert rejection.reason == "no good (the last good version stays)"
    assert roster.states()["e1"].acknowledged == 1
    roster.publish(told(3, {"a": site("a", b"2"), "b": site("b", b"3")}), {})
    client.talk()
    assert b"b3" in client.routes
    assert roster.states()["e1"].rejections == ()
    assert Acknowledged("e1", 3) in heard
    assert refused(heard) == ["VirtualHost b"]


def test_one_without_an_earlier_version_is_away_and_said_so() -> None:
    roster, heard = listening()
    roster.publish(told(1, {"a": site("a"), "b": site("b", BAD)}), {})
    client = Client(roster)
    assert b"b" + BAD not in client.routes
    assert b"agood" in client.routes
    assert [one.reason for one in roster.states()["e1"].rejections] == ["no good (there is none before it)"]
    assert not any(isinstance(one, Acknowledged) for one in heard)


def test_a_stream_that_comes_again_is_not_told_the_bad_one_again() -> None:
    roster, heard = listening()
    roster.publish(told(1, {"a": site("a"), "b": site("b", BAD)}), {})
    first = Client(roster)
    roster.disconnect(first.link)
    heard.clear()
    second = Client(roster, earlier=first)
    assert second.routes == first.routes
    assert not any(BAD in resource.body for reply in second.heard for resource in reply.resources)
    assert refused(heard) == []


def test_an_edge_that_is_started_anew_is_told_the_bad_one_once_it_has_the_others() -> None:
    roster, heard = listening()
    roster.publish(told(1, {"a": site("a"), "b": site("b", BAD)}), {})
    first = Client(roster)
    roster.disconnect(first.link)
    heard.clear()
    second = Client(roster)
    (one, two, *_) = [reply for reply in second.heard if reply.type_url == ROUTES]
    assert BAD not in one.resources[0].body
    assert BAD in two.resources[0].body
    assert second.routes == first.routes
    assert refused(heard) == [], "that it refuses it again is no news"
    roster.disconnect(second.link)
    third = Client(roster, taste=b"nothing")
    assert b"b" + BAD in third.routes
    assert roster.states()["e1"].rejections == ()
    assert Acknowledged("e1", 1) in heard


def test_what_is_refused_is_tried_once_more_from_time_to_time_and_alarms_once() -> None:
    roster, heard = listening()
    sites = {"a": site("a"), "b": site("b"), "c": site("c")}
    roster.publish(told(1, sites), {})
    client = Client(roster)
    roster.publish(told(2, {**sites, "b": site("b", BAD), "c": site("c", BAD + b"2")}), {})
    client.talk()
    before = roster.states()["e1"].rejections
    heard.clear()
    client.heard.clear()
    roster.try_again()
    assert roster.states()["e1"].rejections == before, "refused until it is accepted"
    client.talk()
    tried = [BAD in one.body for reply in client.heard for one in reply.resources if reply.type_url == ROUTES]
    assert tried == [True, True, False], "one after the other, and then what is good"
    assert roster.states()["e1"].rejections == before
    assert refused(heard) == []
    client.taste = b"bad2"
    roster.try_again()
    client.talk()
    assert [one.resource for one in roster.states()["e1"].rejections] == ["VirtualHost c"]
    assert b"b" + BAD in client.routes
    client.taste = b"nothing"
    roster.try_again()
    client.talk()
    assert roster.states()["e1"].rejections == ()
    assert roster.states()["e1"].acknowledged == 2


def test_a_newer_plan_while_it_is_tried_again_goes_through() -> None:
    roster, _ = listening()
    sites = {"a": site("a"), "b": site("b"), "c": site("c")}
    roster.publish(told(1, sites), {})
    client = Client(roster)
    spoilt = {**sites, "b": site("b", BAD), "c": site("c", BAD)}
    roster.publish(told(2, spoilt), {})
    client.talk()
    roster.try_again()
    (first,) = client.link.stream.replies()
    roster.publish(told(3, {**spoilt, "a": site("a", b"3"), "c": site("c", b"3")}), {})
    client._answer(first)
    client.talk()
    assert b"a3" in client.routes and b"bgood" in client.routes and b"c3" in client.routes
    assert [one.resource for one in roster.states()["e1"].rejections] == ["VirtualHost b"]
    assert roster.states()["e1"].settled == 3


def test_a_service_that_is_held_back_holds_later_plans_up_only_where_it_has_no_earlier_version() -> None:
    roster, heard = listening()
    roster.publish(told(1, {"a": site("a"), "b": site("b")}), {})
    client = Client(roster)
    roster.publish(told(2, {"a": site("a"), "b": site("b", BAD)}), {})
    client.talk()
    roster.publish(told(3, {"a": site("a", b"3"), "b": site("b", BAD)}), {})
    client.talk()
    state = roster.states()["e1"]
    assert (state.acknowledged, state.settled, state.refused) == (1, 3, 2)
    assert [one for one in heard if isinstance(one, Settled)] == [Settled("e1", 2), Settled("e1", 3)]
    roster.publish(told(4, {"a": site("a"), "b": site("b", BAD), "c": site("c", BAD)}), {})
    client.talk()
    state = roster.states()["e1"]
    assert (state.acknowledged, state.settled, state.refused) == (1, 3, 4)


def test_a_stream_that_breaks_off_in_a_search_is_gone_on_with_by_the_next() -> None:
    roster, heard = listening()
    roster.publish(told(1, {name: site(name) for name in "abcdefgh"}), {})
    first = Client(roster)
    roster.publish(told(2, {name: site(name, BAD if name == "g" else b"2") for name in "abcdefgh"}), {})
    for reply in first.link.stream.replies():
        first._answer(reply)
    roster.disconnect(first.link)
    second = Client(roster)
    assert all(f"{name}2".encode() in second.routes for name in "abcdefh")
    assert b"ggood" in second.routes
    assert refused(heard) == ["VirtualHost g"]


def test_another_build_is_asked_anew() -> None:
    roster, heard = listening()
    roster.publish(told(1, {"a": site("a"), "b": site("b", BAD)}), {})
    first = Client(roster)
    roster.disconnect(first.link)
    second = Client(roster, version="2", taste=b"nothing")
    assert b"b" + BAD in second.routes
    assert roster.states()["e1"].rejections == ()
    assert Acknowledged("e1", 1) in heard


def test_clusters_go_only_when_the_search_has_ended() -> None:
    roster, _ = listening()
    sites = {name: site(name) for name in "abcd"}
    roster.publish(told(1, sites, ("c", "d")), {})
    client = Client(roster)
    client.heard.clear()
    roster.publish(told(2, {name: site(name, BAD if name == "b" else b"2") for name in sites}), {})
    client.talk()
    removal = next(n for n, reply in enumerate(client.heard) if reply.removed)
    tried = [n for n, reply in enumerate(client.heard) if reply.type_url == ROUTES]
    assert client.heard[removal].removed == ("d",)
    assert len(tried) > 3
    assert removal > tried[-2]


def test_routes_that_are_refused_whole_are_told_as_such() -> None:
    roster, heard = listening()
    roster.publish(told(1, {"a": site("a")}), {})
    client = Client(roster, taste=b"")
    assert client.routes == b""
    assert refused(heard)[-1] == f"RouteConfiguration {ROUTES_NAME}"
    assert roster.states()["e1"].rejections[-1].resource == f"RouteConfiguration {ROUTES_NAME}"
    client.taste = BAD
    roster.publish(told(2, {"a": site("a", b"2")}), {})
    client.talk()
    assert b"a2" in client.routes
    assert roster.states()["e1"].rejections == ()
