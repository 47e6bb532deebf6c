"""How much edges check by themselves: as stated while it is little, less in steps, and not more again at once."""

from __future__ import annotations

from typing import Any

import pytest

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.budget import (
    MOST_HOSTS,
    MOST_PER_S,
    RESERVED,
    Demand,
    Level,
    level_for,
)
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.parts import EdgeOptions
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.proto import message
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.resources import CLUSTER, ENDPOINTS, Snapshot
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.translate import Translator
from mahavishnu.integrations.multi_region.core.traffic import EdgePlan

from .plans import NOWHERE, kind, plan, service, target

REGIONS = [f"r{number}" for number in range(10)]


def own(hosts: int, interval_s: float = 0.25) -> Demand:
    return ((True, interval_s, hosts),)


@pytest.mark.parametrize(
    ("demands", "descriptors", "level"),
    [
        ([], None, Level.AS_STATED),
        ([own(500)], None, Level.AS_STATED),
        ([own(MOST_HOSTS, 10.0)], None, Level.AS_STATED),
        ([(*own(400), (False, 10.0, MOST_HOSTS))], None, Level.OWN_ALONE),
        ([(*own(400), (False, 1.0, 500))], None, Level.OWN_ALONE),
        ([own(501)], None, Level.EVERY_SECOND),
        ([own(MOST_PER_S + 1)], None, Level.EVERY_5_SECONDS),
        ([own(10)] * 1_015, None, Level.EVERY_10_SECONDS),
        ([own(10 * MOST_PER_S + 1)], None, Level.NOTHING),
        ([own(10)] * 1_015, RESERVED + 10_149, Level.NOTHING),
        ([own(10)] * 1_015, RESERVED + 10_150, Level.EVERY_10_SECONDS),
        ([own(1)], 10, Level.NOTHING),
    ],
)
def test_less_is_checked_the_more_there_is(demands: list[Demand], descriptors: int | None, level: Level) -> None:
    assert level_for(demands, Level.AS_STATED, descriptors) is level


def test_a_level_is_left_upwards_only_with_room_to_spare() -> None:
    assert level_for([own(500)], Level.EVERY_SECOND, None) is Level.EVERY_SECOND
    assert level_for([own(401)], Level.EVERY_SECOND, None) is Level.EVERY_SECOND
    assert level_for([own(400)], Level.EVERY_SECOND, None) is Level.AS_STATED
    assert level_for([own(1_601)], Level.EVERY_10_SECONDS, None) is Level.EVERY_5_SECONDS


def told(services: int, *lawful: tuple[str, ...]) -> EdgePlan:
    tier = [target(region) for region in REGIONS]
    return plan(
        *(
            service(
                kind(tier, service=f"s{n}"),
                *(kind(tier, service=f"s{n}", asks=asks) for asks in lawful),
                hosts=(f"s{n}.test",),
            )
            for n in range(services)
        )
    )


def check(snapshot: Snapshot, name: str) -> Any:
    found = message("envoy.config.cluster.v3.Cluster").FromString(snapshot.resources[CLUSTER][name].body)
    return found.health_checks[0] if found.health_checks else None


def test_classes_of_the_law_are_the_first_that_go_unchecked() -> None:
    translator = Translator()
    few, _ = translator.snapshot(told(20, ("gdpr",)), 1, NOWHERE)
    assert check(few, "s0~gdpr").interval.seconds == 1
    many, problems = translator.snapshot(told(50, ("gdpr",), ("hipaa",), ("gdpr", "hipaa")), 2, NOWHERE)
    assert translator.level("edge-eu") is Level.OWN_ALONE
    assert (check(many, "s0~gdpr"), problems) == (None, ())
    assert check(many, "s0").interval.ToMilliseconds() == 250
    assert many.resources[CLUSTER]["s0"] == few.resources[CLUSTER]["s0"]
    assert many.resources[ENDPOINTS]["s0~gdpr"] == few.resources[ENDPOINTS]["s0~gdpr"], "verdicts are told as before"


def test_many_services_are_asked_less_often_and_not_all_at_once() -> None:
    translator = Translator()
    snapshot, problems = translator.snapshot(told(300), 1, NOWHERE)
    found = check(snapshot, "s299")
    assert (found.interval.seconds, found.initial_jitter.ToMilliseconds()) == (5, 2_500)
    assert found.interval_jitter_percent > 0
    assert problems == ()
    fewer, _ = translator.snapshot(told(40), 2, NOWHERE)
    assert check(fewer, "s0").interval.ToMilliseconds() == 250


def test_an_edge_without_the_files_for_it_checks_nothing_and_says_so() -> None:
    snapshot, (problem,) = Translator(EdgeOptions(descriptors=RESERVED + 99)).snapshot(told(10), 1, NOWHERE)
    assert check(snapshot, "s0") is None
    assert problem.carried
    assert "open files" in problem.reason
    assert Translator(EdgeOptions(descriptors=RESERVED + 100)).snapshot(told(10), 1, NOWHERE)[1] == ()


def test_a_failover_leaves_the_level_alone() -> None:
    translator = Translator()
    first, _ = translator.snapshot(told(60), 1, NOWHERE)
    tier = [target(region, weight=3) for region in REGIONS[1:]]
    moved = plan(*(service(kind(tier, [target("r0")], service=f"s{n}"), hosts=(f"s{n}.test",)) for n in range(60)))
    second, _ = translator.snapshot(moved, 2, NOWHERE)
    assert second.resources[CLUSTER] is first.resources[CLUSTER]
