"""One aggregated discovery stream: what to send next, given what the client said and what it should hold. Pure.

Each call of ``replies`` makes additions in the order clusters, endpoints, listeners, routes. Two things wait:

- Routes, until every new cluster is accepted and its endpoints too: nothing is routed to what is not there yet. Envoy
  accepts clusters only when it has checked the health of their endpoints. One that was refused is not waited for.
- Removals, which go the other way: clusters when listeners and routes are accepted whole, so none is taken from under a
  route. A refused route keeps the clusters that its last good version may name.

Endpoints wait for nothing, so that no failover does. Those of a cluster that changes are sent with it, even unchanged:
Envoy would wait for them in vain and use the old configuration meanwhile.

A client must take all four types over the stream; it is behind as long as it did not ask for one that has resources.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from itertools import compress, count
from operator import is_not

from .exchange import Ask, Reply
from .rejections import Refusal
from .resources import CLUSTER, ENDPOINTS, IN_ORDER, LISTENER, Resource, Snapshot
from .resumption import Resumption
from .watch import Watch

Changes = Mapping[str, Set[str]]
"""By type: the names that differ between two snapshots."""


def differences(old: Snapshot | None, new: Snapshot) -> dict[str, Set[str]]:
    """The names whose content differs, by type; all when there is no old one. Types without any are left out."""
    before = old.resources if old is not None else {}
    found: dict[str, Set[str]] = {}
    for type_url in before.keys() | new.resources.keys():
        was, now = before.get(type_url, {}), new.resources.get(type_url, {})
        names = _differing(was, now) if was is not now else set()
        if names:
            found[type_url] = names
    return found


def _differing(was: Mapping[str, Resource], now: Mapping[str, Resource]) -> set[str]:
    """The names of one type; what did not change is most, and mostly the same object: that is looked at first."""
    others = list(compress(now, map(is_not, map(was.get, now), now.values())))
    names = {name for name in others if name not in was or was[name].version != now[name].version}
    if len(was) + sum(name not in was for name in others) > len(now):
        names |= was.keys() - now.keys()
    return names


class AdsStream:
    """The state of one stream. ``delta``: whether it speaks the incremental protocol.

    ``resumption``: whether it goes on where an earlier stream of the edge ended, None when there was none before it.
    ``routes_on_trial``: some routes are of an older version for the moment, and may name clusters that are to go.
    """

    def __init__(self, *, delta: bool) -> None:
        self.delta = delta
        self.snapshot: Snapshot | None = None
        self.routes_on_trial = False
        self._nonces = count(1)
        self._watches = {type_url: Watch(type_url, self._nonces, delta=delta) for type_url in IN_ORDER}
        self._earlier: AdsStream | None = None
        self.resumption: Resumption | None = None

    def follow(self, earlier: AdsStream) -> None:
        """An earlier stream of the edge: what its client refused counts here once this one shows that it is the same.

        To be called before the first request.
        """
        if not any(watch.asked for watch in earlier._watches.values()):  # it ended before it said anything
            self._earlier, self.resumption = earlier._earlier, earlier.resumption
            return
        earlier._earlier, self._earlier = None, earlier
        accepted = {url: watch.holdings for url, watch in earlier._watches.items()}
        self.resumption = Resumption(accepted, earlier.resumption)

    def offer(self, snapshot: Snapshot, changes: Changes | None = None) -> None:
        """From now on the client should hold this. ``changes``: against the last offer; worked out when None."""
        found = differences(self.snapshot, snapshot) if changes is None else changes
        self.snapshot = snapshot
        for type_url in (*IN_ORDER, *(found.keys() - set(IN_ORDER))):
            wanted = snapshot.resources.get(type_url, {})
            self._watch(type_url).offer(wanted, found.get(type_url, ()), snapshot.generation)

    def receive(self, ask: Ask) -> tuple[Refusal, ...]:
        """Take a request in; gives what it newly refuses."""
        watch = self._watch(ask.type_url)
        if not watch.asked:
            self._greet(ask)
        return watch.receive(ask)

    def try_again(self) -> bool:
        """Offer what was refused once more: what was wrong may lie outside of it. Gives whether there is some."""
        return any([watch.try_again() for watch in self._watches.values()])

    def replies(self) -> list[Reply]:
        """What to send now, in order; nothing before the first offer."""
        if self.snapshot is None:
            return []
        clusters, endpoints, listeners, routes = (self._watches[type_url] for type_url in IN_ORDER)
        found = self._clusters(clusters.additions())
        found += endpoints.additions()
        found += listeners.additions()
        found += routes.additions() if not self.routes_wait else []
        found += self._removals(clusters, endpoints, listeners, routes)
        for type_url, watch in self._watches.items():
            found += [*watch.additions(), *watch.removals()] if type_url not in IN_ORDER else []
        return found

    @property
    def routes_wait(self) -> bool:
        """Whether there are clusters that routes may name and that are not ready."""
        behind = self._watches[CLUSTER].lagging | self._watches[ENDPOINTS].lagging
        return any(self._is_coming(name) for name in behind)

    @property
    def whole(self) -> bool:
        """Whether the client has accepted all that it should hold."""
        return self.snapshot is not None and not any(watch.lagging for watch in self._watches.values())

    @property
    def settled(self) -> bool:
        """Whether it is whole but for refused parts, each with an older version in force, and no endpoints among them.

        An older version of endpoints may send requests where none should go.
        """
        behind = self.snapshot is None or self._watches[ENDPOINTS].lagging
        return not behind and all(watch.makes_do(name) for watch in self._watches.values() for name in watch.lagging)

    @property
    def deaf(self) -> bool:
        """Whether the client refused its listeners and has none before them: it listens to nobody."""
        listeners = self._watches[LISTENER]
        return bool(listeners.refused) and not listeners.held

    def held(self, type_url: str, name: str) -> str | None:
        """The version of a resource that the client accepted, None when it holds none."""
        return self._watch(type_url).held.get(name)

    @property
    def refused(self) -> tuple[Refusal, ...]:
        """What the client does not take at the version that it should hold, by type and name."""
        return tuple(watch.refused[name] for watch in self._watches.values() for name in sorted(watch.refused))

    def _greet(self, ask: Ask) -> None:
        """The first request about a type may tell whether the client is the one of the earlier stream."""
        if self.resumption is None:
            return
        before = self.resumption.same
        self.resumption.hear(ask, delta=self.delta)
        if before is None and self.resumption.same is not None:
            earlier, self._earlier = self._earlier, None
            for type_url, watch in earlier._watches.items() if earlier is not None and self.resumption.same else ():
                self._watch(type_url).inherit(watch)

    def _watch(self, type_url: str) -> Watch:
        if type_url not in self._watches:
            self._watches[type_url] = Watch(type_url, self._nonces, delta=self.delta)
        return self._watches[type_url]

    def _clusters(self, replies: list[Reply]) -> list[Reply]:
        """These replies as they are; the endpoints of their clusters are due again."""
        self._watches[ENDPOINTS].send_again(name for reply in replies for name in reply.news)
        return replies

    def _removals(self, clusters: Watch, endpoints: Watch, listeners: Watch, routes: Watch) -> list[Reply]:
        found = listeners.removals()
        found += routes.removals() if not listeners.lagging else []
        behind = listeners.lagging or routes.lagging or self.routes_on_trial
        found += clusters.removals() if not behind else []
        return found + (endpoints.removals() if not clusters.lagging else [])

    def _is_coming(self, name: str) -> bool:
        """Whether a cluster is wanted, not refused, and not accepted yet, or its endpoints are not."""
        clusters, endpoints = self._watches[CLUSTER], self._watches[ENDPOINTS]
        if name not in clusters.wanted or name in clusters.refused:
            return False
        if name not in clusters.held:
            return True
        return name in endpoints.wanted and name not in endpoints.refused and name not in endpoints.held
