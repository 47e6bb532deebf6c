"""What clients send to act: failovers, drains, freezes, observations."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema

from mahavishnu.integrations.multi_region.core.failover import FailoverStrategy
from mahavishnu.integrations.multi_region.core.figures import DAY_S
from mahavishnu.integrations.multi_region.core.overrides import BreakGlass
from mahavishnu.integrations.multi_region.core.residuals import LONGEST_MS
from mahavishnu.integrations.multi_region.core.safety import LIFTABLE
from mahavishnu.integrations.multi_region.ports.clock import Clock
from mahavishnu.integrations.multi_region.surfaces.world import kinds

from .bodies import Body, SaidBy

_Rule = Annotated[
    str,
    AfterValidator(lambda name: name.strip().lower()),
    WithJsonSchema({"type": "string", "enum": sorted(LIFTABLE)}),
]
_Strategy = Annotated[FailoverStrategy, kinds.member(FailoverStrategy)]


class OverrideBody(Body):
    """Break glass: lifts one safety rule for this one act, and is recorded under the caller's name."""

    rule: _Rule = Field(description="The rule that a refusal named.")
    reason: kinds.Name = Field(description="Why it must be lifted.")
    expires_in_s: float = Field(gt=0, le=DAY_S, description="Seconds for which it holds.")

    def break_glass(self, by: str, clock: Clock) -> BreakGlass:
        """The override, checked. Raises InvalidInputError."""
        now = clock.now()
        return BreakGlass.parse(self.rule, by, self.reason, now + self.expires_in_s, now)


class WhyBody(SaidBy):
    """Why something is done."""

    reason: kinds.OptionalName = Field(None, description="For the log.")


class MustSayWhyBody(WhyBody):
    """Why something is done that nobody may do without a reason."""

    reason: kinds.Name = Field(description="For the log.")


class DrainBody(MustSayWhyBody):
    """A drain."""

    graceful: bool = Field(False, description="Answer only when requests in flight have finished, or time is up.")
    override: OverrideBody | None = Field(None, description="Lifts one safety rule.")


class FailoverBody(MustSayWhyBody):
    """A failover."""

    from_region: kinds.Id = Field(description="The region to move traffic off.")
    to_region: kinds.OptionalId = Field(
        None, description="Where to. Default: the nearest with room, several if needed."
    )
    strategy: _Strategy = Field(FailoverStrategy.IMMEDIATE, description="graceful: requests in flight finish first.")
    override: OverrideBody | None = Field(None, description="Lifts one safety rule.")
    dry_run: bool = Field(False, description="Only say what it would do.")


class OutcomeBody(Body):
    """How a real request to a region went."""

    region_id: kinds.Id
    ok: bool = Field(description="Whether it was answered as it should be.")
    latency_ms: float | None = Field(None, ge=0, le=1e9, description="How long it took, in ms.")
    service: kinds.OptionalName = Field(None, description="The service that it was for; rollouts are judged by it.")


class LoadBody(Body):
    """How much a region carries now."""

    region_id: kinds.Id
    current_capacity: kinds.Amount = Field(description="In the unit of its max_capacity.")


class RttPlaceBody(Body):
    """Where a client was, in degrees."""

    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)


class RttBody(Body):
    """A measured round trip between a client and a region."""

    region_id: kinds.Id
    ms: float = Field(gt=0, le=LONGEST_MS, description="Of the network alone, without the time to answer.")
    location: RttPlaceBody | None = Field(None, description="Where the client was; or give its country.")
    country: kinds.Country = Field(None, description="ISO 3166-1 alpha-2 of the client.")


MOST_OBSERVED: Mapping[str, int] = MappingProxyType({"outcomes": 5_000, "loads": 2_000, "rtts": 2_000})
"""How much one report may list: some 0.2 s of work, in many turns of the event loop."""


class ObservationsBody(Body):
    """What data planes and callers have seen. All of it is counted or, where something is not allowed, none.

    What is told of a region that is removed meanwhile is left out; the answer has the counts.
    """

    outcomes: list[OutcomeBody] = Field(
        default_factory=list,
        max_length=MOST_OBSERVED["outcomes"],
        description="Requests, in the order in which they ended.",
    )
    loads: list[LoadBody] = Field(default_factory=list, max_length=MOST_OBSERVED["loads"], description="Loads now.")
    rtts: list[RttBody] = Field(
        default_factory=list,
        max_length=MOST_OBSERVED["rtts"],
        description="Round trips, in the order in which they were taken.",
    )
