"""What a world file says of law: attestations, rules and templates; and the examples of the page on data locality."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from mahavishnu.integrations.multi_region.core.facts import Attestation
from mahavishnu.integrations.multi_region.core.intent import policy_document, policy_from_document
from mahavishnu.integrations.multi_region.core.model import DataPlacementPolicy, Region
from mahavishnu.integrations.multi_region.core.templates import TEMPLATES
from mahavishnu.integrations.multi_region.core.vocabulary import FACTS, check_rule_names
from mahavishnu.integrations.multi_region.errors import WorldFileError
from mahavishnu.integrations.multi_region.facts.law import FactEdits
from mahavishnu.integrations.multi_region.surfaces.world.load import load_world, world_from_json, world_schema

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "data-locality.md").read_text("utf-8")
ALWAYS = {"id": "a", "effect": "allow", "when": {"always": True}}


def world(region: dict[str, Any] | None = None, policy: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "regions": [{"id": "eu-west-1", "endpoint": "http://a", **(region or {})}],
        "policies": [{"name": "p", **(policy or {})}],
    }


def region_of(**fields: Any) -> Region:
    return world_from_json(world(region=fields)).regions[0]


def policy_of(**fields: Any) -> DataPlacementPolicy:
    return world_from_json(world(policy=fields)).policies[0]


def test_an_attestation_stands_to_the_end_of_its_last_day() -> None:
    declared = region_of(
        attestations={"pci-dss": {"report": "R", "expires": "2026-12-31"}, "baa_on_file": {"value": False}}
    )
    assert declared.capabilities.attestations == {
        "pci_dss": Attestation("R", 1_798_761_600.0),
        "baa_on_file": Attestation(value=False),
    }


def test_a_policys_rules_follow_its_templates() -> None:
    found = policy_of(template="eea-only", rules=[{**ALWAYS, "effect": "deny"}])
    assert [rule.id for rule in found.rules] == ["in-the-eea", "a"]
    assert policy_from_document(json.loads(json.dumps(policy_document(found)))) == found


@pytest.mark.parametrize(
    ("data", "field", "says"),
    [
        (world({"attestations": {"gdrp": {}}}), "regions.eu-west-1.attestations", "did you mean 'gdpr'"),
        (
            world({"attestations": {"gdpr": {"expires": "soon"}}}),
            "regions.eu-west-1.attestations",
            "such as 2027-01-31",
        ),
        (
            world({"attestations": {"gdpr": {"until": "2027-01-31"}}}),
            "regions.eu-west-1.attestations",
            "report, expires",
        ),
        (world({"attestations": {"gdpr": {"value": "yes"}}}), "regions.eu-west-1.attestations", "true or false"),
        (world(policy={"template": "eea-onyl"}), "policies.p.template", "did you mean 'eea-only'"),
        (world(policy={"rules": [ALWAYS, ALWAYS]}), "policies.p.rules", "an id that no other rule"),
        (
            world(policy={"template": "eea-only", "rules": [{**ALWAYS, "id": "in-the-eea"}]}),
            "policies.p.rules",
            "an id that no other rule",
        ),
        (
            world(policy={"rules": [{**ALWAYS, "when": {"fact": "region.eaa", "is": True}}]}),
            "policies.p.rules.a",
            "did you mean 'region.eea'",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_place(data: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(WorldFileError) as caught:
        world_from_json(data)
    (problem,) = caught.value.problems
    assert problem.field == field
    assert says in problem.allowed


CONDITIONS: list[tuple[Any, bool]] = [
    ({"always": True}, True),
    ({"fact": "region.eea", "is": True}, True),
    ({"fact": "region.country", "in": ["DE"]}, True),
    ({"adequate_for": "eu"}, True),
    ({"all": [{"not": {"fact": "region.eea", "is": True}}, {"any": [{"always": True}]}]}, True),
    ({"always": False}, False),
    ({"fact": "region.eaa", "is": True}, False),
    ({"fact": "region.eea"}, False),
    ({"fact": "region.country", "in": []}, False),
    ({"adequate_for": "uk"}, False),
    ({"all": []}, False),
    ({"any": [{}]}, False),
    ({"all": [{"always": True}], "always": True}, False),
]


@pytest.mark.parametrize(("condition", "good"), CONDITIONS)
def test_schema_and_loader_agree_on_conditions(condition: Any, good: bool) -> None:
    data = world(policy={"rules": [{**ALWAYS, "when": condition}]})
    assert jsonschema_rs.Draft202012Validator(world_schema()).is_valid(data) is good
    try:
        world_from_json(data)
    except WorldFileError:
        assert not good
    else:
        assert good


def test_the_examples_of_the_page_are_taken() -> None:
    regions, policies = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    both = f"regions:\n{regions}{policies}"
    found = load_world(both, "docs")
    assert [len(found.regions), len(found.policies)] == [1, 1]
    check_rule_names(found.policies[0].rules)
    jsonschema_rs.Draft202012Validator(world_schema()).validate(yaml.safe_load(both))
    (edits,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert FactEdits.parse(json.loads(edits), ["eu-west-1"]).countries["US"]


def test_every_fact_and_template_is_on_the_page() -> None:
    named = re.sub(r"attestation\.FRAMEWORK", "attestation.", PAGE)
    assert [name for name in FACTS if f"`{name}`" not in named and not name.startswith("attestation.")] == []
    assert [name for name in TEMPLATES if f"| `{name}` |" not in PAGE] == []
