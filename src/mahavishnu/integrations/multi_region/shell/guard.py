"""Stands between a verdict and its effect: a region that is down leaves service only if safety lets it (L9, L10).

Keeps who is held in service and who was taken out lately; the rules themselves are in ``core/safety.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import MappingProxyType

from mahavishnu.integrations.multi_region.core.events import Event, EventKind
from mahavishnu.integrations.multi_region.core.health import HealthState, phase_of_score
from mahavishnu.integrations.multi_region.core.model import Fleet, Phase, Region
from mahavishnu.integrations.multi_region.core.real_traffic import by_probes_alone
from mahavishnu.integrations.multi_region.core.safety import (
    Carried,
    Removal,
    Rule,
    Violation,
    automatic_violation,
    in_service,
    serves_as,
    sight_violation,
    still_out,
)
from mahavishnu.integrations.multi_region.ports.clock import Clock

from .recorder import Recorder
from .registry import Registry


@dataclass(frozen=True, slots=True)
class Verdict:
    """A region's phase changed and has taken effect. ``doubt_since``: monotonic time of the first bad sign, if any."""

    region_id: str
    before: Phase
    after: Phase
    reason: str
    doubt_since: float | None


Listener = Callable[[Verdict], None]

Sight = Callable[[str], frozenset[Carried]]
"""Which kinds of requests edges see a region answer now."""


def nothing_carried(_: str) -> frozenset[Carried]:
    """Without edges nobody sees a region but us."""
    return frozenset()


class ServingGuard:
    """Turns changes of health into changes of service, through the safety rules. ``carried``: what edges see."""

    def __init__(self, registry: Registry, recorder: Recorder, clock: Clock) -> None:
        self._registry = registry
        self._recorder = recorder
        self._clock = clock
        self._removals: tuple[Removal, ...] = ()
        self._listeners: list[Listener] = []
        self.carried: Sight = nothing_carried

    def subscribe(self, listener: Listener) -> None:
        """Be told of each verdict that takes effect; the listener must return at once."""
        self._listeners.append(listener)

    def unsubscribe(self, listener: Listener) -> None:
        """Be told no more."""
        self._listeners.remove(listener)

    def changed(self, region_id: str, before: HealthState, after: HealthState) -> None:
        """A region's evidence changed; when its phase did, see what that does to its service."""
        region = self._registry.regions[region_id]
        standing = self._standing_by(before, region)
        if after.judged:
            object.__setattr__(region, "health_score", after.score)
        if before.phase is after.phase and before.judged == after.judged:
            if before.score != after.score:
                self._registry.touch(region_id)
            return
        self._registry.touch(region_id)
        self._record_change(region_id, before, after)
        if after.phase is Phase.DOWN:
            doubt = after.doubt_since
            self._take_out(region_id, standing, after.reason, doubt)
        else:
            self._let_go(region_id)
            self._tell(Verdict(region_id, before.phase, after.phase, after.reason, before.doubt_since))

    def _standing_by(self, state: HealthState, region: Region) -> Phase:
        """What decisions went by while the region's health was ``state``."""
        held = self._registry.held.get(region.region_id)
        if held is not None:
            return held[1]
        return state.phase if state.judged else phase_of_score(region.health_score)

    def review(self) -> None:
        """Look again at the regions held in service: what forbade their removal may be over."""
        for region_id in list(self._registry.held):
            state = self._registry.health.get(region_id)
            if region_id not in self._registry.regions or state is None or state.phase is not Phase.DOWN:
                self._let_go(region_id)
                continue
            violation = self._violation(region_id)
            if violation is None:
                self._let_go(region_id)
                self._take_out(region_id, Phase.UNKNOWN, state.reason, state.doubt_since)
            elif self._edges_saw_it(region_id) and violation.rule is not Rule.EDGES_SEE_ALIVE:
                self._hold(region_id, violation, serves_as(violation, Phase.UNKNOWN))

    def _take_out(self, region_id: str, standing: Phase, reason: str, doubt_since: float | None) -> None:
        violation = self._violation(region_id, standing)
        if violation is not None:
            self._hold(region_id, violation, serves_as(violation, standing))
            return
        now = self._clock.monotonic()
        fleet = _with_standing(self._registry.fleet(), region_id, standing)
        self._removals = still_out(self._removals, now, fleet.limits.window_s)
        if in_service(fleet.regions[region_id]):
            others = (removal for removal in self._removals if removal.region_id != region_id)
            self._removals = (*others, Removal(region_id, now, fleet.regions[region_id].max_capacity))
        self._tell(Verdict(region_id, standing, Phase.DOWN, reason, doubt_since))

    def _violation(self, region_id: str, standing: Phase = Phase.UNKNOWN) -> Violation | None:
        """Which rule forbids it; none for a region that serves nobody anyway: nothing is taken away."""
        fleet = _with_standing(self._registry.fleet(), region_id, standing)
        if not in_service(fleet.regions[region_id]):
            return None
        return self._seen_by_edges(fleet, region_id) or automatic_violation(
            fleet, region_id, self._removals, self._clock.monotonic()
        )

    def _seen_by_edges(self, fleet: Fleet, region_id: str) -> Violation | None:
        """Whether only our own probes want the region out, and edges see it answer what no other could."""
        state = self._registry.health.get(region_id)
        if state is None or not by_probes_alone(state, self._clock.monotonic()):
            return None
        return sight_violation(fleet, region_id, self.carried(region_id))

    def _edges_saw_it(self, region_id: str) -> bool:
        return self._registry.held[region_id][0].rule is Rule.EDGES_SEE_ALIVE

    def _hold(self, region_id: str, violation: Violation, phase: Phase) -> None:
        self._registry.held[region_id] = (violation, phase)
        self._registry.touch(region_id)
        self._event(EventKind.SAFETY_HELD, region_id, violation.text, rule=violation.rule.value, serves_as=phase.value)

    def _let_go(self, region_id: str) -> None:
        held = self._registry.held.pop(region_id, None)
        if held is not None:
            self._registry.touch(region_id)
            self._event(EventKind.SAFETY_RELEASED, region_id, "no longer held", rule=held[0].rule.value)

    def _record_change(self, region_id: str, before: HealthState, after: HealthState) -> None:
        self._recorder.soon(
            Event(
                EventKind.HEALTH_CHANGED,
                self._clock.now(),
                region_id,
                reason=after.reason,
                before={"phase": before.phase.value},
                after={"phase": after.phase.value, "score": round(after.score, 1)},
            )
        )

    def _event(self, kind: EventKind, region_id: str, reason: str, **details: object) -> None:
        self._recorder.soon(Event(kind, self._clock.now(), region_id, reason=reason, details=details))

    def _tell(self, verdict: Verdict) -> None:
        for listener in self._listeners:
            listener(verdict)


def _with_standing(fleet: Fleet, region_id: str, standing: Phase) -> Fleet:
    """The fleet as it was before the verdict on one region: safety asks what taking it out would change."""
    view = replace(fleet.regions[region_id], serves_as=standing if standing is not Phase.DOWN else Phase.UNKNOWN)
    return replace(fleet, regions=MappingProxyType({**fleet.regions, region_id: view}))
