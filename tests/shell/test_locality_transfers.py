"""The transfer ledger on a real manager: what is recorded, what is refused, and what the sums are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from mahavishnu.integrations.multi_region.core.events import EventKind
from mahavishnu.integrations.multi_region.core.facts import Attestation
from mahavishnu.integrations.multi_region.core.model import DataPlacementPolicy, RegionCapabilities
from mahavishnu.integrations.multi_region.core.templates import policy_from_template
from mahavishnu.integrations.multi_region.errors import (
    InvalidInputError,
    RefusedError,
    UnknownPolicyError,
    UnknownRegionError,
)
from mahavishnu.integrations.multi_region.ports.store import MemoryStore
from mahavishnu.integrations.multi_region.shell.locality import DataLocalityOptimizer
from mahavishnu.integrations.multi_region.shell.manager import RegionManager
from mahavishnu.integrations.multi_region.testing.builders import region
from tests.shell.data_tools import SetClock

PAIR = ("eu-west-1", "us-east-1")
GB = 1_000_000_000


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def optimizer(clock: SetClock) -> AsyncIterator[DataLocalityOptimizer]:
    async with RegionManager(store=MemoryStore(), clock=clock) as manager:
        await manager.register_region(region("eu-west-1"))
        ending = {"dpf_certified": Attestation("DPF-1", clock.date + 100)}
        await manager.register_region(region("us-east-1", capabilities=RegionCapabilities(attestations=ending)))
        optimizer = DataLocalityOptimizer(manager)
        await optimizer.register_policy(policy_from_template("eea-plus-adequate", policy_id="eu"))
        await optimizer.register_policy(policy_from_template("eea-only"))
        await optimizer.assign_policy("d", "eu")
        await optimizer.assign_policy("home", "eea-only")
        yield optimizer


async def move(optimizer: DataLocalityOptimizer, size: int = GB, data_id: str = "d") -> int:
    """Ask for a transfer and record it; its number in the log."""
    decided = await optimizer.request_transfer(data_id, *PAIR, size, "backup")
    entry = await optimizer.record_transfer(data_id, *PAIR, size, "backup", decision_id=decided.id, actor="ops")
    return entry.seq


async def test_a_refusal_is_an_answer_with_its_rule(optimizer: DataLocalityOptimizer) -> None:
    found = await optimizer.request_transfer("home", *PAIR, GB, "backup")
    assert (found.permitted, found.policies) == (False, ("eea-only",))
    assert found.reason == "us-east-1 policy eea-only does not allow it: no rule allows it"
    assert await optimizer.region_manager.journal.last(1) != []
    assert optimizer.transfer_totals() == []


async def test_a_transfer_is_recorded_in_the_chain_with_all_that_it_was(
    optimizer: DataLocalityOptimizer, clock: SetClock
) -> None:
    decided = await optimizer.request_transfer("d", *PAIR, GB, "backup")
    assert (decided.permitted, decided.valid_until) == (True, clock.date + 100)
    entry = await optimizer.record_transfer("d", *PAIR, GB, "backup", decision_id=decided.id, actor="ops")
    assert (entry.data_id, entry.source, entry.target, entry.size) == ("d", *PAIR, GB)
    assert (entry.purpose, entry.mechanism, entry.decision_id) == ("backup", None, decided.id)
    assert (entry.policies, entry.actor, entry.at) == (("eu",), "ops", clock.date)
    assert entry.cost_usd == pytest.approx(0.02)
    last = (await optimizer.region_manager.journal.last(1))[0]
    assert (last.seq, last.event.kind) == (entry.seq, EventKind.TRANSFER_RECORDED)
    assert await optimizer.region_manager.journal.verify() == entry.seq


async def test_a_record_needs_the_decision_on_this_very_transfer(optimizer: DataLocalityOptimizer) -> None:
    decided = await optimizer.request_transfer("d", *PAIR, GB, "backup")
    with pytest.raises(RefusedError, match="for another transfer"):
        await optimizer.record_transfer("d", *PAIR, GB, "analytics", decision_id=decided.id)
    with pytest.raises(RefusedError, match="no rule allows it"):
        await optimizer.record_transfer("home", *PAIR, GB, "backup", decision_id=decided.id)
    refused = [e.event for e in await optimizer.region_manager.journal.last(2)]
    assert [event.kind for event in refused] == [EventKind.TRANSFER_REFUSED] * 2
    assert optimizer.transfer_totals() == []


async def test_a_decision_does_not_outlive_the_facts_and_policies_it_rests_on(
    optimizer: DataLocalityOptimizer, clock: SetClock
) -> None:
    decided = await optimizer.request_transfer("d", *PAIR, GB, "backup")
    clock.date += 100
    with pytest.raises(RefusedError, match="dpf_certified expired"):
        await optimizer.record_transfer("d", *PAIR, GB, "backup", decision_id=decided.id)
    clock.date -= 100
    await optimizer.register_policy(DataPlacementPolicy("eu"))
    with pytest.raises(RefusedError, match="have changed since"):
        await optimizer.record_transfer("d", *PAIR, GB, "backup", decision_id=decided.id)


async def test_sums_hold_when_many_record_at_once(optimizer: DataLocalityOptimizer) -> None:
    seqs = await asyncio.gather(*(move(optimizer, size) for size in range(1, 101)))
    assert len(set(seqs)) == 100
    (total,) = optimizer.transfer_totals()
    assert (total.count, total.size) == (100, 5050)
    found = await optimizer.transfer_report()
    assert found.totals == (total,)


async def test_two_processes_share_the_sums() -> None:
    store = MemoryStore()
    async with RegionManager(store=store, clock=SetClock()) as one:
        for region_id in PAIR:
            await one.register_region(region(region_id))
        async with RegionManager(store=store, clock=SetClock()) as other:
            optimizers = [DataLocalityOptimizer(one), DataLocalityOptimizer(other)]
            await asyncio.gather(*(move(optimizers[i % 2], 10) for i in range(60)))
            (total,) = (await optimizers[0].transfer_report()).totals
            assert (total.count, total.size) == (60, 600)
            stored = await store.load("transfer-totals/")
            assert ['"count": 60' in entry.value for entry in stored.entries.values()] == [True]


async def test_a_report_is_of_a_policy_and_a_period_over_many_pages(
    optimizer: DataLocalityOptimizer, clock: SetClock
) -> None:
    for _ in range(3):
        await asyncio.gather(*(move(optimizer, 1) for _ in range(100)))
        clock.date += 30
    await move(optimizer, 7, "free")
    assert len((await optimizer.transfer_report()).entries) == 301
    assert len((await optimizer.transfer_report("eu")).entries) == 300
    assert len((await optimizer.transfer_report("eu", clock.date - 45)).entries) == 100
    assert [e.size for e in (await optimizer.transfer_report(None, clock.date)).entries] == [7]
    assert (await optimizer.transfer_report("eea-only")).entries == ()
    with pytest.raises(UnknownPolicyError, match="did you mean 'eea-only'"):
        await optimizer.transfer_report("eea-onyl")


async def test_a_period_reaches_back_past_pages_of_other_events(
    optimizer: DataLocalityOptimizer, clock: SetClock
) -> None:
    await move(optimizer, 5)
    for _ in range(250):
        await optimizer.region_manager.freeze(by="ops", reason="drill")
    clock.date += 10 * 86_400
    assert [e.size for e in (await optimizer.transfer_report(None, clock.date - 11 * 86_400)).entries] == [5]
    assert (await optimizer.transfer_report(None, clock.date - 86_400)).entries == ()


async def test_bad_input_is_refused_before_anything_is_asked(optimizer: DataLocalityOptimizer) -> None:
    with pytest.raises(UnknownRegionError, match="did you mean 'us-east-1'"):
        await optimizer.request_transfer("d", "eu-west-1", "us-esat-1", GB, "backup")
    with pytest.raises(InvalidInputError, match="another region than eu-west-1"):
        await optimizer.request_transfer("d", "eu-west-1", "eu-west-1", GB, "backup")
    decided = await optimizer.request_transfer("d", *PAIR, None, "backup")
    assert decided.cost_usd is None
    with pytest.raises(InvalidInputError, match="bytes"):
        await optimizer.record_transfer("d", *PAIR, None, "backup", decision_id=decided.id)
