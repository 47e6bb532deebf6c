"""Membership and adequacy, as of a date."""

import re

from mahavishnu.integrations.multi_region.facts.jurisdictions import jurisdictions


def test_the_eea_is_the_eu_and_three_more() -> None:
    assert len(jurisdictions().eu) == 27
    assert jurisdictions().eea - jurisdictions().eu == {"IS", "LI", "NO"}
    assert jurisdictions().eu < jurisdictions().eea


def test_london_and_zurich_are_outside_the_eea_but_adequate() -> None:
    assert not {"GB", "CH"} & jurisdictions().eea
    assert jurisdictions().adequacy["GB"] == jurisdictions().adequacy["CH"] == ""


def test_a_conditional_decision_says_its_condition() -> None:
    assert "certified" in jurisdictions().adequacy["US"]
    assert "PIPEDA" in jurisdictions().adequacy["CA"]
    assert "CN" not in jurisdictions().adequacy


def test_facts_have_a_date_and_sources() -> None:
    assert re.fullmatch(r"\d{4}-\d{2}", jurisdictions().as_of)
    assert jurisdictions().sources
    assert all(source.startswith("https://") for source in jurisdictions().sources)
