"""Who leads: health, then utilisation, then a draw that anybody can repeat from the term."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, strategies as st

from mahavishnu.integrations.multi_region.core.election import (
    Leader,
    able_to_lead,
    draw,
    elect,
    why_none_can_lead,
)
from mahavishnu.integrations.multi_region.core.model import AdminState, Phase

from .rollout_tools import fleet, region


def test_who_is_down_full_drained_or_not_registered_cannot_lead() -> None:
    world = fleet(
        region("a"),
        region("b", phase=Phase.DOWN),
        region("c", phase=Phase.SATURATED),
        region("d", admin=AdminState.DRAINED),
        region("e", phase=Phase.DEGRADED),
        region("f"),
    )
    assert [r.region_id for r in able_to_lead(world, ["e", "d", "gone", "c", "b", "a"])] == ["e", "a"]
    assert why_none_can_lead(world, ["gone", "b", "d"]) == {"b": "is down, active", "d": "is healthy, drained"}


def test_the_healthiest_leads_even_when_it_is_busier() -> None:
    assert elect([region("a", health_score=90.0, load=0.0), region("b", health_score=91.0, load=99.0)], 1) == "b"


def test_among_the_equally_healthy_the_least_used_leads() -> None:
    used = [region("a", load=30.0), region("b", load=30.0, max_capacity=200.0), region("c", load=16.0)]
    assert elect(used, 1) == "b"


def test_a_tie_is_drawn_anew_in_each_term_and_evenly() -> None:
    equals = [region(name) for name in "abcd"]
    wins = Counter(str(elect(equals, term)) for term in range(1, 2001))
    assert set(wins) == set("abcd")
    assert all(430 <= count <= 570 for count in wins.values())


@given(term=st.integers(1, 10**9), order=st.permutations(list("abcd")))
def test_the_draw_can_be_repeated_and_does_not_hang_on_the_order(term: int, order: list[str]) -> None:
    leader = elect([region(name) for name in order], term)
    assert leader == elect([region(name) for name in "abcd"], term)
    assert str(leader) == min("abcd", key=lambda name: draw(term, name))


def test_the_draw_is_frozen() -> None:
    assert draw(1, "us-east-1") == 0xFA3F1A3436336AA5
    assert draw(2, "us-east-1") == 0x78DAAAD35BA6C1E3


def test_a_leader_is_its_regions_id_with_a_term_and_a_reason() -> None:
    leader = elect([region("a", phase=Phase.DEGRADED)], 7)
    assert isinstance(leader, Leader) and leader == "a" and f"{leader}" == "a"
    assert leader.term == 7
    assert leader.reason == "health score 50.0, 20.0% utilization"
