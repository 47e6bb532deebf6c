"""Edges that carry traffic: publish a plan to them, learn what they took over and what they saw.

``MemoryDataPlane`` is the reference: its edges are objects in this process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Protocol

from mahavishnu.integrations.multi_region.core.traffic import TrafficPlan


@dataclass(frozen=True, slots=True)
class Rejection:
    """A resource that an edge refused: the older version of it stays in force there."""

    resource: str
    reason: str
    generation: int


@dataclass(frozen=True, slots=True)
class EdgeState:
    """One edge as the data plane knows it.

    ``acknowledged``: the generation of the newest plan that it has taken over whole, None before the first; it falls
    back when the edge is started anew. ``settled``: the same for plans of which it refused parts, and goes on with an
    older version of each of these; ``refused``: the newest plan that brought a refused part by which requests may be
    moved. ``serving``: false when it refused the listener for clients and has none before it: it serves nobody.
    ``rates``: requests/s that it sends each region, answered or not; ``in_flight``: requests without an answer, by
    region; both as it last reported. ``version``: what it says it is.
    """

    edge_id: str
    connected: bool = False
    acknowledged: int | None = None
    settled: int | None = None
    refused: int | None = None
    serving: bool = True
    rejections: tuple[Rejection, ...] = ()
    rates: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    in_flight: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    version: str = ""


@dataclass(frozen=True, slots=True)
class Load:
    """What an edge saw of one class at one region in a period: requests that ended well, that failed, in flight now.

    ``issued``: requests that it sent there in the period. Where a region hangs they are what tells its load; those that
    end later count by then as ``succeeded`` or ``failed``, though nothing may be sent there any more.
    """

    service: str
    class_name: str
    region_id: str
    succeeded: int
    failed: int
    in_flight: int
    issued: int


SHORTEST_S = 0.001
"""A report of a shorter period counts as one of this, in seconds: clocks tell no more, and none divides by 0."""


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What an edge saw since its last report. ``period_s``: how long that is, ``SHORTEST_S`` or more."""

    edge_id: str
    period_s: float
    loads: tuple[Load, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "period_s", max(self.period_s, SHORTEST_S))

    def rates(self) -> dict[str, float]:
        """Requests/s that were sent, by region."""
        return self._per_second((load.region_id, load.issued) for load in self.loads)

    def class_rates(self) -> dict[str, float]:
        """Requests/s that were sent, by name of class, to all regions together."""
        return self._per_second((load.class_name, load.issued) for load in self.loads)

    def in_flight(self) -> dict[str, int]:
        """Requests without an answer, by region."""
        found: dict[str, int] = {}
        for load in self.loads:
            found[load.region_id] = found.get(load.region_id, 0) + load.in_flight
        return found

    def _per_second(self, counts: Iterable[tuple[str, int]]) -> dict[str, float]:
        found: dict[str, int] = {}
        for name, count in counts:
            found[name] = found.get(name, 0) + count
        return {name: count / self.period_s for name, count in found.items()}


@dataclass(frozen=True, slots=True)
class Connected:
    """An edge began to listen to us, or (``connected`` false) is gone."""

    edge_id: str
    connected: bool


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """An edge has taken a plan over whole."""

    edge_id: str
    generation: int


@dataclass(frozen=True, slots=True)
class Settled:
    """An edge has taken a plan over but for parts that it refused, each of which it has in an older version."""

    edge_id: str
    generation: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """An edge refused part of a plan."""

    edge_id: str
    rejection: Rejection


SEVERAL = "*"
"""Stands for classes that are not named one by one."""


@dataclass(frozen=True, slots=True)
class Ejected:
    """An edge took a region out of a class by what its own requests met, or (``ejected`` false) lets it back in.

    ``classes``: of how many classes this is told in one; ``class_name`` is ``SEVERAL`` when of more than one.
    """

    edge_id: str
    region_id: str
    class_name: str
    ejected: bool
    cause: str
    classes: int = 1


@dataclass(frozen=True, slots=True)
class Astray:
    """What an edge really holds is not what was published: regions in a class that do not belong there.

    ``classes``: of how many classes this is told in one; ``class_name`` is ``SEVERAL`` when of more than one.
    """

    edge_id: str
    class_name: str
    regions: tuple[str, ...]
    classes: int = 1


EdgeEvent = Connected | Acknowledged | Settled | Rejected | LoadReport | Ejected | Astray

EdgeListener = Callable[[EdgeEvent], None]
"""Is called on the event loop and must return at once."""


class DataPlane(Protocol):
    """Carries plans to edges."""

    def declare(self, edge_ids: Iterable[str]) -> None:
        """Which edges there are from now on, though no plan may have them yet; others are refused."""
        ...

    def publish(self, plan: TrafficPlan) -> None:
        """Take a plan as what every edge is to do from now on; does not wait for them.

        A part that cannot be told to an edge is left as it was and reported as Rejected. Older generations are ignored.
        """
        ...

    def states(self) -> Mapping[str, EdgeState]:
        """Each edge of the newest plan, and each that is connected, by id."""
        ...

    def subscribe(self, listener: EdgeListener) -> None:
        """Be told what happens at edges from now on."""
        ...

    async def close(self) -> None:
        """Let go of the edges; they go on with what they have."""
        ...


class MemoryDataPlane:
    """Edges that exist only here; each is connected, and takes over what ``holding`` does not hold back."""

    def __init__(self) -> None:
        self.plan = TrafficPlan(0, -1)
        self.declared: frozenset[str] = frozenset()
        self.holding: set[str] = set()
        self._states: dict[str, EdgeState] = {}
        self._listeners: list[EdgeListener] = []

    def declare(self, edge_ids: Iterable[str]) -> None:
        """Which edges there are from now on; they are there once a plan has them."""
        self.declared = frozenset(edge_ids)

    def publish(self, plan: TrafficPlan) -> None:
        """Every edge takes the plan over at once, but those that are held back."""
        if plan.generation <= self.plan.generation:
            return
        self.plan = plan
        for edge_id in plan.edges:
            if edge_id not in self._states:
                self._states[edge_id] = EdgeState(edge_id, connected=True)
                self.tell(Connected(edge_id, True))
            if edge_id not in self.holding:
                self.acknowledge(edge_id)

    def acknowledge(self, edge_id: str) -> None:
        """An edge takes the newest plan over."""
        generation = self.plan.generation
        self._states[edge_id] = replace(self._states[edge_id], acknowledged=generation, settled=generation)
        self.tell(Acknowledged(edge_id, generation))

    def refuse(self, edge_id: str, *rejections: Rejection, settles: bool = True) -> None:
        """An edge refuses these parts of the newest plan; ``settles``: it has older versions of them in force."""
        state, generation = self._states[edge_id], self.plan.generation
        newest = max((one.generation for one in rejections), default=None)
        settled = generation if settles else state.settled
        self._states[edge_id] = replace(state, rejections=rejections, refused=newest, settled=settled)
        for rejection in rejections:
            self.tell(Rejected(edge_id, rejection))
        if settles:
            self.tell(Settled(edge_id, generation))

    def states(self) -> Mapping[str, EdgeState]:
        """Each edge by id."""
        return MappingProxyType(dict(self._states))

    def subscribe(self, listener: EdgeListener) -> None:
        """Be told what happens from now on."""
        self._listeners.append(listener)

    def tell(self, event: EdgeEvent) -> None:
        """Something happens at an edge."""
        if isinstance(event, LoadReport):
            state = self._states[event.edge_id]
            self._states[event.edge_id] = replace(state, rates=event.rates(), in_flight=event.in_flight())
        elif isinstance(event, Connected) and event.edge_id in self._states:
            self._states[event.edge_id] = replace(self._states[event.edge_id], connected=event.connected)
        for listener in self._listeners:
            listener(event)

    async def close(self) -> None:
        """Nothing to let go of."""
