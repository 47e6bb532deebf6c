"""What a discovery stream sends and when, rule by rule, in both protocols; nothing here touches a network."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

import pytest

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.exchange import Ask, Reply
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.rejections import parts
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.resources import (
    CLUSTER,
    ENDPOINTS,
    LISTENER,
    ROUTES,
    Resource,
    Snapshot,
)
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.stream import AdsStream, differences
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.watch import Watch
from tests.adapters.envoy.ads_client import Client, Wire, resource, snapshot

both = pytest.mark.parametrize("delta", [True, False], ids=["delta", "sotw"])


def world(generation: int = 1, *, salt: str = "", routes: str = "1") -> Snapshot:
    """Two clusters, a listener, its routes."""
    return snapshot(
        generation, clusters={"a": "", "b": salt}, endpoints=["a", "b"], listeners={"l": "r"}, routes={"r": routes}
    )


def told(replies: Iterable[Reply]) -> list[tuple[str, list[str], list[str]]]:
    """Of each response: its type in short, what is in it, what it takes away."""
    names = {CLUSTER: "CDS", ENDPOINTS: "EDS", LISTENER: "LDS", ROUTES: "RDS"}
    return [(names[one.type_url], [found.name for found in one.resources], list(one.removed)) for one in replies]


def settled(delta: bool, first: Snapshot | None = None) -> Wire:
    """A stream and a client that have said all there was to say."""
    wire = Wire(Client(delta=delta), first or world())
    wire.settle()
    assert wire.whole()
    return wire


# --- the first exchange ----------------------------------------------------------------------------


@both
def test_a_client_takes_all_over_in_order(delta: bool) -> None:
    wire = Wire(Client(delta=delta), world())
    assert told(wire.settle()) == [
        ("CDS", ["a", "b"], []),
        ("LDS", ["l"], []),
        ("EDS", ["a", "b"], []),
        ("RDS", ["r"], []),
    ]
    assert wire.whole()
    assert [set(held) for held in wire.client.holds.values()] == [{"a", "b"}, {"a", "b"}, {"l"}, {"r"}]


@both
def test_nothing_is_said_before_there_is_something_to_hold(delta: bool) -> None:
    wire = Wire(Client(delta=delta))
    assert wire.settle() == []
    assert not wire.whole()
    wire.stream.offer(world())
    wire.settle()
    assert wire.whole()


@both
def test_a_client_that_wants_everything_hears_that_there_is_nothing(delta: bool) -> None:
    wire = Wire(Client(delta=delta), snapshot(1))
    assert told(wire.settle()) == [("CDS", [], []), ("LDS", [], [])]
    assert wire.whole()


@both
def test_a_client_that_never_asks_for_routes_has_not_taken_all_over(delta: bool) -> None:
    wire = Wire(Client(delta=delta), snapshot(1, clusters=["a"], routes={"r": "1"}))
    wire.settle()
    assert not wire.whole()


# --- nonces ----------------------------------------------------------------------------------------


@both
def test_each_response_has_a_nonce_of_its_own(delta: bool) -> None:
    wire = settled(delta)
    wire.stream.offer(world(2, salt="x", routes="2"))
    wire.settle()
    nonces = [one.nonce for one in wire.sent]
    assert len(set(nonces)) == len(nonces)


def test_names_in_a_request_that_has_not_seen_our_last_response_are_ignored() -> None:
    stream = AdsStream(delta=False)
    stream.offer(snapshot(1, endpoints=["a", "b"]))
    stream.receive(Ask(ENDPOINTS, subscribe=("a",)))
    (first,) = stream.replies()
    stream.offer(snapshot(2, endpoints={"a": "2", "b": ""}))
    (second,) = stream.replies()
    stream.receive(Ask(ENDPOINTS, first.nonce, None, ("a", "b")))
    assert stream.replies() == []
    stream.receive(Ask(ENDPOINTS, second.nonce, None, ("a", "b")))
    assert told(stream.replies()) == [("EDS", ["b"], [])]


@both
@pytest.mark.parametrize("nonce", ["99", "x", ""])
def test_an_answer_to_nothing_of_ours_accepts_nothing(delta: bool, nonce: str) -> None:
    stream = AdsStream(delta=delta)
    stream.offer(snapshot(1, clusters=["a"], endpoints=[]))
    stream.receive(Ask(CLUSTER))
    assert told(stream.replies()) == [("CDS", ["a"], [])]
    stream.receive(Ask(CLUSTER, nonce))
    assert not stream.whole
    assert stream.replies() == []


# --- subscriptions ---------------------------------------------------------------------------------


def asked(delta: bool, *asks: Ask) -> AdsStream:
    """A stream over three clusters that heard these requests."""
    stream = AdsStream(delta=delta)
    stream.offer(snapshot(1, clusters=["a", "b", "c"], endpoints=["a", "b", "c"]))
    for ask in asks:
        stream.receive(ask)
    return stream


@both
@pytest.mark.parametrize("names", [(), ("*",), ("*", "a")])
def test_everything_is_asked_for_by_no_name_or_by_a_star(delta: bool, names: tuple[str, ...]) -> None:
    assert told(asked(delta, Ask(CLUSTER, subscribe=names)).replies()) == [("CDS", ["a", "b", "c"], [])]


@both
def test_named_resources_alone_are_sent_to_who_names_them(delta: bool) -> None:
    assert told(asked(delta, Ask(CLUSTER, subscribe=("a",))).replies()) == [("CDS", ["a"], [])]


@both
def test_no_name_does_not_mean_all_endpoints(delta: bool) -> None:
    assert told(asked(delta, Ask(ENDPOINTS)).replies()) == []


def test_a_star_asks_for_all_endpoints() -> None:
    assert told(asked(True, Ask(ENDPOINTS, subscribe=("*",))).replies()) == [("EDS", ["a", "b", "c"], [])]


def test_a_name_that_is_asked_for_again_is_sent_again() -> None:
    stream = asked(True, Ask(ENDPOINTS, subscribe=("a",)))
    assert told(stream.replies()) == [("EDS", ["a"], [])]
    stream.receive(Ask(ENDPOINTS, subscribe=("a",)))
    assert told(stream.replies()) == [("EDS", ["a"], [])]


def test_a_name_that_does_not_exist_is_answered_as_removed() -> None:
    stream = asked(True, Ask(ROUTES, subscribe=("nowhere",)))
    assert told(stream.replies()) == [("RDS", [], ["nowhere"])]


def test_who_lets_go_of_a_name_is_not_told_of_it_again() -> None:
    stream = asked(True, Ask(ENDPOINTS, subscribe=("a", "b")))
    stream.replies()
    stream.receive(Ask(ENDPOINTS, unsubscribe=("a",)))
    stream.offer(snapshot(2, clusters=["a", "b", "c"], endpoints={"a": "2", "b": "2"}))
    assert told(stream.replies()) == [("EDS", ["b"], [])]


def test_who_lets_go_of_a_name_and_wants_everything_is_told_of_it() -> None:
    stream = asked(True, Ask(CLUSTER, subscribe=("*", "a")))
    stream.replies()
    stream.receive(Ask(CLUSTER, unsubscribe=("a",)))
    assert told(stream.replies()) == [("CDS", ["a"], [])]


def test_who_lets_go_of_everything_keeps_what_it_named() -> None:
    stream = asked(True, Ask(CLUSTER, subscribe=("*", "a")))
    stream.replies()
    stream.receive(Ask(CLUSTER, unsubscribe=("*",)))
    stream.offer(snapshot(2, clusters={"a": "2", "b": "2"}, endpoints=[]))
    assert told(stream.replies()) == [("CDS", ["a"], [])]


def test_names_once_given_end_everything_in_the_state_of_the_world() -> None:
    stream = asked(False, Ask(CLUSTER))
    (reply,) = stream.replies()
    stream.receive(Ask(CLUSTER, reply.nonce, None, ("b",)))
    stream.offer(snapshot(2, clusters={"a": "2", "b": "2"}, endpoints=[]))
    assert told(stream.replies()) == [("CDS", ["b"], [])]


# --- what changed, and no more ---------------------------------------------------------------------


@pytest.mark.parametrize(("delta", "clusters"), [(True, ["b"]), (False, ["a", "b"])], ids=["delta", "sotw"])
def test_a_changed_cluster_is_sent_with_its_endpoints_though_they_are_the_same(
    delta: bool, clusters: list[str]
) -> None:
    wire = settled(delta)
    wire.stream.offer(world(2, salt="x"))
    assert told(wire.send()) == [("CDS", clusters, []), ("EDS", ["b"], [])]
    assert not wire.whole()
    wire.settle()
    assert wire.whole()


@both
def test_only_the_endpoints_that_changed_are_sent(delta: bool) -> None:
    wire = settled(delta)
    wire.stream.offer(
        snapshot(2, clusters=["a", "b"], endpoints={"a": "", "b": "x"}, listeners={"l": "r"}, routes={"r": "1"})
    )
    assert told(wire.settle()) == [("EDS", ["b"], [])]
    assert wire.whole()


@both
def test_the_same_content_is_not_sent_again_and_is_accepted_at_once(delta: bool) -> None:
    wire = settled(delta)
    wire.stream.offer(world(2))
    assert wire.whole()
    assert wire.settle() == []


@both
def test_content_that_comes_back_while_the_other_is_under_way_is_sent_again(delta: bool) -> None:
    wire = settled(delta)
    wire.stream.offer(world(2, routes="2"))
    wire.send()
    wire.stream.offer(world(3, routes="1"))
    assert not wire.whole()
    wire.send()
    wire.stream.offer(world(4, routes="2"))
    wire.stream.offer(world(5, routes="1"))
    assert not wire.whole()
    wire.settle()
    assert wire.whole()
    assert wire.client.holds[ROUTES]["r"].body == b"1"


def test_differences_are_by_content() -> None:
    one, same = world(1), world(2)
    assert differences(one, same) == {}
    assert differences(one, world(3, routes="2")) == {ROUTES: {"r"}}
    assert differences(one, snapshot(4)) == {CLUSTER: {"a", "b"}, ENDPOINTS: {"a", "b"}, LISTENER: {"l"}, ROUTES: {"r"}}
    assert differences(None, one) == differences(snapshot(0), one)


# --- streams that follow an earlier one ------------------------------------------------------------


@both
def test_a_client_that_holds_everything_is_sent_nothing_by_another_server(delta: bool) -> None:
    wire = settled(delta)
    again = Wire(wire.client, world(7))
    assert again.settle() == []
    assert again.whole()


def test_a_client_that_comes_back_is_sent_what_changed_meanwhile_and_told_what_went() -> None:
    wire = settled(True)
    changed = snapshot(2, clusters=["b", "c"], endpoints={"b": "x", "c": ""}, listeners={"l": "r"}, routes={"r": "1"})
    again = Wire(wire.client, changed)
    assert told(again.settle()) == [("CDS", ["c"], []), ("EDS", ["b"], []), ("CDS", [], ["a"]), ("EDS", ["c"], [])]
    assert again.whole()


def test_a_cluster_that_changed_meanwhile_has_its_endpoints_sent_too() -> None:
    wire = settled(True)
    again = Wire(wire.client, world(2, salt="x"))
    assert told(again.settle()) == [("CDS", ["b"], []), ("EDS", ["b"], [])]
    assert again.whole()


# --- make before break -----------------------------------------------------------------------------


def switched(generation: int = 2) -> Snapshot:
    """Cluster b is replaced by c, and the routes name it."""
    return snapshot(generation, clusters=["a", "c"], listeners={"l": "r"}, routes={"r": "to c"})


@both
def test_routes_wait_for_the_endpoints_of_new_clusters_and_clusters_go_last(delta: bool) -> None:
    wire = settled(delta)
    wire.stream.offer(switched())
    steps = [told(wire.send())]
    for _ in range(12):
        wire.answer()
        while wire.up:
            wire.hear()
        steps.append(told(wire.send()))
    flat = [what for step in steps for what in step]
    kept = ["a", "b", "c"] if not delta else ["c"]
    gone = ("CDS", ["a", "c"], []) if not delta else ("CDS", [], ["b"])
    assert flat == [("CDS", kept, []), ("EDS", ["c"], []), ("RDS", ["r"], []), gone]
    assert all(len(step) <= 1 for step in steps)
    assert wire.whole()


@both
def test_endpoints_do_not_wait_for_anything(delta: bool) -> None:
    wire = settled(delta)
    wire.stream.offer(switched())
    wire.send()  # a new cluster is under way, and routes wait for it
    failover = snapshot(
        3, clusters=["a", "c"], endpoints={"a": "x", "c": ""}, listeners={"l": "r"}, routes={"r": "to c"}
    )
    wire.stream.offer(failover)
    assert told(wire.send()) == [("EDS", ["a"], [])]


@both
def test_routes_do_not_wait_for_a_cluster_that_only_changes(delta: bool) -> None:
    wire = settled(delta)
    wire.stream.offer(world(2, salt="x", routes="2"))
    assert [what for what, *_ in told(wire.send())] == ["CDS", "EDS", "RDS"]


def test_a_listing_takes_nothing_away_before_the_one_under_way_is_answered() -> None:
    old, new = resource(CLUSTER, "a", "1"), resource(CLUSTER, "a", "2")
    watch = Watch(CLUSTER, count(1), delta=False)
    watch.offer({"a": old, "b": resource(CLUSTER, "b")}, ["a", "b"], 1)
    watch.receive(Ask(CLUSTER))
    (first,) = watch.additions()
    watch.receive(Ask(CLUSTER, first.nonce))
    watch.offer({"a": new}, ["a", "b"], 2)
    (second,) = watch.additions()
    assert [one.name for one in second.resources] == ["a", "b"]
    assert watch.removals() == []
    watch.receive(Ask(CLUSTER, second.nonce, "not this one"))
    (third,) = watch.removals()
    assert third.resources == (old,)


@both
def test_a_refused_cluster_does_not_hold_routes_up(delta: bool) -> None:
    wire = settled(delta)
    wire.client.bad = lambda one: one.name == "c"
    wire.stream.offer(switched())
    wire.settle()
    assert wire.client.holds[ROUTES]["r"].body == b"to c"
    assert not wire.whole()


@both
def test_a_refused_route_keeps_the_clusters_that_its_last_good_version_names(delta: bool) -> None:
    wire = settled(delta)
    wire.client.bad = lambda one: one.body == b"to c"
    wire.stream.offer(switched())
    wire.settle()
    assert set(wire.client.holds[CLUSTER]) == {"a", "b", "c"}
    wire.client.bad = lambda one: False
    wire.stream.offer(snapshot(3, clusters=["a", "c"], listeners={"l": "r"}, routes={"r": "to c, mended"}))
    wire.settle()
    assert set(wire.client.holds[CLUSTER]) == {"a", "c"}
    assert wire.whole()


# --- refusals --------------------------------------------------------------------------------------


def hundred(generation: int, **bodies: str) -> Snapshot:
    """A hundred clusters, and a hundred routes of one listener; bodies by name for those that differ."""
    clusters = {f"c{n}": bodies.get(f"c{n}", "") for n in range(100)}
    routes = {f"r{n}": bodies.get(f"r{n}", "") for n in range(100)}
    endpoints = {name: bodies.get(f"e{name}", "") for name in clusters}
    return snapshot(
        generation, clusters=clusters, endpoints=endpoints, listeners={"l": ",".join(routes)}, routes=routes
    )


def is_bad(one: Resource) -> bool:
    """Bodies say it of themselves."""
    return b"bad" in one.body


@both
@pytest.mark.parametrize("says_which", [True, False])
@pytest.mark.parametrize("bad", ["c42", "r0", "r99", "ec7"])
def test_one_bad_resource_among_a_hundred_is_found_and_the_others_are_in_force(
    delta: bool, says_which: bool, bad: str
) -> None:
    wire = Wire(Client(delta=delta, bad=is_bad, says_which=says_which), hundred(1, **{bad: "bad"}))
    wire.settle()
    (refusal,) = wire.refusals
    assert refusal.name == bad.removeprefix("e")
    assert "no" in refusal.reason
    assert wire.stream.refused == (refusal,)
    assert not wire.whole()
    held = wire.client.holds
    expected = {CLUSTER: 100, ENDPOINTS: 100, ROUTES: 100}
    expected[refusal.type_url] -= 1
    expected[ENDPOINTS] -= bad == "c42"
    assert {url: len(held[url]) for url in expected} == expected


@both
def test_a_change_that_is_refused_leaves_the_last_good_in_force_and_takes_the_others_over(delta: bool) -> None:
    wire = settled(delta, hundred(1))
    wire.client.bad = is_bad
    wire.stream.offer(hundred(2, c1="bad", c2="good", r3="bad", r4="good", ec5="bad", ec6="good"))
    wire.settle()
    assert [refusal.name for refusal in wire.stream.refused] == ["c1", "c5", "r3"]
    bodies = {
        url: {name: one.body for name, one in held.items() if one.body} for url, held in wire.client.holds.items()
    }
    assert bodies[CLUSTER] == {"c2": b"good"}
    assert bodies[ENDPOINTS] == {"c6": b"good"}
    assert bodies[ROUTES] == {"r4": b"good"}
    assert [len(wire.client.holds[url]) for url in (CLUSTER, ENDPOINTS, ROUTES)] == [100, 100, 100]


@both
def test_what_was_refused_is_not_sent_again_until_it_changes(delta: bool) -> None:
    wire = settled(delta, hundred(1))
    wire.client.bad = is_bad
    wire.stream.offer(hundred(2, ec5="bad"))
    wire.settle()
    wire.stream.offer(hundred(3, ec5="bad", ec6="other"))
    assert told(wire.settle()) == [("EDS", ["c6"], [])]
    assert [refusal.generation for refusal in wire.stream.refused] == [2]
    wire.stream.offer(hundred(4, ec5="mended", ec6="other"))
    assert told(wire.settle()) == [("EDS", ["c5"], [])]
    assert wire.stream.refused == ()
    assert wire.whole()


@both
def test_going_back_to_the_last_good_clears_a_refusal(delta: bool) -> None:
    wire = settled(delta)
    wire.client.bad = is_bad
    wire.stream.offer(world(2, routes="bad"))
    wire.settle()
    assert not wire.whole()
    wire.stream.offer(world(3))
    wire.settle()
    assert wire.whole()
    assert wire.stream.refused == ()


@both
def test_what_a_refused_response_may_have_changed_is_sent_again_when_it_comes_back(delta: bool) -> None:
    wire = settled(delta)
    wire.client.bad = is_bad
    wire.stream.offer(
        snapshot(
            2, clusters={"a": "", "b": ""}, endpoints={"a": "2", "b": "bad"}, listeners={"l": "r"}, routes={"r": "1"}
        )
    )
    wire.send()
    wire.answer()
    while wire.up:
        wire.hear()
    assert wire.client.holds[ENDPOINTS]["a"].body == b"2"  # before the bad one, and so in force
    wire.stream.offer(world(3))
    assert not wire.whole()
    wire.settle()
    assert wire.client.holds[ENDPOINTS]["a"].body == b""
    assert wire.whole()


@both
def test_a_client_that_refuses_even_its_last_good_is_left_in_peace(delta: bool) -> None:
    wire = settled(delta)
    wire.client.bad = lambda one: one.name == "r"
    wire.stream.offer(world(2, routes="2"))
    wire.settle()
    assert [refusal.name for refusal in wire.stream.refused] == ["r"]


def test_an_answer_about_a_name_that_was_let_go_meanwhile_counts_for_nothing() -> None:
    watch = Watch(ENDPOINTS, count(1), delta=True)
    watch.offer({"a": resource(ENDPOINTS, "a")}, ["a"], 1)
    watch.receive(Ask(ENDPOINTS, subscribe=("a",)))
    (reply,) = watch.additions()
    watch.receive(Ask(ENDPOINTS, unsubscribe=("a",)))
    watch.receive(Ask(ENDPOINTS, reply.nonce))
    assert watch.held == {}


def test_a_refusal_of_what_is_not_wanted_any_more_is_none() -> None:
    watch = Watch(ENDPOINTS, count(1), delta=True)
    watch.receive(Ask(ENDPOINTS, subscribe=("a",)))
    replies = []
    for generation, body in enumerate(("bad", "good"), start=1):
        watch.offer({"a": resource(ENDPOINTS, "a", body)}, ["a"], generation)
        replies += watch.additions()
    first, second = replies
    assert watch.receive(Ask(ENDPOINTS, first.nonce, "too bad")) == ()
    assert watch.refused == {}
    watch.receive(Ask(ENDPOINTS, second.nonce))
    assert (watch.held, watch.lagging) == ({"a": second.resources[0].version}, set())


@both
def test_several_bad_ones_are_all_found(delta: bool) -> None:
    bad = {"c3": "bad", "c4": "bad", "c90": "bad", "r1": "bad", "r98": "bad"}
    wire = Wire(Client(delta=delta, bad=is_bad), hundred(1, **bad))
    wire.settle()
    assert {refusal.name for refusal in wire.stream.refused} == set(bad)
    assert len(wire.client.holds[CLUSTER]) == 97
    assert len(wire.client.holds[ROUTES]) == 98


def test_halving_takes_few_responses() -> None:
    wire = Wire(Client(delta=True, bad=is_bad), hundred(1, r77="bad"))
    wire.settle()
    assert len([one for one in wire.sent if one.type_url == ROUTES]) <= 1 + 2 * 7


def test_a_client_that_says_which_is_bad_costs_two_more_responses() -> None:
    wire = Wire(Client(delta=True, bad=is_bad, says_which=True), hundred(1, r77="bad"))
    wire.settle()
    assert told(one for one in wire.sent if one.type_url == ROUTES)[1:] == [
        ("RDS", sorted(f"r{n}" for n in range(100) if n != 77), []),
        ("RDS", ["r77"], []),
    ]


@both
def test_endpoints_of_others_go_on_while_the_bad_one_is_looked_for(delta: bool) -> None:
    wire = settled(delta, hundred(1))
    wire.client.bad = is_bad
    wire.stream.offer(hundred(2, **{f"ec{n}": "bad" if n == 9 else "x" for n in range(50)}))
    wire.send()
    wire.answer()
    while wire.up:
        wire.hear()  # refused as a whole; the search begins
    wire.stream.offer(hundred(3, **{f"ec{n}": "bad" if n == 9 else "x" for n in range(50)}, ec99="failover"))
    assert ("EDS", ["c99"], []) in told(wire.send())


@both
def test_a_client_that_comes_back_is_not_sent_what_it_refused_before(delta: bool) -> None:
    wire = settled(delta, hundred(1))
    wire.client.bad = is_bad
    wire.stream.offer(hundred(2, c1="bad"))
    wire.settle()
    again = Wire(wire.client, hundred(3, c1="bad"), earlier=wire.stream)
    again.settle()
    assert again.refusals == []
    assert [refusal.name for refusal in again.stream.refused] == ["c1"]
    assert len(again.client.holds[CLUSTER]) == 100


@pytest.mark.parametrize(
    ("names", "reason", "expected"),
    [
        (["a", "b", "c", "d"], "no", (("a", "b"), ("c", "d"))),
        (["a", "b", "c"], "no", (("a",), ("b", "c"))),
        (["api", "api~gdpr", "web"], "cluster api~gdpr: bad", (("api", "web"), ("api~gdpr",))),
        (["api", "web"], "type.googleapis.com/api.Cluster", (("api",), ("web",))),
        (["api", "web"], "'api': bad\n'web': bad", (("api",), ("web",))),
        (["x"], "no", (("x",),)),
        ([], "no", ()),
    ],
)
def test_parts(names: list[str], reason: str, expected: tuple[tuple[str, ...], ...]) -> None:
    assert parts(names, reason) == expected


def test_types_that_we_have_nothing_of_are_answered() -> None:
    stream = AdsStream(delta=True)
    stream.offer(snapshot(1))
    stream.receive(Ask("type.googleapis.com/other", subscribe=("x",)))
    (reply,) = stream.replies()
    assert (reply.type_url, reply.removed) == ("type.googleapis.com/other", ("x",))


def test_a_resource_says_what_it_is() -> None:
    wire = Wire(Client(delta=True, bad=is_bad), snapshot(1, clusters={"api~gdpr": "bad"}))
    wire.settle()
    assert wire.refusals[0].resource == "Cluster api~gdpr"
    assert wire.refusals[0].version == resource(CLUSTER, "api~gdpr", "bad").version
