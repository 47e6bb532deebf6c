"""``deploy``, ``deployments``, ``rollback``, ``elect``: begin deployments, watch them, end them; elect leaders."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mahavishnu.integrations.multi_region.errors import InvalidInputError

from .asking import agreed
from .operate import account
from .options import AsJson, Reason, ServerUrl, TokenText, Yes

Regions = Annotated[list[str], typer.Argument(metavar="REGION...", help="The regions.")]
Deployed = Annotated[str, typer.Argument(metavar="DEPLOYMENT", help="The deployment's id, such as web-2.")]
OfService = Annotated[
    str | None, typer.Option("--service", metavar="NAME", help="What requests name.  [default: the deployment's id]")
]
OnFailure = Annotated[str, typer.Option("--on-failure", help="rollback, or hold it where it is.")]
Follow = Annotated[bool, typer.Option("--follow", "-F", help="Show how it goes until it has settled.")]
Wave = Annotated[
    list[str] | None,
    typer.Option("--wave", metavar="REGION,...", help="Regions that get the new version together; repeat, in order."),
]
Parallel = Annotated[int | None, typer.Option("--max-parallel", min=1, help="Regions at work at once.  [default: 1]")]


def active_active(
    regions: Regions,
    service: OfService = None,
    on_failure: OnFailure = "rollback",
    wave: Wave = None,
    max_parallel: Parallel = None,
    follow: Follow = False,
    yes: Yes = False,
    as_json: AsJson = False,
    server: ServerUrl = None,
    token: TokenText = None,
) -> None:
    """Let all of these regions serve at once.

    Example: `multi-region deploy active-active eu-west-1 us-east-1 --service web`
    """
    agreed(f"{_named(service)} will be served by {', '.join(regions)}.", "Deploy?", yes, as_json)
    body = {"regions": regions, **_common(service, on_failure, wave, max_parallel)}
    _begin(server, token, "active-active", body, follow, as_json)


def active_passive(
    primary: Annotated[str, typer.Argument(metavar="PRIMARY", help="The region that serves.")],
    backups: Annotated[list[str], typer.Argument(metavar="BACKUP...", help="Who takes over, in this order.")],
    service: OfService = None,
    failback: Annotated[str, typer.Option("--failback", help="manual, auto or scheduled.")] = "manual",
    failback_after: Annotated[
        str, typer.Option("--failback-after", metavar="TIME", help="Least time after a takeover, for auto.")
    ] = "60s",
    on_failure: OnFailure = "rollback",
    wave: Wave = None,
    max_parallel: Parallel = None,
    follow: Follow = False,
    yes: Yes = False,
    as_json: AsJson = False,
    server: ServerUrl = None,
    token: TokenText = None,
) -> None:
    """Let one region serve; the others stand by and take over in their order.

    Example: `multi-region deploy active-passive eu-west-1 eu-central-1 --service web`
    """
    after_s = _seconds(failback_after, "--failback-after")
    agreed(f"{_named(service)} will be served by {primary} alone.", "Deploy?", yes, as_json)
    body = {"primary": primary, "backups": backups, "failback": failback, "failback_after": after_s}
    body |= _common(service, on_failure, wave, max_parallel)
    _begin(server, token, "active-passive", body, follow, as_json)


def blue_green(
    blue: Annotated[list[str], typer.Option("--blue", metavar="REGION", help="Serves now; repeat for several.")],
    green: Annotated[list[str], typer.Option("--green", metavar="REGION", help="Shall serve; repeat for several.")],
    service: OfService = None,
    switch_after: Annotated[
        str, typer.Option("--switch-after", metavar="TIME", help="Least time that green is warm before any traffic.")
    ] = "60s",
    steps: Annotated[
        str, typer.Option("--steps", metavar="PERCENT,...", help="Green's share, rising to 100, such as 1,10,50,100.")
    ] = "100",
    step_after: Annotated[str, typer.Option("--step-after", metavar="TIME", help="Least time at each step.")] = "30s",
    min_requests: Annotated[
        int | None, typer.Option("--min-requests", min=0, help="Requests to green that a step needs.  [default: 50]")
    ] = None,
    max_error_rate: Annotated[
        str | None, typer.Option("--max-errors", metavar="PERCENT", help="How many of them may fail.  [default: 5%]")
    ] = None,
    rollback_window: Annotated[
        str, typer.Option("--rollback-window", metavar="TIME", help="How long blue stays warm afterwards.")
    ] = "10m",
    on_failure: OnFailure = "rollback",
    wave: Wave = None,
    max_parallel: Parallel = None,
    follow: Follow = False,
    yes: Yes = False,
    as_json: AsJson = False,
    server: ServerUrl = None,
    token: TokenText = None,
) -> None:
    """Move traffic from blue to green, in steps that real requests judge.

    Example: `multi-region deploy blue-green --blue us-east-1 --green eu-west-1 --service web --steps 1,10,50,100 -F`
    """
    body = {
        "blue_regions": blue,
        "green_regions": green,
        "switch_after": _seconds(switch_after, "--switch-after"),
        "steps": _percentages(steps),
        "step_after": _seconds(step_after, "--step-after"),
        "gates": _gates(min_requests, max_error_rate),
        "rollback_window": _seconds(rollback_window, "--rollback-window"),
        **_common(service, on_failure, wave, max_parallel),
    }
    what = f"{_named(service)} will move from {', '.join(blue)} to {', '.join(green)}."
    agreed(what, "Deploy?", yes, as_json)
    _begin(server, token, "blue-green", body, follow, as_json)


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
    _act(server, token, deployment, "failback", reason, as_json)


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
    _act(server, token, deployment, "rollback", reason, as_json)


def elect(
    regions: Regions,
    election: Annotated[str, typer.Option("--election", metavar="NAME", help="Which election.")] = "default",
    as_json: AsJson = False,
    server: ServerUrl = None,
    token: TokenText = None,
) -> None:
    """Elect a leader among regions: by health, then utilisation, then a draw. Its term only ever grows.

    Example: `multi-region elect us-east-1 eu-west-1 --election jobs`
    """
    from .client import connect, segment
    from .output import say, show_json

    found = connect(server, token).post(f"/v1/elections/{segment(election)}", {"regions": regions})
    if as_json:
        show_json(found)
    else:
        say(f"{found['leader']} leads {found['election']} in term {found['term']}: {found['reason']}")


# --- pieces -------------------------------------------------------------------------------------


def _begin(server: str | None, token: str | None, kind: str, body: object, follow: bool, as_json: bool) -> None:
    from .client import connect
    from .output import say, show_json
    from .progress import follow_to_its_end, line_of

    remote = connect(server, token)
    made = remote.post(f"/v1/deployments/{kind}", body)
    if follow:
        follow_to_its_end(remote, made, as_json)
    elif as_json:
        show_json(made)
    else:
        say(line_of(made))


def _act(server: str | None, token: str | None, deployment: str, what: str, reason: str, as_json: bool) -> None:
    from .client import connect, segment
    from .output import say, show_json
    from .progress import line_of

    body = {"reason": reason or None, "by": account()}
    found = connect(server, token).post(f"/v1/deployments/{segment(deployment)}/{what}", body)
    show_json(found) if as_json else say(line_of(found))


def _common(service: str | None, on_failure: str, wave: list[str] | None, parallel: int | None) -> dict[str, Any]:
    """What every kind of deployment says."""
    waves: dict[str, Any] | None = None
    if wave or parallel is not None:
        waves = {"groups": [_names(one) for one in wave or []], "max_parallel": parallel}
    return {"service": service, "on_failure": on_failure, "waves": waves, "by": account()}


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _named(service: str | None) -> str:
    return f"service {service}" if service is not None else "a service of the deployment's own name"


def _seconds(text: str, option: str) -> float:
    from mahavishnu.integrations.multi_region.surfaces.world.units import parse_duration

    return parse_duration(text, option, least_s=0)


def _percentages(text: str) -> list[float]:
    try:
        return [float(part.strip().removesuffix("%")) for part in text.split(",")]
    except ValueError:
        raise InvalidInputError("--steps", text, "percentages that rise to 100, such as 1,10,50,100") from None


def _gates(min_requests: int | None, max_errors: str | None) -> dict[str, Any] | None:
    from mahavishnu.integrations.multi_region.surfaces.world.units import parse_share

    given: dict[str, Any] = {} if min_requests is None else {"min_requests": min_requests}
    if max_errors is not None:
        given["max_error_rate"] = parse_share(max_errors, "--max-errors")
    return given or None
