"""``status``: the regions at a glance, and what needs somebody's attention."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .options import AsJson, ServerUrl, TokenText

_TRAFFIC = ("requests/s", "share")
"""Columns that stand there once edges have reported."""


def status(as_json: AsJson = False, server: ServerUrl = None, token: TokenText = None) -> None:
    """Show every region, and what needs attention.

    Example: `multi-region status`
    """
    from .client import connect
    from .output import note, say, show_json, show_table

    found = connect(server, token).get("/v1/status")
    if as_json:
        show_json(found)
        return
    reported = _TRAFFIC if found["traffic"] else ()
    columns = (
        "region",
        "phase",
        "score",
        "load",
        "capacity",
        *reported,
        "operator",
        "note",
    )
    rows = [_row(region, found["traffic"]) for region in found["regions"]]
    show_table(columns, rows, empty="no region is registered")
    say(_counts(found))
    for alarm in (*alarms(found), *edge_alarms(found["edges"])):
        note(f"attention: {alarm}")


def alarms(found: dict[str, Any]) -> Iterator[str]:
    """What a person should look at, the widest first."""
    if found["store"]["lost"]:
        yield f"the store does not take events: {found['store']['lost']}"
    if found["blind"]:
        yield "most probes fail at once: the observer is distrusted, and no region is taken out on its word"
    if found["frozen"]:
        frozen = found["frozen"]
        yield f"automation is frozen by {frozen['by']}: {frozen['reason']}"
    if found["regions"] and all(region["excluded"] for region in found["regions"]):
        yield "no region may serve"
    for region_id, why in found["held"].items():
        yield f"{region_id} would be out of service, but safety keeps it in: {why}"
    for one in found["held_deployments"]:
        yield held_text(one)


def held_text(one: dict[str, Any]) -> str:
    """A deployment that does not go on, in words."""
    return f"service {one['service']} {'waits for you' if one['waits_for_a_person'] else 'is held'}: {one['held']}"


def edge_alarms(edges: list[dict[str, Any]]) -> Iterator[str]:
    """What a person should look at of the edges, the gravest first."""
    from .edge_troubles import troubles_of

    yield from map(str, troubles_of(edges))


def _row(region: dict[str, Any], traffic: dict[str, float]) -> tuple[object, ...]:
    from .output import number

    return (
        region["region_id"],
        region["phase"],
        number(round(region["health_score"], 1)),
        number(round(region["load"], 1)),
        number(region["max_capacity"]),
        *_traffic(region["region_id"], traffic),
        region["admin"],
        _note(region),
    )


def _traffic(region_id: str, traffic: dict[str, float]) -> tuple[str, ...]:
    """What edges send to the region, and its share of all that they send; nothing when none has reported."""
    from .output import number, percent

    if not traffic:
        return ()
    here = traffic.get(region_id, 0.0)
    return number(round(here, 1)), percent(here, sum(traffic.values()))


def _note(region: dict[str, Any]) -> str:
    """Why a region does not serve as its phase suggests; else what its phase rests on."""
    drain, failure = region["drain"], region["failed_over"]
    if drain is not None:
        return f"{drain['state']} by {drain['by']}: {drain['reason']}"
    if failure is not None:
        which = "" if failure["services"] is None else f" for {', '.join(failure['services'])}"
        return f"failed over{which} by {failure['by']}: {failure['reason']}"
    if region["held"]:
        return f"held in service: {region['held']}"
    return str(region["reason"])


def _counts(found: dict[str, Any]) -> str:
    phases = ", ".join(f"{count} {phase}" for phase, count in found["regions_by_phase"].items() if count)
    routing, failovers = found["routing"], found["failovers"]
    return (
        f"{phases or 'no region'}; {routing['total_decisions']} decisions, {routing['refused']} refused; "
        f"{failovers['total_failovers']} failovers; store {found['store']['kind']}, revision {found['revision']}"
    )
