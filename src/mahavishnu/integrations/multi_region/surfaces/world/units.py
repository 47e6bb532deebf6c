"""Values as people write them: durations, shares, addresses, status codes, yes and no.

Each function takes what the YAML or JSON held and returns a plain value, or raises ``InvalidInputError`` whose
``allowed`` text is meant for the person who wrote the file. Decides nothing else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, TypeGuard

from mahavishnu.integrations.multi_region.errors import InvalidInputError

DAY_S = 86_400.0
DURATION = "a duration such as 250ms, 2s, 1m or 1h (a plain number counts seconds)"
SHARE = "a share from 0% to 100%, such as 50% or 0.5"
FLAG = "true or false"
STATUS = 'an HTTP status from 100 to 599, such as 200, or a range such as "200-299"'

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
DURATION_PATTERN = r"^[0-9]{1,9}(\.[0-9]{1,9})?(ms|s|m|h)$"
SHARE_PATTERN = r"^[0-9]{1,3}(\.[0-9]{1,9})?%$"
STATUS_PATTERN = r"^[1-5][0-9][0-9](-[1-5][0-9][0-9])?$"
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a finite number; booleans are not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer too large for a float
        return False


def parse_duration(value: object, field: str = "duration", *, least_s: float | None = None) -> float:
    """Seconds, from ``"250ms"``, ``"2s"``, ``"1m"``, ``"1h"`` or a number of seconds.

    At least ``least_s`` (None: more than 0) and at most a day. Raises InvalidInputError.
    """
    seconds = _seconds(value)
    if seconds is None or seconds > DAY_S or (seconds <= 0 if least_s is None else seconds < least_s):
        least = "more than 0" if least_s is None else f"at least {least_s:g}s"
        raise InvalidInputError(field, value, f"{DURATION}, {least} and at most 24h")
    return seconds


def parse_share(value: object, field: str = "share") -> float:
    """A fraction 0..1, from ``"50%"`` or ``0.5``. Raises InvalidInputError."""
    share: float | None = None
    if isinstance(value, str) and re.fullmatch(SHARE_PATTERN, value):
        share = float(value[:-1]) / 100
    elif is_number(value):
        share = float(value)
    if share is None or not 0 <= share <= 1:
        raise InvalidInputError(field, value, SHARE)
    return share


def parse_flag(value: object, field: str = "flag") -> bool:
    """A boolean, or one of the words true, false, yes, no, on, off. Raises InvalidInputError."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _WORDS:
        return _WORDS[value.lower()]
    raise InvalidInputError(field, value, FLAG)


def parse_statuses(value: object, field: str = "statuses") -> tuple[int, int]:
    """An inclusive range of HTTP status codes, from ``200`` or ``"200-299"``. Raises InvalidInputError."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not re.fullmatch(STATUS_PATTERN, text):
        raise InvalidInputError(field, value, STATUS)
    low, _, high = text.partition("-")
    span = int(low), int(high or low)
    if span[0] > span[1]:
        raise InvalidInputError(field, value, f"{STATUS}, the lower number first")
    return span


def number(
    allowed: str, low: float, high: float, *, above: bool = False, whole: bool = False
) -> Callable[[object], Any]:
    """A check for a number from ``low`` (``above``: more than ``low``) to ``high``; ``whole``: without a fraction.

    The check returns the number as it was written (a whole one as int) and raises InvalidInputError.
    """

    def check(value: Any) -> int | float:
        if not is_number(value) or not low <= value <= high or (above and value == low) or (whole and value % 1):
            raise InvalidInputError("number", value, allowed)
        return int(value) if whole else value

    return check


def _seconds(value: object) -> float | None:
    if is_number(value):
        return float(value)
    if not isinstance(value, str) or not re.fullmatch(DURATION_PATTERN, value):
        return None
    unit = "ms" if value.endswith("ms") else value[-1]
    amount = float(value.removesuffix(unit))
    return amount / 1000 if unit == "ms" else amount * _SECONDS[unit]
