"""What a world file says of law: a region's attestations, a policy's rules and template; and how these look in JSON
Schema."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema

from mahavishnu.integrations.multi_region.core.facts import STATED, Attestation
from mahavishnu.integrations.multi_region.core.model import ComplianceFramework, RegionCapabilities
from mahavishnu.integrations.multi_region.core.policy import Rule, parse_rule, parse_rules
from mahavishnu.integrations.multi_region.core.templates import TEMPLATES, template
from mahavishnu.integrations.multi_region.core.vocabulary import EXPORTERS, FACTS, check_rule_names
from mahavishnu.integrations.multi_region.errors import InvalidInputError

_DAY = "a day such as 2027-01-31, the last on which it stands"


def last_moment(value: object, field: str) -> float:
    """The end (UTC) of a day written ``YYYY-MM-DD``, in seconds since the epoch. Raises InvalidInputError."""
    try:
        day = date.fromisoformat(value) if isinstance(value, str) and len(value) == 10 else None
        ends = None if day is None else datetime.combine(day + timedelta(days=1), time(), UTC)
    except (ValueError, OverflowError):
        ends = None
    if ends is None:
        raise InvalidInputError(field, value, _DAY)
    return ends.timestamp()


def _attestations(value: object) -> Mapping[str, Attestation]:
    """By framework or stated fact: ``report``, ``expires`` and, for what is not a framework, ``value``."""
    if not isinstance(value, Mapping):
        raise InvalidInputError("attestations", value, "a mapping from a framework to report and expires")
    found: dict[str, Any] = {}
    for name, given in value.items():
        if not isinstance(given, Mapping) or not {"report", "expires", "value"} >= set(given):
            raise InvalidInputError(
                "attestations", given, f"for {name}: a mapping with keys of: report, expires, value"
            )
        if None in given.values():
            raise InvalidInputError(
                "attestations", None, f"for {name}: a value; to take the default, leave the key out"
            )
        found[name] = {key: given[key] for key in ("report", "value") if key in given}
        if "expires" in given:
            found[name]["expires_at"] = last_moment(given["expires"], f"attestations.{name}.expires")
    return dict(RegionCapabilities(attestations=found).attestations)


def _rule(value: object) -> Rule:
    rule = parse_rule(value)
    check_rule_names((rule,))
    return rule


def _ids_differ(rules: list[Rule]) -> list[Rule]:
    parse_rules(rules)
    return rules


def _template(value: object) -> str:
    return template(value if isinstance(value, str) else str(value)).name


def _stated_schema(kind: type) -> dict[str, Any]:
    """How one attestation looks."""
    return {
        "type": "object",
        "properties": {
            "report": {"type": "string"},
            "expires": {"type": "string", "format": "date"},
            "value": {"type": "boolean" if kind is bool else "string"},
        },
        "additionalProperties": False,
    }


_NAMES = {**{f.value: bool for f in ComplianceFramework}, **{name: kind for name, (kind, _) in STATED.items()}}
_ATTESTATION_SCHEMA = {
    "type": "object",
    "properties": {name: _stated_schema(kind) for name, kind in _NAMES.items()},
    "additionalProperties": False,
}
_RULE_SCHEMA = {
    "type": "object",
    "required": ["id", "effect", "when"],
    "properties": {
        "id": {"type": "string", "minLength": 1},
        "effect": {"enum": ["allow", "deny"]},
        "when": {"type": "object", "minProperties": 1},
    },
    "additionalProperties": False,
}


def _form(properties: dict[str, Any]) -> dict[str, Any]:
    """One form of a condition: exactly these keys."""
    return {"type": "object", "required": [*properties], "properties": properties, "additionalProperties": False}


def condition_schema(here: str) -> dict[str, Any]:
    """How a condition looks; ``here`` is the reference to this very schema."""
    several = {"type": "array", "minItems": 1, "maxItems": 64, "items": {"$ref": here}}
    fact = {"enum": list(FACTS)}
    values = {"type": "array", "minItems": 1, "items": {"type": "string"}}
    return {
        "oneOf": [
            _form({"fact": fact, "is": {"type": ["boolean", "string"]}}),
            _form({"fact": fact, "in": values}),
            _form({"adequate_for": {"enum": list(EXPORTERS)}}),
            _form({"all": several}),
            _form({"any": several}),
            _form({"not": {"$ref": here}}),
            _form({"always": {"const": True}}),
        ]
    }


Attestations = Annotated[Any, PlainValidator(_attestations), WithJsonSchema(_ATTESTATION_SCHEMA)]
RuleValue = Annotated[Any, PlainValidator(_rule), WithJsonSchema(_RULE_SCHEMA)]
Rules = Annotated[list[RuleValue], AfterValidator(_ids_differ), Field()]
TemplateName = Annotated[
    str | None, PlainValidator(_template), WithJsonSchema({"type": "string", "enum": list(TEMPLATES)})
]


def policy_rules(template_name: str | None, rules: list[Rule]) -> tuple[Rule, ...]:
    """The rules of a template and one's own together. Raises InvalidInputError when two have one id."""
    return parse_rules([*(template(template_name).rules if template_name is not None else ()), *rules])
