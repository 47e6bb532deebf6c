"""``deployments``, ``rollback``, ``elect``: watch deployments, end them; elect leaders."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .asking import agreed, ask_for, why
from .options import AsJson, Follow, Reason, RegionIds, ServerUrl, TokenText, Yes

Deployed = Annotated[str, typer.Argument(metavar="DEPLOYMENT", help="The deployment's id, such as web-2.")]


def list_deployments(
    service: Annotated[str | None, typer.Option("--service", metavar="NAME", help="Only this service's.")] = None,
    as_json: AsJson = False,
    server: ServerUrl = None,
    token: TokenText = None,
) -> None:
    """List deployments, the oldest first.

    Example: `multi-region deployments list --service web`
    """
    from .client import connect
    from .output import show_json, show_table
    from .progress import shares_text

    found = connect(server, token).get("/v1/deployments", service=service)
    if as_json:
        show_json(found)
        return
    rows = [
        (
            one["deployment_id"],
            one["service"],
            one["strategy"],
            one["state"],
            "yes" if one["of_record"] else None,
            shares_text(one),
            one["held"],
        )
        for one in found
    ]
    show_table(("deployment", "service", "strategy", "state", "of record", "shares", "held"), rows, empty="none")


def show_deployment(
    deployment: Deployed,
    follow: Follow = False,
    as_json: AsJson = False,
    server: ServerUrl = None,
    token: TokenText = None,
) -> None:
    """Show one deployment with its history; `--follow` until it has settled.

    Example: `multi-region deployments show web-2`
    """
    from .client import connect, segment
    from .output import show_json
    from .progress import follow_to_its_end, show_whole

    remote = connect(server, token)
    found = remote.get(f"/v1/deployments/{segment(deployment)}")
    if follow:
        follow_to_its_end(remote, found, as_json)
    elif as_json:
        show_json(found)
    else:
        show_whole(found)


def fail_back(
    deployment: Deployed,
    reason: Reason = "",
    yes: Yes = False,
    as_json: AsJson = False,
    server: ServerUrl = None,
    token: TokenText = None,
) -> None:
    """Hand an active-passive service back to its primary.

    Example: `multi-region deployments failback web-1 --yes`
    """
    agreed(f"The primary of {deployment} takes its service back.", "Hand it back?", yes, as_json)
    ask_for(server, token, ("v1", "deployments", deployment, "failback"), why(reason), _line_of, as_json)


def rollback(
    deployment: Deployed,
    reason: Reason = "",
    yes: Yes = False,
    as_json: AsJson = False,
    server: ServerUrl = None,
    token: TokenText = None,
) -> None:
    """Put traffic back where it was before a deployment. Needs nothing from any region.

    Example: `multi-region rollback web-2 --reason "the page is blank" --yes`
    """
    agreed(f"Traffic goes back to where it was before {deployment}.", "Roll back?", yes, as_json)
    ask_for(server, token, ("v1", "deployments", deployment, "rollback"), why(reason), _line_of, as_json)


def elect(
    regions: RegionIds,
    election: Annotated[str, typer.Option("--election", metavar="NAME", help="Which election.")] = "default",
    as_json: AsJson = False,
    server: ServerUrl = None,
    token: TokenText = None,
) -> None:
    """Elect a leader among regions: by health, then utilisation, then a draw. Its term only ever grows.

    Example: `multi-region elect us-east-1 eu-west-1 --election jobs`
    """
    ask_for(server, token, ("v1", "elections", election), {"regions": regions}, _leader, as_json)


def _leader(found: Any) -> str:
    return f"{found['leader']} leads {found['election']} in term {found['term']}: {found['reason']}"


def _line_of(found: Any) -> str:
    from .progress import line_of

    return line_of(found)
