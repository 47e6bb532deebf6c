"""What routing needs of whoever holds the regions: the manager where there is one, or a process that follows it."""

from __future__ import annotations

from typing import Protocol

from mahavishnu.integrations.multi_region.core.model import Fleet

from .rtt import RttBook


class FleetSource(Protocol):
    """Hands out the fleet; called for each decision."""

    def fleet(self) -> Fleet:
        """Everything a decision needs, frozen; the same object until something changes."""


class RegionSource(Protocol):
    """The regions as the router sees them. ``RegionManager`` is one."""

    @property
    def registry(self) -> FleetSource:
        """The fleet's source."""

    @property
    def round_trips(self) -> RttBook:
        """What was learned from measured round trips."""

    def snapshot(self) -> Fleet:
        """The fleet as it is now."""

    def holders(self, data_id: str) -> tuple[str, ...]:
        """The regions known to hold a piece of data; raises when that is not known here."""

    def get_region(self, region_id: str) -> object:
        """The region of that id, which only its presence matters of. Raises UnknownRegionError."""
