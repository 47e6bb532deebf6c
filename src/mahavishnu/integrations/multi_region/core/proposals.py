"""What a new deployment may ask for. Refuses with the field, the value and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from itertools import pairwise
from typing import Any

from ..errors import InvalidInputError, UnknownRegionError
from .deployment import Gates, Waves
from .kinds import DeploymentType, FailoverMode, ReplicationStrategy, parse_enum
from .validation import check_name

BY_ITSELF = tuple(mode for mode in FailoverMode if mode is not FailoverMode.MANUAL)
"""What an active-active may be asked for: its other regions serve all the time, so there is nothing to wait with."""


def check_regions(regions: Iterable[str], field: str, known: Collection[str]) -> tuple[str, ...]:
    """The region ids, when there are some, each is known and none comes twice.

    Raises InvalidInputError, UnknownRegionError.
    """
    names = () if isinstance(regions, str) or not isinstance(regions, Iterable) else tuple(regions)
    if not names:
        raise InvalidInputError(field, regions, "a list with at least one region id")
    for index, region_id in enumerate(names):
        if not isinstance(region_id, str):
            raise InvalidInputError(field, region_id, "ids of regions, as text")
        if region_id not in known:
            raise UnknownRegionError(region_id, list(known))
        if region_id in names[:index]:
            raise InvalidInputError(field, region_id, "each region once")
    return names


def parse_strategies(
    kind: DeploymentType, replication: ReplicationStrategy | str, failover: FailoverMode | str
) -> tuple[ReplicationStrategy, FailoverMode]:
    """The strategies that a deployment of this kind may have, from members or their names. Raises InvalidInputError."""
    mode = parse_enum(FailoverMode, failover, "failover_strategy")
    if kind is DeploymentType.ACTIVE_ACTIVE and mode not in BY_ITSELF:
        allowed = f"one of: {', '.join(BY_ITSELF)}; the other regions of an active-active serve on without a failover"
        raise InvalidInputError("failover_strategy", failover, allowed)
    return parse_enum(ReplicationStrategy, replication, "replication_strategy"), mode


def check_service(service: str | None, known: Collection[str] = ()) -> None:
    """Refuse a name that no service can be declared under; None stands for the deployment's own.

    ``known``: the services that are there already, under whatever name. Raises InvalidInputError.
    """
    if service is not None and not (isinstance(service, str) and service in known):
        check_name(service, "service")


def check_gates(gates: Gates) -> None:
    """Refuse times below 0, shares outside 0..1, and steps that do not rise to 100 percent."""
    for field, seconds in (
        ("switch_after", gates.bake_s),
        ("step_after", gates.step_bake_s),
        ("rollback_window", gates.rollback_window_s),
        ("failback_after", gates.failback_after_s),
    ):
        _check(field, seconds, "a number of seconds, 0 or more")
    _check("gates.min_requests", gates.min_requests, "a whole number, 0 or more", whole=True)
    _check("gates.max_error_rate", gates.max_error_rate, "a share from 0 to 1", most=1)
    _check("gates.max_error_increase", gates.max_error_increase, "a share from 0 to 1", most=1)
    _check("gates.max_latency_factor", gates.max_latency_factor, "a number of 1 or more", least=1)
    check_steps(gates.steps)


def check_steps(steps: object) -> tuple[float, ...]:
    """Green's shares in percent, when they rise from above 0 to 100."""
    given = () if isinstance(steps, str) or not isinstance(steps, Iterable) else tuple(steps)
    numbers = bool(given) and all(_is_number(step) for step in given)
    if not (numbers and given[-1] == 100 and all(low < high for low, high in pairwise((0.0, *given)))):
        raise InvalidInputError("steps", steps, "percentages that rise from above 0 to 100")
    return given


def check_waves(waves: Waves | None, targets: tuple[str, ...], has_executor: bool) -> Waves:
    """The waves, when together they hold each of ``targets`` once; None: one wave of all.

    ``targets``: the regions that get the new version. Waves order the work that an executor does: without one they
    would say something that nobody does.
    """
    if not has_executor:
        if waves is not None:
            raise InvalidInputError("waves", waves, "None, or an orchestrator with an executor")
        return Waves()
    waves = waves or Waves()
    _check("waves.max_parallel", waves.max_parallel, "a whole number, 1 or more", least=1, whole=True)
    _check("waves.bake_s", waves.bake_s, "a number of seconds, 0 or more")
    _check("waves.bake_requests", waves.bake_requests, "a whole number, 0 or more", whole=True)
    _check("waves.max_unavailable", waves.max_unavailable, "a whole number, 0 or more", whole=True)
    if not _is_number(waves.deadline_s) or not 0 < waves.deadline_s < math.inf:
        raise InvalidInputError("waves.deadline_s", waves.deadline_s, "a number of seconds above 0")
    groups = tuple(tuple(group) for group in waves.groups) or (targets,)
    _check_membership(groups, targets)
    return Waves(groups, waves.max_parallel, waves.bake_s, waves.bake_requests, waves.max_unavailable, waves.deadline_s)


def _check_membership(groups: tuple[tuple[str, ...], ...], targets: tuple[str, ...]) -> None:
    named = [region for group in groups for region in group]
    for index, region in enumerate(named):
        if region not in targets:
            raise InvalidInputError("waves.groups", region, "regions that get the new version: " + ", ".join(targets))
        if region in named[:index]:
            raise InvalidInputError("waves.groups", region, "each region once")
    missing = [region for region in targets if region not in named]
    if missing or not all(groups):
        raise InvalidInputError("waves.groups", groups, "waves with a region each, together: " + ", ".join(targets))


def _check(field: str, value: Any, allowed: str, least: float = 0, most: float = math.inf, whole: bool = False) -> None:
    fits = _is_number(value) and least <= value <= most and value < math.inf
    if not fits or (whole and not isinstance(value, int)):
        raise InvalidInputError(field, value, allowed)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
