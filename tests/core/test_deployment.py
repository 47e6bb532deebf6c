"""A deployment as a value: shares, roles, who stands ready, and its form in the store."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest
from hypothesis import given, strategies as st

from mahavishnu.integrations.multi_region.core.deployment import (
    DeploymentView,
    Gates,
    Group,
    OnFailure,
    Run,
    RunState,
    State,
    Step,
    Waves,
    deployment_document,
    deployment_from_document,
)
from mahavishnu.integrations.multi_region.core.kinds import (
    DeploymentType,
    FailbackMode,
    FailoverMode,
    ReplicationStrategy,
)

from .rollout_tools import active_active, active_passive, blue_green, deployment

NAMES = st.sampled_from(["a", "b", "c", "d"])
TIMES = st.floats(0, 1e10)
RUNS = st.dictionaries(NAMES, st.builds(Run, st.sampled_from(RunState), TIMES, st.integers(0, 9), st.text(max_size=9)))
GROUPS = st.lists(
    st.builds(Group, st.sampled_from(["blue", "green"]), st.tuples(NAMES), st.floats(0, 100)), max_size=2
).map(tuple)
VIEWS = st.builds(
    DeploymentView,
    deployment_id=st.text(min_size=1, max_size=5),
    service=st.text(min_size=1, max_size=5),
    strategy=st.sampled_from(DeploymentType),
    regions=st.lists(NAMES, unique=True).map(tuple),
    state=st.sampled_from(State),
    groups=GROUPS,
    previous=GROUPS,
    created_at=TIMES,
    entered_at=TIMES,
    due_at=TIMES,
    standby=st.lists(NAMES, unique=True).map(tuple),
    gates=st.builds(Gates, steps=st.just((1.0, 10.0, 100.0)), analyse=st.booleans(), failback_after_s=TIMES),
    waves=st.builds(Waves, groups=st.just((("a",), ("b", "c"))), max_parallel=st.integers(1, 9)),
    on_failure=st.sampled_from(OnFailure),
    failback=st.sampled_from(FailbackMode),
    runs=RUNS,
    undo=RUNS,
    held=st.none() | st.text(max_size=9),
    wanted=st.none() | NAMES,
    history=st.lists(st.builds(Step, TIMES, st.sampled_from(State), st.text(max_size=9)), max_size=3).map(tuple),
    term=st.integers(1, 99),
    number=st.integers(1, 99),
)


@given(VIEWS)
def test_what_is_stored_is_read_back_in_full(view: DeploymentView) -> None:
    stored = json.loads(json.dumps(deployment_document(view)))
    assert deployment_from_document(stored) == view
    assert set(stored) == {one.name for one in fields(DeploymentView)}


def test_shares_are_equal_within_a_group_and_add_up_to_one() -> None:
    groups = (Group("blue", ("a", "b"), 90.0), Group("green", ("c",), 10.0))
    view = deployment(DeploymentType.BLUE_GREEN, groups, regions=("a", "b", "c"))
    assert view.weights == pytest.approx({"a": 0.45, "b": 0.45, "c": 0.1})


@pytest.mark.parametrize("view", [active_active("a", "b"), active_passive("a", "b")], ids=["active-active", "passive"])
def test_a_deployment_that_has_not_begun_gives_nobody_traffic(view: DeploymentView) -> None:
    assert view.active == ()
    assert set(view.weights.values()) == {0.0}


def test_roles_say_who_serves_who_stands_by_and_who_is_out() -> None:
    assert active_passive("a", "b").roles() == {"a": "active", "b": "standby"}
    assert blue_green("a", "b").roles() == {"a": "blue", "b": "green"}
    assert replace(active_passive("a", "b"), standby=()).roles() == {"a": "active", "b": "out"}


@pytest.mark.parametrize(
    ("state", "on_failure", "warm"),
    [
        (State.PREPARING, OnFailure.ROLLBACK, ()),
        (State.BAKING, OnFailure.ROLLBACK, ()),
        (State.SHIFTING, OnFailure.ROLLBACK, ("a",)),
        (State.SERVING, OnFailure.ROLLBACK, ("a",)),
        (State.SERVING, OnFailure.HOLD, ()),
        (State.COMPLETED, OnFailure.ROLLBACK, ()),
        (State.HALTED, OnFailure.ROLLBACK, ()),
    ],
)
def test_blue_stands_ready_as_long_as_automation_would_return_to_it(
    state: State, on_failure: OnFailure, warm: tuple[str, ...]
) -> None:
    assert replace(blue_green("a", "b"), state=state, on_failure=on_failure).warm == warm


@pytest.mark.parametrize("mode", list(FailoverMode))
def test_only_a_manual_failover_keeps_the_standbys_waiting(mode: FailoverMode) -> None:
    passive = replace(active_passive("a", "b"), failover_strategy=mode)
    manual = mode is FailoverMode.MANUAL
    assert (passive.waits_for_a_person, passive.warm, passive.spares) == (manual, ("b",), () if manual else ("b",))
    assert not replace(active_active("a", "b"), failover_strategy=mode).waits_for_a_person


def test_strategies_are_read_back_as_what_they_were() -> None:
    view = replace(
        active_passive("a", "b"),
        failover_strategy=FailoverMode.MANUAL,
        replication_strategy=ReplicationStrategy.SHARDED,
    )
    back = deployment_from_document(json.loads(json.dumps(deployment_document(view))))
    assert (back.failover_strategy, back.replication_strategy) == (FailoverMode.MANUAL, ReplicationStrategy.SHARDED)
    assert isinstance(back.failover_strategy, FailoverMode)
    assert isinstance(back.replication_strategy, ReplicationStrategy)
