"""Edges as the servers know them: what each should hold, its streams, what it took over, refused and reported.

Knows no network. It decides who may have a stream, and tells listeners what happens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from mahavishnu.integrations.multi_region.ports.dataplane import (
    Acknowledged,
    Connected,
    EdgeEvent,
    EdgeListener,
    EdgeState,
    LoadReport,
    Rejected,
    Rejection,
)

from .dormant import Dormant
from .exchange import Ask
from .isolation import Isolation
from .parts import ROUTES_NAME
from .rejections import Refusal
from .resources import ROUTES, Snapshot
from .stream import AdsStream, differences

Problems = Mapping[str, tuple[Rejection, ...]]
"""By edge: parts of a plan that could not be told to it at all."""


@dataclass(eq=False, slots=True)
class Link:
    """One open stream of an edge. ``wake`` is set when there may be something to send, or it is ``over`` (why)."""

    edge_id: str
    stream: AdsStream
    version: str
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    over: str | None = None

    def end(self, why: str) -> None:
        """Nothing more is to be sent."""
        self.over = self.over or why
        self.wake.set()


@dataclass(eq=False, slots=True)
class _Edge:
    """What is known of one edge. The last link is the one that counts: earlier ones are yet to be noticed as dead.

    ``away``: its last stream ended, and it has not been heard since.
    """

    edge_id: str
    snapshot: Snapshot | None = None
    links: list[Link] = field(default_factory=list)
    last: Link | None = None
    acknowledged: int | None = None
    problems: tuple[Rejection, ...] = ()
    remarks: tuple[Rejection, ...] = ()
    report: LoadReport | None = None
    away: bool = False
    isolation: Isolation = field(default_factory=Isolation)
    dormant: Dormant = field(default_factory=Dormant)

    @property
    def rejections(self) -> tuple[Rejection, ...]:
        refused = self.last.stream.refused if self.last is not None else ()
        return (
            self.problems
            + self.remarks
            + self.isolation.rejections
            + tuple(rejection_of(refusal) for refusal in refused)
        )


class Roster:
    """See the module. All methods run on one event loop and return at once."""

    def __init__(self) -> None:
        self._edges: dict[str, _Edge] = {}
        self._known: frozenset[str] | None = None
        self._listeners: list[EdgeListener] = []

    def subscribe(self, listener: EdgeListener) -> None:
        """Be told what happens from now on."""
        self._listeners.append(listener)

    def publish(self, snapshots: Mapping[str, Snapshot], problems: Problems) -> None:
        """What every edge is to hold from now on; streams of edges that are not in it end."""
        self.declare(snapshots)
        for edge_id, snapshot in snapshots.items():
            self.offer(edge_id, snapshot, problems.get(edge_id, ()))

    def declare(self, edge_ids: Iterable[str]) -> None:
        """Which edges there are from now on; streams of others end."""
        self._known = frozenset(edge_ids)
        for edge_id in self._edges.keys() - self._known:
            for link in self._edges.pop(edge_id).links:
                link.end("this edge is not declared, or no longer")
        for edge_id in self._known:
            self._edge(edge_id)

    def offer(
        self,
        edge_id: str,
        snapshot: Snapshot,
        problems: tuple[Rejection, ...],
        remarks: tuple[Rejection, ...] = (),
    ) -> None:
        """What a declared edge is to hold from now on, what could not be told to it, and what is to be said of it."""
        edge = self._edge(edge_id)
        self._tell_streams(edge, edge.isolation.offer(edge.dormant.offer(snapshot)))
        self._note_problems(edge, problems, remarks)
        self._judge(edge)

    def knows(self, edge_id: str) -> bool:
        """Whether an edge may have a stream; before the first publication any may, and waits."""
        return self._known is None or edge_id in self._known

    def connect(self, edge_id: str, version: str, *, delta: bool) -> Link:
        """An edge opened a stream."""
        edge = self._edge(edge_id)
        link = Link(edge_id, AdsStream(delta=delta), version)
        if edge.last is not None and edge.last.version == version:  # another build may take what this one refused
            link.stream.inherit(edge.last.stream)
        elif edge.last is not None and (afresh := edge.isolation.start_over()) is not None:
            self._tell_streams(edge, afresh)
        link.stream.routes_on_trial = edge.isolation.searching
        if edge.snapshot is not None:
            link.stream.offer(edge.snapshot)
        edge.links.append(link)
        edge.last, edge.away = link, False
        if len(edge.links) == 1:
            self._tell(Connected(edge_id, True))
        return link

    def disconnect(self, link: Link) -> None:
        """A stream is gone."""
        edge = self._edges.get(link.edge_id)
        if edge is not None and link in edge.links:
            edge.links.remove(link)
        if edge is None or not edge.links:
            if edge is not None:
                edge.away = True
            self._tell(Connected(link.edge_id, False))
        else:
            edge.last = edge.links[-1]

    def hear(self, link: Link, ask: Ask) -> None:
        """A stream's client said something."""
        refusals = link.stream.receive(ask)
        edge = self._edges.get(link.edge_id)
        if edge is not None and (told := edge.dormant.hear(ask)) is not None:
            self._tell_streams(edge, edge.isolation.offer(told))
        if edge is not None and edge.last is link:
            refusals = self._hear_routes(edge, link, ask, refusals)
        for refusal in refusals:
            self._tell(Rejected(link.edge_id, rejection_of(refusal)))
        if edge is not None and edge.last is link:
            self._judge(edge)

    def _hear_routes(self, edge: _Edge, link: Link, ask: Ask, refusals: tuple[Refusal, ...]) -> tuple[Refusal, ...]:
        """Let routes be tried on, when it is about them; gives the refusals that are left to tell of."""
        if ask.type_url != ROUTES:
            return refusals
        told, alarms = edge.isolation.hear(link.stream.held(ROUTES, ROUTES_NAME), refusals)
        if told is None:
            return refusals
        self._tell_streams(edge, told)
        for alarm in alarms:
            self._tell(Rejected(edge.edge_id, alarm))
        return ()

    def report(self, report: LoadReport) -> None:
        """An edge said what it saw."""
        edge = self._edges.get(report.edge_id)
        if edge is not None:
            edge.report, edge.away = report, False
            self._tell(report)

    def end_all(self, why: str) -> None:
        """Every stream ends."""
        for edge in self._edges.values():
            for link in edge.links:
                link.end(why)

    def states(self) -> Mapping[str, EdgeState]:
        """Each edge by id."""
        return MappingProxyType({edge_id: _state(edge) for edge_id, edge in self._edges.items()})

    def _edge(self, edge_id: str) -> _Edge:
        return self._edges.setdefault(edge_id, _Edge(edge_id))

    def _tell_streams(self, edge: _Edge, snapshot: Snapshot) -> None:
        """Give an edge's streams a new snapshot; those for which nothing changed are left asleep."""
        changes = differences(edge.snapshot, snapshot)
        fresh, edge.snapshot = edge.snapshot is None, snapshot
        for link in edge.links:
            link.stream.routes_on_trial = edge.isolation.searching
            link.stream.offer(snapshot, changes)
            if changes or fresh:
                link.wake.set()

    def _note_problems(self, edge: _Edge, problems: tuple[Rejection, ...], remarks: tuple[Rejection, ...]) -> None:
        """Keep what could not be told, and what is to be said; what was so before is no news."""
        before = {(problem.resource, problem.reason) for problem in edge.problems + edge.remarks}
        edge.problems, edge.remarks = problems, remarks
        for problem in problems + remarks:
            if (problem.resource, problem.reason) not in before:
                self._tell(Rejected(edge.edge_id, problem))

    def _judge(self, edge: _Edge) -> None:
        """Tell when an edge has taken its newest snapshot over whole, once."""
        if edge.snapshot is None or not edge.links or edge.last is None or edge.problems:
            return
        if not edge.isolation.whole:
            return
        generation = edge.snapshot.generation
        if edge.last.stream.whole and (edge.acknowledged is None or generation > edge.acknowledged):
            edge.acknowledged = generation
            self._tell(Acknowledged(edge.edge_id, generation))

    def _tell(self, event: EdgeEvent) -> None:
        for listener in tuple(self._listeners):
            listener(event)


def rejection_of(refusal: Refusal) -> Rejection:
    """A refusal as the port says it."""
    return Rejection(refusal.resource, refusal.reason, refusal.generation)


def _state(edge: _Edge) -> EdgeState:
    """An edge as the port says it. What one saw that is away is nothing; once it is back, it is what it last told."""
    report = edge.report if not edge.away else None
    return EdgeState(
        edge_id=edge.edge_id,
        connected=bool(edge.links),
        acknowledged=edge.acknowledged,
        rejections=edge.rejections,
        rates=MappingProxyType({} if report is None else report.rates()),
        in_flight=MappingProxyType({} if report is None else report.in_flight()),
        version=edge.last.version if edge.last is not None else "",
    )
