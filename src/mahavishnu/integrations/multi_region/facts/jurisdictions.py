"""EU and EEA members and the GDPR's adequacy decisions: facts with a date, not legal advice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from .files import read_json


@dataclass(frozen=True, slots=True)
class Jurisdictions:
    """Country codes are ISO 3166-1 alpha-2. ``as_of``: year and month that the lists were true.

    ``adequacy``: country to the condition its adequacy decision carries, empty when it carries none.
    """

    as_of: str
    eu: frozenset[str]
    eea: frozenset[str]
    adequacy: Mapping[str, str]
    sources: tuple[str, ...]


@cache
def jurisdictions() -> Jurisdictions:
    """The lists that ship with this release."""
    raw = read_json("gdpr_jurisdictions.json")
    return Jurisdictions(
        as_of=raw["as_of"],
        eu=frozenset(raw["eu"]),
        eea=frozenset(raw["eea"]),
        adequacy=MappingProxyType(dict(raw["gdpr_adequacy"])),
        sources=tuple(raw["sources"]),
    )
