"""Edges that carry traffic: publish a plan to them, learn what they took over and what they saw.

``MemoryDataPlane`` is the reference: its edges are objects in this process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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

    ``acknowledged``: the generation of the newest plan that it has taken over whole, None before the first.
    ``rates``: requests/s that each region got from it; ``in_flight``: requests without an answer, by region; both as it
    last reported. ``version``: what it says it is.
    """

    edge_id: str
    connected: bool = False
    acknowledged: int | None = None
    rejections: tuple[Rejection, ...] = ()
    rates: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    in_flight: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    version: str = ""


@dataclass(frozen=True, slots=True)
class Load:
    """What an edge saw of one class at one region in a period: requests that ended well, that failed, in flight now."""

    service: str
    class_name: str
    region_id: str
    succeeded: int
    failed: int
    in_flight: int
    issued: int


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What an edge saw since its last report. ``period_s``: how long that is."""

    edge_id: str
    period_s: float
    loads: tuple[Load, ...]

    def rates(self) -> dict[str, float]:
        """Requests/s that ended, by region."""
        found: dict[str, float] = {}
        for load in self.loads:
            found[load.region_id] = found.get(load.region_id, 0.0) + (load.succeeded + load.failed) / self.period_s
        return found

    def in_flight(self) -> dict[str, int]:
        """Requests without an answer, by region."""
        found: dict[str, int] = {}
        for load in self.loads:
            found[load.region_id] = found.get(load.region_id, 0) + load.in_flight
        return found


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


EdgeEvent = Connected | Acknowledged | Rejected | LoadReport | Ejected | Astray

EdgeListener = Callable[[EdgeEvent], None]
"""Is called on the event loop and must return at once."""


class DataPlane(Protocol):
    """Carries plans to edges."""

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
        self.holding: set[str] = set()
        self._states: dict[str, EdgeState] = {}
        self._listeners: list[EdgeListener] = []

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
        self._states[edge_id] = replace(self._states[edge_id], acknowledged=generation)
        self.tell(Acknowledged(edge_id, generation))

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
