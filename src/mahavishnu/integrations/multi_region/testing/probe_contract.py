"""What every Probe must do, as functions that fail with the fact that does not hold."""

from __future__ import annotations

import math

from mahavishnu.integrations.multi_region.core.model import HealthCheck
from mahavishnu.integrations.multi_region.ports.probe import Probe, ProbeResult


async def check_probe(probe: Probe, *, up: str, gone: str, check: HealthCheck) -> None:
    """Run the contract: ``up`` is an endpoint that answers well, ``gone`` one where nothing answers.

    Closes the probe. Raises AssertionError at the first fact that does not hold.
    """
    passed = await probe.ask(up, check)
    assert passed.ok, f"an endpoint that answers well passes, but: {passed.reason}"
    assert not passed.reason, f"a pass gives no reason, but: {passed.reason}"
    failed = await probe.ask(gone, check)
    assert not failed.ok, "an endpoint that is gone fails"
    assert failed.reason, "a failure says why"
    for result in (passed, failed):
        _check_figures(result)
    again = await probe.ask(up, check)
    assert again.ok, "a failure elsewhere leaves the next question alone"
    await probe.close()
    await probe.close()


def _check_figures(result: ProbeResult) -> None:
    assert math.isfinite(result.latency_ms) and result.latency_ms >= 0, f"latency is {result.latency_ms}"
    assert result.load is None or (math.isfinite(result.load) and result.load >= 0), f"load is {result.load}"
