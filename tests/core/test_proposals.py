"""What a deployment may not ask for: each refusal names the field, the value, and what is allowed."""

from __future__ import annotations

import math
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.core.deployment import Gates, Waves
from mahavishnu.integrations.multi_region.core.kinds import DeploymentType, FailoverMode, ReplicationStrategy
from mahavishnu.integrations.multi_region.core.proposals import (
    check_gates,
    check_regions,
    check_service,
    check_waves,
    parse_strategies,
)
from mahavishnu.integrations.multi_region.errors import InvalidInputError, UnknownRegionError

KNOWN = ["us-east-1", "us-west-2", "eu-west-1"]


def test_regions_keep_their_order_in_whatever_they_come() -> None:
    assert check_regions(iter(["us-west-2", "us-east-1"]), "regions", KNOWN) == ("us-west-2", "us-east-1")


@pytest.mark.parametrize(
    ("regions", "says"),
    [
        ([], "a list with at least one region id"),
        (None, "a list with at least one region id"),
        (7, "a list with at least one region id"),
        ("us-east-1", "a list with at least one region id"),
        (["us-east-1", "us-east-1"], "each region once"),
        (["us-east-1", 7], "ids of regions"),
        ([["us-east-1"]], "ids of regions"),
    ],
)
def test_lists_of_regions_that_are_refused(regions: Any, says: str) -> None:
    with pytest.raises(InvalidInputError, match=says) as refused:
        check_regions(regions, "backups", KNOWN)
    assert refused.value.field == "backups"


def test_an_unknown_region_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownRegionError, match="did you mean 'us-east-1'"):
        check_regions(["us-eest-1"], "regions", KNOWN)


@pytest.mark.parametrize(
    ("replication", "failover", "field"),
    [("everywhere", "automatic", "replication_strategy"), ("full", "perhaps", "failover_strategy")],
)
def test_unknown_strategies(replication: str, failover: str, field: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        parse_strategies(DeploymentType.ACTIVE_PASSIVE, replication, failover)
    assert refused.value.field == field


def test_strategies_are_members_or_their_names() -> None:
    wanted = (ReplicationStrategy.SHARDED, FailoverMode.MANUAL)
    assert parse_strategies(DeploymentType.ACTIVE_PASSIVE, "sharded", "manual") == wanted
    assert parse_strategies(DeploymentType.ACTIVE_PASSIVE, *wanted) == wanted


def test_an_active_active_has_nothing_to_wait_for_a_person_with() -> None:
    with pytest.raises(InvalidInputError, match="serve on without a failover") as refused:
        parse_strategies(DeploymentType.ACTIVE_ACTIVE, "full", "manual")
    assert (refused.value.field, refused.value.value) == ("failover_strategy", "manual")
    for mode in ("automatic", "graceful", "immediate"):
        assert parse_strategies(DeploymentType.ACTIVE_ACTIVE, "full", mode)[1] == mode


@pytest.mark.parametrize("service", ["", "  ", 7, ["web"], "web~eu", "a b\n"])
def test_services_that_no_request_could_name(service: Any) -> None:
    with pytest.raises(InvalidInputError) as refused:
        check_service(service)
    assert (refused.value.field, refused.value.value) == ("service", service)


@pytest.mark.parametrize("service", [None, "web", "web.eu-1:9"])
def test_services_that_requests_can_name(service: str | None) -> None:
    check_service(service)


BAD_TIMES: list[Any] = [-1, -0.001, math.nan, math.inf, -math.inf, "60", None, True]


@pytest.mark.parametrize("value", BAD_TIMES, ids=repr)
@pytest.mark.parametrize(
    ("option", "field"),
    [
        ("bake_s", "switch_after"),
        ("step_bake_s", "step_after"),
        ("rollback_window_s", "rollback_window"),
        ("failback_after_s", "failback_after"),
    ],
)
def test_times_that_are_none(option: str, field: str, value: Any) -> None:
    with pytest.raises(InvalidInputError, match="0 or more") as refused:
        check_gates(Gates(**{option: value}))
    assert refused.value.field == field


BAD_STEPS: list[Any] = [
    *[(), (50.0,), (100.0, 100.0), (50.0, 10.0, 100.0), (0.0, 100.0), (-1.0, 100.0), (10.0, 99.9), (10.0, 101.0)],
    *[(math.nan, 100.0), (10.0, math.nan, 100.0), ("10", "100"), (True, 100.0), "100", 100, None],
]


@pytest.mark.parametrize("steps", BAD_STEPS, ids=repr)
def test_steps_that_do_not_rise_to_100(steps: Any) -> None:
    with pytest.raises(InvalidInputError, match="rise from above 0 to 100"):
        check_gates(Gates(steps=steps))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("min_requests", -1),
        ("min_requests", 1.5),
        ("max_error_rate", 1.1),
        ("max_error_rate", math.nan),
        ("max_error_increase", -0.1),
        ("max_latency_factor", 0.9),
        ("max_latency_factor", math.nan),
    ],
)
def test_limits_of_the_analysis(option: str, value: Any) -> None:
    with pytest.raises(InvalidInputError, match=option):
        check_gates(Gates(**{option: value}))


TARGETS = ("us-east-1", "us-west-2")


@pytest.mark.parametrize(
    ("waves", "field"),
    [
        (Waves(groups=(("us-east-1",), ("nowhere",))), "waves.groups"),
        (Waves(groups=(("us-east-1",), ("us-east-1", "us-west-2"))), "waves.groups"),
        (Waves(groups=(("us-east-1",),)), "waves.groups"),
        (Waves(groups=(("us-east-1", "us-west-2"), ())), "waves.groups"),
        (Waves(max_parallel=0), "waves.max_parallel"),
        (Waves(max_parallel=1.5), "waves.max_parallel"),  # type: ignore[arg-type]  # what a caller may get wrong
        (Waves(bake_s=-1), "waves.bake_s"),
        (Waves(bake_s=math.nan), "waves.bake_s"),
        (Waves(bake_requests=-1), "waves.bake_requests"),
        (Waves(max_unavailable=-1), "waves.max_unavailable"),
        (Waves(deadline_s=0), "waves.deadline_s"),
        (Waves(deadline_s=math.nan), "waves.deadline_s"),
        (Waves(deadline_s=math.inf), "waves.deadline_s"),
    ],
)
def test_waves_that_are_refused(waves: Waves, field: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        check_waves(waves, TARGETS, has_executor=True)
    assert refused.value.field == field


def test_waves_say_nothing_that_nobody_does() -> None:
    with pytest.raises(InvalidInputError, match="an orchestrator with an executor"):
        check_waves(Waves(), TARGETS, has_executor=False)
    assert check_waves(None, TARGETS, has_executor=False) == Waves()
    assert check_waves(None, TARGETS, has_executor=True).groups == (TARGETS,)
    assert check_waves(Waves(max_parallel=2), TARGETS, has_executor=True).groups == (TARGETS,)
