"""Figures from outside: what is a number, which ends each has, and that every door has the same ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.core.figures import (
    HEALTH_CHECK,
    REGION,
    ROUTE,
    Bounds,
    check_number,
    check_whole,
)
from mahavishnu.integrations.multi_region.core.model import HealthCheck, Region, RegionCapabilities
from mahavishnu.integrations.multi_region.core.routes import RouteClass
from mahavishnu.integrations.multi_region.core.validation import check_load, validate_region
from mahavishnu.integrations.multi_region.core.watched import Watched
from mahavishnu.integrations.multi_region.errors import InvalidInputError
from mahavishnu.integrations.multi_region.testing.builders import region

NO_NUMBERS: list[Any] = [math.nan, math.inf, -math.inf, True, False, None, "5", [5], 10**400, 1 + 0j]


@pytest.mark.parametrize("bad", NO_NUMBERS)
def test_what_is_no_number_is_refused_whatever_fits(bad: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"^x: .*; allowed: any number$"):
        check_number(bad, "x", "any number", lambda _: True)
    if bad != 10**400:
        with pytest.raises(InvalidInputError, match=r"^x: .*; allowed: a whole number, 0 or more$"):
            check_whole(bad, "x")


def test_a_number_must_fit() -> None:
    assert check_number(3, "x", "above 2", lambda v: v > 2) == 3.0
    with pytest.raises(InvalidInputError, match=r"^x: 2 is not allowed; allowed: above 2$"):
        check_number(2, "x", "above 2", lambda v: v > 2)


def test_a_whole_number_lies_between_its_ends() -> None:
    assert [check_whole(number, "x", 1, 3) for number in (1, 2, 3)] == [1, 2, 3]
    for bad in (0, 4, 2.0):
        with pytest.raises(InvalidInputError, match=r"a whole number from 1 to 3$"):
            check_whole(bad, "x", 1, 3)
    with pytest.raises(InvalidInputError, match=r"allowed: a few$"):
        check_whole(-1, "x", allowed="a few")


@pytest.mark.parametrize(
    ("bounds", "good", "bad", "allowed"),
    [
        (Bounds(-90, 90, "degrees"), [-90, 90.0], [-90.1, 91], "a number of degrees from -90 to 90"),
        (Bounds(0, 1e6, above=True), [0.1, 1_000_000], [0, -1, 1e7], "a number above 0, at most 1000000"),
        (Bounds(1, 3, whole=True), [1, 3], [0, 4, 1.5], "a whole number from 1 to 3"),
    ],
)
def test_bounds_say_what_they_take(bounds: Bounds, good: list[Any], bad: list[Any], allowed: str) -> None:
    assert [bounds.check(value, "x") for value in good] == good
    for value in [*bad, *NO_NUMBERS]:
        with pytest.raises(InvalidInputError) as caught:
            bounds.check(value, "x", "None, or ")
        assert (caught.value.field, caught.value.allowed) == ("x", f"None, or {allowed}")


class _Keeper:
    """Keeps a region, as a manager's table does."""

    def __init__(self, kept: Watched) -> None:
        self.changes = 0
        kept._watch(self.told)

    def told(self) -> None:
        self.changes += 1


def _probes(bounds: Bounds) -> list[float]:
    """Numbers at the ends, a little within and a little without."""
    span = min(bounds.most - bounds.least, 1.0) / 1000
    return [n for end in (bounds.least, bounds.most) for n in (end - span, end, end + span)]


@pytest.mark.parametrize("name", sorted(REGION))
def test_registration_and_assignment_take_the_same_figures(name: str) -> None:
    """What is assigned to a region that is kept is what could be registered: no figure passes one door alone."""
    for value in [*_probes(REGION[name]), 0, 0.0, *NO_NUMBERS]:
        fresh, kept = region("a"), region("b")
        keeper = _Keeper(kept)
        _put(fresh, name, value)
        registered = _takes(partial(validate_region, fresh, ()))
        assert _takes(partial(_put, kept, name, value)) == registered, (name, value)
        assert registered == (_is_within(REGION[name], value) or (value is None and name == "health_score"))
        assert registered or not keeper.changes


def _put(subject: Region, name: str, value: Any) -> None:
    setattr(subject.capabilities if name == "max_capacity" else subject, name, value)


def _is_within(bounds: Bounds, value: Any) -> bool:
    return _takes(partial(bounds.check, value, "x"))


def _takes(act: Callable[[], object]) -> bool:
    try:
        act()
    except InvalidInputError:
        return False
    return True


def test_a_load_that_is_told_is_within_the_ends_of_one_that_is_declared() -> None:
    for value in [*_probes(REGION["current_capacity"]), 3, 3.5, *NO_NUMBERS]:
        assert _takes(partial(check_load, value)) == _is_within(REGION["current_capacity"], value)


def test_every_table_is_of_fields_that_are_there() -> None:
    assert {field.name for kind in (Region, RegionCapabilities) for field in fields(kind)} >= REGION.keys()
    assert {field.name for field in fields(HealthCheck)} >= HEALTH_CHECK.keys()
    assert {field.name for field in fields(RouteClass)} >= ROUTE.keys()
