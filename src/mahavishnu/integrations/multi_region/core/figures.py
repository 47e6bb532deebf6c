"""Numbers from outside: what counts as one, and between which ends each declared figure lies.

One table for all who let figures in: registration, assignment to a region that is kept, world files, HTTP bodies and
settings. Decides nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeGuard

from ..errors import InvalidInputError

DAY_S = 86_400.0
"""The longest time that may be declared, in seconds."""

_MOST_LOAD = 1e12


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a finite int or float; booleans are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an int beyond any float
        return False


def is_whole(value: object) -> TypeGuard[int]:
    """Whether a value is an int; booleans are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def check_number(value: object, field: str, allowed: str, fits: Callable[[float], bool]) -> float:
    """The value as a float, when it is a number that ``fits`` accepts.

    Raises InvalidInputError with ``field`` and ``allowed`` otherwise.
    """
    if is_number(value) and fits(float(value)):
        return float(value)
    raise InvalidInputError(field, value, allowed)


def check_whole(value: object, field: str, least: int = 0, most: float = math.inf, allowed: str = "") -> int:
    """The value, when it is an int from ``least`` to ``most``. ``allowed``: in words, if other than these ends.

    Raises InvalidInputError.
    """
    if is_whole(value) and least <= value <= most:
        return value
    ends = f"a whole number, {least} or more" if most == math.inf else f"a whole number from {least} to {most:.15g}"
    raise InvalidInputError(field, value, allowed or ends)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Between which ends a figure lies, both included. ``above``: the lower one is not. ``whole``: no fractions."""

    least: float
    most: float
    unit: str = ""
    above: bool = False
    whole: bool = False

    @property
    def allowed(self) -> str:
        """The allowed values in words."""
        noun = ("a whole number" if self.whole else "a number") + (f" of {self.unit}" if self.unit else "")
        if self.above:
            return f"{noun} above {self.least:.15g}, at most {self.most:.15g}"
        return f"{noun} from {self.least:.15g} to {self.most:.15g}"

    def takes(self, number: float) -> bool:
        """Whether a number lies between the ends."""
        return (self.least < number if self.above else self.least <= number) and number <= self.most

    def check(self, value: object, field: str, instead: str = "") -> float:
        """The number. ``instead``: in words, what else the caller takes. Raises InvalidInputError."""
        allowed = instead + self.allowed
        if self.whole:
            return check_whole(value, field, int(self.least), self.most, allowed)
        return check_number(value, field, allowed, self.takes)


REGION: Mapping[str, Bounds] = MappingProxyType(
    {
        "latitude": Bounds(-90, 90, "degrees"),
        "longitude": Bounds(-180, 180, "degrees"),
        "health_score": Bounds(0, 100),
        "max_capacity": Bounds(0, _MOST_LOAD, above=True),
        "current_capacity": Bounds(0, _MOST_LOAD),
        "cost_multiplier": Bounds(0, 1e6, above=True),
    }
)
"""Of a region. What decisions calculate with: one bad figure of one region would spoil the decisions about all."""

HEALTH_CHECK: Mapping[str, Bounds] = MappingProxyType(
    {
        "interval_s": Bounds(0.01, DAY_S, "seconds"),
        "timeout_s": Bounds(0.001, DAY_S, "seconds"),
        "fall": Bounds(1, 1000, whole=True),
        "rise": Bounds(1, 1000, whole=True),
        "leak_limit": Bounds(1, 1000),
        "hold_down_s": Bounds(0, DAY_S, "seconds"),
        "slow_ms": Bounds(0, 1000 * DAY_S, "milliseconds", above=True),
    }
)
"""Of how a region is probed."""

ROUTE: Mapping[str, Bounds] = MappingProxyType(
    {
        "timeout_s": Bounds(0, DAY_S, "seconds"),
        "attempt_timeout_s": Bounds(0.001, DAY_S, "seconds"),
        "retries": Bounds(0, 10, whole=True),
    }
)
"""Of how requests of one kind are carried. A time limit of 0 is none."""

TRUSTED_HOPS = Bounds(0, 100, whole=True)
"""Proxies in front of an edge that it believes."""
