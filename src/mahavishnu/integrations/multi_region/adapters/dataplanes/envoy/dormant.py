"""Classes that no region can serve: without a cluster, except at an edge that may hold one from before.

There it stays, empty, as long as the plan has the class: routes that the edge has not replaced yet, or refuses to
replace, lead to a refusal and not to regions that may serve the class no longer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType

from .clusters import empty_cluster
from .endpoints import assignment, localities
from .exchange import Ask
from .resources import CLUSTER, ENDPOINTS, Resource, Snapshot


class Dormant:
    """Of one edge: which of such classes it may hold, by what it was told and what it says."""

    def __init__(self) -> None:
        self._given: Snapshot | None = None
        self._told: Snapshot | None = None
        self._awake: frozenset[str] = frozenset()
        self._said: set[str] = set()

    def offer(self, snapshot: Snapshot) -> Snapshot:
        """What to tell the edge when it should hold this."""
        last, self._given = self._given, snapshot
        if last is None or last.dormant is not snapshot.dormant:
            told = self._told.resources.get(CLUSTER, {}) if self._told is not None else {}
            self._awake = frozenset(name for name in snapshot.dormant if name in told or name in self._said)
        self._told = _with(snapshot, self._awake)
        return self._told

    def hear(self, ask: Ask) -> Snapshot | None:
        """An edge said what it holds, or asked for endpoints; what to tell it now, None when that stays the same."""
        names = _named(ask)
        self._said.update(names)
        if self._given is None:
            return None
        fresh = self._given.dormant.intersection(names) - self._awake
        if not fresh:
            return None
        self._awake |= fresh
        self._told = _with(self._given, self._awake)
        return self._told


def _named(ask: Ask) -> Iterable[str]:
    if ask.type_url == ENDPOINTS:
        return (*ask.holds, *ask.subscribe)
    return ask.holds if ask.type_url == CLUSTER else ()


def _with(snapshot: Snapshot, names: frozenset[str]) -> Snapshot:
    """The snapshot with empty clusters of these names."""
    if not names:
        return snapshot
    found = {name: _empty(name) for name in sorted(names)}
    resources = {
        **snapshot.resources,
        CLUSTER: MappingProxyType({**snapshot.resources.get(CLUSTER, {}), **{n: one for n, (one, _) in found.items()}}),
        ENDPOINTS: MappingProxyType(
            {**snapshot.resources.get(ENDPOINTS, {}), **{n: one for n, (_, one) in found.items()}}
        ),
    }
    return replace(snapshot, resources=MappingProxyType(resources))


@lru_cache(maxsize=16_384)
def _empty(name: str) -> tuple[Resource, Resource]:
    """The cluster and the assignment of a class without regions; it was told before, so its name will do."""
    cluster = empty_cluster(name)
    assert isinstance(cluster, Resource)
    return cluster, assignment(name, localities((), {})[0])
