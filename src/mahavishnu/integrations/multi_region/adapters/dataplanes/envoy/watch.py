"""One type of resource on one stream: what the client asked for, was sent, holds and refused. Pure.

Decides what is due and in which parts. When additions and removals may go out, relative to other types, is decided in
``stream.py``.

Clusters and listeners are *roots*: a client takes all there are, and in the state-of-the-world protocol each response
lists all of them. Endpoints and routes are named by roots; a response may hold any part of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from .exchange import Ask, Flight, Flights, Holdings, Reply, mark_of
from .interest import Interest
from .refused import Refused
from .rejections import Refusal, parts
from .resources import CLUSTER, LISTENER, Resource

ROOTS = frozenset({CLUSTER, LISTENER})
UNKNOWN = ""
"""The version of a resource of which the client may hold anything: a response with it was refused."""


class Watch:
    """See the module. ``nonces``: shared by the types of a stream. Sets that are public are for reading."""

    def __init__(self, type_url: str, nonces: Iterator[int], *, delta: bool) -> None:
        self.type_url = type_url
        self.wanted: Mapping[str, Resource] = {}
        self.holdings = Holdings()
        self.held: Mapping[str, str] = self.holdings.versions
        self.good: dict[str, Resource] = {}
        self._refused = Refused()
        self.refused: Mapping[str, Refusal] = self._refused.known
        self.lagging: set[str] = set()
        self.asked = False
        self._nonces = nonces
        self._delta = delta
        self._listing = not delta and type_url in ROOTS
        self._interest = Interest(root=type_url in ROOTS)
        self._generation = 0
        self._sent: dict[str, str] = {}
        self._due: set[str] = set()
        self._doomed: set[str] = set()
        self._again: set[str] = set()
        self._part_of: dict[str, int] = {}
        self._flights = Flights(nonces)
        self._greeting = False

    # --- what should be ---------------------------------------------------------------------

    def offer(self, wanted: Mapping[str, Resource], changed: Iterable[str], generation: int) -> None:
        """From now on the client should hold ``wanted``; ``changed``: the names that differ from the last offer."""
        self.wanted, self._generation = wanted, generation
        for name in changed:  # it came, changed or went
            self._refused.reconsider(name, wanted.get(name))
            self._look(name)
            self._settle(name)

    def inherit(self, earlier: Watch) -> None:
        """Know what the same client refused, and last accepted, on an earlier stream."""
        self.good = {**earlier.good, **self.good}
        self._refused.inherit(earlier._refused, self.wanted)

    def try_again(self) -> bool:
        """Offer what was refused again, each alone, so that nothing else is refused with it; whether there is some."""
        found = self._refused.try_again()
        for name in found:
            self._part_of[name] = next(self._nonces)
            self._look(name)
        return bool(found)

    def send_again(self, names: Iterable[str]) -> None:
        """Send these even when unchanged, as soon as the client asks for them."""
        found = [name for name in names if name in self.wanted]
        self._again.update(found)
        self._due.update(found)

    def _look(self, name: str) -> None:
        """File a name under what may have to be sent of it."""
        if name in self.wanted:
            self._due.add(name)
            self._doomed.discard(name)
        else:
            self._due.discard(name)
            self._again.discard(name)
            if name in self._sent:
                self._doomed.add(name)

    def _settle(self, name: str) -> None:
        """Whether the client is behind with a name: does not hold what it should, or something is under way."""
        resource = self.wanted.get(name)
        if resource is None:
            behind = self.type_url in ROOTS and name in self.held
        elif self._stays(name, resource):
            behind = name in self._flights
        else:
            behind = not self.held.get(name) == self._sent.get(name) == resource.version or name in self._flights
        (self.lagging.add if behind else self.lagging.discard)(name)

    def _aim(self, name: str) -> Resource | None:
        """What to send of a name: what is wanted, the last good when it refused that, None to leave it as it is."""
        resource = self.wanted.get(name)
        if resource is None or self._stays(name, resource):
            return None
        return self.good.get(name) if self._refused.bars(resource) else resource

    def _stays(self, name: str, resource: Resource) -> bool:
        """Whether the client goes on with what it holds, since more is not known than that it may."""
        held = self.held.get(name)
        return self._sent.get(name) == held and resource.spares(held)

    def makes_do(self, name: str) -> bool:
        """Whether the client refused what it should hold, an older version is in force, and nothing is under way."""
        held = self.held.get(name)
        if held is None or name not in self.refused or name in self._flights:
            return False
        return name not in self.good or self._sent.get(name) == held

    # --- what the client says ---------------------------------------------------------------

    def receive(self, ask: Ask) -> tuple[Refusal, ...]:
        """Take a request in; gives what it newly refuses."""
        found = self._answered(ask)
        if self._delta or ask.nonce in ("", self._flights.last):  # else it has yet to see our last word, and asks again
            self._subscribe(ask)
        return found

    def _subscribe(self, ask: Ask) -> None:
        """Take in what the client asks for, and what it brings when this is its first word on the type."""
        first, self.asked = not self.asked, True
        wild = self._interest.wildcard
        shift = self._interest.extend(ask) if self._delta else self._interest.replace(ask)
        if shift.began:
            self._greeting = not (first and ask.holds)
            self._due.update(self.wanted)
        for name in shift.asked:
            self._ask_anew(name)
        if first:
            self._resume(ask.holds if self._delta else self._held_at(ask.version))
        narrowed = wild and not self._interest.wildcard
        for name in (*self._sent, *shift.gone) if narrowed else shift.gone:
            if not self._interest.wants(name):
                self._forget(name)

    def _ask_anew(self, name: str) -> None:
        """A client that asks for a name needs an answer, whatever we think that it holds."""
        if name in self.wanted:
            self._sent.pop(name, None)
        elif self._delta:
            self._sent[name] = UNKNOWN  # so that the answer is: there is none
        self._look(name)
        self._settle(name)

    def _resume(self, holds: Mapping[str, str]) -> None:
        """What the client brings from an earlier stream is as good as sent and accepted."""
        for name, version in holds.items():
            if self._interest.wants(name):
                resource = self.wanted.get(name)
                self._sent[name] = version
                self.holdings.put(name, version)
                if resource is not None and resource.version == version:
                    self.good[name] = resource
                    self._refused.accepted(name, version)
                self._look(name)
                self._settle(name)

    def _forget(self, name: str) -> None:
        """The client has let go of a name."""
        self._sent.pop(name, None)
        self.good.pop(name, None)
        self._part_of.pop(name, None)
        self._due.discard(name)
        self._doomed.discard(name)
        self.holdings.put(name, None)
        self._settle(name)

    def _held_at(self, version: str) -> Mapping[str, str]:
        """What a state-of-the-world client brings: all that we would send, when it names the mark of exactly that."""
        found = {name: resource for name, resource in self.wanted.items() if self._interest.wants(name)}
        if not version or version != mark_of(found):
            return {}
        self._greeting = False
        return {name: resource.version for name, resource in found.items()}

    # --- answers ----------------------------------------------------------------------------

    def _answered(self, ask: Ask) -> tuple[Refusal, ...]:
        """The verdict on a response of ours, if the request is one."""
        if (flight := self._flights.end(ask.nonce)) is None:
            return ()
        found = self._accepted(flight) if ask.error is None else self._turned_down(flight, ask.error)
        for name in (*flight.resources, *flight.removed):
            self._settle(name)
        return found

    def _accepted(self, flight: Flight) -> tuple[Refusal, ...]:
        for name, resource in flight.resources.items():
            if name in self._sent:  # still asked for
                self.holdings.put(name, resource.version)
                self.good[name] = resource
                self._refused.accepted(name, resource.version)
            if self._sent.get(name) == resource.version:
                self._part_of.pop(name, None)
        for name in flight.removed:
            self.holdings.put(name, None)
            self.good.pop(name, None)
        return ()

    def _turned_down(self, flight: Flight, reason: str) -> tuple[Refusal, ...]:
        """Keep what is in force; try again in parts, or know which one is bad."""
        for name in flight.removed:  # that it goes is not news that can be refused; something else was
            self.holdings.put(name, None)
        if len(flight.resources) == 1:
            ((name, resource),) = flight.resources.items()
            return self._refuse(name, resource, reason)
        suspects = [name for name, resource in flight.resources.items() if self._sent.get(name) == resource.version]
        for part in parts(suspects, reason):
            number = next(self._nonces)
            self._part_of.update(dict.fromkeys(part, number))
        for name in suspects:
            self._sent[name] = UNKNOWN
            self._look(name)
        return ()

    def _refuse(self, name: str, resource: Resource, reason: str) -> tuple[Refusal, ...]:
        """This one is bad; the last good takes its place again."""
        self._part_of.pop(name, None)
        if self._sent.get(name) == resource.version:
            self._sent[name] = UNKNOWN
            self._look(name)
        wanted, good = self.wanted.get(name), self.good.get(name)
        if good is not None and good.version == resource.version:
            del self.good[name]
        if wanted is None or wanted.version != resource.version:
            return ()
        return self._refused.add(Refusal(self.type_url, name, resource.version, reason.strip(), self._generation))

    # --- what to send -----------------------------------------------------------------------

    def additions(self) -> list[Reply]:
        """Responses with what is new, in the parts in which it has to be tried."""
        if not self.asked or (self._listing and self._flights):
            return []
        found = [self._reply(resources) for resources in self._parts() or ([{}] if self._greeting else [])]
        self._greeting = False
        return found

    def removals(self) -> list[Reply]:
        """A response that takes away what is no longer wanted, if there is something."""
        if not self._doomed or (self._listing and self._flights):
            return []
        names, self._doomed = tuple(sorted(self._doomed)), set()
        for name in names:
            self._sent.pop(name, None)
        if not (self._delta or self._listing):  # cannot be said; the client asks no longer when nothing names it
            for name in names:
                self.holdings.put(name, None)
            return []
        return [self._reply({}, names)]

    def _parts(self) -> list[dict[str, Resource]]:
        """What is due, by part; a listing tries one part after the other, since each builds on those before."""
        found: dict[int, dict[str, Resource]] = {}
        for name in sorted(self._due):
            resource = self._aim(name) if self._interest.wants(name) else None
            if resource is None or (self._sent.get(name) == resource.version and name not in self._again):
                self._due.discard(name)  # what is asked for later is looked at then
            else:
                found.setdefault(self._part_of.get(name, 0), {})[name] = resource
        in_order = [found[part] for part in sorted(found)]
        return in_order[:1] if self._listing else in_order

    def _reply(self, resources: dict[str, Resource], removed: tuple[str, ...] = ()) -> Reply:
        """Send something: remember it until it is answered."""
        for name, resource in resources.items():
            self._sent[name] = resource.version
        self._due -= resources.keys()
        self._again -= resources.keys()
        flight = Flight(resources, removed)
        nonce = self._flights.begin(flight)
        self.lagging.update(name for name in resources if name in self.wanted)
        carried = self._list(resources) if self._listing else resources.values()
        said = () if self._listing else removed
        version = str(self._generation) if self._delta else self.holdings.mark_after(flight)
        return Reply(self.type_url, nonce, version, tuple(carried), said, tuple(resources))

    def _list(self, trying: Mapping[str, Resource]) -> Iterable[Resource]:
        """All that a listing has: what is tried now, beside what is in force or stays for a while."""
        for name in sorted(self.wanted.keys() | self._doomed):
            resource = trying.get(name) or self._in_force(name)
            if resource is not None and self._interest.wants(name):
                yield resource

    def _in_force(self, name: str) -> Resource | None:
        resource = self._aim(name)
        settled = resource is not None and self._sent.get(name) == resource.version
        return resource if settled else self.good.get(name)
