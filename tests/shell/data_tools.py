"""What the tests of data locality share: a clock whose date they set, and an optimizer over regions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from mahavishnu.integrations.multi_region.core.model import RegionCapabilities
from mahavishnu.integrations.multi_region.ports.clock import SystemClock
from mahavishnu.integrations.multi_region.ports.store import MemoryStore, Store
from mahavishnu.integrations.multi_region.shell.locality import DataLocalityOptimizer
from mahavishnu.integrations.multi_region.shell.manager import RegionManager
from mahavishnu.integrations.multi_region.testing.builders import region


class SetClock(SystemClock):
    """A clock whose date a test sets."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.date = now

    def now(self) -> float:
        return self.date


@asynccontextmanager
async def optimizing(
    stated: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    regions: tuple[str, ...] = ("us-east-1", "us-west-2", "eu-west-1"),
    store: Store | None = None,
    clock: SetClock | None = None,
) -> AsyncIterator[DataLocalityOptimizer]:
    """An optimizer over these regions. ``stated``: attestations by region."""
    async with RegionManager(store=store or MemoryStore(), clock=clock or SetClock()) as manager:
        for region_id in regions:
            attestations = (stated or {}).get(region_id, {})
            if region_id not in manager.regions:
                capabilities = RegionCapabilities(attestations=attestations)
                await manager.register_region(region(region_id, capabilities=capabilities))
        yield DataLocalityOptimizer(manager)
