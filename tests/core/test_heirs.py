"""Who may take over: their room, their order, and what waits for a person."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mahavishnu.integrations.multi_region.core.deployment import DeploymentView, Group, State
from mahavishnu.integrations.multi_region.core.failover import (
    MANUAL,
    FailoverPlan,
    Refusal,
    plan_by_choice,
    plan_failover,
)
from mahavishnu.integrations.multi_region.core.heirs import best_heir, room
from mahavishnu.integrations.multi_region.core.kinds import FailoverMode
from mahavishnu.integrations.multi_region.core.model import Phase
from mahavishnu.integrations.multi_region.testing.builders import fleet, service, view

from .rollout_tools import active_passive


@pytest.mark.parametrize(
    ("load", "limit", "headroom", "expected"), [(40, 100, 0.1, 50), (95, 100, 0.1, 0), (0, 100, 0, 100), (0, 0, 0.1, 0)]
)
def test_room_keeps_headroom_free(load: float, limit: float, headroom: float, expected: float) -> None:
    assert room(view("a", load=load, max_capacity=limit), headroom) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("loads", "heir"), [((30, 0), "b"), ((40, 0), "b"), ((60, 0), "c"), ((80, 70), "c"), ((95, 95), None)], ids=str
)
def test_the_heir_is_the_first_with_room_for_all_else_the_widest(loads: tuple[float, float], heir: str | None) -> None:
    able = [view("b", load=loads[0]), view("c", load=loads[1])]
    found = best_heir(able, 50.0, 0.1)
    assert (None if found is None else found.region_id) == heir


# --- failover by hand ----------------------------------------------------------------------------


def by_hand() -> DeploymentView:
    begun = active_passive("a", "b", state=State.SERVING, failover_strategy=FailoverMode.MANUAL)
    return replace(begun, groups=(Group("active", ("a",), 1.0),))


def test_automation_moves_no_service_whose_failover_is_manual_and_says_so() -> None:
    told = plan_failover(fleet(view("a", Phase.DOWN, load=40.0), "b", deployments={"web": by_hand()}), "a")
    assert isinstance(told, Refusal)
    assert (told.rule, told.text) == (MANUAL, "only a person moves web off a: its failover is manual")
    assert told.reasons == {"b": "takes web over only by a person's word: its failover is manual"}


def test_where_some_of_it_could_move_but_for_room_the_regions_are_named() -> None:
    deployments = {"web": by_hand(), "api": replace(by_hand(), failover_strategy=FailoverMode.AUTOMATIC)}
    told = plan_failover(fleet(view("a", Phase.DOWN, load=40.0), view("b", load=95.0), deployments=deployments), "a")
    assert isinstance(told, Refusal)
    assert told.rule == "no_eligible_region"


def test_automation_moves_the_other_services() -> None:
    world = fleet(view("a", Phase.DOWN, load=40.0), "b", services=[service("api")], deployments={"web": by_hand()})
    plan = plan_failover(world, "a")
    assert isinstance(plan, FailoverPlan)
    assert (plan.by_service, plan.stranded) == ({"api": {"b": 0.5}, "web": {}}, 0.5)


def test_a_person_moves_it() -> None:
    world = fleet(view("a", Phase.DOWN, load=40.0), "b", deployments={"web": by_hand()})
    for target in (None, "b"):
        plan = plan_by_choice(world, "a", target)
        assert isinstance(plan, FailoverPlan)
        assert plan.shares == {"b": 1.0}
