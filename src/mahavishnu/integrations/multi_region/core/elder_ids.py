"""Policies that a store holds under ids that nothing new is declared under: found again by what their name makes now.

An id that followed from a name once followed it letter for letter (``données-ue``); now it is plain (``slug``). What
was declared under the elder id stays declared under it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .intent import World
from .model import ID_CHARS, DataPlacementPolicy, Service, slug, words


def elder_ids(declared: Mapping[str, DataPlacementPolicy]) -> dict[str, str]:
    """The elder ids of policies, by the ids that their names make now. ``declared``: what stands, by id."""
    other = [policy for policy_id, policy in declared.items() if not policy_id.isascii() or len(policy_id) > ID_CHARS]
    found = {slug(policy.name): policy.policy_id for policy in other if policy.policy_id == words(policy.name)}
    return {now: elder for now, elder in found.items() if now not in declared}


def policy_as_declared(policy: DataPlacementPolicy, elder: Mapping[str, str]) -> DataPlacementPolicy:
    """The policy, under its elder id where it has one and its id follows from its name."""
    follows = policy.policy_id in elder and policy.policy_id == slug(policy.name)
    return replace(policy, policy_id=elder[policy.policy_id]) if follows else policy


def service_as_declared(service: Service, elder: Mapping[str, str]) -> Service:
    """The service, bound to the elder id of its policy where that has one."""
    found = elder.get(service.policy or "")
    return service if found is None else replace(service, policy=found)


def world_as_declared(world: World, declared: Mapping[str, DataPlacementPolicy]) -> World:
    """The world with the elder ids of its policies. One that it gives to a policy itself stays that policy's."""
    given = {policy.policy_id for policy in world.policies}
    elder = {now: before for now, before in elder_ids(declared).items() if before not in given}
    if not elder:
        return world
    return replace(
        world,
        policies=tuple(policy_as_declared(policy, elder) for policy in world.policies),
        services=tuple(service_as_declared(service, elder) for service in world.services),
    )
