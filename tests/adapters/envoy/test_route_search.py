"""The virtual hosts that an edge refuses are found, whatever they are, and all others get through."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import ceil, log2

import pytest
from hypothesis import given, settings, strategies as st

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.resources import Part
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.route_search import RouteSearch

Parts = Mapping[str, Part]


def part(name: str, version: int = 1, *, bad: bool = False, hosts: tuple[str, ...] = ()) -> Part:
    """A service's virtual host; a bad one is what no edge takes."""
    return Part(frozenset(hosts or (f"{name}.test",)), f"{'bad' if bad else 'good'} {name} {version}".encode())


def parts(version: int, *bad: str, of: int = 8) -> dict[str, Part]:
    """Services s0, s1, … at a version, some of them bad."""
    return {f"s{n}": part(f"s{n}", version, bad=f"s{n}" in bad) for n in range(of)}


@dataclass
class Edge:
    """Takes all of a trial or nothing of it, as Envoy does. ``says``: its words, by what is wrong.

    ``dislikes``: services that it takes in no version.
    """

    search: RouteSearch = field(default_factory=RouteSearch)
    says: Callable[[list[str]], str] = lambda wrong: "no good"
    holds: Parts = field(default_factory=dict)
    dislikes: set[str] = field(default_factory=set)
    told: int = 0
    found: list[str] = field(default_factory=list)

    def answer(self) -> bool:
        """Take the trial over, or refuse it."""
        self.told += 1
        trial, claimed = self.search.trial, set[str]()
        wrong = [name for name, one in trial.items() if one.body.startswith(b"bad") or name in self.dislikes]
        for name, one in trial.items():
            wrong += [name] if claimed & one.hosts else []
            claimed |= one.hosts
        if wrong:
            self.found += self.search.refused(self.says(wrong))
        else:
            self.holds = trial
            self.search.accepted()
        return not wrong

    def settle(self, wanted: Parts) -> Parts:
        """What it holds when it was offered these and nothing is left to try."""
        self.search.offer(wanted)
        while not self.answer() or self.search.searching or self.holds != self.search.trial:
            assert self.told < 10_000
        return self.holds


def bound(changed: int, bad: int) -> int:
    """The most that is published for a change without host names that move: see the module."""
    return 5 + 2 * bad * (ceil(log2(max(changed, 2))) + 2)


def test_what_is_good_is_published_once() -> None:
    edge = Edge()
    assert edge.settle(parts(1)) == parts(1)
    assert edge.settle(parts(2)) == parts(2)
    assert edge.told == 2
    assert edge.search.whole


def test_a_bad_one_stays_at_its_last_good_and_the_others_go_on() -> None:
    edge = Edge()
    edge.settle(parts(1))
    assert edge.settle(parts(2, "s3")) == {**parts(2), "s3": part("s3", 1)}
    assert edge.found == ["s3"]
    assert edge.search.bad["s3"].reason == "no good"
    assert not edge.search.whole


def test_one_that_was_never_good_is_away() -> None:
    edge = Edge()
    assert edge.settle(parts(1, "s3")).keys() == parts(1).keys() - {"s3"}


def test_a_bad_one_is_tried_again_only_when_it_changes() -> None:
    edge = Edge()
    wanted = parts(1, "s3")
    edge.settle(wanted)
    told = edge.told
    wanted = {**wanted, "s1": part("s1", 2)}
    assert edge.settle(wanted)["s1"] == part("s1", 2)
    assert edge.told == told + 1
    assert edge.settle({**wanted, "s3": part("s3", 2)})["s3"] == part("s3", 2)
    assert edge.told == told + 2
    assert edge.search.whole


def test_one_that_is_withdrawn_is_forgotten() -> None:
    edge = Edge()
    edge.settle(parts(1, "s3"))
    wanted = {name: one for name, one in parts(1).items() if name != "s3"}
    assert edge.settle(wanted) == wanted
    assert edge.search.whole


@pytest.mark.parametrize("word", ["s70", "s70.test"])
def test_what_the_reason_names_is_tried_first(word: str) -> None:
    edge = Edge(says=lambda _: f"route: {word} is not good")
    edge.settle(parts(1, of=100))
    edge.settle(parts(2, "s70", of=100))
    assert edge.found == ["s70"]
    assert edge.told == 1 + 3  # the first plan; all, the named one, the others


@pytest.mark.parametrize("words", ["s1", "s1 s2 s3 s4"])
def test_a_reason_that_names_the_wrong_ones_costs_one_more_version(words: str) -> None:
    edge = Edge(says=lambda _: words)
    edge.settle(parts(1, of=64))
    edge.settle(parts(2, "s50", of=64))
    assert edge.found == ["s50"]
    assert edge.told <= 1 + bound(64, 1)


def test_reasons_that_name_the_wrong_ones_again_and_again_are_believed_once() -> None:
    names = iter(f"s{n}" for n in range(64))
    edge = Edge(says=lambda _: next(names))
    edge.settle(parts(1, of=64))
    edge.settle(parts(2, "s63", of=64))
    assert edge.found == ["s63"]
    assert edge.told <= 1 + bound(64, 1)


def test_a_newer_plan_in_the_middle_of_a_search_is_taken_up_with_the_next_answer() -> None:
    edge = Edge()
    edge.settle(parts(1))
    edge.search.offer(parts(2, "s3"))
    edge.answer()
    edge.answer()
    newest = {**parts(2, "s3"), "s0": part("s0", 3), "s9": part("s9")}
    edge.search.offer(newest)
    edge.answer()
    edge.answer()
    assert {"s0", "s9"} <= edge.holds.keys()
    assert edge.holds["s0"] == part("s0", 3)
    while edge.search.searching:
        edge.answer()
    assert edge.search.bad.keys() == {"s3"}


def test_a_newer_plan_may_mend_what_is_looked_for() -> None:
    edge = Edge()
    edge.search.offer(parts(1, "s3"))
    edge.answer()
    edge.search.offer(parts(2))
    while edge.search.searching:
        edge.answer()
    assert edge.holds == parts(2)
    assert edge.search.whole


def test_a_host_name_changes_hands_beside_a_bad_one() -> None:
    edge = Edge()
    before = {"a": part("a", hosts=("x", "a")), "b": part("b", hosts=("y", "b")), "c": part("c")}
    after = {"a": part("a", 2, hosts=("y", "a")), "b": part("b", 2, hosts=("x", "b")), "c": part("c", 2, bad=True)}
    edge.settle(before)
    assert edge.settle(after) == {**after, "c": before["c"]}
    assert edge.found == ["c"]


def test_who_waits_for_a_host_name_of_a_bad_one_gets_it_when_that_lets_go() -> None:
    edge = Edge()
    before = {"a": part("a", hosts=("x", "a")), "b": part("b"), "c": part("c")}
    after = {"a": part("a", 2, bad=True), "b": part("b", 2, hosts=("x", "b")), "c": part("c", 2)}
    edge.settle(before)
    assert edge.settle(after) == {**before, "c": after["c"]}
    assert sorted(edge.found) == ["a", "b"]
    mended = {**after, "a": part("a", 3)}
    assert edge.settle(mended) == mended
    assert edge.search.whole


def test_an_edge_that_no_longer_takes_what_it_took_loses_only_that() -> None:
    edge = Edge()
    edge.settle(parts(1))
    edge.settle(parts(2, "s3"))
    edge.dislikes = {"s5"}  # another process, another taste
    newest = {**parts(2, "s3"), "s0": part("s0", 3)}
    assert edge.settle(newest) == {name: one for name, one in newest.items() if name not in ("s3", "s5")}
    assert edge.search.bad.keys() == {"s3", "s5"}


def test_routes_that_are_refused_without_any_virtual_host_are_not_looked_into() -> None:
    search = RouteSearch()
    search.offer(parts(1, of=2))
    while search.broken is None:
        search.refused("nothing is good")
    assert search.trial == {}
    assert not search.searching
    search.offer(parts(2, of=2))
    search.accepted()
    assert search.whole


@given(
    changed=st.integers(1, 40),
    bad=st.sets(st.integers(0, 39), max_size=5),
    known=st.booleans(),
    words=st.lists(st.integers(0, 39), max_size=4),
)
@settings(max_examples=300)
def test_every_set_of_bad_ones_is_found(changed: int, bad: set[int], known: bool, words: list[int]) -> None:
    edge = Edge(says=lambda _: " ".join(f"s{n}" for n in words))
    spoilt = [f"s{n}" for n in sorted(bad) if n < changed]
    before: Parts = edge.settle(parts(1, of=40)) if known else {}
    edge.told = 0
    wanted = {**parts(1, of=40), **parts(2, *spoilt, of=changed)} if known else parts(2, *spoilt, of=changed)
    last_good = {name: before[name] for name in spoilt if name in before}
    assert edge.settle(wanted) == {name: one for name, one in wanted.items() if name not in spoilt} | last_good
    assert sorted(edge.found) == sorted(spoilt)
    assert edge.search.bad.keys() == set(spoilt)
    assert edge.told <= bound(changed, len(spoilt))


hosts = st.sets(st.sampled_from("uvwxyz"), min_size=0, max_size=3)
service = st.tuples(hosts, st.booleans())
plans = st.lists(
    st.tuples(st.dictionaries(st.sampled_from("abcdef"), service), st.integers(0, 6)), min_size=1, max_size=6
)


def claimed(plan: Mapping[str, tuple[set[str], bool]]) -> Parts:
    """Parts of which each host name has one, the first."""
    found, taken = {}, set[str]()
    for name, (names, bad) in plan.items():
        free = tuple(sorted(names - taken)) or (f"{name}.test",)
        taken |= names
        found[name] = part(name, 1, bad=bad, hosts=free)
        found[name] = Part(found[name].hosts, found[name].body + repr(free).encode())
    return found


@given(story=plans)
@settings(max_examples=500)
def test_whatever_is_planned_while_it_looks_the_good_ones_get_through(
    story: list[tuple[dict[str, tuple[set[str], bool]], int]],
) -> None:
    edge = Edge()
    for plan, answers in story:
        edge.search.offer(claimed(plan))
        for _ in range(answers):
            edge.answer()
    wanted = claimed(story[-1][0])
    held = edge.settle(wanted)
    assert held.keys() <= wanted.keys()
    for name, one in wanted.items():
        rivals = {other for other, theirs in held.items() if other != name and theirs.hosts & one.hosts}
        good = not one.body.startswith(b"bad") and not rivals
        assert (held.get(name) == one) == good
        assert (name in edge.search.bad) == (not good)
