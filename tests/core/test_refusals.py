"""Refusals are put into words once for many regions, and say what they would say of each alone."""

from __future__ import annotations

from hypothesis import given, strategies as st

from mahavishnu.integrations.multi_region.core.conditions import Adequate, Condition, Every, In, Is, Not, Some
from mahavishnu.integrations.multi_region.core.facts import Fact, Facts
from mahavishnu.integrations.multi_region.core.policy import Effect, Refusals, Rule, Verdict, examine

NOW = 1_000.0
NAMES = ("region.eea", "region.country", "adequacy.eu", "dpf_certified", "pipeda_commercial")
VALUES = st.sampled_from([True, False, "DE", "yes", "no", "if:dpf_certified", "if:pipeda_commercial", None])

facts = st.dictionaries(
    st.sampled_from(NAMES),
    st.builds(
        Fact, VALUES, st.just("s"), valid_until=st.sampled_from([None, 500.0, 2_000.0]), note=st.sampled_from("ab")
    ),
)
plain = st.one_of(
    st.builds(Is, st.sampled_from(NAMES), st.sampled_from([True, "DE"])),
    st.builds(In, st.sampled_from(NAMES), st.just(("DE", "yes"))),
    st.just(Adequate("eu")),
)
conditions: st.SearchStrategy[Condition] = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(Every, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(Some, st.lists(inner, min_size=1, max_size=3).map(tuple)),
    ),
    max_leaves=5,
)
rules = st.lists(st.tuples(st.sampled_from(Effect), conditions), min_size=1, max_size=3).map(
    lambda made: [Rule(f"rule-{n}", effect, when) for n, (effect, when) in enumerate(made)]
)


@given(rules, facts, st.lists(facts, min_size=1, max_size=12))
def test_shared_words_are_those_of_each_region_alone(made: list[Rule], own: Facts, regions: list[Facts]) -> None:
    refusals = Refusals(made, own)
    for held in regions + regions:
        found = examine(made, (own, held), NOW)
        assert refusals.of(held, NOW) == (None if found.verdict is Verdict.ALLOW else found.reason)


@given(rules, st.lists(facts, min_size=1, max_size=5))
def test_a_fact_that_ends_meanwhile_is_told_of(made: list[Rule], regions: list[Facts]) -> None:
    refusals = Refusals(made)
    for now in (100.0, 1_000.0, 3_000.0):
        for held in regions:
            found = examine(made, (held,), now)
            assert refusals.of(held, now) == (None if found.verdict is Verdict.ALLOW else found.reason)
