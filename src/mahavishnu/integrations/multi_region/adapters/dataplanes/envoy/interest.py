"""Which resources of a type a client asks for, in either protocol. Pure."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from .exchange import EVERYTHING, Ask


@dataclass(frozen=True, slots=True)
class Shift:
    """What changed: names asked for (or asked for again), names let go, and whether everything is asked for now."""

    asked: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    began: bool = False


class Interest:
    """``root``: a type of which a client that names nothing wants everything."""

    def __init__(self, *, root: bool) -> None:
        self.wildcard = False
        self.names: Set[str] = frozenset()
        self._root = root
        self._asked = False

    def wants(self, name: str) -> bool:
        """Whether a name is asked for."""
        return self.wildcard or name in self.names

    def extend(self, ask: Ask) -> Shift:
        """The incremental protocol: names come and go one by one."""
        first, self._asked = not self._asked, True
        began = EVERYTHING in ask.subscribe or (first and self._root and not ask.subscribe)
        self.wildcard = (self.wildcard or began) and EVERYTHING not in ask.unsubscribe
        asked = tuple(name for name in ask.subscribe if name != EVERYTHING)
        left = tuple(name for name in ask.unsubscribe if name != EVERYTHING)
        if asked or left:
            self.names = (self.names | set(asked)) - set(left)
        if self.wildcard:  # whoever lets go of a name and wants everything needs to hear of it again
            return Shift((*asked, *left), (), began)
        return Shift(asked, left, began)

    def replace(self, ask: Ask) -> Shift:
        """The state-of-the-world protocol: each request has all names; none at all from the start means everything."""
        first, self._asked = not self._asked, True
        names = set(ask.subscribe) - {EVERYTHING}
        before, wild = self.names, self.wildcard
        implied = not ask.subscribe and (self._root if first else wild and not before)
        self.names, self.wildcard = names, EVERYTHING in ask.subscribe or implied
        gone = () if self.wildcard else tuple(sorted(before - names))
        return Shift(tuple(sorted(names - before)), gone, self.wildcard and not wild)
