"""What happens at edges, as events of the log and alarms: come and gone, parts refused, regions ejected or astray.

What is told again and again is recorded once. Decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from mahavishnu.integrations.multi_region.core.events import Event, EventKind
from mahavishnu.integrations.multi_region.ports.clock import Clock
from mahavishnu.integrations.multi_region.ports.dataplane import Astray, Connected, Ejected, Rejected
from mahavishnu.integrations.multi_region.shell.recorder import Recorder

log = structlog.get_logger(__name__)


class EdgeAlarms:
    """Records what edges tell, and remembers what is wrong with them now."""

    def __init__(self, recorder: Recorder, clock: Clock) -> None:
        self._recorder = recorder
        self._clock = clock
        self._connected: set[str] = set()
        self._refused: dict[tuple[str, str], str] = {}
        self._ejected: set[tuple[str, str, str]] = set()
        self._astray: dict[str, dict[str, tuple[str, ...]]] = {}

    def astray(self, edge_id: str) -> Mapping[str, tuple[str, ...]]:
        """Regions that an edge holds in a class where they do not belong, by class, as it last told."""
        return dict(self._astray.get(edge_id, {}))

    def connection(self, told: Connected, leave: str | None = None) -> None:
        """An edge came, or is gone: what it refused and ejected then counts no more.

        ``leave``: why it was to go; None when nobody asked it to, which is an alarm.
        """
        edge_id = told.edge_id
        if told.connected is (edge_id in self._connected):
            return
        if told.connected:
            self._connected.add(edge_id)
            self._event(EventKind.EDGE_CONNECTED, edge_id, "listens to us")
            return
        self._connected.discard(edge_id)
        self._refused = {key: why for key, why in self._refused.items() if key[0] != edge_id}
        self._ejected = {key for key in self._ejected if key[0] != edge_id}
        if leave is not None:
            self._event(EventKind.EDGE_LEFT, edge_id, leave)
            return
        self._event(EventKind.EDGE_LOST, edge_id, "does not listen any more; it goes on with what it has")

    def rejection(self, told: Rejected) -> None:
        """An edge refused a part of a plan: an alarm, since the older version of it stays in force there."""
        refused = told.rejection
        key = told.edge_id, refused.resource
        if self._refused.get(key) == refused.reason:
            return
        self._refused[key] = refused.reason
        details = {"resource": refused.resource, "generation": refused.generation}
        log.warning("edge refused part of a plan", edge=told.edge_id, reason=refused.reason, **details)
        self._event(EventKind.EDGE_REJECTED, told.edge_id, refused.reason, **details)

    def ejection(self, told: Ejected) -> None:
        """An edge took a region out of a class by what its own requests met, or lets it back in."""
        key = told.edge_id, told.region_id, told.class_name
        if told.ejected is (key in self._ejected) and told.classes == 1:
            return
        (self._ejected.add if told.ejected else self._ejected.discard)(key)
        kind = EventKind.EDGE_EJECTED if told.ejected else EventKind.EDGE_READMITTED
        details = {"region": told.region_id, "traffic_class": told.class_name, **_several(told)}
        self._event(kind, told.edge_id, told.cause, **details)

    def stray(self, told: Astray) -> None:
        """An edge holds regions where they do not belong: an alarm, the law may be broken. None: it does no more."""
        known = self._astray.setdefault(told.edge_id, {})
        if known.get(told.class_name, ()) == told.regions:
            return
        if not told.regions:
            del known[told.class_name]
            return
        known[told.class_name] = told.regions
        details = {"traffic_class": told.class_name, "regions": list(told.regions), **_several(told)}
        log.error("edge holds regions where they do not belong", edge=told.edge_id, **details)
        where = told.class_name if told.classes == 1 else f"{told.classes} classes more"
        text = f"holds {', '.join(told.regions)} in {where}, where they do not belong"
        self._event(EventKind.EDGE_ASTRAY, told.edge_id, text, **details)

    def _event(self, kind: EventKind, edge_id: str, reason: str, **details: object) -> None:
        self._recorder.soon(Event(kind, self._clock.now(), edge_id, reason=reason, details=details))


def _several(told: Ejected | Astray) -> dict[str, object]:
    """How many classes are meant, when that is more than one."""
    return {} if told.classes == 1 else {"classes": told.classes}
