"""Mutable values that tell their keepers when one of their attributes has changed. Decides nothing.

Keepers are held weakly: a value that is shared by several of them tells each, and outlives any.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any, cast
from weakref import ref

_ABSENT = object()

Watcher = tuple[ref[Any], Callable[[Any], None]]
"""An object, held weakly, and what to call with it. A ``WeakMethod`` says the same in seven objects, and there are
thousands of these for a garbage collection to look at."""


class Watched:
    """Calls what watches it after an attribute has got another value; setting it to what it was is no change."""

    _watchers: tuple[Watcher, ...] = ()

    def __setattr__(self, name: str, value: Any) -> None:
        before = self.__dict__.get(name, _ABSENT)
        object.__setattr__(self, name, value)
        if before is not value and not (type(before) is type(value) and before == value):
            self._tell()

    def _watch(self, changed: Callable[[], None]) -> None:
        """Call ``changed``, a method of an object that its owner keeps alive, after each change."""
        method = cast(MethodType, changed)
        keeper, told = method.__self__, method.__func__
        standing = ((owner, other, owner()) for owner, other in self._watchers)
        others = [(o, f) for o, f, kept in standing if kept is not None and (kept is not keeper or f is not told)]
        object.__setattr__(self, "_watchers", (*others, (ref(keeper), told)))

    def _tell(self) -> None:
        for owner, told in self._watchers:
            kept = owner()
            if kept is not None:
                told(kept)

    @property
    def _kept(self) -> bool:
        """Whether anybody watches."""
        return any(owner() is not None for owner, _ in self._watchers)

    def __getstate__(self) -> dict[str, Any]:
        """A copy is nobody's yet: who watches the original does not watch it."""
        return {name: value for name, value in self.__dict__.items() if name != "_watchers"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
