"""What is told of an edge to people and programs, joined from all who know something of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from mahavishnu.integrations.multi_region.ports.dataplane import Rejection


@dataclass(frozen=True, slots=True)
class EdgeOverview:
    """One edge for people. ``declared``: in the intent; ``connected``: it listens to this controller.

    ``acknowledged``: generation of the newest plan that it has taken over whole; ``current``: of the newest plan there
    is; ``synced``: whether it has that one; ``settled``: of the newest that it has, whole or but for refused parts of
    which it has older versions. ``serving``: false when it listens to no client, since it refused its listener.
    ``rates``: requests/s sent, by region; ``in_flight``: requests without an answer, by region; both as it last
    reported. ``astray``: regions that it holds in a class where they do not belong. ``read_back_age_s``: seconds
    since its agent last told what it really holds, None when none has.
    """

    edge_id: str
    declared: bool
    connected: bool
    acknowledged: int | None
    current: int
    synced: bool
    settled: int | None = None
    rejections: tuple[Rejection, ...] = ()
    serving: bool = True
    rates: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    in_flight: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    astray: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    version: str = ""
    read_back_age_s: float | None = None
