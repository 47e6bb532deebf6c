"""A copy of a view with another load is a view like any other."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace

import pytest

from mahavishnu.integrations.multi_region.core.kinds import Phase
from mahavishnu.integrations.multi_region.core.model import RegionView, SafetyLimits
from mahavishnu.integrations.multi_region.shell.registry import Registry
from mahavishnu.integrations.multi_region.shell.view_copies import same_but_load, with_load
from mahavishnu.integrations.multi_region.testing.builders import region


def view() -> RegionView:
    """The same view each time."""
    registry = Registry(SafetyLimits(), lambda: 0.0)
    registry.regions["a"] = region("a", country="DE", compliance=["gdpr"], current_capacity=3.0)
    made = registry.fleet().regions["a"]
    return replace(made, held="held", serves_as=Phase.DEGRADED, failed_over="why", failed_services=frozenset({"api"}))


def test_it_is_what_replacing_the_load_would_give() -> None:
    before = view()
    copy, expected = with_load(before, 7.5), replace(before, load=7.5)
    assert type(copy) is RegionView
    assert (copy, hash(copy), repr(copy)) == (expected, hash(expected), repr(expected))
    assert all(
        getattr(copy, field.name) is getattr(before, field.name) for field in fields(copy) if field.name != "load"
    )
    assert before.load == 3.0


def test_it_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        with_load(view(), 7.5).load = 8.0  # type: ignore[misc]  # what must not work


@pytest.mark.parametrize("name", [field.name for field in fields(RegionView)])
def test_views_that_differ_in_anything_else_are_told_apart(name: str) -> None:
    before, other = view(), view()
    object.__setattr__(other, name, "something else")
    assert same_but_load(before, other) is (name == "load")
