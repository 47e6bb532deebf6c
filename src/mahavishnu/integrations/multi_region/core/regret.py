"""How good a way of choosing regions is: what it costs against the best choice, region by region measured.

Regret is the round trip to the chosen region less that to the best one. With many regions it says more than how often
the choice was the best, since most misses cost a millisecond or two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

FAR_OFF_MS = 20.0
"""A regret that a user notices."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen for one place, what would have been best, and both round trips in ms."""

    place: str
    chosen: str
    best: str
    chosen_ms: float
    best_ms: float

    @property
    def regret_ms(self) -> float:
        """What the choice costs."""
        return self.chosen_ms - self.best_ms


@dataclass(frozen=True, slots=True)
class Score:
    """A sum of choices. ``top_1`` and ``far_off``: shares 0..1 of the best chosen, and of a regret above 20 ms."""

    places: int
    top_1: float
    mean_ms: float
    p95_ms: float
    worst_ms: float
    far_off: float


def choose(place: str, measured_ms: Mapping[str, float], estimates: Mapping[str, float]) -> Choice:
    """The region of least estimate (any unit; of equals the first id) among those measured from the place.

    ``measured_ms`` must not be empty, and ``estimates`` must cover it.
    """
    chosen = min(measured_ms, key=lambda region: (estimates[region], region))
    best = min(measured_ms, key=lambda region: (measured_ms[region], region))
    return Choice(place, chosen, best, measured_ms[chosen], measured_ms[best])


def score(choices: Sequence[Choice]) -> Score:
    """The choices, one or more, in figures. The 95th percentile is interpolated between neighbours."""
    regrets = sorted(choice.regret_ms for choice in choices)
    n = len(regrets)
    return Score(
        places=n,
        top_1=sum(regret == 0.0 for regret in regrets) / n,
        mean_ms=sum(regrets) / n,
        p95_ms=_quantile(regrets, 0.95),
        worst_ms=regrets[-1],
        far_off=sum(regret > FAR_OFF_MS for regret in regrets) / n,
    )


def _quantile(ascending: Sequence[float], share: float) -> float:
    place = share * (len(ascending) - 1)
    low = int(place)
    high = min(low + 1, len(ascending) - 1)
    return ascending[low] + (place - low) * (ascending[high] - ascending[low])
