"""What a region that was down is judged by once it is back."""

from __future__ import annotations

from mahavishnu.integrations.multi_region.core.health import HealthState
from mahavishnu.integrations.multi_region.core.model import HealthCheck, Phase
from mahavishnu.integrations.multi_region.core.probing import Observation, probed
from mahavishnu.integrations.multi_region.core.real_traffic import reported

CHECK = HealthCheck(interval_s=1.0, fall=2, rise=3, hold_down_s=3.0)


def after_outage() -> tuple[HealthState, float]:
    """Real traffic, one request in seven failing, then failed probes, then good ones until the region is back."""
    state, now = HealthState(), 100.0
    for n in range(70):
        state = reported(state, n % 7 != 0, now, CHECK, threshold=5)
    for _ in range(2):
        state = probed(state, Observation(ok=False), now, CHECK)
    assert state.down_until > now
    while state.phase == "down":
        now += 1.0
        state = probed(state, Observation(ok=True), now, CHECK)
    return state, now


def test_requests_that_failed_before_the_outage_do_not_degrade_the_region_that_came_back() -> None:
    state, now = after_outage()
    assert state.phase is Phase.HEALTHY
    for n in range(1, 20):
        state = probed(state, Observation(ok=True), now + n, CHECK)
        assert state.phase is Phase.HEALTHY


def test_requests_that_fail_after_its_return_degrade_it_again() -> None:
    state, now = after_outage()
    for n in range(30):
        state = reported(state, n % 7 != 0, now, CHECK, threshold=5)
    assert state.phase is Phase.DEGRADED
