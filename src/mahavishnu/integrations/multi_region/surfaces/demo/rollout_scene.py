"""What the blue-green demo is made of: who is blue and who is green, the steps, when each is due. No I/O."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .scene import CITIES, EU_SERVICE, WEB, Options

STEPS = (10.0, 50.0, 100.0)
"""Green's share at each step, in percent."""

MAX_ERROR_RATE = 0.25
"""Share of green's requests that may fail before the rollout is given up; small counts need a wide limit."""

LEAST_REQUESTS = 4
_BLUE = ("us-east-1", "us-west-2")


@dataclass(frozen=True, slots=True)
class RolloutOptions(Options):
    """What the person chose. ``victim`` is green; ``failing``: its new version turns out to be bad at the first step.

    Service ``web`` runs in the two American regions (without green, should it be one) and moves to green.
    """

    failing: bool = False

    @property
    def green(self) -> str:
        """The region that ``web`` moves to."""
        return self.victim

    @property
    def blue(self) -> tuple[str, ...]:
        """The regions that it moves from."""
        return tuple(region_id for region_id in _BLUE if region_id != self.green)

    @property
    def begins_after_s(self) -> float:
        """When the rollout begins, in seconds after the first request."""
        return self.seconds * 0.1

    @property
    def step_s(self) -> float:
        """How long each step takes at least, in seconds."""
        return self.seconds * 0.15

    @property
    def min_requests(self) -> int:
        """Requests to green without which a step concludes nothing: half of what is to come in the first step."""
        web = sum(1 - 1 / city.eu_every for city in CITIES) / len(CITIES)
        return max(LEAST_REQUESTS, int(0.5 * self.rate * web * STEPS[0] / 100 * self.step_s))

    @property
    def capacity(self) -> int:
        """What each region can take, in requests/s: all the clients' requests and a quarter more."""
        return max(20, math.ceil(1.25 * self.rate))

    @property
    def probes(self) -> dict[str, Any]:
        """How the regions are probed: patiently, since here it is real requests that judge."""
        return {"interval": "500ms", "timeout": "1s", "fall": 3, "rise": 2}

    @property
    def services(self) -> list[dict[str, Any]]:
        """The services as the world file declares them: ``web`` where it runs before the rollout."""
        home = {"type": "active-active", "regions": list(self.blue)}
        return [
            {"name": WEB, "strategy": "latency_based", "priority": 10, "deployment": home},
            {"name": EU_SERVICE, "strategy": "latency_based", "policy": "eu-only", "priority": 1, "failback": "auto"},
        ]

    def rollout(self) -> dict[str, Any]:
        """What the controller is asked for."""
        return {
            "service": WEB,
            "blue_regions": list(self.blue),
            "green_regions": [self.green],
            "switch_after": self.seconds * 0.05,
            "steps": list(STEPS),
            "step_after": self.step_s,
            "gates": {"min_requests": self.min_requests, "max_error_rate": MAX_ERROR_RATE},
            "on_failure": "rollback",
        }
