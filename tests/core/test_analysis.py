"""Is green as good as blue? Pass, fail or inconclusive, and never a pass without enough to go by."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from mahavishnu.integrations.multi_region.core.analysis import Finding, Sample, analyse
from mahavishnu.integrations.multi_region.core.deployment import Gates

GATES = Gates(min_requests=50, max_error_rate=0.05, max_error_increase=0.02, max_latency_factor=1.5)
NOTHING = Sample()


def sample(total: int, failed: int = 0, ms: float = 100.0) -> Sample:
    return Sample(total, failed, total - failed, (total - failed) * ms)


@pytest.mark.parametrize(
    ("green", "blue", "finding"),
    [
        (NOTHING, NOTHING, Finding.INCONCLUSIVE),
        (NOTHING, sample(1000), Finding.INCONCLUSIVE),
        (sample(49), sample(1000), Finding.INCONCLUSIVE),
        (sample(50), sample(1000), Finding.PASS),
        (sample(50), NOTHING, Finding.PASS),
        (sample(1000, 50), sample(9000), Finding.PASS),
        (sample(1000, 51), sample(9000), Finding.FAIL),
        (sample(3, 3), sample(100), Finding.FAIL),
        (sample(3, 2), sample(100), Finding.INCONCLUSIVE),
        (sample(50, 50), NOTHING, Finding.FAIL),
        (sample(100, 30), sample(1000, 300), Finding.INCONCLUSIVE),
        (sample(100, 33), sample(1000, 300), Finding.FAIL),
        (sample(100, 0), sample(1000, 1000), Finding.PASS),
        (sample(100, 100), sample(1000, 1000), Finding.INCONCLUSIVE),
        (sample(100, ms=160.0), sample(1000, ms=100.0), Finding.PASS),
        (sample(100, ms=171.0), sample(1000, ms=100.0), Finding.FAIL),
        (sample(100, ms=22.0), sample(1000, ms=2.0), Finding.PASS),
        (sample(100, ms=900.0), sample(10, ms=100.0), Finding.PASS),
        (sample(100, ms=900.0), NOTHING, Finding.PASS),
    ],
    ids=lambda value: value.value if isinstance(value, Finding) else f"{value.failed}of{value.total}",
)
def test_findings(green: Sample, blue: Sample, finding: Finding) -> None:
    found, why = analyse(green, blue, GATES)
    assert found is finding, why
    assert why or found is Finding.PASS


def test_the_reason_names_figures() -> None:
    assert analyse(sample(100, 20), sample(1000), GATES)[1] == (
        "20 of 100 requests to green failed (20.0 %), at most 5.0 % may"
    )
    assert analyse(sample(100, ms=400.0), sample(1000), GATES)[1] == (
        "green answers in 400 ms, blue in 100 ms; at most 170 ms may"
    )


SAMPLES = st.builds(
    lambda total, bad, ms: sample(total, min(total, bad), ms),
    st.integers(0, 500),
    st.integers(0, 500),
    st.floats(0, 1000),
)


@given(green=SAMPLES, blue=SAMPLES)
def test_a_pass_needs_enough_requests_of_which_few_failed(green: Sample, blue: Sample) -> None:
    if analyse(green, blue, GATES)[0] is Finding.PASS:
        assert green.total >= GATES.min_requests
        assert green.error_rate <= GATES.max_error_rate


@given(green=SAMPLES, blue=SAMPLES, least=st.integers(0, 1))
def test_no_requests_are_never_a_pass_whatever_the_gates(green: Sample, blue: Sample, least: int) -> None:
    gates = Gates(min_requests=least, max_error_rate=1.0)
    assert analyse(NOTHING, blue, gates)[0] is not Finding.PASS


@given(green=SAMPLES, blue=SAMPLES, more=SAMPLES)
def test_samples_add_up_and_come_apart_again(green: Sample, blue: Sample, more: Sample) -> None:
    both = green.plus(more)
    assert (both.total, both.failed, both.timed) == (
        green.total + more.total,
        green.failed + more.failed,
        green.timed + more.timed,
    )
    assert both.minus(more).total == green.total
