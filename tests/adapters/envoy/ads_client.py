"""A client of discovery streams that exists in memory only, and behaves as Envoy does where it matters.

A cluster's endpoints have its name. A listener's body is the names of the routes that it uses, with commas between.
What is bad is refused: the whole response for clusters and listeners, everything from the bad one on for the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.exchange import Ask, Reply
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.rejections import Refusal
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.resources import (
    CLUSTER,
    ENDPOINTS,
    LISTENER,
    ROUTES,
    Resource,
    Snapshot,
)
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.stream import AdsStream

ROOTS = (CLUSTER, LISTENER)
CHILDREN = {CLUSTER: ENDPOINTS, LISTENER: ROUTES}


def resource(type_url: str, name: str, body: str = "") -> Resource:
    """A resource whose version follows from its name and body."""
    content = f"{name}|{body}".encode()
    return Resource(type_url, name, body.encode(), blake2b(content, digest_size=8).hexdigest())


def snapshot(
    generation: int,
    *,
    clusters: Mapping[str, str] | Iterable[str] = (),
    endpoints: Mapping[str, str] | Iterable[str] | None = None,
    listeners: Mapping[str, str] | None = None,
    routes: Mapping[str, str] | None = None,
) -> Snapshot:
    """A snapshot from bodies by name; endpoints for every cluster unless said otherwise."""
    found: dict[str, Mapping[str, str]] = {}
    found[CLUSTER] = clusters if isinstance(clusters, Mapping) else dict.fromkeys(clusters, "")
    given = found[CLUSTER] if endpoints is None else endpoints
    found[ENDPOINTS] = given if endpoints is not None and isinstance(given, Mapping) else dict.fromkeys(given, "")
    found[LISTENER] = listeners or {}
    found[ROUTES] = routes or {}
    resources = {url: {name: resource(url, name, body) for name, body in of.items()} for url, of in found.items()}
    return Snapshot(generation, resources)


def never(_: Resource) -> bool:
    """Nothing is bad."""
    return False


class Client:
    """What a client holds, by type and name; ``bad`` says what it refuses, ``says_which`` whether it names it."""

    def __init__(
        self,
        *,
        delta: bool,
        bad: Callable[[Resource], bool] = never,
        says_which: bool = False,
        all_or_nothing: bool = True,
    ) -> None:
        self.delta = delta
        self.bad = bad
        self.holds: dict[str, dict[str, Resource]] = {url: {} for url in (CLUSTER, ENDPOINTS, LISTENER, ROUTES)}
        self.taken: list[Reply] = []
        self._says_which = says_which
        self._all_or_nothing = all_or_nothing
        self._asked: dict[str, set[str]] = {}
        self._nonce: dict[str, str] = {}
        self._version: dict[str, str] = {}

    def hello(self) -> list[Ask]:
        """The first requests of a new stream; what is held from an earlier one is said."""
        self._nonce.clear()
        found = [self._first(url) for url in ROOTS]
        for root in ROOTS:
            if self.holds[root]:
                self._asked[CHILDREN[root]] = self._children(root)
                found.append(self._first(CHILDREN[root]))
            else:
                self._asked.pop(CHILDREN[root], None)
        return found

    def take(self, reply: Reply) -> list[Ask]:
        """Answer a response, and ask for what follows from it."""
        self.taken.append(reply)
        spoiled = [one for one in reply.resources if self.bad(one)]
        self._apply(reply, spoiled)
        self._nonce[reply.type_url] = reply.nonce
        if not spoiled:
            self._version[reply.type_url] = reply.version
        error = f"cannot take {spoiled[0].name if self._says_which else 'something'}: no" if spoiled else None
        answer = Ask(reply.type_url, reply.nonce, error, self._names(reply.type_url))
        return [answer, *self._follow(reply.type_url)]

    def _first(self, url: str) -> Ask:
        names = tuple(sorted(self._asked.get(url, ())))
        if self.delta:
            return Ask(url, subscribe=names, holds={name: one.version for name, one in self.holds[url].items()})
        return Ask(url, subscribe=names, version=self._version.get(url, ""))

    def _apply(self, reply: Reply, spoiled: list[Resource]) -> None:
        url, held = reply.type_url, self.holds[reply.type_url]
        if spoiled and url in ROOTS and self._all_or_nothing:
            return
        if url in ROOTS and not self.delta:
            keep = {one.name for one in reply.resources}
            for name in held.keys() - keep:
                del held[name]
        for one in reply.resources:
            if self.bad(one):
                if url not in ROOTS:
                    break
                continue
            held[one.name] = one
        for name in reply.removed:
            held.pop(name, None)

    def _names(self, url: str) -> tuple[str, ...]:
        return () if self.delta else tuple(sorted(self._asked.get(url, ())))

    def _children(self, root: str) -> set[str]:
        if root == CLUSTER:
            return set(self.holds[CLUSTER])
        return {name for one in self.holds[LISTENER].values() for name in one.body.decode().split(",") if name}

    def _follow(self, root: str) -> list[Ask]:
        """Ask for what the roots name now; let go of the rest."""
        child = CHILDREN.get(root)
        if child is None:
            return []
        wanted, before = self._children(root), self._asked.get(child, set())
        if wanted == before:
            return []
        self._asked[child] = wanted
        for name in before - wanted:
            self.holds[child].pop(name, None)
        if self.delta:
            return [Ask(child, subscribe=tuple(sorted(wanted - before)), unsubscribe=tuple(sorted(before - wanted)))]
        return [Ask(child, self._nonce.get(child, ""), None, tuple(sorted(wanted)))]


class Wire:
    """A stream and a client, and what is under way between them in either direction, in order."""

    def __init__(self, client: Client, first: Snapshot | None = None, earlier: AdsStream | None = None) -> None:
        self.client = client
        self.stream = AdsStream(delta=client.delta)
        if earlier is not None:
            self.stream.follow(earlier)
        if first is not None:
            self.stream.offer(first)
        self.down: deque[Reply] = deque()
        self.up: deque[Ask] = deque(client.hello())
        self.refusals: list[Refusal] = []
        self.sent: list[Reply] = []

    def whole(self) -> bool:
        """Whether the client has taken all over, as the stream knows it."""
        return self.stream.whole

    def send(self) -> list[Reply]:
        """What the stream has to say goes on its way."""
        found = self.stream.replies()
        self.sent += found
        self.down += found
        return found

    def hear(self) -> None:
        """One request reaches the stream."""
        if self.up:
            self.refusals += self.stream.receive(self.up.popleft())

    def answer(self) -> None:
        """One response reaches the client."""
        if self.down:
            self.up += self.client.take(self.down.popleft())

    def settle(self) -> list[Reply]:
        """Both go on until neither has anything to say; gives what the stream said."""
        before = len(self.sent)
        for _ in range(10_000):
            self.send()
            if not (self.up or self.down):
                return self.sent[before:]
            self.answer()
            while self.up:
                self.hear()
        raise AssertionError("they never stop")
