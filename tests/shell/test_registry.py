"""The table of regions and the fleet made from it: every change is seen, and nothing is rebuilt without one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.core.intent import region_document, service_document
from mahavishnu.integrations.multi_region.core.model import ComplianceFramework, Region, SafetyLimits
from mahavishnu.integrations.multi_region.errors import InvalidInputError
from mahavishnu.integrations.multi_region.shell.registry import Registry
from mahavishnu.integrations.multi_region.testing.builders import policy, region, service, world

Table = dict[str, Region]


def registry_of(*region_ids: str) -> Registry:
    registry = Registry(SafetyLimits(min_serving=2))
    for region_id in region_ids:
        registry.regions[region_id] = region(region_id)
    return registry


# --- the table is a dict, whose changes are seen however they are made ---------------------------

REMOVALS: list[Callable[[Table], Any]] = [
    lambda t: t.__delitem__("b"),
    lambda t: t.pop("b"),
    lambda t: t.pop("b", None),
    lambda t: t.popitem(),
    lambda t: t.clear(),
]
ADDITIONS: list[Callable[[Table], Any]] = [
    lambda t: t.__setitem__("c", region("c")),
    lambda t: t.update({"c": region("c")}),
    lambda t: t.update(c=region("c")),
    lambda t: t.setdefault("c", region("c")),
    lambda t: t.__ior__({"c": region("c")}),
]


@pytest.mark.parametrize("remove", REMOVALS)
def test_a_region_that_is_taken_out_is_gone_from_the_next_fleet(remove: Callable[[Table], Any]) -> None:
    registry = registry_of("a", "b")
    registry.fleet()
    remove(registry.regions)
    assert set(registry.fleet().regions) == set(registry.regions)
    assert "b" not in registry.fleet().regions


@pytest.mark.parametrize("add", ADDITIONS)
def test_a_region_that_is_put_in_is_in_the_next_fleet_and_watched(add: Callable[[Table], Any]) -> None:
    registry = registry_of("a", "b")
    registry.fleet()
    add(registry.regions)
    assert list(registry.fleet().regions) == ["a", "b", "c"]
    registry.regions["c"].current_capacity = 7
    assert registry.fleet().regions["c"].load == 7


def test_the_table_otherwise_behaves_as_a_dict() -> None:
    table = registry_of("a").regions
    assert table.pop("zz", None) is None
    with pytest.raises(KeyError):
        table.pop("zz")
    with pytest.raises(KeyError):
        del table["zz"]
    other = region("a", name="other")
    assert table.setdefault("a", other) is not other
    assert isinstance(table, dict)


def test_a_region_under_another_id_is_refused_and_nothing_changes() -> None:
    registry = registry_of("a")
    fleet = registry.fleet()
    with pytest.raises(InvalidInputError, match="region_id"):
        registry.regions["b"] = region("c")
    assert registry.fleet() is fleet


def test_a_region_that_was_replaced_is_no_longer_listened_to() -> None:
    registry = registry_of("a")
    old = registry.regions["a"]
    registry.regions["a"] = region("a", current_capacity=1)
    fleet = registry.fleet()
    old.current_capacity = 99
    assert registry.fleet() is fleet


def test_a_region_in_two_registries_is_seen_by_both() -> None:
    shared, one, other = region("a"), registry_of(), registry_of()
    one.regions["a"] = other.regions["a"] = shared
    for registry in (one, other):
        registry.fleet()
    shared.capabilities.max_capacity = 7
    assert [registry.fleet().regions["a"].max_capacity for registry in (one, other)] == [7, 7]


# --- the fleet -----------------------------------------------------------------------------------


def test_the_fleet_is_the_same_object_until_something_changes() -> None:
    registry = registry_of("a", "b")
    fleet = registry.fleet()
    registry.regions["a"].current_capacity = registry.regions["a"].current_capacity
    assert registry.fleet() is fleet
    registry.regions["a"].current_capacity += 1
    assert registry.fleet() is not fleet
    assert registry.fleet().generation > fleet.generation


def test_only_the_region_that_changed_is_looked_at_anew() -> None:
    registry = registry_of("a", "b")
    before = registry.fleet()
    registry.regions["a"].current_capacity = 5
    assert registry.fleet().regions["b"] is before.regions["b"]
    assert registry.fleet().regions["a"] is not before.regions["a"]


def test_a_fleet_does_not_change_when_the_registry_does() -> None:
    registry = registry_of("a")
    fleet = registry.fleet()
    registry.regions["a"].current_capacity = 50
    registry.accept("services/api", service_document(service("api")), 1)
    del registry.regions["a"]
    assert fleet.regions["a"].load == 0
    assert not fleet.services


def test_attested_compliance_is_in_the_view() -> None:
    registry = registry_of("a")
    registry.regions["a"].capabilities.compliance = [ComplianceFramework.GDPR]
    assert registry.fleet().regions["a"].compliance == {ComplianceFramework.GDPR}


# --- what the store says -------------------------------------------------------------------------


def document(region_id: str, **fields: Any) -> dict[str, Any]:
    return region_document(region(region_id, **fields))


def test_what_is_older_than_what_is_known_is_ignored() -> None:
    registry = Registry(SafetyLimits())
    registry.accept("regions/a", document("a", name="new"), 5)
    registry.accept("regions/a", document("a", name="old"), 4)
    registry.accept("regions/a", None, 3)
    assert registry.regions["a"].name == "new"
    assert registry.revision == 5


def test_what_was_deleted_stays_deleted_for_older_news() -> None:
    registry = Registry(SafetyLimits())
    registry.accept("regions/a", document("a"), 5)
    registry.accept("regions/a", None, 6)
    registry.accept("regions/a", document("a"), 5)
    assert "a" not in registry.regions
    registry.accept("regions/a", document("a"), 7)
    assert "a" in registry.regions


def test_a_region_registered_here_is_not_put_back_over_newer_news() -> None:
    registry = Registry(SafetyLimits())
    registry.accept("regions/a", document("a", name="newer"), 6)
    registry.adopt(region("a", name="mine"), document("a", name="mine"), 5)
    assert registry.regions["a"].name == "newer"
    registry.accept("regions/b", None, 6)
    registry.adopt(region("b"), document("b"), 5)
    assert "b" not in registry.regions


@pytest.mark.parametrize("region_id", ["limits", "freeze", "serving", "services"])
def test_a_region_may_be_called_as_another_key_is(region_id: str) -> None:
    registry = Registry(SafetyLimits())
    registry.accept(f"regions/{region_id}", document(region_id), 1)
    registry.accept("limits", world().documents()["limits"], 2)
    registry.accept("limits", {**world().documents()["limits"], "min_serving": 3}, 3)
    registry.accept("freeze", {"by": "ada", "reason": "x", "at": 1.0}, 4)
    registry.accept("freeze", {"by": "ada", "reason": "y", "at": 1.0}, 5)
    assert registry.limits.min_serving == 3
    assert region_id in registry.regions


def test_a_new_declaration_keeps_what_was_observed_of_a_region() -> None:
    registry = Registry(SafetyLimits())
    registry.accept("regions/a", document("a"), 1)
    registry.regions["a"].current_capacity = 55
    registry.accept("regions/a", document("a", name="renamed"), 2)
    assert (registry.regions["a"].name, registry.regions["a"].current_capacity) == ("renamed", 55)
    registry.accept("regions/a", document("a", name="renamed", current_capacity=5), 3)
    assert registry.regions["a"].current_capacity == 5


def test_limits_that_nobody_declares_any_more_fall_back_to_those_at_the_start() -> None:
    registry = Registry(SafetyLimits(min_serving=2))
    registry.accept("limits", world().documents()["limits"], 1)
    assert registry.fleet().limits == SafetyLimits()
    registry.accept("limits", None, 2)
    assert registry.fleet().limits == SafetyLimits(min_serving=2)


def test_what_stands_over_a_region_is_in_its_view() -> None:
    registry = registry_of("a", "b")
    registry.fleet()
    drain = {"state": "drained", "by": "ada", "reason": "new kernel", "at": 1.0}
    failure = {"cause": "verdict", "reason": "gone", "by": "x", "at": 1.0, "services": ["api"], "moved": {}}
    registry.accept("overrides/a", drain, 1)
    registry.accept("failures/b", failure, 2)
    registry.accept("freeze", {"by": "ada", "reason": "looking", "at": 1.0}, 3)
    fleet = registry.fleet()
    assert fleet.regions["a"].admin == "drained"
    assert (fleet.regions["b"].failed_over, fleet.regions["b"].failed_services) == ("gone", frozenset({"api"}))
    assert fleet.frozen == "by ada: looking"
    for revision, key in enumerate(("overrides/a", "failures/b", "freeze"), start=4):
        registry.accept(key, None, revision)
    fleet = registry.fleet()
    assert (fleet.regions["a"].admin, fleet.regions["b"].failed_over, fleet.frozen) == ("active", None, None)


def test_a_policy_is_frozen_anew_when_it_is_replaced() -> None:
    registry = Registry(SafetyLimits())
    for revision, allowed in enumerate((["a"], ["b"]), start=1):
        made = world(policies=[policy("p", allow=allowed)]).documents()["policies/p"]
        registry.accept("policies/p", made, revision)
        assert registry.fleet().policies["p"].allowed_regions == frozenset(allowed)


def test_a_store_that_was_put_back_is_believed() -> None:
    registry = Registry(SafetyLimits())
    registry.accept("regions/a", document("a", name="new"), 50)
    registry.forget_revisions()
    registry.accept("regions/a", document("a", name="restored"), 10)
    assert registry.regions["a"].name == "restored"
    assert registry.revision == 10


# --- loads, of which many are told at once -------------------------------------------------------


def test_a_load_is_in_the_next_fleet_and_fleets_that_were_handed_out_keep_theirs() -> None:
    registry = registry_of("a", "b")
    before = registry.fleet()
    registry.observe_load("a", 7.0)
    assert registry.regions["a"].current_capacity == 7.0
    after = registry.fleet()
    assert (before.regions["a"].load, after.regions["a"].load) == (0, 7.0)
    assert after.regions["b"] is before.regions["b"]
    assert after.generation > before.generation


def test_a_load_that_is_the_same_is_no_change() -> None:
    registry = registry_of("a")
    registry.observe_load("a", 7.0)
    before = registry.fleet()
    registry.observe_load("a", 7.0)
    assert registry.fleet() is before


def test_a_load_hides_no_other_change_of_the_region() -> None:
    for first in (True, False):
        registry = registry_of("a")
        registry.fleet()
        if first:
            registry.observe_load("a", 7.0)
        registry.regions["a"].name = "new"
        registry.observe_load("a", 8.0)
        view = registry.fleet().regions["a"]
        assert (view.load, view.name) == (8.0, "new")


def test_a_load_of_a_region_that_went_or_came_is_not_in_the_way() -> None:
    registry = registry_of("a", "b")
    registry.fleet()
    registry.observe_load("a", 7.0)
    del registry.regions["a"]
    registry.regions["c"] = region("c")
    registry.observe_load("c", 9.0)
    assert {name: view.load for name, view in registry.fleet().regions.items()} == {"b": 0, "c": 9.0}


def test_a_load_is_seen_by_every_registry_that_holds_the_region() -> None:
    one, other = registry_of("a"), registry_of()
    other.regions["a"] = one.regions["a"]
    assert (one.fleet().regions["a"].load, other.fleet().regions["a"].load) == (0, 0)
    one.observe_load("a", 7.0)
    assert (one.fleet().regions["a"].load, other.fleet().regions["a"].load) == (7.0, 7.0)


def test_a_load_counts_for_a_region_that_was_made_ready_before_and_one_that_was_let_in_after() -> None:
    registry = registry_of()
    registry.accept("regions/a", document("a"), 1)
    registry.fleet()
    made = registry.prepare(document("a", name="new"))
    registry.observe_load("a", 7.0)
    registry.accept("regions/a", document("a", name="new"), 2, made)
    view = registry.fleet().regions["a"]
    assert (view.load, view.name, registry.regions["a"].current_capacity) == (7.0, "new", 7.0)
    registry.observe_load("a", 8.0)
    assert registry.fleet().regions["a"].load == 8.0


def test_a_load_is_seen_when_other_regions_come() -> None:
    registry = registry_of("a", "b")
    registry.fleet()
    registry.observe_load("a", 7.0)
    registry.regions["c"] = region("c")
    assert {name: view.load for name, view in registry.fleet().regions.items()} == {"a": 7.0, "b": 0, "c": 0}


def test_a_region_made_ready_from_a_declaration_that_another_replaced_is_made_anew() -> None:
    registry = registry_of()
    registry.accept("regions/a", document("a"), 1)
    registry.observe_load("a", 7.0)
    made = registry.prepare(document("a", name="new"))
    registry.accept("regions/a", document("a", current_capacity=5), 2)
    registry.accept("regions/a", document("a", name="new"), 3, made)
    view = registry.fleet().regions["a"]
    assert (view.load, view.name) == (0, "new")  # it declares that there is none, after five were declared
