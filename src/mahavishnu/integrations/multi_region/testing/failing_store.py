"""A store in front of another that is lost and found on command."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from mahavishnu.integrations.multi_region.errors import StoreError
from mahavishnu.integrations.multi_region.ports.store import Changes, Loaded, MemoryStore, Store


class FailingStore:
    """A ``Store`` that answers from ``inner`` until ``lose`` is called, and again after ``find``.

    ``applied_when_lost``: a commit is carried out although the answer is lost, as it may be with a real store.
    """

    def __init__(self, inner: Store | None = None, *, applied_when_lost: bool = False) -> None:
        self.inner: Store = inner if inner is not None else MemoryStore()
        self.applied_when_lost = applied_when_lost
        self.commits = 0
        self._lost = asyncio.Event()

    @property
    def lost(self) -> bool:
        """Whether calls fail now."""
        return self._lost.is_set()

    def lose(self) -> None:
        """From now on every call fails, and watches end with an error."""
        self._lost.set()

    def find(self) -> None:
        """The store answers again."""
        self._lost = asyncio.Event()

    async def load(self, prefix: str = "", *, after: str = "", limit: int | None = None) -> Loaded:
        """As the port says; raises StoreError while the store is lost."""
        self._check()
        return await self.inner.load(prefix, after=after, limit=limit)

    async def commit(self, values: Mapping[str, str | None], guards: Mapping[str, int] | None = None) -> int:
        """As the port says; raises StoreError while the store is lost."""
        if self.lost and self.applied_when_lost:
            await self.inner.commit(values, guards)
        self._check()
        self.commits += 1
        return await self.inner.commit(values, guards)

    async def watch(self, prefix: str = "", *, after: int) -> AsyncIterator[Changes]:
        """As the port says; raises StoreError when the store is lost, also while it waits for a change."""
        source = self.inner.watch(prefix, after=after)
        while True:
            self._check()
            news = asyncio.ensure_future(anext(source, None))
            loss = asyncio.ensure_future(self._lost.wait())
            try:
                await asyncio.wait({news, loss}, return_when=asyncio.FIRST_COMPLETED)
                self._check()
                changes = await news
            finally:
                for task in (news, loss):
                    task.cancel()
                await asyncio.gather(news, loss, return_exceptions=True)
            if changes is None:
                return
            yield changes

    async def close(self) -> None:
        """Close the store behind."""
        await self.inner.close()

    def _check(self) -> None:
        if self.lost:
            raise StoreError("the store is lost")
