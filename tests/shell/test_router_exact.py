"""The compiled table answers what the rules over all regions answer: in every world and state, by every strategy."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given, settings, strategies as st

from mahavishnu.integrations.multi_region.core.model import Point, RegionView, RoutingStrategy
from mahavishnu.integrations.multi_region.core.residuals import Corrections
from mahavishnu.integrations.multi_region.core.routing import RoutingDecision
from mahavishnu.integrations.multi_region.errors import NoEligibleRegionError
from mahavishnu.integrations.multi_region.shell.router import RegionAwareRouter
from mahavishnu.integrations.multi_region.shell.rtt import RttBook
from tests.shell.random_worlds import Reference, StagedManager, change, random_context, random_corrections, random_fleet

dice = st.integers(0, 2**32).map(Random)
STRATEGIES = (None, *RoutingStrategy, RoutingStrategy.LATENCY_BASED)


def answer(ask: Any, *asked: Any) -> RoutingDecision | str:
    try:
        decision: RoutingDecision = ask(*asked)
    except NoEligibleRegionError as err:
        return str(err)
    return decision


def assert_same(router: RegionAwareRouter, reference: Reference, context: dict[str, Any], strategy: Any) -> None:
    expected, found = answer(reference.decide, context, strategy), answer(router.route, context, strategy)
    if isinstance(expected, str) or isinstance(found, str):
        assert found == expected
        return
    assert (found.selected_region, found.strategy) == (expected.selected_region, expected.strategy), context
    assert found.reasoning == expected.reasoning
    assert found.alternatives == expected.alternatives


@settings(max_examples=150, deadline=None)
@given(dice)
def test_every_decision_is_the_one_that_the_rules_make(dice: Random) -> None:
    manager = StagedManager(random_fleet(dice))
    if dice.random() < 0.5:
        fleet = manager.snapshot()
        manager.round_trips.corrections = random_corrections(dice, fleet, manager.round_trips.corrections)
    router, reference = manager.router(), Reference(manager)
    for _ in range(60):
        assert_same(router, reference, random_context(dice, manager.snapshot()), dice.choice(STRATEGIES))


@settings(max_examples=150, deadline=None)
@given(dice)
def test_the_table_never_lags_behind_what_changes(dice: Random) -> None:
    manager = StagedManager(random_fleet(dice, most=12))
    router, reference = manager.router(), Reference(manager)
    contexts = [random_context(dice, manager.snapshot()) for _ in range(6)]
    for _ in range(25):
        for _ in range(dice.choice((1, 1, 1, 3, 90))):
            change(dice, manager)
        contexts[dice.randrange(6)] = random_context(dice, manager.snapshot())
        for context in dice.sample(contexts, 4):
            if context.get("service") in (None, *manager.snapshot().services):
                assert_same(router, reference, context, dice.choice(STRATEGIES))


@settings(max_examples=30, deadline=None)
@given(dice)
def test_a_decision_tells_what_it_was_made_from_although_the_world_has_changed(dice: Random) -> None:
    manager = StagedManager(random_fleet(dice))
    router, reference = manager.router(), Reference(manager)
    made = []
    for _ in range(8):
        context, strategy = random_context(dice, manager.snapshot()), dice.choice(STRATEGIES)
        if context.get("service") in (None, *manager.snapshot().services):
            expected, found = answer(reference.decide, context, strategy), answer(router.route, context, strategy)
            if not isinstance(expected, str) and not isinstance(found, str):
                made.append((found, expected.told.order, expected.estimate_ms))
        change(dice, manager)
    for found, order, ms in made:
        assert (found.region, found.told.order, found.estimate_ms) == (order[0], order, ms)


@settings(max_examples=150, deadline=None)
@given(dice)
def test_candidates_are_the_best_of_all_regions_with_their_estimates(dice: Random) -> None:
    manager = StagedManager(random_fleet(dice, most=80))
    if dice.random() < 0.5:
        fleet = manager.snapshot()
        manager.round_trips.corrections = random_corrections(dice, fleet, manager.round_trips.corrections)
    router, reference, made = manager.router(), Reference(manager), []
    for _ in range(25):
        context, strategy = random_context(dice, manager.snapshot()), dice.choice(STRATEGIES)
        most = dice.choice((1, 2, 3, 3, 10, 40, 100))
        expected, found = answer(reference.decide, context, strategy), answer(router.route, context, strategy, most)
        if isinstance(expected, str) or isinstance(found, str):
            assert found == expected
            continue
        expected.wanted = most
        made.append((found, expected.candidates, context))
    change(dice, manager)  # what a decision names is what it was made from
    for found, candidates, context in made:
        assert found.candidates == candidates, context


class NotingBook(RttBook):
    """Notes of which regions it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def estimate_ms(
        self,
        location: Point,
        region: RegionView,
        country: str | None = None,
        corrections: Corrections | None = None,
    ) -> float:
        self.asked.append(region.region_id)
        return super().estimate_ms(location, region, country, corrections)


@settings(max_examples=60, deadline=None)
@given(dice)
def test_what_a_decision_says_of_its_own_region_looks_at_no_other(dice: Random) -> None:
    manager = StagedManager(random_fleet(dice, most=40))
    manager.round_trips = book = NotingBook()
    router = manager.router()
    for _ in range(25):
        context, strategy = random_context(dice, manager.snapshot()), dice.choice(STRATEGIES)
        found = answer(router.route, {k: v for k, v in context.items() if k != "data_id"}, strategy)
        if isinstance(found, str):
            continue
        book.asked.clear()
        ms, (sole,) = found.estimate_ms, found.candidates
        assert set(book.asked) <= {found.selected_region}
        assert (sole.region_id, sole.endpoint, sole.estimate_ms) == (found.selected_region, found.endpoint, ms)
        assert found.estimates(*found.told.order)[0] == ms  # the full order comes to the same
