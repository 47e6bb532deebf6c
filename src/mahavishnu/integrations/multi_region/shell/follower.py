"""Keeps memory equal to the store: loads what it holds, then takes over what anybody commits, for as long as it runs.

A store that is lost is tried again and again; meanwhile memory keeps what was last known (L10).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping

import structlog

from mahavishnu.integrations.multi_region.core.intent import REGIONS, Document
from mahavishnu.integrations.multi_region.errors import HistoryGoneError, StoreError, UnavailableError
from mahavishnu.integrations.multi_region.ports.clock import Clock
from mahavishnu.integrations.multi_region.ports.store import Changes, Store

from .region_views import Arrival
from .registry import Registry
from .rtt import RTT, RttBook
from .turns import SLICE, let_go, turn

RETRY_S = 0.5
"""Pause before a lost store is asked again."""

log = structlog.get_logger(__name__)


_MISUNDERSTOOD = (ValueError, KeyError, TypeError)
"""What reading a document raises that is not as ours are."""


class Follower:
    """Owns the task that watches the store. ``changed`` is called after each change was taken over."""

    def __init__(
        self, registry: Registry, store: Store, clock: Clock, changed: Callable[[], None], book: RttBook
    ) -> None:
        self._registry = registry
        self._book = book
        self._store = store
        self._clock = clock
        self._changed = changed
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Whether the store is being watched."""
        return self._task is not None and not self._task.done()

    async def start(self) -> None:
        """Load, then watch. Safe to call twice. Raises StoreError when the store cannot be read, or not understood."""
        if self._task is None:
            revision = await self.reload()
            self._task = asyncio.create_task(self._follow(revision), name="store watch")

    async def close(self) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def reload(self) -> int:
        """Make memory what the store holds; a revision from which a watch misses nothing. Raises StoreError."""
        learned = await self._store.load(RTT)
        await self._learn({key: entry.value for key, entry in learned.entries.items()})
        known = self._registry.revision
        pages = [(prefix, await self._store.load(prefix)) for prefix in self._registry.prefixes]
        if max(page.revision for _, page in pages) < known:
            self._registry.forget_revisions()  # the store was put back to an older state
        for prefix, page in pages:
            gone = [key for key in self._registry.documents if key.startswith(prefix) and key not in page.entries]
            for key in gone:
                self._accept(key, None, page.revision)
            for key, entry in page.entries.items():
                self._accept(key, entry.value, entry.revision)
        self._registry.reached(max(page.revision for _, page in pages))
        self._changed()
        return min(learned.revision, *(page.revision for _, page in pages))

    async def reread(self, keys: Iterable[str]) -> None:
        """Take over what the store holds under some keys now, without waiting for the watch. Raises StoreError."""
        for key in keys:
            found = await self._store.load(key, limit=1)  # the key itself sorts first of those that begin with it
            entry = found.entries.get(key)
            self._accept(key, None if entry is None else entry.value, entry.revision if entry else found.revision)

    async def _follow(self, revision: int) -> None:
        after: int | None = revision
        lost = False
        while True:
            try:
                if after is None:
                    after = await self.reload()
                async for changes in self._store.watch(after=after):
                    await self._take(changes)
                    after, lost = changes.revision, False
                return
            except HistoryGoneError:
                after = None
            except UnavailableError as err:
                if not lost:
                    log.warning("store lost: what was last known stands", error=str(err))
                after, lost = None, True  # it may come back as another one: restored from a backup
                await self._clock.sleep(RETRY_S)

    async def _take(self, changes: Changes) -> None:
        """Take one commit over, all at once: it is read first, in several turns of the loop when it is long."""
        learned = {key: text for key, text in changes.values.items() if key.startswith(RTT)}
        news = await self._learn(learned)
        if learned and not news and len(learned) == len(changes.values):
            return  # round trips as we wrote them ourselves, every few seconds
        read: list[tuple[str, Document | None, Arrival | None]] = []
        before: list[object] = []
        for number, (key, text) in enumerate(self._ours(changes.values).items()):
            await turn(number)
            try:
                read.append((key, *self._read(key, text, changes.revision)))
                before += self._registry.standing(key)
            except _MISUNDERSTOOD as err:
                _tell(key, err)
        if len(read) > SLICE:
            await asyncio.sleep(0)  # what comes now must be one turn: nothing else may lengthen it
        for key, document, made in read:
            try:
                self._registry.accept(key, document, changes.revision, made)
            except _MISUNDERSTOOD as err:
                _tell(key, err)
        self._changed()
        await let_go(before)

    async def _learn(self, texts: Mapping[str, str | None]) -> bool:
        """Take over documents of round trips, each in a turn of its own; whether anything in them was new."""
        news = False
        for number, (key, text) in enumerate(texts.items()):
            await turn(number, 1)
            news |= self._book.accept(key, text)
        return news

    def _read(self, key: str, text: str | None, revision: int) -> tuple[Document | None, Arrival | None]:
        """The document, and the region made ready; nothing of what is known already, as our own changes may be."""
        if text is None or revision <= self._registry.revisions.get(key, 0):
            return None, None
        for announced in self._registry.announced:
            ours = announced.get(key)
            if ours is not None and ours.text == text:
                return ours.document, ours.made
        document = json.loads(text)
        return document, self._registry.prepare(document) if key.startswith(REGIONS) else None

    def _ours(self, values: Mapping[str, str | None]) -> dict[str, str | None]:
        prefixes = self._registry.prefixes
        return {key: text for key, text in values.items() if key.startswith(prefixes)}

    def _accept(self, key: str, text: str | None, revision: int) -> None:
        try:
            self._registry.accept_text(key, text, revision)
        except _MISUNDERSTOOD as err:
            raise StoreError(f"{key} cannot be read: {err}") from err


def _tell(key: str, err: Exception) -> None:
    log.error("not understood: what was known before stands", key=key, error=f"{key} cannot be read: {err}")
