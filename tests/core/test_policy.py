"""Rules over facts: what each condition means, that unknown never permits, and that evidence tells all of it."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, strategies as st

from mahavishnu.integrations.multi_region.core.conditions import (
    Adequate,
    Always,
    Condition,
    Every,
    In,
    Is,
    Not,
    Some,
    parse_condition,
)
from mahavishnu.integrations.multi_region.core.facts import Fact, Facts, agreed, digest, merged, reading, why_unknown
from mahavishnu.integrations.multi_region.core.model import DataPlacementPolicy
from mahavishnu.integrations.multi_region.core.policy import (
    Effect,
    Rule,
    Verdict,
    decision,
    examine,
    parse_rules,
    verdict,
)
from mahavishnu.integrations.multi_region.core.vocabulary import (
    FACTS,
    check_policy_rules,
    check_rule_names,
    satisfiable,
)
from mahavishnu.integrations.multi_region.errors import InvalidInputError

NOW = 1_000.0
EEA = Is("region.eea", True)
DE: Facts = {"region.eea": Fact(True, "a list"), "region.country": Fact("DE", "a list")}
US: Facts = {
    "region.eea": Fact(False, "a list"),
    "region.country": Fact("US", "a list"),
    "adequacy.eu": Fact("if:dpf_certified", "a decision"),
}


def said(condition: Condition, facts: Facts) -> bool | None:
    return condition.holds(reading((facts,), NOW))


def allow(when: Condition, rule_id: str = "yes") -> Rule:
    return Rule(rule_id, Effect.ALLOW, when)


def deny(when: Condition, rule_id: str = "no") -> Rule:
    return Rule(rule_id, Effect.DENY, when)


# --- facts ----------------------------------------------------------------------------------------


def test_a_fact_says_nothing_from_its_end_on() -> None:
    fact = Fact(True, "a report", valid_until=NOW)
    assert (fact.at(NOW - 1), fact.at(NOW)) == (True, None)


def test_sources_that_agree_are_known_until_the_earlier_end() -> None:
    both = agreed(Fact("DE", "a", valid_until=9.0), Fact("DE", "b", valid_until=5.0))
    assert both is not None
    assert (both.value, both.valid_until) == ("DE", 5.0)


def test_sources_that_contradict_each_other_leave_nothing_known() -> None:
    together = merged(DE, {"region.country": Fact("FR", "another list")})
    assert together["region.country"].at(NOW) is None
    assert together["region.country"].note == "a list says DE, another list says FR"
    assert together["region.eea"].at(NOW) is True


@pytest.mark.parametrize(
    ("fact", "why"),
    [
        (None, "f is not known"),
        (Fact(None, "a; b", note="a says true, b says false"), "f is contradicted: a says true, b says false"),
        (Fact(True, "a", valid_until=86_400.0 * 365), "f expired on 1971-01-01"),
    ],
)
def test_why_a_fact_says_nothing(fact: Fact | None, why: str) -> None:
    assert why_unknown("f", fact, 1e9) == why


# --- conditions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "in_de", "in_us", "nowhere"),
    [
        (Always(), True, True, True),
        (EEA, True, False, None),
        (Is("region.country", "US"), False, True, None),
        (In("region.country", ("DE", "FR")), True, False, None),
        (Not(EEA), False, True, None),
        (Every((EEA, Is("region.country", "DE"))), True, False, None),
        (Some((EEA, Is("region.country", "US"))), True, True, None),
        (Every((EEA, Is("baa_on_file", True))), None, False, None),
        (Some((EEA, Is("baa_on_file", True))), True, None, None),
    ],
)
def test_a_condition_holds_does_not_or_is_unknown(
    condition: Condition, in_de: bool | None, in_us: bool | None, nowhere: bool | None
) -> None:
    assert (said(condition, DE), said(condition, US), said(condition, {})) == (in_de, in_us, nowhere)


@pytest.mark.parametrize(
    ("adequacy", "certified", "answer"),
    [
        ("inside", None, True),
        ("yes", None, True),
        ("no", True, False),
        ("if:dpf_certified", True, True),
        ("if:dpf_certified", False, False),
        ("if:dpf_certified", None, None),
        ("perhaps", True, None),
        (None, True, None),
    ],
)
def test_adequacy_is_a_relation_with_a_condition_on_the_recipient(
    adequacy: str | None, certified: bool | None, answer: bool | None
) -> None:
    facts = {"adequacy.eu": Fact(adequacy, "a decision")} if adequacy is not None else {}
    if certified is not None:
        facts["dpf_certified"] = Fact(certified, "the owner")
    assert said(Adequate("eu"), facts) is answer


conditions: st.SearchStrategy[Condition] = st.recursive(
    st.sampled_from([Always(), EEA, Is("b", True), In("c", ("x", "y")), Adequate("eu"), Is("dpf_certified", True)]),
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(lambda parts: Every(tuple(parts)), st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda parts: Some(tuple(parts)), st.lists(inner, min_size=1, max_size=3)),
    ),
    max_leaves=8,
)
bools = st.builds(Fact, st.sampled_from([True, False, None]), st.just("s"), valid_until=st.sampled_from([None, 1.0]))
texts = st.builds(Fact, st.sampled_from(["x", "z", None]), st.just("s"))
adequacies = st.builds(Fact, st.sampled_from(["yes", "no", "inside", "if:dpf_certified"]), st.just("s"))
facts_of_a_region = st.fixed_dictionaries(
    {}, optional={"region.eea": bools, "b": bools, "c": texts, "adequacy.eu": adequacies, "dpf_certified": bools}
)
rule_lists = st.lists(st.tuples(st.sampled_from(Effect), conditions), min_size=1, max_size=5).map(
    lambda pairs: tuple(Rule(f"r{i}", effect, when) for i, (effect, when) in enumerate(pairs))
)


@given(conditions)
def test_a_condition_survives_being_written_down(condition: Condition) -> None:
    assert parse_condition(condition.document()) == condition


# --- verdicts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "in_de", "in_us", "nowhere"),
    [
        ((), Verdict.DENY, Verdict.DENY, Verdict.DENY),
        ((allow(EEA),), Verdict.ALLOW, Verdict.DENY, Verdict.UNKNOWN),
        ((deny(EEA),), Verdict.DENY, Verdict.DENY, Verdict.UNKNOWN),
        ((allow(Always()), deny(EEA)), Verdict.DENY, Verdict.ALLOW, Verdict.UNKNOWN),
        ((deny(EEA), allow(Always())), Verdict.DENY, Verdict.ALLOW, Verdict.UNKNOWN),
        ((allow(EEA, "a"), allow(Is("baa_on_file", True), "b")), Verdict.ALLOW, Verdict.UNKNOWN, Verdict.UNKNOWN),
        ((allow(Always()), deny(Is("baa_on_file", False))), Verdict.UNKNOWN, Verdict.UNKNOWN, Verdict.UNKNOWN),
    ],
)
def test_deny_beats_unknown_beats_allow(
    rules: tuple[Rule, ...], in_de: Verdict, in_us: Verdict, nowhere: Verdict
) -> None:
    found = tuple(verdict(rules, reading((facts,), NOW)) for facts in (DE, US, {}))
    assert found == (in_de, in_us, nowhere)


@given(rule_lists, facts_of_a_region, st.data())
def test_taking_facts_away_never_turns_a_refusal_into_a_permission(
    rules: tuple[Rule, ...], facts: dict[str, Fact], data: st.DataObject
) -> None:
    gone = data.draw(st.sets(st.sampled_from(sorted(facts)))) if facts else set()
    fewer = {name: fact for name, fact in facts.items() if name not in gone}
    if verdict(rules, reading((fewer,), NOW)) is Verdict.ALLOW:
        assert verdict(rules, reading((facts,), NOW)) is Verdict.ALLOW


@given(rule_lists, conditions, facts_of_a_region)
def test_one_more_deny_rule_never_permits_more(
    rules: tuple[Rule, ...], when: Condition, facts: dict[str, Fact]
) -> None:
    read = reading((facts,), NOW)
    if verdict((*rules, deny(when, "more")), read) is Verdict.ALLOW:
        assert verdict(rules, read) is Verdict.ALLOW


@given(rule_lists, facts_of_a_region)
def test_evidence_and_verdict_agree_and_what_was_read_suffices(rules: tuple[Rule, ...], facts: dict[str, Fact]) -> None:
    found = examine(rules, (facts,), NOW)
    assert found.verdict is verdict(rules, reading((facts,), NOW))
    kept = {name: fact for name, fact in found.read.items() if fact is not None}
    assert verdict(rules, reading((kept,), NOW)) is found.verdict


# --- evidence -------------------------------------------------------------------------------------


def test_a_refusal_names_the_rule_and_the_fact_that_is_missing() -> None:
    rules = (allow(Always()), deny(Is("region.country_of_concern", True), "concern"))
    assert examine(rules, ({},), NOW).reason == "concern cannot be decided: region.country_of_concern is not known"
    assert examine((allow(EEA, "in-the-eea"),), (US,), NOW).reason == "no rule allows it"
    assert examine((allow(EEA, "in-the-eea"),), (DE,), NOW).reason == "allowed by in-the-eea"
    assert examine((deny(EEA, "out"),), (DE,), NOW).reason == "denied by out"


def decided(facts: Facts, subject: str = "s") -> Any:
    return decision(subject, examine((allow(EEA),), (facts,), NOW), [{"policy": 1}], NOW)


def test_a_decision_is_the_same_for_the_same_input_and_stands_until_its_first_fact_ends() -> None:
    ending = {
        **DE,
        "region.eea": Fact(True, "a list", valid_until=NOW + 60),
        "unread": Fact(True, "x", valid_until=1e4),
    }
    one = decided(ending)
    assert one == decided(dict(reversed(ending.items())))
    assert (one.allowed, one.valid_until, one.facts, one.rules) == (True, NOW + 60, {"region.eea": True}, ("yes",))


def test_another_fact_policy_or_question_is_another_decision() -> None:
    ids = {decided(DE).id, decided(US).id, decided(DE, "another").id, decided({**DE, "region.eea": Fact(True, "b")}).id}
    assert len(ids) == 4
    assert decided({**DE, "never.read": Fact(True, "x")}).id == decided(DE).id


def test_digests_are_of_canonical_json() -> None:
    assert digest({"b": 1, "a": [True, None, "é"]}) == digest({"a": [True, None, "é"], "b": 1})
    assert digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


# --- rules as they are written --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "field"),
    [
        ("deny", "rules"),
        ([{"id": "a", "effect": "allow"}], "rules.0.when"),
        ([{"id": "", "effect": "allow", "when": {"always": True}}], "rules.0.id"),
        ([{"id": "a", "effect": "alow", "when": {"always": True}}], "rules.0.effect"),
        ([{"id": "a", "effect": "allow", "when": {"always": False}}], "rules.0.when"),
        ([{"id": "a", "effect": "allow", "when": {"fact": "x"}}], "rules.0.when"),
        ([{"id": "a", "effect": "allow", "when": {"fact": "x", "is": 3}}], "rules.0.when.is"),
        ([{"id": "a", "effect": "allow", "when": {"fact": "x", "in": []}}], "rules.0.when.in"),
        ([{"id": "a", "effect": "allow", "when": {"all": []}}], "rules.0.when.all"),
        ([{"id": "a", "effect": "allow", "when": {"any": [{"not": {}}]}}], "rules.0.when.any.0.not"),
        ([{"id": "a", "effect": "allow", "when": {"always": True}, "if": 1}], "rules.0"),
        ([allow(EEA, "a"), allow(EEA, "a")], "rules.1.id"),
    ],
)
def test_a_rule_that_cannot_be_read_is_refused_with_its_place(rules: Any, field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_rules(rules)
    assert caught.value.field == field


def test_conditions_may_not_be_nested_without_end() -> None:
    nested: Any = {"always": True}
    for _ in range(9):
        nested = {"not": nested}
    with pytest.raises(InvalidInputError, match="at most 8 deep"):
        parse_condition(nested)


@pytest.mark.parametrize(
    ("condition", "hint"),
    [
        (Is("region.eaa", True), "did you mean 'region.eea'"),
        (Is("region.eea", "yes"), "true or false for region.eea"),
        (Every((EEA, Not(In("region.cuntry", ("DE",))))), "did you mean 'region.country'"),
        (Adequate("uk"), "one of: ch, eu, gb"),
    ],
)
def test_a_fact_that_nobody_keeps_is_refused_with_the_nearest(condition: Condition, hint: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_rule_names((allow(condition),))
    assert hint in str(caught.value)


# --- policies that cannot be met ------------------------------------------------------------------

KNOWN = MappingProxyType({"eu": DE, "us": US})


def check(*rules: Rule, allowed: list[str] | None = None) -> None:
    check_policy_rules(DataPlacementPolicy("p", allowed_regions=allowed, rules=rules), KNOWN, NOW)


def test_rules_that_some_region_can_meet_are_taken_also_when_its_facts_are_not_known_yet() -> None:
    check(allow(EEA))
    check(allow(Is("baa_on_file", True)), allowed=["us"])
    check(allow(Adequate("eu")), deny(EEA))


@pytest.mark.parametrize(
    ("rules", "allowed", "says"),
    [
        ((deny(EEA),), None, "at least one rule with effect allow"),
        ((allow(EEA),), ["us"], "none can meet yes"),
        ((allow(EEA), deny(Is("region.country", "DE"))), None, "yes and no exclude each other"),
        ((allow(Is("baa_on_file", True)), deny(Is("baa_on_file", True))), None, "yes and no exclude each other"),
        ((allow(Every((EEA, Not(EEA)))),), None, "none can meet yes"),
        ((), [], "at least one region"),
    ],
)
def test_a_policy_that_no_known_region_can_meet_is_refused(
    rules: tuple[Rule, ...], allowed: list[str] | None, says: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check(*rules, allowed=allowed)
    assert says in str(caught.value)


@given(rule_lists, facts_of_a_region)
def test_what_is_permitted_somewhere_is_never_called_impossible(
    rules: tuple[Rule, ...], facts: dict[str, Fact]
) -> None:
    if verdict(rules, reading((facts,), NOW)) is Verdict.ALLOW:
        assert satisfiable(rules, [facts], NOW)


def test_every_fact_says_what_it_means() -> None:
    assert all(meaning and kind in (bool, str) for kind, meaning in FACTS.values())
