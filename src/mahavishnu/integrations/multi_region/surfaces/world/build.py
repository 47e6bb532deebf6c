"""From entries of the right shape to a World: what the catalog adds, what defaults add, what the parts mean together.

References are checked on the data as it was written, so that an entry with another flaw is still checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from types import MappingProxyType
from typing import Any

from mahavishnu.integrations.multi_region.core.intent import World
from mahavishnu.integrations.multi_region.core.model import (
    DataPlacementPolicy,
    DeploymentSpec,
    HealthCheck,
    Region,
    RegionCapabilities,
    SafetyLimits,
    Service,
    slug,
)
from mahavishnu.integrations.multi_region.core.validation import validate_region
from mahavishnu.integrations.multi_region.errors import InvalidInputError, nearest_hint
from mahavishnu.integrations.multi_region.facts.places import countries

from .carrying import claimed_twice, edge_flaws, route_flaws, routes
from .declared import declared_check, declared_edge, declared_region, same_named
from .kinds import ID_PATTERN
from .law import policy_rules
from .nodes import MISSING, Flaw, Loc, flaw_of
from .schema import DeploymentEntry, HealthEntry, PolicyEntry, RegionEntry, SafetyEntry, ServiceEntry
from .shape import MAX_FLAWS, Shaped, entries

Lines = Callable[[Loc], int]
"""The line that a path stands on; 0 when there is no file."""

_IN_SECONDS = {"interval": "interval_s", "timeout": "timeout_s", "hold_down": "hold_down_s"}


def build_world(shaped: Shaped, data: Any, defaults: HealthCheck, line: Lines) -> tuple[World, list[Flaw]]:
    """The world of the entries, and what is wrong with it; the world is only good when nothing is.

    ``data``: the document as written.
    """
    flaws = [*islice(_repeated(data, line), MAX_FLAWS), *islice(_references(data), MAX_FLAWS)]
    flaws += islice(claimed_twice(data, line), MAX_FLAWS)
    regions: list[Region] = []
    for position, entry in shaped.regions.items():
        region, found = _region(entry, defaults)
        flaws += [replace(flaw, loc=("regions", position, *flaw.loc)) for flaw in found]
        if region is not None and not found:
            regions.append(region)
    flaws += [flaw for position, entry in shaped.policies.items() for flaw in _policy_flaws(entry, position)]
    flaws += [flaw for position, entry in shaped.services.items() for flaw in route_flaws(entry, position)]
    flaws += [flaw for position, entry in shaped.edges.items() for flaw in edge_flaws(entry, position)]
    services = tuple(_service(entry) for entry in shaped.services.values())
    if flaws:
        return World(tuple(regions), services), flaws
    policies = tuple(_policy(entry) for entry in shaped.policies.values())
    places = {region.region_id: region for region in regions}
    edges = tuple(
        declared_edge(entry.id, entry.model_dump(), places.get(entry.region or "")) for entry in shaped.edges.values()
    )
    return World(tuple(regions), services, policies, _limits(shaped.safety), edges), flaws


# --- regions -----------------------------------------------------------------------------------


def _region(entry: RegionEntry, defaults: HealthCheck) -> tuple[Region | None, list[Flaw]]:
    """The region of an entry of the right shape, and what is wrong with it; paths begin at the region."""
    flaws: list[Flaw] = []
    check = region = None
    try:
        check = declared_check(_asked(entry), entry.endpoint, defaults)
    except InvalidInputError as error:
        flaws.append(flaw_of(error))
    try:
        capabilities = RegionCapabilities(entry.compliance, entry.max_capacity, entry.features, entry.attestations)
        region = declared_region(entry.id, {**same_named(entry), "capabilities": capabilities, "health": check})
        validate_region(region, (), countries())
    except InvalidInputError as error:
        flaws.append(flaw_of(error))
    return region, flaws


def _asked(entry: RegionEntry) -> dict[str, Any] | None:
    """What a region's own check shall be; None when the file says nothing about it."""
    said = entry.health.model_fields_set or "health" in entry.model_fields_set
    return _health_changes(entry.health) if said else None


def _health_changes(entry: HealthEntry) -> dict[str, Any]:
    changes = {_IN_SECONDS.get(name, name): getattr(entry, name) for name in sorted(entry.model_fields_set)}
    if "slow" in changes:
        changes["slow_ms"] = round(changes.pop("slow") * 1000, 6)
    if "statuses" in changes:
        changes["statuses"] = tuple(changes["statuses"])
    if "headers" in changes:
        changes["headers"] = MappingProxyType(dict(changes["headers"]))
    return changes


# --- services, policies, limits ------------------------------------------------------------------


def _service(entry: ServiceEntry) -> Service:
    return Service(
        name=entry.name,
        hosts=tuple(entry.hosts),
        strategy=entry.strategy,
        policy=entry.policy,
        deployment=None if entry.deployment is None else _deployment(entry.deployment),
        priority=entry.priority,
        failback=entry.failback,
        routes=routes(entry),
    )


def _deployment(entry: DeploymentEntry) -> DeploymentSpec:
    return DeploymentSpec(entry.type, tuple(entry.regions), MappingProxyType(dict(entry.weights)))


def _policy(entry: PolicyEntry) -> DataPlacementPolicy:
    return DataPlacementPolicy(
        name=entry.name,
        compliance_requirements=entry.compliance_requirements,
        allowed_regions=entry.allowed_regions,
        locality_level=entry.locality_level,
        cross_region_transfer=entry.cross_region_transfer,
        policy_id=entry.id or "",
        rules=policy_rules(entry.template, entry.rules),
    )


def _policy_flaws(entry: PolicyEntry, position: int) -> Iterator[Flaw]:
    if entry.id is None and not re.fullmatch(ID_PATTERN, slug(entry.name)):
        allowed = f"needed here, because the name {entry.name!r} makes no id of letters and digits that can be written"
        yield Flaw(("policies", position, "id"), MISSING, allowed)
    try:
        policy_rules(entry.template, entry.rules)
    except InvalidInputError as error:
        yield Flaw(("policies", position, "rules"), error.value, error.allowed)


def _limits(entry: SafetyEntry) -> SafetyLimits:
    return SafetyLimits(
        min_serving=entry.min_serving,
        max_removed=entry.max_removed,
        window_s=entry.window,
        headroom=entry.headroom,
        blind_share=entry.blind_share,
    )


# --- what the parts say of each other --------------------------------------------------------------


def _names(data: Any, section: str) -> list[tuple[Loc, str]]:
    """What the entries of a section are called, with the path of the key that says so."""
    key = "id" if section in ("regions", "edges") else "name"
    found: list[tuple[Loc, str]] = []
    for position, raw in entries(data, section).items():
        name, own_id = raw.get(key), raw.get("id")
        if section == "policies" and isinstance(own_id, str):
            found.append((("policies", position, "id"), own_id))
        elif isinstance(name, str):
            found.append(((section, position, key), slug(name) if section == "policies" else name))
    return found


def _repeated(data: Any, line: Lines) -> Iterator[Flaw]:
    for section in ("regions", "services", "policies", "edges"):
        first: dict[str, Loc] = {}
        for loc, name in _names(data, section):
            if name in first:
                where = f" (first on line {line(first[name])})" if line(loc) else ""
                yield Flaw(loc, name, f"a name that no other of the {section} has{where}")
            first.setdefault(name, loc)


def _references(data: Any) -> Iterator[Flaw]:
    regions = {name: None for _, name in _names(data, "regions")}
    policies = {name: None for _, name in _names(data, "policies")}
    for position, policy in entries(data, "policies").items():
        yield from _unknown(policy.get("allowed_regions"), regions, ("policies", position, "allowed_regions"))
    for position, edge in entries(data, "edges").items():
        yield from _unknown([edge.get("region")], regions, ("edges", position, "region"), single=True)
    for position, service in entries(data, "services").items():
        loc: Loc = ("services", position)
        yield from _unknown([service.get("policy")], policies, (*loc, "policy"), single=True)
        deployment = service.get("deployment")
        if isinstance(deployment, Mapping):
            yield from _deployment_references(deployment, regions, (*loc, "deployment"))


def _deployment_references(raw: Mapping[str, Any], regions: Collection[str], loc: Loc) -> Iterator[Flaw]:
    here = raw.get("regions")
    yield from _unknown(here, regions, (*loc, "regions"))
    weights = raw.get("weights")
    if isinstance(weights, Mapping) and isinstance(here, list):
        known = {name: None for name in here if isinstance(name, str)}
        for name in weights:
            if name not in known:
                yield Flaw(
                    (*loc, "weights", name),
                    name,
                    f"a region of this deployment; {nearest_hint(str(name), list(known))}",
                    at_key=True,
                )


def _unknown(names: Any, known: Collection[str], loc: Loc, *, single: bool = False) -> Iterator[Flaw]:
    """The names in a list that nothing declares; ``single``: the list stands for one value at ``loc``."""
    for position, name in enumerate(names) if isinstance(names, list) else ():
        if isinstance(name, str) and name not in known:
            yield Flaw(loc if single else (*loc, position), name, nearest_hint(name[:80], list(known)))
