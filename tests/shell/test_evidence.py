"""What real requests report, counted from where each step began."""

from __future__ import annotations

from mahavishnu.integrations.multi_region.core.analysis import Sample
from mahavishnu.integrations.multi_region.shell.evidence import Evidence


def told(
    evidence: Evidence, region: str, service: str | None, *, good: int = 0, bad: int = 0, ms: float = 10.0
) -> None:
    for ok, count in ((True, good), (False, bad)):
        for _ in range(count):
            evidence.count(region, ok, 10.0, service)


def test_a_step_counts_from_when_it_was_first_asked_about() -> None:
    evidence = Evidence()
    told(evidence, "a", "web", good=5)
    assert evidence.since("step 1", "web", ["a"])["a"] == Sample()
    told(evidence, "a", "web", good=2, bad=1)
    assert evidence.since("step 1", "web", ["a"])["a"] == Sample(3, 1, 2, 20.0)
    assert evidence.since("step 2", "web", ["a"])["a"] == Sample()
    told(evidence, "a", "web", good=1)
    assert evidence.since("step 1", "web", ["a"])["a"].total == 4
    assert evidence.since("step 2", "web", ["a"])["a"].total == 1


def test_requests_of_other_services_are_no_evidence() -> None:
    evidence = Evidence()
    evidence.since("step", "web", ["a"])
    told(evidence, "a", "mail", bad=9)
    assert evidence.since("step", "web", ["a"])["a"] == Sample()


def test_where_no_report_names_the_service_those_that_name_none_count() -> None:
    evidence = Evidence()
    evidence.since("step", "web", ["a"])
    told(evidence, "a", None, good=4)
    assert evidence.since("step", "web", ["a"])["a"].total == 4


def test_the_first_report_that_names_the_service_makes_no_figure_negative() -> None:
    evidence = Evidence()
    told(evidence, "a", None, good=100)
    evidence.since("step", "web", ["a"])
    told(evidence, "a", "web", good=1, bad=1)
    assert evidence.since("step", "web", ["a"])["a"] == Sample(2, 1, 1, 10.0)


def test_failures_and_requests_without_a_time_do_not_enter_the_latency() -> None:
    evidence = Evidence()
    evidence.since("step", "web", ["a"])
    evidence.count("a", True, None, "web")
    evidence.count("a", False, 9000.0, "web")
    evidence.count("a", True, 30.0, "web")
    assert evidence.since("step", "web", ["a"])["a"].latency_ms == 30.0


def test_a_mark_that_is_forgotten_begins_anew() -> None:
    evidence = Evidence()
    evidence.since("step", "web", ["a"])
    told(evidence, "a", "web", good=3)
    evidence.forget("step")
    assert evidence.since("step", "web", ["a"])["a"] == Sample()
