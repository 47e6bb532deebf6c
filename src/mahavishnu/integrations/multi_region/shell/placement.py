"""What is known of pieces of data: how often they are read, whether they are hot, which policy binds them.

Accesses are counted in memory, since they come as often as requests do; a class is stored with the rate it rests on, so
that a restart goes on from there.
"""

from __future__ import annotations

import unicodedata

from mahavishnu.integrations.multi_region.core.elder_ids import elder_ids
from mahavishnu.integrations.multi_region.core.events import Event, EventKind
from mahavishnu.integrations.multi_region.core.figures import check_number
from mahavishnu.integrations.multi_region.core.placement import (
    BINDINGS,
    CLASSES,
    Rate,
    Temperature,
    temperature,
)
from mahavishnu.integrations.multi_region.errors import InvalidInputError, UnknownPolicyError, nearest_hint

from .manager import RegionManager

MOST_KEPT = 100_000
"""Pieces of data whose accesses are counted; beyond that those that were not read for longest are forgotten."""


class Classification(str):
    """``"hot"`` or ``"cold"``, with the rate (accesses a day) and the threshold that it comes from, and why."""

    rate_per_day: float
    threshold: float
    reason: str

    def __new__(cls, value: Temperature, rate_per_day: float, threshold: float) -> Classification:
        """The class as text with its evidence."""
        self = super().__new__(cls, value.value)
        self.rate_per_day, self.threshold = rate_per_day, threshold
        verb = "above" if rate_per_day > threshold else "still near" if value is Temperature.HOT else "not above"
        self.reason = f"{rate_per_day:g} accesses a day, {verb} {threshold:g}"
        return self


class DataBook:
    """Accesses, classes and bindings of data over a manager's store."""

    def __init__(self, manager: RegionManager, threshold: float) -> None:
        self._manager = manager
        self._threshold = threshold
        self._seen: dict[str, Rate] = {}
        self._by_region: dict[str, dict[str, Rate]] = {}

    def record_access(self, data_id: str, region_id: str | None, count: float) -> None:
        """Count accesses. Raises InvalidInputError, UnknownRegionError."""
        check_data_id(data_id)
        number = check_number(count, "n", "a finite number above 0", lambda v: v > 0)
        now = self._manager.clock.now()
        if region_id is not None:
            self._manager.get_region(region_id)
            regions = self._by_region.setdefault(data_id, {})
            regions[region_id] = regions.get(region_id, Rate()).seen(now, number)
        rate = self._rate(data_id).seen(now, number)
        self._seen.pop(data_id, None)  # so that it comes to stand at the end: those in front are the oldest
        self._seen[data_id] = rate
        if len(self._seen) > MOST_KEPT:
            oldest = next(iter(self._seen))
            del self._seen[oldest]
            self._by_region.pop(oldest, None)

    def rate(self, data_id: str) -> float:
        """Accesses a day, from what was recorded; 0 when nothing was."""
        return self._rate(data_id).seen(self._manager.clock.now()).per_day

    def rates_by_region(self, data_id: str) -> dict[str, float]:
        """Accesses a day from each region that reported any."""
        now = self._manager.clock.now()
        return {name: rate.seen(now).per_day for name, rate in self._by_region.get(data_id, {}).items()}

    def _rate(self, data_id: str) -> Rate:
        known = self._seen.get(data_id)
        if known is not None:
            return known
        stored = self._manager.registry.documents.get(CLASSES + data_id)
        return Rate() if stored is None else Rate(stored["rate_per_day"], stored["at"])

    async def classify(
        self, data_id: str, access_frequency: float | None, threshold: float | None, actor: str
    ) -> Classification:
        """Decide on the class and store it, with an event when it changed."""
        check_data_id(data_id)
        found = self._class_of(data_id, access_frequency, self._threshold if threshold is None else threshold)
        key, before = CLASSES + data_id, self._manager.registry.documents.get(CLASSES + data_id)
        now = self._manager.clock.now()
        after = {"class": str(found), "rate_per_day": found.rate_per_day, "at": now}
        if access_frequency is not None:
            self._seen[data_id] = Rate(found.rate_per_day, now)
        changed = before is None or before["class"] != after["class"]
        event = Event(EventKind.DATA_CLASSIFIED, now, data_id, actor, found.reason, before, after)
        await self._manager.write_documents({key: after}, [event] if changed else [])
        return found

    def is_hot(self, data_id: str) -> bool:
        """Whether the data is hot by what is known now; what was never classified nor read is cold."""
        if data_id in self._seen:
            return str(self._class_of(data_id, None, self._threshold)) == Temperature.HOT.value
        stored = self._manager.registry.documents.get(CLASSES + data_id)
        return stored is not None and stored["class"] == Temperature.HOT

    def _class_of(self, data_id: str, access_frequency: float | None, threshold: float) -> Classification:
        allowed = "a number of accesses a day, 0 or more"
        if access_frequency is None:
            rate = self.rate(data_id)
        else:
            rate = check_number(access_frequency, "access_frequency", allowed, lambda v: v >= 0)
        stored = self._manager.registry.documents.get(CLASSES + data_id)
        before = None if stored is None else Temperature(stored["class"])
        return Classification(temperature(rate, threshold, before), rate, threshold)

    async def bind(self, data_id: str, policy_id: str | None, data_class: str | None, actor: str) -> None:
        """Say which policy binds the data, and what kind it is; None for both takes the binding away."""
        check_data_id(data_id)
        policies = self._manager.policies
        policy_id = elder_ids(policies).get(policy_id or "", policy_id)
        if policy_id is not None and policy_id not in policies:
            raise UnknownPolicyError("policy_id", policy_id, nearest_hint(policy_id, list(policies)))
        if data_class is not None and not (isinstance(data_class, str) and data_class.strip()):
            raise InvalidInputError("data_class", data_class, "a text that is not empty, or None")
        before = self._manager.registry.documents.get(BINDINGS + data_id)
        nothing = policy_id is None and data_class is None
        after = None if nothing else {"policy_id": policy_id, "data_class": data_class}
        if before == after:
            return
        event = Event(EventKind.DATA_BOUND, self._manager.clock.now(), data_id, actor, "", before, after)
        await self._manager.write_documents({BINDINGS + data_id: after}, [event])


def check_data_id(data_id: object) -> str:
    """The id, when it can name data: 1 to 512 characters, none of them for control. Raises InvalidInputError."""
    if isinstance(data_id, str) and 0 < len(data_id) <= 512:
        odd = any(unicodedata.category(c) in ("Cc", "Cs") for c in data_id)
        if not odd and data_id.strip():
            return data_id
    raise InvalidInputError("data_id", data_id, "a text of 1 to 512 characters without control characters")
