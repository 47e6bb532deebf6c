"""Edges as the servers know them: what each should hold, its streams, what it took over, refused and reported.

Knows no network. It decides who may have a stream, and tells listeners what happens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
    Settled,
)

from .edge_record import EdgeRecord, Link, Progress, rejection_of
from .exchange import Ask
from .parts import ROUTES_NAME
from .rejections import Refusal
from .resources import ROUTES, Snapshot
from .stream import AdsStream, differences

Problems = Mapping[str, tuple[Rejection, ...]]
"""By edge: parts of a plan that could not be told to it at all."""


class Roster:
    """See the module. All methods run on one event loop and return at once."""

    def __init__(self) -> None:
        self._edges: dict[str, EdgeRecord] = {}
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
        """What an edge is to hold from now on, what could not be told to it, and what is to be said of it.

        One that is not declared, or no longer, is told nothing.
        """
        if not self.knows(edge_id):
            return
        edge = self._edge(edge_id)
        self._tell_streams(edge, edge.isolation.offer(edge.dormant.offer(snapshot)))
        self._note_problems(edge, problems, remarks)
        self._judge(edge)

    def knows(self, edge_id: str) -> bool:
        """Whether an edge may have a stream; before it is known which edges there are any may, and waits."""
        return self._known is None or edge_id in self._known

    def connect(self, edge_id: str, version: str, *, delta: bool) -> Link:
        """An edge opened a stream."""
        edge = self._edge(edge_id)
        link = Link(edge_id, AdsStream(delta=delta), version)
        is_other = edge.last is not None and edge.last.version != version
        if is_other and (afresh := edge.isolation.start_over()) is not None:  # it may take what the last one refused
            self._tell_streams(edge, afresh)
        edge.follow(link)
        link.stream.routes_on_trial = edge.isolation.searching
        if edge.snapshot is not None:
            link.stream.offer(edge.snapshot)
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
            edge.last, edge.before = edge.links[-1], None
            self._judge(edge)

    def hear(self, link: Link, ask: Ask) -> None:
        """A stream's client said something."""
        refusals = link.stream.receive(ask)
        edge = self._edges.get(link.edge_id)
        if edge is not None and (told := edge.dormant.hear(ask)) is not None:
            self._tell_streams(edge, edge.isolation.offer(told))
        if edge is not None and edge.last is link:
            edge.resume()
            refusals = self._hear_routes(edge, link, ask, refusals)
        for refusal in refusals:
            self._tell(Rejected(link.edge_id, rejection_of(refusal)))
        if edge is not None and edge.last is link:
            self._judge(edge)

    def _hear_routes(
        self, edge: EdgeRecord, link: Link, ask: Ask, refusals: tuple[Refusal, ...]
    ) -> tuple[Refusal, ...]:
        """Let routes be tried on, when it is about them; gives the refusals that are left to tell of."""
        if ask.type_url != ROUTES:
            return refusals
        if edge.anew and link.stream.held(ROUTES, ROUTES_NAME) is not None:
            edge.anew = False
            self._try_routes_again(edge)
        told, alarms = edge.isolation.hear(link.stream.held(ROUTES, ROUTES_NAME), refusals)
        if told is None:
            return refusals
        self._tell_streams(edge, told)
        for alarm in alarms:
            self._tell(Rejected(edge.edge_id, alarm))
        return ()

    def try_again(self) -> None:
        """Offer what connected edges refuse once more: what was wrong may have been a file on their machines."""
        for edge in self._edges.values():
            if edge.links and edge.last is not None:
                self._try_routes_again(edge)
                if edge.last.stream.try_again():
                    edge.last.wake.set()

    def _try_routes_again(self, edge: EdgeRecord) -> None:
        told = edge.isolation.try_again()
        if told is not None:
            self._tell_streams(edge, told)

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
        return MappingProxyType({edge_id: edge.state for edge_id, edge in self._edges.items()})

    def _edge(self, edge_id: str) -> EdgeRecord:
        return self._edges.setdefault(edge_id, EdgeRecord(edge_id))

    def _tell_streams(self, edge: EdgeRecord, snapshot: Snapshot) -> None:
        """Give an edge's streams a new snapshot; those for which nothing changed are left asleep."""
        changes = differences(edge.snapshot, snapshot)
        fresh, edge.snapshot = edge.snapshot is None, snapshot
        for link in edge.links:
            link.stream.routes_on_trial = edge.isolation.searching
            link.stream.offer(snapshot, changes)
            if changes or fresh:
                link.wake.set()

    def _note_problems(self, edge: EdgeRecord, problems: tuple[Rejection, ...], remarks: tuple[Rejection, ...]) -> None:
        """Keep what could not be told, and what is to be said; what was so before is no news."""
        before = {(problem.resource, problem.reason) for problem in edge.problems + edge.remarks}
        edge.problems, edge.remarks = problems, remarks
        for problem in problems + remarks:
            if (problem.resource, problem.reason) not in before:
                self._tell(Rejected(edge.edge_id, problem))

    def _judge(self, edge: EdgeRecord) -> None:
        """Tell when an edge has taken its newest snapshot over, whole or but for refused parts, once."""
        if edge.snapshot is None or not edge.links:
            return
        generation, before = edge.snapshot.generation, edge.progress
        if edge.whole and _is_newer(generation, before.acknowledged):
            edge.progress = Progress(generation, generation)
            self._tell(Acknowledged(edge.edge_id, generation))
        elif not edge.whole and edge.settled and _is_newer(generation, before.settled):
            edge.progress = Progress(before.acknowledged, generation)
            self._tell(Settled(edge.edge_id, generation))

    def _tell(self, event: EdgeEvent) -> None:
        for listener in tuple(self._listeners):
            listener(event)


def _is_newer(generation: int, than: int | None) -> bool:
    return than is None or generation > than
