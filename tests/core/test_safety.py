"""The rules that a removal must pass, and what a region that they keep in service serves as."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from mahavishnu.integrations.multi_region.core.deployment import Group, State
from mahavishnu.integrations.multi_region.core.model import AdminState, ComplianceFramework, Fleet, Phase, SafetyLimits
from mahavishnu.integrations.multi_region.core.safety import (
    LIFTABLE,
    Carried,
    Removal,
    Rule,
    Violation,
    automatic_violation,
    emptied_services,
    in_service,
    removal_violation,
    serves_as,
    serving,
    sight_violation,
    still_out,
)
from mahavishnu.integrations.multi_region.testing.builders import fleet, policy, service, view

from .rollout_tools import active_passive


def rule_of(violation: Violation | None) -> Rule | None:
    return None if violation is None else violation.rule


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"phase": Phase.UNKNOWN}, True),
        ({"phase": Phase.SATURATED}, True),
        ({"phase": Phase.DOWN}, False),
        ({"phase": Phase.DOWN, "serves_as": Phase.UNKNOWN}, True),
        ({"admin": AdminState.DRAINING}, False),
        ({"admin": AdminState.DRAINED}, False),
        ({"failed_over": "x"}, False),
        ({"failed_over": "x", "failed_services": frozenset({"api"})}, True),
    ],
)
def test_who_is_in_service(fields: dict[str, Any], expected: bool) -> None:
    assert in_service(view("a", **fields)) is expected


@pytest.mark.parametrize(
    ("others", "min_serving", "rule"),
    [
        (["b"], 1, None),
        ([], 1, Rule.MIN_SERVING),
        ([view("b", Phase.DOWN)], 1, Rule.MIN_SERVING),
        ([view("b", admin=AdminState.DRAINED)], 1, Rule.MIN_SERVING),
        ([view("b", failed_over="x")], 1, Rule.MIN_SERVING),
        (["b"], 2, Rule.MIN_SERVING),
        (["b", "c"], 2, None),
        ([view("b", Phase.DEGRADED)], 1, None),
    ],
)
def test_the_last_serving_regions_stay(others: list[Any], min_serving: int, rule: Rule | None) -> None:
    world = fleet("a", *others, limits=SafetyLimits(min_serving=min_serving))
    assert rule_of(removal_violation(world, "a")) is rule


@pytest.mark.parametrize(
    ("made", "policies", "others", "rule"),
    [
        (service("api", "a"), [], ["b"], Rule.EMPTY_SERVICE),
        (service("api", "a", "b"), [], ["b"], None),
        (service("api", "a", "b"), [], [view("b", Phase.DOWN), "c"], Rule.EMPTY_SERVICE),
        (service("api", "a", "b"), [], [view("b", load=100), "c"], Rule.EMPTY_SERVICE),
        (service("api", "b"), [], ["b"], None),
        (service("api", policy="p"), [policy("p", allow=["a"])], ["b"], Rule.EMPTY_SERVICE),
        (service("api", policy="p"), [policy("p", allow=["b"])], ["b", "c"], None),
    ],
)
def test_no_service_is_emptied(made: Any, policies: list[Any], others: list[Any], rule: Rule | None) -> None:
    world = fleet("a", *others, services=[made], policies=policies)
    assert rule_of(removal_violation(world, "a")) is rule


def test_who_stands_by_empties_no_service_and_who_serves_may() -> None:
    plan = active_passive("a", "b", state=State.SERVING)
    plan = replace(plan, groups=(Group("active", ("a",), 1.0),))
    lost = fleet(view("a", Phase.DOWN), "b", "c", deployments={"web": plan})
    assert removal_violation(lost, "b") is None
    assert rule_of(removal_violation(fleet("a", view("b", Phase.DOWN), "c", deployments={"web": plan}), "a")) is (
        Rule.EMPTY_SERVICE
    )


def test_an_override_lifts_one_rule_and_leaves_the_others() -> None:
    world = fleet("a", services=[service("api", "a")])
    assert rule_of(removal_violation(world, "a")) is Rule.MIN_SERVING
    assert rule_of(removal_violation(world, "a", frozenset({Rule.MIN_SERVING}))) is Rule.EMPTY_SERVICE
    assert rule_of(removal_violation(world, "a", frozenset({Rule.EMPTY_SERVICE}))) is Rule.MIN_SERVING
    assert removal_violation(world, "a", frozenset({Rule.MIN_SERVING, Rule.EMPTY_SERVICE})) is None


def test_law_is_no_rule_that_could_be_lifted() -> None:
    assert Rule.TARGET not in LIFTABLE
    assert Rule.MAX_REMOVED not in LIFTABLE


# --- the velocity limit ------------------------------------------------------------------------

FOUR = ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("gone", "now", "rule"),
    [
        ([], 100.0, None),
        ([Removal("b", 90.0, 100.0)], 100.0, None),
        ([Removal("b", 90.0, 100.0), Removal("c", 95.0, 100.0)], 100.0, Rule.MAX_REMOVED),
        ([Removal("b", 39.9, 100.0), Removal("c", 95.0, 100.0)], 100.0, None),
        ([Removal("b", 40.0, 100.0), Removal("c", 40.1, 100.0)], 100.0, None),
        ([Removal("b", 90.0, 250.0)], 100.0, Rule.MAX_REMOVED),
        ([Removal("a", 90.0, 300.0)], 100.0, None),
    ],
)
def test_automation_takes_out_a_share_of_capacity_within_the_window(
    gone: list[Removal], now: float, rule: Rule | None
) -> None:
    assert rule_of(automatic_violation(fleet(*FOUR), "a", gone, now)) is rule


def test_one_region_may_always_go_however_large() -> None:
    world = fleet(view("a", max_capacity=900), "b")
    assert automatic_violation(world, "a", [], 0.0) is None


def test_capacity_that_the_operator_drained_is_no_capacity() -> None:
    world = fleet("a", "b", "c", *(view(f"d{i}", admin=AdminState.DRAINED) for i in range(9)))
    assert rule_of(automatic_violation(world, "a", [Removal("b", 0.0, 100.0)], 1.0)) is Rule.MAX_REMOVED


def test_frozen_automation_takes_out_nobody_and_people_still_may() -> None:
    world = fleet("a", "b", frozen="by ada: looking into it")
    assert rule_of(automatic_violation(world, "a", [], 0.0)) is Rule.FROZEN
    assert removal_violation(world, "a") is None


def test_only_what_is_still_in_the_window_counts() -> None:
    removals = [Removal("a", 10.0, 1.0), Removal("b", 50.0, 1.0)]
    assert [r.region_id for r in still_out(removals, 70.0, 60.0)] == ["b"]


@given(
    capacities=st.lists(st.integers(1, 500), min_size=2, max_size=8),
    order=st.randoms(use_true_random=False),
    times=st.lists(st.floats(0, 30), min_size=8, max_size=8),
    max_removed=st.floats(0.1, 0.9),
    min_serving=st.integers(1, 3),
)
def test_whatever_fails_automation_stays_within_its_limits(
    capacities: list[int], order: Any, times: list[float], max_removed: float, min_serving: int
) -> None:
    limits = SafetyLimits(min_serving=min_serving, max_removed=max_removed, window_s=60.0)
    regions = {f"r{i}": view(f"r{i}", max_capacity=size) for i, size in enumerate(capacities)}
    falling, removals, now = list(regions), list[Removal](), 0.0
    order.shuffle(falling)
    for region_id, pause in zip(falling, times, strict=False):
        now += pause
        world: Fleet = fleet(*regions.values(), limits=limits)
        if automatic_violation(world, region_id, removals, now) is None:
            removals.append(Removal(region_id, now, regions[region_id].max_capacity))
            regions[region_id] = view(region_id, Phase.DOWN, max_capacity=regions[region_id].max_capacity)
        recent = [r for r in removals if now - r.at < limits.window_s]
        share = sum(r.capacity for r in recent) / sum(capacities)
        assert len(recent) <= 1 or share <= max_removed + 1e-9
    world = fleet(*regions.values(), limits=limits)
    assert len(serving(world)) >= min(min_serving, len(capacities))


# --- what a held region serves as --------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "before", "expected"),
    [
        (Rule.MIN_SERVING, Phase.HEALTHY, Phase.UNKNOWN),
        (Rule.EMPTY_SERVICE, Phase.HEALTHY, Phase.UNKNOWN),
        (Rule.MAX_REMOVED, Phase.HEALTHY, Phase.HEALTHY),
        (Rule.MAX_REMOVED, Phase.DEGRADED, Phase.DEGRADED),
        (Rule.FROZEN, Phase.HEALTHY, Phase.HEALTHY),
        (Rule.FROZEN, Phase.DOWN, Phase.UNKNOWN),
    ],
)
def test_a_held_region_stays_what_it_was_or_comes_last(rule: Rule, before: Phase, expected: Phase) -> None:
    assert serves_as(Violation(rule, ""), before) is expected


# --- changes of intent -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "emptied"),
    [
        (fleet("a", "b", services=[service("api", "a", "b")]), []),
        (fleet("b", services=[service("api", "a", "b")]), []),
        (fleet("c", services=[service("api", "a", "b")]), ["api"]),
        (fleet("c"), []),
        (fleet("a", services=[service("api", policy="p")], policies=[policy("p", require=["gdpr"])]), ["api"]),
    ],
)
def test_a_change_that_leaves_a_service_with_nobody_is_found(after: Fleet, emptied: list[str]) -> None:
    before = fleet("a", "b", services=[service("api", "a", "b")])
    assert emptied_services(before, after) == emptied
    assert emptied_services(after, after) == []


# --- what edges see --------------------------------------------------------------------------------


def test_edges_sight_keeps_a_region_only_where_no_other_could_answer_the_same() -> None:
    world = fleet(view("a", compliance=["gdpr"]), "b", services=[service("api")])
    plain, gdpr = Carried("api"), Carried("api", frozenset({ComplianceFramework.GDPR}))
    assert sight_violation(world, "a", [plain]) is None
    assert sight_violation(world, "a", []) is None
    found = sight_violation(world, "a", [plain, gdpr])
    assert found is not None
    assert found.rule is Rule.EDGES_SEE_ALIVE
    assert "api (gdpr)" in found.text
    lost = fleet(view("a"), view("b", Phase.DOWN), services=[service("api")])
    assert sight_violation(lost, "a", [plain]) is not None
    assert sight_violation(lost, "a", [Carried("default")]) is not None, "the service that edges have without any"


def test_edges_sight_cannot_be_lifted_and_keeps_the_rank() -> None:
    assert Rule.EDGES_SEE_ALIVE not in LIFTABLE
    violation = Violation(Rule.EDGES_SEE_ALIVE, "x")
    assert serves_as(violation, Phase.HEALTHY) is Phase.HEALTHY
    assert serves_as(violation, Phase.DOWN) is Phase.UNKNOWN
