"""What the controller sends to workers: the other side comes to hold the same, and keeps the objects it can."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from hypothesis import given, strategies as st

from mahavishnu.integrations.multi_region.core.model import Fleet, RoutingStrategy, Service
from mahavishnu.integrations.multi_region.core.residuals import Corrections, Learned
from mahavishnu.integrations.multi_region.shell.manager import RegionManager
from mahavishnu.integrations.multi_region.surfaces.workers.state import (
    VIEWS_AT_ONCE,
    Assembler,
    Rest,
    State,
    Views,
    decoded,
    encoded,
    pieces,
)
from mahavishnu.integrations.multi_region.testing.builders import GDPR, policy, region, service, view, world

IDS = [f"r{n}" for n in range(6)]
VIEW = view("r0")
LOADS = st.dictionaries(st.sampled_from(IDS), st.integers(0, 3), max_size=6)
LEARNED = st.dictionaries(st.sampled_from(IDS), st.integers(0, 2), max_size=6)
CHANGES = st.lists(st.tuples(LOADS, LEARNED, st.booleans(), st.sampled_from(["a", "b"])), min_size=1, max_size=6)


def send(assembler: Assembler, before: State | None, after: State) -> None:
    """One update, as bytes."""
    taken = [assembler.take(decoded(encoded(piece))) for piece in pieces(before, after)]
    assert taken == [False] * (len(taken) - 1) + [True]


async def a_state() -> State:
    """A state with every kind of thing in it."""
    manager = RegionManager()
    declared = world(
        *(region(id_, compliance=[GDPR], current_capacity=40) for id_ in ("eu-west-1", "eu-central-1", "us-east-1")),
        services=[service("api", "eu-west-1", "us-east-1"), service("law", "eu-west-1", policy="eu")],
        policies=[policy("eu", allow=["eu-west-1"])],
    )
    await manager.apply(declared)
    learned = {"eu-west-1": Learned((3, 4), (1.0, 0.5), (12.0, -3.0))}
    return State(1, manager.snapshot(), Corrections(7, MappingProxyType(learned)))


async def test_a_whole_state_arrives_equal() -> None:
    state, assembler = await a_state(), Assembler()
    send(assembler, None, state)
    assert assembler.state == state


async def test_regions_and_rules_that_did_not_change_stay_the_same_objects_though_all_is_sent_anew() -> None:
    state, assembler = await a_state(), Assembler()
    send(assembler, None, state)
    known = assembler.state.fleet
    changed = replace(state.fleet.regions["us-east-1"], load=99.0)
    regions = MappingProxyType({**state.fleet.regions, "us-east-1": changed})
    send(assembler, None, State(2, replace(state.fleet, regions=regions), state.corrections))
    now = assembler.state.fleet
    assert [now.regions[id_] is known.regions[id_] for id_ in now.regions] == [True, True, False]
    assert (now.services is known.services, now.policies is known.policies) == (True, True)


async def test_of_many_regions_only_the_changed_one_is_sent() -> None:
    state = await a_state()
    one = state.fleet.regions["eu-west-1"]
    many = {f"r{n}": replace(one, region_id=f"r{n}") for n in range(3 * VIEWS_AT_ONCE)}
    before = State(1, replace(state.fleet, regions=MappingProxyType(many)), state.corrections)
    regions = MappingProxyType({**many, "r7": replace(one, region_id="r7", load=1.0)})
    after = State(2, replace(before.fleet, regions=regions), state.corrections)
    sent = [piece.views for piece in pieces(before, after) if isinstance(piece, Views)]
    assert [list(views) for views in sent] == [["r7"]]
    rest = list(pieces(before, after))[-1]
    assert isinstance(rest, Rest)
    assert (rest.order, rest.gone) == (None, [])
    whole = [len(piece.views) for piece in pieces(None, after) if isinstance(piece, Views)]
    assert whole == [VIEWS_AT_ONCE] * 3


async def test_an_update_that_was_broken_off_leaves_nothing_behind() -> None:
    state, assembler = await a_state(), Assembler()
    first, *_ = pieces(None, state)
    assembler.take(first)
    assembler.begin()
    empty = State(1, Fleet(revision=0, regions=MappingProxyType({})))
    send(assembler, None, empty)
    assert assembler.state == empty


@given(CHANGES)
def test_any_sequence_of_changes_arrives(changes: list[tuple[dict[str, int], dict[str, int], bool, str]]) -> None:
    assembler, sent = Assembler(), None
    views = {id_: replace(VIEW, region_id=id_) for id_ in IDS}
    for number, (loads, lessons, anew, name) in enumerate(changes, start=1):
        regions = {id_: replace(views[id_], load=float(load)) for id_, load in loads.items()}
        fleet = Fleet(
            revision=number,
            regions=MappingProxyType(regions),
            services=MappingProxyType({name: Service(name, strategy=RoutingStrategy.WEIGHTED)}),
            generation=number,
        )
        learned = MappingProxyType({id_: Learned((n,), (1.0,), (float(n),)) for id_, n in lessons.items()})
        state = State(number, fleet, Corrections(number, learned))
        send(assembler, None if anew else sent, state)
        assert assembler.state == state
        assert list(assembler.state.fleet.regions) == list(regions)
        sent = state
