"""Which services' virtual hosts an edge refuses, found while the others go on. Pure.

All routes of an edge are one resource, and Envoy takes or refuses it whole. After a refusal the virtual hosts that
changed since the last accepted version are tried in groups, one group at a time on top of all that is good: what is
accepted is in force and good from then on, a group that is refused is tried again in parts, and a virtual host that is
refused alone is bad. A bad one stays at its last good version, or away when it has none, until its content changes, or
until it is accepted when it is tried again.

A newer plan in the middle of a search goes on with it: what did not change keeps its group, the rest is one more group.
With ``n`` changed virtual hosts of which ``d`` are bad, some ``2 d log2(n)`` versions are published.

Host names are why virtual hosts are not independent: one that takes a name over from another is refused as long as the
other still has it. Such are tried together, and one that was refused beside a holder of its names is tried again when
that has let go of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .rejections import is_named
from .resources import Part

Group = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bad:
    """A virtual host that was refused alone, and why. ``rivals``: others in force that had host names of it."""

    part: Part
    reason: str
    rivals: frozenset[str]


class RouteSearch:
    """See the module. ``trial``: what should be published now, by service. ``bad``: what is held back.

    ``broken``: why even the routes without any virtual host were refused, None when they were not.
    """

    def __init__(self) -> None:
        self.trial: Mapping[str, Part] = {}
        self.bad: dict[str, Bad] = {}
        self.broken: str | None = None
        self.searching = False
        self._wanted: Mapping[str, Part] = {}
        self._newest: Mapping[str, Part] | None = None
        self._good: Mapping[str, Part] = {}
        self._queue: list[Group] = []
        self._named: Group = ()
        self._trusting = True

    @property
    def good(self) -> Mapping[str, Part]:
        """What was accepted last."""
        return self._good

    @property
    def whole(self) -> bool:
        """Whether nothing is held back or looked for; what is on trial may still be on its way."""
        return not (self.bad or self.searching or self.broken)

    def offer(self, wanted: Mapping[str, Part]) -> None:
        """From now on these should be in force; in a search they are taken up with the next answer."""
        if self.searching:
            self._newest = wanted
            return
        self.broken = None
        self._queue.clear()
        self._take(wanted)
        self._aim()

    def try_again(self) -> bool:
        """What was refused is tried once more, one after the other; whether there is something to try.

        Not in the middle of a search, and it stays known as bad until it is accepted.
        """
        if self.searching or not self.bad:
            return False
        self._queue = [(name,) for name in self.bad]
        self.searching = True
        self._aim()
        return True

    def accepted(self) -> None:
        """The edge took the trial over."""
        self._good, self.broken = self.trial, None
        if self._queue:
            for name in self._queue[0]:
                self.bad.pop(name, None)
            self._trusting = self._trusting and self._queue[0] != self._named
            del self._queue[0]
        self._go_on()

    def refused(self, reason: str) -> tuple[str, ...]:
        """The edge refused the trial; gives what is newly known as bad, or for another reason."""
        if not self.searching:
            self._trusting, self._named = True, ()
        group = self._queue.pop(0) if self._queue else ()
        before = {name: self.bad[name].reason for name in group if name in self.bad}
        if len(group) == 1:
            self.bad[group[0]] = Bad(self._wanted[group[0]], reason, self._rivals(group[0]))
        elif group:
            self._queue[:0] = self._split(group, reason)
        else:
            self._doubt(reason)
        self._go_on()
        return tuple(name for name in group if name in self.bad and self.bad[name].reason != before.get(name))

    def _go_on(self) -> None:
        """The next trial, by the newest that is wanted."""
        if self._newest is not None:
            self._take(self._newest)
        for name, bad in list(self.bad.items()):
            if self._rivals(name) != bad.rivals and (name,) not in self._queue:
                del self.bad[name]
                self._queue.append((name,))
        self.searching = bool(self._queue)
        self._aim()

    def _take(self, wanted: Mapping[str, Part]) -> None:
        """Aim for these: what did not change stays where it is in the search."""
        before, self._wanted, self._newest = self._wanted, wanted, None
        self.bad = {name: bad for name, bad in self.bad.items() if wanted.get(name) == bad.part}
        kept = [
            tuple(name for name in group if name in wanted and wanted[name] == before.get(name))
            for group in self._queue
        ]
        known = {name for group in kept for name in group} | self.bad.keys()
        fresh = tuple(name for name, part in wanted.items() if name not in known and part != self._good.get(name))
        self._queue = [group for group in (fresh, *kept) if group]

    def _aim(self) -> None:
        """What to publish: the group on trial, and of all others the last good."""
        if not self.searching and not self.bad:
            self.trial = self._wanted
            return
        trying = set(self._queue[0]) if self._queue else set()
        parts = ((name, part if name in trying else self._good.get(name)) for name, part in self._wanted.items())
        self.trial = {name: part for name, part in parts if part is not None}

    def _doubt(self, reason: str) -> None:
        """What was good is refused, so that no verdict holds; when there was nothing, no virtual host is to blame."""
        if not self.trial:
            self.broken = reason
            return
        self._good, self.bad = {}, {}
        self._queue = [tuple(self._wanted)]

    def _split(self, group: Group, reason: str) -> Sequence[Group]:
        """The parts in which a group is tried again: those that the reason names first, else halves.

        A reason that named what turned out to be good is not asked again in this search.
        """
        units = self._units(group)
        if len(units) == 1:
            return [(name,) for name in group]
        named = [unit for unit in units if any(self._is_named(name, reason) for name in unit)]
        if self._trusting and named and len(named) < len(units):
            self._named = _joined(named)
            return [self._named, _joined([unit for unit in units if unit not in named])]
        middle = len(units) // 2
        return [_joined(units[:middle]), _joined(units[middle:])]

    def _is_named(self, name: str, reason: str) -> bool:
        return is_named(name, reason) or any(is_named(host, reason) for host in self._wanted[name].hosts)

    def _units(self, group: Group) -> list[Group]:
        """The group in sets of virtual hosts that take host names over from each other."""
        takers: dict[str, list[str]] = {}
        for name in group:
            for host in self._wanted[name].hosts:
                takers.setdefault(host, []).append(name)
        unit_of = {name: [name] for name in group}
        for name in group:
            held = self._good[name].hosts if name in self._good else ()
            for other in [taker for host in held for taker in takers.get(host, ())]:
                if unit_of[name] is not unit_of[other]:
                    unit_of[name].extend(unit_of[other])
                    unit_of.update(dict.fromkeys(unit_of[other], unit_of[name]))
        return list({id(unit): tuple(unit) for unit in unit_of.values()}.values())

    def _rivals(self, name: str) -> frozenset[str]:
        """Others in force that have host names which this one wants."""
        hosts = self._wanted[name].hosts
        return frozenset(other for other, part in self._good.items() if other != name and part.hosts & hosts)


def _joined(units: Sequence[Group]) -> Group:
    return tuple(name for unit in units for name in unit)
