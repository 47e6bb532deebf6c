"""What stands over a region beside its declaration: a drain, a failover not given back, a freeze of automation.

Each is a stored document, so that it survives restarts (L11), and says who, why and when.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from ..errors import InvalidInputError
from .model import AdminState, parse_enum
from .safety import LIFTABLE, Rule

OVERRIDES, FAILURES, PLACEMENTS = "overrides/", "failures/", "placements/"
FREEZE_KEY = "freeze"
SERVING_KEY = "serving"
"""Written with each removal of a region from service: two at once cannot both go by the same count of the others."""


class Cause(StrEnum):
    """Who moved the traffic off: automation after a verdict, or a person."""

    VERDICT = "verdict"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Drain:
    """An operator's drain: no new traffic until it is lifted. ``at`` in seconds since the epoch."""

    state: AdminState
    by: str
    reason: str
    at: float

    def document(self) -> dict[str, Any]:
        """The drain as plain data."""
        return {**asdict(self), "state": self.state.value}

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Drain:
        """The drain that ``document`` wrote."""
        return cls(**{**document, "state": AdminState(document["state"])})


@dataclass(frozen=True, slots=True)
class Failure:
    """A region whose traffic was moved away and not given back.

    ``services``: only of these, None: of all. ``moved``: load in requests/s that each target took over. ``heirs``: of
    each service that one region alone serves, the region that the plan gave it to; none in documents of old.
    """

    cause: Cause
    reason: str
    by: str
    at: float
    services: tuple[str, ...] | None = None
    moved: Mapping[str, float] = field(default_factory=dict)
    heirs: Mapping[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The failure as plain data."""
        services = None if self.services is None else list(self.services)
        return {**asdict(self), "cause": self.cause.value, "services": services}

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Failure:
        """The failure that ``document`` wrote."""
        services = document["services"]
        return cls(
            **{
                **document,
                "cause": Cause(document["cause"]),
                "services": None if services is None else tuple(services),
            }
        )


@dataclass(frozen=True, slots=True)
class Freeze:
    """Automation is stopped: verdicts are still reached, nothing is moved. People may still act."""

    by: str
    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class BreakGlass:
    """An override of one named safety rule by one person, with a reason and an end (L11).

    ``expires_at`` in seconds since the epoch. Law cannot be lifted, nor the eligibility of a target.
    """

    rule: Rule
    by: str
    reason: str
    expires_at: float

    @classmethod
    def parse(cls, rule: str, by: str, reason: str, expires_at: float, now: float) -> BreakGlass:
        """A checked override. Raises InvalidInputError for a rule that may not be lifted or an end that has passed."""
        known = parse_enum(Rule, rule, "override.rule")
        if known not in LIFTABLE:
            raise InvalidInputError("override.rule", rule, "one of: " + ", ".join(sorted(LIFTABLE)))
        for name, value in (("by", by), ("reason", reason)):
            if not value.strip():
                raise InvalidInputError(f"override.{name}", value, "a text that is not empty")
        if not now < expires_at < math.inf:
            raise InvalidInputError("override.expires_at", expires_at, f"a time after now ({now:.0f})")
        return cls(known, by, reason, expires_at)


def lifted_by(override: BreakGlass | None, now: float) -> frozenset[Rule]:
    """The rules that an override lifts at ``now`` (seconds since the epoch): the one it names, none without one.

    Raises InvalidInputError for one that has expired, or that is not as ``BreakGlass.parse`` would have it.
    """
    if override is None:
        return frozenset()
    return frozenset({BreakGlass.parse(override.rule, override.by, override.reason, override.expires_at, now).rule})
