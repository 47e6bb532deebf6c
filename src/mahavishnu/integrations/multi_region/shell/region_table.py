"""The public table of regions, ``manager.regions``: a dict whose changes, and whose regions' changes, are noticed."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any, Self

from mahavishnu.integrations.multi_region.core.model import Region
from mahavishnu.integrations.multi_region.errors import InvalidInputError


class Keeper:
    """Knows which entry of a table a region is; the table keeps it alive, the region does not."""

    __slots__ = ("__weakref__", "_changed", "_region_id")

    def __init__(self, changed: Callable[[str], None], region_id: str) -> None:
        self._changed = changed
        self._region_id = region_id

    def tell(self) -> None:
        """The region changed."""
        self._changed(self._region_id)


class RegionTable(dict[str, Region]):
    """The public ``manager.regions``: a dict whose regions, and whose own changes, are noticed in whatever way made.

    ``changed``: called with the id of a region that changed, came or went.
    """

    def __init__(self, changed: Callable[[str], None]) -> None:
        super().__init__()
        self.changed = changed
        self._keepers: dict[str, Keeper] = {}

    def __setitem__(self, region_id: str, region: Region) -> None:
        """Raises InvalidInputError when the region's own id is another."""
        if region.region_id != region_id:
            raise InvalidInputError("region_id", region_id, f"{region.region_id!r}, the id of the region itself")
        super().__setitem__(region_id, region)
        self._keepers[region_id] = keeper = Keeper(self.changed, region_id)
        region._watch(keeper.tell)
        self.changed(region_id)

    def settle(self, region: Region, keeper: Keeper) -> None:
        """Put in a region that its keeper watches already; nobody is told."""
        dict.__setitem__(self, region.region_id, region)
        self._keepers[region.region_id] = keeper

    def __delitem__(self, region_id: str) -> None:
        super().__delitem__(region_id)
        del self._keepers[region_id]
        self.changed(region_id)

    def __ior__(self, other: Any) -> Self:  # type: ignore[override,misc]  # dict's has overloads that say the same
        self.update(other)
        return self

    def pop(self, region_id: str, *default: Any) -> Any:
        region = super().pop(region_id, *default)
        if self._keepers.pop(region_id, None) is not None:
            self.changed(region_id)
        return region

    def popitem(self) -> tuple[str, Region]:
        if not self:
            raise KeyError("the table is empty")
        last = next(reversed(self))
        return last, self.pop(last)

    # A dict's own methods would pass all of the above by; these are built on them.
    clear = MutableMapping.clear
    update = MutableMapping.update
    setdefault = MutableMapping.setdefault
