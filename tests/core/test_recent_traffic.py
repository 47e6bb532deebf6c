"""When recent reports of real requests say that a region fails, and when nothing."""

from __future__ import annotations

import pytest

from mahavishnu.integrations.multi_region.core.recent_traffic import (
    TRAFFIC_DOWN,
    TRAFFIC_HALF_LIFE_S,
    TRAFFIC_STRAINED,
    TRAFFIC_VOLUME,
    Traffic,
)


@pytest.mark.parametrize(
    ("total", "failed", "failing", "strained"),
    [
        (0.0, 0.0, False, False),
        (TRAFFIC_VOLUME - 0.1, TRAFFIC_VOLUME - 0.1, False, False),
        (TRAFFIC_VOLUME, TRAFFIC_VOLUME, True, True),
        (100.0, 100 * TRAFFIC_DOWN, True, True),
        (100.0, 100 * TRAFFIC_DOWN - 1, False, True),
        (100.0, 100 * TRAFFIC_STRAINED, False, True),
        (100.0, 100 * TRAFFIC_STRAINED - 1, False, False),
    ],
)
def test_what_a_share_of_failures_says(total: float, failed: float, failing: bool, strained: bool) -> None:
    traffic = Traffic(total, failed)
    assert (traffic.failing, traffic.strained) == (failing, strained)


def test_old_reports_say_nothing_any_more() -> None:
    then = Traffic().with_reports(0, 100, now=50.0)
    assert then.failing
    assert then.aged(50.0 + TRAFFIC_HALF_LIFE_S) == Traffic(50.0, 50.0, 50.0 + TRAFFIC_HALF_LIFE_S)
    late = then.aged(50.0 + 10 * TRAFFIC_HALF_LIFE_S)
    assert (late.error_rate, late.failing, late.strained) == (1.0, False, False)


def test_one_report_counts_as_one_of_many() -> None:
    assert Traffic().with_report(False, 1.0) == Traffic().with_reports(0, 1, 1.0) == Traffic(1.0, 1.0, 1.0)
    assert Traffic().with_report(True, 1.0) == Traffic().with_reports(1, 0, 1.0) == Traffic(1.0, 0.0, 1.0)
