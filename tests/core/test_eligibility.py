"""Who may serve, who may not, and the reason: law first, then the operator, then health and room."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from mahavishnu.integrations.multi_region.core.conditions import Is
from mahavishnu.integrations.multi_region.core.eligibility import (
    Reason,
    is_lawful,
    lawful_objection,
    may_serve,
    may_take_over,
    objection,
    policy_bound,
    split,
    takeover_objection,
)
from mahavishnu.integrations.multi_region.core.facts import Fact
from mahavishnu.integrations.multi_region.core.model import (
    AdminState,
    ComplianceFramework,
    DataPlacementPolicy,
    Fleet,
    Phase,
    PolicyView,
)
from mahavishnu.integrations.multi_region.core.policy import Effect, Rule
from mahavishnu.integrations.multi_region.core.request import Needs, Request, needs_of
from mahavishnu.integrations.multi_region.testing.builders import fleet, policy, service, view
from tests.laws.worlds import fleets, requests

GDPR = ComplianceFramework.GDPR
ANY = Needs()


@pytest.mark.parametrize("phase", [Phase.HEALTHY, Phase.DEGRADED, Phase.UNKNOWN])
def test_a_region_that_is_not_known_to_be_bad_may_serve(phase: Phase) -> None:
    assert objection(view("a", phase), ANY) is None


@pytest.mark.parametrize(
    ("fields", "code", "text"),
    [
        ({"phase": Phase.DOWN}, Reason.UNHEALTHY, "is down"),
        ({"phase": Phase.SATURATED}, Reason.NO_ROOM, "is saturated"),
        ({"load": 100}, Reason.NO_ROOM, "is full: 100 of 100"),
        ({"load": 0, "max_capacity": 0}, Reason.NO_ROOM, "is full: 0 of 0"),
        ({"admin": AdminState.DRAINED}, Reason.DRAINED, "is drained by its operator"),
        ({"admin": AdminState.DRAINING}, Reason.DRAINED, "is draining by its operator"),
        ({"failed_over": "no answer"}, Reason.FAILED_OVER, "was failed over: no answer"),
    ],
)
def test_each_objection_has_its_code_and_text(fields: dict[str, Any], code: Reason, text: str) -> None:
    why = objection(view("a", **fields), ANY)
    assert why is not None
    assert (why.code, why.text) == (code, text)


def test_law_is_named_before_everything_else() -> None:
    bad = view("a", Phase.DOWN, admin=AdminState.DRAINED, load=100)
    why = objection(bad, Needs(requirements=frozenset({GDPR})))
    assert why is not None
    assert (why.code, why.text) == (Reason.POLICY, "lacks gdpr")


def test_a_region_that_safety_holds_may_serve_although_it_is_down() -> None:
    assert objection(view("a", Phase.DOWN, held="the last one", serves_as=Phase.UNKNOWN), ANY) is None


def test_a_policys_list_excludes_what_it_does_not_name() -> None:
    world = fleet("a", "b", services=[service("api", policy="only-a")], policies=[policy("only-a", allow=["a"])])
    needs = needs_of(world, Request(service="api"))
    eligible, excluded = split(world, needs)
    assert [r.region_id for r in eligible] == ["a"]
    assert excluded["b"].code is Reason.POLICY
    assert "only-a" in excluded["b"].text


def test_two_policies_leave_what_both_allow() -> None:
    world = fleet(
        *(view(r, compliance=["gdpr"]) for r in "abc"),
        policies=[policy("p", allow=["a", "b"], require=["gdpr"]), policy("q", allow=["b", "c"], require=["gdpr"])],
    )
    eligible, _ = split(world, needs_of(world, Request(requirements=frozenset({GDPR}))))
    assert [r.region_id for r in eligible] == ["b"]


def test_a_service_runs_only_where_it_is_deployed() -> None:
    world = fleet("a", "b", services=[service("api", "b")])
    why = lawful_objection(world.regions["a"], needs_of(world, Request(service="api")))
    assert why is not None
    assert (why.code, why.text) == (Reason.NOT_DEPLOYED, "service api does not run there")


@pytest.mark.parametrize(
    ("failed_services", "asked", "eligible"),
    [
        (None, None, False),
        (None, "api", False),
        (frozenset({"api"}), "api", False),
        (frozenset({"api"}), "web", True),
        (frozenset({"api"}), None, True),
    ],
)
def test_a_failover_keeps_away_only_those_it_moved(
    failed_services: frozenset[str] | None, asked: str | None, eligible: bool
) -> None:
    gone = view("a", failed_over="test", failed_services=failed_services)
    world = fleet(gone, services=[service("api"), service("web")])
    assert (objection(gone, needs_of(world, Request(service=asked))) is None) is eligible


def test_every_region_is_either_eligible_or_excluded_with_a_reason() -> None:
    regions = [view("a"), view("b", Phase.DOWN), view("c", admin=AdminState.DRAINED), view("d", load=100)]
    eligible, excluded = split(fleet(*regions), ANY)
    assert [r.region_id for r in eligible] == ["a"]
    assert set(excluded) == {"b", "c", "d"}
    assert all(why.text for why in excluded.values())


@pytest.mark.parametrize(
    ("lawful", "unlawful", "expected"),
    [
        (Phase.DOWN, Phase.HEALTHY, True),
        (Phase.DOWN, Phase.DOWN, False),
        (Phase.SATURATED, Phase.UNKNOWN, True),
    ],
)
def test_exhaustion_is_bound_by_policy_when_without_it_somebody_could_serve(
    lawful: Phase, unlawful: Phase, expected: bool
) -> None:
    world = fleet(view("a", lawful, compliance=["gdpr"]), view("b", unlawful))
    needs = needs_of(world, Request(requirements=frozenset({GDPR})))
    _, excluded = split(world, needs)
    assert policy_bound(world, needs, excluded) is expected


def test_a_drained_region_is_not_counted_as_one_that_law_keeps_away() -> None:
    world = fleet(view("a", Phase.DOWN, compliance=["gdpr"]), view("b", admin=AdminState.DRAINED))
    needs = needs_of(world, Request(requirements=frozenset({GDPR})))
    assert not policy_bound(world, needs, split(world, needs)[1])


# --- without words --------------------------------------------------------------------------------


@settings(max_examples=150)
@given(st.data(), fleets())
def test_the_answer_is_the_same_without_the_reason(data: Any, world: Fleet) -> None:
    needs = needs_of(world, data.draw(requests(world)))
    for region in world.regions.values():
        assert may_serve(region, needs) is (objection(region, needs) is None)
        assert may_take_over(region, needs) is (takeover_objection(region, needs) is None)
        assert is_lawful(region, needs) is (lawful_objection(region, needs) is None)


@pytest.mark.parametrize(("country", "lawful"), [("DE", True), ("US", False), (None, False)])
def test_rules_bind_without_words_too(country: str | None, lawful: bool) -> None:
    facts = {} if country is None else {"region.country": Fact(country, "its declaration")}
    region = view("a", facts=facts)
    rule = Rule("in-germany", Effect.ALLOW, Is("region.country", "DE"))
    needs = Needs(policies=(PolicyView.of(DataPlacementPolicy("p", policy_id="p", rules=(rule,))),))
    assert is_lawful(region, needs) is may_serve(region, needs) is lawful
    assert (lawful_objection(region, needs) is None) is lawful
