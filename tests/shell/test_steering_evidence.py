"""What edges report counts: as health, as load, as sight of who is alive; and it grows old."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mahavishnu.integrations.multi_region.core.events import EventKind
from mahavishnu.integrations.multi_region.core.model import Phase, SafetyLimits
from mahavishnu.integrations.multi_region.core.safety import Carried, Rule
from mahavishnu.integrations.multi_region.core.traffic import Standing
from mahavishnu.integrations.multi_region.errors import InvalidInputError, UnknownRegionError
from mahavishnu.integrations.multi_region.ports.dataplane import Load, LoadReport
from mahavishnu.integrations.multi_region.testing.builders import GDPR, policy, region, service
from mahavishnu.integrations.multi_region.testing.stage import Stage

US, USW, EU, DE = "us-east-1", "us-west-2", "eu-west-1", "eu-central-1"
A, B = "edge-a", "edge-b"


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with Stage.of(US, EU, DE, probed=False, edges=[A, B]) as made:
        yield made


def load(stage: Stage, region_id: str) -> float:
    return stage.view(region_id).load


# --- load ----------------------------------------------------------------------------------------


async def test_the_load_of_a_region_is_what_all_edges_send_it_per_second(stage: Stage) -> None:
    stage.plane.tell(LoadReport(A, 2.0, (Load("x", "x", EU, 60, 0, 4, 80), Load("y", "y", EU, 10, 10, 0, 20))))
    stage.carried(B, EU, 20)
    await stage.pass_time(1)
    assert load(stage, EU) == 50 + 20
    assert load(stage, US) == 0


async def test_where_a_region_hangs_status_load_and_plan_go_by_what_it_is_sent(stage: Stage) -> None:
    stage.plane.tell(LoadReport(A, 1.0, (Load("default", "default", EU, 1, 1, 98, 100),)))
    await stage.pass_time(1)
    seen = stage.steering.edges()[A]
    assert (dict(seen.rates), dict(seen.in_flight)) == ({EU: 100.0}, {EU: 98})
    assert load(stage, EU) == 100


async def test_answers_to_requests_of_before_are_no_load(stage: Stage) -> None:
    stage.plane.tell(LoadReport(A, 1.0, (Load("default", "default", EU, 60, 0, 40, 100),)))
    await stage.pass_time(1)
    gone, now = Load("default", "default", EU, 40, 0, 0, 0), Load("default", "default", DE, 100, 0, 0, 100)
    stage.plane.tell(LoadReport(A, 1.0, (gone, now)))
    await stage.pass_time(1)
    assert dict(stage.steering.edges()[A].rates) == {EU: 0.0, DE: 100.0}
    assert (load(stage, EU), load(stage, DE)) == (0, 100)


@pytest.mark.parametrize("period_s", [0.0, -1.0, 1e-9])
async def test_a_period_that_is_none_spoils_no_figures(stage: Stage, period_s: float) -> None:
    stage.plane.tell(LoadReport(A, period_s, (Load("default", "default", EU, 1, 0, 0, 1),)))
    await stage.pass_time(1)
    assert dict(stage.steering.edges()[A].rates) == {EU: 1000.0}
    assert load(stage, EU) == 1000


async def test_regions_that_no_edge_carries_keep_the_load_they_report(stage: Stage) -> None:
    stage.manager.report_load(US, 33)
    stage.carried(A, EU, 20)
    await stage.pass_time(10)
    assert load(stage, US) == 33


async def test_a_report_that_is_a_few_periods_old_tells_no_load(stage: Stage) -> None:
    stage.carried(A, EU, 20)
    stage.carried(B, EU, 30)
    await stage.pass_time(2.9)
    assert load(stage, EU) == 50
    stage.carried(B, EU, 30)
    await stage.pass_time(1.1)
    assert load(stage, EU) == 30
    await stage.pass_time(3)
    assert load(stage, EU) == 0


async def test_a_change_too_small_to_matter_makes_no_new_plan(stage: Stage) -> None:
    stage.carried(A, EU, 50)
    await stage.pass_time(1)
    generation = stage.plane.plan.generation
    stage.plane.tell(LoadReport(A, 2.0, (Load("default", "default", EU, 101, 0, 0, 101),)))
    await stage.pass_time(1)
    assert stage.plane.plan.generation == generation


# --- health --------------------------------------------------------------------------------------


async def test_failures_that_edges_see_take_a_region_down(stage: Stage) -> None:
    stage.carried(A, EU, 10, 90)
    await stage.pass_time(0.1)
    assert stage.phase(EU) is Phase.DOWN
    assert stage.serving() == {US, DE}
    assert stage.count(EventKind.FAILOVER_COMPLETED, EU) == 1


async def test_one_edge_that_sees_failures_is_weighed_by_its_traffic(stage: Stage) -> None:
    stage.carried(A, EU, 0, 20)
    stage.carried(B, EU, 2000)
    await stage.pass_time(0.1)
    assert stage.phase(EU) is Phase.HEALTHY


async def test_reports_of_each_service_are_evidence_for_its_deployments(stage: Stage) -> None:
    stage.manager.evidence.since("step", "api", [EU])
    stage.carried(A, EU, 90, 1, service="api")
    stage.carried(B, EU, 5, 0, service="mail")
    await stage.pass_time(1)
    sample = stage.manager.evidence.since("step", "api", [EU])[EU]
    assert (sample.total, sample.failed) == (91, 1)


async def test_a_region_that_is_gone_spoils_no_report(stage: Stage) -> None:
    stage.plane.tell(LoadReport(A, 1.0, (Load("x", "x", "zz", 5, 0, 0, 5), Load("x", "x", EU, 7, 0, 0, 7))))
    await stage.pass_time(1)
    assert load(stage, EU) == 7


@pytest.mark.parametrize(
    ("region_id", "succeeded", "failed", "service_name", "error"),
    [
        ("zz", 1, 1, None, UnknownRegionError),
        (EU, -1, 1, None, InvalidInputError),
        (EU, 1, 1.5, None, InvalidInputError),
        (EU, True, 1, None, InvalidInputError),
        (EU, 1, 1, "", InvalidInputError),
    ],
)
async def test_counts_that_are_none_count_for_nothing(
    stage: Stage, region_id: str, succeeded: int, failed: int, service_name: str | None, error: type[Exception]
) -> None:
    before = stage.manager.monitor.states.get(EU)
    with pytest.raises(error):
        stage.manager.report_outcomes(region_id, succeeded, failed, service_name)
    stage.manager.report_outcomes(EU, 0, 0)
    assert stage.manager.monitor.states.get(EU) == before


# --- who is alive --------------------------------------------------------------------------------


async def test_a_region_is_seen_alive_while_most_of_its_requests_end_well_and_for_five_seconds(stage: Stage) -> None:
    see = stage.manager.guard.carried
    stage.carried(A, EU, 2, 1)
    stage.carried(B, DE, 1, 2)
    assert see(EU) == {Carried("default")}
    assert not see(DE)
    await stage.pass_time(5)
    assert see(EU)
    await stage.pass_time(0.6)
    assert not see(EU)
    await stage.steering.close()
    assert stage.manager.guard.carried(EU) == frozenset()


async def test_a_kind_that_nobody_saw_lately_does_not_count_for_another_that_somebody_sees_now(stage: Stage) -> None:
    stage.plane.tell(LoadReport(A, 10.0, (Load("api", "api", EU, 5, 0, 0, 5),)))  # tells its load for 30 s
    await stage.pass_time(5.5)
    stage.carried(B, EU, 5, service="web")
    assert stage.manager.guard.carried(EU) == {Carried("web")}


async def test_what_the_requests_of_a_class_ask_is_known_from_the_plan() -> None:
    async with Stage.of(region(EU, compliance=["gdpr"]), US, probed=False) as stage:
        await stage.manager.put_service(service("api", hosts=("api.test",)))
        await stage.steer(A)
        stage.carried(A, EU, 5, service="api", class_name="api~gdpr")
        assert stage.manager.guard.carried(EU) == {Carried("api", frozenset({GDPR}))}


# --- probes against edges ------------------------------------------------------------------------

LIMITS = SafetyLimits(window_s=10.0, blind_share=1.0)


async def _see_well(stage: Stage, seconds: float, region_id: str, **kind: str) -> None:
    """An edge reports successes on a region each second."""
    for _ in range(round(seconds)):
        stage.carried(A, region_id, 20, **kind)  # type: ignore[arg-type]  # names of services and classes
        await stage.pass_time(1)


async def test_a_kind_of_requests_that_one_region_alone_may_serve_is_not_emptied_by_our_probes() -> None:
    async with Stage.of(region(EU, compliance=["gdpr"]), US, USW, limits=LIMITS) as stage:
        await stage.manager.put_service(service("api", hosts=("api.test",)))
        await stage.steer(A)
        await stage.pass_time(40)
        stage.fail(EU)
        await _see_well(stage, 60, EU, service="api", class_name="api~gdpr")
        assert stage.phase(EU) is Phase.DOWN
        held = stage.manager.registry.held[EU]
        assert (held[0].rule, held[1]) == (Rule.EDGES_SEE_ALIVE, Phase.HEALTHY)
        assert "edges see eu-west-1 answer api (gdpr)" in held[0].text
        (kind,) = (kind for kind in stage.plane.plan.edges[A].classes if kind.name == "api~gdpr")
        assert [(t.region_id, t.standing) for t in kind.targets] == [(EU, Standing.SERVING)]


async def test_it_is_let_go_once_edges_see_it_no_more() -> None:
    async with Stage.of(region(EU, compliance=["gdpr"]), US, USW, limits=LIMITS) as stage:
        await stage.manager.put_service(service("api", hosts=("api.test",)))
        await stage.steer(A)
        await stage.pass_time(40)
        stage.fail(EU)
        await _see_well(stage, 40, EU, service="api", class_name="api~gdpr")
        assert EU in stage.manager.registry.held
        await stage.pass_time(7)
        assert EU not in stage.serving(service="api")
        assert stage.count(EventKind.FAILOVER_COMPLETED, EU) == 1


async def test_where_others_can_serve_the_same_our_probes_decide_as_ever() -> None:
    async with Stage.of(EU, US, USW, limits=LIMITS, edges=[A]) as stage:
        await stage.pass_time(40)
        stage.fail(EU)
        await _see_well(stage, 40, EU)
        assert EU not in stage.manager.registry.held
        assert stage.serving() == {US, USW}


async def test_real_traffic_that_fails_is_not_outvoted_by_some_that_does_not() -> None:
    async with Stage.of(region(EU, compliance=["gdpr"]), US, USW, limits=LIMITS) as stage:
        await stage.manager.put_policy(policy("eu", require=["gdpr"]))
        await stage.manager.put_service(service("api", hosts=("api.test",)))
        await stage.steer(A)
        await stage.pass_time(40)
        stage.carried(A, EU, 20, service="api", class_name="api~gdpr")
        stage.requests(EU, failed=60)
        await stage.pass_time(1)
        assert stage.phase(EU) is Phase.DOWN
        assert EU not in stage.manager.registry.held


async def test_the_last_region_of_all_keeps_its_rank_while_edges_see_it_and_loses_it_after() -> None:
    async with Stage.of(EU, US, limits=LIMITS, edges=[A]) as stage:
        await stage.pass_time(40)
        await stage.manager.drain(US, by="ada", reason="x")
        stage.fail(EU)
        await _see_well(stage, 40, EU)
        held = stage.manager.registry.held[EU]
        assert (held[0].rule, held[1]) == (Rule.EDGES_SEE_ALIVE, Phase.HEALTHY)
        await stage.pass_time(10)
        held = stage.manager.registry.held[EU]
        assert (held[0].rule, held[1]) == (Rule.MIN_SERVING, Phase.UNKNOWN)
        assert stage.serving() == {EU}
