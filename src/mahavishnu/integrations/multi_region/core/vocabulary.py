"""Which facts a rule may read, what values they take, and whether a policy's rules can be met anywhere.

A fact that nobody keeps would make a rule that never decides; a policy that no region can meet would stop its services.
Both are mistakes to be told of when the policy is registered, not at night.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice, product
from types import MappingProxyType

from ..errors import InvalidInputError, nearest_hint
from .conditions import Adequate, Condition, Every, Not, Some
from .facts import ADEQUACY, ATTESTED, STATED, Facts, Reader, Value, reading
from .model import ComplianceFramework, DataPlacementPolicy, RegionView
from .policy import Effect, Rule, Verdict, verdict

EXPORTERS = ("eu", "gb", "ch")
"""Regimes whose adequacy decisions rules may name. Shipped facts know ``eu``; the others can be given."""

MECHANISMS = ("adequacy", "scc", "bcr", "derogation", "other")
"""What a transfer may rest on: an adequacy decision, standard contractual clauses, binding corporate rules, a
derogation for one case, or something else on file."""

FACTS: Mapping[str, tuple[type, str]] = MappingProxyType(
    {
        "region.id": (str, "the region's id"),
        "region.provider": (str, "who runs the region, as in the catalog"),
        "region.country": (str, "country (ISO alpha-2) where the region's disks are"),
        "region.eu": (bool, "that country is in the European Union"),
        "region.eea": (bool, "that country is in the European Economic Area"),
        "region.country_of_concern": (bool, "that country is one of concern under 28 CFR 202.601"),
        **{
            ADEQUACY + e: (str, f"what the regime of {e} holds of that country: inside, yes, no, if:FACT")
            for e in EXPORTERS
        },
        **{ATTESTED + f.value: (bool, f"the operator attests {f.value} for the region") for f in ComplianceFramework},
        **STATED,
        "data.class": (str, "what kind of data it is, in the operator's own words"),
        "transfer.mechanism": (str, "what a transfer rests on: " + ", ".join(MECHANISMS)),
        "transfer.purpose": (str, "what a transfer is for, in the operator's own words"),
    }
)
"""Every fact that a rule may read: its type and its meaning."""

_ATTESTATIONS = tuple((framework, ATTESTED + framework.value) for framework in ComplianceFramework)
_MOST_GUESSES = 4096
_ELSE = "\0something else"


def attested(facts: Facts, now: float) -> frozenset[ComplianceFramework]:
    """The frameworks whose attestation stands at ``now``."""
    return frozenset(framework for framework, name in _ATTESTATIONS if name in facts and facts[name].at(now) is True)


def with_facts(view: RegionView, facts: Facts) -> RegionView:
    """The region as it would be with other facts."""
    return replace(view, facts=facts, compliance=attested(facts, view.as_of))


def check_rule_names(rules: Iterable[Rule], where: str = "rules") -> None:
    """Refuse a rule that reads a fact nobody keeps, or compares it with a value of another type.

    Raises InvalidInputError with the nearest name.
    """
    for position, rule in enumerate(rules):
        check_condition(rule.when, f"{where}.{position}.when")


def check_condition(condition: Condition, where: str = "when") -> None:
    """Refuse a condition that reads a fact nobody keeps, or compares it with another type. Raises InvalidInputError."""
    if isinstance(condition, Every | Some):
        for part in condition.parts:
            check_condition(part, where)
    elif isinstance(condition, Not):
        check_condition(condition.part, where)
    elif isinstance(condition, Adequate):
        if condition.exporter not in EXPORTERS:
            allowed = nearest_hint(condition.exporter, list(EXPORTERS))
            raise InvalidInputError(f"{where}.adequate_for", condition.exporter, allowed)
    else:
        for name, value in condition.reads():
            check_fact(name, value, where)


def check_fact(name: str, value: Value | None, where: str) -> None:
    """Refuse a fact that nobody keeps, or a value of another type than the fact's (None: no value). Raises
    InvalidInputError."""
    if name not in FACTS:
        raise InvalidInputError(f"{where}.fact", name, nearest_hint(name, list(FACTS)))
    kind = FACTS[name][0]
    if value is not None and not isinstance(value, kind):
        allowed = f"true or false for {name}" if kind is bool else f"a text for {name}"
        raise InvalidInputError(f"{where}.{name}", value, allowed)


def check_policy_rules(policy: DataPlacementPolicy, known: Mapping[str, Facts], now: float) -> None:
    """Refuse rules that read unknown facts, or that no known region can meet, whatever is not known of it yet.

    ``known``: the facts of every region that is registered or in the catalog. ``now``: seconds since the epoch.
    Raises InvalidInputError, naming the two rules that exclude each other where there are two.
    """
    if policy.allowed_regions is not None and not tuple(policy.allowed_regions):
        raise InvalidInputError("allowed_regions", [], "at least one region, or None for every region")
    rules = tuple(policy.rules)
    if not rules:
        return
    check_rule_names(rules)
    allowed = policy.allowed_regions
    places = [facts for region_id, facts in known.items() if allowed is None or region_id in set(allowed)]
    if not satisfiable(rules, places, now):
        raise InvalidInputError("rules", ", ".join(r.id for r in rules), _why_unsatisfiable(rules, places, now))


def satisfiable(rules: Sequence[Rule], places: Iterable[Facts], now: float) -> bool:
    """Whether one of the places permits, for some value of every fact that is not known of it."""
    mentioned = _mentioned(rules)
    tried: set[tuple[Value | None, ...]] = set()
    for facts in places:
        read = reading((facts,), now)
        known = tuple(read(name) for name in mentioned)
        if known in tried:
            continue
        tried.add(known)
        if _can_permit(rules, mentioned, known):
            return True
    return False


def _can_permit(rules: Sequence[Rule], mentioned: Mapping[str, set[Value]], known: Sequence[Value | None]) -> bool:
    choices = [
        [said] if said is not None else sorted(values, key=str)
        for said, values in zip(known, mentioned.values(), strict=True)
    ]
    guesses = 0
    for guess in islice(product(*choices), _MOST_GUESSES):
        guesses += 1
        if verdict(rules, _told(dict(zip(mentioned, guess, strict=True)))) is Verdict.ALLOW:
            return True
    return guesses == _MOST_GUESSES  # too many to try: let it pass rather than refuse what may be right


def _told(values: Mapping[str, Value]) -> Reader:
    return lambda name: values.get(name)


def _mentioned(rules: Sequence[Rule]) -> dict[str, set[Value]]:
    """Every fact that the rules read, with the values worth trying where it is not known."""
    mentioned: dict[str, set[Value]] = {}
    for rule in rules:
        for name, value in rule.when.reads():
            boolean = FACTS[name][0] is bool if name in FACTS else isinstance(value, bool)
            mentioned.setdefault(name, {True, False} if boolean else {_ELSE}).add(value)
    if any(name.startswith(ADEQUACY) for name in mentioned):  # a decision may name a fact about the recipient
        for name in ("dpf_certified", "pipeda_commercial", "appi_private_sector"):
            mentioned.setdefault(name, {True, False})
    return mentioned


def _why_unsatisfiable(rules: Sequence[Rule], places: Sequence[Facts], now: float) -> str:
    allows = [rule for rule in rules if rule.effect is Effect.ALLOW]
    if not allows:
        return (
            'at least one rule with effect allow, such as {"id": "else", "effect": "allow", "when": {"always": true}}'
        )
    possible = [rule for rule in allows if satisfiable((rule,), places, now)]
    if not possible:
        names = ", ".join(rule.id for rule in allows)
        return f"rules that some known region among the allowed ones can meet; none can meet {names}"
    for allow in possible:
        for deny in (rule for rule in rules if rule.effect is Effect.DENY):
            if not satisfiable((allow, deny), places, now):
                return f"rules that some known region can meet; {allow.id} and {deny.id} exclude each other"
    return "rules that some known region can meet; these leave none together"
