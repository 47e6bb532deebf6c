"""A region that is well again: who stays away until a person says so, and what load comes back."""

from __future__ import annotations

import pytest

from mahavishnu.integrations.multi_region.core.model import FailbackMode
from mahavishnu.integrations.multi_region.core.recovery import load_returned, waiting_services
from mahavishnu.integrations.multi_region.testing.builders import fleet, service

US, EU = "us-east-1", "eu-west-1"


def test_services_wait_whose_failback_is_a_persons_choice_and_which_the_region_may_serve() -> None:
    world = fleet(
        US,
        EU,
        services=[
            service("auto", US, EU),
            service("passive", US, EU, passive=True),
            service("by-hand", failback=FailbackMode.MANUAL),
            service("at-night", failback=FailbackMode.SCHEDULED),
            service("elsewhere", EU, failback=FailbackMode.MANUAL),
        ],
    )
    assert waiting_services(world, US) == ("at-night", "by-hand", "passive")


@pytest.mark.parametrize(
    ("moved", "loads", "after"),
    [
        ({"b": 30.0, "c": 10.0}, {"a": 0.0, "b": 50.0, "c": 10.0}, {"a": 40.0, "b": 20.0, "c": 0.0}),
        ({"b": 30.0}, {"a": 5.0, "b": 20.0}, {"a": 25.0, "b": 0.0}),
        ({"b": 30.0, "gone": 9.0}, {"a": 0.0, "b": 30.0}, {"a": 30.0, "b": 0.0}),
        ({"b": 30.0}, {"b": 30.0}, {}),
        ({}, {"a": 7.0}, {"a": 7.0}),
    ],
    ids=["all of it", "no more than there is", "a giver was removed", "it was removed itself", "nothing had moved"],
)
def test_load_comes_back_from_who_has_it(
    moved: dict[str, float], loads: dict[str, float], after: dict[str, float]
) -> None:
    assert load_returned("a", moved, loads) == after
