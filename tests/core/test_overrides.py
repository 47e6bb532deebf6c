"""What stands over a region: documents that read back as written, and overrides that name one rule and end."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from mahavishnu.integrations.multi_region.core.model import AdminState
from mahavishnu.integrations.multi_region.core.overrides import BreakGlass, Cause, Drain, Failure, lifted_by
from mahavishnu.integrations.multi_region.core.safety import LIFTABLE, Rule
from mahavishnu.integrations.multi_region.errors import InvalidInputError

GLASS = BreakGlass.parse("headroom", "ada", "the new racks are not counted yet", 200.0, 100.0)


@pytest.mark.parametrize("state", [AdminState.DRAINING, AdminState.DRAINED])
def test_a_drain_reads_back_as_written(state: AdminState) -> None:
    drain = Drain(state, "ada", "new kernel", 12.5)
    assert Drain.parse(json.loads(json.dumps(drain.document()))) == drain


@pytest.mark.parametrize("services", [None, (), ("api", "web")])
def test_a_failure_reads_back_as_written(services: tuple[str, ...] | None) -> None:
    failure = Failure(Cause.VERDICT, "no answer", "automation", 3.0, services, {"b": 4.5}, {"web": "b"})
    assert Failure.parse(json.loads(json.dumps(failure.document()))) == failure


def test_a_failure_that_was_written_before_heirs_were_kept_has_none() -> None:
    document = Failure(Cause.VERDICT, "no answer", "automation", 3.0, None, {"b": 4.5}, {"web": "b"}).document()
    del document["heirs"]
    assert Failure.parse(document) == Failure(Cause.VERDICT, "no answer", "automation", 3.0, None, {"b": 4.5})


@pytest.mark.parametrize("rule", sorted(LIFTABLE))
def test_an_override_lifts_the_one_rule_it_names(rule: Rule) -> None:
    glass = BreakGlass.parse(rule.value, "ada", "because", 200.0, 100.0)
    assert lifted_by(glass, 150.0) == {rule}


@pytest.mark.parametrize("rule", ["target", "max_removed", "policy", "law", "policy_bound_exhaustion", ""])
def test_law_and_the_like_cannot_be_lifted(rule: str) -> None:
    with pytest.raises(InvalidInputError, match=r"override\.rule"):
        BreakGlass.parse(rule, "ada", "because", 200.0, 100.0)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"by": " "}, "override.by"),
        ({"reason": ""}, "override.reason"),
        ({"expires_at": 100.0}, "override.expires_at"),
        ({"expires_at": float("nan")}, "override.expires_at"),
        ({"expires_at": float("inf")}, "override.expires_at"),
    ],
)
def test_an_override_needs_a_person_a_reason_and_an_end(change: dict[str, object], field: str) -> None:
    given: dict[str, object] = {"rule": "headroom", "by": "ada", "reason": "because", "expires_at": 200.0} | change
    with pytest.raises(InvalidInputError) as caught:
        BreakGlass.parse(**given, now=100.0)  # type: ignore[arg-type]
    assert caught.value.field == field


def test_nothing_is_lifted_without_an_override() -> None:
    assert lifted_by(None, 0.0) == frozenset()


def test_an_override_that_has_expired_lifts_nothing_and_says_so() -> None:
    with pytest.raises(InvalidInputError, match=r"override\.expires_at"):
        lifted_by(GLASS, 200.0)


def test_an_override_that_was_put_together_by_hand_is_checked_at_its_use() -> None:
    with pytest.raises(InvalidInputError, match=r"override\.rule"):
        lifted_by(replace(GLASS, rule=Rule.TARGET), 150.0)
