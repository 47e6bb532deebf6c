"""Facts as values: what is held to be true of a region, its operator, a piece of data or a transfer, and until when.

Decides only whether one fact stands at a moment. A fact that is missing, expired or contradicted is unknown; what an
unknown fact means for a decision is ``policy``'s to say.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from ..errors import InvalidInputError
from .figures import check_number

Value = bool | str
"""What a fact can say."""

ATTESTED = "attestation."
"""Facts of this prefix say whether the operator attests a framework: ``attestation.gdpr``."""

ADEQUACY = "adequacy."
"""Facts of this prefix say what an exporter's regime holds of the region's country: ``adequacy.eu``.

Values: ``inside`` (the exporter's own territory), ``yes``, ``no``, or ``if:`` and the name of the fact about the
recipient that must be true besides.
"""

STATED: Mapping[str, tuple[type, str]] = MappingProxyType(
    {
        "baa_on_file": (bool, "the operator has signed a HIPAA business associate agreement"),
        "dpf_certified": (bool, "the recipient is certified under the EU-US Data Privacy Framework"),
        "pipeda_commercial": (bool, "the recipient is a commercial organisation under Canada's PIPEDA"),
        "appi_private_sector": (bool, "the recipient is a private-sector business under Japan's APPI"),
        "pci_in_scope": (bool, "the region is inside the scope of the operator's PCI DSS assessment"),
        "operator.legal_home": (str, "country (ISO alpha-2) whose courts can compel the region's operator"),
    }
)
"""Facts beside the frameworks that a region's owner may state, with their type and meaning."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing held to be true.

    ``value``: None when sources contradict each other. ``as_of``: the date (ISO, as exact as the source is) at which
    the source said so. ``valid_until``: seconds since the epoch from which it counts no more; None: no end is known.
    """

    value: Value | None
    source: str
    as_of: str = ""
    valid_until: float | None = None
    note: str = ""

    def at(self, now: float) -> Value | None:
        """What it says at ``now`` (seconds since the epoch), None when it says nothing any more."""
        return self.value if self.valid_until is None or now < self.valid_until else None

    def document(self) -> dict[str, Any]:
        """The fact as plain data."""
        return {
            "value": self.value,
            "source": self.source,
            "as_of": self.as_of,
            "valid_until": self.valid_until,
            "note": self.note,
        }


Facts = Mapping[str, Fact]
"""Facts by name."""

NO_FACTS: Facts = MappingProxyType({})

Reader = Callable[[str], Value | None]
"""Reads what a fact says now; None: unknown."""


@dataclass(frozen=True, slots=True)
class Attestation:
    """What a region's owner states, and what it rests on.

    ``report``: a reference to the evidence (a report's number or address). ``expires_at``: seconds since the epoch,
    None: no end. ``value``: what is stated; frameworks are stated with True.
    """

    report: str = ""
    expires_at: float | None = None
    value: Value = True

    def document(self) -> dict[str, Any]:
        """The attestation as plain data."""
        return {"report": self.report, "expires_at": self.expires_at, "value": self.value}


def check_attestation(name: str, given: Attestation | Mapping[str, Any], kind: type = bool) -> Attestation:
    """The attestation, when its parts are as they must be. Raises InvalidInputError naming the part."""
    where = f"capabilities.attestations.{name}"
    if isinstance(given, Mapping):
        extra = sorted(set(given) - {"report", "expires_at", "value"})
        if extra:
            raise InvalidInputError(f"{where}.{extra[0]}", given[extra[0]], "report, expires_at, value")
        given = Attestation(**given)
    if not isinstance(given, Attestation):
        raise InvalidInputError(where, given, "an Attestation")
    if not isinstance(given.report, str):
        raise InvalidInputError(f"{where}.report", given.report, "a text")
    if given.expires_at is not None:
        allowed = "seconds since the epoch, or None"
        check_number(given.expires_at, f"{where}.expires_at", allowed, lambda _: True)
    if not isinstance(given.value, kind):
        raise InvalidInputError(f"{where}.value", given.value, "true or false" if kind is bool else "a text")
    return given


def agreed(one: Fact | None, other: Fact | None) -> Fact | None:
    """Two sources' word on one thing: what both say, or a fact without a value when they contradict each other."""
    if one is None or other is None:
        return one or other
    ends = min((f.valid_until for f in (one, other) if f.valid_until is not None), default=None)
    if one.value == other.value:
        return Fact(one.value, one.source, one.as_of, ends, one.note)
    note = f"{one.source} says {_said(one.value)}, {other.source} says {_said(other.value)}"
    return Fact(None, f"{one.source}; {other.source}", max(one.as_of, other.as_of), ends, note)


def merged(one: Facts, other: Facts) -> dict[str, Fact]:
    """Two sources' facts together; where they contradict each other, nothing is known."""
    together = dict(one)
    for name, fact in other.items():
        both = agreed(together.get(name), fact)
        if both is not None:
            together[name] = both
    return together


def reading(sources: Sequence[Facts], now: float) -> Reader:
    """Reads facts from the first of ``sources`` that has them, as they stand at ``now``."""

    def read(name: str) -> Value | None:
        for facts in sources:
            fact = facts.get(name)
            if fact is not None:
                return fact.at(now)
        return None

    return read


def why_unknown(name: str, fact: Fact | None, now: float) -> str:
    """Why a fact says nothing at ``now``."""
    if fact is None:
        return f"{name} is not known"
    if fact.value is None:
        return f"{name} is contradicted: {fact.note}" if fact.note else f"{name} is contradicted"
    return f"{name} expired on {day(fact.valid_until or now)}"


def day(at: float) -> str:
    """The date of a moment, in UTC."""
    try:
        return datetime.fromtimestamp(at, UTC).date().isoformat()
    except (OverflowError, ValueError, OSError):  # a moment beyond any calendar
        return f"{at:.0f} s"


def digest(value: object) -> str:
    """SHA-256 (hexadecimal) of a value's canonical JSON: sorted keys, no spaces, ASCII."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _said(value: Value | None) -> str:
    return "nothing certain" if value is None else str(value).lower() if isinstance(value, bool) else value
