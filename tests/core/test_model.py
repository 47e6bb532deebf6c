"""The nouns: how names are read, what follows from a field, and who hears of a change."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from mahavishnu.integrations.multi_region.core.model import (
    ComplianceFramework,
    DataPlacementPolicy,
    DeploymentType,
    FailbackMode,
    LocalityLevel,
    Phase,
    PolicyView,
    Region,
    RegionCapabilities,
    RoutingStrategy,
    parse_enum,
    slug,
    words,
)
from mahavishnu.integrations.multi_region.core.validation import check_name
from mahavishnu.integrations.multi_region.errors import InvalidInputError
from mahavishnu.integrations.multi_region.testing.builders import region, service, view


class Keeper:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.told = 0

    def tell(self) -> None:
        self.told += 1


# --- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["latency_based", "LATENCY_BASED", "latency-based", " Latency Based "])
def test_a_member_is_named_in_any_case_and_with_any_joint(text: str) -> None:
    assert parse_enum(RoutingStrategy, text, "strategy") is RoutingStrategy.LATENCY_BASED


def test_a_member_stands_for_itself() -> None:
    assert parse_enum(DeploymentType, DeploymentType.BLUE_GREEN, "type") is DeploymentType.BLUE_GREEN


@pytest.mark.parametrize("value", ["latency_basd", 3, None, [], b"gdpr"])
def test_what_is_no_member_is_refused_with_the_field_and_the_value(value: object) -> None:
    with pytest.raises(InvalidInputError, match="strategy") as caught:
        parse_enum(RoutingStrategy, value, "strategy")
    assert caught.value.value == value
    assert "latency_based" in caught.value.allowed


def test_a_typo_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(InvalidInputError, match="did you mean 'latency_based'"):
        parse_enum(RoutingStrategy, "latency_basd", "strategy")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("EU Data Policy", "eu-data-policy"),
        ("a", "a"),
        ("  A/B  c ", "a-b-c"),
        ("x" * 63, "x" * 63),
        ("ÜBER", "uber-b51c8541"),
        ("EUデータ", "eu-5595b5d6"),
        ("データ", "16773842"),
        ("x" * 80, "x" * 54 + "-d929cdee"),
        ("x" * 53 + " " + "x" * 20, "x" * 53 + "-f436a36d"),
        ("⑴", "1-0013819e"),
        ("!!", ""),
    ],
)
def test_a_name_becomes_an_id(name: str, expected: str) -> None:
    assert slug(name) == expected


@given(st.text(), st.text())
def test_an_id_from_a_name_can_be_declared_and_tells_names_of_other_words_apart(one: str, other: str) -> None:
    for name in (one, other):
        assert slug(name) == "" if not words(name) else check_name(slug(name), "policy_id")
    assert (slug(one) == slug(other)) == (words(one) == words(other))


@pytest.mark.parametrize(("one", "other"), [("ÜBER", "Uber"), ("x" * 80, "x" * 81), ("データ", "規則")])
def test_names_that_look_the_same_in_plain_letters_have_other_ids(one: str, other: str) -> None:
    assert slug(one) != slug(other)


# --- what follows from a field -----------------------------------------------------------------


def test_compliance_is_kept_as_members_each_once() -> None:
    capabilities = RegionCapabilities(compliance=["gdpr", ComplianceFramework.GDPR, "SOC2"])  # type: ignore[list-item]
    assert capabilities.compliance == (ComplianceFramework.GDPR, ComplianceFramework.SOC2)
    capabilities.compliance = iter(["hipaa"])  # type: ignore[assignment]
    assert capabilities.compliance == (ComplianceFramework.HIPAA,)


def test_a_framework_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"capabilities\.compliance"):
        RegionCapabilities(compliance=["gdrp"])  # type: ignore[list-item]


@pytest.mark.parametrize(("load", "limit", "percent"), [(30, 100, 30.0), (0, 100, 0.0), (150, 100, 150.0), (5, 0, 0.0)])
def test_utilization_is_a_percentage_of_the_limit(load: float, limit: float, percent: float) -> None:
    assert region("a", current_capacity=load, max_capacity=limit).capacity_utilization == percent
    assert view("a", load=load, max_capacity=limit).utilization == percent / 100


@pytest.mark.parametrize(
    ("serves_as", "standing"), [(None, Phase.DOWN), (Phase.UNKNOWN, Phase.UNKNOWN), (Phase.HEALTHY, Phase.HEALTHY)]
)
def test_decisions_go_by_what_safety_lets_a_region_serve_as(serves_as: Phase | None, standing: Phase) -> None:
    assert view("a", Phase.DOWN, serves_as=serves_as).standing is standing


@pytest.mark.parametrize(
    ("made", "mode"),
    [
        (service("s"), FailbackMode.AUTO),
        (service("s", "a", "b"), FailbackMode.AUTO),
        (service("s", "a", "b", passive=True), FailbackMode.MANUAL),
        (service("s", "a", "b", passive=True, failback=FailbackMode.AUTO), FailbackMode.AUTO),
        (service("s", failback=FailbackMode.SCHEDULED), FailbackMode.SCHEDULED),
    ],
)
def test_failback_is_manual_for_active_passive_unless_stated(made: Any, mode: FailbackMode) -> None:
    assert made.failback_mode is mode


def test_a_policy_reads_names_and_gets_an_id() -> None:
    policy = DataPlacementPolicy("EU Data", ["GDPR"], ["eu-west-1"], "Preferred")  # type: ignore[list-item, arg-type]
    assert policy.policy_id == "eu-data"
    assert policy.compliance_requirements == (ComplianceFramework.GDPR,)
    assert policy.locality_level is LocalityLevel.PREFERRED


def test_a_policy_without_a_list_allows_any_and_with_an_empty_one_none() -> None:
    assert PolicyView.of(DataPlacementPolicy("p")).allowed_regions is None
    assert PolicyView.of(DataPlacementPolicy("p", allowed_regions=[])).allowed_regions == frozenset()


# --- who hears of a change ---------------------------------------------------------------------

CHANGES: list[Callable[[Region], None]] = [
    lambda r: setattr(r, "name", "other"),
    lambda r: setattr(r, "latitude", 1.5),
    lambda r: setattr(r, "health_score", 12.0),
    lambda r: setattr(r, "current_capacity", 7),
    lambda r: setattr(r, "country", "DE"),
    lambda r: setattr(r.capabilities, "max_capacity", 7),
    lambda r: setattr(r.capabilities, "compliance", ["gdpr"]),
    lambda r: setattr(r.capabilities, "features", ["gpu"]),
    lambda r: setattr(r, "capabilities", RegionCapabilities(max_capacity=3)),
]


@pytest.mark.parametrize("change", CHANGES)
def test_the_keeper_hears_of_every_change(change: Callable[[Region], None]) -> None:
    kept, keeper = region("a"), Keeper()
    kept._watch(keeper.tell)
    change(kept)
    assert keeper.told >= 1


def test_the_keeper_hears_of_changes_in_capabilities_that_came_later() -> None:
    kept, keeper = region("a"), Keeper()
    kept._watch(keeper.tell)
    kept.capabilities = RegionCapabilities(max_capacity=3)
    told = keeper.told
    kept.capabilities.max_capacity = 4
    assert keeper.told == told + 1


def test_setting_what_is_there_already_is_no_change() -> None:
    kept, keeper = region("a", current_capacity=5), Keeper()
    kept._watch(keeper.tell)
    kept.current_capacity = 5
    kept.capabilities.max_capacity = 100
    assert keeper.told == 0


def test_every_keeper_of_a_region_hears() -> None:
    kept, one, other = region("a"), Keeper(), Keeper()
    for keeper in (one, other):
        kept._watch(keeper.tell)
    kept.name = "new"
    assert (one.told, other.told) == (1, 1)


def test_a_region_made_from_another_does_not_take_its_keeper_away() -> None:
    kept, keeper = region("a"), Keeper()
    kept._watch(keeper.tell)
    other = replace(kept, name="copy")
    assert other.capabilities is kept.capabilities
    kept.capabilities.max_capacity = 9
    assert keeper.told == 1


def test_a_keeper_that_is_gone_is_not_kept_alive() -> None:
    kept = region("a")
    for _ in range(50):
        kept._watch(Keeper().tell)
    assert len(kept._watchers) <= 1
    kept.name = "still works"


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda r: pickle.loads(pickle.dumps(r))])
def test_a_copy_is_equal_and_nobodys(copied: Callable[[Region], Region]) -> None:
    kept, keeper = region("a", compliance=["gdpr"]), Keeper()
    kept._watch(keeper.tell)
    made = copied(kept)
    assert made == kept
    made.name = "changed"
    assert keeper.told == 0
    own = Keeper()
    made._watch(own.tell)
    made.capabilities.features = ("gpu",)
    assert own.told == 1


def test_the_id_of_a_region_that_is_kept_stays() -> None:
    kept, keeper = region("a"), Keeper()
    kept._watch(keeper.tell)
    kept.region_id = "a"
    with pytest.raises(InvalidInputError, match="region_id"):
        kept.region_id = "b"
    assert kept.region_id == "a"
