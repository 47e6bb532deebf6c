"""Keeps memory equal to the store: loads what it holds, then takes over what anybody commits, for as long as it runs.

A store that is lost is tried again and again; meanwhile memory keeps what was last known (L10).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

import structlog

from mahavishnu.integrations.multi_region.errors import HistoryGoneError, StoreError, UnavailableError
from mahavishnu.integrations.multi_region.ports.clock import Clock
from mahavishnu.integrations.multi_region.ports.store import Changes, Store

from .registry import Registry
from .rtt import RTT, RttBook

RETRY_S = 0.5
"""Pause before a lost store is asked again."""

log = structlog.get_logger(__name__)


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
        for key, entry in (await self._store.load(RTT)).entries.items():
            self._book.accept(key, entry.value)
        self._registry.reached(max(page.revision for _, page in pages))
        self._changed()
        return min(page.revision for _, page in pages)

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
                    self._take(changes)
                    after, lost = changes.revision, False
                return
            except HistoryGoneError:
                after = None
            except UnavailableError as err:
                if not lost:
                    log.warning("store lost: what was last known stands", error=str(err))
                after, lost = None, True  # it may come back as another one: restored from a backup
                await self._clock.sleep(RETRY_S)

    def _take(self, changes: Changes) -> None:
        for key, text in self._ours(changes.values).items():
            try:
                self._accept(key, text, changes.revision)
            except StoreError as err:
                log.error("not understood: what was known before stands", key=key, error=str(err))
        for key, text in changes.values.items():
            if key.startswith(RTT):
                self._book.accept(key, text)
        self._changed()

    def _ours(self, values: Mapping[str, str | None]) -> dict[str, str | None]:
        return {key: text for key, text in values.items() if key.startswith(self._registry.prefixes)}

    def _accept(self, key: str, text: str | None, revision: int) -> None:
        try:
            self._registry.accept_text(key, text, revision)
        except (ValueError, KeyError, TypeError) as err:
            raise StoreError(f"{key} cannot be read: {err}") from err
