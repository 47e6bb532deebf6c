"""The compiled table: it follows cheaply, keeps what still holds, and cannot be made to fill the memory."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from math import nan
from random import Random
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from mahavishnu.integrations.multi_region.core.latency import CELLS, cell_centre, cell_of
from mahavishnu.integrations.multi_region.core.model import (
    ComplianceFramework,
    Fleet,
    LocalityLevel,
    Phase,
    Point,
    PolicyView,
    RegionView,
    RoutingStrategy,
)
from mahavishnu.integrations.multi_region.core.request import Request
from mahavishnu.integrations.multi_region.core.residuals import Corrections, Learned
from mahavishnu.integrations.multi_region.errors import InvalidInputError, UnknownServiceError
from mahavishnu.integrations.multi_region.facts.network import latency_model, zone_of_client
from mahavishnu.integrations.multi_region.shell.routing.parts import Part, indices_of
from mahavishnu.integrations.multi_region.shell.routing.sites import FINER, HALF_WAY_KM, Sites
from mahavishnu.integrations.multi_region.shell.routing.table import MAX_ENTRIES, MAX_LOG, PLAIN, RoutingTable
from mahavishnu.integrations.multi_region.shell.routing.tally import MAX_KINDS, Tally
from mahavishnu.integrations.multi_region.shell.view_copies import with_load
from mahavishnu.integrations.multi_region.testing.builders import fleet, policy, service, view
from tests.shell.random_worlds import StagedManager

NOTHING = Corrections()
BERLIN = (52.5, 13.4)
GDPR = Request(requirements=frozenset({ComplianceFramework.GDPR}))


def table_of(*regions: RegionView | str, **more: Any) -> RoutingTable:
    return RoutingTable(fleet(*regions), latency_model(), NOTHING, **more)


def part_of(table: RoutingTable, request: Request = PLAIN) -> Part:
    part = table.entry(request).part(0)
    assert part is not None
    return part


def selected(table: RoutingTable, place: tuple[float, float] = BERLIN, request: Request = PLAIN) -> str:
    return table.ids[table.nearest(part_of(table, request), *place)]


def follow(table: RoutingTable, *regions: RegionView, corrections: Corrections = NOTHING) -> None:
    made = {**table.fleet.regions, **{one.region_id: one for one in regions}}
    table.follow(replace(table.fleet, regions=MappingProxyType(made)), corrections)


# --- following -----------------------------------------------------------------------------------


def test_cells_stay_when_a_region_changes_in_a_way_that_moves_no_winner() -> None:
    table = table_of("eu-west-1", "eu-central-1", "us-east-1")
    selected(table)
    answers = part_of(table).answers
    follow(table, replace(table.views[0], load=50.0, health_score=70.0))
    assert part_of(table).answers is answers
    assert len(answers) == 1


def test_the_loss_of_one_of_two_regions_at_one_place_moves_requests_to_the_other_and_compiles_nothing() -> None:
    table = table_of(view("a", point=Point(50, 8)), view("b", point=Point(50, 8)), "us-east-1")
    assert selected(table) == "a"
    answers = part_of(table).answers
    follow(table, replace(table.views[0], phase=Phase.DOWN))
    assert (selected(table), part_of(table).answers) == ("b", answers)
    follow(table, replace(table.views[1], phase=Phase.DOWN))
    assert selected(table) == "us-east-1"


def test_of_regions_at_one_place_the_healthiest_is_chosen_then_the_first_by_name() -> None:
    here = Point(50, 8)
    table = table_of(view("b", point=here), view("a", point=here), view("c", point=here, health_score=99.0))
    assert selected(table) == "c"
    follow(table, replace(table.views[2], health_score=95.0))
    assert selected(table) == "a"
    follow(table, replace(table.views[0], health_score=96.0))
    assert selected(table) == "b"


@pytest.mark.parametrize("changes", [1, 2, MAX_LOG - 1, MAX_LOG, MAX_LOG + 1, 3 * MAX_LOG])
def test_needs_that_were_not_asked_for_catch_up(changes: int) -> None:
    table = table_of(view("eu-west-1", compliance=["gdpr"]), view("eu-central-1", compliance=["gdpr"]), "us-east-1")
    assert selected(table, request=GDPR) == "eu-central-1"
    follow(table, replace(table.views[1], phase=Phase.DOWN))
    for turn in range(1, changes):
        follow(table, replace(table.views[2], load=float(turn)))
    assert selected(table, request=GDPR) == "eu-west-1"


def test_rules_that_say_something_else_are_compiled_anew_and_others_are_kept() -> None:
    table = table_of(view("eu-west-1", compliance=["gdpr"]), view("eu-central-1", compliance=["gdpr"]))
    assert selected(table, request=GDPR) == "eu-central-1"
    plain, bound = table.entry(PLAIN), table.entry(GDPR)
    only = PolicyView.of(policy("eu", allow=["eu-west-1"], require=["gdpr"]))
    table.follow(replace(table.fleet, policies=MappingProxyType({"eu": only})), NOTHING)
    assert selected(table, request=GDPR) == "eu-west-1"
    assert (table.entry(PLAIN) is plain, table.entry(GDPR) is bound) == (True, False)


def test_regions_that_a_policy_prefers_hold_the_others_back_only_while_one_of_them_can_serve() -> None:
    near = replace(PolicyView.of(policy("near", allow=["us-east-1"])), locality_level=LocalityLevel.PREFERRED)
    made = fleet("eu-west-1", "eu-central-1", "us-east-1", services=[service("api", policy="near")])
    table = RoutingTable(replace(made, policies=MappingProxyType({"near": near})), latency_model(), NOTHING)
    asked = Request(service="api")
    for phase, expected in ((Phase.HEALTHY, "us-east-1"), (Phase.DOWN, "eu-central-1"), (Phase.HEALTHY, "us-east-1")):
        follow(table, replace(table.views[2], phase=phase))
        assert selected(table, request=asked) == expected


@pytest.mark.parametrize("request_", [PLAIN, GDPR])
def test_a_load_that_fills_a_region_takes_it_out_and_one_that_leaves_room_puts_it_back(request_: Request) -> None:
    table = table_of(view("eu-west-1", compliance=["gdpr"]), view("eu-central-1", compliance=["gdpr"]))
    limit = table.views[1].max_capacity
    for load, expected in ((0.5, "eu-central-1"), (1.0, "eu-west-1"), (2.0, "eu-west-1"), (0.9, "eu-central-1")):
        follow(table, with_load(table.views[1], load * limit))
        assert selected(table, request=request_) == expected


@pytest.mark.parametrize("request_", [PLAIN, GDPR])
def test_of_regions_at_one_place_that_are_equally_well_the_one_with_more_room_is_chosen(request_: Request) -> None:
    first, other = view("a", compliance=["gdpr"]), view("b", compliance=["gdpr"])
    table = table_of(first, replace(other, point=first.point, country=first.country))
    for loads, expected in (((5.0, 4.0), "b"), ((3.0, 4.0), "a"), ((3.0, 2.0), "b")):
        follow(table, *(with_load(one, load) for one, load in zip(table.views, loads, strict=True)))
        assert selected(table, request=request_) == expected
        assert part_of(table, request_).winner(RoutingStrategy.CAPACITY_BASED) == table.ids.index(expected)


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False))
def test_what_is_known_of_regions_when_others_come_and_go_is_what_a_new_table_would_find(dice: Random) -> None:
    names, asked = ["a", "b", "c", "d", "e"], (PLAIN, GDPR, Request(service="api"))
    eu = service("api", policy="eu")
    table = RoutingTable(fleet(*names, services=[replace(eu, policy=None)]), latency_model(), NOTHING)
    for step in range(12):
        for request in dice.sample(asked, dice.randrange(len(asked) + 1)):
            table.entry(request)
        among = dice.sample(names, dice.randrange(1, len(names) + 1))
        regions = {name: table.fleet.regions.get(name, view(name)) for name in among}
        changed = dice.choice(among)
        regions[changed] = dice.choice(
            [
                view(changed, compliance=["gdpr"]),
                replace(regions[changed], phase=dice.choice(list(Phase))),
                with_load(regions[changed], dice.choice([0.0, 50.0, 1e9])),
            ]
        )
        ruled = PolicyView.of(policy("eu", allow=dice.sample(names, 2), require=["gdpr"][: step % 2]))
        level = replace(ruled, locality_level=dice.choice([LocalityLevel.PREFERRED, LocalityLevel.STRICT]))
        after = replace(table.fleet, regions=MappingProxyType(regions))
        if dice.random() < 0.5:
            after = replace(after, policies=MappingProxyType({"eu": level}), services=MappingProxyType({"api": eu}))
        table.follow(after, NOTHING)
        fresh = RoutingTable(after, latency_model(), NOTHING)
        for request in dice.sample(asked, dice.randrange(len(asked) + 1)):
            ours, theirs = table.entry(request), fresh.entry(request)
            assert (ours.tiers, ours.leaning, ours.needs) == (theirs.tiers, theirs.leaning, theirs.needs)
            assert (ours.whole.masks, ours.whole.chosen) == (theirs.whole.masks, theirs.whole.chosen)


def test_a_region_that_comes_does_not_hide_that_another_went_down_before() -> None:
    table = table_of("eu-west-1", "eu-central-1")
    assert selected(table) == "eu-central-1"
    follow(table, replace(table.views[1], phase=Phase.DOWN))
    follow(table, view("us-east-1"))
    assert selected(table) == "eu-west-1"


def test_a_region_in_another_country_is_in_another_zone() -> None:
    lisbon, table = (38.7, -9.1), table_of(view("a", point=Point(50, 10), country="DE"), view("b", point=Point(47, 16)))
    assert selected(table, lisbon) == "a"
    follow(table, replace(table.views[0], country="JO"))
    assert selected(table, lisbon) == "b"


def test_a_service_that_is_gone_is_unknown() -> None:
    table = RoutingTable(fleet("eu-west-1", services=[service("api")]), latency_model(), NOTHING)
    asked = Request(service="api")
    assert selected(table, request=asked) == "eu-west-1"
    table.follow(fleet("eu-west-1"), NOTHING)
    for _ in range(2):
        with pytest.raises(UnknownServiceError):
            table.entry(asked)


def learned(region: RegionView, ms: float, *cells: int) -> Corrections:
    where = cells or (cell_of(*BERLIN),)
    return NOTHING.having({region.region_id: Learned(where, (2.0,) * len(where), (ms,) * len(where))})


def test_what_is_learned_counts_at_once_and_where_it_was_learned() -> None:
    table = table_of("eu-west-1", "eu-central-1", "ap-southeast-2")
    sydney = (-33.9, 151.2)
    assert (selected(table), selected(table, sydney)) == ("eu-central-1", "ap-southeast-2")
    table.follow(table.fleet, learned(table.views[1], 90.0))
    assert (selected(table), selected(table, sydney)) == ("eu-west-1", "ap-southeast-2")
    table.follow(table.fleet, NOTHING)
    assert selected(table) == "eu-central-1"


def test_bounds_of_cells_stay_while_what_is_learned_stays_within_limits() -> None:
    table = table_of("eu-west-1", "eu-central-1", "us-east-1")
    region = table.views[1]
    table.follow(table.fleet, learned(region, 20.0))
    selected(table)
    geometry = table.sites.geometry
    table.follow(table.fleet, learned(region, 21.0))
    assert (table.sites.geometry is geometry, len(geometry)) == (True, 1)
    table.follow(table.fleet, learned(region, 60.0))
    assert table.sites.geometry is not geometry
    assert selected(table) == "eu-west-1"


def test_what_is_learned_may_make_a_farther_region_the_best() -> None:
    table = table_of("eu-west-1", "eu-central-1")
    assert selected(table) == "eu-central-1"
    table.follow(table.fleet, learned(table.views[0], -60.0))
    assert selected(table) == "eu-west-1"


def test_what_was_learned_is_worked_out_before_a_cell_counts_as_mixed() -> None:
    table = table_of("eu-west-1", "eu-central-1")
    table.follow(table.fleet, learned(table.views[0], 5.0))  # known to be within 8 ms of the prediction at first
    part = part_of(table)
    key = next(key for key in part_of_cells(table) if len(possible(table, key)) == 2 and not mixed(table, part, key))
    assert part.answers[key] in (0, 1)


def part_of_cells(table: RoutingTable) -> range:
    """The cells between Dublin and Frankfurt."""
    return range(cell_of(51.5, -5.5), cell_of(51.5, 7.5))


def possible(table: RoutingTable, key: int) -> tuple[int, ...]:
    return table.sites.geometry.candidates(key, 0b11)


def mixed(table: RoutingTable, part: Part, key: int) -> bool:
    centre = cell_centre(key)
    table.nearest(part, centre.latitude, centre.longitude)
    return not isinstance(part.answers[key], int)


@pytest.mark.parametrize("means", [(-1000.0, -1000.0), (-20.0, -23.0), (-23.0, -20.0)])
def test_however_little_was_measured_light_in_fibre_is_the_least(means: tuple[float, float]) -> None:
    table = table_of(*(view(name, point=Point(50.0, east), country="DE") for name, east in (("a", 8.5), ("b", 20.4))))
    cell, names = (cell_of(50.0, 14.5),), ("a", "b")
    here = {name: Learned(cell, (2.0,), (mean,)) for name, mean in zip(names, means, strict=True)}
    table.follow(table.fleet, NOTHING.having(here))
    found = [selected(table, (50.0, 14.401 + step / 200)) for step in range(20)]
    assert found == ["a"] * 10 + ["b"] * 10


# --- clients -------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [(90.0, 0.0), (-90.0, -180.0), (0.0, 180.0), (-8.0, -60.0), (-0.0, -0.0)])
@pytest.mark.parametrize("regions", [1, 2, 3])
def test_clients_opposite_to_all_regions_are_answered(place: tuple[float, float], regions: int) -> None:
    opposite = Point(-place[0], place[1] - 180.0 if place[1] > 0 else place[1] + 180.0)
    table = table_of(*(view(f"r{i}", point=opposite, country="DE") for i in range(regions)))
    table.follow(table.fleet, learned(table.views[-1], 0.0))  # so that not all of them are one site
    assert selected(table, place) == "r0"


@pytest.mark.parametrize(
    ("country", "place"),
    [("RU", (55.0, 60.0)), ("RU", (66.0, -180.0)), ("US", (52.0, 0.0)), ("CA", (60.0, -104.0)), ("US", (30.0, -86.0))],
)
def test_a_countrys_zone_is_that_of_the_cell(country: str, place: tuple[float, float]) -> None:
    manager = StagedManager(fleet("eu-central-1", "us-east-1", "us-west-2", "ap-northeast-1", "sa-east-1"))
    router = manager.router()
    context = {"user_location": {"latitude": place[0], "longitude": place[1]}, "country": country}
    point = Point(*place)
    estimates = {
        v.region_id: manager.round_trips.estimate_ms(point, v, country) for v in manager.snapshot().regions.values()
    }
    assert router.route(context).selected_region == min(estimates, key=lambda name: estimates[name])
    keys = [key for key in part_of(router._table).answers if key >= CELLS]
    assert [key // CELLS - 1 for key in keys] == [zone_of_client(point, country)]


def test_the_sites_of_many_regions_are_few_where_they_stand_together() -> None:
    views = [view(f"r{i}", point=Point(float(i % 7), 0.0)) for i in range(100)]
    sites = Sites(views, latency_model(), NOTHING)
    assert len(sites.all) == 7
    assert sorted(index for site in sites.all for index in site.members) == list(range(100))
    assert all(index in sites.all[sites.of_region[index]].members for index in range(100))


def test_nothing_is_farther_than_half_way_round() -> None:
    assert 20_015.0 < HALF_WAY_KM < 20_016.0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32).map(Random))
def test_no_smaller_cell_misses_a_winner(dice: Random) -> None:
    south, east = (
        dice.choice((dice.uniform(-85, 80), 89.0, -90.0)),
        dice.choice((dice.uniform(-180, 170), 179.0, -180.0)),
    )
    near = [Point(min(90.0, south + dice.uniform(0, 6)), min(180.0, east + dice.uniform(0, 9))) for _ in range(6)]
    views = [view(f"r{i}", point=point, country=dice.choice(("DE", "FR"))) for i, point in enumerate(near)]
    manager = StagedManager(fleet(*views))
    router = manager.router()
    step = 1 / (8 * FINER)
    cells = [
        (min(89.0, math.floor(south) + row), min(179.0, math.floor(east) + col)) for row in range(3) for col in range(3)
    ]
    places = [
        (min(90.0, low + dice.randrange(8 * FINER + 1) * step), min(180.0, left + dice.randrange(8 * FINER + 1) * step))
        for low, left in cells
        for _ in range(60)
    ]
    best = [nearest_of(manager, Point(*place)) for place in places]
    contexts = [{"user_location": {"latitude": a, "longitude": b}} for a, b in places]
    assert [router.route(context).selected_region for context in contexts] == best
    found = asyncio.run(router.route_many([a for a, _ in places], [b for _, b in places]))
    assert found.selected == best


def nearest_of(manager: StagedManager, point: Point) -> str:
    estimate = manager.round_trips.estimate_ms
    views = manager.snapshot().regions.values()
    return min(views, key=lambda view: (estimate(point, view), -view.health_score, view.region_id)).region_id


# --- memory --------------------------------------------------------------------------------------


def test_hostile_requirements_do_not_fill_the_memory_nor_push_the_plain_needs_out() -> None:
    table = table_of("eu-west-1")
    plain = table.entry(PLAIN)
    names = [frozenset(some) for n in range(8) for some in combinations(ComplianceFramework, n)]
    for data_class in ("a", "b"):
        for requirements in names:
            table.entry(Request(requirements=requirements, data_class=data_class))
    assert len(table._entries) == MAX_ENTRIES
    assert table.entry(PLAIN) is plain


def test_needs_that_are_asked_for_stay_while_others_come_and_go() -> None:
    table = table_of("eu-west-1")
    kept = table.entry(GDPR)
    for number in range(3 * MAX_ENTRIES):
        table.entry(Request(data_class=str(number)))
        assert table.entry(GDPR) is kept


def test_hostile_places_do_not_fill_the_memory() -> None:
    table = table_of("eu-west-1", "eu-central-1", "us-east-1", "sa-east-1", most_answers=50)
    requests = [PLAIN, Request(data_class="a"), Request(data_class="b")]
    most = 0
    for number in range(3_000):
        place = (-90 + number * 0.06, -180 + number * 37 % 360)
        country = (None, "DE", "US", "BR")[number % 4]
        part = part_of(table, requests[number % 3])
        assert 0 <= table.nearest(part, *place, country) < 4
        parts = [part_of(table, request) for request in requests]
        answers = [answer for one in parts for answer in one.answers.values()]
        most = max(most, len(answers) + sum(len(a.smaller) for a in answers if not isinstance(a, int)))
    assert 40 < most <= 50


def test_turns_of_hostile_kinds_do_not_fill_the_memory() -> None:
    tally = Tally()
    kinds = [(RoutingStrategy.ROUND_ROBIN, str(n), frozenset[ComplianceFramework]()) for n in range(MAX_KINDS + 5)]
    for kind in kinds:
        tally.took(kind, 3, "r")
    assert len(tally._turns) == MAX_KINDS
    assert [tally.turn(kinds[0]), tally.turn(kinds[-1])] == [0, 4]


@pytest.mark.parametrize("place", [(90.05, 0.0), (0.0, 180.05), (nan, 0.0), (0.0, nan), (True, 0.0), ("1", 0.0)])
@pytest.mark.parametrize("beside", [{}, {"country": "DE"}, {"compliance_requirements": []}])
def test_a_bad_location_is_refused_although_all_beside_it_is_known(place: Any, beside: dict[str, Any]) -> None:
    router = StagedManager(fleet("eu-west-1")).router()
    good = {"user_location": {"latitude": 1.0, "longitude": 2.0}, **beside}
    bad = {"user_location": {"latitude": place[0], "longitude": place[1]}, **beside}
    for _ in range(2):
        assert router.route(good).selected_region == "eu-west-1"
        with pytest.raises(InvalidInputError) as caught:
            router.route(bad)
        assert caught.value.field.startswith("request_context.user_location.")
    for _ in range(2):
        with pytest.raises(InvalidInputError):
            router.route({**good, "user_location": {"latitude": 1.0, "longitude": 2.0, "altitude": 3.0}})


def hostile_contexts(manager: StagedManager) -> list[Callable[[int], dict[str, Any]]]:
    place = {"latitude": 1.0, "longitude": 2.0}
    return [
        lambda n: {"user_location": place, "service": f"none-{n}"},
        lambda n: {"user_location": place, "country": f"X{n}"},
        lambda n: {"user_location": place, "compliance_requirements": [f"none-{n}"]},
        lambda n: {"user_location": place, "compliance_requirements": ["gdpr"] * (n + 1)},
        lambda n: {"user_location": {"latitude": nan, "longitude": float(n)}},
        lambda n: {"user_location": place, f"key-{n}": 1},
        lambda n: {"user_location": place, "current_region": f"none-{n}"},
        lambda n: {"user_location": place, "data_id": f"none-{n}"},
    ]


def test_hostile_contexts_do_not_fill_the_memory() -> None:
    manager = StagedManager(fleet(view("eu-west-1", compliance=["gdpr"])))
    router = manager.router()
    for make in hostile_contexts(manager):
        for number in range(1_500):
            with contextlib.suppress(InvalidInputError):
                router.route(make(number), "round_robin")
    assert len(router._contexts._shapes) <= 1_000
    assert sum(len(repr(shape)) for shape in router._contexts._shapes) < 1_000_000
    assert len(router._tally._turns) == 2  # with gdpr, and without


# --- small things --------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [0, 1, 0b1011, 1 << 999, (1 << 1000) - 1])
def test_the_bits_of_a_mask(mask: int) -> None:
    assert indices_of(mask) == [bit for bit in range(1000) if mask >> bit & 1]


def test_a_fleet_without_regions_has_no_part() -> None:
    table = RoutingTable(Fleet(1, MappingProxyType({})), latency_model(), NOTHING)
    assert table.entry(PLAIN).part(0) is None
    follow(table, view("eu-west-1"))
    assert selected(table) == "eu-west-1"
