"""Everything the package raises on purpose, sorted by what the caller can do about it.

Mend the input: ``InvalidInputError`` and what derives from it. Decide again: ``StaleRevisionError``.
Accept the refusal or change what it rests on: ``RefusedError``. Try later or call an operator: ``UnavailableError``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field as attribute
from difflib import get_close_matches

SHOWN_CHARS = 300
"""How much of a value that is not allowed an error's message repeats."""


class MultiRegionError(Exception):
    """Base of all errors that this package raises on purpose."""


# --- mend the input ---------------------------------------------------------------------------


class InvalidInputError(MultiRegionError, ValueError):
    """A value from outside is not allowed.

    ``field`` names where it stood (dotted path), ``value`` is what was given, ``allowed`` says what would do.
    """

    def __init__(self, field: str, value: object, allowed: str) -> None:
        self.field = field
        self.value = value
        self.allowed = allowed
        super().__init__(f"{field}: {shown(value)} is not allowed; allowed: {allowed}")


class SettingsError(InvalidInputError):
    """An environment variable or settings field has a value that is not allowed."""


class UnknownRegionError(InvalidInputError, KeyError):
    """No region of that id is registered."""

    def __init__(self, region_id: str, known: list[str]) -> None:
        self.region_id = region_id
        super().__init__("region_id", region_id, nearest_hint(region_id, known))

    def __str__(self) -> str:  # KeyError would print the repr
        return str(self.args[0])


class DuplicateRegionError(InvalidInputError):
    """A region of that id is registered already."""


class UnknownServiceError(InvalidInputError):
    """No service of that name is declared."""


class UnknownPolicyError(InvalidInputError):
    """No policy of that id is registered."""


class UnknownEdgeError(InvalidInputError):
    """No edge of that id is declared."""


@dataclass(frozen=True, slots=True)
class WorldProblem:
    """One thing that is wrong in a world file: ``line`` counts from 1, ``field`` is a dotted path."""

    line: int
    field: str
    value: object
    allowed: str


class WorldFileError(MultiRegionError, ValueError):
    """A world file does not say what it must; lists every problem, each with its place."""

    def __init__(self, source: str, problems: list[WorldProblem]) -> None:
        self.source = source
        self.problems = problems
        lines = [f"{source}:{p.line}: {p.field}: {p.value!r} is not allowed; allowed: {p.allowed}" for p in problems]
        super().__init__("\n".join(lines))


# --- decide again -----------------------------------------------------------------------------


class StaleRevisionError(MultiRegionError):
    """Somebody saved first: reload and decide again. Nothing was written."""

    def __init__(self, key: str, expected: int, actual: int) -> None:
        self.key = key
        self.expected = expected
        self.actual = actual
        super().__init__(f"{key} is at revision {actual}, not {expected}: reload and decide again")


class HistoryGoneError(MultiRegionError):
    """A watch asked for changes older than the store still holds: load again, watch from there."""


# --- accept the refusal, or change what it rests on -------------------------------------------


class RefusedError(MultiRegionError):
    """The request was understood and refused by a rule; nothing was changed.

    ``rule`` is the rule's short name, which a break-glass override would name; ``reasons`` says why, by region.
    """

    def __init__(self, rule: str, message: str, reasons: Mapping[str, str] | None = None) -> None:
        self.rule = rule
        self.reasons = dict(reasons or {})
        super().__init__(message)


class NoEligibleRegionError(RefusedError):
    """No region may serve the request. ``policy_bound`` is true when law, not health, left none (L6)."""

    def __init__(self, message: str, reasons: Mapping[str, str], *, policy_bound: bool) -> None:
        self.policy_bound = policy_bound
        super().__init__("policy_bound_exhaustion" if policy_bound else "no_eligible_region", message, reasons)


class FailoverRefusedError(RefusedError):
    """A failover, drain or failback would break a rule (L6, L7, L9, L11)."""


class ForbiddenError(MultiRegionError):
    """The caller has no token, or its role does not allow this."""


# --- try later, or call an operator -----------------------------------------------------------


class UnavailableError(MultiRegionError):
    """Something we depend on does not answer."""


class StoreError(UnavailableError):
    """The store failed; the outcome of a write in flight is unknown until it is read back."""


class AuditBrokenError(MultiRegionError):
    """The event log's hash chain does not hold. ``seq`` is the first event that fails."""

    def __init__(self, seq: int, why: str) -> None:
        self.seq = seq
        super().__init__(f"event {seq}: {why}")


@dataclass(frozen=True, slots=True)
class Warning_:
    """Something that is allowed and probably not meant; collected, shown, never raised."""

    field: str
    text: str
    details: Mapping[str, object] = attribute(default_factory=dict)

    def __str__(self) -> str:
        return self.text


def shown(value: object) -> str:
    """A value from outside as a message shows it: its repr, no longer than a few lines."""
    try:
        text = repr(value[:SHOWN_CHARS]) if isinstance(value, str) else repr(value)
    except ValueError:  # an int of thousands of digits
        return f"a {type(value).__name__} too long to show"
    long = len(text) > SHOWN_CHARS or (isinstance(value, str) and len(value) > SHOWN_CHARS)
    return f"{text[:SHOWN_CHARS]}…" if long else text


def nearest_hint(given: object, known: list[str]) -> str:
    """What is allowed, the nearest known name first: a typo should cost one glance."""
    close = get_close_matches(given, known, n=1, cutoff=0.6) if isinstance(given, str) else []
    listed = ", ".join(sorted(known)[:12]) + (", …" if len(known) > 12 else "")
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}one of: {listed}" if known else f"{hint}none is known yet"
