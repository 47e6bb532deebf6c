"""The operator's word and what automation remembers: drains, freezes, failures; each a transaction with its event."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mahavishnu.integrations.multi_region.core.events import Event, EventKind
from mahavishnu.integrations.multi_region.core.failover import Refusal, plan_failover
from mahavishnu.integrations.multi_region.core.model import AdminState
from mahavishnu.integrations.multi_region.core.overrides import (
    FAILURES,
    FREEZE_KEY,
    OVERRIDES,
    PLACEMENTS,
    BreakGlass,
    Drain,
    Failure,
    Freeze,
)
from mahavishnu.integrations.multi_region.core.safety import Rule, in_service
from mahavishnu.integrations.multi_region.errors import FailoverRefusedError, RefusedError
from mahavishnu.integrations.multi_region.ports.clock import Clock

from .journal import Journal
from .registry import Registry


class Operations:
    """Writes what stands over regions."""

    def __init__(self, registry: Registry, journal: Journal, clock: Clock) -> None:
        self._registry = registry
        self._journal = journal
        self._clock = clock

    async def drain(self, region_id: str, by: str, reason: str, override: BreakGlass | None, finished: bool) -> Drain:
        """Start or finish a drain, unless a safety rule forbids it."""
        standing = self._registry.drains.get(region_id)
        if standing is None:
            self._check_may_leave(region_id, override)
        state = AdminState.DRAINED if finished else AdminState.DRAINING
        drain = Drain(state, by, reason, self._clock.now())
        before = None if standing is None else standing.document()
        kind = EventKind.DRAIN_COMPLETED if finished else EventKind.DRAIN_STARTED
        events = [self._event(kind, region_id, by, reason, before, drain.document())]
        await self._write({OVERRIDES + region_id: drain.document()}, [*self._used(override, region_id), *events])
        return drain

    async def undrain(self, region_id: str, by: str, reason: str) -> None:
        """Lift a drain."""
        standing = self._registry.drains.get(region_id)
        if standing is None:
            raise RefusedError("not_drained", f"{region_id} is not drained")
        event = self._event(EventKind.DRAIN_LIFTED, region_id, by, reason, standing.document(), None)
        await self._write({OVERRIDES + region_id: None}, [event])

    async def freeze(self, by: str, reason: str) -> Freeze:
        """Stop automation."""
        freeze = Freeze(by, reason, self._clock.now())
        document = {"by": by, "reason": reason, "at": freeze.at}
        await self._write(
            {FREEZE_KEY: document}, [self._event(EventKind.AUTOMATION_FROZEN, "automation", by, reason, None, document)]
        )
        return freeze

    async def unfreeze(self, by: str, reason: str) -> None:
        """Let automation act again."""
        if self._registry.freeze is None:
            raise RefusedError("not_frozen", "automation is not frozen")
        event = self._event(EventKind.AUTOMATION_UNFROZEN, "automation", by, reason, None, None)
        await self._write({FREEZE_KEY: None}, [event])

    async def mark_failed(self, region_id: str, failure: Failure, event: Event) -> int:
        """Record that traffic was moved away; the store's revision."""
        return await self._write({FAILURES + region_id: failure.document()}, [event])

    async def clear_failed(self, region_id: str, event: Event, keep: Failure | None) -> int:
        """Record that traffic may return, but for what ``keep`` names."""
        return await self._write({FAILURES + region_id: None if keep is None else keep.document()}, [event])

    async def put_placement(self, data_id: str, regions: tuple[str, ...]) -> None:
        """Remember which regions hold a piece of data."""
        await self._write({PLACEMENTS + data_id: {"regions": list(regions)} if regions else None}, [])

    def _check_may_leave(self, region_id: str, override: BreakGlass | None) -> None:
        """Refuse when the others could not do without this region (L7, L9)."""
        fleet = self._registry.fleet()
        if not in_service(fleet.regions[region_id]):
            return
        lifted = frozenset[Rule]() if override is None else frozenset({override.rule})
        plan = plan_failover(fleet, region_id, lifted=lifted)
        if isinstance(plan, Refusal):
            raise FailoverRefusedError(plan.rule, plan.text, plan.reasons)
        if plan.shed > 0 and Rule.HEADROOM not in lifted:
            text = f"the other regions have no room for {100 * plan.shed:.0f} % of the load of {region_id}"
            raise FailoverRefusedError(Rule.HEADROOM.value, text, plan.excluded)

    def _used(self, override: BreakGlass | None, region_id: str) -> list[Event]:
        if override is None:
            return []
        details = {"rule": override.rule.value, "expires_at": override.expires_at}
        at = self._clock.now()
        return [Event(EventKind.OVERRIDE_USED, at, region_id, override.by, override.reason, details=details)]

    def _event(
        self,
        kind: EventKind,
        subject: str,
        by: str,
        reason: str,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
    ) -> Event:
        return Event(kind, self._clock.now(), subject, by, reason, before, after)

    async def _write(self, documents: Mapping[str, Any], events: Sequence[Event]) -> int:
        """Write over what we know stands there; somebody else's change meanwhile refuses ours."""
        known, revisions = self._registry.documents, self._registry.revisions
        values = {k: None if d is None else json.dumps(d, sort_keys=True) for k, d in documents.items()}
        guards = {key: revisions.get(key, 0) if key in known else 0 for key in documents}
        recorded = await self._journal.record(values, events, guards)
        for key, document in documents.items():
            self._registry.accept(key, document, recorded.revision)
        return recorded.revision
