"""``/v1``, acting: failovers, drains, recoveries, freezes, and what callers observed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Body

from mahavishnu.integrations.multi_region.core.failover import Refusal
from mahavishnu.integrations.multi_region.core.model import AdminState
from mahavishnu.integrations.multi_region.core.overrides import BreakGlass, Freeze
from mahavishnu.integrations.multi_region.core.recovery import RecoveryEvent
from mahavishnu.integrations.multi_region.errors import FailoverRefusedError
from mahavishnu.integrations.multi_region.system import MultiRegionSystem

from .action_bodies import (
    DrainBody,
    FailoverBody,
    MustSayWhyBody,
    OverrideBody,
    WhyBody,
)
from .api import region_at
from .auth import Role
from .guarding import Actor
from .observations import Observing
from .routes import WRITES, Doors
from .schemas_act import FailoverAnswer, RecoveryAnswer, UndrainedAnswer, UnfrozenAnswer
from .schemas_v1 import DrainAnswer, FreezeAnswer

OptionalWhy = Annotated[WhyBody | None, Body()]


class Acting:
    """The endpoints that act; all need an operator."""

    def __init__(self, system: MultiRegionSystem) -> None:
        self._manager = system.region_manager
        self._handler = system.failure_handler
        self._observing = Observing(system)

    def add_to(self, doors: Doors) -> None:
        """Add them to a router."""
        at = "/v1/regions/{region_id}"
        rows = (
            ("/v1/failover", self.fail_over, FailoverAnswer),
            (f"{at}/drain", self.drain, DrainAnswer),
            (f"{at}/undrain", self.undrain, UndrainedAnswer),
            (f"{at}/recover", self.recover, RecoveryAnswer),
            ("/v1/freeze", self.freeze, FreezeAnswer),
            ("/v1/unfreeze", self.unfreeze, UnfrozenAnswer),
        )
        for path, endpoint, answer in rows:
            doors.add("POST", path, endpoint, Role.OPERATOR, answer, problems=WRITES)
        self._observing.add_to(doors)

    async def fail_over(self, body: FailoverBody, actor: Actor) -> Mapping[str, Any]:
        """Move all traffic off a region; 409 with the rule and the reasons when that would break one."""
        override = self._override(body.override, actor)
        if body.dry_run:
            return self._plan(body, override)
        event = await self._handler.fail_over(
            body.from_region, body.to_region, body.strategy, body.reason, by=body.actor(actor), override=override
        )
        return {name: getattr(event, name) for name in type(event).__dataclass_fields__}

    async def drain(self, region_id: str, body: DrainBody, actor: Actor) -> Mapping[str, Any]:
        """Take a region out of service until somebody undrains it."""
        region_at(self._manager, region_id)
        by, override = body.actor(actor), self._override(body.override, actor)
        act = self._handler.drain_gracefully if body.graceful else self._manager.drain
        drain = await act(region_id, by=by, reason=body.reason, override=override)
        return {"region_id": region_id, **drain.document()}

    async def undrain(self, region_id: str, actor: Actor, body: OptionalWhy = None) -> Mapping[str, Any]:
        """Lift an operator's drain."""
        region_at(self._manager, region_id)
        why = body or WhyBody()
        await self._manager.undrain(region_id, by=why.actor(actor), reason=why.reason or "")
        return {"region_id": region_id, "state": AdminState.ACTIVE}

    async def recover(self, region_id: str, actor: Actor, body: OptionalWhy = None) -> RecoveryEvent:
        """Give traffic back to a region that was failed over and is healthy again."""
        region_at(self._manager, region_id)
        why = body or WhyBody()
        return await self._handler.recover_region(region_id, by=why.actor(actor), reason=why.reason or "")

    async def freeze(self, body: MustSayWhyBody, actor: Actor) -> Freeze:
        """Stop automation: verdicts are still reached, nothing is moved."""
        return await self._manager.freeze(by=body.actor(actor), reason=body.reason)

    async def unfreeze(self, actor: Actor, body: OptionalWhy = None) -> Mapping[str, Any]:
        """Let automation act again."""
        why = body or WhyBody()
        await self._manager.unfreeze(by=why.actor(actor), reason=why.reason or "")
        return {"frozen": False}

    def _plan(self, body: FailoverBody, override: BreakGlass | None) -> Mapping[str, Any]:
        plan = self._handler.plan(body.from_region, body.to_region, override=override)
        if isinstance(plan, Refusal):
            raise FailoverRefusedError(plan.rule, plan.text, plan.reasons)
        return {
            "dry_run": True,
            "from_region": plan.source,
            "to_region": plan.target,
            "strategy": body.strategy,
            "reason": body.reason,
            **{name: getattr(plan, name) for name in ("shares", "shed", "load", "excluded", "revision", "rtt_ms")},
        }

    def _override(self, asked: OverrideBody | None, by: str) -> BreakGlass | None:
        return None if asked is None else asked.break_glass(by, self._manager.clock)
