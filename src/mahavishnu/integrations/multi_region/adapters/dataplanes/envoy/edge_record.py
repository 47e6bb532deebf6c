"""One edge as the servers know it: its streams, what it should hold, took over, refused and reported."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import MappingProxyType

from mahavishnu.integrations.multi_region.ports.dataplane import EdgeState, LoadReport, Rejection

from .dormant import Dormant
from .isolation import Isolation
from .rejections import Refusal
from .resources import LISTENER, Snapshot
from .stream import AdsStream


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


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an edge has come: the newest generation that it took over whole, and but for refused parts."""

    acknowledged: int | None = None
    settled: int | None = None


@dataclass(eq=False, slots=True)
class EdgeRecord:
    """What is known of one edge. The last link is the one that counts: earlier ones are yet to be noticed as dead.

    ``before``: how far it had come when its last stream began, None once that is known to hold still or no more.
    ``away``: its last stream ended, and it has not been heard since. ``anew``: it was started anew, and what is held
    back of its routes is to be tried again once it has the others.
    """

    edge_id: str
    snapshot: Snapshot | None = None
    links: list[Link] = field(default_factory=list)
    last: Link | None = None
    progress: Progress = Progress()
    before: Progress | None = None
    problems: tuple[Rejection, ...] = ()
    remarks: tuple[Rejection, ...] = ()
    report: LoadReport | None = None
    away: bool = False
    anew: bool = False
    isolation: Isolation = field(default_factory=Isolation)
    dormant: Dormant = field(default_factory=Dormant)

    @property
    def rejections(self) -> tuple[Rejection, ...]:
        """What it does not have as planned, whoever refused it."""
        return self.problems + self.remarks + self.isolation.rejections + tuple(map(rejection_of, self._refused))

    @property
    def whole(self) -> bool:
        """Whether it has taken its newest snapshot over whole."""
        stream = self.last.stream if self.last is not None else None
        return stream is not None and stream.whole and self.isolation.whole and not self.problems

    @property
    def settled(self) -> bool:
        """Whether it has, but for parts that it refused or could not be told, of which an older version is in force."""
        stream = self.last.stream if self.last is not None else None
        return stream is not None and stream.settled and self.isolation.settled

    @property
    def state(self) -> EdgeState:
        """As the port says it. What one saw that is away is nothing; once it is back, it is what it last told."""
        report = self.report if not self.away else None
        return EdgeState(
            edge_id=self.edge_id,
            connected=bool(self.links),
            acknowledged=self.progress.acknowledged,
            settled=self.progress.settled,
            refused=self._newest_refused,
            serving=not self._deaf,
            rejections=self.rejections,
            rates=MappingProxyType({} if report is None else report.rates()),
            in_flight=MappingProxyType({} if report is None else report.in_flight()),
            version=self.last.version if self.last is not None else "",
        )

    def follow(self, link: Link) -> None:
        """A stream begins: how far the edge has come is what its client shows to hold."""
        if self.last is not None and self.last.version == link.version:
            link.stream.follow(self.last.stream)
            self.before = self.before or self.progress
        else:
            self.before = None
        self.progress = Progress()
        self.links.append(link)
        self.last, self.away, self.anew = link, False, False

    def resume(self) -> None:
        """Take up what the newest stream has shown of its client so far."""
        found = self.last.stream.resumption if self.last is not None else None
        if self.before is None or found is None:
            return
        self.anew = found.same is False
        if found.holds_all is not None or self.anew:
            if found.holds_all and not self.anew and self.progress == Progress():
                self.progress = self.before
            self.before = None

    @property
    def _refused(self) -> tuple[Refusal, ...]:
        return self.last.stream.refused if self.last is not None else ()

    @property
    def _newest_refused(self) -> int | None:
        """The newest generation that brought a refused part by which requests may be moved: no listener is one."""
        streamed = (one.generation for one in self._refused if one.type_url != LISTENER)
        return max((*streamed, *(one.generation for one in self.isolation.rejections)), default=None)

    @property
    def _deaf(self) -> bool:
        """Whether it listens to nobody, since it refused its listener or could not be told one."""
        untold = self.snapshot is not None and bool(self.problems) and not self.snapshot.resources.get(LISTENER)
        return untold or (self.last is not None and self.last.stream.deaf)


def rejection_of(refusal: Refusal) -> Rejection:
    """A refusal as the port says it."""
    return Rejection(refusal.resource, refusal.reason, refusal.generation)
