"""The plan of record of a service: which deployment takes it, under which term, and what gives it back.

A deployment becomes the plan of record with its first shift of traffic, and each that does has a term above the last
one's (the fence): terms only grow within a service. Also here: when a person may take a deployment back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from .deployment import DeploymentView, State
from .kinds import DeploymentType
from .obstacles import Seen
from .rollout import Signal, can, handover_obstacle, return_obstacle


@dataclass(frozen=True, slots=True)
class OfRecord:
    """Who is of record before a transition is written.

    ``deployment_id``: the plan of record, None: there is none. ``declared``: the service is declared, so that it serves
    without a plan as well.
    """

    deployment_id: str | None
    declared: bool


@dataclass(frozen=True, slots=True)
class Denial:
    """Why a person's wish for a deployment is refused: the rule, what it says, and the reason by region, if any."""

    rule: str
    text: str
    reasons: Mapping[str, str] = field(default_factory=dict)


# --- who is of record ---------------------------------------------------------------------------


def takes_record(before: DeploymentView | None, after: DeploymentView, record: OfRecord) -> bool:
    """Whether this transition makes it the plan of record: at once where nothing serves, else with its first shift.

    ``before``: None for a deployment that is begun.
    """
    if before is None:
        return record.deployment_id is None and not record.declared
    begins = before.state is State.BAKING and after.state is State.SHIFTING
    return begins and record.deployment_id != after.deployment_id


def taking_over(after: DeploymentView, current: DeploymentView | None) -> DeploymentView:
    """A deployment that takes the record from ``current``: knowing whom it replaced, under a term above that one's."""
    if current is None:
        return after
    return replace(after, supersedes=current.deployment_id, term=max(after.term, current.term + 1))


def given_back(before: DeploymentView, after: DeploymentView) -> DeploymentView:
    """The plan that was of record before ``after``, as it is again when that is rolled back: under a new term."""
    return replace(before, term=max(before.term, after.term) + 1, held=None)


def lost_record(view: DeploymentView, of_record: str | None) -> bool:
    """Whether another deployment has taken the service over since this one did."""
    return view.step >= 0 and of_record != view.deployment_id


# --- what is worth writing ----------------------------------------------------------------------


def unmoved(before: DeploymentView, after: DeploymentView) -> bool:
    """Whether nothing differs but what holds the deployment up."""
    return after.state is before.state and after.step == before.step


def only_remembered(before: DeploymentView, after: DeploymentView) -> bool:
    """Whether nothing differs but the words of what holds it up: a hold is written once."""
    return unmoved(before, after) and (before.held is not None or after.held is None)


# --- taking it back -----------------------------------------------------------------------------


def rollback_denial(view: DeploymentView, seen: Seen, record: OfRecord) -> Denial | None:
    """Why a rollback would lead nowhere; None when it may be made."""
    name, service = view.deployment_id, view.service
    if not can(view, Signal.ROLLBACK):
        return Denial("not_reversible", f"{name} is {view.state.value}: it cannot be rolled back")
    if lost_record(view, record.deployment_id):
        return Denial("not_of_record", f"another deployment serves {service} now, not {name}")
    if seen.replaced_by is not None:
        return Denial("replaced", f"{seen.replaced_by} came after {name}: roll that one back first")
    if view.step >= 0 and not (view.blue or seen.returns_to or record.declared):
        return Denial("nothing_before", f"nothing served {service} before {name}")
    nobody = None if record.declared and seen.returns_to is None else return_obstacle(view, seen)
    if nobody is not None:
        return Denial("no_eligible_region", f"nobody could serve {service} after a rollback: {nobody}")
    return None


def failback_denial(view: DeploymentView, seen: Seen, record: OfRecord) -> Denial | None:
    """Why an active-passive service cannot be handed back to its primary; None when it can."""
    if view.strategy is not DeploymentType.ACTIVE_PASSIVE or view.state is not State.SERVING:
        text = f"{view.deployment_id} is {view.strategy.value} and {view.state.value}"
        return Denial("not_active_passive", f"{text}: only an active-passive that serves can fail back")
    if lost_record(view, record.deployment_id):
        return Denial("not_of_record", f"another deployment serves {view.service} now")
    home = view.primary
    if home is None or home in view.active:
        return Denial("at_home", f"{home} serves already")
    why = handover_obstacle(view, home, seen)
    if why is not None:
        return Denial("not_ready", f"{home} {why}: it cannot take {view.service} back", {home: why})
    return None
