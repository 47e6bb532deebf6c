"""The operator's word and what automation remembers: drains, freezes, failures; each a transaction with its event."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, TypeVar

from mahavishnu.integrations.multi_region.core.events import Event, EventKind
from mahavishnu.integrations.multi_region.core.failover import Refusal, plan_drain
from mahavishnu.integrations.multi_region.core.model import AdminState
from mahavishnu.integrations.multi_region.core.overrides import (
    FAILURES,
    FREEZE_KEY,
    OVERRIDES,
    PLACEMENTS,
    SERVING_KEY,
    BreakGlass,
    Drain,
    Failure,
    Freeze,
    lifted_by,
)
from mahavishnu.integrations.multi_region.core.validation import check_said
from mahavishnu.integrations.multi_region.errors import (
    FailoverRefusedError,
    RefusedError,
    StaleRevisionError,
    UnknownRegionError,
)
from mahavishnu.integrations.multi_region.facts.network import region_rtt_ms
from mahavishnu.integrations.multi_region.ports.clock import Clock

from .journal import Journal
from .registry import Registry

ATTEMPTS = 10
"""How often a removal is decided anew when others come first."""

T = TypeVar("T")


class Operations:
    """Writes what stands over regions."""

    def __init__(
        self, registry: Registry, journal: Journal, clock: Clock, catch_up: Callable[[], Awaitable[int]]
    ) -> None:
        self._registry = registry
        self._journal = journal
        self._clock = clock
        self._catch_up = catch_up

    async def drain(
        self,
        region_id: str,
        by: str,
        reason: str,
        override: BreakGlass | None,
        finished: bool,
        busy_edges: Sequence[str] = (),
    ) -> Drain:
        """Start or finish a drain, unless a safety rule forbids it."""
        return await self.unless_overtaken(lambda: self._drain(region_id, by, reason, override, finished, busy_edges))

    async def unless_overtaken(self, act: Callable[[], Awaitable[T]]) -> T:
        """Decide and write; once more when another region left service between the two."""
        for _ in range(ATTEMPTS - 1):
            try:
                return await act()
            except StaleRevisionError as err:
                if err.key != SERVING_KEY:
                    raise
                await self._catch_up()
        return await act()

    async def _drain(
        self,
        region_id: str,
        by: str,
        reason: str,
        override: BreakGlass | None,
        finished: bool,
        busy_edges: Sequence[str],
    ) -> Drain:
        check_said(by, reason)
        standing = self._registry.drains.get(region_id)
        if standing is None:
            self._check_may_leave(region_id, override)
        state = AdminState.DRAINED if finished else AdminState.DRAINING
        drain = Drain(state, by, reason, self._clock.now())
        before = None if standing is None else standing.document()
        kind = EventKind.DRAIN_COMPLETED if finished else EventKind.DRAIN_STARTED
        event = self._event(kind, region_id, by, reason, before, drain.document())
        events = [replace(event, details={"busy_edges": list(busy_edges)}) if busy_edges else event]
        documents = {OVERRIDES + region_id: drain.document(), **self._removal(region_id)}
        await self.write(documents, [*self.used(override, region_id), *events])
        return drain

    async def undrain(self, region_id: str, by: str, reason: str) -> None:
        """Lift a drain."""
        check_said(by, reason)
        standing = self._registry.drains.get(region_id)
        if standing is None:
            raise RefusedError("not_drained", f"{region_id} is not drained")
        event = self._event(EventKind.DRAIN_LIFTED, region_id, by, reason, standing.document(), None)
        await self.write({OVERRIDES + region_id: None}, [event])

    async def freeze(self, by: str, reason: str) -> Freeze:
        """Stop automation."""
        check_said(by, reason)
        freeze = Freeze(by, reason, self._clock.now())
        document = asdict(freeze)
        event = self._event(EventKind.AUTOMATION_FROZEN, "automation", by, reason, self._standing_freeze(), document)
        await self.write({FREEZE_KEY: document}, [event])
        return freeze

    async def unfreeze(self, by: str, reason: str) -> None:
        """Let automation act again."""
        check_said(by, reason)
        if self._registry.freeze is None:
            raise RefusedError("not_frozen", "automation is not frozen")
        event = self._event(EventKind.AUTOMATION_UNFROZEN, "automation", by, reason, self._standing_freeze(), None)
        await self.write({FREEZE_KEY: None}, [event])

    async def mark_failed(self, region_id: str, failure: Failure, events: Sequence[Event]) -> int:
        """Record that traffic was moved away; the store's revision."""
        return await self.write({FAILURES + region_id: failure.document(), **self._removal(region_id)}, events)

    async def clear_failed(self, region_id: str, event: Event, keep: Failure | None) -> int:
        """Record that traffic may return, but for what ``keep`` names."""
        return await self.write({FAILURES + region_id: None if keep is None else keep.document()}, [event])

    async def put_placement(self, data_id: str, regions: tuple[str, ...]) -> None:
        """Remember which regions hold a piece of data."""
        await self.write({PLACEMENTS + data_id: {"regions": list(regions)} if regions else None}, [])

    def _check_may_leave(self, region_id: str, override: BreakGlass | None) -> None:
        """Refuse when the others could not do without this region (L7, L9)."""
        fleet = self._registry.fleet()
        if region_id not in fleet.regions:
            raise UnknownRegionError(region_id, list(fleet.regions))  # it was removed meanwhile
        plan = plan_drain(fleet, region_id, lifted_by(override, self._clock.now()), region_rtt_ms)
        if isinstance(plan, Refusal):
            raise FailoverRefusedError(plan.rule, plan.text, plan.reasons)

    def _removal(self, region_id: str) -> dict[str, Any]:
        """What is written with each removal, so that one that was decided meanwhile is refused."""
        return {SERVING_KEY: {"left": region_id, "at": self._clock.now()}}

    def _standing_freeze(self) -> dict[str, Any] | None:
        return None if self._registry.freeze is None else asdict(self._registry.freeze)

    def used(self, override: BreakGlass | None, region_id: str) -> list[Event]:
        """The event that an override was used, none without one."""
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

    async def write(self, documents: Mapping[str, Any], events: Sequence[Event]) -> int:
        """Write over what we know stands there; somebody else's change meanwhile refuses ours."""
        known, revisions = self._registry.documents, self._registry.revisions
        values = {k: None if d is None else json.dumps(d, sort_keys=True) for k, d in documents.items()}
        guards = {key: revisions.get(key, 0) if key in known else 0 for key in documents}
        recorded = await self._journal.record(values, events, guards)
        for key, document in documents.items():
            self._registry.accept(key, document, recorded.revision)
        return recorded.revision
