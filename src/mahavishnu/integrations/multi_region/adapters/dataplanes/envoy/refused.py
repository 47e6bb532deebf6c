"""What a client refused of one type of resource, and what of it is on trial again. Pure.

Why something was refused may lie outside of it: a file that its machine did not have. So it is offered again from time
to time, though it has not changed; that it is refused again, for the same reason, is no news.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .rejections import Refusal
from .resources import Resource


class Refused:
    """See the module. ``known``: by name, for reading; what is on trial stays there until it is accepted."""

    def __init__(self) -> None:
        self.known: dict[str, Refusal] = {}
        self._on_trial: set[str] = set()

    def inherit(self, earlier: Refused, wanted: Mapping[str, Resource]) -> None:
        """Know what the same client refused on an earlier stream and what is still ``wanted``."""
        for name, refusal in earlier.known.items():
            self.known.setdefault(name, refusal)
            self.reconsider(name, wanted.get(name))

    def bars(self, resource: Resource) -> bool:
        """Whether it is not to be sent: refused at this version, and not on trial again."""
        refusal = self.known.get(resource.name)
        return refusal is not None and refusal.version == resource.version and resource.name not in self._on_trial

    def reconsider(self, name: str, wanted: Resource | None) -> None:
        """What should be under a name is this now; only the version that was refused stays so."""
        refusal = self.known.get(name)
        if refusal is not None and (wanted is None or wanted.version != refusal.version):
            self._drop(name)

    def accepted(self, name: str, version: str) -> None:
        """The client has this version in force."""
        refusal = self.known.get(name)
        if refusal is not None and refusal.version == version:
            self._drop(name)

    def add(self, refusal: Refusal) -> tuple[Refusal, ...]:
        """The client refused this; gives it when that is news. The generation stays the one of the first time."""
        before = self.known.get(refusal.name)
        self._on_trial.discard(refusal.name)
        again = before is not None and before.version == refusal.version
        if before is not None and again:
            refusal = replace(refusal, generation=before.generation)
        self.known[refusal.name] = refusal
        return () if again and before is not None and before.reason == refusal.reason else (refusal,)

    def try_again(self) -> tuple[str, ...]:
        """Have all of it on trial; gives the names that were not yet."""
        found = tuple(sorted(self.known.keys() - self._on_trial))
        self._on_trial.update(found)
        return found

    def _drop(self, name: str) -> None:
        self.known.pop(name, None)
        self._on_trial.discard(name)
