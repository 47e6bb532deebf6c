"""``deploy``: begin deployments, and watch them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mahavishnu.integrations.multi_region.errors import InvalidInputError

from .asking import account, agreed
from .options import AsJson, Follow, RegionIds, ServerUrl, TokenText, Yes

OfService = Annotated[
    str | None, typer.Option("--service", metavar="NAME", help="What requests name.  [default: the deployment's id]")
]
OnFailure = Annotated[str, typer.Option("--on-failure", help="rollback, or hold it where it is.")]
Wave = Annotated[
    list[str] | None,
    typer.Option("--wave", metavar="REGION,...", help="Regions that get the new version together; repeat, in order."),
]
Parallel = Annotated[int | None, typer.Option("--max-parallel", min=1, help="Regions at work at once.  [default: 1]")]


def active_active(
    regions: RegionIds,
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
    failover: Annotated[
        str, typer.Option("--failover", metavar="MODE", help="automatic, or manual: a lost region waits for you.")
    ] = "automatic",
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
    body |= {"failover_strategy": failover, **_common(service, on_failure, wave, max_parallel)}
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
    from mahavishnu.integrations.multi_region.core.figures import DAY_S, Bounds
    from mahavishnu.integrations.multi_region.surfaces.world.units import parse_duration

    return parse_duration(text, option, Bounds(0, DAY_S))


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
