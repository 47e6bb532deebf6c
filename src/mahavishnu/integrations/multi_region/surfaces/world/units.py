"""Values as people write them: durations, shares, addresses, status codes, yes and no.

Each function takes what the YAML or JSON held and returns a plain value, or raises ``InvalidInputError`` whose
``allowed`` text is meant for the person who wrote the file. Decides nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from mahavishnu.integrations.multi_region.core.figures import DAY_S, Bounds, is_number
from mahavishnu.integrations.multi_region.errors import InvalidInputError

SOME_TIME = Bounds(0, DAY_S, above=True)
"""Of a duration, in seconds."""

DURATION = "a duration such as 250ms, 2s, 1m or 1h (a plain number counts seconds)"
SHARE = "a share from 0% to 100%, such as 50% or 0.5"
FLAG = "true or false"
STATUS = 'an HTTP status from 100 to 599, such as 200, or a range such as "200-299"'

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
DURATION_PATTERN = r"^[0-9]{1,9}(\.[0-9]{1,9})?(ms|s|m|h)$"
SHARE_PATTERN = r"^[0-9]{1,3}(\.[0-9]{1,9})?%$"
STATUS_PATTERN = r"^[1-5][0-9][0-9](-[1-5][0-9][0-9])?$"
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def parse_duration(value: object, field: str = "duration", bounds: Bounds = SOME_TIME) -> float:
    """Seconds, from ``"250ms"``, ``"2s"``, ``"1m"``, ``"1h"`` or a number of seconds, within ``bounds`` (seconds).

    Raises InvalidInputError.
    """
    seconds = _seconds(value)
    if seconds is None or not bounds.takes(seconds):
        least = f"{'more than' if bounds.above else 'at least'} {_written(bounds.least)}"
        raise InvalidInputError(field, value, f"{DURATION}, {least} and at most {_written(bounds.most)}")
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


def number(bounds: Bounds, allowed: str = "") -> Callable[[object], Any]:
    """A check for a number within ``bounds``; ``allowed``: in words, if other than theirs.

    The check returns the number as it was written (a whole one as int) and raises InvalidInputError.
    """

    def check(value: Any) -> int | float:
        if not is_number(value) or not bounds.takes(value) or (bounds.whole and value % 1):
            raise InvalidInputError("number", value, allowed or bounds.allowed)
        return int(value) if bounds.whole else value

    return check


def _written(seconds: float) -> str:
    """Seconds as one would write them in the file."""
    if 0 < seconds < 1:
        return f"{seconds * 1000:g}ms"
    return f"{seconds / 3600:g}h" if seconds >= 3600 else f"{seconds:g}s" if seconds else "0"


def _seconds(value: object) -> float | None:
    if is_number(value):
        return float(value)
    if not isinstance(value, str) or not re.fullmatch(DURATION_PATTERN, value):
        return None
    unit = "ms" if value.endswith("ms") else value[-1]
    amount = float(value.removesuffix(unit))
    return amount / 1000 if unit == "ms" else amount * _SECONDS[unit]
