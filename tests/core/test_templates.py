"""Policy templates: each says first what it leaves out, can be met, and decides as its text says."""

from __future__ import annotations

import pytest

from mahavishnu.integrations.multi_region.core.eligibility import lawful_objection
from mahavishnu.integrations.multi_region.core.facts import Attestation
from mahavishnu.integrations.multi_region.core.model import CloudProvider, PolicyView, RegionCapabilities
from mahavishnu.integrations.multi_region.core.request import Needs
from mahavishnu.integrations.multi_region.core.templates import TEMPLATES, Template, policy_from_template
from mahavishnu.integrations.multi_region.core.vocabulary import check_policy_rules, with_facts
from mahavishnu.integrations.multi_region.errors import InvalidInputError
from mahavishnu.integrations.multi_region.facts import law
from mahavishnu.integrations.multi_region.testing.builders import region, view

STATED = {
    "dpf": {"dpf_certified": Attestation()},
    "baa": {"baa_on_file": Attestation(report="BAA-7", expires_at=2e9)},
    "no-baa": {"baa_on_file": Attestation(value=False)},
    "pci": {"pci_dss": Attestation(), "pci_in_scope": Attestation()},
    "pci-lapsed": {"pci_dss": Attestation(expires_at=1.0), "pci_in_scope": Attestation()},
    "home": {"operator.legal_home": Attestation(value="FR")},
    "home-cn": {"operator.legal_home": Attestation(value="CN")},
    "none": {},
}


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=lambda template: template.name)
def test_a_template_begins_with_what_it_does_not_cover(template: Template) -> None:
    assert template.text.startswith("Does not cover ")
    assert "compliant" not in template.text.lower()
    check_policy_rules(policy_from_template(template.name), law.catalog_facts(), 0.0)


@pytest.mark.parametrize(
    ("name", "country", "stated", "allowed"),
    [
        ("eea-only", "IE", "none", True),
        ("eea-only", "NO", "none", True),
        ("eea-only", "GB", "none", False),
        ("eea-only", "CH", "none", False),
        ("eea-only", "US", "dpf", False),
        ("eea-only", None, "none", False),
        ("eea-plus-adequate", "DE", "none", True),
        ("eea-plus-adequate", "GB", "none", True),
        ("eea-plus-adequate", "BR", "none", True),
        ("eea-plus-adequate", "US", "none", False),
        ("eea-plus-adequate", "US", "dpf", True),
        ("eea-plus-adequate", "JP", "dpf", False),
        ("eea-plus-adequate", "IN", "dpf", False),
        ("us-only", "US", "none", True),
        ("us-only", "PR", "none", False),
        ("hipaa-baa", "IN", "baa", True),
        ("hipaa-baa", "US", "no-baa", False),
        ("hipaa-baa", "US", "none", False),
        ("pci-in-scope", "US", "pci", True),
        ("pci-in-scope", "US", "pci-lapsed", False),
        ("pci-in-scope", "US", "none", False),
        ("countries-of-concern", "US", "none", False),
        ("countries-of-concern", "US", "home", True),
        ("countries-of-concern", "US", "home-cn", False),
        ("countries-of-concern", "HK", "home", False),
        ("countries-of-concern", None, "home", False),
    ],
)
def test_a_template_decides_as_its_text_says(name: str, country: str | None, stated: str, allowed: bool) -> None:
    declared = region(
        "rack",
        provider=CloudProvider.OTHER,
        country=country,
        capabilities=RegionCapabilities(attestations=STATED[stated]),
    )
    seen = with_facts(view("rack", as_of=1e9), law.facts_of(declared))
    needs = Needs(policies=(PolicyView.of(policy_from_template(name)),))
    assert (lawful_objection(seen, needs) is None) is allowed


def test_an_unknown_template_is_refused_with_the_nearest() -> None:
    with pytest.raises(InvalidInputError, match="did you mean 'eea-only'"):
        policy_from_template("eea-onyl")
