"""Whatever is published, answered, refused or cut, in any order: in the end a client holds the newest that is good."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import HealthCheck, given, settings, strategies as st

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.resources import (
    CLUSTER,
    ENDPOINTS,
    LISTENER,
    ROUTES,
    Resource,
    Snapshot,
)
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.stream import differences
from tests.adapters.envoy.ads_client import Client, Wire, snapshot

NAMES = ("a", "b", "c", "d")
BODIES = st.sampled_from(["1", "2", "3", "bad 1", "bad 2"])


def is_bad(one: Resource) -> bool:
    """Bodies say it of themselves."""
    return one.body.startswith(b"bad")


@st.composite
def worlds(draw: st.DrawFn, *, all_good: bool = False) -> Mapping[str, Mapping[str, str]]:
    """Bodies by name of clusters and their endpoints, and of routes; the listener names all routes."""
    bodies = BODIES.filter(lambda body: body[0] != "b") if all_good else BODIES
    clusters = draw(st.dictionaries(st.sampled_from(NAMES), bodies, max_size=4))
    endpoints = {name: draw(bodies) for name in clusters}
    return {
        "clusters": clusters,
        "endpoints": endpoints,
        "routes": draw(st.dictionaries(st.sampled_from(["r", "s", "t"]), bodies, max_size=3)),
    }


def made(generation: int, world: Mapping[str, Mapping[str, str]]) -> Snapshot:
    """The snapshot of a world."""
    return snapshot(generation, listeners={"l": ",".join(sorted(world["routes"]))}, **world)


STEPS = st.lists(
    st.one_of(worlds(), st.sampled_from(["send", "hear", "answer", "answer", "hear", "cut", "restart"])), max_size=40
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS, worlds(), worlds(all_good=True), st.booleans(), st.booleans(), st.booleans())
def test_a_client_ends_with_the_newest_that_is_good(
    steps: list[object],
    last: Mapping[str, Mapping[str, str]],
    mended: Mapping[str, Mapping[str, str]],
    delta: bool,
    says_which: bool,
    all_or_nothing: bool,
) -> None:
    client = Client(delta=delta, bad=is_bad, says_which=says_which, all_or_nothing=all_or_nothing)
    wire, generation, current = Wire(client), 0, None
    for step in steps:
        if isinstance(step, dict):
            generation += 1
            current = made(generation, step)
            wire.stream.offer(current)
        elif step in ("cut", "restart"):  # the connection is lost, and with "restart" what the server knew as well
            wire = Wire(client, current, wire.stream if step == "cut" else None)
        else:
            {"send": wire.send, "hear": wire.hear, "answer": wire.answer}[str(step)]()
        if wire.whole() and current is not None:
            assert {url: held for url, held in client.holds.items() if held} == {
                url: found for url, found in current.resources.items() if found
            }
    wire.stream.offer(made(generation + 1, last))
    wire.settle()
    check(wire, made(generation + 1, last))
    wire.stream.offer(made(generation + 2, mended))
    wire.settle()
    assert wire.whole()
    assert wire.stream.refused == ()
    check(wire, made(generation + 2, mended))


def check(wire: Wire, wanted: Snapshot) -> None:
    """All that is good and that the client asks for is in force; the rest is known as refused and is not."""
    held = wire.client.holds
    refused = {(one.type_url, one.name) for one in wire.stream.refused}
    for url in (CLUSTER, ENDPOINTS, LISTENER, ROUTES):
        for name, one in wanted.resources[url].items():
            if is_bad(one):
                assert held[url].get(name) != one
                assert (url, name) in refused or (url == ENDPOINTS and name not in held[CLUSTER])
            elif url != ENDPOINTS or name in held[CLUSTER]:
                assert held[url][name] == one
    if not any(url in (LISTENER, ROUTES) for url, _ in refused):
        assert held[CLUSTER].keys() <= wanted.resources[CLUSTER].keys()
    assert wire.whole() == (not refused)


@given(worlds(), worlds())
def test_differences_are_what_an_eye_would_find(
    old: Mapping[str, Mapping[str, str]], new: Mapping[str, Mapping[str, str]]
) -> None:
    was, now = made(1, old).resources, made(2, new).resources
    expected = {
        url: {name for name in {**was[url], **now[url]} if was[url].get(name) != now[url].get(name)} for url in was
    }
    assert differences(made(1, old), made(2, new)) == {url: names for url, names in expected.items() if names}
