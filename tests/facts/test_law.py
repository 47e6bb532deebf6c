"""The dated facts of regions: from the shipped lists, the catalog and the owner's word."""

from __future__ import annotations

import pytest

from mahavishnu.integrations.multi_region.core.facts import Attestation
from mahavishnu.integrations.multi_region.core.model import CloudProvider, ComplianceFramework, RegionCapabilities
from mahavishnu.integrations.multi_region.core.vocabulary import FACTS
from mahavishnu.integrations.multi_region.facts.catalog import all_regions
from mahavishnu.integrations.multi_region.facts.jurisdictions import jurisdictions
from mahavishnu.integrations.multi_region.facts.law import CONDITIONS, FactEdits, catalog_facts, facts_of
from mahavishnu.integrations.multi_region.facts.prices import transfer_usd_per_gb
from mahavishnu.integrations.multi_region.testing.builders import region

AWS, GCP, OTHER = CloudProvider.AWS, CloudProvider.GCP, CloudProvider.OTHER


@pytest.mark.parametrize(
    ("country", "eea", "adequacy"),
    [
        ("DE", True, "inside"),
        ("NO", True, "inside"),
        ("GB", False, "yes"),
        ("CH", False, "yes"),
        ("BR", False, "yes"),
        ("US", False, "if:dpf_certified"),
        ("CA", False, "if:pipeda_commercial"),
        ("JP", False, "if:appi_private_sector"),
        ("IN", False, "no"),
        ("XX", None, None),
        (None, None, None),
    ],
)
def test_what_the_eu_holds_of_a_country(country: str | None, eea: bool | None, adequacy: str | None) -> None:
    facts = facts_of(region("rack", provider=OTHER, country=country))
    assert facts["region.eea"].value is eea if eea is not None else "region.eea" not in facts
    assert facts["adequacy.eu"].value == adequacy if adequacy is not None else "adequacy.eu" not in facts


def test_every_condition_of_a_decision_is_a_fact_or_leaves_it_unknown() -> None:
    stated = {c: text for c, text in jurisdictions().adequacy.items() if text and not text.startswith("adopted ")}
    assert stated.keys() == CONDITIONS.keys()


def test_every_region_of_the_catalog_has_facts_with_source_and_date() -> None:
    known = catalog_facts()
    assert {r.region_id for r in all_regions()} == known.keys()
    for facts in known.values():
        assert facts.keys() <= FACTS.keys()
        assert facts["region.eea"].source.startswith("https://")
        assert facts["region.eea"].as_of == jurisdictions().as_of


@pytest.mark.parametrize(("region_id", "eea"), [("eu-west-1", True), ("eu-west-2", False), ("eu-central-2", False)])
def test_a_regions_id_is_no_jurisdiction(region_id: str, eea: bool) -> None:
    assert facts_of(region(region_id, country=None))["region.eea"].value is eea


@pytest.mark.parametrize("region_id", ["eu-west-1", "cn-north-1", "rack"])
def test_the_operators_legal_home_is_unknown_until_somebody_states_it(region_id: str) -> None:
    assert "operator.legal_home" not in facts_of(region(region_id, country=None))


def test_the_owners_word_carries_report_and_end() -> None:
    stated = {"gdpr": Attestation("R-7", 50.0), "operator.legal_home": Attestation(value="FR")}
    capabilities = RegionCapabilities(compliance=[ComplianceFramework.SOC2], attestations=stated)
    facts = facts_of(region("eu-west-1", capabilities=capabilities))
    assert (facts["attestation.gdpr"].source, facts["attestation.gdpr"].valid_until) == (
        "the region's owner, R-7",
        50.0,
    )
    assert facts["attestation.soc2"].value is True
    assert facts["operator.legal_home"].value == "FR"


def test_of_several_edits_the_nearest_to_the_region_counts() -> None:
    document = {
        "countries": {"IE": {"region.eea": False, "region.eu": False}},
        "providers": {"aws": {"region.eu": None}},
        "regions": {"eu-west-1": {"region.eea": True}},
    }
    edits = FactEdits.parse(document, ["eu-west-1"])
    edited = edits.applied("eu-west-1", "aws", facts_of(region("eu-west-1")))
    assert edited["region.eea"].value is True
    assert "region.eu" not in edited


@pytest.mark.parametrize(
    ("source", "target", "price"),
    [
        (("us-east-1", AWS), ("eu-west-1", AWS), 0.02),
        (("us-east-1", AWS), ("us-east-2", AWS), 0.01),
        (("us-east-1", AWS), ("europe-west1", GCP), 0.09),
        (("us-east-1", AWS), ("us-east-1", AWS), 0.0),
        (("rack", OTHER), ("us-east-1", AWS), None),
    ],
)
def test_what_moving_a_gb_costs(
    source: tuple[str, CloudProvider], target: tuple[str, CloudProvider], price: float | None
) -> None:
    assert transfer_usd_per_gb(source, target) == price
