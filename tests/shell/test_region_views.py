"""Regions made ready before they count: whatever befalls them until then is in the next fleet."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.core.facts import Attestation
from mahavishnu.integrations.multi_region.core.health import HealthState
from mahavishnu.integrations.multi_region.core.intent import region_document
from mahavishnu.integrations.multi_region.core.model import (
    AdminState,
    ComplianceFramework,
    Phase,
    RegionCapabilities,
    SafetyLimits,
)
from mahavishnu.integrations.multi_region.shell.region_views import Arrival, RegionViews, Standing
from mahavishnu.integrations.multi_region.shell.registry import Registry
from mahavishnu.integrations.multi_region.testing.builders import region

DRAIN = {"state": "drained", "by": "ada", "reason": "why", "at": 1.0}


def document(region_id: str, **fields: Any) -> dict[str, Any]:
    return region_document(region(region_id, **fields))


def attested_until(end: float, **fields: Any) -> dict[str, Any]:
    stated = RegionCapabilities(attestations={"gdpr": Attestation("a report", end)})
    return region_document(replace(region("a", **fields), capabilities=stated))


@pytest.mark.parametrize("known", [False, True])
def test_an_attestation_that_ends_before_its_region_counts_does_not_count(known: bool) -> None:
    now = [1000.0]
    registry = Registry(SafetyLimits(), lambda: now[0])
    if known:
        registry.accept("regions/a", attested_until(1005.0), 1)
        registry.fleet()
    ours = attested_until(1005.0, name="new")
    made = registry.prepare(ours)
    now[0] = 1010.0
    registry.fleet()  # somebody asks while it is stored
    registry.accept("regions/a", ours, 2, made)
    assert registry.fleet().regions["a"].compliance == set()
    assert registry.fleet().regions["a"].name == ours["name"]


def test_an_attestation_that_ends_after_another_did_ends_all_the_same() -> None:
    now = [1000.0]
    registry = Registry(SafetyLimits(), lambda: now[0])
    registry.prepare(attested_until(1005.0))
    ours = attested_until(2000.0)
    made = registry.prepare(ours)
    now[0] = 1010.0
    registry.fleet()
    registry.accept("regions/a", ours, 1, made)
    assert registry.fleet().regions["a"].compliance == {ComplianceFramework.GDPR}
    now[0] = 2010.0
    assert registry.fleet().regions["a"].compliance == set()


def test_what_befell_a_region_that_was_not_there_yet_counts_when_it_comes() -> None:
    registry = Registry(SafetyLimits())
    registry.accept("overrides/a", DRAIN, 1)
    made = registry.prepare(document("a"))
    registry.accept("overrides/a", None, 2)
    registry.fleet()
    registry.accept("regions/a", document("a"), 3, made)
    assert registry.fleet().regions["a"].admin is AdminState.ACTIVE


def test_what_befell_a_region_that_went_and_came_counts() -> None:
    registry = Registry(SafetyLimits())
    registry.accept("regions/a", document("a"), 1)
    registry.accept("overrides/a", DRAIN, 2)
    registry.fleet()
    made = registry.prepare(document("a", name="new"))
    gone = registry.regions.pop("a")
    registry.accept("overrides/a", None, 3)
    registry.fleet()
    registry.regions["a"] = gone
    registry.observe_load("a", 7.0)
    registry.accept("regions/a", document("a", name="new"), 4, made)
    view = registry.fleet().regions["a"]
    assert (view.name, view.admin, view.load) == ("new", AdminState.ACTIVE, 7.0)


def test_of_what_befell_a_region_that_is_gone_the_last_counts() -> None:
    registry = registry_with_a_load_told()
    del registry.regions["a"]
    made = registry.prepare(document("a"))
    registry.health["a"] = HealthState(phase=Phase.DOWN, judged=True)
    registry.touch("a")
    registry.fleet()
    registry.accept("regions/a", document("a"), 1, made)
    assert registry.fleet().regions["a"].phase is Phase.DOWN


def registry_with_a_load_told() -> Registry:
    registry = Registry(SafetyLimits())
    registry.regions["a"] = region("a")
    registry.fleet()
    registry.observe_load("a", 7.0)
    return registry


def test_of_regions_that_are_gone_nothing_is_kept() -> None:
    registry = Registry(SafetyLimits())
    views = registry._views
    for number in range(20):
        registry.regions[f"r-{number}"] = region(f"r-{number}")
        registry.fleet()
        registry.observe_load(f"r-{number}", 7.0)
        del registry.regions[f"r-{number}"]
        registry.fleet()
    assert (views._changed, views._told) == ({}, {})


# --- whatever happens, in whatever order ----------------------------------------------------------


class Course:
    """A registry to which things happen by chance."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.now = 1000.0
        self.registry = Registry(SafetyLimits(), lambda: self.now)
        self.revision = 0
        self.ready: list[tuple[dict[str, Any], Arrival]] = []

    def step(self) -> None:
        self.now += self.dice.random()
        self.revision += 1
        acts: list[Callable[[str], Any]] = [self.prepare, self.settle, self.remove, self.load, self.judge, self.drain]
        self.dice.choices([*acts, self.take_out, self.put_back], [4, 4, 1, 2, 1, 1, 1, 1])[0](self.dice.choice("abc"))

    def prepare(self, region_id: str) -> None:
        stated = RegionCapabilities(
            attestations={"gdpr": Attestation("a report", self.now + self.dice.choice([2, 20]))}
        )
        one = region(region_id, name=self.dice.choice("xy"), current_capacity=self.dice.choice([0, 5.0]))
        ours = region_document(replace(one, capabilities=stated))
        self.ready.append((ours, self.registry.prepare(ours)))

    def settle(self, _: str) -> None:
        if self.ready:
            ours, made = self.ready.pop(self.dice.randrange(len(self.ready)))
            self.registry.accept(f"regions/{ours['region_id']}", ours, self.revision, made)

    def remove(self, region_id: str) -> None:
        self.registry.accept(f"regions/{region_id}", None, self.revision)

    def load(self, region_id: str) -> None:
        if region_id in self.registry.regions:
            self.registry.observe_load(region_id, self.dice.choice([0.0, 5.0, 7.0]))

    def judge(self, region_id: str) -> None:
        self.registry.health[region_id] = HealthState(phase=self.dice.choice(list(Phase)), judged=True)
        self.registry.touch(region_id)

    def drain(self, region_id: str) -> None:
        self.registry.accept(f"overrides/{region_id}", self.dice.choice([DRAIN, None]), self.revision)

    def take_out(self, region_id: str) -> None:
        self.registry.regions.pop(region_id, None)

    def put_back(self, region_id: str) -> None:
        if region_id in self.registry.regions:
            self.registry.regions[region_id] = self.registry.regions[region_id]

    def anew(self) -> dict[str, Any]:
        """The views as nobody remembers anything of before."""
        registry = self.registry
        standing = Standing(registry.health, registry.drains, registry.failures, registry.held)
        fresh = RegionViews(registry.regions, standing, lambda: self.now)
        return {region_id: fresh.view(one) for region_id, one in registry.regions.items()}


@pytest.mark.parametrize("seed", range(40))
def test_a_fleet_shows_its_regions_as_they_would_be_seen_anew(seed: int) -> None:
    course = Course(seed)
    for _ in range(120):
        course.step()
        if course.dice.random() < 0.6:
            seen = {i: replace(view, as_of=0.0) for i, view in course.registry.fleet().regions.items()}
            assert seen == {i: replace(view, as_of=0.0) for i, view in course.anew().items()}
