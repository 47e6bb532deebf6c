"""The transfer ledger: each entry is an event in the hash chain, written with its pair's new sums as one transaction.

Records that come while one is being written share the next transaction, so that a busy pair does not contend with
itself; sums that another process wrote meanwhile are read again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass

from mahavishnu.integrations.multi_region.core.events import ChainedEvent, Event, EventKind
from mahavishnu.integrations.multi_region.core.transfers import (
    TOTALS,
    LedgerEntry,
    PairTotal,
    TransferDecision,
    TransferReport,
    report,
    totals_key,
)
from mahavishnu.integrations.multi_region.errors import RefusedError, StaleRevisionError, UnavailableError

from .manager import RegionManager

ATTEMPTS = 20
AT_ONCE = 40
"""Records in one transaction."""
PAGE = 200
SKEW_S = 3600.0
"""How far clocks of processes that write one log may differ: a report looks back that much farther."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    decision: TransferDecision
    event: Event
    size: int
    done: asyncio.Future[LedgerEntry]


class Ledger:
    """Writes and reads the transfers in a manager's store."""

    def __init__(self, manager: RegionManager) -> None:
        self._manager = manager
        self._queue: list[_Waiting] = []
        self._writer: asyncio.Task[None] | None = None

    async def settle(self, decided: TransferDecision, decision_id: str, size: int, actor: str) -> LedgerEntry:
        """Enter a transfer while the decision on it, made anew, permits it and has the id it was made under.

        Otherwise the attempt itself is entered, and RefusedError raised. Raises StoreError, UnavailableError.
        """
        if decided.permitted and decided.id == decision_id:
            return await self.record(decided, size, decided.cost_usd, actor)
        why = decided.reason
        if decided.permitted:
            why = "the decision is for another transfer, or policy or facts have changed since: ask again"
        await self.refuse(decided, size, why, actor)
        target = decided.transfer.target
        raise RefusedError("transfer_not_permitted", f"this transfer cannot be recorded: {why}", {target: why})

    async def record(self, decision: TransferDecision, size: int, cost_usd: float | None, actor: str) -> LedgerEntry:
        """Write a transfer that was permitted; the entry as it stands in the log.

        Raises StoreError, UnavailableError.
        """
        event = self._event(EventKind.TRANSFER_RECORDED, decision, size, cost_usd, actor)
        waiting = _Waiting(decision, event, size, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all(), name="transfer ledger")
        return await waiting.done

    async def refuse(self, decision: TransferDecision, size: int, why: str, actor: str) -> None:
        """Note that a transfer was to be recorded that nothing permits."""
        event = self._event(EventKind.TRANSFER_REFUSED, decision, size, None, actor, why)
        await self._manager.journal.record({}, [event])

    def totals(self) -> list[PairTotal]:
        """The sums of every pair since the store was made, by source and target."""
        documents = self._manager.registry.documents
        return [PairTotal.parse(documents[key]) for key in sorted(documents) if key.startswith(TOTALS)]

    async def report(self, policy: str | None, since: float | None) -> TransferReport:
        """The transfers since a moment. Reads the log from its end, as far back as it must."""
        found: list[LedgerEntry] = []
        log = self._manager.journal
        newest = await log.last(1)
        first = newest[-1].seq + 1 if newest else 1
        while first > 1:
            start = max(1, first - PAGE)
            page = await log.tail(start - 1, first - start)
            found[:0] = [entry for event in page if (entry := LedgerEntry.of(event)) is not None]
            first = start
            if since is not None and all(event.event.at < since - SKEW_S for event in page):
                break
        return report(found, policy, since)

    async def _write_all(self) -> None:
        while self._queue:
            batch = [w for w in self._queue[:AT_ONCE] if not w.done.done()]
            del self._queue[:AT_ONCE]
            try:
                entries = await self._commit(batch)
            except Exception as err:  # whatever it is, it belongs to those who wait, and the ledger goes on
                for waiting in batch:
                    if not waiting.done.done():
                        waiting.done.set_exception(err)
            else:
                for waiting, entry in zip(batch, entries, strict=True):
                    if not waiting.done.done():
                        waiting.done.set_result(entry)

    async def _commit(self, batch: Sequence[_Waiting]) -> list[LedgerEntry]:
        registry = self._manager.registry
        for _ in range(ATTEMPTS):
            sums = self._sums_after(batch)
            guards = {key: registry.revisions.get(key, 0) if key in registry.documents else 0 for key in sums}
            values: dict[str, str | None] = {
                key: json.dumps(total.document(), sort_keys=True) for key, total in sums.items()
            }
            try:
                recorded = await self._manager.journal.record(values, [w.event for w in batch], guards)
            except StaleRevisionError:
                await self._read_again()
                continue
            for key, total in sums.items():
                registry.accept(key, total.document(), recorded.revision)
            return [_entry(event) for event in recorded.entries]
        raise UnavailableError(f"other writers came first {ATTEMPTS} times: the transfer was not recorded, try later")

    def _sums_after(self, batch: Sequence[_Waiting]) -> dict[str, PairTotal]:
        documents = self._manager.registry.documents
        sums: dict[str, PairTotal] = {}
        for waiting in batch:
            moved = waiting.decision.transfer
            key = totals_key(moved.source, moved.target)
            if key not in sums:
                stored = documents.get(key)
                sums[key] = PairTotal(moved.source, moved.target) if stored is None else PairTotal.parse(stored)
            sums[key] = sums[key].plus(waiting.size, waiting.event.details["cost_usd"])
        return sums

    async def _read_again(self) -> None:
        loaded = await self._manager.store.load(TOTALS)
        for key, entry in loaded.entries.items():
            self._manager.registry.accept_text(key, entry.value, entry.revision)

    def _event(
        self,
        kind: EventKind,
        decision: TransferDecision,
        size: int,
        cost_usd: float | None,
        actor: str,
        reason: str = "",
    ) -> Event:
        moved = decision.transfer
        details = {
            "from_region": moved.source,
            "to_region": moved.target,
            "bytes": size,
            "purpose": moved.purpose,
            "mechanism": moved.mechanism,
            "decision_id": decision.id,
            "policies": list(decision.policies),
            "cost_usd": cost_usd,
        }
        now = self._manager.clock.now()
        return Event(kind, now, moved.data_id, actor, reason or decision.reason, details=details)


def _entry(event: ChainedEvent) -> LedgerEntry:
    entry = LedgerEntry.of(event)
    if entry is None:  # only transfers are written here
        raise UnavailableError(f"event {event.seq} is not the transfer that was written")
    return entry
