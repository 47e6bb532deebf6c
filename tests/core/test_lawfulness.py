"""Who may serve or hold what: locality levels, rules and attestations; and that one function decides it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

import mahavishnu.integrations.multi_region.core as core_package
from mahavishnu.integrations.multi_region.core.eligibility import (
    Reason,
    in_force,
    lawful_decision,
    lawful_objection,
    split,
)
from mahavishnu.integrations.multi_region.core.facts import Fact, Facts
from mahavishnu.integrations.multi_region.core.failover import Refusal, plan_failover
from mahavishnu.integrations.multi_region.core.model import (
    Binding,
    ComplianceFramework,
    DataPlacementPolicy,
    LocalityLevel,
    PolicyView,
    RegionView,
)
from mahavishnu.integrations.multi_region.core.policy import Verdict
from mahavishnu.integrations.multi_region.core.request import Needs, Request, Use, needs_of
from mahavishnu.integrations.multi_region.core.templates import policy_from_template
from mahavishnu.integrations.multi_region.core.vocabulary import with_facts
from mahavishnu.integrations.multi_region.testing.builders import fleet, service, view

NOW = 1_800_000_000.0
GDPR = ComplianceFramework.GDPR


def known(region_id: str, facts: Facts, **fields: Any) -> RegionView:
    """A region with facts, as they stand at NOW."""
    return with_facts(view(region_id, as_of=NOW, **fields), facts)


def bound_by(policy: DataPlacementPolicy, use: Use = Use.SERVE) -> Needs:
    frozen = PolicyView.of(policy)
    return Needs(frozen.requirements, (frozen,), use=use)


def only_a(level: LocalityLevel, crossing: bool = False) -> DataPlacementPolicy:
    return DataPlacementPolicy("p", allowed_regions=["a"], locality_level=level, cross_region_transfer=crossing)


# --- locality levels ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "crossing", "use", "outside"),
    [
        (LocalityLevel.STRICT, False, Use.SERVE, False),
        (LocalityLevel.STRICT, True, Use.SERVE, False),
        (LocalityLevel.STRICT, True, Use.COPY, False),
        (LocalityLevel.REGION, True, Use.SERVE, False),
        (LocalityLevel.REGION, True, Use.PRIMARY, False),
        (LocalityLevel.REGION, True, Use.COPY, True),
        (LocalityLevel.REGION, False, Use.COPY, False),
        (LocalityLevel.PREFERRED, True, Use.COPY, False),
        (LocalityLevel.PREFERRED, True, Use.SERVE, False),
    ],
)
def test_what_each_level_lets_leave_the_listed_regions(
    level: LocalityLevel, crossing: bool, use: Use, outside: bool
) -> None:
    needs = bound_by(only_a(level, crossing), use)
    assert lawful_objection(view("a"), needs) is None
    assert (lawful_objection(view("b"), needs) is None) is outside


def test_others_serve_only_while_none_of_the_preferred_can() -> None:
    needs = bound_by(only_a(LocalityLevel.PREFERRED))
    eligible, excluded = split(fleet("a", "b"), needs)
    assert [r.region_id for r in eligible] == ["a"]
    assert excluded["b"].text == "policy p prefers other regions, and one of them can do it"
    eligible, excluded = split(fleet(view("a", "down"), "b"), needs)
    assert [r.region_id for r in eligible] == ["b"]
    assert excluded["a"].code is Reason.UNHEALTHY


def test_a_preference_never_falls_away_together_with_a_requirement() -> None:
    policy = DataPlacementPolicy("p", [GDPR], ["a"], LocalityLevel.PREFERRED)
    eligible, excluded = split(fleet(view("a", "down", compliance=["gdpr"]), "b"), bound_by(policy))
    assert eligible == []
    assert excluded["b"].text == "lacks gdpr"


@pytest.mark.parametrize("level", [LocalityLevel.STRICT, LocalityLevel.REGION])
def test_only_a_preference_falls_away(level: LocalityLevel) -> None:
    needs = bound_by(only_a(level, True))
    world = fleet(view("a", "down"), "b")
    assert in_force(world, needs) == needs
    assert split(world, needs)[0] == []


def test_data_at_rest_keeps_its_preference_however_ill_the_region_is() -> None:
    needs = bound_by(only_a(LocalityLevel.PREFERRED), Use.COPY)
    assert in_force(fleet(view("a", "down"), "b"), needs) == needs


def test_a_failover_may_leave_the_preferred_regions_and_no_others() -> None:
    for level, target in ((LocalityLevel.PREFERRED, "b"), (LocalityLevel.STRICT, None)):
        world = fleet("a", "b", services=[service("api", policy="p")], policies=[only_a(level)])
        plan = plan_failover(world, "a")
        assert (None if isinstance(plan, Refusal) else plan.target) == target


# --- rules, facts, attestations -------------------------------------------------------------------


def test_rules_bind_beside_the_list_and_the_requirements() -> None:
    needs = bound_by(policy_from_template("eea-only"))
    assert lawful_objection(known("a", {"region.eea": Fact(True, "s")}), needs) is None
    why = lawful_objection(known("a", {"region.eea": Fact(False, "s")}), needs)
    assert why is not None
    assert (why.code, why.text) == (Reason.POLICY, "policy eea-only does not allow it: no rule allows it")
    assert lawful_objection(view("a"), needs) is not None


def test_an_attestation_that_expired_counts_no_more_and_says_when() -> None:
    region = known("a", {"attestation.gdpr": Fact(True, "the owner", valid_until=NOW - 86_400)})
    why = lawful_objection(region, Needs(frozenset({GDPR})))
    assert why is not None
    assert why.text == "gdpr attestation expired on 2027-01-14"


def test_data_comes_under_the_policy_that_it_is_bound_to() -> None:
    world = fleet("a", "b", policies=[only_a(LocalityLevel.STRICT)], bindings={"d": Binding("p", "pan")})
    assert [r.region_id for r in split(world, needs_of(world, Request(data_id="d")))[0]] == ["a"]
    assert [r.region_id for r in split(world, needs_of(world, Request(data_id="e")))[0]] == ["a", "b"]


def test_data_bound_to_a_policy_that_is_gone_may_be_nowhere() -> None:
    world = fleet("a", bindings={"d": Binding("gone")})
    assert split(world, needs_of(world, Request(data_id="d")))[0] == []


@pytest.mark.parametrize(
    ("told", "kept", "value"), [("pan", "pan", "pan"), ("pan", None, "pan"), (None, "pan", "pan"), ("pan", "log", None)]
)
def test_request_and_binding_say_what_kind_of_data_it_is(told: str | None, kept: str | None, value: str | None) -> None:
    world = fleet("a", bindings={"d": Binding(None, kept)})
    needs = needs_of(world, Request(data_id="d", data_class=told))
    assert needs.facts["data.class"].value == value


def test_a_decision_carries_what_it_rests_on() -> None:
    policy = policy_from_template("eea-plus-adequate", policy_id="eu")
    region = known(
        "us",
        {
            "region.eea": Fact(False, "s"),
            "adequacy.eu": Fact("if:dpf_certified", "s"),
            "dpf_certified": Fact(True, "the owner", valid_until=NOW + 5),
        },
    )
    found = lawful_decision(region, bound_by(policy), "copy of x")
    assert (found.allowed, found.rules, found.valid_until) == (True, ("eu/adequate-for-the-eu",), NOW + 5)
    assert found.facts == {"region.eea": False, "adequacy.eu": "if:dpf_certified", "dpf_certified": True}
    later = with_facts(region, {**region.facts, "dpf_certified": Fact(True, "the owner", valid_until=NOW - 5)})
    refused = lawful_decision(later, bound_by(policy), "copy of x")
    assert (refused.allowed, refused.verdict) == (False, Verdict.UNKNOWN)
    assert "dpf_certified expired" in refused.reason
    assert refused.id != found.id


FACTS = {
    "region.eea": st.sampled_from([Fact(True, "s"), Fact(False, "s")]),
    "adequacy.eu": st.sampled_from([Fact("yes", "s"), Fact("no", "s"), Fact("if:dpf_certified", "s")]),
    "dpf_certified": st.sampled_from([Fact(True, "s"), Fact(False, "s"), Fact(True, "s", valid_until=1.0)]),
    "attestation.gdpr": st.sampled_from([Fact(True, "s"), Fact(False, "s"), Fact(True, "s", valid_until=NOW + 1)]),
    "region.country_of_concern": st.sampled_from([Fact(True, "s"), Fact(False, "s")]),
    "operator.legal_home": st.sampled_from([Fact("US", "s"), Fact("CN", "s")]),
}


@given(
    st.fixed_dictionaries({}, optional=FACTS),
    st.sampled_from(["eea-only", "eea-plus-adequate", "countries-of-concern"]),
    st.booleans(),
    st.data(),
)
def test_taking_facts_from_a_region_never_lets_it_serve(
    facts: dict[str, Fact], template: str, required: bool, data: st.DataObject
) -> None:
    policy = PolicyView.of(policy_from_template(template))
    needs = Needs(frozenset({GDPR}) if required else frozenset(), (policy,))
    kept = data.draw(st.sets(st.sampled_from(sorted(facts)))) if facts else set()
    fewer = known("a", {name: fact for name, fact in facts.items() if name in kept})
    if lawful_objection(fewer, needs) is None:
        assert lawful_objection(known("a", facts), needs) is None
    assert lawful_decision(fewer, needs, "s").allowed is (lawful_objection(fewer, needs) is None)


# --- one function ---------------------------------------------------------------------------------

PACKAGE = Path(core_package.__path__[0]).parent
DECIDING = {"allowed_regions", "compliance", "locality_level", "cross_region_transfer"}
MAY_READ = {
    "core/eligibility.py": "the one that decides",
    "core/model.py": "copies a policy into its frozen form",
    "core/intent.py": "writes it down, and refuses unknown names",
    "core/vocabulary.py": "refuses a policy that nobody can meet",
    "core/plausibility.py": "warns of a region that is probably not meant so",
    "surfaces/world/build.py": "parses it",
    "surfaces/http/bodies.py": "parses it",
    "surfaces/http/v1_look.py": "shows it",
    "shell/routing/table.py": "notes that a preference makes regions depend on each other",
}
MAY_EVALUATE = {"core/eligibility.py", "core/policy.py", "core/vocabulary.py"}


def modules() -> list[Path]:
    return [path for path in PACKAGE.rglob("*.py") if "testing" not in path.parts]


def reads(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)} & DECIDING


def evaluates(path: Path) -> bool:
    tree = ast.parse(path.read_text("utf-8"))
    names = {a.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for a in node.names}
    return bool(names & {"verdict", "examine"})


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def test_only_eligibility_looks_at_what_decides_who_may_serve_or_hold() -> None:
    readers = {name_of(path): reads(path) for path in modules() if reads(path)}
    assert {name: found for name, found in readers.items() if name not in MAY_READ} == {}
    assert reads(PACKAGE / "core/eligibility.py") == {
        "allowed_regions",
        "compliance",
        "locality_level",
        "cross_region_transfer",
    }


def test_only_eligibility_asks_the_policy_evaluator() -> None:
    assert {name_of(path) for path in modules() if evaluates(path)} <= MAY_EVALUATE


@pytest.mark.parametrize(
    "asker", ["core/routing.py", "core/heirs.py", "core/obstacles.py", "core/placement.py", "core/transfers.py"]
)
def test_everybody_asks_it(asker: str) -> None:
    tree = ast.parse((PACKAGE / asker).read_text("utf-8"))
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "eligibility"
        for alias in node.names
    }
    assert imported & {"split", "objection", "lawful_objection", "lawful_decision", "takeover_objection"}
