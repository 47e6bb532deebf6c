"""Policies under ids that nothing new is declared under are found by what their name makes now."""

from __future__ import annotations

import pytest

from mahavishnu.integrations.multi_region.core.elder_ids import (
    elder_ids,
    policy_as_declared,
    service_as_declared,
    world_as_declared,
)
from mahavishnu.integrations.multi_region.core.intent import World
from mahavishnu.integrations.multi_region.core.model import DataPlacementPolicy, slug
from mahavishnu.integrations.multi_region.testing.builders import service

NAME, ELDER = "Données UE", "données-ue"
NOW = slug(NAME)


def stands(*policies: DataPlacementPolicy) -> dict[str, DataPlacementPolicy]:
    return {policy.policy_id: policy for policy in policies}


@pytest.mark.parametrize(("name", "elder"), [(NAME, ELDER), ("x" * 80, "x" * 80), ("EUデータ", "euデータ")])
def test_an_elder_id_is_found_by_what_its_name_makes_now(name: str, elder: str) -> None:
    assert elder_ids(stands(DataPlacementPolicy(name, policy_id=elder))) == {slug(name): elder}


@pytest.mark.parametrize("name, policy_id", [("EU", ""), (NAME, "mine"), (NAME, ""), ("EU", "my policy/ü")])
def test_ids_that_were_given_and_those_made_now_are_no_elder_ones(name: str, policy_id: str) -> None:
    assert elder_ids(stands(DataPlacementPolicy(name, policy_id=policy_id))) == {}


def test_where_both_are_declared_each_is_its_own() -> None:
    assert elder_ids(stands(DataPlacementPolicy(NAME, policy_id=ELDER), DataPlacementPolicy(NAME))) == {}


def test_only_an_id_that_follows_from_the_name_becomes_the_elder_one() -> None:
    elder = {NOW: ELDER}
    assert policy_as_declared(DataPlacementPolicy(NAME), elder) == DataPlacementPolicy(NAME, policy_id=ELDER)
    for other in (DataPlacementPolicy("other", policy_id=NOW), DataPlacementPolicy(NAME, policy_id="mine")):
        assert policy_as_declared(other, elder) is other
    assert service_as_declared(service("api", policy=NOW), elder).policy == ELDER
    assert service_as_declared(service("api"), elder).policy is None


def test_a_world_means_the_elder_ids_unless_it_gives_them_away() -> None:
    standing = stands(DataPlacementPolicy(NAME, policy_id=ELDER))
    world = World(policies=(DataPlacementPolicy(NAME),), services=(service("api", policy=NOW),))
    found = world_as_declared(world, standing)
    assert ([p.policy_id for p in found.policies], found.services[0].policy) == ([ELDER], ELDER)
    own = World(policies=(DataPlacementPolicy(NAME), DataPlacementPolicy("other", policy_id=ELDER)))
    assert world_as_declared(own, standing) is own
    assert world_as_declared(world, {}) is world
