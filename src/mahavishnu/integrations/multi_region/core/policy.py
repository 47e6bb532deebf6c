"""Rules over facts, three-valued: allow, deny, unknown. Unknown never permits.

Something is permitted only when an allow rule is true and every deny rule is false. A deny rule that cannot be decided
for want of a fact refuses, as a true one does: so taking a fact away never permits more. Who asks, and what else binds,
is ``eligibility``'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ..errors import InvalidInputError, nearest_hint
from .conditions import Condition, parse_condition
from .facts import NO_FACTS, Fact, Facts, Reader, Value, digest, reading, why_unknown


class Effect(StrEnum):
    """What a rule does when its condition holds."""

    ALLOW = "allow"
    DENY = "deny"


class Verdict(StrEnum):
    """What rules say together; only ``ALLOW`` permits."""

    ALLOW = "allow"
    DENY = "deny"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a policy: what it does, where. ``id`` is what a decision names when the rule fired."""

    id: str
    effect: Effect
    when: Condition

    def document(self) -> dict[str, Any]:
        """The rule as plain data."""
        return {"id": self.id, "effect": self.effect.value, "when": self.when.document()}


# --- what rules say ---------------------------------------------------------------------------


def verdict(rules: Sequence[Rule], read: Reader) -> Verdict:
    """What the rules say together; deny beats unknown, and both beat allow."""
    allows: bool | None = False
    denies: bool | None = False
    for rule in rules:
        if rule.effect is Effect.DENY:
            said = rule.when.holds(read)
            if said:
                return Verdict.DENY
            denies = None if said is None else denies
        elif not allows:
            said = rule.when.holds(read)
            allows = said if said or said is None else allows
    if denies is None or allows is None:
        return Verdict.UNKNOWN
    return Verdict.ALLOW if allows else Verdict.DENY


@dataclass(frozen=True, slots=True)
class Finding:
    """What rules said and why.

    ``fired``: ids of the rules that decided it. ``read``: every fact that was looked at, None where there was none.
    """

    verdict: Verdict
    fired: tuple[str, ...]
    read: Mapping[str, Fact | None]
    reason: str


def examine(rules: Sequence[Rule], sources: Sequence[Facts], now: float) -> Finding:
    """What rules say of facts, as ``verdict`` has it, with the evidence. ``now``: seconds since the epoch."""
    read: dict[str, Fact | None] = {}
    plain = reading(sources, now)

    def noting(name: str) -> Value | None:
        if name not in read:
            read[name] = next((facts[name] for facts in sources if name in facts), None)
        fact = read[name]
        return None if fact is None else fact.at(now)

    said = [(rule, rule.when.holds(noting)) for rule in rules]
    decided = verdict(rules, noting)
    fired = _fired(said, decided)
    return Finding(decided, tuple(rule.id for rule in fired), read, _reason(fired, decided, read, plain, now))


def _fired(said: Sequence[tuple[Rule, bool | None]], decided: Verdict) -> list[Rule]:
    """The rules that the verdict rests on."""
    denies = [(rule, answer) for rule, answer in said if rule.effect is Effect.DENY]
    allows = [(rule, answer) for rule, answer in said if rule.effect is Effect.ALLOW]
    if decided is not Verdict.UNKNOWN:
        return [rule for rule, answer in (allows if decided is Verdict.ALLOW else denies) if answer]
    return [r for r, answer in denies if answer is None] or [r for r, answer in allows if answer is None]


def _reason(fired: list[Rule], decided: Verdict, read: Mapping[str, Fact | None], plain: Reader, now: float) -> str:
    names = ", ".join(rule.id for rule in fired)
    if decided is Verdict.ALLOW:
        return f"allowed by {names}"
    if decided is Verdict.DENY:
        return f"denied by {names}" if fired else "no rule allows it"
    missing = sorted(why_unknown(name, fact, now) for name, fact in read.items() if plain(name) is None)
    return f"{names} cannot be decided: {'; '.join(missing)}"


MAX_CASES = 1_000
"""Cases that ``Refusals`` remembers: rules may tell every region from every other."""


class Refusals:
    """Why some rules refuse, for many regions: put into words once for all of which the words are the same.

    ``own``: facts that count before a region's.
    """

    __slots__ = ("_own", "_rules", "_told")

    def __init__(self, rules: Sequence[Rule], own: Facts = NO_FACTS) -> None:
        self._rules = rules
        self._own = own
        self._told: dict[tuple[object, ...], tuple[str | None, list[Fact | None]]] = {}

    def of(self, facts: Facts, now: float) -> str | None:
        """The reason that ``examine`` gives to refuse a region with these facts; None when it allows it."""
        own, other = self._own.get, facts.get
        silent: list[Fact | None] = []
        unsaid: list[object] = []

        def noting(name: str) -> Value | None:
            fact = own(name) or other(name)
            said = None if fact is None else fact.at(now)
            if said is None:  # the words say that it is missing, and why: no other facts show in them
                silent.append(fact)
                unsaid.append((name, id(fact)))
            return said

        key = (*[rule.when.holds(noting) for rule in self._rules], *unsaid)
        told = self._told.get(key)
        if told is None:
            if len(self._told) >= MAX_CASES:
                self._told.clear()
            found = examine(self._rules, (self._own, facts), now)
            told = None if found.verdict is Verdict.ALLOW else found.reason, silent  # kept, so that ids stay theirs
            self._told[key] = told
        return told[0]


@dataclass(frozen=True, slots=True)
class Decision:
    """An answer with its evidence, the same for the same input.

    ``id``: hash of all the rest. ``rules``: ids of the rules that fired. ``facts``: what each fact that was read said,
    None where it said nothing. ``policy_digest``, ``facts_digest``: SHA-256 of the canonical JSON of the policies and
    of the facts read. ``valid_until``: the earliest end of a fact that was read, in seconds since the epoch; None: none
    of them has one.
    """

    id: str
    allowed: bool
    verdict: Verdict
    subject: str
    rules: tuple[str, ...]
    facts: Mapping[str, Value | None]
    policy_digest: str
    facts_digest: str
    valid_until: float | None
    reason: str

    def document(self) -> dict[str, Any]:
        """The decision as plain data."""
        return {
            "id": self.id,
            "allowed": self.allowed,
            "verdict": self.verdict.value,
            "subject": self.subject,
            "rules": list(self.rules),
            "facts": dict(self.facts),
            "policy_digest": self.policy_digest,
            "facts_digest": self.facts_digest,
            "valid_until": self.valid_until,
            "reason": self.reason,
        }


def decision(
    subject: str,
    found: Finding,
    policies: Sequence[Mapping[str, Any]],
    now: float,
) -> Decision:
    """A finding as a decision. ``subject``: what was asked, as text; ``policies``: documents of what bound it."""
    known = {name: fact for name, fact in found.read.items() if fact is not None}
    ends = [fact.valid_until for fact in known.values() if fact.valid_until is not None and now < fact.valid_until]
    facts = {name: None if fact is None else fact.at(now) for name, fact in sorted(found.read.items())}
    content = {
        "subject": subject,
        "verdict": found.verdict.value,
        "rules": list(found.fired),
        "facts": facts,
        "policy_digest": digest(list(policies)),
        "facts_digest": digest({name: fact.document() for name, fact in known.items()}),
        "valid_until": min(ends, default=None),
        "reason": found.reason,
    }
    return Decision(
        id=digest(content),
        allowed=found.verdict is Verdict.ALLOW,
        verdict=found.verdict,
        subject=subject,
        rules=found.fired,
        facts=facts,
        policy_digest=str(content["policy_digest"]),
        facts_digest=str(content["facts_digest"]),
        valid_until=min(ends, default=None),
        reason=found.reason,
    )


# --- parsing ----------------------------------------------------------------------------------


def parse_rules(given: Iterable[Rule | Mapping[str, Any]], where: str = "rules") -> tuple[Rule, ...]:
    """Rules from rules or their documents; ids must differ. Raises InvalidInputError naming the place."""
    if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
        raise InvalidInputError(where, given, "a list of rules")
    rules = tuple(r if isinstance(r, Rule) else parse_rule(r, f"{where}.{i}") for i, r in enumerate(given))
    seen: set[str] = set()
    for position, rule in enumerate(rules):
        if rule.id in seen:
            raise InvalidInputError(f"{where}.{position}.id", rule.id, "an id that no other rule of this policy has")
        seen.add(rule.id)
    return rules


def parse_rule(document: Any, where: str = "rule") -> Rule:
    """The rule that a document describes: ``id``, ``effect`` and ``when``. Raises InvalidInputError."""
    if not isinstance(document, Mapping) or not {"id", "effect", "when"} >= set(document):
        raise InvalidInputError(where, document, "a mapping with keys of: id, effect, when")
    rule_id, effect = document.get("id"), document.get("effect")
    if not isinstance(rule_id, str) or not rule_id.strip():
        raise InvalidInputError(f"{where}.id", rule_id, "a text that is not empty")
    if not isinstance(effect, str) or effect not in tuple(Effect):
        raise InvalidInputError(f"{where}.effect", effect, nearest_hint(str(effect), [e.value for e in Effect]))
    return Rule(rule_id, Effect(effect), parse_condition(document.get("when"), f"{where}.when"))
