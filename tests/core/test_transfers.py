"""Transfers: what permits them, what their decisions rest on, and what the ledger's entries add up to."""

from __future__ import annotations

from typing import Any

import pytest

from mahavishnu.integrations.multi_region.core.conditions import In, Is
from mahavishnu.integrations.multi_region.core.events import Event, EventKind, chain
from mahavishnu.integrations.multi_region.core.facts import Fact
from mahavishnu.integrations.multi_region.core.lawcheck import Breach, breaches
from mahavishnu.integrations.multi_region.core.model import Binding, DataPlacementPolicy, Fleet, LocalityLevel
from mahavishnu.integrations.multi_region.core.policy import Effect, Rule
from mahavishnu.integrations.multi_region.core.request import Request, needs_of
from mahavishnu.integrations.multi_region.core.transfers import (
    LedgerEntry,
    PairTotal,
    Transfer,
    TransferDecision,
    check_transfer,
    decide_transfer,
    report,
)
from mahavishnu.integrations.multi_region.core.vocabulary import with_facts
from mahavishnu.integrations.multi_region.errors import InvalidInputError
from mahavishnu.integrations.multi_region.testing.builders import fleet, policy, service, view

CLAUSES = DataPlacementPolicy(
    "p",
    rules=[
        Rule("inside", Effect.ALLOW, Is("region.eea", True)),
        Rule("by-clauses", Effect.ALLOW, In("transfer.mechanism", ("scc", "bcr"))),
        Rule("no-testing", Effect.DENY, Is("transfer.purpose", "testing")),
    ],
)


def world(**fields: Any) -> Fleet:
    regions = [
        with_facts(view("eu", as_of=10.0), {"region.eea": Fact(True, "s")}),
        with_facts(view("us", as_of=10.0), {"region.eea": Fact(False, "s")}),
    ]
    given = {"policies": [CLAUSES], "bindings": {"d": Binding("p")}}
    return fleet(*regions, **{**given, **fields})


def decide(here: Fleet, target: str = "us", mechanism: str | None = None, **fields: Any) -> TransferDecision:
    transfer = Transfer(
        **{"data_id": "d", "source": "eu", "purpose": "backup", **fields}, target=target, mechanism=mechanism
    )
    return decide_transfer(here, needs_of(here, Request(data_id=transfer.data_id)), transfer)


@pytest.mark.parametrize(
    ("target", "mechanism", "purpose", "permitted", "rules"),
    [
        ("us", None, "backup", False, ("p/by-clauses",)),
        ("us", "adequacy", "backup", False, ()),
        ("us", "scc", "backup", True, ("p/by-clauses",)),
        ("us", "scc", "testing", False, ("p/no-testing",)),
        ("eu", None, "backup", True, ("p/inside",)),
    ],
)
def test_a_transfer_is_permitted_by_what_it_rests_on(
    target: str, mechanism: str | None, purpose: str, permitted: bool, rules: tuple[str, ...]
) -> None:
    found = decide(world(), target, mechanism, purpose=purpose, source="other")
    assert (found.permitted, found.rules) == (permitted, rules)


def test_data_that_no_policy_binds_may_go_anywhere() -> None:
    found = decide(world(), data_id="free")
    assert (found.permitted, found.reason, found.policies) == (True, "no policy binds it", ())


@pytest.mark.parametrize(("level", "crossing", "permitted"), [("strict", True, False), ("region", True, True)])
def test_the_locality_level_binds_transfers_too(level: str, crossing: bool, permitted: bool) -> None:
    bound = DataPlacementPolicy("p", (), ["eu"], LocalityLevel(level), crossing)
    assert decide(world(policies=[bound])).permitted is permitted


def test_a_decision_is_the_same_until_what_it_rests_on_changes() -> None:
    one = decide(world(), mechanism="scc")
    assert one.id == decide(world(), mechanism="scc", size=7).id
    others = [
        decide(world(), mechanism="bcr"),
        decide(world(), mechanism="scc", purpose="archive"),
        decide(world(), mechanism="scc", data_id="e"),
        decide(world(policies=[policy("p", allow=["us"])]), mechanism="scc"),
        decide(world(bindings={"d": Binding(None)}), mechanism="scc"),
    ]
    assert one.id not in {other.id for other in others}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"target": "eu"}, "to_region"),
        ({"purpose": " "}, "purpose"),
        ({"mechanism": "scp"}, "mechanism"),
        ({"size": -1}, "bytes"),
        ({"size": True}, "bytes"),
    ],
)
def test_a_transfer_that_says_something_odd_is_refused(fields: dict[str, Any], field: str) -> None:
    given = {"data_id": "d", "source": "eu", "target": "us", "purpose": "backup"}
    with pytest.raises(InvalidInputError) as caught:
        check_transfer(Transfer(**{**given, **fields}))
    assert caught.value.field == field


# --- the ledger -----------------------------------------------------------------------------------


def entry(
    seq: int, at: float, size: int, policies: list[str], cost: float | None = 1.0, ok: bool = True
) -> LedgerEntry:
    details = {
        "from_region": "eu",
        "to_region": "us",
        "bytes": size,
        "purpose": "backup",
        "mechanism": "scc",
        "decision_id": "x",
        "policies": policies,
        "cost_usd": cost,
    }
    kind = EventKind.TRANSFER_RECORDED if ok else EventKind.TRANSFER_REFUSED
    found = LedgerEntry.of(chain(Event(kind, at, "d", details=details), seq, "0" * 64)[0])
    assert found is not None
    return found


ENTRIES = [
    entry(1, 10.0, 5, ["p"]),
    entry(2, 20.0, 7, []),
    entry(3, 30.0, 11, ["p", "q"], cost=None),
    entry(4, 40.0, 100, ["p"], ok=False),
]


@pytest.mark.parametrize(
    ("wanted", "since", "seqs", "size", "unpriced"),
    [
        (None, None, [1, 2, 3, 4], 23, 1),
        ("p", None, [1, 3, 4], 16, 1),
        ("p", 15.0, [3, 4], 11, 1),
        ("q", 31.0, [], 0, 0),
    ],
)
def test_a_report_is_of_a_policy_and_a_period_and_sums_what_took_place(
    wanted: str | None, since: float | None, seqs: list[int], size: int, unpriced: int
) -> None:
    found = report(ENTRIES, wanted, since)
    assert [e.seq for e in found.entries] == seqs
    assert sum(total.size for total in found.totals) == size
    assert sum(total.unpriced for total in found.totals) == unpriced


def test_an_event_of_another_kind_is_no_entry() -> None:
    assert LedgerEntry.of(chain(Event(EventKind.DRAIN_LIFTED, 1.0, "a"), 1, "0" * 64)[0]) is None


def test_sums_survive_being_written_down() -> None:
    total = PairTotal("eu", "us").plus(5, 0.5).plus(3, None)
    assert PairTotal.parse(total.document()) == total
    assert (total.count, total.size, total.cost_usd, total.unpriced) == (2, 8, 0.5, 1)


# --- what if the law changes ----------------------------------------------------------------------


def test_every_placement_and_service_that_would_become_unlawful_is_listed() -> None:
    only_eea = DataPlacementPolicy("p", rules=[Rule("inside", Effect.ALLOW, Is("region.eea", True))])
    services = [service("pinned", "eu", "us", policy="p"), service("free"), service("open", policy="p")]
    now = world(policies=[only_eea], services=services)
    left = {name: with_facts(region, {"region.eea": Fact(False, "s")}) for name, region in now.regions.items()}
    then = Fleet(1, left, now.services, now.policies, bindings=now.bindings)
    placements = {"d": ("eu", "gone"), "e": ("us",)}
    text = "policy p does not allow it: no rule allows it"
    assert breaches(now, now, placements) == [
        Breach("placement", "d", "gone", "is not registered any more", False),
        Breach("service", "pinned", "us", text, False),
    ]
    assert breaches(now, then, placements) == [
        Breach("placement", "d", "eu", text, True),
        Breach("placement", "d", "gone", "is not registered any more", False),
        Breach("service", "open", "eu", text, True),
        Breach("service", "pinned", "eu", text, True),
        Breach("service", "pinned", "us", text, False),
    ]
