"""What is said on a discovery stream, as plain values: requests, responses, and what became of responses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from .resources import Resource

EVERYTHING = "*"
"""The name by which a client asks for all resources of a type."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A discovery request of either kind.

    ``nonce``: of the response that it answers, "" for none; ``error``: why that response is refused, None when it is
    accepted. ``subscribe``: further names, or in the state-of-the-world protocol all names. ``holds``: version by name
    of what an incremental client brings from an earlier stream; ``version``: the same for a state-of-the-world client.
    """

    type_url: str
    nonce: str = ""
    error: str | None = None
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    holds: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    version: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """A discovery response of either kind, before it is encoded.

    ``news``: the names in ``resources`` that the client has yet to accept; a listing has others beside them.
    """

    type_url: str
    nonce: str
    version: str
    resources: tuple[Resource, ...] = ()
    removed: tuple[str, ...] = ()
    news: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Flight:
    """A response that was not answered yet: what is new in it, and what it takes away."""

    resources: Mapping[str, Resource]
    removed: tuple[str, ...]


class Flights:
    """Responses that were not answered yet. ``last``: the nonce of the last one."""

    def __init__(self, nonces: Iterator[int]) -> None:
        self.last = ""
        self._nonces = nonces
        self._under_way: dict[str, Flight] = {}
        self._names: Counter[str] = Counter()

    def __bool__(self) -> bool:
        """Whether any is under way."""
        return bool(self._under_way)

    def __contains__(self, name: object) -> bool:
        """Whether something of a name is under way."""
        return self._names[str(name)] > 0

    def begin(self, flight: Flight) -> str:
        """One goes out; gives its nonce."""
        self.last = str(next(self._nonces))
        self._under_way[self.last] = flight
        self._names.update([*flight.resources, *flight.removed])
        return self.last

    def end(self, nonce: str) -> Flight | None:
        """One was answered; None when none has that nonce."""
        flight = self._under_way.pop(nonce, None)
        if flight is not None:
            self._names.subtract([*flight.resources, *flight.removed])
        return flight


class Holdings:
    """Which version of each resource a client holds, and a mark of all of it that is kept as it changes."""

    def __init__(self) -> None:
        self.versions: dict[str, str] = {}
        self._mark = 0

    @property
    def mark(self) -> str:
        """Of all that it holds now."""
        return f"{self._mark:x}"

    def put(self, name: str, version: str | None) -> None:
        """The client holds this version now; None: nothing of the name."""
        self._mark ^= _mark(self.versions.pop(name, None))
        if version is not None:
            self.versions[name] = version
            self._mark ^= _mark(version)

    def mark_after(self, flight: Flight) -> str:
        """The mark once a response is accepted."""
        mark = self._mark
        for name, resource in flight.resources.items():
            mark ^= _mark(self.versions.get(name)) ^ _mark(resource.version)
        for name in flight.removed:
            mark ^= _mark(self.versions.get(name))
        return f"{mark:x}"


def mark_of(resources: Mapping[str, Resource]) -> str:
    """The mark of a client that holds exactly these."""
    found = Holdings()
    for name, resource in resources.items():
        found.put(name, resource.version)
    return found.mark_after(Flight({}, ()))


def _mark(version: str | None) -> int:
    """Marks add up without order, and whatever is added twice is gone; a version is a hash of content with its name."""
    return 0 if version is None else int.from_bytes(version.encode())
