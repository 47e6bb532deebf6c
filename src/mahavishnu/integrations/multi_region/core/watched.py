"""Mutable values that tell their keepers when one of their attributes has changed. Decides nothing.

Keepers are held weakly: a value that is shared by several of them tells each, and outlives any.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakMethod

_ABSENT = object()


class Watched:
    """Calls what watches it after an attribute has got another value; setting it to what it was is no change."""

    _watchers: tuple[WeakMethod[Callable[[], None]], ...] = ()

    def __setattr__(self, name: str, value: Any) -> None:
        before = self.__dict__.get(name, _ABSENT)
        object.__setattr__(self, name, value)
        if before is not value and not (type(before) is type(value) and before == value):
            self._tell()

    def _watch(self, changed: Callable[[], None]) -> None:
        """Call ``changed``, a method of an object that its owner keeps alive, after each change."""
        others = tuple(watcher for watcher in self._watchers if watcher() not in (None, changed))
        object.__setattr__(self, "_watchers", (*others, WeakMethod(changed)))

    def _tell(self) -> None:
        for watcher in self._watchers:
            changed = watcher()
            if changed is not None:
                changed()

    @property
    def _kept(self) -> bool:
        """Whether anybody watches."""
        return any(watcher() is not None for watcher in self._watchers)

    def __getstate__(self) -> dict[str, Any]:
        """A copy is nobody's yet: who watches the original does not watch it."""
        return {name: value for name, value in self.__dict__.items() if name != "_watchers"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
