"""``failover``, ``drain``, ``undrain``, ``recover``, ``freeze``, ``unfreeze``: act on regions and on automation.

Each says what it will do and asks; the server decides whether it may be done.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mahavishnu.integrations.multi_region.errors import InvalidInputError

from .asking import agreed, ask_for, why
from .options import AsJson, Reason, RegionId, ServerUrl, TokenText, Yes

Rule = Annotated[
    str | None, typer.Option("--override", metavar="RULE", help="Break glass: lift this one safety rule, on record.")
]
Expires = Annotated[
    str | None, typer.Option(metavar="TIME", help="How long the override holds, such as 1h; at most 24h.")
]
Graceful = Annotated[bool, typer.Option("--graceful", help="Let requests in flight finish first.")]


def failover(
    source: Annotated[str, typer.Argument(metavar="FROM", help="The region that all traffic leaves.")],
    target: Annotated[str | None, typer.Argument(metavar="TO", help="Where to.  [default: nearest with room]")] = None,
    graceful: Graceful = False,
    reason: Reason = "",
    override: Rule = None,
    expires: Expires = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan, change nothing.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
    server: ServerUrl = None,
    token: TokenText = None,
) -> None:
    """Move all traffic off a region. Shows the plan and asks.

    Example: `multi-region failover eu-west-1 eu-central-1 --graceful --reason "maintenance"`
    """
    from .client import connect
    from .output import say, show_json

    remote = connect(server, token)
    body = {
        "from_region": source,
        "to_region": target,
        "strategy": "graceful" if graceful else "immediate",
        **why(reason, needed=True),
        "override": _override(override, expires, reason),
    }
    if dry_run or not (yes or as_json):
        plan = remote.post("/v1/failover", {**body, "dry_run": True})
        if dry_run:
            show_json(plan) if as_json else _show_plan(plan)
            return
        _show_plan(plan)
    agreed(f"All traffic leaves {source}.", "Go ahead?", yes, as_json)
    event = remote.post("/v1/failover", body)
    if as_json:
        show_json(event)
        return
    shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in event["shares"].items())
    say(f"{source} is failed over to {shares}, in {event['duration_ms']:.0f} ms")
    _say_shed(event)
    _say_edges(event)


def drain(
    region: RegionId,
    reason: Reason = "",
    graceful: Graceful = False,
    override: Rule = None,
    expires: Expires = None,
    yes: Yes = False,
    as_json: AsJson = False,
    server: ServerUrl = None,
    token: TokenText = None,
) -> None:
    """Take a region out of service until `undrain`; failovers, recoveries and restarts leave it so.

    Example: `multi-region drain eu-west-1 --reason "new racks" --yes`
    """
    body = {"graceful": graceful, **why(reason, needed=True), "override": _override(override, expires, reason)}
    agreed(f"{region} gets no new traffic until somebody undrains it.", f"Drain {region}?", yes, as_json)
    ask_for(server, token, ("v1", "regions", region, "drain"), body, f"{region} is drained", as_json)


def undrain(
    region: RegionId,
    reason: Reason = "",
    yes: Yes = False,
    as_json: AsJson = False,
    server: ServerUrl = None,
    token: TokenText = None,
) -> None:
    """Lift a drain.

    Example: `multi-region undrain eu-west-1 --yes`
    """
    agreed(f"{region} may get traffic again, as its health allows.", f"Undrain {region}?", yes, as_json)
    text = f"{region} is not drained any more"
    ask_for(server, token, ("v1", "regions", region, "undrain"), why(reason), text, as_json)


def recover(
    region: RegionId,
    reason: Reason = "",
    yes: Yes = False,
    as_json: AsJson = False,
    server: ServerUrl = None,
    token: TokenText = None,
) -> None:
    """Give traffic back to a region that was failed over and is healthy again. Also called `failback`.

    Example: `multi-region recover eu-west-1 --yes`
    """
    from .output import say

    agreed(f"Traffic that was moved off {region} may return.", f"Recover {region}?", yes, as_json)
    path = ("v1", "regions", region, "recover")
    event = ask_for(server, token, path, why(reason), f"{region} has its traffic back", as_json)
    if event["waiting"] and not as_json:
        say("still away, until somebody gives them back: " + ", ".join(event["waiting"]))


def freeze(
    reason: Reason = "",
    yes: Yes = False,
    as_json: AsJson = False,
    server: ServerUrl = None,
    token: TokenText = None,
) -> None:
    """Stop automation: regions are still watched, but nothing is moved unless a person says so.

    Example: `multi-region freeze --reason "investigating" --yes`
    """
    agreed("Regions that fail keep their traffic until somebody acts.", "Freeze automation?", yes, as_json)
    ask_for(server, token, ("v1", "freeze"), why(reason, needed=True), "automation is frozen", as_json)


def unfreeze(
    reason: Reason = "",
    yes: Yes = False,
    as_json: AsJson = False,
    server: ServerUrl = None,
    token: TokenText = None,
) -> None:
    """Let automation act again.

    Example: `multi-region unfreeze --yes`
    """
    agreed("Automation acts at once on what it held back.", "Unfreeze automation?", yes, as_json)
    ask_for(server, token, ("v1", "unfreeze"), why(reason), "automation acts again", as_json)


def _override(rule: str | None, expires: str | None, reason: str) -> dict[str, object] | None:
    """What lifts a rule. It needs an end and a reason: whoever reads the log must see why a limit did not hold."""
    if rule is None:
        if expires is not None:
            raise InvalidInputError("--expires", expires, "to be given only together with --override RULE")
        return None
    from mahavishnu.integrations.multi_region.core.figures import DAY_S, Bounds
    from mahavishnu.integrations.multi_region.surfaces.world.units import parse_duration

    if not reason:
        raise InvalidInputError("--reason", "left out", "a text that says why the rule must be lifted")
    if expires is None:
        raise InvalidInputError("--expires", "left out", "how long the override holds, such as 1h; at most 24h")
    return {"rule": rule, "reason": reason, "expires_in_s": parse_duration(expires, "--expires", Bounds(1, DAY_S))}


def _show_plan(plan: dict[str, Any]) -> None:
    from .output import number, percent, say, show_table

    rows = [
        (name, percent(share, 1), number(share * plan["load"]), f"est. {plan['rtt_ms'][name]:.0f} ms")
        for name, share in plan["shares"].items()
    ]
    say(f"{plan['from_region']} carries {number(plan['load'])} requests/s; they go to")
    show_table(("region", "share", "requests/s", "round trip"), rows, empty="nowhere")
    _say_shed(plan)
    for name, objection in plan["excluded"].items():
        say(f"not to {name}: it {objection}")


def _say_edges(event: dict[str, Any]) -> None:
    """Which edges do by the failover, which not yet, and which refuse a part of what they were told."""
    from .output import note, say

    taken, lagging, rejected = (", ".join(event[name]) for name in ("acknowledged_by", "lagging", "rejected"))
    if taken:
        say(f"taken over by {taken}")
    if lagging:
        note(f"warning: not acknowledged yet by {lagging}: requests there may still go the old way")
    if rejected:
        note(f"warning: a part is refused by {rejected}; no requests move by it: `multi-region edges` says which")


def _say_shed(plan: dict[str, Any]) -> None:
    from .output import note

    if plan["shed"] > 0:
        note(f"warning: nobody has room for {100 * plan['shed']:.0f} % of the load; it is shed")
