"""The dated facts that policies read of a region: where its disks are, what a law holds of that place, who runs it.

Facts, not advice: they say what a source said at a date. What two sources contradict is unknown, and so is what no
source says. What concerns the operator's own standing (attestations, agreements, certificates) is the operator's word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Any

from mahavishnu.integrations.multi_region.core.facts import ADEQUACY, ATTESTED, Attestation, Fact, Facts, merged
from mahavishnu.integrations.multi_region.core.model import CloudProvider, ComplianceFramework, Region
from mahavishnu.integrations.multi_region.core.vocabulary import check_fact
from mahavishnu.integrations.multi_region.errors import InvalidInputError, nearest_hint

from . import catalog, places
from .jurisdictions import jurisdictions

CONDITIONS: Mapping[str, str] = MappingProxyType(
    {"US": "dpf_certified", "CA": "pipeda_commercial", "JP": "appi_private_sector"}
)
"""Countries whose adequacy decision covers only some recipients, and the fact that says whether one is among them."""

CONCERN = frozenset({"CN", "HK", "MO", "CU", "IR", "KP", "RU", "VE"})
"""Countries of concern: 28 CFR 202.601 lists six, of which China includes Hong Kong and Macau."""
_FRAMEWORKS = frozenset(framework.value for framework in ComplianceFramework)
_CONCERN_SOURCE, _CONCERN_AS_OF = "28 CFR 202.601", "2025-04-08"


def facts_of(region: Region) -> Facts:
    """All that is held to be true of a region: shipped facts of its place and provider, and what its owner states."""
    return MappingProxyType(merged(_place_facts(region.region_id, region.provider, region.country), _stated(region)))


def catalog_facts() -> dict[str, Facts]:
    """The facts of every region in the catalog, by id; nothing is stated of them yet."""
    return {r.region_id: _place_facts(r.region_id, r.provider, r.country) for r in reversed(catalog.all_regions())}


@lru_cache(maxsize=4096)
def _place_facts(region_id: str, provider: CloudProvider, stated_country: str | None) -> Facts:
    known = catalog.find(region_id, provider)
    facts: dict[str, Fact] = {
        "region.id": Fact(region_id, "its declaration"),
        "region.provider": Fact(str(provider), "its declaration"),
    }
    listed = known.country if known is not None else None
    facts |= _at_place(stated_country, listed)
    return MappingProxyType(facts)


def _at_place(stated: str | None, listed: str | None) -> Mapping[str, Fact]:
    """The facts of the country that the declaration and the catalog name; where the two differ and so would the facts,
    nothing is known."""
    if stated is None or listed is None or stated == listed:
        code = stated or listed
        return {} if code is None else _country_facts(code, "its declaration" if stated else "the catalog of regions")
    note = f"its declaration says {stated}, the catalog of regions says {listed}"
    together = merged(_country_facts(stated, "its declaration"), _country_facts(listed, "the catalog of regions"))
    return {n: replace(fact, note=note) if fact.value is None else fact for n, fact in together.items()}


@cache
def _country_facts(country: str, told_by: str) -> Mapping[str, Fact]:
    """What a country is to the laws that the shipped facts know; a code that is no country's has no facts."""
    if country not in places.countries():
        return MappingProxyType({})
    lists = jurisdictions()
    source = lists.sources[0]
    return MappingProxyType(
        {
            "region.country": Fact(country, told_by),
            "region.eu": Fact(country in lists.eu, source, lists.as_of),
            "region.eea": Fact(country in lists.eea, source, lists.as_of),
            ADEQUACY + "eu": _adequacy(country),
            "region.country_of_concern": Fact(country in CONCERN, _CONCERN_SOURCE, _CONCERN_AS_OF),
        }
    )


def _adequacy(country: str) -> Fact:
    """What the EU holds of a country. A condition that no fact stands for makes it unknown, not adequate."""
    lists = jurisdictions()
    source = lists.sources[0]
    condition = lists.adequacy.get(country)
    if country in lists.eea:
        return Fact("inside", source, lists.as_of)
    if condition is None:
        return Fact("no", source, lists.as_of)
    if country in CONDITIONS:
        return Fact("if:" + CONDITIONS[country], source, lists.as_of, note=condition)
    if not condition or condition.startswith("adopted "):
        return Fact("yes", source, lists.as_of, note=condition)
    return Fact(
        None, source, lists.as_of, note=f"the decision carries a condition that no fact stands for: {condition}"
    )


def _stated(region: Region) -> dict[str, Fact]:
    """The owner's own word, by the names that rules use."""
    return {
        (ATTESTED + name if name in _FRAMEWORKS else name): _fact_of(attestation)
        for name, attestation in region.stated.items()
    }


def _fact_of(attestation: Attestation) -> Fact:
    report = f", {attestation.report}" if attestation.report else ""
    return Fact(attestation.value, f"the region's owner{report}", valid_until=attestation.expires_at)


# --- what if: the same facts, edited -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FactEdits:
    """Facts to change for a what-if, by country (ISO alpha-2), by provider and by region; None takes a fact away.

    Where several name one fact, the region's edit counts before the provider's, and that before the country's.
    """

    countries: Mapping[str, Mapping[str, Fact | None]] = field(default_factory=dict)
    providers: Mapping[str, Mapping[str, Fact | None]] = field(default_factory=dict)
    regions: Mapping[str, Mapping[str, Fact | None]] = field(default_factory=dict)

    @classmethod
    def parse(cls, document: Any, region_ids: list[str]) -> FactEdits:
        """The edits that a document describes; see ``docs/data-locality.md``. Raises InvalidInputError, naming the
        nearest, for a section, country, provider, region or fact that nobody knows."""
        known = {
            "countries": list(places.countries()),
            "providers": [provider.value for provider in CloudProvider],
            "regions": region_ids,
        }
        if not isinstance(document, Mapping):
            raise InvalidInputError("facts", document, "a mapping with keys of: " + ", ".join(known))
        parsed: dict[str, dict[str, dict[str, Fact | None]]] = {}
        for section, whose in document.items():
            if section not in known:
                raise InvalidInputError("facts", section, nearest_hint(str(section), list(known)))
            if not isinstance(whose, Mapping):
                raise InvalidInputError(f"facts.{section}", whose, "a mapping")
            for name in whose:
                if name not in known[section]:
                    raise InvalidInputError(f"facts.{section}", name, nearest_hint(str(name), known[section]))
            parsed[section] = {name: _edits(facts, f"facts.{section}.{name}") for name, facts in whose.items()}
        return cls(**parsed)

    def applied(self, region_id: str, provider: str, facts: Facts) -> Facts:
        """A region's facts with the edits made."""
        country = facts.get("region.country")
        place = country.value if country is not None and isinstance(country.value, str) else ""
        edited = dict(facts)
        for changes in (self.countries.get(place), self.providers.get(provider), self.regions.get(region_id)):
            for name, fact in (changes or {}).items():
                if fact is None:
                    edited.pop(name, None)
                else:
                    edited[name] = fact
        return MappingProxyType(edited)


def _edits(given: Any, where: str) -> dict[str, Fact | None]:
    if not isinstance(given, Mapping):
        raise InvalidInputError(where, given, "a mapping from a fact's name to its value, or to null to take it away")
    edits: dict[str, Fact | None] = {}
    for name, value in given.items():
        check_fact(str(name), value, where)
        edits[name] = None if value is None else Fact(value, "the edited facts")
    return edits
