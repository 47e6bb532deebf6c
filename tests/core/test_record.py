"""The plan of record: who takes it, under which term, what gives it back, and when a person may take it back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.core.deployment import DeploymentView, State
from mahavishnu.integrations.multi_region.core.model import Phase
from mahavishnu.integrations.multi_region.core.record import (
    OfRecord,
    failback_denial,
    given_back,
    lost_record,
    only_remembered,
    rollback_denial,
    takes_record,
    taking_over,
    unmoved,
)

from .rollout_tools import active_active, active_passive, blue_green, region, run, seen

A, B, DOWN = region("a"), region("b"), region("b", phase=Phase.DOWN)
OWN, NOBODY = OfRecord("web-1", declared=False), OfRecord(None, declared=False)


def at(state: State, **how: Any) -> DeploymentView:
    return replace(active_active("a"), state=state, **how)


@pytest.mark.parametrize(
    ("before", "after", "record", "takes"),
    [
        (None, State.PREPARING, NOBODY, True),
        (None, State.PREPARING, OfRecord(None, declared=True), False),
        (None, State.PREPARING, OfRecord("web-0", declared=False), False),
        (State.PREPARING, State.BAKING, OfRecord("web-0", declared=False), False),
        (State.BAKING, State.SHIFTING, OfRecord("web-0", declared=True), True),
        (State.BAKING, State.SHIFTING, OWN, False),
        (State.SHIFTING, State.SHIFTING, OfRecord("web-2", declared=False), False),
    ],
)
def test_it_becomes_of_record_at_once_where_nothing_serves_else_with_its_first_shift(
    before: State | None, after: State, record: OfRecord, takes: bool
) -> None:
    assert takes_record(None if before is None else at(before), at(after), record) is takes


def test_terms_only_grow_whoever_takes_over_and_whoever_gets_it_back() -> None:
    old, new = at(State.SERVING, deployment_id="web-0", term=7, held="x"), at(State.SHIFTING, term=2)
    taken = taking_over(new, old)
    assert (taken.supersedes, taken.term) == ("web-0", 8)
    assert taking_over(at(State.SHIFTING, term=9), old).term == 9
    assert taking_over(new, None) is new
    back = given_back(old, replace(taken, term=12))
    assert (back.deployment_id, back.term, back.held) == ("web-0", 13, None)


def test_a_record_is_lost_only_by_who_had_it() -> None:
    assert not lost_record(at(State.BAKING), "web-2"), "it has moved no traffic yet"
    assert lost_record(at(State.SERVING, step=0), "web-2")
    assert not lost_record(at(State.SERVING, step=0), "web-1")


def test_a_hold_is_written_once_and_then_only_remembered() -> None:
    free, held, other = at(State.BAKING), at(State.BAKING, held="x"), at(State.BAKING, held="y")
    moved = at(State.SHIFTING, step=0)
    assert [only_remembered(*pair) for pair in ((free, held), (held, other), (held, free), (held, moved))] == [
        *(False, True, True, False),
    ]
    assert (unmoved(free, held), unmoved(free, moved), unmoved(moved, replace(moved, step=1))) == (True, False, False)


# --- taking it back ------------------------------------------------------------------------------


def test_a_rollback_that_leads_somewhere_is_not_denied() -> None:
    green = run(blue_green(), A, B)
    assert rollback_denial(green, seen(green, A, B), OWN) is None


def test_each_denial_of_a_rollback_names_its_rule() -> None:
    green, alone = run(blue_green(), A, B), run(active_active("a"), A)
    old = replace(alone, deployment_id="web-0", state=State.SERVING)
    asked = {
        "not_reversible": rollback_denial(at(State.COMPLETED), seen(alone, A), OWN),
        "not_of_record": rollback_denial(green, seen(green, A, B), OfRecord("web-2", declared=False)),
        "replaced": rollback_denial(green, seen(green, A, B, replaced_by="web-2"), OWN),
        "nothing_before": rollback_denial(alone, seen(alone, A), OWN),
        "no_eligible_region": rollback_denial(
            alone, seen(alone, region("a", phase=Phase.DOWN), returns_to=old), OfRecord("web-1", declared=True)
        ),
    }
    assert {rule: None if found is None else found.rule for rule, found in asked.items()} == {r: r for r in asked}
    assert rollback_denial(alone, seen(alone, A), OfRecord("web-1", declared=True)) is None


def test_each_denial_of_a_failback_names_its_rule() -> None:
    home = run(active_passive("b", "a"), A, B)
    away = run(home, A, DOWN)
    assert away.active == ("a",)
    asked = {
        "not_active_passive": failback_denial(run(blue_green(), A, B), seen(home, A, B), OWN),
        "not_of_record": failback_denial(away, seen(away, A, B), OfRecord("web-2", declared=False)),
        "at_home": failback_denial(home, seen(home, A, B), OWN),
        "not_ready": failback_denial(away, seen(away, A, DOWN), OWN),
    }
    assert {rule: None if found is None else found.rule for rule, found in asked.items()} == {r: r for r in asked}
    ready = asked["not_ready"]
    assert ready is not None
    assert ready.reasons == {"b": "is down"}
    assert failback_denial(away, seen(away, A, B), OWN) is None
