"""Addresses that regions leave: how long edges are told them, and when law has them go at once."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.handover import ALLOWANCE_S, MOST_LEFT, Handover
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.parts import Leaving
from mahavishnu.integrations.multi_region.core.model import UpstreamProtocol
from mahavishnu.integrations.multi_region.core.traffic import Whereabouts

from .plans import CHECK

A, B, C = (f"http://192.0.2.{n}:80" for n in (1, 2, 3))
SETTLING_S = 3.0
WHOLE_S = SETTLING_S + ALLOWANCE_S


class Time:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def at(url: str, grounds: object = "DE") -> Whereabouts:
    """A region there."""
    return Whereabouts(url, UpstreamProtocol.HTTP1, CHECK, grounds)


def hosts(leaving: Leaving) -> dict[str, set[str]]:
    """The addresses by region."""
    return {name: {former.ip for former in formers} for name, formers in leaving.items()}


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def handover(time: Time) -> Handover:
    return Handover(time)


def turn(
    handover: Handover, regions: Mapping[str, Whereabouts], addresses: Mapping[str, tuple[str, ...]] | None = None
) -> dict[str, set[str]]:
    """One translation that every edge is told."""
    found = hosts(handover.turn(regions, addresses or {}))
    handover.told(SETTLING_S)
    return found


def test_an_address_that_was_left_is_told_until_the_new_one_had_time_for_its_checks(
    handover: Handover, time: Time
) -> None:
    assert turn(handover, {"a": at(A)}) == {}
    assert turn(handover, {"a": at(B)}) == {"a": {"192.0.2.1"}}
    assert handover.due_s == WHOLE_S
    time.now += WHOLE_S - 0.1
    assert turn(handover, {"a": at(B)}) == {"a": {"192.0.2.1"}}
    time.now += 0.1
    assert handover.due_s == 0
    assert turn(handover, {"a": at(B)}) == {}
    assert handover.due_s is None


def test_the_time_begins_when_every_edge_was_told(handover: Handover, time: Time) -> None:
    turn(handover, {"a": at(A)})
    handover.turn({"a": at(B)}, {})  # a newer plan came before all were
    assert handover.due_s is None
    time.now += 100
    assert turn(handover, {"a": at(B)}) == {"a": {"192.0.2.1"}}
    assert handover.due_s == WHOLE_S


def test_of_two_quick_moves_both_old_addresses_stay_as_long_as_the_last_needs(handover: Handover, time: Time) -> None:
    turn(handover, {"a": at(A)})
    turn(handover, {"a": at(B)})
    time.now += WHOLE_S - 0.1
    assert turn(handover, {"a": at(C)}) == {"a": {"192.0.2.1", "192.0.2.2"}}
    time.now += 0.2
    assert turn(handover, {"a": at(C)}) == {"a": {"192.0.2.1", "192.0.2.2"}}
    time.now += WHOLE_S
    assert turn(handover, {"a": at(C)}) == {}


def test_a_move_that_is_taken_back_leaves_the_other_address(handover: Handover, time: Time) -> None:
    turn(handover, {"a": at(A)})
    turn(handover, {"a": at(B)})
    assert turn(handover, {"a": at(A)}) == {"a": {"192.0.2.2"}}
    time.now += WHOLE_S
    assert turn(handover, {"a": at(A)}) == {}


def test_a_name_that_leads_elsewhere_is_a_move(handover: Handover) -> None:
    here = {"a": at("http://a.test:80")}
    assert turn(handover, here, {"a.test": ("192.0.2.1", "192.0.2.2")}) == {}
    assert turn(handover, here, {"a.test": ("192.0.2.2", "192.0.2.3")}) == {"a": {"192.0.2.1"}}


def test_while_a_new_name_is_not_found_the_region_is_where_it_was(handover: Handover, time: Time) -> None:
    turn(handover, {"a": at(A)})
    assert turn(handover, {"a": at("http://a.test:80")}) == {"a": {"192.0.2.1"}}
    time.now += WHOLE_S - 0.1
    assert turn(handover, {"a": at("http://a.test:80")}, {"a.test": ("192.0.2.9",)}) == {"a": {"192.0.2.1"}}
    assert handover.due_s == WHOLE_S


def test_its_time_begins_when_the_name_is_found_however_late_that_is(handover: Handover, time: Time) -> None:
    turn(handover, {"a": at(A)})
    turn(handover, {"a": at("http://a.test:80")})
    time.now += 10 * WHOLE_S
    assert turn(handover, {"a": at("http://a.test:80")}) == {"a": {"192.0.2.1"}}
    found = {"a.test": ("192.0.2.9",)}
    assert turn(handover, {"a": at("http://a.test:80")}, found) == {"a": {"192.0.2.1"}}
    assert handover.due_s == WHOLE_S
    time.now += WHOLE_S
    assert turn(handover, {"a": at("http://a.test:80")}, found) == {}


@pytest.mark.parametrize("later", [{"a": ("US", None)}, {"a": ("DE", None), "b": ("US", A)}], ids=["facts", "another"])
def test_law_has_it_gone_at_once_while_the_name_is_not_found(
    handover: Handover, later: Mapping[str, tuple[str, str | None]]
) -> None:
    turn(handover, {"a": at(A)})
    regions = {name: at(url or "http://a.test:80", grounds) for name, (grounds, url) in later.items()}
    assert turn(handover, regions) == {}


def test_the_port_is_part_of_an_address_and_the_scheme_is_not(handover: Handover) -> None:
    turn(handover, {"a": at("http://192.0.2.1:80")})
    assert turn(handover, {"a": at("https://192.0.2.1:80")}) == {}
    (former,) = handover.turn({"a": at("https://192.0.2.1:443")}, {})["a"]
    assert (former.target.endpoint, former.target.region_id) == ("https://192.0.2.1:80", "a")


def test_with_other_grounds_of_law_an_address_is_out_at_once(handover: Handover) -> None:
    turn(handover, {"a": at(A)})
    assert turn(handover, {"a": at(B, grounds="US")}) == {}
    assert turn(handover, {"a": at(C, grounds="US")}) == {"a": {"192.0.2.2"}}
    assert turn(handover, {"a": at(C, grounds="DE")}) == {}


def test_an_address_that_is_another_regions_now_is_not_the_old_ones_any_more(handover: Handover) -> None:
    turn(handover, {"a": at(A), "b": at(B)})
    assert turn(handover, {"a": at(B), "b": at(A)}) == {}
    assert turn(handover, {"a": at(C), "b": at(A)}) == {"a": {"192.0.2.2"}}
    assert turn(handover, {"a": at(C), "b": at(A), "c": at(B)}) == {}
    assert turn(handover, {"a": at(C), "b": at(A)}) == {}


def test_a_region_that_is_gone_leaves_nothing(handover: Handover) -> None:
    turn(handover, {"a": at(A)})
    turn(handover, {"a": at(B)})
    assert turn(handover, {}) == {}
    assert turn(handover, {"a": at(C)}) == {}


def test_no_more_is_kept_than_edges_can_bear(handover: Handover) -> None:
    turn(handover, {"a": at(A)})
    for port in range(100, 100 + 2 * MOST_LEFT):
        handover.turn({"a": at(f"http://192.0.2.1:{port}")}, {})
    left = handover.turn({"a": at(A)}, {})["a"]
    assert len(left) == MOST_LEFT
    assert left[-1].target.endpoint == f"http://192.0.2.1:{99 + 2 * MOST_LEFT}"
