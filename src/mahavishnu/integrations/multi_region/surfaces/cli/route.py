"""``route``: where a request would go, and why."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mahavishnu.integrations.multi_region.errors import InvalidInputError

from .options import AsJson, ServerUrl, TokenText

MANY = 100
"""How many regions to name, the selected one included."""


def route(
    lat: Annotated[float | None, typer.Option(help="Where the client is: degrees north.")] = None,
    lon: Annotated[float | None, typer.Option(help="Where the client is: degrees east.")] = None,
    country: Annotated[str | None, typer.Option(help="Its country, such as DE; stands in for a place.")] = None,
    ip: Annotated[str | None, typer.Option(help="Its address, where the server has a database of addresses.")] = None,
    service: Annotated[str | None, typer.Option(help="The declared service that the request is for.")] = None,
    require: Annotated[list[str] | None, typer.Option(help="A framework that must hold; may be repeated.")] = None,
    strategy: Annotated[str | None, typer.Option(help="Such as latency_based.  [default: the service's]")] = None,
    data_id: Annotated[str | None, typer.Option(help="The data that the request is about.")] = None,
    current: Annotated[str | None, typer.Option(help="The region it uses now; kept unless another is nearer.")] = None,
    candidates: Annotated[
        int | None, typer.Option(min=1, max=MANY, help="Name so many regions, with the round trip to expect to each.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="The reason for every region, and its round trip; counts nothing.")
    ] = False,
    as_json: AsJson = False,
    server: ServerUrl = None,
    token: TokenText = None,
) -> None:
    """Ask where a request goes. It counts as a decision unless `--explain` is given.

    Example: `multi-region route --lat 52.5 --lon 13.4 --require gdpr --explain`
    """
    from .client import connect
    from .output import show_fields, show_json, show_table

    given = {
        "user_location": _location(lat, lon),
        "country": country,
        "ip": ip,
        "service": service,
        "compliance_requirements": require or None,
        "data_id": data_id,
        "current_region": current,
    }
    body: dict[str, Any] = {"request_context": {name: value for name, value in given.items() if value is not None}}
    if strategy is not None:
        body["strategy"] = strategy
    remote = connect(server, token)
    if explain:
        _explain(remote.post("/v1/route/explain", body), as_json)
        return
    decision = remote.post("/route", {**body, "candidates": MANY if candidates is None else candidates})
    found = decision["candidates"]
    if as_json:
        show_json(decision)
        return
    others = ", ".join(region["region_id"] for region in found[1:]) or "nowhere else"
    show_fields(
        [
            ("region", decision["selected_region"]),
            ("endpoint", decision["endpoint"]),
            ("because", decision["reasoning"]),
            ("round trip", _round_trip(found[0])),
            ("then", others if candidates is None else None),
        ]
    )
    if candidates is not None:
        rows = [(region["region_id"], region["endpoint"], _round_trip(region)) for region in found]
        show_table(("candidate", "endpoint", "round trip"), rows, empty="")


def _location(lat: float | None, lon: float | None) -> dict[str, Any] | None:
    if (lat is None) != (lon is None):
        raise InvalidInputError("--lon" if lon is None else "--lat", "left out", "both --lat and --lon, or neither")
    return None if lat is None else {"latitude": lat, "longitude": lon}


def _round_trip(candidate: dict[str, Any]) -> str:
    ms = candidate["estimate_ms"]
    return "unknown, as the client's place is" if ms is None else f"est. {ms:.0f} ms"


def _explain(said: dict[str, Any], as_json: bool) -> None:
    """Show the reason for every region; a refusal ends with the exit code of one."""
    from .errors import REFUSED
    from .output import note, say, show_json, show_table

    decision = said["decision"]
    if as_json:
        show_json(said)
    else:
        show_table(("region", "may serve", "why", "round trip"), _reasons(said), empty="no region is registered")
        if decision is not None:
            say(decision["reasoning"])
    if decision is None:
        if not as_json:
            note("refused: " + said["refusal"].partition(":")[0])
        raise typer.Exit(REFUSED)


def _reasons(said: dict[str, Any]) -> list[tuple[str, str, str, str | None]]:
    """A row for each region: the eligible in their order, then those left out."""
    rows = [
        (region["region_id"], "yes", "selected" if place == 1 else f"choice {place}", _round_trip(region))
        for place, region in enumerate(said["eligible"], start=1)
    ]
    return rows + [(region_id, "no", why["text"], None) for region_id, why in said["excluded"].items()]
