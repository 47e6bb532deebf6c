"""Whether a new stream of an edge comes from the client of an earlier one, as its first requests tell. Pure.

A client that goes on says what it holds; one that was started anew holds nothing. One that was started on what its
agent had kept says what it holds as well, and passes for the one before it.
"""

from __future__ import annotations

from collections.abc import Mapping

from .exchange import Ask, Holdings


class Resumption:
    """See the module. ``accepted``: what the client of the stream before had accepted, by type. ``earlier``: of that
    stream; what its client had not told before it broke is still to be shown.

    ``same``: whether it is that client, None while nothing tells. ``holds_all``: whether it holds all of ``accepted``,
    at these versions, None while that may still be so.
    """

    def __init__(self, accepted: Mapping[str, Holdings], earlier: Resumption | None = None) -> None:
        self.same: bool | None = None
        self.holds_all: bool | None = None
        self._left: dict[str, Holdings] = {url: held for url, held in accepted.items() if held.versions}
        if earlier is not None:
            self._left.update(earlier._left)

    def hear(self, ask: Ask, *, delta: bool) -> None:
        """Take in the first request about a type."""
        brings, expected = bool(ask.holds or ask.version), self._left.pop(ask.type_url, None)
        if self.same is None and (brings or expected is not None):
            self.same = brings
        if expected is None or self.holds_all is False:
            return
        if not (_has(ask.holds, expected.versions) if delta else ask.version == expected.mark):
            self.holds_all = False
        elif not self._left:
            self.holds_all = True


def _has(holds: Mapping[str, str], expected: Mapping[str, str]) -> bool:
    return all(holds.get(name) == version for name, version in expected.items())
