"""Policies ready to use. Each begins by saying what it does not cover; none makes a region or a system "compliant".

A template is rules over facts. Which data it is meant for, and whether the facts are true, is for its user to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..errors import InvalidInputError, nearest_hint
from .conditions import Adequate, Always, Every, In, Is
from .model import DataPlacementPolicy, LocalityLevel
from .policy import Effect, Rule


@dataclass(frozen=True, slots=True)
class Template:
    """Rules with a name. ``text``: what it does not cover, then what it does."""

    name: str
    text: str
    rules: tuple[Rule, ...]


_IN_EEA = Is("region.eea", True)
_EEA_TEXT = (
    "Does not cover who operates the region or can be compelled to hand data over, remote access, logs, metrics and "
    "support outside this system, nor whether the processing itself is lawful. "
)

_ALL = (
    Template(
        "eea-only",
        _EEA_TEXT + "Allows regions whose country is in the European Economic Area.",
        (Rule("in-the-eea", Effect.ALLOW, _IN_EEA),),
    ),
    Template(
        "eea-plus-adequate",
        _EEA_TEXT + "Allows regions in the European Economic Area, and those in countries that a decision of the "
        "European Commission finds adequate; where the decision covers only some recipients, the region's owner must "
        "have stated that it is one of them (dpf_certified, pipeda_commercial, appi_private_sector).",
        (Rule("in-the-eea", Effect.ALLOW, _IN_EEA), Rule("adequate-for-the-eu", Effect.ALLOW, Adequate("eu"))),
    ),
    Template(
        "us-only",
        "Does not cover US territories with a code of their own (PR, GU, VI, AS, MP), people abroad with access, nor "
        "any law: no federal privacy law asks for it. Allows regions whose country is the United States.",
        (Rule("in-the-us", Effect.ALLOW, Is("region.country", "US")),),
    ),
    Template(
        "hipaa-baa",
        "Does not cover where the data is (HIPAA names no place), the risk analysis, safeguards, minimum necessary "
        "use, nor contracts of states that forbid offshoring. Allows regions for which a business associate agreement "
        "is stated to be on file.",
        (Rule("baa-on-file", Effect.ALLOW, Is("baa_on_file", True)),),
    ),
    Template(
        "pci-in-scope",
        "Does not cover network segmentation, encryption, logging or any other control of PCI DSS, nor the scope of "
        "systems outside the regions. Allows regions that are stated to be in scope, with a current attestation.",
        (Rule("attested-in-scope", Effect.ALLOW, Every((Is("attestation.pci_dss", True), Is("pci_in_scope", True)))),),
    ),
    Template(
        "countries-of-concern",
        "Does not cover covered persons (who may be anywhere), volumes below the thresholds, exempt transactions, nor "
        "the due diligence that 28 CFR part 202 asks for. Refuses regions in a country of concern, and those whose "
        "operator has its legal home in one or has a home that is not known; allows every other.",
        (
            Rule("elsewhere", Effect.ALLOW, Always()),
            Rule("in-a-country-of-concern", Effect.DENY, Is("region.country_of_concern", True)),
            Rule(
                "operated-from-one",
                Effect.DENY,
                In("operator.legal_home", ("CN", "HK", "MO", "CU", "IR", "KP", "RU", "VE")),
            ),
        ),
    ),
)

TEMPLATES: Mapping[str, Template] = MappingProxyType({template.name: template for template in _ALL})
"""The templates by name."""


def template(name: str) -> Template:
    """The template of that name. Raises InvalidInputError naming the nearest."""
    found = TEMPLATES.get(name)
    if found is None:
        raise InvalidInputError("template", name, nearest_hint(name, list(TEMPLATES)))
    return found


def policy_from_template(
    name: str,
    *,
    policy_name: str = "",
    policy_id: str = "",
    allowed_regions: Iterable[str] | None = None,
    locality_level: LocalityLevel = LocalityLevel.STRICT,
    cross_region_transfer: bool = False,
) -> DataPlacementPolicy:
    """A policy with the template's rules, called ``policy_name`` or as the template is.

    Raises InvalidInputError for an unknown template.
    """
    return DataPlacementPolicy(
        name=policy_name or name,
        allowed_regions=allowed_regions,
        locality_level=locality_level,
        cross_region_transfer=cross_region_transfer,
        policy_id=policy_id,
        rules=template(name).rules,
    )
